# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What the activation buffer of a plane holds, as the scheduler goes through the products."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from openlpu.compiler.kernels import BufferOperand

Words = npt.NDArray[np.int64]
"""Words of an activation buffer, one for each of some rows."""


class HeldRows(NamedTuple):
    """Rows that a product multiplies: so many of a column of what it reads, in consecutive words."""

    view: BufferOperand
    column: int
    number: int


class ActivationBuffer:
    """The words of one plane."""

    def __init__(self, depth: int) -> None:
        self._ready = np.zeros(depth, np.int64)
        """By word: from when on it may be replayed."""
        self._unused = np.zeros(depth, np.int64)
        """By word: from when on it may be loaded again."""
        self._next = 0
        """Where it has been given away up to."""
        self._held: dict[HeldRows, int] = {}
        """The first word of all that is there, or has been promised to be."""

    def take(self, count: int) -> int:
        """The first of `count` words; the longer unused, the better."""
        first = self._next if self._next + count <= len(self._unused) else 0
        self._next = first + count
        return first

    def word(self, rows: HeldRows) -> int | None:
        """The first word of rows that it holds; None when it does not."""
        return self._held.get(rows)

    def hold(self, rows: HeldRows, word: int, *, lasting: bool = True) -> None:
        """Rows come to the words from `word` on, in place of what is there; `lasting` ones are never written anew."""
        for other, first in [*self._held.items()]:
            if first < word + rows.number and word < first + other.number:
                del self._held[other]
        if lasting:
            self._held[rows] = word

    def release(self, rows: HeldRows) -> None:
        """Rows that were promised do not come."""
        self._held.pop(rows, None)

    def ready(self, word: int, count: int) -> int:
        """From when on `count` words may be replayed."""
        return int(self._ready[word : word + count].max())

    def unused(self, words: Words) -> int:
        """From when on words may be loaded."""
        return int(self._unused[words].max())

    def filled(self, words: Words, loaded: Words, ready: Words) -> None:
        """Words are loaded in these cycles of dispatch, and may be replayed from others on."""
        self._ready[words] = ready
        self._unused[words] = np.maximum(self._unused[words], loaded + 1)

    def replayed(self, word: int, count: int, until: int) -> None:
        """The last replay of `count` words is dispatched in cycle `until`."""
        self._unused[word : word + count] = until + 1
