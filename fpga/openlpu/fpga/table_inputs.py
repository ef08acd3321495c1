# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Flip-flops that no table feeds take their input through one that passes it on.

The input of a flip-flop beside its table is reached from 9 wires, none of them vertical, and all eight of a tile from
32 between them; an input of a table is reached from 24, any of the four will do, and eight tables have 104. A chip in
which half the flip-flops are fed by flip-flops cannot be routed while tables stand empty beside them. (Counted in the
database of Project Trellis: `.mux M0` and `.mux A0` of a PLC2 tile.)
"""

from collections.abc import Mapping
from typing import Any

from .netlist import Netlist

__all__ = ["enter_through_tables"]

_AFAR = ("TRELLIS_FF", "DP16KD", "MULT18X18D")
"""What is never beside a flip-flop that takes its input from it, as a table is."""
_PASS = "1010101010101010"


def enter_through_tables(module: Mapping[str, Any], tables: int) -> int:
    """Change a flat module of a netlist: see above. At most so many tables are spent, evenly over all flip-flops that
    want one. Returns how many."""
    netlist = Netlist(module)
    flops = {name: cell for name, cell in netlist.cells.items() if cell["type"] == "TRELLIS_FF"}
    wanting = [name for name, flop in flops.items() if netlist.driver_type(flop["connections"]["DI"][0]) in _AFAR]
    count = max(0, min(tables, len(wanting)))
    for number in range(count):
        name = wanting[number * len(wanting) // count]
        wires, passed = netlist.cells[name]["connections"], netlist.new_bit()
        netlist.add(f"{name}.through", "LUT4", {"INIT": _PASS}, {"A": wires["DI"]}, {"Z": [passed]})
        wires["DI"] = [passed]
    return count
