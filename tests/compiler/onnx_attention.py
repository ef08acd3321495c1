# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Cases of the catalogue that are whole networks: a layer of a transformer, from tokens to scores of tokens."""

from collections.abc import Iterator

import numpy as np
from onnx import TensorProto, helper
from tests.compiler.onnx_cases import Case, rng_of
from tests.compiler.onnx_models import Builder, run_onnxruntime

_STEPS, _WIDTH, _HEADS, _TOKENS = 5, 12, 3, 20


def transformer_cases(seed: int) -> Iterator[Case]:
    """With and without a mask of what comes later; scores may be off by what a few codes next to ties make of them."""
    for masked in (False, True):
        name = f"Transformer{'-masked' if masked else ''}-{seed}"
        b = Builder(rng_of(name, seed))
        b.inputs.append(helper.make_tensor_value_info("tokens", TensorProto.INT64, [2, _STEPS]))
        _layer(b, masked)
        b.output("scores", "float32", 3)
        model = b.model(20)
        feeds = {"tokens": b.rng.integers(0, _TOKENS, (2, _STEPS))}
        (theirs,) = run_onnxruntime(model, feeds)
        exact = {"scores": theirs.astype(np.float64)}
        yield Case(name, model, feeds, exact, {"scores": np.full(theirs.shape, 0.03 * np.abs(theirs).max())})


def _layer(b: Builder, masked: bool) -> None:
    b.constant("table", b.rng.integers(-127, 128, (_TOKENS, _WIDTH)), np.int8)
    table = b.dequantise("table", b.parameters("table", "int8", 0.02, 0))
    positions = b.constant("positions", b.rng.normal(0, 0.3, (_STEPS, _WIDTH)), np.float32)
    x = b.node("Add", [b.node("Gather", [table, "tokens"], "found"), positions], "embedded")
    x = b.node("Add", [x, _attention(b, _codes(b, _normalised(b, x, "norm1"), 0.02), masked)], "attended")
    inner = b.node("Gelu", [_linear(b, _codes(b, _normalised(b, x, "norm2"), 0.02), "wide", 2 * _WIDTH)], "active")
    x = b.node("Add", [x, _linear(b, _codes(b, inner, 0.02), "narrow", _WIDTH, 2 * _WIDTH)], "passed")
    _linear(b, _codes(b, _normalised(b, x, "norm3"), 0.02), "scores", _TOKENS)


def _attention(b: Builder, x: str, masked: bool) -> str:
    heads = b.constant("heads", [0, _STEPS, _HEADS, _WIDTH // _HEADS], np.int64)
    sides: dict[str, str] = {}
    for side in ("query", "key", "value"):
        codes = _codes(b, _linear(b, x, side, _WIDTH), 0.02)
        apart = b.node("Reshape", [codes, heads], f"{side}_apart")
        order = [0, 2, 3, 1] if side == "key" else [0, 2, 1, 3]
        sides[side] = b.node("Transpose", [apart], f"{side}_heads", perm=order)
    matches = b.node("MatMul", [sides["query"], sides["key"]], "matches")
    weights = b.node("Div", [matches, b.constant("root", (_WIDTH // _HEADS) ** 0.5, np.float32)], "scaled")
    if masked:
        earlier = b.constant("earlier", np.tri(_STEPS), np.bool_)
        lowest = b.constant("lowest", np.finfo(np.float32).min, np.float32)
        weights = b.node("Where", [earlier, weights, lowest], "masked")
    weights = _codes(b, b.node("Softmax", [weights], "weights", axis=-1), 1 / 256, 0)
    together = b.node(
        "Transpose", [b.node("MatMul", [weights, sides["value"]], "mixed")], "together", perm=[0, 2, 1, 3]
    )
    flat = b.node("Reshape", [together, b.constant("flat", [0, 0, _WIDTH], np.int64)], "joined")
    return _linear(b, _codes(b, flat, 0.01), "projected", _WIDTH)


def _normalised(b: Builder, x: str, name: str) -> str:
    scale = b.constant(f"{name}_scale", b.rng.normal(1, 0.1, _WIDTH), np.float32)
    bias = b.constant(f"{name}_bias", b.rng.normal(0, 0.1, _WIDTH), np.float32)
    return b.node("LayerNormalization", [x, scale, bias], name)


def _linear(b: Builder, x: str, name: str, width: int, depth: int = _WIDTH) -> str:
    codes = b.constant(f"{name}_w", b.rng.integers(-127, 128, (depth, width)), np.int8)
    weights = b.dequantise(codes, b.parameters(codes, "int8", 1 / 70 / depth**0.5, 0))
    bias = b.constant(f"{name}_b", b.rng.normal(0, 0.1, width), np.float32)
    return b.node("Add", [b.node("MatMul", [x, weights], f"{name}_product"), bias], name)


def _codes(b: Builder, x: str, scale: float, zero: int = 128) -> str:
    parameters = b.parameters(f"{x}_codes", "uint8", scale, zero)
    return b.dequantise(b.quantise(x, parameters, f"{x}_codes"), parameters)
