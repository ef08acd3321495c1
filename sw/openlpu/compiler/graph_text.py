# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A graph as text, for people and for comparing two graphs: equal texts mean equal graphs."""

from collections.abc import Iterator
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from openlpu.compiler.graph import (
    INT8_MAX,
    INT8_MIN,
    Add,
    ConstantTensor,
    FloatStep,
    Graph,
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
    Tensor,
    Unary,
    operands,
)


def lines(graph: Graph) -> Iterator[str]:
    """The text of a graph, line by line: ports, operations in order, notes."""
    yield f"graph {graph.name}"
    for port in graph.inputs:
        yield f"  input  {port.name}: {port.dtype}{list(port.shape)} -> %{port.tensor}"
    tensors = {tensor.name: tensor for tensor in graph.tensors}
    for port in graph.inputs:
        yield f"  {_tensor_text(tensors[port.tensor])}"
    for op in graph.ops:
        yield f"  {_tensor_text(tensors[op.output])} = {_op_text(op)}"
    for port in graph.outputs:
        yield f"  output {port.name}: {port.dtype}{list(port.shape)} <- %{port.tensor}"
    for note in graph.notes:
        yield f"  note   {note}"


def _tensor_text(tensor: Tensor) -> str:
    meaning = "" if tensor.scale is None else f" scale={tensor.scale!s} zero={tensor.zero_point}"
    return f"%{tensor.name}: {tensor.dtype}{list(tensor.shape)}{meaning}"


def _op_text(op: Op) -> str:
    reads = ", ".join(f"%{name}" for name in operands(op))
    match op:
        case MatMul():
            weights = " + ".join(_array_text(w) for w in op.weights)
            bias = "" if op.bias is None else f", bias={_array_text(op.bias)}"
            return f"matmul %{op.input}, weights={weights}{bias}, {_finish_text(op.requant, op.steps)}"
        case Product():
            rhs = f"(%{op.rhs} - {op.rhs_zero_point}){' transposed' if op.transposed else ''}"
            return f"product (%{op.lhs} - {op.lhs_zero_point}) @ {rhs}, {_finish_text(op.requant, op.steps)}"
        case Pointwise():
            return f"pointwise %{op.input} - {op.input_zero_point}, {_finish_text(op.requant, op.steps)}"
        case Reduce():
            return f"reduce {reads} by {op.function}"
        case Rearrange():
            return f"rearrange {reads} by {_array_text(op.source)}"
        case Lookup():
            return f"lookup {_array_text(op.table)} at {reads}"
        case ConstantTensor():
            return f"constant {_array_text(op.values)}"
        case Unary():
            return f"unary {reads} - {op.input_zero_point}, {_requantise_text(op.requant)}"
        case Add():
            offset = "" if op.offset is None else f" + {op.offset!s}"
            terms = (
                f"(%{op.lhs} - {op.lhs_zero_point}) * {op.lhs_multiplier!s}"
                f" + ((%{op.rhs} - {op.rhs_zero_point}) * {op.rhs_multiplier!s}{offset})"
            )
            return f"add {terms}, {_requantise_text(op.requant)}"
        case Mul():
            terms = f"(%{op.lhs} - {op.lhs_zero_point}) * (%{op.rhs} - {op.rhs_zero_point})"
            return f"mul {terms}, {_requantise_text(op.requant)}"
        case Reshape():
            return f"reshape {reads}"


def _finish_text(requant: Requantise | None, steps: tuple[FloatStep, ...]) -> str:
    texts = [_step_text(step) for step in steps] + ([] if requant is None else [_requantise_text(requant)])
    return " | ".join(texts) or "as it is"


def _step_text(step: FloatStep) -> str:
    match step.operand:
        case None:
            return step.function
        case str():
            return f"{step.function} %{step.operand}"
        case constant:
            return f"{step.function} {_array_text(constant)}"


def _requantise_text(requant: Requantise) -> str:
    factors = "".join(f" * {_array_text(m)}" for m in requant.multipliers)
    offset = "" if requant.offset is None else f" + {_array_text(requant.offset)}"
    clamp = "" if (requant.lo, requant.hi) == (INT8_MIN, INT8_MAX) else f" clamp [{requant.lo}, {requant.hi}]"
    return f"int8(round(.{factors}{offset}) + {requant.zero_point}){clamp}"


def _array_text(array: NDArray[Any]) -> str:
    # A checksum pins the contents without printing them: equal dumps then mean equal graphs.
    if array.ndim == 0:
        return str(array[()])
    shape = "x".join(str(size) for size in array.shape)
    return f"{array.dtype}[{shape}]#{crc32(np.ascontiguousarray(array).tobytes()):08x}"
