# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A flat module of a netlist, as Yosys writes it to JSON: who drives and who uses its bits, and new cells and bits."""

import itertools
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

__all__ = ["PLAIN", "Netlist", "is_plain"]

PLAIN = {"CEMUX": "1 ", "CLKMUX": "CLK", "REGSET": "RESET"}
"""A flip-flop that always takes its input. Of its reset, only a constant will do."""


class Netlist:
    """A view of `module`, which it changes. Bits are numbers, and constants are strings."""

    def __init__(self, module: Mapping[str, Any]) -> None:
        self.cells: dict[str, Any] = module["cells"]
        self.drivers: dict[int, str] = {}
        """The cell that drives a bit."""
        self.users: dict[int, list[str]] = defaultdict(list)
        """The cells that a bit goes to, each as often as it does; the module's own ports have no name."""
        for name, cell in self.cells.items():
            for port, bits in cell["connections"].items():
                for bit in bits:
                    if cell["port_directions"][port] == "input":
                        self.users[bit].append(name)
                    else:
                        self.drivers[bit] = name
        for port in module["ports"].values():
            for bit in port["bits"]:
                self.users[bit].append("")
        # Wires that nothing drives any more have numbers, too, and names.
        named = [net["bits"] for net in module["netnames"].values()]
        bits = itertools.chain(*named, *(bits for cell in self.cells.values() for bits in cell["connections"].values()))
        self._last = max((bit for bit in bits if isinstance(bit, int)), default=1)

    def driver_type(self, bit: int | str) -> str | None:
        """The type of the cell that drives a bit; None of a constant, and of a port of the module."""
        name = self.drivers.get(bit) if isinstance(bit, int) else None
        return None if name is None else str(self.cells[name]["type"])

    def new_bit(self) -> int:
        """A bit that is nowhere yet."""
        self._last += 1
        return self._last

    def add(
        self,
        name: str,
        kind: str,
        parameters: Mapping[str, str],
        inputs: Mapping[str, list[Any]],
        outputs: Mapping[str, list[int]],
    ) -> None:
        """A new cell. `drivers` and `users` are those of before."""
        assert name not in self.cells
        self.cells[name] = {
            "hide_name": 1,
            "type": kind,
            "parameters": dict(parameters),
            "attributes": {},
            "port_directions": {**dict.fromkeys(inputs, "input"), **dict.fromkeys(outputs, "output")},
            "connections": {**inputs, **outputs},
        }


def is_plain(cell: Mapping[str, Any]) -> bool:
    """Whether a cell is a flip-flop that does nothing but take its input with every clock."""
    if cell.get("type") != "TRELLIS_FF":
        return False
    usual = all(cell["parameters"].get(name) == value for name, value in PLAIN.items())
    reset: list[Any] = cell["connections"].get("LSR", ["0"])
    return usual and reset == ["0"]
