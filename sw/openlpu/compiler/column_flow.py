# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Products whose output columns are all alike, on one plane: the whole product in one flow, so that its text is short.
`openlpu.compiler.flows` knows the ways that a column may take."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from openlpu.arch.config import GROUP
from openlpu.arch.geometry import Stream
from openlpu.arch.isa import instruction
from openlpu.compiler.chain import Placed
from openlpu.compiler.flows import Pace, flows
from openlpu.compiler.journeys import Journey, Rows, Stop, after
from openlpu.compiler.kernels import Factor, MatMulKernel
from openlpu.compiler.products import ProductDepartures
from openlpu.compiler.tiles import Tile
from openlpu.compiler.timeline import Flight
from openlpu.compiler.weight_loads import PlaneState

_SLOWEST_COLUMN = 256
"""Cycles from one of stacked columns to the next, at most."""


class FlowDepartures(ProductDepartures):
    """Departures of columns that follow one another in step."""

    def flow(self, number: int, kernel: MatMulKernel) -> None:
        """Multiply replayed rows by all tiles of a kernel, every output column as the one before."""
        (plane,) = self.planes
        rows, parts = self.rows(kernel), self.tiles.of_column(number, kernel)
        sources = [list(dict.fromkeys(tile.source for tile in tiles)) for tiles in parts]
        held = self.held_words(kernel, {0: [*itertools.chain(*sources)]})
        for tiles, every in zip(parts, sources, strict=True):
            if held:
                words = [held[0, tile.source] for tile in tiles]
            else:
                base = plane.buffer.take_some(rows * len(every), number)
                words = [base + rows * every.index(tile.source) for tile in tiles]
                for word, tile in dict(zip(words, tiles, strict=True)).items():
                    self.fill_buffers({0: word}, tile)
            self.flow_part(number, plane, tiles, words)
            for word in words:
                plane.buffer.replayed(word, rows, plane.last_rows)

    def flow_part(self, number: int, plane: PlaneState, tiles: list[Tile], words: list[int]) -> None:
        """One pass over the rows of a regular kernel: some tiles of every output column, which meet the rows in these
        words of the activation buffer. Unless it is the last, sums wait in accumulators."""
        kernel, rows = tiles[0].kernel, tiles[0].rows
        columns = self.placement.outputs(kernel)

        def to(stops: Sequence[tuple[Stop, ...]]) -> Journey:
            flowing = functools.partial(self.flowing, number, plane, tiles, words, stops)
            return self.best(kernel, columns, 1, 0, flowing, limit=_SLOWEST_COLUMN)

        if tiles[-1].last:
            every = [range(row, rows * columns, rows) for row in range(rows)]
            parts = [self.forwarding.whole(number, 0, members) for members in every]
            journey = self.forwarded(kernel, columns, 0, parts, to)
        else:
            journey = to([()] * rows)
        start, gap = self.depart_rows(journey, columns, self.vacant(kernel, journey, 0))
        self.forward(journey, kernel, start, gap, columns)
        end = start + gap * (columns - 1)
        plane.installed = end + journey.flight.latest(plane.weights)
        plane.last_rows = end + plane.meets(journey.flight)[-1].offset
        if tiles[-1].last:
            ready = self.ready[kernel.output, 0][kernel.target.members(self.graph.buffer(kernel.output))]
            np.maximum(ready, start + journey.results[0] + gap * np.arange(columns).repeat(rows), out=ready)

    def flowing(
        self,
        number: int,
        plane: PlaneState,
        tiles: list[Tile],
        words: list[int],
        stops: Sequence[tuple[Stop, ...]],
        chains: list[tuple[Placed, ...]],
    ) -> Iterator[Journey]:
        """Tiles of an output column stream into the array and meet the words of their rows; if the last one is the last
        of the column, sums go on to the VXM, and results of each row by way of some stops.

        It starts as the first row meets the last tile.
        """
        bases = [self.placement.weights[number, 0, tile.inner] for tile in tiles]
        step, kept = self.tiles.step(number, tiles[0].kernel), self.tiles.accumulators(number, tiles[0].kernel)
        ahead = after(self.router.latency(plane.weights, "lw_iw").state) - self.timing.weights_used
        one = Journey()
        self.load_group(one, plane, tiles[0], bases[0], 0, 0, 0)
        ends = [*itertools.product(chains, range(self.config.streams // GROUP))] if tiles[-1].last else [(chains[0], 0)]
        for chain, group in ends:
            out = Stream(plane.inward, GROUP * group)
            finish = functools.partial(
                self.finish,
                plane=plane,
                tile=tiles[-1],
                word=words[-1],
                out=out,
                chain=chain,
                next_acc=kept,
                stops=stops,
            )
            if not tiles[-1].last:
                finish = functools.partial(self.accumulate, plane=plane, tile=tiles[-1], word=words[-1], next_acc=kept)
            alone, first = Journey(), Journey()
            finish(alone)
            finish(first, at=(0,))
            pace = Pace(self.tiles.groups, ahead, self.turns(chain) if tiles[-1].last else 1)
            for flow in flows(len(tiles), tiles[0].rows, pace, one.flight, alone.flight, first.flight):
                journey = Journey()
                for position, load, at in flow.loads:
                    self.load_group(journey, plane, tiles[position], bases[position], load, at, step)
                for tile, word, meet in zip(tiles[:-1], words, flow.meets, strict=False):
                    met = range(meet, meet + tile.rows)
                    self.accumulate(journey, plane=plane, tile=tile, word=word, next_acc=kept, at=met)
                finish(journey, at=flow.finish)
                journey.apart = flow.apart(plane.meets(journey.flight)[-1].offset, ahead)
                journey.floor = self.may_flow(plane, journey.flight)
                yield journey

    def accumulate(
        self,
        journey: Journey,
        plane: PlaneState,
        tile: Tile,
        word: int,
        next_acc: int,
        at: Sequence[int] | None = None,
    ) -> None:
        """The rows of a column meet a tile, at these times or one after the other, and their sums stay."""
        mnemonic = "acc_set" if tile.first else "acc_add"
        for row, met in enumerate(range(tile.rows) if at is None else at):
            journey.flight.dispatch(plane.acts, met, instruction("abr", a=word + row))
            leaves = met + self.acc_offset(plane, mnemonic)
            journey.flight.dispatch(plane.accs, leaves, instruction(mnemonic, a=row), step=next_acc)

    def may_flow(self, plane: PlaneState, flight: Flight) -> int:
        """The first start of a flow at which the tile before has been used by the time the first one of it stands, and
        its rows are in the activation buffer."""
        loads = sorted(entry.offset for entry in flight.dispatches if entry.queue == plane.weights)
        stands = after(self.router.latency(plane.weights, "lw_iw").state)
        return max(
            plane.installed + 1 - loads[0],
            plane.last_rows + self.timing.weights_used - stands + 1 - loads[self.tiles.groups - 1],
            *(plane.buffer.ready(entry.instruction.number("a"), 1) - entry.offset for entry in plane.meets(flight)),
        )

    def finish(
        self,
        journey: Journey,
        plane: PlaneState,
        tile: Tile,
        word: int,
        out: Stream,
        chain: tuple[Placed, ...],
        next_acc: int,
        stops: Sequence[tuple[Stop, ...]],
        at: Sequence[int] | None = None,
    ) -> None:
        """The rows of a column meet its last tile, at these times if any are given, or else as fast as the slowest step
        of the chain can take them; each goes on by way of its stops."""
        pace = self.turns(chain)
        for row, offset in enumerate(range(0, tile.rows * pace, pace) if at is None else at):
            mine = dataclasses.replace(tile, first_row=row)
            journey.flight.dispatch(plane.acts, offset, instruction("abr", a=word + row))
            self.emit(journey, plane, mine, offset, out, chain, row, stops[row], next_row=tile.rows, next_acc=next_acc)

    def load_group(
        self, journey: Journey, plane: PlaneState, tile: Tile, base: int, group: int, offset: int, step: int
    ) -> None:
        """Load a row group of a tile, which the last one installs; the next departure's lies `step` further."""
        factor = tile.term.weights
        mnemonic = "lwt_iw" if isinstance(factor, Factor) and factor.transposed else "lw_iw"
        journey.flight.dispatch(plane.weights, offset, instruction(mnemonic, g=group))
        arrival = offset + after(self.router.latency(plane.weights, mnemonic).skew)
        read_at = [
            self.router.read(journey.flight, feeder, base + group, stream, plane.weights.hop, arrival, step)
            for stream, feeder in zip(plane.weights.consumes, plane.plane.feeders, strict=True)
        ]
        if isinstance(factor, Factor):
            down, across = factor.tile(tile.inner.input_column, tile.output_column)
            rows = range(down * self.config.lanes, (down + 1) * self.config.lanes)
            present = [row for row in rows if row < len(self.ready[factor.name, across])]
            journey.awaits += [(factor.name, across, Rows(row, 0), min(read_at)) for row in present]
