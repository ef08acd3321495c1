# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Dense layers: MatMul and Gemm in every quantised form become one MatMul.

Their constants need no search, for the chip's chain is ONNX Runtime's: int32 sums, times
`fl(fl(fl(alpha * sx) * sw) / sy)`. Weights lose their zero point here, and the input's moves into the bias. Groups that
ONNX Runtime leaves in float are imported in integers all the same, with a note. A product that stays float is the same
int32 sums, times `fl(sx * sw)`: more exact than a sum of floats. Products of two activations are those of
`openlpu.compiler.frontend.product`.
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
    operand,
    outside_type,
    scale_and_zero,
    single,
    weights,
    zero_point,
)
from openlpu.compiler.frontend.product import float_product, integer_product, quantised_product
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
    FloatStep,
    Int8Array,
    Int32Array,
    MatMul,
    OutsideType,
    Requantise,
    Tensor,
)

_INT32_MAX = 2**31 - 1


def qlinear_matmul(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """QLinearMatMul: x, its scale and zero point, w, its two, those of y."""
    allow(node)
    scale, zero = scale_and_zero(arguments, 6)
    result = Result(node.output[0], single(scale, zero, "the output"), outside_type(zero))
    right = arguments[3]
    if isinstance(arguments[0], Activation) and isinstance(right, Constant) and right.array.ndim < 3:
        return _requantised(net, activation_operand(net, arguments, 0), weights(arguments, 3), None, result)
    return quantised_product(net, operand(net, arguments, 0), operand(net, arguments, 3), result)


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
    source, _, zero = _integer_operand(net, arguments, 0, "A")
    if isinstance(arguments[1], Activation):
        right, _, right_zero = _integer_operand(net, arguments, 1, "B")
        rhs = Dequantised(right.tensor, single(one, right_zero, "B"))
        return integer_product(net, Dequantised(source.tensor, single(one, zero, "A")), rhs, node.output[0])
    codes = matrix(required(arguments[1], "B"))
    weight_zero = along(zero_point(arguments, 3, implied=codes.dtype), codes.shape, 1)
    x = Dequantised(source.tensor, single(one, zero, "A"))
    sums = _accumulate(net, x, DequantisedConstant(codes, one, weight_zero), None)
    output = Tensor(node.output[0], sums.shape, "int32", "int32")
    return net.emit(MatMul(output.name, x.tensor, sums.weights, sums.bias, None), output)


def _integer_operand(
    net: Network, arguments: Arguments, index: int, what: str
) -> tuple[Activation, OutsideType, NDArray[Any]]:
    """An activation of MatMulInteger, its type and its zero point."""
    source = activation(net, arguments[index], what)
    outside = net.tensors[source.tensor].outside
    zero = zero_point(arguments, index + 2, implied=outside)
    if outside_type(zero) != outside:
        raise UnsupportedError(f"the zero point of {what} is {zero.dtype}, {what} itself {outside}")
    return source, outside, zero


def is_dense(base: Expression) -> bool:
    """Whether a float expression is a dense layer: MatMul, Gemm, or MatMul and Add of a bias."""
    return base.node.op_type in ("MatMul", "Gemm") or (
        base.node.op_type == "Add" and any(_is_matmul(argument) for argument in base.arguments)
    )


def is_exact_dense(net: Network, base: Expression) -> bool:
    """Whether int32 sums can stand for a dense layer: nothing in it but codes, and constants for a bias."""
    product, bias = _split_bias(base)
    x, w = product.arguments[:2]
    if _is_matrix_product(x, w):
        return bias is None
    alone = base is product or net.flow.reads(product.node.output[0]) == 1
    match bias:
        case None:
            fits = True
        case DequantisedConstant():
            fits = is_number_or_vector(bias.codes)
        case Constant():
            fits = is_number_or_vector(bias.array)
        case _:
            fits = False
    return alone and fits and isinstance(x, Dequantised) and isinstance(w, DequantisedConstant)


def _is_matrix_product(x: Value, w: Value) -> bool:
    """Whether a product is one of activations, or of a constant that must be a tensor like one."""
    codes = isinstance(x, Dequantised | DequantisedConstant) and isinstance(w, Dequantised | DequantisedConstant)
    weights = isinstance(x, Dequantised) and isinstance(w, DequantisedConstant) and w.codes.ndim == 2
    return codes and not weights


def product_shape(net: Network, node: NodeProto, operands: Sequence[Value]) -> tuple[int, ...]:
    """The shape that MatMul or Gemm gives."""
    x, w = net.shape(operands[0]), net.shape(operands[1])
    if node.op_type == "Gemm":
        allow(node, alpha=1.0, beta=1.0, transA=0, transB=None)
        w = w[::-1] if attributes(node).get("transB", 0) else w
    if len(x) < 2 or len(w) < 2:
        raise UnsupportedError(f"a product of shapes {list(x)} and {list(w)}: only matrices are supported")
    if x[-1] != w[-2]:
        raise UnsupportedError(f"the input has {x[-1]} columns, the weights {w[-2]} rows")
    return (*np.broadcast_shapes(x[:-2], w[:-2]), x[-2], w[-1])


def scaled_matmul(net: Network, name: str, x: Dequantised, w: DequantisedConstant) -> str:
    """Tensor `name`: the product of codes and weights as floats."""
    sums = _accumulate(net, x, w, None)
    factor = number_or_lanes(np.asarray(x.quantisation.scale * w.scale, np.float32).reshape(-1))
    output = Tensor(name, sums.shape, "float32", "float32")
    net.emit(MatMul(name, x.tensor, sums.weights, sums.bias, None, (FloatStep("fmul", factor),)), output)
    return name


def float_matmul(net: Network, base: Expression, name: str) -> str:
    """Tensor `name`: the float32 product of a MatMul or Gemm that no QuantizeLinear ends, without its bias."""
    x, w = (_codes_operand(value, what) for value, what in zip(base.arguments, ("first", "second"), strict=False))
    transposed = _is_transposed(base.node)
    if _is_matrix_product(x, w) or isinstance(x, DequantisedConstant) or isinstance(w, Dequantised):
        float_product(net, x, w, name, transposed=transposed)
        return name
    return scaled_matmul(net, name, x, w.transposed() if transposed else w)


def _codes_operand(value: Value, which: str) -> Dequantised | DequantisedConstant:
    match value:
        case Dequantised() | DequantisedConstant():
            return value
        case Constant():
            raise UnsupportedError(
                f"its {which} operand is a float constant: quantise it to int8 (a DequantizeLinear of int8 weights), "
                "for products are made of int8"
            )
        case _:
            raise UnsupportedError(
                f"its {which} operand is float: put QuantizeLinear and DequantizeLinear before it, for products are "
                "made of int8"
            )


def float_dense(net: Network, base: Expression, result: Result, plain: bool) -> Activation:
    """A dense layer between DequantizeLinear and QuantizeLinear; `plain` as in `fusion.reason_for_float`."""
    product, bias = _split_bias(base)
    node = product.node
    x, w = product.arguments[:2]
    assert isinstance(x, Dequantised | DequantisedConstant)  # by is_exact_dense
    assert isinstance(w, Dequantised | DequantisedConstant)
    if isinstance(x, DequantisedConstant) or isinstance(w, Dequantised) or _is_matrix_product(x, w):
        if reason := reason_for_float(net, node, x, w, None, result, plain):
            _note(net, node, reason)
        return quantised_product(net, x, w, result, transposed=_is_transposed(node))
    w = w.transposed() if _is_transposed(node) else w
    match bias:
        case None:
            codes = None
        case DequantisedConstant():
            codes = _int32_bias(Constant(bias.codes))
        case Constant():
            codes = _quantised_bias(bias.array, x.quantisation.scale * w.scale)
        case _:
            raise AssertionError("is_exact_dense lets constants pass alone")
    if reason := reason_for_float(net, node, x, w, bias, result, plain):
        _note(net, node, reason)
    return _requantised(net, x, w, codes, result)


def _note(net: Network, node: NodeProto, reason: str) -> None:
    net.notes.append(
        f"{title(node)}: ONNX Runtime computes this layer in float32 ({reason}); the chip computes the "
        "integer form, which may differ from it by one step next to a rounding tie"
    )


def _is_transposed(node: NodeProto) -> bool:
    return bool(node.op_type == "Gemm" and attributes(node).get("transB", 0))


def _is_matmul(value: Value) -> bool:
    return isinstance(value, Expression) and value.node.op_type == "MatMul"


def _split_bias(base: Expression) -> tuple[Expression, Value | None]:
    """The product in a dense layer, and its bias."""
    if base.node.op_type != "Add":
        return base, base.arguments[2] if len(base.arguments) > 2 else None
    product, bias = base.arguments if _is_matmul(base.arguments[0]) else base.arguments[::-1]
    assert isinstance(product, Expression)  # by is_dense
    return product, bias


def _int32_bias(bias: Value) -> Int32Array:
    if not isinstance(bias, Constant) or bias.array.dtype != np.int32:
        raise UnsupportedError("the bias must be an int32 constant (or a float one without DequantizeLinear)")
    if not is_number_or_vector(bias.array):
        raise UnsupportedError(
            f"a bias of shape {list(bias.array.shape)}: only a number or a vector of the output's last dimension"
        )
    return bias.array.reshape(-1)


def _quantised_bias(bias: NDArray[Any], scale: Float32Array) -> Int32Array:
    """A float bias as ONNX Runtime turns it into int32: divided by input scale x weight scale, to nearest even."""
    if bias.dtype != np.float32 or not is_number_or_vector(bias):
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


def is_number_or_vector(array: NDArray[Any]) -> bool:
    """Whether a bias is the same for every row."""
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
