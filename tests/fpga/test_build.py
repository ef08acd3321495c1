# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""`lpu board` with tools that answer at once, as the real ones did for nano."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from openlpu.arch.presets import NANO
from openlpu.cli.main import main
from openlpu.fpga import build, toolchain
from openlpu.fpga.toolchain import Toolchain

DATA = Path(__file__).with_name("data")
BITSTREAM = b"the configuration of an FPGA"
ANSWERS = {
    "yosys": {"cells_by_unit.json": (DATA / "cells_by_unit.json").read_bytes()},
    "nextpnr-ecp5": {
        "timing.json": (DATA / "timing.json").read_bytes(),
        "board.config": b".device LFE5U-85F\n\n.comment Part\n",
        "placed.json": (DATA / "placed.json").read_bytes(),
    },
    "ecppack": {"board.bit": BITSTREAM},
}
CHIP = "module hosted_chip(clk);\nmodule \\chip.mxm_e0 (clk);\n"
CELLS = {"LUT4": 39352, "CCU2C": 2657, "TRELLIS_FF": 20939, "MULT18X18D": 56, "DP16KD": 44}


def lpu(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds go to a fresh folder; the chip's Verilog, which takes long to make, is left out."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(build, "hosted_verilog", lambda config, clock_hz, baud: CHIP)


def flat_module(cells: dict[str, int]) -> dict[str, Any]:
    """A module with cells that are connected to nothing, and flip-flops that take a constant."""
    parts = ("attributes", "connections", "parameters", "port_directions")
    types = [kind for kind, count in cells.items() for _ in range(count)]
    found: dict[str, Any] = {
        str(number): {"type": kind} | {part: {} for part in parts} for number, kind in enumerate(types)
    }
    for cell in found.values():
        if cell["type"] == "TRELLIS_FF":
            cell |= {"connections": {"DI": ["0"]}, "port_directions": {"DI": "input"}}
    return {"ports": {}, "netnames": {}, "cells": found}


def answer(monkeypatch: pytest.MonkeyPatch, cells: dict[str, int], failing: str = "") -> None:
    """Let each tool write its files, and note its arguments; but one fail."""
    commands = {}
    for tool, files in ANSWERS.items():
        answers = dict(files)
        if tool == "yosys":
            answers["netlist.json"] = json.dumps({"modules": {"board": flat_module(cells)}}).encode()
        lines = ["import pathlib, sys", f"pathlib.Path('{tool}.args').write_text(' '.join(sys.argv[1:]))"]
        for name, content in answers.items():
            kept = Path(f"{tool}.{name}").resolve()
            kept.write_bytes(content)
            lines.append(f"pathlib.Path({name!r}).write_bytes(pathlib.Path({str(kept)!r}).read_bytes())")
        lines += ["print('ERROR: no route'); sys.exit(1)"] if tool == failing else []
        script = Path(f"{tool}.py").resolve()
        script.write_text("\n".join(lines), encoding="utf-8")
        commands[tool] = (sys.executable, str(script))
    versions = {tool: f"{tool} 1.0" for tool in ANSWERS}
    monkeypatch.setattr(toolchain, "find_toolchain", lambda: Toolchain(commands=commands, versions=versions))


def test_a_build_and_its_report(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, CELLS)
    result = lpu("board", "build", "ulx3s", "--config", "nano", "--clock", "25", "--seed", "3")
    assert result.exit_code == 0, result.stderr
    assert "timing met" in result.stdout
    directory = Path("build/ulx3s-nano")
    assert (directory / "board.bit").read_bytes() == BITSTREAM
    report = json.loads((directory / "report.json").read_text(encoding="utf-8"))
    assert report["digest"] == NANO.digest
    assert report["bitstream_sha256"] == hashlib.sha256(BITSTREAM).hexdigest()
    assert (report["target_mhz"], report["seed"], report["met"]) == (25, 3, True)
    assert (directory / "report.txt").read_text(encoding="utf-8").rstrip() in result.stdout
    assert "--seed 3" in (directory / "nextpnr-ecp5.args").read_text(encoding="utf-8")
    options = (directory / "ecppack.args").read_text(encoding="utf-8").split()
    assert int(options[options.index("--usercode") + 1]) == int(NANO.digest[:8], 16)
    assert f".comment OpenLPU nano {NANO.digest}\n" in (directory / "board.config").read_text(encoding="utf-8")
    assert json.loads(lpu("board", "info", "ulx3s", "--config", "nano", "--json").stdout)["report"] == report
    assert not list(Path("build").glob(".*"))


def test_the_same_build_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, CELLS)
    for folder in ("one", "two"):
        assert lpu("board", "build", "ulx3s", "--config", "nano", "--clock", "25", "-o", folder).exit_code == 0
    one, two = ({file.name: file.read_bytes() for file in Path(folder).iterdir()} for folder in ("one", "two"))
    assert one == two


def test_a_clock_that_is_not_met(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, CELLS)
    result = lpu("board", "build", "ulx3s", "--config", "nano", "--clock", "200")
    assert result.exit_code == 1
    assert result.stderr.startswith("lpu: error: timing NOT met: ")
    assert result.stderr.endswith(" below the target of 200 MHz\n")
    assert Path("build/ulx3s-nano/report.json").is_file()
    result = lpu("board", "program", "ulx3s", "--config", "nano")
    assert result.exit_code == 2
    assert result.stderr.startswith("lpu: error: build/ulx3s-nano holds a build that would not work: timing NOT met")


def test_a_chip_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, {**CELLS, "LUT4": 90_000, "DP16KD": 209})
    result = lpu("board", "build", "ulx3s", "--config", "nano")
    assert (result.exit_code, result.stderr) == (
        2,
        "lpu: error: config 'nano' does not fit board ulx3s: 95,314 LUTs of 83,640, 209 block RAMs of 208\n",
    )


def test_a_tool_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, CELLS, failing="nextpnr-ecp5")
    result = lpu("board", "build", "ulx3s", "--config", "nano")
    assert (result.exit_code, result.stderr) == (
        2,
        "lpu: error: nextpnr-ecp5 failed with status 1: ERROR: no route\n",
    )
    assert not list(Path("build").iterdir())


def test_the_wires_of_a_chip(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, CELLS)
    result = lpu("board", "wires", "ulx3s", "--config", "nano", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == {
        "board": "ulx3s",
        "config": "nano",
        "tiles": 12,
        "units": {"streams": 5, "VXM": 7},
    }
    assert lpu("board", "wires", "ulx3s", "--config", "nano").stdout.split()[-2:] == ["total", "12"]


def test_no_wires_of_a_chip_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, {**CELLS, "DP16KD": 209})
    result = lpu("board", "wires", "ulx3s", "--config", "nano")
    assert (result.exit_code, result.stderr) == (
        2,
        "lpu: error: config 'nano' does not fit board ulx3s: 209 block RAMs of 208\n",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("build", "icestick"), "no board 'icestick': there are ulx3s, ecpix5"),
        (("build", "ulx3s", "--clock", "500"), "a PLL makes 3.125 to 400 MHz, not 500 MHz"),
        (("build", "ulx3s", "--config", "lab32"), "config 'lab32': its ALUs need"),
        (("program", "ulx3s", "--config", "nano"), "build/ulx3s-nano holds no build: run `lpu board build ulx3s "),
        (("build", "ulx3s", "--config", "none"), "no config 'none'"),
        (("wires", "icestick"), "no board 'icestick': there are ulx3s, ecpix5"),
        (("wires", "ulx3s", "--config", "none"), "no config 'none'"),
    ],
)
def test_what_cannot_be_done_is_told(arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, CELLS)
    result = lpu("board", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"lpu: error: {message}")


def test_programming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, CELLS)
    assert lpu("board", "build", "ulx3s", "--config", "nano", "--clock", "25").exit_code == 0
    loader = tmp_path / "loader"
    loader.write_text('#!/bin/sh\necho "$@" > loaded\n', encoding="utf-8")
    loader.chmod(0o755)
    monkeypatch.setattr(toolchain, "find_loader", lambda: str(loader))
    result = lpu("board", "program", "ulx3s", "--config", "nano", "--json")
    assert (result.exit_code, json.loads(result.stdout)["bitstream"]) == (0, "build/ulx3s-nano/board.bit")
    assert Path("loaded").read_text(encoding="utf-8") == "--board ulx3s --write-sram build/ulx3s-nano/board.bit\n"
    assert lpu("board", "program", "ulx3s", "--config", "nano", "--flash").exit_code == 0
    assert Path("loaded").read_text(encoding="utf-8") == "--board ulx3s --write-flash build/ulx3s-nano/board.bit\n"
    result = lpu("board", "program", "ecpix5", "-o", "build/ulx3s-nano")
    assert (result.exit_code, result.stderr) == (
        2,
        "lpu: error: build/ulx3s-nano holds a build for ulx3s, not for ecpix5\n",
    )
    Path("build/ulx3s-nano/board.bit").write_bytes(b"another")
    result = lpu("board", "program", "ulx3s", "--config", "nano")
    assert (result.exit_code, result.stderr) == (
        2,
        "lpu: error: build/ulx3s-nano: the report is of another bitstream; build again\n",
    )


def test_boards_are_listed() -> None:
    boards = json.loads(lpu("board", "list", "--json").stdout)
    assert [(board["board"], board["device"], board["oscillator_mhz"]) for board in boards] == [
        ("ulx3s", "LFE5U-85F", 25.0),
        ("ecpix5", "LFE5UM5G-85F", 100.0),
    ]
