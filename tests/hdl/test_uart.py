# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The serial line: against lines that are drawn, and read, in time and not in cycles."""

import math
import random
from collections.abc import Iterable
from typing import Any

import pytest
from amaranth.sim import Simulator
from tests.hdl.units import simulate

from openlpu.hdl.uart import UartReceiver, UartTransmitter, bit_cycles

BITS = [4, 5, 7, 27]
ALTERNATING = bytes((0x00, 0xFF, 0x55, 0xAA, 0x01, 0x80, 0xFE, 0x7F))


def framed(byte: int, stop: int = 1) -> list[int]:
    return [0, *((byte >> i) & 1 for i in range(8)), stop]


def drawn(levels: Iterable[int], cycles_per_bit: float, phase: float) -> list[int]:
    """What a clock sees, cycle by cycle, of levels that last a bit each, the first from `phase` on."""
    levels = list(levels)
    cycles = math.ceil(len(levels) * cycles_per_bit + phase)
    at = [math.floor((cycle - phase) / cycles_per_bit) for cycle in range(cycles)]
    return [levels[bit] if 0 <= bit < len(levels) else 1 for bit in at]


def received(line: Iterable[int], cycles: int) -> bytes:
    dut: Any = UartReceiver(bit_cycles=cycles)
    got = bytearray()

    async def bench(ctx: Any) -> None:
        for level in (1, 1, *line, *[1] * (3 * cycles)):
            ctx.set(dut.line, level)
            _, _, valid, byte = await ctx.tick().sample(dut.bytes.valid, dut.bytes.payload)
            if valid:
                got.append(byte)

    simulate(dut, bench)
    return bytes(got)


@pytest.mark.parametrize("error", [-0.02, 0, 0.02])
@pytest.mark.parametrize("cycles", BITS)
def test_bytes_back_to_back(cycles: int, error: float) -> None:
    """From a sender whose clock is off, at any time between two edges of ours."""
    seed = random.randrange(1 << 32)
    print(f"{seed=}")
    rng = random.Random(seed)
    sent = ALTERNATING + rng.randbytes(8)
    levels = [level for byte in sent for level in framed(byte)]
    assert received(drawn(levels, cycles * (1 + error), rng.random()), cycles) == sent


@pytest.mark.parametrize("cycles", [4, 27])
def test_what_is_no_byte_is_dropped(cycles: int) -> None:
    """A stop bit that is 0, a line that stays 0, a pulse too short for a start bit; and the byte after each."""
    broken = [*framed(0x35, stop=0), 1]
    held = [0] * 25 + [1]
    line = drawn([*framed(0x12), *broken, *framed(0x34), *held, *framed(0x56), 1], cycles, 0.5)
    line += [0] * (cycles // 4) + [1] * cycles + drawn(framed(0x78), cycles, 0.5)
    assert received(line, cycles) == b"\x12\x34\x56\x78"


@pytest.mark.parametrize("cycles", BITS)
def test_transmitter(cycles: int) -> None:
    """Every bit is as long as it should be; bytes follow each other at once, or when they come."""
    dut: Any = UartTransmitter(bit_cycles=cycles)
    line: list[int] = []
    gaps = [0, 0, 3, 0, 50, 1, 0, 0]

    async def bench(ctx: Any) -> None:
        for byte, gap in zip(ALTERNATING, gaps, strict=True):
            await ctx.tick().repeat(gap + 1)
            ctx.set(dut.bytes.valid, 1)
            ctx.set(dut.bytes.payload, byte)
            await ctx.tick().until(dut.bytes.ready)
            ctx.set(dut.bytes.valid, 0)
            ctx.set(dut.bytes.payload, 0x99)
        await ctx.tick().repeat(11 * cycles)

    async def watch(ctx: Any) -> None:
        async for _, _, level in ctx.tick().sample(dut.line):
            line.append(level)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.add_testbench(watch, background=True)
    simulator.run()

    assert line[0] == 1
    got, at = bytearray(), 0
    while 0 in line[at:]:
        at = line.index(0, at)
        bits = [line[at + i * cycles : at + (i + 1) * cycles] for i in range(10)]
        assert [set(bit) for bit in bits] == [{bit[0]} for bit in bits], bits
        assert bits[9][0] == 1
        got.append(sum(bit[0] << i for i, bit in enumerate(bits[1:9])))
        at += 10 * cycles
    assert bytes(got) == ALTERNATING


def test_lengths_of_a_bit() -> None:
    assert bit_cycles(80e6, 3_000_000) == 27
    assert bit_cycles(100e6, 25_000_000) == 4
    assert bit_cycles(25e6, 115_200) == 217
    with pytest.raises(ValueError, match="30,000,000 baud need a clock of at least 120,000,000 Hz"):
        bit_cycles(100e6, 30_000_000)
    with pytest.raises(ValueError, match=r"3,000,000 baud cannot be made from .* the nearest are 3,125,000 baud"):
        bit_cycles(25e6, 3_000_000)
