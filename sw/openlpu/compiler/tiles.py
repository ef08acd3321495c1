# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The weight tiles of every product, in the order in which the planes of the chip take them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass

from openlpu.arch.config import ChipConfig
from openlpu.compiler.dealing import Inner
from openlpu.compiler.kernels import Kernel, KernelGraph, MatMulKernel, Term
from openlpu.compiler.place import Placement


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
    word: int = 0
    """Of the activation buffer, the first that holds these rows."""

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

    def replays(self, kernel: MatMulKernel) -> bool:
        """Whether the rows go through the activation buffer: they fit, and a tile takes longer to load than to use."""
        rows = self.rows(kernel)
        words = rows * sum(self.columns(source.name) for source in kernel.sources)
        return words <= self.config.act_depth and rows <= self.groups

    def steps(self, number: int, kernel: MatMulKernel) -> Iterator[list[tuple[int, Tile]]]:
        """The tiles of a kernel as all planes together take them: (number of the plane, tile) where there is one."""
        rows, replayed = self.rows(kernel), self.replays(kernel)
        for first_row in range(0, rows, self.config.acc_depth):
            for members in self.placement.dealing.rounds[number]:
                most = max(len(share.inners) for share in members)
                for position in range(most):
                    yield [
                        (
                            share.plane,
                            Tile(
                                number,
                                kernel,
                                share.inners[position - late],
                                first=position == late,
                                last=position == most - 1,
                                output_column=share.column,
                                first_row=first_row,
                                rows=min(self.config.acc_depth, rows - first_row),
                                replayed=replayed,
                            ),
                        )
                        for share in members
                        # All shares end together.
                        if position >= (late := most - len(share.inners))
                    ]

    @functools.cached_property
    def regular(self) -> frozenset[int]:
        """The replayed kernels of one plane that gain by going one way: their output columns are stacked and all alike,
        or there is only one, and some of its tiles are equal."""
        products = ((i, kernel) for i, kernel in enumerate(self.graph.kernels) if isinstance(kernel, MatMulKernel))
        one = len(self.placement.planes) == 1
        return frozenset(i for i, kernel in products if one and self.replays(kernel) and self._alike(i, kernel))

    def _alike(self, number: int, kernel: MatMulKernel) -> bool:
        columns = self.placement.outputs(kernel)
        inners, *others = (share.inners for members in self.placement.dealing.rounds[number] for share in members)
        if columns == 1:
            return len({self.placement.weights[number, 0, inner] for inner in inners}) < len(inners)
        if not kernel.target.stacked or any(other != inners for other in others):
            return False
        step = self.step(number, kernel)
        weights = self.placement.weights
        return all(
            weights[number, column, inner] == weights[number, 0, inner] + column * step
            for column in range(columns)
            for inner in inners
        )

    def step(self, number: int, kernel: MatMulKernel) -> int:
        """How many words the tiles of an output column lie behind those of the one before, in the first two columns."""
        if self.placement.outputs(kernel) == 1:
            return 0
        first, weights = self.placement.dealing.rounds[number][0][0].inners[0], self.placement.weights
        return weights[number, 1, first] - weights[number, 0, first]

    def of_column(self, number: int, kernel: MatMulKernel) -> list[Tile]:
        """The tiles of the first output column of a regular kernel, equal ones next to each other."""
        every = (tile for step in self.steps(number, kernel) for _, tile in step)
        tiles = [tile for tile in every if tile.output_column == 0]
        tiles.sort(key=lambda tile: self.placement.weights[number, 0, tile.inner])
        last = len(tiles) - 1
        return [dataclasses.replace(tile, first=i == 0, last=i == last) for i, tile in enumerate(tiles)]

    def of_plane(self, plane: int) -> Iterator[Tile]:
        """The tiles of one plane, over all kernels but the regular ones."""
        kernels = enumerate(self.graph.kernels)
        products = ((number, kernel) for number, kernel in kernels if number not in self.regular)
        return (
            tile
            for index, kernel in products
            if isinstance(kernel, MatMulKernel)
            for step in self.steps(index, kernel)
            for number, tile in step
            if number == plane
        )
