# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Byte stuffing against the `cobs` package, for lengths around those of a block."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from amaranth.sim import Simulator
from cobs import cobs
from tests.hdl.units import simulate

from openlpu.hdl.cobs import CobsDecoder, CobsEncoder

LENGTHS = (1, 2, 253, 254, 255, 508, 509)
RUNS = [bytes([fill]) * length for length in LENGTHS for fill in (0, 0x11)]
"""Of zeros, and without any."""
EDGES = [b"\x11" * n + middle + b"\x11" * k for n in (0, 253, 254) for middle in (b"\0", b"\0\0") for k in (0, 1)]


@pytest.fixture
def rng() -> random.Random:
    seed = random.randrange(1 << 32)
    print(f"{seed=}")
    return random.Random(seed)


def noise(rng: random.Random, frames: int) -> list[bytes]:
    """Frames of all lengths in which zeros are rare, frequent or nearly everything."""
    odds = [rng.choice((0.003, 0.2, 0.9)) for _ in range(frames)]
    lengths = [rng.choice((rng.randrange(1, 10), rng.randrange(1, 600))) for _ in range(frames)]
    return [
        bytes(0 if rng.random() < zero else rng.randrange(1, 256) for _ in range(length))
        for zero, length in zip(odds, lengths, strict=True)
    ]


def encoded(frames: Sequence[bytes], rng: random.Random, *, waits: float) -> bytes:
    """What comes out of the encoder when either side of it waits in so many of the cycles."""
    dut: Any = CobsEncoder()
    wire = bytearray()

    async def host(ctx: Any) -> None:
        for frame in frames:
            for i, byte in enumerate(frame):
                while rng.random() < waits:
                    await ctx.tick()
                ctx.set(dut.frame.valid, 1)
                ctx.set(dut.frame.payload, {"byte": byte, "last": i == len(frame) - 1})
                await ctx.tick().until(dut.frame.ready)
                ctx.set(dut.frame.valid, 0)

    async def line(ctx: Any) -> None:
        while wire.count(0) < len(frames):
            ready = rng.random() >= waits
            ctx.set(dut.wire.ready, ready)
            _, _, valid, byte = await ctx.tick().sample(dut.wire.valid, dut.wire.payload)
            if valid and ready:
                wire.append(byte)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(host)
    simulator.add_testbench(line)
    simulator.run()
    return bytes(wire)


def decoded(wire: bytes, rng: random.Random, *, pauses: float = 0) -> list[tuple[bytes, bool]]:
    """The frames that the decoder finds, and whether each is intact."""
    dut: Any = CobsDecoder()
    frames: list[tuple[bytes, bool]] = []

    async def bench(ctx: Any) -> None:
        frame, just_ended = bytearray(), False
        line: list[int | None] = []
        for each in wire:
            line += [None] * (rng.random() < pauses) + [each]
        for byte in (*line, None, None):
            ctx.set(dut.wire.valid, byte is not None)
            ctx.set(dut.wire.payload, rng.randrange(256) if byte is None else byte)
            _, _, valid, got, end, intact = await ctx.tick().sample(
                dut.bytes.valid, dut.bytes.payload, dut.end, dut.intact
            )
            assert not (valid and (end or just_ended))
            if valid:
                frame.append(got)
            if end:
                frames.append((bytes(frame), bool(intact)))
                frame.clear()
            just_ended = end

    simulate(dut, bench)
    return frames


@pytest.mark.parametrize("waits", [0, 0.3])
def test_encoder(rng: random.Random, waits: float) -> None:
    frames = [*RUNS, *EDGES, *noise(rng, 5)] if not waits else noise(rng, 10)
    rng.shuffle(frames)
    assert encoded(frames, rng, waits=waits).split(b"\0") == [*map(cobs.encode, frames), b""]


@pytest.mark.parametrize("pauses", [0, 0.3])
def test_decoder(rng: random.Random, pauses: float) -> None:
    frames = [*RUNS, *EDGES, *noise(rng, 5)]
    rng.shuffle(frames)
    wire = b"".join(cobs.encode(frame) + b"\0" for frame in frames)
    assert decoded(wire, rng, pauses=pauses) == [(frame, True) for frame in frames]


def test_decoder_on_what_is_not_as_the_encoder_has_it(rng: random.Random) -> None:
    """Idle delimiters, an empty block behind a full one, and frames that end too early."""
    full = b"\xff" + b"\x22" * 254
    wire = b"\0\0" + full + b"\x01\0\0\0" + full[:-1] + b"\0\x05\x33\0\x01\0" + cobs.encode(b"\x44\0") + b"\0"
    expected = [
        (b"\x22" * 254, True),
        (b"\x22" * 253, False),
        (b"\x33", False),
        (b"", True),
        (b"\x44\0", True),
    ]
    assert decoded(wire, rng) == expected
