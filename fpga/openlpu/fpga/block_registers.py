# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Move the registers behind multipliers and memories into their blocks, where Yosys leaves them outside.

A product or a word then leaves its block from a register: no wire and no flip-flop lies between the two, and a block
RAM has its word out after 1 ns instead of 6.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .netlist import Netlist, is_plain

__all__ = ["absorb_output_registers"]

_WIDE = f"{36:032b}"
"""The width that joins both ports of a block RAM, as Yosys writes parameters."""


class _Register(NamedTuple):
    """A register at outputs of a block that is not in use. It is 0 in the beginning, as flip-flops are."""

    outputs: Sequence[str]
    clock: str
    """The port for its clock. If that has a clock already, the register can have no other."""
    parameters: Mapping[str, str]
    """Those that put it into use."""
    ties: Mapping[str, str]
    """Ports and constants that have it always take its input."""


_PRODUCT = _Register(
    outputs=tuple(f"P{bit}" for bit in range(36)),
    clock="CLK0",
    parameters={"REG_OUTPUT_CLK": "CLK0", "REG_OUTPUT_CE": "CE0", "REG_OUTPUT_RST": "RST0"},
    ties={"CE0": "1", "RST0": "0"},
)


def absorb_output_registers(module: Mapping[str, Any]) -> int:
    """Change a flat module of a netlist, as Yosys writes it to JSON: see above.

    The outputs of a block, or of one port of a block RAM, get a register if all that are used go to flip-flops of one
    clock, which neither hold nor are reset, and nowhere else. Returns how many flip-flops that saved.
    """
    netlist = Netlist(module)
    cells, users = netlist.cells, netlist.users
    saved = 0
    for block in [*cells.values()]:
        wires = block["connections"]
        for register in _free_registers(block):
            outputs = {port: wires.get(port, [None])[0] for port in register.outputs}
            behind = {port: users[bit] for port, bit in outputs.items() if users[bit]}
            if not behind or not all(len(names) == 1 for names in behind.values()):
                continue
            flops = {port: cells.get(name, {}) for port, (name,) in behind.items()}
            clocks = {_clock(flop, outputs[port]) for port, flop in flops.items()} | {*wires.get(register.clock, [])}
            if len(clocks) != 1 or None in clocks:
                continue
            for port, (name,) in behind.items():
                wires[port] = flops[port]["connections"]["Q"]
                del cells[name]
                saved += 1
            block["parameters"] |= register.parameters
            for port, bit in {register.clock: clocks.pop(), **register.ties}.items():
                wires[port] = [bit]
                block["port_directions"][port] = "input"
    return saved


def _free_registers(block: Mapping[str, Any]) -> Iterator[_Register]:
    """The output registers that a cell has and does not use; none of a cell that is no block."""
    parameters, wires = block["parameters"], block["connections"]
    if block["type"] == "MULT18X18D" and "REG_OUTPUT_CLK" not in parameters:
        yield _PRODUCT
    elif block["type"] == "DP16KD":
        # Reads of the full width have the clock of the second port, and both ports' outputs.
        for ports in ["AB"] if parameters.get("DATA_WIDTH_A") == _WIDE else ["A", "B"]:
            clock = f"CLK{ports[-1]}"
            unused = {f"{clock}MUX": clock, **{f"REGMODE_{port}": "NOREG" for port in ports}}
            # A reset is the register's if there is one, and else that of what it registers.
            if unused.items() <= parameters.items() and all(wires.get(f"RST{port}") == ["0"] for port in ports):
                yield _Register(
                    outputs=[f"DO{port}{bit}" for port in ports for bit in range(18)],
                    clock=clock,
                    parameters={f"REGMODE_{port}": "OUTREG" for port in ports},
                    # Not what enables reading: the flip-flops load what was read last, also while nothing is read.
                    ties={f"OCE{port}": "1" for port in ports},
                )


def _clock(flop: Mapping[str, Any], bit: int | None) -> int | None:
    """The clock of a flip-flop that does nothing but take this bit; None of any other cell."""
    if not is_plain(flop) or flop["connections"]["DI"] != [bit]:
        return None
    clock: int = flop["connections"]["CLK"][0]
    return clock
