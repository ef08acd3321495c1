# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""`lpu status` and `lpu vboard`: how a board is, and a board for those who have none."""

from __future__ import annotations

import dataclasses
import importlib
import json
import signal
from typing import Any, NoReturn

import click

from openlpu.arch.bring_up import LinkReport
from openlpu.arch.config import ChipConfig
from openlpu.arch.presets import find_config
from openlpu.arch.status import ChipStatus
from openlpu.arch.system import SystemConfig
from openlpu.cli.errors import RunFailure, UserError
from openlpu.cli.running import backend_option, open_backend
from openlpu.cli.targets import chips_option, find_target
from openlpu.cli.terminal import json_option, print_facts, print_json, working

_BOARD = "openlpu.verif.virtual_board"


@click.command()
@click.option("--config", help="The chip: a preset, or a .toml or .json file. A board with a preset says it itself.")
@backend_option
@json_option
def status(config: str | None, backend: str, as_json: bool) -> None:
    """Print what a device says of itself: its chip, its last run, what ECC found, and how its links are."""
    with open_backend(backend, find_config(config) if config else None) as device:
        chip, found = device.port.config, device.status()
    if as_json:
        print_json({"config": chip.name, "digest": chip.digest, **dataclasses.asdict(found)})
    else:
        print_facts([("chip", f"{chip.name} ({chip.digest})"), *_facts(found)])


def _facts(found: ChipStatus) -> list[tuple[str, object]]:
    return [
        ("running", "yes" if found.running else "no"),
        ("cycles", f"{found.run.cycles:,}"),
        ("schedule fault", found.run.fault or "none"),
        ("corrected", f"{found.corrected:,} vectors with a wrong bit since the reset"),
        ("uncorrectable", f"{found.uncorrectable:,} vectors with two"),
        *(
            (f"  in {errors.place}", f"{errors.corrected:,} corrected, {errors.uncorrectable:,} uncorrectable")
            for errors in found.places
        ),
        *((str(link.end), _link_fact(link)) for link in found.links),
    ]


def _link_fact(link: LinkReport) -> str:
    if not link.up:
        return "half up: the other end does not hear this one" if link.hears else "down: nothing comes"
    counts = f"{link.corrected:,} flits corrected, {link.uncorrectable:,} uncorrectable"
    fault = f"; {link.fault}, in cycle {link.fault_cycle}" if link.fault else ""
    return f"up, to {link.peer}, {link.delay} cycles, {counts}{fault}"


@click.command()
@click.argument("config")
@chips_option
@json_option
def vboard(config: str, chips: int | None, as_json: bool) -> None:
    """Be a board with the chip CONFIG, simulated, until interrupted; or several, each with a clock of its own.

    CONFIG may be a .toml or .json file of a system, too. Prints the serial port at which the board is found, for
    --backend serial:PORT; of several serial:PORT0,PORT1,...
    """
    made = find_target(config, chips)
    with working(f"building boards with {made.name} (minutes, the first time)", as_json=as_json):
        board = _virtual_board(made)
    chip = made.chip if isinstance(made, SystemConfig) else made
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        with board:
            ports = ",".join(board.ports)
            line = json.dumps({"port": ports, "config": chip.name, "digest": chip.digest})
            click.echo(line if as_json else ports)  # which flushes
            board.wait()
    except KeyboardInterrupt:
        return
    except RuntimeError as error:
        raise RunFailure(str(error)) from None


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _virtual_board(made: ChipConfig | SystemConfig) -> Any:
    """Running boards, which are looked up by name: no software depends on the hardware tools."""
    try:
        boards = importlib.import_module(_BOARD)
        return boards.VirtualBoards.of_system(made) if isinstance(made, SystemConfig) else boards.VirtualBoard(made)
    except ModuleNotFoundError as error:
        raise UserError(
            f"a virtual board needs the rtl extra ({error.name} is missing): pip install 'openlpu[rtl]'"
        ) from None
    except (RuntimeError, ValueError) as error:  # no C++ compiler, a config without RTL
        raise UserError(f"virtual boards with {made.name}: {error}") from None
