# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Scales, zero points and the operands they belong to, checked as they are read.

Nobody checks the types of operators outside the ONNX domain, so everything here may be missing, of another type or of
another shape than its operator needs.
"""

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from openlpu.compiler.exact import Quantisation
from openlpu.compiler.frontend.network import Network
from openlpu.compiler.frontend.nodes import UnsupportedError, required
from openlpu.compiler.frontend.values import Activation, Arguments, Constant, Dequantised, DequantisedConstant, Value
from openlpu.compiler.graph import UINT8_SHIFT, Float32Array, OutsideType

CODE_TYPES: tuple[np.dtype[Any], ...] = (np.dtype(np.int8), np.dtype(np.uint8))
"""The types of activations and weights."""
MAX_RATIO = 2.0**14
"""Largest multiplier taken: above it an int32 would saturate before its zero point is added. Real ones are below 1."""


def scale_and_zero(
    arguments: Arguments,
    index: int,
    implied: DTypeLike | None = None,
    types: Collection[np.dtype[Any]] = CODE_TYPES,
) -> tuple[Float32Array, NDArray[Any]]:
    """The scale at `index` and the zero point after it, which when left out is a 0 of the type `implied`."""
    scale = arguments[index]
    if not isinstance(scale, Constant) or scale.array.dtype != np.float32:
        raise UnsupportedError("a scale is not a float32 constant")
    if not bool((np.isfinite(scale.array) & (scale.array > 0)).all()):
        raise UnsupportedError("a scale is zero, negative or not finite")
    zero = zero_point(arguments, index + 1, implied, types)
    if zero.size > 1 and zero.size != scale.array.size:
        raise UnsupportedError("a scale and its zero point differ in shape")
    return scale.array, zero


def zero_point(
    arguments: Arguments, index: int, implied: DTypeLike | None, types: Collection[np.dtype[Any]] = CODE_TYPES
) -> NDArray[Any]:
    """The zero point at `index`, one of `types`; when left out, a 0 of the type `implied`, unless that is None."""
    match arguments[index]:
        case Constant(array=array):
            zero = array
        case None if implied is not None:
            zero = np.zeros((), implied)
        case _:
            raise UnsupportedError("a zero point is not a constant")
    if zero.dtype not in types:
        raise UnsupportedError(f"{zero.dtype} codes: only int8 and uint8 are supported")
    return zero


def outside_type(zero: NDArray[Any]) -> OutsideType:
    """The type of the codes that a zero point belongs to."""
    return "uint8" if zero.dtype == np.uint8 else "int8"


def shift_of(outside: str) -> int:
    """What separates codes of a type from stored values."""
    return UINT8_SHIFT if outside == "uint8" else 0


def single(scale: Float32Array, zero: NDArray[Any], what: str) -> Quantisation:
    """Scale and zero point of something that must be quantised as a whole."""
    if scale.size != 1 or zero.size != 1:
        raise UnsupportedError(f"{what} is quantised by channel: only weights may be")
    return Quantisation(np.float32(scale.item()), int(zero.item()), shift_of(outside_type(zero)))


def along(array: NDArray[Any], shape: tuple[int, ...], axis: int) -> NDArray[Any]:
    """Quantisation parameters, shaped to broadcast over a constant of `shape`: one number, or one along `axis`."""
    if array.size == 1:
        return array.reshape((1,) * len(shape))
    if not -len(shape) <= axis < len(shape) or array.size != shape[axis] or max(array.shape) != array.size:
        raise UnsupportedError(
            f"scales or zero points of shape {list(array.shape)} do not fit a constant of shape {list(shape)}"
        )
    sizes = [1] * len(shape)
    sizes[axis] = array.size
    return array.reshape(sizes)


def activation(net: Network, argument: Value | None, what: str) -> Activation:
    """An argument that must be codes on the chip."""
    if not isinstance(argument, Activation) or net.tensors[argument.tensor].dtype != "int8":
        raise UnsupportedError(f"{what} must be an int8 or uint8 activation")
    return argument


def activation_operand(net: Network, arguments: Arguments, start: int) -> Dequantised:
    """The activation of a QLinear operator at inputs `start` to `start` + 2, as if dequantised."""
    source = activation(net, required(arguments[start], "an operand"), "the operand")
    outside = net.tensors[source.tensor].outside
    scale, zero = scale_and_zero(arguments, start + 1, implied=outside)
    if outside_type(zero) != outside:
        raise UnsupportedError(f"a zero point is {zero.dtype}, its operand {outside}")
    return Dequantised(source.tensor, single(scale, zero, "an activation"))


def operand(net: Network, arguments: Arguments, start: int) -> Dequantised | DequantisedConstant:
    """As `activation_operand`, for an operand that may as well be a constant."""
    source = arguments[start]
    if not isinstance(source, Constant):
        return activation_operand(net, arguments, start)
    scale, zero = scale_and_zero(arguments, start + 1, implied=source.array.dtype)
    single(scale, zero, "a constant operand")
    return DequantisedConstant(source.array, scale, zero)


def matrix(value: Value) -> NDArray[Any]:
    """Constant weights."""
    if not isinstance(value, Constant):
        raise UnsupportedError("the weights are not a constant: QLinearMatMul multiplies two activations")
    if value.array.ndim != 2 or value.array.dtype not in CODE_TYPES or 0 in value.array.shape:
        raise UnsupportedError(
            f"weights are {value.array.dtype}{list(value.array.shape)}: an int8 or uint8 matrix is needed"
        )
    return value.array


def weights(arguments: Arguments, start: int, transposed: bool = False) -> DequantisedConstant:
    """The constant weights [K, N] ([N, K] when `transposed`) of a QLinear operator at inputs `start` to `start` + 2."""
    codes = matrix(required(arguments[start], "the weights"))
    if transposed:
        codes = codes.T
    scale, zero = scale_and_zero(arguments, start + 1, implied=codes.dtype)
    return DequantisedConstant(codes, along(scale, codes.shape, 1), along(zero, codes.shape, 1))


def number_or_lanes(array: Float32Array) -> Float32Array:
    """A constant of shape (1,) as a number, for the chip needs no vector for it; others as they are."""
    return array.reshape(()) if array.size == 1 else array
