# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""From the issue port to the operands: fan-out registers, with the decoder among them.

What an instruction means goes to all lanes of a unit, which may lie far from each other. So behind the decoder are as
many of the registers as can help to spread it: one for all lanes, then one for a quarter of them, then one in each.
`PipelineConfig.dispatch` says how many registers there are; the last ones are the first to be there.
"""

from typing import Any

from amaranth.hdl import Module, Signal, Value

from openlpu.arch.config import ChipConfig
from openlpu.arch.geometry import Queue
from openlpu.arch.timing import timing

from .decode import Decoder, part
from .signals import delayed, named

__all__ = ["Dispatch", "local_registers", "relay_registers"]

_REGISTERS = 3
"""Behind the decoder, as far as there are so many."""


def _registers(config: ChipConfig, ahead: int) -> int:
    """How many registers behind the decoder are at least `ahead` registers in front of the operands."""
    stages = timing(config).dispatch + timing(config).correct
    return max(min(stages, _REGISTERS) - ahead, 0)


def local_registers(config: ChipConfig) -> int:
    """How many registers a part of a unit has for what is decoded `ahead` by 1: one, unless there is none at all."""
    return _registers(config, 0) - _registers(config, 1)


def relay_registers(config: ChipConfig) -> int:
    """How many registers a relay has for what is decoded `ahead` by 2: one, unless there are fewer than two."""
    return _registers(config, 1) - _registers(config, 2)


class Dispatch:
    """The way of a queue's instructions from their issue port, through the fan-out registers, to their operands.

    They are decoded in front of the last of those registers: what a word means goes to all lanes of a unit, and so has
    cycles for that way alone.

    `valid` : beside the operands.
    `ahead` : the same, at the decoder.
    `instruction` : the word at the decoder; what it means goes through `decoded`.
    """

    def __init__(self, m: Module, config: ChipConfig, queue: Queue, issue: Any) -> None:
        self._m, self._config, self._name = m, config, part(queue)
        before = timing(config).dispatch + timing(config).correct - _registers(config, 0)
        word = delayed(m, f"{self._name}_word", issue.word, before)
        self.instruction = Decoder(config, queue, word)
        self.ahead: Value = delayed(m, f"{self._name}_ahead", issue.valid, before)
        self.valid: Signal = self.decoded("valid", self.ahead)

    def decoded(self, name: str, value: Value, *, ahead: int = 0) -> Signal:
        """`value`, which comes from `ahead` or `instruction`, beside the operands.

        Or `ahead` registers in front of them, as far as there are any: the unit has those elsewhere.
        """
        name, stages = f"{self._name}_{name}", _registers(self._config, ahead)
        return named(self._m, name, delayed(self._m, name, value, stages))

    def executes(self, name: str, *mnemonics: str) -> Signal:
        """1 beside the operands of one of the instructions."""
        return self.decoded(name, self.ahead & self.instruction.is_any(mnemonics))
