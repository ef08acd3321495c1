# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Places for DSP blocks and for the block RAMs of SRAM and accumulators, lane by lane.

A chip takes nearly all the blocks of its device. Left to itself a placer gives a multiplier or a memory of many blocks
what others left over, all over the device, and its logic has to follow. Blocks in the order of lanes draw every lane
together.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from openlpu.hdl.mxm import COLUMNS

__all__ = ["place_blocks"]

_LANE = re.compile(r"vxm\.lane(\d+)\.")
_COLUMNS = re.compile(r"\.dot_products(\d+)\.")
_WORDS = re.compile(r"\.(sram|accumulators)\.words\.\d+\.(\d+)$")
"""Yosys numbers the blocks of a word from its lowest bit on."""
_LANE_BITS = {"sram": 8, "accumulators": 32}
"""What each lane has of a word."""


def place_blocks(module: Mapping[str, Any], dsp_sites: Sequence[str], ram_sites: Sequence[str]) -> None:
    """Fix the places of the blocks in a flat module of a netlist: neighbours in `dsp_sites` for those of a lane.

    Memories are spread over those of `ram_sites` that lie beside these; the two are as in `Device`. A netlist of more
    blocks than sites is left with blocks that have no place, and so are the block RAMs of all other memories.
    """
    cells: Mapping[str, Any] = module["cells"]
    multipliers = sorted((_lane(name), name) for name, cell in cells.items() if cell["type"] == "MULT18X18D")
    for (_, name), site in zip(multipliers, dsp_sites, strict=False):
        cells[name]["attributes"]["BEL"] = site

    found = [(name, _WORDS.search(name)) for name, cell in cells.items() if cell["type"] == "DP16KD"]
    words = sorted((_lane_of_words(match, cells[name]), name) for name, match in found if match)[: len(ram_sites)]
    beside = ram_sites[: max(len(multipliers), len(words))]
    for number, (_, name) in enumerate(words):
        cells[name]["attributes"]["BEL"] = beside[number * len(beside) // len(words)]


def _lane(name: str) -> float:
    """The lane a DSP block works for. One for columns of the MXM stands behind the first of their lanes."""
    lane, columns = _LANE.search(name), _COLUMNS.search(name)
    if lane:
        return int(lane[1])
    return COLUMNS * int(columns[1]) + 0.5 if columns else 0


def _lane_of_words(name: re.Match[str], block: Mapping[str, Any]) -> float:
    """Where among the lanes the bits of a block RAM begin."""
    memory, number = name.groups()
    return int(number) * int(block["parameters"]["DATA_WIDTH_B"], 2) / _LANE_BITS[memory]
