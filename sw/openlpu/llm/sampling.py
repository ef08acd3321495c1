# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Tokens drawn by the host from the logits of a chip, instead of the likeliest ones that it finds itself."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from openlpu.compiler.graph import Float32Array
from openlpu.llm.answering import Answer
from openlpu.llm.float_model import softmax
from openlpu.llm.session import Session


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn: from the `top` likeliest (0: from all), with logits divided by `temperature`, above 0."""

    temperature: float
    top: int = 0
    seed: int = 0


def sample(
    session: Session, logits: Float32Array, count: int, sampling: Sampling, ends: Collection[int] = ()
) -> Answer:
    """Up to `count` tokens, until one of `ends`: the first by `logits`, of the vocabulary, and each further one by what
    the chip says to the last.

    Raises:
        InputError: when they do not fit the context.
    """
    rng = np.random.default_rng(sampling.seed)
    before, vocabulary = session.cycles, len(logits)
    tokens: list[int] = []
    while len(tokens) < count:
        token = _draw(logits, sampling, rng)
        if token in ends:
            return Answer(tokens, len(tokens), 1, session.cycles - before, ended=True)
        tokens.append(token)
        logits = session.feed([token])[0, :vocabulary]
    return Answer(tokens, len(tokens), 1, session.cycles - before, ended=False)


def _draw(logits: Float32Array, sampling: Sampling, rng: np.random.Generator) -> int:
    candidates = np.argsort(-logits, kind="stable")[: sampling.top or None]
    chances = softmax(logits[candidates].astype(np.float64) / sampling.temperature)
    return int(candidates[rng.choice(len(candidates), p=chances)])
