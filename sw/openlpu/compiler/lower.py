# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Lowering: operations of the graph become kernels that this chip's MXM and VXM can stream."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from openlpu.arch.config import ChipConfig
from openlpu.arch.numerics import to_bits
from openlpu.compiler.chain import map_chain, split_chain
from openlpu.compiler.errors import CompileError
from openlpu.compiler.graph import INT8_MAX, INT8_MIN, Add, Graph, MatMul, Mul, Requantise, Reshape, Unary
from openlpu.compiler.kernels import (
    Buffer,
    BufferOperand,
    Immediate,
    Kernel,
    KernelGraph,
    LaneConstants,
    MatMulKernel,
    Operand,
    Step,
    VectorKernel,
)


def lower(graph: Graph, config: ChipConfig) -> KernelGraph:
    """Lower a verified graph to kernels whose chains all map onto the VXM of `config`.

    Raises:
        CompileError: when the VXM lacks an operation, by name.
    """
    lowering = _Lowering(graph, config)
    for op in graph.ops:
        lowering.op(op)
    return lowering.result()


def requantise_steps(name: str, requant: Requantise) -> list[Step]:
    """From int32 to int8: the order of operations that `openlpu.compiler.graph` defines, the clamp taken in fp32."""
    steps = [Step("i2f")]
    for i, multiplier in enumerate(requant.multipliers):
        steps.append(Step("fmul", _constant(f"{name}.multiplier{i}", multiplier)))
    if requant.offset is not None:
        steps.append(Step("fadd", _constant(f"{name}.offset", requant.offset)))
    if requant.lo > INT8_MIN:
        steps.append(Step("fmax", _float(requant.lo - requant.zero_point)))
    if requant.hi < INT8_MAX:
        steps.append(Step("fmin", _float(requant.hi - requant.zero_point)))
    return [*steps, Step("f2i"), *_plus(requant.zero_point)]


def _float(value: npt.ArrayLike) -> Immediate:
    return Immediate(int(to_bits(np.array(value, np.float32))))


def _constant(name: str, values: npt.NDArray[np.float32]) -> Operand:
    return _float(values[()]) if values.ndim == 0 else LaneConstants(name, to_bits(values))


def _plus(offset: int) -> list[Step]:
    return [Step("iadd", Immediate(offset))] if offset else []


class _Lowering:
    def __init__(self, graph: Graph, config: ChipConfig) -> None:
        self.graph, self.config = graph, config
        self.buffers: list[Buffer] = []
        self.kernels: list[Kernel] = []
        # A reshape moves nothing: its output is another name of the same buffer.
        self.alias: dict[str, str] = {}
        for port in graph.inputs:
            self.declare(port.tensor)

    def declare(self, tensor_name: str) -> str:
        tensor = self.graph.tensor(tensor_name)
        self.buffers.append(Buffer(tensor_name, tensor.rows, tensor.lanes, tensor.dtype == "int32"))
        return tensor_name

    def source(self, tensor_name: str) -> str:
        return self.alias.get(tensor_name, tensor_name)

    def op(self, op: MatMul | Unary | Add | Mul | Reshape) -> None:
        match op:
            case Reshape():
                self.alias[op.output] = self.source(op.input)
            case MatMul():
                self.matmul(op)
            case Unary():
                steps = [*_plus(-op.input_zero_point), *requantise_steps(op.output, op.requant)]
                self.vector(op.output, self.source(op.input), steps)
            case Add():
                self.add(op)
            case Mul():
                self.mul(op)

    def matmul(self, op: MatMul) -> None:
        steps = [] if op.bias is None else [Step("iadd", LaneConstants(f"{op.output}.bias", op.bias))]
        if op.requant is not None:
            steps += requantise_steps(op.output, op.requant)
        first, *rest = self.parts(op.output, steps)
        source, weights = self.source(op.input), op.weights
        if not rest:
            self.kernels.append(MatMulKernel(self.declare(op.output), source, weights, first))
            return
        spilled = self.temporary(f"{op.output}.part0", op.output)
        self.kernels.append(MatMulKernel(spilled, source, weights, first))
        self.vector_parts(op.output, spilled, rest, number=1)

    def add(self, op: Add) -> None:
        rhs = [*_plus(-op.rhs_zero_point), Step("i2f"), Step("fmul", _float(op.rhs_multiplier))]
        if op.offset is not None:
            rhs.append(Step("fadd", _float(op.offset)))
        addend = self.wide_temporary(op.output, self.source(op.rhs), rhs)
        lhs = [*_plus(-op.lhs_zero_point), Step("i2f"), Step("fmul", _float(op.lhs_multiplier))]
        # Of the requantisation only what follows the sum is left: it has no multipliers of its own.
        tail = requantise_steps(op.output, op.requant)[1:]
        self.vector(op.output, self.source(op.lhs), [*lhs, Step("fadd", BufferOperand(addend)), *tail])

    def mul(self, op: Mul) -> None:
        rhs = self.source(op.rhs)
        factor = self.wide_temporary(op.output, rhs, _plus(-op.rhs_zero_point)) if op.rhs_zero_point else rhs
        product = [*_plus(-op.lhs_zero_point), Step("imul", BufferOperand(factor))]
        self.vector(op.output, self.source(op.lhs), [*product, *requantise_steps(op.output, op.requant)])

    def vector(self, output: str, source: str, steps: list[Step]) -> None:
        self.vector_parts(output, source, self.parts(output, steps), number=0)

    def vector_parts(self, output: str, source: str, parts: Sequence[tuple[Step, ...]], number: int) -> None:
        for i, part in enumerate(parts[:-1]):
            target = self.temporary(f"{output}.part{number + i}", output)
            self.kernels.append(VectorKernel(target, BufferOperand(source), part))
            source = target
        self.kernels.append(VectorKernel(self.declare(output), BufferOperand(source), parts[-1]))

    def wide_temporary(self, output: str, source: str, steps: list[Step]) -> str:
        """A 32-bit buffer with the result of `steps` on `source`."""
        name = f"{output}.rhs"
        for i, part in enumerate(self.parts(output, steps)):
            target = self.temporary(f"{name}{i}", output)
            self.kernels.append(VectorKernel(target, BufferOperand(source), part))
            source = target
        return source

    def temporary(self, name: str, output: str) -> str:
        tensor = self.graph.tensor(output)
        self.buffers.append(Buffer(name, tensor.rows, tensor.lanes, wide=True))
        return name

    def parts(self, output: str, steps: list[Step]) -> list[tuple[Step, ...]]:
        parts = split_chain(steps, self.config)
        if parts is not None:
            return parts
        lonely = [step.mnemonic for step in steps if map_chain([step], self.config) is None]
        raise CompileError(
            f"'{output}': the VXM of config '{self.config.name}' cannot execute "
            f"{', '.join(sorted(set(lonely))) or 'a pass'} from stream to stream; give its ALUs that class"
        )

    def result(self) -> KernelGraph:
        return KernelGraph(
            self.graph.name,
            tuple(self.buffers),
            tuple(self.kernels),
            tuple((port, self.source(port.tensor)) for port in self.graph.inputs),
            tuple((port, self.source(port.tensor)) for port in self.graph.outputs),
        )
