# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Vector kernels become departures: rows from SRAM through the VXM into SRAM."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from openlpu.arch.config import ChipConfig
from openlpu.arch.program import Column
from openlpu.compiler.chain import Placed
from openlpu.compiler.departing import Departures
from openlpu.compiler.errors import CompileError
from openlpu.compiler.forwarding import Forwarding, Part
from openlpu.compiler.journeys import Choice, Journey, Landing, Rows, Stop
from openlpu.compiler.kernels import Kernel, KernelGraph, VectorKernel, views_of
from openlpu.compiler.lasting import Stripe
from openlpu.compiler.place import Placement

_PATIENCE = 2
"""Cycles for which a row waits for those behind it, to go with them: every group of rows takes text of its own."""


class VectorDepartures(Departures):
    """Departures of vector kernels, each as early as may be."""

    def __init__(self, graph: KernelGraph, placement: Placement, config: ChipConfig, forwarding: Forwarding) -> None:
        super().__init__(graph, placement, config)
        self.forwarding = forwarding

    def vectors(self, number: int, kernel: VectorKernel) -> None:
        """Compute a kernel, the one with this number, column by column."""
        for column in range(len(self.placement.buffers[kernel.output])):
            stripes = self.placement.stripes.get((kernel.output, column), ())
            if kernel.target.indices is not None:
                self.scatter(kernel, column, kernel.target.indices)
            elif stripes:
                for stripe in stripes:
                    self.lay_out(kernel, column, stripe)
            else:
                self.stream_vectors(number, kernel, column)

    def stream_vectors(self, number: int, kernel: VectorKernel, column: int) -> None:
        """Stream the rows of one column through the VXM; those that are there long before the others go ahead."""
        for together in _in_groups(self.there(kernel, column)):
            for part in self.forwarding.parts(number, column, together):
                journey, count = self.way(kernel, column, part), len(part.rows)
                start, gap = self.depart_rows(journey, count, self.vacant(kernel, journey, 0))
                self.written(journey, kernel, part.rows.start, start, gap, count)
                self.forward(journey, kernel, start, gap, count)

    def way(self, kernel: VectorKernel, column: int, part: Part) -> Journey:
        """The best way of some rows."""
        rows, count = Rows(part.rows.start, 1), len(part.rows)
        landing = self.router.landing(kernel, column, self.rows(kernel), part.rows.start)

        def to(stops: Sequence[tuple[Stop, ...]]) -> Journey:
            here = dataclasses.replace(landing, stops=stops[0])

            def going(chains: list[tuple[Placed, ...]]) -> Iterator[Journey]:
                return (self.vector_row(kernel, column, chain, rows, here) for chain in chains)

            return self.best(kernel, count, len(self.placement.planes), 0, going)

        return self.forwarded(kernel, count, 0, [part], to)

    def forwarded(
        self,
        kernel: Kernel,
        count: int,
        earliest: int,
        parts: Sequence[Part],
        to: Callable[[Sequence[tuple[Stop, ...]]], Journey],
    ) -> Journey:
        """How `count` departures go that compute rows of all `parts`: by way of the activation buffers, if they end
        no later for that. `to` finds the best journey with such stops for the rows of each part."""
        plain = to([()] * len(parts))
        if not any(part.stops for part in parts):
            return plain
        # Bytes of a word that go to buffers of one plane meet at its queue.
        with contextlib.suppress(CompileError):
            stopping = to([part.stops for part in parts])
            stopping.floor = max(stopping.floor, self.forwarding.may_load(stopping, count))
            vacant = self.vacant(kernel, plain, earliest)
            if self.end_of_rows(stopping, count, vacant) <= self.end_of_rows(plain, count, vacant):
                return stopping
        self.forwarding.give_up([product for part in parts for product in part.products])
        return plain

    def forward(self, journey: Journey, kernel: Kernel, start: int, gap: int, count: int) -> None:
        """`count` departures go on to the stops of a journey, if there are any. Even if nobody reads what they write,
        what comes to these words next has to come later."""
        self.forwarding.loaded(journey, start, gap, count)
        if journey.stops:
            written = start + gap * (count - 1) + max(journey.results.values())
            self.read_until[kernel.output] = max(self.read_until[kernel.output], written)

    def there(self, kernel: VectorKernel, column: int) -> list[int]:
        """For each row of a kernel: from which cycle on everything that it reads may be read."""
        rows = np.arange(self.rows(kernel))
        ready = np.zeros(len(rows), np.int64)
        for view in views_of(kernel):
            name, number = view.name, view.met(column)
            if view.indices is not None:
                name, number = view.indices, 0
            ready = np.maximum(ready, self.ready[name, number][view.first_row + view.row_step * rows])
        return [int(cycle) for cycle in ready]

    def lay_out(self, kernel: VectorKernel, column: int, stripe: Stripe) -> None:
        """Stream the rows of one stripe, of a factor or of indices, through the VXM."""
        rows = Rows(stripe.first, stripe.step)
        landing = Landing(Column((stripe.mem_slice,), stripe.base), Rows(0, 1))
        journey = self.best(
            kernel,
            stripe.count,
            len(self.placement.planes),
            0,
            lambda chains: (self.vector_row(kernel, column, chain, rows, landing) for chain in chains),
        )
        start, gap = self.depart_rows(journey, stripe.count, self.vacant(kernel, journey, 0))
        members = slice(stripe.first, stripe.first + stripe.step * stripe.count, stripe.step)
        written = start + journey.results[column] + gap * np.arange(stripe.count)
        # Of a row that lies in several stripes the last counts.
        self.ready[kernel.output, column][members] = np.maximum(self.ready[kernel.output, column][members], written)

    def scatter(self, kernel: VectorKernel, column: int, indices: str) -> None:
        """Stream rows through the VXM to wherever their indices say, one after the other."""
        for row in range(self.rows(kernel)):
            for landing in self.choices(kernel, column, indices, row):

                def going(
                    chains: list[tuple[Placed, ...]], row: int = row, landing: Landing = landing
                ) -> Iterator[Journey]:
                    return (self.vector_row(kernel, column, chain, Rows(row, 1), landing) for chain in chains)

                journey = self.best(kernel, 1, len(self.placement.planes), 0, going)
                start, _ = self.depart_rows(journey, 1, self.vacant(kernel, journey, 0))
                ready = self.ready[kernel.output, column]
                np.maximum(ready, start + journey.results[column], out=ready)

    def choices(self, kernel: VectorKernel, column: int, indices: str, row: int) -> list[Landing]:
        """Where a row goes that an index chooses: to all slices where it may belong, at once where they all hear of it,
        or else in turn."""
        window, output = self.placement.windows[kernel.output], kernel.output
        dealt = self.placement.stripes.get((output, column), ())
        # Rows that follow one another from a multiple of their number on cannot belong everywhere.
        known = math.gcd(self.rows(kernel), max(len(dealt), 1))
        stripes = [stripe for stripe in dealt if stripe.first % known == row % known]
        if not stripes:
            choice = Choice(indices, window, row=row)
            return [Landing(self.placement.buffers[output][column], Rows(0, 0), choice)]
        if output not in self.placement.fronts:
            return [
                Landing(
                    Column((stripe.mem_slice,), stripe.base),
                    Rows(0, 0),
                    Choice(indices, window, (stripe.first,), row=row),
                )
                for stripe in stripes
            ]
        first, *others = ((stripe.mem_slice,) for stripe in stripes)
        places = tuple(stripe.first for stripe in stripes)
        choice = Choice(indices, window, places, self.placement.fronts[output], row)
        return [Landing(Column(first, stripes[0].base, tuple(others)), Rows(0, 0), choice)]

    def vector_row(
        self, kernel: VectorKernel, column: int, chain: tuple[Placed, ...], rows: Rows, landing: Landing
    ) -> Journey:
        """One row of a vector kernel: from SRAM through the chain into SRAM; it starts as the first ALU samples.

        Departures compute `rows` of those that the kernel computes.
        """
        journey = Journey()
        x = self.router.buffer_operand(journey, kernel.source, column, rows, 0)
        journey.results[column] = self.router.chain(journey, chain, column, rows, x, 0, landing)
        return journey


def _in_groups(there: list[int]) -> Iterator[range]:
    """Consecutive rows: none is there much later than it could follow the first, a row a cycle."""
    first = 0
    for row, cycle in enumerate(there):
        if cycle - (row - first) > there[first] + _PATIENCE:
            yield range(first, row)
            first = row
    yield range(first, len(there))
