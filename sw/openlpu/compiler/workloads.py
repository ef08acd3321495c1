# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Networks made to measure: matrix products of any shape, a step of an LSTM, the feed-forward part of a Llama."""

from __future__ import annotations

from typing import Literal

import numpy as np

from openlpu.compiler.graph import (
    Float32Array,
    FloatStep,
    Graph,
    Int8Array,
    MatMul,
    Op,
    Pointwise,
    Port,
    Requantise,
    Tensor,
)

PRODUCT_SCALE = 0.125
"""Of what `down` multiplies: the step of its int8 codes."""


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


def feed_forward(m: int, hidden: int, ffn: int, seed: int) -> Graph:
    """The feed-forward part of a Llama, `down(silu(gate(x)) * up(x))`, with random int8 weights and a scale for each
    output.

    Input "x" is int8 (m, hidden), output "y" float32 (m, hidden). What `down` multiplies is int8, by one scale.
    """
    random = np.random.default_rng(seed)
    ops: list[Op] = []
    tensors = [Tensor("x", (m, hidden), "int8", "int8")]

    def weights(inputs: int, outputs: int, deviation: float) -> tuple[Int8Array, Float32Array]:
        """Weights, and scales with which products of random codes have this standard deviation, more or less."""
        codes = random.integers(-128, 128, (inputs, outputs), dtype=np.int8)
        scales = random.uniform(0.5, 1.5, outputs) * deviation / (74 * 74 * np.sqrt(inputs))
        return codes, scales.astype(np.float32)

    def add(op: Op, lanes: int, dtype: Literal["int8", "float32"] = "float32") -> None:
        tensors.append(Tensor(op.output, (m, lanes), dtype, dtype))
        ops.append(op)

    gate, gate_scales = weights(hidden, ffn, 2.0)
    up, up_scales = weights(hidden, ffn, 2.0)
    down, down_scales = weights(ffn, hidden, 1.0)
    # silu(g) = g / (1 + exp(-g)): both factors are taken with the opposite sign. The scales of `up`, and that of what
    # `down` multiplies, are factors of silu: so behind the sums of `up` there is but one multiplication. And no step
    # reads what another one of the same chain reads at another time.
    logistic = (FloatStep("exp"), FloatStep("fadd", np.array(1, np.float32)), FloatStep("recip"))
    scaled_silu = (FloatStep("fmul", "gate"), FloatStep("fmul", -up_scales / np.float32(PRODUCT_SCALE)))
    add(MatMul("gate", "x", (gate,), None, None, (FloatStep("fmul", -gate_scales),)), ffn)
    add(Pointwise("logistic", "gate", 0, logistic, None), ffn)
    add(Pointwise("silu", "logistic", 0, scaled_silu, None), ffn)
    add(MatMul("product", "x", (up,), None, Requantise((), 0), (FloatStep("fmul", "silu"),)), ffn, "int8")
    scaled = FloatStep("fmul", down_scales * np.float32(PRODUCT_SCALE))
    add(MatMul("y", "product", (down,), None, None, (scaled,)), hidden)
    return Graph(
        f"ffn_{m}x{hidden}x{ffn}",
        tuple(tensors),
        tuple(ops),
        (Port("x", "x", "int8", (m, hidden)),),
        (Port("y", "y", "float32", (m, hidden)),),
    )
