# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Float operators of the importer, by the reference: within their bounds of the exact result, and near ONNX Runtime.

Beside the catalogue, what the chip's chains look like, and what is refused.
"""

from collections.abc import Callable
from math import erfc, exp
from typing import Any

import numpy as np
import pytest
from tests.compiler import onnx_catalogue, onnx_versions
from tests.compiler import onnx_models as models

from openlpu.compiler.errors import UnsupportedModelError
from openlpu.compiler.exact import find_reciprocal
from openlpu.compiler.frontend import erf
from openlpu.compiler.graph import Graph, MatMul, Pointwise, Reduce
from openlpu.compiler.onnx_import import import_model
from openlpu.compiler.reference import evaluate, quantize_linear


@pytest.mark.parametrize("group", onnx_catalogue.GROUPS)
@pytest.mark.parametrize("seed", range(3))
def test_the_catalogue(group: str, seed: int) -> None:
    for case in onnx_catalogue.GROUPS[group](seed):
        case.check(evaluate(import_model(case.model), case.inputs))


def kinds(b: models.Builder, opset: int = 20) -> list[type]:
    return [type(op) for op in import_model(b.model(opset)).ops]


def functions(graph: Graph) -> list[str]:
    """The functions of all chains of a graph, in order."""
    return [step.function for op in graph.ops if isinstance(op, MatMul | Pointwise) for step in op.steps]


def test_chains_are_merged_into_the_product_before_them() -> None:
    b = models.Builder(np.random.default_rng(0))
    x = b.dequantise(b.input("x", "int8", [2, 8]), b.parameters("x", "int8"))
    w, *parameters = b.weights(8, 4, "int8", True)
    product = b.node("Gemm", [x, b.dequantise(w, parameters), b.constant("bias", np.ones(4), np.float32)], "g")
    b.output(b.node("Tanh", [b.node("Relu", [product], "r")], "y"), "float32")
    graph = import_model(b.model())
    assert [type(op) for op in graph.ops] == [MatMul]
    assert functions(graph) == ["fmul", "fadd", "fmax", "tanh"]


def test_the_square_root_of_a_divisor_is_one_step() -> None:
    b = models.Builder(np.random.default_rng(0))
    b.input("x", "float32", [2, 8])
    b.output(b.node("Div", [b.input("z", "float32", [2, 8]), b.node("Sqrt", ["x"], "root")], "y"), "float32")
    assert functions(import_model(b.model())) == ["rsqrt", "fmul"]


def test_softmax_has_five_operations() -> None:
    b = models.Builder(np.random.default_rng(0))
    b.output(b.node("Softmax", [b.input("x", "float32", [2, 8])], "y"), "float32")
    assert kinds(b) == [Reduce, Pointwise, Reduce, Pointwise, Pointwise]


def test_shapes_that_are_computed_follow_the_batch() -> None:
    b = models.Builder(np.random.default_rng(0))
    onnx_versions.computed_shape(b)
    b.inputs.clear()
    b.input("x", "float32", ["batch", 4, 5])
    model = b.model()
    graph = import_model(model, batch=7)
    feeds = {"x": b.rng.normal(0, 1, (7, 4, 5)).astype(np.float32)}
    ours = evaluate(graph, feeds)
    for output, theirs in zip(("y", "z"), models.run_onnxruntime(model, feeds), strict=True):
        assert ours[output].shape == theirs.shape
        assert np.allclose(ours[output], theirs, rtol=1e-6)


def test_an_input_of_floats_may_be_quantised_on_the_chip_too() -> None:
    b = models.Builder(np.random.default_rng(0))
    b.input("x", "float32", [4, 33])
    b.output(b.quantise("x", b.parameters("codes", "int8", 0.03125, 3), "codes"), "int8")
    b.output(b.node("Neg", ["x"], "y"), "float32")
    model = b.model()
    graph = import_model(model)
    assert graph.notes == ()
    feeds = {"x": b.rng.normal(0, 3, (4, 33)).astype(np.float32)}
    ours = evaluate(graph, feeds)
    for output, theirs in zip(("codes", "y"), models.run_onnxruntime(model, feeds), strict=True):
        assert np.array_equal(ours[output], theirs)


def test_a_scale_without_an_exact_reciprocal_is_noted() -> None:
    b = models.Builder(np.random.default_rng(0))
    soft = b.node("Softmax", [b.input("x", "float32", [2, 8])], "soft")
    b.output(b.quantise(soft, b.parameters("y", "int8", 0.0078, -128), "y"), "int8")
    (note,) = import_model(b.model()).notes
    assert note == (
        "QuantizeLinear of 'soft': the chip multiplies by 1 / scale where ONNX Runtime divides, so that codes may "
        "differ by one next to a rounding tie"
    )


def test_a_reciprocal_that_is_found_quantises_every_float_as_a_division_does() -> None:
    rng = np.random.default_rng(0)
    for scale in (np.float32(0.25), np.float32(0.75), np.float32(3)):
        factor = find_reciprocal(scale, 5)
        if factor is None:
            continue
        values = np.concatenate([rng.uniform(-200, 200, 100_000), np.arange(-400, 400) / 2]).astype(np.float32) * scale
        by_product = np.clip(np.rint(values * factor) + 5, -128, 127)
        assert np.array_equal(by_product, quantize_linear(values, scale, 5, -128, 127))
    assert find_reciprocal(np.float32(0.25), 5) == 4


def test_the_polynomial_of_erfc_is_as_exact_as_it_says() -> None:
    worst = 0.0
    for z in np.linspace(0, 9.6, 5001).tolist():
        t = 1 / (1 + erf.T_SLOPE * z)
        value = t * sum(c * t**i for i, c in enumerate(erf.COEFFICIENTS)) * exp(-z * z)
        worst = max(worst, abs(value / erfc(z) - 1))
    assert erf.MAX_RELATIVE_ERROR / 2 < worst <= erf.MAX_RELATIVE_ERROR
    assert all(float(np.float32(c)) == c for c in erf.COEFFICIENTS)


# Refusals.


def _float_weights(b: Any) -> None:
    x = b.dequantise(b.input("x", "int8", [2, 4]), b.parameters("x", "int8"))
    b.output(b.node("MatMul", [x, b.constant("w", np.ones((4, 3)), np.float32)], "y"), "float32")


def _float_activation(b: Any) -> None:
    w, *parameters = b.weights(4, 3, "int8", False)
    b.output(b.node("MatMul", [b.input("x", "float32", [2, 4]), b.dequantise(w, parameters)], "y"), "float32")


def _float_activation_and_relu(b: Any) -> None:
    w, *parameters = b.weights(4, 3, "int8", False)
    product = b.node("MatMul", [b.input("x", "float32", [2, 4]), b.dequantise(w, parameters)], "product")
    b.output(b.quantise(b.node("Relu", [product], "r"), b.parameters("y", "int8"), "y"), "int8")


def _constants(b: Any) -> None:
    b.output(b.node("Neg", [b.input("x", "float32", [2, 4])], "y"), "float32")
    b.output(b.node("Sqrt", [b.constant("c", np.ones(3), np.float32)], "z"), "float32", 1)


def _quantised_constants(b: Any) -> None:
    b.output(b.node("Neg", [b.input("x", "float32", [2, 4])], "y"), "float32")
    c = b.dequantise(b.constant("c", np.ones(3), np.int8), b.parameters("c", "int8"))
    b.output(b.node("Sqrt", [c], "z"), "float32", 1)


def _codes(b: Any) -> None:
    b.output(b.node("Max", [b.input("x", "int8", [2, 4]), b.constant("c", 0, np.int8)], "y"), "int8")


def _exponent(b: Any) -> None:
    b.output(b.node("Pow", [b.input("x", "float32", [2, 4]), b.constant("e", 2.5, np.float32)], "y"), "float32")


def _statistics(b: Any) -> None:
    b.input("x", "float32", [2, 4])
    node = b.node("LayerNormalization", ["x", b.constant("g", np.ones(4), np.float32)], "y")
    b.nodes[-1].output.append("mean")
    b.output(node, "float32")
    b.output("mean", "float32")


def _old_softmax(b: Any) -> None:
    b.output(b.node("Softmax", [b.input("x", "float32", [2, 3, 4])], "y", axis=1), "float32", 3)


REFUSALS: list[tuple[Callable[[Any], None], int, str]] = [
    (
        _float_weights,
        17,
        (
            "MatMul 'node_y': its second operand is a float constant: quantise it to int8 (a DequantizeLinear of int8 "
            "weights), for products are made of int8"
        ),
    ),
    (
        _float_activation,
        17,
        (
            "MatMul 'node_y': its first operand is float: put QuantizeLinear and DequantizeLinear before it, for "
            "products are made of int8"
        ),
    ),
    (
        _float_activation_and_relu,
        17,
        (
            "MatMul 'node_product': its first operand is float: put QuantizeLinear and DequantizeLinear before it, for "
            "products are made of int8"
        ),
    ),
    (_constants, 17, "output 'z' does not depend on the input: remove it"),
    (_quantised_constants, 17, "Sqrt 'node_z': it works on constants alone: fold them before importing"),
    (_codes, 17, "Max 'node_y': integer operands are not supported: dequantise them first"),
    (
        _exponent,
        17,
        "Pow 'node_y': an exponent of 2.5: only -1, -0.5, 0.5, 1, 2, 3, 4 are supported",
    ),
    (
        _statistics,
        17,
        "LayerNormalization 'node_y': its mean and deviation as outputs are not supported: remove them",
    ),
    (
        _old_softmax,
        11,
        "Softmax 'node_y': before opset 13 it takes the last axes together: export with opset 13 or later",
    ),
]


@pytest.mark.parametrize(("build", "opset", "problem"), REFUSALS, ids=[build.__name__[1:] for build, *_ in REFUSALS])
def test_refusals(build: Callable[[Any], None], opset: int, problem: str) -> None:
    b = models.Builder(np.random.default_rng(0))
    build(b)
    with pytest.raises(UnsupportedModelError) as caught:
        import_model(b.model(opset))
    assert caught.value.problems == (problem,)
