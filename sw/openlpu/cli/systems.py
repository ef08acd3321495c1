# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""`lpu system`: one network on several chips."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from openlpu.arch.config import read_fields
from openlpu.arch.presets import find_config
from openlpu.arch.system import SystemConfig
from openlpu.arch.system_program import SystemProgram
from openlpu.arch.timing import timing
from openlpu.cli import figures
from openlpu.cli.errors import UserError
from openlpu.cli.llm import context_option, directory_argument, require_room
from openlpu.cli.running import backend_option, running
from openlpu.cli.terminal import json_option, print_facts, print_json, print_table, working
from openlpu.compiler.system_pipeline import CompiledSystem
from openlpu.compiler.system_report import SystemReport, Timeline, system_report
from openlpu.llm.calibrate import own_texts
from openlpu.llm.checkpoint import Checkpoint, load_checkpoint
from openlpu.llm.program import compile_llama_system, context_for
from openlpu.llm.quantise import quantise
from openlpu.llm.session import Session
from openlpu.llm.tokens import encode
from openlpu.runtime.driver import open_device
from openlpu.runtime.joined import JoinedDevice

config_option = click.option(
    "--config", required=True, help="A chip, a preset or a .toml or .json file, or such a file of a system."
)
_Command = TypeVar("_Command", bound=Callable[..., Any])
_SHADES = " .:-=+*#"
"""How busy something is, from not at all to all the time."""


def chips_option(command: _Command) -> _Command:
    """The `--chips` option, the same on every command."""
    return click.option(
        "--chips",
        type=click.IntRange(min=2),
        help="How many chips, each linked with each, where the config is that of one.",
    )(command)


def find_system(name: str, chips: int | None) -> SystemConfig:
    """The system that a config and a number of chips stand for: a config of a system, or a chip and how many.

    Raises:
        ConfigError: when there is no such config, or it is invalid.
        UserError: when both say how many chips there are, or none does.
    """
    if names_system(name):
        if chips is not None:
            raise UserError(f"{name}: a config of a system says how many chips it has: leave out --chips")
        return SystemConfig.from_file(Path(name))
    if chips is None:
        raise UserError(f"{name}: one chip: say how many with --chips, or give a config of a system")
    return SystemConfig.of(find_config(name), chips)


def names_system(name: str) -> bool:
    """Whether a config is one of a system, and not of a chip. Raises ConfigError for a file that cannot be read."""
    path = Path(name)
    return path.suffix in (".toml", ".json") and "chips" in read_fields(path)


def open_system(backend: str, system: SystemConfig) -> JoinedDevice:
    """Chips of a system as one device; what keeps them closed is the user's to mend."""
    try:
        return JoinedDevice(open_device(backend, system))
    except (ValueError, RuntimeError) as error:  # not installed, no C++ compiler, no board, links that are dead
        raise UserError(f"{backend} devices for {system.name}: {error}") from None


def system_summary(program: SystemProgram) -> dict[str, Any]:
    """The figures that every command prints, by their JSON keys; resources are those of the busiest chip."""
    config, busiest = program.system.chip, max(program.programs, key=lambda each: each.resource_bound)
    return {
        "program": program.name,
        "system": program.system.name,
        "chips": program.system.chips,
        "config": config.name,
        "digest": config.digest,
        "link_latency": program.system.latency,
        "predicted_cycles": program.cycles,
        "microseconds": figures.microseconds(busiest, program.cycles),
        "resource_bound": busiest.resource_bound,
        "resource_name": busiest.resource_name,
        "macs": sum(each.macs for each in program.programs),
    }


@click.group()
def system() -> None:
    """Several chips that run one network, dealt out to them: bit by bit what one chip computes."""


@system.command("run")
@directory_argument
@click.option("--prompt", required=True, help="The text to go on from.")
@click.option("--tokens", "count", type=click.IntRange(min=1), default=32, show_default=True, help="How many to write.")
@chips_option
@config_option
@backend_option
@json_option
def run_system(
    directory: Path, prompt: str, count: int, chips: int | None, config: str, backend: str, as_json: bool
) -> None:
    """Let the Llama in DIRECTORY go on from a prompt, on several chips, with no host in between."""
    target, checkpoint = find_system(config, chips), load_checkpoint(directory)
    tokens = encode(checkpoint, prompt)
    require_room(directory, checkpoint, len(tokens) + count, f"{len(tokens)} tokens of prompt and {count} to write")
    program = _compiled(checkpoint, len(tokens) + count, target, as_json).program
    with working(f"preparing {backend} for {target.name}", as_json=as_json):
        device = open_system(backend, target)
    with device.device, working(f"writing {count} tokens on {backend}", as_json=as_json), running():
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
            **system_summary(program),
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
@directory_argument
@context_option
@chips_option
@config_option
@json_option
def report_system(directory: Path, context: int, chips: int | None, config: str, as_json: bool) -> None:
    """What every chip and every link does in a token of the Llama in DIRECTORY, and who waits."""
    target, checkpoint = find_system(config, chips), load_checkpoint(directory)
    report = system_report(_compiled(checkpoint, context, target, as_json))
    if as_json:
        print_json(report_as_dict(report))
    else:
        print_report(report)


def _compiled(checkpoint: Checkpoint, tokens: int, target: SystemConfig, as_json: bool) -> CompiledSystem:
    with working(f"compiling {checkpoint.name} for {target.name}", as_json=as_json):
        model = quantise(checkpoint, own_texts(checkpoint))
        return compile_llama_system(model, context_for(checkpoint.shape, tokens, target.chip), target)


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
