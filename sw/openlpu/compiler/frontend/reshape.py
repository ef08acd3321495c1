# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Reshape and Flatten: free at an input of the network, a view of the same vectors anywhere else."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from onnx import NodeProto

from openlpu.compiler.frontend.network import Network
from openlpu.compiler.frontend.nodes import UnsupportedError, allow, attributes, required
from openlpu.compiler.frontend.values import (
    Activation,
    Arguments,
    Constant,
    Dequantised,
    Expression,
    FloatInput,
    Value,
)
from openlpu.compiler.graph import Reshape, operands


def reshape(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """Reshape or Flatten of any value."""
    source = required(arguments[0], "input")
    target = _target_shape(node, net.shape(source), arguments)
    match source:
        case FloatInput():
            return replace(source, shape=target)
        case Dequantised():
            return replace(source, tensor=_view(net, node, source.tensor, target))
        case Activation():
            return Activation(_view(net, node, source.tensor, target))
        case Constant():
            return Constant(source.array.reshape(target))
        case _:
            return Expression(node, (source,), target)


def _target_shape(node: NodeProto, shape: tuple[int, ...], arguments: Arguments) -> tuple[int, ...]:
    if node.op_type == "Flatten":
        allow(node, axis=None)
        axis = attributes(node).get("axis", 1)
        axis += len(shape) if axis < 0 else 0
        return (prod(shape[:axis]), prod(shape[axis:]))
    allow(node, allowzero=0)
    wanted = required(arguments[1], "shape")
    if not isinstance(wanted, Constant):
        raise UnsupportedError("the shape is computed by the network: export with static shapes")
    return _reshaped(shape, [int(size) for size in wanted.array.ravel()])


def _reshaped(shape: tuple[int, ...], wanted: Sequence[int]) -> tuple[int, ...]:
    """The shape that ONNX Reshape gives: 0 copies a dimension, -1 takes what is left."""
    target = [shape[axis] if size == 0 and axis < len(shape) else size for axis, size in enumerate(wanted)]
    if -1 in target:
        known = prod(size for size in target if size != -1)
        target[target.index(-1)] = prod(shape) // known if known > 0 else 0
    if prod(target) != prod(shape) or min(target, default=1) < 1:
        raise UnsupportedError(
            f"{list(shape)} cannot be reshaped to {list(wanted)}: a batch size may be fixed in the shape; use -1 or 0"
        )
    return tuple(target)


def _view(net: Network, node: NodeProto, name: str, target: tuple[int, ...]) -> str:
    """A view of a tensor; an input that nothing else reads takes the new shape itself, whatever it is."""
    tensor = net.tensors[name]
    if tensor.shape == target:
        return name
    if _is_free_input(net, name):
        net.tensors[name] = replace(tensor, shape=target)
        return name
    if target[-1:] != tensor.shape[-1:]:
        raise UnsupportedError(
            f"from {list(tensor.shape)} to {list(target)} inside the network: the last dimension must not change "
            "(it may at an input)"
        )
    view = replace(tensor, name=node.output[0], shape=target)
    net.emit(Reshape(view.name, name), view)
    return view.name


def _is_free_input(net: Network, name: str) -> bool:
    """Whether a tensor is an input that one chain of nodes alone reads, so that its shape can be chosen freely."""
    port = next((port.name for port in net.inputs.values() if port.tensor == name), None)
    if port is None or any(name in operands(op) for op in net.ops):
        return False
    aliases = [
        key
        for key, value in net.values.items()
        if getattr(value, "tensor", None) == name or getattr(value, "port", None) == port
    ]
    return all(net.flow.reads(alias) <= 1 for alias in aliases)
