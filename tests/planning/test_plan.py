# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Plans: against programs that the compiler makes, against all other layouts, and against known sizes of models."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest

from openlpu.arch.config import ChipConfig
from openlpu.arch.presets import LAB32, TSP1, ULX3S
from openlpu.arch.system import SystemConfig
from openlpu.arch.timing import timing
from openlpu.compiler.errors import CompileError
from openlpu.llm.calibrate import own_texts
from openlpu.llm.checkpoint import LlamaShape, load_checkpoint
from openlpu.llm.program import compile_layer, compile_llama_system
from openlpu.llm.quantise import quantise
from openlpu.llm.workloads import random_layer, random_text
from openlpu.planning.assumptions import assumptions
from openlpu.planning.groups import line_groups, lone_groups
from openlpu.planning.models import MODELS, Model, find_model
from openlpu.planning.plan import Plan, make_plan
from openlpu.planning.shares import hop_cycles
from openlpu.planning.stand_in import stand_in

ROOT = Path(__file__).parents[2]
TIGHT = dataclasses.replace(ULX3S, name="tight", mem_words=512, c2c_links=6, c2c_width=32)
"""So little SRAM that a few layers take several chips, and links for groups of up to 7."""
SIZES = {"hidden": 48, "heads": 4, "kv_heads": 2, "head_size": 16, "ffn": 112, "context": 16}
PARAMETERS = {
    "smollm2-135m": 134_515_008,
    "tinyllama-1.1b": 1_100_048_384,
    "llama2-7b": 6_738_415_616,
    "llama2-13b": 13_015_864_320,
    "llama2-70b": 68_976_648_192,
}
"""As their model cards, or their weights, have them."""


def model(layers: int, vocabulary: int = 64) -> Model:
    shape = random_layer(**SIZES, seed=0).shape
    return Model("small", dataclasses.replace(shape, layers=layers, vocabulary=vocabulary))


@pytest.mark.parametrize(
    ("sizes", "chip"),
    [
        (SIZES, ULX3S),
        pytest.param(
            {"hidden": 576, "heads": 9, "kv_heads": 3, "head_size": 64, "ffn": 1536, "context": 128},
            LAB32,
            marks=pytest.mark.regress,
        ),
    ],
)
def test_a_layer_takes_what_its_program_takes(sizes: dict[str, int], chip: ChipConfig) -> None:
    checkpoint = random_layer(**sizes, seed=1)
    program = compile_layer(quantise(checkpoint, [random_text(checkpoint, 2)]), sizes["context"], chip)
    shape = dataclasses.replace(checkpoint.shape, layers=3)
    plan = make_plan(Model("same", shape), sizes["context"], chip, group=1)
    assert plan.layer.cycles == program.cycles
    assert plan.layer.weight_cycles == program.resource_bound
    assert plan.cycles == 3 * program.cycles + plan.output.cycles + timing(chip).rerun


def test_a_whole_network_on_a_system_takes_about_as_long() -> None:
    system, directory = (
        SystemConfig.from_file(ROOT / "examples/llama/pair.toml"),
        ROOT / "tests/llm/fixtures/multi_query",
    )
    checkpoint = load_checkpoint(directory)
    compiled = compile_llama_system(quantise(checkpoint, own_texts(checkpoint)), 16, system)
    plan = make_plan(find_model(str(directory)), 16, system)
    # The embedding is not in the plan; that layers do not overlap is.
    assert abs(plan.cycles - compiled.program.cycles) <= 0.1 * compiled.program.cycles
    assert (plan.layout.chips, plan.layout.groups, plan.hop) == (2, 1, 0)


@pytest.fixture(scope="module")
def least() -> Plan:
    """Six layers on as few chips as can be."""
    return make_plan(model(layers=6), 16, TIGHT)


def test_no_layout_has_fewer_chips_than_the_smallest(least: Plan) -> None:
    best, others, refused = least.layout, [], {}
    for group in range(1, 8):
        try:
            others.append(make_plan(least.model, 16, TIGHT, group=group).layout.chips)
        except CompileError as error:
            refused[group] = str(error)
    assert {*refused} == {6, 7}
    assert all("too few for a line of such groups" in why for why in refused.values())
    assert best.chips == min(others)
    assert len({*others}) > 1
    assert best.groups > 1
    parts = 6 * least.layer.cycles + (best.groups - 1) * least.hop + least.output.cycles + timing(TIGHT).rerun
    assert (least.cycles, least.hop > 0) == (parts, True)
    placed = [*itertools.chain(*(best.layers_of(number) for number in range(best.groups)))]
    assert placed == list(range(6))


def test_more_chips_share_layers_among_more(least: Plan) -> None:
    more = make_plan(least.model, 16, TIGHT, chips=2 * least.layout.chips)
    assert more.layout.chips <= 2 * least.layout.chips
    assert more.layout.group.chips > least.layout.group.chips
    assert more.layer.weight_cycles < least.layer.weight_cycles


def test_what_does_not_fit_says_what_would(least: Plan) -> None:
    chips = least.layout.chips
    with pytest.raises(CompileError, match=f"does not fit in {chips - 1} chips of config 'tight': it needs {chips};"):
        make_plan(least.model, 16, TIGHT, chips=chips - 1)
    assert make_plan(least.model, 16, TIGHT, chips=chips).layout.chips == chips


def test_a_group_of_its_own_has_what_has_no_room_beside_layers() -> None:
    small = model(layers=6, vocabulary=1024)
    layout = make_plan(small, 16, TIGHT).layout
    assert layout.output_apart
    assert [*layout.layers_of(layout.groups - 1)] == []


def test_more_tokens_than_an_index_tells_apart_are_extrapolated() -> None:
    plan = make_plan(model(layers=1), 16, ULX3S)
    twice = dataclasses.replace(plan, model=model(layers=1, vocabulary=128))
    assert twice.output_cycles == 2 * plan.output.cycles
    assert twice.of_all_tokens(plan.output_room.fullest) == 2 * plan.output_room.fullest
    assert twice.weight_cycles - plan.weight_cycles == plan.output.weight_cycles
    assert any("extrapolated" in sentence for sentence in assumptions(twice))
    assert not any("extrapolated" in sentence for sentence in assumptions(plan))


def test_a_hop_takes_a_link_and_the_ways_to_it() -> None:
    for group in itertools.islice(line_groups(ULX3S), 1, 4):
        assert group.onward is not None
        one, four = (hop_cycles(ULX3S.lanes * group.chips * rows, group) for rows in (1, 4))
        assert group.onward.latency < one < group.onward.latency + 100
        assert one < four


@pytest.mark.parametrize("links", [0, 1, 2, 3, 16])
def test_no_chip_of_a_group_has_more_links_than_there_are(links: int) -> None:
    chip = dataclasses.replace(ULX3S, c2c_links=links, c2c_width=32)
    groups = [*lone_groups(chip), *line_groups(chip)]
    assert sum(group.alone for group in groups) == (links or 16) + 1
    for group in groups:
        used = 0 if group.system is None else group.system.parallel * (group.chips - 1)
        used += 0 if group.onward is None else 2 * group.onward.parallel
        assert used <= (links or 16)
    assert any(not group.alone for group in groups) == (links != 1)


def test_chips_with_one_link_make_no_line() -> None:
    with pytest.raises(CompileError, match="'c2c_links' are too few for a line of such groups"):
        make_plan(model(layers=6), 16, dataclasses.replace(TIGHT, c2c_links=1, c2c_width=32))


@pytest.mark.parametrize("name", MODELS)
def test_models_have_as_many_weights_as_they_should(name: str) -> None:
    found = find_model(name)
    shape: LlamaShape = found.shape
    ends = shape.vocabulary * shape.hidden * (1 if shape.tied else 2) + shape.hidden
    assert shape.layers * (found.layer_parameters + 2 * shape.hidden) + ends == PARAMETERS[name]


def test_a_stand_in_has_no_tile_twice() -> None:
    shape, lanes = dataclasses.replace(model(1).shape, hidden=64, ffn=160), 16
    layer = stand_in("twin", shape, vocabulary=64, lanes=lanes).layers[0]
    matrices = [part.codes for part in (layer.q, layer.k, layer.v, layer.o, layer.gate, layer.up, layer.down)]
    tiles = [
        np.ascontiguousarray(codes[i : i + lanes, j : j + lanes]).tobytes()
        for codes in matrices
        for i in range(0, codes.shape[0], lanes)
        for j in range(0, codes.shape[1], lanes)
    ]
    assert len({*tiles}) == len(tiles) == sum(codes.size for codes in matrices) // lanes**2


@pytest.mark.regress
def test_plans_of_published_systems_hold_what_they_must() -> None:
    plans: dict[str, Plan] = {name: make_plan(find_model(name), 4096, TSP1) for name in ("llama2-7b", "llama2-70b")}
    for plan in plans.values():
        sram = plan.layout.chips * TSP1.hemispheres * TSP1.mem_slices * TSP1.mem_words * TSP1.lanes
        assert plan.model.shape.layers * plan.model.layer_parameters < sram
        assert plan.weight_cycles < plan.cycles
    assert plans["llama2-70b"].layout.chips > plans["llama2-7b"].layout.chips
