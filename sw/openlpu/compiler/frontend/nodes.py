# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""One ONNX node: its name in messages, its attributes, the arguments it cannot do without, and its refusal."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, numpy_helper

from openlpu.compiler.frontend.values import Arguments, Constant, DequantisedConstant, Value


class UnsupportedError(Exception):
    """What makes `node` unsupported, or the node being read when None; caught by the walk, which adds its name."""

    def __init__(self, message: str, node: NodeProto | None = None) -> None:
        super().__init__(message)
        self.node = node


def title(node: NodeProto) -> str:
    """How messages name a node."""
    return f"{node.op_type} {node.name!r}" if node.name else f"{node.op_type} (unnamed, output {node.output[0]!r})"


def attributes(node: NodeProto) -> dict[str, Any]:
    """The attributes of a node, by name."""
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def allow(node: NodeProto, **allowed: Any) -> None:
    """Refuse attributes that are not in `allowed`, or that differ from their one allowed value (None: any value)."""
    for name, value in attributes(node).items():
        if name not in allowed:
            raise UnsupportedError(f"attribute {name!r} is not supported: remove it")
        if allowed[name] is not None and value != allowed[name]:
            raise UnsupportedError(f"attribute {name} = {value} is not supported: only {allowed[name]} is")


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the front."""
    if not -rank <= axis < rank:
        raise UnsupportedError(f"axis {axis} is not one of {rank}")
    return axis % rank


def array(tensor: TensorProto) -> NDArray[Any]:
    """The contents of an initialiser or of a Constant node."""
    try:
        return numpy_helper.to_array(tensor)
    except (KeyError, TypeError, ValueError):
        raise UnsupportedError("its contents do not fit its type and shape: export the model again") from None


def required(argument: Value | None, what: str) -> Value:
    """An argument that must not be left out."""
    if argument is None:
        raise UnsupportedError(f"{what} is missing")
    return argument


def clip_bounds(node: NodeProto, arguments: Arguments) -> tuple[float, float]:
    """Lower and upper bound of a Relu or Clip node."""
    if node.op_type == "Relu":
        return 0.0, float("inf")
    given = attributes(node)
    bounds = [float(given.get("min", -np.inf)), float(given.get("max", np.inf))]
    for index, argument in enumerate(arguments[1:3]):
        match argument:
            case None:
                continue
            case Constant() if argument.array.size == 1:
                bounds[index] = float(argument.array.item())
            case DequantisedConstant() if argument.value.size == 1:
                bounds[index] = float(argument.value.item())
            case _:
                raise UnsupportedError("a bound is not a constant number")
    return bounds[0], bounds[1]
