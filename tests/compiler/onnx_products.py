# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Cases of the catalogue: products of two activations, sums and differences that broadcast, and lookups."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from onnx import TensorProto, helper
from tests.compiler.onnx_cases import Array, Case, rng_of
from tests.compiler.onnx_models import Builder
from tests.compiler.onnx_movement import random_codes

from openlpu.compiler.frontend.float_bounds import FLOAT_BOUNDS

_BATCHES: tuple[tuple[list[int], list[int]], ...] = (
    ([], []),
    ([3], [3]),
    ([2, 3], [2, 3]),
    ([2, 3], []),
    ([], [2]),
    ([2, 1], [1, 3]),
)


def _operands(b: Builder, dtype: str, batches: tuple[list[int], list[int]], transposed: bool) -> tuple[Array, Array]:
    rows, depth, columns = (int(b.rng.integers(1, high)) for high in (7, 40, 9))
    right = [columns, depth] if transposed else [depth, columns]
    return (
        random_codes(b.rng, dtype, [*batches[0], rows, depth]),
        random_codes(b.rng, dtype, [*batches[1], *right]),
    )


def product_cases(seed: int) -> Iterator[Case]:
    """Products of codes, in every form."""
    for form in ("qlinear", "qdq", "integer", "float"):
        for index, batches in enumerate(_BATCHES):
            for transposed in (False, True):
                for dtype in ("uint8",) if form == "qdq" else ("int8", "uint8"):
                    name = f"Product-{form}-{dtype}-{index}{'-transposed' if transposed else ''}-{seed}"
                    yield _product(name, seed, form, dtype, batches, transposed)


def _product(
    name: str, seed: int, form: str, dtype: str, batches: tuple[list[int], list[int]], transposed: bool
) -> Case:
    b = Builder(rng_of(name, seed))
    left, right = _operands(b, dtype, batches, transposed)
    names = [b.input("a", dtype, [*left.shape]), b.input("b", dtype, [*right.shape])]
    a, c = b.parameters("a", dtype), b.parameters("b", dtype)
    rank = max(left.ndim, right.ndim)
    order = [*range(right.ndim - 2), right.ndim - 1, right.ndim - 2]
    scale = float(np.sqrt(left.shape[-1]) * b.rng.uniform(0.4, 1.2) * 0.03 * 0.03 * 70)
    y = b.parameters("y", dtype, scale)
    case = Case(name, helper.make_model(helper.make_graph([], "", [], [])), {"a": left, "b": right})
    if transposed:
        names[1] = b.node("Transpose", [names[1]], "b_transposed", perm=order)
    if form == "qlinear":
        b.output(b.node("QLinearMatMul", [names[0], *a, names[1], *c, *y], "y"), dtype, rank)
    elif form == "integer":
        b.output(b.node("MatMulInteger", [*names, a[1], c[1]], "y"), "int32", rank)
    else:
        floats = [b.dequantise(names[0], a), b.dequantise(names[1], c)]
        product = b.node("MatMul", floats, "product" if form == "qdq" else "y")
        if form == "qdq":
            b.output(b.quantise(product, y, "y"), dtype, rank)
        else:
            b.output(product, "float32", rank)
            p = b.initialisers
            # Whole numbers first: where they cancel, nothing is left.
            sums = (left.astype(np.int64) - p["a_zero"]) @ (
                (right.swapaxes(-1, -2) if transposed else right).astype(np.int64) - p["b_zero"]
            )
            exact = sums * (np.float64(p["a_scale"]) * np.float64(p["b_scale"]))
            case.exact, case.tolerance = {"y": exact}, {"y": FLOAT_BOUNDS["MatMul"].tolerance(exact)}
            case.slack = 1e-5
    case.model = b.model()
    return case


def constant_product_cases(seed: int) -> Iterator[Case]:
    """A constant on the left of an activation, or one of several matrices on its right."""
    for side in ("left", "right"):
        name = f"Product-constant-{side}-{seed}"
        b = Builder(rng_of(name, seed))
        shape, other = ([2, 9, 5], [4, 9]) if side == "left" else ([2, 4, 9], [2, 9, 5])
        x = b.dequantise(b.input("x", "uint8", [*shape]), b.parameters("x", "uint8"))
        b.constant("w", random_codes(b.rng, "uint8", other))
        w = b.dequantise("w", b.parameters("w", "uint8"))
        product = b.node("MatMul", [w, x] if side == "left" else [x, w], "product")
        b.output(b.quantise(product, b.parameters("y", "uint8", 0.2), "y"), "uint8", 3)
        yield Case(name, b.model(), {"x": random_codes(b.rng, "uint8", shape)})


_SHAPES: tuple[tuple[list[int], list[int]], ...] = (
    ([16, 16], [16, 16]),
    ([16, 16], [16]),
    ([16, 16], [1]),
    ([16, 16], [16, 1]),
    ([16, 1], [16]),
    ([3, 16, 16], [16, 16]),
    ([1, 16], [3, 16, 16]),
    ([16, 1], [3, 1, 1]),
)


def broadcast_cases(seed: int) -> Iterator[Case]:
    """Add, Sub, Mul and Div of codes that broadcast, the second operand constant or not."""
    for op in ("Add", "Sub", "Mul", "Div"):
        for form in ("qdq", "qlinear"):
            for constant in (False, True):
                for first, second in _SHAPES:
                    if form == "qlinear" and op in ("Sub", "Div"):
                        continue
                    if op == "Div" and not (constant and second in ([16], [1])):
                        continue
                    for dtype in ("int8", "uint8"):
                        name = f"{op}-{form}-{dtype}-{first}-{second}{'-constant' if constant else ''}-{seed}"
                        yield _broadcast(name, seed, op, form, dtype, (first, second), constant)


def every_pair_cases(seed: int) -> Iterator[Case]:
    """Add, Sub and Mul of every pair of codes: too many for small chips, and not in the catalogue."""
    for op, form in (("Add", "qdq"), ("Sub", "qdq"), ("Mul", "qdq"), ("Add", "qlinear"), ("Mul", "qlinear")):
        for dtype in ("int8", "uint8"):
            yield _broadcast(
                f"{op}-{form}-{dtype}-every-{seed}", seed, op, form, dtype, ([256, 256], [256, 256]), False
            )


def _broadcast(
    name: str, seed: int, op: str, form: str, dtype: str, shapes: tuple[list[int], list[int]], constant: bool
) -> Case:
    b = Builder(rng_of(name, seed))
    values = [random_codes(b.rng, dtype, shape) for shape in shapes]
    if shapes[0] == [256, 256]:
        column = np.arange(256).astype(dtype)
        values = [np.repeat(column[:, None], 256, 1), np.repeat(column[None], 256, 0)]
    feeds: dict[str, Any] = {"a": values[0]}
    names = [b.input("a", dtype, [*values[0].shape])]
    if op == "Div":
        # Not 0, wherever the zero point is.
        values[1] = (values[1] | 64) & 127
    if constant:
        names.append(b.constant("b", values[1]))
    else:
        names.append(b.input("b", dtype, [*values[1].shape]))
        feeds["b"] = values[1]
    parameters = [b.parameters(n, dtype, zero=3 if op == "Div" else None) for n in names]
    y = b.parameters("y", dtype, float(b.rng.uniform(0.02, 0.06)))
    rank = max(len(shape) for shape in shapes)
    if form == "qlinear":
        inputs = [part for n, p in zip(names, parameters, strict=True) for part in (n, *p)]
        b.output(b.node(f"QLinear{op}", [*inputs, *y], "y", domain="com.microsoft"), dtype, rank)
    else:
        floats = [b.dequantise(n, p) for n, p in zip(names, parameters, strict=True)]
        b.output(b.quantise(b.node(op, floats, "sum"), y, "y"), dtype, rank)
    return Case(name, b.model(), feeds)


def lookup_cases(seed: int) -> Iterator[Case]:
    """Gather from a table by an input of indices."""
    for form in ("int8", "uint8", "float32", "dequantised", "dequantised after", "sum"):
        for index_type, shape in ((np.int64, (2, 5)), (np.int32, (7,))):
            name = f"Lookup-{form}-{np.dtype(index_type)}-{seed}"
            b = Builder(rng_of(name, seed))
            entries, lanes = int(b.rng.integers(2, 300)), int(b.rng.integers(1, 60))
            dtype = form if form in ("int8", "uint8", "float32") else "int8"
            table = b.constant("table", random_codes(b.rng, dtype, (entries, lanes)))
            element = TensorProto.INT64 if index_type == np.int64 else TensorProto.INT32
            b.inputs.append(helper.make_tensor_value_info("i", element, list(shape)))
            parameters = b.parameters("t", "int8")
            if form == "dequantised":
                table = b.dequantise(table, parameters)
            found = b.node("Gather", [table, "i"], "found")
            rank = len(shape) + 1
            if form == "dequantised after":
                found = b.dequantise(found, parameters)
            if form == "sum":
                real = b.dequantise(found, parameters)
                positions = b.constant("p", b.rng.normal(0, 1, (shape[-1], lanes)), np.float32)
                summed = b.node("Relu", [b.node("Add", [real, positions], "added")], "active")
                b.output(summed, "float32", rank)
            else:
                b.output(found, "float32" if form.startswith("deq") else dtype, rank)
            feeds = {"i": b.rng.integers(0, entries, shape).astype(index_type)}
            yield Case(name, b.model(), feeds)
