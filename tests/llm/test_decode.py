# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Llamas on the golden chip: against what `transformers` computed, and against themselves, fed token by token."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from openlpu.arch.config import AluConfig, ChipConfig
from openlpu.arch.presets import LAB32, NANO, ULX3S, ULX3S16
from openlpu.arch.program import Program
from openlpu.arch.timing import timing
from openlpu.compiler.errors import CompileError
from openlpu.compiler.kernel_bounds import kernel_bounds
from openlpu.llm.calibrate import own_texts
from openlpu.llm.checkpoint import Checkpoint, load_checkpoint
from openlpu.llm.decode import decoding
from openlpu.llm.float_model import forward
from openlpu.llm.program import compile_llama, context_for, lasting_words
from openlpu.llm.quantise import QuantisedLlama, quantise
from openlpu.llm.report import breakdown
from openlpu.llm.session import Session
from openlpu.runtime.driver import InputError, open_device
from openlpu.runtime.program_file import from_bytes, to_bytes

FIXTURES = Path(__file__).parent / "fixtures"
EXAMPLE = Path(__file__).parents[2] / "examples/llama"


@dataclasses.dataclass(frozen=True)
class Case:
    """A fixture, and its program for all its tokens."""

    checkpoint: Checkpoint
    model: QuantisedLlama
    tokens: list[int]
    logits: np.ndarray
    program: Program


@pytest.fixture(scope="module", params=["multi_query", "grouped_tied", "multi_head_untied"])
def case(request: pytest.FixtureRequest) -> Case:
    directory = FIXTURES / request.param
    checkpoint = load_checkpoint(directory)
    tokens = json.loads((directory / "tokens.json").read_text())
    model = quantise(checkpoint, own_texts(checkpoint))
    program = compile_llama(model, context_for(checkpoint.shape, len(tokens), ULX3S), ULX3S)
    return Case(checkpoint, model, tokens, np.load(directory / "logits.npy"), program)


def test_logits_are_those_of_transformers(case: Case) -> None:
    with open_device("golden", ULX3S) as device:
        device.load(case.program)
        found = Session(device).feed(case.tokens)[:, : case.checkpoint.shape.vocabulary]
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(case.logits, axis=1)
    cosines = (found * case.logits).sum(axis=1) / lengths
    assert cosines.min() > 0.997
    assert cosines.mean() > 0.999


def test_several_planes_have_caches_and_tables_in_front_of_them() -> None:
    """The embedding, which the tokens are looked up in and logits are made with, among them."""
    directory = FIXTURES / "grouped_tied"
    checkpoint = load_checkpoint(directory)
    tokens, want = json.loads((directory / "tokens.json").read_text())[:8], np.load(directory / "logits.npy")[:8]
    program = compile_llama(quantise(checkpoint, own_texts(checkpoint)), 32, LAB32)
    with open_device("golden", LAB32) as device:
        device.load(program)
        found = Session(device).feed(tokens)[:, : checkpoint.shape.vocabulary]
    cosines = (found * want).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(want, axis=1)
    assert cosines.min() > 0.997


def test_a_run_of_many_tokens_is_as_many_runs(case: Case) -> None:
    half = len(case.tokens) // 2
    with open_device("golden", ULX3S) as device:
        device.load(case.program)
        session = Session(device)
        logits = session.feed(case.tokens[:half])
        together = session.generate(half)
    with open_device("golden", ULX3S) as device:
        device.load(case.program)
        session = Session(device)
        last = session.feed(case.tokens[:half])[-1]
        alone = []
        for _ in range(half):
            alone.append(int(last[: case.checkpoint.shape.vocabulary].argmax()))
            last = session.feed(alone[-1:])[-1]
    assert np.isfinite(logits[:, : case.checkpoint.shape.vocabulary]).all()
    assert together.tokens == alone
    assert together.cycles == timing(ULX3S).series(case.program.cycles, half)


def test_a_second_sequence_knows_nothing_of_the_first(case: Case) -> None:
    with open_device("golden", ULX3S) as device:
        device.load(case.program)
        first = Session(device).feed(case.tokens[:5])
        Session(device).feed(case.tokens[5:9])
        again = Session(device).feed(case.tokens[:5])
    assert first.tobytes() == again.tobytes()


def test_no_schedule_beats_the_bounds(case: Case) -> None:
    bounds = kernel_bounds(decoding(case.model, 32, ULX3S).kernels, ULX3S)
    assert 0 < bounds.resources["weight streams"] < bounds.chain <= case.program.cycles


def test_the_parts_of_a_token_make_up_the_program(case: Case) -> None:
    parts = breakdown(case.model, 32, ULX3S)
    assert len({part.name for part in parts}) == len(parts) == 5 + 10 * case.checkpoint.shape.layers
    assert sum(part.cycles for part in parts) == parts[-1].ends <= case.program.cycles
    assert sum(part.chain for part in parts) == case.program.chain_bound
    assert sum(part.weights for part in parts) == case.program.resource_bound


def test_the_file_of_a_program_keeps_what_it_keeps(case: Case) -> None:
    assert case.program.kept
    assert from_bytes(to_bytes(case.program)).kept == case.program.kept


def test_a_session_ends_with_its_context(case: Case) -> None:
    with open_device("golden", ULX3S) as device:
        device.load(case.program)
        session = Session(device)
        with pytest.raises(InputError, match="begins with a token"):
            session.generate(1)
        session.feed(case.tokens[:1])
        with pytest.raises(InputError, match="33 tokens are more than the 32 that the program is made for"):
            session.generate(32)


@pytest.mark.parametrize(("size", "heads", "kv_heads"), [(6, 4, 2), (24, 3, 1), (32, 2, 2), (64, 3, 1)])
def test_heads_of_any_size(size: int, heads: int, kv_heads: int) -> None:
    checkpoint = with_heads(size, heads, kv_heads)
    tokens = np.random.default_rng(size).integers(0, checkpoint.shape.vocabulary, 16).tolist()
    with open_device("golden", ULX3S) as device:
        device.load(compile_llama(quantise(checkpoint, own_texts(checkpoint)), 16, ULX3S))
        found = Session(device).feed(tokens)[:, : checkpoint.shape.vocabulary]
    wanted = forward(checkpoint, tokens)
    cosines = (found * wanted).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(wanted, axis=1)
    assert cosines.min() > 0.997
    assert cosines.mean() > 0.999


def with_heads(size: int, heads: int, kv_heads: int) -> Checkpoint:
    """A Llama of one layer with random weights and heads of another size than any fixture's."""
    base = load_checkpoint(FIXTURES / "multi_query")
    shape = dataclasses.replace(base.shape, layers=1, head_size=size, heads=heads, kv_heads=kv_heads)
    random, hidden = np.random.default_rng(size), shape.hidden

    def matrix(outputs: int, inputs: int) -> npt.NDArray[np.float32]:
        return random.normal(0, inputs**-0.5, (outputs, inputs)).astype(np.float32)

    queries, keys = size * heads, size * kv_heads
    q, k, v, o = matrix(queries, hidden), matrix(keys, hidden), matrix(keys, hidden), matrix(hidden, queries)
    layer = dataclasses.replace(base.layers[0], q=q, k=k, v=v, o=o)
    return dataclasses.replace(base, shape=shape, layers=(layer,))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (NANO, "take 11,276 words of SRAM, and config 'nano' has 256: that would be 45 chips"),
        (ULX3S16, "config 'ulx3s16' cannot: set its 'mxm_transposes'"),
        (dataclasses.replace(ULX3S, sxm_rotates=False), "config 'ulx3s' cannot: set its 'sxm_rotates'"),
        (
            dataclasses.replace(ULX3S, alus=(*ULX3S.alus[:2], AluConfig(classes=(), chain=(1,)), *ULX3S.alus[3:])),
            "config 'ulx3s' cannot execute i2f, rsqrt, fmul behind a product",
        ),
        (dataclasses.replace(ULX3S, mem_words=256), r"config 'ulx3s' has 2,048: that would be 2 chips"),
        (dataclasses.replace(ULX3S, imem_words=64), "use a smaller network or a config with more imem_words"),
    ],
    ids=["tiny", "no columns", "no turns", "no special functions", "small", "short text"],
)
def test_chips_that_a_llama_does_not_suit(config: ChipConfig, message: str) -> None:
    checkpoint = load_checkpoint(FIXTURES / "multi_query")
    model = quantise(checkpoint, [[1, 2, 3]])
    with pytest.raises(CompileError, match=message):
        compile_llama(model, 32, config)


def test_a_chip_that_holds_the_weights_but_not_what_is_between() -> None:
    model = quantise(load_checkpoint(FIXTURES / "multi_query"), [[1, 2, 3]])
    fewest = -(-lasting_words(decoding(model, 32, ULX3S).kernels, ULX3S) // ULX3S.mem_slices)
    with pytest.raises(CompileError, match="no room in SRAM"):
        compile_llama(model, 32, dataclasses.replace(ULX3S, mem_words=fewest))


def test_words_that_are_used_again_make_no_difference(case: Case) -> None:
    fewest = -(-lasting_words(decoding(case.model, 32, ULX3S).kernels, ULX3S) // ULX3S.mem_slices)
    tight = None
    for mem_words in range(fewest, ULX3S.mem_words, 16):
        chip = dataclasses.replace(ULX3S, mem_words=mem_words)
        try:
            tight = compile_llama(case.model, 32, chip)
            break
        except CompileError:
            continue
    assert tight is not None
    found = []
    for program in (tight, case.program):
        with open_device("golden", program.config) as device:
            device.load(program)
            found.append(Session(device).feed(case.tokens[:20]).tobytes())
    written = [
        (queue, instruction.number("a"))
        for queue, text in tight.text.items()
        for instruction in text
        if instruction.spec.mnemonic == "write"
    ]
    assert len({*written}) < len(written)
    assert found[0] == found[1]


def test_more_tokens_than_an_index_can_tell() -> None:
    model = quantise(load_checkpoint(FIXTURES / "multi_query"), [[1, 2, 3]])
    many = dataclasses.replace(model, shape=dataclasses.replace(model.shape, vocabulary=70_000))
    with pytest.raises(CompileError, match="an index has two bytes, and there are 70000 tokens and 32 positions"):
        compile_llama(many, 32, ULX3S)


def test_contexts_are_whole_vectors() -> None:
    shape = dataclasses.replace(load_checkpoint(FIXTURES / "multi_query").shape, context=72)
    assert [context_for(shape, tokens, ULX3S) for tokens in (1, 16, 17, 33, 65, 72)] == [16, 16, 32, 64, 80, 80]
