# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A config is valid or refused by the name of its field; it survives files; its digest is its identity."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from openlpu.arch.config import AluConfig, ChipConfig, ConfigError, OpClass, PipelineConfig, Reach, TextConfig
from openlpu.arch.geometry import QueueKind, geometry
from openlpu.arch.presets import LAB32, NANO, PRESETS, TSP1, ULX3S, ULX3S8, ULX3S16, find_config

TEXT = TextConfig(
    mem_read=64, mem_write=16, mxm_weights=8, mxm_acts=32, mxm_accs=24, vxm=(48, 8, 8, 8, 8, 4), sxm_shift=12
)
ALL = pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)


def toml(values: dict[str, Any]) -> str:
    """Plain values as TOML: JSON's scalars and arrays are TOML's, tables are written out."""
    lines = [f"{k} = {json.dumps(v)}" for k, v in values.items() if not isinstance(v, dict) and k != "alus"]
    for alu in values["alus"]:
        lines += ["[[alus]]", *(f"{k} = {json.dumps(v)}" for k, v in alu.items())]
    for table, fields in values.items():
        if isinstance(fields, dict):
            lines += [f"[{table}]", *(f"{k} = {v}" for k, v in fields.items())]
    return "\n".join(lines)


@pytest.mark.parametrize("config", [*PRESETS.values(), dataclasses.replace(NANO, imem_words=TEXT)])
def test_dict_and_files(config: ChipConfig, tmp_path: Path) -> None:
    values = json.loads(json.dumps(config.to_dict()))
    assert ChipConfig.from_dict(values) == config
    (tmp_path / "c.json").write_text(json.dumps(values))
    (tmp_path / "c.toml").write_text(toml(values))
    for name in ("c.json", "c.toml"):
        again = find_config(str(tmp_path / name))
        assert again == config
        assert again.digest == config.digest


def test_from_dict_leaves_its_argument_alone() -> None:
    values = NANO.to_dict()
    before = json.dumps(values)
    ChipConfig.from_dict(values)
    assert json.dumps(values) == before


@ALL
def test_the_digest_is_of_everything_but_the_name(config: ChipConfig) -> None:
    assert dataclasses.replace(config, name="other").digest == config.digest
    assert len(config.digest) == 16
    int(config.digest, 16)
    changes: dict[str, Any] = {
        "mem_words": config.mem_words // 2,
        "mem_reach": Reach.OWN if config.mem_reach is Reach.FULL else Reach.FULL,
        "imem_words": dataclasses.replace(TEXT, vxm=48),
        "ecc": not config.ecc,
        "clock_mhz": config.clock_mhz + 0.5,
        "alus": (*config.alus[:-1], AluConfig(classes=(OpClass.FADD, OpClass.SPECIAL), chain=(1,))),
        "pipeline": dataclasses.replace(config.pipeline, sram=config.pipeline.sram + 1),
    }
    digests = {dataclasses.replace(config, **{name: value}).digest for name, value in changes.items()}
    assert len(digests | {config.digest}) == len(changes) + 1


def test_text_memories_are_as_long_as_their_kind_of_queue_needs() -> None:
    assert {field.name for field in dataclasses.fields(TextConfig)} == {str(kind) for kind in QueueKind}
    chip = geometry(dataclasses.replace(NANO, imem_words=TEXT))
    assert {queue.text_words for queue in chip.of_kind(QueueKind.MEM_READ)} == {64}
    assert [queue.text_words for queue in chip.of_kind(QueueKind.VXM)] == [48, 8, 8, 8, 8, 4]
    assert {queue.text_words for queue in geometry(NANO).queues} == {NANO.imem_words}


def test_presets_are_distinct_and_known_by_name() -> None:
    assert len({config.digest for config in PRESETS.values()}) == len(PRESETS)
    assert [PRESETS[name] for name in ("nano", "ulx3s", "ulx3s8", "ulx3s16", "lab32", "tsp1")] == [
        NANO,
        ULX3S,
        ULX3S8,
        ULX3S16,
        LAB32,
        TSP1,
    ]
    assert find_config("nano") is NANO


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lanes": 1}, "config field 'lanes': 1 is not a whole number in 2..1024"),
        ({"lanes": 4.0}, "config field 'lanes': 4.0"),
        ({"lanes": True}, "config field 'lanes': True"),
        ({"streams": 6}, "config field 'streams': 6 is not a multiple of 4"),
        ({"hemispheres": 3}, "config field 'hemispheres': 3"),
        ({"mem_slices": 0}, "config field 'mem_slices': 0"),
        ({"mem_words": 1}, "config field 'mem_words': 1"),
        ({"slices_per_hop": 0}, "config field 'slices_per_hop': 0"),
        ({"weight_streams": 3}, "config field 'weight_streams': 3 does not divide lanes=4"),
        ({"weight_streams": 9}, "config field 'weight_streams': 9 is not a whole number in 1..8"),
        ({"special_turns": 0}, "config field 'special_turns': 0 is not a whole number in 1..16"),
        ({"special_turns": 3}, "config field 'special_turns': 3 does not divide lanes=4"),
        (
            {"special_turns": 2, "pipeline": {"alu_special": 1}},
            "config field 'pipeline.alu_special': 1 cycle is too few where special_turns is 2",
        ),
        ({"acc_depth": 0}, "config field 'acc_depth': 0"),
        ({"act_depth": 0}, "config field 'act_depth': 0"),
        (
            {"alus": [{"classes": ["int"], "chain": [0, 1]}]},
            "config field 'alus.chain': ALU 0 chains [0, 1]: not in 0..0",
        ),
        ({"alus": ()}, "config field 'alus': 0 ALUs"),
        ({"imem_words": 3}, "config field 'imem_words': 3"),
        ({"imem_words": {"vxm": 8}}, "config fields are missing: 'imem_words.mem_read', 'imem_words.mem_write', "),
        ({"imem_words": dataclasses.asdict(TEXT) | {"vxm": 3}}, "config field 'imem_words.vxm': 3 is not"),
        ({"imem_words": dataclasses.asdict(TEXT) | {"vxm": [8, 2]}}, "config field 'imem_words.vxm': 2 is not"),
        ({"imem_words": dataclasses.asdict(TEXT) | {"vxm": [8, 8]}}, "config field 'imem_words.vxm': 2 numbers for 6"),
        ({"imem_words": dataclasses.asdict(TEXT) | {"sxm_shift": [8]}}, "config field 'imem_words.sxm_shift': (8,)"),
        ({"imem_words": dataclasses.asdict(TEXT) | {"alu": 8}}, "config field 'imem_words.alu': there is none"),
        ({"mem_reach": "all"}, "'all' is not a valid Reach"),
        ({"ecc": 1}, "config field 'ecc': 1 is not true or false"),
        ({"clock_mhz": 0}, "config field 'clock_mhz': 0 is not a positive number"),
        ({"name": "a chip"}, "config field 'name': 'a chip' is not an identifier"),
        ({"wheels": 4}, "config field 'wheels': there is none of this name, only name, lanes, "),
        ({"pipeline": {"sram": 0}}, "config field 'pipeline.sram': 0 is not a whole number >= 1"),
        ({"pipeline": {"dispatch": -1}}, "config field 'pipeline.dispatch': -1 is not a whole number >= 0"),
        ({"pipeline": {"warp": 1}}, "config field 'pipeline.warp': there is none of this name, only "),
        ({"pipeline": 3}, "config:"),
        ({"alus": [{"classes": ["int", "int"]}]}, "config field 'alus.classes': something is repeated"),
        ({"alus": [{"classes": ["magic"]}]}, "'magic' is not a valid OpClass"),
        ({"alus": [{"classes": ["int"], "x": []}]}, "config field 'alus.x': an ALU needs a source"),
        ({"alus": [{"classes": ["int"], "y": ["wire"]}]}, "'wire' is not a valid Source"),
        ({"sxm_reach": "half"}, "'half' is not a valid SxmReach"),
        ({"alus": [{}]}, "config fields are missing: 'alus.classes'"),
        ({"alus": 7}, "config:"),
    ],
)
def test_what_no_chip_can_be_built_from(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ChipConfig.from_dict({**NANO.to_dict(), **change})
    assert message in str(caught.value)


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(ChipConfig) if f.name != "pipeline"])
def test_a_missing_field(name: str) -> None:
    values = NANO.to_dict()
    del values[name]
    field = next(f for f in dataclasses.fields(ChipConfig) if f.name == name)
    if field.default is not dataclasses.MISSING:
        ChipConfig.from_dict(values)
    else:
        with pytest.raises(ConfigError, match=f"^config fields are missing: '{name}'$"):
            ChipConfig.from_dict(values)


TABLE = ((0, 1), (1, 5, 2), (2,), (3, 7, 0, 4))
"""For the four slices of nano."""


def test_reach_may_be_a_table() -> None:
    config = dataclasses.replace(NANO, mem_reach=TABLE)
    assert ChipConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.digest not in {NANO.digest, dataclasses.replace(NANO, mem_reach=Reach.OWN).digest}
    queue = geometry(config).by_name["mem_e1.read"]
    assert [str(stream) for stream in queue.produces] == ["e1", "e5", "e2", "w1", "w5", "w2"]
    assert queue.consumes == queue.produces == geometry(config).by_name["mem_e1.write"].consumes


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE[:3], "the table has 3 rows for 4 mem_slices"),
        ((*TABLE[:3], ()), r"slice 3 reaches \[\]: not different streams in 0..7"),
        ((*TABLE[:3], (0, 8)), r"slice 3 reaches \[0, 8\]"),
        ((*TABLE[:3], (4, 4)), r"slice 3 reaches \[4, 4\]"),
        ((*TABLE[:3], ("a",)), r"slice 3 reaches \['a'\]"),
    ],
)
def test_tables_of_reach_that_no_chip_has(table: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"'mem_reach': {message}"):
        dataclasses.replace(NANO, mem_reach=table)


def test_fields_have_their_types() -> None:
    with pytest.raises(ConfigError, match="mem_reach"):
        dataclasses.replace(NANO, mem_reach="full")  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(ConfigError, match=r"pipeline\.notify"):
        PipelineConfig(notify=1.5)  # type: ignore[arg-type]  # the mistake under test


def test_files_that_are_no_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no config 'giga': use one of nano, ulx3s, ulx3s8, ulx3s16, lab32, tsp1"):
        find_config("giga")
    with pytest.raises(ConfigError, match="No such file"):
        find_config(str(tmp_path / "a.toml"))
    (tmp_path / "a.toml").write_text("lanes = = 4")
    with pytest.raises(ConfigError, match=r"a\.toml"):
        find_config(str(tmp_path / "a.toml"))
    (tmp_path / "a.json").write_text("[1, 2]")
    with pytest.raises(ConfigError, match="expected a table"):
        find_config(str(tmp_path / "a.json"))
    (tmp_path / "b.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(ConfigError, match=r"b\.json"):
        find_config(str(tmp_path / "b.json"))


def test_chips_that_are_routed_keep_and_do_what_the_larger_one_does() -> None:
    """One has its lanes but no special functions, the other half the lanes."""
    for chip in (ULX3S, ULX3S8, ULX3S16):
        assert chip.lanes * chip.mem_slices * chip.mem_words == 256 * 1024
    assert ULX3S16.lanes == ULX3S.lanes
    special = {OpClass.SPECIAL}
    assert [alu.classes for alu in ULX3S16.alus] == [a.classes for a in ULX3S.alus if special.isdisjoint(a.classes)]
    assert ULX3S8.alus == ULX3S.alus
