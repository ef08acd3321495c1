# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Which plane of the chip multiplies by which weight tiles.

The output columns of a product are dealt out to the planes, a column each, round by round. Where fewer columns are left
than planes, several planes share a column: each has some of its tiles. What is multiplied by a factor that takes rows
where an index says goes to the factor's home: the one plane in front of which all of it lies. Constant factors that
are multiplied together, as the parts of an embedding, have homes of their own, where planes can share every column.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from openlpu.arch.config import ChipConfig
from openlpu.arch.timing import timing
from openlpu.compiler.chain import joined, map_chain
from openlpu.compiler.errors import InternalCompilerError
from openlpu.compiler.kernels import Factor, KernelGraph, MatMulKernel, padded

_WORTH_JOINING = 16
"""Cycles for which a plane should have tiles of a column, for the addition of its sums to pay."""


class Inner(NamedTuple):
    """Which tile of an output column: of which term, of which of its matrices, for which column of its rows."""

    term: int
    matrix: int
    input_column: int


@dataclass(frozen=True)
class Share:
    """What one plane has of an output column of a product: all its tiles, or some."""

    plane: int
    """Counted as in `Placement.planes`."""
    column: int
    inners: tuple[Inner, ...]


Round = tuple[Share, ...]
"""What planes do at once, one share each. The first shares of all columns come first, then the second ones."""


def stacks_of(kernel: MatMulKernel, graph: KernelGraph, lanes: int) -> dict[Inner, npt.NDArray[np.int8] | None]:
    """The tiles of all output columns beside one another, by inner tile; None for those of factors."""
    stacks: dict[Inner, npt.NDArray[np.int8] | None] = {}
    for i, term in enumerate(kernel.terms):
        inputs = -(-graph.buffer(term.rows.name).cols // lanes)
        matrices = (None,) if isinstance(term.weights, Factor) else term.weights
        for j, matrix in enumerate(matrices):
            whole = None if matrix is None else padded(matrix, lanes)
            for k in range(inputs):
                stacks[Inner(i, j, k)] = None if whole is None else whole[k * lanes : (k + 1) * lanes]
    return stacks


class Dealing:
    """The rounds of every product of a graph. Caches that another program has, too, are `settled` in its homes."""

    def __init__(
        self, graph: KernelGraph, config: ChipConfig, settled: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        self._graph, self._config = graph, config
        self._planes = config.hemispheres * config.mxm_planes
        self._next_plane = 0
        self.homes = {**self._homes(), **settled}
        """By name of a factor that is constant, or takes rows or has them looked up by an index: its plane."""
        self.rounds: dict[int, tuple[Round, ...]] = {}
        """Of each product, by its place among the kernels."""
        for number, kernel in enumerate(graph.kernels):
            if isinstance(kernel, MatMulKernel):
                factors = [term.weights.name for term in kernel.terms if isinstance(term.weights, Factor)]
                # What the slices of a plane have of a row reaches that plane.
                dealt = [term.rows.name for term in kernel.terms if term.rows.dealt is not None]
                homes = [self.homes[name] for name in (*factors, *dealt) if name in self.homes]
                if homes and len(homes) < len(factors) + len(dealt):
                    raise InternalCompilerError(f"'{kernel.output}' multiplies by factors with a home and without one")
                if homes:
                    self.rounds[number] = tuple(self._at_home(kernel, homes[0]))
                elif factors:
                    # All that multiply by one factor take its tiles from the same planes.
                    self.rounds[number] = tuple(self._in_turn(kernel, 0, at_once=self._planes, ways=1))
                else:
                    self.rounds[number] = self._dealt(kernel)

    def plane_of(self, number: int, column: int, inner: Inner) -> int:
        """The plane that multiplies by a tile of an output column."""
        shares = itertools.chain(*self.rounds[number])
        return next(share.plane for share in shares if share.column == column and inner in share.inners)

    def _outputs(self, kernel: MatMulKernel) -> int:
        return -(-kernel.target.cols(self._graph.buffer(kernel.output)) // self._config.lanes)

    def _at_home(self, kernel: MatMulKernel, plane: int) -> Iterable[Round]:
        """Every column at the homes of its factors; what is no factor is multiplied by `plane`."""
        homes = [
            self.homes.get(term.weights.name, plane) if isinstance(term.weights, Factor) else plane
            for term in kernel.terms
        ]
        for column, inners in enumerate(self._used(kernel, 1)):
            shares = {home: [inner for inner in inners if homes[inner.term] == home] for home in dict.fromkeys(homes)}
            yield tuple(Share(home, column, tuple(mine)) for home, mine in shares.items() if mine)

    def _homes(self) -> dict[str, int]:
        """A plane for every factor that is constant or whose rows an index chooses, in turn. All that meet in a product
        have the same one, unless they are constants and planes can share every column of it."""
        graph = self._graph
        chosen = {*graph.constants, *graph.indexed, *graph.scattered}
        together: list[list[str]] = []
        for _, met in self._meetings(chosen):
            joined_by = [group for group in together if not {*group}.isdisjoint(met)]
            if not joined_by:
                together.append(met)
                continue
            first, *others = joined_by
            first += [name for name in itertools.chain(*others, met) if name not in first]
            together = [group for group in together if group not in others]
        # The others of these are looked up as weights lie, and nothing else.
        known = {*itertools.chain(*together)}
        together += [[name] for name in graph.indexed if name in graph.factors and name not in known]
        homes: dict[str, int] = {}
        turns = itertools.cycle(range(self._planes))
        for group in together:
            constant = graph.constants.keys() >= {*group}
            kernels = [kernel for kernel, _ in self._meetings(group) if constant]
            ways = min((self._joinable(kernel, min(self._planes, len(group))) for kernel in kernels), default=1)
            if ways > 1:
                homes |= {name: place % ways * (self._planes // ways) for place, name in enumerate(group)}
            else:
                homes |= dict.fromkeys(group, next(turns))
        return homes

    def _meetings(self, chosen: Container[str]) -> Iterable[tuple[MatMulKernel, list[str]]]:
        """The products with factors that are `chosen`, and which."""
        for kernel in self._graph.kernels:
            if isinstance(kernel, MatMulKernel):
                names = [term.weights.name for term in kernel.terms if isinstance(term.weights, Factor)]
                if met := [name for name in names if name in chosen]:
                    yield kernel, met

    def _joinable(self, kernel: MatMulKernel, most: int) -> int:
        """Of how many planes, up to `most`, the chain of a product can add the sums."""
        return next((ways for ways in range(most, 1, -1) if self._can_join(kernel, ways)), 1)

    def _can_join(self, kernel: MatMulKernel, planes: int) -> bool:
        return map_chain(joined(kernel.chain, planes, self._config), self._config) is not None

    def _dealt(self, kernel: MatMulKernel) -> tuple[Round, ...]:
        """Planes take turns, from kernel to kernel, too."""
        if self._shares_all(kernel):
            return tuple(self._in_turn(kernel, 0, at_once=1, ways=self._planes))
        first, columns = self._next_plane, self._outputs(kernel)
        inners = [*self._used(kernel, self._planes)][-1]
        ways = self._ways(kernel, len(inners))
        if ways == 1:
            self._next_plane = (first + columns) % self._planes
        return tuple(self._in_turn(kernel, first, at_once=self._planes, ways=ways))

    def _in_turn(self, kernel: MatMulKernel, first: int, at_once: int, ways: int) -> Iterable[Round]:
        """Rounds of so many columns, from the plane `first` on; where planes are left, in `ways`."""
        planes, columns = self._planes, self._outputs(kernel)
        for number, inners in enumerate(self._used(kernel, at_once)):
            members = range(number * at_once, min((number + 1) * at_once, columns))
            shares = ways if members.stop == columns or at_once < planes else 1
            yield tuple(
                Share((first + place + share * (planes // shares)) % planes, column, inners[share::shares])
                for share in range(shares)
                for place, column in enumerate(members)
            )

    def _shares_all(self, kernel: MatMulKernel) -> bool:
        """Whether all planes share every column, as each then needs but some of the rows.

        Where rows keep a tile for as long as it takes to load, those that go to the activation buffers take time, too.
        """
        planes, config, columns = self._planes, self._config, self._outputs(kernel)
        rows, groups = kernel.target.count(self._graph.buffer(kernel.output)), config.lanes // config.weight_streams
        inners, used = len(stacks_of(kernel, self._graph, config.lanes)), [*self._used(kernel, 1)]
        if rows != groups or columns <= planes or any(len(one) < inners for one in used):
            return False
        if not self._can_join(kernel, planes):
            return False
        share, additions = -(-inners // planes), timing(config).alu_depth[0] * (planes - 1)
        alone = inners * rows * columns // planes + inners * rows
        return columns * share * rows + share * rows + additions < alone

    def _used(self, kernel: MatMulKernel, at_once: int) -> Iterable[tuple[Inner, ...]]:
        """For each round of so many columns the inner tiles that are not zero in all of them."""
        lanes, outputs = self._config.lanes, self._outputs(kernel)
        stacks = stacks_of(kernel, self._graph, lanes)
        for first in range(0, outputs, at_once):
            span = slice(first * lanes, min(first + at_once, outputs) * lanes)
            used = [inner for inner, stack in stacks.items() if stack is None or stack[:, span].any()]
            yield tuple(used or list(stacks)[:1])

    def _ways(self, kernel: MatMulKernel, inners: int) -> int:
        """To how many planes to deal out each column of the last round, so that none is idle."""
        columns, planes, config = self._outputs(kernel), self._planes, self._config
        rows = kernel.target.count(self._graph.buffer(kernel.output))
        cycles = inners * max(rows, config.lanes // config.weight_streams)
        # A product with fewer columns than planes leaves the others to the next one; but a long sum goes by itself.
        if 1 < columns < planes and not kernel.alone:
            return 1
        most = min(planes // (columns % planes or planes), inners, cycles // _WORTH_JOINING)
        return self._joinable(kernel, most)
