# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A hop in Amaranth's simulator: what passes, what is produced over it, and that nothing is left of what was there."""

from typing import Any

import numpy as np
from tests.hdl.units import simulate

from openlpu.arch.geometry import Direction, Stream
from openlpu.hdl.stream import Hop, drives_name

LANES, STREAMS = 3, 4


def test_productions_replace_what_passes() -> None:
    rng = np.random.default_rng(9)
    producers = {Stream(Direction.EAST, 1): 1, Stream(Direction.EAST, 3): 3, Stream(Direction.WEST, 0): 2}
    dut: Any = Hop(lanes=LANES, streams=STREAMS, producers=producers)

    async def bench(ctx: Any) -> None:
        for _ in range(300):
            expected: dict[Stream, tuple[int, int]] = {}
            for direction in Direction:
                d = direction.letter
                data, valid = rng.bytes(LANES * STREAMS), int(rng.integers(1 << STREAMS))
                ctx.set(getattr(dut, f"{d}_data_in"), int.from_bytes(data, "little"))
                ctx.set(getattr(dut, f"{d}_valid_in"), valid)
                for i in range(STREAMS):
                    vector = int.from_bytes(data[i * LANES :][:LANES], "little")
                    expected[Stream(direction, i)] = (valid >> i & 1, vector)
            chosen = {stream: int(rng.integers(2 * count)) for stream, count in producers.items()}
            for stream, number in chosen.items():
                for k, drive in enumerate(getattr(dut, drives_name(stream))):
                    ctx.set(drive.valid, k == number)
            await ctx.tick()
            # The vectors come one cycle after the valid bits.
            for stream, number in chosen.items():
                for k, drive in enumerate(getattr(dut, drives_name(stream))):
                    vector = int.from_bytes(rng.bytes(LANES), "little")
                    ctx.set(drive.valid, int(rng.integers(2)))
                    ctx.set(drive.data, vector)
                    if k == number:
                        expected[stream] = (1, vector)
            await ctx.tick()
            for stream, (valid, vector) in expected.items():
                d = stream.direction.letter
                assert ctx.get(getattr(dut, f"{d}_valid")) >> stream.index & 1 == valid
                if valid:
                    shift = 8 * LANES * stream.index
                    assert ctx.get(getattr(dut, f"{d}_data")) >> shift & ((1 << 8 * LANES) - 1) == vector

    simulate(dut, bench)
