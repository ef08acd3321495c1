# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What can be said of a program before it runs: length, bounds, use of every unit, use of SRAM."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from openlpu.arch.geometry import Queue, QueueKind, geometry
from openlpu.arch.program import Program
from openlpu.arch.system_program import SystemProgram
from openlpu.model.expand import Dispatch, dispatches_of, expand


def microseconds(program: Program, cycles: int) -> float:
    """`cycles` as time, at the clock of the program's chip."""
    return round(cycles / program.config.clock_mhz, 3)


def lower_bound(program: Program | SystemProgram) -> int | None:
    """Cycles below which no schedule on this chip can stay; None when the program does not say."""
    if isinstance(program, SystemProgram):
        return None
    return max(program.resource_bound, program.chain_bound) or None


def ratio(program: Program | SystemProgram, cycles: float) -> float | None:
    """Cycles over the lower bound: 1.0 is as good as this chip can do."""
    bound = lower_bound(program)
    return round(cycles / bound, 3) if bound else None


def summary(program: Program | SystemProgram) -> dict[str, Any]:
    """The figures that every command prints, by their JSON keys; those of a system are of its busiest chip."""
    if isinstance(program, SystemProgram):
        return _system_summary(program)
    return {
        "program": program.name,
        "config": program.config.name,
        "digest": program.config.digest,
        "predicted_cycles": program.cycles,
        "microseconds": microseconds(program, program.cycles),
        "lower_bound": lower_bound(program),
        "resource_bound": program.resource_bound,
        "resource_name": program.resource_name,
        "chain_bound": program.chain_bound,
        "ratio": ratio(program, program.cycles),
        "macs": program.macs,
    }


def _system_summary(program: SystemProgram) -> dict[str, Any]:
    config, busiest = program.system.chip, max(program.programs, key=lambda each: each.resource_bound)
    return {
        "program": program.name,
        "system": program.system.name,
        "chips": program.system.chips,
        "config": config.name,
        "digest": config.digest,
        "link_latency": program.system.latency,
        "predicted_cycles": program.cycles,
        "microseconds": microseconds(busiest, program.cycles),
        "resource_bound": busiest.resource_bound,
        "resource_name": busiest.resource_name,
        "macs": sum(each.macs for each in program.programs),
    }


def instructions(program: Program) -> int:
    """How many instructions the program dispatches to units."""
    return sum(dispatches_of(inst) for text in program.text.values() for inst in text)


def dispatches(program: Program) -> dict[Queue, list[Dispatch]]:
    """What every queue of the chip dispatches, in order; empty for queues that take no part."""
    queues = geometry(program.config).queues
    return {
        queue: expand(program.config, queue, program.text[queue.name]).dispatches if queue.name in program.text else []
        for queue in queues
    }


@dataclass(frozen=True)
class Use:
    """How much a queue has to do."""

    queue: str
    words: int
    """Instructions in its text, queue control included."""
    dispatches: int
    """Instructions that reach the unit: cycles in which it starts something."""
    utilisation: float
    """Dispatches over the cycles of the program, in per cent."""


def utilisation(program: Program) -> list[Use]:
    """Every queue of the chip, in the order of its geometry."""
    return [
        Use(
            queue.name,
            len(program.text.get(queue.name, ())),
            len(issued),
            round(100 * len(issued) / program.cycles, 1) if program.cycles else 0.0,
        )
        for queue, issued in dispatches(program).items()
    ]


def mac_utilisation(program: Program) -> float:
    """Useful multiply-accumulates over what the arrays could do in the time, in per cent."""
    config = program.config
    peak = config.hemispheres * config.mxm_planes * config.lanes**2 * program.cycles
    return round(100 * program.macs / peak, 1) if peak else 0.0


def instruction_counts(program: Program) -> dict[str, int]:
    """How often each instruction reaches a unit, by mnemonic, most frequent first."""
    counts = Counter(d.instruction.spec.mnemonic for issued in dispatches(program).values() for d in issued)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


@dataclass(frozen=True)
class Region:
    """Consecutive words of a MEM slice with one use."""

    slice: str
    first: int
    last: int
    holds: str


def sram_map(program: Program) -> list[Region]:
    """Every used word of SRAM: what the image fills, what ports occupy, and what the program writes in between."""
    use: dict[tuple[int, int], str] = {}
    for queue, issued in dispatches(program).items():
        if queue.kind is QueueKind.MEM_WRITE:
            use.update({(queue.index, d.instruction.number("a")): "intermediate" for d in issued})
    use.update(dict.fromkeys(program.image, "constants"))
    for role, ports in (("input", program.inputs), ("output", program.outputs)):
        for port in ports:
            for column in port.columns:
                for number in column.slices:
                    for row in range(port.rows):
                        use[number, column.base + row] = f"{role} {port.name}"
    names = geometry(program.config).mem_slices
    # Consecutive words keep the difference between address and position in the sorted list.
    words = enumerate(sorted(use.items()))
    runs = groupby(words, key=lambda item: (item[1][0][0], item[1][1], item[1][0][1] - item[0]))
    regions = []
    for (number, holds, _), members in runs:
        addresses = [address for _, ((_, address), _) in members]
        regions.append(Region(names[number], addresses[0], addresses[-1], holds))
    return regions
