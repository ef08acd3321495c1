# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The next token: the first with the largest logit, found on the chip.

The largest of many takes a step for every halving of what is left, and to find where it stood takes as many again. So
where logits are sums of products with one scale for all of them, sum and place become one number, a *key*: a sum in its
upper bits, and in the lower ones how many tokens there are behind this one. All keys differ, and the largest is that of
the token. Keys are integers, and they are compared as the floats whose patterns they are: floats above 0 are ordered as
their patterns are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from openlpu.compiler.errors import CompileError
from openlpu.compiler.graph import INT8_MAX
from openlpu.compiler.kernel_writer import patterns
from openlpu.compiler.kernels import BufferOperand, Immediate, LaneConstants, Operand, Step, Target, Term
from openlpu.llm.token_writer import BYTE, HISTORY, LOGITS, TOKEN, WHOLE, TokenWriter

HIDDEN = -(1 << 30)
"""Added to the sums of what must not be chosen."""
CHOSEN = "chosen"
"""What becomes the next token, where it is more than a byte of a key."""
_LOWEST = 0x0080_0000
"""The pattern of the smallest float that the VXM does not take for 0."""
_BEYOND = 0x7F80_0000
"""The pattern behind that of the largest float."""
_EXACT = 1 << 24
"""Up to which every integer is a float."""


def largest_sum(codes: npt.NDArray[np.int8]) -> int:
    """The largest magnitude that a product of int8 with `codes` (outputs, inputs) can have."""
    return int(np.abs(codes.astype(np.int64)).sum(axis=1).max()) * (INT8_MAX + 1)


@dataclass(frozen=True)
class Keys:
    """Keys of so many tokens, whose logits are sums of at most this magnitude, times one scale."""

    tokens: int
    largest: int

    @property
    def places(self) -> int:
        """The power of two that a sum is multiplied with."""
        return 1 << (self.tokens - 1).bit_length()

    @property
    def zero(self) -> int:
        """Added to a sum: it is above 0 then, which is what stands where there is no token."""
        return self.largest + 1

    @property
    def fit(self) -> bool:
        """Whether every sum is exact as a float, and every key the pattern of one."""
        most = self.largest + self.zero
        return most <= _EXACT and (most + 1) * self.places + _LOWEST <= _BEYOND


class Logits(NamedTuple):
    """What logits are made of, but for what is the same for all of them and so has no part in the choice."""

    buffer: str
    rows: int
    steps: tuple[Step, ...]
    """Of `buffer`; what comes then, times `scale`, are the logits."""
    scale: float


def choose_by_key(writer: TokenWriter, terms: Sequence[Term], keys: Keys) -> Logits:
    """The token with the largest sum of `terms`, for the next run and in the history."""
    rows, lanes, places = writer.blocks(keys.tokens), writer.lanes, keys.places
    there = np.arange(rows * lanes) < keys.tokens
    # Where every place has a token, what is added to sums can be added later: planes that share a sum add theirs first.
    zero: Operand = WHOLE
    lowest = _LOWEST + keys.zero * places
    if not there.all():
        zeros = np.where(there, keys.zero, 0).astype(np.int32).reshape(rows, lanes)
        zero, lowest = BufferOperand(writer.constant(f"{LOGITS}.zero", zeros)), _LOWEST
    steps = [Step("i2f", zero), Step("fmul", Immediate.of_float(places)), Step("f2i", Immediate(lowest))]
    writer.product(writer.buffer("sums", rows), terms, steps, Target(stacked=rows))
    writer.end("logits")
    behind = np.where(there, keys.tokens - 1 - np.arange(rows * lanes), 0).astype(np.int32).reshape(rows, lanes)
    place = Step("or", BufferOperand(writer.constant("places", behind)))
    writer.made("keys", BufferOperand("sums"), [place], rows=rows)
    largest = writer.largest_lane("most", writer.largest_row("most", "keys", rows), 1)
    found = writer.made("found", largest, [Step("and", Immediate(places - 1))], rows=1)
    # The bytes of (tokens - 1) - found, the upper one rounded: less 127, a little less than a 256th.
    shifts, scales = np.full(lanes, 1 - keys.tokens, np.int32), np.full(lanes, -1.0)
    shifts[1] += BYTE // 2 - 1
    scales[1] = (2.0**-20 - 1) / BYTE
    steps = [
        Step("i2f", LaneConstants("chosen.shift", shifts)),
        Step("fmul", writer.per_lane("chosen.scale", scales)),
        Step("f2i", WHOLE),
    ]
    writer.made(CHOSEN, found, steps, rows=1)
    _leave(writer)
    return Logits("sums", rows, (Step("i2f", Immediate(-keys.zero * places - _LOWEST)),), 1 / places)


def choose_byte(writer: TokenWriter, terms: Sequence[Term], known: Sequence[Term], largest: int, scale: float) -> None:
    """As `choose_by_key`, of up to 256 tokens and with keys whose lowest byte is the token: the smallest is its.

    Both `terms` and `known`, which may be there earlier, are what a logit is the negative sum of, times the scale;
    neither exceeds `largest` in magnitude.

    Raises:
        CompileError: when keys do not fit in 32 bits.
    """
    count = writer.vocabulary
    rows, lanes = writer.blocks(count), writer.lanes
    there = np.arange(rows * lanes) < count
    zero = 2 * largest + 1
    # What is no token has the largest key.
    zeros = writer.constant(f"{LOGITS}.zero", np.where(there, zero, 2 * zero).astype(np.int32).reshape(rows, lanes))
    if count > BYTE or 2 * zero > _EXACT or 2 * zero * BYTE + _LOWEST > _BEYOND:
        raise CompileError(
            f"{writer.name}: a key of 32 bits has no room for {count} tokens and sums of up to {2 * largest:,}: "
            f"use a smaller network"
        )
    base = writer.buffer(f"{LOGITS}.known", rows)
    writer.product(base, known, [Step("i2f", BufferOperand(zeros)), Step("f2i", WHOLE)], Target(stacked=rows))
    steps = [Step("i2f", BufferOperand(base)), Step("fmul", Immediate.of_float(BYTE)), Step("f2i", Immediate(_LOWEST))]
    writer.product(writer.buffer("sums", rows), terms, steps, Target(stacked=rows))
    writer.end("logits")
    tokens = writer.constant("places", np.where(there, np.arange(rows * lanes), 0).astype(np.int32).reshape(rows, -1))
    writer.made("keys", BufferOperand("sums"), [Step("or", BufferOperand(tokens))], rows=rows)
    smallest = writer.smallest_lane("least", writer.smallest_row("least", "keys", rows), 1)
    # Byte 0 of every lane is the token. That lane 1 is not 0 makes no difference to who looks up one of up to 256.
    writer.vector(TOKEN, smallest, [])
    writer.vector(HISTORY, BufferOperand(smallest.name, byte=0), [], Target(indices="position.index"))
    back = [Step("i2f", Immediate(-zero * BYTE - _LOWEST)), Step("fmul", Immediate.of_float(-scale / BYTE))]
    writer.vector(writer.buffer(LOGITS, rows), BufferOperand("sums"), back)
    writer.end("arg-max")


def choose(writer: TokenWriter, terms: Sequence[Term], vocabulary: int, scale: Operand) -> Logits:
    """The token with the largest of the sums of `terms` times a scale for each, for the next run and in the history."""
    rows, lanes = writer.blocks(vocabulary), writer.lanes
    there = np.arange(rows * lanes) < vocabulary
    beyond: Operand = WHOLE
    if not there.all():
        outside = np.where(there, 0, HIDDEN).astype(np.int32).reshape(rows, lanes)
        beyond = BufferOperand(writer.constant(f"{LOGITS}.outside", outside))
    steps = [Step("i2f", beyond), Step("fmul", scale)]
    writer.product(writer.buffer("sums", rows), terms, steps, Target(stacked=rows))
    writer.end("logits")
    most = writer.largest_lane("most", writer.largest_row("most", "sums", rows), 1)
    alike = Step("feq", BufferOperand(most.name, row_step=0))
    found = writer.made("found", BufferOperand("sums"), [alike], rows=rows)
    # The further in front, the larger; none is 0.
    places = np.maximum(vocabulary - np.arange(rows * lanes), 0).reshape(rows, lanes)
    place = Step("and", BufferOperand(writer.constant("places", patterns(places))))
    writer.made("candidates", found, [place], rows=rows)
    first = writer.largest_lane("first", writer.largest_row("first", "candidates", rows), 1)
    writer.as_index(CHOSEN, first, -float(vocabulary), -1.0)
    _leave(writer)
    return Logits("sums", rows, (), 1.0)


def leave_logits(writer: TokenWriter, logits: Logits, scale: float, factor: Sequence[Step]) -> None:
    """Logits, times a scale and what else is the same for all of them."""
    steps = [*logits.steps, Step("fmul", Immediate.of_float(logits.scale * scale)), *factor]
    writer.vector(writer.buffer(LOGITS, logits.rows), BufferOperand(logits.buffer), steps)
    writer.end("arg-max")


def _leave(writer: TokenWriter) -> None:
    """Bytes 0 of the lanes of `chosen` are the next token."""
    writer.vector(HISTORY, BufferOperand(CHOSEN, byte=0), [], Target(indices="position.index"))
    writer.vector(TOKEN, BufferOperand(CHOSEN), [])
