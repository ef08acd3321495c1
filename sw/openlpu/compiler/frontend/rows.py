# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Float operators that work on rows: reductions, Softmax and normalisations.

They take the last axis; any other is brought there first, and back after.
"""

from collections.abc import Sequence
from math import prod

from onnx import NodeProto

from openlpu.compiler.frontend import floats
from openlpu.compiler.frontend.compute import computed
from openlpu.compiler.frontend.floats import NEGATE, step
from openlpu.compiler.frontend.moving import emit_rearranged, places, transposition
from openlpu.compiler.frontend.network import Network
from openlpu.compiler.frontend.nodes import UnsupportedError, allow, attributes, axis_of, required
from openlpu.compiler.frontend.values import Arguments, Computed, Constant, Value
from openlpu.compiler.graph import Float32Array, FloatStep


def reduce(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """ReduceSum, ReduceMean, ReduceMax and ReduceMin over any axes."""
    allow(node, axes=None, keepdims=None, noop_with_empty_axes=0)
    source = required(arguments[0], "input")
    shape, given = net.shape(source), attributes(node)
    axes = given.get("axes")
    if axes is None and arguments[1] is not None:
        wanted = arguments[1]
        if not isinstance(wanted, Constant):
            raise UnsupportedError("the network computes its axes: export with static shapes")
        axes = [int(axis) for axis in wanted.array.ravel()]
    reduced = sorted({axis_of(axis, len(shape)) for axis in axes or range(len(shape))})
    tensor = _rows(net, node.output[0], computed(net, source), reduced)
    result = _reduced(net, node, tensor)
    keep = given.get("keepdims", 1)
    target = tuple(1 if axis in reduced else size for axis, size in enumerate(shape) if keep or axis not in reduced)
    return Computed(_moved(net, node.output[0], result, target or (1,)))


def softmax(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """Softmax: exponentials of what is left of the maximum, over their sum."""
    allow(node, axis=None)
    source = required(arguments[0], "input")
    shape = net.shape(source)
    axis = axis_of(attributes(node).get("axis", -1 if net.opset >= 13 else 1), len(shape))
    if net.opset < 13 and prod(shape[axis + 1 :]) != 1:
        raise UnsupportedError("before opset 13 it takes the last axes together: export with opset 13 or later")
    name = node.output[0]
    tensor = computed(net, source)
    if axis == len(shape) - 1:
        return Computed(_softmax(net, name, tensor))
    order = [*(a for a in range(len(shape)) if a != axis), axis]
    for index, move in enumerate(transposition(shape, order)):
        tensor = emit_rearranged(net, net.fresh(f"{name}.rows{index}"), (tensor,), move)
    tensor = _softmax(net, net.fresh(f"{name}.softmax"), tensor)
    *moves, last = transposition(net.tensors[tensor].shape, [order.index(a) for a in range(len(shape))])
    for index, move in enumerate(moves):
        tensor = emit_rearranged(net, net.fresh(f"{name}.back{index}"), (tensor,), move)
    return Computed(emit_rearranged(net, name, (tensor,), last))


def layer_normalization(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """LayerNormalization and RMSNormalization, over the axes from a given one on."""
    allow(node, axis=None, epsilon=None, stash_type=None)
    if any(node.output[1:]):
        raise UnsupportedError("its mean and deviation as outputs are not supported: remove them")
    source = required(arguments[0], "input")
    shape, given = net.shape(source), attributes(node)
    axes = range(axis_of(given.get("axis", -1), len(shape)), len(shape))
    name = node.output[0]
    x = _rows(net, name, computed(net, source), axes)
    factor = 1 / net.tensors[x].shape[-1]
    if node.op_type == "LayerNormalization":
        total = floats.reduce_rows(net, net.fresh(f"{name}.sum"), x, "fadd")
        mean = floats.pointwise(net, net.fresh(f"{name}.mean"), total, [step("fmul", factor)])
        x = floats.pointwise(net, net.fresh(f"{name}.centred"), x, [step("fsub", mean)])
    square = floats.pointwise(net, net.fresh(f"{name}.square"), x, [step("fmul", x)])
    total = floats.reduce_rows(net, net.fresh(f"{name}.squares"), square, "fadd")
    steps = [step("fmul", factor), step("fadd", float(given.get("epsilon", 1e-5))), step("rsqrt")]
    scale = floats.pointwise(net, net.fresh(f"{name}.scale"), total, steps)
    chain = [step("fmul", scale)]
    if arguments[1] is not None:
        chain.append(FloatStep("fmul", _lanes(net, arguments[1], x)))
    if arguments[2] is not None:
        chain.append(FloatStep("fadd", _lanes(net, arguments[2], x)))
    flat = len(axes) > 1
    result = floats.pointwise(net, net.fresh(f"{name}.rows") if flat else name, x, chain)
    return Computed(_moved(net, name, result, shape))


def _softmax(net: Network, name: str, x: str) -> str:
    largest = floats.reduce_rows(net, net.fresh(f"{name}.max"), x, "fmax")
    power = floats.pointwise(net, net.fresh(f"{name}.exp"), x, [step("fsub", largest), step("exp")])
    total = floats.reduce_rows(net, net.fresh(f"{name}.sum"), power, "fadd")
    inverse = floats.pointwise(net, net.fresh(f"{name}.recip"), total, [step("recip")])
    return floats.pointwise(net, name, power, [step("fmul", inverse)])


def _reduced(net: Network, node: NodeProto, x: str) -> str:
    name = node.output[0]
    match node.op_type:
        case "ReduceMax":
            return floats.reduce_rows(net, net.fresh(f"{name}.max"), x, "fmax")
        case "ReduceMin":
            other = floats.pointwise(net, net.fresh(f"{name}.negative"), x, [NEGATE])
            largest = floats.reduce_rows(net, net.fresh(f"{name}.max"), other, "fmax")
            return floats.pointwise(net, net.fresh(f"{name}.min"), largest, [NEGATE])
        case "ReduceSum":
            return floats.reduce_rows(net, net.fresh(f"{name}.sum"), x, "fadd")
        case _:
            total = floats.reduce_rows(net, net.fresh(f"{name}.sum"), x, "fadd")
            factor = 1 / net.tensors[x].shape[-1]
            return floats.pointwise(net, net.fresh(f"{name}.mean"), total, [step("fmul", factor)])


def _rows(net: Network, name: str, x: str, axes: Sequence[int]) -> str:
    """`x` with `axes` made its last one, together."""
    shape = net.tensors[x].shape
    others = [axis for axis in range(len(shape)) if axis not in axes]
    for move in transposition(shape, [*others, *axes]):
        x = emit_rearranged(net, net.fresh(f"{name}.ordered"), (x,), move)
    return _moved(net, net.fresh(f"{name}.flat"), x, (*(shape[a] for a in others), prod(shape[a] for a in axes)))


def _moved(net: Network, name: str, x: str, shape: tuple[int, ...]) -> str:
    """`x` in another shape."""
    return emit_rearranged(net, name, (x,), places(net.tensors[x].shape).reshape(shape))


def _lanes(net: Network, argument: Value, x: str) -> Float32Array:
    constant = floats.float_constant(argument)
    lanes = net.tensors[x].shape[-1]
    if constant is None or constant.size not in (1, lanes):
        raise UnsupportedError("its scale and bias must be constants, one number for each element that is normalised")
    flat = floats.lane_constant(constant.reshape(-1), (lanes,))
    assert flat is not None  # one row has equal rows
    return flat
