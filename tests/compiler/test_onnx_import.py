# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The importer and its reference against ONNX Runtime: every element equal, every refusal by name."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper
from tests.compiler import onnx_models as models

from openlpu.compiler import exact
from openlpu.compiler.errors import CompileError, InternalCompilerError, ModelFileError, UnsupportedModelError
from openlpu.compiler.graph import Graph, MatMul, Port, Rearrange, Requantise, Reshape, Tensor, Unary
from openlpu.compiler.onnx_import import import_model, import_onnx
from openlpu.compiler.reference import evaluate

HERE = Path(__file__).parent
DIGITS = HERE.parents[1] / "examples" / "digits"
SEEDS = range(3)
TYPES = ("int8", "uint8")


def codes_of(dtype: str) -> NDArray[Any]:
    """Every value of a type, in order."""
    return np.arange(256).astype(np.uint8) if dtype == "uint8" else np.arange(-128, 128).astype(np.int8)


def random_feeds(model: ModelProto, rng: np.random.Generator, batch: int = 1) -> dict[str, NDArray[Any]]:
    feeds: dict[str, NDArray[Any]] = {}
    for value in model.graph.input:
        shape = [dim.dim_value or batch for dim in value.type.tensor_type.shape.dim]
        match value.type.tensor_type.elem_type:
            case TensorProto.FLOAT:
                feeds[value.name] = rng.normal(0, 1.5, shape).astype(np.float32)
            case TensorProto.INT8:
                feeds[value.name] = rng.integers(-128, 128, shape).astype(np.int8)
            case _:
                feeds[value.name] = rng.integers(0, 256, shape).astype(np.uint8)
    return feeds


def assert_equal(graph: Graph, model: ModelProto, feeds: Mapping[str, NDArray[Any]], hint: str, **config: str) -> None:
    ours = evaluate(graph, feeds)
    for output, theirs in zip(model.graph.output, models.run_onnxruntime(model, feeds, **config), strict=True):
        mine = ours[output.name]
        assert mine.dtype == theirs.dtype, hint
        assert mine.shape == theirs.shape, hint
        assert int((mine != theirs).sum()) == 0, (
            f"{hint}: {output.name} differs in {int((mine != theirs).sum())} places"
        )


def check(build: Callable[[np.random.Generator], ModelProto], *, exact_in_ort: bool = True, **config: str) -> None:
    """Import random models of one form and compare them with ONNX Runtime."""
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        model = build(rng)
        graph = import_model(model)
        assert bool(graph.notes) != exact_in_ort, f"seed {seed}: {graph.notes}"
        assert_equal(graph, model, random_feeds(model, rng), f"seed {seed}\n{graph}", **config)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("bias", ["", "int32", "float"])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("activation", ["", "Relu"])
def test_qdq_gemm(dtype: str, bias: str, per_channel: bool, transposed: bool, activation: str) -> None:
    options: dict[str, Any] = {
        "bias": bias,
        "per_channel": per_channel,
        "transposed": transposed,
        "activation": activation,
    }
    check(lambda rng: models.qdq_dense(rng, dtype, **options))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("bias", ["int32", "float"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_qdq_matmul_with_bias(dtype: str, bias: str, per_channel: bool) -> None:
    check(lambda rng: models.qdq_dense(rng, dtype, op="MatMul", bias=bias, per_channel=per_channel))


@pytest.mark.parametrize("per_channel", [False, True])
def test_qdq_matmul(per_channel: bool) -> None:
    check(lambda rng: models.qdq_dense(rng, "uint8", op="MatMul", bias="", per_channel=per_channel))


def test_qdq_matmul_of_int8_is_noted_and_equals_the_integer_kernel() -> None:
    def build(rng: np.random.Generator) -> ModelProto:
        return models.qdq_dense(rng, "int8", op="MatMul", bias="")

    # On x86-64 ONNX Runtime fuses this one only when told to.
    check(build, exact_in_ort=False, session_qdqisint8allowed="1")


@pytest.mark.parametrize("weight_zero", [0, 7, 128, 255])
def test_weight_zero_points(weight_zero: int) -> None:
    check(lambda rng: models.qdq_dense(rng, "uint8", weight_dtype="uint8", weight_zero=weight_zero))
    check(lambda rng: models.matmul_integer(rng, "int8", "int8", weight_zero - 128))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("per_channel", [False, True])
def test_qlinear_matmul(dtype: str, per_channel: bool) -> None:
    check(lambda rng: models.qlinear_matmul(rng, dtype, weight_dtype="int8", per_channel=per_channel))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_qgemm(dtype: str, transposed: bool, per_channel: bool, bias: bool) -> None:
    check(lambda rng: models.qgemm(rng, dtype, transposed=transposed, per_channel=per_channel, bias=bias))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("weight_dtype", "weight_zero"), [("int8", 0), ("int8", 100), ("uint8", 128), ("uint8", 31)])
def test_matmul_integer(dtype: str, weight_dtype: str, weight_zero: int) -> None:
    check(lambda rng: models.matmul_integer(rng, dtype, weight_dtype, weight_zero))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("op", ["Add", "Mul"])
@pytest.mark.parametrize("constant", ["", "vector", "number", "float"])
@pytest.mark.parametrize("activation", ["", "Relu"])
def test_qdq_add_and_mul(dtype: str, op: str, constant: str, activation: str) -> None:
    check(lambda rng: models.binary(rng, dtype, op, constant=constant, activation=activation))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("op", ["Add", "Mul"])
@pytest.mark.parametrize("constant", ["", "vector", "number"])
@pytest.mark.parametrize("first", [False, True])
def test_qlinear_add_and_mul(dtype: str, op: str, constant: str, first: bool) -> None:
    check(lambda rng: models.binary(rng, dtype, op, form="qlinear", constant=constant, constant_first=first))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("op", ["Add", "Mul"])
def test_two_activations_on_every_pair_of_codes(dtype: str, op: str) -> None:
    codes = codes_of(dtype)
    feeds = {"a": np.repeat(codes[:, None], 256, axis=1), "b": np.repeat(codes[None], 256, axis=0)}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        model = models.binary(rng, dtype, op, form="qlinear", shape=(256, 256))
        assert_equal(import_model(model), model, feeds, f"seed {seed}")


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("op", ["Add", "Mul"])
@pytest.mark.parametrize("first", [False, True])
def test_constant_vector_on_every_code(dtype: str, op: str, first: bool) -> None:
    feeds = {"a": np.repeat(codes_of(dtype)[:, None], 255, axis=1)}
    options: dict[str, Any] = {"form": "qlinear", "constant": "vector", "constant_first": first, "shape": (256, 255)}
    for seed in range(20):
        model = models.binary(np.random.default_rng(seed), dtype, op, **options)
        assert_equal(import_model(model), model, feeds, f"seed {seed}")


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("spoiler", ["", "Relu", "reader"])
def test_what_onnxruntime_fuses_on_every_pair_of_codes(dtype: str, spoiler: str) -> None:
    # A Relu that changes values, or a second reader of the sum, makes ONNX Runtime add in float.
    codes = codes_of(dtype)
    feeds = {"a": np.repeat(codes[:, None], 256, axis=1), "b": np.repeat(codes[None], 256, axis=0)}
    for seed in range(20):
        activation = "Relu" if spoiler == "Relu" else ""
        rng = np.random.default_rng(seed)
        model = models.binary(rng, dtype, "Add", activation=activation, shape=(256, 256))
        if spoiler == "reader":
            model.graph.node.append(onnx.helper.make_node("QuantizeLinear", ["sum", "y_scale", "y_zero"], ["again"]))
            model.graph.output.append(onnx.helper.make_tensor_value_info("again", models.ELEMENT[dtype], [256, 256]))
        assert_equal(import_model(model), model, feeds, f"seed {seed}")


def test_a_single_number_is_the_second_operand_of_onnxruntime_even_when_it_comes_first() -> None:
    # Scales chosen so that the two orders of its fused multiply-adds differ for one code.
    b = models.Builder(np.random.default_rng(0))
    b.input("a", "uint8", [256, 1])
    b.constant("b", 97, np.uint8)
    number = ["b", *b.parameters("b", "uint8", 0.0142, 99)]
    activation = ["a", *b.parameters("a", "uint8", 0.0287, 175)]
    y = b.parameters("y", "uint8", 0.0384, 244)
    b.output(b.node("QLinearAdd", [*number, *activation, *y], "y", domain="com.microsoft"), "uint8")
    model = b.model()
    assert_equal(import_model(model), model, {"a": codes_of("uint8")[:, None]}, "number first")


@pytest.mark.parametrize("dtype", TYPES)
def test_dense_multiplier_on_every_product_of_codes(dtype: str) -> None:
    # One product a sum, and scales of two decimals: many results fall on a tie in decimal arithmetic, so that the order
    # in which float32 combines the three scales shows.
    for seed in range(20):
        b = models.Builder(np.random.default_rng(seed))
        sx, sw, sy = (round(float(b.rng.uniform(*limits)), 2) for limits in ((0.01, 0.1), (0.01, 0.1), (0.2, 0.6)))
        b.input("x", dtype, [256, 1])
        b.constant("w", np.arange(-127, 128)[None], np.int8)
        inputs = ["x", *b.parameters("x", dtype, sx), "w", *b.parameters("w", "int8", sw, 0)]
        b.output(b.node("QLinearMatMul", [*inputs, *b.parameters("y", dtype, sy)], "y"), dtype)
        model = b.model()
        assert_equal(import_model(model), model, {"x": codes_of(dtype)[:, None]}, f"seed {seed}")


@pytest.mark.parametrize("zero", [-3, 4])
def test_products_round_with_their_zero_point(zero: int) -> None:
    # The multiplier is one half: every odd product is a tie, to be rounded to even with the zero point already added.
    b = models.Builder(np.random.default_rng(0))
    b.input("a", "int8", [256, 255])
    b.constant("b", np.arange(-127, 128), np.int8)
    inputs = ["a", *b.parameters("a", "int8", 0.25, 5), "b", *b.parameters("b", "int8", 0.5, -9)]
    b.output(
        b.node("QLinearMul", [*inputs, *b.parameters("y", "int8", 0.25, zero)], "y", domain="com.microsoft"), "int8"
    )
    model = b.model()
    feeds = {"a": np.repeat(codes_of("int8")[:, None], 255, axis=1)}
    assert_equal(import_model(model), model, feeds, f"zero point {zero}")


def test_inputs_are_divided_by_their_scale() -> None:
    # Halfway between two codes, a product with the reciprocal would often round the other way.
    for seed in range(5):
        b = models.Builder(np.random.default_rng(seed))
        b.output(b.quantise(b.input("f", "float32", [1, 255]), b.parameters("x", "int8", zero=0), "x"), "int8")
        halves = ((np.arange(-127, 128) + 0.5).astype(np.float32) * b.initialisers["x_scale"])[None]
        model = b.model()
        assert_equal(import_model(model), model, {"f": halves}, f"seed {seed}")


@pytest.mark.parametrize("dtype", TYPES)
def test_float_ports_make_onnxruntime_compute_int8_pairs_as_uint8(dtype: str) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        model = models.float_add(rng, dtype)
        constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
        codes = codes_of(dtype).astype(np.int32)
        real = {n: (codes - int(constants[f"{n}_zero"])).astype(np.float32) * constants[f"{n}_scale"] for n in "ab"}
        feeds = {"fa": np.repeat(real["a"][:, None], 256, axis=1), "fb": np.repeat(real["b"][None], 256, axis=0)}
        assert_equal(import_model(model), model, feeds, f"seed {seed}")


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("op", ["", "Relu", "Clip"])
def test_qdq_unary(dtype: str, op: str) -> None:
    check(lambda rng: models.unary(rng, dtype, op))


@pytest.mark.parametrize(("dtype", "op"), [("int8", "Relu"), ("int8", "Clip"), ("uint8", "Clip")])
def test_clamps_on_codes(dtype: str, op: str) -> None:
    check(lambda rng: models.unary(rng, dtype, op, form="integer"))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("batch", [1, 5])
def test_float_network_with_flatten_and_residual(dtype: str, batch: int) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        model = models.float_mlp(rng, dtype)
        graph = import_model(model, batch=batch)
        assert graph.inputs[0].shape == (batch, 5, 7)
        assert graph.tensor(graph.inputs[0].tensor).shape == (batch, 35)
        assert_equal(graph, model, random_feeds(model, rng, batch), f"seed {seed}")


def test_reshape_keeps_vectors() -> None:
    b = models.Builder(np.random.default_rng(5))
    y = b.parameters("y", "int8")
    real = b.dequantise(b.input("x", "int8", ["n", 6, 10]), b.parameters("x", "int8"))
    real = b.dequantise(b.quantise(b.node("Relu", [real], "active"), y, "codes"), y)
    b.constant("shape", [-1, 3, 10], np.int64)
    b.output(b.quantise(b.node("Reshape", [real, "shape"], "view"), y, "y"), "int8", 3)
    model = b.model()
    graph = import_model(model, batch=2)
    assert [type(op) for op in graph.ops] == [Unary, Reshape]
    assert_equal(graph, model, random_feeds(model, b.rng, 2), "seed 5")


def test_an_input_that_is_quantised_twice_keeps_its_shape() -> None:
    b = models.Builder(np.random.default_rng(5))
    x = b.parameters("x", "int8")
    b.input("f", "float32", [2, 3, 4])
    b.constant("shape", [6, 4], np.int64)
    real = b.dequantise(b.quantise("f", x, "once"), x)
    b.output(b.node("Reshape", [b.quantise("f", x, "twice"), "shape"], "view"), "int8", 2)
    b.output(b.quantise(b.node("Relu", [real], "active"), b.parameters("y", "int8"), "y"), "int8", 3)
    model = b.model()
    assert_equal(import_model(model), model, random_feeds(model, b.rng), "seed 5")


def test_nan_and_infinity_are_quantised_as_in_onnxruntime() -> None:
    b = models.Builder(np.random.default_rng(6))
    parameters = b.parameters("x", "int8")
    b.output(b.quantise(b.input("f", "float32", [1, 7]), parameters, "x"), "int8")
    values = np.array([[np.nan, np.inf, -np.inf, 1e38, -1e38, -0.0, 1e-40]], np.float32)
    model = b.model()
    assert_equal(import_model(model), model, {"f": values}, "special values")


# The digits network.


def test_digits_equal_onnxruntime_on_every_held_out_image() -> None:
    data = np.load(DIGITS / "digits_test.npz")
    images, labels = data["images"], data["labels"]
    assert len(images) >= 360
    graph = import_onnx(DIGITS / "digits.onnx", batch=len(images))
    assert graph.notes == ()
    ours = evaluate(graph, {"image": images})["logits"]
    (theirs,) = models.run_onnxruntime(onnx.load(DIGITS / "digits.onnx"), {"image": images})
    assert np.array_equal(ours, theirs)
    assert (ours.argmax(axis=1) == labels).mean() >= 0.96


def test_dump_is_deterministic_and_complete() -> None:
    dump = str(import_onnx(DIGITS / "digits.onnx"))
    assert dump == str(import_onnx(DIGITS / "digits.onnx"))
    lines = dump.splitlines()
    assert lines[0] == "graph digits"
    assert lines[1].startswith("  input  image: float32[1, 64] -> %")
    assert sum(" = matmul " in line for line in lines) == 2
    assert lines[-1].startswith("  output logits: float32[1, 10] <- %")


# Constants.


def test_search_finds_constants_or_says_so() -> None:
    table = np.arange(-128, 128, dtype=np.int32)[:, None]
    one = Requantise((np.asarray(np.nextafter(np.float32(1), np.float32(2))),), 0)
    assert exact.find_unary(table, 0, (one,)) is not None
    assert exact.find_unary(table[::-1].copy(), 0, (one,)) is None


def test_fused_multiply_add_rounds_once() -> None:
    rng = np.random.default_rng(11)
    a, b, c = (rng.normal(0, 1, 2000).astype(np.float32) for _ in range(3))
    wide = np.longdouble(a) * np.longdouble(b) + np.longdouble(c)
    assert np.array_equal(exact.fused_multiply_add(a, b, c), wide.astype(np.float32))
    assert not np.array_equal(a * b + c, wide.astype(np.float32))


def test_scales_next_to_ties_are_refused() -> None:
    b = models.Builder(np.random.default_rng(0))
    x = [b.dequantise(b.input(n, "int8", [2, 3]), b.parameters(n, "int8", s, z)) for n, s, z in PARTS]
    b.output(b.quantise(b.node("Add", x, "sum"), b.parameters("y", "int8", 0.06, 46), "y"), "int8")
    assert message(b.model()) == (
        "model: Add 'node_sum': some input falls so near a rounding tie that no float32 constants make the chip equal "
        "to ONNX Runtime; change one of the scales slightly (calibrate again)"
    )


PARTS = (("a", 0.01, 81), ("b", 0.02, -111))


# Refusals.


def message(model: ModelProto, **options: Any) -> str:
    with pytest.raises(CompileError) as caught:
        import_model(model, **options)
    return str(caught.value)


def test_every_unsupported_thing_is_listed_at_once() -> None:
    b = models.Builder(np.random.default_rng(1))
    real = b.dequantise(b.input("x", "int8", [2, 4]), b.parameters("x", "int8"))
    b.node("LogSoftmax", [real], "soft")
    b.node("Mish", ["soft"], "mish")
    w, *parameters = b.weights(4, 3, "int8", False)
    product = b.node("Gemm", [real, b.dequantise(w, parameters)], "g", beta=0.5)
    b.output(product, "float32")
    with pytest.raises(UnsupportedModelError) as caught:
        import_model(b.model(18))
    assert caught.value.problems == (
        "operator LogSoftmax 'node_soft': not supported; use Softmax, and take its logarithm on the host",
        "operator Mish 'node_mish': not supported; remove it, or run it on the host before or after the network",
        "Gemm 'node_g': attribute beta = 0.5 is not supported: only 1.0 is",
    )
    assert str(caught.value).startswith("model: 3 things are not supported:\n  - operator LogSoftmax")


def test_float_network() -> None:
    b = models.Builder(np.random.default_rng(1))
    weights = b.constant("w", np.ones((4, 3)), np.float32)
    b.output(b.node("MatMul", [b.input("x", "float32", [2, 4]), weights], "y"), "float32")
    assert message(b.model()) == (
        "model: a float network: it has no QuantizeLinear and no quantised operator; quantise it first, for example "
        "with onnxruntime.quantization.quantize_static(..., quant_format=QuantFormat.QDQ)"
    )


def test_dynamic_shape_and_wrong_batch() -> None:
    b = models.Builder(np.random.default_rng(1))
    parameters = b.parameters("x", "int8")
    b.output(b.quantise(b.input("f", "float32", ["n", "m"]), parameters, "y"), "int8")
    assert message(b.model()) == (
        "model: input 'f' has a dynamic shape at axis 1 (m): export it with static sizes; only the first dimension "
        "(batch) may be symbolic"
    )
    b.inputs.clear()
    b.input("f", "float32", [1, 4])
    assert (
        message(b.model(), batch=3) == "model: input 'f' has a fixed first dimension of 1, but a batch of 3 was asked"
    )
    assert message(b.model(), batch=0) == "model: batch is 0; it must be at least 1"


def test_weights_by_input_channel() -> None:
    b = models.Builder(np.random.default_rng(1))
    real = b.dequantise(b.input("x", "int8", [2, 4]), b.parameters("x", "int8"))
    b.constant("w", np.ones((4, 3)), np.int8)
    b.constant("w_scale", [0.1, 0.2, 0.3, 0.4], np.float32)
    b.constant("w_zero", np.zeros(4), np.int8)
    w = b.dequantise("w", ["w_scale", "w_zero"], axis=0)
    b.output(b.quantise(b.node("Gemm", [real, w], "g"), b.parameters("y", "int8"), "y"), "int8")
    assert message(b.model()) == (
        "model: Gemm 'node_g': weights quantised by input channel: only by tensor or output channel"
    )


def test_weight_scales_that_do_not_fit_the_bias() -> None:
    b = models.Builder(np.random.default_rng(1))
    real = b.dequantise(b.input("x", "int8", [2, 4]), b.parameters("x", "int8"))
    b.constant("w", np.ones((4, 3)), np.int8)
    w = b.dequantise("w", [b.constant("s", np.ones(4), np.float32), b.constant("z", np.zeros(4), np.int8)], axis=0)
    product = b.node("Gemm", [real, w, b.constant("bias", np.ones(3), np.float32)], "g")
    b.output(b.quantise(product, b.parameters("y", "int8"), "y"), "int8")
    assert message(b.model()) == (
        "model: Gemm 'node_g': the bias has 3 elements, the weights 4 scales: quantise weights by tensor or by output "
        "channel"
    )


def test_sum_of_constants() -> None:
    b = models.Builder(np.random.default_rng(1))
    x, y = b.parameters("x", "int8"), b.parameters("y", "int8")
    b.output(b.quantise(b.dequantise(b.input("x", "int8", [2, 3]), x), y, "used"), "int8")
    constant = b.dequantise(b.constant("c", np.ones(3), np.int8), x)
    b.output(b.quantise(b.node("Add", [constant, constant], "sum"), y, "y"), "int8", 1)
    assert message(b.model()) == ("model: Add 'node_sum': both operands are constants: fold them before importing")


def test_reshape_that_moves_elements_between_vectors() -> None:
    b = models.Builder(np.random.default_rng(1))
    y = b.parameters("y", "int8")
    real = b.dequantise(b.input("x", "int8", [2, 6]), b.parameters("x", "int8"))
    b.quantise(b.node("Relu", [real], "active"), y, "codes")
    b.constant("shape", [3, 4], np.int64)
    b.output(b.node("Reshape", ["codes", "shape"], "y"), "int8")
    model = b.model()
    graph = import_model(model)
    assert [type(op) for op in graph.ops] == [Unary, Rearrange]
    assert_equal(graph, model, random_feeds(model, b.rng), "seed 1")


def test_bad_scale() -> None:
    b = models.Builder(np.random.default_rng(1))
    b.output(b.quantise(b.input("f", "float32", [1, 4]), b.parameters("x", "int8", 0.0), "y"), "int8")
    assert message(b.model()) == "model: QuantizeLinear 'node_y': a scale is zero, negative or not finite"


def test_files_that_are_no_models(tmp_path: Path) -> None:
    missing, text, empty = tmp_path / "none.onnx", tmp_path / "text.onnx", tmp_path / "empty.onnx"
    text.write_text("this is no model")
    empty.write_bytes(b"")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes((DIGITS / "digits.onnx").read_bytes()[:3000])
    reasons = {
        missing: "no such file",
        tmp_path: "not a file; give the path of an .onnx file",
        text: "not an ONNX file, or damaged: it cannot be decoded; export it again",
        empty: "not an ONNX model, or damaged: it holds no nodes; export it again",
        damaged: "not an ONNX file, or damaged: it cannot be decoded; export it again",
    }
    for path, reason in reasons.items():
        with pytest.raises(ModelFileError) as caught:
            import_onnx(path)
        assert str(caught.value) in (f"{path}: {reason}", f"{path.name}: {reason}")


def test_inputs_of_a_run_are_checked() -> None:
    graph = import_onnx(DIGITS / "digits.onnx")
    with pytest.raises(CompileError, match=r"digits: the inputs are \['image'\], but \['picture'\] were given"):
        evaluate(graph, {"picture": np.zeros((1, 64), np.float32)})
    with pytest.raises(CompileError, match=r"input 'image' is float32\[1, 64\], but float64\[64\] was given"):
        evaluate(graph, {"image": np.zeros(64)})


# The verifier.


def small(op: MatMul, out: Tensor) -> Graph:
    x = Tensor("x", (2, 3), "int8", "int8")
    return Graph("g", (x, out), (op,), (Port("x", "x", "int8", (2, 3)),), (Port("y", "y", out.outside, out.shape),))


def test_verify_names_what_is_wrong() -> None:
    weights = np.ones((3, 4), np.int8)
    raw = MatMul("y", "x", (weights,), None, None)
    small(raw, Tensor("y", (2, 4), "int32", "int32")).verify()
    broken = {
        "weights have shape": (raw, Tensor("y", (2, 5), "int32", "int32")),
        "computes int32, but its output is int8": (raw, Tensor("y", (2, 4), "int8", "int8")),
        "reads 'z', which nothing before it computes": (
            MatMul("y", "z", (weights,), None, None),
            Tensor("y", (2, 4), "int32", "int32"),
        ),
        "the sum can leave int32": (
            MatMul("y", "x", (weights,), np.full(4, 2**31 - 1, np.int32), None),
            Tensor("y", (2, 4), "int32", "int32"),
        ),
    }
    for text, (op, out) in broken.items():
        with pytest.raises(InternalCompilerError, match=text):
            small(op, out).verify()
