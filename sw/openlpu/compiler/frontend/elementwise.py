# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Elementwise operators on codes: one activation, alone or with a constant, and two activations.

Where ONNX Runtime computes in codes (a QLinear kernel) and where in floats is `Group.fused`; the formulas of both are
those of `openlpu.compiler.exact`, which tabulates them over every operand and finds the constants with which the chip
gives the same table. A product of codes needs no search: it is the chip's own chain.
"""

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from openlpu.compiler import exact
from openlpu.compiler.exact import Quantisation
from openlpu.compiler.frontend.floats import float_constant, lane_constant
from openlpu.compiler.frontend.moving import emit_rearranged, places
from openlpu.compiler.frontend.network import Network
from openlpu.compiler.frontend.nodes import UnsupportedError, allow, clip_bounds
from openlpu.compiler.frontend.parameters import (
    CODE_TYPES,
    MAX_RATIO,
    number_or_lanes,
    operand,
    outside_type,
    scale_and_zero,
    shift_of,
    single,
)
from openlpu.compiler.frontend.values import (
    Activation,
    Arguments,
    Dequantised,
    DequantisedConstant,
    Result,
    Value,
)
from openlpu.compiler.graph import (
    INT8_MAX,
    INT8_MIN,
    Add,
    ConstantTensor,
    Float32Array,
    Int32Array,
    Mul,
    Op,
    Requantise,
    Tensor,
    Unary,
)
from openlpu.compiler.reference import quantize_linear


@dataclass(frozen=True)
class Group:
    """One elementwise operation: `kind` is "Add", "Sub", "Mul", "Div" (by a constant) or "copy" (one
    operand, requantised).

    `fused` says that ONNX Runtime computes it in codes, so that a constant operand is a DequantisedConstant.
    """

    kind: str
    operands: tuple[Value, ...]
    shape: tuple[int, ...]
    result: Result
    fused: bool


def qlinear_binary(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """QLinearAdd and QLinearMul of com.microsoft: a, its scale and zero point, b, its two, those of y."""
    allow(node)
    operands = (operand(net, arguments, 0), operand(net, arguments, 3))
    outside = net.tensors[_activations(operands)[0].tensor].outside
    scale, zero = scale_and_zero(arguments, 6, implied=outside)
    result = Result(node.output[0], single(scale, zero, "the output"), outside_type(zero))
    kind = node.op_type.removeprefix("QLinear")
    return elementwise(net, Group(kind, operands, net.broadcast(operands), result, fused=True))


def clamp_codes(net: Network, node: NodeProto, source: Activation, arguments: Arguments) -> Activation:
    """Relu or Clip of int8 or uint8 codes."""
    tensor = net.tensors[source.tensor]
    if tensor.dtype != "int8":
        raise UnsupportedError("an int32 result can only be an output of the network")
    shift = shift_of(tensor.outside)
    lo, hi = (int(np.clip(b - shift, INT8_MIN, INT8_MAX)) for b in clip_bounds(node, arguments))
    same = Requantise((np.ones((), np.float32),), zero_point=0, lo=min(lo, hi), hi=hi)
    output = replace(tensor, name=node.output[0])
    return net.emit(Unary(output.name, tensor.name, 0, same), output)


def is_exact_operand(constant: Value, shape: tuple[int, ...]) -> bool:
    """Whether `elementwise` takes this beside an activation: a constant of equal rows, or one of 256 values at most."""
    if isinstance(constant, DequantisedConstant) and constant.scale.size == 1 and constant.zero_point.size == 1:
        return constant.codes.dtype in CODE_TYPES
    array = float_constant(constant)
    return array is not None and lane_constant(array, shape) is not None


def elementwise(net: Network, group: Group) -> Activation:
    """Emit a group, its constants proved equal to ONNX Runtime's formula."""
    result = group.result
    group = replace(group, operands=tuple(_as_activation(net, operand, group) for operand in group.operands))
    if any(float(a.quantisation.scale / result.quantisation.scale) > MAX_RATIO for a in _activations(group.operands)):
        raise UnsupportedError("the output scale is far too small for the input scale")
    if group.kind == "Add" and group.fused and _is_number(net, group):
        # ONNX Runtime's kernel takes a single number second, and its arithmetic is not symmetric.
        group = replace(group, operands=group.operands[::-1])
    group = replace(group, operands=tuple(_spread(net, operand, group.shape) for operand in group.operands))
    activations = _activations(group.operands)
    op: Op | None
    if len(activations) == 2:
        op = (_two_in_codes if group.fused else _two_in_floats)(group, *activations)
    else:
        x = activations[0]
        constant = next((a for a in group.operands if a is not x), None)
        op = (_one_in_codes if group.fused else _one_in_floats)(group, x, constant)
    if op is None:
        raise UnsupportedError(
            "some input falls so near a rounding tie that no float32 constants make the chip equal to ONNX "
            "Runtime; change one of the scales slightly (calibrate again)"
        )
    return net.emit(op, result.tensor(group.shape))


def _one_in_codes(group: Group, x: Dequantised, constant: Value | None) -> Unary | None:
    assert isinstance(constant, DequantisedConstant)  # what "fused" means for one activation
    qx, qy = x.quantisation, group.result.quantisation
    qc = Quantisation(np.float32(constant.scale.item()), int(constant.zero_point.item()), 0)
    codes = _per_lane(constant.codes, group).astype(np.int32)
    lo, hi = group.result.limits
    if group.kind == "Mul":
        multiplier = _product_multiplier(qx, qc, qy)
        if multiplier is None:
            return None
        centred = number_or_lanes((codes - qc.zero_point).astype(np.float32))
        chain = Requantise((centred, multiplier), -qy.shift, np.asarray(np.float32(qy.zero_point)), lo, hi)
        return Unary(group.result.name, x.tensor, qx.stored_zero_point, chain)
    operands = ((_codes(qx)[:, None], qx), (codes, qc))
    (a, qa), (b, qb) = operands if group.operands[0] is x else operands[::-1]
    table = exact.stored_codes(exact.qlinear_add(a, qa, b, qb, qy), qy, lo, hi)
    _, _, fixed = exact.add_constants(qa, qb, qy)
    offset = np.asarray(fixed + codes.astype(np.float32) * (qc.scale / qy.scale))
    seed = Requantise((np.asarray(qx.scale / qy.scale),), -qy.shift, offset, lo, hi)
    return _found(group, x, -qx.shift, table, seed)


def _one_in_floats(group: Group, x: Dequantised, constant: Value | None) -> Unary | None:
    qx, qy = x.quantisation, group.result.quantisation
    ratio = np.asarray(qx.scale / qy.scale)
    value = _floats(qx)[:, None]
    offset: Float32Array | None = None
    factors: tuple[tuple[Float32Array, ...], ...]
    if constant is None:
        factors = ((ratio,), (np.asarray(qx.scale), np.asarray(1 / qy.scale)))
    else:
        floats: Float32Array = _per_lane(_floats_of(constant), group)
        if group.kind == "Add":
            value = value + floats
            factors, offset = ((ratio,),), floats / qy.scale
        elif group.kind == "Sub":
            first = group.operands[0] is x
            value = value - floats if first else floats - value
            factors, offset = ((ratio if first else -ratio,),), (-floats if first else floats) / qy.scale
        elif group.kind == "Div":
            value = value / floats
            factors = ((ratio / floats,), (np.asarray(qx.scale), np.float32(1) / (floats * qy.scale)))
        else:
            value = value * floats
            factors = ((ratio * floats,), (np.asarray(qx.scale), floats / qy.scale))
    table = quantize_linear(value, qy.scale, qy.stored_zero_point, *group.result.limits)
    seeds = [Requantise(f, qy.stored_zero_point, offset, *group.result.limits) for f in factors]
    return _found(group, x, qx.stored_zero_point, table, *seeds)


def _two_in_codes(group: Group, a: Dequantised, b: Dequantised) -> Op | None:
    qa, qb, qy = a.quantisation, b.quantisation, group.result.quantisation
    lo, hi = group.result.limits
    if group.kind == "Mul":
        multiplier = _product_multiplier(qa, qb, qy)
        if multiplier is None:
            return None
        chain = Requantise((multiplier,), -qy.shift, np.asarray(np.float32(qy.zero_point)), lo, hi)
        return Mul(group.result.name, a.tensor, b.tensor, qa.stored_zero_point, qb.stored_zero_point, chain)
    values = exact.qlinear_add(_codes(qa)[:, None], qa, _codes(qb)[None, :], qb, qy)
    table = exact.stored_codes(values, qy, lo, hi)
    ratios_and_offset = exact.add_constants(qa, qb, qy)
    after = Requantise((), -qy.shift, None, lo, hi)
    seed = Add(group.result.name, a.tensor, b.tensor, -qa.shift, -qb.shift, *ratios_and_offset, after)
    return exact.find_add(seed, table, values)


def _two_in_floats(group: Group, a: Dequantised, b: Dequantised) -> Op | None:
    qa, qb, qy = a.quantisation, b.quantisation, group.result.quantisation
    za, zb, zy = qa.stored_zero_point, qb.stored_zero_point, qy.stored_zero_point
    left, right = _floats(qa)[:, None], _floats(qb)[None, :]
    if group.kind == "Mul":
        multiplier = _product_multiplier(qa, qb, qy)
        if multiplier is None:
            return None
        table = quantize_linear(left * right, qy.scale, zy, *group.result.limits)
        chain = Requantise((multiplier,), zy, None, *group.result.limits)
        return exact.find_mul(Mul(group.result.name, a.tensor, b.tensor, za, zb, chain), table)
    values = left - right if group.kind == "Sub" else left + right
    table = quantize_linear(values, qy.scale, zy, *group.result.limits)
    ra, rb, _ = exact.add_constants(qa, qb, qy)
    rb = -rb if group.kind == "Sub" else rb
    after = Requantise((), zy, None, *group.result.limits)
    seed = Add(group.result.name, a.tensor, b.tensor, za, zb, ra, rb, None, after)
    return exact.find_add(seed, table, values / qy.scale)


def _as_activation(net: Network, operand: Value, group: Group) -> Value:
    """A constant whose rows differ as a tensor; anything else as it is."""
    if not isinstance(operand, DequantisedConstant) or _fits_lanes(operand.codes, group.shape):
        return operand
    zero = operand.zero_point.reshape(())
    stored = (operand.codes.astype(np.int32) - shift_of(outside_type(zero))).astype(np.int8)
    name = net.fresh(f"{group.result.name}.constant")
    net.emit(ConstantTensor(name, stored), Tensor(name, stored.shape, "int8", outside_type(zero)))
    return Dequantised(name, single(operand.scale, zero, "a constant operand"))


def _is_number(net: Network, group: Group) -> bool:
    """Whether the first operand is one number for every run of elements that ONNX Runtime's kernel takes at once."""
    first, second = (net.shape(operand) for operand in group.operands)
    if prod(first) == 1:
        return True
    rank = max(len(first), len(second))
    pairs = zip((1,) * (rank - len(first)) + first, (1,) * (rank - len(second)) + second, strict=True)
    long = [pair for pair in pairs if pair != (1, 1)]
    return long[-1][0] == 1


def _spread(net: Network, operand: Value, shape: tuple[int, ...]) -> Value:
    """An activation repeated to fill `shape`."""
    if not isinstance(operand, Dequantised) or net.shape(operand) == shape:
        return operand
    repeated = np.broadcast_to(places(net.shape(operand)), shape)
    return replace(
        operand, tensor=emit_rearranged(net, net.fresh(f"{operand.tensor}.spread"), (operand.tensor,), repeated)
    )


def _fits_lanes(constant: NDArray[Any], shape: tuple[int, ...]) -> bool:
    return constant.size == 1 or (constant.size == shape[-1] and constant.shape[-1] == shape[-1])


def _activations(operands: tuple[Value, ...]) -> list[Dequantised]:
    activations = [operand for operand in operands if isinstance(operand, Dequantised)]
    if not activations:
        raise UnsupportedError("both operands are constants: fold them before importing")
    return activations


def _codes(q: Quantisation) -> Int32Array:
    """Every code of an operand, in the order of the stored values."""
    return exact.STORED.astype(np.int32) + np.int32(q.shift)


def _floats(q: Quantisation) -> Float32Array:
    """What every code of an operand stands for, in the order of the stored values."""
    return (_codes(q) - np.int32(q.zero_point)).astype(np.float32) * q.scale


def _product_multiplier(qa: Quantisation, qb: Quantisation, qy: Quantisation) -> Float32Array | None:
    """What turns a product of codes into a code of the result; None when it is out of the chip's range."""
    multiplier = np.asarray(qa.scale * qb.scale / qy.scale)
    return multiplier if float(multiplier) <= MAX_RATIO else None


def _found(group: Group, x: Dequantised, zero_point: int, table: Int32Array, *seeds: Requantise) -> Unary | None:
    requant = exact.find_unary(table, zero_point, seeds)
    return None if requant is None else Unary(group.result.name, x.tensor, zero_point, requant)


def _floats_of(constant: Value) -> Float32Array:
    array = float_constant(constant)
    assert array is not None  # by is_exact_operand
    return array


def _per_lane(constant: NDArray[Any], group: Group) -> NDArray[Any]:
    """A constant operand as one number a lane, or one in all: of shape (lanes,) or (1,)."""
    if _fits_lanes(constant, group.shape):
        return constant.reshape(-1)
    rows = constant.reshape(-1, constant.shape[-1])[0]
    return np.broadcast_to(rows, (group.shape[-1],))
