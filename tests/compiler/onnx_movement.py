# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Cases of the catalogue that move elements, look them up, or compute with codes: all are to equal ONNX Runtime."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from onnx import helper
from tests.compiler.onnx_cases import Array, Case, rng_of
from tests.compiler.onnx_models import Builder


def _order(b: Builder, rank: int) -> list[int]:
    return [int(axis) for axis in b.rng.permutation(rank)]


def _shape(b: Builder, rank: int, high: int = 7) -> list[int]:
    return [int(size) for size in b.rng.integers(1, high, rank)]


def _transpose(b: Builder, x: str, shape: list[int]) -> list[str]:
    return [b.node("Transpose", [x], "out", perm=_order(b, len(shape)))]


def _reverse(b: Builder, x: str, shape: list[int]) -> list[str]:
    return [b.node("Transpose", [x], "out")]


def _reshape(b: Builder, x: str, shape: list[int]) -> list[str]:
    target = [shape[-1], -1, *shape[:1]]
    return [b.node("Reshape", [x, b.constant("shape", target, np.int64)], "out")]


def _flatten(b: Builder, x: str, shape: list[int]) -> list[str]:
    return [b.node("Flatten", [x], "out", axis=int(b.rng.integers(0, len(shape) + 1)))]


def _squeeze(b: Builder, x: str, shape: list[int]) -> list[str]:
    wide = b.node("Unsqueeze", [x, b.constant("axes", [0, -1], np.int64)], "wide")
    return [b.node("Squeeze", [wide, b.constant("axis", [0], np.int64)], "out")]


def _slice(b: Builder, x: str, shape: list[int]) -> list[str]:
    ends = [int(b.rng.integers(1, size + 1)) for size in shape]
    starts = [int(b.rng.integers(0, end)) for end in ends]
    steps = [int(b.rng.integers(1, 3)) for _ in shape]
    names = [b.constant(k, v, np.int64) for k, v in (("starts", starts), ("ends", ends), ("axes", range(len(shape))))]
    return [b.node("Slice", [x, *names, b.constant("steps", steps, np.int64)], "out")]


def _slice_backwards(b: Builder, x: str, shape: list[int]) -> list[str]:
    names = [
        b.constant(key, value, np.int64)
        for key, value in (("starts", [-1, -1]), ("ends", [-(2**60), 0]), ("axes", [-1, 0]), ("steps", [-1, -2]))
    ]
    return [b.node("Slice", [x, *names], "out")] if shape[0] > 1 else [b.node("Identity", [x], "out")]


def _split(b: Builder, x: str, shape: list[int]) -> list[str]:
    axis = int(np.argmax(shape))
    sizes = [1, shape[axis] - 1] if shape[axis] > 1 else [1]
    names = [f"part{index}" for index in range(len(sizes))]
    inputs = [x, b.constant("sizes", sizes, np.int64)]
    b.nodes.append(helper.make_node("Split", inputs, names, axis=axis - len(shape)))
    return names


def _expand(b: Builder, x: str, shape: list[int]) -> list[str]:
    target = [3, *(3 if size == 1 else 1 for size in shape)]
    return [b.node("Expand", [x, b.constant("shape", target, np.int64)], "out")]


def _tile(b: Builder, x: str, shape: list[int]) -> list[str]:
    return [b.node("Tile", [x, b.constant("repeats", b.rng.integers(1, 4, len(shape)), np.int64)], "out")]


def _gather(b: Builder, x: str, shape: list[int]) -> list[str]:
    axis = int(b.rng.integers(0, len(shape)))
    indices = b.rng.integers(-shape[axis], shape[axis], (2, 3))
    return [b.node("Gather", [x, b.constant("indices", indices, np.int64)], "out", axis=axis)]


def _concat(b: Builder, x: str, shape: list[int]) -> list[str]:
    axis = int(b.rng.integers(0, len(shape)))
    other = b.node("Transpose", [x], "other") if shape == shape[::-1] else b.node("Identity", [x], "other")
    return [b.node("Concat", [x, other, x], "out", axis=axis - len(shape))]


def _chain(b: Builder, x: str, shape: list[int]) -> list[str]:
    # What exporters make of an attention's heads.
    b.constant("heads", [shape[0], -1, 1, shape[-1]], np.int64)
    first = b.node("Transpose", [b.node("Reshape", [x, "heads"], "apart")], "first", perm=[0, 2, 3, 1])
    second = b.node("Transpose", [first], "second", perm=[0, 1, 3, 2])
    return [b.node("Reshape", [second, b.constant("flat", [shape[0], -1], np.int64)], "out")]


MOVES: Mapping[str, Callable[[Builder, str, list[int]], list[str]]] = {
    "Transpose": _transpose,
    "Transpose-reversed": _reverse,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Slice": _slice,
    "Slice-backwards": _slice_backwards,
    "Split": _split,
    "Expand": _expand,
    "Tile": _tile,
    "Gather": _gather,
    "Concat": _concat,
    "chain": _chain,
}


def random_codes(rng: np.random.Generator, dtype: str, shape: Any) -> Array:
    """Codes of a type, or floats."""
    if dtype == "float32":
        return rng.normal(0, 2, shape).astype(np.float32)
    low = -128 if dtype == "int8" else 0
    return rng.integers(low, low + 256, shape).astype(dtype)


def movement_cases(seed: int) -> Iterator[Case]:
    """Every move of codes, of dequantised codes that are quantised again, of floats, and of floats to be quantised."""
    for kind, build in MOVES.items():
        for form in ("int8", "uint8", "float32", "qdq", "to codes", "inside"):
            name = f"{kind}-{form}-{seed}"
            b = Builder(rng_of(name, seed))
            shape = _shape(b, int(b.rng.integers(2, 5)))
            dtype = {"qdq": "uint8", "to codes": "float32", "inside": "int8"}.get(form, form)
            x = b.input("x", dtype, [*shape])
            parameters = b.parameters("x", "uint8" if form in ("qdq", "to codes") else "int8", 0.03)
            if form == "inside":
                x = b.quantise(b.node("Relu", [b.dequantise(x, parameters)], "active"), parameters, "codes")
            if form == "qdq":
                x = b.dequantise(x, parameters)
            for output in build(b, x, shape):
                if form in ("qdq", "to codes"):
                    b.output(b.quantise(output, parameters, f"{output}_codes"), "uint8", _rank(b, output, shape))
                else:
                    b.output(output, dtype, _rank(b, output, shape))
            yield Case(name, b.model(), {"x": random_codes(b.rng, dtype, shape)})


def _rank(b: Builder, output: str, shape: list[int]) -> int:
    """The rank of a result, which ONNX asks an output to state."""
    node = next(node for node in b.nodes if output in node.output)
    match node.op_type:
        case "Reshape":
            return b.initialisers[node.input[1]].size
        case "Flatten":
            return 2
        case "Squeeze" | "Gather" | "Expand":
            return len(shape) + 1
        case _:
            return len(shape)


def where_cases(seed: int) -> Iterator[Case]:
    """Where of a constant condition: a mask of scores, of rows and of columns, and of two tensors."""
    for form, shape in (("matrix", (5, 7)), ("row", (7,)), ("column", (5, 1)), ("grown", (2, 3, 5, 7))):
        for kind in ("constant", "swapped", "tensors"):
            name = f"Where-{form}-{kind}-{seed}"
            b = Builder(rng_of(name, seed))
            condition = b.constant("condition", b.rng.integers(0, 2, shape), np.bool_)
            x = b.node("Neg", [b.input("x", "float32", [3, 5, 7])], "negative")
            other = "x" if kind == "tensors" else b.constant("least", np.finfo(np.float32).min, np.float32)
            sides = [other, x] if kind == "swapped" else [x, other]
            b.output(b.node("Where", [condition, *sides], "y"), "float32", max(3, len(shape)))
            yield Case(name, b.model(), {"x": random_codes(b.rng, "float32", (3, 5, 7))})


def concat_cases(seed: int) -> Iterator[Case]:
    """Concat of codes of different scales, which are quantised again, of floats beside codes, and of a constant."""
    b = Builder(rng_of("Concat-codes", seed))
    codes = b.constant("c", random_codes(b.rng, "uint8", (2, 5)), np.uint8)
    b.output(b.node("Concat", [b.input("a", "uint8", [3, 5]), codes, "a"], "y", axis=0), "uint8")
    yield Case(f"Concat-codes-{seed}", b.model(), {"a": random_codes(b.rng, "uint8", (3, 5))})
    for form in ("scales", "floats", "constant"):
        name = f"Concat-{form}-{seed}"
        b = Builder(rng_of(name, seed))
        parts = [b.dequantise(b.input("a", "uint8", [3, 5]), b.parameters("a", "uint8"))]
        feeds = {"a": random_codes(b.rng, "uint8", (3, 5))}
        if form == "constant":
            parts.append(b.constant("c", b.rng.normal(0, 1, (3, 4)), np.float32))
        else:
            parts.append(b.dequantise(b.input("b", "uint8", [3, 4]), b.parameters("b", "uint8")))
            feeds["b"] = random_codes(b.rng, "uint8", (3, 4))
        if form == "floats":
            parts.append(b.node("Neg", [b.input("f", "float32", [3, 2])], "negative"))
            feeds["f"] = random_codes(b.rng, "float32", (3, 2))
        joined = b.node("Concat", parts, "y", axis=1)
        if form == "floats":
            b.output(joined, "float32")
        else:
            b.output(b.quantise(joined, b.parameters("y", "uint8"), "codes"), "uint8")
        yield Case(name, b.model(), feeds)
