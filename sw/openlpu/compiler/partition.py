# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""One network on several chips: which chip computes which rows of which buffer.

Where all need what each can compute a part of (`Sharing.gathered`), the rows are dealt out, as many to each chip as can
be, and travel to all others as soon as they exist. Everything else follows from that, backwards: a chip computes what
its rows are made of, and keeps the weights, caches and constants for that and no more. What several chips need, and
none of them gets from another, each computes for itself. Nothing is computed otherwise than on one chip, so neither is
any bit.

The graphs of all chips have the same gatherings, in the same order.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from openlpu.arch.system_program import Part
from openlpu.compiler.errors import InternalCompilerError
from openlpu.compiler.graph import Port
from openlpu.compiler.kernels import (
    AllGatherKernel,
    Buffer,
    BufferOperand,
    Content,
    Factor,
    Kernel,
    KernelGraph,
    MatMulKernel,
    Step,
    Target,
    Term,
    VectorKernel,
    met_by,
    views_of,
)

Rows = npt.NDArray[np.int64]
_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Partition:
    """The graph of every chip, and where the outputs of the network are."""

    graphs: tuple[KernelGraph, ...]
    outputs: Mapping[str, tuple[Part, ...]]
    """By port: on which chips; several may have the same."""


def partition(graph: KernelGraph, chips: int, lanes: int) -> Partition:
    """Deal a graph out to so many chips of `lanes` lanes."""
    deal = Deal(graph, chips, lanes)
    return Partition(tuple(deal.share(chip) for chip in range(chips)), deal.outputs)


class Deal:
    """Which chip has what of a graph; the graphs of chips are made when they are asked for."""

    def __init__(self, graph: KernelGraph, chips: int, lanes: int) -> None:
        self._graph, self._lanes = graph, lanes
        self.owners = {name: _owners(graph, name, chips) for name in _gathered(graph, chips)}
        """By buffer that is gathered, and by row: the chip that computes it."""
        self._needs = [Needs(graph, self.owners, chip, lanes) for chip in range(chips)]
        self.outputs = self._dealt_outputs()
        """As in `Partition`."""

    def share(self, chip: int) -> KernelGraph:
        """The graph of a chip."""
        return Share(self._graph, self._needs[chip], self._lanes).graph()

    def tiles(self, chip: int) -> int:
        """How many tiles of constant weights a chip multiplies by, equal ones counted as often as they come."""
        count = 0
        for kernel in self._graph.kernels:
            rows = len(self._needs[chip].computed(kernel))
            if rows and isinstance(kernel, MatMulKernel):
                output = self._graph.buffer(kernel.output)
                columns = -(-output.cols // self._lanes)
                if kernel.target.stacked:
                    columns = rows // kernel.target.count(output)
                constant = (term for term in kernel.terms if not isinstance(term.weights, Factor))
                inputs = (
                    -(-self._graph.buffer(term.rows.name).cols // self._lanes) * term.matrices for term in constant
                )
                count += columns * sum(inputs)
        return count

    def _dealt_outputs(self) -> dict[str, tuple[Part, ...]]:
        """By output where it is; what chips have to have for it is noted."""
        graph, needs = self._graph, self._needs
        _follow_all(needs, [view.name for _, view in graph.outputs if view.name not in graph.sharing.apart])
        outputs: dict[str, tuple[Part, ...]] = {}
        for port, view in graph.outputs:
            columns = tuple(range(port.shape[-1]))
            if view.name in graph.sharing.apart:
                for need, rows in zip(needs, _where_made(graph, view.name, needs), strict=True):
                    need.wanted[view.name] = need.wanted.get(view.name, rows) | rows
                _follow_all(needs, [])
                had = [tuple(np.flatnonzero(need.wanted[view.name]).tolist()) for need in needs]
                parts = (Part(chip, port.name, rows, columns) for chip, rows in enumerate(had) if rows)
                outputs[port.name] = tuple(parts)
            else:
                every = tuple(range(graph.buffer(view.name).rows - view.first_row))
                outputs[port.name] = (Part(0, port.name, every, columns),)
        return outputs


def _follow_all(needs: Sequence[Needs], outputs: list[str]) -> None:
    """All that these buffers and what chips want already are made of; what one needs of all, all have."""
    before, wanted = None, outputs
    while before != wanted:
        for need in needs:
            need.follow(wanted)
        before, wanted = wanted, [name for name in needs[0].owners if any(name in need.wanted for need in needs)]


def _gathered(graph: KernelGraph, chips: int) -> Iterator[str]:
    for fold in graph.sharing.gathered:
        yield next((name for name in reversed(fold) if graph.buffer(name).rows >= chips), fold[0])


def _owners(graph: KernelGraph, name: str, chips: int) -> Rows:
    """By row of a buffer the chip that computes it: neighbours are on one chip, and so is what one row is made to."""
    made_of = np.full(graph.buffer(name).rows, -1)
    for kernel in graph.kernels:
        if kernel.output == name:
            rows = _rows_of(kernel, graph)
            first = kernel.sources[0] if isinstance(kernel, VectorKernel) else BufferOperand(name)
            made_of[_target_rows(kernel, rows)] = _read(first, rows)
    _, kind = np.unique(made_of, return_inverse=True)
    owners: Rows = kind * chips // (int(kind.max()) + 1)
    return owners


def _where_made(graph: KernelGraph, name: str, needs: Sequence[Needs]) -> list[_Mask]:
    """For each chip the rows of an output that it computes: those of whose first source it has the rows anyway."""
    makers = [kernel for kernel in graph.kernels if kernel.output == name]
    left, found = np.ones(graph.buffer(name).rows, np.bool_), []
    for need in needs[:-1]:
        mine = np.zeros_like(left)
        for kernel in makers:
            rows, view = _rows_of(kernel, graph), kernel.sources[0]
            has = need.has(name)[_target_rows(kernel, rows)]
            if isinstance(kernel, VectorKernel):
                has = has | need.has(view.name)[_read(view, rows)]
            mine[_target_rows(kernel, rows[has])] = True
        found.append(mine & left)
        left &= ~mine
    # What nobody has is for the last one.
    return [*found, left]


def _rows_of(kernel: Kernel, graph: KernelGraph) -> Rows:
    """The numbers of the rows that a kernel computes, of stacked columns one after the other."""
    return np.arange(kernel.target.count(graph.buffer(kernel.output)) * max(kernel.target.stacked, 1))


def _target_rows(kernel: Kernel, rows: Rows) -> Rows:
    return kernel.target.first_row + kernel.target.row_step * rows


def _read(view: BufferOperand, rows: Rows) -> Rows:
    return view.first_row + view.row_step * rows


class Needs:
    """What one chip has to have: rows by buffer."""

    def __init__(self, graph: KernelGraph, owners: Mapping[str, Rows], chip: int, lanes: int) -> None:
        self.graph, self.owners, self.chip, self.lanes = graph, owners, chip, lanes
        self.wanted: dict[str, _Mask] = {}

    def follow(self, outputs: Iterable[str]) -> None:
        """All that these buffers and those wanted already are made of, and what the next run of it is made of."""
        for name in outputs:
            self._want(name, slice(None))
        before = -1
        while before != (before := sum(int(mask.sum()) for mask in self.wanted.values())):
            for kernel in reversed(self.graph.kernels):
                self._behind(kernel, self.computed(kernel))

    def has(self, name: str) -> _Mask:
        """Which rows of a buffer these are."""
        found = self.wanted.get(name)
        return np.zeros(self.graph.buffer(name).rows, np.bool_) if found is None else found

    def computed(self, kernel: Kernel) -> Rows:
        """The rows of a kernel that this chip computes; of stacked columns all or none."""
        wanted, rows = self.wanted.get(kernel.output), _rows_of(kernel, self.graph)
        if wanted is None:
            return rows[:0]
        if kernel.target.indices is not None:
            return rows
        if kernel.output in self.owners:
            wanted = wanted & (self.owners[kernel.output] == self.chip)
        chosen = wanted[_target_rows(kernel, rows)]
        if kernel.target.stacked:
            columns = chosen.reshape(kernel.target.stacked, -1)
            chosen = np.broadcast_to(columns.any(axis=1, keepdims=True), columns.shape).reshape(-1)
        return rows[chosen]

    def _behind(self, kernel: Kernel, rows: Rows) -> None:
        if not len(rows):
            return
        count = len(_rows_of(kernel, self.graph)) // max(kernel.target.stacked, 1)
        for number, view in enumerate(views_of(kernel)):
            here = rows
            if number < len(kernel.sources) and kernel.target.stacked:
                here = np.arange(count)
            if view.indices is not None:
                self._want(view.name, slice(None))
            self._want(view.name if view.indices is None else view.indices, _read(view, here))
        for term in kernel.terms if isinstance(kernel, MatMulKernel) else ():
            if isinstance(term.weights, Factor):
                self._want(term.weights.name, slice(None))
        if kernel.target.indices is not None:
            self._want(kernel.target.indices, slice(None))

    def _want(self, name: str, rows: Rows | slice) -> None:
        if name not in self.wanted:
            self.wanted[name] = np.zeros(self.graph.buffer(name).rows, np.bool_)
        # What is gathered comes as a whole, and what lasts is kept as a whole.
        whole = name in self.owners or name in self.graph.states
        self.wanted[name][slice(None) if whole else rows] = True


class Share:
    """The graph of one chip: of every buffer the rows that it has, next to each other."""

    def __init__(self, graph: KernelGraph, need: Needs, lanes: int) -> None:
        self.whole, self.need, self.lanes = graph, need, lanes
        kept = {*graph.states, *graph.factors, *graph.indexed, *graph.indexed.values(), *need.owners}
        kept |= {*(name for _, name in graph.inputs)}
        self.had: dict[str, _Mask] = {
            name: np.ones_like(mask) if name in kept else mask for name, mask in need.wanted.items() if mask.any()
        }
        self.places = {name: np.cumsum(mask) - 1 for name, mask in self.had.items()}

    def graph(self) -> KernelGraph:
        """All of it."""
        last = {kernel.output: number for number, kernel in enumerate(self.whole.kernels)}
        kernels: list[Kernel] = []
        for number, kernel in enumerate(self.whole.kernels):
            kernels += self._kernels(kernel)
            owners = self.need.owners.get(kernel.output)
            if owners is not None and kernel.output in self.had and last[kernel.output] == number:
                kernels.append(AllGatherKernel(kernel.output, tuple(owners.tolist()), self.need.chip))
        return dataclasses.replace(
            self.whole,
            name=f"{self.whole.name}, chip {self.need.chip}",
            buffers=tuple(self._buffer(buffer) for buffer in self.whole.buffers if buffer.name in self.had),
            kernels=tuple(kernels),
            inputs=tuple((port, name) for port, name in self.whole.inputs if name in self.had),
            outputs=tuple(self._output(port, view) for port, view in self.whole.outputs if view.name in self.had),
            constants=self._contents(self.whole.constants),
            states=self._contents(self.whole.states),
        )

    def _buffer(self, buffer: Buffer) -> Buffer:
        return dataclasses.replace(buffer, rows=int(self.had[buffer.name].sum()))

    def _output(self, port: Port, view: BufferOperand) -> tuple[Port, BufferOperand]:
        if view.name not in self.whole.sharing.apart:
            return port, view
        return dataclasses.replace(port, shape=(int(self.had[view.name].sum()), *port.shape[1:])), view

    def _contents(self, contents: Mapping[str, Content]) -> dict[str, Content]:
        return {name: content[self.had[name]] for name, content in contents.items() if name in self.had}

    def _kernels(self, kernel: Kernel) -> Iterator[Kernel]:
        rows = self.need.computed(kernel)
        if not len(rows):
            return
        match kernel:
            case MatMulKernel() if kernel.target.stacked:
                yield from self._columns(kernel, rows)
            case MatMulKernel():
                for part in self._in_step(kernel, rows, [*views_of(kernel)], len(rows)):
                    terms = tuple(Term(self._view(term.rows, part), term.weights) for term in kernel.terms)
                    yield MatMulKernel(kernel.output, terms, self._chain(kernel, part), self._target(kernel, part))
            case VectorKernel():
                for part in self._in_step(kernel, rows, [*views_of(kernel)], len(rows)):
                    source = self._view(kernel.source, part)
                    yield VectorKernel(kernel.output, source, self._chain(kernel, part), self._target(kernel, part))
            case AllGatherKernel():
                raise InternalCompilerError("what is dealt out already is dealt out again")

    def _columns(self, kernel: MatMulKernel, rows: Rows) -> Iterator[Kernel]:
        """Of a product that stacks its columns, those whose rows are wanted."""
        count = len(_rows_of(kernel, self.whole)) // kernel.target.stacked
        for part in self._in_step(kernel, rows, met_by(kernel), count):
            columns = part[::count] // count
            target = dataclasses.replace(self._target(kernel, part), rows=count, stacked=len(columns))
            terms = tuple(self._some_columns(term, columns, np.arange(count)) for term in kernel.terms)
            yield MatMulKernel(kernel.output, terms, self._chain(kernel, part), target)

    def _some_columns(self, term: Term, columns: Rows, rows: Rows) -> Term:
        view = self._view(term.rows, rows)
        if isinstance(term.weights, Factor):
            step = int(columns[1] - columns[0]) if len(columns) > 1 else 1
            return Term(view, dataclasses.replace(term.weights, columns=(int(columns[0]), step)))
        lanes = (columns[:, np.newaxis] * self.lanes + np.arange(self.lanes)).reshape(-1)
        return Term(view, tuple(np.ascontiguousarray(matrix[:, lanes]) for matrix in term.weights))

    def _in_step(self, kernel: Kernel, rows: Rows, views: Sequence[BufferOperand], together: int) -> Iterator[Rows]:
        """The rows of a kernel in as few parts as there may be, `together` ones never parted if they fit: in each,
        whatever is read and written lies equally far apart."""
        together = together if kernel.target.stacked else 1
        factor = isinstance(kernel, MatMulKernel) and any(isinstance(term.weights, Factor) for term in kernel.terms)
        lines = [self._written(kernel, rows), *(self._place(view, rows) for view in views)]
        if kernel.target.stacked and factor:
            lines.append(rows)
        first = 0
        while first < len(rows):
            last = first + together
            while last < len(rows) and all(_even(line[first : last + together]) for line in lines):
                last += together
            yield rows[first:last]
            first = last

    def _written(self, kernel: Kernel, rows: Rows) -> Rows:
        if kernel.target.indices is not None:
            return rows
        return self.places[kernel.output][_target_rows(kernel, rows)]

    def _place(self, view: BufferOperand, rows: Rows) -> Rows:
        return self.places[view.name if view.indices is None else view.indices][_read(view, rows)]

    def _view(self, view: BufferOperand, rows: Rows) -> BufferOperand:
        places = self._place(view, rows)
        step = int(places[1] - places[0]) if len(places) > 1 else view.row_step
        return dataclasses.replace(view, first_row=int(places[0]), row_step=step)

    def _chain(self, kernel: Kernel, rows: Rows) -> tuple[Step, ...]:
        return tuple(
            Step(step.mnemonic, self._view(step.y, rows)) if isinstance(step.y, BufferOperand) else step
            for step in kernel.chain
        )

    def _target(self, kernel: Kernel, rows: Rows) -> Target:
        if kernel.target.indices is not None:
            return kernel.target
        places = self._written(kernel, rows)
        step = int(places[1] - places[0]) if len(places) > 1 else 1
        return dataclasses.replace(kernel.target, first_row=int(places[0]), row_step=step, rows=len(rows))


def _even(line: Rows) -> bool:
    """Whether numbers are equally far apart."""
    return all(later - sooner == line[1] - line[0] for sooner, later in itertools.pairwise(line))
