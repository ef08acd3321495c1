# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Which vector a consumer meets on a stream: the last one driven at or upstream of its hop, on its diagonal."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise

from openlpu.arch.geometry import Stream
from openlpu.model.expand import Dispatch

_LAST = 1 << 60
"""Later than any dispatch number, to search sorted tuples by their first member."""


class Traffic:
    """All vectors driven onto streams, by the number of the dispatch and the plane of its result."""

    def __init__(self) -> None:
        self._riders: dict[int, list[tuple[int, int, int]]] = {}
        """By stream and diagonal: (position downstream, dispatch, plane), sorted once `settle` was called."""

    def drive(self, number: int, plane: int, stream: Stream, dispatch: Dispatch, func: int) -> None:
        """Dispatch `number` drives plane `plane` of its result onto a stream, `func` cycles after it left its queue."""
        hop = dispatch.queue.hop
        here = self._riders.setdefault(_rider(stream, dispatch.cycle + func, hop), [])
        here.append((hop * stream.direction.step, number, plane))

    def settle(self) -> None:
        """To be called after the last `drive`, before any question."""
        for riders in self._riders.values():
            riders.sort()

    def met(self, stream: Stream, cycle: int, hop: int) -> tuple[int, int] | None:
        """Dispatch and plane of the vector in a stream register in a cycle; None when it is empty."""
        riders = self._riders.get(_rider(stream, cycle, hop), [])
        upstream = bisect_right(riders, (hop * stream.direction.step, _LAST, 0))
        return riders[upstream - 1][1:] if upstream else None

    def collisions(self) -> Iterator[tuple[int, int, int]]:
        """Two dispatches that drive one register in one cycle, and the plane of the second."""
        for riders in self._riders.values():
            for (position, first, _), (other, second, plane) in pairwise(riders):
                if position == other:
                    yield first, second, plane

    def all(self) -> Iterator[tuple[int, int]]:
        """Dispatch and plane of every vector."""
        for riders in self._riders.values():
            for _, number, plane in riders:
                yield number, plane


def _rider(stream: Stream, cycle: int, hop: int) -> int:
    """One number for a stream and a diagonal: streams are few, and their numbers the lowest bits."""
    return stream.diagonal(cycle, hop) << 8 | stream.index << 1 | stream.direction.value
