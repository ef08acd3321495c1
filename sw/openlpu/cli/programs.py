# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""`lpu check`, `lpu disasm` and `lpu report`: what a program is, without running it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from openlpu.arch.assembly import format_instruction
from openlpu.arch.program import Program
from openlpu.cli import figures
from openlpu.cli.terminal import json_option, print_facts, print_json, print_table, working
from openlpu.model.link import check as check_program
from openlpu.runtime.program_file import load

program_argument = click.argument("program", type=click.Path(path_type=Path))


def print_summary(program: Program, more: Sequence[tuple[str, object]] = ()) -> None:
    """The figures of a program for a reader, followed by `more`."""
    s = figures.summary(program)
    bounds = f"{s['resource_bound']:,} ({s['resource_name']}), {s['chain_bound']:,} (dependence chain)"
    print_facts(
        [
            ("program", program.name),
            ("chip", f"{program.config.name} ({program.config.digest})"),
            ("cycles", f"{program.cycles:,} ({s['microseconds']:,} us at {program.config.clock_mhz:g} MHz)"),
            ("lower bounds", bounds if s["lower_bound"] else None),
            ("cycles / bound", s["ratio"]),
            ("useful MACs", f"{program.macs:,} ({figures.mac_utilisation(program)} % of the arrays)"),
            *more,
        ]
    )


@click.command()
@program_argument
@json_option
def check(program: Path, as_json: bool) -> None:
    """Prove PROGRAM correct in time: every value meets its consumer, nothing collides."""
    loaded = load(program)
    with working(f"checking {program.name}", as_json=as_json):
        check_program(loaded)
    if as_json:
        print_json({**figures.summary(loaded), "ok": True})
    else:
        print_summary(loaded, [("check", "passed")])


@click.command()
@program_argument
@json_option
def disasm(program: Path, as_json: bool) -> None:
    """Print the instructions of PROGRAM, queue by queue, with the cycle in which each first dispatches."""
    loaded = load(program)
    if as_json:
        print_json({name: [format_instruction(inst) for inst in text] for name, text in loaded.text.items()})
    else:
        for line in _listing(loaded):
            click.echo(line)


@click.command()
@program_argument
@json_option
def report(program: Path, as_json: bool) -> None:
    """Cycles, bounds, use of every unit, instructions and SRAM of PROGRAM."""
    loaded = load(program)
    with working(f"reading {program.name}", as_json=as_json):
        uses, counts = figures.utilisation(loaded), figures.instruction_counts(loaded)
        regions = figures.sram_map(loaded)
    if as_json:
        print_json(
            {
                **figures.summary(loaded),
                "mac_utilisation": figures.mac_utilisation(loaded),
                "utilisation": [dataclasses.asdict(use) for use in uses],
                "instructions": counts,
                "sram": [dataclasses.asdict(region) for region in regions],
            }
        )
        return
    print_summary(loaded)
    click.echo()
    rows = [[use.queue, use.words, use.dispatches, f"{use.utilisation:.1f}"] for use in uses]
    print_table("queues", ["queue", "text, words", "dispatches", "busy, %"], rows)
    click.echo()
    print_table("dispatches", ["instruction", "count"], [[name, f"{n:,}"] for name, n in counts.items()])
    click.echo()
    used = [[r.slice, r.first, r.last, r.holds] for r in regions]
    print_table("SRAM, words", ["slice", "first", "last", "holds"], used)


def _listing(program: Program) -> Iterator[str]:
    yield f"# {program.name} for {program.config.name} ({program.config.digest}): {program.cycles} cycles"
    for queue, issued in figures.dispatches(program).items():
        text = program.text.get(queue.name, ())
        if not text:
            continue
        cycle_of = {d.index: d.cycle for d in reversed(issued)}
        yield f".queue {queue.name}"
        for index, inst in enumerate(text):
            line = f"    {format_instruction(inst)}"
            yield f"{line:<60}# {cycle_of[index]}" if index in cycle_of else line
