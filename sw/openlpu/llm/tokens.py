# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A prompt as tokens. For the way back, `tokenizers.decoders.DecodeStream` gives text token by token."""

from openlpu.compiler.errors import CompileError
from openlpu.llm.checkpoint import Checkpoint


def encode(checkpoint: Checkpoint, prompt: str) -> list[int]:
    """The tokens of a prompt, with those that the tokenizer itself puts around a text.

    Raises:
        CompileError: when that is no token, or leaves no room for another in the network's context.
    """
    tokens = checkpoint.tokenizer.encode(prompt).ids
    if not tokens:
        raise CompileError(f"{checkpoint.name}: the prompt is empty: there is nothing to go on from")
    if len(tokens) >= checkpoint.shape.context:
        raise CompileError(
            f"{checkpoint.name}: the prompt has {len(tokens)} tokens, but it and what follows must fit in"
            f" {checkpoint.shape.context}: shorten it"
        )
    return list(tokens)
