# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Llamas made to measure: random weights, of any shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from tokenizers.models import BPE

from openlpu.arch.config import ChipConfig
from openlpu.arch.numerics import from_bits, to_bits
from openlpu.compiler.graph import Float32Array
from openlpu.compiler.kernel_reference import KernelReference
from openlpu.llm.checkpoint import Checkpoint, LayerWeights, LlamaShape
from openlpu.llm.decode import BEFORE, BEHIND, layer_decoding
from openlpu.llm.quantise import QuantisedLlama
from openlpu.llm.token_writer import POSITION

_VOCABULARY = 64
"""Hidden vectors that a layer may begin with."""


def random_layer(
    hidden: int, heads: int, kv_heads: int, head_size: int, ffn: int, context: int, seed: int
) -> Checkpoint:
    """A Llama of one layer. Its embedding is as many random hidden vectors as it has tokens, and so is its output.

    Raises:
        ValueError: when `heads` is no multiple of `kv_heads`, or `head_size` is odd.
    """
    if heads % kv_heads or head_size % 2:
        raise ValueError(f"{heads} heads of {head_size} for {kv_heads} of keys and values are no Llama's")
    random = np.random.default_rng(seed)

    def matrix(outputs: int, inputs: int) -> Float32Array:
        return random.normal(0, inputs**-0.5, (outputs, inputs)).astype(np.float32)

    def gains() -> Float32Array:
        return random.uniform(0.5, 1.5, hidden).astype(np.float32)

    layer = LayerWeights(
        attention_norm=gains(),
        # Scores of a standard deviation near 2: some positions matter, and others do not.
        q=2 * matrix(heads * head_size, hidden),
        k=matrix(kv_heads * head_size, hidden),
        v=matrix(kv_heads * head_size, hidden),
        o=matrix(hidden, heads * head_size),
        ffn_norm=gains(),
        gate=matrix(ffn, hidden),
        up=matrix(ffn, hidden),
        down=matrix(hidden, ffn),
    )
    shape = LlamaShape.of_sizes(
        hidden=hidden,
        layers=1,
        heads=heads,
        kv_heads=kv_heads,
        head_size=head_size,
        ffn=ffn,
        vocabulary=_VOCABULARY,
        context=context,
    )
    return Checkpoint(
        name=f"layer_{hidden}x{ffn}",
        shape=shape,
        embedding=random.normal(0, 1, (_VOCABULARY, hidden)).astype(np.float32),
        layers=(layer,),
        final_norm=gains(),
        output=matrix(_VOCABULARY, hidden),
        tokenizer=Tokenizer(BPE()),
    )


def random_text(checkpoint: Checkpoint, seed: int) -> list[int]:
    """Random tokens, as many as its context holds."""
    shape = checkpoint.shape
    tokens: list[int] = np.random.default_rng(seed).integers(shape.vocabulary, size=shape.context).tolist()
    return tokens


def layer_inputs(checkpoint: Checkpoint, position: int, config: ChipConfig) -> dict[str, Float32Array]:
    """What a layer alone is run with at a position: the embedding of a token, in whole vectors."""
    vector = checkpoint.embedding[position % checkpoint.shape.vocabulary]
    whole = np.zeros((-(-len(vector) // config.lanes), config.lanes), np.float32)
    whole.reshape(-1)[: len(vector)] = vector
    return {BEFORE: whole, POSITION: np.full((1, config.lanes), position, np.float32)}


def layer_reference(
    model: QuantisedLlama, context: int, config: ChipConfig
) -> Callable[[Mapping[str, npt.NDArray[np.float32]]], dict[str, Float32Array]]:
    """What a layer alone makes of its inputs, run after run, as numpy executes its kernels.

    Raises:
        CompileError: when the network does not suit the chip.
    """
    reference = KernelReference(layer_decoding(model, context, config).kernels, config)

    def run(inputs: Mapping[str, npt.NDArray[np.float32]]) -> dict[str, Float32Array]:
        outputs = reference.run({name: to_bits(values) for name, values in inputs.items()})
        return {BEHIND: from_bits(outputs[BEHIND].astype(np.int32))}

    return run
