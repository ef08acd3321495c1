# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Reading a prompt: by the chip, in blocks or a token a run, or by the host, with the arithmetic of the chip.

A token a run, a chip reads a prompt as slowly as it writes an answer; in blocks, several tokens meet every weight. A
simulated chip is far slower than numpy. What blocks leave, or the host hands over, is what the chip would have made of
the same tokens one by one, bit by bit. A prompt has at least one token, and the last one is always fed, for its logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openlpu.arch.config import ChipConfig
from openlpu.compiler.graph import Float32Array
from openlpu.compiler.kernel_reference import KernelReference
from openlpu.compiler.kernels import Content
from openlpu.llm.decode import decoding
from openlpu.llm.quantise import QuantisedLlama
from openlpu.llm.session import Session, inputs_of
from openlpu.llm.turn_session import TurnSession


@dataclass(frozen=True, eq=False)
class Prefill:
    """A prompt that a session has read: the logits behind its last token, up to whole vectors, the cycles that it took
    on the chip, the words of SRAM that the host wrote instead, and the blocks that the chip read."""

    logits: Float32Array
    cycles: int
    words: int
    blocks: int = 0


def by_chip(session: TurnSession, tokens: Sequence[int]) -> Prefill:
    """Have the chip read all tokens of a prompt but the last one in blocks, as far as that pays, and feed the last.

    Raises:
        InputError: when it does not fit the context.
    """
    session.verify_room(len(tokens))
    before, blocks = session.cycles, session.read(tokens[:-1])
    return Prefill(session.feed(tokens[-1:])[-1], session.cycles - before, 0, blocks)


def by_tokens(session: Session, tokens: Sequence[int]) -> Prefill:
    """Feed a prompt, a token a run.

    Raises:
        InputError: when it does not fit the context.
    """
    before = session.cycles
    return Prefill(session.feed(tokens)[-1], session.cycles - before, 0)


def by_host(session: Session, tokens: Sequence[int], model: QuantisedLlama) -> Prefill:
    """Compute what all tokens of a prompt but the last one leave, hand it over to a new session, and feed the last.

    Raises:
        InputError: when the session is not new, or the prompt does not fit the context.
    """
    session.verify_room(len(tokens))
    states = states_behind(model, tokens[:-1], session.context, session.device.config)
    words, before = session.take_over(states, len(tokens) - 1), session.cycles
    return Prefill(session.feed(tokens[-1:])[-1], session.cycles - before, words)


def states_behind(model: QuantisedLlama, tokens: Sequence[int], context: int, config: ChipConfig) -> dict[str, Content]:
    """What tokens at positions 0, 1, ... leave for those that follow: of every state that has a row for each position,
    caches and history, the rows of theirs.

    It is for a program that was compiled for the same `context` and `config`, and for `Session.take_over`.

    Raises:
        CompileError: when the network does not suit the chip.
        IndexError: when there are more tokens than positions, or one that the vocabulary does not have.
    """
    kernels = decoding(model, context, config).kernels
    reference = KernelReference(kernels, config)
    for position, token in enumerate(tokens):
        inputs = inputs_of(token, position, config.lanes)
        reference.run({name: values.view(np.int32) for name, values in inputs.items()})
    return {name: reference.read(name)[: len(tokens)] for name in kernels.scattered}
