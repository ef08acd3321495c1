# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Where the cycles of a program for several chips go: what every chip and every link does when, and who waits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from openlpu.arch.geometry import QueueKind, geometry
from openlpu.arch.links import flit_format
from openlpu.arch.program import Program
from openlpu.arch.system import LinkEnd
from openlpu.compiler.system_pipeline import CompiledSystem
from openlpu.compiler.system_schedule import Hop
from openlpu.model.expand import expand

_UNITS = {
    "weights": QueueKind.MXM_WEIGHTS,
    "rows": QueueKind.MXM_ACTS,
    "VXM": QueueKind.VXM,
}
"""What a timeline of a chip tells of."""

Timeline = tuple[float, ...]
"""Of equally long parts of a program, one after the other: for how much of each something is busy, 0 to 1."""


@dataclass(frozen=True)
class UnitUse:
    """One kind of unit of one chip."""

    chip: int
    unit: str
    """`weights`: loads of weights into planes; `rows`: rows that planes multiply; `VXM`: its busiest ALU."""
    timeline: Timeline


@dataclass(frozen=True)
class LinkUse:
    """One direction of a link."""

    sender: LinkEnd
    receiver: LinkEnd
    vectors: int
    timeline: Timeline
    latest: int
    """By how many cycles a vector was received later than it might have been, at most."""


@dataclass(frozen=True)
class Wait:
    """A chip at a place where all need what each has computed a part of."""

    gathered: str
    chip: int
    own: int
    """The cycle from which on all that it computes itself is there; 0 if that is nothing."""
    whole: int
    """The cycle from which on it has all."""

    @property
    def cycles(self) -> int:
        """For which it waits for others, and for links."""
        return max(self.whole - self.own, 0)


@dataclass(frozen=True)
class SystemReport:
    """All of it."""

    cycles: int
    units: tuple[UnitUse, ...]
    links: tuple[LinkUse, ...]
    waits: tuple[Wait, ...]
    """In the order in which buffers are gathered."""


def system_report(compiled: CompiledSystem, parts: int = 64) -> SystemReport:
    """The report of a program, with timelines of so many parts."""
    program, hops, cycles = compiled.program, compiled.schedule.hops, compiled.schedule.cycles
    system, beats = program.system, flit_format(program.system.chip).beats
    units = [unit for chip, each in enumerate(program.programs) for unit in _units(chip, each, parts)]
    links = []
    for sender, receiver in system.peers.items():
        own = [hop for hop in hops if hop.sender == sender]
        busy = [hop.sent + beat for hop in own for beat in range(beats)]
        latest = max((hop.received - hop.sent - system.latency for hop in own), default=0)
        links.append(LinkUse(sender, receiver, len(own), _timeline(busy, cycles, parts), latest))
    return SystemReport(cycles, tuple(units), tuple(links), tuple(_waits(hops)))


def _units(chip: int, program: Program, parts: int) -> Iterable[UnitUse]:
    for unit, kind in _UNITS.items():
        timelines = []
        for queue in geometry(program.config).of_kind(kind):
            dispatches = expand(program.config, queue, program.text.get(queue.name, ())).dispatches
            timelines.append(_timeline([d.cycle for d in dispatches], program.cycles, parts))
        yield UnitUse(chip, unit, tuple(max(part) for part in zip(*timelines, strict=True)))


def _timeline(busy: list[int], cycles: int, parts: int) -> Timeline:
    counts = [0] * parts
    for cycle in busy:
        counts[min(cycle * parts // cycles, parts - 1)] += 1
    lengths = [((i + 1) * cycles + parts - 1) // parts - (i * cycles + parts - 1) // parts for i in range(parts)]
    return tuple(round(min(n / max(length, 1), 1.0), 3) for n, length in zip(counts, lengths, strict=True))


def _waits(hops: Iterable[Hop]) -> Iterable[Wait]:
    gathered: dict[str, list[Hop]] = {}
    for hop in hops:
        gathered.setdefault(hop.buffer, []).append(hop)
    for name, of_it in gathered.items():
        taking_part = {end.chip for hop in of_it for end in (hop.sender, hop.receiver)}
        for chip in sorted(taking_part):
            own = max((hop.ready for hop in of_it if hop.sender.chip == chip), default=0)
            come = max((hop.arrived for hop in of_it if hop.receiver.chip == chip), default=0)
            yield Wait(name, chip, own, max(own, come))
