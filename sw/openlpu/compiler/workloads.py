# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Networks made to measure: matrix products of any shape, and a step of an LSTM."""

from __future__ import annotations

from typing import Literal

import numpy as np

from openlpu.compiler.graph import FloatStep, Graph, MatMul, Op, Pointwise, Port, Requantise, Tensor


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


def lstm_step(hidden: int, batch: int, seed: int) -> Graph:
    """One step of an LSTM layer with as many inputs as hidden units and random int8 weights.

    Input "xh" is int8 (batch, 2 x hidden), the input beside the hidden state; "c" and output "c_next" are the cell
    state, float32 (batch, hidden), and output "h" is the hidden state, int8, in units of 1/128.
    """
    random = np.random.default_rng(seed)
    shape = (batch, hidden)
    tensors = [Tensor("xh", (batch, 2 * hidden), "int8", "int8"), Tensor("c", shape, "float32", "float32")]
    ops: list[Op] = []
    # Sums of a standard deviation near 2, so that gates open and close.
    scale = np.float32(2 / (74 * 74 * np.sqrt(2 * hidden)))

    def add(op: Op, dtype: Literal["int8", "float32"] = "float32") -> None:
        tensors.append(Tensor(op.output, shape, dtype, dtype))
        ops.append(op)

    def constant(value: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return np.array(value, np.float32)

    for gate in ("i", "f", "o", "g"):
        weights = random.integers(-128, 128, (2 * hidden, hidden), dtype=np.int8)
        bias = random.normal(0, 0.5, hidden).astype(np.float32)
        # The logistic function of v is 1 / (1 + exp(-v)): its sign is in the scale and in the bias.
        logistic = (FloatStep("exp"), FloatStep("fadd", constant(1)), FloatStep("recip"))
        sign, activation = (1, (FloatStep("tanh"),)) if gate == "g" else (-1, logistic)
        steps = (FloatStep("fmul", constant(float(sign * scale))), FloatStep("fadd", sign * bias), *activation)
        add(MatMul(gate, "xh", (weights,), None, None, steps))
    add(Pointwise("ig", "i", 0, (FloatStep("fmul", "g"),), None))
    add(Pointwise("c_next", "f", 0, (FloatStep("fmul", "c"), FloatStep("fadd", "ig")), None))
    to_codes = (FloatStep("tanh"), FloatStep("fmul", "o"), FloatStep("fmul", constant(128)))
    add(Pointwise("h", "c_next", 0, to_codes, Requantise((), 0)), "int8")
    return Graph(
        f"lstm_{hidden}_batch_{batch}",
        tuple(tensors),
        tuple(ops),
        (Port("xh", "xh", "int8", (batch, 2 * hidden)), Port("c", "c", "float32", shape)),
        (Port("c_next", "c_next", "float32", shape), Port("h", "h", "int8", shape)),
    )
