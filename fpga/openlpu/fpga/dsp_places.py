# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Places for DSP blocks, lane by lane.

A chip takes nearly all the blocks of its device. Left to itself a placer gives a multiplier of many blocks what others
left over, all over the device, and its logic has to follow. Blocks in the order of lanes draw every lane together.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from openlpu.hdl.mxm import COLUMNS

__all__ = ["place_blocks"]

_LANE = re.compile(r"vxm\.lane(\d+)\.")
_COLUMNS = re.compile(r"\.dot_products(\d+)\.")


def place_blocks(module: Mapping[str, Any], sites: Sequence[str]) -> None:
    """Fix the places of the blocks in a flat module of a netlist: neighbours in `sites` for those of a lane.

    A netlist of more blocks than sites is left with blocks that have no place.
    """
    cells: Mapping[str, Any] = module["cells"]
    blocks = sorted((_position(name), name) for name, cell in cells.items() if cell["type"] == "MULT18X18D")
    for (_, name), site in zip(blocks, sites, strict=False):
        cells[name]["attributes"]["BEL"] = site


def _position(name: str) -> float:
    """The lane a block works for. One for columns of the MXM stands behind the first of their lanes."""
    lane, columns = _LANE.search(name), _COLUMNS.search(name)
    if lane:
        return int(lane[1])
    return COLUMNS * int(columns[1]) + 0.5 if columns else 0
