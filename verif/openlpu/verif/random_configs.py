# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Random chips, small enough to be built in a minute or so: every field that has RTL, as nobody would combine them."""

import dataclasses
import random
from collections.abc import Sequence
from typing import TypeVar

from openlpu.arch.config import (
    GROUP,
    AluConfig,
    ChipConfig,
    OpClass,
    PipelineConfig,
    Reach,
    Source,
    SxmReach,
    TextConfig,
)
from openlpu.arch.geometry import QueueKind

_LANES = (2, 3, 4, 4, 5, 6, 8)
_MOST_SLICES = 4
_Choice = TypeVar("_Choice")
_MOST_ALUS = 4


def random_config(seed: int) -> ChipConfig:
    """A legal chip, the same for the same seed. Links between chips have no RTL, so it has none."""
    rng = random.Random(seed)
    lanes, groups = rng.choice(_LANES), rng.choice((1, 1, 1, 2))
    # Two lanes need two groups: the host writes a word of text in one go.
    streams = GROUP * (groups if lanes > 2 else 2)
    mem_slices, alus = rng.randint(1, _MOST_SLICES), _random_alus(rng)
    config = ChipConfig(
        name=f"random_{seed}",
        lanes=lanes,
        streams=streams,
        hemispheres=rng.choice((1, 1, 2)),
        mem_slices=mem_slices,
        mem_words=rng.choice((2, 16, 32, rng.randint(3, 70))),
        slices_per_hop=rng.randint(1, mem_slices),
        mem_reach=_random_table(seed, streams, mem_slices) or rng.choice([*Reach]),
        mxm_planes=rng.choice((1, 1, 2)),
        weight_streams=rng.choice([n for n in range(1, min(lanes, streams) + 1) if lanes % n == 0]),
        acc_depth=rng.choice((1, 4, rng.randint(2, 9))),
        act_depth=rng.choice((1, 4, rng.randint(2, 9))),
        alus=alus,
        sxm_reach=rng.choice([*SxmReach]),
        pipeline=_random_pipeline(rng),
        imem_words=rng.choice((16, 64, rng.randint(16, 100))),
        ecc=seed % 2 == 0,
        clock_mhz=100.0,
    )
    return dataclasses.replace(
        config, special_turns=_random_turns(seed, config), imem_words=_random_text(seed, alus) or config.imem_words
    )


def _random_turns(seed: int, config: ChipConfig) -> int:
    """How many lanes share a unit for special functions, where they can."""
    possible = [n for n in range(1, config.lanes + 1) if config.lanes % n == 0]
    return 1 if config.pipeline.alu_special == 1 else random.Random(seed).choice(possible)


def _random_text(seed: int, alus: Sequence[AluConfig]) -> TextConfig | None:
    """For every third chip, how long the instruction memories of each kind of queue, and of each ALU, are."""
    rng = random.Random(seed)
    if seed % 3 != 1:
        return None

    def some() -> int:
        return rng.choice((16, 64, rng.randint(16, 100)))

    others = {str(kind): some() for kind in QueueKind if kind is not QueueKind.VXM}
    return TextConfig(vxm=tuple(some() for _ in alus), **others)


def _random_table(seed: int, streams: int, mem_slices: int) -> tuple[tuple[int, ...], ...] | None:
    """For every third chip, which streams each slice reaches."""
    rng = random.Random(seed)
    if seed % 3:
        return None
    return tuple(tuple(rng.sample(range(streams), rng.randint(1, streams))) for _ in range(mem_slices))


def _random_alus(rng: random.Random) -> tuple[AluConfig, ...]:
    """Any classes in any order; one ALU at most computes special functions, which are the largest by far."""
    plain = [op_class for op_class in OpClass if op_class is not OpClass.SPECIAL]
    special, count = rng.choice((None, rng.randrange(_MOST_ALUS))), rng.randint(1, _MOST_ALUS)

    def some(choices: Sequence[_Choice], fewest: int) -> tuple[_Choice, ...]:
        return tuple(rng.sample(choices, rng.randint(fewest, len(choices))))

    def sources() -> Sequence[Source]:
        """Every third ALU stands in the middle of chains, without streams."""
        return [*Source] if rng.random() < 2 / 3 else [Source.CHAIN, Source.IMMEDIATE]

    return tuple(
        AluConfig(
            classes=(
                *rng.sample(plain, rng.choice((0, 1, 1, 2, 3))),
                *((OpClass.SPECIAL,) if number == special else ()),
            ),
            x=some(among := sources(), 1),
            y=some(among, 0),
            chain=some(range(count), 0),
            writes=rng.random() < 0.8,
        )
        for number in range(count)
    )


def _random_pipeline(rng: random.Random) -> PipelineConfig:
    return PipelineConfig(
        dispatch=rng.randint(0, 4),
        sram=rng.randint(1, 3),
        activations=rng.randint(1, 3),
        multiply=rng.randint(1, 3),
        tree_levels=rng.randint(1, 3),
        accumulators=rng.randint(1, 3),
        outputs=rng.randint(0, 2),
        alu_pass=rng.randint(1, 2),
        alu_int=rng.randint(1, 3),
        alu_mask=rng.randint(1, 3),
        alu_i2f=rng.randint(1, 5),
        alu_f2i=rng.randint(1, 5),
        alu_fadd=rng.randint(1, 7),
        alu_fmul=rng.randint(1, 5),
        alu_imul=rng.randint(1, 5),
        alu_special=rng.randint(1, 9),
        lanes=rng.randint(1, 3),
        notify=rng.randint(1, 5),
    )
