# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What the importer refuses among moves, products, lookups and floats: one line each, by the operator's name."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from tests.compiler import onnx_models as models
from tests.compiler.onnx_models import Builder

from openlpu.compiler.errors import ModelFileError, UnsupportedModelError
from openlpu.compiler.onnx_import import import_model


def node(op: str, *constants: Any, outputs: int = 1, **attributes: Any) -> Callable[[Builder], None]:
    """A network of one operator of x, float32 [2, 3, 4], and constants (None for one left out)."""

    def build(b: Builder) -> None:
        names = [b.input("x", "float32", [2, 3, 4])]
        for index, constant in enumerate(constants):
            names.append("" if constant is None else b.constant(f"c{index}", constant))
        results = ["y", *(f"y{index}" for index in range(1, outputs))]
        b.nodes.append(helper.make_node(op, names, results, name="n", **attributes))
        for result in results:
            b.output(result, "float32", 3)

    return build


def computed(op: str, dtype: int = TensorProto.FLOAT, shape: tuple[int, ...] = (1,)) -> Callable[[Builder], None]:
    """A network of one operator whose second operand is an input that should be a constant."""

    def build(b: Builder) -> None:
        b.inputs.append(helper.make_tensor_value_info("second", dtype, list(shape)))
        b.nodes.append(helper.make_node(op, [b.input("x", "float32", [2, 3, 4]), "second"], ["y"], name="n"))
        b.output("y", "float32", 3)

    return build


def of_codes(op: str, *others: str, **attributes: Any) -> Callable[[Builder], None]:
    """A network of one operator of int8 codes x [2, 4], and more of them."""

    def build(b: Builder) -> None:
        names = [b.input(name, "int8", [2, 4]) for name in ("x", *others)]
        b.nodes.append(helper.make_node(op, names, ["y"], name="n", **attributes))
        b.output("y", "float32")

    return build


def _small_output_scale(b: Builder) -> None:
    floats = [b.dequantise(b.input(n, "uint8", [2, 4, 4]), b.parameters(n, "uint8", 100.0)) for n in "ab"]
    product = b.node("MatMul", floats, "product")
    b.output(b.quantise(product, b.parameters("y", "uint8", 1e-6), "y"), "uint8", 3)


def _int32_factor(b: Builder) -> None:
    x = b.dequantise(b.input("x", "int8", [2, 3, 4]), b.parameters("x", "int8"))
    b.constant("w", np.ones((2, 4, 4)), np.int32)
    w = b.dequantise("w", [b.constant("s", 0.1, np.float32), b.constant("z", 0, np.int32)])
    b.output(b.node("MatMul", [x, w], "y"), "float32", 3)


def _axis_of_a_table(b: Builder) -> None:
    b.inputs.append(helper.make_tensor_value_info("i", TensorProto.INT64, [2]))
    b.output(b.node("Gather", [b.constant("t", np.ones((3, 4, 5)), np.float32), "i"], "y"), "float32", 3)


def _long_table(b: Builder) -> None:
    b.inputs.append(helper.make_tensor_value_info("i", TensorProto.INT64, [2]))
    b.output(b.node("Gather", [b.constant("t", np.ones((70_000, 1)), np.float32), "i"], "y"), "float32", 2)


def _moved_indices(b: Builder) -> None:
    b.inputs.append(helper.make_tensor_value_info("i", TensorProto.INT64, [2]))
    b.output(b.node("Gather", ["i", b.constant("zero", [0], np.int64)], "y"), "float32", 1)


def _indices_out(b: Builder) -> None:
    b.inputs.append(helper.make_tensor_value_info("i", TensorProto.INT64, [2]))
    b.output(b.node("Identity", ["i"], "same"), "float32", 1)


def _scaled_sums(b: Builder) -> None:
    sums = b.node("MatMulInteger", [b.input("x", "int8", [2, 4]), b.constant("w", np.ones((4, 3)), np.int8)], "sums")
    b.output(b.node("DequantizeLinear", [sums, b.constant("s", np.ones(3), np.float32)], "y"), "float32")


def _dequantised_twice(b: Builder) -> None:
    real = b.dequantise(b.input("x", "int8", [2, 4]), b.parameters("x", "int8"))
    b.output(b.node("DequantizeLinear", [real, *b.parameters("y", "int8")], "y"), "float32")


REFUSALS: dict[str, tuple[Callable[[Builder], None], str]] = {
    "training": (node("Dropout", np.float32(0.5), np.True_), "it is in training mode: export for inference"),
    "empty slice": (
        node("Slice", np.array([5]), np.array([9])),
        "nothing is left of [2, 3, 4]: empty tensors are not supported",
    ),
    "no step": (node("Slice", np.array([0]), np.array([2]), np.array([0]), np.array([0])), "a step is 0"),
    "sizes": (
        node("Split", np.array([1, 2]), outputs=2, axis=2),
        "axis 2 of [2, 3, 4] cannot be split into sizes [1, 2]",
    ),
    "expand": (node("Expand", np.array([5, 4])), "[2, 3, 4] does not expand to [5, 4]"),
    "outside": (node("Gather", np.array([4]), axis=2), "its indices are not all within axis 2 of [2, 3, 4]"),
    "indices": (
        computed("Gather", TensorProto.FLOAT),
        "its indices are neither constants nor an input of the network",
    ),
    "axis": (node("Flatten", axis=5), "axis 5 is not one of 4"),
    "reshape": (
        node("Reshape", np.array([5, 5])),
        "[2, 3, 4] cannot be reshaped to [5, 5]: a batch size may be fixed in the shape; use -1 or 0",
    ),
    "repeats": (computed("Tile"), "the network computes its repeats: export with static shapes"),
    "joined": (node("Concat", np.ones((1, 1, 1), np.float32), axis=0), "shapes [2, 3, 4], [1, 1, 1] do not fit"),
    "broadcast": (node("Add", np.ones(3, np.float32)), "operands of shapes [2, 3, 4] and [3] do not broadcast"),
    "double": (node("Mul", np.ones(4)), "a constant operand is float64: only float32 is supported"),
    "slope": (node("LeakyRelu", alpha=2.0), "attribute alpha = 2.0 is not supported: only up to 1"),
    "three": (node("Max", np.float32(1), np.float32(2)), "3 operands: only two are supported"),
    "exponent": (computed("Pow"), "its exponent is not a constant number"),
    "bound": (computed("Clip"), "a bound is not a constant number"),
    "cast": (
        node("Cast", to=TensorProto.DOUBLE),
        "attribute to = 11 is not supported: only 1 (float32) is",
    ),
    "formula": (node("Gelu", approximate="fast"), "attribute approximate = fast is not supported"),
    "axes": (computed("ReduceSum"), "the network computes its axes: export with static shapes"),
    "scale": (
        computed("LayerNormalization", shape=(4,)),
        "its scale and bias must be constants, one number for each element that is normalised",
    ),
    "reduced axis": (node("ReduceSum", np.array([3])), "axis 3 is not one of 3"),
    "codes": (
        of_codes("Add", "z"),
        "integer operands are not supported: use the QLinear form, or dequantise them first",
    ),
    "codes of a function": (
        of_codes("Tanh"),
        "integer operands are not supported: use the QLinear form, or dequantise them first",
    ),
    "output scale": (_small_output_scale, "the output scale is far too small for the scales of the operands"),
    "int32 factor": (_int32_factor, "int32 codes: only int8 and uint8 are supported"),
    "table": (_axis_of_a_table, "its table is float32[3, 4, 5]: an int8, uint8 or float32 matrix is needed"),
    "long table": (_long_table, "its table has 70000 rows: an index has two bytes"),
    "sums": (_scaled_sums, "int32 codes are dequantised with one scale and a zero point of 0 alone"),
    "twice": (_dequantised_twice, "its input is already float"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name: str) -> None:
    build, problem = REFUSALS[name]
    b = models.Builder(np.random.default_rng(0))
    build(b)
    with pytest.raises(UnsupportedModelError) as caught:
        import_model(b.model(20))
    (found,) = caught.value.problems
    assert found.split(": ", 1)[1] == problem


@pytest.mark.parametrize("build", [_moved_indices, _indices_out])
def test_whole_numbers_are_read_by_gather_alone(build: Callable[[Builder], None]) -> None:
    b = models.Builder(np.random.default_rng(0))
    build(b)
    with pytest.raises(UnsupportedModelError, match="INT32 and INT64 as indices of a Gather"):
        import_model(b.model())


def test_a_condition_that_is_computed() -> None:
    b = models.Builder(np.random.default_rng(0))
    b.input("x", "float32", [2, 3])
    less = b.node("Where", [b.node("Identity", ["x"], "condition"), "x", b.constant("c", 0, np.float32)], "y")
    b.output(less, "float32")
    with pytest.raises(UnsupportedModelError, match="its condition is not a constant: compute with a mask"):
        import_model(b.model())


@pytest.mark.parametrize(
    "build",
    [
        node("Transpose", perm=[0, 1]),
        node("Slice", np.array([0, 0]), np.array([1])),
        node("Tile", np.array([2])),
        node("Where", np.ones(3, np.float32)),
    ],
)
def test_shapes_that_contradict_each_other_are_the_model_s_fault(build: Callable[[Builder], None]) -> None:
    b = models.Builder(np.random.default_rng(0))
    build(b)
    with pytest.raises((ModelFileError, UnsupportedModelError)) as caught:
        import_model(b.model(20))
    assert "\n" not in str(caught.value)
