# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Dense layers: MatMul and Gemm in every quantised form become one MatMul.

Their constants need no search, for the chip's chain is ONNX Runtime's: int32 sums, times
`fl(fl(fl(alpha * sx) * sw) / sy)`. Weights lose their zero point here, and the input's moves into the bias. Groups that
ONNX Runtime leaves in float are imported in integers all the same, with a note.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from openlpu.compiler.frontend.fusion import reason_for_float
from openlpu.compiler.frontend.network import Network
from openlpu.compiler.frontend.nodes import UnsupportedError, allow, attributes, required, title
from openlpu.compiler.frontend.parameters import (
    MAX_RATIO,
    activation,
    activation_operand,
    along,
    matrix,
    number_or_lanes,
    outside_type,
    scale_and_zero,
    single,
    weights,
    zero_point,
)
from openlpu.compiler.frontend.values import (
    Activation,
    Arguments,
    Constant,
    Dequantised,
    DequantisedConstant,
    Expression,
    Result,
    Value,
)
from openlpu.compiler.graph import (
    INT8_MAX,
    INT8_MIN,
    Float32Array,
    Int8Array,
    Int32Array,
    MatMul,
    Requantise,
    Tensor,
)

_INT32_MAX = 2**31 - 1


def qlinear_matmul(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """QLinearMatMul: x, its scale and zero point, w, its two, those of y."""
    allow(node)
    x = activation_operand(net, arguments, 0)
    w = weights(arguments, 3)
    scale, zero = scale_and_zero(arguments, 6)
    result = Result(node.output[0], single(scale, zero, "the output"), outside_type(zero))
    return _requantised(net, x, w, None, result)


def qgemm(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """QGemm of com.microsoft: x, its scale and zero point, w, its two, an int32 bias or none, those of y."""
    allow(node, alpha=None, transA=0, transB=None)
    given = attributes(node)
    x = activation_operand(net, arguments, 0)
    w = weights(arguments, 3, transposed=bool(given.get("transB", 0)))
    if arguments[7] is None or arguments[8] is None:
        raise UnsupportedError("the float result (no y_scale and y_zero_point) is not supported: give both")
    scale, zero = scale_and_zero(arguments, 7)
    result = Result(node.output[0], single(scale, zero, "the output"), outside_type(zero))
    bias = None if arguments[6] is None else _int32_bias(arguments[6])
    return _requantised(net, x, w, bias, result, alpha=given.get("alpha", 1.0))


def matmul_integer(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """MatMulInteger: the int32 sums themselves."""
    allow(node)
    one = np.ones((1, 1), np.float32)
    source = activation(net, arguments[0], "A")
    outside = net.tensors[source.tensor].outside
    zero = zero_point(arguments, 2, implied=outside)
    if outside_type(zero) != outside:
        raise UnsupportedError(f"the zero point of A is {zero.dtype}, A itself {outside}")
    codes = matrix(required(arguments[1], "B"))
    weight_zero = along(zero_point(arguments, 3, implied=codes.dtype), codes.shape, 1)
    x = Dequantised(source.tensor, single(one, zero, "A"))
    sums = _accumulate(net, x, DequantisedConstant(codes, one, weight_zero), None)
    output = Tensor(node.output[0], sums.shape, "int32", "int32")
    return net.emit(MatMul(output.name, x.tensor, sums.weights, sums.bias, None), output)


def is_dense(base: Expression) -> bool:
    """Whether a float expression is a dense layer: MatMul, Gemm, or MatMul and Add of a bias."""
    return base.node.op_type in ("MatMul", "Gemm") or (
        base.node.op_type == "Add" and any(_is_matmul(argument) for argument in base.arguments)
    )


def product_shape(net: Network, node: NodeProto, operands: Sequence[Value]) -> tuple[int, ...]:
    """The shape that MatMul or Gemm gives."""
    x, w = net.shape(operands[0]), net.shape(operands[1])
    if len(w) != 2:
        raise UnsupportedError(f"weights of shape {list(w)}: only matrices are supported")
    if node.op_type == "Gemm":
        allow(node, alpha=1.0, beta=1.0, transA=0, transB=None)
        w = w[::-1] if attributes(node).get("transB", 0) else w
    return (*x[:-1], w[1])


def float_dense(net: Network, base: Expression, result: Result, plain: bool) -> Activation:
    """A dense layer between DequantizeLinear and QuantizeLinear; `plain` as in `fusion.reason_for_float`."""
    product, bias = _split_bias(net, base)
    node = product.node
    x, w = product.arguments[:2]
    if not isinstance(x, Dequantised) or not isinstance(w, DequantisedConstant):
        raise UnsupportedError("it needs a dequantised activation times dequantised constant weights")
    if node.op_type == "Gemm" and attributes(node).get("transB", 0):
        w = w.transposed()
    match bias:
        case None:
            codes = None
        case DequantisedConstant():
            codes = _int32_bias(Constant(bias.codes))
        case Constant():
            codes = _quantised_bias(bias.array, x.quantisation.scale * w.scale)
        case _:
            raise UnsupportedError("the bias is not a constant")
    if reason := reason_for_float(net, node, x, w, bias, result, plain):
        net.notes.append(
            f"{title(node)}: ONNX Runtime computes this layer in float32 ({reason}); the chip computes the "
            "integer form, which may differ from it by one step next to a rounding tie"
        )
    return _requantised(net, x, w, codes, result)


def _is_matmul(value: Value) -> bool:
    return isinstance(value, Expression) and value.node.op_type == "MatMul"


def _split_bias(net: Network, base: Expression) -> tuple[Expression, Value | None]:
    """The product in a dense layer, and its bias."""
    if base.node.op_type != "Add":
        return base, base.arguments[2] if len(base.arguments) > 2 else None
    product, bias = base.arguments if _is_matmul(base.arguments[0]) else base.arguments[::-1]
    assert isinstance(product, Expression)  # by is_dense
    if net.flow.reads(product.node.output[0]) != 1:
        raise UnsupportedError("its product's float result is read twice: quantise it first")
    return product, bias


def _int32_bias(bias: Value) -> Int32Array:
    if not isinstance(bias, Constant) or bias.array.dtype != np.int32:
        raise UnsupportedError("the bias must be an int32 constant (or a float one without DequantizeLinear)")
    if not _is_number_or_vector(bias.array):
        raise UnsupportedError(
            f"a bias of shape {list(bias.array.shape)}: only a number or a vector of the output's last dimension"
        )
    return bias.array.reshape(-1)


def _quantised_bias(bias: NDArray[Any], scale: Float32Array) -> Int32Array:
    """A float bias as ONNX Runtime turns it into int32: divided by input scale x weight scale, to nearest even."""
    if bias.dtype != np.float32 or not _is_number_or_vector(bias):
        raise UnsupportedError(f"a bias of {bias.dtype}{list(bias.shape)}: only float32 or int32 vectors are supported")
    if bias.size != scale.size and 1 not in (bias.size, scale.size):
        raise UnsupportedError(
            f"the bias has {bias.size} elements, the weights {scale.size} scales: quantise weights by tensor or by "
            "output channel"
        )
    rounded = np.rint(bias.reshape(-1) / scale.reshape(-1))
    if not bool((np.abs(rounded) <= _INT32_MAX // 2).all()):
        raise UnsupportedError("a bias is too large for int32 at the scale of input times weights")
    return rounded.astype(np.int32)


def _is_number_or_vector(array: NDArray[Any]) -> bool:
    return array.size == 1 or array.size == array.shape[-1]


@dataclass(frozen=True, eq=False)
class _Sums:
    """The int32 sums of a dense layer as a MatMul computes them; `reach` is the largest magnitude one can have."""

    shape: tuple[int, ...]
    weights: tuple[Int8Array, ...]
    bias: Int32Array | None
    reach: int


def _accumulate(net: Network, x: Dequantised, w: DequantisedConstant, bias: Int32Array | None) -> _Sums:
    shape = net.tensors[x.tensor].shape
    depth, lanes = w.codes.shape
    if shape[-1] != depth:
        raise UnsupportedError(f"the input has {shape[-1]} columns, the weights {depth} rows")
    if w.scale.shape[0] != 1 or w.zero_point.shape[0] != 1:
        raise UnsupportedError("weights quantised by input channel: only by tensor or output channel")
    centred = w.centred
    folded = -x.quantisation.stored_zero_point * centred.sum(axis=0, dtype=np.int64)
    if bias is not None:
        if bias.size not in (1, lanes):
            raise UnsupportedError(f"the bias has {bias.size} elements, the output {lanes} columns")
        folded = folded + bias
    reach = int((np.abs(centred).sum(axis=0, dtype=np.int64) * -INT8_MIN + np.abs(folded)).max())
    if reach > _INT32_MAX:
        raise UnsupportedError("the sums can leave int32: K is too large, or the bias")
    stored_bias = folded.astype(np.int32) if folded.any() else None
    return _Sums((*shape[:-1], lanes), _planes(centred), stored_bias, reach)


def _requantised(
    net: Network,
    x: Dequantised,
    w: DequantisedConstant,
    bias: Int32Array | None,
    result: Result,
    alpha: float = 1.0,
) -> Activation:
    sums = _accumulate(net, x, w, bias)
    qy = result.quantisation
    with np.errstate(over="ignore"):
        multiplier = np.asarray(np.float32(alpha) * x.quantisation.scale * w.scale / qy.scale, np.float32)
    largest = np.abs(multiplier).max()
    # Written so that a NaN is refused too.
    if not (largest <= MAX_RATIO and float(sums.reach) * largest <= 2.0**30):
        raise UnsupportedError("the output scale is far too small for the input and weight scales")
    requant = Requantise((number_or_lanes(multiplier.reshape(-1)),), qy.stored_zero_point, None, *result.limits)
    op = MatMul(result.name, x.tensor, sums.weights, sums.bias, requant)
    return net.emit(op, result.tensor(sums.shape))


def _planes(centred: Int32Array) -> tuple[Int8Array, ...]:
    """Int8 matrices whose sum is `centred`; one, unless a zero point has moved weights out of int8."""
    planes: list[Int8Array] = []
    rest = centred
    while not planes or rest.any():
        planes.append(np.clip(rest, INT8_MIN, INT8_MAX).astype(np.int8))
        rest = rest - planes[-1]
    return tuple(planes)
