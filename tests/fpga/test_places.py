# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Blocks of a lane are neighbours, and the sites of the devices are where nextpnr has them."""

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest

from openlpu.arch.presets import NANO
from openlpu.fpga.device import DEVICES, Device
from openlpu.fpga.places import place_blocks
from openlpu.hdl.generate import hosted_verilog


def block() -> dict[str, Any]:
    return {"type": "MULT18X18D", "attributes": {}}


def ram(width: int) -> dict[str, Any]:
    return {"type": "DP16KD", "attributes": {}, "parameters": {"DATA_WIDTH_B": f"{width:032b}"}}


def placed(cells: dict[str, dict[str, Any]], dsp_sites: int, ram_sites: int) -> dict[str, str | None]:
    """Where blocks are, when there are sites called d0, d1, ... and r0, r1, ..."""
    sites = [[f"{kind}{number}" for number in range(count)] for kind, count in (("d", dsp_sites), ("r", ram_sites))]
    place_blocks({"cells": cells}, *sites)
    return {name: cell["attributes"].get("BEL") for name, cell in cells.items()}


def test_multipliers_follow_the_lanes() -> None:
    lanes = ["chip.vxm.lane10.alu2.b", "chip.vxm.lane2.alu2.a", "chip.vxm.lane2.alu2.b", "chip.vxm.lane3.alu2.a"]
    columns = ["chip.mxm_e0.dot_products1.block0", "chip.mxm_e0.dot_products5.block0"]
    cells = {name: block() for name in (*lanes, *columns)} | {"chip.vxm.lane2.sum": {"type": "LUT4", "attributes": {}}}
    assert placed(cells, 9, 9) == {
        "chip.vxm.lane2.alu2.a": "d0",
        "chip.vxm.lane2.alu2.b": "d1",
        "chip.mxm_e0.dot_products1.block0": "d2",
        "chip.vxm.lane3.alu2.a": "d3",
        "chip.vxm.lane10.alu2.b": "d4",
        "chip.mxm_e0.dot_products5.block0": "d5",
        "chip.vxm.lane2.sum": None,
    }


def words(slices: Iterable[str], blocks: int) -> dict[str, dict[str, Any]]:
    return {f"chip.mem_{name}.sram.words.0.{number}": ram(9) for name in slices for number in range(blocks)}


def test_memories_follow_the_lanes() -> None:
    """Blocks of 9 bits of bytes, and of 18 bits of sums: by the lane in which their lowest bit is."""
    accumulators = {f"chip.mxm_e0.accumulators.words.0.{number}": ram(18) for number in range(12)}
    others = {"chip.icu_mem_e0_read.text_memory.words.0.0": ram(36), "chip.vxm.lane2.alu0.table": ram(18)}
    places = placed({**accumulators, **words(["e0", "w0"], 7), **others}, 99, 99)
    order = sorted((int(site[1:]), name) for name, site in places.items() if site)
    assert [(number, name.removeprefix("chip.")) for number, name in order] == [
        (0, "mem_e0.sram.words.0.0"),
        (1, "mem_w0.sram.words.0.0"),
        (2, "mxm_e0.accumulators.words.0.0"),
        (3, "mxm_e0.accumulators.words.0.1"),  # bit 18 of lane 0
        (4, "mem_e0.sram.words.0.1"),  # bit 1 of lane 1
        (5, "mem_w0.sram.words.0.1"),
        (6, "mxm_e0.accumulators.words.0.2"),  # bit 4 of lane 1
        (7, "mxm_e0.accumulators.words.0.3"),
        (8, "mem_e0.sram.words.0.2"),
        (9, "mem_w0.sram.words.0.2"),
        (10, "mxm_e0.accumulators.words.0.4"),
        (11, "mxm_e0.accumulators.words.0.5"),
        (12, "mem_e0.sram.words.0.3"),
        (13, "mem_w0.sram.words.0.3"),
        (14, "mxm_e0.accumulators.words.0.6"),
        (15, "mxm_e0.accumulators.words.0.7"),
        (16, "mem_e0.sram.words.0.4"),
        (17, "mem_w0.sram.words.0.4"),
        (18, "mxm_e0.accumulators.words.0.8"),
        (19, "mxm_e0.accumulators.words.0.9"),
        (20, "mem_e0.sram.words.0.5"),
        (21, "mem_w0.sram.words.0.5"),
        (22, "mxm_e0.accumulators.words.0.10"),
        (23, "mxm_e0.accumulators.words.0.11"),
        (24, "mem_e0.sram.words.0.6"),
        (25, "mem_w0.sram.words.0.6"),
    ]
    assert not any(places[name] for name in others)


def test_memories_lie_beside_multipliers() -> None:
    """Those of the first lane begin with its multipliers, those of the last are at the end of theirs."""
    multipliers = {f"chip.vxm.lane{lane}.alu2.{number}": block() for lane in range(8) for number in range(4)}
    places = placed({**multipliers, **words(["e0"], 8)}, 40, 40)
    assert [places[f"chip.mem_e0.sram.words.0.{number}"] for number in range(8)] == [
        f"r{4 * lane}" for lane in range(8)
    ]
    assert [places[f"chip.vxm.lane{lane}.alu2.0"] for lane in range(8)] == [f"d{4 * lane}" for lane in range(8)]


def test_more_blocks_than_sites() -> None:
    multipliers = {f"chip.vxm.lane{lane}.alu2.a": block() for lane in range(5)}
    places = placed({**multipliers, **words(["e0", "e1"], 3)}, 3, 4)
    assert list(places.values()) == ["d0", "d1", "d2", None, None, "r0", "r2", None, "r1", "r3", None]


def test_the_verilog_has_names_that_tell_the_lane() -> None:
    text = hosted_verilog(NANO, clock_hz=25e6, baud=115_200)
    for unit, part in (
        (r"\\chip\.vxm", r"vxm_lane lane3"),
        (r"\\chip\.mxm_e0", r"dot_products_2 dot_products1"),
        (r"\\chip\.mxm_e0", r"ram_\w+ accumulators"),
        (r"mem_e0", r"ram_\w+ sram"),
    ):
        module = re.search(rf"^module {unit} ?\(.*?^endmodule", text, re.MULTILINE | re.DOTALL)
        assert module is not None, unit
        assert re.search(rf"^ *{part} ?\(", module[0], re.MULTILINE), part
    assert re.search(r"^ *reg \[\d+:0\] words \[\d+:0\];$", text, re.MULTILINE)


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
def test_sites_lie_on_a_path(device: Device) -> None:
    assert len({*device.dsp_sites}) == device.area.dsp
    found = [re.fullmatch(r"X(\d+)/Y(\d+)/MULT18_[0145]", site) for site in device.dsp_sites]
    places = [(int(match[1]), int(match[2])) for match in found if match]
    assert len(places) == device.area.dsp
    # From one row to the next it goes straight up.
    assert max(abs(x - u) + abs(y - v) for (x, y), (u, v) in pairwise(places)) == 24


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
def test_every_multiplier_has_a_memory_beside_it(device: Device) -> None:
    assert len({*device.ram_sites}) == len(device.dsp_sites)
    for dsp_site, ram_site in zip(device.dsp_sites, device.ram_sites, strict=True):
        dsp, memory = (re.fullmatch(r"X(\d+)/Y(\d+)/(?:MULT18_[0145]|EBR[0-3])", site) for site in (dsp_site, ram_site))
        assert dsp is not None
        assert memory is not None
        assert abs(int(dsp[1]) - int(memory[1])) <= 1, (dsp_site, ram_site)
        assert int(memory[2]) - int(dsp[2]) == 12, (dsp_site, ram_site)
