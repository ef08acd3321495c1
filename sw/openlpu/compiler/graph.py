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

    MatMul      with a float32 output: v = fl(acc), then `steps`.
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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, TypeAlias
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from openlpu.arch.isa import BY_MNEMONIC
from openlpu.compiler.errors import InternalCompilerError

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

    The output is int8, by `requant`; or int32, the sums themselves; or float32, by `steps`.
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
            return (op.lhs, op.rhs, *_step_operands(op.steps))
        case MatMul() | Pointwise():
            return (op.input, *_step_operands(op.steps))
        case Rearrange():
            return op.inputs
        case Lookup():
            return (op.indices,)
        case ConstantTensor():
            return ()
        case _:
            return (op.input,)


def _step_operands(steps: tuple[FloatStep, ...]) -> tuple[str, ...]:
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
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise KeyError(name)

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
        _Verifier(self).run()

    def __str__(self) -> str:
        return "\n".join(_dump(self)) + "\n"


_OUTSIDE: dict[StoredType, tuple[OutsideType, ...]] = {
    "int8": ("int8", "uint8"),
    "int32": ("int32",),
    "float32": ("float32",),
    "index": ("int32", "int64"),
}
"""What each stored type may be in the model."""
_BITWISE = ("and", "or", "xor")


class _Verifier:
    """One verification; `where` is put before each message."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tensors = {tensor.name: tensor for tensor in graph.tensors}
        self.where = f"graph {graph.name!r}"
        self.reduced = graph.reduced()

    def check(self, condition: bool, message: str) -> None:
        if not condition:
            raise InternalCompilerError(f"{self.where}: {message}")

    def run(self) -> None:
        self.check(len(self.tensors) == len(self.graph.tensors), "two tensors share a name")
        for tensor in self.graph.tensors:
            self.check(all(size > 0 for size in tensor.shape), f"tensor {tensor.name!r} has an empty shape")
            self.check(INT8_MIN <= tensor.zero_point <= INT8_MAX, f"zero point of {tensor.name!r} is not int8")
            self.check(
                tensor.outside in _OUTSIDE[tensor.dtype],
                f"{tensor.name!r} is {tensor.outside} outside, {tensor.dtype} here",
            )
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
        if port.dtype == "float32" and tensor.dtype != "float32":
            self.check(tensor.scale is not None and tensor.dtype == "int8", f"float port {port.name!r} needs a scale")
        else:
            self.check(port.dtype == tensor.outside, f"port {port.name!r} and its tensor differ in type")

    def _op(self, op: Op) -> None:
        out = self.tensors[op.output]
        sources = [self.tensors[name] for name in operands(op)]
        match op:
            case MatMul():
                self._types(sources[:1], "int8")
                self._matmul(op, sources[0], out)
            case Product():
                self._types(sources[:2], "int8")
                self._product(op, sources[0], sources[1], out)
            case Pointwise():
                self.check(sources[0].dtype != "index", "computes with an index")
                self.check(sources[0].shape == out.shape, "input and output differ in shape")
                self.check(sources[0].dtype != "float32" or op.input_zero_point == 0, "a float has no zero point")
                self._zero_point(op.input_zero_point)
                self._steps(op.steps, out)
                self._finish(op.requant, out, {0}, "int8" if op.requant else "float32")
            case Reduce():
                self._types([*sources, out], "float32")
                self.check(out.shape == (*sources[0].shape[:-1], 1), "does not leave one element a row")
            case Rearrange():
                self._types(sources, out.dtype)
                elements = sum(prod(source.shape) for source in sources)
                inside = bool((op.source >= 0).all() and (op.source < elements).all())
                self.check(op.source.shape == out.shape and inside, "takes elements that are not there")
            case Lookup():
                self._types(sources, "index")
                self.check(op.table.dtype == out.dtype, f"looks {op.table.dtype} up for {out.dtype}")
                self.check(out.shape == (*sources[0].shape[:-1], op.table.shape[-1]), "and its table differ in shape")
            case ConstantTensor():
                self.check(op.values.dtype == out.dtype, f"is {op.values.dtype}, but its output is {out.dtype}")
                self.check(op.values.shape == out.shape, "and its output differ in shape")
            case Unary():
                self._types(sources, "int8")
                self.check(sources[0].shape == out.shape, "input and output differ in shape")
                self._zero_point(op.input_zero_point)
                self._requantise(op.requant, out, {1, 2})
            case Add() | Mul():
                self._types(sources, "int8")
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
        self._finish_sums(op, out)

    def _product(self, op: Product, lhs: Tensor, rhs: Tensor, out: Tensor) -> None:
        inner, columns = rhs.shape[-2:][::-1] if op.transposed else rhs.shape[-2:]
        self.check(lhs.shape[:-2] == rhs.shape[:-2], "multiplies different numbers of matrices")
        self.check(lhs.shape[-1] == inner, "multiplies matrices that do not fit")
        self.check(out.shape == (*lhs.shape[:-1], columns), "has an output of another shape")
        self._zero_point(op.lhs_zero_point)
        self._zero_point(op.rhs_zero_point)
        self.check(inner * 510 * 510 < 2**31, "the sum can leave int32")
        self._finish_sums(op, out)

    def _finish_sums(self, op: MatMul | Product, out: Tensor) -> None:
        self.check(op.requant is None or not op.steps, "is both requantised and a float")
        self._finish(op.requant, out, {1}, "int8" if op.requant else "float32" if op.steps else "int32")
        self._steps(op.steps, out)

    def _finish(self, requant: Requantise | None, out: Tensor, factors: set[int], dtype: StoredType) -> None:
        self.check(out.dtype == dtype, f"computes {dtype}, but its output is {out.dtype}")
        if requant is not None:
            self._requantise(requant, out, factors)
            self.check(requant.offset is None, "adds an offset after its sums are complete")

    def _types(self, tensors: Sequence[Tensor], dtype: StoredType) -> None:
        for tensor in tensors:
            self.check(tensor.dtype == dtype, f"takes {dtype}, but {tensor.name!r} is {tensor.dtype}")

    def _steps(self, steps: tuple[FloatStep, ...], out: Tensor) -> None:
        for step in steps:
            arity = 1 if step.operand is None else 2
            self.check(BY_MNEMONIC[step.function].arity == arity, f"{step.function} does not take {arity} operands")
            match step.operand:
                case str():
                    operand = self.tensors[step.operand]
                    self._types([operand], "float32")
                    spread = operand.name in self.reduced and operand.rows == out.rows
                    self.check(spread or operand.shape == out.shape, f"{operand.name!r} differs in shape")
                case np.ndarray():
                    dtype = np.int32 if step.function in _BITWISE else np.float32
                    self.check(step.operand.dtype == dtype, f"{step.function} has a constant of {step.operand.dtype}")
                    self.check(step.operand.shape in ((), (out.lanes,)), "constant is not one number or one a lane")

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
            return f"matmul %{op.input}, weights={weights}{bias}, {_finish_text(op.requant, op.steps)}"
        case Product():
            rhs = f"(%{op.rhs} - {op.rhs_zero_point}){' transposed' if op.transposed else ''}"
            return f"product (%{op.lhs} - {op.lhs_zero_point}) @ {rhs}, {_finish_text(op.requant, op.steps)}"
        case Pointwise():
            return f"pointwise %{op.input} - {op.input_zero_point}, {_finish_text(op.requant, op.steps)}"
        case Reduce():
            return f"reduce {reads} by {op.function}"
        case Rearrange():
            return f"rearrange {reads} by {_array_text(op.source)}"
        case Lookup():
            return f"lookup {_array_text(op.table)} at {reads}"
        case ConstantTensor():
            return f"constant {_array_text(op.values)}"
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


def _finish_text(requant: Requantise | None, steps: tuple[FloatStep, ...]) -> str:
    texts = [_step_text(step) for step in steps] + ([] if requant is None else [_requantise_text(requant)])
    return " | ".join(texts) or "as it is"


def _step_text(step: FloatStep) -> str:
    match step.operand:
        case None:
            return step.function
        case str():
            return f"{step.function} %{step.operand}"
        case constant:
            return f"{step.function} {_array_text(constant)}"


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
