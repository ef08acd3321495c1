# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Cases of the catalogue in the forms of other opsets: attributes that became inputs, and forms that exporters emit."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from onnx import TensorProto, helper
from tests.compiler.onnx_cases import Case, rng_of
from tests.compiler.onnx_models import Builder
from tests.compiler.onnx_movement import random_codes


def _squeeze(b: Builder) -> None:
    b.input("x", "float32", [3, 4, 5])
    wide = b.node("Unsqueeze", [b.node("Neg", ["x"], "n")], "wide", axes=[0, 4])
    b.output(b.node("Squeeze", [wide], "y", axes=[0]), "float32", 4)


def _squeeze_all(b: Builder) -> None:
    b.input("x", "float32", [3, 4, 5])
    b.output(b.node("Squeeze", [b.node("Unsqueeze", ["x"], "wide", axes=[1])], "y"), "float32", 3)


def _split(b: Builder) -> None:
    b.input("x", "float32", [3, 4, 5])
    b.nodes.append(helper.make_node("Split", ["x"], ["y", "z"], axis=-1, split=[2, 3]))
    b.output("y", "float32", 3)
    b.output("z", "float32", 3)


def _split_equally(b: Builder) -> None:
    b.input("x", "float32", [3, 4, 5])
    b.nodes.append(helper.make_node("Split", ["x"], ["y", "z"], axis=1))
    b.output("y", "float32", 3)
    b.output("z", "float32", 3)


def _split_unequally(b: Builder) -> None:
    b.input("x", "float32", [3, 4, 5])
    b.nodes.append(helper.make_node("Split", ["x"], ["y", "z"], axis=2, num_outputs=2))
    b.output("y", "float32", 3)
    b.output("z", "float32", 3)


def _slice(b: Builder) -> None:
    b.input("x", "float32", [3, 4, 5])
    b.output(b.node("Slice", ["x"], "y", starts=[1, -3], ends=[100, -1], axes=[0, 2]), "float32", 3)


def _slice_all_axes(b: Builder) -> None:
    b.input("x", "float32", [3, 4, 5])
    bounds = [b.constant("starts", [1, 0], np.int32), b.constant("ends", [3, 2], np.int32)]
    b.output(b.node("Slice", ["x", *bounds], "y"), "float32", 3)


def _clip(b: Builder) -> None:
    b.input("x", "float32", [3, 4, 5])
    b.output(b.node("Clip", ["x"], "y", min=-0.5, max=1.0), "float32", 3)


def _constants(b: Builder) -> None:
    b.input("x", "float32", [3, 4, 5])
    b.nodes.append(helper.make_node("Constant", [], ["shape"], value_ints=[5, 12]))
    b.nodes.append(helper.make_node("Constant", [], ["factor"], value_float=2.0))
    b.nodes.append(helper.make_node("Cast", ["factor"], ["cast"], to=TensorProto.FLOAT))
    b.output(b.node("Mul", [b.node("Reshape", ["x", "shape"], "flat"), "cast"], "y"), "float32")


def _dropout(b: Builder) -> None:
    b.input("x", "float32", [3, 4, 5])
    b.output(b.node("Dropout", [b.node("Neg", ["x"], "n")], "y"), "float32", 3)


def _cast_of_sums(b: Builder) -> None:
    b.input("x", "float32", [3, 4, 5])
    codes = b.quantise("x", b.parameters("codes", "uint8", 0.05), "codes")
    b.constant("w", b.rng.integers(-127, 128, (5, 6)), np.int8)
    sums = b.node("MatMulInteger", [codes, "w", "codes_zero"], "sums")
    real = b.node("Cast", [sums], "real", to=TensorProto.FLOAT)
    b.output(b.node("Mul", [real, b.constant("scale", 0.125, np.float32)], "y"), "float32", 3)


def _cast_of_codes(b: Builder) -> None:
    b.input("x", "float32", [3, 4, 5])
    codes = b.quantise("x", b.parameters("codes", "uint8", 0.05), "codes")
    b.output(b.node("Cast", [codes], "y", to=TensorProto.FLOAT), "float32", 3)


def _dequantised_sums(b: Builder) -> None:
    b.input("x", "float32", [3, 4, 5])
    codes = b.quantise("x", b.parameters("codes", "int8", 0.05), "codes")
    b.constant("w", b.rng.integers(-127, 128, (5, 6)), np.int8)
    sums = b.node("MatMulInteger", [codes, "w", "codes_zero"], "sums")
    b.output(b.node("DequantizeLinear", [sums, b.constant("scale", 0.003, np.float32)], "y"), "float32", 3)


def computed_shape(b: Builder) -> None:
    """A shape computed as exporters do for a batch of any size."""
    b.input("x", "float32", [3, 4, 5])
    real = b.node("Neg", ["x"], "negative")
    size = b.node("Gather", [b.node("Shape", [real], "shape"), b.constant("first", 0, np.int64)], "size")
    wide = b.node("Unsqueeze", [size, b.constant("axis", [0], np.int64)], "wide")
    product = b.node("Mul", [wide, b.constant("two", [2], np.int64)], "product")
    target = b.node("Concat", [product, b.constant("rest", [-1], np.int64)], "target", axis=0)
    b.output(b.node("Reshape", [real, target], "y"), "float32")
    ends = b.node("Shape", ["x"], "ends", start=1, end=3)
    filled = b.node("ConstantOfShape", [ends], "filled", value=helper.make_tensor("v", TensorProto.FLOAT, [1], [0.5]))
    b.output(b.node("Add", [real, b.node("Sqrt", [filled], "root")], "z"), "float32", 3)


_FORMS: Mapping[str, tuple[int, Callable[[Builder], None]]] = {
    "Squeeze": (11, _squeeze),
    "Squeeze-all": (11, _squeeze_all),
    "Split": (11, _split),
    "Split-equal": (13, _split_equally),
    "Split-unequal": (18, _split_unequally),
    "Slice": (9, _slice),
    "Slice-all": (13, _slice_all_axes),
    "Clip": (10, _clip),
    "Constant": (13, _constants),
    "Dropout": (13, _dropout),
    "Shape": (17, computed_shape),
    "Cast-sums": (17, _cast_of_sums),
    "Cast-codes": (17, _cast_of_codes),
    "DequantizeLinear-sums": (17, _dequantised_sums),
}


def version_cases(seed: int) -> Iterator[Case]:
    """Results that are to equal ONNX Runtime's."""
    for form, (opset, build) in _FORMS.items():
        name = f"{form}-opset{opset}-{seed}"
        b = Builder(rng_of(name, seed))
        build(b)
        yield Case(name, b.model(opset), {"x": random_codes(b.rng, "float32", (3, 4, 5))})
    name = f"Gather-of-cast-indices-{seed}"
    b = Builder(rng_of(name, seed))
    b.inputs.append(helper.make_tensor_value_info("i", TensorProto.INT32, [2, 3]))
    b.nodes.append(helper.make_node("Cast", ["i"], ["wide"], to=TensorProto.INT64))
    b.output(b.node("Gather", [b.constant("t", b.rng.normal(0, 1, (9, 4)), np.float32), "wide"], "y"), "float32", 3)
    yield Case(name, b.model(), {"i": b.rng.integers(0, 9, (2, 3)).astype(np.int32)})
