# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Where the wires of a chip come from, which on a full device are what runs out first.

Half the perimeter of the box around a net's cells, in tiles, is what a placer minimises, and what a router needs at
least. A net counts for the unit that drives it.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from openlpu.arch.config import ChipConfig

from .boards import Board
from .build import nextpnr_options, refuse_too_large, synthesise
from .toolchain import Toolchain

__all__ = ["UNITS", "wire_by_unit", "wire_of"]

UNITS = {
    "queues": r"\.(icu_|text\d)",
    "streams": r"\.hop\d",
    "MEM": r"\.mem_",
    "MXM": r"\.mxm_",
    "SXM": r"\.sxm_",
    "VXM": r"\.vxm",
    "links": r"\.(c2c|link|deskew)\d",
    "bridge": r"^chip\.(bridged\.bridge|receiver|transmitter)",
}
"""By unit, as in `synthesis.UNITS`: what is in the names of its cells, now that the netlist is flat. The first that
fits counts; text on its way from the streams is the queues'."""

_REST = "all else"
_PLACED = "placed.json"
_SITE = re.compile(r"X(\d+)/Y(\d+)/")
_GLOBAL = "DCCA"
"""A cell whose net is a clock's, on wires of its own."""


class _Place(NamedTuple):
    x: int
    y: int


def wire_by_unit(placed: Mapping[str, Any]) -> Mapping[str, int]:
    """Tiles of wire by the unit that drives it, of a design as nextpnr writes it when it has placed it."""
    (design,) = placed["modules"].values()
    drivers: dict[int, str] = {}
    places: defaultdict[int, list[_Place]] = defaultdict(list)
    for name, cell in design["cells"].items():
        place = _place_of(cell)
        if place is None or cell["type"] == _GLOBAL:
            continue
        for bit, drives in _ends(cell):
            places[bit].append(place)
            if drives:
                drivers[bit] = name
    wire: Counter[str] = Counter()
    for bit, name in drivers.items():
        wire[_unit(name)] += _half_perimeter(places[bit])
    return {unit: wire[unit] for unit in (*UNITS, _REST) if unit in wire}


def wire_of(board: Board, config: ChipConfig, *, toolchain: Toolchain, directory: Path) -> Mapping[str, int]:
    """Place a chip for a board, in an empty directory, and say what `wire_by_unit` does. Raises as `build`."""
    netlist = synthesise(board, config, clock_mhz=config.clock_mhz, toolchain=toolchain, directory=directory)
    refuse_too_large(board, config, netlist.total)
    toolchain.run("nextpnr-ecp5", [*nextpnr_options(board, seed=1), "--no-route", "--write", _PLACED], directory)
    return wire_by_unit(json.loads((directory / _PLACED).read_text(encoding="utf-8")))


def _place_of(cell: Mapping[str, Any]) -> _Place | None:
    found = _SITE.match(cell["attributes"].get("NEXTPNR_BEL", ""))
    return _Place(int(found[1]), int(found[2])) if found else None


def _ends(cell: Mapping[str, Any]) -> Iterator[tuple[int, bool]]:
    """The nets at a cell's ports, and whether it drives them."""
    for port, bits in cell["connections"].items():
        for bit in bits:
            if isinstance(bit, int):
                yield bit, cell["port_directions"][port] == "output"


def _half_perimeter(places: list[_Place]) -> int:
    columns, rows = zip(*places, strict=True)
    return int(max(columns) - min(columns) + max(rows) - min(rows))


def _unit(name: str) -> str:
    return next((unit for unit, pattern in UNITS.items() if re.search(pattern, name)), _REST)
