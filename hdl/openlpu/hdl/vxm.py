# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The vector unit: a row of ALUs, each `lanes` wide, that compute on streams, immediates and each other's results.

Every ALU has its own instruction queue. Here instructions are decoded, and what they mean is spread over the lanes:
`openlpu.hdl.vxm_lane` is where operands are chosen, combinationally in the cycle in which they are sampled; the first
clock edge of the ALU's pipeline takes them in. What becomes of a result travels beside it.
"""

from collections.abc import Iterable
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring

from openlpu.arch.config import GROUP, ChipConfig, Source
from openlpu.arch.geometry import Direction, Queue, QueueKind, Stream, geometry
from openlpu.arch.isa import IMMEDIATE, Format, Operand
from openlpu.arch.timing import timing

from .alu import operation
from .decode import part, queue_ports
from .dispatch import Dispatch, relay_registers
from .signals import delayed, relayed, select
from .special_turns import SpecialTurns, takes_turns
from .vxm_lane import VxmLane, alu_layout, operand_streams

__all__ = ["Vxm"]

_ANY = "pass"
"""The instruction whose layout serves for all: they have the same fields in the same places."""


class Vxm(wiring.Component):
    """The VXM of a chip. ALU i has the ports of `queue_ports` that begin with `alu{i}`.

    An instruction dispatched in cycle t samples its operands in t + skew. `empty` is set in the cycle after that if any
    byte of an operand, or the result it is to be, is not valid. In t + state the result can be chained, and
    `PipelineConfig.outputs` later it is on the drives, whether or not an operand was missing; in every other cycle the
    ALU has none.
    """

    def __init__(self, *, config: ChipConfig) -> None:
        self._config = config
        self._queues = geometry(config).of_kind(QueueKind.VXM)
        super().__init__(queue_ports(config, self._queues))

    def elaborate(self, platform: object) -> Module:
        """Every ALU's decoder, and the lanes."""
        m = Module()
        dispatches = [Dispatch(m, self._config, queue, getattr(self, f"{part(queue)}_issue")) for queue in self._queues]
        standing = [
            delayed(m, f"{part(queue)}_standing", dispatch.valid, timing(self._config).alu_depth[queue.index])
            for queue, dispatch in zip(self._queues, dispatches, strict=True)
        ]
        controls = []
        for queue, dispatch in zip(self._queues, dispatches, strict=True):
            control = self._elaborate_control(m, queue, dispatch)
            controls.append(dispatch.decoded("control", control, ahead=2))
            self._elaborate_empty(m, queue, dispatch, standing)
            self._elaborate_valid(m, queue, dispatch)
        self._elaborate_lanes(m, controls)
        return m

    def _elaborate_lanes(self, m: Module, controls: list[Signal]) -> None:
        """Give every lane its bytes of the streams, and collect what it makes."""
        relays = relayed(m, "vxm", "control", Cat(controls), self._config.lanes, relay_registers(self._config))
        lanes: list[Any] = []
        for i, told in enumerate(relays):
            m.submodules[f"lane{i}"] = lane = VxmLane(config=self._config)
            lanes.append(lane)
            first = 0
            for queue, control in zip(self._queues, controls, strict=True):
                name = part(queue)
                m.d.comb += getattr(lane, f"{name}_control").as_value().eq(told[first:][: len(control)])
                first += len(control)
                if queue.consumes:
                    taps = [tap.data.word_select(i, 8) for tap in getattr(self, f"{name}_taps")]
                    m.d.comb += getattr(lane, f"{name}_streams").eq(Cat(taps))
                for position, drive in enumerate(getattr(self, f"{name}_drives")):
                    m.d.comb += drive.data.word_select(i, 8).eq(
                        getattr(lane, f"{name}_o").word_select(position % GROUP, 8)
                    )

        for queue in self._queues:
            if takes_turns(self._config, queue):
                for i in range(0, len(lanes), self._config.special_turns):
                    self._elaborate_turns(m, queue, i, lanes[i:][: self._config.special_turns])

    def _elaborate_turns(self, m: Module, queue: Queue, number: int, lanes: list[Any]) -> None:
        """The unit for special functions that lanes from `number` on share."""
        name = part(queue)
        unit = SpecialTurns(config=self._config, queue=queue)
        m.submodules[f"lane{number}_{name}_special"] = unit
        told = getattr(lanes[0], f"{name}_control")
        m.d.comb += [unit.begins.eq(told.begins), unit.op.eq(told.operation.special.op)]
        for turn, lane in enumerate(lanes):
            m.d.comb += [
                unit.x[turn].eq(getattr(lane, f"{name}_special_x")),
                getattr(lane, f"{name}_special_o").eq(unit.o[turn]),
            ]

    def _elaborate_control(self, m: Module, queue: Queue, dispatch: Dispatch) -> Value:
        """What the lanes are told of an instruction."""
        config, instruction = self._config, dispatch.instruction
        control: Any = Signal(alu_layout(config, queue), name=f"{part(queue)}_meaning")
        mnemonics = [spec.mnemonic for spec in instruction.specs if not spec.control]
        operations = [operation(config.alus[queue.index].classes, mnemonic) for mnemonic in mnemonics]
        byte, _ = self._destination(queue, dispatch)
        m.d.comb += [
            control.operation.as_value().eq(select([instruction.is_(mnemonic) for mnemonic in mnemonics], operations)),
            control.narrow.eq(byte.any()),
        ]
        if takes_turns(config, queue):
            m.d.comb += control.begins.eq(dispatch.ahead & control.operation.special.chosen)
        for source in ("x", "y"):
            byte, word, chained = self._operand(queue, dispatch, source)
            choice = control[source]
            first, *others = [byte[place::GROUP].any() for place in range(GROUP)]
            groups = [Cat(byte[g * GROUP :][:GROUP], word[g : g + 1]).any() for g in range(len(choice.grouped))]
            m.d.comb += [
                choice.grouped.eq(Cat(groups)),
                choice.is_word.eq(word.any()),
                choice.is_byte.eq(byte.any()),
                # A word's lowest byte goes the way of its place.
                choice.lowest.eq(Cat(word.any() | first, *others)),
                choice.chained.eq(chained),
                choice.constant.eq(Mux(instruction.names(_ANY, source, IMMEDIATE), instruction.field(_ANY, "imm"), 0)),
            ]
        return Value.cast(control)

    def _operand(self, queue: Queue, dispatch: Dispatch, source: str) -> tuple[Value, Value, Value]:
        """One bit for each byte, word and ALU that a source field may name."""
        chip = geometry(self._config)
        allowed = chip.operand_sources(queue.index, source)
        streams = queue.consumes[: operand_streams(self._config, queue, source)]

        def naming(kind: Source, operands: Iterable[Operand]) -> Value:
            return Cat(dispatch.instruction.names(_ANY, source, one) for one in operands if kind in allowed)

        return (
            naming(Source.BYTE, (Operand(Format.BYTE, stream) for stream in streams)),
            naming(Source.WORD, (Operand(Format.WORD, stream) for stream in streams[::GROUP])),
            naming(Source.CHAIN, (Operand(Format.ALU, alu) for alu in chip.alu_sources(queue.index))),
        )

    def _elaborate_empty(self, m: Module, queue: Queue, dispatch: Dispatch, standing: list[Value]) -> None:
        valid = [tap.valid for tap in getattr(self, f"{part(queue)}_taps")]
        groups_valid = [Cat(valid[first : first + GROUP]).all() for first in range(0, len(valid), GROUP)]
        results_valid = [standing[alu] for alu in geometry(self._config).alu_sources(queue.index)]
        missing = []
        for source in ("x", "y"):
            named = self._operand(queue, dispatch, source)
            there = Cat(*valid[: len(named[0])], *groups_valid[: len(named[1])], *results_valid[: len(named[2])])
            missing.append((dispatch.decoded(f"{source}_named", Cat(named)) & ~there).any())
        empty = delayed(m, f"{part(queue)}_empty", dispatch.valid & (missing[0] | missing[1]), 1)
        m.d.comb += getattr(self, f"{part(queue)}_empty").eq(empty)

    def _destination(self, queue: Queue, dispatch: Dispatch) -> tuple[Value, Value]:
        """For each stream that an ALU produces, whether the destination field names it alone, and in its group."""

        def named(stream: Stream, one: Format, both: Format) -> Value:
            found = dispatch.instruction.names(_ANY, "d", Operand(one, stream))
            if stream.opposite not in queue.produces:
                return found
            eastward = stream if stream.direction is Direction.EAST else stream.opposite
            return found | dispatch.instruction.names(_ANY, "d", Operand(both, eastward))

        firsts = queue.produces[::GROUP]
        return (
            Cat(named(stream, Format.BYTE, Format.BYTE_BOTH) for stream in queue.produces),
            Cat(named(first, Format.WORD, Format.WORD_BOTH).replicate(GROUP) for first in firsts),
        )

    def _elaborate_valid(self, m: Module, queue: Queue, dispatch: Dispatch) -> None:
        """The streams that the destination field names are given the result."""
        depth = timing(self._config).alu_depth[queue.index] + self._config.pipeline.outputs
        byte, word = self._destination(queue, dispatch)
        target = dispatch.decoded("target", (byte | word) & dispatch.ahead.replicate(len(byte)))
        drives: Any = getattr(self, f"{part(queue)}_drives")
        for drive, produces in zip(drives, delayed(m, f"{part(queue)}_produces", target, depth - 1), strict=True):
            m.d.comb += drive.valid.eq(produces)
