# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Text from a chip: a device with a Llama's program, its caches filled token by token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from openlpu.arch.config import ChipConfig
from openlpu.arch.program import Port
from openlpu.compiler.graph import Float32Array, Int8Array, Int32Array
from openlpu.compiler.kernels import Content
from openlpu.llm.token_writer import BYTE, HISTORY, LOGITS, POSITION, TOKEN
from openlpu.runtime.driver import InputError, RunResult


@dataclass(frozen=True)
class Generated:
    """Tokens that the chip chose, and the cycles that it took for all of them."""

    tokens: list[int]
    cycles: int


class Ported(Protocol):
    """A program, of one chip or of several, by its ports."""

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What it is given."""
        ...

    @property
    def outputs(self) -> tuple[Port, ...]:
        """What it leaves."""
        ...


class Runner(Protocol):
    """What a session needs of a device: a `Device`, or the `SystemDevice` of several chips."""

    @property
    def program(self) -> Ported | None:
        """What it has loaded."""
        ...

    @property
    def config(self) -> ChipConfig:
        """What chip it is, or each of its chips."""
        ...

    def run(self, inputs: Mapping[str, NDArray[Any]], count: int = 1) -> RunResult:
        """Run it."""
        ...

    def write_state(self, name: str, rows: NDArray[Any]) -> int:
        """Put rows into a state; how many words of SRAM that took."""
        ...


class Session:
    """One sequence of tokens on a device that has loaded a program of `openlpu.llm.program.compile_llama`.

    The chip is fed one token a run, at positions from 0 on, and answers each with logits; or it goes on by itself. What
    comes first may as well be read by somebody else, who then hands over what the chip would have made of it.
    """

    def __init__(self, device: Runner) -> None:
        if device.program is None:
            raise InputError("a session needs a device with a program")
        self.device = device
        self.position = 0
        """Of the next token."""
        ports = {port.name: port for port in (*device.program.inputs, *device.program.outputs)}
        self.lanes = ports[POSITION].cols
        self.context = ports[HISTORY].rows
        """Positions that the program is made for."""
        self.cycles = 0
        """Of all runs so far."""
        self._next: int | None = None
        """What the chip found behind the last token that it was fed."""

    def feed(self, tokens: Sequence[int]) -> Float32Array:
        """Give the chip tokens, one a run; the logits behind each of them, (tokens, vocabulary up to whole vectors).

        Raises:
            InputError: when the tokens do not fit the context.
        """
        return np.stack([self._logits(self._run(token, 1)) for token in tokens])

    def take_over(self, states: Mapping[str, Content], tokens: int) -> int:
        """Begin behind so many tokens: `states` are the rows that they fill, by state, as `openlpu.llm.prefill` makes
        them. How many words of SRAM that took.

        Raises:
            InputError: when something was fed before, they do not fit the context, the program lacks a state, or the
                rows do not fit one.
        """
        self.verify_room(tokens)
        if self.position:
            raise InputError(f"a session takes over at its beginning, and this one is at position {self.position}")
        words = sum(self.device.write_state(name, rows) for name, rows in states.items())
        self.position = tokens
        return words

    def generate(self, count: int) -> Generated:
        """Let the chip choose `count` tokens in one go: the likeliest behind what it was fed, and so on.

        Raises:
            InputError: when nothing was fed yet, or the tokens do not fit the context.
        """
        if self._next is None:
            raise InputError("a session begins with a token that it is fed")
        first, token, before = self.position, self._next, self.cycles
        self.verify_room(count)
        chosen: list[int] = []
        while len(chosen) < count:
            here = min(count - len(chosen), self.until(self.position) - self.position)
            result = self._run(self._next, here)
            chosen = [_token(row) for row in result.outputs[HISTORY][first : self.position]]
        return Generated([token, *chosen[:-1]], self.cycles - before)

    def until(self, position: int) -> int:
        """The first position that the program for this one does not know."""
        return self.context

    def make_ready(self) -> None:
        """See to it that the program for this position is loaded."""

    def verify_room(self, count: int) -> None:
        """Raise InputError when so many further tokens do not fit the context."""
        if self.position + count > self.context:
            raise InputError(
                f"{self.position + count} tokens are more than the {self.context} that the program is made for: "
                f"compile it for a longer context"
            )

    def _run(self, token: int, count: int) -> RunResult:
        self.verify_room(count)
        self.make_ready()
        result = self.device.run(inputs_of(token, self.position, self.lanes), count)
        self.position += count
        self.cycles += result.cycles
        self._next = _token(result.outputs[HISTORY][self.position - 1])
        return result

    def _logits(self, result: RunResult) -> Float32Array:
        return result.outputs[LOGITS].reshape(-1)


def inputs_of(token: int, position: int, lanes: int) -> dict[str, Int32Array | Float32Array]:
    """What a run begins with, by port: a token, and its position in all lanes."""
    return {
        TOKEN: np.array([divmod(token, BYTE)[::-1]], np.int32),
        POSITION: np.full((1, lanes), position, np.float32),
    }


def _token(row: Int8Array) -> int:
    low, high = (int(byte) % BYTE for byte in row)
    return low + BYTE * high
