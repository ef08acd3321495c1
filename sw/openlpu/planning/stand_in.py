# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A Llama that has the sizes of another one, and nothing else: weights that mean nothing, and take next to no memory.

A schedule depends on what weights are only where tiles are zero, or equal to others. These are neither.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from openlpu.llm.checkpoint import LlamaShape
from openlpu.llm.quantise import LlamaNorm, QuantisedLayer, QuantisedLlama, QuantisedMatrix


def stand_in(name: str, shape: LlamaShape, *, vocabulary: int, lanes: int) -> QuantisedLlama:
    """A Llama of this shape, with one layer and so many tokens, for chips of `lanes` lanes; equal shapes have equal
    weights."""
    random, norm = np.random.default_rng(0), LlamaNorm(output=0.05, largest=4.0, ahead=0.05)

    def matrix(outputs: int, inputs: int) -> QuantisedMatrix:
        """A window into a line of numbers, `stride` further with every input: no tile begins where another does."""
        stride = outputs // lanes + 1
        line = random.integers(-127, 128, outputs + inputs * stride, dtype=np.int8)
        codes = np.lib.stride_tricks.as_strided(line, (outputs, inputs), (1, stride), writeable=False)
        return QuantisedMatrix(codes, np.full(outputs, 1e-3, np.float32))

    hidden, queries, keys = shape.hidden, shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    layer = QuantisedLayer(
        attention_norm=norm,
        q=matrix(queries, hidden),
        k=matrix(keys, hidden),
        v=matrix(keys, hidden),
        query=0.05,
        key=0.05,
        value=0.05,
        o=matrix(hidden, queries),
        ffn_norm=norm,
        gate=matrix(shape.ffn, hidden),
        up=matrix(shape.ffn, hidden),
        ffn_product=0.1,
        down=matrix(hidden, shape.ffn),
    )
    return QuantisedLlama(
        name=name,
        shape=dataclasses.replace(shape, layers=1, vocabulary=vocabulary, tied=False),
        embedding=matrix(1, hidden),
        layers=(layer,),
        final_norm=norm,
        final_gains=np.ones(hidden, np.float32),
        output=matrix(vocabulary, hidden),
    )
