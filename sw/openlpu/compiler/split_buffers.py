# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Which buffers of a network may be cut into blocks of columns, so that several chips can share the work on them.

A buffer is split where products with constants fill it, and where what goes on element by element meets one that is.
What reads it some other way than element by element, row by row as a factor of a product with constants, or one column
at a time, keeps it whole.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from openlpu.compiler.kernels import Factor, Kernel, KernelGraph, MatMulKernel, met_by, views_of


class Splits:
    """What is split of a graph, and what becomes of it."""

    def __init__(self, graph: KernelGraph) -> None:
        self._graph = graph
        self.filling: dict[str, list[Kernel]] = {}
        """By buffer the kernels that fill it, in order."""
        self.last: dict[str, int] = {}
        """By buffer the number of the last of them."""
        for number, kernel in enumerate(graph.kernels):
            self.filling.setdefault(kernel.output, []).append(kernel)
            self.last[kernel.output] = number
        self.split: set[str] = set()
        """The buffers that are split."""
        self._choose()
        self.everywhere = self.split & {name for kernel in graph.kernels for name in _in_parts(kernel)}
        """Of these the ones that all chips need as a whole."""
        self.dealt = {name for name in self.split if any(map(_is_work, self.behind(name)))}
        """Of these the ones that take work, which is shared; what takes none, a chip has sooner from itself."""
        self.groups = self._groups()
        """Those that are everywhere, or outputs, in groups that are split at the same columns, in order."""

    def behind(self, name: str) -> Iterator[Kernel]:
        """The kernels that fill some columns of a split buffer, and those for what they read that is not everywhere."""
        wanted, found = [name], {name}
        while wanted:
            for kernel in self.filling[wanted.pop()]:
                yield kernel
                for other in self._beside(kernel):
                    if other not in found | self.everywhere:
                        found.add(other)
                        wanted.append(other)

    def _choose(self) -> None:
        """The most buffers that may be split together."""
        whole = {name for name in self.filling if not self._by_column(name)}
        before = -1
        while before != (before := len(whole)):
            self.split = {name for name, kernels in self.filling.items() if any(map(_is_work, kernels))} - whole
            found = -1
            while found != (found := len(self.split)):
                met = {kernel.output for kernel in self._graph.kernels if any(self._beside(kernel))}
                self.split |= met - whole
            for number, kernel in enumerate(self._graph.kernels):
                whole |= {name for name in self.split if not self._suits(kernel, number, name)}

    def _by_column(self, name: str) -> bool:
        """Whether some columns of a buffer can be computed without the others."""
        graph = self._graph
        if name in graph.factors or name in graph.indexed or name in graph.indexed.values():
            return False
        cols = graph.buffer(name).cols
        for kernel in self.filling[name]:
            if kernel.target.stacked or kernel.target.indices is not None:
                return False
            if isinstance(kernel, MatMulKernel) and any(isinstance(term.weights, Factor) for term in kernel.terms):
                return False
            for view in met_by(kernel):
                if view.indices is not None or (view.column is None and graph.buffer(view.name).cols != cols):
                    return False
        return True

    def _beside(self, kernel: Kernel) -> Iterator[str]:
        """The split buffers that a kernel meets element by element."""
        return (view.name for view in met_by(kernel) if view.column is None and view.name in self.split)

    def _suits(self, kernel: Kernel, number: int, name: str) -> bool:
        """Whether a kernel can do with parts of a buffer."""
        if name not in {view.name for view in views_of(kernel)}:
            return True
        by_computed = isinstance(kernel, MatMulKernel) and any(
            isinstance(term.weights, Factor) and term.rows.name == name for term in kernel.terms
        )
        too_early = number < self.last[name]
        return not (by_computed or too_early) and (kernel.output in self.split or name not in self._beside(kernel))

    def _groups(self) -> tuple[tuple[str, ...], ...]:
        """What meets element by element, directly or by way of others, is split alike."""
        group_of = {name: {name} for name in self.split}
        for name in self.split:
            for kernel in self.filling[name]:
                for other in self._beside(kernel):
                    if group_of[name] is not group_of[other]:
                        both = group_of[name] | group_of[other]
                        group_of.update(dict.fromkeys(both, both))
        kept = self.everywhere | {view.name for _, view in self._graph.outputs if view.name in self.split}
        order = sorted(kept, key=self.last.__getitem__)
        groups = {id(group_of[name]): tuple(n for n in order if n in group_of[name]) for name in order}
        return tuple(groups.values())


def _in_parts(kernel: Kernel) -> Iterator[str]:
    """What a kernel reads for columns of its own whatever they are: factors, and single columns."""
    if isinstance(kernel, MatMulKernel):
        yield from (term.rows.name for term in kernel.terms)
    yield from (view.name for view in met_by(kernel) if view.column is not None)


def _is_work(kernel: Kernel) -> bool:
    """Whether a kernel multiplies by constants, and does more by it than put elements elsewhere."""
    if not isinstance(kernel, MatMulKernel):
        return False
    return any(
        np.count_nonzero(matrix, axis=0).max(initial=0) > 1
        for term in kernel.terms
        if not isinstance(term.weights, Factor)
        for matrix in term.weights
    )
