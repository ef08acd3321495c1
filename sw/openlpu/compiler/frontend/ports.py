# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The border of the network: inputs and outputs of the ONNX graph become ports.

A float input that is only quantised has no tensor until its QuantizeLinear says how the host is to do it. Any other
stays float32 on the chip, as do outputs that are not quantised.
"""

from dataclasses import replace

from onnx import NodeProto, TensorProto, ValueInfoProto

from openlpu.compiler.frontend.compute import computed, float_port
from openlpu.compiler.frontend.movement import MOVEMENTS
from openlpu.compiler.frontend.moving import emit_rearranged, places
from openlpu.compiler.frontend.network import Network
from openlpu.compiler.frontend.nodes import UnsupportedError
from openlpu.compiler.frontend.values import (
    Activation,
    Constant,
    Dequantised,
    DequantisedConstant,
    FloatInput,
    Indices,
    Result,
    Value,
)
from openlpu.compiler.graph import OutsideType, Port, Tensor

_INPUT_TYPES: dict[int, OutsideType] = {
    TensorProto.FLOAT: "float32",
    TensorProto.INT8: "int8",
    TensorProto.UINT8: "uint8",
}


def declare_input(net: Network, info: ValueInfoProto, batch: int | None) -> Value:
    """What an input of the network is; a symbolic first dimension becomes `batch` (1 when None)."""
    outside = _INPUT_TYPES.get(info.type.tensor_type.elem_type)
    if _is_index(net, info):
        return _declare_indices(net, info, batch)
    if outside is None:
        found = _type_name(info.type.tensor_type.elem_type)
        raise UnsupportedError(
            f"is {found}: only FLOAT, INT8 and UINT8 are supported, and INT32 and INT64 as indices of a Gather"
        )
    shape = _static_shape(info, batch)
    if outside == "float32":
        return FloatInput(info.name, shape) if _is_quantised(net, info.name) else float_port(net, info.name, shape)
    net.tensors[info.name] = Tensor(info.name, shape, "int8", outside)
    net.inputs[info.name] = Port(info.name, info.name, outside, shape)
    return Activation(info.name)


def quantise_input(net: Network, source: FloatInput, result: Result) -> Activation:
    """The tensor of a float input, which `result` tells the host how to quantise."""
    name = source.port
    tensor = result.tensor(source.shape)
    if name not in net.inputs:
        net.inputs[name] = Port(name, tensor.name, "float32", net.shape(net.values[name]))
        net.tensors[tensor.name] = tensor
        return Activation(tensor.name)
    known = net.tensors[net.inputs[name].tensor]
    return Activation(emit_rearranged(net, tensor.name, (known.name,), places(known.shape).reshape(tensor.shape)))


def declare_output(net: Network, name: str) -> Port:
    """The port of an output of the network, whose floats are computed now if nothing before has done so."""
    value = net.values[name]
    match value:
        case Constant() | DequantisedConstant():
            raise UnsupportedError("does not depend on the input: remove it")
        case Indices():
            raise UnsupportedError("is an input of indices: remove it")
        case Activation(tensor=tensor_name):
            tensor = net.tensors[tensor_name]
            return Port(name, tensor_name, tensor.outside, tensor.shape)
        case Dequantised(tensor=tensor_name, quantisation=quantisation):
            tensor = net.tensors[tensor_name]
            scale, zero_point = quantisation.scale, quantisation.stored_zero_point
            if tensor.scale is None:
                tensor = net.tensors[tensor_name] = replace(tensor, scale=scale, zero_point=zero_point)
            if (tensor.scale, tensor.zero_point) == (scale, zero_point):
                return Port(name, tensor_name, "float32", tensor.shape)
        case _:
            pass
    floats = computed(net, value)
    return Port(name, floats, "float32", net.tensors[floats].shape)


def _is_quantised(net: Network, name: str) -> bool:
    """Whether a float value is read by QuantizeLinear alone, perhaps after moves, and always with the same scale."""
    found = _quantisers(net, name)
    return found is not None and len({_parameters(net, node) for node in found}) <= 1


def _quantisers(net: Network, name: str) -> list[NodeProto] | None:
    """The QuantizeLinear nodes that read a value; None when others read it, too."""
    found: list[NodeProto] = []
    for reader in net.flow.readers(name):
        if reader is not None and reader.op_type == "QuantizeLinear":
            found.append(reader)
            continue
        if reader is not None and reader.op_type == "Shape":
            continue
        if reader is None or reader.op_type not in MOVEMENTS:
            return None
        for output in reader.output:
            behind = _quantisers(net, output)
            if behind is None:
                return None
            found += behind
    return found


def _parameters(net: Network, node: NodeProto) -> tuple[tuple[str, str], ...]:
    """What tells the parameters of one QuantizeLinear from those of another: values, or names of what is not known."""
    values = [(name, net.values.get(name)) for name in node.input[1:] if name]
    return tuple(
        (str(value.array.dtype), str(value.array.tolist())) if isinstance(value, Constant) else ("", name)
        for name, value in values
    )


def _is_index(net: Network, info: ValueInfoProto) -> bool:
    """Whether an input is read as the indices of a Gather alone."""
    whole = info.type.tensor_type.elem_type in (TensorProto.INT32, TensorProto.INT64)
    return whole and _selects(net, info.name)


def _selects(net: Network, name: str) -> bool:
    """Whether a value is read as indices alone, perhaps after a Cast."""
    for reader in net.flow.readers(name):
        match reader.op_type if reader is not None else "":
            case "Shape":
                continue
            case "Gather" if reader is not None and reader.input[0] != name:
                continue
            case "Cast" | "Identity" if reader is not None and _selects(net, reader.output[0]):
                continue
            case _:
                return False
    return True


def _declare_indices(net: Network, info: ValueInfoProto, batch: int | None) -> Indices:
    shape = _static_shape(info, batch)
    outside: OutsideType = "int64" if info.type.tensor_type.elem_type == TensorProto.INT64 else "int32"
    net.tensors[info.name] = Tensor(info.name, (*shape, 1), "index", outside)
    net.inputs[info.name] = Port(info.name, info.name, outside, shape)
    return Indices(info.name, shape)


def _static_shape(info: ValueInfoProto, batch: int | None) -> tuple[int, ...]:
    dims = info.type.tensor_type.shape.dim
    sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]
    dynamic = [f"axis {axis} ({dims[axis].dim_param or '?'})" for axis, s in enumerate(sizes) if s is None and axis]
    if not sizes:
        raise UnsupportedError("has no dimensions: export the model with a static shape")
    if dynamic:
        raise UnsupportedError(
            f"has a dynamic shape at {', '.join(dynamic)}: export it with static sizes; only the first dimension "
            "(batch) may be symbolic"
        )
    if batch is not None and sizes[0] not in (None, batch):
        raise UnsupportedError(f"has a fixed first dimension of {sizes[0]}, but a batch of {batch} was asked")
    shape = tuple((batch or 1) if size is None else size for size in sizes)
    if 0 in shape:
        raise UnsupportedError(f"is empty: its shape is {list(shape)}")
    return shape


def _type_name(element: int) -> str:
    known = TensorProto.DataType.values()
    return TensorProto.DataType.Name(element) if element in known else f"of unknown type {element}"
