# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The conditions inside the importer's frontend, one by one: each model here turns on a single one of them.

Where a value is computed the judge is ONNX Runtime; where a model is refused, the exact message.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper
from tests.compiler import onnx_models as models

from openlpu.compiler.errors import UnsupportedModelError
from openlpu.compiler.graph import Pointwise, Reshape, Unary
from openlpu.compiler.onnx_import import import_model
from openlpu.compiler.reference import evaluate

SEEDS = [seed for seed in range(20) if seed != 9]
"""Draws of the scales: the two arithmetics that a condition separates differ for only a few. Seed 9 puts mixed types so
near a tie that the importer refuses them."""


def assert_equal(model: ModelProto, feeds: Mapping[str, NDArray[Any]], hint: str) -> None:
    """Import a model and compare type, shape and every element of its outputs with ONNX Runtime."""
    ours = evaluate(import_model(model), feeds)
    for output, theirs in zip(model.graph.output, models.run_onnxruntime(model, feeds), strict=True):
        mine = ours[output.name]
        assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape), f"{hint}: {output.name}"
        different = int((mine != theirs).sum())
        assert different == 0, f"{hint}: {output.name} differs in {different} places"


def every_pair(model: ModelProto) -> dict[str, NDArray[Any]]:
    """Inputs that hold every pair of codes: a, or the floats fa of a's codes, by rows, and b or fb by columns."""
    constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    feeds: dict[str, NDArray[Any]] = {}
    for info in model.graph.input:
        name = info.name[-1]
        zero, scale = constants.get(f"{name}_zero", np.zeros((), np.int8)), constants[f"{name}_scale"]
        limits = np.iinfo(zero.dtype)
        column: NDArray[Any] = np.arange(limits.min, limits.max + 1).astype(zero.dtype)
        if info.type.tensor_type.elem_type == TensorProto.FLOAT:
            column = (column.astype(np.int32) - int(zero)).astype(np.float32) * scale
        feeds[info.name] = np.repeat(column[:, None], 256, axis=1)
        if name == "b":
            feeds[info.name] = feeds[info.name].T.copy()
    return feeds


# What ONNX Runtime makes of pairs of QuantizeLinear and DequantizeLinear.


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("reader", ["", "codes", "float", "dequantise"])
def test_a_pair_with_another_reader_keeps_its_type(dtype: str, reader: str) -> None:
    for seed in SEEDS:
        model = models.pair_add(np.random.default_rng(seed), dtype, reader)
        assert_equal(model, every_pair(model), f"seed {seed}")


@pytest.mark.parametrize("reader", ["omitted", "empty"])
def test_a_pair_whose_second_zero_point_is_implied(reader: str) -> None:
    # Older versions keep such a pair int8; these seeds tell the two apart.
    for seed in (7, 8, 9):
        model = models.pair_add(np.random.default_rng(seed), "int8", reader)
        assert_equal(model, every_pair(model), f"seed {seed}")


TYPES = [
    (a, b, y) for a in ("int8", "uint8") for b in ("int8", "uint8") for y in ("int8", "uint8") if len({a, b, y}) > 1
]


@pytest.mark.parametrize("types", TYPES, ids="-".join)
@pytest.mark.parametrize("constant", [False, True])
def test_an_add_of_mixed_code_types(types: tuple[str, str, str], constant: bool) -> None:
    for seed in SEEDS:
        model = models.mixed_add(np.random.default_rng(seed), types, constant=constant)
        feeds = every_pair(model)
        (theirs,) = models.run_as_installed(model, feeds)
        assert np.array_equal(evaluate(import_model(model), feeds)["y"], theirs), f"seed {seed}"


# Copies and views.


@pytest.mark.parametrize(("source", "target", "step"), [("int8", "uint8", 128), ("uint8", "int8", -128)])
def test_codes_quantised_again_with_the_other_type(source: str, target: str, step: int) -> None:
    b = models.Builder(np.random.default_rng(0))
    zero = 5 if source == "int8" else 133
    real = b.dequantise(b.input("a", source, [256, 256]), b.parameters("a", source, 0.03, zero))
    b.output(b.quantise(real, b.parameters("y", target, 0.03, zero + step), "y"), target)
    assert_equal(b.model(), every_pair(b.model()), f"{source} to {target}")


def test_an_input_that_an_operation_has_read_keeps_its_shape() -> None:
    # The Relu of codes whose zero point is the lowest is a copy, so the view is of the input that "first" has read.
    b = models.Builder(np.random.default_rng(0))
    x = b.parameters("x", "int8", 0.03, -128)
    real = b.dequantise(b.input("x", "int8", [2, 3, 4]), x)
    active = b.node("Relu", [real], "active")
    b.output(b.quantise(active, b.parameters("first", "int8", 0.05, -100), "first"), "int8", 3)
    copy = b.quantise(active, x, "copy")
    b.output(b.node("Reshape", [copy, b.constant("shape", [6, 4], np.int64)], "view"), "int8", 2)
    model = b.model()
    assert [type(op) for op in import_model(model).ops] == [Unary, Reshape]
    assert_equal(model, {"x": b.rng.integers(-128, 128, (2, 3, 4)).astype(np.int8)}, "seed 0")


@pytest.mark.parametrize(("scale", "zero"), [(0.2, 0), (0.1, 1)])
def test_an_output_that_is_dequantised_otherwise_than_quantised(scale: float, zero: int) -> None:
    b = models.Builder(np.random.default_rng(0))
    codes = b.quantise(b.input("x", "float32", [2, 4]), b.parameters("x", "int8", 0.1, 0), "codes")
    b.output(b.node("DequantizeLinear", [codes, *b.parameters("y", "int8", scale, zero)], "y"), "float32")
    assert_equal(b.model(), {"x": b.rng.normal(0, 5, (2, 4)).astype(np.float32)}, f"{scale} {zero}")


@pytest.mark.parametrize("second", [("int8", 0.25, 1), ("int8", 0.125, 2), ("uint8", 0.125, 129)])
def test_an_input_that_is_quantised_twice_otherwise_is_quantised_on_the_chip(second: tuple[str, float, int]) -> None:
    # Scales with an exact reciprocal, so that the codes are equal.
    b = models.Builder(np.random.default_rng(0))
    b.input("x", "float32", [2, 40])
    for name, (dtype, scale, zero) in (("y", ("int8", 0.125, 1)), ("z", second)):
        b.output(b.quantise("x", b.parameters(name, dtype, scale, zero), name), dtype)
    graph = import_model(b.model())
    assert [(type(op), graph.inputs[0].dtype) for op in graph.ops] == [(Pointwise, "float32")] * 2
    assert graph.tensor(graph.inputs[0].tensor).dtype == "float32"
    assert_equal(b.model(), {"x": b.rng.normal(0, 5, (2, 40)).astype(np.float32)}, f"{second}")


def test_an_input_that_is_quantised_in_two_shapes() -> None:
    b = models.Builder(np.random.default_rng(0))
    x = b.parameters("x", "int8")
    b.output(b.quantise(b.input("x", "float32", [2, 4]), x, "y"), "int8")
    b.output(b.quantise(b.node("Flatten", ["x"], "flat", axis=0), x, "z"), "int8")
    assert_equal(b.model(), {"x": b.rng.normal(0, 2, (2, 4)).astype(np.float32)}, "seed 0")


# Refusals: every message of the ports and of the parameters that the tests of whole networks do not provoke.


def _input_type(b: Any) -> None:
    b.input("x", "int32", [2, 4])
    b.output(b.node("DequantizeLinear", ["x", b.constant("s", 0.1, np.float32)], "y"), "float32")


def _scalar_input(b: Any) -> None:
    b.output(b.quantise(b.input("x", "float32", []), b.parameters("x", "int8"), "y"), "int8", 0)


def _empty_input(b: Any) -> None:
    b.output(b.quantise(b.input("x", "float32", [2, 0]), b.parameters("x", "int8"), "y"), "int8")


def _quantised_constant_output(b: Any) -> None:
    x = b.parameters("x", "int8")
    b.output(b.quantise(b.input("x", "float32", [2, 4]), x, "y"), "int8")
    b.output(b.quantise(b.constant("c", [1, 2], np.float32), x, "z"), "int8", 1)


def _constant_output(b: Any) -> None:
    x = b.parameters("x", "int8")
    b.output(b.quantise(b.input("x", "float32", [2, 4]), x, "y"), "int8")
    b.output(b.node("DequantizeLinear", [b.constant("c", [1, 2], np.int8), *x], "z"), "float32", 1)


def _computed_scale(b: Any) -> None:
    b.input("s", "float32", [1])
    b.output(b.node("QuantizeLinear", [b.input("x", "float32", [2, 4]), "s"], "y"), "uint8")


def _half_scale(b: Any) -> None:
    y = [b.constant("s", 0.1, np.float16), b.constant("z", 0, np.int8)]
    b.input("x", "int8", [2, 4])
    b.output(b.node("QLinearAdd", ["x", *y, "x", *y, *y], "y", domain="com.microsoft"), "int8")


def _shapes_of_parameters(b: Any) -> None:
    y = [b.constant("s", 0.1, np.float32), b.constant("z", [0, 1], np.int8)]
    b.output(b.quantise(b.input("x", "float32", [2, 4]), y, "y"), "int8")


def _computed_zero_point(b: Any) -> None:
    b.input("z", "int8", [1])
    b.output(b.quantise(b.input("x", "float32", [2, 4]), [b.constant("s", 0.1, np.float32), "z"], "y"), "int8")


def _wide_codes(b: Any) -> None:
    y = [b.constant("s", 0.1, np.float32), b.constant("z", 0, np.int32)]
    b.input("x", "int8", [2, 4])
    b.output(b.node("QLinearAdd", ["x", *y, "x", *y, *y], "y", domain="com.microsoft"), "int8")


def _activation_by_channel(b: Any) -> None:
    y = [b.constant("s", [0.1] * 4, np.float32), b.constant("z", [0] * 4, np.int8)]
    b.output(b.quantise(b.dequantise(b.input("x", "int8", [2, 4]), y), b.parameters("y", "int8"), "y"), "int8")


def _output_by_channel(b: Any) -> None:
    y = [b.constant("s", [0.1] * 4, np.float32), b.constant("z", [0] * 4, np.int8)]
    b.output(b.quantise(b.input("x", "float32", [2, 4]), y, "y"), "int8")


def _float_operand(b: Any) -> None:
    y = b.parameters("y", "int8")
    real = b.dequantise(b.input("x", "int8", [2, 4]), y)
    b.output(b.node("QLinearAdd", [real, *y, "x", *y, *y], "y", domain="com.microsoft"), "int8")


def _zero_point_of_another_type(b: Any) -> None:
    y = b.parameters("y", "uint8")
    b.input("x", "int8", [2, 4])
    b.output(b.node("QLinearAdd", ["x", *y, "x", *y, *y], "y", domain="com.microsoft"), "uint8")


def _constant_operand_by_channel(b: Any) -> None:
    y = b.parameters("y", "int8")
    b.input("x", "int8", [2, 4])
    c = [
        b.constant("c", np.ones(4), np.int8),
        b.constant("s", [0.1] * 4, np.float32),
        b.constant("z", [0] * 4, np.int8),
    ]
    b.output(b.node("QLinearAdd", ["x", *y, *c, *y], "y", domain="com.microsoft"), "int8")


def _int32_operand(b: Any) -> None:
    y = b.parameters("y", "int8")
    sums = b.node("MatMulInteger", [b.input("x", "int8", [2, 4]), b.constant("w", np.ones((4, 3)), np.int8)], "sums")
    b.output(b.node("QLinearAdd", [sums, *y, sums, *y, *y], "y", domain="com.microsoft"), "int8")


def _qlinear_matmul(b: Any, w: str, scale: Any = 0.1) -> None:
    y = b.parameters("y", "int8")
    parameters = [b.constant("w_scale", scale, np.float32), b.constant("w_zero", np.zeros(np.shape(scale)), np.int8)]
    b.output(b.node("QLinearMatMul", [b.input("x", "int8", [2, 4]), *y, w, *parameters, *y], "y"), "int8")


def _weight_vector(b: Any) -> None:
    _qlinear_matmul(b, b.constant("w", np.ones(4), np.int8))


def _float_weights(b: Any) -> None:
    _qlinear_matmul(b, b.constant("w", np.ones((4, 3)), np.float32))


def _empty_weights(b: Any) -> None:
    _qlinear_matmul(b, b.constant("w", np.ones((4, 0)), np.int8))


def _weight_scales(b: Any) -> None:
    _qlinear_matmul(b, b.constant("w", np.ones((4, 3)), np.int8), [0.1, 0.2])


def _matrix_of_scales(b: Any) -> None:
    _qlinear_matmul(b, b.constant("w", np.ones((4, 4)), np.int8), [[0.1, 0.2], [0.3, 0.4]])


def _axis_of_scales(b: Any) -> None:
    y = b.parameters("y", "int8")
    b.output(b.quantise(b.input("x", "float32", [2, 4]), y, "y"), "int8")
    c = [b.constant("c", [[1, 2]], np.int8), b.constant("s", [0.1, 0.2], np.float32), b.constant("z", [0, 0], np.int8)]
    b.output(b.node("DequantizeLinear", c, "z_out", axis=2), "float32")


REFUSALS: list[tuple[Callable[[Any], None], str]] = [
    (
        _input_type,
        "input 'x' is INT32: only FLOAT, INT8 and UINT8 are supported, and INT32 and INT64 as indices of a Gather",
    ),
    (_scalar_input, "input 'x' has no dimensions: export the model with a static shape"),
    (_empty_input, "input 'x' is empty: its shape is [2, 0]"),
    (_quantised_constant_output, "output 'z' does not depend on the input: remove it"),
    (_constant_output, "output 'z' does not depend on the input: remove it"),
    (_computed_scale, "QuantizeLinear 'node_y': a scale is not a float32 constant"),
    (_half_scale, "QLinearAdd 'node_y': a scale is not a float32 constant"),
    (_shapes_of_parameters, "QuantizeLinear 'node_y': a scale and its zero point differ in shape"),
    (_computed_zero_point, "QuantizeLinear 'node_y': a zero point is not a constant"),
    (_wide_codes, "QLinearAdd 'node_y': int32 codes: only int8 and uint8 are supported"),
    (
        _activation_by_channel,
        "DequantizeLinear 'node_x_float': an activation is quantised by channel: only weights may be",
    ),
    (_output_by_channel, "QuantizeLinear 'node_y': the output is quantised by channel: only weights may be"),
    (_float_operand, "QLinearAdd 'node_y': the operand must be an int8 or uint8 activation"),
    (_int32_operand, "QLinearAdd 'node_y': the operand must be an int8 or uint8 activation"),
    (
        _constant_operand_by_channel,
        "QLinearAdd 'node_y': a constant operand is quantised by channel: only weights may be",
    ),
    (_zero_point_of_another_type, "QLinearAdd 'node_y': a zero point is uint8, its operand int8"),
    (_weight_vector, "QLinearMatMul 'node_y': weights are int8[4]: an int8 or uint8 matrix is needed"),
    (_float_weights, "QLinearMatMul 'node_y': weights are float32[4, 3]: an int8 or uint8 matrix is needed"),
    (_empty_weights, "QLinearMatMul 'node_y': weights are int8[4, 0]: an int8 or uint8 matrix is needed"),
    (
        _weight_scales,
        "QLinearMatMul 'node_y': scales or zero points of shape [2] do not fit a constant of shape [4, 3]",
    ),
    (
        _matrix_of_scales,
        "QLinearMatMul 'node_y': scales or zero points of shape [2, 2] do not fit a constant of shape [4, 4]",
    ),
    (
        _axis_of_scales,
        "DequantizeLinear 'node_z_out': scales or zero points of shape [2] do not fit a constant of shape [1, 2]",
    ),
]


@pytest.mark.parametrize(("build", "problem"), REFUSALS, ids=[build.__name__[1:] for build, _ in REFUSALS])
def test_refusals(build: Callable[[Any], None], problem: str) -> None:
    b = models.Builder(np.random.default_rng(0))
    build(b)
    with pytest.raises(UnsupportedModelError) as caught:
        import_model(b.model())
    assert caught.value.problems == (problem,)
