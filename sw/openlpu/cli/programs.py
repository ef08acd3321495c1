# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""`lpu check`, `lpu disasm` and `lpu report`: what a program is, without running it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from openlpu.arch.assembly import format_instruction
from openlpu.arch.program import Program
from openlpu.arch.system_program import SystemProgram
from openlpu.cli import figures
from openlpu.cli.terminal import json_option, print_facts, print_json, print_table, working
from openlpu.model.link import check as check_program
from openlpu.model.system import link_system
from openlpu.runtime.system_file import load_any

program_argument = click.argument("program", type=click.Path(path_type=Path))


def print_summary(program: Program | SystemProgram, more: Sequence[tuple[str, object]] = ()) -> None:
    """The figures of a program for a reader, followed by `more`."""
    facts = _facts_of_system(program) if isinstance(program, SystemProgram) else _facts(program)
    print_facts([*facts, *more])


def _facts(program: Program) -> list[tuple[str, object]]:
    s = figures.summary(program)
    bounds = f"{s['resource_bound']:,} ({s['resource_name']}), {s['chain_bound']:,} (dependence chain)"
    return [
        ("program", program.name),
        ("chip", f"{program.config.name} ({program.config.digest})"),
        ("cycles", f"{program.cycles:,} ({s['microseconds']:,} us at {program.config.clock_mhz:g} MHz)"),
        ("lower bounds", bounds if s["lower_bound"] else None),
        ("cycles / bound", s["ratio"]),
        ("useful MACs", f"{program.macs:,} ({figures.mac_utilisation(program)} % of the arrays)"),
    ]


def _facts_of_system(program: SystemProgram) -> list[tuple[str, object]]:
    s, system = figures.summary(program), program.system
    return [
        ("program", program.name),
        ("system", f"{system.name}: {system.chips} chips {system.chip.name} ({system.chip.digest})"),
        ("links", f"{system.parallel} between two, {system.latency} cycles from send to receive"),
        ("cycles", f"{program.cycles:,} ({s['microseconds']:,} us at {system.chip.clock_mhz:g} MHz)"),
        (s["resource_name"], f"{s['resource_bound']:,} cycles, on the chip that has most"),
        ("useful MACs", f"{s['macs']:,}"),
    ]


def _chips(program: Program | SystemProgram) -> tuple[Program, ...]:
    """The program of each chip that it is for."""
    return program.programs if isinstance(program, SystemProgram) else (program,)


@click.command()
@program_argument
@json_option
def check(program: Path, as_json: bool) -> None:
    """Prove PROGRAM correct in time: every value meets its consumer, nothing collides."""
    loaded = load_any(program)
    with working(f"checking {program.name}", as_json=as_json):
        if isinstance(loaded, SystemProgram):
            link_system(loaded.system, loaded.programs)
        else:
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
    loaded = load_any(program)
    if as_json:
        texts = [
            {name: [format_instruction(inst) for inst in text] for name, text in each.text.items()}
            for each in _chips(loaded)
        ]
        print_json(texts if isinstance(loaded, SystemProgram) else texts[0])
    else:
        for each in _chips(loaded):
            for line in _listing(each):
                click.echo(line)


@click.command()
@program_argument
@json_option
def report(program: Path, as_json: bool) -> None:
    """Cycles, bounds, use of every unit, instructions and SRAM of PROGRAM."""
    loaded = load_any(program)
    with working(f"reading {program.name}", as_json=as_json):
        found = [_details(each) for each in _chips(loaded)]
    if as_json:
        more = {"programs": found} if isinstance(loaded, SystemProgram) else found[0]
        print_json({**figures.summary(loaded), **more})
        return
    print_summary(loaded)
    for each, details in zip(_chips(loaded), found, strict=True):
        if isinstance(loaded, SystemProgram):
            click.echo(f"\n{each.name}")
        _print_details(details)


def _details(program: Program) -> dict[str, Any]:
    """What units, instructions and SRAM do for a program, by its JSON keys."""
    return {
        "mac_utilisation": figures.mac_utilisation(program),
        "utilisation": [dataclasses.asdict(use) for use in figures.utilisation(program)],
        "instructions": figures.instruction_counts(program),
        "sram": [dataclasses.asdict(region) for region in figures.sram_map(program)],
    }


def _print_details(details: Mapping[str, Any]) -> None:
    click.echo()
    queues = [[u["queue"], u["words"], u["dispatches"], f"{u['utilisation']:.1f}"] for u in details["utilisation"]]
    print_table("queues", ["queue", "text, words", "dispatches", "busy, %"], queues)
    click.echo()
    counts = [[name, f"{n:,}"] for name, n in details["instructions"].items()]
    print_table("dispatches", ["instruction", "count"], counts)
    click.echo()
    used = [[r["slice"], r["first"], r["last"], r["holds"]] for r in details["sram"]]
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
