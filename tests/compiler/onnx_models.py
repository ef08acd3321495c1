# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Small quantised ONNX models with random constants, one builder for each form the importer reads, and their judge."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from openlpu.verif.onnx_reference import onnxruntime_session

ELEMENT = {
    "float32": TensorProto.FLOAT,
    "int8": TensorProto.INT8,
    "uint8": TensorProto.UINT8,
    "int32": TensorProto.INT32,
}


@dataclass
class Builder:
    """Collects nodes and initialisers; `rng` draws every constant."""

    rng: np.random.Generator
    nodes: list[NodeProto] = field(default_factory=list)
    initialisers: dict[str, NDArray[Any]] = field(default_factory=dict)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list)

    def node(self, op_type: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:
        node = helper.make_node(op_type, inputs, [output], name=f"node_{output}", domain=domain, **attributes)
        self.nodes.append(node)
        return output

    def constant(self, name: str, array: Any, dtype: Any = None) -> str:
        self.initialisers[name] = np.asarray(array, dtype)
        return name

    def input(self, name: str, dtype: str, shape: list[int | str]) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, ELEMENT[dtype], shape))
        return name

    def output(self, name: str, dtype: str, rank: int = 2) -> str:
        self.outputs.append(helper.make_tensor_value_info(name, ELEMENT[dtype], [None] * rank))
        return name

    def parameters(self, name: str, dtype: str, scale: float | None = None, zero: int | None = None) -> list[str]:
        """Names of a random scale and zero point."""
        lo, hi = (-128, 127) if dtype == "int8" else (0, 255)
        drawn = self.rng.uniform(0.01, 0.05) if scale is None else scale
        point = int(self.rng.integers(lo // 2, hi // 2 + 1)) if zero is None else zero
        self.constant(f"{name}_scale", drawn, np.float32)
        self.constant(f"{name}_zero", point, dtype)
        return [f"{name}_scale", f"{name}_zero"]

    def dequantise(self, name: str, parameters: list[str], **attributes: Any) -> str:
        return self.node("DequantizeLinear", [name, *parameters], f"{name}_float", **attributes)

    def quantise(self, name: str, parameters: list[str], output: str) -> str:
        return self.node("QuantizeLinear", [name, *parameters], output)

    def weights(
        self, depth: int, lanes: int, dtype: str, per_channel: bool, axis: int = 1, zero: int | None = None
    ) -> list[str]:
        """Names of a weight matrix (transposed when `axis` is 0), its scales and its zero points."""
        lo, hi = (-127, 127) if dtype == "int8" else (0, 255)
        shape = (depth, lanes) if axis == 1 else (lanes, depth)
        middle = (0 if dtype == "int8" else 128) if zero is None else zero
        self.constant("w", self.rng.integers(lo, hi + 1, shape), dtype)
        count = lanes if per_channel else ()
        self.constant("w_scale", self.rng.uniform(0.002, 0.02, count), np.float32)
        self.constant("w_zero", np.full(count, middle), dtype)
        return ["w", "w_scale", "w_zero"]

    def wide_scale(self, depth: int) -> float:
        """An output scale for which the sums of a dense layer use most of the output's range."""
        return float(np.sqrt(depth) * self.rng.uniform(0.4, 1.2) * 0.03 * 0.01 * 70)

    def model(self, opset: int = 17) -> ModelProto:
        used = {name for node in self.nodes for name in node.input}
        initialisers = [numpy_helper.from_array(a, n) for n, a in self.initialisers.items() if n in used]
        graph = helper.make_graph(self.nodes, "network", self.inputs, self.outputs, initialisers)
        domains = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=domains, ir_version=9)


def qdq_dense(
    rng: np.random.Generator,
    dtype: str,
    *,
    op: str = "Gemm",
    weight_dtype: str = "int8",
    per_channel: bool = False,
    bias: str = "int32",
    activation: str = "",
    transposed: bool = False,
    weight_zero: int | None = None,
    shape: tuple[int, int, int] | None = None,
) -> ModelProto:
    """DequantizeLinear, MatMul or Gemm (or MatMul and Add), maybe Relu, QuantizeLinear."""
    rows, depth, lanes = shape or (int(rng.integers(1, 6)), int(rng.integers(1, 201)), int(rng.integers(1, 40)))
    b = Builder(rng)
    x = b.dequantise(b.input("x", dtype, [rows, depth]), b.parameters("x", dtype))
    axis = 0 if transposed else 1
    w_name, *w_parameters = b.weights(depth, lanes, weight_dtype, per_channel, axis, weight_zero)
    w = b.dequantise(w_name, w_parameters, axis=axis)
    bias_names: list[str] = []
    if bias == "int32":
        scale = b.initialisers["x_scale"] * b.initialisers["w_scale"]
        b.constant("b", rng.integers(-3000, 3000, lanes), np.int32)
        b.constant("b_scale", scale, np.float32)
        b.constant("b_zero", np.zeros(scale.shape), np.int32)
        bias_names = [b.dequantise("b", ["b_scale", "b_zero"], axis=0)]
    elif bias == "float":
        bias_names = [b.constant("b", rng.normal(0, 1, lanes), np.float32)]
    if op == "Gemm":
        last = b.node("Gemm", [x, w, *bias_names], "sum", transB=int(transposed))
    else:
        last = b.node("MatMul", [x, w], "product")
        if bias_names:
            last = b.node("Add", [last, *bias_names], "sum")
    lowest = -128 if dtype == "int8" else 0
    if activation:
        last = b.node(activation, [last], "active")
    parameters = b.parameters("y", dtype, b.wide_scale(depth), lowest if activation else None)
    b.output(b.quantise(last, parameters, "y"), dtype)
    return b.model()


def qlinear_matmul(rng: np.random.Generator, dtype: str, *, weight_dtype: str, per_channel: bool) -> ModelProto:
    depth, lanes = int(rng.integers(1, 201)), int(rng.integers(1, 40))
    b = Builder(rng)
    x = b.input("x", dtype, [2, int(rng.integers(1, 5)), depth])
    inputs = [x, *b.parameters("x", dtype), *b.weights(depth, lanes, weight_dtype, per_channel)]
    b.output(b.node("QLinearMatMul", [*inputs, *b.parameters("y", dtype, b.wide_scale(depth))], "y"), dtype, 3)
    return b.model()


def qgemm(rng: np.random.Generator, dtype: str, *, transposed: bool, per_channel: bool, bias: bool) -> ModelProto:
    rows, depth, lanes = int(rng.integers(1, 6)), int(rng.integers(1, 201)), int(rng.integers(2, 40))
    b = Builder(rng)
    x = b.input("x", dtype, [rows, depth])
    weights = b.weights(depth, lanes, "int8", per_channel, 0 if transposed else 1)
    c = b.constant("c", rng.integers(-3000, 3000, lanes), np.int32) if bias else ""
    parameters = b.parameters("y", dtype, b.wide_scale(depth))
    inputs = [x, *b.parameters("x", dtype), *weights, c, *parameters]
    attributes = {"alpha": float(rng.uniform(0.5, 1.5)), "transB": int(transposed)}
    b.output(b.node("QGemm", inputs, "y", domain="com.microsoft", **attributes), dtype)
    return b.model()


def matmul_integer(rng: np.random.Generator, dtype: str, weight_dtype: str, weight_zero: int) -> ModelProto:
    rows, depth, lanes = int(rng.integers(1, 6)), int(rng.integers(1, 201)), int(rng.integers(1, 40))
    b = Builder(rng)
    x = b.input("x", dtype, [rows, depth])
    w, _, w_zero = b.weights(depth, lanes, weight_dtype, False, zero=weight_zero)
    _, x_zero = b.parameters("x", dtype)
    b.output(b.node("MatMulInteger", [x, w, x_zero, w_zero], "y"), "int32")
    return b.model()


def binary(
    rng: np.random.Generator,
    dtype: str,
    op: str,
    *,
    form: str = "qdq",
    constant: str = "",
    activation: str = "",
    constant_first: bool = False,
    shape: tuple[int, int] | None = None,
) -> ModelProto:
    """Add or Mul. `form` is qdq or qlinear, `constant` "", "vector", "number" or "float" (the second operand)."""
    rows, lanes = shape or (int(rng.integers(2, 9)), int(rng.integers(2, 70)))
    b = Builder(rng)
    names = [b.input("a", dtype, [rows, lanes])]
    if constant == "float":
        b.constant("b_float", rng.normal(0, 1, lanes), np.float32)
    elif constant:
        lo, hi = (-128, 127) if dtype == "int8" else (0, 255)
        names.append(b.constant("b", rng.integers(lo, hi + 1, lanes if constant == "vector" else ()), dtype))
    else:
        names.append(b.input("b", dtype, [rows, lanes]))
    wide = 0.05 if op == "Add" else float(rng.uniform(0.02, 0.06))
    y = b.parameters("y", dtype, wide * float(rng.uniform(0.5, 1.5)))
    parameters = {name: b.parameters(name, dtype) for name in names}
    if form == "qlinear":
        inputs = [part for name in names for part in (name, *parameters[name])]
        if constant_first:
            inputs = inputs[3:] + inputs[:3]
        b.output(b.node(f"QLinear{op}", [*inputs, *y], "y", domain="com.microsoft"), dtype)
        return b.model()
    floats = [b.dequantise(name, parameters[name]) for name in names]
    if constant == "float":
        floats.append("b_float")
    last = b.node(op, floats[::-1] if constant_first else floats, "sum")
    if activation:
        last = b.node(activation, [last], "active")
    b.output(b.quantise(last, y, "y"), dtype)
    return b.model()


def float_add(rng: np.random.Generator, dtype: str) -> ModelProto:
    """Float operands and result, quantised and dequantised around an Add of 256 x 256."""
    b = Builder(rng)
    floats = []
    for name in "ab":
        parameters = b.parameters(name, dtype)
        codes = b.quantise(b.input(f"f{name}", "float32", [256, 256]), parameters, name)
        floats.append(b.dequantise(codes, parameters))
    y = b.parameters("y", dtype, 0.06)
    codes = b.quantise(b.node("Add", floats, "sum"), y, "y")
    b.output(b.node("DequantizeLinear", [codes, *y], "result"), "float32")
    return b.model()


def unary(rng: np.random.Generator, dtype: str, op: str, *, form: str = "qdq") -> ModelProto:
    """Relu, Clip or "" (a change of scale); `form` is qdq or integer (the operator on the codes)."""
    shape: list[int | str] = [int(rng.integers(1, 9)), int(rng.integers(1, 70))]
    b = Builder(rng)
    x = b.input("x", dtype, shape)
    bounds: list[str] = []
    if op == "Clip":
        low, high = ("int8", "int8") if form == "integer" else ("float32", "float32")
        values = (10, 90) if form == "integer" else (float(rng.uniform(-1, 0)), float(rng.uniform(0, 1)))
        bounds = [b.constant("low", values[0], low), b.constant("high", values[1], high)]
    if form == "integer":
        for name in bounds:
            b.initialisers[name] = b.initialisers[name].astype(dtype)
        b.output(b.node(op, [x, *bounds], "y"), dtype)
        return b.model()
    last = b.dequantise(x, b.parameters("x", dtype))
    if op:
        last = b.node(op, [last, *bounds], "active")
    b.output(b.quantise(last, b.parameters("y", dtype), "y"), dtype)
    return b.model()


def float_mlp(rng: np.random.Generator, dtype: str) -> ModelProto:
    """A float image in, QDQ Flatten, Gemm with Relu, residual Add, Gemm, float logits out; symbolic batch."""
    b = Builder(rng)
    x = b.input("image", "float32", ["batch", 5, 7])
    zero = -128 if dtype == "int8" else 0
    xq = b.parameters("x", dtype)
    hq = b.parameters("h", dtype, 0.09, zero)
    sq = b.parameters("s", dtype, 0.11)
    yq = b.parameters("y", dtype, 0.2)
    flat = b.node("Flatten", [b.dequantise(b.quantise(x, xq, "x"), xq)], "flat")
    first = b.dequantise(b.quantise(flat, xq, "flat_codes"), xq)
    for name, shape in (("w1", (35, 19)), ("w2", (19, 19)), ("w3", (19, 11))):
        b.constant(name, rng.integers(-127, 128, shape), np.int8)
        b.constant(f"{name}_scale", rng.uniform(0.003, 0.01), np.float32)
        b.constant(f"{name}_zero", 0, np.int8)
        b.dequantise(name, [f"{name}_scale", f"{name}_zero"])
        b.constant(f"{name}_bias", rng.normal(0, 0.3, shape[1]), np.float32)
    hidden = b.node("Relu", [b.node("Gemm", [first, "w1_float", "w1_bias"], "g1")], "r1")
    h = b.dequantise(b.quantise(hidden, hq, "h"), hq)
    inner = b.node("Gemm", [h, "w2_float", "w2_bias"], "g2")
    inner = b.dequantise(b.quantise(inner, sq, "inner"), sq)
    total = b.dequantise(b.quantise(b.node("Add", [h, inner], "residual"), sq, "s"), sq)
    logits = b.node("Gemm", [total, "w3_float", "w3_bias"], "g3")
    b.output(b.node("DequantizeLinear", [b.quantise(logits, yq, "y"), *yq], "logits"), "float32")
    return b.model()


def pair_add(rng: np.random.Generator, dtype: str, reader: str) -> ModelProto:
    """An Add of two float inputs behind QDQ pairs, [256, 256]; `reader` is what is special about the first pair.

    "codes" and "float" make its codes or its floats an output as well, "dequantise" dequantises its codes a second
    time, "omitted" and "empty" leave the zero point (0) of its DequantizeLinear out, "" is an ordinary pair.
    """
    b = Builder(rng)
    implied = reader in ("omitted", "empty")
    floats = []
    for name in "ab":
        parameters = b.parameters(name, dtype, zero=0 if implied and name == "a" else None)
        codes = b.quantise(b.input(f"f{name}", "float32", [256, 256]), parameters, name)
        if name == "a" and implied:
            parameters = parameters[:1] if reader == "omitted" else [parameters[0], ""]
        floats.append(b.dequantise(codes, parameters))
    y = b.parameters("y", dtype, 0.06)
    codes = b.quantise(b.node("Add", floats, "sum"), y, "y")
    b.output(b.node("DequantizeLinear", [codes, *y], "result"), "float32")
    match reader:
        case "codes":
            b.output("a", dtype)
        case "float":
            b.output("a_float", "float32")
        case "dequantise":
            b.output(b.node("DequantizeLinear", ["a", "a_scale", "a_zero"], "again"), "float32")
    return b.model()


def mixed_add(rng: np.random.Generator, types: tuple[str, str, str], *, constant: bool = False) -> ModelProto:
    """Add of codes a and b between QDQ nodes, the types of a, b and y given; b [256] is constant or an input."""
    b = Builder(rng)
    a_type, b_type, y_type = types
    b.input("a", a_type, [256, 256])
    if constant:
        lowest = -128 if b_type == "int8" else 0
        b.constant("b", np.arange(lowest, lowest + 256), b_type)
    else:
        b.input("b", b_type, [256, 256])
    floats = [b.dequantise("a", b.parameters("a", a_type)), b.dequantise("b", b.parameters("b", b_type))]
    b.output(b.quantise(b.node("Add", floats, "sum"), b.parameters("y", y_type, 0.06), "y"), y_type)
    return b.model()


def run_onnxruntime(model: ModelProto, feeds: Mapping[str, NDArray[Any]], **config: str) -> list[NDArray[Any]]:
    """The outputs of a model by ONNX Runtime on the CPU; `config` entries have _ for the dots of their keys."""
    session = onnxruntime_session(model.SerializeToString(), **config)
    return [np.asarray(output) for output in session.run(None, dict(feeds))]


def run_as_installed(model: ModelProto, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """As `run_onnxruntime` with no option at all, for models without products.

    The option that keeps products of uint8 and int8 exact on old machines also turns int8 constants into uint8, and
    then sums are fused that are not where the option does nothing.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(output) for output in session.run(None, dict(feeds))]
