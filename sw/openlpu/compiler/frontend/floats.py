# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Blocks of which float operators are made: chains on tensors, sums and maxima of rows, two operands that broadcast.

Everything here works on float32 tensors by name, and returns the name of the one it computed.
"""

from collections.abc import Sequence
from math import prod
from typing import Literal, TypeAlias

import numpy as np

from openlpu.compiler.frontend.network import Network
from openlpu.compiler.frontend.nodes import UnsupportedError
from openlpu.compiler.frontend.parameters import number_or_lanes
from openlpu.compiler.frontend.values import Constant, DequantisedConstant, Value
from openlpu.compiler.graph import (
    ConstantTensor,
    Float32Array,
    FloatFunction,
    FloatStep,
    Pointwise,
    Rearrange,
    Reduce,
    Tensor,
)

Operand: TypeAlias = str | Float32Array
"""A float32 tensor by name, or a constant of any shape."""
BinaryFunction: TypeAlias = Literal["fadd", "fsub", "fmul", "fmax", "fmin", "and", "or"]

NEGATE = FloatStep("xor", np.asarray(-(2**31), np.int32))
"""The other sign."""
MAGNITUDE = FloatStep("and", np.asarray(2**31 - 1, np.int32))
"""Without its sign."""
SIGN = FloatStep("and", np.asarray(-(2**31), np.int32))
"""The sign alone, of a zero."""


def step(function: FloatFunction, operand: float | str | None = None) -> FloatStep:
    """A step whose operand is one float32 number or a tensor."""
    return FloatStep(function, np.asarray(operand, np.float32) if isinstance(operand, int | float) else operand)


def pointwise(net: Network, name: str, source: str, steps: Sequence[FloatStep], zero_point: int = 0) -> str:
    """Tensor `name`: a chain on every element of `source`, which may hold codes."""
    shape = net.tensors[source].shape
    net.emit(Pointwise(name, source, zero_point, tuple(steps), None), Tensor(name, shape, "float32", "float32"))
    return name


def reduce_rows(net: Network, name: str, source: str, function: Literal["fadd", "fmax"]) -> str:
    """Tensor `name`: the sum or maximum of every row, in a last dimension of 1."""
    shape = (*net.tensors[source].shape[:-1], 1)
    net.emit(Reduce(name, source, function), Tensor(name, shape, "float32", "float32"))
    return name


def combine(
    net: Network, name: str, function: BinaryFunction, lhs: Operand, rhs: Operand, shape: tuple[int, ...]
) -> str:
    """Tensor `name`: `function` of two operands that broadcast to `shape` together; one at least is a tensor."""
    first: list[FloatStep] = []
    if not isinstance(lhs, str) or (_is_whole(net, rhs, shape) and not _is_whole(net, lhs, shape)):
        # The first operand of a chain is a tensor of its shape; in a difference it then changes its sign.
        lhs, rhs = rhs, lhs
        if function == "fsub":
            first, function = [NEGATE], "fadd"
    if not isinstance(lhs, str):
        raise UnsupportedError("both operands are constants: fold them before importing")
    source = spread(net, lhs, shape)
    other = _step_operand(net, rhs, shape)
    if function in ("and", "or") and not isinstance(other, str):
        other = other.view(np.int32)
    return pointwise(net, name, source, [*first, FloatStep(function, other)])


def spread(net: Network, source: str, shape: tuple[int, ...]) -> str:
    """The elements of a tensor repeated to fill `shape`; the tensor itself where it does."""
    tensor = net.tensors[source]
    if tensor.shape == shape:
        return source
    places = np.broadcast_to(np.arange(prod(tensor.shape)).reshape(tensor.shape), shape)
    name = net.fresh(f"{source}.spread")
    net.emit(Rearrange(name, (source,), places), Tensor(name, shape, "float32", "float32"))
    return name


def lane_constant(array: Float32Array, shape: tuple[int, ...]) -> Float32Array | None:
    """A constant that broadcasts to `shape` as one number or one a lane; None when rows differ."""
    lanes = shape[-1] if shape else 1
    rows = array.reshape(-1, array.shape[-1] if array.ndim else 1)
    # By their patterns: a mask may be no number.
    patterns = np.ascontiguousarray(rows, np.float32).view(np.int32)
    if not bool((patterns == patterns[0]).all()):
        return None
    first = patterns[0].view(np.float32)
    same = bool((patterns[0] == patterns[0][0]).all())
    return number_or_lanes(first[:1] if same else np.broadcast_to(first, (lanes,)).copy())


def float_constant(value: Value | None) -> Float32Array | None:
    """The floats of a constant, None for anything that is not one."""
    match value:
        case Constant():
            if value.array.dtype != np.float32:
                raise UnsupportedError(f"a constant operand is {value.array.dtype}: only float32 is supported")
            return np.asarray(value.array, np.float32)
        case DequantisedConstant():
            return value.value
        case _:
            return None


def _is_whole(net: Network, operand: Operand, shape: tuple[int, ...]) -> bool:
    return isinstance(operand, str) and net.tensors[operand].shape == shape


def _step_operand(net: Network, operand: Operand, shape: tuple[int, ...]) -> Float32Array | str:
    """An operand as a step can take it."""
    if not isinstance(operand, str):
        lanes = lane_constant(operand, shape)
        return constant_tensor(net, np.broadcast_to(operand, shape)) if lanes is None else lanes
    if operand in net.reduced and net.tensors[operand].shape == (*shape[:-1], 1):
        return operand
    return spread(net, operand, shape)


def constant_tensor(net: Network, array: Float32Array) -> str:
    """A constant that is a tensor."""
    name = net.fresh("constant")
    values = np.ascontiguousarray(array, np.float32)
    net.emit(ConstantTensor(name, values), Tensor(name, values.shape, "float32", "float32"))
    return name
