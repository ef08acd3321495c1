# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Elements in another order: of tensors, and of everything that a value can be.

A move is an array of the result's shape that holds, for each element, its place in the flattened operand, as in
`graph.Rearrange`. The chip does two kinds at little cost, so a general transposition is up to three moves: two that
keep the last axis whole, and between them one that exchanges the last two axes of a batch of matrices.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openlpu.compiler.frontend.fusion import lets_quantisation_pass
from openlpu.compiler.frontend.network import Network
from openlpu.compiler.frontend.nodes import UnsupportedError
from openlpu.compiler.frontend.values import (
    Activation,
    Computed,
    Constant,
    Dequantised,
    DequantisedConstant,
    Expression,
    FloatInput,
    Indices,
    Moved,
    Value,
)
from openlpu.compiler.graph import Rearrange, Reshape, operands

Move = NDArray[np.int64]


def places(shape: tuple[int, ...]) -> Move:
    """The move that changes nothing."""
    return np.arange(prod(shape), dtype=np.int64).reshape(shape)


def transposition(shape: tuple[int, ...], order: Sequence[int]) -> list[Move]:
    """The moves that put the axes of a tensor of `shape` in another order; a last one gives the shape its ones."""
    target = tuple(shape[axis] for axis in order)
    long = [axis for axis in order if shape[axis] != 1]
    before = sorted(long)
    if long == before:
        return [places(shape).reshape(target)]
    last, column = before[-1], long[-1]
    rest = [axis for axis in long if axis not in (last, column)]
    steps = [long] if last == column else [[*rest, column, last], [*rest, last, column], long]
    # Ones keep their elements in place; only where they are last do they need a move, for rows get another length.
    moves = [places(tuple(shape[axis] for axis in before))] if shape[-1] == 1 else []
    current = before
    for step in steps:
        if step != current:
            sizes = tuple(shape[axis] for axis in current)
            moves.append(places(sizes).transpose([current.index(axis) for axis in step]))
            current = step
    return [*moves, places(target)] if target[-1] == 1 else [*moves[:-1], moves[-1].reshape(target)]


def rows_read(source: Move, lanes: Sequence[tuple[int, int]]) -> int:
    """How many rows a row of a move's result takes elements from, at most; `lanes` has size and lanes of each part."""
    rows: list[Move] = []
    for size, width in lanes:
        start = int(rows[-1][-1]) + 1 if rows else 0
        rows.append(start + np.arange(size) // width)
    read = np.sort(np.concatenate(rows)[source.reshape(-1, source.shape[-1])], axis=1)
    return int((np.diff(read, axis=1) != 0).sum(axis=1).max(initial=0)) + 1


def is_matrix_transpose(source: Move, lanes: int) -> bool:
    """Whether a move from a tensor of rows of `lanes` exchanges the last two axes of a batch of matrices."""
    rows = source.shape[-1] if source.ndim else 1
    if rows == 1 or lanes == 1 or source.size % (rows * lanes):
        return False
    matrices = np.arange(source.size).reshape(-1, rows, lanes).transpose(0, 2, 1)
    return np.array_equal(source.ravel(), matrices.ravel())


def emit_rearranged(net: Network, name: str, parts: Sequence[str], source: Move) -> str:
    """The tensor that holds elements of `parts` in the order of `source`: `name`, or a part that is so already."""
    first = net.tensors[parts[0]]
    output = replace(first, name=name, shape=source.shape)
    if len(parts) == 1 and source.size == prod(first.shape) and np.array_equal(source.ravel(), np.arange(source.size)):
        if source.shape == first.shape:
            return first.name
        if source.shape[-1:] == first.shape[-1:]:
            net.emit(Reshape(name, first.name), output)
            return name
    net.emit(Rearrange(name, tuple(parts), np.ascontiguousarray(source)), output)
    return name


def move(net: Network, name: str, value: Value, moves: Sequence[Move]) -> Value:
    """`value` after `moves`, on the chip as tensor `name`."""
    match value:
        case Constant():
            return Constant(_moved(value.array, moves))
        case DequantisedConstant():
            shape = value.codes.shape
            scale, zero = (_narrow(_moved(np.broadcast_to(a, shape), moves)) for a in (value.scale, value.zero_point))
            return DequantisedConstant(_moved(value.codes, moves), scale, zero)
        case Dequantised() | Activation() | Computed():
            return replace(value, tensor=_tensor(net, name, value.tensor, moves))
        case FloatInput() if _are_views(moves, prod(value.shape)):
            return replace(value, shape=moves[-1].shape)
        case FloatInput() | Expression() | Moved():
            passes = lets_quantisation_pass(net, name)
            for step in moves:
                value = Moved((value,), step, passes)
            return value
        case Indices():
            raise UnsupportedError(f"input {value.tensor!r} holds indices, which only a Gather may read")


def _tensor(net: Network, name: str, source: str, moves: Sequence[Move]) -> str:
    if _are_views(moves, prod(net.tensors[source].shape)) and _is_free_input(net, source):
        net.tensors[source] = replace(net.tensors[source], shape=moves[-1].shape)
        return source
    for step in moves[:-1]:
        source = emit_rearranged(net, net.fresh(f"{name}.moved"), (source,), step)
    return emit_rearranged(net, name, (source,), moves[-1])


def _are_views(moves: Sequence[Move], size: int) -> bool:
    """Whether moves of `size` elements only change the shape."""
    return all(np.array_equal(step.ravel(), np.arange(size)) for step in moves)


def _moved(array: NDArray[Any], moves: Sequence[Move]) -> NDArray[Any]:
    for step in moves:
        array = array.ravel()[step]
    return array


def _narrow(array: NDArray[Any]) -> NDArray[Any]:
    """One element along every axis along which all are equal."""
    for axis in range(array.ndim):
        first = array.take([0], axis)
        array = first if array.size and bool((array == first).all()) else array
    return array


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
