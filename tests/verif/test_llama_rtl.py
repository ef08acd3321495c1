# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The example Llama on its Verilated chip: the logits of a prompt and 32 tokens, byte by byte and cycle by cycle.

The same tokens again, where the host reads the prompt for it; and with programs that take turns, where the chip reads
blocks of it.
"""

from pathlib import Path

import numpy as np
import pytest

from openlpu.arch.config import ChipConfig
from openlpu.arch.presets import ULX3S, ULX3S8
from openlpu.arch.timing import timing
from openlpu.llm.calibrate import own_texts
from openlpu.llm.checkpoint import load_checkpoint
from openlpu.llm.prefill import by_chip, by_host
from openlpu.llm.program import compile_llama, compile_turns
from openlpu.llm.quantise import quantise
from openlpu.llm.session import Generated, Session
from openlpu.llm.tokens import encode
from openlpu.llm.turn_session import TurnSession
from openlpu.runtime.driver import open_device

EXAMPLE = Path(__file__).parents[2] / "examples/llama"
TOKENS = 32


@pytest.mark.parametrize("chip", [ULX3S, pytest.param(ULX3S8, marks=pytest.mark.regress)], ids=["ulx3s", "ulx3s8"])
def test_tokens_and_cycles_are_those_of_the_golden_chip(chip: ChipConfig) -> None:
    checkpoint = load_checkpoint(EXAMPLE / "model")
    prompt = encode(checkpoint, "Raised when a")
    model = quantise(checkpoint, own_texts(checkpoint))
    program = compile_llama(model, 64, chip)
    logits: dict[str, bytes] = {}
    written: dict[str, list[Generated]] = {}
    for backend in ("golden", "rtl"):
        with open_device(backend, chip) as device:
            device.load(program)
            for _ in range(2):
                session = Session(device)
                logits[backend] = np.ascontiguousarray(session.feed(prompt)).tobytes()
                written.setdefault(backend, []).append(session.generate(TOKENS))
            session = Session(device)
            by_host(session, prompt, model)
            written[backend].append(session.generate(TOKENS))
    assert logits["golden"] == logits["rtl"]
    assert written["golden"] == written["rtl"]
    assert written["rtl"][0] == written["rtl"][1] == written["rtl"][2]
    assert written["rtl"][0].cycles == timing(chip).series(program.cycles, TOKENS)


def test_programs_take_turns_as_on_the_golden_chip() -> None:
    """Blocks of a prompt, and tokens from one context into the next."""
    chip, checkpoint = ULX3S, load_checkpoint(EXAMPLE / "model")
    prompt = encode(checkpoint, "Return a new string, and raise an error")
    turns = compile_turns(quantise(checkpoint, own_texts(checkpoint)), [16, 64], chip, prompt=16)
    assert turns.reading is not None
    logits, states, written = [], [], []
    for backend in ("golden", "rtl"):
        with open_device(backend, chip) as device:
            device.load(turns.first)
            session = TurnSession(device, turns)
            read = by_chip(session, prompt)
            logits.append(read.logits.tobytes())
            expected = session.predicted(session.position, 20)
            written.append(session.generate(20))
            states.append({port.name: device.read_state(port.name).tobytes() for port in turns.first.states})
            assert written[-1].cycles == expected
            assert read.cycles == read.blocks * turns.reading.program.cycles + turns.first.cycles
    assert logits[0] == logits[1]
    assert states[0] == states[1]
    assert written[0] == written[1]
