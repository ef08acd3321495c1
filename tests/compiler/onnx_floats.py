# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Cases of the catalogue that compute in floats, with their exact results."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import erf, erfc
from typing import Any

import numpy as np
from tests.compiler.onnx_cases import Array, Case, float_case, rng_of
from tests.compiler.onnx_models import Builder

from openlpu.compiler.frontend.float_bounds import FLOAT_BOUNDS, FloatBound


def _sigmoid(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-x)))


def _erf(x: Array) -> Array:
    return np.vectorize(erf)(x)


def _gelu(x: Array) -> Array:
    return np.asarray(x * np.vectorize(erfc)(-x / np.sqrt(2)) / 2)


def _gelu_tanh(x: Array) -> Array:
    return np.asarray(x * _sigmoid(2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


# Operator, its exact result, the range of its operand, and what it is called in the table where that differs.
_UNARY: Sequence[tuple[str, Callable[[Array], Array], tuple[float, float], dict[str, Any]]] = (
    ("Abs", np.abs, (-5, 5), {}),
    ("Exp", np.exp, (-80, 80), {}),
    ("Neg", np.negative, (-5, 5), {}),
    ("Reciprocal", lambda x: 1 / x, (-5, 5), {}),
    ("Relu", lambda x: np.maximum(x, 0), (-5, 5), {}),
    ("Sigmoid", _sigmoid, (-15, 15), {}),
    ("Sigmoid", _sigmoid, (-100, 100), {"far": True}),
    ("Sqrt", np.sqrt, (0, 50), {}),
    ("Tanh", np.tanh, (-4, 4), {}),
    ("Tanh", np.tanh, (-100, 100), {}),
    ("Erf", _erf, (-5, 5), {}),
    ("Gelu", _gelu, (-12, 12), {}),
    ("Gelu", _gelu_tanh, (-9, 9), {"approximate": "tanh"}),
    ("HardSigmoid", lambda x: np.clip(np.float32(0.2) * x + 0.5, 0, 1), (-5, 5), {}),
    ("HardSwish", lambda x: x * np.clip(x / 6 + 0.5, 0, 1), (-5, 5), {}),
    ("LeakyRelu", lambda x: np.where(x < 0, x * np.float64(np.float32(0.3)), x), (-5, 5), {"alpha": 0.3}),
)


def _unary_tolerance(op: str, x: Array, exact: Array, attributes: Mapping[str, Any]) -> Array:
    bound = FLOAT_BOUNDS["Gelu (tanh)" if attributes.get("approximate") == "tanh" else op]
    match op:
        case "Erf":
            return bound.tolerance(exact, 1.0)
        case "Gelu":
            terms = x * x + np.abs(x**3) / 8 if attributes.get("approximate") == "tanh" else x * x
            return bound.tolerance(exact, terms=terms)
        case "HardSigmoid":
            return bound.tolerance(exact, np.maximum(np.abs(0.2 * x), 0.5))
        case "HardSwish":
            return bound.tolerance(exact, np.maximum(np.abs(x), x * x / 6))
        case _:
            return bound.tolerance(exact)


def unary_cases(seed: int) -> Iterator[Case]:
    """Operators of one operand."""
    for op, function, (low, high), attributes in _UNARY:
        name = "-".join([op, *(str(value) for value in attributes.values()), f"{high}", str(seed)])
        rng = rng_of(name, seed)
        shape = [int(rng.integers(1, 9)), int(rng.integers(1, 70))]
        x = rng.uniform(low, high, shape).astype(np.float32)
        x.flat[: 1 if op == "Reciprocal" else 2] = (high, 0)[: 1 if op == "Reciprocal" else 2][: x.size]
        given = {key: value for key, value in attributes.items() if key != "far"}
        exact = function(x.astype(np.float64))
        tolerance = _unary_tolerance(op, x.astype(np.float64), exact, attributes)

        def build(b: Builder, op: str = op, shape: list[int] = shape, given: dict[str, Any] = given) -> None:
            b.node(op, [b.input("x", "float32", [*shape])], "y", **given)

        yield float_case(name, build, {"x": x}, exact, tolerance, seed=seed)


_BINARY: Mapping[str, Callable[[Array, Array], Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
}
_SHAPES: Mapping[str, tuple[tuple[int, ...], tuple[int, ...], bool]] = {
    "same": ((3, 5, 7), (3, 5, 7), False),
    "number": ((3, 7), (), True),
    "lanes": ((3, 7), (7,), True),
    "matrix": ((2, 3, 7), (3, 7), True),
    "column": ((3, 7), (3, 1), True),
    "rows": ((3, 7), (3, 1), False),
    "repeated": ((2, 3, 7), (1, 7), False),
    "both": ((3, 1), (1, 7), False),
    "grown": ((7,), (3, 7), True),
}


def binary_cases(seed: int) -> Iterator[Case]:
    """Operators of two operands, the second constant or not, and the other way round."""
    for op, function in _BINARY.items():
        for form, (first, second, constant) in _SHAPES.items():
            for swapped in (False, True):
                name = f"{op}-{form}{'-swapped' if swapped else ''}-{seed}"
                rng = rng_of(name, seed)
                a, b = (rng.uniform(0.1, 5, s).astype(np.float32) * rng.choice([-1, 1], s) for s in (first, second))
                a, b = a.astype(np.float32), np.asarray(b, np.float32)
                pair = (b, a) if swapped else (a, b)
                exact = function(*(side.astype(np.float64) for side in pair))

                def build(
                    builder: Builder, op: str = op, a: Array = a, b: Array = b, c: bool = constant, s: bool = swapped
                ) -> None:
                    builder.input("a", "float32", [*a.shape])
                    other = builder.constant("b", b) if c else builder.input("b", "float32", [*b.shape])
                    builder.node(op, [other, "a"] if s else ["a", other], "y")

                feeds = {"a": a} if constant else {"a": a, "b": b}
                yield float_case(name, build, feeds, exact, FLOAT_BOUNDS[op].tolerance(exact), seed=seed)


def power_cases(seed: int) -> Iterator[Case]:
    """Pow, Clip and compositions."""
    for exponent in (1.0, 2.0, 3.0, 4.0, 0.5, -0.5, -1.0):
        name = f"Pow-{exponent}-{seed}"
        x = rng_of(name, seed).uniform(0.1, 5, (3, 11)).astype(np.float32)
        exact = x.astype(np.float64) ** exponent

        def build(b: Builder, exponent: float = exponent) -> None:
            b.input("x", "float32", [3, 11])
            b.node("Pow", ["x", b.constant("e", exponent, np.float32)], "y")

        yield float_case(name, build, {"x": x}, exact, FLOAT_BOUNDS["Pow"].tolerance(exact), seed=seed)
    x = rng_of("Clip", seed).normal(0, 2, (3, 11)).astype(np.float32)
    for low, high in ((-1.0, 1.5), (None, 1.5), (-1.0, None)):

        def clip(b: Builder, low: float | None = low, high: float | None = high) -> None:
            bounds = [
                "" if value is None else b.constant(key, value, np.float32)
                for key, value in (("low", low), ("high", high))
            ]
            b.node("Clip", [b.input("x", "float32", [3, 11]), *bounds], "y")

        exact = np.clip(x, low, high).astype(np.float64)
        yield float_case(f"Clip-{low}-{high}-{seed}", clip, {"x": x}, exact, FLOAT_BOUNDS["Clip"].tolerance(exact))

    def silu(b: Builder) -> None:
        b.input("x", "float32", [3, 11])
        b.node("Mul", ["x", b.node("Sigmoid", ["x"], "gate")], "y")

    wide = x.astype(np.float64)
    exact = wide * _sigmoid(wide)
    yield float_case(f"Silu-{seed}", silu, {"x": x}, exact, FloatBound(5).tolerance(exact))


def row_cases(seed: int) -> Iterator[Case]:
    """Softmax, normalisations and reductions."""
    for spread, axis in ((1.0, -1), (60.0, -1), (1.0, 1), (3.0, 0)):
        name = f"Softmax-{spread}-axis{axis}-{seed}"
        rng = rng_of(name, seed)
        x = rng.normal(0, spread, (3, int(rng.integers(2, 9)), int(rng.integers(2, 70)))).astype(np.float32)
        e = np.exp(x.astype(np.float64) - x.max(axis=axis, keepdims=True))
        exact = e / e.sum(axis=axis, keepdims=True)
        tolerance = FLOAT_BOUNDS["Softmax"].tolerance(exact, exact.max(axis=axis, keepdims=True), terms=x.shape[axis])

        def softmax(b: Builder, x: Array = x, axis: int = axis) -> None:
            b.node("Softmax", [b.input("x", "float32", [*x.shape])], "y", axis=axis)

        yield float_case(name, softmax, {"x": x}, exact, tolerance, opset=13, seed=seed)
    yield from _normalisations(seed)
    yield from _reductions(seed)


def _normalisations(seed: int) -> Iterator[Case]:
    for op, axis, bias in (
        ("LayerNormalization", -1, True),
        ("LayerNormalization", -1, False),
        ("LayerNormalization", 1, True),
        ("RMSNormalization", -1, False),
    ):
        name = f"{op}-axis{axis}{'-bias' if bias else ''}-{seed}"
        rng = rng_of(name, seed)
        x = rng.normal(rng.normal(0, 2), 1, (2, 3, int(rng.integers(2, 90)))).astype(np.float32)
        axes = tuple(range(axis % 3, 3))
        gamma, beta = (rng.normal(1, 0.3, x.shape[axes[0] :]).astype(np.float32) for _ in range(2))
        wide = x.astype(np.float64)
        centred = wide - wide.mean(axis=axes, keepdims=True) if op == "LayerNormalization" else wide
        inverse = 1 / np.sqrt((centred**2).mean(axis=axes, keepdims=True) + np.float32(1e-5))
        exact = centred * inverse * gamma + (beta if bias else 0)
        largest = np.abs(wide).max(axis=axes, keepdims=True) * inverse * np.abs(gamma)
        reach = np.maximum(largest, np.abs(beta)) if op == "LayerNormalization" else 0.0
        tolerance = FLOAT_BOUNDS[op].tolerance(exact, reach, terms=np.prod([x.shape[a] for a in axes]))

        def build(
            b: Builder, op: str = op, x: Array = x, axis: int = axis, g: Array = gamma, h: Array | None = beta
        ) -> None:
            names = [b.input("x", "float32", [*x.shape]), b.constant("g", g)]
            b.node(op, [*names, b.constant("h", h)] if h is not None else names, "y", axis=axis)

        def with_bias(b: Builder, build: Callable[..., None] = build, h: Array | None = beta if bias else None) -> None:
            build(b, h=h)

        opset = 23 if op == "RMSNormalization" else 17
        yield float_case(name, with_bias, {"x": x}, exact, tolerance, opset=opset, slack=3e-6, seed=seed)


def _reductions(seed: int) -> Iterator[Case]:
    functions: Mapping[str, Callable[..., Array]] = {
        "ReduceSum": np.sum,
        "ReduceMean": np.mean,
        "ReduceMax": np.max,
        "ReduceMin": np.min,
    }
    for op, function in functions.items():
        for axes, keep, opset in (((2,), 1, 18), ((2,), 0, 13), ((1,), 1, 18), ((0, 2), 0, 18), (None, 1, 13)):
            name = f"{op}-{axes}-keep{keep}-opset{opset}-{seed}"
            rng = rng_of(name, seed)
            x = rng.normal(0, 1, (2, 5, int(rng.integers(1, 90)))).astype(np.float32)
            wide = x.astype(np.float64)
            exact = function(wide, axis=axes, keepdims=bool(keep))
            terms = x.size // exact.size
            entering = function(np.abs(wide), axis=axes, keepdims=bool(keep))
            tolerance = FLOAT_BOUNDS[op].tolerance(exact, entering if op in ("ReduceSum", "ReduceMean") else 0, terms)

            def build(
                b: Builder, op: str = op, x: Array = x, axes: Any = axes, keep: int = keep, opset: int = opset
            ) -> None:
                names = [b.input("x", "float32", [*x.shape])]
                attribute = opset < 18 and op != "ReduceSum"
                if axes is not None and not attribute:
                    names.append(b.constant("axes", axes, np.int64))
                given: dict[str, Any] = {"axes": list(axes)} if axes is not None and attribute else {}
                b.node(op, names, "y", keepdims=keep, **given)

            yield float_case(name, build, {"x": x}, np.asarray(exact), tolerance, opset=opset, slack=1e-6, seed=seed)


def dense_cases(seed: int) -> Iterator[Case]:
    """MatMul and Gemm whose results stay float, of weights and of two activations."""
    for op in ("MatMul", "Gemm", "MatMul+Add", "Gemm+input"):
        for dtype, per_channel in (("int8", True), ("uint8", False)):
            name = f"{op}-{dtype}-float-{seed}"
            b = Builder(rng_of(name, seed))
            rows, depth, lanes = (int(b.rng.integers(1, high)) for high in (6, 150, 40))
            x = b.dequantise(b.input("x", dtype, [rows, depth]), b.parameters("x", dtype))
            w_name, *parameters = b.weights(depth, lanes, "int8", per_channel)
            w = b.dequantise(w_name, parameters)
            bias = b.constant("bias", b.rng.normal(0, 1, lanes), np.float32)
            feeds: dict[str, Array] = {}
            if op == "Gemm+input":
                feeds["given"] = b.initialisers["bias"] = b.rng.normal(0, 1, (rows, lanes)).astype(np.float32)
                b.node("Gemm", [x, w, b.input("given", "float32", [rows, lanes])], "y")
            elif op == "Gemm":
                b.node("Gemm", [x, w, bias], "y")
            elif op == "MatMul":
                b.node("MatMul", [x, w], "y")
            else:
                b.node("Add", [bias, b.node("MatMul", [x, w], "product")], "y")
            b.output("y", "float32")
            c = b.initialisers
            low = -128 if dtype == "int8" else 0
            codes = b.rng.integers(low, low + 256, (rows, depth)).astype(dtype)
            # Whole numbers first: where they cancel, nothing is left.
            sums = (codes.astype(np.int64) - c["x_zero"]) @ c["w"].astype(np.int64)
            product = sums * (np.float64(c["x_scale"]) * c["w_scale"].astype(np.float64))
            added = c["bias"].astype(np.float64) if op != "MatMul" else 0.0
            exact = product + added
            tolerance = FLOAT_BOUNDS["MatMul"].tolerance(exact, np.maximum(np.abs(product), np.abs(added)))
            yield Case(name, b.model(), {"x": codes, **feeds}, {"y": exact}, {"y": tolerance}, slack=1e-5)


def quantised_float_cases(seed: int) -> Iterator[Case]:
    """Float operators between codes: results may be one code off.

    They are next to a tie; and ONNX Runtime's own kernel for Softmax of uint8 is not as exact as one of floats.
    """
    for op in ("Sigmoid", "Tanh", "Gelu", "Softmax", "Exp"):
        for dtype in ("int8", "uint8"):
            name = f"{op}-{dtype}-codes-{seed}"
            b = Builder(rng_of(name, seed))
            shape = [4, int(b.rng.integers(2, 70))]
            x = b.dequantise(b.input("x", dtype, [*shape]), b.parameters("x", dtype))
            b.output(b.quantise(b.node(op, [x], "real"), b.parameters("y", dtype, 0.0078), "y"), dtype)
            low = -128 if dtype == "int8" else 0
            codes = b.rng.integers(low, low + 256, shape).astype(dtype)
            yield Case(name, b.model(20), {"x": codes}, codes=1)
