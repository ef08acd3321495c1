# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Scheduling: kernels become instructions at exact cycles.

Kernels are taken in order, and everything they do departs as early as data and free resources allow. The weights of a
tile are loaded into the shadow buffer while the rows of the tile before stream through the array; the chain behind the
MXM runs at the same rate as the rows, so a result goes from accumulator to SRAM without a stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from openlpu.arch.config import GROUP, ChipConfig
from openlpu.arch.geometry import Direction, Queue, QueueKind, Stream, geometry
from openlpu.arch.isa import BY_MNEMONIC, IMMEDIATE, Format, Instruction, Operand, Value, instruction
from openlpu.arch.program import Column
from openlpu.arch.timing import Latency, timing
from openlpu.compiler.chain import PASS, Placed, map_chain
from openlpu.compiler.errors import CompileError
from openlpu.compiler.kernels import (
    BufferOperand,
    Immediate,
    Kernel,
    KernelGraph,
    LaneConstants,
    MatMulKernel,
    Step,
    VectorKernel,
)
from openlpu.compiler.place import Placement
from openlpu.compiler.timeline import Flight, Ride, Timeline, departures

EAST, WEST = Direction.EAST, Direction.WEST


@dataclass
class Journey:
    """One row on its way: what it does, what it waits for, and when its result may be read."""

    flight: Flight = field(default_factory=Flight)
    awaits: list[tuple[str, int, int]] = field(default_factory=list)
    """(buffer, column, offset): the row of that column must be in SRAM by this time after the start."""
    finished: int | None = None
    """Time after the start from which the row it writes may be sampled; None when it writes none."""


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


@dataclass(frozen=True)
class Schedule:
    """What every queue does when."""

    dispatches: dict[str, list[tuple[int, Instruction]]]
    """Of each queue by name: (cycle, instruction), in order of cycles."""
    rides: tuple[Ride, ...]
    """Every vector that travels, and whom it is meant for: `openlpu.compiler.meetings` holds the program to it."""
    cycles: int
    """Length of the program."""


def schedule(graph: KernelGraph, placement: Placement, config: ChipConfig) -> Schedule:
    """Give every instruction its cycle.

    Raises:
        CompileError: when the chip has too few streams or ALU paths for a kernel, by name.
    """
    scheduler = _Scheduler(graph, placement, config)
    scheduler.run()
    dispatches = {name: sorted(entries, key=lambda entry: entry[0]) for name, entries in scheduler.dispatches.items()}
    return Schedule(dispatches, tuple(scheduler.rides), scheduler.end)


class _Scheduler:
    def __init__(self, graph: KernelGraph, placement: Placement, config: ChipConfig) -> None:
        self.graph, self.placement, self.config = graph, placement, config
        self.geometry, self.timing = geometry(config), timing(config)
        self.timeline = Timeline(self.geometry.hops)
        self.dispatches: dict[str, list[tuple[int, Instruction]]] = {}
        self.rides: list[Ride] = []
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
        plane = placement.plane
        self.weights = self.geometry.of_kind(QueueKind.MXM_WEIGHTS)[plane]
        self.acts = self.geometry.of_kind(QueueKind.MXM_ACTS)[plane]
        self.accs = self.geometry.of_kind(QueueKind.MXM_ACCS)[plane]
        self.installed = -1
        """Dispatch of the last `iw`: the shadow buffer is free after it."""
        self.last_abc = -1
        self.loads = self.tiles_of(graph.kernels)
        """Weight tiles still to be loaded, in order of use."""
        self.loaded: int | None = None
        """Cycle from which the tile that is loaded next may be installed."""

    def run(self) -> None:
        self.load_next()
        for kernel in self.graph.kernels:
            match kernel:
                case MatMulKernel():
                    for tile in self.tiles_of([kernel]):
                        self.install()
                        self.load_next()
                        self.stream_tile(tile)
                case VectorKernel():
                    for column in range(len(self.placement.buffers[kernel.output])):
                        self.stream_vectors(kernel, column)

    def tiles_of(self, kernels: Sequence[Kernel]) -> Iterator[Tile]:
        for kernel in kernels:
            if not isinstance(kernel, MatMulKernel):
                continue
            rows = self.graph.buffer(kernel.input).rows
            inputs = len(self.placement.buffers[kernel.input])
            inner_count = inputs * len(kernel.weights)
            for first in range(0, rows, self.config.acc_depth):
                for output in range(len(self.placement.buffers[kernel.output])):
                    for inner in range(inner_count):
                        yield Tile(
                            kernel,
                            number=output * inner_count + inner,
                            inner=inner,
                            last=inner == inner_count - 1,
                            input_column=inner % inputs,
                            output_column=output,
                            first_row=first,
                            rows=min(self.config.acc_depth, rows - first),
                        )

    # Weights

    def load_next(self) -> None:
        """Stream the next tile, if any, into the shadow buffer."""
        tile = next(self.loads, None)
        if tile is None:
            self.loaded = None
            return
        base = self.placement.weights[tile.kernel.output, tile.number]
        flight = Flight()
        lw = self.latency(self.weights, "lw")
        flight.dispatch(self.weights, 0, instruction("lw", g=0), step=1)
        for queue_stream, mem_slice in zip(self.weights.consumes, self.placement.weight_slices, strict=True):
            self.read(flight, mem_slice, base, queue_stream, self.weights.hop, after(lw.skew), 1)
        groups = self.config.lanes // self.config.weight_streams
        start = self.depart(flight, groups, 1, self.installed + 1)
        self.loaded = start + groups

    def install(self) -> None:
        """Swap the loaded tile in, once the rows of the tile before have used the old weights."""
        assert self.loaded is not None
        flight = Flight()
        flight.dispatch(self.weights, 0, instruction("iw"))
        abc_uses, stands = self.timing.weights_used, after(self.latency(self.weights, "iw").state)
        self.installed = self.depart(flight, 1, 1, max(self.loaded, self.last_abc + abc_uses - stands + 1))

    # Rows

    def stream_tile(self, tile: Tile) -> None:
        """Multiply the rows of a tile; behind the last tile of an output column, run the chain."""
        kernel = tile.kernel
        if tile.last:
            groups = range(0, self.config.streams, GROUP)
            journey = self.first_that_flows(
                kernel, tile.rows, lambda chain: (self.finishing_row(tile, chain, group) for group in groups)
            )
        else:
            journey = self.accumulating_row(tile)
        uses_new = after(self.latency(self.weights, "iw").state) - self.timing.weights_used
        start, gap = self.depart_rows(
            journey, tile.first_row, tile.rows, max(self.installed + uses_new, self.last_abc + 1)
        )
        self.last_abc = start + gap * (tile.rows - 1)
        self.written(journey, kernel.output, tile.output_column, tile.first_row, tile.rows, start, gap)

    def stream_vectors(self, kernel: VectorKernel, column: int) -> None:
        """Stream the rows of one column through the VXM."""
        rows = self.graph.buffer(kernel.input).rows
        journey = self.first_that_flows(kernel, rows, lambda chain: [self.vector_row(kernel, column, chain)])
        start, gap = self.depart_rows(journey, 0, rows, 0)
        self.written(journey, kernel.output, column, 0, rows, start, gap)

    def first_that_flows(
        self, kernel: Kernel, rows: int, journeys: Callable[[tuple[Placed, ...]], Iterable[Journey]]
    ) -> Journey:
        """Of the journeys by the fastest chain whose rows can follow one another, the one with the smallest gap.

        Two operands of a step that lie in one slice would meet at its port; a `pass` in front parts them.
        """
        for delay in range(len(self.config.alus)):
            chain = map_chain([*[PASS] * delay, *kernel.chain], self.config)
            if chain is not None:
                flowing = [(gap, j) for j in journeys(chain) if (gap := j.flight.gap(rows)) is not None]
                if flowing:
                    return min(flowing, key=lambda pair: pair[0])[1]
        raise CompileError(
            f"'{kernel.output}': operands of its vector chain meet on the streams of config '{self.config.name}'; "
            f"use a config with more streams or MEM slices"
        )

    def accumulating_row(self, tile: Tile) -> Journey:
        """One row of a tile: activations to the array, sums to the accumulator."""
        journey = Journey()
        self.multiply(journey, tile)
        mnemonic = "acc_set" if tile.inner == 0 else "acc_add"
        journey.flight.dispatch(self.accs, self.acc_offset(mnemonic), instruction(mnemonic, a=0), step=1)
        return journey

    def finishing_row(self, tile: Tile, chain: tuple[Placed, ...], group: int) -> Journey:
        """One row of the last tile: the finished sums go on to the VXM, on a group, and through the chain into SRAM."""
        journey = Journey()
        self.multiply(journey, tile)
        mnemonic = "acc_set_out" if tile.inner == 0 else "acc_add_out"
        offset = self.acc_offset(mnemonic)
        journey.flight.dispatch(self.accs, offset, instruction(mnemonic, a=0, d=Stream(WEST, group)), step=1)
        leaves = offset + after(self.latency(self.accs, mnemonic).func)
        arrival = leaves + self.accs.hop - self.geometry.vxm_hop
        for plane in range(GROUP):
            journey.flight.ride(Stream(WEST, group + plane), self.accs, self.geometry.vxm_hop, arrival)
        x = Operand(Format.WORD, Stream(WEST, group))
        self.chain(journey, tile.kernel, chain, tile.output_column, tile.first_row, x, arrival)
        return journey

    def vector_row(self, kernel: VectorKernel, column: int, chain: tuple[Placed, ...]) -> Journey:
        """One row of a vector kernel: from SRAM through the chain into SRAM; it starts as the first ALU samples."""
        journey = Journey()
        x = self.buffer_operand(journey, kernel.input, column, 0, 0)
        self.chain(journey, kernel, chain, column, 0, x, 0)
        return journey

    def multiply(self, journey: Journey, tile: Tile) -> None:
        """Activations of a row to the array; the flight starts with the dispatch of `abc`."""
        source = self.placement.buffers[tile.kernel.input][tile.input_column]
        sampled = after(self.latency(self.acts, "abc").skew)
        (stream, read_at) = self.bring(journey.flight, source, tile.first_row, EAST, self.acts.hop, sampled, 1)
        journey.awaits.append((tile.kernel.input, tile.input_column, read_at))
        journey.flight.dispatch(self.acts, 0, instruction("abc", s=stream))

    def acc_offset(self, mnemonic: str) -> int:
        """From the dispatch of `abc` to that of the accumulator instruction which takes its sums."""
        return after(self.latency(self.acts, "abc").state) - after(self.latency(self.accs, mnemonic).skew)

    # The chain

    def chain(
        self,
        journey: Journey,
        kernel: Kernel,
        chain: tuple[Placed, ...],
        column: int,
        first_row: int,
        x: Operand,
        sample: int,
    ) -> None:
        """Run `chain` from the cycle in which its first ALU samples `x`; write the result to the output's column."""
        target = self.placement.buffers[kernel.output][column]
        first = Stream(EAST, self.placement.own_stream(target.slices[0]))
        leaves = sample
        for i, place in enumerate(chain):
            queue = self.alus[place.alu]
            latency = self.latency(queue, place.step.mnemonic)
            values: dict[str, Value] = {"x": x, **self.second_operand(journey, place.step, column, first_row, sample)}
            if i == len(chain) - 1:
                values["d"] = Operand(element_format(target), first)
            dispatch = sample - after(latency.skew)
            journey.flight.dispatch(queue, dispatch, instruction(place.step.mnemonic, **values))
            sample, leaves = dispatch + after(latency.state), dispatch + after(latency.func)
            x = Operand(Format.ALU, place.alu)
        self.write(journey, target, first_row, self.alus[chain[-1].alu], leaves)

    def second_operand(self, journey: Journey, step: Step, column: int, row: int, sample: int) -> dict[str, Value]:
        """The fields that bring in a step's operand `y`, read from SRAM in time where it lives there."""
        match step.y:
            case None:
                return {}
            case Immediate(bits):
                return {"y": IMMEDIATE, "imm": bits & 0xFFFFFFFF}
            case LaneConstants(name):
                source = self.placement.constants[name, column]
                stream, _ = self.bring(journey.flight, source, 0, WEST, self.geometry.vxm_hop, sample, 0)
                return {"y": Operand(Format.WORD, stream)}
            case BufferOperand(name):
                return {"y": self.buffer_operand(journey, name, column, row, sample)}

    def buffer_operand(self, journey: Journey, name: str, column: int, row: int, sample: int) -> Operand:
        """Bring a row of a buffer to the VXM for cycle `sample`, and the operand that meets it there."""
        source = self.placement.buffers[name][column]
        stream, read_at = self.bring(journey.flight, source, row, WEST, self.geometry.vxm_hop, sample, 1)
        journey.awaits.append((name, column, read_at))
        return Operand(element_format(source), stream)

    # SRAM

    def bring(
        self, flight: Flight, source: Column, row: int, direction: Direction, hop: int, arrival: int, step: int
    ) -> tuple[Stream, int]:
        """Read a row of a column onto its own streams, to be at `hop` in cycle `arrival`.

        Returns the (first) stream, and the time by which the row must be in SRAM.
        """
        streams = [Stream(direction, self.placement.own_stream(mem_slice)) for mem_slice in source.slices]
        times = [
            self.read(flight, mem_slice, source.base + row, stream, hop, arrival, step)
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

    def write(self, journey: Journey, target: Column, row: int, producer: Queue, leaves: int) -> None:
        """Write an ALU's result, on the target's own streams from cycle `leaves`, into a row of a column."""
        finished = []
        for mem_slice in target.slices:
            queue = self.mem_write[mem_slice]
            latency = self.latency(queue, "write")
            stream = Stream(EAST, self.placement.own_stream(mem_slice))
            arrival = leaves + queue.hop - producer.hop
            journey.flight.ride(stream, producer, queue.hop, arrival)
            dispatch = arrival - after(latency.skew)
            journey.flight.dispatch(queue, dispatch, instruction("write", a=target.base + row, s=stream), step=1)
            finished.append(dispatch + after(latency.state))
        journey.finished = max(finished)

    # Departure

    def depart_rows(self, journey: Journey, first_row: int, rows: int, earliest: int) -> tuple[int, int]:
        """Send `rows` rows as early as their data allow; return the start of the first and the gap between them."""
        gap = journey.flight.gap(rows)
        assert gap is not None, "an accumulating row meets the next one"
        for buffer, column, offset in journey.awaits:
            ready = self.ready[buffer, column][first_row : first_row + rows]
            earliest = max(earliest, int((ready - gap * np.arange(rows)).max()) - offset)
        return self.depart(journey.flight, rows, gap, earliest), gap

    def depart(self, flight: Flight, count: int, gap: int, ready: int) -> int:
        """Reserve and record `count` departures at the earliest start not before `ready`; return that start."""
        start = self.timeline.earliest(flight, count, gap, ready)
        self.timeline.reserve(flight, count, gap, start)
        self.rides += [ride.later(start + gap * i) for ride in flight.rides for i in range(count)]
        for entry in flight.dispatches:
            self.dispatches.setdefault(entry.queue.name, []).extend(departures(entry, start, count, gap))
            retire = self.timing.latency(entry.instruction.spec, entry.queue).retire
            self.end = max(self.end, start + gap * (count - 1) + entry.offset + retire)
        return start

    def written(self, journey: Journey, buffer: str, column: int, row: int, rows: int, start: int, gap: int) -> None:
        """Note from when on the rows that a journey writes may be read."""
        if journey.finished is not None:
            self.ready[buffer, column][row : row + rows] = start + journey.finished + gap * np.arange(rows)

    def latency(self, queue: Queue, mnemonic: str) -> Latency:
        return self.timing.latency(BY_MNEMONIC[mnemonic], queue)


def after(cycles: int | None) -> int:
    """A latency that the timing table must hold."""
    assert cycles is not None
    return cycles


def element_format(column: Column) -> Format:
    """How the elements of a column meet the VXM."""
    return Format.WORD if len(column.slices) > 1 else Format.BYTE
