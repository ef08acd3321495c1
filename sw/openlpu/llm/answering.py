# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""An answer: what a chip writes until the text ends, in runs of many tokens.

How many tokens a run makes is fixed before it begins. So what stands behind the token that ends a text has been made,
and is dropped.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from openlpu.llm.session import Session
from openlpu.llm.turn_session import TurnSession

TOGETHER = 32
"""Tokens of a run, at most, where a text may end."""


@dataclass(frozen=True)
class Answer:
    """Tokens before the one that ends the text, if it `ended`; how many were made, that one and those behind it among
    them, in runs of up to `together`; and the cycles of all runs."""

    tokens: list[int]
    made: int
    together: int
    cycles: int
    ended: bool


def write(session: Session, count: int, ends: Collection[int]) -> Answer:
    """Let the chip choose up to `count` tokens, until one of `ends`.

    Raises:
        InputError: when nothing was fed yet, or the tokens do not fit the context.
    """
    session.verify_room(count)
    together, made, cycles = min(TOGETHER, count) if ends else count, list[int](), 0
    while len(made) < count and not _ended(made, ends):
        found = session.generate(min(together, count - len(made)))
        made += found.tokens
        cycles += found.cycles
    tokens = made[: next((place for place, token in enumerate(made) if token in ends), None)]
    return Answer(tokens, len(made), together, cycles, _ended(made, ends))


def predicted(session: TurnSession, position: int, made: int, together: int) -> int:
    """Cycles of an answer that begins at a position, known before it is written."""
    return sum(session.predicted(position + done, min(together, made - done)) for done in range(0, made, together))


def _ended(made: Collection[int], ends: Collection[int]) -> bool:
    return any(token in ends for token in made)
