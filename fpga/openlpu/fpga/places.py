# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Places for DSP blocks and block RAMs: the floor plan of a chip on a device.

A chip takes nearly all the blocks of its device. Left to itself a placer gives a multiplier or a memory of many blocks
what others left over, all over the device, and its logic has to follow. Blocks in the order of lanes draw every lane
together; the texts of the instruction queues stand in a row of their own.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from openlpu.hdl.mxm import COLUMNS

from .device import Device

__all__ = ["place_blocks"]

_LANE = re.compile(r"\.(?:lane|sram|accumulator)(\d+)[._]")
_SHARED = re.compile(r"\.lane\d+_alu\d+_special\.")
_COLUMNS = re.compile(r"\.dot_products(\d+)\.")


def place_blocks(module: Mapping[str, Any], device: Device) -> None:
    """Fix the places of the blocks in a flat module of a netlist.

    Multipliers are neighbours in `Device.dsp_sites` if they are of one lane, and its memories lie beside them; those of
    which there are fewer are spread along the others. First come those of a unit that several lanes share, at the first
    of them. Blocks of one other memory are neighbours in `Device.spare_ram_sites`. Blocks beyond the sites are left
    without a place.
    """
    cells: Mapping[str, Any] = module["cells"]
    multipliers = sorted((name for name, cell in cells.items() if cell["type"] == "MULT18X18D"), key=_order)
    memories = [name for name, cell in cells.items() if cell["type"] == "DP16KD"]
    of_lanes = sorted((name for name in memories if _lane(name) is not None), key=_order)
    others = sorted(name for name in memories if _lane(name) is None)

    count = max(len(multipliers), len(of_lanes))
    places = _spread(multipliers, device.dsp_sites[:count])
    places |= _spread(of_lanes, device.ram_sites[:count])
    places |= _spread([*_widest_inside(others)], device.spare_ram_sites)
    for name, site in places.items():
        cells[name]["attributes"]["BEL"] = site


def _order(name: str) -> tuple[float, bool, str]:
    """Where a block of a lane stands among the others."""
    return _lane(name) or 0, not _SHARED.search(name), name


def _lane(name: str) -> float | None:
    """The lane a block works for, if any. One for columns of the MXM stands behind the first of their lanes."""
    lane, columns = _LANE.search(name), _COLUMNS.search(name)
    if lane:
        return int(lane[1])
    return COLUMNS * int(columns[1]) + 0.5 if columns else None


def _spread(blocks: Sequence[str], sites: Sequence[str]) -> dict[str, str]:
    """A site for every block, in order, and equally far from one to the next."""
    count = min(len(blocks), len(sites))
    return {block: sites[number * len(sites) // count] for number, block in enumerate(blocks[:count])}


def _widest_inside(blocks: Sequence[str]) -> Iterator[str]:
    """Blocks as they stand: memories of more blocks, whose words go to more places, further inside."""
    memories = sorted((list(found) for _, found in groupby(blocks, lambda name: name.rsplit(".", 2)[0])), key=len)
    for memory in (*memories[::2], *memories[1::2][::-1]):
        yield from memory
