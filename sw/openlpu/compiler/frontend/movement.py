# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Operators that move elements and compute nothing: Reshape and its kin, Transpose, Slice, Split, Concat, Expand, Tile,
and Gather by constant indices.

Codes keep their quantisation, so a move between DequantizeLinear and QuantizeLinear moves codes, as in ONNX Runtime.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from onnx import NodeProto

from openlpu.compiler.frontend.moving import emit_rearranged, move, places, transposition
from openlpu.compiler.frontend.network import Network
from openlpu.compiler.frontend.nodes import UnsupportedError, allow, attributes, axis_of, required
from openlpu.compiler.frontend.parameters import CODE_TYPES, outside_type, shift_of
from openlpu.compiler.frontend.values import (
    Activation,
    Arguments,
    Computed,
    Constant,
    Dequantised,
    Moved,
    Value,
)
from openlpu.compiler.graph import ConstantTensor, Tensor

MOVEMENTS = (
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Slice",
    "Split",
    "Concat",
    "Expand",
    "Tile",
    "Gather",
    "Identity",
)
"""The operators of this module."""


def identity(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """Identity, and Dropout, which drops nothing when it infers: the value itself."""
    training = arguments[2]
    if node.op_type == "Dropout" and not (
        training is None or (isinstance(training, Constant) and not training.array.any())
    ):
        raise UnsupportedError("it is in training mode: export for inference")
    return required(arguments[0], "input")


def reshape(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """Reshape, Flatten, Squeeze and Unsqueeze."""
    source = required(arguments[0], "input")
    shape = net.shape(source)
    match node.op_type:
        case "Reshape":
            allow(node, allowzero=0)
            target = _reshaped(shape, _numbers(arguments, 1, "the shape"))
        case "Flatten":
            allow(node, axis=None)
            cut = axis_of(attributes(node).get("axis", 1), len(shape) + 1)
            target = (prod(shape[:cut]), prod(shape[cut:]))
        case "Squeeze":
            given = _axes(node, arguments, len(shape))
            dropped = [axis for axis, size in enumerate(shape) if size == 1] if given is None else given
            target = tuple(size for axis, size in enumerate(shape) if axis not in dropped)
        case _:
            wanted = _numbers_of(node, arguments)
            if wanted is None:
                raise UnsupportedError("its axes are missing")
            rank = len(shape) + len(wanted)
            added = {axis_of(axis, rank) for axis in wanted}
            sizes = iter(shape)
            target = tuple(1 if axis in added else next(sizes) for axis in range(rank))
    return move(net, node.output[0], source, [places(shape).reshape(target)])


def transpose(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """Transpose."""
    allow(node, perm=None)
    source = required(arguments[0], "input")
    shape = net.shape(source)
    order = list(attributes(node).get("perm", range(len(shape))[::-1]))
    return move(net, node.output[0], source, transposition(shape, order))


def slice_(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """Slice, its bounds constants (attributes before opset 10)."""
    allow(node, starts=None, ends=None, axes=None)
    given = attributes(node)
    source = required(arguments[0], "input")
    shape = net.shape(source)
    starts, ends = (
        given[name] if name in given else _numbers(arguments, index, f"its {name}")
        for index, name in enumerate(("starts", "ends"), start=1)
    )
    axes = given.get("axes") or _optional_numbers(arguments, 3, "its axes") or range(len(starts))
    steps = _optional_numbers(arguments, 4, "its steps") or [1] * len(starts)
    cut: list[slice] = [slice(None)] * len(shape)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        at = axis_of(axis, len(shape))
        cut[at] = _slice(start, end, step, shape[at])
    kept = places(shape)[tuple(cut)]
    if kept.size == 0:
        raise UnsupportedError(f"nothing is left of {list(shape)}: empty tensors are not supported")
    return move(net, node.output[0], source, [kept])


def split(net: Network, node: NodeProto, arguments: Arguments) -> tuple[Value, ...]:
    """Split, into given or equal sizes."""
    allow(node, axis=None, split=None, num_outputs=None)
    given = attributes(node)
    source = required(arguments[0], "input")
    shape = net.shape(source)
    axis = axis_of(given.get("axis", 0), len(shape))
    count = len(node.output)
    chunk = -(-shape[axis] // count)
    equal = [min(chunk, shape[axis] - chunk * index) for index in range(count)]
    sizes = given.get("split") or _optional_numbers(arguments, 1, "its sizes") or equal
    if len(sizes) != count or sum(sizes) != shape[axis] or min(sizes) < 1:
        raise UnsupportedError(f"axis {axis} of {list(shape)} cannot be split into sizes {list(sizes)}")
    bounds = np.cumsum([0, *sizes])
    return tuple(
        move(net, name or net.fresh("unused"), source, [places(shape).take(range(start, stop), axis)])
        for name, (start, stop) in zip(node.output, pairwise(bounds.tolist()), strict=True)
    )


def expand(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """Expand and Tile."""
    source = required(arguments[0], "input")
    shape = net.shape(source)
    wanted = _numbers(arguments, 1, "the shape" if node.op_type == "Expand" else "its repeats")
    if node.op_type == "Tile":
        if len(wanted) != len(shape):
            raise UnsupportedError(f"{len(wanted)} repeats of a tensor of {len(shape)} dimensions")
        return move(net, node.output[0], source, [np.tile(places(shape), wanted)])
    try:
        target = np.broadcast_shapes(shape, tuple(wanted))
    except ValueError:
        raise UnsupportedError(f"{list(shape)} does not expand to {wanted}") from None
    return move(net, node.output[0], source, [np.broadcast_to(places(shape), target)])


def take(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """Gather by constant indices."""
    source = required(arguments[0], "input")
    shape = net.shape(source)
    axis = axis_of(attributes(node).get("axis", 0), len(shape))
    indices = arguments[1]
    if not isinstance(indices, Constant):
        raise UnsupportedError("its indices are neither constants nor an input of the network")
    wanted = indices.array.astype(np.int64)
    if wanted.size == 0 or wanted.min() < -shape[axis] or wanted.max() >= shape[axis]:
        raise UnsupportedError(f"its indices are not all within axis {axis} of {list(shape)}")
    return move(net, node.output[0], source, [places(shape).take(wanted % shape[axis], axis)])


def concat(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """Concat of codes, of floats, or of floats that wait to be quantised together."""
    allow(node, axis=None)
    parts = [argument for argument in arguments if argument is not None]
    shapes = [net.shape(part) for part in parts]
    axis = axis_of(attributes(node)["axis"], len(shapes[0]))
    starts = np.cumsum([0, *(prod(shape) for shape in shapes)])
    try:
        source = np.concatenate([places(shape) + start for shape, start in zip(shapes, starts, strict=False)], axis)
    except ValueError:
        raise UnsupportedError(f"shapes {', '.join(str(list(shape)) for shape in shapes)} do not fit") from None
    name = node.output[0]
    if all(isinstance(part, Constant) for part in parts):
        return Constant(np.concatenate([part.array for part in parts if isinstance(part, Constant)], axis))
    if any(isinstance(part, Activation) for part in parts):
        parts = [_codes(net, part, name) for part in parts]
    tensors = [part.tensor for part in parts if isinstance(part, Activation | Dequantised | Computed)]
    if len(tensors) == len(parts) and len({_meaning(net, part) for part in parts}) == 1:
        joined = emit_rearranged(net, name, tensors, source)
        match parts[0]:
            case Dequantised():
                return Dequantised(joined, parts[0].quantisation)
            case Computed():
                return Computed(joined)
            case _:
                return Activation(joined)
    if any(isinstance(part, Activation) for part in parts):
        raise UnsupportedError("it joins codes of different types, or codes with floats")
    return Moved(tuple(parts), source)


def _codes(net: Network, part: Value, name: str) -> Value:
    """A constant of codes as a tensor; anything else as it is."""
    if not isinstance(part, Constant) or part.array.dtype not in CODE_TYPES:
        return part
    outside = outside_type(part.array)
    stored = (part.array.astype(np.int32) - shift_of(outside)).astype(np.int8)
    constant = net.fresh(f"{name}.constant")
    return net.emit(ConstantTensor(constant, stored), Tensor(constant, stored.shape, "int8", outside))


def _meaning(net: Network, part: Value) -> Any:
    """What must be equal for tensors to be joined as they are."""
    match part:
        case Dequantised():
            return part.quantisation, net.tensors[part.tensor].outside
        case Activation():
            tensor = net.tensors[part.tensor]
            return tensor.dtype, tensor.outside
        case _:
            return type(part)


def _slice(start: int, end: int, step: int, size: int) -> slice:
    """ONNX bounds, which may be far outside, as Python takes them."""
    if step == 0:
        raise UnsupportedError("a step is 0")
    first, stop, stride = slice(max(start, -(2**62)), max(end, -(2**62)), step).indices(size)
    return slice(first, None if stop < 0 else stop, stride)


def _axes(node: NodeProto, arguments: Arguments, rank: int) -> list[int] | None:
    wanted = _numbers_of(node, arguments)
    return None if wanted is None else [axis_of(axis, rank) for axis in wanted]


def _numbers_of(node: NodeProto, arguments: Arguments) -> list[int] | None:
    """Axes, an attribute before opset 13."""
    allow(node, axes=None)
    return attributes(node).get("axes") or _optional_numbers(arguments, 1, "its axes")


def _optional_numbers(arguments: Arguments, index: int, what: str) -> list[int] | None:
    return None if arguments[index] is None else _numbers(arguments, index, what)


def _numbers(arguments: Arguments, index: int, what: str) -> list[int]:
    """Whole numbers that the model must hold as a constant."""
    wanted = required(arguments[index], what)
    if not isinstance(wanted, Constant):
        raise UnsupportedError(f"the network computes {what}: export with static shapes")
    return [int(number) for number in wanted.array.ravel()]


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
