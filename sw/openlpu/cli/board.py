# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""`lpu board`: bitstreams for real boards. Boards that are programs are `lpu vboard`."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import click

from openlpu.arch.presets import find_config
from openlpu.cli.errors import RunFailure, UserError
from openlpu.cli.files import replacing_in
from openlpu.cli.terminal import json_option, print_facts, print_json, print_table, working

_BUILDS = Path("build")
_STDERR = 2  # its file descriptor


@click.group()
def board() -> None:
    """Build bitstreams and program boards."""


_config_option = click.option("--config", help="A preset, or a .toml or .json file; by default the board's own.")
_directory_option = click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Folder of the build; by default build/BOARD-CONFIG."
)


@board.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the boards that chips can be built for."""
    boards = [_facts(found) for found in _fpga("boards").BOARDS.values()]
    if as_json:
        print_json(boards)
    else:
        print_table("boards", list(boards[0]), [list(facts.values()) for facts in boards])


@board.command()
@click.argument("name", metavar="BOARD")
@_config_option
@_directory_option
@json_option
def info(name: str, config: str | None, output: Path | None, as_json: bool) -> None:
    """Print what BOARD is, and the report of its last build, if there is one."""
    target = _find_board(name)
    report = _read_report(_directory(target, config, output))
    if as_json:
        print_json({**_facts(target), "report": None if report is None else dataclasses.asdict(report)})
        return
    print_facts(list(_facts(target).items()))
    click.echo(f"\n{report.text.rstrip()}" if report is not None else "not built yet")


@board.command()
@click.argument("name", metavar="BOARD")
@_config_option
@click.option("--clock", "clock_mhz", type=float, help="MHz; by default the config's. The PLL makes this or less.")
@click.option("--seed", default=1, show_default=True, help="Where placing starts: another seed, another clock.")
@_directory_option
@json_option
def build(
    name: str, config: str | None, clock_mhz: float | None, seed: int, output: Path | None, as_json: bool
) -> None:
    """Build the bitstream of a chip for BOARD, and its report.

    Ends with status 1 when the clock is not met; bitstream and report are there, but it will not be programmed.
    """
    target = _find_board(name)
    chip = find_config(config or target.config)
    directory = _directory(target, config, output)
    tools, builder = _fpga("toolchain"), _fpga("build")
    directory.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            replacing_in(directory) as draft,
            working(f"building {chip.name} for {target.name}: minutes", as_json=as_json),
        ):
            report = builder.build(
                target,
                chip,
                clock_mhz=chip.clock_mhz if clock_mhz is None else clock_mhz,
                seed=seed,
                toolchain=tools.find_toolchain(),
                directory=draft,
            )
    except (ValueError, tools.ToolError) as error:
        raise UserError(str(error)) from None
    if as_json:
        print_json(dataclasses.asdict(report))
    else:
        click.echo(report.text.rstrip())
        print_facts([("bitstream", directory / builder.BITSTREAM)])
    if not report.met:
        raise RunFailure(report.verdict)


@board.command()
@click.argument("name", metavar="BOARD")
@_config_option
@json_option
def wires(name: str, config: str | None, as_json: bool) -> None:
    """Place a chip for BOARD, and print how much wire each unit brings: of a full device, that runs out first."""
    target = _find_board(name)
    chip = find_config(config or target.config)
    tools, counter = _fpga("toolchain"), _fpga("wires")
    try:
        with (
            tempfile.TemporaryDirectory(prefix="openlpu-") as directory,
            working(f"placing {chip.name} for {target.name}: minutes", as_json=as_json),
        ):
            wire = counter.wire_of(target, chip, toolchain=tools.find_toolchain(), directory=Path(directory))
    except (ValueError, tools.ToolError) as error:
        raise UserError(str(error)) from None
    total = sum(wire.values())
    if as_json:
        print_json({"board": name, "config": chip.name, "tiles": total, "units": wire})
    else:
        print_table(f"wire of {chip.name}", ["unit", "tiles"], [*wire.items(), ("total", total)])


@board.command()
@click.argument("name", metavar="BOARD")
@_config_option
@_directory_option
@click.option("--flash", is_flag=True, help="Write to the flash: the chip is there after the next power-up too.")
@json_option
def program(name: str, config: str | None, output: Path | None, flash: bool, as_json: bool) -> None:
    """Load the bitstream that was built for BOARD into it, with openFPGALoader."""
    target = _find_board(name)
    directory = _directory(target, config, output)
    report = _read_report(directory)
    if report is None:
        raise UserError(
            f"{directory} holds no build: run `lpu board build {name} --config {config or target.config}` first"
        )
    if report.board != name:
        raise UserError(f"{directory} holds a build for {report.board}, not for {name}")
    if not report.met:
        raise UserError(f"{directory} holds a build that would not work: {report.verdict}")
    bitstream = directory / _fpga("build").BITSTREAM
    if hashlib.sha256(bitstream.read_bytes()).hexdigest() != report.bitstream_sha256:
        raise UserError(f"{directory}: the report is of another bitstream; build again")
    tools = _fpga("toolchain")
    try:
        loader = tools.find_loader()
    except tools.ToolError as error:
        raise UserError(str(error)) from None
    place = "--write-flash" if flash else "--write-sram"
    # Standard output is for what this command says; the loader speaks on the other one.
    status = subprocess.run([loader, *target.loader, place, str(bitstream)], stdout=_STDERR, check=False).returncode
    if status != 0:
        raise RunFailure(f"openFPGALoader ended with status {status}")
    if as_json:
        print_json({"board": name, "config": report.config, "bitstream": str(bitstream), "flash": flash})


def _facts(target: Any) -> dict[str, Any]:
    """What there is to say of a board, ready for JSON."""
    platform = target.make_platform()
    return {
        "board": target.name,
        "maker": target.maker,
        "device": platform.device,
        "oscillator_mhz": target.oscillator_hz / 1e6,
        "baud": target.baud,
        "config": target.config,
    }


def _directory(target: Any, config: str | None, output: Path | None) -> Path:
    return output or _BUILDS / f"{target.name}-{find_config(config or target.config).name}"


def _read_report(directory: Path) -> Any:
    """The report of the build in a directory; None when there is none."""
    reports = _fpga("report")
    path = directory / reports.JSON
    if not path.is_file():
        return None
    try:
        return reports.Report.from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def _find_board(name: str) -> Any:
    try:
        return _fpga("boards").find_board(name)
    except ValueError as error:
        raise UserError(str(error)) from None


def _fpga(module: str) -> Any:
    """A module of the board area, which is looked up by name: no software depends on the hardware tools."""
    try:
        return importlib.import_module(f"openlpu.fpga.{module}")
    except ModuleNotFoundError as error:
        raise UserError(f"boards need the fpga extra ({error.name} is missing): pip install 'openlpu[fpga]'") from None
