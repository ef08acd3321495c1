# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What programs that take turns on a chip have in common: words of SRAM that stay.

Constants, weights and states of one program are where those of another one are that was placed before it, if they are
the same. All that passes lies elsewhere, so a program that comes and goes leaves what lasts as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from openlpu.arch.program import Column, Vector
from openlpu.compiler.kernels import Content

Place = tuple[int, int]
"""A word of SRAM: slice and address."""


@dataclass(frozen=True)
class Stripe:
    """Rows of a factor in one slice: `first`, `first + step`, ..., `count` in all, in consecutive words from `base`."""

    mem_slice: int
    base: int
    first: int
    step: int
    count: int


@dataclass(frozen=True)
class Lasting:
    """What stays in SRAM, by name of a buffer, of constants of a chain, or by what a tile holds."""

    image: Mapping[Place, Vector] = field(default_factory=dict)
    buffers: Mapping[str, tuple[Column, ...]] = field(default_factory=dict)
    stripes: Mapping[tuple[str, int], tuple[Stripe, ...]] = field(default_factory=dict)
    """Of caches, by name and column."""
    windows: Mapping[str, int] = field(default_factory=dict)
    """Of tables and caches."""
    constants: Mapping[tuple[str, int], Column] = field(default_factory=dict)
    tiles: Mapping[tuple[int, bytes], int] = field(default_factory=dict)
    """By plane and content: the first address."""
    homes: Mapping[str, int] = field(default_factory=dict)
    """Of caches: their planes."""

    def columns(self, name: str, content: Content, lanes: int, places: int) -> tuple[Column, ...] | None:
        """Where a buffer lies already that holds `content` and nothing else, in at least so many places; None for
        nowhere. One row of many vectors may as well be many rows of one."""
        found = self.buffers.get(name, ())
        wanted = -(-content.shape[1] // lanes)
        if len(found) == 1 < wanted and len(content) == 1:
            found = tuple(Column(found[0].slices, found[0].base + i, found[0].copies) for i in range(wanted))
        if len(found) != wanted or any(len(column.places) < places or not column.slices for column in found):
            return None
        return found if self.has(words_of(found, content, lanes)) else None

    def has(self, words: Iterable[tuple[Place, Vector]]) -> bool:
        """Whether all words are there as they should be."""
        return all(place in self.image and np.array_equal(self.image[place], word) for place, word in words)


def words_of(columns: Sequence[Column], content: Content, lanes: int) -> Iterator[tuple[Place, Vector]]:
    """What stands in SRAM where a buffer lies, and its copies."""
    padded = np.zeros((len(content), len(columns) * lanes), content.dtype)
    padded[:, : content.shape[1]] = content
    for number, column in enumerate(columns):
        part = np.ascontiguousarray(padded[:, number * lanes : (number + 1) * lanes])
        planes = part.astype(part.dtype.newbyteorder("<"), copy=False).view(np.int8)
        planes = planes.reshape(len(content), lanes, len(column.slices))
        for slices in column.places:
            for plane, mem_slice in enumerate(slices):
                for row in range(len(content)):
                    yield (mem_slice, column.base + row), planes[row, :, plane].copy()
