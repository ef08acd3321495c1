# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The host port's way to the queues: text that was written before the start is there when its queue reads it."""

import dataclasses
from typing import Any

import pytest
from tests.hdl.units import simulate

from openlpu.arch.config import AluConfig, ChipConfig, OpClass, PipelineConfig
from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import geometry
from openlpu.arch.isa import instruction
from openlpu.arch.presets import NANO
from openlpu.hdl.chip import Chip

TINY = dataclasses.replace(NANO, mem_words=16, imem_words=8, alus=(AluConfig(classes=(OpClass.INT,), chain=(0,)),))
CHECKED = dataclasses.replace(TINY, lanes=2, weight_streams=2, ecc=True)
MIRRORED = dataclasses.replace(TINY, hemispheres=2, pipeline=PipelineConfig(dispatch=0, notify=1))


@pytest.mark.parametrize("config", [TINY, CHECKED, MIRRORED], ids=["tiny", "checked", "mirrored"])
def test_text_is_there_before_the_start(config: ChipConfig) -> None:
    """Whichever queue is written last, its first word in the very cycle before the start."""
    dut: Any = Chip(config=config)
    queues, codec = geometry(config).queues, encoding(config)
    text = [instruction("notify"), instruction("nop", n=7), instruction("halt")]
    lengths: dict[str, int] = {}

    async def write(ctx: Any, number: int, address: int, word: int) -> None:
        ctx.set(dut.host_imem_we, 1)
        ctx.set(dut.host_imem_queue, number)
        ctx.set(dut.host_imem_addr, address)
        ctx.set(dut.host_wdata, word)
        await ctx.tick()
        ctx.set(dut.host_imem_we, 0)
        ctx.set(dut.host_wdata, 0)

    async def bench(ctx: Any) -> None:
        for number, queue in enumerate(queues):
            await write(ctx, number, 0, codec.encode(text[-1], queue))
        for number, queue in enumerate(queues):
            for address, inst in reversed([*enumerate(text)]):
                await write(ctx, number, address, codec.encode(inst, queue))
            ctx.set(dut.host_start, 1)
            await ctx.tick()
            ctx.set(dut.host_start, 0)
            await ctx.tick()
            assert ctx.get(dut.running)
            while ctx.get(dut.running):
                await ctx.tick()
            assert not ctx.get(dut.fault)
            lengths[queue.name] = ctx.get(dut.cycles)
            await write(ctx, number, 0, codec.encode(text[-1], queue))

    simulate(dut, bench)
    assert lengths == dict.fromkeys((queue.name for queue in queues), 8)
