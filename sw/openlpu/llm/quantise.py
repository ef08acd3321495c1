# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A Llama in int8, as the chip computes it: weights by output channel, activations by scales that were calibrated.

`value = code * scale` throughout, symmetric. The gains of a norm are part of the weights behind it, so what a norm
puts out is x / rms(x), which hardly exceeds a few units whatever the model. Activations take one scale for each place
in the network, the largest magnitude that calibration met there; queries, keys and values as well, so a cache never
changes its scale. Embeddings have one scale for each element of the hidden vector; where they are the weights of the
logits, too, the vector that meets them takes their scales.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from openlpu.compiler.graph import INT8_MAX, Float32Array, Int8Array
from openlpu.llm.checkpoint import Checkpoint, LlamaShape
from openlpu.llm.float_model import Floats, forward


@dataclass(frozen=True, eq=False)
class QuantisedMatrix:
    """`codes` int8 (outputs, inputs), and the scale of each output."""

    codes: Int8Array
    scales: Float32Array


@dataclass(frozen=True, eq=False)
class QuantisedNorm:
    """A norm: the scale of what it puts out, and the largest magnitude of what it takes in."""

    output: float
    largest: float


@dataclass(frozen=True, eq=False)
class LlamaNorm(QuantisedNorm):
    """A norm of a Llama, which takes in what another norm before took in and something more."""

    ahead: float
    """The scale of what it takes in over the rms of what the norm before took in, which is 1 in front of the first: of
    codes that do not wait for its own rms."""


@dataclass(frozen=True, eq=False)
class QuantisedLayer:
    """The products of a layer, and the scales of what stands between them."""

    attention_norm: LlamaNorm
    q: QuantisedMatrix
    k: QuantisedMatrix
    v: QuantisedMatrix
    query: float
    key: float
    value: float
    """Of values, and of the averages of them that attention makes, which are no larger."""
    o: QuantisedMatrix
    ffn_norm: LlamaNorm
    gate: QuantisedMatrix
    up: QuantisedMatrix
    ffn_product: float
    down: QuantisedMatrix


@dataclass(frozen=True, eq=False)
class QuantisedLlama:
    """What the chip computes with."""

    name: str
    shape: LlamaShape
    embedding: QuantisedMatrix
    """Codes (vocabulary, hidden), and the scale of each element of the hidden vector."""
    layers: tuple[QuantisedLayer, ...]
    final_norm: LlamaNorm
    final_gains: Float32Array
    """What the elements behind the last norm are multiplied with, (hidden,), in front of its output's scale."""
    output: QuantisedMatrix | None
    """None where the embedding's codes serve again: their scales are part of the gains."""


def quantise(checkpoint: Checkpoint, calibration: Iterable[Sequence[int]]) -> QuantisedLlama:
    """A checkpoint in int8, its activations scaled for texts like `calibration`, sequences of tokens."""
    largest: dict[str, float] = {}
    before: Floats = np.ones((1, 1), np.float32)
    """The rms of what the last norm took in."""
    by_element = _by_output(np.ascontiguousarray(checkpoint.embedding.T))
    gains = checkpoint.final_norm * by_element.scales if checkpoint.shape.tied else np.ones_like(by_element.scales)

    def observe(name: str, value: Floats) -> None:
        nonlocal before
        if name.endswith("_residual"):
            rms = np.sqrt((value * value).mean(axis=-1, keepdims=True) + checkpoint.shape.norm_epsilon)
            gained = value * gains if name == "final_residual" else value
            keep(name.removesuffix("_residual") + "_normal", gained / rms)
            keep(name.removesuffix("_residual") + "_ahead", gained / before)
            before = rms
        keep(name, value)

    def keep(name: str, value: Floats) -> None:
        largest[name] = max(largest.get(name, 0.0), float(np.abs(value).max()))

    for tokens in calibration:
        before = np.ones((1, 1), np.float32)
        forward(checkpoint, tokens, np.float32, observe)

    def scale(name: str) -> float:
        return max(largest[name], 1e-6) / INT8_MAX

    def norm(name: str) -> LlamaNorm:
        return LlamaNorm(scale(f"{name}_normal"), max(largest[f"{name}_residual"], 1e-6), scale(f"{name}_ahead"))

    layers = []
    for number, layer in enumerate(checkpoint.layers):
        prefix = f"layers.{number}."
        layers.append(
            QuantisedLayer(
                attention_norm=norm(f"{prefix}attention"),
                q=_by_output(layer.q * layer.attention_norm),
                k=_by_output(layer.k * layer.attention_norm),
                v=_by_output(layer.v * layer.attention_norm),
                query=scale(f"{prefix}q"),
                key=scale(f"{prefix}k"),
                value=scale(f"{prefix}v"),
                o=_by_output(layer.o),
                ffn_norm=norm(f"{prefix}ffn"),
                gate=_by_output(layer.gate * layer.ffn_norm),
                up=_by_output(layer.up * layer.ffn_norm),
                ffn_product=scale(f"{prefix}ffn_product"),
                down=_by_output(layer.down),
            )
        )
    return QuantisedLlama(
        name=checkpoint.name,
        shape=checkpoint.shape,
        embedding=QuantisedMatrix(np.ascontiguousarray(by_element.codes.T), by_element.scales),
        layers=tuple(layers),
        final_norm=norm("final"),
        final_gains=gains.astype(np.float32),
        output=None if checkpoint.shape.tied else _by_output(checkpoint.output * checkpoint.final_norm),
    )


def _by_output(weights: Float32Array) -> QuantisedMatrix:
    scales = (np.maximum(np.abs(weights).max(axis=1), 1e-9) / INT8_MAX).astype(np.float32)
    codes = np.rint(weights / scales[:, None]).astype(np.int8)
    return QuantisedMatrix(codes, scales)
