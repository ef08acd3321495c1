# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Encoder, corrector and counts of errors in Amaranth's simulator, against the code as whole numbers."""

import dataclasses
import random
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import pytest
from tests.hdl.units import simulate

from openlpu.arch.config import ChipConfig, PipelineConfig
from openlpu.arch.ecc import Verdict, vector_code
from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import Direction, Stream, geometry
from openlpu.arch.isa import IMMEDIATE, NOTHING, Format, Operand, Value, instruction
from openlpu.arch.presets import NANO
from openlpu.hdl import errors
from openlpu.hdl.ecc import Corrector, Encoder
from openlpu.hdl.errors import ErrorCounts, QueueErrors

CHECKED = dataclasses.replace(NANO, ecc=True)
CYCLES = 200


def wide(lanes: int) -> ChipConfig:
    return dataclasses.replace(CHECKED, lanes=lanes, weight_streams=1)


def play(dut: Any, testbench: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
    simulate(dut, testbench)


@pytest.mark.parametrize("lanes", [3, 16, 20])
def test_encoder_appends_the_check_bits(lanes: int) -> None:
    config, rng = wide(lanes), random.Random(lanes)
    dut = Encoder(config=config, producers=3)

    async def testbench(ctx: Any) -> None:
        for _ in range(CYCLES):
            chosen = rng.randrange(4)
            vectors = [rng.getrandbits(8 * lanes) for _ in range(3)]
            for number, drive in enumerate(dut.drives):
                ctx.set(drive.valid, number == chosen)
            await ctx.tick()
            # A vector comes one cycle after its valid bit, here as there.
            assert ctx.get(dut.o.valid) == (chosen < 3)
            for drive, vector in zip(dut.drives, vectors, strict=True):
                ctx.set(drive.valid, rng.randrange(2))
                ctx.set(drive.data, vector)
            await ctx.tick()
            if chosen < 3:
                assert ctx.get(dut.o.data) == vector_code(config).encode(vectors[chosen])

    play(dut, testbench)


@pytest.mark.parametrize("lanes", [3, 16, 20])
def test_corrector_does_what_can_be_done(lanes: int) -> None:
    config, rng = wide(lanes), random.Random(lanes)
    code, dut = vector_code(config), Corrector(config=config)

    async def testbench(ctx: Any) -> None:
        for _ in range(5 * CYCLES):
            flips = rng.sample(range(code.bits), rng.randrange(4))
            stored = code.encode(rng.getrandbits(8 * lanes)) ^ sum(1 << bit for bit in flips)
            valid = rng.random() < 0.9
            ctx.set(dut.i.valid, valid)
            ctx.set(dut.i.data, stored)
            await ctx.tick()
            meant, verdict = code.decode(stored)
            assert ctx.get(dut.o.valid) == valid
            assert ctx.get(dut.o.corrected) == (valid and verdict is Verdict.CORRECTED)
            assert ctx.get(dut.o.uncorrectable) == (valid and verdict is Verdict.UNCORRECTABLE)
            if valid:
                assert ctx.get(dut.o.data) == meant

    play(dut, testbench)


E, W = Direction.EAST, Direction.WEST
IN: dict[str, list[tuple[str, dict[str, Value]]]] = {
    "mem_e1.read": [
        ("read", {"a": 3, "d": Stream(E, 1)}),
        ("gather", {"a": 8, "n": 2, "m": Stream(W, 3), "d": Stream(E, 0)}),
        ("gather_dealt", {"a": 8, "n": 2, "m": Stream(W, 3), "d": Stream(E, 0), "p": 0}),
    ],
    "mem_e1.write": [
        ("write", {"a": 3, "s": Stream(W, 5)}),
        ("scatter", {"a": 8, "n": 2, "m": Stream(E, 3), "s": Stream(W, 0)}),
        ("scatter", {"a": 8, "n": 2, "m": Stream(E, 3), "s": Stream(E, 3)}),
        ("scatter_dealt", {"a": 8, "n": 2, "m": Stream(E, 3), "s": Stream(W, 0), "p": 0}),
    ],
    "mxm_e0.weights": [("lw", {"g": 0}), ("iw", {}), ("lw_iw", {"g": 0}), ("lwt", {"g": 0}), ("lwt_iw", {"g": 0})],
    "mxm_e0.acts": [("abc", {"s": Stream(E, 6)}), ("abl", {"a": 1, "s": Stream(E, 0)}), ("abr", {"a": 1})],
    "mxm_e0.accs": [("acc_set", {"a": 1}), ("acc_out", {"a": 1, "d": Stream(W, 4)})],
    "sxm_e.shift": [
        ("shift", {"s": Stream(W, 7), "d": Stream(E, 7), "n": 1}),
        ("rotate", {"s": Stream(E, 4), "d": Stream(W, 0), "n": 1}),
        ("select", {"s": Stream(E, 4), "m": Stream(W, 2), "d": Stream(W, 0)}),
    ],
    "sxm_e.permute": [
        ("permute", {"s": Stream(E, 4), "m": Stream(E, 2), "d": Stream(W, 0)}),
        ("distribute", {"s": Stream(W, 1), "n": 3, "d": Stream(W, 0)}),
        ("transpose", {"s": Stream(W, 4), "d": Stream(W, 0)}),
    ],
    "vxm.alu0": [
        ("iadd", {"x": Operand(Format.WORD, Stream(W, 4)), "y": Operand(Format.BYTE, Stream(W, 1)), "imm": 0}),
        ("iadd", {"x": Operand(Format.WORD, Stream(W, 4)), "y": Operand(Format.BYTE, Stream(W, 6)), "imm": 0}),
        ("isub", {"x": Operand(Format.ALU, 0), "y": IMMEDIATE, "imm": 7}),
        ("pass", {"x": Operand(Format.BYTE, Stream(W, 3)), "y": NOTHING, "imm": 0}),
    ],
}
"""By queue, instructions of every way to sample streams."""


@pytest.mark.parametrize("name", IN)
@pytest.mark.parametrize("dispatch", [0, 2])
def test_an_error_counts_for_the_queue_that_samples_it(name: str, dispatch: int) -> None:
    config = dataclasses.replace(CHECKED, pipeline=PipelineConfig(dispatch=dispatch))
    queue, rng = geometry(config).by_name[name], random.Random(name)
    dut = QueueErrors(config=config, queue=queue)
    streams, fetches = len(queue.consumes), len(queue.fetches)

    def issued(mnemonic: str, fields: Mapping[str, Value]) -> tuple[int, int]:
        """A word, and the streams that it samples, as a mask."""
        fields = {"d": NOTHING, **fields} if name.startswith("vxm") else fields
        inst = instruction(mnemonic, **fields)
        sampled = queue.consumes if mnemonic.startswith("lw") else inst.samples
        mask = sum(1 << place for place, stream in enumerate(queue.consumes) if stream in sampled)
        return encoding(config).encode(inst, queue), mask

    words = [issued(*inst) for inst in IN[name]]

    async def testbench(ctx: Any) -> None:
        masks, due = [0] * (dispatch + 1), [(0, 0)] * 2
        for _ in range(CYCLES):
            word, mask = rng.choice(words)
            valid, fetched = rng.random() < 0.8, rng.choice((0, 0, *(1 << stream for stream in range(fetches))))
            found = [rng.getrandbits(streams + fetches) for _ in range(2)]
            ctx.set(dut.issue.valid, valid)
            ctx.set(dut.issue.word, word)
            ctx.set(dut.fetched, fetched)
            ctx.set(dut.corrected, found[0])
            ctx.set(dut.uncorrectable, found[1])
            masks.append(mask if valid else 0)
            consumed = masks.pop(0) | fetched << streams
            due.append(((consumed & found[0]).bit_count(), (consumed & found[1]).bit_count()))
            assert (ctx.get(dut.errors.corrected), ctx.get(dut.errors.uncorrectable)) == due.pop(0)
            await ctx.tick()

    play(dut, testbench)


def test_counts_by_place_add_up_and_stay_at_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "COUNT_BITS", 6)
    rng, dut = random.Random(5), ErrorCounts(config=CHECKED)
    places = len(dut.places)
    counted = [0] * places

    async def testbench(ctx: Any) -> None:
        for cycle in range(CYCLES):
            for number, place in enumerate(dut.places):
                amount = rng.randrange(4) if rng.random() < 0.02 else 0
                ctx.set(place.corrected, amount)
                counted[number] += amount
            await ctx.tick()
            if cycle % 10 == 9:
                for place in dut.places:
                    ctx.set(place.corrected, 0)
                await ctx.tick().repeat(errors.COUNT_DELAY - 1)
                assert ctx.get(dut.corrected) == min(sum(counted), 63)
                assert ctx.get(dut.uncorrectable) == 0
                number = rng.randrange(places)
                ctx.set(dut.place, number)
                await ctx.tick().repeat(2)
                assert ctx.get(dut.place_corrected) == min(counted[number], 63)
                assert ctx.get(dut.place_uncorrectable) == 0
        assert sum(counted) > 63

    play(dut, testbench)
