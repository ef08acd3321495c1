# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""How the chip moves elements: what a `Rearrange` of the graph is made of.

A transposition is a product: the rows of a matrix, loaded as columns of the array, meet the rows of the identity. All
else, and that too where a chip loads no columns, is looked at row by row. Output rows that take their elements from
input rows in the same manner, and that lie regularly, form a *selection*: a sum of products of input rows with matrices
of zeros and ones. Where whole rows stay whole, it needs no multiplication at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Transposition:
    """`matrices` matrices of `rows` x `cols`, one after the other, each transposed."""

    matrices: int
    rows: int
    cols: int


@dataclass(frozen=True)
class RowRun:
    """Rows `first`, `first + step`, ..."""

    first: int
    step: int


@dataclass(frozen=True, eq=False)
class Source:
    """Rows of an input, and where their elements go.

    `matrix` is int8 (input lanes, output lanes), zeros and ones; None where elements stay where they are.
    """

    number: int
    rows: RowRun
    matrix: npt.NDArray[np.int8] | None


@dataclass(frozen=True, eq=False)
class Selection:
    """`count` output rows, each the sum of the selected elements of its `sources`."""

    target: RowRun
    count: int
    sources: tuple[Source, ...]


def transposition(source: Indices, shapes: Sequence[tuple[int, int]]) -> Transposition | None:
    """What `source`, (output rows, lanes), transposes of one input (rows, lanes); None when it does something else, or
    there are several inputs."""
    if source.shape[-1] < 2 or source.size < 2:
        return None
    rows, cols = source.shape[-1], int(source[0, 1] - source[0, 0])
    if cols < 2 or [lanes for _, lanes in shapes] != [cols] or source.size % (rows * cols):
        return None
    matrices = source.size // (rows * cols)
    straight = np.arange(source.size).reshape(matrices, rows, cols).transpose(0, 2, 1).reshape(source.shape)
    return Transposition(matrices, rows, cols) if np.array_equal(source, straight) else None


def selections(source: Indices, shapes: Sequence[tuple[int, int]]) -> list[Selection]:
    """The selections that a `source` of shape (output rows, lanes) is, from inputs of `shapes` (rows, lanes)."""
    ends = np.cumsum([rows * lanes for rows, lanes in shapes])
    number = np.searchsorted(ends, source, side="right")
    widths = np.array([lanes for _, lanes in shapes])
    local = source - np.concatenate([[0], ends[:-1]])[number]
    row, lane = local // widths[number], local % widths[number]
    patterns: dict[bytes, tuple[tuple[Source, ...], list[tuple[int, tuple[int, ...]]]]] = {}
    for r in range(len(source)):
        # Input rows in the order in which their first elements stand.
        pairs = number[r] * (1 << 32) + row[r]
        distinct, first, which = np.unique(pairs, return_index=True, return_inverse=True)
        order = np.argsort(first)
        place = np.argsort(order)[which]
        inputs = (distinct[order] >> 32).astype(np.int64)
        key = np.concatenate([[len(order)], inputs, place, lane[r]]).tobytes()
        if key not in patterns:
            made = (
                Source(int(n), RowRun(0, 0), _matrix(lane[r], place == k, shapes[int(n)][1]))
                for k, n in enumerate(inputs)
            )
            patterns[key] = tuple(made), []
        patterns[key][1].append((r, tuple(int(q) for q in distinct[order] & 0xFFFFFFFF)))
    return [
        Selection(
            target,
            count,
            tuple(Source(s.number, run, s.matrix) for s, run in zip(sources, runs, strict=True)),
        )
        for sources, members in patterns.values()
        for target, count, runs in _fewest_runs(members)
    ]


def _matrix(lane: Indices, taken: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.int8] | None:
    if len(lane) == width and taken.all() and np.array_equal(lane, np.arange(width)):
        return None
    matrix = np.zeros((width, len(lane)), np.int8)
    matrix[lane[taken], np.flatnonzero(taken)] = 1
    return matrix


_Run = tuple[RowRun, int, tuple[RowRun, ...]]
_Member = tuple[int, tuple[int, ...]]


def _fewest_runs(members: list[_Member]) -> list[_Run]:
    """The members as arithmetic progressions, taken in the order of output rows or in that of input rows."""
    by_source = sorted(members, key=lambda member: (member[1], member[0]))
    candidates = [list(_runs(order)) for order in (members, by_source)]
    return min(candidates, key=len)


def _runs(members: Sequence[_Member]) -> Iterator[_Run]:
    start = 0
    while start < len(members):
        stop = start + 1
        if stop < len(members) and members[stop][0] > members[start][0]:
            step = _step(members[start], members[stop])
            while stop < len(members) and _step(members[stop - 1], members[stop]) == step:
                stop += 1
        (row, sources), count = members[start], stop - start
        out, steps = _step(members[start], members[start + 1]) if count > 1 else (1, (1,) * len(sources))
        yield RowRun(row, out), count, tuple(RowRun(*pair) for pair in zip(sources, steps, strict=True))
        start = stop


def _step(a: _Member, b: _Member) -> tuple[int, tuple[int, ...]]:
    return b[0] - a[0], tuple(y - x for x, y in zip(a[1], b[1], strict=True))
