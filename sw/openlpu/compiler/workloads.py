# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Networks made to measure: matrix products of any shape, for benchmarks."""

from __future__ import annotations

import numpy as np

from openlpu.compiler.graph import Graph, MatMul, Port, Requantise, Tensor


def gemm(m: int, k: int, n: int, seed: int) -> Graph:
    """int8 (m, k) times random int8 weights (k, n), requantised to int8.

    The multiplier spreads the results over the int8 range, so that a wrong bit anywhere shows.
    """
    random = np.random.default_rng(seed)
    weights = random.integers(-128, 128, (k, n), dtype=np.int8)
    multiplier = np.array(1 / (128 * np.sqrt(k)), np.float32)
    scale = np.float32(1)
    tensors = (
        Tensor("x", (m, k), "int8", "int8", scale, 0),
        Tensor("y", (m, n), "int8", "int8", scale, 0),
    )
    op = MatMul("y", "x", (weights,), None, Requantise((multiplier,), 0))
    return Graph(
        f"gemm_{m}x{k}x{n}", tensors, (op,), (Port("x", "x", "int8", (m, k)),), (Port("y", "y", "int8", (m, n)),)
    )
