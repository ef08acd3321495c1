# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Chips to verify the generator with: between them they have what no preset that is quick to build has."""

import dataclasses

from openlpu.arch.config import AluConfig, OpClass, PipelineConfig, Source, TextConfig
from openlpu.arch.presets import NANO

MIRRORED = dataclasses.replace(
    NANO,
    name="mirrored",
    hemispheres=2,
    mxm_planes=2,
    weight_streams=2,
    special_turns=4,
    sxm_rotates=False,
    pipeline=PipelineConfig(dispatch=0, sram=2, multiply=2, tree_levels=1),
)
"""Two hemispheres with two planes each, no dispatch registers, deep memories and arrays, lanes that take turns,
SXMs of one data path."""

UNEVEN = dataclasses.replace(
    NANO,
    name="uneven",
    lanes=6,
    streams=4,
    mem_slices=3,
    mem_words=37,
    slices_per_hop=1,
    weight_streams=3,
    acc_depth=5,
    alus=(
        AluConfig(classes=(OpClass.INT, OpClass.I2F, OpClass.F2I), y=(Source.WORD, Source.CHAIN, Source.IMMEDIATE)),
        AluConfig(classes=(OpClass.FADD, OpClass.FMUL, OpClass.MASK), writes=False),
        AluConfig(classes=(OpClass.FMUL,), x=(Source.CHAIN,), y=(Source.CHAIN, Source.IMMEDIATE)),
    ),
    pipeline=PipelineConfig(
        dispatch=2, alu_int=1, alu_mask=1, alu_i2f=1, alu_f2i=1, alu_fadd=3, alu_fmul=2, lanes=3, notify=1
    ),
    imem_words=TextConfig(
        mem_read=300,
        mem_write=256,
        mxm_weights=200,
        mxm_acts=256,
        mxm_accs=250,
        vxm=(256, 300, 180),
        sxm_shift=190,
        sxm_permute=210,
    ),
    ecc=True,
)
"""ECC, no size a power of two, mixed ALUs, shallow arithmetic, deep lane switch, text memories of all lengths."""

LINKED = dataclasses.replace(
    NANO,
    name="linked",
    streams=4,
    mem_slices=2,
    mem_words=32,
    weight_streams=2,
    acc_depth=4,
    alus=(AluConfig(classes=(OpClass.INT,), chain=(0,)),),
    mxm_transposes=False,
    sxm_permutes=False,
    imem_words=128,
    c2c_links=1,
    c2c_width=6,
)
"""One link, whose flits fill their beats, and little else: several such chips are simulated at once."""
