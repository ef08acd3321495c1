# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What a command prints: tables for people, one JSON object for programs, and a sign of life while it works."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

Command = TypeVar("Command", bound=Callable[..., Any])


def json_option(command: Command) -> Command:
    """The `--json` flag, the same on every command; it arrives as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")(command)


def print_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """A value as JSON on standard output."""
    click.echo(json.dumps(value, indent=2))


def print_facts(facts: Sequence[tuple[str, object]], title: str | None = None) -> None:
    """Aligned pairs of name and value; a pair whose value is None is left out."""
    table = Table(title=title, title_justify="left", title_style="bold", show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    for name, value in facts:
        if value is not None:
            table.add_row(name, str(value))
    _print(table)


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table; columns whose every cell is a number are aligned to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, name in enumerate(header):
        numeric = all(str(row[i])[:1].isdigit() for row in rows)
        table.add_column(name, justify="right" if numeric else "left", header_style="dim", no_wrap=True)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    _print(table)


@contextmanager
def working(what: str, *, as_json: bool) -> Iterator[None]:
    """Show on standard error that `what` goes on, and for how long; silent for programs (JSON, no terminal)."""
    if as_json or not sys.stderr.isatty():
        yield
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task(what, total=None)
        yield


def _print(table: Table) -> None:
    # A pipe has no width: then a line is as long as it needs, for grep. Padding at its end is of no use to anyone.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 200)
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))
