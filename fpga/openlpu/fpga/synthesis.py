# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""From Verilog to a netlist of an ECP5's cells: the Yosys script, and what its count says of each unit.

Units are kept apart while logic is mapped. So the area of each is exact, equal ones are mapped once, and mapping takes
minutes less; the netlist is flattened afterwards. Mapping goes for depth, and then for area: of a chip of 16 lanes that
takes 0.6 % more tables than area alone, and queues have 7 of them in a row instead of 12.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from amaranth.back import verilog
from amaranth.lib import wiring

from openlpu.arch.config import ChipConfig, OpClass
from openlpu.arch.timing import timing
from openlpu.hdl.clock_gate import CLOCK_GATE
from openlpu.hdl.mxm import dot_product_columns

from .clock_gate import Ecp5ClockGate
from .device import Area
from .ecp5 import Ecp5DotProducts, Ecp5GatedSum, Ecp5NarrowProduct

__all__ = [
    "CELLS_BY_UNIT",
    "NETLIST",
    "UNITS",
    "Share",
    "area",
    "area_by_unit",
    "modules_of",
    "multipliers_in_dsp",
    "script",
    "substitutes_verilog",
]

NETLIST = "netlist.json"
"""The file that the script writes for nextpnr."""
CELLS_BY_UNIT = "cells_by_unit.json"
"""The file that the script writes with what is in every module while units are apart."""

UNITS = {
    "board": r"board",
    "bridge": r"hosted_chip(\.bridged)?",
    "queues": r"icu_\w+",
    "streams": r"(chip|core)\.hop\d+|hop_relay\w*",
    "MEM": r"mem_\w+",
    "MXM": r"(chip|core)\.mxm_\w+|mxm_relay\w*|column|dot_product\w*",
    "SXM": r"(chip|core)\.sxm_\w+(\.rotator\d+)?|sxm_relay\w*",
    "VXM": r"(chip|core)\.vxm|vxm_\w+|lane_alu_\w+",
    "ECC": r"encoder_\w+|corrector",
    "links": r"chip\.(link|deskew)\d+|chip\.alignment|core\.c2c\d+|c2c_relay\w*",
    "run control": r"(chip|core)(\.host)?|host_relay\w*|errors_\w+",
}
"""What the area is counted by, and the Verilog modules that belong to each; any other module belongs to its users."""

_PLANE, _DOT_PRODUCTS = r"(chip|core)\.mxm_\w+", "dot_products"
_REPLACED = re.compile(rf"{CLOCK_GATE}|narrow_product|gated_sum_(\d+)")
"""The chip's modules that others stand in for, besides its dot products."""

_MAPPING = "+strash;ifraig;scorr;dc2;fraig;strash;dch,-f;if;mfs2;lutpack"
_TABLES = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6}


class Share(NamedTuple):
    """What stands in for dot products: of how many columns it is, and how many DSP blocks it has."""

    columns: int
    blocks: int

    @property
    def module(self) -> str:
        """Its Verilog module."""
        return f"{_DOT_PRODUCTS}_{self.columns}_{self.blocks}"


def multipliers_in_dsp(config: ChipConfig, dsp: int) -> Sequence[Share]:
    """The shares of a device with `dsp` DSP blocks, for all dot products of one MXM plane after the other.

    First come the multipliers of the VXM, which have no other good form. Raises ValueError when these alone are too
    many, or the MXM's multipliers have another number of stages than their substitutes.
    """
    if config.pipeline.multiply != 1:
        raise ValueError(
            f"config '{config.name}': pipeline.multiply is {config.pipeline.multiply}, and an ECP5's multipliers take 1"
        )
    inferred = sum(_inferred(config, alu.classes) for alu in config.alus)
    if inferred > dsp:
        raise ValueError(f"config '{config.name}': its ALUs need {inferred} multipliers, and the device has {dsp}")
    columns = [*dot_product_columns(config)] * (config.mxm_planes * config.hemispheres)
    left, users = dsp - inferred, len(columns)
    return [
        Share(count, min((left + users - 1 - user) // users, count * config.lanes))
        for user, count in enumerate(columns)
    ]


def substitutes_verilog(config: ChipConfig, modules: Sequence[str], in_dsp: Sequence[Share]) -> str:
    """The modules that stand in for the MXM's dot products, when `in_dsp` is what `multipliers_in_dsp` said, and for
    those of the chip's `modules` that an ECP5 has something better for.
    """
    tree = timing(config).tree
    substitutes: dict[str, wiring.Component] = {
        share.module: Ecp5DotProducts(lanes=config.lanes, columns=share.columns, tree=tree, blocks=share.blocks)
        for share in sorted(set(in_dsp))
    }
    substitutes |= {_substitute(module): _on_ecp5(module) for module in modules if _REPLACED.fullmatch(module)}
    return "".join(
        verilog.convert(substitute, name, emit_src=False, strip_internal_attrs=True)
        for name, substitute in substitutes.items()
    )


def script(
    sources: Sequence[str], modules: Sequence[str], *, top: str, in_dsp: Sequence[Share], apart: Collection[str] = ()
) -> str:
    """The Yosys script that makes `NETLIST` and `CELLS_BY_UNIT` of RTLIL and Verilog files.

    `modules` are those of the sources, `in_dsp` what `multipliers_in_dsp` said; what is `apart` is counted, too, by its
    name.
    """
    read = {"il": "read_rtlil", "v": "read_verilog"}
    replaced = {f"{_DOT_PRODUCTS}_{share.columns}" for share in in_dsp}
    units = [module for module in modules if module not in (top, *replaced) and (_unit(module) or module in apart)]
    planes = [module for module in modules if re.fullmatch(_PLANE, module)]
    cells = [f"{plane}/{_DOT_PRODUCTS}{number}" for plane in planes for number in range(len(in_dsp) // len(planes))]
    lines = [
        *(f"{read[source.rpartition('.')[2]]} {source}" for source in sources),
        *(f"chtype -set {share.module} {cell}" for cell, share in zip(cells, in_dsp, strict=True)),
        *(f"chtype -set {_substitute(module)} t:{module}" for module in modules if _REPLACED.fullmatch(module)),
        f"hierarchy -top {top}",
        f"setattr -mod -set keep_hierarchy 1 {' '.join(units)}",
        f"synth_ecp5 -top {top} -nowidelut -run begin:map_luts",
        f"abc -lut 4 -script {_MAPPING}",
        "clean",
        f"synth_ecp5 -top {top} -nowidelut -run map_cells:edif",
        f"tee -q -o {CELLS_BY_UNIT} stat -json",
        "setattr -mod -unset keep_hierarchy *",
        "flatten",
        "opt_clean",
        "opt_lut_ins -tech lattice",
        "clean",
        "check -assert",
        f"write_json {NETLIST}",
    ]
    return "\n".join(lines) + "\n"


def modules_of(text: str) -> list[str]:
    """The names of the modules in Verilog text."""
    return re.findall(r"^module \\?([^\s(]+)", text, re.MULTILINE)


def area_by_unit(statistics: Mapping[str, Any], top: str) -> dict[str, Area]:
    """The area of each of `UNITS` there is, and of what else was kept apart, from what `CELLS_BY_UNIT` holds."""
    cells = {name.removeprefix("\\"): module["num_cells_by_type"] for name, module in statistics["modules"].items()}
    areas: dict[str, Area] = {}
    for module, count in _instances(cells, top).items():
        unit = _unit(module) or module
        areas[unit] = areas.get(unit, Area()) + area(cells[module]) * count
    return {unit: areas[unit] for unit in (*UNITS, *sorted(areas.keys() - UNITS.keys())) if unit in areas}


def area(cells: Mapping[str, int]) -> Area:
    """What cells take, given how many there are of each type."""
    return Area(
        lut=sum(places * cells.get(kind, 0) for kind, places in _TABLES.items()),
        ff=cells.get("TRELLIS_FF", 0),
        dsp=cells.get("MULT18X18D", 0),
        bram=cells.get("DP16KD", 0),
    )


def _substitute(module: str) -> str:
    """The module that stands in for a replaced one."""
    return f"{module}_ecp5"


def _on_ecp5(module: str) -> wiring.Component:
    """What stands in for a module of `_REPLACED`."""
    found = _REPLACED.fullmatch(module)
    assert found is not None
    if module == CLOCK_GATE:
        return Ecp5ClockGate()
    return Ecp5GatedSum(width=int(found[1])) if found[1] else Ecp5NarrowProduct()


def _inferred(config: ChipConfig, classes: Collection[OpClass]) -> int:
    """How many multipliers Yosys finds in all lanes of an ALU, and in the units that they share."""
    products = 4 if OpClass.IMUL in classes else 2 if OpClass.FMUL in classes else 0
    special = 6 if OpClass.SPECIAL in classes else 0
    return config.lanes * products + config.lanes // config.special_turns * special


def _instances(cells: Mapping[str, Mapping[str, int]], top: str) -> Counter[str]:
    """How often each module stands in the design."""

    def below(module: str) -> Iterator[tuple[str, int]]:
        yield module, 1
        for kind, count in cells[module].items():
            name = kind.removeprefix("\\")
            if name in cells:
                for inner, times in below(name):
                    yield inner, count * times

    total: Counter[str] = Counter()
    for module, count in below(top):
        total[module] += count
    return total


def _unit(module: str) -> str | None:
    return next((unit for unit, pattern in UNITS.items() if re.fullmatch(pattern, module)), None)
