# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What a Llama computes, in numpy floats and straight from its definition: the yardstick of what the chip computes.

A whole sequence at once, without a cache. With x the residual stream, one row a token, a layer is

    x = x + attention(norm(x)) @ o.T
    x = x + (silu(n @ gate.T) * (n @ up.T)) @ down.T,    n = norm(x)

and the logits are `norm(x) @ output.T`.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from openlpu.compiler.graph import Float32Array
from openlpu.llm.checkpoint import Checkpoint, LayerWeights, LlamaShape

Floats: TypeAlias = NDArray[Any]
"""float32 or float64: what the caller asked for."""

Observer: TypeAlias = Callable[[str, Floats], None]
"""Is told the name and the value of an intermediate result, and must not change it. Row t belongs to token t:

    layers.N.attention_residual  (tokens, hidden)              the residual stream in front of the norm
    layers.N.attention_input     (tokens, hidden)              normalised: what q, k and v are products of
    layers.N.q                   (tokens, heads, head_size)    behind rotary embedding
    layers.N.k                   (tokens, kv_heads, head_size) behind rotary embedding
    layers.N.v                   (tokens, kv_heads, head_size)
    layers.N.attended            (tokens, heads * head_size)   what o is multiplied with
    layers.N.ffn_residual        (tokens, hidden)              the residual stream in front of the norm
    layers.N.ffn_input           (tokens, hidden)              normalised: what gate and up are products of
    layers.N.gate                (tokens, ffn)                 in front of silu
    layers.N.up                  (tokens, ffn)
    layers.N.ffn_product         (tokens, ffn)                 silu(gate) * up: what down is multiplied with
    final_residual               (tokens, hidden)              the residual stream in front of the norm
    final_input                  (tokens, hidden)              normalised: what the logits are products of
"""


def forward(
    checkpoint: Checkpoint,
    tokens: Sequence[int],
    dtype: type[np.float32] | type[np.float64] = np.float64,
    observe: Observer | None = None,
) -> Floats:
    """The logits behind every token, (tokens, vocabulary); row t knows tokens 0 to t.

    All arithmetic is in `dtype`, float32 or float64. Raises ValueError for tokens that the vocabulary does not have.
    """
    shape = checkpoint.shape
    if not all(0 <= token < shape.vocabulary for token in tokens):
        raise ValueError(f"{checkpoint.name}: its tokens are 0 to {shape.vocabulary - 1}")

    def see(place: str, name: str, value: Floats) -> None:
        if observe is not None:
            observe(place + name, value)

    cosine, sine = rotations(shape, len(tokens))
    turns = cosine.astype(dtype), sine.astype(dtype)
    x: Floats = checkpoint.embedding[np.asarray(tokens, np.intp)].astype(dtype)
    for number, layer in enumerate(checkpoint.layers):
        here = partial(see, f"layers.{number}.")
        here("attention_residual", x)
        x = x + _attention(shape, layer, normalise(x, layer.attention_norm, shape.norm_epsilon), turns, here)
        here("ffn_residual", x)
        x = x + _feed_forward(layer, normalise(x, layer.ffn_norm, shape.norm_epsilon), here)
    see("", "final_residual", x)
    x = normalise(x, checkpoint.final_norm, shape.norm_epsilon)
    see("", "final_input", x)
    return x @ checkpoint.output.T


def cross_entropy(logits: Floats, targets: Sequence[int]) -> NDArray[np.float64]:
    """How unexpected each target was, in nats, given the row of logits that predicts it."""
    rows = np.asarray(logits, np.float64)
    above: NDArray[np.float64] = rows - rows.max(axis=-1, keepdims=True)
    chosen: NDArray[np.float64] = above[np.arange(len(above)), np.asarray(targets, np.intp)]
    total: NDArray[np.float64] = np.exp(above).sum(axis=-1)
    return np.log(total) - chosen


def perplexity(losses: NDArray[np.float64]) -> float:
    """Of a text, from the cross entropies of its tokens: between how many equally likely tokens a model wavers."""
    return float(np.exp(losses.mean()))


def normalise(x: Floats, gain: Float32Array, epsilon: float) -> Floats:
    """RMSNorm: every row divided by the root of its mean square, times gains."""
    mean_square: Floats = (x * x).mean(axis=-1, keepdims=True)
    return x / np.sqrt(mean_square + epsilon) * gain


def softmax(scores: Floats) -> Floats:
    """Along the last axis."""
    powers: Floats = np.exp(scores - scores.max(axis=-1, keepdims=True))
    total: Floats = powers.sum(axis=-1, keepdims=True)
    return powers / total


def silu(x: Floats) -> Floats:
    """`x / (1 + exp(-x))`, for any x without overflow."""
    return x * (0.5 + 0.5 * np.tanh(0.5 * x))


def rotations(shape: LlamaShape, tokens: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cosines and sines of rotary embedding for positions 0 to `tokens`, each (tokens, head_size / 2).

    Pair i of position p is turned by `p * rope_theta ** (-2 * i / head_size)`.
    """
    exponents = np.arange(0, shape.head_size, 2) / shape.head_size
    angles = np.outer(np.arange(tokens), shape.rope_theta**-exponents)
    return np.cos(angles), np.sin(angles)


def rotate(heads: Floats, cosine: Floats, sine: Floats) -> Floats:
    """Turn the pairs of every head; element i of the first half pairs with element i of the second."""
    low, high = np.split(heads, 2, axis=-1)
    cosine, sine = cosine[:, None, :], sine[:, None, :]
    return np.concatenate((low * cosine - high * sine, high * cosine + low * sine), axis=-1)


def _attention(
    shape: LlamaShape, layer: LayerWeights, x: Floats, turns: tuple[Floats, Floats], see: Observer
) -> Floats:
    tokens = len(x)
    see("attention_input", x)
    q = rotate((x @ layer.q.T).reshape(tokens, shape.heads, shape.head_size), *turns)
    k = rotate((x @ layer.k.T).reshape(tokens, shape.kv_heads, shape.head_size), *turns)
    v = (x @ layer.v.T).reshape(tokens, shape.kv_heads, shape.head_size)
    see("q", q)
    see("k", k)
    see("v", v)
    # From here on (kv_heads, group, tokens, ...): a head of keys and values serves its group of heads.
    queries = q.reshape(tokens, shape.kv_heads, shape.group, shape.head_size).transpose(1, 2, 0, 3)
    keys, values = k.transpose(1, 2, 0)[:, None], v.transpose(1, 0, 2)[:, None]
    scores = queries @ keys / math.sqrt(shape.head_size)
    scores[..., ~np.tri(tokens, dtype=np.bool_)] = -np.inf
    attended = (softmax(scores) @ values).transpose(2, 0, 1, 3).reshape(tokens, shape.heads * shape.head_size)
    see("attended", attended)
    return attended @ layer.o.T


def _feed_forward(layer: LayerWeights, x: Floats, see: Observer) -> Floats:
    see("ffn_input", x)
    gate, up = x @ layer.gate.T, x @ layer.up.T
    see("gate", gate)
    see("up", up)
    product = silu(gate) * up
    see("ffn_product", product)
    return product @ layer.down.T
