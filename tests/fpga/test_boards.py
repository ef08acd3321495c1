# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Boards: pins, clock and reset around the chip, LEDs."""

import dataclasses
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.hdl.units import simulate

from openlpu.arch.config import ChipConfig
from openlpu.arch.presets import NANO, PRESETS, ULX3S8, ULX3S16
from openlpu.fpga.boards import BOARDS, find_board
from openlpu.fpga.build import nextpnr_options
from openlpu.fpga.device import find_pll
from openlpu.fpga.report import Report
from openlpu.fpga.top import ClockStart, Indicators, surroundings

REPORTS = Path(__file__).parents[2] / "fpga" / "reports"
PINS = {
    # From the boards' schematics, so that a change of the platforms is noticed.
    "ulx3s": {
        "clk25_0__io": "G2",
        "uart_0__rx__io": "M1",
        "uart_0__tx__io": "L4",
        "led_0__io": "B2",
        "led_1__io": "C2",
        "led_2__io": "C1",
    },
    "ecpix5": {
        "clk100_0__io": "K23",
        "uart_0__rx__io": "R26",
        "uart_0__tx__io": "R24",
        "rgb_led_0__g__io": "R21",
        "rgb_led_1__b__io": "T24",
        "rgb_led_2__r__io": "K21",
    },
}
OPTIONS = {"ulx3s": "--85k --package CABGA381 --speed 6", "ecpix5": "--um5g-85k --package CABGA554 --speed 8"}


@pytest.mark.parametrize("name", BOARDS)
def test_every_pin_is_placed(name: str) -> None:
    board = BOARDS[name]
    rtlil, constraints = surroundings(board, find_pll(board.oscillator_hz, 50e6), NANO)
    assert dict(re.findall(r'^LOCATE COMP "(\w+)" SITE "(\w+)";$', constraints, re.MULTILINE)) == PINS[name]
    top = rtlil.partition("module \\board\n")[2].partition("\nend\n\n")[0]
    assert set(re.findall(r"^  wire width 1 (?:in|out)put \d+  \\(\w+)$", top, re.MULTILINE)) == set(PINS[name])
    assert set(re.findall(r'^IOBUF PORT "(\w+)" .*\bIO_TYPE=LVCMOS33\b', constraints, re.MULTILINE)) == set(PINS[name])
    assert f'FREQUENCY PORT "{board.make_platform().default_clk}_0__io" {board.oscillator_hz} HZ;' in constraints


LINK_PINS = {
    # Header J1, whose pairs 0 to 6 are link 0 and 7 to 13 link 1: from the schematic, as above.
    "c2c_0__tx_clock__io": "A10",
    "c2c_0__tx_data__io[0]": "B11",
    "c2c_0__tx_data__io[1]": "C11",
    "c2c_0__tx_data__io[2]": "A11",
    "c2c_0__tx_data__io[3]": "A9",
    "c2c_1__tx_clock__io": "A4",
    "c2c_1__tx_data__io[0]": "A6",
    "c2c_1__tx_data__io[1]": "B6",
    "c2c_1__tx_data__io[2]": "A5",
    "c2c_1__tx_data__io[3]": "A2",
    # The same places of header J2.
    "c2c_0__rx_clock__io": "N17",
    "c2c_0__rx_data__io[0]": "U18",
    "c2c_0__rx_data__io[1]": "U17",
    "c2c_0__rx_data__io[2]": "P16",
    "c2c_0__rx_data__io[3]": "N16",
    "c2c_1__rx_clock__io": "B15",
    "c2c_1__rx_data__io[0]": "C18",
    "c2c_1__rx_data__io[1]": "D17",
    "c2c_1__rx_data__io[2]": "C15",
    "c2c_1__rx_data__io[3]": "B17",
}


def test_links_have_pins_and_a_clock_each() -> None:
    config = dataclasses.replace(NANO, c2c_links=2, c2c_width=4)
    board = BOARDS["ulx3s"]
    rtlil, constraints = surroundings(board, find_pll(board.oscillator_hz, 50e6), config)
    placed = dict(re.findall(r'^LOCATE COMP "([^"]+)" SITE "(\w+)";$', constraints, re.MULTILINE))
    assert placed == PINS["ulx3s"] | LINK_PINS
    assert len(re.findall(r"^FREQUENCY NET .*50000000.0 HZ", constraints, re.MULTILINE)) == 2
    cells = Counter(re.findall(r"^  cell \\(ODDRX1F|IFS1P3DX) ", rtlil, re.MULTILINE))
    assert cells == {"ODDRX1F": 2, "IFS1P3DX": 2 * 4}


@pytest.mark.parametrize(
    ("name", "links", "width", "wanted"),
    [
        ("ulx3s", 1, 14, "config 'nano' has 1 links of 14 wires, and board ulx3s has pins for 2 of 13"),
        ("ulx3s", 3, 8, "config 'nano' has 3 links of 8 wires, and board ulx3s has pins for 2 of 13"),
        ("ecpix5", 1, 8, "config 'nano' has 1 links of 8 wires, and board ecpix5 has pins for 0 of 0"),
    ],
)
def test_links_that_a_board_has_no_pins_for_are_refused(name: str, links: int, width: int, wanted: str) -> None:
    config = dataclasses.replace(NANO, lanes=16, weight_streams=4, c2c_links=links, c2c_width=width)
    with pytest.raises(ValueError, match=f"^{wanted}$"):
        surroundings(BOARDS[name], find_pll(BOARDS[name].oscillator_hz, 50e6), config)


@pytest.mark.parametrize("name", BOARDS)
def test_the_pll_has_its_dividers(name: str) -> None:
    board = BOARDS[name]
    pll = find_pll(board.oscillator_hz, 62.5e6)
    rtlil, _ = surroundings(board, pll, NANO)
    parameters = dict(re.findall(r"^    parameter \\(\w+_DIV) (\d+)$", rtlil, re.MULTILINE))
    wanted = {"CLKI_DIV": pll.input_div, "CLKFB_DIV": pll.feedback_div, "CLKOP_DIV": pll.output_div}
    assert {name: int(value) for name, value in parameters.items()} == wanted


def test_the_same_board_gives_the_same_text() -> None:
    board = BOARDS["ulx3s"]
    pll = find_pll(board.oscillator_hz, 50e6)
    assert surroundings(board, pll, NANO) == surroundings(board, pll, NANO)


@pytest.mark.parametrize("name", BOARDS)
def test_nextpnr_is_told_the_device(name: str) -> None:
    options = " ".join(nextpnr_options(BOARDS[name], seed=7))
    assert options.startswith(OPTIONS[name])
    assert "--seed 7" in options


@pytest.mark.parametrize("chip", [ULX3S8, ULX3S16], ids=lambda chip: str(chip.name))
def test_what_is_built_for_a_ulx3s_has_met_its_clock(chip: ChipConfig) -> None:
    """The committed reports are of the presets as they are."""
    report = Report.from_json((REPORTS / f"ulx3s-{chip.name}" / "report.json").read_text(encoding="utf-8"))
    assert (report.board, report.config) == ("ulx3s", chip.name)
    assert report.digest == chip.digest
    assert report.target_mhz == chip.clock_mhz
    assert report.met
    assert report.fmax_mhz >= report.target_mhz


def test_boards_have_a_preset_to_start_with() -> None:
    assert {board.config for board in BOARDS.values()} <= set(PRESETS)
    assert all(name == board.name for name, board in BOARDS.items())


def test_an_unknown_board_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^no board 'icestick': there are ulx3s, ecpix5$"):
        find_board("icestick")


def test_leds() -> None:
    """With a clock of 100 Hz: a tenth of a second is ten cycles."""
    dut = Indicators(clock_hz=100)
    alive, running, fault = [], [], []

    async def bench(ctx: Any) -> None:
        for cycle in range(250):
            ctx.set(dut.running, cycle in (40, 45))
            ctx.set(dut.fault, 60 <= cycle < 70)
            alive.append(ctx.get(dut.alive_led))
            fault.append(ctx.get(dut.fault_led))
            await ctx.tick()
            running.append(ctx.get(dut.running_led))

    simulate(dut, bench)
    assert alive == [cycle % 100 < 50 for cycle in range(250)]
    assert running == [40 <= cycle < 55 for cycle in range(250)]
    assert fault == [60 <= cycle < 70 for cycle in range(250)]


def test_the_clock_begins_once() -> None:
    """A chip that has no reset must not go on with a clock that was not right."""
    dut = ClockStart(cycles=8)
    begun = []

    async def bench(ctx: Any) -> None:
        for cycle in range(100):
            ctx.set(dut.stable, cycle in range(5) or cycle in range(10, 40) or cycle >= 42)
            await ctx.tick()
            begun.append(ctx.get(dut.begun))

    simulate(dut, bench)
    # Eight cycles from the tenth on; a cycle to say so, and another to say that it is not right any more.
    assert begun == [18 <= cycle <= 40 for cycle in range(100)]


def test_the_chip_has_a_clock_that_can_be_held_and_no_reset() -> None:
    board = BOARDS["ulx3s"]
    rtlil, _ = surroundings(board, find_pll(board.oscillator_hz, 50e6), NANO)
    chip = rtlil.partition("cell \\hosted_chip \\chip\n")[2].partition("  end\n")[0]
    gate = rtlil.partition("cell \\DCCA \\gate\n")[2].partition("  end\n")[0]
    (clock,) = re.findall(r"connect \\clk (.+)\n", chip)
    assert "connect \\rst 1'0\n" in chip
    assert f"connect \\clock {clock}\n" in rtlil
    assert "connect \\CLKO \\clock\n" in gate
    assert "connect \\CE \\enable [0]\n" in gate
    (enable,) = re.findall(r"connect \\enable (.+)\n", rtlil)
    assert f"connect \\begun {enable}\n" in rtlil
