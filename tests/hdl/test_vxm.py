# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The VXM in Amaranth's simulator: what it puts out, and in which cycle, against numpy and the timing table."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator
from numpy.typing import NDArray

from openlpu.arch import numerics
from openlpu.arch.config import GROUP, AluConfig, ChipConfig, OpClass, PipelineConfig, Source
from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import Direction, Queue, QueueKind, Stream, geometry
from openlpu.arch.isa import (
    BY_MNEMONIC,
    IMMEDIATE,
    NOTHING,
    Format,
    Instruction,
    Operand,
    Spec,
    for_kind,
    instruction,
)
from openlpu.arch.presets import NANO
from openlpu.arch.timing import Latency, timing
from openlpu.hdl.alu import LaneAlu, operation
from openlpu.hdl.vxm import Vxm

SEED = 20261124
INT, MASK, I2F, F2I, FADD, FMUL, IMUL, SPECIAL = OpClass
BYTE, WORD, CHAIN, IMMEDIATE_SOURCE = Source
NEAR = (0, 1, 2)
Words = NDArray[np.int32]
Bytes = NDArray[np.int8]

SHALLOW = dataclasses.replace(
    NANO,
    name="shallow",
    lanes=3,
    hemispheres=2,
    streams=4,
    weight_streams=3,
    alus=(
        AluConfig(classes=(INT, MASK), chain=NEAR),
        AluConfig(classes=(FMUL, I2F, F2I), x=(CHAIN, IMMEDIATE_SOURCE), y=(CHAIN, IMMEDIATE_SOURCE), chain=NEAR),
        AluConfig(classes=(FADD, MASK, SPECIAL), y=(WORD, CHAIN, IMMEDIATE_SOURCE), chain=NEAR),
        AluConfig(classes=(I2F, F2I), chain=NEAR, writes=False),
        AluConfig(classes=(FMUL, IMUL, I2F, F2I), y=(WORD,), chain=NEAR),
    ),
    pipeline=PipelineConfig(
        dispatch=0, alu_int=1, alu_mask=1, alu_i2f=1, alu_f2i=1, alu_fadd=2, alu_fmul=3, alu_imul=3, alu_special=1
    ),
)
DEEP = dataclasses.replace(
    NANO,
    name="deep",
    lanes=2,
    weight_streams=2,
    alus=(
        AluConfig(classes=(FADD, FMUL, IMUL, I2F, F2I, INT)),
        AluConfig(classes=(I2F, F2I, SPECIAL)),
        AluConfig(classes=(INT, MASK)),
    ),
    pipeline=PipelineConfig(dispatch=2, alu_int=4, alu_i2f=7, alu_f2i=6, alu_fadd=9, alu_fmul=5, alu_special=5),
)
TURNS = dataclasses.replace(
    NANO,
    name="turns",
    lanes=6,
    weight_streams=2,
    alus=(*NANO.alus[:-1], AluConfig(classes=(SPECIAL, INT))),
    special_turns=3,
    pipeline=PipelineConfig(alu_special=2),
)
SHARED = dataclasses.replace(
    TURNS,
    name="shared",
    alus=DEEP.alus,
    special_turns=2,
    pipeline=dataclasses.replace(DEEP.pipeline, dispatch=4, outputs=1),
)
"""As deep as another class, and far away."""
CONFIGS = pytest.mark.parametrize("config", [NANO, SHALLOW, DEEP, TURNS, SHARED], ids=lambda config: config.name)

MEANING: Mapping[str, Callable[[Words, Words], Words]] = {
    "pass": lambda x, y: x,
    "iadd": numerics.int32_add,
    "isub": numerics.int32_sub,
    "imax": numerics.int32_max,
    "imin": numerics.int32_min,
    "ilt": numerics.int32_lt,
    "ile": numerics.int32_le,
    "ieq": numerics.int32_eq,
    "and": lambda x, y: x & y,
    "or": lambda x, y: x | y,
    "xor": lambda x, y: x ^ y,
    "i2f": numerics.int32_to_fp32,
    "f2i": numerics.fp32_to_int32,
    "fadd": numerics.fp32_add,
    "fsub": numerics.fp32_sub,
    "fmax": numerics.fp32_max,
    "fmin": numerics.fp32_min,
    "flt": numerics.fp32_lt,
    "fle": numerics.fp32_le,
    "feq": numerics.fp32_eq,
    "fmul": numerics.fp32_mul,
    "imul": numerics.int32_mul,
    "exp": lambda x, y: numerics.fp32_exp(x),
    "recip": lambda x, y: numerics.fp32_recip(x),
    "rsqrt": lambda x, y: numerics.fp32_rsqrt(x),
    "tanh": lambda x, y: numerics.fp32_tanh(x),
}

SPECS = [spec for spec in for_kind(QueueKind.VXM) if not spec.control and spec.implemented]

_FLOATS = [s | p for s in (0, 1 << 31) for p in (0, 1, 0x7F_FFFF, 0x80_0000, 0x3F80_0000, 0x3F00_0000, 0x4EFF_FFFF)]
_EXTREMES = [0x7F7F_FFFF, 0x7F80_0000, 0xFF80_0000, 0x7FC0_0000, 0x7F80_0001, 0x4F00_0000, 0xCF00_0000]
_INTEGERS = [0x7FFF_FFFF, 0xFFFF_FFFF, 127, 128, -128 & 0xFFFF_FFFF, -129 & 0xFFFF_FFFF, 255, 256, 0xFFFF_FF00]
CORNERS = np.array([*_FLOATS, *_EXTREMES, *_INTEGERS], np.uint32).view(np.int32)


# --- stimulus, bench and reference ---


@dataclass(frozen=True)
class Issue:
    cycle: int
    alu: int
    instruction: Instruction


@dataclass
class Outcome:
    """By cycle and ALU: vectors on the drives (None: any vector), and cycles in which `empty` is set."""

    drives: dict[tuple[int, int, Stream], list[int] | None] = field(default_factory=dict)
    empty: set[tuple[int, int]] = field(default_factory=set)


Taps = dict[tuple[int, Stream], Bytes]
"""What stands in the hop's registers, by cycle and stream; nothing else is valid."""


def queues(config: ChipConfig) -> tuple[Queue, ...]:
    return geometry(config).of_kind(QueueKind.VXM)


def row(config: ChipConfig, alu: int) -> Latency:
    return timing(config).latency(BY_MNEMONIC["pass"], queues(config)[alu])


def operations(config: ChipConfig, alu: int) -> list[Spec]:
    classes = (None, *config.alus[alu].classes)
    return [spec for spec in SPECS if spec.op_class in classes]


class Turns:
    """Which operations an ALU may begin when, as lanes take turns."""

    def __init__(self, config: ChipConfig, alu: int) -> None:
        self._all = operations(config, alu)
        self._turns = config.special_turns
        self._free = 0

    def choose(self, rng: np.random.Generator, cycle: int) -> Spec:
        choices = [spec for spec in self._all if spec.op_class is not SPECIAL or cycle >= self._free]
        spec = choices[rng.integers(len(choices))]
        if spec.op_class is SPECIAL:
            self._free = cycle + self._turns
        return spec


def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Words:
    """Words of every magnitude, integers and floats that meet, and corners."""
    wide = rng.integers(0, 1 << 32, shape, np.uint64) >> rng.integers(0, 32, shape, np.uint64)
    signed = wide.astype(np.uint32).view(np.int32) * rng.choice(np.array([-1, 1], np.int32), shape)
    near_one = rng.integers(0, 1 << 32, shape, np.uint32) & 0x80FF_FFFF | 0x3F00_0000
    kind = rng.integers(0, 3, shape)
    return np.choose(kind, [signed, near_one.view(np.int32), rng.choice(CORNERS, shape)])


def word_on(taps: Taps, cycle: int, first: Stream, words: Words) -> None:
    for place in range(GROUP):
        taps[cycle, Stream(first.direction, first.index + place)] = (words >> (8 * place)).astype(np.int8)


def simulate(config: ChipConfig, program: Sequence[Issue], taps: Taps, cycles: int) -> Outcome:
    vxm, outcome = Vxm(config=config), Outcome()
    words = {
        (issue.cycle, issue.alu): encoding(config).encode(issue.instruction, queues(config)[issue.alu])
        for issue in program
    }
    assert len(words) == len(program)

    async def bench(ctx: Any) -> None:
        producing: set[tuple[int, Stream]] = set()
        for cycle in range(cycles):
            for queue in queues(config):
                i = queue.index
                issue = getattr(vxm, f"alu{i}_issue")
                ctx.set(issue.valid, (cycle, i) in words)
                ctx.set(issue.word, words.get((cycle, i), 0))
                for tap, stream in zip(getattr(vxm, f"alu{i}_taps"), queue.consumes, strict=True):
                    vector = taps.get((cycle, stream))
                    ctx.set(tap.valid, vector is not None)
                    ctx.set(tap.data, 0 if vector is None else int.from_bytes(vector.tobytes(), "little"))
            for queue in queues(config):
                i = queue.index
                if ctx.get(getattr(vxm, f"alu{i}_empty")):
                    outcome.empty.add((cycle, i))
                for drive, stream in zip(getattr(vxm, f"alu{i}_drives"), queue.produces, strict=True):
                    # The vector comes one cycle after its valid bit.
                    if (i, stream) in producing:
                        data = int(ctx.get(drive.data)).to_bytes(config.lanes, "little")
                        outcome.drives[cycle, i, stream] = np.frombuffer(data, np.int8).tolist()
                        producing.remove((i, stream))
                    if ctx.get(drive.valid):
                        producing.add((i, stream))
            await ctx.tick()

    simulator = Simulator(vxm)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return outcome


def expect(config: ChipConfig, program: Sequence[Issue], taps: Taps) -> Outcome:
    """What the timing table and numpy make of a program."""
    outcome = Outcome()
    results: dict[tuple[int, int], Words | None] = {}

    def operand(source: Operand, imm: int, cycle: int) -> tuple[Words | None, bool]:
        match source:
            case Operand(Format.BYTE, Stream() as stream):
                vector = taps.get((cycle, stream))
                return (None if vector is None else vector.astype(np.int32)), vector is None
            case Operand(Format.WORD, Stream() as first):
                planes = [taps.get((cycle, Stream(first.direction, first.index + place))) for place in range(GROUP)]
                there = [plane.view(np.uint8).astype(np.uint32) for plane in planes if plane is not None]
                if len(there) < GROUP:
                    return None, True
                word = there[0] | there[1] << 8 | there[2] << 16 | there[3] << 24
                return word.view(np.int32), False
            case Operand(Format.ALU, int() as alu):
                return results.get((cycle, alu)), (cycle, alu) not in results
            case Operand(Format.IMM):
                return np.full(config.lanes, imm, np.uint32).view(np.int32), False
            case _:
                return np.zeros(config.lanes, np.int32), False

    def sampled(issue: Issue) -> int:
        return issue.cycle + (row(config, issue.alu).skew or 0)

    for issue in sorted(program, key=sampled):
        latency, what = row(config, issue.alu), issue.instruction
        assert latency.state is not None
        assert latency.func is not None
        imm = what.number("imm")
        (x, no_x), (y, no_y) = (operand(what.operand(name), imm, sampled(issue)) for name in ("x", "y"))
        if no_x or no_y:
            outcome.empty.add((sampled(issue) + 1, issue.alu))
        result = None if x is None or y is None else MEANING[what.spec.mnemonic](x, y)
        results[issue.cycle + latency.state, issue.alu] = result
        produced = issue.cycle + latency.func - 1
        match what.operand("d"):
            case Operand(Format.BYTE | Format.BYTE_BOTH as form, Stream() as stream):
                saturated = None if result is None else result.clip(-128, 127).tolist()
                directions = Direction if form is Format.BYTE_BOTH else (stream.direction,)
                for direction in directions:
                    outcome.drives[produced, issue.alu, Stream(direction, stream.index)] = saturated
            case Operand(Format.WORD | Format.WORD_BOTH as form, Stream() as first):
                directions = Direction if form is Format.WORD_BOTH else (first.direction,)
                for direction, p in product(directions, range(GROUP)):
                    plane = None if result is None else (result >> (8 * p)).astype(np.int8).tolist()
                    outcome.drives[produced, issue.alu, Stream(direction, first.index + p)] = plane
    return outcome


def verify(config: ChipConfig, program: Sequence[Issue], taps: Taps, note: str) -> Outcome:
    """Simulate, compare with `expect`, and return what was expected."""
    expected = expect(config, program, taps)
    cycles = 2 + max(issue.cycle + row(config, issue.alu).retire for issue in program)
    got = simulate(config, program, taps, cycles)
    issued = {(issue.cycle + row(config, issue.alu).retire - 1, issue.alu): issue for issue in program}
    assert got.empty == expected.empty, note
    assert sorted(map(str, got.drives)) == sorted(map(str, expected.drives)), note
    for key, vector in expected.drives.items():
        assert vector is None or got.drives[key] == vector, f"{key} {issued.get(key[:2])} {note}"
    return expected


# --- tests ---


@CONFIGS
def test_every_operation_with_an_operand_pair_every_cycle(config: ChipConfig) -> None:
    """All ALUs at once, each with its own mixture of its operations on the two groups that arrive."""
    rng = np.random.default_rng(SEED)
    rounds, taps = 120, Taps()
    program: list[Issue] = []
    west = Direction.WEST
    firsts = [Stream(west, 0), Stream(west, 4) if config.streams > GROUP else Stream(Direction.EAST, 0)]
    for cycle in range(rounds + 4):
        x, y = draw(rng, (2, config.lanes))
        word_on(taps, cycle, firsts[0], x)
        word_on(taps, cycle, firsts[1], np.where(rng.integers(0, 8, config.lanes) == 0, x, y))
    met = set()
    for queue in queues(config):
        alu = config.alus[queue.index]
        if not (alu.writes and WORD in alu.x and WORD in alu.y):
            continue
        turns = Turns(config, queue.index)
        met |= {spec.mnemonic for spec in operations(config, queue.index)}
        for cycle in range(rounds):
            spec = turns.choose(rng, cycle)
            sources = {"x": Operand(Format.WORD, firsts[0])}
            if spec.arity == 2:
                sources["y"] = Operand(Format.WORD, firsts[1])
            destination = Operand(Format.WORD, Stream(Direction.EAST, 0))
            program.append(Issue(cycle, queue.index, instruction(spec.mnemonic, **sources, d=destination)))
    assert met == {spec.mnemonic for spec in SPECS} == set(MEANING)
    outcome = verify(config, program, taps, f"seed {SEED}")
    assert not outcome.empty


def random_operand(rng: np.random.Generator, config: ChipConfig, queue: Queue, name: str) -> Operand:
    pools = {
        Source.IMMEDIATE: [[IMMEDIATE]],
        Source.CHAIN: [[Operand(Format.ALU, alu) for alu in geometry(config).alu_sources(queue.index)]],
        Source.BYTE: [[Operand(Format.BYTE, stream) for stream in queue.consumes]],
        Source.WORD: [[Operand(Format.WORD, stream) for stream in queue.consumes if stream.index % GROUP == 0]],
    }
    allowed = [pool for source in getattr(config.alus[queue.index], name) for pool in pools[source]]
    pool = allowed[rng.integers(len(allowed))]
    return pool[rng.integers(len(pool))]


@CONFIGS
def test_random_programs(config: ChipConfig) -> None:
    """Every operand and destination mode, chains in and out of step, streams with gaps."""
    rng = np.random.default_rng(SEED + 1)
    rounds, taps = 120, Taps()
    program: list[Issue] = []
    for cycle in range(rounds + 4):
        for direction in Direction:
            for index in range(0, config.streams, GROUP):
                word_on(taps, cycle, Stream(direction, index), draw(rng, (config.lanes,)))
                if rng.integers(4) == 0:
                    del taps[cycle, Stream(direction, index + int(rng.integers(GROUP)))]
    for queue in queues(config):
        turns = Turns(config, queue.index)
        places = [Operand(Format.BYTE, stream) for stream in queue.produces]
        places += [Operand(Format.WORD, stream) for stream in queue.produces if stream.index % GROUP == 0]
        if {stream.direction for stream in queue.produces} == set(Direction):
            places += [Operand(Format.BYTE_BOTH, Stream(Direction.EAST, index)) for index in range(config.streams)]
            places += [
                Operand(Format.WORD_BOTH, Stream(Direction.EAST, index)) for index in range(0, config.streams, GROUP)
            ]
        for cycle in range(rounds):
            if rng.integers(8) == 0:
                continue
            spec = turns.choose(rng, cycle)
            x = random_operand(rng, config, queue, "x")
            y = random_operand(rng, config, queue, "y") if spec.arity == 2 else NOTHING
            imm = int(draw(rng, (1,)).view(np.uint32)[0]) if IMMEDIATE in (x, y) else 0
            d = places[rng.integers(len(places))] if places and rng.integers(6) else NOTHING
            program.append(Issue(cycle, queue.index, instruction(spec.mnemonic, x=x, y=y, d=d, imm=imm)))
    outcome = verify(config, program, taps, f"seed {SEED + 1}")
    known = sum(vector is not None for vector in outcome.drives.values())
    assert known > rounds
    assert len(outcome.empty) > rounds // 4


@CONFIGS
def test_latencies_are_those_of_the_timing_table(config: ChipConfig) -> None:
    """Measured by what a chain begun after each distance, and a stream valid for one cycle only, leave unflagged."""
    reach, gap = 12, 24
    program, taps = list[Issue](), Taps()
    reading = gap * reach
    for distance in range(reach):
        start = gap * distance
        for queue in queues(config):
            if distance:
                chaining = instruction("pass", x=Operand(Format.ALU, queue.index))
                program.append(Issue(start, queue.index, instruction("pass", x=IMMEDIATE, imm=1)))
                program.append(Issue(start + distance, queue.index, chaining))
            if queue.consumes and queue.produces:
                source, target = queue.consumes[-1], queue.produces[-1]
                what = instruction("pass", x=Operand(Format.BYTE, source), d=Operand(Format.BYTE, target))
                program.append(Issue(reading + start, queue.index, what))
                taps[reading + start + distance, source] = np.full(config.lanes, distance + 1, np.int8)
    got = simulate(config, program, taps, 2 * gap * reach)
    for queue in queues(config):
        latency = row(config, queue.index)
        assert latency.skew is not None
        assert latency.func is not None
        assert latency.state is not None
        flagged = sorted(divmod(cycle, gap) for cycle, alu in got.empty if alu == queue.index)
        chain = latency.state - latency.skew
        expected = [(d, d + latency.skew + 1) for d in range(1, reach) if d != chain]
        if queue.consumes and queue.produces:
            expected += [(reach + d, latency.skew + 1) for d in range(reach) if d != latency.skew]
            drives = {key[0]: vector for key, vector in got.drives.items() if key[1] == queue.index}
            assert sorted(drives) == [reading + gap * d + latency.func - 1 for d in range(reach)]
            sampled = drives[reading + gap * latency.skew + latency.func - 1]
            assert sampled == [latency.skew + 1] * config.lanes
        assert flagged == expected


def test_requantisation_at_a_vector_a_cycle() -> None:
    """A bias with i2f, fmul scale, a zero point with f2i, to a byte: three ALUs in a chain, as a convolution ends."""
    config, count, scale, zero_point = NANO, 64, np.float32(0.0123), -7
    rng = np.random.default_rng(SEED + 2)
    sums = rng.integers(-30000, 30000, (count, config.lanes), np.int32)
    bias = rng.integers(-2000, 2000, (count, config.lanes), np.int32)
    west, byte = Direction.WEST, Operand(Format.BYTE, Stream(Direction.EAST, 2))
    group = [Operand(Format.WORD, Stream(west, index)) for index in (0, 4)]
    first, second = (Operand(Format.ALU, alu) for alu in (1, 2))
    steps = {
        1: instruction("i2f", x=group[0], y=group[1]),
        2: instruction("fmul", x=first, y=IMMEDIATE, imm=int(scale.view(np.uint32))),
        3: instruction("f2i", x=second, y=IMMEDIATE, imm=zero_point & 0xFFFF_FFFF, d=byte),
    }
    offset, program, taps = 0, list[Issue](), Taps()
    for alu, step in steps.items():
        program += [Issue(n + offset, alu, step) for n in range(count)]
        offset += timing(config).alu_depth[alu]
    for n in range(count):
        for words, place in ((sums[n], 0), (bias[n], 4)):
            word_on(taps, n + timing(config).dispatch, Stream(west, place), words)
    last = timing(config).dispatch + offset
    got = simulate(config, program, taps, count + last + 2)
    scaled = np.rint((sums + bias).astype(np.float32) * scale) + zero_point
    assert np.any(scaled > 127)
    assert np.any(scaled < -128)
    expected = scaled.clip(-128, 127).astype(np.int8).tolist()
    assert got.drives == {(n + last, 3, Stream(Direction.EAST, 2)): expected[n] for n in range(count)}
    assert not got.empty


def test_a_lane_refuses_a_depth_without_a_register() -> None:
    with pytest.raises(ValueError, match="LaneAlu: depth must be at least 1 cycle, not 0"):
        LaneAlu(classes=(INT,), depth=0)


def test_an_alu_knows_its_own_operations_only() -> None:
    with pytest.raises(KeyError, match="fadd"):
        operation((FMUL,), "fadd")
