# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""One lane of the vector unit: its part of every ALU, with the multiplexers that choose the operands.

What a field of an instruction names is decoded into one bit per choice, once for all lanes, and the values meet in
AND-OR networks: first the group of four streams, then what of the group. A chained operand is the result that an ALU
puts out in that very cycle, so no register stands between two ALUs but their own. All chains stay in the lane.
"""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Member, Out

from openlpu.arch.config import GROUP, ChipConfig, Source
from openlpu.arch.geometry import Queue, QueueKind, geometry
from openlpu.arch.timing import timing

from .alu import LaneAlu, control_layout
from .decode import part
from .dispatch import local_registers
from .shared import SharedComponent
from .signals import delayed, named, select
from .special_turns import takes_turns

__all__ = ["VxmLane", "alu_layout", "operand_streams"]

_BYTES = 4
"""Of a result."""


def operand_streams(config: ChipConfig, queue: Queue, source: str) -> int:
    """How many streams operand `source` of the ALU of a queue may come from: the first of those it consumes."""
    allowed = geometry(config).operand_sources(queue.index, source)
    return len(queue.consumes) if {Source.BYTE, Source.WORD} & {*allowed} else 0


def alu_layout(config: ChipConfig, queue: Queue) -> data.StructLayout:
    """What a lane is told of an instruction.

    `x`, `y` : the operand, see below.
    `operation` : of `control_layout`.
    `narrow` : what goes to streams is the nearest int8.
    `begins` : there is an instruction, and it computes a special function; only where lanes take turns.

    Of an operand, one bit a choice:
    `grouped` : the groups of streams that it is, or is one of.
    `is_word`, `is_byte` : which of both, if bytes are allowed.
    `lowest` : the place in the group where its lowest byte is, if bytes are allowed.
    `chained` : the ALU whose result it is, of `Geometry.alu_sources`.
    `constant` : the immediate, or 0.
    """
    return data.StructLayout(
        {
            **{source: _operand_layout(config, queue, source) for source in ("x", "y")},
            "operation": control_layout(config.alus[queue.index].classes),
            "narrow": 1,
            "begins": int(takes_turns(config, queue)),
        }
    )


def _operand_layout(config: ChipConfig, queue: Queue, source: str) -> data.StructLayout:
    allowed = geometry(config).operand_sources(queue.index, source)
    groups = operand_streams(config, queue, source) // GROUP
    bytes_too = int(Source.BYTE in allowed and groups > 0)
    return data.StructLayout(
        {
            "grouped": groups,
            "is_word": bytes_too,
            "is_byte": bytes_too,
            "lowest": GROUP * bytes_too,
            "chained": len(geometry(config).alu_sources(queue.index)) if Source.CHAIN in allowed else 0,
            "constant": 32 if Source.IMMEDIATE in allowed else 0,
        }
    )


class VxmLane(SharedComponent):
    """One lane of the VXM, with ports for each of its queues, by `part`.

    `{alu}_control` : an `alu_layout`, one register in front of the operands, if there is any behind the decoder.
    `{alu}_streams` : the lane's bytes of the streams that the ALU consumes, if any.
    `{alu}_special_x`, `{alu}_special_o` : those of its `LaneAlu`, if lanes take turns.
    `{alu}_o` : what the ALU gives to streams, if it may: its result, `PipelineConfig.outputs` cycles later.
    """

    def __init__(self, *, config: ChipConfig) -> None:
        self._config = config
        self._queues = geometry(config).of_kind(QueueKind.VXM)
        ports: dict[str, Member] = {}
        for queue in self._queues:
            ports[f"{part(queue)}_control"] = In(alu_layout(config, queue))
            if queue.consumes:
                ports[f"{part(queue)}_streams"] = In(8 * len(queue.consumes))
            if queue.produces:
                ports[f"{part(queue)}_o"] = Out(8 * _BYTES)
            if takes_turns(config, queue):
                ports[f"{part(queue)}_special_x"] = Out(8 * _BYTES)
                ports[f"{part(queue)}_special_o"] = In(8 * _BYTES)
        super().__init__(ports, like=(), module_name="vxm_lane")

    def body(self) -> Module:
        """The lane of every ALU, and the wires between them."""
        m = Module()
        results = [Signal(8 * _BYTES, name=f"{part(queue)}_result") for queue in self._queues]
        for queue in self._queues:
            self._elaborate_alu(m, queue, results)
        return m

    def _elaborate_alu(self, m: Module, queue: Queue, results: Sequence[Signal]) -> None:
        name, given = part(queue), getattr(self, f"{part(queue)}_control")
        registered = delayed(m, f"{name}_control", given.as_value(), local_registers(self._config))
        control = data.View(alu_layout(self._config, queue), registered)
        depth = timing(self._config).alu_depth[queue.index]
        classes, turns = self._config.alus[queue.index].classes, takes_turns(self._config, queue)
        m.submodules[name] = alu = LaneAlu(classes=classes, depth=depth, special_elsewhere=turns)
        m.d.comb += [
            alu.x.eq(self._operand(m, queue, "x", control.x, results)),
            alu.y.eq(self._operand(m, queue, "y", control.y, results)),
            alu.control.eq(control.operation),
            results[queue.index].eq(alu.o),
        ]
        if turns:
            m.d.comb += [
                getattr(self, f"{name}_special_x").eq(alu.special_x),
                alu.special_o.eq(getattr(self, f"{name}_special_o")),
            ]
        if queue.produces:
            narrow = delayed(m, f"{name}_narrow", control.narrow, depth)
            nearest = _saturated(alu.o)
            given = Cat(Mux(narrow, nearest, byte) for byte in _parts(alu.o, 8))
            outputs = self._config.pipeline.outputs
            m.d.comb += getattr(self, f"{name}_o").eq(delayed(m, f"{name}_o", given, outputs))

    def _operand(self, m: Module, queue: Queue, source: str, choice: data.View, results: Sequence[Signal]) -> Value:
        """What a source field names; 0 if that is nothing."""
        name, config = f"{part(queue)}_{source}", self._config
        group: Value = Const(0, 0)
        if operand_streams(config, queue, source):
            # A byte is one of its group's four: it shares the way up to there with words.
            streams = getattr(self, f"{part(queue)}_streams")
            group = named(m, f"{name}_group", select(choice.grouped, _parts(streams, 8 * GROUP)))
        streamed = group
        if len(choice.lowest):
            # Of a byte only the sign goes further up.
            low = named(m, f"{name}_low", select(choice.lowest, _parts(group, 8)))
            sign = named(m, f"{name}_sign", low[-1] & choice.is_byte)
            streamed = Cat(low, Mux(choice.is_word, group[8:], 0) | sign.replicate(8 * (GROUP - 1)))
        chained = [results[alu] for alu in geometry(config).alu_sources(queue.index)][: len(choice.chained)]
        only = geometry(config).operand_sources(queue.index, source) == (Source.CHAIN,) and len(chained) == 1
        # An operand that every operation has, and that can be but one thing, needs no choice.
        return chained[0] if only and source == "x" else streamed | select(choice.chained, chained) | choice.constant


# --- helpers ---


def _parts(value: Value, width: int) -> list[Value]:
    """The values of that width that it is made of, lowest first."""
    return [value[first : first + width] for first in range(0, len(value), width)]


def _saturated(word: Value) -> Value:
    """The int8 nearest to an int32."""
    sign = word[-1]
    fits = word[7:] == sign.replicate(25)
    return Mux(fits, word[:8], Cat((~sign).replicate(7), sign))
