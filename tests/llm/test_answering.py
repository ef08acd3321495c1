# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Texts that end: what stands behind their end is made, and nobody sees it."""

import json
from pathlib import Path

import numpy as np
import pytest

from openlpu.arch.presets import ULX3S
from openlpu.arch.timing import timing
from openlpu.llm.answering import TOGETHER, predicted, write
from openlpu.llm.calibrate import own_texts
from openlpu.llm.checkpoint import load_checkpoint
from openlpu.llm.program import compile_turns
from openlpu.llm.quantise import quantise
from openlpu.llm.sampling import Sampling, sample
from openlpu.llm.session import Generated
from openlpu.llm.turn_session import TurnSession
from openlpu.runtime.driver import Device, open_device

FIXTURE = Path(__file__).parent / "fixtures/multi_query"
CHECKPOINT = load_checkpoint(FIXTURE)
PROMPT = json.loads((FIXTURE / "tokens.json").read_text())[:3]
TURNS = compile_turns(quantise(CHECKPOINT, own_texts(CHECKPOINT)), [64], ULX3S)
COUNT = TOGETHER + 20


@pytest.fixture(scope="module")
def device() -> Device:
    device = open_device("golden", ULX3S)
    device.load(TURNS.first)
    return device


@pytest.fixture(scope="module")
def everything(device: Device) -> Generated:
    """What the chip writes if nothing ends."""
    return fed(device).generate(COUNT)


def fed(device: Device) -> TurnSession:
    session = TurnSession(device, TURNS)
    session.feed(PROMPT)
    return session


@pytest.mark.parametrize("place", [0, 5, COUNT - 1])
def test_an_answer_ends_where_its_text_does(device: Device, everything: Generated, place: int) -> None:
    # The first that is what stands there.
    end = everything.tokens.index(everything.tokens[place])
    session = fed(device)
    found = write(session, COUNT, {everything.tokens[end], -1})
    assert (found.tokens, found.ended) == (everything.tokens[:end], True)
    assert found.made == (TOGETHER if end < TOGETHER else COUNT)
    series, cycles = timing(ULX3S).series, TURNS.first.cycles
    runs = [TOGETHER] if end < TOGETHER else [TOGETHER, COUNT - TOGETHER]
    assert found.cycles == predicted(session, 3, found.made, TOGETHER) == sum(series(cycles, run) for run in runs)


def test_a_text_that_does_not_end_goes_on(device: Device, everything: Generated) -> None:
    found = write(fed(device), COUNT, ())
    assert (found.tokens, found.made, found.cycles) == (everything.tokens, COUNT, everything.cycles)
    assert not found.ended


def test_the_host_stops_at_the_end(device: Device) -> None:
    session = fed(device)
    logits = np.zeros(CHECKPOINT.shape.vocabulary, np.float32)
    logits[7] = 1
    likeliest = Sampling(1.0, top=1)
    found = sample(session, logits, 5, likeliest)
    assert found.tokens[0] == 7
    assert (found.made, found.cycles, found.ended) == (5, 5 * TURNS.first.cycles, False)
    last = found.tokens[-1]
    first = found.tokens.index(last)
    again = sample(fed(device), logits, 5, likeliest, {last})
    assert (again.tokens, again.made, again.ended) == (found.tokens[:first], first, True)
    assert sample(fed(device), logits, 5, likeliest, {7}).cycles == 0
