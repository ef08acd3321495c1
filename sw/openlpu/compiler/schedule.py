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
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from openlpu.arch.config import GROUP, ChipConfig
from openlpu.arch.geometry import Direction, Queue, QueueKind, Stream, geometry
from openlpu.arch.isa import BY_MNEMONIC, IMMEDIATE, Format, Operand, Value, instruction
from openlpu.arch.program import Column
from openlpu.arch.timing import Latency, timing
from openlpu.compiler.chain import PASS, Placed, disjoint_chains
from openlpu.compiler.errors import CompileError
from openlpu.compiler.kernels import (
    BufferOperand,
    Factor,
    Immediate,
    Kernel,
    KernelGraph,
    LaneConstants,
    MatMulKernel,
    Step,
    VectorKernel,
)
from openlpu.compiler.place import Placement, Plane
from openlpu.compiler.timeline import Flight, Ride, Run, Timeline, departures

EAST, WEST = Direction.EAST, Direction.WEST


@dataclass(frozen=True)
class Rows:
    """The rows that departures meet one after the other: `first`, `first + step`, ..."""

    first: int
    step: int


@dataclass
class Journey:
    """One row on its way: what it does, what it waits for, and when its result may be read."""

    flight: Flight = field(default_factory=Flight)
    awaits: list[tuple[str, int, Rows, int]] = field(default_factory=list)
    """(buffer, column, rows, offset): the first of the rows must be in SRAM by this time after the start."""
    loads: tuple[str, int, int, int] | None = None
    """(factor, column, row, offset): the tile whose first row that is must be in SRAM by this time after the start."""
    results: dict[int, int] = field(default_factory=dict)
    """By output column: the time after the start from which the row written to it may be sampled."""


@dataclass(frozen=True)
class Tile:
    """One weight tile of a kernel, and the rows that pass it: `inner` counts it within its output column."""

    kernel: MatMulKernel
    number: int
    inner: int
    last: bool
    input_column: int
    output_column: int
    first_row: int
    rows: int
    replayed: bool
    """The rows come from the activation buffer, not from streams."""


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


def schedule(graph: KernelGraph, placement: Placement, config: ChipConfig) -> Schedule:
    """Give every instruction its cycle.

    Raises:
        CompileError: when the chip has too few streams or ALU paths for a kernel, by name.
    """
    scheduler = _Scheduler(graph, placement, config)
    scheduler.run()
    dispatches = {name: sorted(runs, key=lambda run: run.cycle) for name, runs in scheduler.dispatches.items()}
    return Schedule(dispatches, tuple(scheduler.rides), scheduler.end)


class _PlaneState:
    """What the scheduler knows about one plane while it goes through the tiles."""

    def __init__(self, plane: Plane, config: ChipConfig, tiles: Iterator[Tile]) -> None:
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
        self.tiles = tiles
        """Weight tiles still to be loaded, in order of use."""
        self.postponed: Tile | None = None
        """The next tile, when it could not be loaded yet because nothing has computed it."""
        self.loaded = 0
        """Cycle from which the tile that is being loaded may be installed."""
        self.buffered = np.zeros(config.act_depth, np.int64)
        """By word of the activation buffer: from when on it may be replayed."""
        self.unused = np.zeros(config.act_depth, np.int64)
        """By word of the activation buffer: from when on it may be loaded again."""


class _Scheduler:
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
        self.mem_read = self.geometry.of_kind(QueueKind.MEM_READ)
        self.mem_write = self.geometry.of_kind(QueueKind.MEM_WRITE)
        self.alus = self.geometry.of_kind(QueueKind.VXM)
        self.groups = config.lanes // config.weight_streams
        """Loads that fill the shadow buffer."""
        self.planes = [
            _PlaneState(plane, config, self.tiles_of(number)) for number, plane in enumerate(placement.planes)
        ]
        self.chains: dict[tuple[tuple[Step, ...], int], list[tuple[Placed, ...]]] = {}
        """By steps, and how many are wanted: the disjoint ways through the VXM."""
        self.loads: dict[tuple[_PlaneState, str], tuple[Flight, int]] = {}
        """Of each plane and instruction the load from word 0: all others differ in their addresses only. (One
        instruction always loads the same group first.)"""
        self.computed: set[str] = set()
        """Buffers whose kernels have been scheduled."""
        self.next_word = 0
        """Where the activation buffers have been filled up to."""

    def run(self) -> None:
        for plane in self.planes:
            self.load_next(plane)
        for kernel in self.graph.kernels:
            match kernel:
                case MatMulKernel() if self.replays(kernel):
                    self.replay(kernel)
                case MatMulKernel():
                    self.stream(kernel)
                case VectorKernel() if kernel.output in self.graph.factors:
                    for column in range(len(self.placement.buffers[kernel.output])):
                        self.lay_out(kernel, column)
                case VectorKernel():
                    for column in range(len(self.placement.buffers[kernel.output])):
                        self.stream_vectors(kernel, column)
            self.computed.add(kernel.output)

    # Tiles

    def replays(self, kernel: MatMulKernel) -> bool:
        """Whether the rows go through the activation buffer: they fit, and a tile takes longer to load than to use."""
        rows = self.graph.buffer(kernel.input).rows
        words = rows * len(self.placement.buffers[kernel.input])
        return words <= self.config.act_depth and rows <= self.groups

    def steps(self, kernel: MatMulKernel) -> Iterator[list[tuple[int, Tile]]]:
        """The tiles of a kernel as all planes together take them: (number of the plane, tile) where there is one."""
        rows = self.graph.buffer(kernel.input).rows
        inputs, outputs = (len(self.placement.buffers[name]) for name in (kernel.input, kernel.output))
        inner_count = inputs * kernel.matrices
        replayed = self.replays(kernel)
        for first_row in range(0, rows, self.config.acc_depth):
            for first_output in range(0, outputs, len(self.planes)):
                for inner in range(inner_count):
                    yield [
                        (
                            plane,
                            Tile(
                                kernel,
                                number=output * inner_count + inner,
                                inner=inner,
                                last=inner == inner_count - 1,
                                input_column=inner % inputs,
                                output_column=output,
                                first_row=first_row,
                                rows=min(self.config.acc_depth, rows - first_row),
                                replayed=replayed,
                            ),
                        )
                        for plane, output in enumerate(
                            range(first_output, min(first_output + len(self.planes), outputs))
                        )
                    ]

    def tiles_of(self, plane: int) -> Iterator[Tile]:
        """The tiles of one plane, over all kernels."""
        products = (kernel for kernel in self.graph.kernels if isinstance(kernel, MatMulKernel))
        return (tile for kernel in products for step in self.steps(kernel) for number, tile in step if number == plane)

    # Weights

    def load_next(self, plane: _PlaneState) -> None:
        """Stream the plane's next tile, if any, into the shadow buffer; of a replayed one all but the last group."""
        tile = next(plane.tiles, None)
        if tile is None:
            return
        factor = tile.kernel.weights
        if isinstance(factor, Factor) and factor.name not in self.computed:
            plane.postponed = tile
        else:
            self.load(plane, tile)

    def load(self, plane: _PlaneState, tile: Tile) -> None:
        plane.postponed = None
        plane.loaded = plane.installed + 1
        groups = self.groups - 1 if tile.replayed else self.groups
        if groups:
            journey = self.loading(plane, tile, 0, install=False)
            plane.loaded = self.depart_loads(journey, groups, plane.loaded) + groups

    def loading(self, plane: _PlaneState, tile: Tile, group: int, *, install: bool) -> Journey:
        """One load of weights, from the plane's feeders to its shadow buffer."""
        _, base = self.placement.weights[tile.kernel.output, tile.number]
        factor = tile.kernel.weights
        mnemonic = "lwt" if isinstance(factor, Factor) and factor.transposed else "lw"
        mnemonic += "_iw" if install else ""
        if (plane, mnemonic) not in self.loads:
            self.loads[plane, mnemonic] = self.first_load(plane, mnemonic, group)
        pattern, read_at = self.loads[plane, mnemonic]
        journey = Journey(pattern.reading_from(base + group))
        if isinstance(factor, Factor):
            down, across = tile.input_column, tile.output_column
            if factor.transposed:
                down, across = across, down
            journey.loads = (factor.name, across, down * self.config.lanes, read_at)
        return journey

    def first_load(self, plane: _PlaneState, mnemonic: str, group: int) -> tuple[Flight, int]:
        """A load from word 0 of the feeders, and the time by which the words must be in SRAM."""
        flight = Flight()
        skew = after(self.latency(plane.weights, mnemonic).skew)
        flight.dispatch(plane.weights, 0, instruction(mnemonic, g=group), step=1)
        read_at = [
            self.read(flight, mem_slice, 0, stream, plane.weights.hop, skew, 1)
            for stream, mem_slice in zip(plane.weights.consumes, plane.plane.feeders, strict=True)
        ]
        return flight, min(read_at)

    def depart_loads(self, journey: Journey, count: int, earliest: int) -> int:
        """Load weights as early as the whole tile is in SRAM; return the start."""
        if journey.loads is not None:
            factor, column, row, offset = journey.loads
            earliest = max(earliest, int(self.ready[factor, column][row : row + self.config.lanes].max()) - offset)
        return self.depart(journey.flight, count, 1, earliest)

    def may_install(self, plane: _PlaneState, mnemonic: str) -> int:
        """The first cycle in which the rows of the tile before have used the old weights by the time the new ones
        stand."""
        stands = after(self.latency(plane.weights, mnemonic).state)
        return max(plane.loaded, plane.last_rows + self.timing.weights_used - stands + 1)

    def may_use(self, plane: _PlaneState, mnemonic: str) -> int:
        """The first cycle in which rows may be sent to weights that `mnemonic` has installed."""
        stands = after(self.latency(plane.weights, mnemonic).state)
        return max(plane.installed + stands - self.timing.weights_used, plane.last_rows + 1)

    # Rows that stream: all planes take the same rows in the same cycles

    def stream(self, kernel: MatMulKernel) -> None:
        """Multiply by a kernel's tiles, installed long after they were loaded."""
        for step in self.steps(kernel):
            tiles = [(self.planes[number], tile) for number, tile in step]
            flight = Flight()
            for plane, _ in tiles:
                if plane.postponed:
                    self.load(plane, plane.postponed)
                flight.dispatch(plane.weights, 0, instruction("iw"))
            installed = self.depart(flight, 1, 1, max(self.may_install(plane, "iw") for plane, _ in tiles))
            for plane, _ in tiles:
                plane.installed = installed
                self.load_next(plane)
            self.send(tiles, max(self.may_use(plane, "iw") for plane, _ in tiles))

    # Rows that are replayed: every plane at its own pace

    def replay(self, kernel: MatMulKernel) -> None:
        """Multiply by a kernel's tiles as fast as they can be loaded."""
        inputs = len(self.placement.buffers[kernel.input])
        rows = self.graph.buffer(kernel.input).rows
        base = self.take_words(rows * inputs)
        for step in self.steps(kernel):
            planes = [self.planes[number] for number, _ in step]
            for (_, tile), plane in zip(step, planes, strict=True):
                first = base + tile.input_column * rows
                words = slice(first, first + rows)
                if tile.number < inputs:
                    self.fill_buffers(planes, tile, first)
                if plane.postponed:
                    self.load(plane, plane.postponed)
                journey = self.loading(plane, tile, self.groups - 1, install=True)
                plane.installed = self.depart_loads(journey, 1, self.may_install(plane, "lw_iw"))
                self.load_next(plane)
                self.send([(plane, tile)], max(self.may_use(plane, "lw_iw"), int(plane.buffered[words].max())), first)
                plane.unused[words] = plane.last_rows + 1

    def take_words(self, count: int) -> int:
        """The first of `count` words of every activation buffer; the longer unused, the better."""
        first = self.next_word if self.next_word + count <= self.config.act_depth else 0
        self.next_word = first + count
        return first

    def fill_buffers(self, planes: list[_PlaneState], tile: Tile, first: int) -> None:
        """Send the rows that a tile meets to the activation buffers of the planes, from word `first` on."""
        for hemisphere in sorted({plane.plane.hemisphere for plane in planes}):
            here = [plane for plane in planes if plane.plane.hemisphere == hemisphere]
            journey = Journey()
            load, replay = (self.latency(here[0].acts, mnemonic) for mnemonic in ("abl", "abr"))
            stream = self.activations(journey, here[0], tile.kernel.input, tile.input_column, 0, after(load.skew))
            for plane in here:
                journey.flight.dispatch(plane.acts, 0, instruction("abl", a=first, s=stream), step=1)
            words = slice(first, first + tile.rows)
            earliest = max(int(plane.unused[words].max()) for plane in here)
            start, gap = self.depart_rows(journey, tile.rows, earliest)
            for plane in here:
                plane.buffered[words] = start + after(load.state) - after(replay.skew) + gap * np.arange(tile.rows)

    # Rows

    def send(self, tiles: list[tuple[_PlaneState, Tile]], earliest: int, word: int = 0) -> None:
        """Send the rows of tiles to their planes at once; behind the last tile of an output column, run the chain."""
        tile = tiles[0][1]
        if tile.last:
            journey = self.best(
                tile.kernel,
                tile.rows,
                len(self.planes),
                earliest,
                lambda chains: self.finishing(tiles, chains, word),
            )
        else:
            journey = Journey()
            for plane, member in tiles:
                self.multiply(journey, plane, member, 0, word)
                mnemonic = "acc_set" if member.inner == 0 else "acc_add"
                offset = self.acc_offset(plane, mnemonic)
                journey.flight.dispatch(plane.accs, offset, instruction(mnemonic, a=0), step=1)
        start, gap = self.depart_rows(journey, tile.rows, earliest)
        for plane, _ in tiles:
            plane.last_rows = start + journey.flight.latest(plane.acts) + gap * (tile.rows - 1)
        self.written(journey, tile.kernel.output, slice(tile.first_row, tile.first_row + tile.rows), start, gap)

    def stream_vectors(self, kernel: VectorKernel, column: int) -> None:
        """Stream the rows of one column through the VXM."""
        rows = self.graph.buffer(kernel.output).rows
        journey = self.best(
            kernel,
            rows,
            len(self.planes),
            0,
            lambda chains: (
                self.vector_row(kernel, column, chain, Rows(0, 1), self.placement.buffers[kernel.output][column])
                for chain in chains
            ),
        )
        start, gap = self.depart_rows(journey, rows, 0)
        self.written(journey, kernel.output, slice(0, rows), start, gap)

    def lay_out(self, kernel: VectorKernel, column: int) -> None:
        """Stream the rows of one column of a factor through the VXM, stripe by stripe."""
        for stripe in self.placement.stripes[kernel.output, column]:
            rows, target = Rows(stripe.first, stripe.step), Column((stripe.mem_slice,), stripe.base)
            journey = self.best(
                kernel,
                stripe.count,
                len(self.planes),
                0,
                lambda chains, rows=rows, target=target: (  # type: ignore[misc]
                    self.vector_row(kernel, column, chain, rows, target) for chain in chains
                ),
            )
            start, gap = self.depart_rows(journey, stripe.count, 0)
            members = slice(stripe.first, stripe.first + stripe.step * stripe.count, stripe.step)
            self.written(journey, kernel.output, members, start, gap)

    def best(
        self,
        kernel: Kernel,
        rows: int,
        most: int,
        earliest: int,
        journeys: Callable[[list[tuple[Placed, ...]]], Iterable[Journey]],
    ) -> Journey:
        """Of the journeys by up to `most` disjoint chains whose rows can follow one another, the one that ends first.

        Two operands of a step that lie in one slice would meet at its port; a `pass` in front parts them.
        """
        for delay in range(len(self.config.alus)):
            steps = (*[PASS] * delay, *kernel.chain)
            if (steps, most) not in self.chains:
                self.chains[steps, most] = disjoint_chains(steps, self.config, most)
            chains = self.chains[steps, most]
            if not chains:
                continue
            found: Journey | None = None
            ends = 0
            for journey in journeys(chains):
                gap = journey.flight.gap(rows)
                if gap is None:
                    continue
                ready = self.awaited(journey, rows, gap, earliest)
                start = self.timeline.earliest(journey.flight, rows, gap, ready)
                if found is None or start + gap * rows < ends:
                    found, ends = journey, start + gap * rows
                if start == ready and gap == 1:
                    break
            if found is not None:
                return found
        raise CompileError(
            f"'{kernel.output}': operands of its vector chain meet on the streams of config '{self.config.name}'; "
            f"use a config with more streams or MEM slices"
        )

    def finishing(
        self, tiles: list[tuple[_PlaneState, Tile]], chains: list[tuple[Placed, ...]], word: int
    ) -> Iterator[Journey]:
        """One row of the last tiles: the finished sums go on to the VXM, each on a group, and through a chain each.

        Where there are fewer chains than planes, planes take turns, a cycle apart.
        """
        count = self.config.streams // GROUP
        first_chains = range(len(chains)) if len(tiles) == 1 else range(1)
        for first_chain, spacing, first_group in itertools.product(first_chains, (1, 2), range(count)):
            journey = Journey()
            for number, (plane, tile) in enumerate(tiles):
                turn, chain = divmod(first_chain + number, len(chains))
                group = GROUP * ((first_group + spacing * number) % count)
                self.multiply(journey, plane, tile, turn, word)
                mnemonic = "acc_set_out" if tile.inner == 0 else "acc_add_out"
                offset = turn + self.acc_offset(plane, mnemonic)
                out = Stream(plane.inward, group)
                journey.flight.dispatch(plane.accs, offset, instruction(mnemonic, a=0, d=out), step=1)
                leaves = offset + after(self.latency(plane.accs, mnemonic).func)
                arrival = leaves + self.geometry.hops_between(out, plane.accs.hop, self.geometry.vxm_hop)
                for stream in out.planes:
                    journey.flight.ride(stream, plane.accs, self.geometry.vxm_hop, arrival)
                x = Operand(Format.WORD, out)
                target = self.placement.buffers[tile.kernel.output][tile.output_column]
                rows = Rows(tile.first_row, 1)
                self.chain(journey, chains[chain], tile.output_column, rows, x, arrival, target, tile.first_row)
            yield journey

    def vector_row(
        self, kernel: VectorKernel, column: int, chain: tuple[Placed, ...], rows: Rows, target: Column
    ) -> Journey:
        """One row of a vector kernel: from SRAM through the chain into SRAM; it starts as the first ALU samples."""
        journey = Journey()
        x = self.buffer_operand(journey, kernel.source, column, rows, 0)
        self.chain(journey, chain, column, rows, x, 0, target, 0)
        return journey

    def multiply(self, journey: Journey, plane: _PlaneState, tile: Tile, offset: int, word: int) -> None:
        """Activations of a row to the array, `offset` cycles after the start of the journey."""
        if tile.replayed:
            journey.flight.dispatch(plane.acts, offset, instruction("abr", a=word), step=1)
            return
        sampled = offset + after(self.latency(plane.acts, "abc").skew)
        stream = self.activations(journey, plane, tile.kernel.input, tile.input_column, tile.first_row, sampled)
        journey.flight.dispatch(plane.acts, offset, instruction("abc", s=stream))

    def activations(
        self, journey: Journey, plane: _PlaneState, buffer: str, column: int, row: int, arrival: int
    ) -> Stream:
        """Bring a row of a buffer to a plane, from the copy in its hemisphere; return the stream that it rides."""
        source = self.placement.buffers[buffer][column]
        place = dataclasses.replace(source, slices=source.places[plane.plane.hemisphere])
        rows = Rows(row, 1)
        stream, read_at = self.bring(journey.flight, place, rows, plane.outward, plane.acts.hop, arrival)
        journey.awaits.append((buffer, column, rows, read_at))
        return stream

    def acc_offset(self, plane: _PlaneState, mnemonic: str) -> int:
        """From the dispatch of `abc` to that of the accumulator instruction which takes its sums."""
        return after(self.latency(plane.acts, "abc").state) - after(self.latency(plane.accs, mnemonic).skew)

    # The chain

    def chain(
        self,
        journey: Journey,
        chain: tuple[Placed, ...],
        column: int,
        rows: Rows,
        x: Operand,
        sample: int,
        target: Column,
        target_row: int,
    ) -> None:
        """Run `chain` from the cycle in which its first ALU samples `x`; write to a column, from a row on."""
        leaves = sample
        for i, place in enumerate(chain):
            queue = self.alus[place.alu]
            latency = self.latency(queue, place.step.mnemonic)
            values: dict[str, Value] = {"x": x, **self.second_operand(journey, place.step, column, rows, sample)}
            if i == len(chain) - 1:
                values["d"] = self.destination(target)
            dispatch = sample - after(latency.skew)
            journey.flight.dispatch(queue, dispatch, instruction(place.step.mnemonic, **values))
            sample, leaves = dispatch + after(latency.state), dispatch + after(latency.func)
            x = Operand(Format.ALU, place.alu)
        journey.results[column] = self.write(journey.flight, target, target_row, self.alus[chain[-1].alu], leaves)

    def second_operand(self, journey: Journey, step: Step, column: int, rows: Rows, sample: int) -> dict[str, Value]:
        """The fields that bring in a step's operand `y`, read from SRAM in time where it lives there."""
        match step.y:
            case None:
                return {}
            case Immediate(bits):
                return {"y": IMMEDIATE, "imm": bits & 0xFFFFFFFF}
            case LaneConstants(name):
                source = self.placement.constants[name, column]
                stream, _ = self.bring(journey.flight, source, Rows(0, 0), WEST, self.geometry.vxm_hop, sample)
                return {"y": Operand(Format.WORD, stream)}
            case BufferOperand() as view:
                return {"y": self.buffer_operand(journey, view, column, rows, sample)}

    def buffer_operand(self, journey: Journey, view: BufferOperand, column: int, rows: Rows, sample: int) -> Operand:
        """Bring a row of a buffer to the VXM for cycle `sample`, and the operand that meets it there."""
        number = column if view.column is None else view.column
        source = self.placement.buffers[view.name][number]
        read = Rows(view.first_row + rows.first, rows.step)
        if view.rotate:
            stream, read_at = self.turn(journey.flight, source, read, view.rotate, sample)
        else:
            stream, read_at = self.bring(journey.flight, source, read, WEST, self.geometry.vxm_hop, sample)
        journey.awaits.append((view.name, number, read, read_at))
        return Operand(Format.WORD if len(source.slices) > 1 else Format.BYTE, stream)

    def turn(self, flight: Flight, source: Column, rows: Rows, distance: int, sample: int) -> tuple[Stream, int]:
        """As `bring`, to the VXM in cycle `sample`, by way of the SXM, which turns the lanes."""
        queue = self.geometry.of_kind(QueueKind.SXM_SHIFT)[-1]
        latency = self.latency(queue, "rotate")
        out = Stream(WEST, self.placement.streams(source)[0])
        stands = sample - self.geometry.hops_between(out, queue.hop, self.geometry.vxm_hop)
        for stream in out.planes:
            flight.ride(stream, queue, self.geometry.vxm_hop, sample)
        dispatch = stands - after(latency.func)
        back, read_at = self.bring(flight, source, rows, EAST, queue.hop, dispatch + after(latency.skew))
        flight.dispatch(queue, dispatch, instruction("rotate", s=back, d=out, n=distance))
        return out, read_at

    def destination(self, target: Column) -> Operand:
        """How a result meets the streams of the column that it is for."""
        west = self.mem_write[target.slices[0]].hop < self.geometry.vxm_hop
        stream = Stream(WEST if west else EAST, self.placement.streams(target)[0])
        if target.copies:
            return Operand(Format.WORD_BOTH if len(target.slices) > 1 else Format.BYTE_BOTH, stream)
        return Operand(Format.WORD if len(target.slices) > 1 else Format.BYTE, stream)

    # SRAM

    def bring(
        self, flight: Flight, source: Column, rows: Rows, direction: Direction, hop: int, arrival: int
    ) -> tuple[Stream, int]:
        """Read rows of a column onto its streams, the first to be at `hop` in cycle `arrival`.

        Returns the (first) stream, and the time by which the row must be in SRAM.
        """
        streams = [Stream(direction, index) for index in self.placement.streams(source)]
        times = [
            self.read(flight, mem_slice, source.base + rows.first, stream, hop, arrival, rows.step)
            for mem_slice, stream in zip(source.slices, streams, strict=True)
        ]
        return streams[0], min(times)

    def read(
        self, flight: Flight, mem_slice: int, address: int, stream: Stream, hop: int, arrival: int, step: int
    ) -> int:
        """Read a word onto a stream, to be at `hop` in cycle `arrival`; return the cycle that samples the SRAM."""
        queue = self.mem_read[mem_slice]
        latency = self.latency(queue, "read")
        dispatch = flight.ride(stream, queue, hop, arrival) - after(latency.func)
        flight.dispatch(queue, dispatch, instruction("read", a=address, d=stream), step)
        return dispatch + after(latency.skew)

    def write(self, flight: Flight, target: Column, row: int, producer: Queue, leaves: int) -> int:
        """Write an ALU's result, on the target's streams from cycle `leaves`, into a row of a column and its copies.

        Returns the time from which it may be read.
        """
        finished = []
        for slices in target.places:
            for index, mem_slice in zip(self.placement.streams(target), slices, strict=True):
                queue = self.mem_write[mem_slice]
                stream = Stream(WEST if queue.hop < producer.hop else EAST, index)
                latency = self.latency(queue, "write")
                arrival = leaves + self.geometry.hops_between(stream, producer.hop, queue.hop)
                flight.ride(stream, producer, queue.hop, arrival)
                dispatch = arrival - after(latency.skew)
                flight.dispatch(queue, dispatch, instruction("write", a=target.base + row, s=stream), step=1)
                finished.append(dispatch + after(latency.state))
        return max(finished)

    # Departure

    def awaited(self, journey: Journey, rows: int, gap: int, earliest: int) -> int:
        """The first start, not before `earliest`, at which every row is in SRAM when it is read."""
        for buffer, column, read, offset in journey.awaits:
            ready = self.ready[buffer, column][read.first :: read.step][:rows]
            earliest = max(earliest, int((ready - gap * np.arange(rows)).max()) - offset)
        return earliest

    def depart_rows(self, journey: Journey, rows: int, earliest: int) -> tuple[int, int]:
        """Send `rows` rows as early as their data allow; return the start of the first and the gap between them."""
        gap = journey.flight.gap(rows)
        assert gap is not None, "an accumulating row meets the next one"
        return self.depart(journey.flight, rows, gap, self.awaited(journey, rows, gap, earliest)), gap

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

    def written(self, journey: Journey, buffer: str, rows: slice, start: int, gap: int) -> None:
        """Note from when on the rows that a journey writes may be read."""
        for column, finished in journey.results.items():
            ready = self.ready[buffer, column][rows]
            ready[:] = start + finished + gap * np.arange(len(ready))

    def latency(self, queue: Queue, mnemonic: str) -> Latency:
        return self.timing.latency(BY_MNEMONIC[mnemonic], queue)


def after(cycles: int | None) -> int:
    """A latency that the timing table must hold."""
    assert cycles is not None
    return cycles
