# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The rules of `openlpu.compiler.graph`, checked: shapes, types, order and ranges."""

from collections.abc import Sequence
from math import prod

import numpy as np

from openlpu.arch.isa import BY_MNEMONIC
from openlpu.compiler.errors import InternalCompilerError
from openlpu.compiler.graph import (
    INT8_MAX,
    INT8_MIN,
    Add,
    ConstantTensor,
    FloatStep,
    Graph,
    Lookup,
    MatMul,
    Mul,
    Op,
    OutsideType,
    Pointwise,
    Port,
    Product,
    Rearrange,
    Reduce,
    Requantise,
    Reshape,
    StoredType,
    Tensor,
    Unary,
    operands,
)


def verify(graph: Graph) -> None:
    """Check every rule of the IR; raise InternalCompilerError naming the first one broken."""
    _Verifier(graph).run()


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
        dtype: StoredType = "int8" if op.requant else "float32" if op.steps else "int32"
        self._finish(op.requant, out, {0} if op.steps else {1}, dtype)
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
