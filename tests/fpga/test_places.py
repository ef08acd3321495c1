# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Blocks of a lane are neighbours, and the sites of the devices are where nextpnr has them."""

import dataclasses
import re
from itertools import pairwise
from typing import Any

import pytest

from openlpu.arch.config import AluConfig, OpClass
from openlpu.arch.presets import NANO
from openlpu.fpga.device import DEVICES, Area, Device
from openlpu.fpga.places import place_blocks
from openlpu.hdl.generate import hosted_verilog


def blocks(kind: str, *names: str) -> dict[str, dict[str, Any]]:
    return {f"chip.{name}": {"type": kind, "attributes": {}} for name in names}


def multipliers(*names: str) -> dict[str, dict[str, Any]]:
    return blocks("MULT18X18D", *names)


def memories(*names: str) -> dict[str, dict[str, Any]]:
    return blocks("DP16KD", *(f"{name}.words.0.0" for name in names))


def placed(cells: dict[str, dict[str, Any]], sites: int) -> dict[str, str | None]:
    """Where blocks are, when there are sites called d0, d1, ..., r0, r1, ... beside them, and s0, s1, ..."""
    dsp, ram, spare = ([f"{kind}{number}" for number in range(sites)] for kind in "drs")
    place_blocks(
        {"cells": cells},
        Device(nextpnr_option="", area=Area(), dsp_sites=dsp, ram_sites=ram, spare_ram_sites=spare),
    )
    places = {name: cell["attributes"].get("BEL") for name, cell in cells.items()}
    return {name.removeprefix("chip.").removesuffix(".words.0.0"): place for name, place in places.items()}


def test_multipliers_follow_the_lanes() -> None:
    lanes = ["vxm.lane10.alu2.b", "vxm.lane2.alu2.a", "vxm.lane2.alu2.b", "vxm.lane4_alu2_special.a"]
    columns = ["mxm_e0.dot_products1.block0", "mxm_e0.dot_products5.block0"]
    assert placed(multipliers(*lanes, *columns) | blocks("LUT4", "vxm.lane2.sum"), 9) == {
        "vxm.lane2.alu2.a": "d0",
        "vxm.lane2.alu2.b": "d1",
        "mxm_e0.dot_products1.block0": "d2",
        "vxm.lane4_alu2_special.a": "d3",
        "vxm.lane10.alu2.b": "d4",
        "mxm_e0.dot_products5.block0": "d5",
        "vxm.lane2.sum": None,
    }


def test_memories_follow_the_lanes() -> None:
    """They begin and end with the multipliers that they lie beside."""
    lanes = [f"vxm.lane{lane}.alu2.{number}" for lane in range(8) for number in range(4)]
    words = [f"{unit}{lane}" for unit in ("mem_e0.sram", "mxm_e0.accumulator") for lane in range(8)]
    places = placed(multipliers(*lanes) | memories(*words), 40)
    assert {name: places[name] for name in words} == {
        f"{unit}{lane}": f"r{4 * lane + first}"
        for first, unit in ((0, "mem_e0.sram"), (2, "mxm_e0.accumulator"))
        for lane in range(8)
    }
    assert [places[f"vxm.lane{lane}.alu2.0"] for lane in range(8)] == [f"d{4 * lane}" for lane in range(8)]


def test_blocks_that_are_fewer_are_spread_along_the_others() -> None:
    multiplying = [f"vxm.lane{lane}.alu3.a" for lane in range(2)]
    places = placed(
        multipliers(*multiplying) | memories(*(f"mem_e{m}.sram{lane}" for lane in range(2) for m in "012")), 9
    )
    assert [places[name] for name in multiplying] == ["d0", "d3"]
    assert [places[f"mem_e0.sram{lane}"] for lane in range(2)] == ["r0", "r3"]


def test_what_lanes_share_comes_first_where_the_first_of_them_is() -> None:
    table, product = "vxm.lane4_alu2_special.unit.table", "vxm.lane4_alu2_special.unit.product"
    places = placed(
        multipliers(product, "vxm.lane0.alu3.a", "vxm.lane4.alu3.a") | memories(table, "mem_e0.sram0", "mem_e0.sram4"),
        9,
    )
    assert (places[product], places["vxm.lane4.alu3.a"]) == ("d1", "d2")
    assert (places[table], places["mem_e0.sram4"]) == ("r1", "r2")


def test_other_memories_stay_whole() -> None:
    """Each is in one piece, the widest in the middle."""
    wide = {f"chip.icu_vxm_alu0.text.words.0.{number}": {"type": "DP16KD", "attributes": {}} for number in range(3)}
    places = placed({**wide, **memories("icu_mem_e0_read", "icu_mem_e0_write", "mem_e0.sram0")}, 10)
    assert places == {
        "icu_mem_e0_read": "s0",
        "icu_vxm_alu0.text": "s2",
        "icu_vxm_alu0.text.words.0.1": "s4",
        "icu_vxm_alu0.text.words.0.2": "s6",
        "icu_mem_e0_write": "s8",
        "mem_e0.sram0": "r0",
    }


def test_more_blocks_than_sites() -> None:
    lanes = [f"vxm.lane{lane}.alu2.a" for lane in range(5)]
    places = placed(multipliers(*lanes) | memories(*(f"mem_e0.sram{lane}" for lane in range(5))), 3)
    assert list(places.values()) == ["d0", "d1", "d2", None, None, "r0", "r1", "r2", None, None]


def test_the_verilog_has_names_that_tell_the_lane() -> None:
    config = dataclasses.replace(NANO, streams=4, mem_slices=2, alus=(AluConfig(classes=(OpClass.INT,), chain=(0,)),))
    text = hosted_verilog(config, clock_hz=25e6, baud=115_200)
    for unit, part in (
        (r"\\chip\.vxm", r"vxm_lane lane3"),
        (r"\\chip\.mxm_e0", r"dot_products_2 dot_products1"),
        (r"\\chip\.mxm_e0", r"accumulator accumulator3"),
        (r"accumulator", r"ram_\w+ accumulators"),
        (r"mem_e0", r"ram_\w+ sram3"),
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
    assert len({*device.ram_sites, *device.spare_ram_sites}) == device.area.bram
    for dsp_site, ram_site in zip(device.dsp_sites, device.ram_sites, strict=True):
        dsp, memory = (re.fullmatch(r"X(\d+)/Y(\d+)/(?:MULT18_[0145]|EBR[0-3])", site) for site in (dsp_site, ram_site))
        assert dsp is not None
        assert memory is not None
        assert abs(int(dsp[1]) - int(memory[1])) <= 1, (dsp_site, ram_site)
        assert int(memory[2]) - int(dsp[2]) == 12, (dsp_site, ram_site)
