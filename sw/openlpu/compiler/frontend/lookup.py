# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Gather: rows of a constant table by indices that the host gives, or elements by constant indices."""

import numpy as np
from onnx import NodeProto

from openlpu.compiler.frontend.movement import take
from openlpu.compiler.frontend.network import Network
from openlpu.compiler.frontend.nodes import UnsupportedError, allow, attributes, required
from openlpu.compiler.frontend.parameters import CODE_TYPES, outside_type, shift_of, single
from openlpu.compiler.frontend.values import (
    Activation,
    Arguments,
    Computed,
    Constant,
    Dequantised,
    DequantisedConstant,
    Indices,
    Value,
)
from openlpu.compiler.graph import Lookup, OutsideType, Tensor


def gather(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """Gather: a lookup where the indices are an input of the network, and else a move."""
    allow(node, axis=None)
    table, indices = required(arguments[0], "its table"), required(arguments[1], "its indices")
    if not isinstance(indices, Indices):
        return take(net, node, arguments)
    if attributes(node).get("axis", 0) != 0:
        raise UnsupportedError("indices of the network's input select from axis 0 alone: transpose the table")
    match table:
        case Constant():
            return _looked_up(net, node, table, indices)
        case DequantisedConstant():
            zero = table.zero_point.reshape(-1)
            codes = _looked_up(net, node, Constant(table.codes), indices)
            return Dequantised(codes.tensor, single(table.scale, zero, "a table"))
        case _:
            raise UnsupportedError("its table is not a constant")


def _looked_up(net: Network, node: NodeProto, table: Constant, indices: Indices) -> Activation | Computed:
    rows = table.array
    if rows.ndim != 2 or rows.dtype not in (*CODE_TYPES, np.float32) or 0 in rows.shape:
        raise UnsupportedError(
            f"its table is {rows.dtype}{list(rows.shape)}: an int8, uint8 or float32 matrix is needed"
        )
    if len(rows) > 2**16:
        raise UnsupportedError(f"its table has {len(rows)} rows: an index has two bytes")
    name, shape = node.output[0], (*indices.shape, rows.shape[1])
    if rows.dtype == np.float32:
        net.emit(Lookup(name, indices.tensor, rows.astype(np.float32)), Tensor(name, shape, "float32", "float32"))
        return Computed(name)
    outside: OutsideType = outside_type(rows)
    stored = (rows.astype(np.int32) - shift_of(outside)).astype(np.int8)
    return net.emit(Lookup(name, indices.tensor, stored), Tensor(name, shape, "int8", outside))
