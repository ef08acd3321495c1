# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""One small model or more for every operator, with inputs and what may be off, for whoever executes a graph.

    for case in catalogue():
        graph = import_model(case.model)
        results = ...                             # of any executor, from case.inputs
        case.check(results)                       # against the exact result, and against ONNX Runtime

A result of integers is to equal ONNX Runtime's. One of floats is to be within `FLOAT_BOUNDS` of the exact result,
computed in float64 from the same inputs, and within `slack` more of ONNX Runtime's, which is not exact either.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from tests.compiler import onnx_attention, onnx_floats, onnx_lstm, onnx_movement, onnx_products, onnx_versions
from tests.compiler.onnx_cases import Case

GROUPS: Mapping[str, Callable[[int], Iterator[Case]]] = {
    "unary": onnx_floats.unary_cases,
    "binary": onnx_floats.binary_cases,
    "power": onnx_floats.power_cases,
    "rows": onnx_floats.row_cases,
    "dense": onnx_floats.dense_cases,
    "codes": onnx_floats.quantised_float_cases,
    "movement": onnx_movement.movement_cases,
    "concat": onnx_movement.concat_cases,
    "where": onnx_movement.where_cases,
    "product": onnx_products.product_cases,
    "constant product": onnx_products.constant_product_cases,
    "broadcast": onnx_products.broadcast_cases,
    "lookup": onnx_products.lookup_cases,
    "lstm": onnx_lstm.lstm_cases,
    "versions": onnx_versions.version_cases,
    "transformer": onnx_attention.transformer_cases,
}
"""The cases of each kind of operator, for a seed."""


def catalogue(seeds: Sequence[int] = (0,)) -> Iterator[Case]:
    """Every case, for each of some seeds."""
    for seed in seeds:
        for cases in GROUPS.values():
            yield from cases(seed)
