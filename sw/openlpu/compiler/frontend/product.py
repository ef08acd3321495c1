# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Products of two activations, matrix by matrix: exact int32 sums, then codes, the sums themselves, or floats.

A constant among the operands is one more tensor; the matrices of one operand are repeated where the other has more of
them. A transposition of the last two axes that makes the right operand is left to the product.
"""

from dataclasses import replace

import numpy as np

from openlpu.compiler.frontend.moving import emit_rearranged, is_matrix_transpose, places
from openlpu.compiler.frontend.network import Network
from openlpu.compiler.frontend.nodes import UnsupportedError
from openlpu.compiler.frontend.parameters import CODE_TYPES, MAX_RATIO, outside_type, shift_of, single
from openlpu.compiler.frontend.values import Activation, Dequantised, DequantisedConstant, Result
from openlpu.compiler.graph import ConstantTensor, FloatStep, Product, Rearrange, Requantise, Tensor

CodesOperand = Dequantised | DequantisedConstant
_MOST = 255 * 255
"""Largest product of two centred codes."""


def quantised_product(
    net: Network, lhs: CodesOperand, rhs: CodesOperand, result: Result, *, transposed: bool = False
) -> Activation:
    """The product as codes: the sums times `fl(fl(sa * sb) / sy)`, as in ONNX Runtime."""
    a, b, op, shape = _matched(net, lhs, rhs, result.name, transposed)
    qy = result.quantisation
    multiplier = np.asarray(a.quantisation.scale * b.quantisation.scale / qy.scale, np.float32)
    depth = net.tensors[a.tensor].shape[-1]
    if not (float(multiplier) <= MAX_RATIO and depth * _MOST * float(multiplier) <= 2.0**30):
        raise UnsupportedError("the output scale is far too small for the scales of the operands")
    requant = Requantise((multiplier,), qy.stored_zero_point, None, *result.limits)
    return net.emit(replace(op, requant=requant), result.tensor(shape))


def integer_product(net: Network, lhs: Dequantised, rhs: Dequantised, name: str) -> Activation:
    """The sums themselves, as tensor `name`."""
    *_, op, shape = _matched(net, lhs, rhs, name, transposed=False)
    return net.emit(op, Tensor(name, shape, "int32", "int32"))


def float_product(net: Network, lhs: CodesOperand, rhs: CodesOperand, name: str, *, transposed: bool) -> None:
    """The product as floats, as tensor `name`: the sums times `fl(sa * sb)`."""
    a, b, op, shape = _matched(net, lhs, rhs, name, transposed)
    step = FloatStep("fmul", np.asarray(a.quantisation.scale * b.quantisation.scale))
    net.emit(replace(op, steps=(step,)), Tensor(name, shape, "float32", "float32"))


def _matched(
    net: Network, lhs: CodesOperand, rhs: CodesOperand, name: str, transposed: bool
) -> tuple[Dequantised, Dequantised, Product, tuple[int, ...]]:
    """The operands as tensors of equally many matrices, their product without an end, and its shape."""
    a, b = _tensor(net, lhs, name), _tensor(net, rhs, name)
    if not transposed and (original := _before_transpose(net, b.tensor)) is not None:
        b, transposed = replace(b, tensor=original), True
    batch = np.broadcast_shapes(net.shape(a)[:-2], net.shape(b)[:-2])
    a, b = _repeated(net, a, batch), _repeated(net, b, batch)
    rows, depth = net.shape(a)[-2:]
    inner, columns = net.shape(b)[-2:][::-1] if transposed else net.shape(b)[-2:]
    if depth != inner:
        raise UnsupportedError(f"the input has {depth} columns, the weights {inner} rows")
    if depth * 510 * 510 >= 2**31:
        raise UnsupportedError(f"the sums can leave int32: {depth} products are too many")
    zeros = a.quantisation.stored_zero_point, b.quantisation.stored_zero_point
    return a, b, Product(name, a.tensor, b.tensor, *zeros, transposed, None), (*batch, rows, columns)


def _tensor(net: Network, value: CodesOperand, name: str) -> Dequantised:
    if isinstance(value, Dequantised):
        return value
    if value.codes.dtype not in CODE_TYPES:
        raise UnsupportedError(f"{value.codes.dtype} codes: only int8 and uint8 are supported")
    zero = value.zero_point.reshape(-1)
    quantisation = single(value.scale, zero, "a factor beside an activation")
    outside = outside_type(zero)
    codes = (value.codes.astype(np.int32) - shift_of(outside)).astype(np.int8)
    constant = net.fresh(f"{name}.constant")
    net.emit(ConstantTensor(constant, codes), Tensor(constant, codes.shape, "int8", outside))
    return Dequantised(constant, quantisation)


def _before_transpose(net: Network, name: str) -> str | None:
    """The tensor of which this one is the same matrices transposed."""
    maker, shape = net.makers.get(name), net.tensors[name].shape
    if not isinstance(maker, Rearrange) or len(maker.inputs) != 1:
        return None
    source = net.tensors[maker.inputs[0]]
    same = source.shape == (*shape[:-2], shape[-1], shape[-2])
    return source.name if same and is_matrix_transpose(maker.source, source.lanes) else None


def _repeated(net: Network, operand: Dequantised, batch: tuple[int, ...]) -> Dequantised:
    shape = net.shape(operand)
    if shape[:-2] == batch:
        return operand
    source = np.broadcast_to(places(shape), (*batch, *shape[-2:]))
    name = net.fresh(f"{operand.tensor}.repeated")
    return replace(operand, tensor=emit_rearranged(net, name, (operand.tensor,), source))
