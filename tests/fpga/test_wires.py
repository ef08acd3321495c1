# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Wire is counted by the unit that drives it, over all ends of a net, and no clock is."""

from typing import Any

from openlpu.fpga.wires import wire_by_unit


def cell(site: str, kind: str = "TRELLIS_FF", **ports: tuple[str, int | str]) -> dict[str, Any]:
    """A cell at a site; of each port whether it is an input or an output, and its net."""
    return {
        "type": kind,
        "attributes": {"NEXTPNR_BEL": f"{site}/SLICEA.FF0"} if site else {},
        "port_directions": {name: direction for name, (direction, _) in ports.items()},
        "connections": {name: [bit] for name, (_, bit) in ports.items()},
    }


def test_a_net_is_as_long_as_half_the_box_around_its_ends() -> None:
    cells = {
        "$gbuf$clk": cell("X60/Y0", "DCCA", CLKO=("output", 1)),
        "chip.bridged.chip.vxm.lane0.alu1_FF": cell("X10/Y10", Q=("output", 2), CLK=("input", 1)),
        "chip.bridged.chip.hop0.w_data_FF": cell("X13/Y8", DI=("input", 2), Q=("output", 3), CLK=("input", 1)),
        "chip.bridged.chip.icu_mem_e0_read.head_FF": cell("X9/Y20", DI=("input", 2), Q=("output", 4)),
        "chip.bridged.chip.mem_e0.sram0.words.0.0": cell("X9/Y21", "DP16KD", DI0=("input", 4), DI1=("input", "0")),
        "indicators.left_FF": cell("X1/Y1", DI=("input", 3)),
        "nowhere": cell("", Q=("output", 5)),
    }
    wire = wire_by_unit({"modules": {"top": {"cells": cells}}})
    assert wire == {"queues": 1, "streams": (13 - 1) + (8 - 1), "VXM": (13 - 9) + (20 - 8)}
