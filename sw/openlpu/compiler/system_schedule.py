# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Scheduling several chips as one: every chip's kernels, and the vectors that go from one to the other.

Chips take their kernels in step, as their graphs are alike but for rows. Where a buffer is gathered, its vectors leave
in the order in which they exist, each as soon as there is a way to the links; a link is a number of cycles, and behind
it the vector goes to SRAM as soon as it may. So a chip waits for nothing but what it needs.

Every chip deskews in the same cycles, at equal distances from run to run of the program, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from openlpu.arch.geometry import QueueKind, geometry
from openlpu.arch.isa import BY_MNEMONIC, instruction
from openlpu.arch.links import DESKEW_DEPTH, flit_format
from openlpu.arch.system import LinkEnd, SystemConfig
from openlpu.arch.timing import timing
from openlpu.compiler.errors import CompileError
from openlpu.compiler.journeys import Journey
from openlpu.compiler.kernels import AllGatherKernel, KernelGraph
from openlpu.compiler.links import LinkRouter, Parcel
from openlpu.compiler.place import Placement
from openlpu.compiler.schedule import Schedule, Scheduler
from openlpu.compiler.timeline import Flight, Run

_FIRST_DESKEW = 8
"""The cycle of a program in which it deskews first."""
_ENDING = 8
"""Cycles in which a program that ends does not deskew any more."""


@dataclass(frozen=True)
class Hop:
    """A vector that goes from chip to chip."""

    sender: LinkEnd
    sent: int
    """Dispatch of its `send`."""
    receiver: LinkEnd
    received: int
    """Dispatch of its `receive`."""
    parcel: Parcel
    ready: int
    """When it may be read on the chip that it comes from, and..."""
    arrived: int
    """...on the one that it goes to."""


@dataclass(frozen=True)
class SystemSchedule:
    """What every queue of every chip does when; all chips take as long."""

    chips: tuple[Schedule, ...]
    hops: tuple[Hop, ...]
    """In the order in which they were scheduled: on every link that of time."""
    cycles: int


def schedule_system(
    graphs: Sequence[KernelGraph], placements: Sequence[Placement], system: SystemConfig
) -> SystemSchedule:
    """Give every instruction of every chip its cycle.

    Raises:
        CompileError: when a chip has too few streams or ALU paths for a kernel, or two chips have no link.
    """
    return _SystemScheduler(graphs, placements, system).run()


class _SystemScheduler:
    def __init__(self, graphs: Sequence[KernelGraph], placements: Sequence[Placement], system: SystemConfig) -> None:
        self.system, self.graphs = system, graphs
        self.chips = [
            Scheduler(graph, placement, system.chip) for graph, placement in zip(graphs, placements, strict=True)
        ]
        self.routers = [LinkRouter(chip.router, system.chip) for chip in self.chips]
        self.beats = flit_format(system.chip).beats
        self.next_send: dict[LinkEnd, int] = {}
        """By end: the first cycle in which it may send again."""
        self.received: dict[LinkEnd, list[int]] = {end: [] for end in system.peers}
        """By end: the cycles in which it receives."""
        self.hops: list[Hop] = []
        self.period = system.deskew_cycles - timing(system.chip).rerun - _FIRST_DESKEW - _ENDING
        self.deskewed = 0
        """How many pauses have their cycles."""
        if self.period < 1:
            raise CompileError(
                f"system '{system.name}': deskew_cycles is {system.deskew_cycles}, and between two runs alone pass "
                f"{timing(system.chip).rerun}: use more"
            )

    def run(self) -> SystemSchedule:
        next_kernel = [0] * len(self.chips)
        self.reserve_pauses()
        for chip in self.chips:
            chip.begin()
        while True:
            for number, chip in enumerate(self.chips):
                kernels = self.graphs[number].kernels
                while next_kernel[number] < len(kernels):
                    if isinstance(kernels[next_kernel[number]], AllGatherKernel):
                        break
                    chip.follow(next_kernel[number])
                    next_kernel[number] += 1
            gathered = [
                kernels.kernels[number]
                for kernels, number in zip(self.graphs, next_kernel, strict=True)
                if number < len(kernels.kernels)
            ]
            if not gathered:
                break
            self.gather([kernel for kernel in gathered if isinstance(kernel, AllGatherKernel)])
            for number, chip in enumerate(self.chips):
                chip.follow(next_kernel[number])
                next_kernel[number] += 1
        cycles = max(chip.end for chip in self.chips)
        return SystemSchedule(
            tuple(self.with_pauses(chip.scheduled(), cycles) for chip in self.chips), tuple(self.hops), cycles
        )

    # Pauses

    def reserve_pauses(self) -> None:
        """Keep the cycles free in which chips deskew, well beyond the end of what is scheduled."""
        queue, needed = geometry(self.system.chip).of_kind(QueueKind.C2C_SEND)[0], max(chip.end for chip in self.chips)
        while self.pause(self.deskewed) < needed + 4 * self.period:
            flight = Flight()
            flight.dispatch(queue, 0, instruction("deskew", n=self.system.pause))
            for chip in self.chips:
                chip.timeline.reserve(flight, 1, 1, self.pause(self.deskewed))
            self.deskewed += 1

    def pause(self, number: int) -> int:
        """The cycle of a pause."""
        return _FIRST_DESKEW + number * self.period

    def with_pauses(self, schedule: Schedule, cycles: int) -> Schedule:
        queue = geometry(self.system.chip).of_kind(QueueKind.C2C_SEND)[0]
        inst = instruction("deskew", n=self.system.pause)
        retire = timing(self.system.chip).latency(BY_MNEMONIC["deskew"], queue).retire
        assert retire <= _ENDING
        pauses = [Run(self.pause(i), inst) for i in range(self.deskewed) if self.pause(i) + _ENDING <= cycles]
        runs = sorted([*schedule.dispatches.get(queue.name, ()), *pauses], key=lambda run: run.cycle)
        dispatches = {**schedule.dispatches, queue.name: runs} if runs else schedule.dispatches
        return dataclasses.replace(schedule, dispatches=dispatches, cycles=cycles)

    # Vectors

    def gather(self, kernels: Sequence[AllGatherKernel]) -> None:
        """Bring the rows of a buffer from the chips that have computed them to all others."""
        name = kernels[0].output
        here = {kernel.chip: number for number, kernel in enumerate(kernels)}
        waiting = [
            (int(self.chips[owner].ready[name, column][row]), row, column, owner)
            for row, owner in enumerate(kernels[0].owners)
            for column in range(len(self.chips[owner].placement.buffers[name]))
        ]
        for _, row, column, owner in sorted(waiting):
            self.reserve_pauses()
            planes = len(self.chips[owner].placement.buffers[name][column].slices)
            for plane in range(planes):
                self.send(owner, Parcel(name, column, row, plane), [chip for chip in here if chip != owner])

    def send(self, owner: int, parcel: Parcel, others: Sequence[int]) -> None:
        """Send a vector to other chips, where it is received at once."""
        links = [self.link(owner, other) for other in others]
        chip, router = self.chips[owner], self.routers[owner]
        column = chip.placement.buffers[parcel.buffer][parcel.column]
        ready = int(chip.ready[parcel.buffer, parcel.column][parcel.row])
        for side in router.by_side(links):
            ends = [LinkEnd(owner, link) for link in side]
            earliest = max(self.may_send(end) for end in ends)
            best = self.best(chip, router.leaving(column, parcel, side), earliest, ready)
            sent = chip.depart(best.flight, 1, 1, self.start(best, earliest, ready))
            if best.loads is not None:
                chip.read_until[parcel.buffer] = max(chip.read_until[parcel.buffer], sent + best.loads[-1])
            for end in ends:
                self.next_send[end] = sent + self.beats
                self.receive(end, sent, parcel, ready)

    def link(self, chip: int, other: int) -> int:
        """Of the links of a chip to another the one that may send first."""
        links = self.system.links(chip, other)
        if not links:
            raise CompileError(
                f"system '{self.system.name}': chip {chip} has no link to chip {other}; use the topology 'all_to_all'"
            )
        return min(links, key=lambda link: (self.may_send(LinkEnd(chip, link)), link))

    def may_send(self, end: LinkEnd) -> int:
        """The first cycle in which an end may send, and there is room for the vector."""
        received = self.received[self.system.peers[end]]
        room = received[-DESKEW_DEPTH] - min(self.system.soonest, -1) if len(received) >= DESKEW_DEPTH else 0
        return max(self.next_send.get(end, 0), room)

    @staticmethod
    def start(journey: Journey, earliest: int, ready: int) -> int:
        return earliest if journey.loads is None else max(earliest, ready - journey.loads[-1])

    def best(self, chip: Scheduler, journeys: Iterable[Journey], earliest: int, ready: int) -> Journey:
        """Of some ways the one that begins first."""
        found = [
            (chip.timeline.earliest(journey.flight, 1, 1, self.start(journey, earliest, ready)), number, journey)
            for number, journey in enumerate(journeys)
            if not journey.flight.clashes
        ]
        return min(found, key=lambda entry: entry[:2])[-1]

    def receive(self, sender: LinkEnd, sent: int, parcel: Parcel, ready: int) -> None:
        """Receive a vector, and put it into SRAM."""
        end = self.system.peers[sender]
        chip, router, before = self.chips[end.chip], self.routers[end.chip], self.received[end]
        column = chip.placement.buffers[parcel.buffer][parcel.column]
        due = max(sent + self.system.latency, *(at + 1 for at in before[-1:]), 0)
        kernel = AllGatherKernel(parcel.buffer, (), end.chip)
        journey = self.best(chip, router.arriving(column, parcel, end.link), due, 0)
        start = chip.depart(journey.flight, 1, 1, chip.vacant(kernel, journey, due))
        before.append(start)
        arrived = start + journey.results[parcel.column]
        rows = chip.ready[parcel.buffer, parcel.column]
        rows[parcel.row] = max(int(rows[parcel.row]), arrived)
        self.hops.append(Hop(sender, sent, end, start, parcel, ready, arrived))
