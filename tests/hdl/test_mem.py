# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""MEM slices in Amaranth's simulator: data, reach and latency of every pipeline depth."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Cat, Module, Signal
from tests.hdl.units import UnitBench, pack, simulate, unpack

from openlpu.arch.config import ChipConfig, PipelineConfig
from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import QueueKind, Stream, geometry
from openlpu.arch.isa import BY_MNEMONIC, instruction
from openlpu.arch.presets import NANO, ULX3S
from openlpu.arch.timing import timing
from openlpu.hdl import mem
from openlpu.hdl.mem import MemSlice, data_stream, word_stream
from openlpu.hdl.ram import Ram

DEEP = dataclasses.replace(NANO, mem_words=1 << 15)
"""Windows with more words than a dealt table can have in a slice."""
SLOW = dataclasses.replace(NANO, pipeline=PipelineConfig(dispatch=3, sram=3))
EAGER = dataclasses.replace(NANO, pipeline=PipelineConfig(dispatch=0))
UNEVEN = dataclasses.replace(NANO, mem_words=37)
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


class Undecided(Ram):
    """A memory that returns no word that was ever in it when its word is being written, as hardware may."""

    def body(self) -> Module:
        m = Module()
        m.submodules.inner = inner = Ram(depth=self._depth, width=self._width)
        meets = Signal()
        with m.If(self.read.en):
            m.d.sync += meets.eq(self.write.en & (self.write.addr == self.read.addr))
        for port in ("read", "write"):
            outer, within = getattr(self, port), getattr(inner, port)
            m.d.comb += [within.en.eq(outer.en), within.addr.eq(outer.addr)]
        m.d.comb += [
            inner.write.data.eq(self.write.data),
            self.read.data.eq(inner.read.data ^ meets.replicate(self._width)),
        ]
        return m


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_old_word_until_the_write(config: ChipConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """One cycle before a collision a read still returns the old word, one cycle after it the new one."""
    read, write = (geometry(config).of_kind(kind)[SLICE] for kind in (QueueKind.MEM_READ, QueueKind.MEM_WRITE))
    reading = timing(config).latency(BY_MNEMONIC["read"], read)
    writing = timing(config).latency(BY_MNEMONIC["write"], write)
    assert reading.skew is not None
    assert reading.func is not None
    assert writing.skew is not None
    assert writing.state is not None
    stream = write.consumes[0]
    monkeypatch.setattr(mem, "Ram", Undecided)
    bench = UnitBench(config, MemSlice(config=config, index=SLICE))
    old, new = np.arange(config.lanes), -np.arange(config.lanes)
    for cycle, vector in ((0, old), (10, new)):
        bench.at(cycle, write, "write", a=5, s=stream)
        bench.put(cycle + writing.skew, stream, vector)
    collision = 10 + writing.state - 1 - reading.skew
    for cycle in (collision - 1, collision + 1):
        bench.at(cycle, read, "read", a=5, d=stream)
    bench.run(30)
    assert bench.produced == {
        (stream, collision - 1 + reading.func): old.tolist(),
        (stream, collision + 1 + reading.func): new.tolist(),
    }


def test_write_of_an_empty_stream_is_a_fault_and_writes_nothing() -> None:
    read, write = (geometry(NANO).of_kind(kind)[0] for kind in (QueueKind.MEM_READ, QueueKind.MEM_WRITE))
    stream = write.consumes[2]
    bench = UnitBench(NANO, MemSlice(config=NANO, index=0))
    bench.at(3, write, "write", a=5, s=stream)
    bench.at(8, read, "read", a=5, d=stream)
    bench.run(14)
    assert bench.empty == [(write.name, 3 + NANO.pipeline.dispatch)]
    assert bench.produced == {(stream, 11): [0] * NANO.lanes}


@pytest.mark.parametrize("config", [*CONFIGS, UNEVEN], ids=[*IDS, "uneven"])
def test_host_access(config: ChipConfig) -> None:
    """A word a cycle, whatever is on the other streams, and whichever of them the last instruction has taken."""
    read, write = (geometry(config).of_kind(kind)[SLICE] for kind in (QueueKind.MEM_READ, QueueKind.MEM_WRITE))
    dut: Any = MemSlice(config=config, index=SLICE)
    rng = np.random.default_rng(2)

    async def bench(ctx: Any) -> None:
        vectors = rng.integers(-128, 128, (min(config.mem_words, 100), config.lanes))
        last = instruction("write", a=0, s=write.consumes[-1])
        # What the map's tap holds means another slice.
        elsewhere = instruction("gather_dealt", a=0, n=1, m=read.consumes[0], d=read.produces[0], p=1)
        ctx.set(dut.write_issue.word, encoding(config).encode(last, write))
        ctx.set(dut.read_issue.word, encoding(config).encode(elsewhere, read))
        ctx.set(Cat(dut.write_issue.valid, dut.read_issue.valid), 0b11)
        await ctx.tick()
        ctx.set(Cat(dut.write_issue.valid, dut.read_issue.valid), 0)
        await ctx.tick().repeat(timing(config).latency(last.spec, write).retire)
        # A vector comes one cycle after what says where it goes.
        for address in range(len(vectors) + 1):
            ctx.set(dut.host.write, address < len(vectors))
            ctx.set(dut.host.write_address, address % len(vectors))
            for tap, stream in zip(dut.write_taps, write.consumes, strict=True):
                brings = stream == data_stream(write)
                ctx.set(tap.valid, not brings)
                ctx.set(tap.data, pack(vectors[address - 1] if brings else rng.integers(-128, 128, config.lanes)))
            await ctx.tick()
        await ctx.tick()
        ctx.set(dut.host.read, 1)
        (drive,) = (d for d, s in zip(dut.read_drives, read.produces, strict=True) if s == word_stream(read))
        for address in range(len(vectors) + config.pipeline.sram):
            if address >= config.pipeline.sram - 1:
                assert ctx.get(drive.valid)
            if address >= config.pipeline.sram:
                got = unpack(ctx.get(drive.data), config.lanes)
                assert got.tolist() == vectors[address - config.pipeline.sram].tolist()
            ctx.set(dut.host.read_address, address % len(vectors))
            await ctx.tick()

    simulate(dut, bench)


@pytest.mark.parametrize("config", [*CONFIGS, UNEVEN, DEEP], ids=[*IDS, "uneven", "deep"])
def test_windows(config: ChipConfig) -> None:
    """Scatters of every window size among writes, then gathers among reads: with offsets beyond the window, in tables
    of one slice and in dealt ones."""
    rng = np.random.default_rng(11)
    read, write = (geometry(config).of_kind(kind)[SLICE] for kind in (QueueKind.MEM_READ, QueueKind.MEM_WRITE))
    scattering = timing(config).latency(BY_MNEMONIC["scatter"], write)
    gathering = timing(config).latency(BY_MNEMONIC["gather"], read)
    assert scattering.skew is not None
    assert gathering.skew is not None
    assert gathering.func is not None
    bench = UnitBench(config, MemSlice(config=config, index=SLICE))
    sizes = range(config.mem_words.bit_length())
    memory: dict[int, list[int]] = {}

    def share() -> tuple[str, int, dict[str, int]]:
        """What follows a mnemonic, how many slices share the table, and the place of this one: often a dealt table."""
        if not config.dealt_windows or rng.integers(2):
            return "", 1, {}
        return "_dealt", config.weight_streams, {"p": int(rng.integers(config.weight_streams))}

    def means(slices: int, dealt: dict[str, int], n: int, word: int, sampled: int, stream: Stream) -> bool:
        """Put an index of a word of a window, or of one in another slice, onto a stream; whether it is of this one."""
        row = word + (int(rng.integers(max((1 << 16) // slices >> n, 1))) << n)
        place = int(rng.integers(slices)) if rng.integers(3) == 0 else dealt.get("p", 0)
        offset = row * slices + place
        lane_map = rng.integers(-128, 128, config.lanes)
        lane_map[:2] = [offset & 255, offset >> 8]
        bench.put(sampled, stream, lane_map)
        return place == dealt.get("p", 0)

    writes = min(4 * config.mem_words, 200)
    for cycle in range(writes):
        n = int(rng.choice(sizes))
        lane_map, source = (write.consumes[i] for i in rng.permutation(len(write.consumes))[:2])
        base, vector = int(rng.integers(config.mem_words >> n)) << n, rng.integers(-128, 128, config.lanes)
        if cycle % 2:
            suffix, slices, dealt = share()
            word = int(rng.integers(min(1 << n, (1 << 16) // slices)))
            bench.at(cycle, write, f"scatter{suffix}", a=base, n=n, m=lane_map, s=source, **dealt)
            if means(slices, dealt, n, word, cycle + scattering.skew, lane_map):
                memory[base + word] = vector.tolist()
        else:
            bench.at(cycle, write, "write", a=base, s=source)
            memory[base] = vector.tolist()
        bench.put(cycle + scattering.skew, source, vector)
    first, expected = writes + 8, {}
    for cycle in range(first, first + 150):
        address, n = int(rng.choice([*memory])), int(rng.choice(sizes))
        lane_map = read.consumes[rng.integers(len(read.consumes))]
        target = read.produces[rng.integers(len(read.produces))]
        suffix, slices, dealt = share()
        base = address >> n << n
        here = True
        if cycle % 3 and base + (1 << n) <= config.mem_words and address - base < (1 << 16) // slices:
            bench.at(cycle, read, f"gather{suffix}", a=base, n=n, m=lane_map, d=target, **dealt)
            here = means(slices, dealt, n, address - base, cycle + gathering.skew, lane_map)
        else:
            bench.at(cycle, read, "read", a=address, d=target)
        expected[target, cycle + gathering.func] = memory[address] if here else [0] * config.lanes
    bench.run(first + 160)
    assert bench.produced == expected
    assert bench.empty == []


def test_an_empty_map_is_a_fault_and_nothing_is_written() -> None:
    read, write = (geometry(NANO).of_kind(kind)[0] for kind in (QueueKind.MEM_READ, QueueKind.MEM_WRITE))
    lane_map, source = write.consumes[:2]
    skew = NANO.pipeline.dispatch
    bench = UnitBench(NANO, MemSlice(config=NANO, index=0))
    vector = np.ones(NANO.lanes)
    for cycle, given in ((0, [lane_map]), (5, [source])):
        bench.at(cycle, write, "scatter", a=0, n=0, m=lane_map, s=source)
        for stream in given:
            bench.put(cycle + skew, stream, vector)
    bench.at(10, read, "read", a=0, d=source)
    bench.at(15, read, "gather", a=0, n=2, m=lane_map, d=source)
    bench.run(22)
    assert bench.empty == [(write.name, skew), (write.name, 5 + skew), (read.name, 15 + skew)]
    assert bench.produced[source, 13] == [0] * NANO.lanes
