# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Reservations in space-time.

What a moving vector occupies is a diagonal: the register of stream s at hop h, in the cycle in which the vector is
there. So the timeline of (stream, hop) counts diagonals, the timeline of a queue counts cycles, and both are bit sets
held in one Python integer each. A *flight* is everything that one row of data does on its way, relative to a free
start; it departs `count` times, `gap` cycles apart, at the earliest start at which nothing it needs is taken.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from openlpu.arch.geometry import Queue, QueueKind, Stream
from openlpu.arch.isa import Instruction

Key = Hashable


@dataclass(frozen=True)
class Dispatch:
    """An instruction of a flight: dispatched `offset` cycles from the start, its address `step` further for each
    row."""

    queue: Queue
    offset: int
    instruction: Instruction
    step: int = 0


@dataclass(frozen=True, slots=True)
class Ride:
    """A vector that `producer` puts onto a stream for a consumer at hop `consumer`; `diagonal` says when."""

    stream: Stream
    producer: Queue
    consumer: int
    diagonal: int

    def later(self, cycles: int) -> Ride:
        """The same ride some cycles later."""
        return Ride(self.stream, self.producer, self.consumer, self.diagonal + cycles)


@dataclass
class Flight:
    """What one row does: its dispatches, and the stream registers it passes."""

    dispatches: list[Dispatch] = field(default_factory=list)
    registers: dict[tuple[Key, int], Queue] = field(default_factory=dict)
    """(timeline, diagonal) of every register passed, and whose production passes it."""
    rides: list[Ride] = field(default_factory=list)
    held: list[tuple[Key, int]] = field(default_factory=list)
    """(timeline, offset) of everything else that is taken for a cycle."""
    clashes: bool = False
    """Two productions meet in one register: no start helps."""

    def dispatch(self, queue: Queue, offset: int, instruction: Instruction, step: int = 0) -> None:
        """Add an instruction; the very same one twice (an operand used twice) is one."""
        entry = Dispatch(queue, offset, instruction, step)
        if entry not in self.dispatches:
            self.dispatches.append(entry)

    def hold(self, key: Key, offset: int, cycles: int) -> None:
        """Take what `key` stands for, so many cycles long."""
        self.held += [(key, offset + cycle) for cycle in range(cycles)]

    def ride(self, stream: Stream, producer: Queue, consumer: int, arrival: int) -> int:
        """Occupy `stream` from a producer's hop to that of a consumer, to be there in cycle `arrival`.

        Returns the cycle at the producer's hop.
        """
        diagonal = stream.diagonal(arrival, consumer)
        step = stream.direction.step
        belt = stream.direction.value
        self.rides.append(Ride(stream, producer, consumer, diagonal))
        for hop in range(producer.hop, consumer + step, step):
            owner = self.registers.setdefault(((belt, stream.index, hop), diagonal), producer)
            self.clashes |= owner != producer
        return arrival - (consumer - producer.hop) * step

    def reading_from(self, distance: int) -> Flight:
        """The same flight, but every word that it reads lies `distance` further; what it occupies is shared."""
        moved = Flight(
            [
                Dispatch(entry.queue, entry.offset, entry.instruction.advanced(distance), entry.step)
                if entry.queue.kind is QueueKind.MEM_READ
                else entry
                for entry in self.dispatches
            ],
            self.registers,
            self.rides,
            self.held,
            self.clashes,
        )
        moved.__dict__["claims"] = self.claims
        return moved

    @functools.cached_property
    def claims(self) -> tuple[tuple[Key, int], ...]:
        """Everything the flight occupies, as (timeline, position relative to the start). Read once it is complete."""
        queues = {(entry.queue.name, entry.offset) for entry in self.dispatches}
        return (*queues, *self.registers, *self.held)

    @functools.cached_property
    def earliest_start(self) -> int:
        """The first start at which nothing is dispatched before cycle 0."""
        return max(0, -min(entry.offset for entry in self.dispatches))

    def gaps(self, count: int, limit: int = 32) -> Iterator[int]:
        """The distances up to `limit` at which `count` departures do not meet, smallest first."""
        slots = {(entry.queue.name, entry.offset) for entry in self.dispatches}
        if self.clashes or len(slots) != len(self.dispatches):
            return
        offsets: dict[Key, list[int]] = {}
        for key, offset in self.claims:
            offsets.setdefault(key, []).append(offset)
        distances = {abs(a - b) for group in offsets.values() for a in group for b in group if a != b}
        for gap in range(1, limit + 1):
            if all(distance % gap or distance // gap >= count for distance in distances):
                yield gap

    def gap(self, count: int) -> int | None:
        """The smallest distance at which `count` departures do not meet; None when there is none."""
        return next(self.gaps(count), None)


class Timeline:
    """What is taken so far."""

    def __init__(self, hops: int) -> None:
        # Diagonals of eastward streams start at -hops; bit 0 stands for that position.
        self._origin = hops
        self._busy: dict[Key, int] = {}

    def earliest(self, flight: Flight, count: int, gap: int, ready: int) -> int:
        """The first start, not before `ready`, at which `count` departures fit."""
        start = max(ready, flight.earliest_start)
        taken = 0
        for key, offset in flight.claims:
            busy = self._busy.get(key, 0) >> (start + offset + self._origin)
            taken |= _spread_back(busy, count, gap)
        free = ~taken & (taken + 1)
        return start + free.bit_length() - 1

    def reserve(self, flight: Flight, count: int, gap: int, start: int) -> None:
        """Take what `count` departures from `start` occupy."""
        pattern = _comb(count, gap)
        for key, offset in flight.claims:
            self._busy[key] = self._busy.get(key, 0) | pattern << (start + offset + self._origin)


@functools.lru_cache(maxsize=1024)
def _comb(count: int, gap: int) -> int:
    """`count` bits, `gap` apart."""
    return sum(1 << (gap * i) for i in range(count))


def _spread_back(busy: int, count: int, gap: int) -> int:
    """The union of `busy >> (gap * i)` for i below `count`: starts at which some departure would meet a taken place."""
    done = 1
    while done < count and busy:
        step = min(done, count - done)
        busy |= busy >> (gap * step)
        done += step
    return busy


@dataclass(frozen=True, slots=True)
class Run:
    """One dispatch over all departures: `count` times from `cycle`, `gap` cycles apart, the address `step` further."""

    cycle: int
    instruction: Instruction
    count: int = 1
    gap: int = 1
    step: int = 0

    @property
    def last(self) -> int:
        """The cycle of the last dispatch."""
        return self.cycle + self.gap * (self.count - 1)

    def unrolled(self) -> Iterator[tuple[int, Instruction]]:
        """The (cycle, instruction) pairs."""
        for i in range(self.count):
            yield self.cycle + self.gap * i, self.instruction.advanced(self.step * i)


def departures(entry: Dispatch, start: int, count: int, gap: int) -> Run:
    """What one dispatch of a flight becomes when the flight departs `count` times."""
    return Run(start + entry.offset, entry.instruction, count, gap, entry.step)
