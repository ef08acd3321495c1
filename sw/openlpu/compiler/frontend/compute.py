# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Float values that were not turned into integer operations, computed in floats on the chip."""

import numpy as np

from openlpu.compiler.frontend import floats
from openlpu.compiler.frontend.dense import float_matmul
from openlpu.compiler.frontend.floats import Operand, step
from openlpu.compiler.frontend.moving import emit_rearranged
from openlpu.compiler.frontend.network import Network
from openlpu.compiler.frontend.nodes import UnsupportedError
from openlpu.compiler.frontend.values import (
    Activation,
    Clipped,
    Computed,
    Dequantised,
    Expression,
    FloatInput,
    Moved,
    Value,
)
from openlpu.compiler.graph import FloatStep, Port, Tensor

_FUNCTIONS: dict[str, floats.BinaryFunction] = {"Add": "fadd", "Sub": "fsub", "Mul": "fmul", "Div": "fmul"}


def computed(net: Network, value: Value) -> str:
    """The float32 tensor that holds a float value, computed when it is asked for first.

    Raises UnsupportedError for constants, and for what the chip cannot compute in floats, naming the node to blame.
    """
    if isinstance(value, Computed):
        return value.tensor
    if value not in net.floats:
        net.floats[value] = _computed(net, value)
    return net.floats[value]


def operand(net: Network, value: Value) -> Operand:
    """A float value as an operand: a constant as it is, anything else computed."""
    constant = floats.float_constant(value)
    return computed(net, value) if constant is None else constant


def clip_steps(bounds: tuple[float, float]) -> list[FloatStep]:
    """The steps of a Relu or Clip."""
    low, high = bounds
    lower = [step("fmax", low)] if low != -np.inf else []
    return [*lower, step("fmin", high)] if high != np.inf else lower


def float_port(net: Network, name: str, shape: tuple[int, ...]) -> Computed:
    """An input of floats that stay floats."""
    net.tensors[name] = Tensor(name, shape, "float32", "float32")
    net.inputs[name] = Port(name, name, "float32", shape)
    return Computed(name)


def _computed(net: Network, value: Value) -> str:
    match value:
        case Dequantised():
            q = value.quantisation
            name = net.fresh(f"{value.tensor}.float")
            return floats.pointwise(net, name, value.tensor, [step("fmul", float(q.scale))], q.stored_zero_point)
        case Expression():
            try:
                return _expression(net, value)
            except UnsupportedError as error:
                raise UnsupportedError(str(error), error.node or value.node) from None
        case Moved():
            parts = [_part(net, part) for part in value.parts]
            return emit_rearranged(net, net.fresh("moved"), parts, value.source)
        case FloatInput():
            raise UnsupportedError(f"input {value.port!r} is read as it is, and quantised elsewhere")
        case Activation():
            raise UnsupportedError("integer operands are not supported: use the QLinear form, or dequantise them first")
        case _:
            raise UnsupportedError("it works on constants alone: fold them before importing")


def _part(net: Network, value: Value) -> str:
    constant = floats.float_constant(value)
    return computed(net, value) if constant is None else floats.constant_tensor(net, constant)


def _expression(net: Network, expression: Expression) -> str:
    name = expression.node.output[0]
    if isinstance(expression, Clipped):
        return floats.pointwise(net, name, computed(net, expression.arguments[0]), clip_steps(expression.bounds))
    if expression.node.op_type in ("MatMul", "Gemm"):
        if len(expression.arguments) < 3:
            return float_matmul(net, expression, name)
        product, bias = net.fresh(f"{name}.product"), operand(net, expression.arguments[2])
        return floats.combine(net, name, "fadd", float_matmul(net, expression, product), bias, expression.shape)
    lhs, rhs = (operand(net, argument) for argument in expression.arguments)
    if expression.node.op_type == "Div":
        rhs = _reciprocal(net, name, rhs)
    return floats.combine(net, name, _FUNCTIONS[expression.node.op_type], lhs, rhs, expression.shape)


def _reciprocal(net: Network, name: str, divisor: Operand) -> Operand:
    if isinstance(divisor, str):
        return floats.pointwise(net, net.fresh(f"{name}.recip"), divisor, [step("recip")])
    with np.errstate(divide="ignore"):
        return np.asarray(np.float32(1) / divisor, np.float32)
