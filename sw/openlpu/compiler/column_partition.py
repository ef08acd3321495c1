# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A network of many rows on several chips: which chip computes which columns of which buffer.

Products with constants are dealt out by their columns, and with them what goes on behind them element by element. What
is multiplied once more goes to all chips: a product is the sum over its parts, whole numbers, whichever chip they are
from. So no bit is another than on one chip.

A chip computes its columns in blocks, as many at once as it has planes: the block before is on its way meanwhile. The
next product begins with the blocks that come first, and has but the last ones to wait for.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from openlpu.arch.config import ChipConfig
from openlpu.arch.system_program import Part
from openlpu.compiler.errors import CompileError
from openlpu.compiler.graph import Port
from openlpu.compiler.kernels import (
    EVERYTHING,
    AllGatherKernel,
    BufferOperand,
    Factor,
    Kernel,
    KernelGraph,
    LaneConstants,
    MatMulKernel,
    Step,
    Term,
    VectorKernel,
    views_of,
)
from openlpu.compiler.partition import Partition

Block = range
"""Columns of elements of a buffer, whole vectors of them but for the last."""
_Blocks = tuple[tuple[Block, ...], ...]
"""By chip."""


def partition_columns(graph: KernelGraph, chips: int, config: ChipConfig) -> Partition:
    """Deal a graph out to so many chips.

    Raises:
        CompileError: when there is more in it than this is for, or too few columns.
    """
    _verify(graph)
    deal = _Deal(graph, chips, config)
    shares = [_Share(deal, chip) for chip in range(chips)]
    outputs: dict[str, tuple[Part, ...]] = {}
    for port, view in graph.outputs:
        parts = []
        for chip, blocks in enumerate(deal.finished[view.name]):
            for number, block in enumerate(blocks):
                name = f"{port.name}.{number}"
                parts.append(Part(chip, name, tuple(range(graph.buffer(view.name).rows)), tuple(block)))
        outputs[port.name] = tuple(parts)
    return Partition(tuple(share.graph() for share in shares), outputs)


def _verify(graph: KernelGraph) -> None:
    for kernel in graph.kernels:
        plain = all(view == BufferOperand(view.name) for view in views_of(kernel)) and kernel.target == EVERYTHING
        if isinstance(kernel, MatMulKernel):
            plain &= not any(isinstance(term.weights, Factor) for term in kernel.terms)
        if not plain or graph.constants or graph.states:
            raise CompileError(
                f"'{kernel.output}' is more than a product with constants and what goes on element by element behind "
                f"one: compile '{graph.name}' for one chip"
            )
    for port, _ in graph.outputs:
        if len(port.shape) != 2:
            raise CompileError(f"output '{port.name}' of '{graph.name}' is no matrix: compile it for one chip")


class _Deal:
    """Which columns are whose."""

    def __init__(self, graph: KernelGraph, chips: int, config: ChipConfig) -> None:
        self.graph, self.chips, self.lanes = graph, chips, config.lanes
        self.planes = config.hemispheres * config.mxm_planes
        self.made_by = {kernel.output: kernel for kernel in graph.kernels}
        computed = [kernel.output for kernel in graph.kernels]
        self.gathered = tuple(name for name in computed if name in graph.multiplied)
        """What goes to all chips, in the order in which it is there."""
        outputs = tuple(dict.fromkeys(view.name for _, view in graph.outputs))
        own = self._dealt(dict.fromkeys((*self.gathered, *outputs)))
        self.travelling = {name: self._blocks(name, own[name], self.planes) for name in self.gathered}
        """By buffer that goes to all, and by chip: its blocks."""
        self.finished = {name: self._blocks(name, own[name], graph.buffer(name).cols) for name in outputs}
        """By output, and by chip: its blocks."""

    def _dealt(self, names: Iterable[str]) -> dict[str, list[range]]:
        """By buffer, and by chip: columns of vectors, such that chips have equally much to do in all.

        Columns go one by one to the chip that has least. The last buffers come first: those before even out what they
        leave uneven.
        """
        work, own = [0] * self.chips, {}
        for name in reversed(list(names)):
            each, counts = self._work(name), [0] * self.chips
            for _ in range(-(-self.graph.buffer(name).cols // self.lanes)):
                chip = work.index(min(work))
                work[chip] += each
                counts[chip] += 1
            bounds = itertools.accumulate(counts, initial=0)
            own[name] = [range(first, last) for first, last in itertools.pairwise(bounds)]
        return own

    def _work(self, name: str) -> int:
        """Tiles of weights for a column of a buffer, and of all that is computed for it on the same chip."""
        tiles, wanted, found = 0, [name], {name}
        while wanted:
            kernel = self.made_by[wanted.pop()]
            views = {view.name for view in views_of(kernel)}
            if isinstance(kernel, MatMulKernel):
                views -= {term.rows.name for term in kernel.terms}
                tiles += sum(
                    -(-len(matrix) // self.lanes)
                    for term in kernel.terms
                    if not isinstance(term.weights, Factor)
                    for matrix in term.weights
                )
            behind = views & self.made_by.keys() - found - {*self.gathered}
            found |= behind
            wanted += sorted(behind)
        return tiles

    def _blocks(self, name: str, own: Iterable[range], most: int) -> _Blocks:
        """Columns in blocks of at most `most`, whole rounds of planes each; the last ones, fewer than planes, come in
        twos and ones, which planes share.
        """
        every = []
        for columns in own:
            whole = len(columns) // self.planes * self.planes
            blocks = [columns[:whole][i : i + most] for i in range(0, whole, most)]
            rest, size = columns[whole:], self.planes
            while rest:
                if len(rest) >= size:
                    blocks.append(rest[:size])
                    rest = rest[size:]
                size //= 2
            every.append(tuple(self._block(name, block) for block in blocks))
        return tuple(every)

    def _block(self, name: str, columns: range) -> Block:
        return range(columns.start * self.lanes, min(columns.stop * self.lanes, self.graph.buffer(name).cols))


class _Share:
    """The graph of one chip."""

    def __init__(self, deal: _Deal, chip: int) -> None:
        self.deal, self.chip = deal, chip
        self.whole = deal.graph
        self.inputs = {name for _, name in self.whole.inputs}
        self.buffers = [buffer for buffer in self.whole.buffers if buffer.name in self.inputs]
        self.kernels: list[Kernel] = []
        self.done: set[str] = set()

    def graph(self) -> KernelGraph:
        """All of it."""
        for name in self.deal.gathered:
            every = self.deal.travelling[name]
            for number in range(max(map(len, every))):
                if number < len(every[self.chip]):
                    self._compute(name, every[self.chip][number])
                for chip, blocks in enumerate(every):
                    if number < len(blocks):
                        self._gather(name, blocks[number], chip)
        outputs: list[tuple[Port, BufferOperand]] = []
        for port, view in self.whole.outputs:
            for number, block in enumerate(self.deal.finished[view.name][self.chip]):
                part = self._compute(view.name, block)
                shape = (*port.shape[:-1], len(block))
                outputs.append((dataclasses.replace(port, name=f"{port.name}.{number}", shape=shape), part))
        return dataclasses.replace(
            self.whole,
            name=f"{self.whole.name}, chip {self.chip}",
            buffers=tuple(self.buffers),
            kernels=tuple(self.kernels),
            outputs=tuple(outputs),
        )

    def _gather(self, name: str, block: Block, chip: int) -> None:
        part = _part(name, block)
        if chip != self.chip:
            self._buffer(name, block)
        self.kernels.append(AllGatherKernel(part, (chip,) * self.whole.buffer(name).rows, self.chip))

    def _buffer(self, name: str, block: Block) -> None:
        whole = self.whole.buffer(name)
        self.buffers.append(dataclasses.replace(whole, name=_part(name, block), cols=len(block)))

    def _compute(self, name: str, block: Block) -> BufferOperand:
        """Some columns of a buffer, and all that they are made of here."""
        part = _part(name, block)
        if part not in self.done:
            self.done.add(part)
            kernel = self.deal.made_by[name]
            chain = tuple(self._step(step, block) for step in kernel.chain)
            made: Kernel
            if isinstance(kernel, MatMulKernel):
                terms = tuple(part for term in kernel.terms for part in self._terms(term, block))
                alone = len(block) <= (self.deal.planes - 1) * self.deal.lanes
                made = MatMulKernel(part, terms, chain, alone=alone)
            else:
                assert isinstance(kernel, VectorKernel)
                made = VectorKernel(part, self._columns(kernel.source.name, block), chain)
            self._buffer(name, block)
            self.kernels.append(made)
        return BufferOperand(part)

    def _step(self, step: Step, block: Block) -> Step:
        match step.y:
            case LaneConstants(name, values):
                return Step(step.mnemonic, LaneConstants(_part(name, block), values[block.start : block.stop]))
            case BufferOperand(name):
                return Step(step.mnemonic, self._columns(name, block))
            case _:
                return step

    def _columns(self, name: str, block: Block) -> BufferOperand:
        """The same columns of a buffer that goes on element by element."""
        if name in self.inputs or name in self.deal.gathered:
            raise CompileError(
                f"'{name}' is whole on every chip, and goes on element by element: compile '{self.whole.name}' for one"
            )
        return self._compute(name, block)

    def _terms(self, term: Term, block: Block) -> Iterator[Term]:
        """A product with some columns of weights, part by part of what is multiplied."""
        assert not isinstance(term.weights, Factor)
        name = term.rows.name
        columns = [np.ascontiguousarray(matrix[:, block.start : block.stop]) for matrix in term.weights]
        if name not in self.deal.gathered:
            yield Term(term.rows, tuple(columns))
            return
        # What came first is multiplied first.
        in_turn = itertools.zip_longest(*self.deal.travelling[name])
        for part in (part for blocks in in_turn for part in blocks if part is not None):
            rows = slice(part.start, part.stop)
            yield Term(BufferOperand(_part(name, part)), tuple(np.ascontiguousarray(m[rows]) for m in columns))


def _part(name: str, block: Block) -> str:
    return f"{name}.{block.start}-{block.stop}"
