# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A small GPT: what it computes, in numpy floats, and its weights in int8, as the chip computes it.

The network is that of Karpathy's microgpt, one block of it, with n = rmsnorm, which has no gains, at each place:

    x = n(token + position)
    x = x + attention(n(x)) @ o.T,    all heads with keys and values of their own
    x = x + relu(n(x) @ up.T) @ down.T
    logits = x @ output.T
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from openlpu.compiler.graph import INT8_MAX, Float32Array, Int8Array
from openlpu.llm.float_model import Floats, softmax

_TEXTS = 64
_UNSIGNED_MAX = 255
_ROOM = 1.05
"""How much larger than in calibration a value may be."""


@dataclass(frozen=True)
class GptShape:
    """The sizes of a GPT of one block."""

    vocabulary: int = 27
    hidden: int = 24
    heads: int = 4
    ffn: int = 96
    context: int = 16
    norm_epsilon: float = 1e-5

    @property
    def head_size(self) -> int:
        """Elements of a query."""
        return self.hidden // self.heads

    @property
    def macs(self) -> int:
        """Multiply-accumulates of a token, with all positions."""
        attention = 4 * self.hidden**2 + 2 * self.context * self.hidden
        return attention + 2 * self.hidden * self.ffn + self.vocabulary * self.hidden


@dataclass(frozen=True, eq=False)
class Gpt:
    """Weights in float32, matrices as (outputs, inputs)."""

    shape: GptShape
    token: Float32Array
    position: Float32Array
    q: Float32Array
    k: Float32Array
    v: Float32Array
    o: Float32Array
    up: Float32Array
    down: Float32Array
    output: Float32Array


def random_gpt(shape: GptShape, seed: int) -> Gpt:
    """A GPT with weights drawn so that every product keeps the size of what it takes; always the same."""
    random, hidden = np.random.default_rng(seed), shape.hidden

    def matrix(outputs: int, inputs: int) -> Float32Array:
        return random.normal(0, inputs**-0.5, (outputs, inputs)).astype(np.float32)

    return Gpt(
        shape=shape,
        token=random.normal(0, 1, (shape.vocabulary, hidden)).astype(np.float32),
        position=random.normal(0, 1, (shape.context, hidden)).astype(np.float32),
        q=matrix(hidden, hidden),
        k=matrix(hidden, hidden),
        v=matrix(hidden, hidden),
        o=matrix(hidden, hidden),
        up=matrix(shape.ffn, hidden),
        down=matrix(hidden, shape.ffn),
        output=matrix(shape.vocabulary, hidden),
    )


def random_texts(shape: GptShape, seed: int) -> list[list[int]]:
    """Sequences of tokens as long as the context; always the same."""
    texts: list[list[int]] = (
        np.random.default_rng(seed).integers(shape.vocabulary, size=(_TEXTS, shape.context)).tolist()
    )
    return texts


def forward(
    gpt: Gpt, tokens: Sequence[int], observe: Callable[[str, Floats], None] = lambda name, value: None
) -> Floats:
    """The logits behind every token in float64, (tokens, vocabulary); row t knows tokens 0 to t.

    `observe` is told queries, keys and values (q, k, v), the first hidden vector and what is added to it (hidden), that
    behind attention (middle), and what relu leaves of products with a vector that is not normalised (hinge).
    """
    shape, count = gpt.shape, len(tokens)

    def normalised(x: Floats) -> Floats:
        rms: Floats = np.sqrt((x * x).mean(axis=-1, keepdims=True) + shape.norm_epsilon)
        return x / rms

    x = normalised((gpt.token[list(tokens)] + gpt.position[:count]).astype(np.float64))
    q, k, v = (normalised(x) @ matrix.T for matrix in (gpt.q, gpt.k, gpt.v))
    for name, value in (("q", q), ("k", k), ("v", v)):
        observe(name, value)
    queries, keys, values = (part.reshape(count, shape.heads, -1).swapaxes(0, 1) for part in (q, k, v))
    scores = queries @ keys.swapaxes(1, 2) / math.sqrt(shape.head_size)
    scores[:, ~np.tri(count, dtype=np.bool_)] = -np.inf
    attended = (softmax(scores) @ values).swapaxes(0, 1).reshape(count, -1) @ gpt.o.T
    middle = x + attended
    added = np.maximum(normalised(middle) @ gpt.up.T, 0) @ gpt.down.T
    for part in (x, attended, added):
        observe("hidden", part)
    observe("middle", middle)
    observe("hinge", np.maximum(middle @ gpt.up.T, 0))
    logits: Floats = (middle + added) @ gpt.output.T
    return logits


@dataclass(frozen=True, eq=False)
class Codes:
    """A matrix in int8, (outputs, inputs), with one scale for all of it."""

    codes: Int8Array
    scale: float


@dataclass(frozen=True, eq=False)
class QuantisedGpt:
    """Weights in int8, and the scales of what stands between them: the value of a code of 1."""

    shape: GptShape
    token: Int8Array
    position: Int8Array
    """Embeddings, whose sums are bytes, too."""
    embedding: float
    q: Codes
    k: Codes
    v: Codes
    head: float
    """Codes of queries, keys and values are sums over the root of the mean square of codes, times this."""
    o: Codes
    hidden: float
    """Of the first hidden vector, and of everything that is added to it."""
    largest_middle: float
    up: Codes
    hinge: float
    """Codes of what relu leaves are 0 to 255."""
    down: Codes
    output: Codes


def quantise_gpt(gpt: Gpt, calibration: Iterable[Sequence[int]]) -> QuantisedGpt:
    """A GPT in int8, its activations scaled for texts like `calibration`, sequences of tokens."""
    largest: dict[str, float] = {}

    def observe(name: str, value: Floats) -> None:
        largest[name] = max(largest.get(name, 0.0), float(np.abs(value).max()))

    for tokens in calibration:
        forward(gpt, tokens, observe)
    q, k, v, o, up, down, output = map(_codes, (gpt.q, gpt.k, gpt.v, gpt.o, gpt.up, gpt.down, gpt.output))
    # Codes of tokens and of positions are rounded by half a unit each.
    embedding = float(np.abs(gpt.token[:, None] + gpt.position).max()) / (INT8_MAX - 1)
    return QuantisedGpt(
        shape=gpt.shape,
        token=np.rint(gpt.token / embedding).astype(np.int8),
        position=np.rint(gpt.position / embedding).astype(np.int8),
        embedding=embedding,
        q=q,
        k=k,
        v=v,
        head=min(part.scale * INT8_MAX / largest[name] for part, name in ((q, "q"), (k, "k"), (v, "v"))) / _ROOM,
        o=o,
        hidden=largest["hidden"] * _ROOM / INT8_MAX,
        largest_middle=largest["middle"],
        up=up,
        hinge=largest["hinge"] * _ROOM / _UNSIGNED_MAX,
        down=down,
        output=output,
    )


def _codes(weights: Float32Array) -> Codes:
    scale = float(np.abs(weights).max()) / INT8_MAX
    return Codes(np.rint(weights / scale).astype(np.int8), scale)
