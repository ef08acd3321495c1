# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The IR: what every operation computes, to the bit, what its text is, and what the verifier refuses."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from openlpu.arch import numerics
from openlpu.compiler.errors import CompileError, InternalCompilerError
from openlpu.compiler.graph import (
    ConstantTensor,
    FloatFunction,
    FloatStep,
    Graph,
    Lookup,
    MatMul,
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
)
from openlpu.compiler.reference import evaluate_stored

RNG = np.random.default_rng(0)
OUTSIDE: dict[StoredType, OutsideType] = {
    "int8": "int8",
    "int32": "int32",
    "float32": "float32",
    "index": "int64",
}


def tensor(name: str, shape: tuple[int, ...], dtype: StoredType = "float32") -> Tensor:
    return Tensor(name, shape, dtype, OUTSIDE[dtype])


def port(of: Tensor) -> Port:
    shape = of.shape[:-1] if of.dtype == "index" else of.shape
    return Port(of.name, of.name, of.outside, shape)


def graph(inputs: list[Tensor], ops: list[tuple[Op, Tensor]]) -> Graph:
    """A graph whose last operation gives its output."""
    outputs = [of for _, of in ops]
    return Graph(
        "g",
        (*inputs, *outputs),
        tuple(op for op, _ in ops),
        tuple(port(of) for of in inputs),
        (port(outputs[-1]),),
    )


def run(g: Graph, **stored: NDArray[Any]) -> NDArray[Any]:
    g.verify()
    return evaluate_stored(g, stored)[g.outputs[0].tensor]


def number(value: float) -> NDArray[np.float32]:
    return np.asarray(value, np.float32)


FUNCTIONS: dict[FloatFunction, Any] = {
    "fadd": numerics.fp32_add,
    "fsub": numerics.fp32_sub,
    "fmul": numerics.fp32_mul,
    "fmax": numerics.fp32_max,
    "fmin": numerics.fp32_min,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "exp": numerics.fp32_exp,
    "recip": numerics.fp32_recip,
    "rsqrt": numerics.fp32_rsqrt,
    "tanh": numerics.fp32_tanh,
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("operand", ["number", "lanes", "tensor", "row"])
def test_a_step_is_the_operation_of_its_name(function: FloatFunction, operand: str) -> None:
    x, other = (RNG.normal(0, 3, (3, 5)).astype(np.float32) for _ in range(2))
    words = numerics.to_bits(x)
    a, z, y = tensor("a", (3, 5)), tensor("z", (3, 5)), tensor("y", (3, 5))
    row = tensor("row", (3, 1))
    sums = (Reduce("row", "z", "fmax"), row)
    if function in ("exp", "recip", "rsqrt", "tanh"):
        ops: list[tuple[Op, Tensor]] = [(Pointwise("y", "a", 0, (FloatStep(function),), None), y)]
        expected = FUNCTIONS[function](words)
    else:
        bits = function in ("and", "or", "xor")
        constant: Any = {"number": other[0, 0].reshape(()), "lanes": other[0]}.get(operand)
        if constant is not None:
            step = FloatStep(function, constant.view(np.int32) if bits else constant)
            right = constant
        else:
            step = FloatStep(function, "z" if operand == "tensor" else "row")
            right = other if operand == "tensor" else other.max(axis=1, keepdims=True)
        ops = [sums, (Pointwise("y", "a", 0, (step,), None), y)]
        expected = FUNCTIONS[function](words, numerics.to_bits(np.ascontiguousarray(np.broadcast_to(right, x.shape))))
    assert np.array_equal(numerics.to_bits(run(graph([a, z], ops), a=x, z=other)), expected)


def test_codes_become_floats_and_codes_again() -> None:
    codes = np.arange(-128, 128, dtype=np.int8)[None]
    a, y = tensor("a", (1, 256), "int8"), tensor("y", (1, 256), "int8")
    op = Pointwise("y", "a", 100, (FloatStep("fmul", number(0.5)),), Requantise((), 3, lo=-50, hi=60))
    expected = np.clip(np.rint((codes.astype(np.float32) - 100) * 0.5) + 3, -50, 60)
    assert np.array_equal(run(graph([a], [(op, y)]), a=codes), expected)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_product_multiplies_matrix_by_matrix(transposed: bool) -> None:
    lhs = RNG.integers(-128, 128, (2, 3, 4)).astype(np.int8)
    rhs = RNG.integers(-128, 128, (2, 5, 4) if transposed else (2, 4, 5)).astype(np.int8)
    a, b = tensor("a", lhs.shape, "int8"), tensor("b", rhs.shape, "int8")
    sums = (lhs.astype(np.int64) - 7) @ ((rhs.swapaxes(1, 2) if transposed else rhs).astype(np.int64) + 9)
    op = Product("y", "a", "b", 7, -9, transposed, None)
    raw = run(graph([a, b], [(op, tensor("y", (2, 3, 5), "int32"))]), a=lhs, b=rhs)
    assert np.array_equal(raw, sums)
    scaled = replace(op, steps=(FloatStep("fmul", number(0.25)),))
    floats = run(graph([a, b], [(scaled, tensor("y", (2, 3, 5)))]), a=lhs, b=rhs)
    assert np.array_equal(floats, sums.astype(np.float32) * np.float32(0.25))
    codes = replace(op, requant=Requantise((number(0.001),), 5))
    y = run(graph([a, b], [(codes, tensor("y", (2, 3, 5), "int8"))]), a=lhs, b=rhs)
    assert np.array_equal(y, np.clip(np.rint(sums.astype(np.float32) * np.float32(0.001)) + 5, -128, 127))


@pytest.mark.parametrize("lanes", [1, 2, 7, 64])
def test_reductions(lanes: int) -> None:
    x = RNG.integers(-1000, 1000, (3, lanes)).astype(np.float32)
    for function, expected in (("fadd", x.sum(axis=1)), ("fmax", x.max(axis=1))):
        op = Reduce("y", "a", "fadd" if function == "fadd" else "fmax")
        found = run(graph([tensor("a", x.shape)], [(op, tensor("y", (3, 1)))]), a=x)
        assert np.array_equal(found[:, 0], expected)


def test_moves_lookups_and_constants() -> None:
    table = RNG.integers(-128, 128, (9, 4)).astype(np.int8)
    indices = np.array([[[8], [0], [3]]])
    constant = RNG.integers(-128, 128, (1, 2, 4)).astype(np.int8)
    source = RNG.permutation(20).reshape(5, 4)
    ops: list[tuple[Op, Tensor]] = [
        (Lookup("found", "i", table), tensor("found", (1, 3, 4), "int8")),
        (ConstantTensor("c", constant), tensor("c", (1, 2, 4), "int8")),
        (Rearrange("moved", ("found", "c"), source), tensor("moved", (5, 4), "int8")),
        (Reshape("y", "moved"), tensor("y", (5, 1, 4), "int8")),
    ]
    g = graph([tensor("i", (1, 3, 1), "index")], ops)
    expected = np.concatenate([table[[8, 0, 3]], constant[0]]).ravel()[source]
    assert np.array_equal(run(g, i=indices)[:, 0], expected)
    assert [line.split(" = ")[-1].split("#")[0] for line in str(g).splitlines()[3:7]] == [
        "lookup int8[9x4]",
        "constant int8[1x2x4]",
        "rearrange %found, %c by int64[5x4]",
        "reshape %moved",
    ]


def test_the_text_of_chains() -> None:
    steps = (FloatStep("fmul", number(2)), FloatStep("tanh"), FloatStep("fadd", "a"))
    g = graph([tensor("a", (2, 3))], [(Pointwise("y", "a", 0, steps, None), tensor("y", (2, 3)))])
    assert "%y: float32[2, 3] = pointwise %a - 0, fmul 2.0 | tanh | fadd %a" in str(g)


A, B, ROW = tensor("a", (3, 4)), tensor("b", (3, 5)), tensor("row", (3, 1))
CODES, KEYS, INDEX = tensor("a", (2, 3, 4), "int8"), tensor("b", (2, 4, 5), "int8"), tensor("i", (2, 1), "index")
PRODUCT = Product("y", "a", "b", 0, 0, False, None)


def chain(*steps: FloatStep, zero: int = 0, requant: Requantise | None = None) -> Pointwise:
    return Pointwise("y", "a", zero, steps, requant)


BROKEN: dict[str, tuple[list[Tensor], Op, Tensor]] = {
    "does not take 2 operands": ([A], chain(FloatStep("exp", number(1))), A),
    "fadd has a constant of int32": ([A], chain(FloatStep("fadd", np.asarray(1, np.int32))), A),
    "and has a constant of float32": ([A], chain(FloatStep("and", number(1))), A),
    "constant is not one number or one a lane": ([A], chain(FloatStep("fadd", np.ones(3, np.float32))), A),
    "'row' differs in shape": ([A, ROW], chain(FloatStep("fadd", "row")), A),
    "reads 'z', which nothing before it computes": ([A], chain(FloatStep("fadd", "z")), A),
    "a float has no zero point": ([A], chain(zero=1), A),
    "computes int8, but its output is float32": ([A], chain(requant=Requantise((), 0)), A),
    "has 1 multipliers": ([A], chain(requant=Requantise((number(1),), 0)), tensor("y", (3, 4), "int8")),
    "does not leave one element a row": ([A], Reduce("y", "a", "fadd"), A),
    "multiplies matrices that do not fit": (
        [CODES, tensor("b", (2, 3, 5), "int8")],
        PRODUCT,
        tensor("y", (2, 3, 5), "int32"),
    ),
    "multiplies different numbers of matrices": (
        [CODES, tensor("b", (1, 4, 5), "int8")],
        PRODUCT,
        tensor("y", (2, 3, 5), "int32"),
    ),
    "has an output of another shape": ([CODES, KEYS], PRODUCT, tensor("y", (2, 5, 3), "int32")),
    "takes int8, but 'b' is float32": ([CODES, tensor("b", (2, 4, 5))], PRODUCT, tensor("y", (2, 3, 5), "int32")),
    "takes elements that are not there": ([A], Rearrange("y", ("a",), np.full((3, 4), 12)), A),
    "takes int8, but 'a' is float32": (
        [A],
        Rearrange("y", ("a",), np.zeros((3, 4), np.int64)),
        tensor("y", (3, 4), "int8"),
    ),
    "and its table differ in shape": ([INDEX], Lookup("y", "i", np.ones((3, 4), np.int8)), tensor("y", (2, 5), "int8")),
    "looks int8 up for float32": ([INDEX], Lookup("y", "i", np.ones((3, 4), np.int8)), tensor("y", (2, 4))),
    "computes with an index": ([INDEX], Pointwise("y", "i", 0, (), None), tensor("y", (2, 1))),
    "and its output differ in shape": ([A], ConstantTensor("y", np.ones(3, np.float32)), A),
    "(Product 'y'): has 1 multipliers": (
        [CODES, KEYS],
        replace(PRODUCT, requant=Requantise((number(1),), 0), steps=(FloatStep("exp"),)),
        tensor("y", (2, 3, 5), "int8"),
    ),
    "weights have shape": (
        [CODES],
        MatMul("y", "a", (np.ones((3, 5), np.int8),), None, None),
        tensor("y", (2, 3, 5), "int32"),
    ),
    "changes type": ([A], Reshape("y", "a"), tensor("y", (3, 4), "int32")),
}


@pytest.mark.parametrize("message", BROKEN)
def test_the_verifier_names_what_is_wrong(message: str) -> None:
    inputs, op, output = BROKEN[message]
    with pytest.raises(InternalCompilerError) as caught:
        graph(inputs, [(op, replace(output, name="y"))]).verify()
    assert message in str(caught.value)
    assert not isinstance(caught.value, CompileError)


def test_what_is_reduced() -> None:
    steps = (FloatStep("fmul", number(0.25)),)
    ops: list[tuple[Op, Tensor]] = [
        (Reduce("sum", "a", "fadd"), tensor("sum", (3, 1))),
        (Pointwise("mean", "sum", 0, steps, None), tensor("mean", (3, 1))),
        (Pointwise("mixed", "mean", 0, (FloatStep("fadd", "row"),), None), tensor("mixed", (3, 1))),
    ]
    assert graph([A, ROW], ops).reduced() == {"sum", "mean"}
