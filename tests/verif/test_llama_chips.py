# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The example Llama on Verilated chips with links, under many clocks and wires: always the logits and the tokens of one
chip, in the cycles that were predicted.

The chips take minutes to build, so this is not in the default suite; compiled programs are, in lock-step on small ones.
"""

from pathlib import Path

import pytest

from openlpu.arch.presets import ULX3S
from openlpu.arch.system import SystemConfig
from openlpu.arch.timing import timing
from openlpu.llm.calibrate import own_texts
from openlpu.llm.checkpoint import load_checkpoint
from openlpu.llm.program import compile_llama, compile_llama_system
from openlpu.llm.quantise import quantise
from openlpu.llm.session import Generated, Runner, Session
from openlpu.llm.tokens import encode
from openlpu.runtime.driver import open_device
from openlpu.runtime.joined import JoinedDevice
from openlpu.runtime.system import SystemDevice
from openlpu.verif.rtl_system import Conditions, RtlSystem

EXAMPLE = Path(__file__).parents[2] / "examples/llama"
TOKENS = 4


def written(runner: Runner, prompt: list[int]) -> tuple[bytes, Generated]:
    session = Session(runner)
    return session.feed(prompt).tobytes(), session.generate(TOKENS)


@pytest.mark.regress
@pytest.mark.parametrize(("config", "draws"), [("pair.toml", 50), ("four.toml", 3)])
def test_clocks_and_wires_make_no_difference(config: str, draws: int) -> None:
    chip, system = ULX3S, SystemConfig.from_file(EXAMPLE / config)
    checkpoint = load_checkpoint(EXAMPLE / "model")
    model, prompt = quantise(checkpoint, own_texts(checkpoint)), encode(checkpoint, "Raised")
    with open_device("golden", chip) as one:
        one.load(compile_llama(model, 64, chip))
        logits, alone = written(one, prompt)
    program = compile_llama_system(model, 64, system).program
    for seed in range(draws):
        print(f"{seed=}")
        drawn = RtlSystem(system, Conditions.drawn(system, seed))
        with JoinedDevice(SystemDevice(drawn, replays=0)) as chips:
            chips.load(program)
            found, generated = written(chips, prompt)
        assert found == logits
        assert generated.tokens == alone.tokens
        assert generated.cycles == timing(system.chip).series(program.cycles, TOKENS)
