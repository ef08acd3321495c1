# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Delays of three cycles and more, which Yosys leaves as chains of flip-flops, become distributed RAM.

A chip in which everything meets in its cycle is full of bits that wait. What has to wait for L cycles is written to a
memory of L - 1 words and read from there before the word is written again; the last flip-flop of the chain takes what
is read. Four bits share a memory, and a few memories a counter, which is read and write address at once. It starts
anywhere, since nobody sees where a bit waits.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from .netlist import PLAIN, Netlist, is_plain

__all__ = ["absorb_delays"]

_SHORTEST = 3
"""Flip-flops of a chain that is worth a memory."""
_LONGEST = 17
"""Those of a chain that one memory can hold, and the flip-flop behind it."""
_BITS = 4
"""Bits of a word."""
_MEMORIES = 8
"""Memories that share a counter: more would be far from it."""
_FLIP_FLOP = {**PLAIN, "GSR": "DISABLED", "LSRMUX": "LSR", "SRMODE": "LSR_OVER_CE"}
_UNIT = re.compile(r"(?:[^.]+\.){1,4}(?:lane\d+\.)?")
"""The part of a name that bits must have in common to share a memory: they are of one unit, and one lane of the VXM."""


def absorb_delays(module: Mapping[str, Any]) -> int:
    """Change a flat module of a netlist: see above. Returns how many flip-flops that saved.

    A chain is of flip-flops that always take their input, each of which goes to the next one and nowhere else. One that
    begins at a pin stays, since what comes from outside may change while it is written.
    """
    netlist = Netlist(module)
    groups: dict[tuple[str, int, int], list[Sequence[str]]] = defaultdict(list)
    for chain in _chains(netlist):
        first = netlist.cells[chain[0]]["connections"]
        found = _UNIT.match(chain[0])
        if isinstance(first["DI"][0], int) and netlist.driver_type(first["DI"][0]) != "TRELLIS_IO":
            groups[found[0] if found else "", len(chain), first["CLK"][0]].append(chain)
    saved = 0
    for (unit, length, clock), chains in groups.items():
        chains.sort(key=lambda chain: _natural(chain[0]))
        for number, words in enumerate(_pieces(chains, _BITS * _MEMORIES)):
            name = f"{unit}delay{length}_{number}"
            address = _counter(netlist, name, length - 1, clock)
            saved -= len(address)
            for place, bits in enumerate(_pieces(words, _BITS)):
                _memory(netlist, f"{name}.memory{place}", address, clock, bits)
                saved += len(bits) * (length - 1)
    return saved


def _chains(netlist: Netlist) -> Sequence[Sequence[str]]:
    """The flip-flops of every chain, the first one first."""
    after: dict[str, str] = {}
    for name, cell in netlist.cells.items():
        if is_plain(cell):
            bit = cell["connections"]["Q"][0]
            users = netlist.users[bit]
            behind = netlist.cells.get(users[0], {}) if len(users) == 1 else {}
            same = {"DI": [bit], "CLK": cell["connections"]["CLK"]}
            if is_plain(behind) and same.items() <= behind["connections"].items():
                after[name] = users[0]
    chains = []
    for first in sorted(after.keys() - after.values()):
        chain = [first]
        while chain[-1] in after and len(chain) < _LONGEST:
            chain.append(after[chain[-1]])
        if len(chain) >= _SHORTEST:
            chains.append(chain)
    return chains


def _counter(netlist: Netlist, name: str, period: int, clock: int) -> Sequence[int]:
    """The bits of a number that runs from 0 to `period` - 1 again and again."""
    bits = [netlist.new_bit() for _ in range((period - 1).bit_length())]
    for place, bit in enumerate(bits):
        nexts = [((value + 1) % period >> place) & 1 if value < period else 0 for value in range(1 << len(bits))]
        table = "".join(str(nexts[row % len(nexts)]) for row in reversed(range(16)))
        chosen = netlist.new_bit()
        inputs = {port: [number] for port, number in zip("ABCD", bits, strict=False)}
        netlist.add(f"{name}.next{place}", "LUT4", {"INIT": table}, inputs, {"Z": [chosen]})
        wires: dict[str, list[Any]] = {"CLK": [clock], "DI": [chosen], "LSR": ["0"]}
        netlist.add(f"{name}.count{place}", "TRELLIS_FF", _FLIP_FLOP, wires, {"Q": [bit]})
    return bits


def _memory(netlist: Netlist, name: str, address: Sequence[int], clock: int, chains: Sequence[Sequence[str]]) -> None:
    """Put a memory in the place of all flip-flops of chains but the last ones."""
    entering = [netlist.cells[chain[0]]["connections"]["DI"][0] for chain in chains]
    leaving = [netlist.new_bit() for _ in range(_BITS)]
    where = [*address, *["0"] * (_BITS - len(address))]
    data = [*entering, *["0"] * (_BITS - len(chains))]
    inputs: dict[str, list[Any]] = {"DI": data, "RAD": where, "WAD": where, "WCK": [clock]}
    parameters = {"INITVAL": "0" * 64, "WCKMUX": "WCK", "WREMUX": "1 "}
    netlist.add(name, "TRELLIS_DPR16X4", parameters, inputs, {"DO": leaving})
    for chain, bit in zip(chains, leaving, strict=False):
        netlist.cells[chain[-1]]["connections"]["DI"] = [bit]
        for flop in chain[:-1]:
            del netlist.cells[flop]


def _pieces(items: Sequence[Any], size: int) -> Sequence[Sequence[Any]]:
    """So many items at a time."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def _natural(name: str) -> list[tuple[int, str]]:
    """Names in order, with the numbers in them as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
