# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A GPT of one block: on the golden chip, by the meaning of its kernels, and in float64."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from openlpu.arch.config import ChipConfig
from openlpu.arch.presets import NANO, ULX3S, find_config
from openlpu.arch.timing import timing
from openlpu.compiler.errors import CompileError
from openlpu.compiler.kernel_reference import KernelReference
from openlpu.llm.gpt import Gpt, GptShape, QuantisedGpt, forward, quantise_gpt, random_gpt, random_texts
from openlpu.llm.gpt_decode import chosen, gpt_decoding, gpt_inputs
from openlpu.llm.program import compile_gpt
from openlpu.llm.token_writer import HISTORY, LOGITS
from openlpu.runtime.driver import open_device

ROOT = Path(__file__).parents[2]
CHIPS = {"gpt": find_config(str(ROOT / "examples/gpt/chip.toml")), "ulx3s": ULX3S}
OTHER = GptShape(vocabulary=40, hidden=40, heads=4, ffn=48, context=32)


def made(shape: GptShape, seed: int) -> tuple[Gpt, QuantisedGpt]:
    gpt = random_gpt(shape, seed)
    return gpt, quantise_gpt(gpt, random_texts(shape, seed))


@pytest.mark.parametrize(("seed", "shape"), [(0, GptShape()), (1, GptShape()), (2, OTHER)])
def test_logits_are_nearly_those_of_floats_and_the_token_is_the_first_largest(seed: int, shape: GptShape) -> None:
    gpt, model = made(shape, seed)
    reference = KernelReference(gpt_decoding(model, CHIPS["gpt"]).kernels, CHIPS["gpt"])
    cosines = []
    for text in random_texts(shape, seed + 100)[:8]:
        wanted = forward(gpt, text)
        for position, (fed, expected) in enumerate(zip(text, wanted, strict=True)):
            outputs = reference.run(gpt_inputs(fed, position))
            found = outputs[LOGITS].view(np.float32).reshape(-1)[: shape.vocabulary].astype(np.float64)
            assert chosen(outputs[HISTORY][position]) == found.argmax()
            cosines.append(found @ expected / np.linalg.norm(found) / np.linalg.norm(expected))
    assert np.mean(cosines) > 0.999
    assert min(cosines) > 0.995


@pytest.mark.parametrize("name", CHIPS)
def test_the_chip_computes_what_the_kernels_mean(name: str) -> None:
    shape, chip = GptShape(), CHIPS[name]
    _, model = made(shape, 0)
    reference, program = KernelReference(gpt_decoding(model, chip).kernels, chip), compile_gpt(model, chip)
    (text, *_) = random_texts(shape, 7)
    assert program.chain_bound <= program.cycles
    with open_device("golden", chip) as device:
        device.load(program)
        for position, fed in enumerate(text):
            inputs = gpt_inputs(fed, position)
            result, expected = device.run(inputs), reference.run(inputs)
            assert result.cycles == program.cycles
            for output in (HISTORY, LOGITS):
                shown = result.outputs[output]
                assert shown.tobytes() == expected[output][:, : shown.shape[1]].tobytes(), position


def test_a_run_of_many_tokens_is_as_many_runs() -> None:
    shape, chip = GptShape(), CHIPS["gpt"]
    _, model = made(shape, 3)
    reference, program = KernelReference(gpt_decoding(model, chip).kernels, chip), compile_gpt(model, chip)
    fed, expected = 5, []
    for position in range(shape.context):
        fed = chosen(reference.run(gpt_inputs(fed, position))[HISTORY][position])
        expected.append(fed)
    with open_device("golden", chip) as device:
        device.load(program)
        result = device.run(gpt_inputs(5, 0), shape.context)
    assert [chosen(row) for row in result.outputs[HISTORY]] == expected
    assert len({*expected}) > 3
    assert result.cycles == timing(chip).series(program.cycles, shape.context)


@pytest.mark.parametrize(("name", "most"), [("gpt", 660), ("ulx3s", 1000)])
def test_a_token_takes_no_longer_than_promised(name: str, most: int) -> None:
    chip = CHIPS[name]
    assert compile_gpt(made(GptShape(), 0)[1], chip).cycles + timing(chip).rerun <= most


def test_equal_logits_choose_the_first() -> None:
    gpt = random_gpt(GptShape(), 0)
    twice = np.concatenate([gpt.output[:9]] * 3)
    model = quantise_gpt(dataclasses.replace(gpt, output=twice), random_texts(gpt.shape, 0))
    reference = KernelReference(gpt_decoding(model, CHIPS["gpt"]).kernels, CHIPS["gpt"])
    found = {chosen(reference.run(gpt_inputs(fed, 0))[HISTORY][0]) for fed in range(27)}
    assert len(found) > 2
    assert found <= {*range(9)}


@pytest.mark.parametrize(
    ("chip", "shape", "problem"),
    [
        (CHIPS["gpt"], GptShape(heads=1), "heads are at most 16 wide"),
        (CHIPS["gpt"], GptShape(vocabulary=300), "300 tokens"),
        (dataclasses.replace(CHIPS["gpt"], mxm_transposes=False), GptShape(), "mxm_transposes"),
        (NANO, GptShape(), "."),
    ],
)
def test_what_does_not_suit_the_chip_is_refused(chip: ChipConfig, shape: GptShape, problem: str) -> None:
    with pytest.raises(CompileError, match=problem):
        compile_gpt(made(shape, 0)[1], chip)
