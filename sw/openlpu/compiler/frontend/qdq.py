# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""QuantizeLinear, DequantizeLinear, and the float operators between them.

A float operator only becomes an expression here. A QuantizeLinear makes one integer operation of a whole group
(DequantizeLinear, operator, Relu or Clip, QuantizeLinear) where there is one that does the same. Whatever else it
quantises is computed in floats.
"""

from dataclasses import replace

import numpy as np
from onnx import NodeProto

from openlpu.compiler.exact import Quantisation, find_reciprocal
from openlpu.compiler.frontend.compute import computed
from openlpu.compiler.frontend.dense import float_dense, is_dense, is_exact_dense, product_shape
from openlpu.compiler.frontend.elementwise import Group, clamp_codes, elementwise, is_exact_operand
from openlpu.compiler.frontend.floats import float_constant, lane_constant, pointwise, step
from openlpu.compiler.frontend.fusion import as_computed, fuses_elementwise, merges_pairs
from openlpu.compiler.frontend.moving import emit_rearranged
from openlpu.compiler.frontend.network import Network
from openlpu.compiler.frontend.nodes import UnsupportedError, allow, attributes, clip_bounds, required, title
from openlpu.compiler.frontend.parameters import CODE_TYPES, along, outside_type, scale_and_zero, single
from openlpu.compiler.frontend.ports import quantise_input
from openlpu.compiler.frontend.values import (
    Activation,
    Arguments,
    Clipped,
    Computed,
    Constant,
    Dequantised,
    DequantisedConstant,
    Expression,
    FloatInput,
    Moved,
    Result,
    Value,
)
from openlpu.compiler.graph import INT8_MAX, INT8_MIN, ConstantTensor, Pointwise, Requantise
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
        scale, zero = scale_and_zero(arguments, 1, tensor.outside, types=(np.dtype(np.int32),))
        if scale.size != 1 or zero.size != 1 or zero.any():
            raise UnsupportedError("int32 codes are dequantised with one scale and a zero point of 0 alone")
        steps = [step("fmul", float(scale.item()))]
        return Computed(pointwise(net, node.output[0], source.tensor, steps))
    scale, zero = scale_and_zero(arguments, 1, implied=tensor.outside)
    if outside_type(zero) != tensor.outside:
        raise UnsupportedError(f"its zero point is {zero.dtype}, its input {tensor.outside}")
    return Dequantised(source.tensor, as_computed(net, node.input[0], single(scale, zero, "an activation")))


def float_operator(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """MatMul, Gemm, Add, Sub, Mul, Div, Relu or Clip of floats; the last two of codes, too.

    A QuantizeLinear may yet make integer operations of them.
    """
    present = tuple(argument for argument in arguments if argument is not None)
    source = required(arguments[0], "input")
    clips = node.op_type in ("Relu", "Clip")
    if clips and isinstance(source, Activation):
        return clamp_codes(net, node, source, arguments)
    if any(isinstance(argument, Activation) for argument in present):
        raise UnsupportedError("integer operands are not supported: use the QLinear form, or dequantise them first")
    if clips:
        return Clipped(node, (source,), net.shape(source), clip_bounds(node, arguments))
    if node.op_type in ("MatMul", "Gemm"):
        return Expression(node, present, product_shape(net, node, present))
    allow(node)
    return Expression(node, present, net.broadcast(present))


def _lower(net: Network, node: NodeProto, source: Value, result: Result, plain: bool = True) -> Activation:
    """The operation for everything between DequantizeLinear and this QuantizeLinear `node`."""
    if isinstance(source, FloatInput):
        return quantise_input(net, source, result)
    base, limits, unclipped = _strip_clips(net, source, result)
    result, plain = replace(result, limits=limits), plain and unclipped
    match base:
        case Moved():
            return _quantised_parts(net, node, base, result, plain)
        case Expression() if _is_exact(net, base):
            try:
                return (float_dense if is_dense(base) else _float_elementwise)(net, base, result, plain)
            except UnsupportedError as error:
                raise UnsupportedError(str(error), error.node or base.node) from None
        case Expression() | Computed():
            return _quantised_float(net, base, result)
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


def _is_exact(net: Network, base: Expression) -> bool:
    """Whether an expression is one that an integer operation can stand for."""
    if is_dense(base):
        return is_exact_dense(net, base)
    constants = [argument for argument in base.arguments if not isinstance(argument, Dequantised)]
    if base.node.op_type == "Div":
        divisor = float_constant(base.arguments[1])
        # A divisor of differing rows would be a tensor, and two tensors are not divided in integers.
        if divisor is None or not divisor.all() or lane_constant(divisor, base.shape) is None:
            return False
    return len(constants) < 2 and all(is_exact_operand(constant, base.shape) for constant in constants)


def _quantised_parts(net: Network, node: NodeProto, base: Moved, result: Result, plain: bool) -> Activation:
    """Codes that are moved where floats were: rounding does not care about order."""
    # By then it has looked for groups of int8, so that only those of uint8 are integer kernels.
    plain = plain and base.passes and result.quantisation.shift != 0
    parts: list[str] = []
    for part in base.parts:
        named = replace(result, name=net.fresh(f"{result.name}.part"))
        constant = float_constant(part)
        if constant is None:
            parts.append(_lower(net, node, part, named, plain).tensor)
        else:
            q = result.quantisation
            codes = quantize_linear(constant, q.scale, q.stored_zero_point, *result.limits).astype(np.int8)
            net.emit(ConstantTensor(named.name, codes), named.tensor(codes.shape))
            parts.append(named.name)
    return Activation(emit_rearranged(net, result.name, parts, base.source))


def _quantised_float(net: Network, base: Value, result: Result) -> Activation:
    """Codes of a float tensor on the chip."""
    q = result.quantisation
    source = computed(net, base)
    factor = find_reciprocal(q.scale, q.stored_zero_point)
    if factor is None:
        factor = np.float32(1) / q.scale
        net.notes.append(
            f"QuantizeLinear of {source!r}: the chip multiplies by 1 / scale where ONNX Runtime divides, so that codes "
            "may differ by one next to a rounding tie"
        )
    shape = net.tensors[source].shape
    requant = Requantise((), q.stored_zero_point, None, *result.limits)
    return net.emit(Pointwise(result.name, source, 0, (step("fmul", float(factor)),), requant), result.tensor(shape))


def _is_copy(quantisation: Quantisation, result: Result) -> bool:
    """Whether quantising again gives every code back: (q - z) * s / s rounds to q - z."""
    before, after = quantisation, result.quantisation
    same = (before.scale, before.stored_zero_point) == (after.scale, after.stored_zero_point)
    return same and result.limits == (INT8_MIN, INT8_MAX)


def _float_elementwise(net: Network, base: Expression, result: Result, plain: bool) -> Activation:
    """Add, Sub or Mul between DequantizeLinear and QuantizeLinear."""
    kind = base.node.op_type
    fused = plain and kind in ("Add", "Mul") and fuses_elementwise(base.arguments, result)
    return elementwise(net, Group(kind, base.arguments, base.shape, result, fused))


def _strip_clips(net: Network, source: Value, result: Result) -> tuple[Value, tuple[int, int], bool]:
    """What is under the Relu and Clip nodes of a group, the limits of codes that they leave of those of `result`, and
    whether it is plain.

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
    qy = result.quantisation
    # From the inside out. Quantisation is monotone, so clipping codes is clipping values.
    for clip in reversed(clips):
        lo, hi = (int(quantize_linear(b, qy.scale, qy.stored_zero_point, INT8_MIN, INT8_MAX)) for b in clip.bounds)
        low, high = min(max(low, lo), hi), min(max(high, lo), hi)
        plain = plain and (lo, hi) == (INT8_MIN, INT8_MAX)
    lo, hi = result.limits
    return source, (min(max(low, lo), hi), min(max(high, lo), hi)), plain
