# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Flits over a wire between two clocks, in Amaranth's simulator; the corrector against the tables, bit by bit."""

import dataclasses
import random
from itertools import combinations
from typing import Any

import pytest
from amaranth.hdl import DomainRenamer, Module
from amaranth.sim import Simulator
from tests.hdl.units import simulate

from openlpu.arch.config import ChipConfig
from openlpu.arch.ecc import Verdict
from openlpu.arch.links import flit_format
from openlpu.arch.presets import NANO
from openlpu.hdl.flits import FlitCorrector, FlitDeserialiser, FlitSerialiser

NARROW = dataclasses.replace(NANO, lanes=2, weight_streams=2, c2c_links=1, c2c_width=3)
WIDE = dataclasses.replace(NANO, lanes=20, c2c_links=1, c2c_width=40)
"""Flits of two code words, as short as they may be."""
BOTH = pytest.mark.parametrize("config", [NARROW, WIDE], ids=["narrow", "wide"])
TRAINING = 30
"""Frames, after which flits follow."""


@BOTH
@pytest.mark.parametrize("ppm", [-200, 0, 200])
def test_frames_cross_into_another_clock(config: ChipConfig, ppm: int) -> None:
    """Every one of them, in order, from any phase."""
    seed = random.randrange(1 << 32)
    print(f"{seed=}")
    rng = random.Random(seed)
    code = flit_format(config)
    payloads = [rng.getrandbits(code.payload_bits) for _ in range(40)]
    sender: Any = FlitSerialiser(config=config)
    receiver: Any = FlitDeserialiser(config=config)
    m = Module()
    m.submodules.sender = DomainRenamer("there")(sender)
    m.submodules.receiver = DomainRenamer("here")(receiver)
    m.d.comb += [receiver.clock.eq(sender.clock), receiver.data.eq(sender.data)]
    frames: list[int] = []

    async def send(ctx: Any) -> None:
        for number in range(TRAINING + len(payloads) + 2):
            ctx.set(sender.train, number < TRAINING)
            ctx.set(sender.locked, number > TRAINING // 2)
            ctx.set(sender.payload, payloads[number - TRAINING] if 0 <= number - TRAINING < len(payloads) else 0)
            await ctx.tick("there").until(sender.take)

    async def receive(ctx: Any) -> None:
        ctx.set(receiver.hunt, 1)
        await ctx.tick("here").repeat(6)
        ctx.set(receiver.hunt, 0)
        while len(frames) < TRAINING + len(payloads):
            _, _, arrived, frame, locked = await ctx.tick("here").sample(
                receiver.arrived, receiver.frame, receiver.locked
            )
            if arrived:
                assert locked
                frames.append(frame)
            if frames[-1:] == [code.encode(payloads[-1])]:
                return

    simulator = Simulator(m)
    simulator.add_clock(1e-6, phase=rng.random() * 1e-6, domain="there")
    simulator.add_clock(1e-6 * (1 + ppm * 1e-6), phase=rng.random() * 1e-6, domain="here")
    simulator.add_testbench(send, background=True)
    simulator.add_testbench(receive)
    simulator.run_until(1e-6 * code.beats * (TRAINING + len(payloads) + 8))
    trained = [frame for frame in frames if frame in (code.training(False), code.training(True))]
    assert trained == sorted(trained)
    assert len(trained) > TRAINING // 2
    assert frames[len(trained) :] == [code.encode(payload) for payload in payloads]


@BOTH
def test_corrector_agrees_with_the_tables(config: ChipConfig) -> None:
    """Every single wrong bit, and pairs: all of them where there is one code word."""
    rng = random.Random(1)
    code, dut = flit_format(config), FlitCorrector(config=config)
    pairs = list(combinations(range(code.bits), 2))
    wrong = [(), *((bit,) for bit in range(code.bits)), *rng.sample(pairs, min(len(pairs), 600))]

    async def bench(ctx: Any) -> None:
        for bits in wrong:
            frame = code.encode(rng.getrandbits(code.payload_bits)) ^ sum(1 << bit for bit in bits)
            payload, verdict = code.decode(frame)
            ctx.set(dut.frame, frame)
            ctx.set(dut.arrived, 1)
            await ctx.tick()
            assert ctx.get(dut.valid)
            assert ctx.get(dut.payload) == payload, bits
            assert ctx.get(dut.corrected) == (verdict is Verdict.CORRECTED), bits
            assert ctx.get(dut.uncorrectable) == (verdict is Verdict.UNCORRECTABLE), bits
        ctx.set(dut.arrived, 0)
        await ctx.tick()
        assert not ctx.get(dut.valid) | ctx.get(dut.corrected) | ctx.get(dut.uncorrectable)

    simulate(dut, bench)
