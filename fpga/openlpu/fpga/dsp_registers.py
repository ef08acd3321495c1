# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Move the registers behind multipliers into their DSP blocks, where Yosys leaves them outside.

A product then leaves its block from a register: no wire and no flip-flop lies between the two.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

__all__ = ["absorb_output_registers"]

_PRODUCT = tuple(f"P{bit}" for bit in range(36))
_PLAIN = {"CEMUX": "1 ", "CLKMUX": "CLK", "REGSET": "RESET"}
"""A flip-flop that always takes its input. Of its reset, only a constant will do."""
_IN_BLOCK = {"REG_OUTPUT_CLK": "CLK0", "REG_OUTPUT_CE": "CE0", "REG_OUTPUT_RST": "RST0"}


def absorb_output_registers(module: Mapping[str, Any]) -> int:
    """Change a flat module of a netlist, as Yosys writes it to JSON: see above.

    A block gets a register if all its product goes to flip-flops of one clock, which neither hold nor are reset, and
    nowhere else. Returns how many flip-flops that saved.
    """
    cells: dict[str, Any] = module["cells"]
    users: dict[int, list[str]] = defaultdict(list)
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                for bit in bits:
                    users[bit].append(name)
    for port in module["ports"].values():
        for bit in port["bits"]:
            users[bit].append("")

    saved = 0
    for block in [cell for cell in cells.values() if cell["type"] == "MULT18X18D"]:
        product = {port: block["connections"].get(port, [None])[0] for port in _PRODUCT}
        registers = {port: users[bit] for port, bit in product.items() if users[bit]}
        if "REG_OUTPUT_CLK" in block["parameters"] or not all(len(names) == 1 for names in registers.values()):
            continue
        flops = {port: cells.get(name, {}) for port, (name,) in registers.items()}
        clocks = {_clock(flop, product[port]) for port, flop in flops.items()}
        if len(clocks) != 1 or None in clocks:
            continue
        for port, (name,) in registers.items():
            block["connections"][port] = flops[port]["connections"]["Q"]
            del cells[name]
            saved += 1
        block["parameters"] |= _IN_BLOCK
        for port, bit in {"CLK0": clocks.pop(), "CE0": "1", "RST0": "0"}.items():
            block["connections"][port] = [bit]
            block["port_directions"][port] = "input"
    return saved


def _clock(flop: Mapping[str, Any], bit: int | None) -> int | None:
    """The clock of a flip-flop that does nothing but take this bit; None of any other cell."""
    if flop.get("type") != "TRELLIS_FF" or any(flop["parameters"].get(name) != value for name, value in _PLAIN.items()):
        return None
    wires = flop["connections"]
    if wires["DI"] != [bit] or wires.get("LSR", ["0"]) != ["0"]:
        return None
    clock: int = wires["CLK"][0]
    return clock
