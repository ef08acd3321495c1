# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The Llama that is shipped: what its README claims, and that it reads and writes text."""

import re
from pathlib import Path

import numpy as np
import pytest
from tokenizers.decoders import DecodeStream

from openlpu.arch.presets import ULX3S8
from openlpu.compiler.errors import CompileError
from openlpu.llm.calibrate import own_texts
from openlpu.llm.checkpoint import Checkpoint, load_checkpoint
from openlpu.llm.float_model import cross_entropy, forward, perplexity
from openlpu.llm.program import compile_llama
from openlpu.llm.quantise import quantise
from openlpu.llm.tokens import encode

ROOT = Path(__file__).parents[2]
MODEL, DOCS = ROOT / "examples/llama/model", ROOT / "docs/llm.md"


@pytest.fixture(scope="module")
def llama() -> Checkpoint:
    return load_checkpoint(MODEL)


@pytest.fixture(scope="module")
def readme() -> str:
    return (MODEL / "README.md").read_text(encoding="utf-8")


def held_out_windows(llama: Checkpoint) -> list[list[int]]:
    tokens = llama.tokenizer.encode((MODEL / "heldout.txt").read_text(encoding="utf-8")).ids
    context = llama.shape.context
    return [tokens[start : start + context] for start in range(0, len(tokens) - context + 1, context)]


def test_its_shape_is_the_one_that_fits(llama: Checkpoint) -> None:
    shape = llama.shape
    assert (shape.vocabulary, shape.hidden, shape.layers, shape.ffn, shape.context) == (512, 64, 3, 160, 256)
    assert (shape.heads, shape.kv_heads, shape.head_size, shape.tied) == (4, 2, 16, True)
    assert llama.tokenizer.get_vocab_size() == 512
    assert shape.eos == (shape.bos,) == (llama.tokenizer.token_to_id("<|endoftext|>"),)


def test_a_token_takes_on_the_chip_for_a_board_what_the_docs_say(llama: Checkpoint) -> None:
    """It fits the text memories of that chip with the contexts that the docs have, and with no longer one."""
    rows = re.findall(r"^\| context of (\d+) \| [\d,]+ \| ([\d,]+) \|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    claimed = {int(context): int(cycles.replace(",", "")) for context, cycles in rows}
    assert [*claimed] == [64, 128]
    quantised = quantise(llama, own_texts(llama))
    assert {context: compile_llama(quantised, context, ULX3S8).cycles for context in claimed} == claimed
    with pytest.raises(CompileError, match="config with more imem_words"):
        compile_llama(quantised, 256, ULX3S8)


def test_its_perplexity_is_the_one_in_its_readme(llama: Checkpoint, readme: str) -> None:
    # torch measured it; this is the same text through the float model.
    claimed = re.search(r"^\| `heldout.txt` \| ([\d.]+) \| ([\d.]+) \|$", readme, re.MULTILINE)
    assert claimed is not None
    losses = [cross_entropy(forward(llama, window[:-1], np.float32), window[1:]) for window in held_out_windows(llama)]
    assert len(losses) > 40
    measured = np.concatenate(losses)
    assert measured.mean() == pytest.approx(float(claimed[1]), abs=1e-3)
    assert perplexity(measured) == pytest.approx(float(claimed[2]), rel=1e-3)


def test_it_writes_what_its_readme_shows(llama: Checkpoint, readme: str) -> None:
    shown = re.search(r"^```text\n(.*?)\n```$", readme, re.MULTILINE | re.DOTALL)
    assert shown is not None
    tokens = encode(llama, "Return a new")
    text, stream = "Return a new", DecodeStream(skip_special_tokens=True)
    for _ in range(20):
        tokens.append(int(forward(llama, tokens)[-1].argmax()))
        text += stream.step(llama.tokenizer, tokens[-1]) or ""
    assert len(text) > len("Return a new") + 15
    assert shown[1].startswith(text.rstrip())


@pytest.mark.parametrize("text", ["Return a list.", "  x = {'a': 1}\n", "naïve 漢字 🙂", "\x00\t\r\n"])
def test_any_text_has_an_encoding(llama: Checkpoint, text: str) -> None:
    tokens = llama.tokenizer.encode(text).ids
    assert llama.tokenizer.decode(tokens) == text
    stream = DecodeStream()
    assert "".join(stream.step(llama.tokenizer, token) or "" for token in tokens) == text
