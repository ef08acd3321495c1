# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The graph between front ends and back end: a network of operations on matrices, int8 where it was quantised.

A front end has already decided every constant, so nothing here depends on ONNX and nothing is left to taste: two
evaluations of a graph give equal bytes, but for the order in which `Reduce` adds. A tensor is a matrix of `rows` x
`lanes` (the product of the leading dimensions x the last one). Quantised activations are stored as int8: a uint8 tensor
holds `value - 128`, and its zero point is shifted alike, so neither the chip nor the back end knows uint8. Where a
network computes in floats, tensors are float32.

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

A chain of `FloatStep`s turns a float32 `v` into another, each step one operation of `openlpu.arch.numerics` on the
patterns of v and, where it takes two, of its operand.

    MatMul      with `steps`: v = fl(acc), then `steps`; then, where the output is int8, rounding, zero point and clamp
                of `requant`, which has no multipliers and no offset.
    Product     acc = sum_k (lhs[k] - lhs_zero_point) * (rhs[k, n] - rhs_zero_point) of two activations, for every
                matrix of the leading dimensions; then as MatMul, without a bias.
    Pointwise   v = input, or fl(input - input_zero_point) of an int8 or int32 one; then `steps`; then rounding, zero
                point and clamp of `requant`, which has no multipliers and no offset, where the output is int8.
    Reduce      v = sum or maximum of a row, its elements taken in any order and grouping.
    Rearrange   every element of the output is an element of an input: no arithmetic.
    Lookup      every row of the output is a row of a constant table.
    ConstantTensor  the output is a constant.

Zero points in operations are subtracted from *stored* values. One that is 0 costs the back end no instruction.

A `Port` is what the host sees: for a float32 port it quantises or dequantises with the tensor's scale and zero point,
for a uint8 port it moves the value by 128, and it reshapes between the port's shape and the tensor's.
"""

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Int8Array: TypeAlias = NDArray[np.int8]
Int32Array: TypeAlias = NDArray[np.int32]
Float32Array: TypeAlias = NDArray[np.float32]
StoredType: TypeAlias = Literal["int8", "int32", "float32", "index"]
"""What an element is on the chip. An index is two bytes, low and high, in lanes 0 and 1 of a row of its own."""
OutsideType: TypeAlias = Literal["float32", "int8", "uint8", "int32", "int64"]
FloatFunction: TypeAlias = Literal[
    "fadd", "fsub", "fmul", "fmax", "fmin", "and", "or", "xor", "exp", "recip", "rsqrt", "tanh"
]
"""What a step of a float chain does: VXM operations by their mnemonics."""

INT8_MIN, INT8_MAX = -128, 127
UINT8_SHIFT = 128
"""What is subtracted from a uint8 value, and from its zero point, to store it as int8."""


@dataclass(frozen=True)
class Tensor:
    """A matrix on the chip.

    `scale` and `zero_point` give a stored value its meaning, `(stored - zero_point) * scale`; `scale` is None when the
    model states none (int32 results, floats). `outside` is the type of the same tensor in the model.
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
class FloatStep:
    """`v = function(v)`, or `v = function(v, operand)`.

    An operand is a constant of shape () or (lanes,), float32 (for `and`, `or` and `xor` int32), or the name of a
    float32 tensor: of the shape of v, or a reduced one (see `Graph.reduced`) with one element for each row of v.
    """

    function: FloatFunction
    operand: Float32Array | Int32Array | str | None = None


@dataclass(frozen=True, eq=False)
class MatMul:
    """`output = finish(input @ sum(weights) + bias)`; `bias` is int32 (lanes,) or None.

    The output is int8, by `requant`, behind `steps` if there are any; or int32, the sums themselves; or float32, by
    `steps`.
    """

    output: str
    input: str
    weights: tuple[Int8Array, ...]
    bias: Int32Array | None
    requant: Requantise | None
    steps: tuple[FloatStep, ...] = ()


@dataclass(frozen=True, eq=False)
class Product:
    """`output[i] = finish(lhs[i] @ rhs[i])` for every index i of the leading dimensions, the same in all three.

    The last two dimensions are those of matrices; those of `rhs` are exchanged first when `transposed`. The output is
    what it is for a MatMul.
    """

    output: str
    lhs: str
    rhs: str
    lhs_zero_point: int
    rhs_zero_point: int
    transposed: bool
    requant: Requantise | None
    steps: tuple[FloatStep, ...] = ()


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


@dataclass(frozen=True, eq=False)
class Pointwise:
    """A float chain on every element; `requant` is None for a float32 output."""

    output: str
    input: str
    input_zero_point: int
    steps: tuple[FloatStep, ...]
    requant: Requantise | None


@dataclass(frozen=True)
class Reduce:
    """One element for every row of a float32 tensor: its sum (`fadd`) or its maximum (`fmax`).

    The last dimension of the output is 1.
    """

    output: str
    input: str
    function: Literal["fadd", "fmax"]


@dataclass(frozen=True, eq=False)
class Rearrange:
    """Elements in another order, some perhaps left out or repeated: what transposes, concatenates, slices, reshapes.

    `source`, an integer array of the output's shape, holds for each element where it comes from: its place in the
    flattened inputs, one after the other. All inputs are of the output's type.
    """

    output: str
    inputs: tuple[str, ...]
    source: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Lookup:
    """`output[i] = table[indices[i]]`; `table` is int8 or float32 [entries, lanes]. Indices lie in the table."""

    output: str
    indices: str
    table: Int8Array | Float32Array


@dataclass(frozen=True, eq=False)
class ConstantTensor:
    """A constant that is a tensor like any other: int8, int32 or float32, of the output's shape."""

    output: str
    values: Int8Array | Int32Array | Float32Array


Op: TypeAlias = (
    MatMul | Product | Unary | Add | Mul | Pointwise | Reduce | Reshape | Rearrange | Lookup | ConstantTensor
)


def operands(op: Op) -> tuple[str, ...]:
    """Names of the activations an operation reads, in order."""
    match op:
        case Add() | Mul():
            return (op.lhs, op.rhs)
        case Product():
            return (op.lhs, op.rhs, *step_operands(op.steps))
        case MatMul() | Pointwise():
            return (op.input, *step_operands(op.steps))
        case Rearrange():
            return op.inputs
        case Lookup():
            return (op.indices,)
        case ConstantTensor():
            return ()
        case _:
            return (op.input,)


def step_operands(steps: tuple[FloatStep, ...]) -> tuple[str, ...]:
    """Names of the tensors that a float chain reads, in order."""
    return tuple(step.operand for step in steps if isinstance(step.operand, str))


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
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Tensor]:
        return {tensor.name: tensor for tensor in self.tensors}

    def reduced(self) -> frozenset[str]:
        """Tensors with one element a row that may meet all elements of a row: results of `Reduce`, and what `Pointwise`
        makes of them alone."""
        names: set[str] = set()
        for op in self.ops:
            alone = isinstance(op, Pointwise) and names.issuperset(operands(op))
            if isinstance(op, Reduce) or alone:
                names.add(op.output)
        return frozenset(names)

    def verify(self) -> None:
        """Check every rule of this module; raise InternalCompilerError naming the first one broken."""
        # These modules read the classes above, so they cannot be imported before them.
        from openlpu.compiler.graph_verify import verify

        verify(self)

    def __str__(self) -> str:
        from openlpu.compiler.graph_text import lines

        return "\n".join(lines(self)) + "\n"
