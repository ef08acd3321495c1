# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Texts to calibrate with: what a model itself would write, so that nobody has to bring any."""

from __future__ import annotations

import numpy as np

from openlpu.llm.checkpoint import Checkpoint
from openlpu.llm.float_model import forward

_SEQUENCES, _LENGTH, _SEED = 8, 48, 2026
_ROUNDS = 8


def own_texts(checkpoint: Checkpoint) -> list[list[int]]:
    """A few sequences of tokens, drawn from what the float model expects; always the same.

    All tokens of a sequence are drawn at once, behind those that were drawn the round before, with the same luck each
    time (Gumbel noise): every round makes at least one more of them what it would be if they were drawn one by one.
    """
    shape, rng = checkpoint.shape, np.random.default_rng(_SEED)
    length = min(_LENGTH, shape.context)
    texts = []
    for _ in range(_SEQUENCES):
        tokens = rng.integers(shape.vocabulary, size=length)
        tokens[0] = tokens[0] if shape.bos is None else shape.bos
        luck = rng.gumbel(size=(length - 1, shape.vocabulary))
        for _ in range(_ROUNDS):
            tokens[1:] = (forward(checkpoint, tokens.tolist(), np.float32)[:-1] + luck).argmax(axis=-1)
        texts.append(tokens.tolist())
    return texts
