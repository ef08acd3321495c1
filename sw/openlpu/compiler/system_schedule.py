# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Scheduling several chips as one: every chip's kernels, and the vectors that go from one to the other.

Chips take their kernels in step, up to where one gives others something that they need: all of these come to such
places in one order. Where a buffer is gathered, its vectors leave in the order in which they exist, each as soon as
there is a way to the links; a link is a number of cycles, and behind it the vector goes to SRAM as soon as it may. So a
chip waits for nothing but what it needs.

Every chip deskews in the same cycles, at equal distances from run to run of the program, too.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
_PATIENCE = 8
"""Cycles for which vectors wait for those behind them, to go with them: every group of them takes text of its own."""
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
    buffer: str
    """What it is a part of."""
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
    return SystemScheduler(dict(enumerate(graphs)), dict(enumerate(placements)), system).run()


@dataclass(frozen=True)
class Delivery:
    """A parcel that comes over a link, and by row when it may be read where it comes from."""

    sender: LinkEnd
    receiver: LinkEnd
    parcel: Parcel
    ready: tuple[int, ...]


class SystemScheduler:
    """Departures of all chips, by their numbers."""

    def __init__(
        self, graphs: Mapping[int, KernelGraph], placements: Mapping[int, Placement], system: SystemConfig
    ) -> None:
        self.system, self.graphs = system, graphs
        self.chips = {number: Scheduler(graph, placements[number], system.chip) for number, graph in graphs.items()}
        self.routers = {number: LinkRouter(chip.router, system.chip) for number, chip in self.chips.items()}
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
        """Schedule everything."""
        next_kernel = dict.fromkeys(self.chips, 0)
        taking_part = Counter(
            kernel.output
            for graph in self.graphs.values()
            for kernel in graph.kernels
            if isinstance(kernel, AllGatherKernel)
        )
        self.reserve_pauses()
        for chip in self.chips.values():
            chip.begin()
        while True:
            for number, chip in self.chips.items():
                kernels = self.graphs[number].kernels
                while next_kernel[number] < len(kernels):
                    if isinstance(kernels[next_kernel[number]], AllGatherKernel):
                        break
                    chip.follow(next_kernel[number])
                    next_kernel[number] += 1
            waiting = {
                number: graph.kernels[next_kernel[number]]
                for number, graph in self.graphs.items()
                if next_kernel[number] < len(graph.kernels)
            }
            if not waiting:
                break
            come = Counter(kernel.output for kernel in waiting.values())
            name = next(name for name, count in come.items() if count == taking_part[name])
            together = {number: kernel for number, kernel in waiting.items() if kernel.output == name}
            self.gather([kernel for kernel in together.values() if isinstance(kernel, AllGatherKernel)])
            for number in together:
                self.chips[number].follow(next_kernel[number])
                next_kernel[number] += 1
        # What needs no links may have gone on for long behind the last pause.
        self.reserve_pauses()
        cycles = max(chip.end for chip in self.chips.values())
        return SystemSchedule(
            tuple(self.with_pauses(chip.scheduled(), cycles) for chip in self.chips.values()),
            tuple(self.hops),
            cycles,
        )

    # Pauses

    def reserve_pauses(self) -> None:
        """Keep the cycles free in which chips deskew, well beyond the end of what is scheduled."""
        queue = geometry(self.system.chip).of_kind(QueueKind.C2C_SEND)[0]
        needed = max(chip.end for chip in self.chips.values())
        while self.pause(self.deskewed) < needed + 4 * self.period:
            flight = Flight()
            flight.dispatch(queue, 0, instruction("deskew", n=self.system.pause))
            for chip in self.chips.values():
                chip.timeline.reserve(flight, 1, 1, self.pause(self.deskewed))
            self.deskewed += 1

    def pause(self, number: int) -> int:
        """The cycle of a pause."""
        return _FIRST_DESKEW + number * self.period

    def with_pauses(self, schedule: Schedule, cycles: int) -> Schedule:
        """A chip's schedule and its pauses, for a program that ends after `cycles`."""
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
        name, owners = kernels[0].output, kernels[0].owners
        parcels = [
            (int(self.chips[owner].ready[name, parcel.column][parcel.row]), parcel, owner)
            for owner in sorted({*owners})
            for parcel in self.parcels(name, owner, [row for row, other in enumerate(owners) if other == owner])
        ]
        for _, parcel, owner in sorted(parcels, key=lambda entry: entry[0]):
            self.reserve_pauses()
            self.send(owner, parcel, [kernel.chip for kernel in kernels if kernel.chip != owner])

    def parcels(self, name: str, owner: int, rows: Sequence[int]) -> Iterator[Parcel]:
        """What a chip sends of a buffer: rows that are there one soon after the other, for as many links as there are
        between two chips."""
        chip = self.chips[owner]
        for column, place in enumerate(chip.placement.buffers[name]):
            ready, planes = chip.ready[name, column], len(place.slices)
            for group in self.together(rows, ready):
                for part in np.array_split(group, min(max(self.system.parallel // planes, 1), len(group))):
                    for plane in range(planes):
                        yield Parcel(name, column, plane, int(part[0]), len(part))

    def together(self, rows: Sequence[int], ready: npt.NDArray[np.int64]) -> Iterator[list[int]]:
        """Consecutive rows: none is there later than the link is for it."""
        group: list[int] = []
        for row in rows:
            if group and (row > group[-1] + 1 or ready[row] > ready[group[0]] + self.beats * len(group) + _PATIENCE):
                yield group
                group = []
            group.append(row)
        if group:
            yield group

    def send(self, owner: int, parcel: Parcel, others: Sequence[int]) -> None:
        """Send vectors to other chips, where they are received at once."""
        chip, router = self.chips[owner], self.routers[owner]
        column = chip.placement.buffers[parcel.buffer][parcel.column]
        for side in router.by_side([self.link(owner, other) for other in others]):
            ends = [LinkEnd(owner, link) for link in side]
            deliveries = [delivery for end in ends for delivery in self.deliveries(end, parcel)]
            earliest = max(self.next_send.get(end, 0) for end in ends)
            while True:
                sent, journey = self.first(chip, router.leaving(column, parcel, side), parcel, earliest)
                arrivals = [self.arrival(delivery, sent) for delivery in deliveries]
                later = max(
                    (
                        self.too_early(delivery, sent, start)
                        for delivery, (start, _) in zip(deliveries, arrivals, strict=True)
                    ),
                    default=0,
                )
                if not later:
                    break
                earliest = sent + later
            chip.depart_rows(dataclasses.replace(journey, gap=self.beats), parcel.count, sent)
            for end in ends:
                self.next_send[end] = sent + self.beats * parcel.count
            for delivery, (start, arriving) in zip(deliveries, arrivals, strict=True):
                self.receive(delivery, sent, start, arriving)

    def deliveries(self, end: LinkEnd, parcel: Parcel) -> Iterator[Delivery]:
        """What is received when a parcel is sent at an end: itself, at the other one."""
        ready = self.chips[end.chip].ready[parcel.buffer, parcel.column][parcel.row : parcel.row + parcel.count]
        yield Delivery(end, self.system.peers[end], parcel, tuple(ready.tolist()))

    def link(self, chip: int, other: int) -> int:
        """Of the links of a chip to another the one that may send first."""
        links = self.system.links(chip, other)
        if not links:
            raise CompileError(
                f"system '{self.system.name}': chip {chip} has no link to chip {other}; use the topology 'all_to_all'"
            )
        return min(links, key=lambda link: (self.next_send.get(LinkEnd(chip, link), 0), link))

    def first(self, chip: Scheduler, journeys: Iterable[Journey], parcel: Parcel, earliest: int) -> tuple[int, Journey]:
        """Of some ways of vectors, as fast as a link takes them, the one that begins first, and when it does."""
        found: tuple[int, Journey] | None = None
        for journey in journeys:
            if self.beats in journey.flight.gaps(parcel.count, self.beats):
                ready = chip.awaited(journey, parcel.count, self.beats, earliest)
                start = chip.timeline.earliest(journey.flight, parcel.count, self.beats, ready)
                if found is None or start < found[0]:
                    found = start, journey
                if start == earliest:
                    break
        assert found is not None, "a vector has no way between SRAM and a link"
        return found

    def arrival(self, delivery: Delivery, sent: int) -> tuple[int, Journey]:
        """When vectors are received, the first sent in cycle `sent`, and their way from there."""
        end, parcel = delivery.receiver, delivery.parcel
        chip = self.chips[end.chip]
        column = chip.placement.buffers[parcel.buffer][parcel.column]
        due = max(sent + self.system.latency, *(at + 1 for at in self.received[end][-1:]), 0)
        ways = [*self.routers[end.chip].arriving(column, parcel, end.link)]
        kernel = AllGatherKernel(parcel.buffer, (), end.chip)
        return self.first(chip, ways, parcel, max(chip.vacant(kernel, way, due) for way in ways))

    def too_early(self, delivery: Delivery, sent: int, received: int) -> int:
        """By how many cycles vectors would have to be sent later for the deskew buffer to have room for them, if they
        were received from cycle `received` on; 0 if it has."""
        steps = [self.beats * number for number in range(delivery.parcel.count)]
        times = [*self.received[delivery.receiver][-DESKEW_DEPTH:], *(received + step for step in steps)]
        left = times[: max(len(times) - DESKEW_DEPTH, 0)]
        # The vector that takes the place of the one received is as far behind it as the buffer is deep.
        late = [
            at - (sent + step) - min(self.system.soonest, -1) for at, step in zip(left[::-1], steps[::-1], strict=False)
        ]
        return max([0, *late])

    def receive(self, delivery: Delivery, sent: int, start: int, journey: Journey) -> None:
        """Receive vectors from cycle `start` on, and put them into SRAM."""
        end, parcel = delivery.receiver, delivery.parcel
        chip = self.chips[end.chip]
        chip.depart(journey.flight, parcel.count, self.beats, start)
        for number in range(parcel.count):
            step, row = self.beats * number, parcel.row + number
            self.received[end].append(start + step)
            arrived = start + step + journey.results[parcel.column]
            ready = chip.ready[parcel.buffer, parcel.column]
            ready[row] = max(int(ready[row]), arrived)
            hop = Hop(delivery.sender, sent + step, end, start + step, parcel.buffer, delivery.ready[number], arrived)
            self.hops.append(hop)
