# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""`lpu llm`: what it writes, what it says of itself, and how it refuses."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from openlpu.arch.presets import ULX3S
from openlpu.arch.timing import timing
from openlpu.cli.main import main
from openlpu.llm.session import Session
from openlpu.runtime.driver import DeviceError

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "examples/llama/model"
TEXT = MODEL / "heldout.txt"
SMALL = ROOT / "tests/llm/fixtures/multi_query"
"""A network that is compiled in a moment; `GROUPED` is one of two layers with two heads of keys and values."""
GROUPED = ROOT / "tests/llm/fixtures/grouped_tied"


def llm(command: str, model: Path, *arguments: object, config: object = "ulx3s") -> Result:
    parts = ("llm", command, model, "--config", config, *arguments)
    return CliRunner().invoke(main, [str(part) for part in parts])


def llm_json(command: str, *arguments: object, model: Path = MODEL) -> Any:
    result = llm(command, model, *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    return json.loads(result.stdout)


def test_the_example_writes_as_fast_as_predicted() -> None:
    found = llm_json("run", "--prompt", "Return a new", "--tokens", 12, "--prefill", "tokens")
    assert len(found["tokens"]) == found["count"] == 12
    assert found["cycles"] == timing(ULX3S).series(found["predicted_cycles"], 12)
    assert found["cycles_per_token"] == found["predicted_cycles_per_token"]
    assert found["parameters"] == 162_240
    assert found["tokens_per_second"] == pytest.approx(80e6 / found["cycles_per_token"], rel=1e-4)
    shown = llm("run", MODEL, "--prompt", "Return a new", "--tokens", 12, "--prefill", "tokens")
    assert shown.stdout.startswith("Return a new" + found["text"])
    assert f"{found['cycles_per_token']:,}" in shown.stdout


def test_the_host_draws_tokens_if_asked() -> None:
    asked = ("run", "--prompt", "Return a new", "--tokens", 8, "--temperature", 1.5)
    found, other = (llm_json(*asked, "--seed", seed, model=SMALL) for seed in (1, 2))
    assert llm_json(*asked, "--seed", 1, model=SMALL)["tokens"] == found["tokens"] != other["tokens"]
    assert found["tokens_per_run"] == 1
    assert found["cycles"] == 8 * found["predicted_cycles"]
    likeliest = llm_json("run", "--prompt", "Return a new", "--tokens", 8, model=SMALL)["tokens"]
    assert llm_json(*asked, "--top-k", 1, model=SMALL)["tokens"] == likeliest


def test_the_host_reads_the_prompt_if_asked() -> None:
    asked = ("run", "--prompt", "Return a new", "--tokens", 4)
    host, fed = (llm_json(*asked, "--prefill", reader, model=GROUPED) for reader in ("host", "tokens"))
    assert host["tokens"] == fed["tokens"]
    assert (host["prefill"], fed["prefill"]) == ("host", "tokens")
    tokens = host["prompt_tokens"]
    assert tokens == fed["prompt_tokens"] > 1
    assert host["prefill_cycles"] == host["predicted_cycles"]
    assert fed["prefill_cycles"] == tokens * fed["predicted_cycles"]
    # Keys and values of two heads in each of two layers, and the list of tokens.
    assert (host["prefill_words"], fed["prefill_words"]) == (9 * (tokens - 1), 0)
    shown = llm("run", GROUPED, *asked[1:], "--prefill", "host").stdout
    assert f"{tokens} tokens: {host['prefill_cycles']:,} cycles, {host['prefill_words']} words from the host" in shown


def test_contexts_take_turns_in_one_answer() -> None:
    """A prompt in blocks, and the programs of two contexts: every cycle was known before."""
    found = llm_json("run", "--prompt", "Return a new", "--tokens", 40, model=SMALL)
    assert (found["contexts"], found["prefill"], found["prefill_words"]) == ([16, 64], "chip", 0)
    assert found["prefill_blocks"] >= 1
    assert found["prefill_cycles"] < found["prompt_tokens"] * found["cycles_per_token"] / 2
    assert found["cycles_per_token"] == found["predicted_cycles_per_token"]


def test_perplexity_is_that_of_floats_within_two_per_cent() -> None:
    found = llm_json("eval", "--text", TEXT, "--windows", 6)
    assert found["tokens_predicted"] == 6 * 63
    assert 1 < found["perplexity"] < 1.02 * found["perplexity_float32"]
    asked = ("--text", TEXT, "--windows", 1, "--length", 16)
    found = llm_json("eval", *asked, model=GROUPED)
    assert f"{found['perplexity']}" in llm("eval", GROUPED, *asked).stdout


def test_a_report_tells_every_part() -> None:
    parts = llm_json("report", "--context", 32)
    assert [part["name"] for part in parts[:3]] == ["embedding", "layer0 attention norm", "position"]
    assert parts[-1]["name"] == "arg-max"
    shown = llm("report", MODEL, "--context", 32).stdout
    assert all(part["name"] in shown for part in parts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--prompt", ""), "the prompt is empty"),
        (("run", "--prompt", "x" * 2000), "shorten it"),
        (("run", "--prompt", "Return", "--tokens", 256), "more than its context of 256"),
        (("run", "--prompt", "Return", "--backend", "fpga"), "'fpga' is none of"),
        (("run", "--prompt", "Return", "--temperature", "nan"), "a number is needed"),
        (("run", "--prompt", "Return", "--seed", -1), "-1 is not in the range"),
        (("run", "--prompt", "Return", "--prefill", "board"), "'board' is not one of 'chip', 'tokens', 'host'"),
        (("eval", "--text", "missing.txt"), "missing.txt: No such file"),
        (("eval", "--text", TEXT, "--length", 257), "longer than the context of 256"),
        (("eval", "--text", TEXT, "--windows", 2000), "too few for 2000 parts"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(arguments: tuple[str, ...], message: str) -> None:
    command, *rest = arguments
    result = llm(command, MODEL, *rest)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("asked", [("run", "--prompt", "Return"), ("eval", "--text", TEXT)], ids=lambda asked: asked[0])
def test_a_device_that_fails_fails_the_command(asked: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def feed(session: Session, tokens: list[int]) -> None:
        raise DeviceError("the board has gone")

    monkeypatch.setattr(Session, "feed", feed)
    command, *rest = asked
    result = llm(command, MODEL, *rest)
    assert (result.exit_code, result.stderr) == (1, "lpu: error: the board has gone\n")


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_models_that_are_not_whole_are_refused(missing: str, tmp_path: Path) -> None:
    shutil.copytree(MODEL, tmp_path / "model")
    (tmp_path / "model" / missing).unlink()
    result = llm("run", tmp_path / "model", "--prompt", "Return")
    assert result.exit_code == 2
    assert missing.split(".")[-1] in result.stderr
    assert result.stderr.count("\n") == 1


def test_truncated_weights_are_refused(tmp_path: Path) -> None:
    shutil.copytree(MODEL, tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    result = llm("run", tmp_path / "model", "--prompt", "Return")
    assert result.exit_code == 2
    assert "model.safetensors" in result.stderr


@pytest.mark.parametrize(
    ("config", "message"), [("ulx3s16", "columns"), ("nano", "words of SRAM"), ("nowhere", "no config")]
)
def test_chips_that_do_not_suit_are_refused(config: str, message: str) -> None:
    result = llm("run", MODEL, "--prompt", "Return", config=config)
    assert result.exit_code == 2
    assert message in result.stderr


def test_text_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe")
    result = llm("eval", MODEL, "--text", tmp_path / "a.txt")
    assert result.exit_code == 2
    assert "a.txt: not UTF-8" in result.stderr
