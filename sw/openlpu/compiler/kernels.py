# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The IR between lowering and scheduling: what the chip is asked to do, before anything has a place or a time.

A *buffer* is a matrix in SRAM, int8 or 32-bit, stored column by column: a column is `lanes` wide. A *kernel* streams
the rows of its input through the MXM or straight to the VXM, along one *chain* of VXM steps, into its output. The
operands of a chain are the value that the step before left, and one more: an immediate, a vector of constants, or a
buffer.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import numpy.typing as npt

from openlpu.arch.isa import BY_MNEMONIC
from openlpu.compiler.errors import InternalCompilerError
from openlpu.compiler.graph import Port


@dataclass(frozen=True)
class Buffer:
    """A matrix in SRAM: `rows` x `cols` elements, int8, or 32 bits wide when `wide`."""

    name: str
    rows: int
    cols: int
    wide: bool


@dataclass(frozen=True)
class Factor:
    """An int8 buffer that rows are multiplied by, or its transpose.

    It is not stored column by column but as weights are: consecutive rows in the slices that feed consecutive weight
    streams of the plane that multiplies by them. Nothing else reads it. Where its rows are transposed into columns of
    the array, lanes beyond its last column must hold 0.
    """

    name: str
    transposed: bool = False


@dataclass(frozen=True)
class Immediate:
    """The same 32 bits in every lane, inside the instruction."""

    bits: int


@dataclass(frozen=True, eq=False)
class LaneConstants:
    """32 bits for each column of the output, int32 (cols,): biases, multipliers."""

    name: str
    values: npt.NDArray[np.int32]


@dataclass(frozen=True)
class BufferOperand:
    """For every element that a kernel computes, one of a buffer: at the same row and column, unless said otherwise."""

    name: str
    first_row: int = 0
    """The row that meets the first one computed."""
    column: int | None = None
    """The column of `lanes` lanes that meets every column computed."""
    rotate: int = 0
    """Lane i meets what stands in lane (i - rotate) modulo lanes. Only buffers of 32 bits turn."""


Operand = Immediate | LaneConstants | BufferOperand


@dataclass(frozen=True)
class Step:
    """One VXM operation of a chain; `y` is its second operand, None for a unary one."""

    mnemonic: str
    y: Operand | None = None


@dataclass(frozen=True, eq=False)
class MatMulKernel:
    """`output = chain(input @ sum(weights))`; every weight matrix is int8 (input cols, output cols).

    `weights` are constants, or one `Factor`, computed by an earlier kernel.
    """

    output: str
    input: str
    weights: tuple[npt.NDArray[np.int8], ...] | Factor
    chain: tuple[Step, ...]

    @property
    def matrices(self) -> int:
        """How many matrices are summed."""
        return 1 if isinstance(self.weights, Factor) else len(self.weights)


@dataclass(frozen=True)
class VectorKernel:
    """`output = chain(source)`, element by element."""

    output: str
    source: BufferOperand
    chain: tuple[Step, ...]

    @property
    def input(self) -> str:
        """The buffer that the first step reads."""
        return self.source.name


Kernel = MatMulKernel | VectorKernel


@dataclass(frozen=True)
class KernelGraph:
    """Buffers, the kernels that fill them in order, and the ports of the network with the buffer behind each."""

    name: str
    buffers: tuple[Buffer, ...]
    kernels: tuple[Kernel, ...]
    inputs: tuple[tuple[Port, str], ...]
    outputs: tuple[tuple[Port, str], ...]

    def buffer(self, name: str) -> Buffer:
        """The buffer of this name; KeyError when there is none."""
        for buffer in self.buffers:
            if buffer.name == name:
                return buffer
        raise KeyError(name)

    @functools.cached_property
    def factors(self) -> dict[str, Factor]:
        """The buffers that something is multiplied by."""
        products = [kernel for kernel in self.kernels if isinstance(kernel, MatMulKernel)]
        return {product.weights.name: product.weights for product in products if isinstance(product.weights, Factor)}

    def verify(self) -> None:
        """Raise InternalCompilerError unless every kernel reads what is there and fits what it writes."""
        known = {name for _, name in self.inputs}
        for kernel in self.kernels:
            source, target = self.buffer(kernel.input), self.buffer(kernel.output)
            where = f"kernel {kernel.output!r}"
            operands = [step.y for step in kernel.chain]
            views = [y for y in operands if isinstance(y, BufferOperand)]
            reads = {kernel.input} | {view.name for view in views}
            if isinstance(kernel, MatMulKernel) and isinstance(kernel.weights, Factor):
                reads.add(kernel.weights.name)
                _require(not self.buffer(kernel.weights.name).wide, f"{where} multiplies by a buffer that is not int8")
            _require(reads <= known, f"{where} reads {sorted(reads - known)} before it is there")
            _require(target.name not in known, f"{where} is computed twice")
            if isinstance(kernel, MatMulKernel):
                _require(source.rows == target.rows, f"{where} changes the number of rows")
                shapes = self._weight_shapes(kernel)
                _require(shapes == {(source.cols, target.cols)}, f"{where} has weights of shapes {shapes}")
                _require(not source.wide, f"{where} multiplies a buffer that is not int8")
            else:
                views.append(kernel.source)
            for view in views:
                read = self.buffer(view.name)
                _require(view.first_row + target.rows <= read.rows, f"{where} has more rows than %{view.name}")
                _require(view.column is not None or read.cols == target.cols, f"{where} changes the number of columns")
                _require(view.rotate == 0 or read.wide, f"{where} turns %{view.name}, which is not 32 bits wide")
            for step in kernel.chain:
                arity = BY_MNEMONIC[step.mnemonic].arity
                _require(arity == (1 if step.y is None else 2), f"{where}: {step.mnemonic} takes {arity} operands")
                if isinstance(step.y, LaneConstants):
                    _require(step.y.values.shape == (target.cols,), f"{where}: constants {step.y.name!r} do not fit")
            known.add(target.name)
        _require({name for _, name in self.outputs} <= known, "an output is never computed")

    def _weight_shapes(self, kernel: MatMulKernel) -> set[tuple[int, ...]]:
        match kernel.weights:
            case Factor(name, transposed):
                rows, cols = self.buffer(name).rows, self.buffer(name).cols
                return {(cols, rows) if transposed else (rows, cols)}
            case matrices:
                return {weights.shape for weights in matrices}

    def __str__(self) -> str:
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield f"kernels {self.name}"
        for port, name in self.inputs:
            yield f"  input  {port.name} = {self._buffer_text(name)}"
        for kernel in self.kernels:
            head = f"  {self._buffer_text(kernel.output)} = "
            if isinstance(kernel, VectorKernel):
                head += _view_text(kernel.source)
            else:
                head += f"%{kernel.input}"
                head += "".join(f" @ {text}" for text in _weight_texts(kernel))
            yield head + "".join(f" | {_step_text(step)}" for step in kernel.chain)
        for port, name in self.outputs:
            yield f"  output {port.name} = %{name}"

    def _buffer_text(self, name: str) -> str:
        buffer = self.buffer(name)
        return f"%{name}:{'w32' if buffer.wide else 'i8'}[{buffer.rows},{buffer.cols}]"


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise InternalCompilerError(f"kernels: {message}")


def _step_text(step: Step) -> str:
    match step.y:
        case None:
            return step.mnemonic
        case Immediate(bits):
            return f"{step.mnemonic} {bits & 0xFFFFFFFF:#010x}"
        case LaneConstants(name, values):
            return f"{step.mnemonic} {name}#{crc32(values.tobytes()):08x}"
        case BufferOperand() as view:
            return f"{step.mnemonic} {_view_text(view)}"


def _view_text(view: BufferOperand) -> str:
    row = f" from row {view.first_row}" if view.first_row else ""
    column = "" if view.column is None else f" column {view.column}"
    return f"%{view.name}{row}{column}" + (f" turned by {view.rotate}" if view.rotate else "")


def _weight_texts(kernel: MatMulKernel) -> list[str]:
    match kernel.weights:
        case Factor(name, transposed):
            return [f"%{name}{' transposed' if transposed else ''}"]
        case matrices:
            return [f"int8{list(weights.shape)}#{crc32(weights.tobytes()):08x}" for weights in matrices]
