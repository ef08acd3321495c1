# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Prompts that the host reads: bit by bit what the chip would have made of them."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from openlpu.arch.presets import ULX3S
from openlpu.arch.program import Program
from openlpu.compiler.kernel_reference import KernelReference
from openlpu.llm.calibrate import own_texts
from openlpu.llm.checkpoint import load_checkpoint
from openlpu.llm.decode import decoding
from openlpu.llm.prefill import by_host, by_tokens, states_behind
from openlpu.llm.program import compile_llama
from openlpu.llm.quantise import QuantisedLlama, quantise
from openlpu.llm.session import Session, inputs_of
from openlpu.llm.token_writer import HISTORY
from openlpu.runtime.driver import Device, InputError, open_device

FIXTURES = Path(__file__).parent / "fixtures"
CONTEXT = 32


@dataclasses.dataclass(frozen=True)
class Case:
    """A fixture, its tokens, and its program."""

    model: QuantisedLlama
    tokens: list[int]
    program: Program


@pytest.fixture(scope="module", params=["multi_query", "grouped_tied", "multi_head_untied"])
def case(request: pytest.FixtureRequest) -> Case:
    directory = FIXTURES / request.param
    checkpoint = load_checkpoint(directory)
    model = quantise(checkpoint, own_texts(checkpoint))
    tokens = json.loads((directory / "tokens.json").read_text())
    return Case(model, tokens, compile_llama(model, CONTEXT, ULX3S))


def loaded(case: Case) -> Device:
    device = open_device("golden", ULX3S)
    device.load(case.program)
    return device


def states(device: Device) -> dict[str, bytes]:
    assert device.program is not None
    return {port.name: device.read_state(port.name).tobytes() for port in device.program.states}


def test_the_meaning_of_the_kernels_is_what_the_chip_computes(case: Case) -> None:
    kernels = decoding(case.model, CONTEXT, ULX3S).kernels
    reference = KernelReference(kernels, ULX3S)
    with loaded(case) as device:
        assert {port.name for port in case.program.states} == kernels.states.keys()
        for position, token in enumerate(case.tokens[:12]):
            inputs = inputs_of(token, position, ULX3S.lanes)
            outputs = device.run(inputs).outputs
            expected = reference.run({name: values.view(np.int32) for name, values in inputs.items()})
            for port, _ in kernels.outputs:
                found = outputs[port.name]
                wanted = expected[port.name].reshape(len(expected[port.name]), -1)[:, : port.shape[-1]]
                assert found.tobytes() == wanted.tobytes(), f"{port.name} at {position}"
            assert states(device) == {name: reference.read(name).tobytes() for name in kernels.states}, position


def test_what_the_host_reads_is_what_the_chip_reads(case: Case) -> None:
    prompt, written = case.tokens[:19], 9
    with loaded(case) as device:
        session = Session(device)
        there = by_tokens(session, prompt)
        there_behind = states(device)
        there_written = session.generate(written)
    with loaded(case) as device:
        session = Session(device)
        here = by_host(session, prompt, case.model)
        here_behind = states(device)
        here_written = session.generate(written)
    assert here.logits.tobytes() == there.logits.tobytes()
    assert here_behind == there_behind
    assert here_written == there_written
    assert (here.cycles, there.cycles) == (case.program.cycles, 19 * case.program.cycles)
    caches = 2 * case.model.shape.layers * case.model.shape.kv_heads
    assert (here.words, there.words) == ((caches + 1) * 18, 0)


def test_a_prompt_of_one_token_leaves_nothing_to_the_host(case: Case) -> None:
    with loaded(case) as device:
        here = by_host(Session(device), case.tokens[:1], case.model)
        there = by_tokens(Session(device), case.tokens[:1])
    assert here.words == 0
    assert here.logits.tobytes() == there.logits.tobytes()


def test_what_a_sequence_before_left_makes_no_difference(case: Case) -> None:
    with loaded(case) as device:
        by_tokens(Session(device), case.tokens[9:32])
        session = Session(device)
        by_host(session, case.tokens[:9], case.model)
        again = session.generate(9)
    with loaded(case) as device:
        session = Session(device)
        by_tokens(session, case.tokens[:9])
        assert session.generate(9) == again


def test_the_host_reads_a_row_for_each_token(case: Case) -> None:
    found = states_behind(case.model, case.tokens[:5], CONTEXT, ULX3S)
    assert {len(rows) for rows in found.values()} == {5}
    assert found[HISTORY].any()


def test_a_session_takes_over_at_its_beginning(case: Case) -> None:
    with loaded(case) as device:
        session = Session(device)
        with pytest.raises(InputError, match="33 tokens are more than the 32 that the program is made for"):
            by_host(session, [1] * 33, case.model)
        session.take_over(states_behind(case.model, case.tokens[:3], CONTEXT, ULX3S), 3)
        with pytest.raises(InputError, match="begins with a token"):
            session.generate(1)
        with pytest.raises(InputError, match="at its beginning, and this one is at position 3"):
            session.take_over({}, 3)
