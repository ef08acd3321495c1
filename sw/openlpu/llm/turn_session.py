# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A sequence of tokens on one chip, with programs that take turns: blocks of a prompt, then one context after the
other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openlpu.arch.program import Program
from openlpu.arch.timing import timing
from openlpu.llm.program import ForPrompt, Turns
from openlpu.llm.reading import PROMPT
from openlpu.llm.session import Session
from openlpu.llm.token_writer import BYTE, POSITION
from openlpu.runtime.driver import Device


class TurnSession(Session):
    """A session on a device that has loaded one of several programs. A token is made by the program for the shortest
    context that holds its position."""

    def __init__(self, device: Device, turns: Turns) -> None:
        super().__init__(device)
        self.chip, self.turns = device, turns

    def read(self, tokens: Sequence[int]) -> int:
        """Have the chip read tokens in blocks: as if each had been fed, but for the list of tokens, of which nobody
        needs those behind a token of a prompt. How many blocks it took.

        A block begins at a multiple of its tokens, so what is left before one, and behind the last one if that is
        faster, is fed. Cycles are those of all runs.

        Raises:
            InputError: when the tokens do not fit the context.
        """
        self.verify_room(len(tokens))
        blocks, waiting, reading = 0, list(tokens), self.turns.reading
        while waiting:
            if reading is not None and self._pays(reading, len(waiting)):
                here = min(len(waiting), reading.tokens)
                self._read_block(reading, waiting[:here])
                blocks += 1
            else:
                here = 1
                self.feed(waiting[:here])
            del waiting[:here]
        return blocks

    def _pays(self, reading: ForPrompt, waiting: int) -> bool:
        """Whether a block may begin here, and is faster than the tokens of it that wait, one by one."""
        if self.position % reading.tokens or self.position >= reading.context:
            return False
        count = min(waiting, reading.tokens)
        return reading.program.cycles < sum(self._program(self.position + i).cycles for i in range(count))

    def _read_block(self, reading: ForPrompt, tokens: Sequence[int]) -> None:
        self._load(reading.program)
        padded = [*tokens, *[0] * (reading.tokens - len(tokens))]
        prompt = np.array([divmod(token, BYTE)[::-1] for token in padded], np.uint8).view(np.int8)
        result = self.device.run({PROMPT: prompt, POSITION: np.full((1, self.lanes), self.position, np.float32)})
        self.position += len(tokens)
        self.cycles += result.cycles

    def predicted(self, position: int, count: int) -> int:
        """Cycles that it takes to choose so many tokens in one go, from a position on."""
        cycles, series = 0, timing(self.chip.config).series
        while count:
            here = min(count, self.until(position) - position)
            cycles += series(self._program(position).cycles, here)
            position, count = position + here, count - here
        return cycles

    def until(self, position: int) -> int:
        """The first position that the program for this one does not know."""
        contexts = [context for context, _ in self.turns.writing]
        return next((context for context in contexts if position < context), contexts[-1])

    def make_ready(self) -> None:
        """See to it that the program for this position is loaded."""
        self._load(self._program(self.position))

    def _program(self, position: int) -> Program:
        return next(program for context, program in self.turns.writing if context == self.until(position))

    def _load(self, program: Program) -> None:
        if self.chip.program is not program:
            self.chip.switch(program)
