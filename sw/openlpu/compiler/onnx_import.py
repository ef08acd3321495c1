# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""ONNX to the graph IR: exact integer operations where a network is quantised, floats where it is not.

The importer walks the nodes once, in order, and gives each to the function that `_HANDLERS` names for its operator;
`openlpu.compiler.frontend` holds these, by kind of operator, and what they share. Problems are collected, not raised,
so that one error lists them all; a value that depends on a problem is unknown, and silent from there on. Whatever the
chip cannot compute is refused by name.

The arithmetic is that of ONNX Runtime's CPU kernels on x86-64 with AVX2 and VNNI, at its default optimisation level.
Where ONNX Runtime leaves a group in float that the chip computes in integers, `Graph.notes` says so.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types
from numpy.typing import DTypeLike
from onnx import GraphProto, ModelProto, NodeProto

from openlpu.compiler.errors import CompileError, ModelFileError, UnsupportedModelError
from openlpu.compiler.frontend.dense import matmul_integer, qgemm, qlinear_matmul
from openlpu.compiler.frontend.elementwise import qlinear_binary
from openlpu.compiler.frontend.erf import erf, gelu
from openlpu.compiler.frontend.folding import folded, shape_of
from openlpu.compiler.frontend.lookup import gather
from openlpu.compiler.frontend.lstm import lstm
from openlpu.compiler.frontend.movement import MOVEMENTS, concat, expand, identity, reshape, slice_, split, transpose
from openlpu.compiler.frontend.network import Network
from openlpu.compiler.frontend.nodes import UnsupportedError, array, attributes, title
from openlpu.compiler.frontend.pointwise import cast, extreme, hard_sigmoid, leaky_relu, power, unary, where
from openlpu.compiler.frontend.ports import declare_input, declare_output
from openlpu.compiler.frontend.qdq import dequantize, float_operator, quantize
from openlpu.compiler.frontend.rows import layer_normalization, reduce, softmax
from openlpu.compiler.frontend.tidy import tidy
from openlpu.compiler.frontend.values import Arguments, Constant, FloatInput, Value
from openlpu.compiler.graph import Graph, Port

_FEWEST_ARGUMENTS = 9
"""Inputs of QGemm: what an operator outside the ONNX domain may look for."""


def import_onnx(path: str | Path, *, batch: int | None = None) -> Graph:
    """Read an ONNX file into a verified graph.

    `batch` is the size of a symbolic first dimension (1 when None). Raises ModelFileError when the file is missing,
    is not ONNX or is damaged, and UnsupportedModelError listing everything that is not supported.
    """
    file = Path(path)
    if not file.exists():
        raise ModelFileError(f"{file}: no such file")
    if not file.is_file():
        raise ModelFileError(f"{file}: not a file; give the path of an .onnx file")
    try:
        model = onnx.load(str(file))
    except DecodeError:
        raise ModelFileError(f"{file}: not an ONNX file, or damaged: it cannot be decoded; export it again") from None
    except OSError as error:
        raise ModelFileError(f"{file}: cannot be read: {error.strerror or error}") from None
    except (onnx.checker.ValidationError, ValueError) as error:
        raise ModelFileError(f"{file}: weights stored beside the model cannot be read: {_first_line(error)}") from None
    return import_model(model, name=file.name, batch=batch)


def import_model(model: ModelProto, *, name: str = "model", batch: int | None = None) -> Graph:
    """Turn an ONNX model in memory into a verified graph; `name` stands for it in messages. Errors as `import_onnx`."""
    if batch is not None and batch < 1:
        raise CompileError(f"{name}: batch is {batch}; it must be at least 1")
    if not model.graph.node:
        raise ModelFileError(f"{name}: not an ONNX model, or damaged: it holds no nodes; export it again")
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ModelFileError(f"{name}: not a valid ONNX model: {_first_line(error)}") from None
    except UnicodeError:
        raise ModelFileError(f"{name}: damaged: a name in it is not text; export it again") from None
    try:
        graph = _walk(model, name, batch)
    except CompileError:
        raise
    except Exception:
        # Nothing above checks that shapes and types fit together; whoever reads them relies on it.
        _blame(model, name)
        raise
    graph.verify()
    return graph


def _blame(model: ModelProto, name: str) -> None:
    """Raise ModelFileError if shapes or types of a model contradict each other."""
    try:
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        raise ModelFileError(f"{name}: not a valid ONNX model: {_first_line(error)}") from None


def _walk(model: ModelProto, name: str, batch: int | None) -> Graph:
    graph = model.graph
    unknown = {node.output[0]: node for node in graph.node if _key(node) not in _HANDLERS}
    if _is_float(graph):
        # One clear reason (and the operators that quantising would not help) instead of one a node.
        reason = (
            "a float network: it has no QuantizeLinear and no quantised operator; quantise it first, for example "
            "with onnxruntime.quantization.quantize_static(..., quant_format=QuantFormat.QDQ)"
        )
        raise UnsupportedModelError(name, [reason, *map(_advice, unknown.values())])
    problems: list[str] = []
    net = Network(graph, _opset(model))
    for initialiser in graph.initializer:
        with _collecting(problems, f"initialiser {initialiser.name!r}: "):
            net.values[initialiser.name] = Constant(array(initialiser))
    for info in graph.input:
        if info.name not in net.values:
            with _collecting(problems, f"input {info.name!r} "):
                net.values[info.name] = declare_input(net, info, batch)
    for node in net.flow.nodes:
        handler = _HANDLERS.get(_key(node))
        if _key(node) not in _OF_CONSTANTS and (known := folded(net, node)) is not None:
            unknown.pop(node.output[0], None)
            net.values.update(zip(filter(None, node.output), known, strict=True))
        elif handler is not None and all(read in net.values for read in node.input if read):
            with _collecting(problems, f"{title(node)}: "):
                given = handler(net, node, _arguments(net, node))
                results = given if isinstance(given, tuple) else (given,)
                net.values.update(zip(node.output, results, strict=False))
    outputs: list[Port] = []
    for info in graph.output:
        if info.name in net.values:
            with _collecting(problems, f"output {info.name!r} "):
                outputs.append(declare_output(net, info.name))
    problems = [*map(_advice, unknown.values()), *problems]
    if not problems:
        waiting = [info.name for info in graph.input if isinstance(net.values[info.name], FloatInput)]
        problems = [f"input {name!r} is never quantised or used" for name in waiting if name not in net.inputs]
    if problems:
        raise UnsupportedModelError(name, problems)
    ports = [port.tensor for port in (*net.inputs.values(), *outputs)]
    ops = tidy(net.ops, net.tensors, ports)
    return Graph(
        name=graph.name or name,
        tensors=tuple(net.tensors.values()),
        ops=tuple(ops),
        inputs=tuple(net.inputs.values()),
        outputs=tuple(outputs),
        notes=tuple(net.notes),
    )


def _arguments(net: Network, node: NodeProto) -> Arguments:
    given = [net.values[name] if name else None for name in node.input]
    # Nobody checks the arity of operators outside the ONNX domain: what is missing reads as left out.
    return given + [None] * (_FEWEST_ARGUMENTS - len(given))


@contextmanager
def _collecting(problems: list[str], where: str) -> Iterator[None]:
    """Note what is refused within, after the node that is to blame, or else after `where`."""
    try:
        yield
    except UnsupportedError as problem:
        problems.append(f"{where if problem.node is None else title(problem.node) + ': '}{problem}")


_CONSTANTS: Mapping[str, DTypeLike] = {
    "value_int": np.int64,
    "value_ints": np.int64,
    "value_float": np.float32,
    "value_floats": np.float32,
}
"""Types of constants that are attributes."""


def _constant(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    ((name, value),) = attributes(node).items()
    if name == "value":
        return Constant(array(value))
    if name not in _CONSTANTS:
        raise UnsupportedError(f"attribute {name!r} is not supported: store the constant as a tensor")
    return Constant(np.asarray(value, _CONSTANTS[name]))


_Handler: TypeAlias = Callable[[Network, NodeProto, Arguments], Value | tuple[Value, ...]]
"""What an operator gives: the value of its first output, or those of all that it computes."""
_UNARY = ("Abs", "Exp", "HardSwish", "Neg", "Reciprocal", "Sigmoid", "Sqrt", "Tanh")
_HANDLERS: Mapping[tuple[str, str], _Handler] = {
    ("", "Constant"): _constant,
    ("", "QuantizeLinear"): quantize,
    ("", "DequantizeLinear"): dequantize,
    ("", "MatMul"): float_operator,
    ("", "Gemm"): float_operator,
    **{("", name): float_operator for name in ("Add", "Sub", "Mul", "Div", "Relu", "Clip")},
    **{("", name): unary for name in _UNARY},
    **{("", name): reduce for name in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin")},
    **{("", name): reshape for name in ("Reshape", "Flatten", "Squeeze", "Unsqueeze")},
    ("", "Where"): where,
    ("", "Pow"): power,
    ("", "Max"): extreme,
    ("", "Min"): extreme,
    ("", "HardSigmoid"): hard_sigmoid,
    ("", "LeakyRelu"): leaky_relu,
    ("", "Erf"): erf,
    ("", "Gelu"): gelu,
    ("com.microsoft", "Gelu"): gelu,
    ("", "Softmax"): softmax,
    ("", "LayerNormalization"): layer_normalization,
    ("", "RMSNormalization"): layer_normalization,
    ("", "Cast"): cast,
    ("", "Identity"): identity,
    ("", "Dropout"): identity,
    ("", "Transpose"): transpose,
    ("", "Slice"): slice_,
    ("", "Split"): split,
    ("", "Concat"): concat,
    ("", "Expand"): expand,
    ("", "Tile"): expand,
    ("", "Gather"): gather,
    ("", "LSTM"): lstm,
    ("", "Shape"): shape_of,
    ("", "QLinearMatMul"): qlinear_matmul,
    ("", "MatMulInteger"): matmul_integer,
    ("com.microsoft", "QGemm"): qgemm,
    ("com.microsoft", "QLinearAdd"): qlinear_binary,
    ("com.microsoft", "QLinearMul"): qlinear_binary,
    ("com.microsoft", "QuantizeLinear"): quantize,
    ("com.microsoft", "DequantizeLinear"): dequantize,
}
"""What reads each operator, by its domain and name."""
_QUANTISED = {key for key in _HANDLERS if key[1].startswith(("Quantize", "Dequantize", "Q", "MatMulInteger"))}
_OF_CONSTANTS = {
    ("", name) for name in ("Constant", "QuantizeLinear", "DequantizeLinear", "Cast", "Dropout", *MOVEMENTS)
}
"""Operators whose readers take constants themselves."""
_PRODUCTS = ("MatMul", "Gemm", "Conv", "ConvTranspose", "LSTM", "GRU", "RNN")
SUPPORTED_OPERATORS: tuple[str, ...] = tuple(sorted({".".join(filter(None, key)) for key in _HANDLERS}))
"""The ONNX operators the importer reads, for documentation; those outside the ONNX domain carry theirs."""

_REMEDIES = {
    "Conv": "write it as MatMul, or run it before the network",
    "GRU": "write its steps with MatMul, Sigmoid and Tanh, or use LSTM",
    "RNN": "write its steps with MatMul and Tanh, or use LSTM",
    "Log": "apply it on the host, after the network",
    "LogSoftmax": "use Softmax, and take its logarithm on the host",
    "ArgMax": "apply it on the host, after the network",
    "TopK": "apply it on the host, after the network",
    "BatchNormalization": "fold it into the layer before it, or write it as Mul and Add",
    "ConstantOfShape": "export with static shapes and fold constants",
    "Range": "export with static shapes and fold constants",
    "DynamicQuantizeLinear": "quantise statically (onnxruntime.quantization.quantize_static)",
}


def _advice(node: NodeProto) -> str:
    remedy = _REMEDIES.get(node.op_type, "remove it, or run it on the host before or after the network")
    return f"operator {title(node)}: not supported; {remedy}"


def _key(node: NodeProto) -> tuple[str, str]:
    return ("" if node.domain == "ai.onnx" else node.domain, node.op_type)


def _is_float(graph: GraphProto) -> bool:
    """Whether a network has products, but none that the chip can compute: those of int8."""
    products = any(node.op_type in _PRODUCTS for node in graph.node)
    return products and not any(_key(node) in _QUANTISED for node in graph.node)


def _opset(model: ModelProto) -> int:
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
