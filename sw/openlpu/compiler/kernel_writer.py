# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Kernels written by hand, for networks that are better told to the chip than lowered from a graph.

Here a vector of any length is a matrix of `lanes` columns: element e stands in row e div lanes, lane e mod lanes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from openlpu.arch.config import ChipConfig
from openlpu.arch.numerics import to_bits
from openlpu.compiler.chain import split_chain
from openlpu.compiler.errors import CompileError
from openlpu.compiler.graph import Port
from openlpu.compiler.kernels import (
    Buffer,
    BufferOperand,
    Content,
    Kernel,
    KernelGraph,
    LaneConstants,
    MatMulKernel,
    Operand,
    Sharing,
    Step,
    Target,
    Term,
    VectorKernel,
)


def patterns(values: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """Numbers as the patterns of the nearest floats."""
    return to_bits(np.asarray(values, np.float32))


class KernelWriter:
    """Buffers and kernels so far. Its methods raise CompileError where the VXM of the chip lacks an operation."""

    def __init__(self, config: ChipConfig) -> None:
        self.config, self.lanes = config, config.lanes
        self.buffers: list[Buffer] = []
        self.kernels: list[Kernel] = []
        self.constants: dict[str, Content] = {}
        self.states: dict[str, Content] = {}
        self.gathered: list[tuple[str, ...]] = []
        self.apart: list[str] = []
        self.stages: list[tuple[str, ...]] = []
        """As in `Sharing`."""
        self.parts: list[str] = []
        """Of each kernel so far but those of the part that is being written."""

    def written(
        self, name: str, inputs: Sequence[tuple[Port, str]], outputs: Sequence[tuple[Port, BufferOperand]]
    ) -> KernelGraph:
        """All of it."""
        buffers, kernels = tuple(self.buffers), tuple(self.kernels)
        sharing = Sharing(tuple(self.gathered), tuple(self.apart), tuple(self.stages))
        return KernelGraph(name, buffers, kernels, tuple(inputs), tuple(outputs), self.constants, self.states, sharing)

    def end(self, part: str) -> None:
        """All kernels since the last part belong to this one."""
        self.parts += [part] * (len(self.kernels) - len(self.parts))

    # Buffers

    def buffer(self, name: str, rows: int, *, wide: bool = True, cols: int | None = None, turned: bool = False) -> str:
        """A buffer one vector wide, unless said otherwise; its name."""
        self.buffers.append(Buffer(name, rows, self.lanes if cols is None else cols, wide, turned))
        return name

    def constant(self, name: str, content: Content) -> str:
        """A buffer that holds something from the beginning."""
        rows, cols = content.shape
        self.constants[name] = content
        return self.buffer(name, rows, wide=content.dtype == np.int32, cols=cols)

    def state(self, name: str, content: Content) -> str:
        """A buffer that keeps what it holds for the next run."""
        rows, cols = content.shape
        self.states[name] = content
        return self.buffer(name, rows, wide=content.dtype == np.int32, cols=cols)

    def blocks(self, elements: int) -> int:
        """Rows that so many elements fill."""
        return -(-elements // self.lanes)

    # Kernels

    def vector(
        self, output: str, source: BufferOperand, steps: Sequence[Step], target: Target | None = None
    ) -> BufferOperand:
        """`output = steps(source)` in one pass, or in several with buffers between them."""
        target = target or Target()
        parts = split_chain(steps, self.config)
        if parts is None:
            raise CompileError(
                f"'{output}': the VXM of config '{self.config.name}' cannot execute "
                f"{', '.join(dict.fromkeys(step.mnemonic for step in steps))} from stream to stream"
            )
        for i, part in enumerate(parts[:-1]):
            whole = self._buffer(output)
            between = self.buffer(f"{output}.part{i}", target.count(whole), cols=whole.cols)
            self.kernels.append(VectorKernel(between, source, part))
            source = BufferOperand(between)
        self.kernels.append(VectorKernel(output, source, parts[-1], target))
        return BufferOperand(output)

    def made(
        self,
        output: str,
        source: BufferOperand,
        steps: Sequence[Step],
        *,
        rows: int,
        wide: bool = True,
        cols: int | None = None,
    ) -> BufferOperand:
        """`vector` into a buffer of its own."""
        return self.vector(self.buffer(output, rows, wide=wide, cols=cols), source, steps)

    def _buffer(self, name: str) -> Buffer:
        return next(buffer for buffer in reversed(self.buffers) if buffer.name == name)

    def stacked(
        self, output: str, inputs: Sequence[BufferOperand], codes: npt.NDArray[np.int8], steps: Sequence[Step]
    ) -> BufferOperand:
        """The product of rows, one after the other a vector, with `codes` (elements, outputs), both in blocks."""
        columns = codes.shape[1] // self.lanes
        terms = tuple(Term(view, (codes[i * self.lanes : (i + 1) * self.lanes],)) for i, view in enumerate(inputs))
        self.buffer(output, columns)
        self.product(output, terms, steps, Target(stacked=columns))
        return BufferOperand(output)

    def rows(self, name: str, count: int) -> list[BufferOperand]:
        """The rows of a buffer, each a part of one vector."""
        return [BufferOperand(name, first_row=row, row_step=0) for row in range(count)]

    def per_row(self, name: str, values: npt.NDArray[np.floating[Any]]) -> BufferOperand:
        """Constants for a vector in blocks, 0 behind its end."""
        whole = np.zeros(self.blocks(len(values)) * self.lanes)
        whole[: len(values)] = values
        return BufferOperand(self.constant(name, patterns(whole).reshape(-1, self.lanes)))

    def per_lane(self, name: str, values: npt.NDArray[np.floating[Any]]) -> Operand:
        """Constants for the lanes of one vector."""
        return LaneConstants(name, patterns(values))

    def product(self, output: str, terms: Sequence[Term], steps: Sequence[Step], target: Target | None = None) -> None:
        """`output = steps(sum of terms)`, in one pass."""
        parts = split_chain(steps, self.config, from_sram=False)
        if parts is None or len(parts) > 1:
            raise CompileError(
                f"'{output}': the VXM of config '{self.config.name}' cannot execute "
                f"{', '.join(step.mnemonic for step in steps)} behind a product in one pass"
            )
        self.kernels.append(MatMulKernel(output, tuple(terms), parts[0], target or Target()))

    def largest_column(self, name: str, source: str, rows: int) -> BufferOperand:
        """The largest of the columns of a buffer, lane by lane."""
        columns = [BufferOperand(source, column=i) for i in range(self.blocks(self._buffer(source).cols))]
        level = 0
        while len(columns) > 1:
            half = -(-len(columns) // 2)
            merged = [
                self.made(f"{name}.columns{level}.{i}", columns[i], [Step("fmax", columns[-half + i])], rows=rows)
                for i in range(half)
            ]
            columns = [BufferOperand(view.name, column=0) for view in merged]
            level += 1
        return columns[0]

    def largest_row(self, name: str, source: str, rows: int) -> BufferOperand:
        """The largest of the rows of a buffer, lane by lane."""
        return self._fold_rows("fmax", name, source, rows)

    def smallest_row(self, name: str, source: str, rows: int) -> BufferOperand:
        """The smallest of the rows of a buffer, lane by lane."""
        return self._fold_rows("fmin", name, source, rows)

    def largest_lane(self, name: str, view: BufferOperand, rows: int) -> BufferOperand:
        """The largest lane of every row, in all of them."""
        return self._fold_lanes("fmax", name, view, rows)

    def smallest_lane(self, name: str, view: BufferOperand, rows: int) -> BufferOperand:
        """The smallest lane of every row, in all of them."""
        return self._fold_lanes("fmin", name, view, rows)

    def _fold_rows(self, mnemonic: str, name: str, source: str, rows: int) -> BufferOperand:
        level, folded = 0, [source]
        while rows > 1:
            half = -(-rows // 2)
            others = BufferOperand(source, first_row=rows - half)
            source = self.made(f"{name}.rows{level}", BufferOperand(source), [Step(mnemonic, others)], rows=half).name
            folded.append(source)
            rows, level = half, level + 1
        self.gathered.append(tuple(folded))
        return BufferOperand(source)

    def _fold_lanes(self, mnemonic: str, name: str, view: BufferOperand, rows: int) -> BufferOperand:
        """Each pass folds a vector onto itself turned, or onto as many turned ones as it can take: the way to the SXM
        and back is longer than that through an ALU."""
        three = [Step(mnemonic, BufferOperand(view.name, rotate=distance)) for distance in (1, 2, 3)]
        most = 4 if len(split_chain(three, self.config) or three) == 1 else 2
        distance = 1
        while distance < self.lanes:
            ways = min(most, -(-self.lanes // distance))
            turned = [BufferOperand(view.name, column=view.column, rotate=way * distance) for way in range(1, ways)]
            both = self.buffer(f"{name}.lanes{distance}", rows, turned=True)
            view = self.vector(both, view, [Step(mnemonic, operand) for operand in turned])
            distance *= ways
        return view
