# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Pages of documentation that are made from code: writing them, and noticing that they are stale.

A page is a pure function of tables, so that a page and the code cannot tell different stories.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

Pages = Mapping[str, Callable[[], str]]
"""Generated files of the documentation by name."""


def stale(pages: Pages, directory: Path) -> list[str]:
    """Names of the generated files that are missing from `directory` or differ from what would be written."""
    return [
        name
        for name, make in pages.items()
        if not (directory / name).is_file() or (directory / name).read_text(encoding="utf-8") != make()
    ]


def write(pages: Pages, directory: Path) -> None:
    """Write every generated file into `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, make in pages.items():
        (directory / name).write_text(make(), encoding="utf-8")


def main(pages: Pages, arguments: Sequence[str] | None = None) -> int:
    """The command line of a module that makes pages; returns the exit status."""
    parser = argparse.ArgumentParser(description="Generate pages of docs/.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is stale")
    parser.add_argument("directory", nargs="?", type=Path, default=Path(__file__).resolve().parents[3] / "docs")
    options = parser.parse_args(arguments)
    if not options.check:
        write(pages, options.directory)
        return 0
    names = stale(pages, options.directory)
    for name in names:
        print(f"stale: {options.directory / name}: run `make docs`", file=sys.stderr)
    return 1 if names else 0


def banner(source: str) -> str:
    """The first line of a generated page."""
    return f"<!-- Generated from `{source}` by `make docs`. Edit the tables, not this page. -->"


def page(parts: Iterable[str]) -> str:
    """A page of paragraphs."""
    return "\n\n".join(parts) + "\n"


def prose(text: str) -> str:
    """A paragraph on one line, however the source wraps it."""
    return " ".join(text.split())


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of cells as they print."""

    def line(cells: Sequence[object]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(header), "|" + " --- |" * len(header), *(line(row) for row in rows)])


def docstrings(owner: type | ModuleType) -> dict[str, str]:
    """The names assigned in a class or module, in order, with the string that follows each ("" where none does)."""
    tree: ast.AST = ast.parse(inspect.getsource(owner))
    if isinstance(owner, type) and isinstance(tree, ast.Module):
        tree = tree.body[0]
    assert isinstance(tree, ast.Module | ast.ClassDef)
    texts: dict[str, str] = {}
    for statement, following in zip(tree.body, [*tree.body[1:], None], strict=True):
        target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        if isinstance(target, ast.Name):
            texts[target.id] = _literal(following)
    return texts


def _literal(statement: ast.stmt | None) -> str:
    match statement:
        case ast.Expr(value=ast.Constant(value=str() as text)):
            return prose(text)
        case _:
            return ""
