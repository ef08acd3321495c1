# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Scheduling: kernels become instructions at exact cycles.

Kernels are taken in order, and everything they do departs as early as data and free resources allow. The output columns
of a product are dealt out to the planes of the chip. With many rows, all planes take the same rows in the same cycles,
while the weights of their next tiles stream into the shadow buffers. With few, loading weights is what takes time: the
rows go to the activation buffers once, and every plane loads tile after tile without a gap and replays them. The chains
behind the MXM run at the rate of the rows, so a result goes from accumulator to SRAM without a stop.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from openlpu.arch.config import GROUP, ChipConfig, Reach
from openlpu.arch.geometry import QueueKind, Stream, geometry
from openlpu.arch.isa import BY_MNEMONIC, Format, Operand, instruction
from openlpu.arch.program import Column
from openlpu.compiler.activations import ActivationBuffer, HeldRows
from openlpu.compiler.chain import Placed
from openlpu.compiler.flows import Pace, flows
from openlpu.compiler.forwarding import Forwarding
from openlpu.compiler.journeys import Journey, Landing, Rows, Stop, after
from openlpu.compiler.kernels import (
    BufferOperand,
    Factor,
    KernelGraph,
    MatMulKernel,
    OtherSums,
    VectorKernel,
)
from openlpu.compiler.lasting import Stripe
from openlpu.compiler.place import Placement
from openlpu.compiler.planes import Plane
from openlpu.compiler.tiles import Source, Tile, Tiles
from openlpu.compiler.timeline import Dispatch, Flight, Ride, Run
from openlpu.compiler.vector_rows import VectorDepartures

_SLOWEST_COLUMN = 256
"""Cycles from one of stacked columns to the next, at most."""


@dataclass(frozen=True)
class Schedule:
    """What every queue does when."""

    dispatches: dict[str, list[Run]]
    """Of each queue by name, in order of cycles."""
    rides: tuple[tuple[Ride, int, int], ...]
    """Every vector that travels, and whom it is meant for: a ride, how often, and how many cycles apart.
    `openlpu.compiler.meetings` holds the program to it."""
    cycles: int
    """Length of the program."""
    finished: tuple[int, ...]
    """Of each kernel: the cycle from which on all that it writes may be read."""


def schedule(graph: KernelGraph, placement: Placement, config: ChipConfig) -> Schedule:
    """Give every instruction its cycle.

    Raises:
        CompileError: when the chip has too few streams or ALU paths for a kernel, by name.
    """
    scheduler = Scheduler(graph, placement, config)
    scheduler.begin()
    for number in range(len(graph.kernels)):
        scheduler.follow(number)
    return scheduler.scheduled()


class _PlaneState:
    """What the scheduler knows about one plane while it goes through the tiles."""

    def __init__(
        self, plane: Plane, config: ChipConfig, tiles: Iterator[Tile], last_met: Mapping[HeldRows, int]
    ) -> None:
        places = geometry(config)
        self.plane = plane
        self.weights = places.of_kind(QueueKind.MXM_WEIGHTS)[plane.index]
        self.acts = places.of_kind(QueueKind.MXM_ACTS)[plane.index]
        self.accs = places.of_kind(QueueKind.MXM_ACCS)[plane.index]
        self.outward = self.acts.consumes[0].direction
        self.inward = self.accs.produces[0].direction
        self.installed = -1
        """Dispatch of the last install: the shadow buffer is free after it."""
        self.last_rows = -1
        """Last dispatch of `abc` or `abr`."""
        self.usable = 0
        """From when on it takes rows for the tile that was installed last."""
        self.tiles = tiles
        """Weight tiles still to be loaded, in order of use."""
        self.postponed: Tile | None = None
        """The next tile, when it could not be loaded yet because nothing has computed it."""
        self.loaded = 0
        """Cycle from which the tile that is being loaded may be installed."""
        self.buffer = ActivationBuffer(config.act_depth, last_met)

    def meets(self, flight: Flight) -> list[Dispatch]:
        """What sends rows of a flight to the array, in order of time; what goes to the activation buffer does not."""
        here = (entry for entry in flight.dispatches if entry.queue == self.acts)
        rows = (entry for entry in here if entry.instruction.spec.mnemonic != "abl")
        return sorted(rows, key=lambda entry: entry.offset)


class Scheduler(VectorDepartures):
    """Departures of all kernels in order; its own part are products."""

    def __init__(self, graph: KernelGraph, placement: Placement, config: ChipConfig) -> None:
        self.tiles = Tiles(graph, placement, config)
        self.planes = [
            _PlaneState(plane, config, self.tiles.of_plane(number), self.tiles.last_met)
            for number, plane in enumerate(placement.planes)
        ]
        forwarding = Forwarding(graph, self.tiles, [plane.buffer for plane in self.planes])
        super().__init__(graph, placement, config, forwarding)
        self.loads: dict[tuple[_PlaneState, str, int], tuple[Flight, int]] = {}
        """Of each plane and instruction the load of a group from word 0: all others differ in their addresses only."""
        self.computed = {*graph.constants, *graph.states} - {*graph.scattered}
        """Buffers whose kernels have been scheduled, or need not be."""
        self.finished: list[int] = []
        self.done = -1
        """Which kernel has been scheduled last."""

    def begin(self) -> None:
        """Load the first tile of every plane."""
        for plane in self.planes:
            self.load_next(plane)

    def follow(self, number: int) -> None:
        """Schedule the next kernel, the one with this number; of one that gathers, all has come already."""
        kernel = self.graph.kernels[number]
        match kernel:
            case MatMulKernel() if number in self.tiles.regular:
                self.flow(number, kernel)
                self.forget(number, kernel)
            case MatMulKernel() if self.tiles.replays(number, kernel):
                self.replay(number, kernel)
                self.forget(number, kernel)
            case MatMulKernel():
                self.stream(number, kernel)
            case VectorKernel():
                self.vectors(number, kernel)
        self.computed.add(kernel.output)
        self.done = number
        columns = range(self.tiles.columns(kernel.output))
        self.finished.append(max(int(self.ready[kernel.output, column].max()) for column in columns))

    def scheduled(self) -> Schedule:
        """All kernels so far."""
        dispatches = {name: sorted(runs, key=lambda run: run.cycle) for name, runs in self.dispatches.items()}
        return Schedule(dispatches, tuple(self.rides), self.end, tuple(self.finished))

    # Weights

    def load_next(self, plane: _PlaneState) -> None:
        """Stream the plane's next tile, if any, into the shadow buffer; of a replayed one all but the last group."""
        tile = next(plane.tiles, None)
        if tile is None:
            return
        factor = tile.term.weights
        others = any(self.done < number < tile.number for number in self.tiles.regular)
        if others or (isinstance(factor, Factor) and factor.name not in self.computed):
            plane.postponed = tile
        else:
            self.load(plane, tile)

    def load(self, plane: _PlaneState, tile: Tile) -> None:
        """Stream a tile into the shadow buffer of a plane."""
        plane.postponed = None
        plane.loaded = plane.installed + 1
        groups = self.tiles.groups - 1 if tile.replayed else self.tiles.groups
        if groups:
            journey = self.loading(plane, tile, 0)
            plane.loaded = self.depart_loads(journey, groups, plane.loaded) + groups

    def loading(self, plane: _PlaneState, tile: Tile, group: int) -> Journey:
        """One load of weights, from the plane's feeders to its shadow buffer; the last group of a replayed tile
        installs it."""
        base = self.placement.weights[tile.number, tile.output_column, tile.inner]
        factor = tile.term.weights
        mnemonic = "lwt" if isinstance(factor, Factor) and factor.transposed else "lw"
        mnemonic += "_iw" if tile.replayed else ""
        if (plane, mnemonic, group) not in self.loads:
            self.loads[plane, mnemonic, group] = self.first_load(plane, mnemonic, group)
        pattern, read_at = self.loads[plane, mnemonic, group]
        journey = Journey(pattern.reading_from(base + group))
        if isinstance(factor, Factor):
            down, across = factor.tile(tile.inner.input_column, tile.output_column)
            journey.loads = (factor.name, across, down * self.config.lanes, read_at)
        return journey

    def first_load(self, plane: _PlaneState, mnemonic: str, group: int) -> tuple[Flight, int]:
        """A load from word 0 of the feeders, and the time by which the words must be in SRAM."""
        flight = Flight()
        skew = after(self.router.latency(plane.weights, mnemonic).skew)
        flight.dispatch(plane.weights, 0, instruction(mnemonic, g=group), step=1)
        read_at = [
            self.router.read(flight, mem_slice, 0, stream, plane.weights.hop, skew, 1)
            for stream, mem_slice in zip(plane.weights.consumes, plane.plane.feeders, strict=True)
        ]
        return flight, min(read_at)

    def depart_loads(self, journey: Journey, count: int, earliest: int) -> int:
        """Load weights as early as the whole tile is in SRAM; return the start."""
        if journey.loads is None:
            return self.depart(journey.flight, count, 1, earliest)
        factor, column, row, offset = journey.loads
        ready = int(self.ready[factor, column][row : row + self.config.lanes].max())
        start = self.depart(journey.flight, count, 1, max(earliest, ready - offset))
        self.read_until[factor] = max(self.read_until[factor], start + offset + count - 1)
        return start

    def may_install(self, plane: _PlaneState, mnemonic: str) -> int:
        """The first cycle in which the rows of the tile before have used the old weights by the time the new ones
        stand."""
        stands = after(self.router.latency(plane.weights, mnemonic).state)
        return max(plane.loaded, plane.last_rows + self.timing.weights_used - stands + 1)

    def may_use(self, plane: _PlaneState, mnemonic: str) -> int:
        """The first cycle in which rows may be sent to weights that `mnemonic` has installed."""
        stands = after(self.router.latency(plane.weights, mnemonic).state)
        return max(plane.installed + stands - self.timing.weights_used, plane.last_rows + 1)

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

    def install(self, planes: list[_PlaneState]) -> None:
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
            for members in _columns(placed) if step[0][1].last else [[member] for member in placed]:
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
            for term, column in sources:
                word = self.planes[index].buffer.word(HeldRows(kernel.terms[term].rows, column, self.rows(kernel)))
                if word is None:
                    return {}
                words[index, (term, column)] = word
        return words

    def forget(self, number: int, kernel: MatMulKernel) -> None:
        """What a state held, or an index said, is not what it does when the next product asks for it."""
        for index, sources in self.tiles.sources(number).items():
            for term, column in sources:
                view = kernel.terms[term].rows
                if not self.graph.states.keys().isdisjoint((view.name, view.indices)):
                    self.planes[index].buffer.release(HeldRows(view, column, self.rows(kernel)))

    # Columns that are all alike: the whole product in one flow, and its text as short as can be

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

    def flow_part(self, number: int, plane: _PlaneState, tiles: list[Tile], words: list[int]) -> None:
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
        self.forwarding.loaded(journey, start, gap, columns)
        end = start + gap * (columns - 1)
        plane.installed = end + journey.flight.latest(plane.weights)
        plane.last_rows = end + plane.meets(journey.flight)[-1].offset
        if tiles[-1].last:
            ready = self.ready[kernel.output, 0][kernel.target.members(self.graph.buffer(kernel.output))]
            np.maximum(ready, start + journey.results[0] + gap * np.arange(columns).repeat(rows), out=ready)

    def flowing(
        self,
        number: int,
        plane: _PlaneState,
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
            for flow in flows(bases, tiles[0].rows, pace, one.flight, alone.flight, first.flight):
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
        plane: _PlaneState,
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

    def may_flow(self, plane: _PlaneState, flight: Flight) -> int:
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
        plane: _PlaneState,
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

    def turns(self, chain: tuple[Placed, ...]) -> int:
        """Cycles from a row to the next one, at least, as the slowest step of a chain takes them."""
        return max(self.timing.turns(BY_MNEMONIC[place.step.mnemonic]) for place in chain)

    def load_group(
        self, journey: Journey, plane: _PlaneState, tile: Tile, base: int, group: int, offset: int, step: int
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

    def fill_buffers(self, words: Mapping[int, int], tile: Tile) -> None:
        """Send the rows that a tile meets to the activation buffers of planes, from a word of each on."""
        for hemisphere in sorted({self.planes[index].plane.hemisphere for index in words}):
            here = {index: word for index, word in words.items() if self.planes[index].plane.hemisphere == hemisphere}
            planes = [(self.planes[index], word) for index, word in here.items()]
            (one, _), *_ = planes
            load, replay = (self.router.latency(one.acts, mnemonic) for mnemonic in ("abl", "abr"))
            earliest = max(plane.buffer.unused(word + np.arange(tile.rows)) for plane, word in planes)
            ways = [self.filling(planes, tile, after(load.skew), across) for across in self.streams_across]
            journey = min(ways, key=lambda way: self.start_of_rows(way, tile.rows, earliest))
            start, gap = self.depart_rows(journey, tile.rows, earliest)
            rows = HeldRows(tile.term.rows, tile.inner.input_column, tile.rows)
            loaded = start + gap * np.arange(tile.rows)
            for plane, word in planes:
                plane.buffer.filled(
                    word + np.arange(tile.rows), loaded, loaded + after(load.state) - after(replay.skew)
                )
                plane.buffer.hold(rows, word)

    def filling(self, planes: list[tuple[_PlaneState, int]], tile: Tile, arrival: int, across: int) -> Journey:
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

    # Rows

    def send(self, tiles: list[tuple[_PlaneState, Tile]]) -> None:
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
        self.forwarding.loaded(journey, start, gap, tile.rows)

    def finished_rows(self, tiles: list[tuple[_PlaneState, Tile]], earliest: int) -> Journey:
        """The best way of rows that meet the last tiles of some columns."""
        tile, columns = tiles[0][1], _columns(tiles)

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
        tiles: list[tuple[_PlaneState, Tile]],
        chains: list[tuple[Placed, ...]],
        stops: Sequence[tuple[Stop, ...]],
    ) -> Iterator[Journey]:
        """One row of the last tiles: the finished sums go on to the VXM, each on a group, and through a chain for every
        column. Sums of planes that share a column arrive as the chain adds them. Results of each column go on by way of
        some stops.

        Where there are fewer chains than columns, columns take turns, as far apart as a chain takes rows.
        """
        count, columns = self.config.streams // GROUP, _columns(tiles)
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
                        self.leave(journey, *others[other], turn + later, outs[1 + other], tile.acc, next_acc=1)
                self.multiply(journey, plane, tile, turn)
                self.emit(
                    journey,
                    plane,
                    tile,
                    turn,
                    outs[0],
                    chain,
                    tile.acc,
                    stops[number],
                    next_row=1,
                    next_acc=1,
                    others=streams,
                )
            yield journey

    def emit(
        self,
        journey: Journey,
        plane: _PlaneState,
        tile: Tile,
        offset: int,
        out: Stream,
        chain: tuple[Placed, ...],
        acc: int,
        stops: tuple[Stop, ...],
        *,
        next_row: int,
        next_acc: int,
        others: Mapping[int, Stream] | None = None,
    ) -> None:
        """A row that has met the last tile `offset` cycles after the start, from accumulator `acc` through the VXM.

        The next departure brings the row `next_row` further, from the accumulator `next_acc` further. `others` bring
        sums of other planes for the chain.
        """
        arrival = self.leave(journey, plane, tile, offset, out, acc, next_acc=next_acc)
        total = self.rows(tile.kernel)
        landing = self.router.landing(tile.kernel, tile.output_column, total, tile.first_row)
        landing = Landing(landing.column, Rows(landing.rows.first, landing.rows.step * next_row), stops=stops)
        column, members = self.place(tile)
        rows = Rows(members.start, next_row)
        x = Operand(Format.WORD, out)
        journey.results[tile.output_column] = self.router.chain(
            journey, chain, column, rows, x, arrival, landing, others
        )

    def leave(
        self, journey: Journey, plane: _PlaneState, tile: Tile, offset: int, out: Stream, acc: int, *, next_acc: int
    ) -> int:
        """Send to the VXM the sums of a row that has met the last tile `offset` cycles after the start; return when
        they are there."""
        mnemonic = "acc_set_out" if tile.first else "acc_add_out"
        offset += self.acc_offset(plane, mnemonic)
        journey.flight.dispatch(plane.accs, offset, instruction(mnemonic, a=acc, d=out), step=next_acc)
        leaves = offset + after(self.router.latency(plane.accs, mnemonic).func)
        arrival = leaves + self.geometry.hops_between(out, plane.accs.hop, self.geometry.vxm_hop)
        for stream in out.planes:
            journey.flight.ride(stream, plane.accs, self.geometry.vxm_hop, arrival)
        return arrival

    def multiply(self, journey: Journey, plane: _PlaneState, tile: Tile, offset: int) -> None:
        """Activations of a row to the array, `offset` cycles after the start of the journey."""
        journey.floor = max(journey.floor, plane.usable - offset)
        if tile.replayed:
            journey.flight.dispatch(plane.acts, offset, instruction("abr", a=tile.word), step=1)
            return
        sampled = offset + after(self.router.latency(plane.acts, "abc").skew)
        stream = self.activations(journey, plane, tile, sampled)
        journey.flight.dispatch(plane.acts, offset, instruction("abc", s=stream))

    def activations(self, journey: Journey, plane: _PlaneState, tile: Tile, arrival: int, across: int = 0) -> Stream:
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
        self, journey: Journey, plane: _PlaneState, view: BufferOperand, indices: str, stripe: Stripe, arrival: int
    ) -> Stream:
        """As `activations`, what one feeder has of the row of a factor that an index says."""
        stream = Stream(plane.outward, self.placement.streams(Column((stripe.mem_slice,), 0))[0])
        rows, hop = Rows(view.first_row, view.row_step), plane.acts.hop
        where = view.name, stripe.mem_slice, stripe.base, stripe.first
        read_at = self.router.gather(journey.flight, *where, indices, rows, stream, hop, arrival)
        journey.awaits.append((indices, 0, rows, read_at))
        return stream

    def acc_offset(self, plane: _PlaneState, mnemonic: str) -> int:
        """From the dispatch of `abc` to that of the accumulator instruction which takes its sums."""
        return after(self.router.latency(plane.acts, "abc").state) - after(
            self.router.latency(plane.accs, mnemonic).skew
        )


def _columns(tiles: list[tuple[_PlaneState, Tile]]) -> list[list[tuple[_PlaneState, Tile]]]:
    """The tiles of each output column, in order of the planes that share it."""
    columns: dict[int, list[tuple[_PlaneState, Tile]]] = {}
    for plane, tile in tiles:
        columns.setdefault(tile.output_column, []).append((plane, tile))
    return list(columns.values())
