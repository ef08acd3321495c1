# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Random programs on random chips. A failure prints both seeds: those of the config, and of the program."""

from collections.abc import Callable

import pytest

from openlpu.arch.config import ChipConfig, OpClass, PipelineConfig, Reach
from openlpu.arch.encoding import encoding
from openlpu.model.link import check
from openlpu.verif.lockstep import compare
from openlpu.verif.random_configs import random_config
from openlpu.verif.random_programs import random_program
from openlpu.verif.rtl_port import RtlChip

CONFIGS = range(20)
"""Seeds of the configs that the regression builds."""
SEEDS = range(1, 21)
"""Seeds of the programs: the longest fetch and the end of the instruction memory included, the longest wait not."""


def lockstep(chip: RtlChip) -> None:
    for seed in SEEDS:
        print(f"{chip.config.name}, program {seed}")
        compare(random_program(chip.config, seed), chip)


@pytest.mark.regress
@pytest.mark.parametrize("seed", CONFIGS)
def test_a_random_chip_runs_as_the_golden_model(seed: int) -> None:
    chip = RtlChip(random_config(seed))
    try:
        lockstep(chip)
    finally:
        chip.close()


@pytest.mark.parametrize("seed", CONFIGS)
def test_the_checker_accepts_random_programs_of_a_random_chip(seed: int) -> None:
    config = random_config(seed)
    for program in (1, 2, 3):
        check(random_program(config, program, length=40))


def test_a_seed_is_a_chip() -> None:
    configs = [random_config(seed) for seed in CONFIGS]
    assert configs == [random_config(seed) for seed in CONFIGS]
    assert len({config.digest for config in configs}) == len(CONFIGS)


def test_random_chips_differ_in_every_way() -> None:
    configs = [random_config(seed) for seed in CONFIGS]

    def seen(field: Callable[[ChipConfig], object]) -> set[object]:
        return {field(config) for config in configs}

    assert seen(lambda c: c.ecc) == {False, True}
    assert seen(lambda c: c.hemispheres) == seen(lambda c: c.mxm_planes) == {1, 2}
    assert seen(lambda c: c.mem_reach if isinstance(c.mem_reach, Reach) else tuple) == {*Reach, tuple}
    assert {alu_class for c in configs for alu in c.alus for alu_class in alu.classes} == {*OpClass}
    assert any(not alu.classes for c in configs for alu in c.alus)
    assert {(alu.reads, alu.writes) for c in configs for alu in c.alus} == {(r, w) for r in (0, 1) for w in (0, 1)}
    assert {encoding(c).word_vectors(kind) for c in configs for kind in encoding(c).layouts} >= {1, 2, 3, 5}
    for name in ("lanes", "streams", "mem_words", "slices_per_hop", "weight_streams", "sxm_reach", "imem_words"):
        assert len({getattr(config, name) for config in configs}) > 1, name
    for name in PipelineConfig.__dataclass_fields__:
        depths = {getattr(config.pipeline, name) for config in configs}
        assert len(depths) > 1, name
