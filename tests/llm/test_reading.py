# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Prompts that the chip reads in blocks, and programs that take turns: bit by bit what one program makes, token by
token."""

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import pytest

from openlpu.arch.config import ChipConfig
from openlpu.arch.presets import LAB32, ULX3S
from openlpu.arch.timing import timing
from openlpu.compiler.errors import CompileError
from openlpu.compiler.kernel_reference import KernelReference
from openlpu.llm.calibrate import own_texts
from openlpu.llm.checkpoint import Checkpoint, load_checkpoint
from openlpu.llm.decode import decoding
from openlpu.llm.float_model import forward
from openlpu.llm.prefill import by_chip, by_tokens
from openlpu.llm.program import Turns, block_sizes, compile_turns
from openlpu.llm.quantise import QuantisedLlama, quantise
from openlpu.llm.reading import PROMPT, reading
from openlpu.llm.session import Generated, inputs_of
from openlpu.llm.token_writer import HISTORY, POSITION
from openlpu.llm.turn_session import TurnSession
from openlpu.llm.workloads import random_layer, random_text
from openlpu.runtime.driver import Device, DeviceError, InputError, open_device

FIXTURES = Path(__file__).parent / "fixtures"
CAPACITY = 48
PREDICTED = 20
"""Tokens of the text of a fixture that are not part of a prompt."""


@functools.cache
def fixture(name: str) -> tuple[Checkpoint, QuantisedLlama, list[int]]:
    checkpoint = load_checkpoint(FIXTURES / name)
    tokens = json.loads((FIXTURES / name / "tokens.json").read_text())
    return checkpoint, quantise(checkpoint, own_texts(checkpoint)), tokens


@pytest.mark.parametrize(
    ("name", "size", "chip", "capacity"),
    [
        ("multi_query", 2, ULX3S, CAPACITY),
        ("grouped_tied", 16, ULX3S, CAPACITY),
        ("multi_head_untied", 8, ULX3S, CAPACITY),
        # Here codes are ahead of norms.
        ("grouped_tied", 8, LAB32, 64),
    ],
    ids=["multi_query", "grouped_tied", "multi_head_untied", "ahead"],
)
def test_blocks_mean_what_their_tokens_mean(name: str, size: int, chip: ChipConfig, capacity: int) -> None:
    _, model, tokens = fixture(name)
    one, block = (
        KernelReference(decoded.kernels, chip)
        for decoded in (decoding(model, capacity, chip), reading(model, 32, size, chip, capacity=capacity))
    )
    for position, token in enumerate(tokens[:32]):
        inputs = inputs_of(token, position, chip.lanes)
        one.run({port: values.view(np.int32) for port, values in inputs.items()})
    for first in range(0, 32, size):
        low_high = np.array([divmod(token, 256)[::-1] for token in tokens[first : first + size]], np.uint8)
        here = np.full((1, chip.lanes), first, np.float32).view(np.int32)
        block.run({PROMPT: low_high.view(np.int8), POSITION: here})
    caches = reading(model, 32, size, chip, capacity=capacity).kernels.states
    assert len(caches) == len(decoding(model, capacity, chip).kernels.states) - 3
    for cache in caches:
        np.testing.assert_array_equal(one.read(cache), block.read(cache), cache)


@functools.cache
def small() -> tuple[Checkpoint, QuantisedLlama, list[int]]:
    """Two layers, tied, and heads of two rows; and a text."""
    one = random_layer(hidden=32, heads=2, kv_heads=1, head_size=32, ffn=40, context=CAPACITY, seed=5)
    shape = dataclasses.replace(one.shape, layers=2, tied=True)
    two = dataclasses.replace(one, name="small", shape=shape, layers=2 * one.layers, output=one.embedding)
    text = random_text(two, 6)
    return two, quantise(two, [text]), text


@functools.cache
def turns() -> Turns:
    """Two contexts and a reader of prompts, over states of 48 positions."""
    return compile_turns(small()[1], [16, CAPACITY], ULX3S, prompt=32)


def caches(device: Device, tokens: int) -> dict[str, bytes]:
    assert device.program is not None
    names = (port.name for port in device.program.states if port.rows == CAPACITY and port.name != HISTORY)
    return {name: device.read_state(name)[:tokens].tobytes() for name in names}


def test_blocks_leave_on_the_chip_what_their_tokens_leave() -> None:
    """From a prompt of several blocks, the last one not full, to tokens with the programs of two contexts."""
    (checkpoint, _, tokens), programs = small(), turns()
    prompt = tokens[:-PREDICTED]
    assert programs.reading is not None
    with open_device("golden", ULX3S) as device:
        device.load(programs.first)
        session = TurnSession(device, programs)
        fed = by_tokens(session, prompt)
        left = caches(device, len(prompt))
        written = session.generate(PREDICTED)
        # The next sequence does not know of this one.
        session = TurnSession(device, programs)
        read = by_chip(session, prompt)
        assert caches(device, len(prompt)) == left
        again = session.generate(PREDICTED)
    assert read.logits.tobytes() == fed.logits.tobytes()
    assert written == again
    blocks = -(-(len(prompt) - 1) // programs.reading.tokens)
    last = programs.writing[-1].program.cycles
    assert (fed.blocks, read.blocks) == (0, blocks)
    assert read.cycles == blocks * programs.reading.program.cycles + last
    assert fed.cycles == 16 * programs.first.cycles + (len(prompt) - 16) * last > 2 * read.cycles
    vocabulary = checkpoint.shape.vocabulary
    wanted, found = forward(checkpoint, prompt, np.float64)[-1], read.logits[:vocabulary]
    assert found @ wanted > 0.997 * np.linalg.norm(found) * np.linalg.norm(wanted)


def test_contexts_follow_one_another() -> None:
    """All in one program, and in two: the same tokens, and so many cycles as is known before."""
    programs, (_, _, tokens) = turns(), small()
    written: list[Generated] = []
    for one in (Turns(programs.writing[-1:]), programs):
        with open_device("golden", ULX3S) as device:
            device.load(one.first)
            session = TurnSession(device, one)
            by_tokens(session, tokens[:5])
            expected = session.predicted(5, 30)
            written.append(session.generate(30))
            assert written[-1].cycles == expected
            assert session.position == 35
            with pytest.raises(InputError, match="49 tokens are more than the 48"):
                session.generate(14)
    assert written[0].tokens == written[1].tokens
    (short, early), (long, late) = ((context, program.cycles) for context, program in programs.writing)
    assert (short, long) == (16, CAPACITY)
    series = timing(ULX3S).series
    assert written[1].cycles == series(early, 11) + series(late, 19) < written[0].cycles == series(late, 30)


def test_weights_of_programs_that_take_turns_are_in_sram_once() -> None:
    """A context of its own brings a few constants, a reader some more; and what is there is not written again."""
    programs = turns()
    assert programs.reading is not None
    shorter, longest = (program for _, program in programs.writing)
    assert len(shorter.image.keys() - longest.image.keys()) == 0
    assert len(programs.reading.program.image.keys() - longest.image.keys()) < len(longest.image) / 20
    with open_device("golden", ULX3S) as device:
        device.load(longest)
        assert device.switch(shorter) == 0
        first = device.switch(programs.reading.program)
        assert 0 < first < len(longest.image) / 20
        assert device.switch(longest) == 0
        assert device.switch(programs.reading.program) <= first


def test_programs_that_do_not_take_turns() -> None:
    _, model, _ = fixture("multi_query")
    alone = compile_turns(model, [16], ULX3S).first
    with open_device("golden", ULX3S) as device:
        with pytest.raises(DeviceError, match="no program is loaded"):
            device.switch(alone)
        device.load(turns().first)
        with pytest.raises(DeviceError, match="would spoil states that are in the chip: programs that take turns are"):
            device.switch(alone)


def test_blocks_divide_vectors_and_tables() -> None:
    _, model, _ = fixture("multi_query")
    assert block_sizes(model.shape, ULX3S) == [8, 4, 2]
    with pytest.raises(CompileError, match="blocks of 3 tokens divide not both 16 and 16 lanes"):
        reading(model, 32, 3, ULX3S)


@pytest.mark.regress
@pytest.mark.parametrize("config", [ULX3S, LAB32], ids=lambda config: config.name)
@pytest.mark.parametrize("name", ["multi_query", "grouped_tied", "multi_head_untied"])
def test_every_fixture_reads_in_blocks_on_several_chips(name: str, config: object) -> None:
    chip = ULX3S if config is ULX3S else LAB32
    _, model, tokens = fixture(name)
    programs = compile_turns(model, [32, 64], chip, prompt=32)
    found = []
    for read in (by_tokens, by_chip):
        with open_device("golden", chip) as device:
            device.load(programs.first)
            session = TurnSession(device, programs)
            prefill = read(session, tokens[:19])
            found.append((prefill.logits.tobytes(), session.generate(20)))
            assert prefill.blocks or read is by_tokens
    assert found[0] == found[1]
