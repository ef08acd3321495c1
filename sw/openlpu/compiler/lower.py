# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Lowering: operations of the graph become kernels that this chip's MXM and VXM can stream."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from openlpu.arch.config import GROUP, ChipConfig, OpClass, Source
from openlpu.arch.isa import BY_MNEMONIC
from openlpu.arch.numerics import to_bits
from openlpu.compiler.chain import map_chain, split_chain
from openlpu.compiler.errors import CompileError
from openlpu.compiler.graph import (
    INT8_MAX,
    INT8_MIN,
    Add,
    ConstantTensor,
    Float32Array,
    FloatStep,
    Graph,
    Int8Array,
    Int32Array,
    Lookup,
    MatMul,
    Mul,
    Op,
    Pointwise,
    Product,
    Rearrange,
    Reduce,
    Requantise,
    Reshape,
    Unary,
)
from openlpu.compiler.kernels import (
    EVERYTHING,
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
    Step,
    Target,
    Term,
    VectorKernel,
)
from openlpu.compiler.rearrange import Selection, Transposition, selections, transposition
from openlpu.compiler.rearrange import Source as Origin

NOTHING_MORE = Immediate(0)
"""An integer that changes no sum."""
_MINUS_INFINITY = -0x0080_0000
"""Its pattern, as an int32."""
_NEGATE, _NEGATE_BY_PRODUCT = Step("xor", Immediate(-(2**31))), Step("fmul", Immediate.of_float(-1.0))
"""The other sign, of any number."""


def lower(graph: Graph, config: ChipConfig) -> KernelGraph:
    """Lower a verified graph to kernels whose chains all map onto the VXM of `config`.

    Raises:
        CompileError: when the VXM lacks an operation, by name.
    """
    lowering = _Lowering(graph, config)
    for op in graph.ops:
        lowering.op(op)
    return lowering.result()


def requantise_steps(name: str, requant: Requantise, addend: Operand = NOTHING_MORE) -> list[Step]:
    """From int32, of which `addend` is still missing, to int8: the order of operations that `openlpu.compiler.graph`
    defines, the clamp taken in fp32."""
    steps = [Step("i2f", addend)]
    for i, multiplier in enumerate(requant.multipliers):
        steps.append(Step("fmul", _constant(f"{name}.multiplier{i}", multiplier)))
    if requant.offset is not None:
        steps.append(Step("fadd", _constant(f"{name}.offset", requant.offset)))
    if requant.lo > INT8_MIN:
        steps.append(Step("fmax", Immediate.of_float(requant.lo - requant.zero_point)))
    if requant.hi < INT8_MAX:
        steps.append(Step("fmin", Immediate.of_float(requant.hi - requant.zero_point)))
    return [*steps, Step("f2i", Immediate(requant.zero_point))]


def _to_float(zero_point: int) -> Step:
    return Step("i2f", Immediate(-zero_point))


def _constant(name: str, values: npt.NDArray[np.float32] | npt.NDArray[np.int32]) -> Operand:
    """A constant of any number, or one a lane, as 32-bit patterns."""
    patterns = np.ascontiguousarray(values).view(np.int32)
    return Immediate(int(patterns.item())) if values.size == 1 else LaneConstants(name, patterns)


def _in_instructions(mnemonic: str, config: ChipConfig) -> bool:
    """Whether an ALU for an operation takes an immediate."""
    op_class = BY_MNEMONIC[mnemonic].op_class
    return any(Source.IMMEDIATE in alu.y for alu in config.alus if op_class in alu.classes)


class _Lowering:
    def __init__(self, graph: Graph, config: ChipConfig) -> None:
        self.graph, self.config = graph, config
        self.buffers: list[Buffer] = []
        self.kernels: list[Kernel] = []
        self.constants: dict[str, Content] = {}
        self.reduced = graph.reduced()
        self.views: dict[str, BufferOperand] = {}
        """Where each tensor is: not always in a buffer of its own."""
        for port in graph.inputs:
            self.declare(port.tensor)

    # Buffers

    def declare(self, tensor_name: str) -> str:
        """A buffer for a tensor."""
        tensor = self.graph.tensor(tensor_name)
        cols = 2 if tensor.dtype == "index" else tensor.lanes
        self.buffers.append(Buffer(tensor_name, tensor.rows, cols, tensor.dtype in ("int32", "float32")))
        # A reduced tensor has its one element in every lane.
        self.views[tensor_name] = BufferOperand(tensor_name, column=0 if tensor_name in self.reduced else None)
        return tensor_name

    def buffer(self, name: str, rows: int, cols: int, *, wide: bool, turned: bool = False) -> str:
        """A buffer for something that is no tensor."""
        self.buffers.append(Buffer(name, rows, cols, wide, turned))
        return name

    def temporary(self, name: str, output: str) -> str:
        """A 32-bit buffer as large as the tensor `output`."""
        tensor = self.graph.tensor(output)
        return self.buffer(name, tensor.rows, tensor.lanes, wide=True)

    def constant(self, name: str, content: Content) -> str:
        """A buffer that is there from the start."""
        rows, cols = content.shape
        self.constants[name] = content
        return self.buffer(name, rows, cols, wide=content.dtype == np.int32)

    # Operations

    def op(self, op: Op) -> None:
        match op:
            case Reshape():
                self.views[op.output] = self.views[op.input]
            case MatMul():
                bias = NOTHING_MORE if op.bias is None else _constant(f"{op.output}.bias", op.bias)
                steps = self.finish(op, bias)
                self.products(op.output, [((Term(self.views[op.input], op.weights),), EVERYTHING)], steps)
            case Product():
                self.product(op)
            case Unary():
                steps = requantise_steps(op.output, op.requant, Immediate(-op.input_zero_point))
                self.vector(op.output, self.views[op.input], steps)
            case Pointwise():
                self.pointwise(op)
            case Add():
                self.add(op)
            case Mul():
                self.mul(op)
            case Reduce():
                self.reduce(op)
            case Rearrange():
                self.rearrange(op)
            case Lookup():
                self.look_up(op)
            case ConstantTensor():
                tensor = self.graph.tensor(op.output)
                self.constant(op.output, _content(op.values).reshape(tensor.rows, tensor.lanes))
                self.views[op.output] = BufferOperand(op.output)

    def pointwise(self, op: Pointwise) -> None:
        steps = self.float_steps(op.output, op.steps)
        if self.graph.tensor(op.input).dtype != "float32":
            steps = [_to_float(op.input_zero_point), *steps]
        if op.requant is not None:
            steps += requantise_steps(op.output, op.requant)[1:]
        self.vector(op.output, self.views[op.input], steps)

    def add(self, op: Add) -> None:
        rhs = [_to_float(op.rhs_zero_point), Step("fmul", Immediate.of_float(op.rhs_multiplier))]
        if op.offset is not None:
            rhs.append(Step("fadd", Immediate.of_float(op.offset)))
        addend = self.wide_temporary(op.output, self.views[op.rhs], rhs)
        lhs = [_to_float(op.lhs_zero_point), Step("fmul", Immediate.of_float(op.lhs_multiplier))]
        # Of the requantisation only what follows the sum is left: it has no multipliers of its own.
        tail = requantise_steps(op.output, op.requant)[1:]
        self.vector(op.output, self.views[op.lhs], [*lhs, Step("fadd", addend), *tail])

    def mul(self, op: Mul) -> None:
        # Floats, too, hold the product of two int8 numbers less their zero points exactly.
        factor = self.wide_temporary(op.output, self.views[op.rhs], [_to_float(op.rhs_zero_point)])
        product = [_to_float(op.lhs_zero_point), Step("fmul", factor)]
        self.vector(op.output, self.views[op.lhs], [*product, *requantise_steps(op.output, op.requant)[1:]])

    def reduce(self, op: Reduce) -> None:
        """Columns onto one another, then the lanes of that one column round and round."""
        if not self.config.sxm_rotates:
            raise CompileError(
                f"'{op.output}': the SXM of config '{self.config.name}' turns no 32-bit elements, which a reduction of "
                f"'{op.input}' over lanes needs; set its 'sxm_rotates'"
            )
        tensor, lanes, source = self.graph.tensor(op.input), self.config.lanes, self.views[op.input]
        columns = -(-tensor.lanes // lanes)

        def column(number: int) -> BufferOperand:
            return dataclasses.replace(source, column=number)

        def into(name: str, view: BufferOperand, steps: list[Step]) -> BufferOperand:
            for i, part in enumerate(self.parts(op.output, steps)):
                target = self.buffer(f"{op.output}.{name}.part{i}", tensor.rows, lanes, wide=True, turned=True)
                self.kernels.append(VectorKernel(target, view, part))
                view = BufferOperand(target, column=0)
            return view

        used = tensor.lanes - (columns - 1) * lanes
        steps = [Step(op.function, column(number)) for number in range(columns - 1)]
        if used < lanes:
            # What stands beyond the last column must not count.
            inside = np.arange(lanes) < used
            nothing = np.where(inside, 0, _MINUS_INFINITY if op.function == "fmax" else 0).astype(np.int32)
            mask = LaneConstants(f"{op.output}.inside", np.where(inside, -1, 0).astype(np.int32))
            outside = [Step("or", LaneConstants(f"{op.output}.outside", nothing))] if nothing.any() else []
            steps = [Step("and", mask), *outside, *steps]
        combined = into("columns", column(columns - 1), steps) if steps else column(0)
        turns = list(_turns(lanes, overlap=op.function == "fmax"))
        views = {1: combined}
        count = 1
        for i, (added, distance) in enumerate(turns):
            turned = Step(op.function, dataclasses.replace(views[count], rotate=distance))
            count += added
            if i == len(turns) - 1:
                self.vector(op.output, views[added], [turned])
            else:
                views[count] = into(f"turn{i}", views[added], [turned])

    def look_up(self, op: Lookup) -> None:
        name = self.constant(f"{op.output}.table", _content(op.table))
        self.vector(op.output, BufferOperand(name, indices=self.views[op.indices].name), [])

    # Products

    def product(self, op: Product) -> None:
        """Every right-hand matrix is laid out as weights; zero points become products with constants."""
        if op.transposed and not self.config.mxm_transposes:
            raise CompileError(
                f"'{op.output}': the MXM of config '{self.config.name}' loads no weights as columns, so it cannot "
                f"multiply by the transpose of '{op.rhs}', which is computed; set its 'mxm_transposes'"
            )
        lhs, rhs = (self.graph.tensor(name) for name in (op.lhs, op.rhs))
        depth, tall = lhs.lanes, rhs.shape[-2]
        columns = tall if op.transposed else rhs.lanes
        m = lhs.shape[-2] if len(lhs.shape) > 1 else 1
        bias = depth * op.lhs_zero_point * op.rhs_zero_point
        rest = _matrices(-op.rhs_zero_point, (depth, columns)) if op.rhs_zero_point else ()
        shifts = [
            self.constant(f"{op.output}.zero{i}", matrix)
            for i, matrix in enumerate(_matrices(-op.lhs_zero_point, (1, depth)) if op.lhs_zero_point else ())
        ]
        # Where rows become columns of the array, the lanes behind the last one are multiplied, too.
        mask = LaneConstants(f"{op.output}.inside", np.full(rhs.lanes, -1, np.int32))
        layout = [Step("and", mask)] if op.transposed and rhs.lanes % self.config.lanes else []
        passes = []
        for number in range(lhs.rows // m):
            factor = Factor(f"{op.output}.factor{number}", op.transposed)
            self.buffer(factor.name, tall, rhs.lanes, wide=False)
            (part,) = self.parts(op.output, layout)
            self.kernels.append(VectorKernel(factor.name, _from(self.views[op.rhs], number * tall), part))
            rows = _from(self.views[op.lhs], number * m)
            terms = [Term(rows, factor), *(Term(BufferOperand(name, row_step=0), factor) for name in shifts)]
            terms += [Term(rows, rest)] if rest else []
            passes.append((tuple(terms), Target(number * m, 1, m)))
        self.products(op.output, passes, self.finish(op, Immediate(bias)))

    def finish(self, op: MatMul | Product, addend: Operand) -> list[Step]:
        """From int32 sums, of which `addend` is still missing, to the output."""
        if op.steps:
            tail = [] if op.requant is None else requantise_steps(op.output, op.requant)[1:]
            return [Step("i2f", addend), *self.float_steps(op.output, op.steps), *tail]
        if op.requant is not None:
            return requantise_steps(op.output, op.requant, addend)
        return [] if addend == NOTHING_MORE else [Step("iadd", addend)]

    def products(self, output: str, passes: Sequence[tuple[tuple[Term, ...], Target]], steps: list[Step]) -> None:
        """Products for the rows of an output, each followed by `steps`."""
        first, *rest = self.parts(output, steps, from_sram=False)
        name = self.temporary(f"{output}.part0", output) if rest else self.declare(output)
        for terms, target in passes:
            chain = tuple(_moved(step, target.first_row) for step in first)
            self.kernels.append(MatMulKernel(name, terms, chain, target))
        if rest:
            self.vector_parts(output, BufferOperand(name), rest, number=1)

    # Moves

    def rearrange(self, op: Rearrange) -> None:
        out = self.graph.tensor(op.output)
        source = op.source.reshape(out.rows, out.lanes)
        tensors = [self.graph.tensor(name) for name in op.inputs]
        shapes = [(tensor.rows, tensor.lanes) for tensor in tensors]
        turned = transposition(source, shapes) if self.config.mxm_transposes else None
        if turned is not None:
            self.transpose(op, turned)
            return
        moves = selections(source, shapes)
        if len(moves) == 1 and _whole(moves[0]) and moves[0].sources[0].rows.step == 1:
            (origin,) = moves[0].sources
            self.views[op.output] = _from(self.views[op.inputs[origin.number]], origin.rows.first)
            return
        target = self.declare(op.output)
        for move in moves:
            self.select(op, move, target)

    def select(self, op: Rearrange, move: Selection, target: str) -> None:
        """Rows through the VXM where they are whole, and through the MXM, byte by byte, where they are not."""
        rows = Target(move.target.first, move.target.step, move.count)
        views = [
            _from(self.views[op.inputs[source.number]], source.rows.first, source.rows.step) for source in move.sources
        ]
        if _whole(move):
            (part,) = self.parts(op.output, [])
            self.kernels.append(VectorKernel(target, views[0], part, rows))
            return
        for byte in self.bytes_of(op.output):
            terms = tuple(
                Term(dataclasses.replace(view, byte=byte, column=None), (_selector(source, self.graph, op),))
                for view, source in zip(views, move.sources, strict=True)
            )
            (part,) = self.parts(op.output, [])
            self.kernels.append(MatMulKernel(target, terms, part, dataclasses.replace(rows, byte=byte)))

    def transpose(self, op: Rearrange, turned: Transposition) -> None:
        """Rows of the identity meet rows of the matrix, loaded as columns."""
        target, view = self.declare(op.output), self.views[op.inputs[0]]
        identity = BufferOperand(self.constant(f"{op.output}.identity", np.eye(turned.cols, dtype=np.int8)))
        mask = LaneConstants(f"{op.output}.inside", np.full(turned.cols, -1, np.int32))
        layout = [Step("and", mask)] if turned.cols % self.config.lanes else []
        (laid_out,), (straight,) = self.parts(op.output, layout), self.parts(op.output, [])
        for byte in self.bytes_of(op.output):
            for number in range(turned.matrices):
                factor = Factor(f"{op.output}.factor{number}" + ("" if byte is None else f".byte{byte}"), True)
                self.buffer(factor.name, turned.rows, turned.cols, wide=False)
                rows = dataclasses.replace(_from(view, number * turned.rows), byte=byte)
                self.kernels.append(VectorKernel(factor.name, rows, laid_out))
                goal = Target(number * turned.cols, 1, turned.cols, byte)
                self.kernels.append(MatMulKernel(target, (Term(identity, factor),), straight, goal))

    def bytes_of(self, tensor: str) -> Iterable[int | None]:
        """The bytes of an element, as the MXM takes them one by one."""
        return range(GROUP) if self.graph.tensor(tensor).dtype in ("int32", "float32") else (None,)

    # Chains

    def float_steps(self, output: str, steps: Sequence[FloatStep]) -> list[Step]:
        lowered = []
        for i, step in enumerate(steps):
            match step.operand:
                case None:
                    operand: Operand | None = None
                case str():
                    operand = self.views[step.operand]
                case constant:
                    operand = _constant(f"{output}.step{i}", constant)
            lowered.append(Step(step.function, operand))
        if any(OpClass.INT in alu.classes for alu in self.config.alus):
            return lowered
        return [_NEGATE_BY_PRODUCT if step == _NEGATE else step for step in lowered]

    def vector(self, output: str, source: BufferOperand, steps: list[Step]) -> None:
        self.vector_parts(output, source, self.parts(output, steps), number=0)

    def vector_parts(self, output: str, source: BufferOperand, parts: Sequence[tuple[Step, ...]], number: int) -> None:
        column = 0 if output in self.reduced else None
        for i, part in enumerate(parts[:-1]):
            target = self.temporary(f"{output}.part{number + i}", output)
            self.kernels.append(VectorKernel(target, source, part))
            source = BufferOperand(target, column=column)
        self.kernels.append(VectorKernel(self.declare(output), source, parts[-1]))

    def wide_temporary(self, output: str, source: BufferOperand, steps: list[Step]) -> BufferOperand:
        """A 32-bit buffer with the result of `steps` on `source`."""
        for i, part in enumerate(self.parts(output, steps)):
            target = self.temporary(f"{output}.rhs{i}", output)
            self.kernels.append(VectorKernel(target, source, part))
            source = BufferOperand(target)
        return source

    def parts(self, output: str, steps: list[Step], *, from_sram: bool = True) -> list[tuple[Step, ...]]:
        steps = [self.with_operand(step) for step in steps]
        parts = split_chain(steps, self.config, from_sram=from_sram)
        if parts is not None:
            return parts
        lonely = [step.mnemonic for step in steps if map_chain([step], self.config) is None]
        raise CompileError(
            f"'{output}': the VXM of config '{self.config.name}' cannot execute "
            f"{', '.join(sorted(set(lonely))) or 'a pass'} from stream to stream; give its ALUs that class"
        )

    def with_operand(self, step: Step) -> Step:
        """A step whose second operand comes from SRAM if it is the same everywhere and no ALU takes it inside."""
        if not isinstance(step.y, Immediate) or _in_instructions(step.mnemonic, self.config):
            return step
        name = f"everywhere.{step.y.bits & 0xFFFFFFFF:08x}"
        if name not in self.constants:
            pattern = np.array(step.y.bits & 0xFFFFFFFF, np.uint32).view(np.int32)
            self.constant(name, np.full((1, self.config.lanes), pattern))
        return Step(step.mnemonic, BufferOperand(name, row_step=0, column=0))

    def result(self) -> KernelGraph:
        return KernelGraph(
            self.graph.name,
            tuple(self.buffers),
            tuple(self.kernels),
            tuple((port, port.tensor) for port in self.graph.inputs),
            tuple((port, self.views[port.tensor]) for port in self.graph.outputs),
            self.constants,
        )


def _turns(lanes: int, *, overlap: bool) -> Iterable[tuple[int, int]]:
    """How a combination of one lane grows into one of all `lanes`, by (how many lanes the combination to be added has,
    by how much the grown one is turned first): doubling, with single lanes in between unless lanes may count twice."""
    count = 1
    if overlap:
        while count < lanes:
            yield count, count
            count *= 2
        return
    for bit in f"{lanes:b}"[1:]:
        yield count, count
        count *= 2
        if bit == "1":
            yield 1, 1
            count += 1


def _matrices(value: int, shape: tuple[int, int]) -> tuple[Int8Array, ...]:
    """Int8 matrices whose sum is `value` everywhere."""
    matrices: list[Int8Array] = []
    while value or not matrices:
        part = min(max(value, INT8_MIN), INT8_MAX)
        matrices.append(np.full(shape, part, np.int8))
        value -= part
    return tuple(matrices)


def _content(values: Int8Array | Int32Array | Float32Array) -> Content:
    """What a buffer holds: floats as their patterns."""
    if values.dtype == np.float32:
        return to_bits(values.astype(np.float32, copy=False))
    return values.astype(np.int8) if values.dtype == np.int8 else values.astype(np.int32)


def _selector(source: Origin, graph: Graph, op: Rearrange) -> Int8Array:
    lanes = graph.tensor(op.inputs[source.number]).lanes
    return np.eye(lanes, dtype=np.int8) if source.matrix is None else source.matrix


def _whole(move: Selection) -> bool:
    return len(move.sources) == 1 and move.sources[0].matrix is None


def _from(view: BufferOperand, first: int, step: int = 1) -> BufferOperand:
    """Rows `first`, `first + step`, ... of a view."""
    return dataclasses.replace(view, first_row=view.first_row + view.row_step * first, row_step=view.row_step * step)


def _moved(step: Step, rows: int) -> Step:
    """The step for rows that lie further by `rows`."""
    return Step(step.mnemonic, _from(step.y, rows)) if isinstance(step.y, BufferOperand) else step
