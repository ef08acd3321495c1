# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Blocks of a lane are neighbours, and the sites of the devices are where nextpnr has them."""

import re
from itertools import pairwise
from typing import Any

import pytest

from openlpu.arch.presets import NANO
from openlpu.fpga.device import DEVICES, Device
from openlpu.fpga.dsp_places import place_blocks
from openlpu.hdl.generate import hosted_verilog


def block() -> dict[str, Any]:
    return {"type": "MULT18X18D", "attributes": {}}


def test_blocks_follow_the_lanes() -> None:
    lanes = ["chip.vxm.lane10.alu2.b", "chip.vxm.lane2.alu2.a", "chip.vxm.lane2.alu2.b", "chip.vxm.lane3.alu2.a"]
    columns = ["chip.mxm_e0.dot_products1.block0", "chip.mxm_e0.dot_products5.block0"]
    cells = {name: block() for name in (*lanes, *columns)} | {"chip.vxm.lane2.sum": {"type": "LUT4", "attributes": {}}}
    place_blocks({"cells": cells}, [f"site{number}" for number in range(9)])
    placed = {name: cell["attributes"].get("BEL") for name, cell in cells.items()}
    assert placed == {
        "chip.vxm.lane2.alu2.a": "site0",
        "chip.vxm.lane2.alu2.b": "site1",
        "chip.mxm_e0.dot_products1.block0": "site2",
        "chip.vxm.lane3.alu2.a": "site3",
        "chip.vxm.lane10.alu2.b": "site4",
        "chip.mxm_e0.dot_products5.block0": "site5",
        "chip.vxm.lane2.sum": None,
    }


def test_the_verilog_has_names_that_tell_the_lane() -> None:
    text = hosted_verilog(NANO, clock_hz=25e6, baud=115_200)
    for unit, part in ((r"chip\.vxm", r"vxm_lane lane3"), (r"chip\.mxm_e0", r"dot_products_2 dot_products1")):
        module = re.search(rf"^module \\{unit} ?\(.*?^endmodule", text, re.MULTILINE | re.DOTALL)
        assert module is not None, unit
        assert re.search(rf"^ *{part} ?\(", module[0], re.MULTILINE), part


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
def test_sites_lie_on_a_path(device: Device) -> None:
    assert len({*device.dsp_sites}) == device.area.dsp
    found = [re.fullmatch(r"X(\d+)/Y(\d+)/MULT18_[0145]", site) for site in device.dsp_sites]
    places = [(int(match[1]), int(match[2])) for match in found if match]
    assert len(places) == device.area.dsp
    # From one row to the next it goes straight up.
    assert max(abs(x - u) + abs(y - v) for (x, y), (u, v) in pairwise(places)) == 24
