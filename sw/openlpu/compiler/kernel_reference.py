# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What kernels compute, in numpy: their meaning, and the yardstick of placement, schedule and chip.

Kernels are executed one after the other, each all at once. Products are exact integers modulo 2**32, and the steps of
chains are what `openlpu.model.semantics` calls by their mnemonics. Where anything lies, and when it is computed, makes
no difference here, and so nothing of either is known.

Buffers are kept as whole vectors, as the chip has them: what stands in the lanes beyond their last column is computed
as everything else is. That matters where lanes are turned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from openlpu.arch import numerics
from openlpu.arch.config import ChipConfig
from openlpu.arch.numerics import Words
from openlpu.compiler.errors import InternalCompilerError
from openlpu.compiler.kernels import (
    AllGatherKernel,
    Buffer,
    BufferOperand,
    Content,
    Factor,
    Immediate,
    Kernel,
    KernelGraph,
    LaneConstants,
    MatMulKernel,
    Operand,
    OtherSums,
    Step,
    Target,
    Term,
    VectorKernel,
    padded,
    window_bits,
)
from openlpu.model.semantics import VXM

_Source = Callable[[], Words]
"""Makes the rows that a kernel reads, as words."""
_Action = Callable[[], None]
_Rows = slice | npt.NDArray[np.intp]


class KernelReference:
    """A kernel graph that runs as often as it is told, its states kept from run to run.

    What a run needs again and again is prepared once. An index counts modulo the least power of two that is no
    less than the rows that it chooses from, as a window of the chip does; IndexError where there is no such row then.
    """

    def __init__(self, graph: KernelGraph, config: ChipConfig) -> None:
        graph.verify()
        self._graph, self._lanes, self._feeders = graph, config.lanes, config.weight_streams
        self._held: dict[str, npt.NDArray[Any]] = {}
        """By name, (rows, whole vectors): int8, or int32 for 32-bit elements."""
        for buffer in graph.buffers:
            self._held[buffer.name] = np.zeros((buffer.rows, self._vectors(buffer) * self._lanes), _dtype(buffer))
        for name, content in {**graph.constants, **graph.states}.items():
            self.write(name, content)
        self._actions = [self._action(kernel) for kernel in graph.kernels]

    def run(self, inputs: Mapping[str, Content]) -> dict[str, Content]:
        """Every output by name, from every input by name.

        Both are as the chip has them: matrices of int8, or of int32 patterns where elements have 32 bits. An input may
        have fewer columns than its buffer; they are 0 then, and outputs have all columns.

        Raises:
            KeyError: when an input is missing.
            ValueError: when one has another number of rows than its buffer, or more columns.
        """
        for port, name in self._graph.inputs:
            self.write(name, inputs[port.name])
        for action in self._actions:
            action()
        return {port.name: self.read(view.name)[view.first_row :] for port, view in self._graph.outputs}

    def read(self, name: str) -> Content:
        """A copy of what a buffer holds: (rows, cols), int8 or int32."""
        content: Content = self._held[name][:, : self._graph.buffer(name).cols].copy()
        return content

    def write(self, name: str, content: Content) -> None:
        """Fill a buffer; columns that `content` lacks become 0. ValueError when it does not fit."""
        held = self._held[name]
        buffer = self._graph.buffer(name)
        if content.dtype != held.dtype or len(content) != buffer.rows or content.shape[1] > buffer.cols:
            raise ValueError(
                f"%{name} holds {held.dtype}, {buffer.rows} rows of {buffer.cols}; "
                f"{content.dtype}{list(content.shape)} was given"
            )
        held[:, : content.shape[1]] = content
        held[:, content.shape[1] :] = 0

    def _vectors(self, buffer: Buffer) -> int:
        """In a row."""
        return -(-buffer.cols // self._lanes)

    def _action(self, kernel: Kernel) -> _Action:
        if isinstance(kernel, AllGatherKernel):
            raise InternalCompilerError(f"'{kernel.output}' is gathered from chips, and numpy is one")
        target, output = kernel.target, self._graph.buffer(kernel.output)
        rows = target.count(output)
        vectors = self._vectors(output)
        if isinstance(kernel, VectorKernel):
            source = self._source(kernel.source, rows, vectors)
        else:
            source = self._sums(kernel, rows)
        steps = [self._step(step, rows * max(target.stacked, 1), vectors) for step in kernel.chain]
        store = self._store(output, target)

        def act() -> None:
            words = source()
            for step in steps:
                words = step(words)
            store(words)

        return act

    # Products

    def _sums(self, kernel: MatMulKernel, rows: int) -> _Source:
        width = self._vectors(self._graph.buffer(kernel.output)) * max(kernel.target.stacked, 1) * self._lanes
        sources = [
            self._source(term.rows, rows, self._vectors(self._graph.buffer(term.rows.name))) for term in kernel.terms
        ]
        weights = [self._weights(term) for term in kernel.terms]
        stacked = kernel.target.stacked

        def sums() -> Words:
            # float64 has every sum of up to 2**39 products of bytes, and multiplies at the speed of BLAS.
            total = np.zeros((rows, width))
            for source, matrix in zip(sources, weights, strict=True):
                total += source().astype(np.float64) @ matrix()
            words = total.astype(np.int64).astype(np.int32)
            if not stacked:
                return words
            # Columns of vectors below one another, all rows of the first one first.
            return np.ascontiguousarray(words.reshape(rows, stacked, -1).swapaxes(0, 1)).reshape(rows * stacked, -1)

        return sums

    def _weights(self, term: Term) -> Callable[[], npt.NDArray[np.float64]]:
        """What rows are multiplied by, in whole tiles."""
        lanes = self._lanes
        if isinstance(term.weights, Factor):
            # A buffer is whole vectors wide, and zeros are below its last row.
            held, turned = self._held[term.weights.name][: term.weights.rows], term.weights.transposed
            below = ((0, -len(held) % lanes), (0, 0))

            def factor() -> npt.NDArray[np.float64]:
                matrix = np.pad(held, below).astype(np.float64)
                return matrix.T if turned else matrix

            return factor
        summed = np.sum([padded(matrix, lanes).astype(np.float64) for matrix in term.weights], axis=0)
        return lambda: summed

    # Operands

    def _source(self, view: BufferOperand, rows: int, vectors: int) -> _Source:
        """Rows of a buffer, int8 widened to words, for so many `vectors` in a row; a column that meets every other, as
        often as there are."""
        met, copies = (vectors, 1) if view.column is None else (1, vectors)
        held, columns = self._held[view.name], slice(view.met(0) * self._lanes, (view.met(0) + met) * self._lanes)
        which = _rows(view.first_row, view.row_step, rows)
        indices = None if view.indices is None else self._held[view.indices]
        feeders, window = self._feeders, 1 << window_bits(len(held))

        def chosen() -> npt.NDArray[Any]:
            if indices is None:
                return held[which, columns]
            places = _index(indices[which]) % window
            found = held[places, columns]
            if view.dealt is None:
                return found
            return np.where((places % feeders == view.dealt)[:, None], found, found.dtype.type(0))

        def words() -> Words:
            found = chosen()
            if view.rotate:
                found = self._turned(found, view.rotate)
            if view.byte is not None:
                found = (found >> 8 * view.byte).astype(np.int8)
            found = found.astype(np.int32)
            return found if copies == 1 else np.tile(found, copies)

        return words

    def _turned(self, words: npt.NDArray[Any], distance: int) -> npt.NDArray[Any]:
        vectors = words.reshape(len(words), -1, self._lanes)
        return np.roll(vectors, distance, axis=-1).reshape(words.shape)

    def _step(self, step: Step, rows: int, vectors: int) -> Callable[[Words], Words]:
        function = VXM[step.mnemonic].apply
        if step.y is None:
            return function
        operand = self._operand(step.y, rows, vectors)
        return lambda words: function(words, operand())

    def _operand(self, y: Operand, rows: int, vectors: int) -> _Source:
        match y:
            case Immediate(bits):
                constant = np.array(bits & 0xFFFF_FFFF, np.uint32).view(np.int32)
            case LaneConstants(_, values):
                constant = np.pad(values, (0, -len(values) % self._lanes))[None]
            case BufferOperand():
                return self._source(y, rows, vectors)
            case OtherSums():
                raise InternalCompilerError("no kernel names sums of other planes")
        return lambda: constant

    # Results

    def _store(self, output: Buffer, target: Target) -> Callable[[Words], None]:
        held = self._held[output.name]
        indices = None if target.indices is None else self._held[target.indices]
        members, count = target.members(output), target.count(output)
        planes = held.view(np.int8).reshape(*held.shape, -1)

        def store(words: Words) -> None:
            rows = members if indices is None else _following(_index(indices[:count]), output.name)
            if target.byte is not None:
                # As a byte of its own, it leaves the chain as all bytes do.
                planes[rows, :, target.byte] = numerics.saturate_int8(words)
            else:
                held[rows] = words if output.wide else numerics.saturate_int8(words)

        return store


def _dtype(buffer: Buffer) -> type[np.int8] | type[np.int32]:
    return np.int32 if buffer.wide else np.int8


def _rows(first: int, step: int, count: int) -> _Rows:
    return slice(first, first + step * count, step) if step > 0 else first + step * np.arange(count)


def _following(rows: npt.NDArray[np.intp], name: str) -> npt.NDArray[np.intp]:
    """Indices as `Target` promises them: one after the other, from a multiple of their number on."""
    if not np.array_equal(rows, rows[0] // len(rows) * len(rows) + np.arange(len(rows))):
        raise ValueError(f"indices {rows.tolist()} of what goes to %{name} do not follow one another")
    return rows


def _index(rows: npt.NDArray[np.int8]) -> npt.NDArray[np.intp]:
    """The index in each row: its bytes are those of the first two lanes, unsigned."""
    return np.ascontiguousarray(rows[:, :2]).view("<u2")[:, 0].astype(np.intp)
