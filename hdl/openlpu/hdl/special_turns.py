# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A unit for special functions that several lanes of an ALU share: `ChipConfig.special_turns` of them, one a cycle."""

from typing import Any

from amaranth.hdl import Module, Mux, Shape, Signal, Value
from amaranth.lib.wiring import In, Out

from openlpu.arch.config import ChipConfig, OpClass
from openlpu.arch.geometry import Queue
from openlpu.arch.timing import timing

from .dispatch import local_registers
from .shared import SharedComponent
from .signals import delayed
from .special import Special, SpecialOp

__all__ = ["SpecialTurns", "takes_turns"]

_WORD = 32


def takes_turns(config: ChipConfig, queue: Queue) -> bool:
    """Whether lanes share the units for special functions in the ALU of a queue."""
    return config.special_turns > 1 and OpClass.SPECIAL in config.alus[queue.index].classes


class SpecialTurns(SharedComponent):
    """The unit of some lanes of an ALU. Lane j has turn j; the results of all are there at once.

    `begins`, `op` : an instruction computes a special function, and which; as told to the lanes by `{alu}_control`. Not
        again before all have had their turns.
    `x` : what the lanes compute on, from their first register: as `LaneAlu.special_x`.
    `o` : the results, as `LaneAlu.special_o`.
    """

    begins: Signal
    op: Signal
    x: Any
    o: Any

    def __init__(self, *, config: ChipConfig, queue: Queue) -> None:
        self._turns = config.special_turns
        self._control_registers = local_registers(config) + 1
        # One register is in the lane, and the last lane waits while all others have their turns.
        self._depth = timing(config).alu_depth[queue.index] - self._turns
        super().__init__(
            {
                "begins": In(1),
                "op": In(Shape.cast(SpecialOp).width),
                "x": In(_WORD).array(self._turns),
                "o": Out(_WORD).array(self._turns),
            },
            like=(self._turns, self._control_registers, self._depth),
            module_name=f"vxm_special_{self._turns}_{self._depth}",
        )

    def body(self) -> Module:
        """Operands wait for their turn, and results for the last one."""
        m = Module()
        begins = delayed(m, "begins", self.begins, self._control_registers)
        op = delayed(m, "op", self.op, self._control_registers)
        operand: Value = self.x[-1]
        for turn in reversed(range(self._turns - 1)):
            waiting = delayed(m, f"waiting{turn}", operand, 1)
            operand = Mux(begins, self.x[turn], waiting)
        kept = Signal.like(self.op, name="kept", reset_less=True)
        computed = Mux(begins, op, kept)
        m.d.sync += kept.eq(computed)
        m.submodules.unit = unit = Special(depth=self._depth)
        m.d.comb += [unit.a.eq(operand), unit.op.eq(computed)]
        result: Value = unit.o
        for turn in reversed(range(self._turns)):
            m.d.comb += self.o[turn].eq(result)
            result = delayed(m, f"result{turn}", result, 1) if turn else result
        return m
