# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Float operators that work on every element alone: each is a chain of steps on its operand.

`openlpu.compiler.frontend.float_bounds` says how far each can be from the exact result.
"""

from collections.abc import Callable, Mapping
from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto
from onnx.helper import tensor_dtype_to_np_dtype

from openlpu.compiler.frontend import floats
from openlpu.compiler.frontend.compute import computed, operand
from openlpu.compiler.frontend.floats import MAGNITUDE, NEGATE, step
from openlpu.compiler.frontend.network import Network
from openlpu.compiler.frontend.nodes import UnsupportedError, allow, attributes, required
from openlpu.compiler.frontend.values import Activation, Arguments, Computed, Constant, Indices, Value
from openlpu.compiler.graph import FloatStep

SIGMOID = (NEGATE, step("exp"), step("fadd", 1.0), step("recip"))
"""The logistic function: nothing is subtracted, so that it is as exact for -x as for x."""


def unary(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """An operator that takes nothing but its operand, and no attributes."""
    allow(node)
    source = computed(net, required(arguments[0], "input"))
    return Computed(floats.pointwise(net, node.output[0], source, _UNARY[node.op_type](source)))


def hard_sigmoid(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """HardSigmoid: alpha * x + beta between 0 and 1."""
    allow(node, alpha=None, beta=None)
    given = attributes(node)
    steps = [
        step("fmul", float(given.get("alpha", 0.2))),
        step("fadd", float(given.get("beta", 0.5))),
        step("fmax", 0.0),
        step("fmin", 1.0),
    ]
    source = computed(net, required(arguments[0], "input"))
    return Computed(floats.pointwise(net, node.output[0], source, steps))


def leaky_relu(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """LeakyRelu of a slope of at most 1, where it is a maximum."""
    allow(node, alpha=None)
    slope = float(attributes(node).get("alpha", 0.01))
    if slope > 1:
        raise UnsupportedError(f"attribute alpha = {slope} is not supported: only up to 1")
    source = computed(net, required(arguments[0], "input"))
    return Computed(floats.pointwise(net, node.output[0], source, [step("fmul", slope), step("fmax", source)]))


def gelu_tanh(net: Network, name: str, source: str) -> str:
    """Gelu by its tanh formula, as x / (1 + exp(-2u)): 1 + tanh u is twice that, without its cancellation."""
    u2 = 2 * sqrt(2 / pi)
    steps = [
        step("fmul", source),
        step("fmul", -0.044715 * u2),
        step("fadd", -u2),
        step("fmul", source),
        step("exp"),
        step("fadd", 1.0),
        step("recip"),
        step("fmul", source),
    ]
    return floats.pointwise(net, name, source, steps)


def extreme(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """Max and Min of two floats."""
    allow(node)
    values = [argument for argument in arguments if argument is not None]
    if len(values) != 2:
        raise UnsupportedError(f"{len(values)} operands: only two are supported")
    if any(isinstance(value, Activation) for value in values):
        raise UnsupportedError("integer operands are not supported: dequantise them first")
    function: floats.BinaryFunction = "fmax" if node.op_type == "Max" else "fmin"
    lhs, rhs = (operand(net, value) for value in values)
    return Computed(floats.combine(net, node.output[0], function, lhs, rhs, net.broadcast(values)))


def power(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """Pow with one of a few constant exponents."""
    allow(node)
    exponent = arguments[1]
    source = computed(net, required(arguments[0], "input"))
    times = step("fmul", source)
    chains: Mapping[float, list[FloatStep]] = {
        1.0: [],
        2.0: [times],
        3.0: [times, times],
        4.0: [times, times, times],
        0.5: list(_UNARY["Sqrt"](source)),
        -0.5: [step("rsqrt")],
        -1.0: [step("recip")],
    }
    if not isinstance(exponent, Constant) or exponent.array.size != 1:
        raise UnsupportedError("its exponent is not a constant number")
    steps = chains.get(float(exponent.array.item()))
    if steps is None:
        known = ", ".join(f"{number:g}" for number in sorted(chains))
        raise UnsupportedError(f"an exponent of {exponent.array.item():g}: only {known} are supported")
    return Computed(floats.pointwise(net, node.output[0], source, steps))


def cast(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """Cast of constants; of codes or int32 sums to float32; of floats to float32 and of indices it is nothing."""
    allow(node, to=None, saturate=None, round_mode=None)
    source, target = required(arguments[0], "input"), attributes(node)["to"]
    if isinstance(source, Constant):
        return Constant(source.array.astype(tensor_dtype_to_np_dtype(target)))
    if isinstance(source, Indices):
        return source
    if target != TensorProto.FLOAT:
        raise UnsupportedError(f"attribute to = {target} is not supported: only {TensorProto.FLOAT} (float32) is")
    if not isinstance(source, Activation):
        return source
    tensor = net.tensors[source.tensor]
    zero_point = -128 if tensor.outside == "uint8" else 0
    return Computed(floats.pointwise(net, node.output[0], source.tensor, [], zero_point))


def where(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """Where of a constant condition: the bits of either operand, masked."""
    allow(node)
    condition = arguments[0]
    if not isinstance(condition, Constant):
        raise UnsupportedError("its condition is not a constant: compute with a mask that is 0 or 1 instead")
    values = [required(arguments[index], "an operand") for index in (1, 2)]
    shape = net.broadcast([condition, *values])
    name = node.output[0]
    kept, other = (
        _masked(net, f"{name}.side", operand(net, value), chosen, shape)
        for value, chosen in zip(values, (condition.array, ~condition.array), strict=True)
    )
    return Computed(floats.combine(net, name, "or", kept, other, shape))


def _masked(
    net: Network, name: str, side: floats.Operand, chosen: NDArray[np.bool_], shape: tuple[int, ...]
) -> floats.Operand:
    """An operand where it is chosen, and zeros."""
    mask = np.where(chosen, np.int32(-1), np.int32(0))
    if isinstance(side, str):
        return floats.combine(net, net.fresh(name), "and", side, mask.view(np.float32), shape)
    whole, mask = np.broadcast_arrays(side, mask)
    return (np.ascontiguousarray(whole).view(np.int32) & mask).view(np.float32)


_UNARY: Mapping[str, Callable[[str], tuple[FloatStep, ...]]] = {
    "Abs": lambda _: (MAGNITUDE,),
    "Exp": lambda _: (step("exp"),),
    "HardSwish": lambda x: (
        step("fmul", 1 / 6),
        step("fadd", 0.5),
        step("fmax", 0.0),
        step("fmin", 1.0),
        step("fmul", x),
    ),
    "Neg": lambda _: (NEGATE,),
    "Reciprocal": lambda _: (step("recip"),),
    "Sigmoid": lambda _: SIGMOID,
    # Not x * rsqrt(x), which is not a number at 0.
    "Sqrt": lambda _: (step("rsqrt"), step("recip")),
    "Tanh": lambda _: (step("tanh"),),
}
"""The steps of each operator, for the tensor it works on."""
