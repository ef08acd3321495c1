# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Cases of the catalogue with LSTM, and its exact result."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from onnx import helper
from tests.compiler.onnx_cases import Array, Case, rng_of
from tests.compiler.onnx_models import Builder
from tests.compiler.onnx_movement import random_codes

from openlpu.compiler.frontend.float_bounds import FLOAT_BOUNDS


def exact_lstm(
    x: Array, w: Array, r: Array, b: Array, h: Array, c: Array, backward: bool
) -> tuple[Array, Array, Array]:
    """Y, Y_h and Y_c of one direction, in float64: x [T, B, I], w [4H, I], r [4H, H], b [8H], h and c [B, H]."""
    hidden = r.shape[1]
    y = np.zeros((*x.shape[:2], hidden))
    for time in range(len(x))[:: -1 if backward else 1]:
        gates = x[time] @ w.T + h @ r.T + b[: 4 * hidden] + b[4 * hidden :]
        i, o, f, g = np.split(gates, 4, axis=1)
        i, o, f = (1 / (1 + np.exp(-gate)) for gate in (i, o, f))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        y[time] = h
    return y, h, c


def lstm_cases(seed: int) -> Iterator[Case]:
    """Directions, batches and initial states."""
    for direction in ("forward", "reverse", "bidirectional"):
        for state in ("none", "codes", "floats", "constants"):
            for dtype, per_channel in (("int8", True), ("uint8", False)):
                if direction == "forward" or (state != "none" and per_channel):
                    yield _lstm(f"LSTM-{direction}-{state}-{dtype}-{seed}", seed, direction, state, dtype, per_channel)


def _lstm(name: str, seed: int, direction: str, state: str, dtype: str, per_channel: bool) -> Case:
    b = Builder(rng_of(name, seed))
    times, batch, inputs, hidden = (int(b.rng.integers(1, high)) for high in (6, 5, 20, 30))
    sides = [False, True] if direction == "bidirectional" else [direction == "reverse"]
    count = len(sides)
    x = random_codes(b.rng, dtype, (times, batch, inputs))
    feeds: dict[str, Array] = {"x": x}
    names = [b.dequantise(b.input("x", dtype, [*x.shape]), b.parameters("x", dtype))]
    real: dict[str, Array] = {}
    for key, depth in (("w", inputs), ("r", hidden)):
        shape = (count, 4 * hidden, depth)
        codes = b.constant(key, b.rng.integers(-127, 128, shape), np.int8)
        scale = b.rng.uniform(0.3, 1, 4 * hidden if per_channel else ()) / np.sqrt(depth) / 64
        b.constant(f"{key}_scale", scale, np.float32)
        b.constant(f"{key}_zero", np.zeros(scale.shape), np.int8)
        names.append(b.dequantise(codes, [f"{key}_scale", f"{key}_zero"], axis=1))
        column = b.initialisers[f"{key}_scale"].astype(np.float64).reshape(-1, 1)
        real[key] = b.initialisers[key] * column
    bias = b.rng.normal(0, 0.3, (count, 8 * hidden)).astype(np.float32)
    names += [b.constant("b", bias), ""]
    h, c = (np.zeros((count, batch, hidden)) for _ in range(2))
    if state != "none":
        h, c = b.rng.uniform(-1, 1, h.shape).astype(np.float32), b.rng.normal(0, 1, h.shape).astype(np.float32)
        if state == "constants":
            names += [b.constant("h", h), b.constant("c", c)]
        else:
            names += [_input_state(b, feeds, "h", h, state), b.input("c", "float32", [*c.shape])]
            feeds["c"] = c
            if state == "codes":
                h = feeds["h"].astype(np.float64) * np.float32(0.0078)
    results = ["Y", "Y_h", "Y_c"]
    attributes: dict[str, Any] = {"hidden_size": hidden, "direction": direction}
    b.nodes.append(helper.make_node("LSTM", names, results, name="lstm", **attributes))
    for result in results:
        b.output(result, "float32", 4 if result == "Y" else 3)
    wide = (x.astype(np.float64) - b.initialisers["x_zero"]) * np.float64(b.initialisers["x_scale"])
    runs = [
        exact_lstm(wide, real["w"][d], real["r"][d], bias[d].astype(np.float64), h[d], c[d], backward)
        for d, backward in enumerate(sides)
    ]
    exact = {
        "Y": np.stack([run[0] for run in runs], axis=1),
        "Y_h": np.stack([run[1] for run in runs]),
        "Y_c": np.stack([run[2] for run in runs]),
    }
    entering = max(1.0, float(np.abs(real["r"]).sum(axis=2).max()), float(np.abs(exact["Y_c"]).max()))
    tolerance = {key: FLOAT_BOUNDS["LSTM"].tolerance(value, entering, terms=times) for key, value in exact.items()}
    return Case(name, b.model(), feeds, exact, tolerance, slack=2e-6)


def _input_state(b: Builder, feeds: dict[str, Array], name: str, values: Array, state: str) -> str:
    if state == "floats":
        feeds[name] = values
        return b.input(name, "float32", [*values.shape])
    feeds[name] = random_codes(b.rng, "int8", values.shape)
    return b.dequantise(b.input(name, "int8", [*values.shape]), b.parameters(name, "int8", 0.0078, 0))
