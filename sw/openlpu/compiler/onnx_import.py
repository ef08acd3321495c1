# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""ONNX to the graph IR: quantised networks in, exact integer operations out, everything else refused by name.

The importer walks the nodes once, in order, and keeps for each ONNX value what it is known to be: a constant, a tensor
on the chip, a dequantised tensor, or a float expression over those. Float expressions are not computed: when a
QuantizeLinear ends one, the whole group (DequantizeLinear, operator, Relu or Clip, QuantizeLinear) becomes one integer
operation. Problems are collected, not raised, so that one error lists them all; a value that depends on a problem is
unknown, and silent from there on.

The arithmetic is that of ONNX Runtime's CPU kernels on x86-64 with AVX2 and VNNI, at its default optimisation level,
where it fuses most of these groups into integer kernels. `openlpu.compiler.exact` finds and proves the constants of the
elementwise ones. Dense layers need no search: the chip's chain is ONNX Runtime's, and their multiplier is
`fl(fl(alpha * sx) * sw / sy)`, evaluated in that order. ONNX Runtime leaves some dense groups in float (see
`_Importer._float_in_ort`); they are imported in integers, with a note in `Graph.notes`.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from openlpu.compiler import exact
from openlpu.compiler.errors import CompileError, ModelFileError, UnsupportedModelError
from openlpu.compiler.exact import Quantisation
from openlpu.compiler.graph import (
    INT8_MAX,
    INT8_MIN,
    UINT8_SHIFT,
    Add,
    Float32Array,
    Graph,
    Int8Array,
    Int32Array,
    MatMul,
    Mul,
    Op,
    OutsideType,
    Port,
    Requantise,
    Reshape,
    Tensor,
    Unary,
)
from openlpu.compiler.reference import quantize_linear

_CODES = {np.dtype(np.int8): (-128, 127), np.dtype(np.uint8): (0, 255)}
_OUTSIDE: dict[int, OutsideType] = {
    TensorProto.FLOAT: "float32",
    TensorProto.INT8: "int8",
    TensorProto.UINT8: "uint8",
}
_MAX_RATIO = 2.0**14
"""Largest multiplier taken: above it an int32 would saturate before its zero point is added. Real ones are below 1."""
_INT32_MAX = 2**31 - 1
_MOST_INPUTS = 9
"""Inputs of QGemm, the operator with the most."""


@dataclass(frozen=True, eq=False)
class _Constant:
    """An initialiser, or something computed from initialisers alone."""

    array: NDArray[Any]


@dataclass(frozen=True, eq=False)
class _DequantisedConstant:
    """Constant codes with their quantisation; `value` is the float array they stand for."""

    codes: NDArray[Any]
    scale: Float32Array
    zero_point: NDArray[Any]
    value: Float32Array


@dataclass(frozen=True)
class _Activation:
    """A tensor on the chip, seen as its int8, uint8 or int32 codes."""

    tensor: str


@dataclass(frozen=True)
class _FloatInput:
    """A float input of the network, not yet quantised; `shape` after any reshapes."""

    port: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class _Dequantised:
    """A tensor on the chip, seen as floats."""

    tensor: str
    quantisation: Quantisation


@dataclass(frozen=True, eq=False)
class _Expression:
    """A float operator whose result is not computed until a QuantizeLinear ends it."""

    node: NodeProto
    arguments: tuple["_Value", ...]
    shape: tuple[int, ...]


_Value: TypeAlias = _Constant | _DequantisedConstant | _Activation | _FloatInput | _Dequantised | _Expression


class _UnsupportedError(Exception):
    """What makes `node` unsupported, or the node being read when None; caught by the walk, which adds its name."""

    def __init__(self, message: str, node: NodeProto | None = None) -> None:
        super().__init__(message)
        self.node = node


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
    graph = _Importer(model, name, batch).run()
    graph.verify()
    return graph


class _Importer:
    """One import. `values` maps ONNX value names to what is known; a name absent from it depends on a problem."""

    def __init__(self, model: ModelProto, name: str, batch: int | None) -> None:
        self.model = model
        self.name = name
        self.batch = batch
        self.values: dict[str, _Value] = {}
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.inputs: dict[str, Port] = {}
        self.float_shapes: dict[str, tuple[int, ...]] = {}
        self.problems: list[str] = []
        self.notes: list[str] = []
        graph = model.graph
        reads = [read for node in graph.node for read in node.input] + [output.name for output in graph.output]
        self.uses = Counter(reads)
        self.makers = {output: node for node in graph.node for output in node.output}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def run(self) -> Graph:
        self._refuse_operators()
        for initialiser in self.model.graph.initializer:
            try:
                self.values[initialiser.name] = _Constant(_array(initialiser))
            except _UnsupportedError as error:
                self.problems.append(f"initialiser {initialiser.name!r}: {error}")
        for value_info in self.model.graph.input:
            if value_info.name not in self.values:
                self._input(value_info)
        for node in self.model.graph.node:
            self._node(node)
        outputs = [port for info in self.model.graph.output if (port := self._output(info.name)) is not None]
        if self.problems:
            raise UnsupportedModelError(self.name, self.problems)
        unused = [info.name for info in self.model.graph.input if info.name in self.float_shapes]
        if unused:
            raise UnsupportedModelError(self.name, [f"input {name!r} is never quantised or used" for name in unused])
        return Graph(
            name=self.model.graph.name or self.name,
            tensors=tuple(self.tensors.values()),
            ops=tuple(self.ops),
            inputs=tuple(self.inputs.values()),
            outputs=tuple(outputs),
            notes=tuple(self.notes),
        )

    # The walk.

    def _refuse_operators(self) -> None:
        unknown = [node for node in self.model.graph.node if _key(node) not in _HANDLERS]
        self.problems += [f"operator {_title(node)}: {_advice(node)}" for node in unknown]
        types = {info.type.tensor_type.elem_type for info in self.model.graph.input}
        if not any(_key(node) in _QUANTISED for node in self.model.graph.node) and types == {TensorProto.FLOAT}:
            self.problems.insert(
                0,
                "a float network: it has no QuantizeLinear and no quantised operator; quantise it first, for example "
                "with onnxruntime.quantization.quantize_static(..., quant_format=QuantFormat.QDQ)",
            )
            # One clear reason (and the operators that quantising would not help) instead of one a node.
            raise UnsupportedModelError(self.name, self.problems)

    def _node(self, node: NodeProto) -> None:
        handler = _HANDLERS.get(_key(node))
        present = [name for name in node.input if name]
        if handler is None or any(name not in self.values for name in present):
            return
        arguments = [self.values[name] if name else None for name in node.input]
        # Nobody checks the arity of operators outside the ONNX domain: what is missing reads as left out.
        arguments += [None] * (_MOST_INPUTS - len(arguments))
        try:
            result = handler(self, node, arguments)
        except _UnsupportedError as problem:
            self.problems.append(f"{_title(problem.node or node)}: {problem}")
        else:
            self.values[node.output[0]] = result

    def _input(self, info: onnx.ValueInfoProto) -> None:
        kind = info.type.tensor_type
        dtype = _OUTSIDE.get(kind.elem_type)
        dims = kind.shape.dim if kind.HasField("shape") else []
        sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]
        dynamic = [f"axis {axis} ({dims[axis].dim_param or '?'})" for axis, s in enumerate(sizes) if s is None and axis]
        if dtype is None:
            found = _type_name(kind.elem_type)
            self.problems.append(f"input {info.name!r} is {found}: only FLOAT, INT8 and UINT8 are supported")
        elif not kind.HasField("shape") or not sizes:
            self.problems.append(f"input {info.name!r} has no dimensions: export the model with a static shape")
        elif dynamic:
            where = ", ".join(dynamic)
            self.problems.append(
                f"input {info.name!r} has a dynamic shape at {where}: export it with static sizes; only the first "
                "dimension (batch) may be symbolic"
            )
        elif self.batch is not None and sizes[0] not in (None, self.batch):
            self.problems.append(
                f"input {info.name!r} has a fixed first dimension of {sizes[0]}, but a batch of {self.batch} was asked"
            )
        else:
            shape = tuple((self.batch or 1) if size is None else size for size in sizes)
            if 0 in shape:
                self.problems.append(f"input {info.name!r} is empty: its shape is {list(shape)}")
            elif dtype == "float32":
                self.float_shapes[info.name] = shape
                self.values[info.name] = _FloatInput(info.name, shape)
            else:
                self.tensors[info.name] = Tensor(info.name, shape, "int8", dtype)
                self.inputs[info.name] = Port(info.name, info.name, dtype, shape)
                self.values[info.name] = _Activation(info.name)

    def _output(self, name: str) -> Port | None:
        match self.values.get(name):
            case None:
                return None
            case _Activation(tensor=tensor_name):
                tensor = self.tensors[tensor_name]
                return Port(name, tensor_name, tensor.outside, tensor.shape)
            case _Dequantised(tensor=tensor_name, quantisation=quantisation):
                tensor = self.tensors[tensor_name]
                meaning = (quantisation.scale, quantisation.stored_zero_point)
                if tensor.scale is None:
                    tensor = replace(tensor, scale=meaning[0], zero_point=meaning[1])
                    self.tensors[tensor_name] = tensor
                if (tensor.scale, tensor.zero_point) == meaning:
                    return Port(name, tensor_name, "float32", tensor.shape)
                reason = "is dequantised with another scale or zero point than it was quantised with: use the same"
            case _Constant() | _DequantisedConstant():
                reason = "does not depend on the input: remove it"
            case _:
                reason = (
                    "is a float value with no QuantizeLinear after it: quantise it (QuantizeLinear, DequantizeLinear)"
                )
        self.problems.append(f"output {name!r} {reason}")
        return None

    # Operators on quantised tensors.

    def _constant(self, node: NodeProto, _: "_Arguments") -> _Value:
        attributes = _attributes(node)
        if "value" not in attributes:
            raise _UnsupportedError(
                f"attribute {sorted(attributes)[0]!r} is not supported: store the constant as a tensor"
            )
        return _Constant(_array(attributes["value"]))

    def _quantize(self, node: NodeProto, arguments: "_Arguments") -> _Value:
        _allow(node, axis=None, saturate=1, block_size=0, output_dtype=0, precision=0)
        scale, zero = self._scale_zero(node, arguments, 1, default=np.zeros((), np.uint8))
        source = arguments[0]
        if isinstance(source, _Constant):
            lo, hi = _CODES[zero.dtype]
            axis = _attributes(node).get("axis", 1)
            shape = source.array.shape
            codes = quantize_linear(
                source.array, _along(scale, shape, axis), _along(zero, shape, axis).astype(np.int32), lo, hi
            )
            return _Constant(codes.astype(zero.dtype))
        qy = self._as_computed(node.output[0], _single(scale, zero, "the output"))
        return self._lower(node, _required(source, "input"), qy, _outside(zero))

    def _dequantize(self, node: NodeProto, arguments: "_Arguments") -> _Value:
        _allow(node, axis=None, block_size=0, output_dtype=0)
        source = _required(arguments[0], "input")
        if isinstance(source, _Constant):
            default = np.zeros((), source.array.dtype)
            scale, zero = self._scale_zero(node, arguments, 1, default=default, also_int32=True)
            if zero.dtype != source.array.dtype:
                raise _UnsupportedError("the zero point and the constant differ in type")
            axis = _attributes(node).get("axis", 1)
            shape = source.array.shape
            centred = source.array.astype(np.int32) - _along(zero, shape, axis).astype(np.int32)
            value = centred.astype(np.float32) * _along(scale, shape, axis)
            return _DequantisedConstant(source.array, _along(scale, shape, axis), _along(zero, shape, axis), value)
        if not isinstance(source, _Activation):
            raise _UnsupportedError("its input is already float")
        tensor = self.tensors[source.tensor]
        if tensor.dtype != "int8":
            raise _UnsupportedError(
                "an int32 result can only be an output of the network; remove the node, or use QLinearMatMul"
            )
        scale, zero = self._scale_zero(node, arguments, 1, default=np.zeros((), tensor.outside))
        if _outside(zero) != tensor.outside:
            raise _UnsupportedError(f"its zero point is {zero.dtype}, its input {tensor.outside}")
        return _Dequantised(source.tensor, self._as_computed(node.input[0], _single(scale, zero, "an activation")))

    def _paired(self, name: str) -> bool:
        """Whether value `name` goes from a QuantizeLinear to one DequantizeLinear, and from there to one reader."""
        maker, readers = self.makers.get(name), self.readers.get(name, [])
        return (
            maker is not None
            and maker.op_type == "QuantizeLinear"
            and self.uses[name] == 1
            and len(readers) == 1
            and readers[0].op_type == "DequantizeLinear"
            and self.uses[readers[0].output[0]] == 1
        )

    def _as_computed(self, name: str, quantisation: Quantisation) -> Quantisation:
        """The quantisation of value `name` in ONNX Runtime, which on x86-64 turns int8 pairs into uint8 ones."""
        if not self._paired(name):
            return quantisation
        explicit = all(len(n.input) == 3 and n.input[2] for n in (self.makers[name], self.readers[name][0]))
        return quantisation.unsigned() if explicit else quantisation

    def _qlinear_matmul(self, node: NodeProto, arguments: "_Arguments") -> _Value:
        _allow(node)
        x = self._operand(node, arguments, 0)
        weights = self._weights(node, arguments, 3, transposed=False)
        scale, zero = self._scale_zero(node, arguments, 6)
        qy = _single(scale, zero, "the output")
        return self._dense(node, x, weights, None, np.float32(1), (qy, _outside(zero), (INT8_MIN, INT8_MAX)))

    def _qgemm(self, node: NodeProto, arguments: "_Arguments") -> _Value:
        _allow(node, alpha=None, transA=0, transB=None)
        attributes = _attributes(node)
        x = self._operand(node, arguments, 0)
        weights = self._weights(node, arguments, 3, transposed=bool(attributes.get("transB", 0)))
        bias = arguments[6]
        if arguments[7] is None or arguments[8] is None:
            raise _UnsupportedError("the float result (no y_scale and y_zero_point) is not supported: give both")
        scale, zero = self._scale_zero(node, arguments, 7)
        qy = _single(scale, zero, "the output")
        codes = None if bias is None else self._bias_codes(bias)
        alpha = np.float32(attributes.get("alpha", 1.0))
        return self._dense(node, x, weights, codes, alpha, (qy, _outside(zero), (INT8_MIN, INT8_MAX)))

    def _matmul_integer(self, node: NodeProto, arguments: "_Arguments") -> _Value:
        _allow(node)
        one = np.ones((1, 1), np.float32)
        source = self._activation(arguments[0], "A")
        tensor = self.tensors[source.tensor]
        zero = self._zero_point(arguments, 2, np.zeros((), tensor.outside))
        if _outside(zero) != tensor.outside:
            raise _UnsupportedError(f"the zero point of A is {zero.dtype}, A itself {tensor.outside}")
        codes = _matrix(_required(arguments[1], "B"))
        weight_zero = self._zero_point(arguments, 3, np.zeros((), codes.dtype))
        constant = _DequantisedConstant(codes, one, _along(weight_zero, codes.shape, 1), codes.astype(np.float32))
        x = _Dequantised(source.tensor, _single(one, zero, "A"))
        return self._dense(node, x, constant, None, np.float32(1), None)

    def _qlinear_binary(self, node: NodeProto, arguments: "_Arguments") -> _Value:
        _allow(node)
        operands = tuple(self._operand(node, arguments, start, constant=True) for start in (0, 3))
        first = next((a for a in operands if isinstance(a, _Dequantised)), None)
        if first is None:
            raise _UnsupportedError("both operands are constants: fold them before importing")
        outside = self.tensors[first.tensor].outside
        scale, zero = self._scale_zero(node, arguments, 6, default=np.zeros((), outside))
        qy = _single(scale, zero, "the output")
        shape = self._broadcast(operands)
        kind = {"QLinearAdd": "Add", "QLinearMul": "Mul"}[node.op_type]
        group = _Group(node, kind, operands, shape, qy, _outside(zero), (INT8_MIN, INT8_MAX), fused=True)
        return self._elementwise(group)

    def _reshape(self, node: NodeProto, arguments: "_Arguments") -> _Value:
        source = _required(arguments[0], "input")
        shape = self._shape(source)
        if node.op_type == "Flatten":
            _allow(node, axis=None)
            axis = _attributes(node).get("axis", 1)
            axis += len(shape) if axis < 0 else 0
            target: tuple[int, ...] = (prod(shape[:axis]), prod(shape[axis:]))
        else:
            _allow(node, allowzero=0)
            wanted = _required(arguments[1], "shape")
            if not isinstance(wanted, _Constant):
                raise _UnsupportedError("the shape is computed by the network: export with static shapes")
            target = _reshaped(shape, [int(size) for size in wanted.array.ravel()])
        match source:
            case _FloatInput():
                return replace(source, shape=target)
            case _Dequantised():
                return replace(source, tensor=self._reshape_tensor(node, source.tensor, target))
            case _Activation():
                return _Activation(self._reshape_tensor(node, source.tensor, target))
            case _Constant():
                return _Constant(source.array.reshape(target))
            case _:
                return _Expression(node, (source,), target)

    def _float_operator(self, node: NodeProto, arguments: "_Arguments") -> _Value:
        present = tuple(argument for argument in arguments if argument is not None)
        source = _required(arguments[0], "input")
        if node.op_type in ("Relu", "Clip") and isinstance(source, _Activation):
            return self._integer_clamp(node, source, arguments)
        if any(isinstance(argument, _FloatInput) for argument in present):
            raise _UnsupportedError("it works on the float input itself: quantise the input first (QuantizeLinear)")
        if any(isinstance(argument, _Activation) for argument in present):
            raise _UnsupportedError(
                "integer operands are not supported: use the QLinear form, or dequantise them first"
            )
        match node.op_type:
            case "MatMul" | "Gemm":
                shape = self._dense_shape(node, present)
            case "Add" | "Mul":
                shape = self._broadcast(present)
            case _:
                _clip_bounds(node, arguments)
                # The bounds of a Clip are read again from the node's inputs; only its first argument is a value.
                present, shape = (source,), self._shape(source)
        return _Expression(node, present, shape)

    def _integer_clamp(self, node: NodeProto, source: _Activation, arguments: "_Arguments") -> _Value:
        tensor = self.tensors[source.tensor]
        if tensor.dtype != "int8":
            raise _UnsupportedError("an int32 result can only be an output of the network")
        lo, hi = _clip_bounds(node, arguments)
        shift = _shift(tensor.outside)
        bounds = [int(np.clip(bound - shift, INT8_MIN, INT8_MAX)) for bound in (lo, hi)]
        same = Requantise((np.ones((), np.float32),), zero_point=0, lo=min(bounds), hi=bounds[1])
        output = replace(tensor, name=node.output[0])
        return self._emit(Unary(output.name, tensor.name, 0, same), output)

    # The end of a float group.

    def _lower(self, node: NodeProto, source: _Value, qy: Quantisation, outside: OutsideType) -> _Value:
        """The integer operation for everything between DequantizeLinear and this QuantizeLinear `node`."""
        output = node.output[0]
        if isinstance(source, _FloatInput):
            return self._quantised_input(output, source, qy, outside)
        base, limits, redundant, alone = self._strip_clips(source, qy)
        if isinstance(base, _Expression) and base.node.op_type in ("Reshape", "Flatten"):
            raise _UnsupportedError("a Reshape or Flatten of a float value: put it after the QuantizeLinear")
        if isinstance(base, _Dequantised):
            tensor = self.tensors[base.tensor]
            meanings = {(q.scale, q.stored_zero_point) for q in (base.quantisation, qy)}
            if len(meanings) == 1 and tensor.outside == outside and limits == (INT8_MIN, INT8_MAX):
                # (q - z) * s / s rounds to q - z for every code: the group copies its input.
                return _Activation(base.tensor)
            if source is base and self._paired(output) and self._paired(self.makers[node.input[0]].input[0]):
                self.notes.append(
                    f"{_title(node)}: ONNX Runtime merges two QuantizeLinear that follow each other; the chip does both"
                )
            shape = tensor.shape
            return self._elementwise(_Group(node, "copy", (base,), shape, qy, outside, limits, fused=False))
        if not isinstance(base, _Expression):
            raise _UnsupportedError("it quantises a constant expression: fold constants before importing")
        end = _End(node, qy, outside, limits, redundant and alone)
        try:
            if base.node.op_type in ("MatMul", "Gemm") or _is_bias_add(base):
                return self._float_dense(base, end)
            return self._float_elementwise(base, end)
        except _UnsupportedError as error:
            raise _UnsupportedError(str(error), base.node) from None

    def _float_elementwise(self, base: _Expression, end: "_End") -> _Value:
        """Add or Mul between DequantizeLinear and QuantizeLinear."""
        operands = base.arguments
        if any(isinstance(argument, _Expression) for argument in operands):
            raise _UnsupportedError("it reads a float value that was not quantised: put QDQ pairs around it")
        quantised = all(
            isinstance(a, _Dequantised) or (isinstance(a, _DequantisedConstant) and a.scale.size == 1) for a in operands
        )
        qy = end.quantisation
        fused = end.plain and quantised and all(_codes_of(a) == qy.shift for a in operands)
        kind, output = base.node.op_type, end.node.output[0]
        return self._elementwise(
            _Group(base.node, kind, operands, base.shape, qy, end.outside, end.limits, fused, output)
        )

    def _quantised_input(self, output: str, source: _FloatInput, qy: Quantisation, outside: OutsideType) -> _Value:
        name = source.port
        if name in self.inputs:
            known = self.tensors[self.inputs[name].tensor]
            if (known.scale, known.zero_point, known.outside) != (qy.scale, qy.stored_zero_point, outside):
                raise _UnsupportedError(
                    f"the input {name!r} is quantised twice, with different scales: quantise it once"
                )
            if known.shape != source.shape:
                raise _UnsupportedError(f"the input {name!r} is used in two shapes: quantise it before reshaping it")
            return _Activation(known.name)
        self.inputs[name] = Port(name, output, "float32", self.float_shapes.pop(name))
        self.tensors[output] = Tensor(output, source.shape, "int8", outside, qy.scale, qy.stored_zero_point)
        return _Activation(output)

    def _strip_clips(self, source: _Value, qy: Quantisation) -> tuple[_Value, tuple[int, int], bool, bool]:
        """What is under the Relu and Clip nodes of a group, their limits as stored codes, and two facts.

        The facts decide whether ONNX Runtime fuses the group: the clips change nothing (the output's range is within
        theirs), and nothing else reads a value inside the group.
        """
        clips: list[_Expression] = []
        alone = True
        while isinstance(source, _Expression) and source.node.op_type in ("Relu", "Clip"):
            alone = alone and self.uses[source.node.output[0]] == 1
            clips.append(source)
            source = source.arguments[0]
        if isinstance(source, _Expression):
            alone = alone and self.uses[source.node.output[0]] == 1
        low, high = INT8_MIN, INT8_MAX
        redundant = True
        # From the inside out. Quantisation is monotone, so clipping codes is clipping values.
        for clip in reversed(clips):
            bounds = _clip_bounds(clip.node, [self.values[n] if n else None for n in clip.node.input])
            lo, hi = (int(quantize_linear(b, qy.scale, qy.stored_zero_point, INT8_MIN, INT8_MAX)) for b in bounds)
            low, high = min(max(low, lo), hi), min(max(high, lo), hi)
            redundant = redundant and (lo, hi) == (INT8_MIN, INT8_MAX)
        return source, (low, high), redundant, alone

    def _float_dense(self, base: _Expression, end: "_End") -> _Value:
        """MatMul, Gemm, or MatMul and Add of a bias, between DequantizeLinear and QuantizeLinear."""
        bias: _Value | None = None
        product = base
        if base.node.op_type == "Add":
            product, bias = _split_bias(base)
            if self.uses[product.node.output[0]] != 1:
                raise _UnsupportedError("its product's float result is read twice: quantise it first")
        node = product.node
        x, w = product.arguments[0], product.arguments[1]
        if not isinstance(x, _Dequantised) or not isinstance(w, _DequantisedConstant):
            raise _UnsupportedError("it needs a dequantised activation times dequantised constant weights")
        attributes = _attributes(node)
        alpha = np.float32(1)
        if node.op_type == "Gemm":
            if attributes.get("transB", 0):
                w = _transposed(w)
            bias = bias if len(product.arguments) < 3 else product.arguments[2]
        codes: Int32Array | None = None
        if isinstance(bias, _DequantisedConstant):
            codes = self._bias_codes(_Constant(bias.codes))
        elif isinstance(bias, _Constant):
            codes = _quantised_bias(bias.array, x.quantisation.scale * w.scale)
        elif bias is not None:
            raise _UnsupportedError("the bias is not a constant")
        reason = self._float_in_ort(node, x, w, bias, end)
        if reason:
            self.notes.append(
                f"{_title(node)}: ONNX Runtime computes this layer in float32 ({reason}); the chip computes the "
                "integer form, which may differ from it by one step next to a rounding tie"
            )
        return self._dense(end.node, x, w, codes, alpha, (end.quantisation, end.outside, end.limits))

    def _float_in_ort(
        self, node: NodeProto, x: _Dequantised, w: _DequantisedConstant, bias: _Value | None, end: "_End"
    ) -> str:
        """Why ONNX Runtime on x86-64 would not fuse this dense group into an integer kernel; "" when it does."""
        signed = x.quantisation.shift == 0
        if not end.plain:
            return "a Relu or Clip changes values, or another node reads them, before the QuantizeLinear"
        if x.quantisation.shift != end.quantisation.shift:
            return "it sees one of input and output as int8, the other as uint8"
        if signed and w.codes.dtype != np.int8:
            return "its input is int8, its weights uint8"
        if signed and node.op_type == "MatMul" and bias is None:
            return "a MatMul of int8; a Gemm, a QLinearMatMul or uint8 activations would be exact"
        if isinstance(bias, _Constant) and bias.array.ndim != 1:
            return "the float bias is not a vector"
        if node.op_type == "MatMul" and bias is not None and len(self.tensors[x.tensor].shape) != 2:
            return "a bias added to a MatMul of more than two dimensions"
        return ""

    # Emitting operations.

    def _emit(self, op: Op, output: Tensor) -> _Activation:
        self.tensors[output.name] = output
        self.ops.append(op)
        return _Activation(output.name)

    def _dense(
        self,
        node: NodeProto,
        x: _Dequantised,
        w: _DequantisedConstant,
        bias: Int32Array | None,
        alpha: np.float32,
        target: tuple[Quantisation, OutsideType, tuple[int, int]] | None,
    ) -> _Value:
        """A MatMul; `target` None leaves int32 sums. The result is named after `node`'s output."""
        source = self.tensors[x.tensor]
        depth, lanes = w.codes.shape
        if source.shape[-1] != depth:
            raise _UnsupportedError(f"the input has {source.shape[-1]} columns, the weights {depth} rows")
        centred = w.codes.astype(np.int32) - w.zero_point.astype(np.int32)
        if w.scale.shape[0] != 1 or w.zero_point.shape[0] != 1:
            raise _UnsupportedError("weights quantised by input channel: only by tensor or output channel")
        folded = -x.quantisation.stored_zero_point * centred.sum(axis=0, dtype=np.int64)
        if bias is not None:
            if bias.size not in (1, lanes):
                raise _UnsupportedError(f"the bias has {bias.size} elements, the output {lanes} columns")
            folded = folded + bias
        reach = np.abs(centred).sum(axis=0, dtype=np.int64) * -INT8_MIN + np.abs(folded)
        if int(reach.max()) > _INT32_MAX:
            raise _UnsupportedError("the sums can leave int32: K is too large, or the bias")
        shape = (*source.shape[:-1], lanes)
        stored_bias = folded.astype(np.int32) if folded.any() else None
        if target is None:
            output = Tensor(node.output[0], shape, "int32", "int32")
            return self._emit(MatMul(output.name, x.tensor, _planes(centred), stored_bias, None), output)
        qy, outside, (lo, hi) = target
        with np.errstate(over="ignore"):
            multiplier = alpha * x.quantisation.scale * w.scale / qy.scale
        multiplier = np.asarray(multiplier, np.float32)
        if (
            not bool((np.abs(multiplier) <= _MAX_RATIO).all())
            or float(reach.max()) * np.abs(multiplier).max() > 2.0**30
        ):
            raise _UnsupportedError("the output scale is far too small for the input and weight scales")
        multiplier = _number_or_lanes(multiplier.reshape(-1))
        output = Tensor(node.output[0], shape, "int8", outside, qy.scale, qy.stored_zero_point)
        requant = Requantise((multiplier,), qy.stored_zero_point, None, lo, hi)
        return self._emit(MatMul(output.name, x.tensor, _planes(centred), stored_bias, requant), output)

    def _elementwise(self, group: "_Group") -> _Value:
        """One elementwise operation, its constants proved equal to ONNX Runtime's formula."""
        ratios = [a.quantisation.scale / group.qy.scale for a in group.operands if isinstance(a, _Dequantised)]
        if max(float(ratio) for ratio in ratios) > _MAX_RATIO:
            raise _UnsupportedError("the output scale is far too small for the input scale")
        activations = [a for a in group.operands if isinstance(a, _Dequantised)]
        shapes = [self.tensors[a.tensor].shape for a in activations]
        if any(shape != group.shape for shape in shapes):
            raise _UnsupportedError(
                f"activations of shapes {' and '.join(str(list(s)) for s in shapes)}: only equal "
                "shapes, or an activation and a constant of its last dimension, are supported"
            )
        if group.kind == "Add" and group.fused and prod(self._shape(group.operands[0])) == 1:
            # ONNX Runtime's kernel takes a single number second, and its arithmetic is not symmetric.
            group, activations = replace(group, operands=group.operands[::-1]), activations[::-1]
        name = group.output or group.node.output[0]
        if len(activations) == 2:
            op = self._binary(group, name, activations[0], activations[1])
        else:
            op = self._unary(group, name, activations[0])
        if op is None:
            raise _UnsupportedError(
                "some input falls so near a rounding tie that no float32 constants make the chip equal to ONNX "
                "Runtime; change one of the scales slightly (calibrate again)"
            )
        qy = group.qy
        return self._emit(op, Tensor(name, group.shape, "int8", group.outside, qy.scale, qy.stored_zero_point))

    def _unary(self, group: "_Group", name: str, x: _Dequantised) -> Op | None:
        qx, qy = x.quantisation, group.qy
        codes = (exact.STORED.astype(np.int32) + qx.shift)[:, None]
        lanes = group.shape[-1]
        lo, hi = group.limits
        others = [a for a in group.operands if a is not x]
        ratio = np.asarray(qx.scale / qy.scale)
        zero = qx.stored_zero_point
        if group.fused:
            other = others[0]
            assert isinstance(other, _DequantisedConstant)  # what "fused" means for one activation
            constant = self._per_lane(other.codes, lanes, group).astype(np.int32)
            qc = Quantisation(np.float32(other.scale.item()), int(other.zero_point.item()), 0)
            if group.kind == "Mul":
                factor = np.asarray(qx.scale * qc.scale / qy.scale)
                if float(factor) * 2.0**16 > 2.0**30:
                    return None
                centred = _number_or_lanes((constant - qc.zero_point).astype(np.float32))
                offset = np.asarray(np.float32(qy.zero_point))
                chain = Requantise((centred, factor), -qy.shift, offset, lo, hi)
                return Unary(name, x.tensor, zero, chain)
            if group.operands[0] is x:
                value = exact.qlinear_add(codes, qx, constant, qc, qy)
                _, other_ratio, fixed = exact.add_constants(qx, qc, qy)
            else:
                value = exact.qlinear_add(constant, qc, codes, qx, qy)
                other_ratio, _, fixed = exact.add_constants(qc, qx, qy)
            table = exact.stored_codes(value, qy, lo, hi)
            sums = fixed + constant.astype(np.float32) * other_ratio
            chain = Requantise((ratio,), -qy.shift, np.asarray(sums), lo, hi)
            requant = exact.find_unary(table, -qx.shift, (chain,))
            return None if requant is None else Unary(name, x.tensor, -qx.shift, requant)
        value = (codes - qx.zero_point).astype(np.float32) * qx.scale
        operand: Float32Array | None = None
        if others:
            operand = self._per_lane(self._float_of(others[0]), lanes, group)
            value = value + operand if group.kind == "Add" else value * operand
        table = np.asarray(np.clip(quantize_linear(value, qy.scale, qy.stored_zero_point, -128, 127), lo, hi))
        factor_seeds: tuple[tuple[Float32Array, ...], ...]
        offset_seed: Float32Array | None = None
        match group.kind:
            case "Mul":
                assert operand is not None  # a product with one activation has a constant
                factor_seeds = ((ratio * operand,), (np.asarray(qx.scale), operand / qy.scale))
            case "Add":
                assert operand is not None  # a sum with one activation has a constant
                factor_seeds, offset_seed = ((ratio,),), operand / qy.scale
            case _:
                factor_seeds = ((ratio,), (np.asarray(qx.scale), np.asarray(1 / qy.scale)))
        seeds = [Requantise(factors, qy.stored_zero_point, offset_seed, lo, hi) for factors in factor_seeds]
        requant = exact.find_unary(table, zero, seeds)
        return None if requant is None else Unary(name, x.tensor, zero, requant)

    def _binary(self, group: "_Group", name: str, a: _Dequantised, b: _Dequantised) -> Op | None:
        qa, qb, qy = a.quantisation, b.quantisation, group.qy
        lo, hi = group.limits
        left = (exact.STORED.astype(np.int32) + qa.shift)[:, None]
        right = (exact.STORED.astype(np.int32) + qb.shift)[None, :]
        za, zb = qa.stored_zero_point, qb.stored_zero_point
        float_left = (left - qa.zero_point).astype(np.float32) * qa.scale
        float_right = (right - qb.zero_point).astype(np.float32) * qb.scale
        if group.kind == "Mul":
            multiplier = np.asarray(qa.scale * qb.scale / qy.scale)
            if float(multiplier) * 2.0**16 > 2.0**30:
                return None
            if group.fused:
                offset = np.asarray(np.float32(qy.zero_point))
                return Mul(name, a.tensor, b.tensor, za, zb, Requantise((multiplier,), -qy.shift, offset, lo, hi))
            table = quantize_linear(float_left * float_right, qy.scale, qy.stored_zero_point, lo, hi)
            chain = Requantise((multiplier,), qy.stored_zero_point, None, lo, hi)
            return exact.find_mul(Mul(name, a.tensor, b.tensor, za, zb, chain), table)
        ra, rb, fixed = exact.add_constants(qa, qb, qy)
        if group.fused:
            values = exact.qlinear_add(left, qa, right, qb, qy)
            table = exact.stored_codes(values, qy, lo, hi)
            after = Requantise((), -qy.shift, None, lo, hi)
            return exact.find_add(
                Add(name, a.tensor, b.tensor, -qa.shift, -qb.shift, ra, rb, fixed, after), table, values
            )
        values = np.asarray((float_left + float_right) / qy.scale, np.float32)
        table = quantize_linear(float_left + float_right, qy.scale, qy.stored_zero_point, lo, hi)
        after = Requantise((), qy.stored_zero_point, None, lo, hi)
        return exact.find_add(Add(name, a.tensor, b.tensor, za, zb, ra, rb, None, after), table, values)

    def _reshape_tensor(self, node: NodeProto, name: str, target: tuple[int, ...]) -> str:
        """A view of a tensor; an input that nothing else reads takes the new shape itself, whatever it is."""
        tensor = self.tensors[name]
        if tensor.shape == target:
            return name
        port = self.inputs.get(name) or next((p for p in self.inputs.values() if p.tensor == name), None)
        read = any(
            name in (getattr(op, "input", ""), getattr(op, "lhs", ""), getattr(op, "rhs", "")) for op in self.ops
        )
        if port is not None and not read and self._only_reader(name):
            self.tensors[name] = replace(tensor, shape=target)
            return name
        if target[-1:] != tensor.shape[-1:]:
            raise _UnsupportedError(
                f"from {list(tensor.shape)} to {list(target)} inside the network: the last dimension must not change "
                "(it may at an input)"
            )
        view = replace(tensor, name=node.output[0], shape=target)
        self._emit(Reshape(view.name, name), view)
        return view.name

    def _only_reader(self, name: str) -> bool:
        """Whether one chain of nodes alone reads an input tensor, so that its shape can be chosen freely."""
        aliases = [key for key, value in self.values.items() if getattr(value, "tensor", None) == name]
        return all(self.uses[alias] <= 1 for alias in aliases)

    # Reading arguments.

    def _scale_zero(
        self,
        node: NodeProto,
        arguments: "_Arguments",
        index: int,
        default: NDArray[Any] | None = None,
        also_int32: bool = False,
    ) -> tuple[Float32Array, NDArray[Any]]:
        scale = arguments[index]
        if not isinstance(scale, _Constant) or scale.array.dtype != np.float32:
            raise _UnsupportedError("a scale is not a float32 constant")
        if not bool((np.isfinite(scale.array) & (scale.array > 0)).all()):
            raise _UnsupportedError("a scale is zero, negative or not finite")
        zero = self._zero_point(arguments, index + 1, default, also_int32)
        if zero.size > 1 and zero.size != scale.array.size:
            raise _UnsupportedError("a scale and its zero point differ in shape")
        return scale.array, zero

    def _zero_point(
        self, arguments: "_Arguments", index: int, default: NDArray[Any] | None, also_int32: bool = False
    ) -> NDArray[Any]:
        zero = arguments[index]
        if zero is None and default is not None:
            array = default
        elif isinstance(zero, _Constant):
            array = zero.array
        else:
            raise _UnsupportedError("a zero point is not a constant")
        if array.dtype not in _CODES and not (also_int32 and array.dtype == np.int32):
            raise _UnsupportedError(f"{array.dtype} codes: only int8 and uint8 are supported")
        return array

    def _activation(self, argument: "_Value | None", what: str) -> _Activation:
        if not isinstance(argument, _Activation) or self.tensors[argument.tensor].dtype != "int8":
            raise _UnsupportedError(f"{what} must be an int8 or uint8 activation")
        return argument

    def _operand(self, node: NodeProto, arguments: "_Arguments", start: int, constant: bool = False) -> Any:
        """The operand of a QLinear operator at inputs `start`, `start`+1 and `start`+2, as if dequantised."""
        source = _required(arguments[start], "an operand")
        if constant and isinstance(source, _Constant):
            scale, zero = self._scale_zero(node, arguments, start + 1, default=np.zeros((), source.array.dtype))
            _single(scale, zero, "a constant operand")
            return _DequantisedConstant(source.array, scale, zero, np.zeros(source.array.shape, np.float32))
        activation = self._activation(source, "the operand")
        outside = self.tensors[activation.tensor].outside
        scale, zero = self._scale_zero(node, arguments, start + 1, default=np.zeros((), outside))
        if _outside(zero) != outside:
            raise _UnsupportedError(f"a zero point is {zero.dtype}, its operand {outside}")
        return _Dequantised(activation.tensor, _single(scale, zero, "an activation"))

    def _weights(self, node: NodeProto, arguments: "_Arguments", start: int, transposed: bool) -> _DequantisedConstant:
        codes = _matrix(_required(arguments[start], "the weights"))
        if transposed:
            codes = codes.T
        scale, zero = self._scale_zero(node, arguments, start + 1, default=np.zeros((), codes.dtype))
        scale, zero = _along(scale, codes.shape, 1), _along(zero, codes.shape, 1)
        return _DequantisedConstant(codes, scale, zero, np.zeros(codes.shape, np.float32))

    def _bias_codes(self, bias: "_Value") -> Int32Array:
        if not isinstance(bias, _Constant) or bias.array.dtype != np.int32:
            raise _UnsupportedError("the bias must be an int32 constant (or a float one without DequantizeLinear)")
        return _bias_vector(bias.array)

    def _shape(self, value: "_Value") -> tuple[int, ...]:
        match value:
            case _Constant():
                return value.array.shape
            case _DequantisedConstant():
                return value.codes.shape
            case _Activation() | _Dequantised():
                return self.tensors[value.tensor].shape
            case _:
                return value.shape

    def _broadcast(self, operands: Sequence["_Value"]) -> tuple[int, ...]:
        try:
            return np.broadcast_shapes(*(self._shape(operand) for operand in operands))
        except ValueError:
            shapes = " and ".join(str(list(self._shape(operand))) for operand in operands)
            raise _UnsupportedError(f"operands of shapes {shapes} do not broadcast") from None

    def _dense_shape(self, node: NodeProto, operands: Sequence["_Value"]) -> tuple[int, ...]:
        x, w = self._shape(operands[0]), self._shape(operands[1])
        if len(w) != 2:
            raise _UnsupportedError(f"weights of shape {list(w)}: only matrices are supported")
        if node.op_type == "Gemm":
            _allow(node, alpha=1.0, beta=1.0, transA=0, transB=None)
            w = w[::-1] if _attributes(node).get("transB", 0) else w
        return (*x[:-1], w[1])

    def _float_of(self, constant: "_Value") -> Float32Array:
        match constant:
            case _Constant() if constant.array.dtype == np.float32:
                return constant.array
            case _DequantisedConstant():
                return constant.value
            case _:
                raise _UnsupportedError("a constant operand is not float32")

    def _per_lane(self, constant: NDArray[Any], lanes: int, group: "_Group") -> NDArray[Any]:
        """A constant operand as one number a lane, or one in all (shape (1,) or (lanes,))."""
        if constant.size == 1:
            return constant.reshape(1)
        if constant.size == lanes and constant.shape[-1] == lanes:
            return constant.reshape(lanes)
        raise _UnsupportedError(
            f"a constant of shape {list(constant.shape)}: only one number, or one for each of "
            f"the {lanes} elements of the last dimension"
        )


_Arguments: TypeAlias = Sequence[_Value | None]
_Handler: TypeAlias = Callable[[_Importer, NodeProto, _Arguments], _Value]


@dataclass(frozen=True)
class _End:
    """How a float group ends: its QuantizeLinear, and whether ONNX Runtime sees nothing but it after the operator."""

    node: NodeProto
    quantisation: Quantisation
    outside: OutsideType
    limits: tuple[int, int]
    plain: bool


@dataclass(frozen=True)
class _Group:
    """One elementwise group: an operator, its operands and its output's quantisation; `limits` are stored codes."""

    node: NodeProto
    kind: str
    operands: tuple[_Value, ...]
    shape: tuple[int, ...]
    qy: Quantisation
    outside: OutsideType
    limits: tuple[int, int]
    fused: bool
    output: str = ""


_FLOAT = _Importer._float_operator
_HANDLERS: Mapping[tuple[str, str], _Handler] = {
    ("", "Constant"): _Importer._constant,
    ("", "QuantizeLinear"): _Importer._quantize,
    ("", "DequantizeLinear"): _Importer._dequantize,
    ("", "MatMul"): _FLOAT,
    ("", "Gemm"): _FLOAT,
    ("", "Add"): _FLOAT,
    ("", "Mul"): _FLOAT,
    ("", "Relu"): _FLOAT,
    ("", "Clip"): _FLOAT,
    ("", "Reshape"): _Importer._reshape,
    ("", "Flatten"): _Importer._reshape,
    ("", "QLinearMatMul"): _Importer._qlinear_matmul,
    ("", "MatMulInteger"): _Importer._matmul_integer,
    ("com.microsoft", "QGemm"): _Importer._qgemm,
    ("com.microsoft", "QLinearAdd"): _Importer._qlinear_binary,
    ("com.microsoft", "QLinearMul"): _Importer._qlinear_binary,
    ("com.microsoft", "QuantizeLinear"): _Importer._quantize,
    ("com.microsoft", "DequantizeLinear"): _Importer._dequantize,
}
_QUANTISED = {key for key in _HANDLERS if key[1].startswith(("Quantize", "Dequantize", "Q", "MatMulInteger"))}
SUPPORTED_OPERATORS: tuple[str, ...] = tuple(sorted({".".join(filter(None, key)) for key in _HANDLERS}))
"""The ONNX operators the importer reads, for documentation; those outside the ONNX domain carry theirs."""


def _key(node: NodeProto) -> tuple[str, str]:
    return ("" if node.domain == "ai.onnx" else node.domain, node.op_type)


def _type_name(element: int) -> str:
    known = TensorProto.DataType.values()
    return TensorProto.DataType.Name(element) if element in known else f"of unknown type {element}"


def _title(node: NodeProto) -> str:
    return f"{node.op_type} {node.name!r}" if node.name else f"{node.op_type} (unnamed, output {node.output[0]!r})"


def _advice(node: NodeProto) -> str:
    relatives = {
        "Conv": "write it as MatMul, or run it before the network",
        "Softmax": "apply it on the host, after the network",
        "ArgMax": "apply it on the host, after the network",
        "DynamicQuantizeLinear": "quantise statically (onnxruntime.quantization.quantize_static)",
    }
    return "not supported; " + relatives.get(
        node.op_type, "remove it, or run it on the host before or after the network"
    )


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _array(tensor: TensorProto) -> NDArray[Any]:
    try:
        return numpy_helper.to_array(tensor)
    except (KeyError, TypeError, ValueError):
        raise _UnsupportedError("its contents do not fit its type and shape: export the model again") from None


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def _allow(node: NodeProto, **allowed: Any) -> None:
    """Refuse attributes that are not in `allowed`, or that differ from their one allowed value (None: any value)."""
    for name, value in _attributes(node).items():
        if name not in allowed:
            raise _UnsupportedError(f"attribute {name!r} is not supported: remove it")
        if allowed[name] is not None and value != allowed[name]:
            raise _UnsupportedError(f"attribute {name} = {value} is not supported: only {allowed[name]} is")


def _required(argument: _Value | None, what: str) -> _Value:
    if argument is None:
        raise _UnsupportedError(f"{what} is missing")
    return argument


def _outside(zero: NDArray[Any]) -> OutsideType:
    return "uint8" if zero.dtype == np.uint8 else "int8"


def _shift(outside: str) -> int:
    return UINT8_SHIFT if outside == "uint8" else 0


def _single(scale: Float32Array, zero: NDArray[Any], what: str) -> Quantisation:
    if scale.size != 1 or zero.size != 1:
        raise _UnsupportedError(f"{what} is quantised by channel: only weights may be")
    return Quantisation(np.float32(scale.item()), int(zero.item()), _shift(_outside(zero)))


def _along(array: NDArray[Any], shape: tuple[int, ...], axis: int) -> NDArray[Any]:
    """Quantisation parameters, shaped to broadcast over a constant of `shape`: one number, or one along `axis`."""
    if array.size == 1:
        return array.reshape((1,) * len(shape))
    if not -len(shape) <= axis < len(shape) or array.size != shape[axis] or max(array.shape) != array.size:
        raise _UnsupportedError(
            f"scales or zero points of shape {list(array.shape)} do not fit a constant of shape {list(shape)}"
        )
    sizes = [1] * len(shape)
    sizes[axis] = array.size
    return array.reshape(sizes)


def _codes_of(operand: _Value) -> int:
    """What separates the codes that ONNX Runtime computes with from stored values: 0 for int8, 128 for uint8."""
    if isinstance(operand, _Dequantised):
        return operand.quantisation.shift
    return _shift(str(operand.codes.dtype)) if isinstance(operand, _DequantisedConstant) else -1


def _matrix(value: _Value) -> NDArray[Any]:
    if not isinstance(value, _Constant):
        raise _UnsupportedError("the weights are not a constant: products of two activations are not supported")
    if value.array.ndim != 2 or value.array.dtype not in _CODES or 0 in value.array.shape:
        raise _UnsupportedError(
            f"weights are {value.array.dtype}{list(value.array.shape)}: an int8 or uint8 matrix is needed"
        )
    return value.array


def _number_or_lanes(array: Float32Array) -> Float32Array:
    """A constant of shape (1,) as a number, for the chip needs no vector for it; others as they are."""
    return array.reshape(()) if array.size == 1 else array


def _transposed(w: _DequantisedConstant) -> _DequantisedConstant:
    return _DequantisedConstant(w.codes.T, w.scale.T, w.zero_point.T, w.value.T)


def _planes(centred: Int32Array) -> tuple[Int8Array, ...]:
    """Int8 matrices whose sum is `centred`; one, unless a zero point has moved weights out of int8."""
    planes: list[Int8Array] = []
    rest = centred
    while not planes or rest.any():
        planes.append(np.clip(rest, INT8_MIN, INT8_MAX).astype(np.int8))
        rest = rest - planes[-1]
    return tuple(planes)


def _bias_vector(bias: NDArray[Any]) -> Int32Array:
    if bias.size != 1 and bias.size != bias.shape[-1]:
        raise _UnsupportedError(
            f"a bias of shape {list(bias.shape)}: only a number or a vector of the output's last dimension"
        )
    return bias.reshape(-1).astype(np.int32)


def _quantised_bias(bias: NDArray[Any], scale: Float32Array) -> Int32Array:
    """A float bias as ONNX Runtime turns it into int32: divided by input scale x weight scale, to nearest even."""
    vector = bias.reshape(-1)
    if bias.dtype != np.float32 or (bias.size != 1 and bias.size != bias.shape[-1]):
        raise _UnsupportedError(
            f"a bias of {bias.dtype}{list(bias.shape)}: only float32 or int32 vectors are supported"
        )
    rounded = np.rint(vector / scale.reshape(-1))
    if not bool((np.abs(rounded) <= _INT32_MAX // 2).all()):
        raise _UnsupportedError("a bias is too large for int32 at the scale of input times weights")
    return rounded.astype(np.int32)


def _is_bias_add(base: _Expression) -> bool:
    return base.node.op_type == "Add" and any(
        isinstance(a, _Expression) and a.node.op_type == "MatMul" for a in base.arguments
    )


def _split_bias(add: _Expression) -> tuple[_Expression, _Value]:
    """The product and the bias of an Add that `_is_bias_add` has recognised."""
    first, second = add.arguments
    if isinstance(first, _Expression) and first.node.op_type == "MatMul":
        return first, second
    assert isinstance(second, _Expression)  # by _is_bias_add
    return second, first


def _clip_bounds(node: NodeProto, arguments: _Arguments) -> tuple[float, float]:
    """Lower and upper bound of a Relu or Clip node."""
    if node.op_type == "Relu":
        return 0.0, float("inf")
    attributes = _attributes(node)
    bounds = [float(attributes.get("min", -np.inf)), float(attributes.get("max", np.inf))]
    for index, argument in enumerate(arguments[1:3]):
        match argument:
            case None:
                continue
            case _Constant() if argument.array.size == 1:
                bounds[index] = float(argument.array.item())
            case _DequantisedConstant() if argument.value.size == 1:
                bounds[index] = float(argument.value.item())
            case _:
                raise _UnsupportedError("a bound is not a constant number")
    return bounds[0], bounds[1]


def _reshaped(shape: tuple[int, ...], wanted: Sequence[int]) -> tuple[int, ...]:
    """The shape that ONNX Reshape gives: 0 copies a dimension, -1 takes what is left."""
    target = [shape[axis] if size == 0 and axis < len(shape) else size for axis, size in enumerate(wanted)]
    if -1 in target:
        known = prod(size for size in target if size != -1)
        target[target.index(-1)] = prod(shape) // known if known > 0 else 0
    if prod(target) != prod(shape) or min(target, default=1) < 1:
        raise _UnsupportedError(
            f"{list(shape)} cannot be reshaped to {list(wanted)}: a batch size may be fixed in the shape; use -1 or 0"
        )
    return tuple(target)
