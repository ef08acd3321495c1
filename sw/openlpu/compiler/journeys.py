# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What one row does on its way: from SRAM through MXM and VXM into SRAM, in cycles relative to a free start.

Nothing here knows what else the chip does; `openlpu.compiler.schedule` finds the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from openlpu.arch.config import ChipConfig
from openlpu.arch.geometry import Direction, Queue, QueueKind, Stream, geometry
from openlpu.arch.isa import BY_MNEMONIC, IMMEDIATE, Format, Instruction, Operand, Value, instruction
from openlpu.arch.program import Column
from openlpu.arch.timing import Latency, timing
from openlpu.compiler.chain import Placed
from openlpu.compiler.kernels import BufferOperand, Immediate, Kernel, LaneConstants, OtherSums
from openlpu.compiler.place import Placement
from openlpu.compiler.timeline import Flight

EAST, WEST = Direction.EAST, Direction.WEST


@dataclass(frozen=True)
class Rows:
    """The rows that departures meet one after the other: `first`, `first + step`, ..."""

    first: int
    step: int


@dataclass(frozen=True)
class Stop:
    """An activation buffer that takes a result on its way, in a word; each departure `step` words further."""

    queue: Queue
    byte: int
    """Of the elements of the result the one that it takes."""
    word: int
    step: int


@dataclass
class Journey:
    """One row on its way: what it does, what it waits for, and when its result may be read."""

    flight: Flight = field(default_factory=Flight)
    gap: int | None = None
    """Cycles between two departures; None for as few as there may be."""
    floor: int = 0
    """The first start at which the planes can take the row."""
    awaits: list[tuple[str, int, Rows, int]] = field(default_factory=list)
    """(buffer, column, rows, offset): the first of the rows must be in SRAM by this time after the start."""
    loads: tuple[str, int, int, int] | None = None
    """(factor, column, row, offset): the tile whose first row that is must be in SRAM by this time after the start."""
    results: dict[int, int] = field(default_factory=dict)
    """By output column, stacked or not: the time after the start from which the row written to it may be sampled."""
    stops: dict[Stop, int] = field(default_factory=dict)
    """Of each activation buffer that takes the result: when it is told to, after the start."""


@dataclass(frozen=True)
class Choice:
    """What chooses the words that slices write: an index, into windows of 2**`window` words.

    Where rows are dealt out to several slices, `places` are those of the slices that write, in their order. The index,
    row `row` of all `indices`, is stored in each of these slices, or comes with the result from the slice `front`.
    """

    indices: str
    window: int
    places: tuple[int, ...] = ()
    front: int | None = None
    row: int = 0


@dataclass(frozen=True)
class Landing:
    """Where a result goes: a column, and the rows of it that departures fill one after the other, or one chosen row;
    and to activation buffers."""

    column: Column
    rows: Rows
    choice: Choice | None = None
    stops: tuple[Stop, ...] = ()


class Router:
    """Builds journeys on one chip, between the places that a placement has given."""

    def __init__(self, placement: Placement, config: ChipConfig) -> None:
        self.placement = placement
        self.geometry, self.timing = geometry(config), timing(config)
        self.mem_read = self.geometry.of_kind(QueueKind.MEM_READ)
        self.mem_write = self.geometry.of_kind(QueueKind.MEM_WRITE)
        self.alus = self.geometry.of_kind(QueueKind.VXM)

    def latency(self, queue: Queue, mnemonic: str) -> Latency:
        """The timing table's row."""
        return self.timing.latency(BY_MNEMONIC[mnemonic], queue)

    def landing(self, kernel: Kernel, column: int, count: int, first: int = 0) -> Landing:
        """Where the results of a kernel that computes `count` rows go, from its row number `first` on."""
        target = kernel.target
        stacked, number = (column, 0) if target.stacked else (0, column)
        place = self.placement.buffers[kernel.output][number]
        place = place if target.byte is None else place.byte(target.byte)
        return Landing(place, Rows(target.first_row + target.row_step * (stacked * count + first), target.row_step))

    def chain(
        self,
        journey: Journey,
        chain: tuple[Placed, ...],
        column: int,
        rows: Rows,
        x: Operand,
        sample: int,
        landing: Landing,
        others: Mapping[int, Stream] | None = None,
    ) -> int:
        """Run `chain` from the cycle in which its first ALU samples `x`, for output column `column`.

        Departures compute `rows` of those that the kernel computes. `others` are the streams that bring sums of other
        planes, in the cycles that `sampled` says. Returns the time from which the result may be read.
        """
        ys = {number: Operand(Format.WORD, stream) for number, stream in (others or {}).items()}
        leaves = sample
        for i, place in enumerate(chain):
            queue = self.alus[place.alu]
            latency = self.latency(queue, place.step.mnemonic)
            values: dict[str, Value] = {"x": x}
            if isinstance(place.step.y, OtherSums):
                values["y"] = ys[place.step.y.number]
            else:
                values |= self.second_operand(journey, place.step.y, column, rows, sample)
            if i == len(chain) - 1:
                values["d"] = self.destination(landing.column)
            dispatch = sample - after(latency.skew)
            journey.flight.dispatch(queue, dispatch, instruction(place.step.mnemonic, **values))
            turns = self.timing.turns(BY_MNEMONIC[place.step.mnemonic])
            if turns > 1:
                journey.flight.hold(f"{queue.name} turns", dispatch, turns)
            sample, leaves = dispatch + after(latency.state), dispatch + after(latency.func)
            x = Operand(Format.ALU, place.alu)
        return self.write(journey, landing, self.alus[chain[-1].alu], leaves)

    def sampled(self, chain: tuple[Placed, ...]) -> list[int]:
        """When each ALU of a chain samples, counted from the first."""
        latencies = [self.latency(self.alus[place.alu], place.step.mnemonic) for place in chain]
        depths = [after(latency.state) - after(latency.skew) for latency in latencies]
        return [sum(depths[:i]) for i in range(len(chain))]

    def second_operand(
        self,
        journey: Journey,
        y: Immediate | LaneConstants | BufferOperand | None,
        column: int,
        rows: Rows,
        sample: int,
    ) -> dict[str, Value]:
        """The fields that bring in a step's operand `y`, read from SRAM in time where it lives there."""
        match y:
            case None:
                return {}
            case Immediate(bits):
                return {"y": IMMEDIATE, "imm": bits & 0xFFFFFFFF}
            case LaneConstants(name):
                source = self.placement.constants[name, column]
                stream, _ = self.to_vxm(journey.flight, source, Rows(0, 0), sample)
                return {"y": Operand(Format.WORD, stream)}
            case BufferOperand() as view:
                return {"y": self.buffer_operand(journey, view, column, rows, sample)}

    def buffer_operand(self, journey: Journey, view: BufferOperand, column: int, rows: Rows, sample: int) -> Operand:
        """Bring a row of a buffer to the VXM for cycle `sample`, and the operand that meets it there."""
        number = view.met(column)
        source = self.placement.buffers[view.name][number]
        source = source if view.byte is None else source.byte(view.byte)
        read = Rows(view.first_row + view.row_step * rows.first, view.row_step * rows.step)
        awaited, place = view.name, number
        if view.indices is not None:
            awaited, place = view.indices, 0
            stream, read_at = self.look_up(journey.flight, view.name, source, view.indices, read, sample)
        elif view.rotate:
            # What is turned is read from the last of its places, what is not from the first.
            elsewhere = Column(source.places[-1], source.base)
            stream, read_at = self.turn(journey.flight, elsewhere, read, view.rotate, sample)
        elif view.column is not None:
            # Columns that meet the same one are not all read from one place.
            elsewhere = Column(source.places[column % len(source.places)], source.base)
            stream, read_at = self.to_vxm(journey.flight, elsewhere, read, sample)
        else:
            stream, read_at = self.to_vxm(journey.flight, source, read, sample)
        journey.awaits.append((awaited, place, read, read_at))
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
        sides = {self.mem_write[slices[0]].hop < self.geometry.vxm_hop for slices in target.places}
        stream = Stream(WEST if sides == {True} else EAST, self.placement.streams(target)[0])
        if len(sides) == 2:
            return Operand(Format.WORD_BOTH if len(target.slices) > 1 else Format.BYTE_BOTH, stream)
        return Operand(Format.WORD if len(target.slices) > 1 else Format.BYTE, stream)

    def to_vxm(self, flight: Flight, source: Column, rows: Rows, sample: int) -> tuple[Stream, int]:
        """As `bring`, to the VXM in cycle `sample`, from either side of it."""
        hop = self.geometry.vxm_hop
        direction = EAST if self.mem_read[source.slices[0]].hop < hop else WEST
        streams = [Stream(direction, index) for index in self.placement.inward(source)]
        return self.fetch(flight, source, rows, streams, hop, sample)

    def bring(
        self, flight: Flight, source: Column, rows: Rows, direction: Direction, hop: int, arrival: int
    ) -> tuple[Stream, int]:
        """Read rows of a column onto its own streams, the first to be at `hop` in cycle `arrival`.

        Returns the (first) stream, and the time by which the row must be in SRAM.
        """
        streams = [Stream(direction, index) for index in self.placement.streams(source)]
        return self.fetch(flight, source, rows, streams, hop, arrival)

    def fetch(
        self, flight: Flight, source: Column, rows: Rows, streams: list[Stream], hop: int, arrival: int
    ) -> tuple[Stream, int]:
        """As `bring`, onto any streams, one for each slice."""
        times = [
            self.read(flight, mem_slice, source.base + rows.first, stream, hop, arrival, rows.step)
            for mem_slice, stream in zip(source.slices, streams, strict=True)
        ]
        return streams[0], min(times)

    def look_up(
        self, flight: Flight, table: str, source: Column, indices: str, rows: Rows, sample: int
    ) -> tuple[Stream, int]:
        """As `bring`, to the VXM in cycle `sample`, the rows of a column of a table that rows of `indices` say.

        The indices lie in the slices of the table itself, and cross no hop.
        """
        streams, hop = [Stream(WEST, index) for index in self.placement.streams(source)], self.geometry.vxm_hop
        times = [
            self.gather(flight, table, mem_slice, source.base, None, indices, rows, stream, hop, sample)
            for mem_slice, stream in zip(source.slices, streams, strict=True)
        ]
        return streams[0], min(times)

    def gather(
        self,
        flight: Flight,
        table: str,
        mem_slice: int,
        base: int,
        place: int | None,
        indices: str,
        rows: Rows,
        stream: Stream,
        hop: int,
        arrival: int,
    ) -> int:
        """Read what a row of `indices` says from the window of a table that begins at `base` of a slice, onto a stream,
        to be at `hop` in cycle `arrival`; `place` is that of the slice, where the table is dealt out.

        Returns the cycle that samples the index in SRAM.
        """
        (beside,) = self.placement.buffers[indices]
        queue = self.mem_read[mem_slice]
        mnemonic = "gather" if place is None else "gather_dealt"
        latency = self.latency(queue, mnemonic)
        dispatch = flight.ride(stream, queue, hop, arrival) - after(latency.func)
        # The index rides the other way, where no result is on its way.
        index = Stream(EAST if stream.direction is WEST else WEST, stream.index)
        fields: dict[str, Value] = {"a": base, "n": self.placement.windows[table], "m": index, "d": stream}
        if place is not None:
            fields["p"] = place
        arrives = dispatch + after(latency.skew)
        read_at = self.read(flight, mem_slice, beside.base + rows.first, index, queue.hop, arrives, rows.step)
        flight.dispatch(queue, dispatch, instruction(mnemonic, **fields))
        return read_at

    def read(
        self, flight: Flight, mem_slice: int, address: int, stream: Stream, hop: int, arrival: int, step: int
    ) -> int:
        """Read a word onto a stream, to be at `hop` in cycle `arrival`; return the cycle that samples the SRAM."""
        queue = self.mem_read[mem_slice]
        latency = self.latency(queue, "read")
        dispatch = flight.ride(stream, queue, hop, arrival) - after(latency.func)
        flight.dispatch(queue, dispatch, instruction("read", a=address, d=stream), step)
        return dispatch + after(latency.skew)

    def write(self, journey: Journey, landing: Landing, producer: Queue, leaves: int) -> int:
        """Write an ALU's result, on the landing's streams from cycle `leaves`, into its rows, and those of its copies.

        Returns the time from which it may be read.
        """
        finished = []
        flight, target, rows = journey.flight, landing.column, landing.rows
        for number, slices in enumerate(target.places):
            for index, mem_slice in zip(self.placement.streams(target), slices, strict=True):
                queue = self.mem_write[mem_slice]
                stream = Stream(WEST if queue.hop < producer.hop else EAST, index)
                latency = self.latency(queue, "write")
                arrival = leaves + self.geometry.hops_between(stream, producer.hop, queue.hop)
                flight.ride(stream, producer, queue.hop, arrival)
                dispatch = arrival - after(latency.skew)
                if landing.choice is None:
                    written = instruction("write", a=target.base + rows.first, s=stream)
                else:
                    written = self.scatter(journey, mem_slice, number, landing.choice, target.base, stream, arrival)
                flight.dispatch(queue, dispatch, written, rows.step)
                finished.append(dispatch + after(latency.state))
        for stop in landing.stops:
            stream = Stream(WEST if stop.queue.hop < producer.hop else EAST, self.placement.streams(target)[stop.byte])
            arrival = leaves + self.geometry.hops_between(stream, producer.hop, stop.queue.hop)
            flight.ride(stream, producer, stop.queue.hop, arrival)
            journey.stops[stop] = dispatch = arrival - after(self.latency(stop.queue, "abl").skew)
            flight.dispatch(stop.queue, dispatch, instruction("abl", a=stop.word, s=stream), stop.step)
        return max(finished)

    def scatter(
        self, journey: Journey, mem_slice: int, number: int, choice: Choice, base: int, stream: Stream, arrival: int
    ) -> Instruction:
        """Bring the index to the slice, the one with this number of all that write, in cycle `arrival`; the instruction
        that writes where it says."""
        (beside,) = self.placement.buffers[choice.indices]
        if choice.front is None:
            # It rides the other way, where no result comes.
            index = Stream(WEST if stream.direction is EAST else EAST, stream.index)
        else:
            index = Stream(stream.direction, (stream.index + 1) % self.placement.config.streams)
        source = mem_slice if choice.front is None else choice.front
        here, address = self.mem_write[mem_slice].hop, beside.base + choice.row
        read_at = self.read(journey.flight, source, address, index, here, arrival, 0)
        journey.awaits.append((choice.indices, 0, Rows(choice.row, 0), read_at))
        window: dict[str, Value] = {"a": base, "n": choice.window, "m": index, "s": stream}
        if not choice.places:
            return instruction("scatter", **window)
        return instruction("scatter_dealt", **window, p=choice.places[number])


def after(cycles: int | None) -> int:
    """A latency that the timing table must hold."""
    assert cycles is not None
    return cycles
