# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""`lpu llm`: language models, from a Hugging Face directory to text that a chip writes."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from openlpu.arch.config import ChipConfig
from openlpu.arch.presets import find_config
from openlpu.cli import figures
from openlpu.cli.errors import UserError
from openlpu.cli.running import backend_option, open_backend, running
from openlpu.cli.terminal import json_option, print_facts, print_json, print_table, working
from openlpu.llm.answering import Answer, predicted, write
from openlpu.llm.calibrate import own_texts
from openlpu.llm.checkpoint import Checkpoint, load_checkpoint
from openlpu.llm.float_model import cross_entropy, forward, perplexity
from openlpu.llm.prefill import Prefill, by_chip, by_host, by_tokens
from openlpu.llm.program import Turns, compile_turns, context_for, contexts_for
from openlpu.llm.quantise import QuantisedLlama, quantise
from openlpu.llm.report import breakdown
from openlpu.llm.sampling import Sampling, sample
from openlpu.llm.session import Session
from openlpu.llm.tokens import encode
from openlpu.llm.turn_session import TurnSession

directory_argument = click.argument("directory", type=click.Path(path_type=Path))
config_option = click.option("--config", required=True, help="The chip: a preset, or a .toml or .json file.")
context_option = click.option(
    "--context",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Positions of the program, if the network knows as many, or else all that it knows.",
)


@click.group()
def llm() -> None:
    """Language models: Llamas in the format of Hugging Face."""


@dataclass(frozen=True)
class _Writer:
    """A network, and its programs for contexts that are long enough."""

    checkpoint: Checkpoint
    model: QuantisedLlama
    turns: Turns
    seconds: float
    """It took to compile."""


@llm.command("run")
@directory_argument
@click.option("--prompt", required=True, help="The text to go on from.")
@click.option("--tokens", "count", type=click.IntRange(min=1), default=32, show_default=True, help="How many to write.")
@click.option(
    "--temperature",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Above 0, the host draws tokens.",
)
@click.option("--top-k", type=click.IntRange(min=0), default=0, help="It draws from so many; 0, from all.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="What it draws with.")
@click.option(
    "--prefill",
    "reader",
    type=click.Choice(["chip", "tokens", "host"]),
    default="chip",
    show_default=True,
    help="Who reads the prompt: the chip, in blocks; the chip, a token a run; or numpy with its arithmetic.",
)
@config_option
@backend_option
@json_option
def run_llm(
    directory: Path,
    prompt: str,
    count: int,
    temperature: float,
    top_k: int,
    seed: int,
    reader: str,
    config: str,
    backend: str,
    as_json: bool,
) -> None:
    """Let the Llama in DIRECTORY go on from a prompt: the likeliest token, again and again, all on the chip."""
    chip, checkpoint = find_config(config), load_checkpoint(directory)
    tokens = encode(checkpoint, prompt)
    if not temperature < math.inf:
        raise UserError(f"--temperature {temperature}: a number is needed")
    require_room(directory, checkpoint, len(tokens) + count, f"{len(tokens)} tokens of prompt and {count} to write")
    whole, waiting = len(tokens) + count, len(tokens) - 1
    contexts = contexts_for(checkpoint.shape, 0 if reader == "tokens" else waiting, whole, chip)
    prompt_context = context_for(checkpoint.shape, waiting, chip) if reader == "chip" and waiting else 0
    writer = _compiled(checkpoint, contexts, chip, as_json, prompt_context)
    with working(f"preparing {backend} for {chip.name}", as_json=as_json):
        device = open_backend(backend, chip)
    with device, working(f"writing {count} tokens on {backend}", as_json=as_json):
        device.load(writer.turns.first)
        session = TurnSession(device, writer.turns)
        start = time.perf_counter()
        with running():
            if reader == "host":
                read = by_host(session, tokens, writer.model)
            else:
                read = (by_chip if reader == "chip" else by_tokens)(session, tokens)
            logits, behind = read.logits[: checkpoint.shape.vocabulary], session.position
            ends = checkpoint.shape.eos
            if temperature:
                written = sample(session, logits, count, Sampling(temperature, top_k, seed), ends)
            else:
                written = write(session, count, ends)
        seconds = round(time.perf_counter() - start, 3)
    found = {
        **_found(writer, written, predicted(session, behind, written.made, written.together), backend, seconds),
        "prompt_tokens": len(tokens),
        "prefill": "chip" if read.blocks else "host" if reader == "host" else "tokens",
        "prefill_cycles": read.cycles,
        "prefill_words": read.words,
        "prefill_blocks": read.blocks,
    }
    text = checkpoint.tokenizer.decode(written.tokens)
    if as_json:
        print_json({**found, "prompt": prompt, "tokens": written.tokens, "text": text})
        return
    click.echo(prompt + text)
    click.echo()
    print_facts(
        [
            ("model", f"{checkpoint.name} ({found['parameters']:,} parameters)"),
            ("chip", f"{chip.name} ({chip.digest})"),
            ("prompt", _prompt_text(len(tokens), read)),
            ("cycles/token, predicted", f"{found['predicted_cycles_per_token']:,}"),
            (
                "cycles/token, measured",
                f"{found['cycles_per_token']:,} on {backend}, {found['tokens_per_run']} tokens in one go",
            ),
            (
                "text",
                f"{len(written.tokens)} tokens, {'ended' if written.ended else 'goes on'}; {written.made} were made",
            ),
            ("tokens/s", f"{found['tokens_per_second']:,} at {chip.clock_mhz:g} MHz"),
            ("compiled in", f"{writer.seconds} s"),
        ]
    )


@llm.command("report")
@directory_argument
@context_option
@config_option
@json_option
def report_llm(directory: Path, context: int, config: str, as_json: bool) -> None:
    """Where the cycles of a token of the Llama in DIRECTORY go."""
    chip, checkpoint = find_config(config), load_checkpoint(directory)
    with working(f"scheduling {checkpoint.name} for {chip.name}", as_json=as_json):
        model = quantise(checkpoint, own_texts(checkpoint))
        parts = breakdown(model, context_for(checkpoint.shape, context, chip), chip)
    if as_json:
        print_json([{**dataclasses.asdict(part), "bound": part.bound} for part in parts])
        return
    header = ("part", "ends", "cycles", "chain", "weights", "bound by")
    rows = [(part.name, part.ends, part.cycles, part.chain, part.weights, part.bound) for part in parts]
    print_table(f"a token of {checkpoint.name} on {chip.name}", header, rows)


@llm.command("eval")
@directory_argument
@click.option("--text", "path", required=True, type=click.Path(path_type=Path), help="A text in UTF-8.")
@click.option("--windows", type=click.IntRange(min=1), default=8, show_default=True, help="How many parts of it.")
@click.option("--length", type=click.IntRange(min=2), default=64, show_default=True, help="Tokens of a part.")
@config_option
@backend_option
@json_option
def evaluate(directory: Path, path: Path, windows: int, length: int, config: str, backend: str, as_json: bool) -> None:
    """Perplexity of the Llama in DIRECTORY on parts of a text, on the chip and in float32.

    Parts are spread over the text, and in each all tokens but the first are predicted from those before them.
    """
    chip, checkpoint = find_config(config), load_checkpoint(directory)
    try:
        tokens = encode_all(checkpoint, path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8: {error.reason}") from None
    if length > checkpoint.shape.context:
        raise UserError(f"parts of {length} tokens are longer than the context of {checkpoint.shape.context}")
    if windows * length > len(tokens):
        raise UserError(f"{path}: has {len(tokens)} tokens, too few for {windows} parts of {length}")
    writer = _compiled(checkpoint, [context_for(checkpoint.shape, length, chip)], chip, as_json)
    on_chip, in_float = [], []
    with open_backend(backend, chip) as device, working(f"reading {path.name} on {backend}", as_json=as_json):
        device.load(writer.turns.first)
        for first in np.linspace(0, len(tokens) - length, windows).astype(int):
            part = tokens[first : first + length]
            with running():
                found = Session(device).feed(part)[:, : checkpoint.shape.vocabulary]
            on_chip.append(cross_entropy(found[:-1], part[1:]))
            in_float.append(cross_entropy(forward(checkpoint, part, np.float32)[:-1], part[1:]))
    here, there = perplexity(np.concatenate(on_chip)), perplexity(np.concatenate(in_float))
    result = {
        "tokens_predicted": windows * (length - 1),
        "perplexity": round(here, 4),
        "perplexity_float32": round(there, 4),
        "ratio": round(here / there, 4),
        "backend": backend,
        "config": chip.name,
    }
    if as_json:
        print_json(result)
    else:
        print_facts([(name.replace("_", " "), value) for name, value in result.items()])


def require_room(directory: Path, checkpoint: Checkpoint, positions: int, what: str) -> None:
    """Raise UserError when a network does not know as many positions as `what` takes."""
    if positions > checkpoint.shape.context:
        raise UserError(f"{directory}: {what} are more than its context of {checkpoint.shape.context}: ask for fewer")


def encode_all(checkpoint: Checkpoint, text: str) -> list[int]:
    """The tokens of a whole text, without what belongs around one."""
    return list(checkpoint.tokenizer.encode(text, add_special_tokens=False).ids)


def _compiled(
    checkpoint: Checkpoint, contexts: Sequence[int], chip: ChipConfig, as_json: bool, prompt: int = 0
) -> _Writer:
    """Programs for some contexts, and for reading a prompt in blocks at positions below `prompt`, if that is not 0."""
    start = time.perf_counter()
    with working(f"compiling {checkpoint.name} for {chip.name}", as_json=as_json):
        model = quantise(checkpoint, own_texts(checkpoint))
        turns = compile_turns(model, contexts, chip, prompt=prompt)
    return _Writer(checkpoint, model, turns, round(time.perf_counter() - start, 1))


def _prompt_text(tokens: int, read: Prefill) -> str:
    how = f"in {read.blocks} block{'s' * (read.blocks > 1)}" if read.blocks else f"{read.words:,} words from the host"
    return f"{tokens} tokens: {read.cycles:,} cycles, {how}"


def _found(writer: _Writer, written: Answer, predicted_cycles: int, backend: str, seconds: float) -> dict[str, Any]:
    """What writing came to, for machines to read; of a text that ends at once there are no cycles."""
    program, made = writer.turns.first, max(written.made, 1)
    rate = written.made / written.cycles if written.cycles else 0.0
    return {
        **figures.summary(program),
        "parameters": writer.checkpoint.parameters,
        "backend": backend,
        "count": len(written.tokens),
        "made": written.made,
        "ended": written.ended,
        "tokens_per_run": written.together,
        "cycles": written.cycles,
        "contexts": [context for context, _ in writer.turns.writing],
        "predicted_cycles_per_token": round(predicted_cycles / made, 2),
        "cycles_per_token": round(written.cycles / made, 2),
        "tokens_per_second": round(1e6 * program.config.clock_mhz * rate, 1),
        "compile_seconds": writer.seconds,
        "wall_seconds": seconds,
    }
