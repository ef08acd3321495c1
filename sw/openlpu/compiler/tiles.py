# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The weight tiles of every product, in the order in which the planes of the chip take them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from openlpu.arch.config import ChipConfig
from openlpu.compiler.activations import HeldRows
from openlpu.compiler.dealing import Inner, Share
from openlpu.compiler.kernels import AllGatherKernel, Factor, Kernel, KernelGraph, MatMulKernel, Term, views_of
from openlpu.compiler.place import Placement

_PARTS = 3
"""In which the rows of a product come, where a column needs but some of its tiles at a time."""

Source = tuple[int, int]
"""Rows that a product multiplies: a term, and a column of its buffer."""


@dataclass(frozen=True)
class Tile:
    """One weight tile of a kernel, and the rows that pass it."""

    number: int
    """Which of the kernels."""
    kernel: MatMulKernel
    inner: Inner
    first: bool
    """Its sums are the first of its output column."""
    last: bool
    output_column: int
    first_row: int
    """Of the rows that the kernel computes."""
    rows: int
    replayed: bool
    """The rows come from the activation buffer, not from streams."""
    acc: int = 0
    """The accumulator of the first row."""
    stays: bool = False
    """The plane has the same weights as its last tile."""
    word: int = 0
    """Of the activation buffer, the first that holds these rows."""

    @property
    def source(self) -> Source:
        """Whose rows pass it."""
        return self.inner.term, self.inner.input_column

    @property
    def term(self) -> Term:
        """What it is part of."""
        return self.kernel.terms[self.inner.term]


class Tiles:
    """The tiles of a kernel graph, where a placement has put them."""

    def __init__(self, graph: KernelGraph, placement: Placement, config: ChipConfig) -> None:
        self.graph, self.placement, self.config = graph, placement, config
        self.groups = config.lanes // config.weight_streams
        """Loads that fill the shadow buffer of a plane."""

    def rows(self, kernel: Kernel) -> int:
        """How many rows a kernel computes."""
        return kernel.target.count(self.graph.buffer(kernel.output))

    def columns(self, buffer: str) -> int:
        """How many columns a buffer has."""
        return len(self.placement.buffers[buffer])

    def replays(self, number: int, kernel: MatMulKernel) -> bool:
        """Whether the rows go through the activation buffer: a tile takes longer to load than to use, or not much less
        and they are for one plane of several; or the same rows meet one stacked column after the other, and all fit.
        Columns need accumulators of their own, where rows do not all fit."""
        rows, rounds = self.rows(kernel), self.placement.dealing.rounds[number]
        if self._through_one_tile(number, kernel):
            return False
        # Planes whose rows are not the same wait for those of one another, if they stream.
        factors = {term.weights.name for term in kernel.terms if isinstance(term.weights, Factor)}
        alone = len(self.placement.planes) > 1 and not factors.isdisjoint(self.placement.dealing.homes)
        if kernel.target.stacked > 1 and len(self.placement.planes) == 1 and rows > self.groups:
            waiting = rows * len(rounds) <= self.config.acc_depth and rows <= self.config.act_depth
            return waiting or rows * len(self.sources(number)[0]) <= self.config.act_depth
        if rows > min(self.groups * (2 if alone else 1), self.config.act_depth // 2):
            return False
        passes = self.passes(number, kernel)
        last = {*passes[-1]}
        finished = all(any(_source(inner) in last for inner in share.inners) for members in rounds for share in members)
        return len(passes) == 1 or (finished and self._sums_wait(number, kernel))

    def _sums_wait(self, number: int, kernel: MatMulKernel) -> bool:
        """Whether sums of all columns can wait in accumulators of their own, between passes."""
        return self.rows(kernel) * len(self.placement.dealing.rounds[number]) <= self.config.acc_depth

    def passes(self, number: int, kernel: MatMulKernel) -> list[tuple[Source, ...]]:
        """What a replayed product multiplies, in as many parts as it takes for each to fit in the activation buffers.
        Where there are several, two fit at once, if that can be: one can fill up while the other is multiplied."""
        rows = self.rows(kernel)
        columns = (range(self.columns(source.name)) for source in kernel.sources)
        sources = [(term, column) for term, every in enumerate(columns) for column in every]
        most = max(len(every) for every in self.sources(number).values())
        if most * rows > self.config.act_depth:
            at_once = max(self.config.act_depth // 2 // rows, 1)
        elif self._sums_wait(number, kernel) and (self._all_share(number) or self._rows_follow_columns(number, kernel)):
            # Rows that come late are needed late, and not by the first column: those of other chips come last.
            at_once = -(-len(sources) // _PARTS)
            sources.sort(key=lambda source: self._from_another_chip(kernel.terms[source[0]]))
        else:
            at_once = len(sources)
        return [tuple(sources[first : first + at_once]) for first in range(0, len(sources), at_once)]

    def _from_another_chip(self, term: Term) -> bool:
        return (term.rows.name, term.rows.first_row) in self._come_over_links

    @functools.cached_property
    def _come_over_links(self) -> frozenset[tuple[str, int]]:
        """The rows of buffers that other chips compute."""
        gathers = (kernel for kernel in self.graph.kernels if isinstance(kernel, AllGatherKernel))
        return frozenset(
            (kernel.output, row)
            for kernel in gathers
            for row, owner in enumerate(kernel.owners)
            if owner != kernel.chip
        )

    def _rows_follow_columns(self, number: int, kernel: MatMulKernel) -> bool:
        """Whether a product of several stacked columns is the first to meet rows that come one after the other, as the
        columns of another product do of which they are made. Those that meet them later find all of them in the
        activation buffers."""
        if len(self.placement.dealing.rounds[number]) == 1:
            return False
        earlier = self.graph.kernels[:number]
        met = {view for other in earlier if isinstance(other, MatMulKernel) for view in other.sources}
        if not kernel.target.stacked or not met.isdisjoint(kernel.sources):
            return False
        made_of = {view.name for view in kernel.sources}
        for before in range(number - 1, -1, -1):
            other = self.graph.kernels[before]
            if other.output in made_of and isinstance(other, MatMulKernel):
                return other.target.stacked > 1 and len(self.placement.dealing.rounds[before]) > 1
            if other.output in made_of:
                made_of |= {view.name for view in views_of(other)}
        return False

    def _all_share(self, number: int) -> bool:
        """Whether all planes have a part of every one of several columns."""
        rounds = self.placement.dealing.rounds[number]
        return len(rounds) > 1 and all(len({share.column for share in every}) == 1 < len(every) for every in rounds)

    def sources(self, number: int) -> dict[int, list[Source]]:
        """By plane that takes part in a product: whose rows pass its tiles."""
        found: dict[int, set[Source]] = {}
        for share in itertools.chain(*self.placement.dealing.rounds[number]):
            found.setdefault(share.plane, set()).update(_source(inner) for inner in share.inners)
        return {plane: sorted(every) for plane, every in found.items()}

    def held(self, kernel: MatMulKernel, source: Source) -> HeldRows:
        """What the rows of a source of a product are to activation buffers."""
        term, column = source
        return HeldRows(kernel.terms[term].rows, column, self.rows(kernel))

    @functools.cached_property
    def last_met(self) -> Mapping[HeldRows, int]:
        """Of rows that are replayed: the last product that meets them."""
        found: dict[HeldRows, int] = {}
        for number, kernel in enumerate(self.graph.kernels):
            if isinstance(kernel, MatMulKernel) and self.replays(number, kernel):
                for source in itertools.chain(*self.sources(number).values()):
                    found[self.held(kernel, source)] = number
        return found

    def steps(self, number: int, kernel: MatMulKernel) -> Iterator[list[tuple[int, Tile]]]:
        """The tiles of a kernel as all planes together take them: (number of the plane, tile) where there is one."""
        return self._replayed(number, kernel) if self.replays(number, kernel) else self._streamed(number, kernel)

    def _streamed(self, number: int, kernel: MatMulKernel) -> Iterator[list[tuple[int, Tile]]]:
        rows, depth = self.rows(kernel), self.config.acc_depth
        for first_row in range(0, rows, depth):
            for members in self.placement.dealing.rounds[number]:
                yield from _together(
                    [
                        (
                            share.plane,
                            [
                                Tile(
                                    number,
                                    kernel,
                                    inner,
                                    first=i == 0,
                                    last=i == len(share.inners) - 1,
                                    output_column=share.column,
                                    first_row=first_row,
                                    rows=min(depth, rows - first_row),
                                    replayed=False,
                                    stays=stays,
                                )
                                for i, (inner, stays) in enumerate(self._staying(number, share, share.inners))
                            ],
                        )
                        for share in members
                    ]
                )

    def _staying(self, number: int, share: Share, inners: Sequence[Inner]) -> list[tuple[Inner, bool]]:
        """Tiles of a share, and whether each has the weights of the one before it."""
        bases = [self.placement.weights[number, share.column, inner] for inner in inners]
        return [(inner, i > 0 and bases[i] == bases[i - 1]) for i, inner in enumerate(inners)]

    def _through_one_tile(self, number: int, kernel: MatMulKernel) -> bool:
        """Whether all that passes the tiles of a column, which are all alike, is rows that an index chooses: no other
        product meets these."""
        shares = itertools.chain(*self.placement.dealing.rounds[number])
        chosen = all(term.rows.indices is not None for term in kernel.terms)
        return chosen and all(stays for share in shares for _, stays in self._staying(number, share, share.inners)[1:])

    def _replayed(self, number: int, kernel: MatMulKernel) -> Iterator[list[tuple[int, Tile]]]:
        """Round after round for every pass over the rows; sums of rounds wait in accumulators of their own."""
        rows, passes = self.rows(kernel), self.passes(number, kernel)
        for which, sources in enumerate(passes):
            for round_number, members in enumerate(self.placement.dealing.rounds[number]):
                columns: list[tuple[int, list[Tile]]] = []
                for share in members:
                    inners = self._alike_together(number, share, {*sources})
                    earlier = any(_source(inner) in before for before in passes[:which] for inner in share.inners)
                    columns.append(
                        (
                            share.plane,
                            [
                                Tile(
                                    number,
                                    kernel,
                                    inner,
                                    first=i == 0 and not earlier,
                                    last=i == len(inners) - 1 and which == len(passes) - 1,
                                    output_column=share.column,
                                    first_row=0,
                                    rows=rows,
                                    replayed=True,
                                    acc=0 if len(passes) == 1 else round_number * rows,
                                    stays=stays,
                                )
                                for i, (inner, stays) in enumerate(self._staying(number, share, inners))
                            ],
                        )
                    )
                yield from _together(columns)

    def _alike_together(self, number: int, share: Share, sources: Container[Source]) -> list[Inner]:
        """The tiles of a share that rows of `sources` pass; equal ones follow one another."""
        inners = [inner for inner in share.inners if _source(inner) in sources]
        bases = [self.placement.weights[number, share.column, inner] for inner in inners]
        return [
            inner for _, inner in sorted((bases.index(base), inner) for base, inner in zip(bases, inners, strict=True))
        ]

    def of_plane(self, plane: int) -> Iterator[Tile]:
        """The tiles that one plane loads, over all kernels."""
        return (
            tile
            for index, kernel in enumerate(self.graph.kernels)
            if isinstance(kernel, MatMulKernel)
            for step in self.steps(index, kernel)
            for number, tile in step
            if number == plane and not tile.stays
        )


def _source(inner: Inner) -> Source:
    return inner.term, inner.input_column


def _together(columns: Sequence[tuple[int, list[Tile]]]) -> Iterator[list[tuple[int, Tile]]]:
    """Tiles of several planes step by step, so that all end together."""
    most = max(len(tiles) for _, tiles in columns)
    for position in range(most):
        waiting = ((plane, tiles, position - (most - len(tiles))) for plane, tiles in columns)
        yield [(plane, tiles[which]) for plane, tiles, which in waiting if which >= 0]
