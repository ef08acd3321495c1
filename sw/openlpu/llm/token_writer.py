# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What the kernels of one token have in common, whatever the network: states, indices, norms, caches, digits.

Norms. The sum of squares of a vector is a product with ones, which leaves it in every lane at once: squares, or sums of
a few of them, become whole numbers, and each of their two upper bytes, of four, a signed one.

Two digits. What attention and the feed-forward part hand to their last product varies too much for one byte. It is a
whole number of 15 bits, and its two bytes are two rows: a tile is in the array for as long as it takes to load the
next, so where that is two cycles the second row costs the array nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from openlpu.arch.config import ChipConfig
from openlpu.compiler.errors import CompileError
from openlpu.compiler.graph import INT8_MAX, Port
from openlpu.compiler.kernel_writer import KernelWriter
from openlpu.compiler.kernels import (
    BufferOperand,
    Immediate,
    KernelGraph,
    Operand,
    Step,
    Target,
    Term,
    padded,
)
from openlpu.llm.quantise import QuantisedNorm

TOKEN, POSITION, HISTORY, LOGITS = "token", "position", "history", "logits"
"""Ports: the token to go on from and its position, inputs that every run leaves for the next; the tokens found, by the
positions that they follow; the logits of the last run."""
BYTE = 256
"""Values of a byte: an index is its low byte in lane 0, and its high byte in lane 1."""
WHOLE = Immediate(0)
"""Of a conversion to or from integers: nothing is added."""
FINER = 128
"""Parts of a step of int8, where a number has two digits."""

SPLIT = (1 + 2.0**-20) / BYTE
"""Times a whole number below 2**15: its upper byte, halves rounded up, where the lower byte is the signed one."""
_SQUARE_ROOM = 1.5
"""How much larger than in calibration an element in front of a norm may be."""
_LARGEST_SQUARE = 32_500 * BYTE**2
"""What the square of such an element becomes: beyond its upper two bytes, of which the sum is made, int32 ends."""


class TokenWriter(KernelWriter):
    """Kernels of a token so far, for a network of vectors of `hidden` elements and positions 0 to `context` - 1. States
    have room for `capacity` positions, if that is more: those are for other programs over the same states.

    Raises:
        CompileError: when no such network suits the chip.
    """

    def __init__(
        self, name: str, hidden: int, vocabulary: int, context: int, config: ChipConfig, *, capacity: int = 0
    ) -> None:
        super().__init__(config)
        self.name, self.hidden, self.vocabulary, self.context = name, hidden, vocabulary, context
        self.square_parts = 1
        """In how many parts of equally many rows a vector in front of a norm comes, whose squares are added up before
        they become whole numbers."""
        self.capacity = max(capacity, context)
        chip, what = f"config '{config.name}'", ""
        if not config.mxm_transposes:
            what = f"keys are loaded as columns, which {chip} cannot: set its 'mxm_transposes'"
        elif not config.sxm_rotates:
            what = f"sums of all lanes turn 32-bit elements, which {chip} cannot: set its 'sxm_rotates'"
        elif not config.dealt_windows:
            what = f"caches need weight_streams that are a power of two, and {chip} has {config.weight_streams}"
        elif max(vocabulary, self.capacity) > BYTE**2:
            what = f"an index has two bytes, and there are {vocabulary} tokens and {self.capacity} positions"
        elif context % self.lanes or self.capacity % self.lanes:
            what = f"a context of {context if context % self.lanes else capacity} is no multiple of {self.lanes} lanes"
        if what:
            raise CompileError(f"{name}: {what}")

    def begin(self) -> None:
        """The states of a whole network: token, position and history."""
        self.state(TOKEN, np.zeros((1, self.lanes), np.int32))
        self.state(POSITION, np.zeros((1, self.lanes), np.int32))
        self.state(HISTORY, np.zeros((self.capacity, self.lanes), np.int8))

    def token(self, position: Port, index_bytes: int, *more: tuple[Port, str]) -> KernelGraph:
        """All kernels since `begin`, with their ports, `more` inputs among them. That of the position is as its network
        wants it, and tokens in the history have so many bytes."""
        self.apart.append(LOGITS)
        outside = (
            (Port(HISTORY, HISTORY, "int8", (self.capacity, index_bytes)), BufferOperand(HISTORY)),
            (Port(LOGITS, LOGITS, "float32", (self.blocks(self.vocabulary), self.lanes)), BufferOperand(LOGITS)),
        )
        inside = (
            (Port(TOKEN, TOKEN, "int32", (1, 2)), TOKEN),
            (position, POSITION),
            *more,
        )
        return self.written(f"{self.name}, a token of {self.context}", inside, outside)

    # Indices

    def as_index(self, name: str, source: BufferOperand, shift: float, scale: float, rows: int = 1) -> BufferOperand:
        """Floats, one a row, moved and scaled, as indices: their bytes are bytes 0 of lanes 0 and 1."""
        shifts, scales = np.zeros(self.lanes), np.zeros(self.lanes)
        shifts[:2] = shift, shift - (BYTE - 1) / 2 / scale
        scales[:2] = scale, scale / BYTE
        steps = [
            Step("fadd", self.per_lane(f"{name}.shift", shifts.astype(np.float32))),
            Step("fmul", self.per_lane(f"{name}.scale", scales.astype(np.float32))),
            Step("f2i", WHOLE),
        ]
        self.made(name, source, steps, rows=rows)
        return BufferOperand(name, byte=0)

    def index(self, name: str, source: BufferOperand, rows: int = 1) -> None:
        """Copies of indices beside everything that they choose from."""
        self.vector(self.buffer(name, rows, wide=False), source, [])

    def cache(self, name: str, source: BufferOperand, steps: Sequence[Step], rows: int | None = None) -> None:
        """Put a row into a cache, at the position, or so many, at theirs."""
        self.state(name, np.zeros((self.capacity, self.lanes), np.int8))
        self.vector(name, source, steps, Target(rows=rows, indices="position.index"))

    # Norms

    def norm_scale(self, norm: QuantisedNorm) -> float:
        """What an element in front of a norm, times itself, is multiplied with, for whole numbers below 0."""
        return -_LARGEST_SQUARE / (norm.largest * _SQUARE_ROOM) ** 2 / self.square_parts

    def squares(self, name: str, x: BufferOperand, y: BufferOperand, rows: int | None = None) -> None:
        """What a norm sums, of a vector x, where y is x by `norm_scale`: bytes 3 and 2 of the products, rounded.

        Products are below 0, as -128 is a weight, and 128 is none. What is added, to round them, cannot exceed int32.
        Byte 2 counts from 128 on, so that it is a signed byte, too.
        """
        half, total = BYTE**2 // 2, rows or self.blocks(self.hidden)
        rows = total // self.square_parts
        square = [(_from_row(y, first), [Step("fmul", _from_row(x, first))]) for first in range(0, total, rows)]
        source, steps = square[0]
        if len(square) > 1:
            parts = [self.made(f"{name}.squares{i}", *part, rows=rows) for i, part in enumerate(square)]
            source, steps = parts[0], [Step("fadd", part) for part in parts[1:]]
        self.made(f"{name}.upper", source, [*steps, Step("f2i", Immediate(half))], rows=rows)
        self.made(f"{name}.lower", source, [*steps, Step("f2i", Immediate(BYTE**3 // 2 + half))], rows=rows)

    @property
    def square_blocks(self) -> int:
        """Rows of the `squares` of one vector."""
        return self.blocks(self.hidden) // self.square_parts

    def root_unit(self, norm: QuantisedNorm) -> float:
        """What 1 / root of the sum of `squares` of a vector is multiplied with, for 1 / rms."""
        return math.sqrt(-self.norm_scale(norm) / BYTE**2 * self.hidden)

    def norm_factor(self, name: str, norm: QuantisedNorm, epsilon: float, unit: Operand) -> BufferOperand:
        """1 / root of the sum of the `squares` of this name, times `unit`, in every lane."""
        blocks, lanes = self.square_blocks, self.lanes
        terms, halves = [], (np.full((lanes, lanes), -BYTE // 2, np.int8),) * 2
        for row in range(blocks):
            lower = BufferOperand(f"{name}.lower", first_row=row, row_step=0, byte=2)
            terms.append(Term(lower, (np.full((lanes, lanes), -1, np.int8),)))
            terms.append(Term(BufferOperand(f"{name}.upper", first_row=row, row_step=0, byte=3), halves))
        self.product(self.buffer(f"{name}.factor", 1), terms, self.norm_steps(norm, epsilon, unit))
        return BufferOperand(f"{name}.factor", row_step=0)

    def norm_steps(self, norm: QuantisedNorm, epsilon: float, unit: Operand) -> list[Step]:
        """From what `squares` of a vector come to, to 1 / its root, times `unit`."""
        square = -self.norm_scale(norm) / BYTE**2
        # What lower bytes have too much, in every lane, and epsilon.
        added = round(self.hidden * square * epsilon) - BYTE // 2 * self.lanes * self.square_blocks
        return [Step("i2f", Immediate(added)), Step("rsqrt"), Step("fmul", unit)]

    # Attention

    def softmax(self, name: str, scores: str, heads: int) -> str:
        """The weights of all positions, a row for each head, before they are divided by their sum: 127 is the largest.

        Its parts have names behind the prefix `name`.
        """
        largest = self.largest_scores(name, scores, heads)
        weights = self.buffer(f"{name}weights", heads, wide=False, cols=self.context)
        self.powers(weights, scores, largest, range(heads))
        return weights

    def largest_scores(self, name: str, scores: str, heads: int) -> BufferOperand:
        """The largest score of each head, in every lane."""
        columns = self.largest_column(f"{name}largest", scores, heads)
        return BufferOperand(self.largest_lane(f"{name}largest", columns, heads).name, column=0)

    def powers(self, weights: str, scores: str, largest: BufferOperand, heads: range) -> None:
        """The weights of some heads, from their scores."""
        less = dataclasses.replace(largest, first_row=heads.start)
        steps = [Step("fsub", less), Step("exp"), Step("fmul", Immediate.of_float(INT8_MAX)), Step("f2i", WHOLE)]
        self.vector(
            weights, BufferOperand(scores, first_row=heads.start), steps, Target(first_row=heads.start, rows=len(heads))
        )

    # Products

    def scaled(
        self, name: str, inputs: Sequence[BufferOperand], codes: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]
    ) -> BufferOperand:
        """A product and its scales, one for each output."""
        steps = [Step("i2f", WHOLE), Step("fmul", self.per_row(f"{name}.scale", scales))]
        return self.stacked(name, inputs, padded(codes, self.lanes), steps)

    def two_digits(
        self,
        name: str,
        numbers: BufferOperand,
        rows: int,
        codes: npt.NDArray[np.int8],
        scales: npt.NDArray[np.floating[Any]],
    ) -> tuple[BufferOperand, BufferOperand]:
        """The products of whole numbers, `FINER` of them to 1: of their upper bytes, and of their lower ones."""
        digits = self.as_digits(name, numbers, rows)
        scaling = [Step("i2f", WHOLE), Step("fmul", BufferOperand(self.digit_scales(name, scales)))]
        both = self.digit_sums(name, digits, padded(codes, self.lanes), scaling)
        return BufferOperand(both, row_step=2), BufferOperand(both, first_row=1, row_step=2)

    def as_digits(self, name: str, numbers: BufferOperand, rows: int) -> str:
        """The upper bytes of rows of whole numbers of 15 bits, then the lower ones."""
        digits = self.buffer(f"{name}.digits", 2 * rows, wide=False)
        upper = [Step("i2f", WHOLE), Step("fmul", Immediate.of_float(SPLIT)), Step("f2i", WHOLE)]
        self.vector(digits, numbers, upper, Target(rows=rows))
        self.vector(digits, BufferOperand(numbers.name, byte=0), [], Target(first_row=rows, rows=rows))
        self.gathered.append((digits,))
        return digits

    def digit_sums(self, name: str, digits: str, codes: npt.NDArray[np.int8], steps: Sequence[Step]) -> str:
        """The product of such digits with `codes` (elements, outputs) in whole tiles: of each row that of its upper
        bytes, then the lower."""
        rows, columns = codes.shape[0] // self.lanes, codes.shape[1] // self.lanes
        views = [BufferOperand(digits, first_row=row, row_step=rows) for row in range(rows)]
        terms = [Term(view, (codes[i * self.lanes : (i + 1) * self.lanes],)) for i, view in enumerate(views)]
        both = self.buffer(f"{name}.both", 2 * columns)
        self.product(both, terms, steps, Target(rows=2, stacked=columns))
        return both

    def digit_scales(self, name: str, scales: npt.NDArray[np.floating[Any]]) -> str:
        """Scales of the outputs of a product of whole numbers: of each row that of its upper bytes, then the lower."""
        blocks = self.blocks(len(scales))
        factors = np.zeros(blocks * self.lanes)
        factors[: len(scales)] = scales / FINER
        by_digit = np.stack([BYTE * factors.reshape(blocks, -1), factors.reshape(blocks, -1)], axis=1)
        return self.per_row(f"{name}.scale", by_digit.reshape(-1)).name


def _from_row(view: BufferOperand, row: int) -> BufferOperand:
    return dataclasses.replace(view, first_row=view.first_row + row)
