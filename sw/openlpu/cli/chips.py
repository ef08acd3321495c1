# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""`lpu configs` and `lpu generate`: the chips there are, and their Verilog."""

from __future__ import annotations

import importlib
import time
from pathlib import Path

import click

from openlpu.arch.config import ChipConfig
from openlpu.arch.docs import derived
from openlpu.arch.presets import PRESETS, find_config
from openlpu.cli.errors import UserError
from openlpu.cli.files import replacing_in
from openlpu.cli.terminal import json_option, print_facts, print_json, print_table, working

_GENERATOR = "openlpu.hdl.generate"


@click.command()
@json_option
def configs(as_json: bool) -> None:
    """List the preset chips."""
    chips = list(PRESETS.values())
    if as_json:
        print_json([{**chip.to_dict(), "digest": chip.digest, "derived": derived(chip)} for chip in chips])
        return
    rows = [[title, *(f"{derived(chip)[title]:,}" for chip in chips)] for title in derived(chips[0])]
    rows += [["clock, MHz", *(f"{chip.clock_mhz:g}" for chip in chips)], ["digest", *(chip.digest for chip in chips)]]
    print_table("presets", ["", *PRESETS], rows)


@click.command()
@click.argument("config")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder for the Verilog.")
@json_option
def generate(config: str, output: Path, as_json: bool) -> None:
    """Write the Verilog of CONFIG, a preset or a .toml or .json file."""
    chip = find_config(config)
    start = time.perf_counter()
    with replacing_in(output) as draft, working(f"generating {chip.name}", as_json=as_json):
        _write_rtl(chip, draft)
        names = sorted(file.name for file in draft.iterdir())
    seconds = round(time.perf_counter() - start, 3)
    if as_json:
        print_json(
            {
                "config": chip.name,
                "digest": chip.digest,
                "files": [str(output / name) for name in names],
                "wall_seconds": seconds,
            }
        )
    else:
        print_facts([("chip", f"{chip.name} ({chip.digest})"), *(("wrote", output / name) for name in names)])


def _write_rtl(chip: ChipConfig, directory: Path) -> None:
    """Run the generator, which is found by name: no software depends on the hardware tools."""
    try:
        generator = importlib.import_module(_GENERATOR)
    except ModuleNotFoundError as error:
        raise UserError(
            f"generating RTL needs the rtl extra ({error.name} is missing): pip install 'openlpu[rtl]'"
        ) from None
    try:
        generator.write(chip, directory)
    except ValueError as error:  # a config that has no RTL yet
        raise UserError(f"{chip.name}: {error}") from None
