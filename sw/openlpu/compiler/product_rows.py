# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Rows on their way to the planes, and their sums on the way back: what meets the last tile of a column goes from the
accumulators through the VXM into SRAM without a stop."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

from openlpu.arch.config import GROUP
from openlpu.arch.geometry import Stream
from openlpu.arch.isa import BY_MNEMONIC, Format, Operand, instruction
from openlpu.arch.program import Column
from openlpu.compiler.chain import Placed
from openlpu.compiler.journeys import Journey, Rows, Stop, after
from openlpu.compiler.kernels import BufferOperand, OtherSums
from openlpu.compiler.lasting import Stripe
from openlpu.compiler.tiles import Tile
from openlpu.compiler.weight_loads import PlaneState, WeightDepartures


class RowDepartures(WeightDepartures):
    """Departures of rows that meet tiles."""

    def send(self, tiles: list[tuple[PlaneState, Tile]]) -> None:
        """Send the rows of tiles to their planes at once; behind the last tile of an output column, run the chain."""
        tile, earliest = tiles[0][1], tiles[0][0].usable
        if tile.last:
            journey = self.finished_rows(tiles, earliest)
        else:
            journey = Journey()
            for plane, member in tiles:
                self.multiply(journey, plane, member, 0)
                mnemonic = "acc_set" if member.first else "acc_add"
                offset = self.acc_offset(plane, mnemonic)
                journey.flight.dispatch(plane.accs, offset, instruction(mnemonic, a=member.acc), step=1)
        start, gap = self.depart_rows(journey, tile.rows, self.vacant(tile.kernel, journey, earliest))
        for plane, _ in tiles:
            plane.last_rows = start + plane.meets(journey.flight)[-1].offset + gap * (tile.rows - 1)
        self.written(journey, tile.kernel, tile.first_row, start, gap, tile.rows)
        self.forward(journey, tile.kernel, start, gap, tile.rows)

    def finished_rows(self, tiles: list[tuple[PlaneState, Tile]], earliest: int) -> Journey:
        """The best way of rows that meet the last tiles of some columns."""
        tile, columns = tiles[0][1], columns_of(tiles)

        def to(stops: Sequence[tuple[Stop, ...]]) -> Journey:
            return self.best(
                tile.kernel,
                tile.rows,
                len(self.planes),
                earliest,
                lambda chains: self.finishing(tiles, chains, stops),
                planes=len(tiles) // len(columns),
            )

        parts = [self.forwarding.whole(tile.number, *self.place(member)) for ((_, member), *_) in columns]
        return self.forwarded(tile.kernel, tile.rows, earliest, parts, to)

    def place(self, tile: Tile) -> tuple[int, range]:
        """Where the sums of a tile are in the output of its kernel: the column, and the rows of it."""
        column, first = tile.output_column, tile.first_row
        if tile.kernel.target.stacked:
            column, first = 0, tile.output_column * self.rows(tile.kernel) + tile.first_row
        return column, range(first, first + tile.rows)

    def finishing(
        self,
        tiles: list[tuple[PlaneState, Tile]],
        chains: list[tuple[Placed, ...]],
        stops: Sequence[tuple[Stop, ...]],
    ) -> Iterator[Journey]:
        """One row of the last tiles: the finished sums go on to the VXM, each on a group, and through a chain for every
        column. Sums of planes that share a column arrive as the chain adds them. Results of each column go on by way of
        some stops.

        Where there are fewer chains than columns, columns take turns, as far apart as a chain takes rows.
        """
        count, columns = self.config.streams // GROUP, columns_of(tiles)
        first_chains = range(len(chains)) if len(columns) == 1 else range(1)
        for first_chain, spacing, first_group in itertools.product(first_chains, (1, 2), range(count)):
            journey = Journey()
            # Sums of different hemispheres come on different sides of the VXM.
            beside = {plane.inward: itertools.count() for plane, _ in tiles}
            for number, ((plane, tile), *others) in enumerate(columns):
                before, which = divmod(first_chain + number, len(chains))
                chain, streams = chains[which], dict[int, Stream]()
                turn = before * self.turns(chain)
                outs = [
                    Stream(member.inward, GROUP * ((first_group + spacing * next(beside[member.inward])) % count))
                    for member, _ in columns[number]
                ]
                for place, later in zip(chain, self.router.sampled(chain), strict=True):
                    if isinstance(place.step.y, OtherSums):
                        other = place.step.y.number
                        streams[other] = outs[1 + other]
                        self.multiply(journey, *others[other], turn + later)
                        self.leave(journey, *others[other], turn + later, outs[1 + other])
                self.multiply(journey, plane, tile, turn)
                self.emit(
                    journey,
                    plane,
                    tile,
                    turn,
                    outs[0],
                    chain,
                    stops[number],
                    streams,
                )
            yield journey

    def emit(
        self,
        journey: Journey,
        plane: PlaneState,
        tile: Tile,
        offset: int,
        out: Stream,
        chain: tuple[Placed, ...],
        stops: tuple[Stop, ...],
        others: Mapping[int, Stream],
    ) -> None:
        """A row that has met the last tile `offset` cycles after the start, from its accumulator through the VXM;
        the next departure brings the next row. `others` bring sums of other planes for the chain."""
        arrival = self.leave(journey, plane, tile, offset, out)
        total = self.rows(tile.kernel)
        landing = self.router.landing(tile.kernel, tile.output_column, total, tile.first_row)
        landing = dataclasses.replace(landing, stops=stops)
        column, members = self.place(tile)
        rows = Rows(members.start, 1)
        x = Operand(Format.WORD, out)
        journey.results[tile.output_column] = self.router.chain(
            journey, chain, column, rows, x, arrival, landing, others
        )

    def leave(self, journey: Journey, plane: PlaneState, tile: Tile, offset: int, out: Stream) -> int:
        """Send to the VXM the sums of a row that has met the last tile `offset` cycles after the start; return when
        they are there."""
        mnemonic = "acc_set_out" if tile.first else "acc_add_out"
        offset += self.acc_offset(plane, mnemonic)
        journey.flight.dispatch(plane.accs, offset, instruction(mnemonic, a=tile.acc, d=out), step=1)
        leaves = offset + after(self.router.latency(plane.accs, mnemonic).func)
        arrival = leaves + self.geometry.hops_between(out, plane.accs.hop, self.geometry.vxm_hop)
        for stream in out.planes:
            journey.flight.ride(stream, plane.accs, self.geometry.vxm_hop, arrival)
        return arrival

    def multiply(self, journey: Journey, plane: PlaneState, tile: Tile, offset: int) -> None:
        """Activations of a row to the array, `offset` cycles after the start of the journey."""
        journey.floor = max(journey.floor, plane.usable - offset)
        if tile.replayed:
            journey.flight.dispatch(plane.acts, offset, instruction("abr", a=tile.word), step=1)
            return
        sampled = offset + after(self.router.latency(plane.acts, "abc").skew)
        stream = self.activations(journey, plane, tile, sampled)
        journey.flight.dispatch(plane.acts, offset, instruction("abc", s=stream))

    def activations(self, journey: Journey, plane: PlaneState, tile: Tile, arrival: int, across: int = 0) -> Stream:
        """Bring the rows of a tile to a plane, from the copy in its hemisphere, on a stream so much further than its
        own; return the stream that they ride."""
        view, column = tile.term.rows, tile.inner.input_column
        if view.dealt is not None and view.indices is not None:
            stripe = self.placement.stripes[view.name, column][view.dealt]
            return self.looked_up(journey, plane, view, view.indices, stripe, arrival)
        source = self.placement.buffers[view.name][column]
        source = source if view.byte is None else source.byte(view.byte)
        place = dataclasses.replace(source, slices=source.places[plane.plane.hemisphere])
        rows = Rows(view.first_row + view.row_step * tile.first_row, view.row_step)
        own = self.placement.streams(place)
        streams = [Stream(plane.outward, (index + across) % self.config.streams) for index in own]
        stream, read_at = self.router.fetch(journey.flight, place, rows, streams, plane.acts.hop, arrival)
        journey.awaits.append((view.name, column, rows, read_at))
        return stream

    def looked_up(
        self, journey: Journey, plane: PlaneState, view: BufferOperand, indices: str, stripe: Stripe, arrival: int
    ) -> Stream:
        """As `activations`, what one feeder has of the row of a factor that an index says."""
        stream = Stream(plane.outward, self.placement.streams(Column((stripe.mem_slice,), 0))[0])
        rows, hop = Rows(view.first_row, view.row_step), plane.acts.hop
        where = view.name, stripe.mem_slice, stripe.base, stripe.first
        read_at = self.router.gather(journey.flight, *where, indices, rows, stream, hop, arrival)
        journey.awaits.append((indices, 0, rows, read_at))
        return stream

    def turns(self, chain: tuple[Placed, ...]) -> int:
        """Cycles from a row to the next one, at least, as the slowest step of a chain takes them."""
        return max(self.timing.turns(BY_MNEMONIC[place.step.mnemonic]) for place in chain)

    def acc_offset(self, plane: PlaneState, mnemonic: str) -> int:
        """From the dispatch of `abc` to that of the accumulator instruction which takes its sums."""
        return after(self.router.latency(plane.acts, "abc").state) - after(
            self.router.latency(plane.accs, mnemonic).skew
        )


def columns_of(tiles: list[tuple[PlaneState, Tile]]) -> list[list[tuple[PlaneState, Tile]]]:
    """The tiles of each output column, in order of the planes that share it."""
    columns: dict[int, list[tuple[PlaneState, Tile]]] = {}
    for plane, tile in tiles:
        columns.setdefault(tile.output_column, []).append((plane, tile))
    return list(columns.values())
