# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Small whole chips in Amaranth's simulator: barrier, streams end to end, clock, faults, host port."""

import dataclasses
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from tests.hdl.units import Vector, pack, simulate, unpack

from openlpu.arch.config import AluConfig, ChipConfig, OpClass, PipelineConfig
from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import Direction, Queue, Stream, geometry
from openlpu.arch.isa import BY_MNEMONIC, Format, Instruction, Operand, instruction
from openlpu.arch.presets import NANO, TSP1, ULX3S
from openlpu.arch.timing import timing
from openlpu.hdl.chip import Chip

TINY = dataclasses.replace(NANO, mem_words=16, imem_words=64, alus=(AluConfig(classes=(OpClass.INT,), chain=(0,)),))
"""Nano but for its VXM, which would take most of the time."""
MIRRORED = dataclasses.replace(TINY, hemispheres=2, mxm_planes=2, pipeline=PipelineConfig(notify=1, sram=2))

OWN = dataclasses.replace(ULX3S, mem_words=12, alus=TINY.alus)
"""A word of text is less than a vector, and every slice has a stream of its own."""
NARROW = dataclasses.replace(OWN, lanes=8, streams=4, mem_slices=4, slices_per_hop=4, weight_streams=4)
"""Streams that bring slices their words bring queues the second piece of a word of text."""
ODD = dataclasses.replace(
    TINY,
    lanes=6,
    streams=4,
    hemispheres=2,
    mem_slices=3,
    mem_words=13,
    slices_per_hop=1,
    mem_reach=((3, 1), (0,), (2, 0, 1)),
    weight_streams=3,
    ecc=True,
)


@dataclass(frozen=True)
class Status:
    """What the chip says of a run."""

    cycles: int
    fault: tuple[str, int, bool] | None
    """Queue, cycle, whether illegal."""


class Bench:
    """A chip with a host. Calls are recorded, and played by `run`."""

    def __init__(self, config: ChipConfig) -> None:
        self.config = config
        self.chip = geometry(config)
        self.dut: Any = Chip(config=config)

    def queue(self, name: str) -> Queue:
        return self.chip.by_name[name]

    def latency(self, name: str, mnemonic: str, event: str) -> int:
        """A number of the timing table, by the name of its column."""
        value = getattr(timing(self.config).latency(BY_MNEMONIC[mnemonic], self.queue(name)), event)
        assert value is not None
        return int(value)

    def meets(self, produced: int, producer: str, consumer: str, mnemonic: str, stream: Stream) -> int:
        """The dispatch of a consumer that meets what stands at the producer's hop in cycle `produced`."""
        hops = self.chip.hops_between(stream, self.queue(producer).hop, self.queue(consumer).hop)
        return produced + hops - self.latency(consumer, mnemonic, "skew")

    def text(self, name: str, schedule: Mapping[int, Instruction], *, notifies: bool) -> list[int]:
        """Words of a queue from its dispatches: the barrier, NOPs between, HALT."""
        words, cycle = [instruction("notify" if notifies else "sync")], 0
        for dispatch, inst in sorted(schedule.items()):
            if dispatch > cycle:
                words.append(instruction("nop", n=dispatch - cycle))
            words.append(inst)
            cycle = dispatch + 1
        words.append(instruction("halt"))
        return [encoding(self.config).encode(inst, self.queue(name)) for inst in words]

    async def write(self, ctx: Any, number: int, address: int, vectors: Sequence[Vector]) -> None:
        ctx.set(self.dut.host_mem_en, 1)
        ctx.set(self.dut.host_mem_we, 1)
        ctx.set(self.dut.host_mem_slice, number)
        for i, vector in enumerate(vectors):
            ctx.set(self.dut.host_mem_addr, address + i)
            ctx.set(self.dut.host_wdata, pack(vector))
            await ctx.tick()
        ctx.set(self.dut.host_mem_en, 0)

    async def read(self, ctx: Any, number: int, address: int) -> list[int]:
        ctx.set(self.dut.host_mem_en, 1)
        ctx.set(self.dut.host_mem_we, 0)
        ctx.set(self.dut.host_mem_slice, number)
        ctx.set(self.dut.host_mem_addr, address)
        await ctx.tick()
        ctx.set(self.dut.host_mem_en, 0)
        await ctx.tick().repeat(timing(self.config).host_read - 1)
        return [int(x) for x in unpack(ctx.get(self.dut.host_mem_rdata), self.config.lanes)]

    async def load(self, ctx: Any, texts: Mapping[str, Sequence[int]]) -> None:
        """Write the text of every queue; one that is not named halts."""
        ctx.set(self.dut.host_imem_we, 1)
        for number, queue in enumerate(self.chip.queues):
            halt = [encoding(self.config).encode(instruction("halt"), queue)]
            for address, word in enumerate(texts.get(queue.name, halt)):
                ctx.set(self.dut.host_imem_queue, number)
                ctx.set(self.dut.host_imem_addr, address)
                ctx.set(self.dut.host_wdata, word)
                await ctx.tick()
        ctx.set(self.dut.host_imem_we, 0)

    async def start(self, ctx: Any, count: int = 1) -> Status:
        ctx.set(self.dut.host_reruns, count - 1)
        ctx.set(self.dut.host_start, 1)
        await ctx.tick()
        ctx.set(self.dut.host_start, 0)
        ctx.set(self.dut.host_reruns, 99)
        await ctx.tick()
        assert ctx.get(self.dut.running)
        for _ in range(500):
            await ctx.tick()
            if not ctx.get(self.dut.running):
                break
        else:
            raise TimeoutError("the chip does not halt")
        fault = None
        if ctx.get(self.dut.fault):
            name = self.chip.queues[ctx.get(self.dut.fault_queue)].name
            fault = (name, ctx.get(self.dut.fault_cycle), bool(ctx.get(self.dut.fault_illegal)))
        return Status(ctx.get(self.dut.cycles), fault)

    def play(self, testbench: Any) -> None:
        simulate(self.dut, testbench)


def copy(bench: Bench, source: str, target: str, stream: Stream, at: int, off: int = 0) -> dict[str, dict]:
    """Word 3 of a slice into word 5 of another; the write `off` cycles from when it should be."""
    produced = at + bench.latency(f"{source}.read", "read", "func")
    meets = bench.meets(produced, f"{source}.read", f"{target}.write", "write", stream)
    return {
        f"{source}.read": {at: instruction("read", a=3, d=stream)},
        f"{target}.write": {meets + off: instruction("write", a=5, s=stream)},
    }


def assemble(bench: Bench, schedules: Mapping[str, Mapping[int, Instruction]]) -> dict[str, list[int]]:
    first = next(iter(schedules))
    return {name: bench.text(name, schedule, notifies=name == first) for name, schedule in schedules.items()}


def length(schedules: Mapping[str, Mapping[int, Instruction]]) -> int:
    """Cycles of a program: HALT follows the last dispatch, and takes one."""
    return max(max(schedule) for schedule in schedules.values()) + 2


@pytest.mark.parametrize(
    ("config", "source", "target", "stream"),
    [
        (TINY, "mem_e0", "mem_e3", Stream(Direction.EAST, 6)),
        (TINY, "mem_e3", "mem_e0", Stream(Direction.WEST, 1)),
        (TINY, "mem_e1", "mem_e1", Stream(Direction.WEST, 7)),
        (MIRRORED, "mem_w3", "mem_e2", Stream(Direction.EAST, 2)),
        (MIRRORED, "mem_e2", "mem_w1", Stream(Direction.WEST, 0)),
    ],
)
def test_streams_end_to_end(config: ChipConfig, source: str, target: str, stream: Stream) -> None:
    """A copy as the timing table has it: right word, right length; then a cycle early and late: the exact fault."""
    bench = Bench(config)
    slices = [bench.chip.mem_slices.index(name) for name in (source, target)]
    vector = np.random.default_rng(6).integers(-128, 128, config.lanes)

    async def testbench(ctx: Any) -> None:
        assert ctx.get(bench.dut.digest) == int(config.digest, 16)
        await bench.write(ctx, slices[0], 3, [vector])
        for off in (0, 1, -1):
            await bench.write(ctx, slices[1], 5, [np.zeros(config.lanes)])
            schedules = copy(bench, source, target, stream, at=2, off=off)
            await bench.load(ctx, assemble(bench, schedules))
            sampled = max(schedules[f"{target}.write"]) + bench.latency(f"{target}.write", "write", "skew")
            fault = (f"{target}.write", sampled, False) if off else None
            assert await bench.start(ctx) == Status(length(schedules), fault)
            assert await bench.read(ctx, slices[1], 5) == ([0] * config.lanes if off else vector.tolist())

    bench.play(testbench)


@pytest.mark.parametrize("config", [TINY, MIRRORED, ODD], ids=["tiny", "mirrored", "odd"])
def test_runs_in_a_row(config: ChipConfig) -> None:
    """A word goes round: each run takes it where the one before left it. How long that takes is in the timing table."""
    bench, stream = Bench(config), Stream(Direction.EAST, 1)
    slices = [bench.chip.mem_slices.index(name) for name in ("mem_e0", "mem_e2")]
    first, second = np.random.default_rng(14).integers(-128, 128, (2, config.lanes))

    async def testbench(ctx: Any) -> None:
        schedules = copy(bench, "mem_e0", "mem_e2", stream, at=0)
        # And back: what stood in the other slice comes to where the first run read.
        back = Stream(Direction.WEST, 1)
        meets = bench.meets(bench.latency("mem_e2.read", "read", "func"), "mem_e2.read", "mem_e0.write", "write", back)
        schedules["mem_e2.read"] = {0: instruction("read", a=5, d=back)}
        schedules["mem_e0.write"] = {meets: instruction("write", a=3, s=back)}
        for count in (1, 2, 5):
            await bench.write(ctx, slices[0], 3, [first])
            await bench.write(ctx, slices[1], 5, [second])
            await bench.load(ctx, assemble(bench, schedules))
            cycles = count * length(schedules) + (count - 1) * timing(config).rerun
            assert await bench.start(ctx, count) == Status(cycles, None)
            swapped = [first, second] if count % 2 == 0 else [second, first]
            assert await bench.read(ctx, slices[0], 3) == swapped[0].tolist()
            assert await bench.read(ctx, slices[1], 5) == swapped[1].tolist()

        # A fault in the first run is the last there is; the start after it forgets it.
        write = {"mem_e0.write": {4: instruction("write", a=3, s=back)}}
        await bench.load(ctx, assemble(bench, write))
        fault = ("mem_e0.write", 4 + bench.latency("mem_e0.write", "write", "skew"), False)
        assert await bench.start(ctx, 3) == Status(length(write), fault)
        await bench.load(ctx, assemble(bench, schedules))
        assert await bench.start(ctx) == Status(length(schedules), None)

    bench.play(testbench)


def test_first_fault_is_kept() -> None:
    """Faults in several cycles and queues: the earliest wins, then the lowest queue; the next start forgets it."""
    bench = Bench(TINY)
    stream = Stream(Direction.EAST, 0)
    write = instruction("write", a=1, s=stream)
    skew = TINY.pipeline.dispatch
    names = ["mem_e2.write", "mem_e1.write", "mem_e0.write"]

    async def testbench(ctx: Any) -> None:
        schedules = {name: {cycle: write} for name, cycle in zip(names, (9, 7, 7), strict=True)}
        await bench.load(ctx, assemble(bench, schedules))
        assert await bench.start(ctx) == Status(11, ("mem_e0.write", 7 + skew, False))

        # A word that is illegal in the very cycle in which an operand is missing, and one that is a cycle later.
        texts = assemble(bench, schedules)
        for off, queue in ((0, "mem_e0.read"), (1, "mem_e0.write")):
            texts["mem_e0.read"] = assemble(bench, {"mem_e0.read": {7 + skew + off: instruction("halt")}})[
                "mem_e0.read"
            ]
            texts["mem_e0.read"][0] = encoding(TINY).encode(instruction("sync"), bench.queue("mem_e0.read"))
            texts["mem_e0.read"][2] = 0
            await bench.load(ctx, texts)
            assert await bench.start(ctx) == Status(11, (queue, 7 + skew, queue.endswith("read")))

        await bench.load(ctx, assemble(bench, {"mem_e0.read": {4: instruction("read", a=0, d=stream)}}))
        assert await bench.start(ctx) == Status(6, None)
        assert await bench.start(ctx) == Status(6, None)

    bench.play(testbench)


def test_matrix_product_and_alu() -> None:
    """SRAM through MXM, back through the VXM, into SRAM: every unit but the SXM, every hop in both directions."""
    config, bench = TINY, Bench(TINY)
    rng = np.random.default_rng(8)
    weights, vector = rng.integers(-5, 6, (4, 4)), rng.integers(-5, 6, 4)
    plane = "mxm_e0"
    inward = Stream(Direction.WEST, 4)
    schedules: dict[str, dict[int, Instruction]] = {}

    # All four rows of weights at once, each from its slice.
    hop = bench.queue(f"{plane}.weights").hop
    streams = bench.queue(f"{plane}.weights").consumes
    stands = 12
    for i, stream in enumerate(streams):
        reader = f"mem_e{i}.read"
        dispatch = stands - (hop - bench.queue(reader).hop) - bench.latency(reader, "read", "func")
        schedules[reader] = {dispatch: instruction("read", a=1, d=stream)}
    lw = stands - bench.latency(f"{plane}.weights", "lw", "skew")
    schedules[f"{plane}.weights"] = {lw: instruction("lw", g=0), lw + 1: instruction("iw")}
    abc = lw + 1 + bench.latency(f"{plane}.weights", "iw", "state") - timing(config).weights_used
    entering = abc + bench.latency(f"{plane}.acts", "abc", "skew")
    stream = Stream(Direction.EAST, 5)
    dispatch = entering - (hop - bench.queue("mem_e0.read").hop) - bench.latency("mem_e0.read", "read", "func")
    schedules["mem_e0.read"][dispatch] = instruction("read", a=2, d=stream)
    schedules[f"{plane}.acts"] = {abc: instruction("abc", s=stream)}
    acc = abc + bench.latency(f"{plane}.acts", "abc", "state") - bench.latency(f"{plane}.accs", "acc_set_out", "skew")
    schedules[f"{plane}.accs"] = {acc: instruction("acc_set_out", a=0, d=inward)}
    out = acc + bench.latency(f"{plane}.accs", "acc_set_out", "func")
    add = bench.meets(out, f"{plane}.accs", "vxm.alu0", "iadd", inward)
    word, byte = Operand(Format.WORD, inward), Operand(Format.BYTE, Stream(Direction.EAST, 3))
    schedules["vxm.alu0"] = {add: instruction("iadd", x=word, y=Operand(Format.IMM), d=byte, imm=7)}
    result = add + bench.latency("vxm.alu0", "iadd", "func")
    write = bench.meets(result, "vxm.alu0", "mem_e2.write", "write", Stream(Direction.EAST, 3))
    schedules["mem_e2.write"] = {write: instruction("write", a=9, s=Stream(Direction.EAST, 3))}

    async def testbench(ctx: Any) -> None:
        for i, row in enumerate(weights):
            await bench.write(ctx, i, 1, [row])
        await bench.write(ctx, 0, 2, [vector])
        await bench.load(ctx, assemble(bench, schedules))
        assert await bench.start(ctx) == Status(length(schedules), None)
        expected = (vector @ weights + 7).clip(-128, 127)
        assert await bench.read(ctx, 2, 9) == expected.tolist()

    bench.play(testbench)


def test_text_from_the_streams() -> None:
    """A write that came out of the SRAM of another slice; then the same with a word of text a cycle late."""
    config, bench = TINY, Bench(TINY)
    reader, writer = "mem_e0.read", "mem_e3.write"
    stream, skew = bench.queue(writer).fetches[0], timing(config).fetch.skew
    assert skew is not None
    queue = bench.queue(writer)
    fetched = [instruction("write", a=5, s=stream), instruction("halt")]
    words = [encoding(config).encode(inst, queue) for inst in fetched]
    assert encoding(config).word_vectors(queue.kind) == 1
    vectors = [np.frombuffer(word.to_bytes(config.lanes, "little"), np.int8) for word in words]
    vector = np.random.default_rng(9).integers(-128, 128, config.lanes)
    arrives = (
        3 + bench.latency(reader, "read", "func") + bench.chip.hops_between(stream, bench.queue(reader).hop, queue.hop)
    )
    fetch, late = arrives - skew, 30
    written = late - 4 + arrives - bench.latency(writer, "write", "skew")

    async def testbench(ctx: Any) -> None:
        await bench.write(ctx, 0, 1, [*vectors, vector])
        for off in (0, 1):
            reads = {3: 1, 4 + off: 2, late - 1: 3}
            schedule = {cycle: instruction("read", a=a, d=stream) for cycle, a in reads.items()}
            texts = assemble(bench, {reader: schedule})
            text = bench.text(writer, {fetch: instruction("ifetch", s=stream, a=8, n=2)}, notifies=False)[:-1]
            idle = written - fetch - 1 - (7 - len(text))
            text.append(encoding(config).encode(instruction("nop", n=idle), queue))
            text += [encoding(config).encode(instruction("nop", n=1), queue)] * (8 - len(text))
            texts[writer] = text
            await bench.load(ctx, texts)
            fault = (writer, fetch + skew + 1, False) if off else None
            assert await bench.start(ctx) == Status(written + 2, fault)
            assert await bench.read(ctx, 3, 5) == vector.tolist()

    bench.play(testbench)


def test_the_chip_runs_while_text_is_fetched() -> None:
    """Every queue has halted, and then nothing comes for forty cycles: the last of them is a fault, too."""
    config, bench = TINY, Bench(TINY)
    name = "mem_e3.write"
    stream, skew = bench.queue(name).fetches[0], timing(config).fetch.skew
    assert skew is not None

    async def testbench(ctx: Any) -> None:
        await bench.load(ctx, assemble(bench, {name: {2: instruction("ifetch", s=stream, a=8, n=40)}}))
        assert await bench.start(ctx) == Status(4, (name, 2 + skew, False))
        assert ctx.get(bench.dut.faults) == 40

    bench.play(testbench)


@pytest.mark.parametrize("notify", [1, 4])
def test_cycle_0_follows_notify_as_the_timing_table_says(notify: int) -> None:
    """An illegal word in the place of NOTIFY tells when that would have been dispatched."""
    bench = Bench(dataclasses.replace(TINY, pipeline=PipelineConfig(notify=notify)))

    async def testbench(ctx: Any) -> None:
        texts = assemble(bench, {"mem_e2.read": {20: instruction("halt")}})
        # Both outputs are as late: `cycles` becomes 1 as a fault in cycle 0 would be seen.
        waited = []
        for first, seen in ((texts["mem_e2.read"][0], bench.dut.cycles), (0, bench.dut.fault)):
            texts["mem_e2.read"][0] = first
            await bench.load(ctx, texts)
            ctx.set(bench.dut.host_start, 1)
            await ctx.tick()
            ctx.set(bench.dut.host_start, 0)
            await ctx.tick()
            waited.append(0)
            while ctx.get(seen) != 1:
                waited[-1] += 1
                await ctx.tick()
            while ctx.get(bench.dut.running):
                await ctx.tick()
        assert waited[0] - waited[1] == notify

    bench.play(testbench)


@pytest.mark.parametrize("config", [TINY, OWN, NARROW, MIRRORED, ODD], ids=["tiny", "own", "narrow", "mirrored", "odd"])
def test_an_access_a_cycle(config: ChipConfig) -> None:
    """All words and the text of a program that halts, in any order, and a word written is read in the cycle after."""
    bench, rng = Bench(config), random.Random(12)
    latency, slices = timing(config).host_read, len(bench.chip.mem_slices)
    places = [(number, address) for number in range(slices) for address in range(config.mem_words)]
    texts = [(n, encoding(config).encode(instruction("halt"), queue)) for n, queue in enumerate(bench.chip.queues)]
    kinds = ["write"] * len(places) + ["text"] * len(texts)
    for order in (places, texts, kinds):
        rng.shuffle(order)

    async def testbench(ctx: Any) -> None:
        dut, cycle = bench.dut, 0
        memory: dict[tuple[int, int], int] = {}
        due: dict[int, int] = {}

        async def access(kind: str, place: tuple[int, int], text: int = 0) -> None:
            nonlocal cycle
            word = text if kind == "text" else rng.getrandbits(len(dut.host_wdata))
            ctx.set(dut.host_mem_en, kind in ("write", "read"))
            ctx.set(dut.host_mem_we, kind != "read")
            ctx.set(dut.host_imem_we, kind == "text")
            ctx.set(dut.host_mem_slice, place[0])
            ctx.set(dut.host_mem_addr, place[1])
            ctx.set(dut.host_wdata, word)
            if kind == "write":
                memory[place] = word & (1 << 8 * config.lanes) - 1
            if kind == "read":
                due[cycle + latency] = memory[place]
            if cycle in due:
                assert ctx.get(dut.host_mem_rdata) == due[cycle]
            await ctx.tick()
            cycle += 1

        for kind in kinds:
            if kind == "text":
                queue, word = texts.pop()
                ctx.set(dut.host_imem_queue, queue)
                await access("text", rng.choice(places), word)
            else:
                place = places[len(memory)]
                await access("write", place)
                if rng.random() < 0.5:
                    await access("read", place)
        for place in places:
            await access("read", place)
        for _ in range(latency):
            await access("none", places[0])
        assert await bench.start(ctx) == Status(0, None)

    bench.play(testbench)


@pytest.mark.parametrize("name", ["mem_w3", "mem_e0", "mem_e3"])
def test_a_start_right_behind_a_write(name: str) -> None:
    """Queues that do not wait for each other read the word as early as can be."""
    config = dataclasses.replace(MIRRORED, slices_per_hop=1)
    bench, stream = Bench(config), Stream(Direction.WEST, 3)
    vector = np.random.default_rng(13).integers(-128, 128, config.lanes)
    meets = bench.meets(bench.latency(f"{name}.read", "read", "func"), f"{name}.read", f"{name}.write", "write", stream)
    texts = {
        f"{name}.read": [instruction("read", a=3, d=stream), instruction("halt")],
        f"{name}.write": [instruction("nop", n=meets), instruction("write", a=5, s=stream), instruction("halt")],
    }
    words = {queue: [encoding(config).encode(i, bench.queue(queue)) for i in text] for queue, text in texts.items()}

    async def testbench(ctx: Any) -> None:
        await bench.load(ctx, words)
        await bench.write(ctx, bench.chip.mem_slices.index(name), 3, [vector])
        assert await bench.start(ctx) == Status(0, None)
        assert await bench.read(ctx, bench.chip.mem_slices.index(name), 5) == vector.tolist()

    bench.play(testbench)


def test_the_host_waits_while_the_chip_runs() -> None:
    bench = Bench(TINY)
    vector = np.arange(TINY.lanes)

    async def testbench(ctx: Any) -> None:
        await bench.write(ctx, 1, 4, [vector])
        await bench.load(ctx, assemble(bench, {"mem_e0.read": {30: instruction("halt")}}))
        ctx.set(bench.dut.host_start, 1)
        await ctx.tick()
        ctx.set(bench.dut.host_start, 0)
        await ctx.tick()
        await bench.write(ctx, 1, 4, [vector + 1])
        assert ctx.get(bench.dut.running)
        while ctx.get(bench.dut.running):
            await ctx.tick()
        assert ctx.get(bench.dut.cycles) == 31
        assert await bench.read(ctx, 1, 4) == vector.tolist()

    bench.play(testbench)


def test_a_chip_too_wide_to_elaborate_is_refused() -> None:
    with pytest.raises(ValueError, match="config field 'lanes': 320 are more than the 64"):
        Chip(config=TSP1)
