# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What a report says of what nextpnr said: a real report of it, of a small design on an LFE5U-85F."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from openlpu.fpga.device import Area
from openlpu.fpga.report import Report, timing_of

NEXTPNR: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "timing.json").read_text(encoding="utf-8"))
REPORT = Report(
    board="ulx3s",
    device="LFE5U-85F",
    config="nano",
    digest="0123456789abcdef",
    baud=1_000_000,
    seed=1,
    target_mhz=50,
    fmax_mhz=55,
    met=True,
    units={"VXM": Area(lut=100, ff=50, dsp=4), "MEM": Area(lut=20, bram=2)},
    used=Area(lut=110, ff=48, dsp=4, bram=2),
    available=Area(lut=1000, ff=1000, dsp=10, bram=20),
    paths=timing_of(NEXTPNR).paths,
    tools={"yosys": "yosys 0.70"},
    bitstream_sha256="00ff",
)


def test_clock_and_area() -> None:
    timing = timing_of(NEXTPNR)
    assert timing.fmax_mhz == 172.24
    assert timing.used == Area(lut=126, ff=79, dsp=1)


def test_paths() -> None:
    slowest, *others = timing_of(NEXTPNR).paths
    assert [path.ns for path in (slowest, *others)] == sorted((path.ns for path in (slowest, *others)), reverse=True)
    # What the clock is limited by.
    assert 1000 / slowest.ns == pytest.approx(172.24, rel=1e-3)
    assert (slowest.clocks, slowest.levels) == ("clk to clk", 5)
    assert {path.clocks: (path.source, path.sink) for path in others} == {
        "clk to async": ("indicators.left[5]", "running_led$33.buf.buf0"),
        "async to clk": ("chip.rx", "chip.taken"),
    }


def test_of_several_clocks_the_slowest_counts() -> None:
    clocks = {**NEXTPNR["fmax"], "$glbnet$c2c0_clk": {"achieved": 99.5, "constraint": 50.0}}
    assert timing_of({**NEXTPNR, "fmax": clocks}).fmax_mhz == 99.5


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("posedge $glbnet$clk", "posedge chip.clock", 80.0),
        ("posedge chip.clock", "posedge $glbnet$clk", 80.0),
        ("posedge $glbnet$c2c0_clk", "posedge $glbnet$clk", 172.24),
        ("posedge $glbnet$clk", "<async>", 172.24),
    ],
)
def test_paths_between_the_clocks_of_a_chip_count(start: str, end: str, expected: float) -> None:
    (slowest, *_) = NEXTPNR["critical_paths"]
    path = [{**slowest["path"][0], "delay": 12.5}]
    paths = [*NEXTPNR["critical_paths"], {"from": start, "to": end, "path": path}]
    assert timing_of({**NEXTPNR, "critical_paths": paths}).fmax_mhz == expected


def test_json_and_back() -> None:
    assert Report.from_json(REPORT.json) == REPORT
    assert json.loads(REPORT.json) == json.loads(json.dumps(dataclasses.asdict(REPORT)))


@pytest.mark.parametrize("text", ["", "{}", "[]", "3", '{"used": {}, "available": {}, "units": {}, "paths": []}'])
def test_no_report(text: str) -> None:
    with pytest.raises(ValueError, match=r"^no report of a build: "):
        Report.from_json(text)


def test_the_table() -> None:
    lines = [" ".join(line.split()) for line in REPORT.text.splitlines()]
    assert lines[0] == "timing met: 55.00 MHz, 10.0% above the target of 50 MHz"
    assert "config nano (0123456789abcdef)" in lines
    assert "VXM 100 50 4 0" in lines
    assert "sum of the units 120 50 4 2" in lines
    assert "placed 110 48 4 2" in lines
    assert "11% 5% 40% 10%" in lines
    missed = dataclasses.replace(REPORT, met=False, fmax_mhz=40.0)
    assert missed.text.startswith("timing NOT met: 40.00 MHz, 20.0% below the target of 50 MHz\n")
