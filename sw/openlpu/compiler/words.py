# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Who has which words of SRAM.

Words are fresh until they are given away for the first time. What is only there for a while gives its words back, and
they go to others when no fresh ones are left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt


class Words:
    """The words of all MEM slices of a chip."""

    def __init__(self, slices: int, words: int) -> None:
        self._given = np.zeros((slices, words), np.bool_)
        """Has ever been given to anybody."""
        self._taken = np.zeros((slices, words), np.bool_)
        """Is somebody's now."""
        self._holders: list[str] = []
        self._holder = np.full((slices, words), -1, np.int32)
        """Whose it was last, by place in `_holders`."""
        self.reserved = 0
        """Words at the end of every slice that are kept for what comes with `last`."""
        self.shared: set[tuple[int, int]] = set()
        """Words that more than one has had."""

    def occupy(self, places: Iterable[tuple[int, int]]) -> None:
        """Words, by slice and address, that are somebody else's for good."""
        for mem_slice, address in places:
            self._given[mem_slice, address] = self._taken[mem_slice, address] = True

    def fullest(self, slices: Sequence[int]) -> int:
        """How many words of the fullest of `slices` have been given away."""
        return int(self._given[list(slices)].sum(axis=1).max())

    @property
    def given(self) -> int:
        """How many words of all slices have been given away."""
        return int(self._given.sum())

    def fresh(self, slices: Sequence[int], count: int, align: int = 1, *, last: bool = False) -> int | None:
        """The first address, a multiple of `align`, of `count` fresh words in all of `slices`; None where there is
        none."""
        end = self._given.shape[1] - (0 if last else self.reserved)
        return _gap(self._given[list(slices), :end], count, align)

    def take(self, name: str, slices: Sequence[int], base: int, count: int) -> frozenset[str]:
        """Give words away; return who had them before."""
        which = np.ix_(list(slices), range(base, base + count))
        before = frozenset(self._holders[i] for i in np.unique(self._holder[which]) if i >= 0)
        if before:
            again = np.argwhere(self._given[which])
            self.shared |= {(slices[int(row)], base + int(word)) for row, word in again}
        self._given[which] = self._taken[which] = True
        self._holder[which] = len(self._holders)
        self._holders.append(name)
        return before

    def vacated(self, slices: Sequence[int], count: int) -> int | None:
        """The first address of `count` words in all of `slices` that are nobody's, fresh or not."""
        return _gap(self._taken[list(slices), : self._taken.shape[1] - self.reserved], count, 1)

    def give_back(self, slices: Sequence[int], base: int, count: int) -> None:
        """End a tenancy."""
        self._taken[np.ix_(list(slices), range(base, base + count))] = False


def _gap(taken: npt.NDArray[np.bool_], count: int, align: int) -> int | None:
    """The first multiple of `align` from which on `count` columns hold nothing."""
    busy = np.concatenate([[0], np.cumsum(taken.any(axis=0))])
    starts = np.arange(0, len(busy) - count, align)
    free = starts[busy[starts + count] == busy[starts]]
    return int(free[0]) if len(free) else None
