# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Instruction queues in Amaranth's simulator against an expansion of their programs, dispatch for dispatch."""

import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import EncodingError, encoding
from openlpu.arch.geometry import Direction, Queue, Stream, geometry
from openlpu.arch.isa import Instruction, instruction
from openlpu.arch.presets import NANO, ULX3S
from openlpu.hdl.decode import Decoder
from openlpu.hdl.icu import InstructionQueue

QUEUES = geometry(NANO).by_name


@dataclass
class Run:
    """What a queue did; cycles count from cycle 0 of the program."""

    dispatches: list[tuple[int, int]] = field(default_factory=list)
    halted: int | None = None
    illegal: list[int] = field(default_factory=list)


def simulate(queue: Queue, words: list[int], cycles: int, released: int = 9) -> Run:
    """Start `words`, release the barrier in cycle `released` of the bench, and watch for `cycles` after."""
    dut = InstructionQueue(config=NANO, queue=queue)
    run = Run()

    async def bench(ctx: Any) -> None:
        for address, word in enumerate(words):
            ctx.set(dut.text.en, 1)
            ctx.set(dut.text.address, address)
            ctx.set(dut.text.data, word)
            await ctx.tick()
        ctx.set(dut.text.en, 0)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        for cycle in range(released + cycles):
            ctx.set(dut.release, cycle == released)
            if ctx.get(dut.issue.valid):
                run.dispatches.append((cycle - released - 2, ctx.get(dut.issue.word)))
            if ctx.get(dut.halted) and run.halted is None:
                run.halted = cycle - released - 2
            if ctx.get(dut.illegal):
                run.illegal.append(cycle - released - 2)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return run


def expand(queue: Queue, text: list[Instruction]) -> tuple[list[tuple[int, int]], int]:
    """Dispatches (cycle, word) of a text after its SYNC, and the cycle of its HALT."""
    dispatches: list[tuple[int, int]] = []
    cycle, last = 0, None
    for inst in text:
        match inst.spec.mnemonic:
            case "halt":
                return dispatches, cycle
            case "nop":
                cycle += inst.number("n")
            case "repeat":
                assert last is not None
                for _ in range(inst.number("n")):
                    last = last.advanced(inst.number("step"))
                    cycle += inst.number("gap")
                    dispatches.append((cycle - 1, encoding(NANO).encode(last, queue)))
            case _:
                last = inst
                dispatches.append((cycle, encoding(NANO).encode(last, queue)))
                cycle += 1
    raise AssertionError("no HALT")


def random_text(rng: random.Random, queue: Queue, length: int) -> list[Instruction]:
    """Unit instructions, NOPs and REPEATs whose addresses stay in range."""
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
            text.append(last)
    return [*text, instruction("halt")]


@pytest.mark.parametrize("name", ["mem_e1.read", "mxm_e0.accs", "mxm_e0.weights", "mxm_e0.acts"])
@pytest.mark.parametrize("seed", range(3))
def test_dispatches(name: str, seed: int) -> None:
    queue = QUEUES[name]
    text = random_text(random.Random(f"{name} {seed}"), queue, 60)
    dispatches, halt = expand(queue, text)
    words = [encoding(NANO).encode(inst, queue) for inst in (instruction("sync"), *text)]
    run = simulate(queue, words, halt + 20)
    assert run == Run(dispatches, halt, []), f"seed {name} {seed}"


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
    """No opcode, an unknown one, a NOP of no cycles, IFETCH, and a HALT with spare bits set."""
    queue = QUEUES["mem_e0.read"]
    read = encoding(NANO).encode(instruction("read", a=5, d=Stream(Direction.EAST, 0)), queue)
    sync = encoding(NANO).encode(instruction("sync"), queue)
    assert simulate(queue, [sync, read, word, read], 30) == Run([(0, read)], 1, [1])


def test_repeat_of_nothing_is_illegal() -> None:
    queue = QUEUES["mem_e0.read"]
    words = [encoding(NANO).encode(i, queue) for i in (instruction("sync"), instruction("repeat", n=2, gap=3))]
    assert simulate(queue, words, 30) == Run([], 0, [0])


@pytest.mark.parametrize("config", [NANO, ULX3S], ids=lambda config: config.name)
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
        for k in range(400):
            opcode = rng.choice([layout.spec.opcode for layout in enc.layouts[queue.kind]])
            value = opcode | rng.getrandbits(bits) & ~63
            samples.append(value & (1 << (bits, rng.randint(6, bits), max(6, bits - 32))[k % 3]) - 1)
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
            try:
                expected = enc.decode(value, queue).spec.implemented
            except EncodingError:
                expected = False
            assert answer == expected, f"{queue.name}: {value:#x}"
        assert 0 < sum(answers) < len(answers)
