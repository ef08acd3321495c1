# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Products tile by tile.

With many rows, all planes take the same rows in the same cycles, while the weights of their next tiles stream into the
shadow buffers. With few, loading weights is what takes time: the rows go to the activation buffers once, and every
plane loads tile after tile without a gap and replays them.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping

import numpy as np

from openlpu.arch.config import Reach
from openlpu.arch.isa import instruction
from openlpu.compiler.journeys import Journey, after
from openlpu.compiler.kernels import MatMulKernel
from openlpu.compiler.product_rows import RowDepartures, columns_of
from openlpu.compiler.tiles import Source, Tile
from openlpu.compiler.timeline import Flight
from openlpu.compiler.weight_loads import PlaneState


class ProductDepartures(RowDepartures):
    """Departures of products whose rows stream, or are replayed."""

    # Rows that stream: all planes take the same rows in the same cycles

    def stream(self, number: int, kernel: MatMulKernel) -> None:
        """Multiply by a kernel's tiles, installed long after they were loaded."""
        for step in self.tiles.steps(number, kernel):
            tiles = [(self.planes[plane], tile) for plane, tile in step]
            if fresh := [plane for plane, tile in tiles if not tile.stays]:
                self.install(fresh)
            alike = itertools.groupby(tiles, key=lambda member: member[1].inner)
            # Shares of a column have rows of their own to meet until their sums meet.
            for members in [tiles] if tiles[0][1].last else [list(members) for _, members in alike]:
                for plane, _ in members:
                    plane.usable = self.may_use(plane, "iw")
                self.send(members)

    def install(self, planes: list[PlaneState]) -> None:
        """The next tiles of some planes take the array at once, and what follows them begins to load."""
        flight = Flight()
        for plane in planes:
            if plane.postponed:
                self.load(plane, plane.postponed)
            flight.dispatch(plane.weights, 0, instruction("iw"))
        installed = self.depart(flight, 1, 1, max(self.may_install(plane, "iw") for plane in planes))
        for plane in planes:
            plane.installed = installed
            self.load_next(plane)

    # Rows that are replayed: every plane at its own pace

    def replay(self, number: int, kernel: MatMulKernel) -> None:
        """Multiply by a kernel's tiles as fast as they can be loaded."""
        rows, needed = self.rows(kernel), self.tiles.sources(number)
        words = self.held_words(kernel, needed)
        filled = {source for _, source in words}
        for sources in self.tiles.passes(number, kernel) if not words else []:
            parts = {plane: [source for source in every if source in sources] for plane, every in needed.items()}
            for index, part in parts.items():
                base = self.planes[index].buffer.take_some(rows * len(part), number)
                words |= {(index, source): base + rows * i for i, source in enumerate(part)}
        for step in self.tiles.steps(number, kernel):
            placed = [
                (self.planes[index], dataclasses.replace(tile, word=words[index, tile.source])) for index, tile in step
            ]
            for members in columns_of(placed) if step[0][1].last else [[member] for member in placed]:
                for plane, tile in members:
                    if tile.source not in filled:
                        # All planes that ever need the words take them as they pass.
                        filled.add(tile.source)
                        users = [index for index in sorted(needed) if (index, tile.source) in words]
                        self.fill_buffers({index: words[index, tile.source] for index in users}, tile)
                    if not tile.stays:
                        if plane.postponed:
                            self.load(plane, plane.postponed)
                        journey = self.loading(plane, tile, self.tiles.groups - 1)
                        plane.installed = self.depart_loads(journey, 1, self.may_install(plane, "lw_iw"))
                        self.load_next(plane)
                    plane.usable = max(self.may_use(plane, "lw_iw"), plane.buffer.ready(tile.word, rows))
                self.send(members)
                for plane, tile in members:
                    plane.buffer.replayed(tile.word, rows, plane.last_rows)

    def held_words(self, kernel: MatMulKernel, needed: Mapping[int, list[Source]]) -> dict[tuple[int, Source], int]:
        """Where the activation buffers hold all rows that planes need, by plane; nothing if they lack any."""
        words: dict[tuple[int, Source], int] = {}
        for index, sources in needed.items():
            for source in sources:
                word = self.planes[index].buffer.word(self.tiles.held(kernel, source))
                if word is None:
                    return {}
                words[index, source] = word
        return words

    def forget(self, number: int, kernel: MatMulKernel) -> None:
        """What a state held, or an index said, is not what it does when the next product asks for it."""
        for index, sources in self.tiles.sources(number).items():
            for source in sources:
                rows = self.tiles.held(kernel, source)
                if not self.graph.states.keys().isdisjoint((rows.view.name, rows.view.indices)):
                    self.planes[index].buffer.release(rows)

    def fill_buffers(self, words: Mapping[int, int], tile: Tile) -> None:
        """Send the rows that a tile meets to the activation buffers of planes, from a word of each on."""
        for hemisphere in sorted({self.planes[index].plane.hemisphere for index in words}):
            here = {index: word for index, word in words.items() if self.planes[index].plane.hemisphere == hemisphere}
            planes = [(self.planes[index], word) for index, word in here.items()]
            (one, _), *_ = planes
            load = self.router.latency(one.acts, "abl")
            earliest = max(plane.buffer.unused(word + np.arange(tile.rows)) for plane, word in planes)
            ways = [self.filling(planes, tile, after(load.skew), across) for across in self.streams_across]
            journey = min(ways, key=lambda way: self.start_of_rows(way, tile.rows, earliest))
            start, gap = self.depart_rows(journey, tile.rows, earliest)
            places = np.arange(tile.rows)
            for plane, word in planes:
                plane.buffer.filled(word + places, start + gap * places)
                plane.buffer.hold(self.tiles.held(tile.kernel, tile.source), word)

    def filling(self, planes: list[tuple[PlaneState, int]], tile: Tile, arrival: int, across: int) -> Journey:
        """A row of a tile goes to the activation buffers of planes of a hemisphere, on a stream so much further."""
        journey = Journey()
        stream = self.activations(journey, planes[0][0], tile, arrival, across)
        for plane, word in planes:
            journey.flight.dispatch(plane.acts, 0, instruction("abl", a=word, s=stream), step=1)
        return journey

    @property
    def streams_across(self) -> range:
        """How much further a stream may be that brings rows to activation buffers. A row takes a cycle from the weights
        of the plane whose they are that ride on its stream; where slices reach all streams, it may be any plane's."""
        config = self.config
        full = config.mem_reach is Reach.FULL
        return range(0, config.streams if full else config.weight_streams, config.weight_streams)
