# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What a graph computes, in numpy: the meaning of the IR, and the yardstick of everything behind it.

The vector arithmetic is `openlpu.arch.numerics`, the same functions that define the hardware's; the matrix product
is an exact integer product. The host's part of a run, between the caller's float32, int8 or uint8 arrays and the
bytes on the chip, is here too (`quantize_input`, `dequantize_output`), so that every backend shares it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openlpu.arch import numerics
from openlpu.compiler.errors import CompileError
from openlpu.compiler.graph import (
    INT8_MAX,
    INT8_MIN,
    UINT8_SHIFT,
    Add,
    Float32Array,
    Graph,
    Int8Array,
    Int32Array,
    MatMul,
    Mul,
    Op,
    Port,
    Requantise,
    Reshape,
    Unary,
)

Stored = Int8Array | Int32Array


def evaluate(graph: Graph, inputs: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
    """Run a network: arrays by input port name in, arrays by output port name out, types and shapes as in the ports.

    Raises CompileError when an input is missing, unknown, or of another shape or type than its port.
    """
    names = [port.name for port in graph.inputs]
    if sorted(names) != sorted(inputs):
        raise CompileError(f"{graph.name}: the inputs are {names}, but {sorted(inputs)} were given")
    stored = {port.tensor: quantize_input(graph, port, np.asarray(inputs[port.name])) for port in graph.inputs}
    values = evaluate_stored(graph, stored)
    return {port.name: dequantize_output(graph, port, values[port.tensor]) for port in graph.outputs}


def evaluate_stored(graph: Graph, stored: Mapping[str, Stored]) -> dict[str, Stored]:
    """Every tensor of a network, as stored on the chip, from the stored input tensors."""
    values = dict(stored)
    for op in graph.ops:
        values[op.output] = _evaluate_op(op, values).reshape(graph.tensor(op.output).shape)
    return values


def quantize_input(graph: Graph, port: Port, array: NDArray[Any]) -> Stored:
    """The stored tensor for an input as the caller gives it.

    float32 is quantised as ONNX QuantizeLinear: true division by the scale in float32, to nearest even, saturating;
    a NaN becomes the lowest code, as in ONNX Runtime.
    """
    if array.shape != port.shape or array.dtype != np.dtype(port.dtype):
        raise CompileError(
            f"input {port.name!r} is {port.dtype}{list(port.shape)}, but {array.dtype}{list(array.shape)} was given"
        )
    tensor = graph.tensor(port.tensor)
    if port.dtype == "float32":
        assert tensor.scale is not None  # a verified graph has the scale of a float port
        codes = quantize_linear(array, tensor.scale, tensor.zero_point, INT8_MIN, INT8_MAX)
    else:
        codes = array.astype(np.int32) - (UINT8_SHIFT if port.dtype == "uint8" else 0)
    return codes.astype(tensor.dtype).reshape(tensor.shape)


def dequantize_output(graph: Graph, port: Port, stored: Stored) -> NDArray[Any]:
    """An output as the caller sees it; float32 as ONNX DequantizeLinear, one float32 product."""
    tensor = graph.tensor(port.tensor)
    if port.dtype == "float32":
        assert tensor.scale is not None  # a verified graph has the scale of a float port
        outside: NDArray[Any] = (stored.astype(np.int32) - tensor.zero_point).astype(np.float32) * tensor.scale
    else:
        shift = UINT8_SHIFT if port.dtype == "uint8" else 0
        outside = (stored.astype(np.int64) + shift).astype(port.dtype)
    return outside.reshape(port.shape)


def quantize_linear(
    values: ArrayLike, scale: ArrayLike, zero_point: ArrayLike, lowest: int, highest: int
) -> Int32Array:
    """ONNX QuantizeLinear to the codes `lowest`..`highest`, bit for bit as ONNX Runtime evaluates it."""
    zero = np.asarray(zero_point, np.int32)
    with np.errstate(over="ignore"):
        quotient = np.asarray(values, np.float32) / np.asarray(scale, np.float32)
    # fmax and fmin return the bound for a NaN, as the vector instructions in ONNX Runtime do.
    bounded = np.fmin(np.fmax(quotient, lowest - zero), highest - zero)
    return np.asarray(np.rint(bounded).astype(np.int32) + zero)


def requantise(acc: Int32Array, requant: Requantise) -> Int8Array:
    """The int8 result of `requant` on int32 sums of shape (..., lanes)."""
    words = numerics.int32_to_fp32(acc)
    for multiplier in requant.multipliers:
        words = numerics.fp32_mul(words, _words(multiplier))
    if requant.offset is not None:
        words = numerics.fp32_add(words, _words(requant.offset))
    return _to_int8(words, requant)


def add_activations(op: Add, lhs: Int8Array, rhs: Int8Array) -> Int8Array:
    """The int8 result of an Add on two stored operands (of any shapes that broadcast)."""
    left = numerics.fp32_mul(_centred(lhs, op.lhs_zero_point), _words(op.lhs_multiplier))
    right = numerics.fp32_mul(_centred(rhs, op.rhs_zero_point), _words(op.rhs_multiplier))
    if op.offset is not None:
        right = numerics.fp32_add(right, _words(op.offset))
    return _to_int8(numerics.fp32_add(left, right), op.requant)


def multiply_activations(op: Mul, lhs: Int8Array, rhs: Int8Array) -> Int8Array:
    """The int8 result of a Mul on two stored operands (of any shapes that broadcast)."""
    left = lhs.astype(np.int32) - np.int32(op.lhs_zero_point)
    return requantise(left * (rhs.astype(np.int32) - np.int32(op.rhs_zero_point)), op.requant)


def _evaluate_op(op: Op, values: Mapping[str, Stored]) -> Stored:
    match op:
        case MatMul():
            return _matmul(op, _int8(values[op.input]))
        case Unary():
            acc = _int8(values[op.input]).astype(np.int32) - np.int32(op.input_zero_point)
            return requantise(acc, op.requant)
        case Add():
            return add_activations(op, _int8(values[op.lhs]), _int8(values[op.rhs]))
        case Mul():
            return multiply_activations(op, _int8(values[op.lhs]), _int8(values[op.rhs]))
        case Reshape():
            return values[op.input]


def _matmul(op: MatMul, x: Int8Array) -> Stored:
    # float64 holds every int8 dot product shorter than 2**38 exactly, and multiplies far faster than numpy integers.
    rows = x.reshape(-1, x.shape[-1]).astype(np.float64)
    acc = sum(rows @ weights.astype(np.float64) for weights in op.weights)
    total = np.asarray(acc).astype(np.int64) + (0 if op.bias is None else op.bias)
    sums = total.astype(np.int32)
    return sums if op.requant is None else requantise(sums, op.requant)


def _to_int8(words: numerics.Words, requant: Requantise) -> Int8Array:
    codes = numerics.int32_add(numerics.fp32_to_int32(words), np.asarray(requant.zero_point, np.int32))
    return np.clip(numerics.saturate_int8(codes), requant.lo, requant.hi).astype(np.int8)


def _centred(stored: Int8Array, zero_point: int) -> numerics.Words:
    return numerics.int32_to_fp32(stored.astype(np.int32) - np.int32(zero_point))


def _words(constant: Float32Array | np.float32) -> numerics.Words:
    return numerics.to_bits(np.atleast_1d(np.asarray(constant, np.float32)))


def _int8(stored: Stored) -> Int8Array:
    return stored.astype(np.int8, copy=False)
