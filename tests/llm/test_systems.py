# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Llamas on several golden chips: bit by bit what they are on one, at the cycles that were predicted."""

import json
from pathlib import Path

import numpy as np
import pytest

from openlpu.arch.config import ChipConfig
from openlpu.arch.presets import LAB32, ULX3S
from openlpu.arch.system import SystemConfig
from openlpu.arch.timing import timing
from openlpu.compiler.partition import partition
from openlpu.compiler.stage_partition import partition_stages
from openlpu.compiler.system_pipeline import Dealing
from openlpu.llm.calibrate import own_texts
from openlpu.llm.checkpoint import load_checkpoint
from openlpu.llm.prefill import by_host
from openlpu.llm.program import compile_llama, compile_llama_system
from openlpu.llm.quantise import quantise
from openlpu.llm.session import Session
from openlpu.runtime.driver import open_device
from openlpu.runtime.joined import JoinedDevice

FIXTURES = Path(__file__).parent / "fixtures"
CONTEXT, FED = 32, 6


@pytest.mark.parametrize(
    ("name", "chip", "chips", "dealing"),
    [
        ("grouped_tied", ULX3S, 2, partition),
        pytest.param("multi_head_untied", ULX3S, 3, partition, marks=pytest.mark.regress),
        pytest.param("multi_query", ULX3S, 4, partition, marks=pytest.mark.regress),
        ("multi_head_untied", ULX3S, 2, partition_stages),
        pytest.param("grouped_tied", ULX3S, 2, partition_stages, marks=pytest.mark.regress),
        pytest.param("grouped_tied", LAB32, 2, partition_stages, marks=pytest.mark.regress),
    ],
)
def test_chips_write_what_one_writes(name: str, chip: ChipConfig, chips: int, dealing: Dealing) -> None:
    checkpoint = load_checkpoint(FIXTURES / name)
    tokens = json.loads((FIXTURES / name / "tokens.json").read_text())[:FED]
    model, system = quantise(checkpoint, own_texts(checkpoint)), SystemConfig.of(chip, chips)
    with open_device("golden", chip) as device:
        device.load(compile_llama(model, CONTEXT, chip))
        one = Session(device)
        want, written = one.feed(tokens), one.generate(CONTEXT - FED)
    program = compile_llama_system(model, CONTEXT, system, dealing).program
    with JoinedDevice(open_device("golden", system)) as several:
        several.load(program)
        session = Session(several)
        assert session.feed(tokens).tobytes() == want.tobytes()
        found = session.generate(CONTEXT - FED)
        # Again, where the host has read all but the last: every chip has the states that it needs.
        again = Session(several)
        assert np.array_equal(by_host(again, tokens, model).logits, want[-1])
        assert again.generate(CONTEXT - FED) == found
    assert found.tokens == written.tokens
    assert found.cycles == timing(system.chip).series(program.cycles, CONTEXT - FED)
