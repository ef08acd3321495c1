# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Multipliers by count, the script, and the area of each unit from what Yosys counts."""

import dataclasses
import json
from pathlib import Path

import pytest

from openlpu.arch.config import AluConfig, ChipConfig, OpClass
from openlpu.arch.geometry import QueueKind, geometry
from openlpu.arch.presets import NANO, ULX3S, ULX3S16
from openlpu.arch.timing import timing
from openlpu.fpga.area import differences
from openlpu.fpga.device import Area
from openlpu.fpga.synthesis import (
    CELLS_BY_UNIT,
    Share,
    area,
    area_by_unit,
    modules_of,
    multipliers_in_dsp,
    script,
    substitutes_verilog,
)
from openlpu.fpga.toolchain import find_toolchain
from openlpu.hdl.alu import LaneAlu
from openlpu.hdl.shared import Library, SharedComponent, ports_of
from openlpu.hdl.special_turns import SpecialTurns

DATA = Path(__file__).with_name("data")
INT, FMUL = OpClass.INT, OpClass.FMUL


def with_alus(config: ChipConfig, *classes: OpClass) -> ChipConfig:
    """A config whose ALUs have a class each."""
    return dataclasses.replace(config, alus=tuple(AluConfig(classes=(name,), chain=()) for name in classes))


@pytest.mark.parametrize(
    ("config", "dsp", "expected"),
    [
        # 16 lanes x 2 for floats leave 124 for 16 columns; with 4 units x 6 for special functions, 100.
        (ULX3S16, 156, [(2, 16)] * 4 + [(2, 15)] * 4),
        (ULX3S, 156, [(2, 13)] * 4 + [(2, 12)] * 4),
        # 4 lanes x (4 + 6) leave 116, and two columns have but 8 multipliers.
        (NANO, 156, [(2, 8)] * 2),
        (with_alus(ULX3S, INT), 156, [(2, 20)] * 4 + [(2, 19)] * 4),
        (with_alus(ULX3S, INT), 15, [(2, 2)] * 7 + [(2, 1)]),
        (with_alus(ULX3S, FMUL, FMUL), 156, [(2, 12)] * 4 + [(2, 11)] * 4),
        (with_alus(ULX3S, FMUL), 32, [(2, 0)] * 8),
        # int32 products take twice as many, and then those of floats take none of their own.
        (with_alus(ULX3S, OpClass.IMUL), 64, [(2, 0)] * 8),
        (dataclasses.replace(ULX3S, alus=(AluConfig(classes=(FMUL, OpClass.IMUL), chain=()),)), 64, [(2, 0)] * 8),
        # Lanes that share a unit need less: 16 lanes x 2, and 4 units x 6.
        (dataclasses.replace(with_alus(ULX3S, FMUL, OpClass.SPECIAL), special_turns=4), 56, [(2, 0)] * 8),
        # All of four planes, not of each.
        (
            dataclasses.replace(with_alus(ULX3S, INT), hemispheres=2, mxm_planes=2),
            66,
            [(2, 3)] * 2 + [(2, 2)] * 30,
        ),
        # The last of an odd number of columns is alone, and needs no more than it has products.
        (dataclasses.replace(with_alus(NANO, INT), lanes=5, weight_streams=5), 20, [(2, 7), (2, 7), (1, 5)]),
    ],
)
def test_multipliers_by_count(config: ChipConfig, dsp: int, expected: list[tuple[int, int]]) -> None:
    assert multipliers_in_dsp(config, dsp) == expected


def test_too_many_multipliers_in_alus() -> None:
    with pytest.raises(ValueError, match=r"^config 'ulx3s': its ALUs need 32 multipliers, and the device has 31$"):
        multipliers_in_dsp(with_alus(ULX3S, FMUL), 31)


def test_multipliers_of_other_depth_are_refused() -> None:
    config = dataclasses.replace(NANO, pipeline=dataclasses.replace(NANO.pipeline, multiply=2))
    wanted = r"^config 'nano': pipeline.multiply is 2, and an ECP5's multipliers take 1$"
    with pytest.raises(ValueError, match=wanted):
        multipliers_in_dsp(config, 156)


def test_substitutes_are_named_as_the_script_names_them() -> None:
    config = dataclasses.replace(NANO, mxm_planes=2)
    in_dsp = [Share(2, 1)] * 3 + [Share(2, 0)]
    units = ["board", "column", "chip.mxm_e0", "chip.mxm_e1", "chip.vxm"]
    of_chip = [*units, "dot_products_2", "narrow_product", "gated_sum_33", "ram_8x8"]
    text = substitutes_verilog(config, of_chip, in_dsp)
    none, one, chains, sums = substitutes = modules_of(text)
    modules = [*of_chip, *substitutes]
    commands = script(["a.il", "b.v"], modules, top="board", in_dsp=in_dsp).splitlines()
    assert [line for line in commands if line.startswith(("read", "chtype", "setattr -mod -set"))] == [
        "read_rtlil a.il",
        "read_verilog b.v",
        f"chtype -set {one} chip.mxm_e0/dot_products0",
        f"chtype -set {one} chip.mxm_e0/dot_products1",
        f"chtype -set {one} chip.mxm_e1/dot_products0",
        f"chtype -set {none} chip.mxm_e1/dot_products1",
        f"chtype -set {chains} t:narrow_product",
        f"chtype -set {sums} t:gated_sum_33",
        f"setattr -mod -set keep_hierarchy 1 column chip.mxm_e0 chip.mxm_e1 chip.vxm {none} {one}",
    ]
    assert text.count("MULT18X18D") == 1


@pytest.mark.parametrize(
    "classes",
    [(FMUL,), (OpClass.IMUL,), (FMUL, OpClass.IMUL), (FMUL, OpClass.SPECIAL)],
    ids="-".join,
)
def test_yosys_finds_as_many_multipliers_as_are_left_to_it(classes: tuple[OpClass, ...], tmp_path: Path) -> None:
    """In a lane of an ALU, narrow products replaced."""
    config = dataclasses.replace(ULX3S16, alus=(AluConfig(classes=classes, chain=()),))
    needs(config, config.lanes * multipliers_found(LaneAlu(classes=classes, depth=8), config, tmp_path))


def test_yosys_finds_as_many_multipliers_in_units_that_lanes_share(tmp_path: Path) -> None:
    alus = (AluConfig(classes=(FMUL, OpClass.SPECIAL), chain=()),)
    config = dataclasses.replace(ULX3S, alus=alus, special_turns=4)
    (queue,) = geometry(config).of_kind(QueueKind.VXM)
    lane = LaneAlu(classes=alus[0].classes, depth=timing(config).alu_depth[0], special_elsewhere=True)
    (tmp_path / "lane").mkdir()
    (tmp_path / "unit").mkdir()
    in_lanes = config.lanes * multipliers_found(lane, config, tmp_path / "lane")
    in_units = 4 * multipliers_found(SpecialTurns(config=config, queue=queue), config, tmp_path / "unit")
    needs(config, in_lanes + in_units)


def multipliers_found(component: SharedComponent, config: ChipConfig, directory: Path) -> int:
    """How many multipliers Yosys makes of a component."""
    library = Library()
    texts = {"top.v": library.verilog(component.body(), ports_of(component), component.module_name)}
    texts["shared.v"] = library.text
    texts["substitutes.v"] = substitutes_verilog(config, modules_of(library.text), [])
    modules = [module for text in texts.values() for module in modules_of(text)]
    commands = script([*texts], modules, top=component.module_name, in_dsp=[])
    for name, text in {**texts, "synthesis.ys": commands}.items():
        (directory / name).write_text(text, encoding="utf-8")
    find_toolchain().run("yosys", ["-Q", "-T", "synthesis.ys"], directory)
    counted = json.loads((directory / CELLS_BY_UNIT).read_text(encoding="utf-8"))
    return area(counted["design"]["num_cells_by_type"]).dsp


def needs(config: ChipConfig, multipliers: int) -> None:
    """Assert that the ALUs of a config need so many."""
    assert {share.blocks for share in multipliers_in_dsp(config, multipliers)} == {0}
    with pytest.raises(ValueError, match=f"its ALUs need {multipliers} multipliers"):
        multipliers_in_dsp(config, multipliers - 1)


def test_area_by_unit() -> None:
    """Of a real count of nano, with what the modules' own lines in it add up to by hand."""
    units = area_by_unit(json.loads((DATA / "cells_by_unit.json").read_text(encoding="utf-8")), "board")
    assert units["board"] == Area(lut=38 + 2 * 32, ff=69)
    # The plane, and four columns.
    assert units["MXM"].dsp == 4 * 4
    # Four lanes of a multiplier and of a table.
    assert (units["VXM"].dsp, units["VXM"].bram) == (4 * (4 + 6), 4 * 3)
    assert list(units)[:3] == ["board", "bridge", "queues"]
    # What Yosys itself counts in the whole.
    assert sum(units.values(), Area()) == Area(lut=39352 + 2 * 2657 + 6 * 40, ff=20939, dsp=56, bram=44)


def test_every_other_module_belongs_to_its_users() -> None:
    cells = {
        "board": {"LUT4": 1, "hosted_chip": 1},
        "hosted_chip": {"chip": 1},
        "chip": {"lane_alu_int_2": 3, "mem_e0": 2, "DP16KD": 1},
        "lane_alu_int_2": {"LUT4": 10, "CCU2C": 2, "TRELLIS_FF": 7},
        "mem_e0": {"DP16KD": 4, "TRELLIS_DPR16X4": 1},
        "unused": {"LUT4": 1000},
    }
    statistics = {"modules": {f"\\{name}": {"num_cells_by_type": kinds} for name, kinds in cells.items()}}
    assert area_by_unit(statistics, "board") == {
        "board": Area(lut=1),
        "bridge": Area(),
        "MEM": Area(lut=12, bram=8),
        "VXM": Area(lut=42, ff=21),
        "run control": Area(bram=1),
    }


def test_growth_is_seen() -> None:
    committed = {"VXM": Area(lut=10_000, ff=5_000, dsp=40), "MEM": Area(lut=100, bram=4)}
    assert differences(committed, committed) == []
    near = {"VXM": Area(lut=10_300, ff=4_850, dsp=40), "MEM": Area(lut=132, bram=4)}
    assert differences(near, committed) == []
    far = {"VXM": Area(lut=10_301, ff=4_849, dsp=41), "MEM": Area(lut=133, bram=5), "ECC": Area(lut=500)}
    assert differences(far, committed) == [
        "ECC: 500 LUT, and 0 are committed",
        "MEM: 133 LUT, and 100 are committed",
        "MEM: 5 BRAM, and 4 are committed",
        "VXM: 10,301 LUT, and 10,000 are committed",
        "VXM: 4,849 FF, and 5,000 are committed",
        "VXM: 41 DSP, and 40 are committed",
    ]
    assert differences({}, {"ECC": Area(lut=500)}) == ["ECC: 0 LUT, and 500 are committed"]
