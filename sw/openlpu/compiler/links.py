# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Vectors on their way from chip to chip: from SRAM to a link, and from a link to SRAM, in cycles relative to a free
start.

A link stands behind all SRAM of its hemisphere. What leaves flows outward past it, and all links of a hemisphere may
take it as it passes; what comes flows inward, and every slice that holds a copy takes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from openlpu.arch.config import ChipConfig, Reach
from openlpu.arch.geometry import Direction, Queue, QueueKind, Stream, geometry
from openlpu.arch.isa import BY_MNEMONIC, instruction
from openlpu.arch.links import flit_format
from openlpu.arch.program import Column
from openlpu.arch.timing import timing
from openlpu.compiler.journeys import Journey, Router, Rows, after

EAST, WEST = Direction.EAST, Direction.WEST
_STREAMS_TRIED = 8
"""Of those that a vector could ride on, where there is a choice."""


@dataclass(frozen=True)
class Parcel:
    """Vectors in SRAM: one plane of consecutive rows of a buffer's column."""

    buffer: str
    column: int
    plane: int
    row: int
    count: int


class LinkRouter:
    """Builds journeys to and from the links of one chip."""

    def __init__(self, router: Router, config: ChipConfig) -> None:
        self._router, self._config = router, config
        self._geometry, self._timing = geometry(config), timing(config)
        self.sends = self._geometry.of_kind(QueueKind.C2C_SEND)
        self.receives = self._geometry.of_kind(QueueKind.C2C_RECEIVE)
        self._beats = flit_format(config).beats

    def by_side(self, links: Sequence[int]) -> list[list[int]]:
        """Links that can take a vector at once: those of one hemisphere, the western one first."""
        hops = sorted({self.sends[link].hop for link in links})
        return [[link for link in links if self.sends[link].hop == hop] for hop in hops]

    def leaving(self, column: Column, parcel: Parcel, links: Sequence[int]) -> Iterator[Journey]:
        """The ways of vectors to links of one side, which take the first at the start."""
        hop = self.sends[links[0]].hop
        outward = EAST if hop > self._geometry.vxm_hop else WEST
        skew = after(self._timing.latency(BY_MNEMONIC["send"], self.sends[links[0]]).skew)
        for slices in column.places:
            for index in self._streams(column, parcel.plane):
                stream, journey = Stream(outward, index), Journey()
                mem_slice, address = slices[parcel.plane], column.base + parcel.row
                read_at = self._router.read(journey.flight, mem_slice, address, stream, hop, skew, 1)
                journey.awaits.append((parcel.buffer, parcel.column, Rows(parcel.row, 1), read_at))
                for link in links:
                    journey.flight.dispatch(self.sends[link], 0, instruction("send", s=stream))
                    journey.flight.hold(f"{self.sends[link].name} flit", 0, self._beats)
                yield journey

    def arriving(self, column: Column, parcel: Parcel, link: int) -> Iterator[Journey]:
        """The ways of vectors from a link, which gives the first at the start, into all places of a column."""
        queue = self.receives[link]
        inward = WEST if queue.hop > self._geometry.vxm_hop else EAST
        leaves = after(self._timing.latency(BY_MNEMONIC["receive"], queue).func)
        for index in self._streams(column, parcel.plane):
            stream, journey = Stream(inward, index), Journey()
            journey.flight.dispatch(queue, 0, instruction("receive", d=stream))
            finished = [
                self._written(journey, queue, stream, leaves, slices[parcel.plane], column.base + parcel.row)
                for slices in column.places
            ]
            journey.results[parcel.column] = max(finished)
            yield journey

    def _written(
        self, journey: Journey, producer: Queue, stream: Stream, leaves: int, mem_slice: int, address: int
    ) -> int:
        """Write what a link gives as it passes; when it may be read."""
        queue = self._router.mem_write[mem_slice]
        latency = self._timing.latency(BY_MNEMONIC["write"], queue)
        arrival = leaves + self._geometry.hops_between(stream, producer.hop, queue.hop)
        journey.flight.ride(stream, producer, queue.hop, arrival)
        dispatch = arrival - after(latency.skew)
        journey.flight.dispatch(queue, dispatch, instruction("write", a=address, s=stream), step=1)
        return dispatch + after(latency.state)

    def _streams(self, column: Column, plane: int) -> Iterator[int]:
        """Streams that a plane of a column may ride on. Where there is a choice, all that goes by links takes the same
        few: vectors come as far apart as flits last, so several share a stream, and rows on their way to the MXM, which
        follow each other without a gap, have the others."""
        if self._config.mem_reach is Reach.FULL:
            count = self._config.streams
            yield from reversed(range(max(count - _STREAMS_TRIED, 0), count))
        else:
            yield self._router.placement.streams(column)[plane if len(column.slices) > 1 else 0]
