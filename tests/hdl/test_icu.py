# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Instruction queues in Amaranth's simulator against an expansion of their programs, dispatch for dispatch."""

import dataclasses
import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from openlpu.arch.config import AluConfig, ChipConfig, OpClass, PipelineConfig, Source
from openlpu.arch.encoding import EncodingError, encoding
from openlpu.arch.geometry import Direction, Queue, QueueKind, Stream, geometry
from openlpu.arch.isa import IMMEDIATE, Format, Instruction, Operand, instruction
from openlpu.arch.presets import NANO, ULX3S
from openlpu.arch.timing import timing
from openlpu.hdl.decode import Decoder
from openlpu.hdl.icu import InstructionQueue, release_registers, tapped, text_streams
from openlpu.verif.odd_configs import UNEVEN

QUEUES = geometry(NANO).by_name
BARRIER = release_registers(NANO) + 2
"""From the release to cycle 0."""


@dataclass
class Run:
    """What a queue did; cycles count from cycle 0 of the program."""

    dispatches: list[tuple[int, int]] = field(default_factory=list)
    halted: int | None = None
    illegal: list[int] = field(default_factory=list)


async def write(ctx: Any, dut: Any, config: ChipConfig, queue: Queue, address: int, word: int) -> None:
    """Write a word of text as the host does, in one cycle."""
    streams, bits = tapped(config, queue), 8 * config.lanes
    for piece, stream in enumerate(text_streams(config, queue)):
        ctx.set(dut.text_taps[streams.index(stream)].data, word >> piece * bits & (1 << bits) - 1)
    ctx.set(dut.text.address, address)
    ctx.set(dut.text.en, 1)
    await ctx.tick()
    ctx.set(dut.text.en, 0)


def simulate(queue: Queue, words: list[int], cycles: int, released: int = 9) -> Run:
    """Start `words`, release the barrier in cycle `released` of the bench, and watch for `cycles` after."""
    dut = InstructionQueue(config=NANO, queue=queue)
    run = Run()

    async def bench(ctx: Any) -> None:
        for address, word in enumerate(words):
            await write(ctx, dut, NANO, queue, address, word)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        for cycle in range(released + cycles):
            ctx.set(dut.release, cycle == released)
            if ctx.get(dut.issue.valid):
                run.dispatches.append((cycle - released - BARRIER, ctx.get(dut.issue.word)))
            if ctx.get(dut.halted) and run.halted is None:
                run.halted = cycle - released - BARRIER
            if ctx.get(dut.illegal):
                run.illegal.append(cycle - released - BARRIER)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return run


def issued(queue: Queue, inst: Instruction) -> int:
    """What a queue puts out of an instruction's word."""
    codec = encoding(NANO)
    return codec.encode(inst, queue) & (1 << codec.issue_bits(queue.kind)) - 1


def expand(queue: Queue, text: list[Instruction]) -> tuple[list[tuple[int, int]], int]:
    """Dispatches (cycle, word) of a text after its SYNC, and the cycle of its HALT."""
    dispatches: list[tuple[int, int]] = []
    cycle = 0
    last: Instruction | None = None

    def again(n: int, gap: int, step: int) -> None:
        nonlocal cycle, last
        assert last is not None
        for _ in range(n):
            last = encoding(NANO).advanced(last, step)
            cycle += gap
            dispatches.append((cycle - 1, issued(queue, last)))

    for inst in text:
        match inst.spec.mnemonic:
            case "halt":
                return dispatches, cycle
            case "nop":
                cycle += inst.number("n")
            case "repeat":
                again(inst.number("n"), inst.number("gap"), inst.number("step"))
            case _:
                last = inst
                dispatches.append((cycle, issued(queue, last)))
                cycle += 1
                if inst.spec.tail:
                    again(inst.number("again"), inst.number("gap"), inst.number("step") if inst.spec.stride else 0)
                    cycle += inst.number("wait")
    raise AssertionError("no HALT")


def random_text(rng: random.Random, queue: Queue, length: int) -> list[Instruction]:
    """Unit instructions, NOPs and REPEATs whose addresses stay in range; half of the first say what follows them."""
    limits = {"read": NANO.mem_words, "acc_add": NANO.acc_depth, "lw": NANO.lanes // NANO.weight_streams}
    text: list[Instruction] = []
    last: Instruction | None = None
    for _ in range(length):
        kind = rng.choice(("unit", "nop", "repeat", "repeat"))
        if kind == "nop":
            text.append(instruction("nop", n=rng.choice((1, 1, 2, 3, rng.randint(1, 40)))))
        elif kind == "repeat" and last is not None:
            n, step = rng.choice((1, 1, 2, 5)), 0
            if last.spec.stride is not None:
                address = last.number(last.spec.stride)
                step = rng.randint(-3, 3)
                if not 0 <= address + n * step < limits[last.spec.mnemonic]:
                    step = 0
            text.append(instruction("repeat", n=n, gap=rng.choice((1, 1, 2, rng.randint(1, 9))), step=step))
            last = last.advanced(n * step)
        else:
            if queue.name.endswith("read"):
                stream = Stream(rng.choice(list(Direction)), rng.randrange(NANO.streams))
                last = instruction("read", a=rng.randrange(NANO.mem_words), d=stream)
            elif queue.name.endswith("accs"):
                last = instruction("acc_add", a=rng.randrange(NANO.acc_depth))
            elif queue.name.endswith("weights"):
                last = rng.choice((instruction("lw", g=0), instruction("iw")))
            else:
                last = instruction("abc", s=Stream(Direction.EAST, rng.randrange(NANO.streams)))
            if rng.random() < 0.5:
                last = followed(rng, last, limits)
            text.append(last)
            if last.spec.stride is not None:
                last = encoding(NANO).advanced(last, last.number("step") * last.number("again"))
    return [*text, instruction("halt")]


def followed(rng: random.Random, inst: Instruction, limits: dict[str, int]) -> Instruction:
    """An instruction that says what follows, as often as not nothing of a kind; its address stays in range."""
    again, gap, step = rng.choice((0, 1, 2, 3, 15)), rng.randint(1, 4), rng.randint(0, 1)
    if inst.spec.stride == "a" and inst.number("a") + again >= limits[inst.spec.mnemonic]:
        again = 0
    return inst.followed_by(again=again, gap=gap, step=step, wait=rng.choice((0, 0, 1, 2, rng.randint(3, 127))))


@pytest.mark.parametrize("name", ["mem_e1.read", "mxm_e0.accs", "mxm_e0.weights", "mxm_e0.acts"])
@pytest.mark.parametrize("seed", range(3))
def test_dispatches(name: str, seed: int) -> None:
    queue = QUEUES[name]
    text = random_text(random.Random(f"{name} {seed}"), queue, 60)
    dispatches, halt = expand(queue, text)
    words = [encoding(NANO).encode(inst, queue) for inst in (instruction("sync"), *text)]
    run = simulate(queue, words, halt + 20)
    assert run == Run(dispatches, halt, []), f"seed {name} {seed}"


def test_an_instruction_says_what_follows_it() -> None:
    """The worked example of the instruction set, three times: in one word, in three, and in one before a REPEAT."""
    queue = QUEUES["mem_e0.read"]
    read = instruction("read", a=5, d=Stream(Direction.EAST, 0))
    followed = read.followed_by(again=7, step=1, wait=12)
    text = [followed, read, instruction("repeat", n=7, step=1), instruction("nop", n=12), followed]
    text += [instruction("repeat", n=1, gap=2, step=-3), instruction("halt")]
    reads = [*range(5, 13)]
    expected = [(first + k, a) for first in (0, 20, 40) for k, a in enumerate(reads)] + [(61, 9)]
    words = [encoding(NANO).encode(inst, queue) for inst in (instruction("sync"), *text)]
    run = simulate(queue, words, 90)
    assert [(cycle, word >> 6 & 63) for cycle, word in run.dispatches] == expected
    assert (run.dispatches, 62) == expand(queue, text)
    assert (run.halted, run.illegal) == (62, [])


def test_nothing_follows_what_is_illegal() -> None:
    """Though it would say so: no opcode, an unknown one, and an instruction with an operand that it cannot have."""
    queue = QUEUES["mxm_e0.accs"]
    codec = encoding(NANO)
    sync, add = (codec.encode(inst, queue) for inst in (instruction("sync"), instruction("acc_add", a=1, again=2)))
    tail = codec.encode(instruction("acc_add", a=0, again=3, wait=9), queue) & ~63
    out = instruction("acc_out", a=0, d=Stream(Direction.WEST, 0), again=3, wait=9)
    unaligned = codec.encode(out, queue) | 1 << codec.layout(out.spec, queue.kind).slots[1].lsb + 1
    for word in (tail, tail | 63, unaligned):
        run = simulate(queue, [sync, add, word, add], 40)
        dispatches, _ = expand(queue, [instruction("acc_add", a=1, again=2), instruction("halt")])
        assert run == Run(dispatches, 3, [3])


def test_repeat_advances_the_instruction_before_a_nop() -> None:
    """The worked example of the interface: READ at 0, NOP 3, and REPEAT at the head in 4."""
    queue = QUEUES["mem_e0.read"]
    read = instruction("read", a=5, d=Stream(Direction.EAST, 0))
    text = [read, instruction("nop", n=3), instruction("repeat", n=2, gap=2, step=-1), instruction("halt")]
    dispatches, halt = expand(queue, text)
    assert ([cycle for cycle, _ in dispatches], halt) == ([0, 5, 7], 8)
    words = [encoding(NANO).encode(inst, queue) for inst in (instruction("sync"), *text)]
    assert simulate(queue, words, 30) == Run(dispatches, halt, [])


@pytest.mark.parametrize("word", [0, 7, 63, 1, 6, 1 << 20 | 5])
def test_illegal_word_stops_the_queue(word: int) -> None:
    """No opcode, an unknown one, a NOP of no cycles, an IFETCH of no words, and a HALT with spare bits set."""
    queue = QUEUES["mem_e0.read"]
    read = encoding(NANO).encode(instruction("read", a=5, d=Stream(Direction.EAST, 0)), queue)
    sync = encoding(NANO).encode(instruction("sync"), queue)
    assert simulate(queue, [sync, read, word, read], 30) == Run([(0, read)], 1, [1])


def test_repeat_of_nothing_is_illegal() -> None:
    queue = QUEUES["mem_e0.read"]
    words = [encoding(NANO).encode(i, queue) for i in (instruction("sync"), instruction("repeat", n=2, gap=3))]
    assert simulate(queue, words, 30) == Run([], 0, [0])


MIRRORED = dataclasses.replace(
    NANO,
    name="mirrored",
    hemispheres=2,
    mem_words=37,
    acc_depth=5,
    act_depth=3,
    imem_words=37,
    alus=(AluConfig(classes=(OpClass.INT,), writes=False), AluConfig(classes=(OpClass.INT,))),
)


AROUND = dataclasses.replace(NANO, name="around", lanes=9, weight_streams=3)
"""Three row groups: fewer steps than their bits make. And three weight streams, among which nothing is dealt out."""


def is_legal(config: ChipConfig, queue: Queue, word: int) -> bool:
    """As the decoder in software has it."""
    try:
        return encoding(config).decode(word, queue).spec.implemented
    except EncodingError:
        return False


@pytest.mark.parametrize("config", [NANO, ULX3S, MIRRORED, UNEVEN, AROUND], ids=lambda config: config.name)
def test_legal_words_are_those_that_decode(config: ChipConfig) -> None:
    """The decoder in gates against the decoder in software, on random words with a bias to legal ones."""
    rng = random.Random(config.name)
    kinds = {queue.kind: queue for queue in geometry(config).queues}
    for queue in (*kinds.values(), *geometry(config).of_kind(next(iter(kinds)))):
        enc = encoding(config)
        bits = enc.word_bits(queue.kind)
        m, word, legal = Module(), Signal(bits), Signal()
        m.d.comb += legal.eq(Decoder(config, queue, word).legal)
        samples = []
        for _ in range(400):
            layout = rng.choice(enc.layouts[queue.kind])
            value = layout.spec.opcode | rng.getrandbits(bits) & ~63
            samples.append(value & (1 << rng.choice((bits, rng.randint(6, bits), max(6, bits - 32)))) - 1)
        walk = [value for value in samples if is_legal(config, queue, value)]
        walk.append(enc.encode(instruction("ifetch", s=queue.fetches[0], a=0, n=1), queue))
        if queue.kind is QueueKind.VXM:  # which hardly a random word is
            immediate = Source.IMMEDIATE in geometry(config).operand_sources(queue.index, "x")
            x = IMMEDIATE if immediate else Operand(Format.ALU, geometry(config).alu_sources(queue.index)[0])
            walk.append(enc.encode(instruction("pass", x=x), queue))
        for _ in range(800):  # from one legal word to the next, a field at a time
            value = rng.choice(walk)
            layout = next(layout for layout in enc.layouts[queue.kind] if layout.spec.opcode == value & 63)
            if layout.slots:
                slot = rng.choice(layout.slots)
                value ^= rng.getrandbits(slot.width) << slot.lsb
                samples.append(value)
                walk += [value] * is_legal(config, queue, value)
        answers: list[int] = []

        async def bench(
            ctx: Any, samples: list[int] = samples, answers: list[int] = answers, word: Any = word, legal: Any = legal
        ) -> None:
            for value in samples:
                ctx.set(word, value)
                answers.append(ctx.get(legal))

        simulator = Simulator(m)
        simulator.add_testbench(bench)
        simulator.run()
        for value, answer in zip(samples, answers, strict=True):
            assert answer == is_legal(config, queue, value), f"{queue.name}: {value:#x}"
        assert 0 < sum(answers) < len(answers)


# --- IFETCH ---

TEXT = Stream(Direction.EAST, 0)
"""A stream that `mem_e0.read` may fetch from."""


@dataclass
class Fetched(Run):
    """Also: cycles in which a vector of text was missed, and the last in which the queue fetched."""

    missed: list[int] = field(default_factory=list)
    fetching: list[int] = field(default_factory=list)


def fetch(
    config: ChipConfig, queue: Queue, words: list[int], text: dict[int, tuple[Stream, int]], cycles: int
) -> Fetched:
    """Run `words`, with vectors of text on streams by cycle of the program; elsewhere is noise that is not valid."""
    dut: Any = InstructionQueue(config=config, queue=queue)
    run = Fetched()
    rng = random.Random(3)
    late = timing(config).text_tap

    async def bench(ctx: Any) -> None:
        for address in range(queue.text_words):
            await write(ctx, dut, config, queue, address, words[address] if address < len(words) else 0)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        await ctx.tick().repeat(6)
        ctx.set(dut.release, 1)
        await ctx.tick()
        ctx.set(dut.release, 0)
        await ctx.tick().repeat(BARRIER - 1)
        for cycle in range(cycles):
            # What stands on a stream comes to the taps later.
            stream, vector = text.get(cycle - late, (None, 0))
            for tap, standing in zip(dut.text_taps, tapped(config, queue), strict=True):
                ctx.set(tap.valid, standing == stream)
                ctx.set(tap.data, vector if standing == stream else rng.getrandbits(8 * config.lanes))
            if ctx.get(dut.issue.valid):
                run.dispatches.append((cycle, ctx.get(dut.issue.word)))
            if ctx.get(dut.halted) and run.halted is None:
                run.halted = cycle
            if ctx.get(dut.illegal):
                run.illegal.append(cycle)
            if ctx.get(dut.fetch_empty):
                run.missed.append(cycle - late - 1)
            if ctx.get(dut.fetching):
                run.fetching.append(cycle - late)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return run


def vectors_of(config: ChipConfig, queue: Queue, words: list[int]) -> list[int]:
    """What a stream carries of words: pieces as wide as a vector, the least significant first, the last filled with
    ones."""
    pieces, bits = encoding(config).word_vectors(queue.kind), 8 * config.lanes
    padding = -1 << encoding(config).word_bits(queue.kind)
    return [(word | padding) >> bits * piece & (1 << bits) - 1 for word in words for piece in range(pieces)]


SHORT = dataclasses.replace(NANO, imem_words=8)
NARROW = dataclasses.replace(NANO, lanes=2, weight_streams=2, imem_words=11, pipeline=PipelineConfig(dispatch=2))
EAGER = dataclasses.replace(NANO, imem_words=9, pipeline=PipelineConfig(dispatch=0))
FETCHING = pytest.mark.parametrize("config", [SHORT, NARROW, EAGER], ids=["short", "narrow", "eager"])


def unit_instruction(queue: Queue, a: int) -> Instruction:
    match queue.kind:
        case QueueKind.MEM_READ:
            return instruction("read", a=a, d=TEXT)
        case QueueKind.VXM:
            return instruction("pass", x=IMMEDIATE, imm=a * 0x01020304)
        case _:
            return instruction("acc_set", a=a)


@FETCHING
@pytest.mark.parametrize("name", ["mem_e0.read", "vxm.alu0", "mxm_e0.accs"])
@pytest.mark.parametrize("early", [0, 1])
def test_text_is_fetched_just_in_time(config: ChipConfig, name: str, early: int) -> None:
    """The last word is written just before it is read, as the timing table has it; a cycle earlier the old one is read.

    The words reach over the end of the memory: HALT is fetched to address 0, where SYNC was.
    """
    queue = geometry(config).by_name[name]
    table, enc = timing(config), encoding(config)
    assert table.fetch.skew is not None
    assert table.fetch.state is not None
    units = [enc.encode(unit_instruction(queue, a), queue) for a in (1, 2, 3)]
    fetched = [*units, enc.encode(instruction("halt"), queue)]
    pieces, at, stream = enc.word_vectors(queue.kind), queue.text_words - 3, queue.fetches[-1]
    ready = table.fetch.state + len(fetched) * pieces - 1
    # HALT is read `text_ahead` before the second of the units dispatches.
    first = ready - early + table.text_ahead - 1
    idle = at - 3
    text = [
        instruction("sync"),
        instruction("ifetch", s=stream, a=at, n=len(fetched)),
        instruction("nop", n=first - 1 - idle),
        *[instruction("nop", n=1)] * idle,
    ]
    vectors = {table.fetch.skew + k: (stream, v) for k, v in enumerate(vectors_of(config, queue, fetched))}
    run = fetch(config, queue, [enc.encode(inst, queue) for inst in text], vectors, first + 20)
    dispatches = [(first + k, word) for k, word in enumerate(units)]
    if not early:
        expected = Fetched(dispatches, first + 3, [], [], sorted(vectors))
    elif pieces > 1:
        expected = Fetched(dispatches, None, [], [], sorted(vectors))
    else:  # words come as fast as they are read, so the first is too late as well
        expected = Fetched([], first, [first], [], sorted(vectors))
    assert run == expected


@FETCHING
def test_fetches_follow_each_other(config: ChipConfig) -> None:
    """The next IFETCH as soon as the one before is done, from the other stream; a REPEAT between them sees neither."""
    config = dataclasses.replace(config, imem_words=10)
    queue = geometry(config).by_name["vxm.alu0"]
    table, enc = timing(config), encoding(config)
    assert table.fetch.skew is not None
    words = [enc.encode(unit_instruction(queue, a), queue) for a in (1, 2)]
    fetched = [words[1], enc.encode(instruction("halt"), queue)]
    pieces = enc.word_vectors(queue.kind)
    east, west = queue.fetches
    text = [
        instruction("sync"),
        unit_instruction(queue, 1),
        instruction("ifetch", s=west, a=8, n=1),
        instruction("repeat", n=1, gap=pieces - 1),
        instruction("ifetch", s=east, a=9, n=1),
        instruction("nop", n=20),
        *[instruction("nop", n=1)] * 2,
    ]
    vectors = {}
    for dispatch, stream, word in ((1, west, fetched[0]), (1 + pieces, east, fetched[1])):
        for k, vector in enumerate(vectors_of(config, queue, [word])):
            vectors[dispatch + table.fetch.skew + k] = (stream, vector)
    run = fetch(config, queue, [enc.encode(inst, queue) for inst in text], vectors, 60)
    end = 2 + pieces + 22
    assert run == Fetched([(0, words[0]), (pieces, words[0]), (end, words[1])], end + 1, [], [], sorted(vectors))


def test_missing_text_is_a_fault() -> None:
    """In the cycle in which a vector should have been sampled, also when the queue has halted long before."""
    queue = QUEUES["vxm.alu0"]
    enc = encoding(NANO)
    stream = queue.fetches[0]
    text = [instruction("sync"), instruction("ifetch", s=stream, a=20, n=3), instruction("halt")]
    vectors = {1 + k: (stream, v) for k, v in enumerate(vectors_of(NANO, queue, [5, 5, 5]))}
    del vectors[2]
    vectors[5] = (queue.fetches[-1], 0)
    run = fetch(NANO, queue, [enc.encode(inst, queue) for inst in text], vectors, 30)
    assert run == Fetched([], 1, [], [2, 5], list(range(1, 10)))
