# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Registers that belong into DSP blocks, and those that do not."""

from typing import Any

import pytest

from openlpu.fpga.dsp_registers import absorb_output_registers

CLOCK, OTHER_CLOCK = 1, 2
_PLAIN = {"CEMUX": "1 ", "CLKMUX": "CLK", "REGSET": "RESET", "LSRMUX": "LSR"}


def cell(kind: str, outputs: tuple[str, ...], wires: dict[str, Any], parameters: dict[str, str]) -> dict[str, Any]:
    return {
        "type": kind,
        "parameters": dict(parameters),
        "port_directions": {port: "output" if port in outputs else "input" for port in wires},
        "connections": {port: [bit] for port, bit in wires.items()},
    }


def flop(bit: int, result: int, clock: int = CLOCK, **parameters: str) -> dict[str, Any]:
    wires = {"CLK": clock, "DI": bit, "LSR": "0", "Q": result}
    return cell("TRELLIS_FF", ("Q",), wires, {**_PLAIN, **parameters})


def module() -> dict[str, Any]:
    """A block with three bits of product, two of which go to registers."""
    wires = {"A0": 3, "B0": 4, "P0": 10, "P1": 11, "P35": 12}
    block = cell("MULT18X18D", ("P0", "P1", "P35"), wires, {})
    cells = {"block": block, "low": flop(10, 20), "high": flop(11, 21)}
    return {"ports": {"o": {"bits": [20, 21]}}, "cells": cells}


def test_a_block_takes_its_registers_in() -> None:
    changed = module()
    assert absorb_output_registers(changed) == 2
    assert list(changed["cells"]) == ["block"]
    block = changed["cells"]["block"]
    wires = {"A0": 3, "B0": 4, "P0": 20, "P1": 21, "P35": 12, "CLK0": CLOCK, "CE0": "1", "RST0": "0"}
    assert block["connections"] == {port: [bit] for port, bit in wires.items()}
    assert block["port_directions"].keys() == wires.keys()
    assert block["parameters"] == {"REG_OUTPUT_CLK": "CLK0", "REG_OUTPUT_CE": "CE0", "REG_OUTPUT_RST": "RST0"}


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("another clock", {"high": flop(11, 21, OTHER_CLOCK)}),
        ("an enable", {"high": flop(11, 21, CEMUX="CE")}),
        ("a set", {"high": flop(11, 21, REGSET="SET")}),
        ("a reset", {"high": cell("TRELLIS_FF", ("Q",), {"CLK": CLOCK, "DI": 11, "LSR": 5, "Q": 21}, _PLAIN)}),
        ("logic", {"high": cell("LUT4", ("Z",), {"A": 11, "Z": 21}, {})}),
        ("two users", {"more": flop(11, 22)}),
        ("the edge", {"high": cell("TRELLIS_IO", (), {"I": 11}, {})}),
        ("a register already", {"block": cell("MULT18X18D", ("P0",), {"P0": 10}, {"REG_OUTPUT_CLK": "CLK0"})}),
    ],
)
def test_a_block_leaves_out(name: str, other: dict[str, Any]) -> None:
    changed, untouched = module(), module()
    changed["cells"] |= other
    untouched["cells"] |= other
    assert absorb_output_registers(changed) == 0, name
    assert changed == untouched


def test_a_product_that_leaves_the_chip_stays_outside() -> None:
    changed = module()
    changed["ports"]["p"] = {"bits": [10]}
    assert absorb_output_registers(changed) == 0
