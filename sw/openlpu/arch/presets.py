# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The named chips. A user's own chip is a TOML or JSON file with the same fields (`ChipConfig.from_file`)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from openlpu.arch.config import (
    AluConfig,
    ChipConfig,
    ConfigError,
    OpClass,
    PipelineConfig,
    Reach,
    Source,
    SxmReach,
    TextConfig,
)

INT, MASK, I2F, F2I, FADD, FMUL, IMUL, SPECIAL = OpClass
BYTE, WORD, CHAIN, IMMEDIATE = Source

NANO = ChipConfig(
    name="nano",
    lanes=4,
    streams=8,
    mem_slices=4,
    mem_words=64,
    slices_per_hop=2,
    weight_streams=4,
    acc_depth=8,
    act_depth=4,
    alus=tuple(
        AluConfig(classes=classes, chain=tuple(range(5)))
        for classes in ((INT, MASK), (I2F, F2I), (FMUL, IMUL), (FADD, I2F, F2I), (INT, MASK), (SPECIAL,))
    ),
    imem_words=256,
    clock_mhz=100.0,
)
"""The smallest chip that runs every instruction: exhaustive tests and formal proofs."""

ULX3S = ChipConfig(
    name="ulx3s",
    lanes=16,
    streams=8,
    mem_slices=8,
    mem_words=2048,
    slices_per_hop=8,
    mem_reach=Reach.OWN,
    weight_streams=8,
    acc_depth=64,
    act_depth=32,
    alus=(
        AluConfig(classes=(), x=(BYTE, WORD), y=(), chain=(), writes=False),
        AluConfig(classes=(I2F, FADD, MASK), x=(CHAIN,), y=(WORD, IMMEDIATE), chain=(1,), writes=False),
        AluConfig(classes=(SPECIAL,), x=(CHAIN,), y=(), chain=(1,), writes=False),
        AluConfig(classes=(FMUL,), x=(CHAIN,), y=(WORD, IMMEDIATE), chain=(1, 2), writes=False),
        AluConfig(classes=(F2I,), x=(CHAIN,), y=(IMMEDIATE,), chain=(1, 3)),
    ),
    special_turns=4,
    sxm_reach=SxmReach.TURN,
    sxm_permutes=False,
    pipeline=PipelineConfig(
        dispatch=4,
        sram=4,
        activations=2,
        tree_levels=1,
        accumulators=2,
        outputs=1,
        alu_fadd=7,
        alu_fmul=5,
        alu_f2i=5,
        lanes=4,
    ),
    imem_words=2048,
    clock_mhz=80.0,
)
"""The chip of the examples. 256 MACs, 256 KiB of SRAM and special functions: the tables and multipliers of a Lattice
ECP5-85F, but more wires and more text than it has."""

ULX3S8 = dataclasses.replace(
    ULX3S,
    name="ulx3s8",
    lanes=8,
    streams=4,
    mem_slices=4,
    mem_words=8192,
    slices_per_hop=4,
    weight_streams=4,
    acc_depth=16,
    pipeline=dataclasses.replace(ULX3S.pipeline, dispatch=2, alu_fadd=9, alu_fmul=6, alu_special=10, lanes=2),
    imem_words=TextConfig(
        mem_read=4096,
        mem_write=1024,
        mxm_weights=1024,
        mxm_acts=1536,
        mxm_accs=2048,
        vxm=(1024, 1024, 64, 1024, 1024),
        sxm_shift=64,
    ),
    clock_mhz=70.0,
)
"""What an LFE5U-85F can wire of it for language models: half the lanes and streams, a quarter of the MACs, all SRAM.
Text memories are as long as a token of the example Llama takes with a context of 128."""

ULX3S16 = dataclasses.replace(
    ULX3S,
    name="ulx3s16",
    streams=4,
    mem_slices=4,
    mem_words=4096,
    slices_per_hop=4,
    weight_streams=4,
    act_depth=16,
    alus=(
        AluConfig(classes=(), x=(BYTE, WORD), y=(), chain=(), writes=False),
        AluConfig(classes=(I2F, FADD, MASK), x=(CHAIN,), y=(WORD,), chain=(1,), writes=False),
        AluConfig(classes=(FMUL,), x=(CHAIN,), y=(WORD,), chain=(1,), writes=False),
        AluConfig(classes=(F2I,), x=(CHAIN,), y=(IMMEDIATE,), chain=(1, 2)),
    ),
    special_turns=1,
    mxm_transposes=False,
    sxm_rotates=False,
    pipeline=dataclasses.replace(ULX3S.pipeline, dispatch=2, alu_fadd=11, alu_fmul=6, lanes=2),
    imem_words=512,
)
"""What an LFE5U-85F can wire of it for other networks: all lanes, MACs and SRAM, but half the streams, half the slices,
each twice as deep, an SXM that turns no words, constants of the VXM from SRAM, and no special functions."""

_REQUANTISE = ((I2F, F2I), (FMUL, IMUL), (I2F, F2I))
_ROWS = (((INT, MASK, FADD), *_REQUANTISE),) * 2 + (((INT, MASK, FADD, SPECIAL), *_REQUANTISE),) * 2
"""Four rows of four: each requantises what one plane puts out, at full rate, and may add a bias in front."""

LAB32 = ChipConfig(
    name="lab32",
    lanes=32,
    streams=32,
    hemispheres=2,
    mem_slices=44,
    mem_words=8192,
    slices_per_hop=4,
    mxm_planes=2,
    weight_streams=16,
    acc_depth=2048,
    act_depth=64,
    alus=tuple(AluConfig(classes=classes, chain=tuple(range(13))) for row in _ROWS for classes in row),
    imem_words=4096,
    clock_mhz=500.0,
)
"""Four 32 x 32 planes and 2,048 bytes a cycle of weight streams: the geometry of the nearest open competitor."""

TSP1 = ChipConfig(
    name="tsp1",
    lanes=320,
    streams=32,
    hemispheres=2,
    mem_slices=44,
    mem_words=8192,
    slices_per_hop=4,
    mxm_planes=2,
    weight_streams=16,
    acc_depth=2048,
    act_depth=64,
    alus=LAB32.alus,
    pipeline=PipelineConfig(tree_levels=3),
    imem_words=8192,
    clock_mhz=900.0,
)
"""The published first-generation GroqChip: 320 lanes, 220 MiB of SRAM, four 320 x 320 planes, 900 MHz."""

PRESETS = {config.name: config for config in (NANO, ULX3S, ULX3S8, ULX3S16, LAB32, TSP1)}


def find_config(name_or_path: str) -> ChipConfig:
    """A preset by name, or a config read from a `.toml` or `.json` file.

    Raises:
        ConfigError: when it is neither, or the file is invalid.
    """
    if name_or_path in PRESETS:
        return PRESETS[name_or_path]
    path = Path(name_or_path)
    if path.suffix in (".toml", ".json"):
        return ChipConfig.from_file(path)
    raise ConfigError(f"no config '{name_or_path}': use one of {', '.join(PRESETS)}, or a .toml or .json file")
