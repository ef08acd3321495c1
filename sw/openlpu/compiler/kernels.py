# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The IR between lowering and scheduling: what the chip is asked to do, before anything has a place or a time.

A *buffer* is a matrix in SRAM, int8 or 32-bit, stored column by column: a column is `lanes` wide. A *kernel* streams
rows of buffers through the MXM or straight to the VXM, along one *chain* of VXM steps, into rows of its output. The
operands of a chain are the value that the step before left, and one more: an immediate, a vector of constants, or rows
of a buffer. Several kernels may fill one buffer, each some of its rows, or one byte of its elements.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar
from zlib import crc32

import numpy as np
import numpy.typing as npt

from openlpu.arch.config import GROUP
from openlpu.arch.isa import BY_MNEMONIC
from openlpu.arch.numerics import to_bits
from openlpu.compiler.errors import InternalCompilerError
from openlpu.compiler.graph import Port

Content = npt.NDArray[np.int8] | npt.NDArray[np.int32]


@dataclass(frozen=True)
class Buffer:
    """A matrix in SRAM: `rows` x `cols` elements, int8, or 32 bits wide when `wide`."""

    name: str
    rows: int
    cols: int
    wide: bool
    turned: bool = False
    """Rows are read straight and turned by the same kernel: better from two places, where the chip can write both."""


@dataclass(frozen=True)
class Factor:
    """An int8 buffer that rows are multiplied by, or its transpose.

    It is not stored column by column but as weights are: consecutive rows in the slices that feed consecutive weight
    streams of the plane that multiplies by them. Nothing else reads it. Where its rows are transposed into columns of
    the array, lanes beyond its last column must hold 0.
    """

    name: str
    transposed: bool = False
    rows: int | None = None
    """So many of its rows, from the first on, a multiple of the lanes: the others are not multiplied. None for all."""
    columns: tuple[int, int] | None = None
    """Of the columns of `lanes` that a product with it could have, which it has: the first, and how much further each
    next one is. None for all."""

    def tile(self, inner: int, output: int) -> tuple[int, int]:
        """Which tile of the buffer, down and across, meets column `inner` of rows in column `output` of the product."""
        first, step = self.columns or (0, 1)
        column = first + step * output
        return (column, inner) if self.transposed else (inner, column)


@dataclass(frozen=True)
class Immediate:
    """The same 32 bits in every lane, inside the instruction."""

    bits: int

    @classmethod
    def of_float(cls, value: npt.ArrayLike) -> Immediate:
        """The float nearest to a number."""
        return cls(int(to_bits(np.array(value, np.float32))))


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
    row_step: int = 1
    """How much further the row is that meets the next one; 0 for the same again."""
    column: int | None = None
    """The column of `lanes` lanes that meets every column computed."""
    first_column: int | None = None
    """Where fewer columns are computed than it has, and each meets another one: the one that meets the first."""
    rotate: int = 0
    """Lane i meets what stands in lane (i - rotate) modulo lanes. Only buffers of 32 bits turn."""
    byte: int | None = None
    """Of 32-bit elements this byte alone, as an int8."""
    indices: str | None = None
    """A buffer of indices: they say which rows of this one, `first_row` and `row_step` which of them."""
    dealt: int | None = None
    """Of a factor whose rows indices say: what one slice has of a row, which is nothing (0) if it is another's. Slices
    are counted as the weight streams are that they feed; all of them together have every row once."""

    def met(self, column: int) -> int:
        """The column of `lanes` lanes that meets this one of those computed."""
        return (self.first_column or 0) + column if self.column is None else self.column


@dataclass(frozen=True)
class OtherSums:
    """Sums for the same elements, over tiles that were dealt out to another plane: the one with this number. No kernel
    says so; where planes share a column of a product, its chain adds them (`joined` in `chain.py`)."""

    number: int


Operand = Immediate | LaneConstants | BufferOperand | OtherSums


@dataclass(frozen=True)
class Step:
    """One VXM operation of a chain; `y` is its second operand, 32 bits wide, None for a unary one."""

    mnemonic: str
    y: Operand | None = None


@dataclass(frozen=True)
class Target:
    """Where in its output a kernel writes: rows `first_row`, `first_row + row_step`, ..., `rows` in all, or every row
    when that is None; of 32-bit elements all four bytes, or the low byte of the result as byte number `byte`."""

    first_row: int = 0
    row_step: int = 1
    rows: int | None = None
    byte: int | None = None
    stacked: int = 0
    """So many columns of a product, if not 0, lie in the one column of the output, each below the one before. The chain
    behind it meets rows of buffers as if they had been there from the beginning."""
    indices: str | None = None
    """A buffer of indices: each row that the kernel computes, one or `rows`, goes to the row of a state that its index
    says. Several follow one another, from a multiple of `rows` on."""

    def count(self, buffer: Buffer) -> int:
        """How many rows a kernel computes."""
        if self.indices is not None:
            return self.rows or 1
        return buffer.rows // max(self.stacked, 1) if self.rows is None else self.rows

    def cols(self, buffer: Buffer) -> int:
        """How many columns of elements a kernel computes."""
        return buffer.cols * max(self.stacked, 1)

    def members(self, buffer: Buffer) -> slice:
        """Which rows of the output it fills, or may fill."""
        if self.indices is not None:
            return slice(0, buffer.rows, 1)
        filled = self.count(buffer) * max(self.stacked, 1)
        return slice(self.first_row, self.first_row + self.row_step * filled, self.row_step)


EVERYTHING = Target()


@dataclass(frozen=True, eq=False)
class Term:
    """`rows @ sum(weights)`: rows of an int8 buffer, all its columns, and matrices int8 (its cols, output cols).

    `weights` are constants, or one `Factor`, computed by an earlier kernel.
    """

    rows: BufferOperand
    weights: tuple[npt.NDArray[np.int8], ...] | Factor

    @property
    def matrices(self) -> int:
        """How many matrices are summed."""
        return 1 if isinstance(self.weights, Factor) else len(self.weights)


@dataclass(frozen=True, eq=False)
class MatMulKernel:
    """`output = chain(sum of terms)`."""

    output: str
    terms: tuple[Term, ...]
    chain: tuple[Step, ...]
    target: Target = EVERYTHING
    alone: bool = False
    """No other product runs beside it: planes share its columns, be they as few as they may."""

    @property
    def sources(self) -> tuple[BufferOperand, ...]:
        """What is multiplied."""
        return tuple(term.rows for term in self.terms)


@dataclass(frozen=True)
class VectorKernel:
    """`output = chain(source)`, element by element."""

    output: str
    source: BufferOperand
    chain: tuple[Step, ...]
    target: Target = EVERYTHING

    @property
    def sources(self) -> tuple[BufferOperand, ...]:
        """What the first step reads."""
        return (self.source,)


@dataclass(frozen=True)
class AllGatherKernel:
    """Rows of `output` that other chips have computed come over links, and those that this one has go to all others."""

    output: str
    owners: tuple[int, ...]
    """By row: the chip that has computed it."""
    chip: int
    """This one."""
    target: ClassVar[Target] = EVERYTHING
    chain: ClassVar[tuple[Step, ...]] = ()
    sources: ClassVar[tuple[BufferOperand, ...]] = ()


Kernel = MatMulKernel | VectorKernel | AllGatherKernel


@dataclass(frozen=True)
class Sharing:
    """Where a network may be dealt out to several chips, by names of buffers."""

    gathered: tuple[tuple[str, ...], ...] = ()
    """What may be computed row by row on different chips, and is then needed by all. Of several in a row, each made of
    the one before by a fold, it is the last that has a row for every chip."""
    apart: tuple[str, ...] = ()
    """Outputs whose rows may stay on the chips that compute them."""
    stages: tuple[tuple[str, ...], ...] = ()
    """Of parts of a network that follow one another, such as layers, what others need of each: no more than this."""


@dataclass(frozen=True)
class KernelGraph:
    """Buffers, the kernels that fill them in order, and the ports of the network with the rows behind each."""

    name: str
    buffers: tuple[Buffer, ...]
    kernels: tuple[Kernel, ...]
    inputs: tuple[tuple[Port, str], ...]
    outputs: tuple[tuple[Port, BufferOperand], ...]
    constants: Mapping[str, Content] = field(default_factory=dict)
    """Buffers that no kernel fills, and what they hold: of the buffer's shape, int8, or int32 patterns."""
    states: Mapping[str, Content] = field(default_factory=dict)
    """Buffers that keep what they hold from one run of the program to the next, and what that is before the first. The
    last kernel that reads one may be followed by one that fills it anew; a kernel that writes where an index says comes
    before all that read."""
    sharing: Sharing = Sharing()

    @functools.cached_property
    def _by_name(self) -> dict[str, Buffer]:
        return {buffer.name: buffer for buffer in self.buffers}

    def buffer(self, name: str) -> Buffer:
        """The buffer of this name; KeyError when there is none."""
        return self._by_name[name]

    @functools.cached_property
    def factors(self) -> frozenset[str]:
        """The buffers that lie as weights do: something is multiplied by them, or slices are asked for their rows."""
        multiplied = {term.weights.name for term in self._terms if isinstance(term.weights, Factor)}
        return frozenset(multiplied | {term.rows.name for term in self._terms if term.rows.dealt is not None})

    @functools.cached_property
    def multiplied(self) -> frozenset[str]:
        """The buffers whose rows go to the MXM."""
        return frozenset(term.rows.name for term in self._terms)

    @functools.cached_property
    def indexed(self) -> dict[str, str]:
        """The buffers whose rows are looked up, and the indices that say which."""
        views = (view for kernel in self.kernels for view in views_of(kernel))
        return {view.name: view.indices for view in views if view.indices is not None}

    @functools.cached_property
    def scattered(self) -> dict[str, str]:
        """The buffers that take rows where an index says, and the buffer of that index."""
        targets = ((kernel.output, kernel.target.indices) for kernel in self.kernels)
        return {output: indices for output, indices in targets if indices is not None}

    @property
    def _terms(self) -> Iterator[Term]:
        return (term for kernel in self.kernels if isinstance(kernel, MatMulKernel) for term in kernel.terms)

    def verify(self) -> None:
        """Raise InternalCompilerError unless every kernel reads what is there and fits what it writes."""
        _Verifier(self).run()

    def __str__(self) -> str:
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield f"kernels {self.name}"
        for port, name in self.inputs:
            yield f"  input  {port.name} = {self._buffer_text(name)}"
        for kind, contents in (("constant", self.constants), ("state", self.states)):
            for name, content in contents.items():
                yield f"  {kind} {self._buffer_text(name)} = {_array_text(content)}"
        for kernel in self.kernels:
            head = f"  {self._buffer_text(kernel.output)}{_target_text(kernel.target)} = "
            match kernel:
                case VectorKernel():
                    head += _view_text(kernel.source)
                case MatMulKernel():
                    head += " + ".join(_term_text(term) for term in kernel.terms)
                case AllGatherKernel():
                    head += f"rows of chips {', '.join(map(str, kernel.owners))}; this is {kernel.chip}"
            yield head + "".join(f" | {_step_text(step)}" for step in kernel.chain)
        for port, view in self.outputs:
            yield f"  output {port.name} = {_view_text(view)}"

    def _buffer_text(self, name: str) -> str:
        buffer = self.buffer(name)
        return f"%{name}:{'w32' if buffer.wide else 'i8'}[{buffer.rows},{buffer.cols}]"


def padded(matrix: npt.NDArray[np.int8], lanes: int) -> npt.NDArray[np.int8]:
    """A matrix with zeros up to whole tiles of `lanes` x `lanes`."""
    whole = np.zeros([-(-size // lanes) * lanes for size in matrix.shape], np.int8)
    whole[: matrix.shape[0], : matrix.shape[1]] = matrix
    return whole


def window_bits(rows: int) -> int:
    """Of the window of SRAM that so many rows lie in, if an index is to choose from them; it counts modulo its size."""
    return (rows - 1).bit_length()


def views_of(kernel: Kernel) -> tuple[BufferOperand, ...]:
    """The rows of buffers that a kernel reads, those of indices and factors aside."""
    return (*kernel.sources, *(step.y for step in kernel.chain if isinstance(step.y, BufferOperand)))


def met_by(kernel: Kernel) -> tuple[BufferOperand, ...]:
    """Of these the ones that each element it computes meets: all but the factors of a product."""
    return views_of(kernel)[len(kernel.terms) if isinstance(kernel, MatMulKernel) else 0 :]


class _Verifier:
    """One verification: what has been written so far, by buffer, row and byte."""

    def __init__(self, graph: KernelGraph) -> None:
        self.graph = graph
        self.there = {b.name: np.zeros((b.rows, GROUP if b.wide else 1), np.bool_) for b in graph.buffers}
        for name in [*(name for _, name in graph.inputs), *graph.constants, *graph.states]:
            self.there[name][:] = True

    def run(self) -> None:
        for name, content in {**self.graph.constants, **self.graph.states}.items():
            buffer = self.graph.buffer(name)
            _require(content.shape == (buffer.rows, buffer.cols), f"the content of {name!r} is {content.shape}")
        for kernel in self.graph.kernels:
            where = f"kernel {kernel.output!r}"
            if isinstance(kernel, AllGatherKernel):
                self.gathers(kernel, where)
                continue
            target, rows = self.graph.buffer(kernel.output), kernel.target.count(self.graph.buffer(kernel.output))
            for view in kernel.sources:
                self.reads(view, rows, where)
            for view in views_of(kernel)[len(kernel.sources) :]:
                self.reads(view, rows * max(kernel.target.stacked, 1), where)
            for term in kernel.terms if isinstance(kernel, MatMulKernel) else ():
                self.multiplies(term, kernel.target.cols(target), where)
            for view in met_by(kernel):
                some = view.column is not None or view.first_column is not None
                same = some or self.graph.buffer(view.name).cols == target.cols
                _require(same, f"{where} changes the number of columns")
            for step in kernel.chain:
                arity = BY_MNEMONIC[step.mnemonic].arity
                _require(arity == (1 if step.y is None else 2), f"{where}: {step.mnemonic} takes {arity} operands")
                if isinstance(step.y, BufferOperand):
                    _require(self.graph.buffer(step.y.name).wide, f"{where} combines with int8 %{step.y.name}")
                if isinstance(step.y, LaneConstants):
                    fit = step.y.values.shape == (target.cols,) and not kernel.target.stacked
                    _require(fit, f"{where}: constants {step.y.name!r} do not fit")
            self.writes(kernel, target, where)
        for _, view in self.graph.outputs:
            _require(bool(self.there[view.name].all()), "an output is never computed")

    def gathers(self, kernel: AllGatherKernel, where: str) -> None:
        there, own = self.there[kernel.output], np.array(kernel.owners) == kernel.chip
        _require(len(own) == len(there), f"{where} has {len(own)} owners of {len(there)} rows")
        _require(bool((there.all(axis=1) == own).all()), f"{where}: not its own rows are there")
        there[:] = True

    def reads(self, view: BufferOperand, rows: int, where: str) -> None:
        read = self.graph.buffer(view.name)
        _require(view.rotate == 0 or read.wide, f"{where} turns %{view.name}, which is not 32 bits wide")
        _require(view.byte is None or read.wide, f"{where} takes a byte of %{view.name}, which is int8")
        name = view.name if view.indices is None else view.indices
        last = view.first_row + view.row_step * (rows - 1)
        _require(max(view.first_row, last) < len(self.there[name]), f"{where} has more rows than %{name}")
        wanted = self.there[name][view.first_row + view.row_step * np.arange(rows)]
        _require(bool(wanted.all()), f"{where} reads %{name} before it is there")

    def multiplies(self, term: Term, cols: int, where: str) -> None:
        source = self.graph.buffer(term.rows.name)
        _require(not source.wide or term.rows.byte is not None, f"{where} multiplies a buffer that is not int8")
        match term.weights:
            case Factor(name) as part:
                factor = self.graph.buffer(name)
                _require(not factor.wide, f"{where} multiplies by a buffer that is not int8")
                _require(bool(self.there[name].all()), f"{where} reads %{name} before it is there")
                used = factor.rows if part.rows is None else part.rows
                _require(used <= factor.rows, f"{where} multiplies by more rows than %{name} has")
                shapes = {(factor.cols, used) if part.transposed else (used, factor.cols)}
                if part.columns is not None:
                    # Some of its columns: placement would find none beyond the last.
                    shapes = {(rows, cols) for rows, _ in shapes}
            case matrices:
                shapes = {weights.shape for weights in matrices}
        _require(shapes == {(source.cols, cols)}, f"{where} has weights of shapes {shapes}")

    def writes(self, kernel: Kernel, target: Buffer, where: str) -> None:
        _require(kernel.target.byte is None or target.wide, f"{where} writes a byte of int8 elements")
        members = kernel.target.members(target)
        _require(members.stop - members.step < target.rows, f"{where} writes beyond its last row")
        stacks = isinstance(kernel, MatMulKernel) or not kernel.target.stacked
        _require(stacks, f"{where} stacks columns of no product")
        which = slice(None) if kernel.target.byte is None else kernel.target.byte
        written = self.there[target.name][members, which]
        state = target.name in self.graph.states
        if kernel.target.indices is not None:
            _require(state, f"{where} writes by an index, but %{target.name} is no state")
            self.reads(BufferOperand(kernel.target.indices), kernel.target.count(target), where)
        _require(state or not written.any(), f"{where} is computed twice")
        written[:] = True


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
        case OtherSums(number):
            return f"{step.mnemonic} sums of plane {number}"


def _view_text(view: BufferOperand) -> str:
    text = f"%{view.name}" + ("" if view.byte is None else f" byte {view.byte}")
    text += "" if view.indices is None else f" at %{view.indices}"
    text += "" if view.dealt is None else f" of feeder {view.dealt}"
    text += f" from row {view.first_row}" if view.first_row else ""
    text += f" by {view.row_step}" if view.row_step != 1 else ""
    text += "" if view.column is None else f" column {view.column}"
    text += "" if view.first_column is None else f" from column {view.first_column}"
    return text + (f" turned by {view.rotate}" if view.rotate else "")


def _target_text(target: Target) -> str:
    if target == EVERYTHING:
        return ""
    rows = "" if target.rows is None else f" rows {target.first_row} by {target.row_step}, {target.rows} of them"
    rows += f" stacked by {target.stacked}" if target.stacked else ""
    rows += "" if target.indices is None else f" at %{target.indices}"
    return rows + ("" if target.byte is None else f" byte {target.byte}")


def _term_text(term: Term) -> str:
    match term.weights:
        case Factor(name, transposed, rows=some):
            texts = [f"%{name}{'' if some is None else f' rows to {some}'}{' transposed' if transposed else ''}"]
        case matrices:
            texts = [_array_text(weights) for weights in matrices]
    return " + ".join(f"{_view_text(term.rows)} @ {text}" for text in texts)


def _array_text(array: npt.NDArray[np.generic]) -> str:
    return f"{array.dtype}{list(array.shape)}#{crc32(array.tobytes()):08x}"
