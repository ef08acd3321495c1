# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Results of the VXM that a product multiplies go on to the activation buffers while they are written to SRAM.

A consumer takes nothing from a stream, so the activation buffers of a hemisphere can load a row that is on its way to a
slice, and nobody has to write it, read it and send it before. This keeps account of the words that wait for rows. A
product whose rows have all come finds them held, as one finds those of an earlier product. If one row does not come, as
it would have had to wait, the product reads all of them from SRAM.
(`docs/decisions/0039-results-go-on-to-the-mxm.md`)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from openlpu.arch.geometry import QueueKind, geometry
from openlpu.compiler.activations import ActivationBuffer, HeldRows
from openlpu.compiler.journeys import Journey, Stop
from openlpu.compiler.kernels import AllGatherKernel, Kernel, KernelGraph, MatMulKernel
from openlpu.compiler.tiles import Tiles


@dataclass(eq=False)
class Awaiting:
    """A product whose rows go to activation buffers as they are computed."""

    needed: Mapping[int, Sequence[HeldRows]]
    """By plane."""
    words: dict[tuple[int, HeldRows], int] = field(default_factory=dict)
    """By plane and rows: the first word of these, once the first of all rows has been computed."""
    given_up: bool = False


class Part(NamedTuple):
    """Consecutive rows of a kernel that go on to the same activation buffers, and the products that they are for."""

    rows: range
    stops: tuple[Stop, ...]
    products: tuple[Awaiting, ...]


_Catch = dict[tuple[int, int], tuple[int, Awaiting]]
"""Of one row: by plane and byte of its elements, the word that takes it, and for which product."""


class Forwarding:
    """The rows of all products that may come straight from the VXM."""

    def __init__(self, graph: KernelGraph, tiles: Tiles, buffers: Sequence[ActivationBuffer]) -> None:
        self._graph, self._tiles, self._buffers = graph, tiles, buffers
        planes = geometry(tiles.config).of_kind(QueueKind.MXM_ACTS)
        self._queues = [planes[plane.index] for plane in tiles.placement.planes]
        self._awaiting: dict[int, list[Awaiting]] = {}
        """By kernel that computes some of the rows."""
        met: set[object] = set()
        for number, kernel in enumerate(graph.kernels):
            if isinstance(kernel, MatMulKernel):
                views = {term.rows for term in kernel.terms}
                # Who meets rows later finds them where the first one has had them.
                if met.isdisjoint(views) and tiles.replays(number, kernel):
                    self._await(number, kernel)
                met |= views

    def _await(self, number: int, kernel: MatMulKernel) -> None:
        sources, makers = self._tiles.sources(number), self._makers(number, kernel)
        needed = {plane: [self._tiles.held(kernel, source) for source in every] for plane, every in sources.items()}
        fits = max(_count(every) for every in needed.values()) <= self._tiles.config.act_depth
        if fits and makers and all(self._passes(self._graph.kernels[maker]) for maker in makers):
            product = Awaiting(needed)
            for maker in makers:
                self._awaiting.setdefault(maker, []).append(product)

    def _makers(self, number: int, kernel: MatMulKernel) -> list[int]:
        """The kernels that compute all rows of a product, if it is the next one behind them: rows that pass cost others
        a cycle of the weight streams each, and those may be in a hurry."""
        graph, names = self._graph, {term.rows.name for term in kernel.terms}
        before = graph.kernels[:number]
        makers = [i for i, maker in enumerate(before) if maker.output in names]
        there = {*graph.states, *graph.constants, *(name for _, name in graph.inputs)}
        if any(term.rows.indices is not None or term.rows.name in there for term in kernel.terms):
            return []
        between = (other for other in before[makers[0] + 1 :] if isinstance(other, MatMulKernel))
        alike = all(other.output in names or any(view.name in names for view in other.sources) for other in between)
        return makers if alike else []

    def _passes(self, kernel: Kernel) -> bool:
        """Whether the results of a kernel, whole vectors, come from the VXM to be written once."""
        whole = not isinstance(kernel, AllGatherKernel) and kernel.target.byte is None
        return whole and (kernel.output, 0) not in self._tiles.placement.stripes

    def parts(self, number: int, column: int, rows: range) -> Iterator[Part]:
        """Consecutive rows of a column of a kernel, the one with this number, by the activation buffers they go to."""
        catches = self._catches(number, column, rows)
        first = 0
        for i in range(1, len(rows) + 1):
            if i == len(rows) or not _follows(catches[first : i + 1]):
                yield self._part(rows[first:i], catches[first:i])
                first = i

    def whole(self, number: int, column: int, rows: range) -> Part:
        """Rows of a column of a kernel, all of which go to the same activation buffers, or to none."""
        first, *others = self.parts(number, column, rows)
        if not others:
            return first
        self.give_up([product for part in (first, *others) for product in part.products])
        return Part(rows, (), ())

    def _catches(self, number: int, column: int, rows: range) -> list[_Catch]:
        """Of each row: the words that are to take it."""
        kernel = self._graph.kernels[number]
        members = kernel.target.members(self._graph.buffer(kernel.output))
        found: dict[int, _Catch] = {members.start + members.step * row: {} for row in rows}
        for product in self._awaiting.get(number, ()):
            if not product.given_up and self._promised(product, number):
                for (plane, (view, only, count)), word in product.words.items():
                    here = view.name == kernel.output and only == column
                    for i in range(count if here else 0):
                        catch = found.get(view.first_row + view.row_step * i, {})
                        if catch.setdefault((plane, view.byte or 0), (word + i, product)) != (word + i, product):
                            # A row goes to one word of a plane.
                            self.give_up([product])
        return [*found.values()]

    def _promised(self, product: Awaiting, now: int) -> bool:
        """Whether words are kept for all rows of a product, and nothing else has come there since the first one."""
        if not product.words:
            for plane, needed in product.needed.items():
                base = self._buffers[plane].take(_count(needed), now)
                if base is None:
                    self.give_up([product])
                    return False
                product.words |= {(plane, rows): base + _count(needed[:i]) for i, rows in enumerate(needed)}
            for (plane, rows), word in product.words.items():
                self._buffers[plane].hold(rows, word)
        if any(self._buffers[plane].word(rows) != word for (plane, rows), word in product.words.items()):
            self.give_up([product])
        return not product.given_up

    def _part(self, rows: range, catches: list[_Catch]) -> Part:
        first, second = catches[0], catches[min(1, len(catches) - 1)]
        # Rows before these may have been given up meanwhile.
        stops = {
            Stop(self._queues[plane], byte, word, second[plane, byte][0] - word): product
            for (plane, byte), (word, product) in first.items()
            if not product.given_up
        }
        return Part(rows, tuple(stops), tuple(stops.values()))

    def may_load(self, journey: Journey, count: int) -> int:
        """The first start of `count` rows at which what the words hold before has been replayed."""
        return max(
            self._buffer(stop).unused(stop.word + stop.step * np.arange(count)) - dispatch
            for stop, dispatch in journey.stops.items()
        )

    def loaded(self, journey: Journey, start: int, gap: int, count: int) -> None:
        """`count` rows have departed, and go to the stops of their journey."""
        for stop, dispatch in journey.stops.items():
            places = np.arange(count)
            self._buffer(stop).filled(stop.word + stop.step * places, start + dispatch + gap * places)

    def _buffer(self, stop: Stop) -> ActivationBuffer:
        return self._buffers[self._queues.index(stop.queue)]

    def give_up(self, products: Sequence[Awaiting]) -> None:
        """A row of these does not come."""
        for product in products:
            product.given_up = True
            for plane, rows in product.words:
                self._buffers[plane].release(rows)


def _count(needed: Sequence[HeldRows]) -> int:
    """How many words some rows take."""
    return sum(rows.number for rows in needed)


def _follows(catches: Sequence[_Catch]) -> bool:
    """Whether the last of some rows goes where the others do, each as far from the one before."""
    first, *_, last = catches
    if first.keys() != last.keys():
        return False
    steps = (np.diff([catch[key][0] for catch in catches]) for key in first)
    return all((step == step[0]).all() for step in steps)
