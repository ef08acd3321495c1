# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What the activation buffer of a plane holds, as the scheduler goes through the products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from openlpu.arch.config import ChipConfig
from openlpu.arch.geometry import QueueKind, geometry
from openlpu.arch.isa import BY_MNEMONIC
from openlpu.arch.timing import timing
from openlpu.compiler.journeys import after
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

    def __init__(self, config: ChipConfig, last_met: Mapping[HeldRows, int]) -> None:
        queue = geometry(config).of_kind(QueueKind.MXM_ACTS)[0]
        load, replay = (timing(config).latency(BY_MNEMONIC[name], queue) for name in ("abl", "abr"))
        self._stands = after(load.state) - after(replay.skew)
        """From the dispatch that loads a word to the first that may replay it."""
        self._last_met = last_met
        """Of rows: the number of the product that meets them last."""
        self._ready = np.zeros(config.act_depth, np.int64)
        """By word: from when on it may be replayed."""
        self._unused = np.zeros(config.act_depth, np.int64)
        """By word: from when on it may be loaded again."""
        self._next = 0
        """Where it has been given away up to."""
        self._held: dict[HeldRows, int] = {}
        """The first word of all that is there, or has been promised to be."""

    def take(self, count: int, now: int) -> int | None:
        """The first of `count` words that hold nothing that the kernel `now`, or one behind it, meets: those that have
        been unused for longest. None when there are too few."""
        starts = [first for first in range(len(self._unused) - count + 1) if not self._needed(first, count, now)]
        return self._give(starts, count) if starts else None

    def take_some(self, count: int, now: int) -> int:
        """As `take`, in place of what products do meet, if need be: they find it in SRAM."""
        first = self.take(count, now)
        return self._give(range(len(self._unused) - count + 1), count) if first is None else first

    def _give(self, starts: Sequence[int], count: int) -> int:
        first = min(starts, key=lambda first: (first < self._next, first))
        self._next = first + count
        return first

    def _needed(self, first: int, count: int, now: int) -> bool:
        return any(self._last_met.get(rows, -1) >= now for rows in self._held_in(first, count))

    def _held_in(self, first: int, count: int) -> list[HeldRows]:
        """What it holds in any of `count` words."""
        return [rows for rows, word in self._held.items() if word < first + count and first < word + rows.number]

    def word(self, rows: HeldRows) -> int | None:
        """The first word of rows that it holds; None when it does not."""
        return self._held.get(rows)

    def hold(self, rows: HeldRows, word: int) -> None:
        """Rows come to the words from `word` on, in place of what is there."""
        for other in self._held_in(word, rows.number):
            del self._held[other]
        self._held[rows] = word

    def release(self, rows: HeldRows) -> None:
        """Rows that were promised do not come, or those that are there are of no use any more."""
        self._held.pop(rows, None)

    def ready(self, word: int, count: int) -> int:
        """From when on `count` words may be replayed."""
        return int(self._ready[word : word + count].max())

    def unused(self, words: Words) -> int:
        """From when on words may be loaded."""
        return int(self._unused[words].max())

    def filled(self, words: Words, loaded: Words) -> None:
        """Words are loaded in these cycles of dispatch."""
        self._ready[words] = loaded + self._stands
        self._unused[words] = np.maximum(self._unused[words], loaded + 1)

    def replayed(self, word: int, count: int, until: int) -> None:
        """The last replay of `count` words is dispatched in cycle `until`."""
        self._unused[word : word + count] = until + 1
