# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The golden model of a system of chips, and the checker of what its programs say to each other.

In the time of the program links are constants, so a `send` and the `receive` of its vector are one more place where a
value only changes hands. All chips' programs become one data flow, and a run is one execution of it: no chip runs
before another, and nothing is simulated of clocks and wires. That it does not matter what these do is for the hardware
to show.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openlpu.arch.bring_up import LinkReport
from openlpu.arch.config import ChipConfig
from openlpu.arch.geometry import geometry
from openlpu.arch.links import DESKEW_DEPTH, flit_format
from openlpu.arch.program import Program, Vector
from openlpu.arch.status import ChipStatus, RunStatus, SystemStatus
from openlpu.arch.system import LinkEnd, SystemConfig
from openlpu.arch.timing import timing
from openlpu.model.dataflow import LinkedProgram
from openlpu.model.execute import Execution
from openlpu.model.expand import Dispatch
from openlpu.model.golden import Trace
from openlpu.model.link import Resolution, Value, defined_words, placement_violations
from openlpu.model.text import follow_program
from openlpu.model.values import Values
from openlpu.model.violation import CheckError, Violation


@dataclass(frozen=True)
class Meeting:
    """A vector that goes from chip to chip."""

    sender: LinkEnd
    send: Dispatch
    receiver: LinkEnd
    receive: Dispatch


@dataclass(frozen=True)
class LinkedSystem:
    """Proved programs as one data flow: their steps and values are the same, what happens where is each chip's own."""

    system: SystemConfig
    chips: tuple[LinkedProgram, ...]
    meetings: tuple[Meeting, ...]
    """In the order in which they are received."""


def link_system(system: SystemConfig, programs: Sequence[Program]) -> LinkedSystem:
    """Check the programs of a system, one for each chip, and resolve them into one data flow.

    Raises:
        CheckError: with every violation found, in each the chip before the queue.
        ValueError: when the programs are not for these chips.
    """
    if [program.config.digest for program in programs] != [system.chip.digest] * system.chips:
        raise ValueError(
            f"system '{system.name}' has {system.chips} chips '{system.chip.name}': give a program for each"
        )
    violations = [_of_chip(chip, v) for chip, program in enumerate(programs) for v in placement_violations(program)]
    if violations:
        raise CheckError(system.name, violations)
    links = _Links(system)
    values, slices = Values(system.chip.lanes), len(geometry(system.chip).mem_slices)
    resolutions = [
        Resolution(
            system.chip,
            follow_program(program),
            defined_words(program),
            values=values,
            first_slice=chip * slices,
            ends=_ChipEnds(links, chip),
        )
        for chip, program in enumerate(programs)
    ]
    for _, chip, number in heapq.merge(*map(_numbered, range(system.chips), resolutions)):
        resolutions[chip].resolve_dispatch(number)
    for chip, (program, resolution) in enumerate(zip(programs, resolutions, strict=True)):
        own = [*resolution.violations, *resolution.broken_promises(program)]
        violations += [_of_chip(chip, violation) for violation in own]
    violations += links.unreceived()
    violations += _deskew_violations(system, resolutions)
    if violations:
        raise CheckError(system.name, sorted(violations, key=lambda v: v.cycle))
    return LinkedSystem(system, tuple(resolution.linked() for resolution in resolutions), tuple(links.meetings))


class GoldenSystem:
    """Chips in numpy: a `SystemPort` with runs that check before they compute, and links that nothing happens to."""

    def __init__(self, system: SystemConfig) -> None:
        self.system = system
        self.traces: tuple[Trace, ...] = ()
        """Of the latest run, by chip."""
        self._slices = len(geometry(system.chip).mem_slices)
        places = (system.chips * self._slices, system.chip.mem_words)
        self._memory: Vector = np.zeros((*places, system.chip.lanes), np.int8)
        self._changed: NDArray[np.bool_] = np.zeros(places, np.bool_)
        self._execution: Execution | None = None
        self._linked: LinkedSystem | None = None
        self._runs = (RunStatus(0),) * system.chips
        self.memories = tuple(_ChipMemory(self, chip) for chip in range(system.chips))
        """The SRAM of each chip, in blocks."""

    def bring_up(self) -> tuple[LinkReport, ...]:
        """What every connected end of a link reports: that all is well."""
        return self.reports()

    def reports(self) -> tuple[LinkReport, ...]:
        """Likewise."""
        delay = flit_format(self.system.chip).longest_delay
        return tuple(LinkReport(end, True, True, peer, delay) for end, peer in self.system.peers.items())

    def status(self) -> SystemStatus:
        """How the last run ended; nothing ever goes wrong in one."""
        chips, count = tuple(ChipStatus(False, run) for run in self._runs), self.system.chips
        return SystemStatus(chips, self.reports(), (True,) * count, (False,) * count)

    def close(self) -> None:
        """Nothing to release."""

    def load(self, programs: Sequence[Program]) -> LinkedSystem:
        """Check a program for each chip, and write their images.

        Raises:
            CheckError: when the checker refuses them.
            ValueError: when they are not for these chips.
        """
        self._linked = link_system(self.system, programs)
        self._execution = Execution(self._linked.chips[0])
        for chip, program in enumerate(programs):
            for (mem_slice, address), word in program.image.items():
                self.write_memory(chip, mem_slice, address, word)
        return self._linked

    def write_memory(self, chip: int, mem_slice: int, address: int, word: Vector) -> None:
        """Write a word of a chip's SRAM."""
        place = chip * self._slices + mem_slice, address
        self._memory[place] = word
        self._changed[place] = True

    def read_memory(self, chip: int, mem_slice: int, address: int) -> Vector:
        """A word of a chip's SRAM."""
        word: Vector = self._memory[chip * self._slices + mem_slice, address].copy()
        return word

    def run(self, count: int = 1) -> tuple[RunStatus, ...]:
        """Run the programs, `count` times in a row; how they ended, by chip.

        Raises:
            ValueError: when there are none, or they are of several lengths and run more than once: they would not be
                where the others are in a second run.
        """
        if self._execution is None or self._linked is None:
            raise ValueError("no programs are loaded")
        if count > 1 and len({linked.cycles for linked in self._linked.chips}) > 1:
            raise ValueError("programs of different lengths run once at a time")
        for _ in range(count):
            vectors = self._execution.run(self._memory, self._changed)
            for linked in self._linked.chips:
                slices, addresses, written = linked.left_behind
                self._memory[slices, addresses] = vectors[written]
                self._changed[slices, addresses] = True
            self.traces = tuple(Trace(linked, vectors) for linked in self._linked.chips)
        series = timing(self.system.chip).series
        self._runs = tuple(RunStatus(series(linked.cycles, count)) for linked in self._linked.chips)
        return self._runs


@dataclass(frozen=True)
class _ChipMemory:
    """The SRAM of one chip."""

    golden: GoldenSystem
    chip: int

    @property
    def config(self) -> ChipConfig:
        return self.golden.system.chip

    def write_memory(self, slice: int, address: int, words: Vector) -> None:
        for number, word in enumerate(words):
            self.golden.write_memory(self.chip, slice, address + number, word)

    def read_memory(self, slice: int, address: int, count: int) -> Vector:
        return np.stack([self.golden.read_memory(self.chip, slice, address + number) for number in range(count)])


class _Links:
    """What is on its way between the chips."""

    def __init__(self, system: SystemConfig) -> None:
        self.meetings: list[Meeting] = []
        self._system = system
        self._sent: dict[LinkEnd, list[tuple[Dispatch, Value]]] = {}
        """By the end that they come to."""
        self._received: dict[LinkEnd, list[Dispatch]] = {}

    def sent(self, end: LinkEnd, dispatch: Dispatch, vector: Value) -> str:
        """A vector leaves by an end; why it must not, if it must not."""
        peer = self._system.peers.get(end)
        if peer is None:
            return f"{end} goes nowhere"
        before = self._sent.setdefault(peer, [])
        before.append((dispatch, vector))
        beats = flit_format(self._system.chip).beats
        if len(before) > 1 and dispatch.cycle - before[-2][0].cycle < beats:
            return f"the link takes a vector every {beats} cycles, and is busy with {before[-2][0]}"
        received = self._received.get(peer, [])
        last = dispatch.cycle + min(self._system.soonest, -1)
        in_time = sum(receive.cycle <= last for receive in received)
        if len(before) - in_time > DESKEW_DEPTH:
            return (
                f"there may be no room for it: {peer} holds {DESKEW_DEPTH} vectors, and has received {in_time} by then"
            )
        return ""

    def received(self, end: LinkEnd, dispatch: Dispatch) -> tuple[Value, str]:
        """The vector that is received at an end, and why it must not be, if it must not."""
        received = self._received.setdefault(end, [])
        number = len(received)
        received.append(dispatch)
        sent = self._sent.get(end, [])
        if number >= len(sent):
            sender = self._system.peers.get(end)
            return None, f"{end} goes nowhere" if sender is None else f"nothing that {sender} has sent is left"
        send, vector = sent[number]
        self.meetings.append(Meeting(self._system.peers[end], send, end, dispatch))
        due = send.cycle + self._system.latency
        if dispatch.cycle < due:
            return vector, f"may be there only from cycle {due} on: {self._system.peers[end]}: {send}"
        return vector, ""

    def unreceived(self) -> Iterator[Violation]:
        """Vectors that nobody takes: the next run would find them."""
        for end, sent in self._sent.items():
            for dispatch, _ in sent[len(self._received.get(end, [])) :]:
                sender = self._system.peers[end]
                yield _of_chip(sender.chip, dispatch.violation(f"{end} never receives it"))


@dataclass(frozen=True)
class _ChipEnds:
    """The links of one chip, to its resolution."""

    links: _Links
    chip: int

    def sent(self, dispatch: Dispatch, vector: Value) -> str:
        return self.links.sent(LinkEnd(self.chip, dispatch.queue.index), dispatch, vector)

    def received(self, dispatch: Dispatch) -> tuple[Value, str]:
        return self.links.received(LinkEnd(self.chip, dispatch.queue.index), dispatch)


def _numbered(chip: int, resolution: Resolution) -> Iterator[tuple[int, int, int]]:
    return ((cycle, chip, number) for cycle, number in resolution.order())


def _of_chip(chip: int, violation: Violation) -> Violation:
    return dataclasses.replace(violation, queue=f"chip {chip} {violation.queue}".rstrip())


def _deskew_violations(system: SystemConfig, resolutions: Sequence[Resolution]) -> Iterator[Violation]:
    """Every chip pauses in the same cycles, often and long enough, and ends when the others do."""
    pauses = [
        {
            d.cycle: d
            for d in sorted(resolution.dispatches, key=lambda d: d.cycle)
            if d.instruction.spec.mnemonic == "deskew"
        }
        for resolution in resolutions
    ]
    for chip, (own, resolution) in enumerate(zip(pauses, resolutions, strict=True)):
        last = 0
        for cycle in (*own, resolution.cycles):
            if cycle - last > system.deskew_cycles:
                message = (
                    f"{cycle - last} cycles pass from cycle {last} on without a deskew: {system.deskew_cycles} may"
                )
                yield Violation(cycle, f"chip {chip}", "", message)
            last = cycle
        for cycle, dispatch in own.items():
            if dispatch.instruction.number("n") < system.pause:
                yield _of_chip(chip, dispatch.violation(f"a pause of less than {system.pause} may come too late"))
            if any(_pause(other, cycle) != _pause(own, cycle) for other in pauses):
                yield _of_chip(chip, dispatch.violation("other chips do not pause as long in this cycle"))


def _pause(pauses: dict[int, Dispatch], cycle: int) -> int:
    return pauses[cycle].instruction.number("n") if cycle in pauses else 0
