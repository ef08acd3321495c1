# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The area of the presets that fit an ECP5, and of a chip with a link, against the figures that are committed, so that
growth is seen.

`python -m openlpu.fpga.area` synthesises them and rewrites the figures.
"""

import dataclasses
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from openlpu.arch.config import ChipConfig
from openlpu.arch.presets import NANO, ULX3S8, ULX3S16
from openlpu.verif.odd_configs import LINKED

from .boards import BOARDS
from .build import synthesise
from .device import Area
from .toolchain import Toolchain, find_toolchain

__all__ = ["BOARD", "CONFIGS", "FIGURES", "TOLERANCE", "differences", "read_figures", "units_of"]

BOARD = BOARDS["ulx3s"]
"""The board that the figures are of."""
CONFIGS = (NANO, ULX3S8, ULX3S16, LINKED)
"""The presets that fit it, and what no preset has."""
FIGURES = Path(__file__).parents[2] / "reports" / "area.json"
TOLERANCE = 0.03
"""Of a unit's figure: mapping is heuristic, and what changes one unit may change how another is mapped."""
_SLACK = 32  # of the tables and flip-flops of the smallest units

Figures = Mapping[str, Mapping[str, Area]]
"""By preset and unit."""


def units_of(config: ChipConfig, toolchain: Toolchain) -> Mapping[str, Area]:
    """The area of each unit of a chip on `BOARD`, at the chip's own clock. Raises as `synthesise`."""
    with tempfile.TemporaryDirectory(prefix="openlpu-") as directory:
        netlist = synthesise(BOARD, config, clock_mhz=config.clock_mhz, toolchain=toolchain, directory=Path(directory))
    return netlist.units


def differences(found: Mapping[str, Area], committed: Mapping[str, Area]) -> list[str]:
    """What is not as committed, a line each: a unit more or less, more or fewer of what it is made of."""
    lines = []
    for unit in sorted({*found, *committed}):
        now, before = found.get(unit, Area()), committed.get(unit, Area())
        for kind in (field.name for field in dataclasses.fields(Area)):
            is_now, was = getattr(now, kind), getattr(before, kind)
            # Blocks are counted, tables and flip-flops are estimated.
            allowed = max(TOLERANCE * was, _SLACK) if kind in ("lut", "ff") else 0
            if abs(is_now - was) > allowed:
                lines.append(f"{unit}: {is_now:,} {kind.upper()}, and {was:,} are committed")
    return lines


def read_figures() -> Figures:
    """The committed figures."""
    presets = json.loads(FIGURES.read_text(encoding="utf-8"))
    return {name: {unit: Area(**area) for unit, area in units.items()} for name, units in presets.items()}


def _main() -> None:
    toolchain = find_toolchain()
    figures = {}
    for config in CONFIGS:
        units = units_of(config, toolchain)
        figures[config.name] = {unit: dataclasses.asdict(area) for unit, area in units.items()}
        sys.stdout.write(f"{config.name}: {sum((area for area in units.values()), Area())}\n")
    FIGURES.parent.mkdir(exist_ok=True)
    FIGURES.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _main()
