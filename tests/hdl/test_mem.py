# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""MEM slices in Amaranth's simulator: data, reach and latency of every pipeline depth."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator
from tests.hdl.units import UnitBench, pack, unpack

from openlpu.arch.config import ChipConfig, PipelineConfig
from openlpu.arch.geometry import QueueKind, geometry
from openlpu.arch.isa import BY_MNEMONIC
from openlpu.arch.presets import NANO, ULX3S
from openlpu.arch.timing import timing
from openlpu.hdl.mem import MemSlice

SLOW = dataclasses.replace(NANO, pipeline=PipelineConfig(dispatch=3, sram=3))
EAGER = dataclasses.replace(NANO, pipeline=PipelineConfig(dispatch=0))
CONFIGS = [NANO, ULX3S, SLOW, EAGER]
IDS = ["nano", "ulx3s", "slow", "eager"]
SLICE = 3


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_writes_then_reads(config: ChipConfig) -> None:
    """A word a cycle in both directions, reads as close behind writes as the timing table allows."""
    rng = np.random.default_rng(1)
    read, write = (geometry(config).of_kind(kind)[SLICE] for kind in (QueueKind.MEM_READ, QueueKind.MEM_WRITE))
    reading = timing(config).latency(BY_MNEMONIC["read"], read)
    writing = timing(config).latency(BY_MNEMONIC["write"], write)
    assert reading.skew is not None
    assert reading.func is not None
    assert writing.skew is not None
    assert writing.state is not None
    bench = UnitBench(config, MemSlice(config=config, index=SLICE))
    expected = {}
    for cycle, address in enumerate(rng.permutation(config.mem_words)[:40].tolist()):
        source = write.consumes[rng.integers(len(write.consumes))]
        target = read.produces[rng.integers(len(read.produces))]
        vector = rng.integers(-128, 128, config.lanes)
        bench.at(cycle, write, "write", a=address, s=source)
        bench.put(cycle + writing.skew, source, vector)
        later = cycle + writing.state - reading.skew + 2  # never before cycle 0
        bench.at(later, read, "read", a=address, d=target)
        expected[target, later + reading.func] = vector.tolist()
    bench.run(60)
    assert bench.produced == expected
    assert bench.empty == []


def test_old_word_until_the_write() -> None:
    """One cycle before a collision a read still returns the old word, one cycle after it the new one."""
    read, write = (geometry(NANO).of_kind(kind)[0] for kind in (QueueKind.MEM_READ, QueueKind.MEM_WRITE))
    stream = write.consumes[0]
    bench = UnitBench(NANO, MemSlice(config=NANO, index=0))
    old, new = np.arange(NANO.lanes), -np.arange(NANO.lanes)
    for cycle, vector in ((0, old), (10, new)):
        bench.at(cycle, write, "write", a=5, s=stream)
        bench.put(cycle + 1, stream, vector)
    for cycle in (10, 12):  # the collision is in 11
        bench.at(cycle, read, "read", a=5, d=stream)
    bench.run(20)
    assert bench.produced == {(stream, 13): old.tolist(), (stream, 15): new.tolist()}


def test_write_of_an_empty_stream_is_a_fault_and_writes_nothing() -> None:
    read, write = (geometry(NANO).of_kind(kind)[0] for kind in (QueueKind.MEM_READ, QueueKind.MEM_WRITE))
    stream = write.consumes[2]
    bench = UnitBench(NANO, MemSlice(config=NANO, index=0))
    bench.at(3, write, "write", a=5, s=stream)
    bench.at(8, read, "read", a=5, d=stream)
    bench.run(14)
    assert bench.empty == [(write.name, 3 + NANO.pipeline.dispatch)]
    assert bench.produced == {(stream, 11): [0] * NANO.lanes}


def test_host_access() -> None:
    config = SLOW
    dut: Any = MemSlice(config=config, index=0)

    async def bench(ctx: Any) -> None:
        vectors = np.random.default_rng(2).integers(-128, 128, (config.mem_words, config.lanes))
        ctx.set(dut.host.write, 1)
        for address, vector in enumerate(vectors):
            ctx.set(dut.host.write_address, address)
            ctx.set(dut.host.write_data, pack(vector))
            await ctx.tick()
        ctx.set(dut.host.write, 0)
        await ctx.tick()
        ctx.set(dut.host.read, 1)
        for address in range(config.mem_words + config.pipeline.sram):
            if address >= config.pipeline.sram:
                got = unpack(ctx.get(dut.host.read_data), config.lanes)
                assert got.tolist() == vectors[address - config.pipeline.sram].tolist()
            ctx.set(dut.host.read_address, address % config.mem_words)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
