# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""From a board and a config to a bitstream and its report: synthesis, placing and routing, packing.

The same board, config, clock, seed and tools give the same bytes.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openlpu.arch.config import ChipConfig
from openlpu.hdl.generate import hosted_verilog

from . import report, synthesis
from .block_registers import absorb_output_registers
from .boards import Board
from .delay_lines import absorb_delays
from .device import Area, Device, Pll, find_pll
from .places import place_blocks
from .report import Report
from .synthesis import CELLS_BY_UNIT, NETLIST
from .table_inputs import enter_through_tables
from .toolchain import Toolchain
from .top import TOP, surroundings

__all__ = [
    "BITSTREAM",
    "CONSTRAINTS",
    "TIMING",
    "Synthesis",
    "build",
    "device_options",
    "map_design",
    "nextpnr_options",
    "refuse_too_large",
    "synthesise",
]

BITSTREAM = "board.bit"
"""The file for openFPGALoader."""

CONSTRAINTS, TIMING = f"{TOP}.lpf", "timing.json"
"""What nextpnr reads beside the netlist, and its report."""
_ROUTED = f"{TOP}.config"
_FULL = 0.75
"""How much of a device's tables may be taken for routing's sake: with more, placing takes long to become legal."""
_PACKAGES = {"BG": "CABGA", "MG": "CSFBGA"}


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """What synthesis left in a directory: netlist and constraints are files there."""

    pll: Pll
    units: Mapping[str, Area]
    """After mapping, before the units were optimised together and blocks took registers in."""
    total: Area
    """Of the whole, afterwards."""


def build(
    board: Board,
    config: ChipConfig,
    *,
    clock_mhz: float,
    seed: int,
    toolchain: Toolchain,
    directory: Path,
) -> Report:
    """Build a bitstream, and write it with its report, the netlists and the logs into an empty directory.

    The clock is the fastest that the board's PLL makes and `clock_mhz` does not exceed. Whether routing met it is for
    the caller to see in the report.

    Raises ValueError when the config has no RTL, does not fit the device or cannot have that clock or baud rate, and
    ToolError when a tool fails.
    """
    netlist = synthesise(board, config, clock_mhz=clock_mhz, toolchain=toolchain, directory=directory)
    refuse_too_large(board, config, netlist.total)
    toolchain.run("nextpnr-ecp5", nextpnr_options(board, seed), directory)
    _stamp(directory / _ROUTED, config)
    toolchain.run("ecppack", _ecppack_options(config), directory)
    timing = report.timing_of(json.loads((directory / TIMING).read_text(encoding="utf-8")))
    target_mhz = round(netlist.pll.output_hz / 1e6, 6)
    made = Report(
        board=board.name,
        device=board.make_platform().device,
        config=config.name,
        digest=config.digest,
        baud=board.baud,
        seed=seed,
        target_mhz=target_mhz,
        fmax_mhz=timing.fmax_mhz,
        met=timing.fmax_mhz >= target_mhz,
        units=netlist.units,
        used=timing.used,
        available=board.device.area,
        paths=timing.paths,
        tools=toolchain.versions,
        bitstream_sha256=hashlib.sha256((directory / BITSTREAM).read_bytes()).hexdigest(),
    )
    (directory / report.JSON).write_text(made.json, encoding="utf-8")
    (directory / report.TEXT).write_text(made.text, encoding="utf-8")
    return made


def synthesise(
    board: Board, config: ChipConfig, *, clock_mhz: float, toolchain: Toolchain, directory: Path
) -> Synthesis:
    """The first step of `build`, and its files. Raises as `build`, except that the result may be too large."""
    in_dsp = synthesis.multipliers_in_dsp(config, board.device.area.dsp)
    pll = find_pll(board.oscillator_hz, clock_mhz * 1e6)
    chip = hosted_verilog(config, clock_hz=pll.output_hz, baud=board.baud)
    around, constraints = surroundings(board, pll, config)
    (directory / CONSTRAINTS).write_text(constraints, encoding="utf-8")
    units, total = map_design(board.device, config, in_dsp, chip, around, toolchain, directory)
    return Synthesis(pll=pll, units=units, total=total)


def map_design(
    device: Device,
    config: ChipConfig,
    in_dsp: Sequence[synthesis.Share],
    chip: str,
    around: str,
    toolchain: Toolchain,
    directory: Path,
    *,
    apart: Collection[str] = (),
) -> tuple[Mapping[str, Area], Area]:
    """Make a netlist of Verilog of a chip, or of as much of it as `around` uses, RTLIL with the module `TOP`; the area
    of each unit after mapping, and of modules `apart`, and of the whole at the end.

    `in_dsp` is what `multipliers_in_dsp` says of the chip. Raises ToolError when a tool fails.
    """
    substitutes = synthesis.substitutes_verilog(config, synthesis.modules_of(chip), in_dsp)
    sources = {f"{TOP}.il": around, "chip.v": chip, "substitutes.v": substitutes}
    modules = [module for text in (chip, sources["substitutes.v"]) for module in synthesis.modules_of(text)]
    commands = synthesis.script(list(sources), modules, top=TOP, in_dsp=in_dsp, apart=apart)
    for name, text in {**sources, "synthesis.ys": commands}.items():
        (directory / name).write_text(text, encoding="utf-8")
    toolchain.run("yosys", ["-Q", "-T", "synthesis.ys"], directory)
    by_unit, netlist = (json.loads((directory / name).read_text(encoding="utf-8")) for name in (CELLS_BY_UNIT, NETLIST))
    module = netlist["modules"][TOP]
    absorb_output_registers(module)
    absorb_delays(module)
    enter_through_tables(module, round(_FULL * device.area.lut) - _total(module).lut)
    place_blocks(module, device)
    (directory / NETLIST).write_text(json.dumps(netlist), encoding="utf-8")
    return synthesis.area_by_unit(by_unit, TOP), _total(module)


def _total(module: Mapping[str, Any]) -> Area:
    return synthesis.area(Counter(cell["type"] for cell in module["cells"].values()))


def nextpnr_options(board: Board, seed: int) -> Sequence[str]:
    """The command line of nextpnr for a chip on a board, which may fill it."""
    # Wires are what runs out first. This placer spreads cells over the device, which the default one does not. And with
    # these weights a crowded design goes on getting better, where with the others it swings. A wire that takes too long
    # is routed again: without that, one of thousands may go all around.
    routing = ("--router", "router2", "--router2-alt-weights", "--tmg-ripup")
    return [*device_options(board, seed), "--placer", "static", *routing]


def device_options(board: Board, seed: int) -> Sequence[str]:
    """That for anything on a board. A clock that is not met is found in nextpnr's report, and no failure."""
    platform = board.make_platform()
    kind, pins = platform.package[:2], platform.package[2:]
    return [
        board.device.nextpnr_option,
        *("--package", _PACKAGES[kind] + pins),
        *("--speed", platform.speed),
        *("--json", NETLIST),
        *("--lpf", CONSTRAINTS),
        *("--textcfg", _ROUTED),
        *("--report", TIMING),
        *("--seed", str(seed)),
        "--timing-allow-fail",
    ]


def _stamp(routed: Path, config: ChipConfig) -> None:
    """Put the config's name and digest into the comments of a routed design, which head the bitstream."""
    text = routed.read_text(encoding="utf-8")
    device, line, rest = text.partition("\n")
    routed.write_text(f"{device}{line}\n.comment OpenLPU {config.name} {config.digest}{line}{rest}", encoding="utf-8")


def _ecppack_options(config: ChipConfig) -> Sequence[str]:
    # USERCODE has 32 bits, readable over JTAG; the whole digest is in the chip, where the driver asks for it.
    return ["--input", _ROUTED, "--bit", BITSTREAM, "--compress", "--usercode", str(int(config.digest[:8], 16))]


def refuse_too_large(board: Board, config: ChipConfig, area: Area) -> None:
    """Raise ValueError, naming what there is too little of, when a device has no room for an area."""
    device = board.device.area
    over = [
        f"{getattr(area, kind):,} {name} of {getattr(device, kind):,}"
        for kind, name in (("lut", "LUTs"), ("ff", "flip-flops"), ("dsp", "multipliers"), ("bram", "block RAMs"))
        if getattr(area, kind) > getattr(device, kind)
    ]
    if over:
        raise ValueError(f"config '{config.name}' does not fit board {board.name}: {', '.join(over)}")
