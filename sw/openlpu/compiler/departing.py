# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What has departed so far, and the next departure: of all ways that a row could take, the one that ends first, at the
earliest start at which its data are there and nothing that it needs is taken."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable

import numpy as np

from openlpu.arch.config import ChipConfig
from openlpu.arch.geometry import geometry
from openlpu.arch.timing import timing
from openlpu.compiler.chain import PASS, Placed, disjoint_chains, joined
from openlpu.compiler.errors import CompileError
from openlpu.compiler.journeys import Journey, Router
from openlpu.compiler.kernels import Kernel, KernelGraph, Step
from openlpu.compiler.place import Placement
from openlpu.compiler.timeline import Flight, Ride, Run, Timeline, departures

_GAPS_TRIED = 12
"""Distances of departures that are tried, smallest first: what is fastest may have to wait."""


class Departures:
    """The departures of a program, and the times from which on its buffers may be read."""

    def __init__(self, graph: KernelGraph, placement: Placement, config: ChipConfig) -> None:
        self.graph, self.placement, self.config = graph, placement, config
        self.geometry, self.timing = geometry(config), timing(config)
        self.timeline = Timeline(self.geometry.hops)
        self.dispatches: dict[str, list[Run]] = {}
        self.rides: list[tuple[Ride, int, int]] = []
        self.end = 1
        """First cycle in which nothing is in flight any more."""
        self.ready = {
            (buffer.name, i): np.zeros(buffer.rows, np.int64)
            for buffer in graph.buffers
            for i in range(len(placement.buffers[buffer.name]))
        }
        """By buffer column and row: the first cycle in which a read may sample it."""
        self.router = Router(placement, config)
        self.chains: dict[tuple[tuple[Step, ...], int], list[tuple[Placed, ...]]] = {}
        """By steps, and how many are wanted: the disjoint ways through the VXM."""
        self.read_until = {buffer.name: -1 for buffer in graph.buffers}
        """By buffer: the last cycle so far in which a read samples it."""

    def rows(self, kernel: Kernel) -> int:
        """How many rows a kernel computes."""
        return kernel.target.count(self.graph.buffer(kernel.output))

    def best(
        self,
        kernel: Kernel,
        rows: int,
        most: int,
        earliest: int,
        journeys: Callable[[list[tuple[Placed, ...]]], Iterable[Journey]],
        planes: int = 1,
    ) -> Journey:
        """Of the journeys by up to `most` disjoint chains whose rows can follow one another, the one that ends first.

        The chains are the kernel's, for columns that so many planes share. Two operands of a step that lie in one slice
        would meet at its port; a `pass` in front parts them.
        """
        chain = joined(kernel.chain, planes, self.config)
        for delay in range(len(self.config.alus)):
            steps = (*[PASS] * delay, *chain)
            if (steps, most) not in self.chains:
                self.chains[steps, most] = disjoint_chains(steps, self.config, most)
            chains = self.chains[steps, most]
            if not chains:
                continue
            found: Journey | None = None
            ends = 0
            for journey in journeys(chains):
                for gap in itertools.islice(journey.flight.gaps(rows), _GAPS_TRIED):
                    ready = self.awaited(journey, rows, gap, earliest)
                    start = self.timeline.earliest(journey.flight, rows, gap, ready)
                    if found is None or start + gap * rows < ends:
                        found, ends = dataclasses.replace(journey, gap=gap), start + gap * rows
                    if start == ready or rows == 1:
                        break
                if found is not None and ends == earliest + rows:
                    return found  # None can end sooner.
            if found is not None:
                return found
        raise CompileError(
            f"'{kernel.output}': operands of its vector chain meet on the streams of config '{self.config.name}'; "
            f"use a config with more streams or MEM slices"
        )

    def awaited(self, journey: Journey, rows: int, gap: int, earliest: int) -> int:
        """The first start, not before `earliest`, at which planes can take every row, and it is in SRAM when it is
        read."""
        earliest = max(earliest, journey.floor)
        for buffer, column, read, offset in journey.awaits:
            ready = self.ready[buffer, column][read.first + read.step * np.arange(rows)]
            earliest = max(earliest, int((ready - gap * np.arange(rows)).max()) - offset)
        return earliest

    def depart_rows(self, journey: Journey, rows: int, earliest: int) -> tuple[int, int]:
        """Send `rows` rows as early as their data allow; return the start of the first and the gap between them."""
        gap = self.gap_of(journey, rows)
        start = self.depart(journey.flight, rows, gap, self.awaited(journey, rows, gap, earliest))
        for buffer, _, _, offset in journey.awaits:
            self.read_until[buffer] = max(self.read_until[buffer], start + offset + gap * (rows - 1))
        return start, gap

    def start_of_rows(self, journey: Journey, rows: int, earliest: int) -> int:
        """When the first of `rows` rows would depart."""
        gap = self.gap_of(journey, rows)
        return self.timeline.earliest(journey.flight, rows, gap, self.awaited(journey, rows, gap, earliest))

    def end_of_rows(self, journey: Journey, rows: int, earliest: int) -> int:
        """When the results of `rows` departures would all be there."""
        last = self.start_of_rows(journey, rows, earliest) + self.gap_of(journey, rows) * (rows - 1)
        return last + max(journey.results.values())

    def gap_of(self, journey: Journey, rows: int) -> int:
        """Cycles from each of `rows` rows to the next one."""
        gap = journey.flight.gap(rows) if journey.gap is None else journey.gap
        assert gap is not None, "a row meets the next one"
        return gap

    def vacant(self, kernel: Kernel, journey: Journey, earliest: int) -> int:
        """The first start, not before `earliest`, at which nothing that reads what the output held before is behind its
        first result, nor in the cycle before, in which a word is neither what it was nor what it will be."""
        tenants = {*self.placement.before.get(kernel.output, ())}
        if kernel.output in self.graph.states:
            tenants.add(kernel.output)
        if not tenants or not journey.results:
            return earliest
        last = max(self.read_until[name] for name in tenants)
        return max(earliest, last + 2 - min(journey.results.values()))

    def depart(self, flight: Flight, count: int, gap: int, ready: int) -> int:
        """Reserve and record `count` departures at the earliest start not before `ready`; return that start."""
        start = self.timeline.earliest(flight, count, gap, ready)
        self.timeline.reserve(flight, count, gap, start)
        self.rides += [(ride.later(start), count, gap) for ride in flight.rides]
        for entry in flight.dispatches:
            run = departures(entry, start, count, gap)
            self.dispatches.setdefault(entry.queue.name, []).append(run)
            retire = self.timing.latency(entry.instruction.spec, entry.queue).retire
            self.end = max(self.end, run.last + retire)
        return start

    def written(self, journey: Journey, kernel: Kernel, first: int, start: int, gap: int, count: int) -> None:
        """Note from when on the rows that a journey writes, `count` from the kernel's row `first` on, may be read."""
        total = self.rows(kernel)
        for column, finished in journey.results.items():
            rows = self.router.landing(kernel, column, total, first).rows
            # Of bytes the last one counts.
            ready = self.ready[kernel.output, 0 if kernel.target.stacked else column]
            which = rows.first + rows.step * np.arange(count)
            ready[which] = np.maximum(ready[which], start + finished + gap * np.arange(count))
