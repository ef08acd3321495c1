# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Moves, products of activations and lookups of the importer: what operations they become, and what is refused."""

from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from tests.compiler import onnx_models as models
from tests.compiler import onnx_products

from openlpu.compiler.errors import CompileError, UnsupportedModelError
from openlpu.compiler.frontend.moving import is_matrix_transpose, transposition
from openlpu.compiler.graph import Graph, Lookup, MatMul, Product, Rearrange, Reshape
from openlpu.compiler.onnx_import import import_model
from openlpu.compiler.reference import evaluate


def kinds(graph: Graph) -> list[type]:
    return [type(op) for op in graph.ops]


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 3, 1, 5), (2, 3, 4, 1), (1, 1, 2, 1), (6, 7)])
def test_a_transposition_is_moves_of_rows_and_one_of_matrices(shape: tuple[int, ...]) -> None:
    for order in permutations(range(len(shape))):
        current = np.arange(np.prod(shape)).reshape(shape)
        matrices = 0
        moves = transposition(shape, order)
        for move in moves:
            lanes = current.shape[-1]
            if is_matrix_transpose(move, lanes):
                matrices += 1
            elif lanes == move.shape[-1]:
                rows = move.reshape(-1, lanes)
                assert np.array_equal(rows - rows[:, :1], np.broadcast_to(np.arange(lanes), rows.shape))
            else:
                # Rows of another length: nothing moves.
                assert np.array_equal(move.ravel(), np.arange(move.size))
            current = current.ravel()[move]
        assert np.array_equal(current, np.arange(np.prod(shape)).reshape(shape).transpose(order)), order
        assert matrices <= 1
        assert len(moves) <= 5


def attention() -> models.Builder:
    """Scores of three heads, from queries and keys side by side."""
    b = models.Builder(np.random.default_rng(0))
    b.constant("heads", [2, 5, 3, 4], np.int64)
    sides = []
    for name in "qk":
        real = b.dequantise(b.input(name, "uint8", [2, 5, 12]), b.parameters(name, "uint8"))
        apart = b.node("Reshape", [real, "heads"], f"{name}_apart")
        sides.append(b.node("Transpose", [apart], f"{name}_heads", perm=[0, 2, 1, 3] if name == "q" else [0, 2, 3, 1]))
    scores = b.node("MatMul", sides, "scores")
    b.output(b.node("Softmax", [scores], "y", axis=-1), "float32", 4)
    return b


def test_the_keys_of_an_attention_are_transposed_by_the_product() -> None:
    graph = import_model(attention().model())
    products = [op for op in graph.ops if isinstance(op, Product)]
    assert [op.transposed for op in products] == [True]
    moves = [op for op in graph.ops if isinstance(op, Rearrange)]
    assert len(moves) == 2
    assert not any(is_matrix_transpose(op.source, graph.tensor(op.inputs[0]).lanes) for op in moves)


def test_moves_that_follow_each_other_are_one() -> None:
    b = models.Builder(np.random.default_rng(0))
    x = b.node("Reshape", [b.input("x", "int8", [4, 6]), b.constant("apart", [4, 3, 2], np.int64)], "apart_x")
    x = b.node("Transpose", [x], "moved", perm=[1, 0, 2])
    b.output("moved", "int8", 3)
    b.output(b.node("Reshape", [x, b.constant("flat", [3, 8], np.int64)], "y"), "int8")
    b.outputs.pop(0)
    assert kinds(import_model(b.model())) == [Rearrange]


def test_a_move_that_leaves_rows_alone_is_a_view() -> None:
    b = models.Builder(np.random.default_rng(0))
    b.input("x", "int8", [4, 6])
    b.output(b.node("Unsqueeze", ["x", b.constant("axes", [1], np.int64)], "y"), "int8", 3)
    b.output(b.node("Relu", ["x"], "z"), "int8")
    assert kinds(import_model(b.model()))[0] is Reshape


def test_a_two_dimensional_product_keeps_its_weights() -> None:
    b = models.Builder(np.random.default_rng(0))
    x = b.dequantise(b.input("x", "uint8", [2, 3, 8]), b.parameters("x", "uint8"))
    w, *parameters = b.weights(8, 4, "int8", True)
    b.output(b.node("MatMul", [x, b.dequantise(w, parameters)], "y"), "float32", 3)
    assert kinds(import_model(b.model())) == [MatMul]


def lookup() -> models.Builder:
    b = models.Builder(np.random.default_rng(0))
    b.inputs.append(helper.make_tensor_value_info("i", TensorProto.INT64, ["batch", 4]))
    b.constant("table", np.arange(30).reshape(10, 3), np.int8)
    b.output(b.node("Gather", ["table", "i"], "y"), "int8", 3)
    return b


def test_indices_of_an_input() -> None:
    graph = import_model(lookup().model(), batch=2)
    assert kinds(graph) == [Lookup]
    (port,) = graph.inputs
    assert (port.dtype, port.shape, graph.tensor(port.tensor).shape) == ("int64", (2, 4), (2, 4, 1))
    for index in (10, -1):
        with pytest.raises(CompileError, match="its table has 10 entries: give indices from 0 to 9"):
            evaluate(graph, {"i": np.full((2, 4), index, np.int64)})


# Refusals.


def _computed_shape(b: Any) -> None:
    b.inputs.append(helper.make_tensor_value_info("s", TensorProto.INT64, [2]))
    b.output(b.node("Reshape", [b.input("x", "int8", [2, 4]), "s"], "y"), "int8")


def _axis_of_indices(b: Any) -> None:
    b.inputs.append(helper.make_tensor_value_info("i", TensorProto.INT64, [2]))
    b.output(b.node("Gather", [b.constant("t", np.ones((3, 4)), np.int8), "i"], "y", axis=1), "int8")


def _table_that_is_computed(b: Any) -> None:
    b.inputs.append(helper.make_tensor_value_info("i", TensorProto.INT64, [2]))
    b.output(b.node("Gather", [b.input("x", "int8", [3, 4]), "i"], "y"), "int8")


def _codes_and_floats(b: Any) -> None:
    codes = b.input("x", "int8", [3, 4])
    b.output(b.node("Concat", [codes, b.input("z", "uint8", [3, 4])], "y", axis=0), "int8")


def _large_sums(b: Any) -> None:
    b.input("a", "int8", [1, 9000])
    b.output(b.node("MatMulInteger", ["a", b.input("b", "int8", [9000, 1])], "y"), "int32")


def _vector(b: Any) -> None:
    names = [b.dequantise(b.input(n, "int8", s), b.parameters(n, "int8")) for n, s in (("a", [8]), ("b", [8, 2]))]
    b.output(b.node("MatMul", names, "y"), "float32", 1)


REFUSALS: list[tuple[Callable[[Any], None], str]] = [
    (
        _computed_shape,
        "input 's' is INT64: only FLOAT, INT8 and UINT8 are supported, and INT32 and INT64 as indices of a Gather",
    ),
    (
        _axis_of_indices,
        "Gather 'node_y': indices of the network's input select from axis 0 alone: transpose the table",
    ),
    (_table_that_is_computed, "Gather 'node_y': its table is not a constant"),
    (_codes_and_floats, "Concat 'node_y': it joins codes of different types, or codes with floats"),
    (_large_sums, "MatMulInteger 'node_y': the sums can leave int32: 9000 products are too many"),
    (_vector, "MatMul 'node_y': a product of shapes [8] and [8, 2]: only matrices are supported"),
]


@pytest.mark.parametrize(("build", "problem"), REFUSALS, ids=[build.__name__[1:] for build, _ in REFUSALS])
def test_refusals(build: Callable[[Any], None], problem: str) -> None:
    b = models.Builder(np.random.default_rng(0))
    build(b)
    with pytest.raises(UnsupportedModelError) as caught:
        import_model(b.model())
    assert caught.value.problems == (problem,)


# What ONNX Runtime makes of a QuantizeLinear after a move: for uint8, an integer kernel before it.


def every_pair(b: models.Builder, dtype: str) -> dict[str, Any]:
    """Inputs that hold every pair of codes."""
    low = -128 if dtype == "int8" else 0
    column = np.arange(low, low + 256).astype(dtype)
    return {"a": np.repeat(column[:, None], 256, axis=1), "b": np.repeat(column[None], 256, axis=0)}


@pytest.mark.parametrize("seed", range(6))
def test_two_activations_on_every_pair_of_codes(seed: int) -> None:
    for case in onnx_products.every_pair_cases(seed):
        case.check(evaluate(import_model(case.model), case.inputs))


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("op", ["Add", "Mul", "Sub"])
@pytest.mark.parametrize("move", ["Reshape", "Transpose", "Slice", "Concat", "two"])
def test_quantisation_after_a_move_on_every_pair_of_codes(dtype: str, op: str, move: str) -> None:
    # Seeds at which a product is next to a tie, and refused, are left out.
    for seed in (s for s in range(10) if (op, s) != ("Mul", 1)):
        b = models.Builder(np.random.default_rng(seed))
        floats = [b.dequantise(b.input(n, dtype, [256, 256]), b.parameters(n, dtype)) for n in "ab"]
        total = b.node(op, floats, "sum")
        match move:
            case "Concat":
                moved = b.node("Concat", [total, floats[0]], "moved", axis=0)
            case "Slice":
                bounds = [b.constant("start", [3], np.int64), b.constant("end", [200], np.int64)]
                moved = b.node("Slice", [total, *bounds], "moved")
            case "Reshape":
                moved = b.node("Reshape", [total, b.constant("shape", [128, 512], np.int64)], "moved")
            case "Transpose":
                moved = b.node("Transpose", [total], "moved")
            case _:
                turned = b.node("Transpose", [total], "turned")
                moved = b.node("Unsqueeze", [turned, b.constant("axes", [0], np.int64)], "moved")
        rank = 3 if move == "two" else 2
        b.output(b.quantise(moved, b.parameters("y", dtype, 0.05), "y"), dtype, rank)
        model = b.model()
        feeds = every_pair(b, dtype)
        (theirs,) = models.run_onnxruntime(model, feeds)
        assert np.array_equal(evaluate(import_model(model), feeds)["y"], theirs), f"seed {seed}"
