# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The graph between front ends and back end: a network of exact integer operations on int8 matrices.

A front end has already decided every constant, so nothing here depends on ONNX and nothing is left to taste: two
evaluations of a graph give equal bytes. A tensor is a matrix of `rows` x `lanes` (the product of the leading
dimensions x the last one). Activations are stored as int8: a uint8 tensor holds `value - 128`, and its zero point is
shifted alike, so neither the chip nor the back end knows uint8.

Arithmetic. `fl(.)` is one IEEE binary32 operation, rounded to nearest even. There is no fused multiply-add: each
product and each sum rounds on its own. `x`, `a`, `b` are stored int8 values, n is the lane.

`Requantise(multipliers, offset, zero_point, lo, hi)` turns an int32 `acc` into int8, in this order:

    v = fl(acc)                                   int32 to fp32
    v = fl(v * m[n])       for m in multipliers   0, 1 or 2 factors, each one number or one a lane
    v = fl(v + offset[n])                         left out when `offset` is None
    i = round_to_nearest_even(v)                  fp32 to int32, saturating
    y = saturate_int8(i + zero_point)             int32 add, saturating to int8
    y = min(max(y, lo), hi)                       left out when lo, hi = -128, 127

The clamp commutes with rounding, since its bounds are whole numbers: a back end may as well do it in fp32 before the
rounding, with the bounds `lo - zero_point` and `hi - zero_point` (exact in fp32).

    MatMul   acc = sum_k x[k] * w[k, n], over all `weights`, + bias[n]; then `requant`, or raw int32 when it is None.
             The input's zero point is already inside `bias`: the matrix unit multiplies the stored bytes.
             `weights` is usually one int8 matrix [K, N]; a weight with a zero point that does not fit int8 comes as
             two or three matrices whose products are summed in the same accumulator. acc never leaves int32.
    Unary    acc = x - input_zero_point; then `requant`. Copy, rescaling, Relu, Clip, sum or product with a constant.
    Add      a' = fl(lhs - lhs_zero_point), b' = fl(rhs - rhs_zero_point)
             v = fl(fl(a' * lhs_multiplier) + fl(fl(b' * rhs_multiplier) + offset)), without `+ offset` when it is None;
             then rounding, zero point and clamp of `requant`, which has no multipliers and no offset of its own.
    Mul      acc = (lhs - lhs_zero_point) * (rhs - rhs_zero_point), exact in int32 (and in fp32); then `requant`.
    Reshape  the same bytes in the same lanes, read as another shape; the last dimension does not change.

Zero points in operations are subtracted from *stored* values. One that is 0 costs the back end no instruction.

A `Port` is what the host sees: for a float32 port it quantises or dequantises with the tensor's scale and zero point,
for a uint8 port it moves the value by 128, and it reshapes between the port's shape and the tensor's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, TypeAlias
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from openlpu.compiler.errors import InternalCompilerError

Int8Array: TypeAlias = NDArray[np.int8]
Int32Array: TypeAlias = NDArray[np.int32]
Float32Array: TypeAlias = NDArray[np.float32]
StoredType: TypeAlias = Literal["int8", "int32"]
OutsideType: TypeAlias = Literal["float32", "int8", "uint8", "int32"]

INT8_MIN, INT8_MAX = -128, 127
UINT8_SHIFT = 128
"""What is subtracted from a uint8 value, and from its zero point, to store it as int8."""


@dataclass(frozen=True)
class Tensor:
    """A matrix on the chip.

    `scale` and `zero_point` give a stored value its meaning, `(stored - zero_point) * scale`; `scale` is None when the
    model states none (int32 results). `outside` is the type of the same tensor in the model.
    """

    name: str
    shape: tuple[int, ...]
    dtype: StoredType
    outside: OutsideType
    scale: np.float32 | None = None
    zero_point: int = 0

    @property
    def rows(self) -> int:
        """Vectors in the tensor: the product of all dimensions but the last."""
        return prod(self.shape[:-1])

    @property
    def lanes(self) -> int:
        """Elements of one vector: the last dimension, 1 for a scalar."""
        return self.shape[-1] if self.shape else 1


@dataclass(frozen=True)
class Port:
    """An input or output of the network as the host sees it, and the tensor that holds it on the chip."""

    name: str
    tensor: str
    dtype: OutsideType
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Requantise:
    """The way from an int32 sum to int8; the module's docstring has the order of operations.

    Each of `multipliers`, and `offset`, is a float32 array of shape () or (lanes,).
    """

    multipliers: tuple[Float32Array, ...]
    zero_point: int
    offset: Float32Array | None = None
    lo: int = INT8_MIN
    hi: int = INT8_MAX


@dataclass(frozen=True, eq=False)
class MatMul:
    """`output = requant(input @ sum(weights) + bias)`; `bias` is int32 (lanes,) or None."""

    output: str
    input: str
    weights: tuple[Int8Array, ...]
    bias: Int32Array | None
    requant: Requantise | None


@dataclass(frozen=True, eq=False)
class Unary:
    """`output = requant(input - input_zero_point)`."""

    output: str
    input: str
    input_zero_point: int
    requant: Requantise


@dataclass(frozen=True, eq=False)
class Add:
    """Sum of two activations of one shape, each with its own multiplier."""

    output: str
    lhs: str
    rhs: str
    lhs_zero_point: int
    rhs_zero_point: int
    lhs_multiplier: np.float32
    rhs_multiplier: np.float32
    offset: np.float32 | None
    requant: Requantise


@dataclass(frozen=True, eq=False)
class Mul:
    """`output = requant((lhs - lhs_zero_point) * (rhs - rhs_zero_point))` of two activations of one shape."""

    output: str
    lhs: str
    rhs: str
    lhs_zero_point: int
    rhs_zero_point: int
    requant: Requantise


@dataclass(frozen=True)
class Reshape:
    """The same vectors under another shape; nothing moves."""

    output: str
    input: str


Op: TypeAlias = MatMul | Unary | Add | Mul | Reshape


def operands(op: Op) -> tuple[str, ...]:
    """Names of the activations an operation reads, in order."""
    match op:
        case Add() | Mul():
            return (op.lhs, op.rhs)
        case _:
            return (op.input,)


@dataclass(frozen=True)
class Graph:
    """A network: tensors, operations in an order that computes them, and ports.

    `notes` are remarks for the user about this import (never needed to compute): operators for which ONNX Runtime
    itself leaves integer arithmetic, so that equality with it is not promised.
    """

    name: str
    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    notes: tuple[str, ...] = ()

    def tensor(self, name: str) -> Tensor:
        """Return the tensor of this name; KeyError when there is none."""
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise KeyError(name)

    def verify(self) -> None:
        """Check every rule of this module; raise InternalCompilerError naming the first one broken."""
        _Verifier(self).run()

    def __str__(self) -> str:
        return "\n".join(_dump(self)) + "\n"


class _Verifier:
    """One verification; `where` is put before each message."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tensors = {tensor.name: tensor for tensor in graph.tensors}
        self.where = f"graph {graph.name!r}"

    def check(self, condition: bool, message: str) -> None:
        if not condition:
            raise InternalCompilerError(f"{self.where}: {message}")

    def run(self) -> None:
        self.check(len(self.tensors) == len(self.graph.tensors), "two tensors share a name")
        for tensor in self.graph.tensors:
            self.check(all(size > 0 for size in tensor.shape), f"tensor {tensor.name!r} has an empty shape")
            self.check(INT8_MIN <= tensor.zero_point <= INT8_MAX, f"zero point of {tensor.name!r} is not int8")
            expected = "int32" if tensor.outside == "int32" else "int8"
            self.check(tensor.dtype == expected, f"{tensor.name!r} is {tensor.outside} outside but {tensor.dtype} here")
        known: set[str] = set()
        for port in self.graph.inputs:
            self._port(port)
            self.check(port.tensor not in known, f"two inputs share tensor {port.tensor!r}")
            known.add(port.tensor)
        for index, op in enumerate(self.graph.ops):
            self.where = f"graph {self.graph.name!r}, op {index} ({type(op).__name__} {op.output!r})"
            for name in operands(op):
                self.check(name in known, f"reads {name!r}, which nothing before it computes")
            self.check(op.output in self.tensors, "writes an undeclared tensor")
            self.check(op.output not in known, "writes a tensor that is already computed")
            self._op(op)
            known.add(op.output)
        self.where = f"graph {self.graph.name!r}"
        self.check(known == set(self.tensors), f"tensors never computed: {sorted(set(self.tensors) - known)}")
        for port in self.graph.outputs:
            self._port(port)
        self.check(bool(self.graph.outputs), "no output")

    def _port(self, port: Port) -> None:
        self.check(port.tensor in self.tensors, f"port {port.name!r} has no tensor")
        tensor = self.tensors[port.tensor]
        self.check(prod(port.shape) == prod(tensor.shape), f"port {port.name!r} and its tensor differ in size")
        if port.dtype == "float32":
            self.check(tensor.scale is not None and tensor.dtype == "int8", f"float port {port.name!r} needs a scale")
        else:
            self.check(port.dtype == tensor.outside, f"port {port.name!r} and its tensor differ in type")

    def _op(self, op: Op) -> None:
        out = self.tensors[op.output]
        sources = [self.tensors[name] for name in operands(op)]
        self.check(isinstance(op, Reshape) or all(s.dtype == "int8" for s in sources), "reads a tensor not int8")
        match op:
            case MatMul():
                self._matmul(op, sources[0], out)
            case Unary():
                self.check(sources[0].shape == out.shape, "input and output differ in shape")
                self._zero_point(op.input_zero_point)
                self._requantise(op.requant, out, {1, 2})
            case Add() | Mul():
                self.check(all(s.shape == out.shape for s in sources), "operands and output differ in shape")
                self._zero_point(op.lhs_zero_point)
                self._zero_point(op.rhs_zero_point)
                self._requantise(op.requant, out, {0} if isinstance(op, Add) else {1})
                if isinstance(op, Add):
                    self.check(op.requant.offset is None, "an Add has its offset inside")
            case Reshape():
                self.check(sources[0].rows == out.rows and sources[0].lanes == out.lanes, "changes lanes or rows")
                self.check(sources[0].dtype == out.dtype, "changes type")

    def _matmul(self, op: MatMul, source: Tensor, out: Tensor) -> None:
        self.check(bool(op.weights), "has no weights")
        for weights in op.weights:
            self.check(weights.dtype == np.int8, "weights are not int8")
            self.check(weights.shape == (source.lanes, out.lanes), f"weights have shape {weights.shape}")
        self.check(source.rows == out.rows, "changes the number of rows")
        if op.bias is not None:
            self.check(op.bias.dtype == np.int32 and op.bias.shape == (out.lanes,), "bias is not int32 (lanes,)")
        reach = sum(np.abs(w.astype(np.int64)).sum(axis=0) for w in op.weights) * -INT8_MIN
        total = reach + (0 if op.bias is None else np.abs(op.bias.astype(np.int64)))
        self.check(int(np.max(total)) < 2**31, "the sum can leave int32")
        if op.requant is None:
            self.check(out.dtype == "int32", "has no requantisation but is not int32")
        else:
            self._requantise(op.requant, out, {1})
            self.check(op.requant.offset is None, "a MatMul has no offset: use the bias")

    def _zero_point(self, zero_point: int) -> None:
        # A zero point may also undo the shift of a uint8 value, and then reaches -128 + -127.
        self.check(-255 <= zero_point <= 255, f"zero point {zero_point} is out of range")

    def _requantise(self, requant: Requantise, out: Tensor, factors: set[int]) -> None:
        self.check(out.dtype == "int8", "requantises to a tensor that is not int8")
        self.check(len(requant.multipliers) in factors, f"has {len(requant.multipliers)} multipliers")
        constants = requant.multipliers + (() if requant.offset is None else (requant.offset,))
        for array in constants:
            self.check(array.dtype == np.float32 and array.shape in ((), (out.lanes,)), "constant is not per lane fp32")
            self.check(bool(np.isfinite(array).all()), "constant is not finite")
        self.check(-256 <= requant.zero_point <= 255, f"zero point {requant.zero_point} is out of range")
        self.check(INT8_MIN <= requant.lo <= requant.hi <= INT8_MAX, "clamp is not an int8 range")


def _dump(graph: Graph) -> Iterator[str]:
    yield f"graph {graph.name}"
    for port in graph.inputs:
        yield f"  input  {port.name}: {port.dtype}{list(port.shape)} -> %{port.tensor}"
    tensors = {tensor.name: tensor for tensor in graph.tensors}
    for port in graph.inputs:
        yield f"  {_tensor_text(tensors[port.tensor])}"
    for op in graph.ops:
        yield f"  {_tensor_text(tensors[op.output])} = {_op_text(op)}"
    for port in graph.outputs:
        yield f"  output {port.name}: {port.dtype}{list(port.shape)} <- %{port.tensor}"
    for note in graph.notes:
        yield f"  note   {note}"


def _tensor_text(tensor: Tensor) -> str:
    meaning = "" if tensor.scale is None else f" scale={tensor.scale!s} zero={tensor.zero_point}"
    return f"%{tensor.name}: {tensor.dtype}{list(tensor.shape)}{meaning}"


def _op_text(op: Op) -> str:
    reads = ", ".join(f"%{name}" for name in operands(op))
    match op:
        case MatMul():
            weights = " + ".join(_array_text(w) for w in op.weights)
            bias = "" if op.bias is None else f", bias={_array_text(op.bias)}"
            requant = "raw int32" if op.requant is None else _requantise_text(op.requant)
            return f"matmul {reads}, weights={weights}{bias}, {requant}"
        case Unary():
            return f"unary {reads} - {op.input_zero_point}, {_requantise_text(op.requant)}"
        case Add():
            offset = "" if op.offset is None else f" + {op.offset!s}"
            terms = (
                f"(%{op.lhs} - {op.lhs_zero_point}) * {op.lhs_multiplier!s}"
                f" + ((%{op.rhs} - {op.rhs_zero_point}) * {op.rhs_multiplier!s}{offset})"
            )
            return f"add {terms}, {_requantise_text(op.requant)}"
        case Mul():
            terms = f"(%{op.lhs} - {op.lhs_zero_point}) * (%{op.rhs} - {op.rhs_zero_point})"
            return f"mul {terms}, {_requantise_text(op.requant)}"
        case Reshape():
            return f"reshape {reads}"


def _requantise_text(requant: Requantise) -> str:
    factors = "".join(f" * {_array_text(m)}" for m in requant.multipliers)
    offset = "" if requant.offset is None else f" + {_array_text(requant.offset)}"
    clamp = "" if (requant.lo, requant.hi) == (INT8_MIN, INT8_MAX) else f" clamp [{requant.lo}, {requant.hi}]"
    return f"int8(round(.{factors}{offset}) + {requant.zero_point}){clamp}"


def _array_text(array: NDArray[Any]) -> str:
    # A checksum pins the contents without printing them: equal dumps then mean equal graphs.
    if array.ndim == 0:
        return str(array[()])
    shape = "x".join(str(size) for size in array.shape)
    return f"{array.dtype}[{shape}]#{crc32(np.ascontiguousarray(array).tobytes()):08x}"
