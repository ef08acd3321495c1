# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""`lpu system`: one network on several chips."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from openlpu.arch.system import SystemConfig
from openlpu.arch.timing import timing
from openlpu.cli.figures import summary
from openlpu.cli.llm import context_option, directory_argument, require_room
from openlpu.cli.running import backend_option, open_system, running
from openlpu.cli.targets import chips_option, find_system, target_option
from openlpu.cli.terminal import json_option, print_facts, print_json, print_table, working
from openlpu.compiler.onnx_import import import_onnx
from openlpu.compiler.partition import partition
from openlpu.compiler.stage_partition import partition_stages
from openlpu.compiler.system_pipeline import CompiledSystem, Dealing, compile_graph_system
from openlpu.compiler.system_report import SystemReport, Timeline, system_report
from openlpu.llm.calibrate import own_texts
from openlpu.llm.checkpoint import Checkpoint, load_checkpoint
from openlpu.llm.program import compile_llama_system, context_for
from openlpu.llm.quantise import quantise
from openlpu.llm.session import Session
from openlpu.llm.tokens import encode

_DEALINGS: Mapping[str, Dealing] = {"columns": partition, "layers": partition_stages}
by_option = click.option(
    "--by",
    type=click.Choice(tuple(_DEALINGS)),
    default="columns",
    show_default=True,
    help="Of a Llama chips have heads and columns of every layer, or whole layers, one chip after the other.",
)
_SHADES = " .:-=+*#"
"""How busy something is, from not at all to all the time."""


@click.group()
def system() -> None:
    """Several chips that run one network, dealt out to them: bit by bit what one chip computes."""


@system.command("run")
@directory_argument
@click.option("--prompt", required=True, help="The text to go on from.")
@click.option("--tokens", "count", type=click.IntRange(min=1), default=32, show_default=True, help="How many to write.")
@by_option
@chips_option
@target_option
@backend_option
@json_option
def run_system(
    directory: Path, prompt: str, count: int, by: str, chips: int | None, config: str, backend: str, as_json: bool
) -> None:
    """Let the Llama in DIRECTORY go on from a prompt, on several chips, with no host in between."""
    target, checkpoint = find_system(config, chips), load_checkpoint(directory)
    tokens = encode(checkpoint, prompt)
    require_room(directory, checkpoint, len(tokens) + count, f"{len(tokens)} tokens of prompt and {count} to write")
    program = _compiled(checkpoint, len(tokens) + count, target, by, as_json).program
    with working(f"preparing {backend} for {target.name}", as_json=as_json):
        device = open_system(backend, target)
    with device, working(f"writing {count} tokens on {backend}", as_json=as_json), running():
        device.load(program)
        session = Session(device)
        session.feed(tokens)
        start = time.perf_counter()
        written = session.generate(count)
        seconds = round(time.perf_counter() - start, 3)
        replays = device.device.replayed
    predicted, text = timing(target.chip).series(program.cycles, count), checkpoint.tokenizer.decode(written.tokens)
    each, clock = written.cycles / count, target.chip.clock_mhz
    if as_json:
        found = {
            **summary(program),
            "backend": backend,
            "count": count,
            "predicted_cycles_of_all": predicted,
            "cycles": written.cycles,
            "cycles_per_token": round(each, 2),
            "tokens_per_second": round(1e6 * clock / each, 1),
            "replays": replays,
            "wall_seconds": seconds,
        }
        print_json({**found, "prompt": prompt, "tokens": written.tokens, "text": text})
        return
    click.echo(prompt + text)
    click.echo()
    print_facts(
        [
            ("model", checkpoint.name),
            ("system", f"{target.name}: {target.chips} chips {target.chip.name} ({target.chip.digest})"),
            ("links", f"{target.parallel} between two, {target.latency} cycles from send to receive"),
            ("cycles, predicted", f"{predicted:,}"),
            ("cycles, measured", f"{written.cycles:,} on {backend}, {count} tokens in one go, {replays} replays"),
            ("cycles/token", f"{each:,.2f}"),
            ("tokens/s", f"{1e6 * clock / each:,.1f} at {clock:g} MHz"),
        ]
    )


@system.command("report")
@click.argument("model", type=click.Path(path_type=Path))
@context_option
@click.option("--batch", type=click.IntRange(min=1), help="Of an ONNX file: size of a dynamic first dimension.")
@by_option
@chips_option
@target_option
@json_option
def report_system(
    model: Path, context: int, batch: int | None, by: str, chips: int | None, config: str, as_json: bool
) -> None:
    """What every chip and every link does in MODEL, and who waits.

    MODEL is an ONNX file, or a directory with a Llama, of which it is one token.
    """
    target = find_system(config, chips)
    if model.is_dir():
        compiled = _compiled(load_checkpoint(model), context, target, by, as_json)
    else:
        with working(f"compiling {model.name} for {target.name}", as_json=as_json):
            compiled = compile_graph_system(import_onnx(model, batch=batch), target)
    report = system_report(compiled)
    if as_json:
        print_json(report_as_dict(report))
    else:
        print_report(report)


def _compiled(checkpoint: Checkpoint, tokens: int, target: SystemConfig, by: str, as_json: bool) -> CompiledSystem:
    with working(f"compiling {checkpoint.name} for {target.name}", as_json=as_json):
        model = quantise(checkpoint, own_texts(checkpoint))
        return compile_llama_system(model, context_for(checkpoint.shape, tokens, target.chip), target, _DEALINGS[by])


def report_as_dict(report: SystemReport) -> dict[str, Any]:
    """A report for machines to read."""
    return {
        "cycles": report.cycles,
        "units": [dataclasses.asdict(use) for use in report.units],
        "links": [
            {**dataclasses.asdict(use), "sender": str(use.sender), "receiver": str(use.receiver)}
            for use in report.links
        ],
        "waits": [{**dataclasses.asdict(wait), "cycles": wait.cycles} for wait in report.waits],
    }


def print_report(report: SystemReport) -> None:
    """A report for people to read."""
    heading = f"{report.cycles:,} cycles, from '{_SHADES[0]}' (idle) to '{_SHADES[-1]}' (always busy)"
    units = [[f"chip {use.chip}", use.unit, _shaded(use.timeline)] for use in report.units]
    print_table(heading, ["", "", "from the first cycle to the last"], units)
    click.echo()
    links = [[str(use.sender), str(use.receiver), use.vectors, _shaded(use.timeline)] for use in report.links]
    print_table("links", ["from", "to", "vectors", "from the first cycle to the last"], links)
    click.echo()
    waits = [[wait.gathered, f"chip {wait.chip}", wait.own, wait.whole, wait.cycles] for wait in report.waits]
    print_table("where all need what each has a part of", ["", "", "its own there", "all there", "waits"], waits)


def _shaded(timeline: Timeline) -> str:
    return "|" + "".join(_SHADES[round(busy * (len(_SHADES) - 1))] for busy in timeline) + "|"
