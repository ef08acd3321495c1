# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What a graph computes, in numpy: the meaning of the IR, and the yardstick of everything behind it.

The vector arithmetic is `openlpu.arch.numerics`, the same functions that define the hardware's; the matrix product
is an exact integer product, and `Reduce` combines halves until one element is left. The host's part of a run, between
the caller's arrays and the bytes on the chip, is here too (`quantize_input`, `dequantize_output`), so that every
backend shares it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openlpu.arch import numerics
from openlpu.compiler.errors import CompileError
from openlpu.compiler.graph import (
    INT8_MAX,
    INT8_MIN,
    UINT8_SHIFT,
    Add,
    ConstantTensor,
    Float32Array,
    FloatFunction,
    FloatStep,
    Graph,
    Int8Array,
    Int32Array,
    Lookup,
    MatMul,
    Mul,
    Op,
    Pointwise,
    Port,
    Product,
    Rearrange,
    Reduce,
    Requantise,
    Reshape,
    Unary,
    step_operands,
)

Stored: TypeAlias = Int8Array | Int32Array | Float32Array | NDArray[np.int64]
"""A tensor as the chip holds it; indices are int64 here."""


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
    a NaN becomes the lowest code, as in ONNX Runtime. Floats that stay floats, and indices, pass as they are. Raises
    CompileError for another shape or type than the port's, and for an index outside of a table it is for.
    """
    if array.shape != port.shape or array.dtype != np.dtype(port.dtype):
        raise CompileError(
            f"input {port.name!r} is {port.dtype}{list(port.shape)}, but {array.dtype}{list(array.shape)} was given"
        )
    tensor = graph.tensor(port.tensor)
    if tensor.dtype == "float32":
        return np.asarray(array.reshape(tensor.shape), np.float32)
    if tensor.dtype == "index":
        _check_indices(graph, port, array)
        return array.astype(np.int64).reshape(tensor.shape)
    if port.dtype == "float32":
        assert tensor.scale is not None  # a verified graph has the scale of a float port that is quantised
        codes = quantize_linear(array, tensor.scale, tensor.zero_point, INT8_MIN, INT8_MAX)
    else:
        codes = array.astype(np.int32) - (UINT8_SHIFT if port.dtype == "uint8" else 0)
    return codes.astype(tensor.dtype).reshape(tensor.shape)


def dequantize_output(graph: Graph, port: Port, stored: Stored) -> NDArray[Any]:
    """An output as the caller sees it; codes that are float32 outside as ONNX DequantizeLinear, one float32 product."""
    tensor = graph.tensor(port.tensor)
    if tensor.dtype == "float32":
        return stored.reshape(port.shape)
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


def run_steps(words: numerics.Words, steps: Sequence[FloatStep], values: Mapping[str, Stored]) -> numerics.Words:
    """A float chain on patterns of shape (..., lanes); `values` holds the tensors it names; shapes broadcast."""
    for step in steps:
        match step.operand:
            case None:
                words = _ONE_OPERAND[step.function](words)
            case str():
                words = _TWO_OPERANDS[step.function](words, numerics.to_bits(_float(values[step.operand])))
            case constant:
                # The operand of a bitwise function is int32, a pattern already.
                words = _TWO_OPERANDS[step.function](words, np.atleast_1d(constant).view(np.int32))
    return words


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


_ONE_OPERAND: Mapping[FloatFunction, Callable[[numerics.Words], numerics.Words]] = {
    "exp": numerics.fp32_exp,
    "recip": numerics.fp32_recip,
    "rsqrt": numerics.fp32_rsqrt,
    "tanh": numerics.fp32_tanh,
}
_TWO_OPERANDS: Mapping[FloatFunction, Callable[[numerics.Words, numerics.Words], numerics.Words]] = {
    "fadd": numerics.fp32_add,
    "fsub": numerics.fp32_sub,
    "fmul": numerics.fp32_mul,
    "fmax": numerics.fp32_max,
    "fmin": numerics.fp32_min,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}


def _evaluate_op(op: Op, values: Mapping[str, Stored]) -> Stored:
    match op:
        case MatMul():
            return _finish(_matmul(op, _int8(values[op.input])), op, values)
        case Product():
            return _finish(_product(op, _int8(values[op.lhs]), _int8(values[op.rhs])), op, values)
        case Unary():
            acc = _int8(values[op.input]).astype(np.int32) - np.int32(op.input_zero_point)
            return requantise(acc, op.requant)
        case Add():
            return add_activations(op, _int8(values[op.lhs]), _int8(values[op.rhs]))
        case Mul():
            return multiply_activations(op, _int8(values[op.lhs]), _int8(values[op.rhs]))
        case Pointwise():
            words = run_steps(_pointwise_input(op, values[op.input]), op.steps, values)
            return numerics.from_bits(words) if op.requant is None else _to_int8(words, op.requant)
        case Reduce():
            return _reduce(op, _float(values[op.input]))
        case Reshape():
            return values[op.input]
        case Rearrange():
            elements: NDArray[Any] = np.concatenate([values[name].ravel() for name in op.inputs])
            return elements[op.source]
        case Lookup():
            return op.table[values[op.indices][..., 0].astype(np.int64)]
        case ConstantTensor():
            return op.values


def _matmul(op: MatMul, x: Int8Array) -> Int32Array:
    # float64 holds every int8 dot product shorter than 2**38 exactly, and multiplies far faster than numpy integers.
    wide = x.astype(np.float64)
    acc = sum(wide @ weights.astype(np.float64) for weights in op.weights)
    total = np.asarray(acc).astype(np.int64) + (0 if op.bias is None else op.bias)
    return total.astype(np.int32)


def _product(op: Product, lhs: Int8Array, rhs: Int8Array) -> Int32Array:
    matrices = (rhs.swapaxes(-1, -2) if op.transposed else rhs).astype(np.float64) - op.rhs_zero_point
    return ((lhs.astype(np.float64) - op.lhs_zero_point) @ matrices).astype(np.int32)


def _finish(sums: Int32Array, op: MatMul | Product, values: Mapping[str, Stored]) -> Stored:
    if not op.steps:
        return sums if op.requant is None else requantise(sums, op.requant)
    # The output may have another shape than the sums, of as many rows; tensors among the operands have the output's.
    lanes = sums.shape[-1]
    operands = {name: _float(values[name]).reshape(-1, values[name].shape[-1]) for name in step_operands(op.steps)}
    words = run_steps(numerics.int32_to_fp32(sums).reshape(-1, lanes), op.steps, operands)
    return numerics.from_bits(words) if op.requant is None else _to_int8(words, op.requant)


def _pointwise_input(op: Pointwise, stored: Stored) -> numerics.Words:
    if stored.dtype == np.float32:
        return numerics.to_bits(_float(stored))
    return numerics.int32_to_fp32(stored.astype(np.int32) - np.int32(op.input_zero_point))


def _reduce(op: Reduce, x: Float32Array) -> Float32Array:
    words = numerics.to_bits(x)
    combine = _TWO_OPERANDS[op.function]
    # Halves are combined until one is left: as many roundings for each element as an adder tree has.
    while (lanes := words.shape[-1]) > 1:
        half = lanes // 2
        rest = words[..., 2 * half :]
        words = np.concatenate([combine(words[..., :half], words[..., half : 2 * half]), rest], axis=-1)
    return numerics.from_bits(words)


def _check_indices(graph: Graph, port: Port, array: NDArray[Any]) -> None:
    for op in graph.ops:
        if isinstance(op, Lookup) and op.indices == port.tensor and array.size:
            entries = len(op.table)
            if array.min() < 0 or array.max() >= entries:
                raise CompileError(
                    f"input {port.name!r} holds an index from {array.min()} to {array.max()}, but its table has "
                    f"{entries} entries: give indices from 0 to {entries - 1}"
                )


def _to_int8(words: numerics.Words, requant: Requantise) -> Int8Array:
    codes = numerics.fp32_to_int32(words, np.asarray(requant.zero_point, np.int32))
    return np.clip(numerics.saturate_int8(codes), requant.lo, requant.hi).astype(np.int8)


def _centred(stored: Int8Array, zero_point: int) -> numerics.Words:
    return numerics.int32_to_fp32(stored.astype(np.int32) - np.int32(zero_point))


def _words(constant: Float32Array | np.float32) -> numerics.Words:
    return numerics.to_bits(np.atleast_1d(np.asarray(constant, np.float32)))


def _int8(stored: Stored) -> Int8Array:
    return stored.astype(np.int8, copy=False)


def _float(stored: Stored) -> Float32Array:
    # A verified graph names float32 tensors only where floats are read.
    return cast(Float32Array, stored)
