# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""QuantizeLinear, DequantizeLinear, and the float operators between them.

A float operator only becomes an expression here. The QuantizeLinear that ends the expression makes one integer
operation of the whole group (DequantizeLinear, operator, Relu or Clip, QuantizeLinear).
"""

from dataclasses import replace

import numpy as np
from onnx import NodeProto

from openlpu.compiler.exact import Quantisation
from openlpu.compiler.frontend.dense import float_dense, is_dense, product_shape
from openlpu.compiler.frontend.elementwise import Group, clamp_codes, elementwise
from openlpu.compiler.frontend.fusion import as_computed, fuses_elementwise, merges_pairs
from openlpu.compiler.frontend.network import Network
from openlpu.compiler.frontend.nodes import UnsupportedError, allow, attributes, clip_bounds, required, title
from openlpu.compiler.frontend.parameters import CODE_TYPES, along, outside_type, scale_and_zero, single
from openlpu.compiler.frontend.ports import quantise_input
from openlpu.compiler.frontend.values import (
    Activation,
    Arguments,
    Clipped,
    Constant,
    Dequantised,
    DequantisedConstant,
    Expression,
    FloatInput,
    Result,
    Value,
)
from openlpu.compiler.graph import INT8_MAX, INT8_MIN
from openlpu.compiler.reference import quantize_linear


def quantize(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """QuantizeLinear of a constant, of a float input, or at the end of a float group."""
    allow(node, axis=None, saturate=1, block_size=0, output_dtype=0, precision=0)
    scale, zero = scale_and_zero(arguments, 1, implied=np.uint8)
    source = arguments[0]
    if isinstance(source, Constant):
        shape, axis, codes = source.array.shape, attributes(node).get("axis", 1), np.iinfo(zero.dtype)
        scale, offset = along(scale, shape, axis), along(zero, shape, axis).astype(np.int32)
        return Constant(quantize_linear(source.array, scale, offset, codes.min, codes.max).astype(zero.dtype))
    name = node.output[0]
    result = Result(name, as_computed(net, name, single(scale, zero, "the output")), outside_type(zero))
    return _lower(net, node, required(source, "input"), result)


def dequantize(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """DequantizeLinear of a constant or of a tensor on the chip."""
    allow(node, axis=None, block_size=0, output_dtype=0)
    source = required(arguments[0], "input")
    if isinstance(source, Constant):
        codes, axis = source.array, attributes(node).get("axis", 1)
        scale, zero = scale_and_zero(arguments, 1, codes.dtype, types=(*CODE_TYPES, np.dtype(np.int32)))
        if zero.dtype != codes.dtype:
            raise UnsupportedError("the zero point and the constant differ in type")
        return DequantisedConstant(codes, along(scale, codes.shape, axis), along(zero, codes.shape, axis))
    if not isinstance(source, Activation):
        raise UnsupportedError("its input is already float")
    tensor = net.tensors[source.tensor]
    if tensor.dtype != "int8":
        raise UnsupportedError(
            "an int32 result can only be an output of the network; remove the node, or use QLinearMatMul"
        )
    scale, zero = scale_and_zero(arguments, 1, implied=tensor.outside)
    if outside_type(zero) != tensor.outside:
        raise UnsupportedError(f"its zero point is {zero.dtype}, its input {tensor.outside}")
    return Dequantised(source.tensor, as_computed(net, node.input[0], single(scale, zero, "an activation")))


def float_operator(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """MatMul, Gemm, Add, Mul, Relu or Clip of floats; the last two of codes, too."""
    present = tuple(argument for argument in arguments if argument is not None)
    source = required(arguments[0], "input")
    clips = node.op_type in ("Relu", "Clip")
    if clips and isinstance(source, Activation):
        return clamp_codes(net, node, source, arguments)
    if any(isinstance(argument, FloatInput) for argument in present):
        raise UnsupportedError("it works on the float input itself: quantise the input first (QuantizeLinear)")
    if any(isinstance(argument, Activation) for argument in present):
        raise UnsupportedError("integer operands are not supported: use the QLinear form, or dequantise them first")
    if clips:
        return Clipped(node, (source,), net.shape(source), clip_bounds(node, arguments))
    if node.op_type in ("MatMul", "Gemm"):
        return Expression(node, present, product_shape(net, node, present))
    return Expression(node, present, net.broadcast(present))


def _lower(net: Network, node: NodeProto, source: Value, result: Result) -> Activation:
    """The integer operation for everything between DequantizeLinear and this QuantizeLinear `node`."""
    if isinstance(source, FloatInput):
        return quantise_input(net, source, result)
    base, limits, plain = _strip_clips(net, source, result.quantisation)
    result = replace(result, limits=limits)
    match base:
        case Expression() if base.node.op_type in ("Reshape", "Flatten"):
            raise UnsupportedError("a Reshape or Flatten of a float value: put it after the QuantizeLinear")
        case Expression():
            try:
                return (float_dense if is_dense(base) else _float_elementwise)(net, base, result, plain)
            except UnsupportedError as error:
                raise UnsupportedError(str(error), base.node) from None
        case Dequantised():
            tensor = net.tensors[base.tensor]
            if _is_copy(base.quantisation, result) and tensor.outside == result.outside:
                return Activation(base.tensor)
            if source is base and merges_pairs(net, node):
                net.notes.append(
                    f"{title(node)}: ONNX Runtime merges two QuantizeLinear that follow each other; the chip does both"
                )
            return elementwise(net, Group("copy", (base,), tensor.shape, result, fused=False))
        case _:
            raise UnsupportedError("it quantises a constant expression: fold constants before importing")


def _is_copy(quantisation: Quantisation, result: Result) -> bool:
    """Whether quantising again gives every code back: (q - z) * s / s rounds to q - z."""
    before, after = quantisation, result.quantisation
    same = (before.scale, before.stored_zero_point) == (after.scale, after.stored_zero_point)
    return same and result.limits == (INT8_MIN, INT8_MAX)


def _float_elementwise(net: Network, base: Expression, result: Result, plain: bool) -> Activation:
    """Add or Mul between DequantizeLinear and QuantizeLinear."""
    operands = base.arguments
    if any(isinstance(argument, Expression) for argument in operands):
        raise UnsupportedError("it reads a float value that was not quantised: put QDQ pairs around it")
    fused = plain and fuses_elementwise(operands, result)
    return elementwise(net, Group(base.node.op_type, operands, base.shape, result, fused))


def _strip_clips(net: Network, source: Value, qy: Quantisation) -> tuple[Value, tuple[int, int], bool]:
    """What is under the Relu and Clip nodes of a group, their limits as stored codes, and whether it is plain.

    Plain says that the clips change nothing (the output's range is within theirs) and nothing else reads a value inside
    the group: what ONNX Runtime asks of a group before it fuses it.
    """
    clips: list[Clipped] = []
    while isinstance(source, Clipped):
        clips.append(source)
        source = source.arguments[0]
    inside = [*clips, source] if isinstance(source, Expression) else clips
    plain = all(net.flow.reads(expression.node.output[0]) == 1 for expression in inside)
    low, high = INT8_MIN, INT8_MAX
    # From the inside out. Quantisation is monotone, so clipping codes is clipping values.
    for clip in reversed(clips):
        lo, hi = (int(quantize_linear(b, qy.scale, qy.stored_zero_point, INT8_MIN, INT8_MAX)) for b in clip.bounds)
        low, high = min(max(low, lo), hi), min(max(high, lo), hi)
        plain = plain and (lo, hi) == (INT8_MIN, INT8_MAX)
    return source, (low, high), plain
