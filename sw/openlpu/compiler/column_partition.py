# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A network on several chips: which chip computes which columns of which buffer.

Products with constants are dealt out by their columns, and with them what goes on behind them element by element. What
is multiplied once more, or folded over its columns, goes to all chips: a product is the sum over its parts, whole
numbers, whichever chip they are from. What is neither, every chip computes for itself. So no bit is another than on one
chip.

A chip computes its columns in blocks, as many at once as it has planes: the block before is on its way meanwhile. The
next product begins with the blocks that come first, and has but the last ones to wait for.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator

import numpy as np

from openlpu.arch.config import ChipConfig
from openlpu.arch.system_program import Part
from openlpu.compiler.graph import Port
from openlpu.compiler.kernels import (
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
from openlpu.compiler.split_buffers import Splits

Block = range
"""Columns of elements of a buffer, whole vectors of them but for the last."""


def partition_columns(graph: KernelGraph, chips: int, config: ChipConfig) -> Partition:
    """Deal a graph without states out to so many chips."""
    deal = _Deal(graph, chips, config)
    shares = [_Share(deal, chip) for chip in range(chips)]
    outputs = {port.name: tuple(deal.parts(port, view)) for port, view in graph.outputs}
    return Partition(tuple(share.graph() for share in shares), outputs)


class _Deal:
    """Which columns are whose."""

    def __init__(self, graph: KernelGraph, chips: int, config: ChipConfig) -> None:
        self.graph, self.chips, self.lanes = graph, chips, config.lanes
        self.planes = config.hemispheres * config.mxm_planes
        self.splits = Splits(graph)
        self.blocks: dict[str, tuple[tuple[Block, ...], ...]] = {}
        """By buffer that is split, and is not only there for what else is, and by chip: the blocks that it has."""
        work = [0] * chips
        # The last buffers come first: those before even out what they leave uneven.
        for group in reversed(self.splits.groups):
            own = self._own(group, work)
            travels = any(name in self.splits.everywhere for name in group)
            for name in group:
                columns = -(-graph.buffer(name).cols // self.lanes)
                self.blocks[name] = self._blocks(name, own, self.planes if travels else columns)

    def parts(self, port: Port, view: BufferOperand) -> Iterator[Part]:
        """Where an output is."""
        rows = tuple(range(math.prod(port.shape[:-1])))
        if view.name not in self.blocks:
            yield Part(0, port.name, rows, tuple(range(math.prod(port.shape[-1:]))))
            return
        for chip, blocks in enumerate(self.blocks[view.name]):
            for number, block in enumerate(blocks):
                yield Part(chip, part_name(port.name, number), rows, tuple(block))

    def _own(self, group: Iterable[str], work: list[int]) -> list[range]:
        """By chip the columns of vectors of some buffers that are alike, dealt such that chips have equally much to do
        in all: they go one by one to the chip that has least."""
        names = [*group]
        each, counts = sum(map(self._work, names)), [0] * self.chips
        for _ in range(-(-self.graph.buffer(names[0]).cols // self.lanes)):
            chip = work.index(min(work))
            work[chip] += each
            counts[chip] += 1
        return [range(first, last) for first, last in itertools.pairwise(itertools.accumulate(counts, initial=0))]

    def _work(self, name: str) -> int:
        """Tiles of weights for a column of a buffer, and of all that is computed for it on the same chip."""
        tiles = 0
        for kernel in self.splits.behind(name):
            if isinstance(kernel, MatMulKernel):
                tiles += sum(
                    -(-len(matrix) // self.lanes)
                    for term in kernel.terms
                    if not isinstance(term.weights, Factor)
                    for matrix in term.weights
                )
        return tiles

    def _blocks(self, name: str, own: Iterable[range], most: int) -> tuple[tuple[Block, ...], ...]:
        """Columns in blocks of at most `most`, whole rounds of planes each; the last ones, fewer than planes, come in
        twos and ones, which planes share."""
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
        self.whole, self.splits = deal.graph, deal.splits
        self.buffers = [buffer for buffer in self.whole.buffers if buffer.name not in self.splits.split]
        self.kernels: list[Kernel] = []
        self.done: set[str] = set()

    def graph(self) -> KernelGraph:
        """All of it."""
        for number, kernel in enumerate(self.whole.kernels):
            name = kernel.output
            if name not in self.splits.split:
                self.kernels.append(self._kernel(kernel, None))
            elif name in self.splits.everywhere and self.splits.last[name] == number:
                self._bring_everywhere(name)
        outputs: list[tuple[Port, BufferOperand]] = []
        for port, view in self.whole.outputs:
            if view.name not in self.splits.split:
                outputs.append((port, view))
                continue
            for number, block in enumerate(self.deal.blocks[view.name][self.chip]):
                part = dataclasses.replace(view, name=self._part(view.name, block))
                shape = (*port.shape[:-1], len(block))
                outputs.append((dataclasses.replace(port, name=part_name(port.name, number), shape=shape), part))
        used = {view.name for kernel in self.kernels for view in views_of(kernel)}
        return dataclasses.replace(
            self.whole,
            name=f"{self.whole.name}, chip {self.chip}",
            buffers=tuple(b for b in self.buffers if b.name in used or b.name not in self.whole.constants),
            kernels=tuple(self.kernels),
            outputs=tuple(outputs),
            constants={name: content for name, content in self.whole.constants.items() if name in used},
        )

    def _bring_everywhere(self, name: str) -> None:
        """All blocks of a buffer to all chips: from the one that computes each, or computed by every chip."""
        every = self.deal.blocks[name]
        for blocks in itertools.zip_longest(*every):
            own = blocks[self.chip]
            if own is not None:
                self._part(name, own)
            for chip, block in enumerate(blocks):
                if block is None:
                    continue
                if name not in self.splits.dealt:
                    self._part(name, block)
                    continue
                part = part_name(name, block)
                if chip != self.chip:
                    self._buffer(name, block)
                self.done.add(part)
                self.kernels.append(AllGatherKernel(part, (chip,) * self.whole.buffer(name).rows, self.chip))

    def _buffer(self, name: str, block: Block) -> None:
        whole = self.whole.buffer(name)
        self.buffers.append(dataclasses.replace(whole, name=part_name(name, block), cols=len(block)))

    def _part(self, name: str, block: Block) -> str:
        """Some columns of a buffer that is split, with all that they are made of here."""
        part = part_name(name, block)
        if part not in self.done:
            self.done.add(part)
            made = [self._kernel(kernel, block) for kernel in self.splits.filling[name]]
            self._buffer(name, block)
            self.kernels += made
        return part

    def _kernel(self, kernel: Kernel, block: Block | None) -> Kernel:
        """A kernel for some columns of its output, or for all."""
        output = kernel.output if block is None else part_name(kernel.output, block)
        chain = tuple(self._step(step, block) for step in kernel.chain)
        if isinstance(kernel, VectorKernel):
            return dataclasses.replace(kernel, output=output, source=self._view(kernel.source, block), chain=chain)
        assert isinstance(kernel, MatMulKernel)
        terms = tuple(part for term in kernel.terms for part in self._terms(term, block))
        alone = block is not None and len(block) <= (self.deal.planes - 1) * self.deal.lanes
        return dataclasses.replace(kernel, output=output, terms=terms, chain=chain, alone=alone)

    def _step(self, step: Step, block: Block | None) -> Step:
        match step.y:
            case LaneConstants(name, values) if block is not None:
                return Step(step.mnemonic, LaneConstants(part_name(name, block), values[block.start : block.stop]))
            case BufferOperand() as view:
                return Step(step.mnemonic, self._view(view, block))
            case _:
                return step

    def _view(self, view: BufferOperand, block: Block | None) -> BufferOperand:
        """The operand that meets some columns of a kernel, or all of them."""
        lanes, split = self.deal.lanes, view.name in self.splits.split
        if split and view.column is not None:
            at = view.column * lanes
            part = next(p for blocks in self.deal.blocks[view.name] for p in blocks if at in p)
            return dataclasses.replace(view, name=part_name(view.name, part), column=view.column - part.start // lanes)
        if block is None or view.column is not None:
            return view
        if split:
            return dataclasses.replace(view, name=self._part(view.name, block))
        return dataclasses.replace(view, first_column=block.start // lanes)

    def _terms(self, term: Term, block: Block | None) -> Iterator[Term]:
        """A product with some columns of weights, or with all, part by part of what is multiplied."""
        if isinstance(term.weights, Factor):
            yield term
            return
        name = term.rows.name
        some = slice(None) if block is None else slice(block.start, block.stop)
        columns = [np.ascontiguousarray(matrix[:, some]) for matrix in term.weights]
        if name not in self.splits.split:
            yield Term(term.rows, tuple(columns))
            return
        # What came first is multiplied first.
        in_turn = itertools.zip_longest(*self.deal.blocks[name])
        for part in (part for blocks in in_turn for part in blocks if part is not None):
            rows, view = slice(part.start, part.stop), dataclasses.replace(term.rows, name=part_name(name, part))
            yield Term(view, tuple(np.ascontiguousarray(matrix[rows]) for matrix in columns))


def part_name(name: str, block: Block | int) -> str:
    """Of some columns of a buffer, or of an output's part with that number."""
    return f"{name}.{block}" if isinstance(block, int) else f"{name}.{block.start}-{block.stop}"
