# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The vector unit: a row of ALUs, each `lanes` wide, that compute on streams, immediates and each other's results.

Every ALU has its own instruction queue. Operands are chosen combinationally in the cycle in which they are sampled; the
first clock edge of the ALU's pipeline takes them in. What a field names is decoded into one bit per choice, once for
all lanes, and the vectors meet in AND-OR networks: first the group of four streams, then what of the group. A chained
operand is the result that an ALU puts out in that very cycle, so no register stands between two ALUs but their own.

What becomes of a result is decoded together with its operands and travels beside it.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from openlpu.arch.config import GROUP, ChipConfig, Source
from openlpu.arch.geometry import Direction, Queue, QueueKind, Stream, geometry
from openlpu.arch.isa import IMMEDIATE, Format, Operand
from openlpu.arch.timing import timing

from .alu import LaneAlu
from .decode import Dispatch, delayed, named, part, queue_ports, select

__all__ = ["Vxm"]

_ANY = "pass"
"""The instruction whose layout serves for all: they have the same fields in the same places."""


class Vxm(wiring.Component):
    """The VXM of a chip. ALU i has the ports of `queue_ports` that begin with `alu{i}`.

    An instruction dispatched in cycle t samples its operands in t + skew. `empty` is set in the cycle after that if any
    byte of an operand, or the result it is to be, is not valid. In t + state the result can be chained and is on the
    drives, whether or not an operand was missing; in every other cycle the ALU has none.
    """

    def __init__(self, *, config: ChipConfig) -> None:
        self._config = config
        self._queues = geometry(config).of_kind(QueueKind.VXM)
        super().__init__(queue_ports(config, self._queues))

    def elaborate(self, platform: object) -> Module:
        """Every ALU, and the wires between them."""
        m = Module()
        signature = wiring.Signature({"valid": Out(1), "data": Out(32 * self._config.lanes)})
        results = [signature.create(path=(part(queue), "result")) for queue in self._queues]
        for queue in self._queues:
            self._elaborate_alu(m, queue, results)
        return m

    def _elaborate_alu(self, m: Module, queue: Queue, results: Sequence[Any]) -> None:
        name, config, result = part(queue), self._config, results[queue.index]
        classes, depth = config.alus[queue.index].classes, timing(config).alu_depth[queue.index]
        dispatch = Dispatch(m, config, queue, getattr(self, f"{name}_issue"))
        instruction, valid = dispatch.instruction, dispatch.valid
        x, x_missing = self._operand(m, queue, dispatch, "x", results)
        y, y_missing = self._operand(m, queue, dispatch, "y", results)
        m.d.sync += getattr(self, f"{name}_empty").eq(valid & (x_missing | y_missing))

        lanes = [LaneAlu(classes=classes, depth=depth) for _ in range(config.lanes)]
        mnemonics = [spec.mnemonic for spec in instruction.specs if not spec.control]
        operations = [lanes[0].operation(mnemonic) for mnemonic in mnemonics]
        operation = select([instruction.is_(mnemonic) for mnemonic in mnemonics], operations)
        control = dispatch.decoded("control", operation, reset_less=True)
        for i, lane in enumerate(lanes):
            m.submodules[f"{name}_lane{i}"] = lane
            m.d.comb += [lane.x.eq(x[i]), lane.y.eq(y[i]), lane.control.eq(control)]
        m.d.comb += [
            result.valid.eq(delayed(m, f"{name}_standing", valid, depth)),
            result.data.eq(Cat(lane.o for lane in lanes)),
        ]
        self._elaborate_destination(m, queue, dispatch, result.data)

    def _operand(
        self, m: Module, queue: Queue, dispatch: Dispatch, source: str, results: Sequence[Any]
    ) -> tuple[list[Value], Value]:
        """What a source field names, lane by lane, 0 if that is nothing; and 1 where it is not valid."""
        name, lanes, chip = f"{part(queue)}_{source}", range(self._config.lanes), geometry(self._config)
        allowed = chip.operand_sources(queue.index, source)
        sources = chip.alu_sources(queue.index) if Source.CHAIN in allowed else ()
        streams = queue.consumes if {Source.BYTE, Source.WORD} & {*allowed} else ()
        taps = getattr(self, f"{part(queue)}_taps")[: len(streams)]
        firsts = range(0, len(taps), GROUP)

        instruction = dispatch.instruction

        def naming(operands: Iterable[Operand]) -> Value:
            return Cat(instruction.names(_ANY, source, operand) for operand in operands)

        def decoded(label: str, value: Value) -> Signal:
            return dispatch.decoded(f"{source}_{label}", value, reset_less=True)

        bytes_named = naming(Operand(Format.BYTE, stream) for stream in streams if Source.BYTE in allowed)
        words_named = naming(Operand(Format.WORD, streams[first]) for first in firsts if Source.WORD in allowed)
        byte, word = decoded("byte", bytes_named), decoded("word", words_named)
        chained = decoded("chained", naming(Operand(Format.ALU, alu) for alu in sources))
        immediate = Mux(instruction.names(_ANY, source, IMMEDIATE), instruction.field(_ANY, "imm"), 0)
        constant = decoded("constant", immediate[: 32 if Source.IMMEDIATE in allowed else 0])

        # A byte is one of its group's four: it shares the way up to there with words.
        groups = [Cat(bytes_named[first:][:GROUP], words_named[g : g + 1]).any() for g, first in enumerate(firsts)]
        grouped = decoded("grouped", Cat(groups))
        planes = [Signal(8 * len(lanes), name=f"{name}_plane{place}") for place in range(GROUP if taps else 0)]
        m.d.comb += [
            plane.eq(select(grouped, [taps[first + place].data for first in firsts]))
            for place, plane in enumerate(planes)
        ]
        streamed = [Cat(plane.word_select(lane, 8) for plane in planes) for lane in lanes]
        if Source.BYTE in allowed:
            is_word, is_byte = decoded("is_word", words_named.any()), decoded("is_byte", bytes_named.any())
            # A word's lowest byte goes the way of its place.
            first, *others = [bytes_named[place::GROUP].any() for place in range(GROUP)]
            lowest = decoded("lowest", Cat(words_named.any() | first, *others))
            for lane, group in enumerate(streamed):
                parts = [group.word_select(place, 8) for place in range(GROUP)]
                # Of a byte only the sign goes further up.
                low = named(m, f"{name}_low{lane}", select(lowest, parts))
                sign = named(m, f"{name}_sign{lane}", low[-1] & is_byte)
                streamed[lane] = Cat(low, *(Mux(is_word, value, 0) | sign.replicate(8) for value in parts[1:]))

        results_here = [[results[alu].data.word_select(lane, 32) for alu in sources] for lane in lanes]
        if allowed == (Source.CHAIN,) and len(sources) == 1 and source == "x":
            # What can be but one thing needs no choice.
            vector = [lane_result for (lane_result,) in results_here]
        else:
            vector = [streamed[lane] | select(chained, results_here[lane]) | constant for lane in lanes]
        valid = [tap.valid for tap in taps]
        groups_valid = [Cat(valid[first : first + GROUP]).all() for first in firsts]
        there = Cat(valid[: len(byte)], groups_valid[: len(word)], (results[alu].valid for alu in sources))
        return vector, (Cat(byte, word, chained) & ~there).any()

    def _elaborate_destination(self, m: Module, queue: Queue, dispatch: Dispatch, result: Value) -> None:
        """Drive the streams that the destination field names with the result, `alu_depth` cycles after the operands."""
        name, depth = part(queue), timing(self._config).alu_depth[queue.index]

        def named_by(stream: Stream, one: Format, both: Format) -> Value:
            found = dispatch.instruction.names(_ANY, "d", Operand(one, stream))
            if stream.opposite not in queue.produces:
                return found
            eastward = stream if stream.direction is Direction.EAST else stream.opposite
            return found | dispatch.instruction.names(_ANY, "d", Operand(both, eastward))

        byte = Cat(named_by(stream, Format.BYTE, Format.BYTE_BOTH) for stream in queue.produces)
        word = Cat(named_by(first, Format.WORD, Format.WORD_BOTH).replicate(GROUP) for first in queue.produces[::GROUP])
        target = (byte | word) & dispatch.ahead.replicate(len(byte))
        drive_valid = delayed(m, f"{name}_produces", dispatch.decoded("target", target), depth)
        narrow = delayed(m, f"{name}_narrow", dispatch.decoded("narrow", byte.any()), depth, reset_less=True)
        lanes = [result.word_select(lane, 32) for lane in range(self._config.lanes)]
        saturated = [_saturated(lane) for lane in lanes]
        planes = []
        for place in range(GROUP if queue.produces else 0):
            plane = Signal(8 * len(lanes), name=f"{name}_d_plane{place}")
            m.d.comb += plane.eq(Mux(narrow, Cat(saturated), Cat(lane.word_select(place, 8) for lane in lanes)))
            planes.append(plane)
        for position, drive in enumerate(getattr(self, f"{name}_drives")):
            m.d.comb += [drive.valid.eq(drive_valid[position]), drive.data.eq(planes[position % GROUP])]


# --- helpers ---


def _saturated(word: Value) -> Value:
    """The int8 nearest to an int32."""
    sign = word[-1]
    fits = word[7:] == sign.replicate(25)
    return Mux(fits, word[:8], Cat((~sign).replicate(7), sign))
