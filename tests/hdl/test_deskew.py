# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The deskew buffer and the alignment counters, in Amaranth's simulator."""

import dataclasses
import random
from collections import deque
from typing import Any

import pytest
from amaranth.sim import Simulator
from tests.hdl.units import simulate

from openlpu.arch.links import DESKEW_DEPTH, HAC_BITS
from openlpu.arch.presets import NANO
from openlpu.arch.timing import timing
from openlpu.hdl.alignment import Alignment
from openlpu.hdl.deskew import CORE, DeskewBuffer

LINKED = dataclasses.replace(NANO, c2c_links=1, c2c_width=8)
EPOCH = 1 << HAC_BITS


def test_buffer_against_a_queue() -> None:
    """Writes and takes at random, more of one and then of the other: order, overflow, emptiness."""
    seed = random.randrange(1 << 32)
    print(f"{seed=}")
    rng = random.Random(seed)
    dut: Any = DeskewBuffer(config=LINKED)
    model: deque[int] = deque()
    seen = {"overflow": 0, "empty": 0}

    async def bench(ctx: Any) -> None:
        for cycle in range(2000):
            busy = 0.7 if cycle // 200 % 2 else 0.3
            write, take, vector = rng.random() < busy, rng.random() < 1 - busy, rng.getrandbits(32)
            ctx.set(dut.write, write)
            ctx.set(dut.vector, vector)
            ctx.set(dut.take, take)
            assert ctx.get(dut.empty) == (not model)
            full, taken = len(model) == DESKEW_DEPTH, model.popleft() if take and model else None
            seen["empty"] += take and taken is None
            if write and not full:
                model.append(vector)
            await ctx.tick()
            assert ctx.get(dut.overflow) == (write and full)
            seen["overflow"] += write and full
            if taken is not None:
                assert ctx.get(dut.data) == taken

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_clock(1e-6, domain=CORE)
    simulator.add_testbench(bench)
    simulator.run()
    assert min(seen.values()) > 20


def run(dut: Any, bench: Any) -> None:
    simulate(dut, bench)


async def started(ctx: Any, dut: Any) -> None:
    """Arm a chip that is alone, and wait for its start."""
    ctx.set(dut.root, 1)
    ctx.set(dut.children_ready, 1)
    ctx.set(dut.arm, 1)
    await ctx.tick()
    ctx.set(dut.arm, 0)
    await ctx.tick().until(dut.start)


def test_the_root_starts_with_an_epoch_and_counts_to_cycle_0() -> None:
    dut: Any = Alignment(config=LINKED)
    times = timing(LINKED)

    async def bench(ctx: Any) -> None:
        await started(ctx, dut)
        assert ctx.get(dut.hac) == 1
        assert not ctx.get(dut.armed)
        await ctx.tick().repeat(times.starting + times.first_dispatch + times.notify)
        assert ctx.get(dut.cycle) == 0

    run(dut, bench)


@pytest.mark.parametrize("pause", [1, 5, 63])
@pytest.mark.parametrize("again", [1, 3])
def test_a_pause_holds_the_core_for_as_long(pause: int, again: int) -> None:
    """Of a root: nothing has drifted, so the program's cycles and the pauses are the time that passes."""
    dut: Any = Alignment(config=LINKED)

    async def bench(ctx: Any) -> None:
        await started(ctx, dut)
        first = ctx.get(dut.cycle)
        held = 0
        for cycle in range(again * 200):
            if cycle % 200 == 50:
                ctx.set(dut.pause, pause)
                ctx.set(dut.deskew, ~ctx.get(dut.deskew))
            held += ctx.get(dut.hold)
            await ctx.tick()
            assert not ctx.get(dut.missed)
        assert held == again * pause
        assert ctx.get(dut.cycle) == first + again * 200 - held

    run(dut, bench)


@pytest.mark.parametrize(("offset", "wire"), [(-511, 9), (-1, 9), (0, 40), (2, 40), (300, 200), (511, 200)])
def test_a_child_follows_its_parent(offset: int, wire: int) -> None:
    """From anywhere in an epoch; what the two ends measure is made of where both counters are, as the link makes it."""
    dut: Any = Alignment(config=LINKED)

    async def bench(ctx: Any) -> None:
        ctx.set(dut.measured, 1)
        for cycle in range(4 * EPOCH):
            parent = (cycle + offset) % EPOCH
            ahead = ctx.get(dut.hac) - parent
            ctx.set(dut.delay, (wire + ahead) % EPOCH)
            ctx.set(dut.peer_delay, (wire - ahead) % EPOCH)
            await ctx.tick()
        assert ctx.get(dut.hac) == (4 * EPOCH + offset) % EPOCH
        assert ctx.get(dut.aligned)

    run(dut, bench)


@pytest.mark.parametrize("drift", [-4, -1, 0, 1, 4, 5])
def test_a_pause_takes_drift_away(drift: int) -> None:
    """A chip that has run fast stands still for longer, one that was slow not as long; too slow a one has missed it."""
    dut: Any = Alignment(config=LINKED)
    pause = 4

    async def bench(ctx: Any) -> None:
        await started(ctx, dut)
        ctx.set(dut.root, 0)
        ctx.set(dut.measured, 1)
        # The counter is put right by `drift`.
        ctx.set(dut.delay, (50 - drift) % EPOCH)
        ctx.set(dut.peer_delay, (50 + drift) % EPOCH)
        await ctx.tick().until(dut.hac == EPOCH // 2)
        ctx.set(dut.measured, 0)
        ctx.set(dut.pause, pause)
        ctx.set(dut.deskew, 1)
        held, missed = 0, False
        for _ in range(30):
            held += ctx.get(dut.hold)
            missed |= bool(ctx.get(dut.missed))
            await ctx.tick()
        assert held == max(pause - drift, 0)
        assert missed == (drift > pause)

    run(dut, bench)
