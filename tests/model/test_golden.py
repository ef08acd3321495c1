# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The golden chip against numpy on programs written by hand, and against a machine that moves every register.

The golden model never moves a register: it finds producers on diagonals. `Belt` below does the opposite. It has
registers, and in each cycle moves them, drives them, samples them. Random programs must do the same on both.
"""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from openlpu.arch import numerics
from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import Direction, QueueKind, Stream, geometry
from openlpu.arch.isa import BY_MNEMONIC, Format, Instruction, Operand, instruction
from openlpu.arch.presets import NANO
from openlpu.arch.program import Program
from openlpu.arch.status import RunStatus
from openlpu.arch.timing import timing
from openlpu.model import semantics
from openlpu.model.golden import GoldenChip, GoldenError
from openlpu.model.link import check
from openlpu.model.violation import CheckError

Build = Callable[..., Program]
Meet = Callable[..., int]
Vector = NDArray[np.int8]

LANES = NANO.lanes
CHIP, TABLE = geometry(NANO), timing(NANO)


def loaded(program: Program) -> GoldenChip:
    chip = GoldenChip(program.config)
    for (number, address), word in program.image.items():
        chip.write_memory(number, address, word[np.newaxis])
    idle = (instruction("halt"),)
    for number, queue in enumerate(CHIP.queues):
        chip.write_text(number, [encoding(NANO).encode(inst, queue) for inst in program.text.get(queue.name, idle)])
    return chip


def run(program: Program) -> GoldenChip:
    check(program)
    chip = loaded(program)
    assert chip.run().cycles == program.cycles
    return chip


def random_words(seed: int, slices: int = 4, count: int = 8) -> dict[tuple[int, int], Vector]:
    rng = np.random.default_rng(seed)
    words = rng.integers(-128, 128, (slices, count, LANES)).astype(np.int8)
    return {(s, a): words[s, a] for s in range(slices) for a in range(count)}


def test_copy_a_block(build: Build, meet: Meet) -> None:
    write = meet(0, ("mem_e0.read", "read"), ("mem_e2.write", "write"), Stream(Direction.EAST, 3))
    image = random_words(1)
    program = build(
        {
            "mem_e0.read": {0: "read a=7 d=e3", 1: "repeat n=3 gap=2 step=-2"},
            "mem_e2.write": {write: "write a=20 s=e3", write + 1: "repeat n=3 gap=2 step=1"},
        },
        image=image,
    )
    chip = run(program)
    np.testing.assert_array_equal(chip.read_memory(2, 20, 4), [image[0, a] for a in (7, 5, 3, 1)])


@pytest.mark.parametrize("seed", range(3))
def test_matrix_product_with_requantisation(build: Build, seed: int) -> None:
    """Two tiles of K into one accumulator each, then int32 -> fp32 -> * scale -> int32 -> int8 in one chained pass."""
    image = random_words(seed)
    scale = np.float32(0.00390625 * 1.7)
    # Weights of tile k: word k of slices 0..3. Activations of tile k, row m: word 2 + 2 k + m of slice 0.
    reads = {f"mem_e{i}.read": {(1 if i >= 2 else 0) + 10 * k: f"read a={k} d=e{i}" for k in (0, 1)} for i in range(4)}
    for k in (0, 1):
        for m in (0, 1):
            reads["mem_e0.read"][3 + 10 * k + m] = f"read a={2 + 2 * k + m} d=e0"
    # A read of cycle t at hop 1 reaches hop 4 in cycle t + 6, and is sampled there by a dispatch of t + 5.
    schedule: dict[str, Any] = {
        **reads,
        "mxm_e0.weights": {5: "lw g=0", 6: "iw", 15: "lw g=0", 16: "iw"},
        "mxm_e0.acts": {8: "abc s=e0", 9: "abc s=e0", 18: "abc s=e0", 19: "abc s=e0"},
        "mxm_e0.accs": {10: "acc_set a=4", 11: "acc_set a=5", 20: "acc_add a=4", 21: "acc_add_out a=5 d=w4"},
    }
    schedule["mxm_e0.accs"][23] = "acc_out a=4 d=w4"
    # acc_out of cycle t stands at hop 4 in t + 3, at hop 0 in t + 7.
    depth = TABLE.alu_depth
    for m, t in ((1, 21), (0, 23)):
        at = t + 6
        for alu, line in (
            (1, "i2f x=w4.word y=imm"),
            (2, f"fmul x=alu1 y=imm imm={int(scale.view(np.int32)):#x}"),
            (3, "f2i x=alu2 y=imm d=e2.byte imm=0x3"),
        ):
            schedule.setdefault(f"vxm.alu{alu}", {})[at] = line
            at += depth[alu]
        schedule.setdefault("mem_e1.write", {})[at + 2] = f"write a={40 + m} s=e2"
    chip = run(build(schedule, halt=60, image=image))

    weights = [np.stack([image[i, k] for i in range(4)]).astype(np.int64) for k in (0, 1)]
    acts = [np.stack([image[0, 2 + 2 * k + m] for m in (0, 1)]).astype(np.int64) for k in (0, 1)]
    sums = acts[0] @ weights[0] + acts[1] @ weights[1]
    real = np.rint(sums.astype(np.float32) * scale)
    expected = np.clip(real.astype(np.int64) + 3, -128, 127).astype(np.int8)
    np.testing.assert_array_equal(chip.read_memory(1, 40, 2), expected)


@pytest.mark.parametrize(
    ("queue", "line", "expected"),
    [
        ("sxm_e.shift", "shift s=e0 d=w5 n=1", [0, 10, 20, 30]),
        ("sxm_e.shift", "shift s=e0 d=w5 n=-3", [40, 0, 0, 0]),
        ("sxm_e.shift", "shift s=e0 d=w5 n=0", [10, 20, 30, 40]),
        ("sxm_e.permute", "permute s=e0 m=e1 d=w5", [40, 40, 0, 10]),
        ("sxm_e.permute", "distribute s=e0 d=w5 n=2", [30, 30, 30, 30]),
    ],
)
def test_lanes_move(build: Build, meet: Meet, queue: str, line: str, expected: list[int]) -> None:
    mnemonic = line.split()[0]
    east, west = Stream(Direction.EAST, 0), Stream(Direction.WEST, 5)
    at = meet(0, ("mem_e0.read", "read"), (queue, mnemonic), east)
    write = meet(at, (queue, mnemonic), ("mem_e3.write", "write"), west)
    schedule = {
        "mem_e0.read": {0: "read a=0 d=e0"},
        "mem_e1.read": {0: "read a=0 d=e1"},
        queue: {at: line},
        "mem_e3.write": {write: "write a=0 s=w5"},
    }
    image = {
        (0, 0): np.array([10, 20, 30, 40], np.int8),
        (1, 0): np.array([3, 3, -1, 0], np.int8),  # -1 is lane 255, which there is not
    }
    chip = run(build(schedule, image=image))
    assert chip.read_memory(3, 0, 1)[0].tolist() == expected


def test_text_of_an_earlier_program_does_no_harm(build: Build, meet: Meet) -> None:
    long = build({"mem_e0.read": dict.fromkeys(range(0, 20, 2), "read a=0 d=e0")}, image=random_words(0))
    chip = loaded(long)
    chip.run()
    short = build({"mem_e0.read": {0: "read a=1 d=e0"}}, image=long.image)
    queue = CHIP.by_name["mem_e0.read"]
    chip.write_text(CHIP.queues.index(queue), [encoding(NANO).encode(i, queue) for i in short.text[queue.name]])
    chip.run()
    assert chip.trace is not None
    assert len(chip.trace.productions) == 1


def test_a_program_that_reads_what_nobody_wrote_does_not_run(build: Build) -> None:
    program = build({"mem_e0.read": {0: "read a=9 d=e0"}}, image=random_words(0))
    chip = loaded(program)
    with pytest.raises(GoldenError, match="word 9 of mem_e0 holds nothing yet"):
        chip.run()
    chip.write_memory(0, 9, np.ones((1, LANES), np.int8))
    chip.run()


def test_words_that_are_no_instruction() -> None:
    chip = GoldenChip(NANO)
    chip.write_text(0, [0])
    with pytest.raises(GoldenError, match=r"mem_e0\.read: word 0x0 has no known opcode"):
        chip.run()


def test_host_accesses_out_of_range() -> None:
    chip = GoldenChip(NANO)
    word = np.zeros((2, LANES), np.int8)
    with pytest.raises(ValueError, match=r"words 63\.\.64"):
        chip.write_memory(0, 63, word)
    with pytest.raises(ValueError, match="MEM slice 4"):
        chip.read_memory(4, 0, 1)
    with pytest.raises(ValueError, match=r"int8\[n, 4\]"):
        chip.write_memory(0, 0, np.zeros((2, LANES + 1), np.int8))
    with pytest.raises(ValueError, match="queue 99"):
        chip.write_text(99, [0])
    with pytest.raises(ValueError, match="257 words"):
        chip.write_text(0, [0] * 257)


BELT_ALU: dict[str, Callable[..., Any]] = {
    "pass": lambda x: x,
    "iadd": np.add,
    "isub": np.subtract,
    "imax": np.maximum,
    "imin": np.minimum,
    "ilt": lambda x, y: -(x < y).astype(np.int32),
    "ile": lambda x, y: -(x <= y).astype(np.int32),
    "ieq": lambda x, y: -(x == y).astype(np.int32),
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "imul": np.multiply,
    **{op[0]: getattr(numerics, op[1]) for op in (("i2f", "int32_to_fp32"), ("f2i", "fp32_to_int32"))},
    **{f"f{op}": getattr(numerics, f"fp32_{op}") for op in ("add", "sub", "max", "min", "lt", "le", "eq", "mul")},
}


class Belt:
    """A chip that moves every register in every cycle. It knows no diagonals, no levels and no data flow."""

    def __init__(self, program: Program) -> None:
        self.sram = {place: word.copy() for place, word in program.image.items()}
        self.registers: dict[tuple[int, Stream], Vector] = {}
        self.later: defaultdict[int, list[Callable[[], None]]] = defaultdict(list)
        self.samples: defaultdict[int, list[Callable[[], None]]] = defaultdict(list)
        self.shadow, self.array = np.zeros((LANES, LANES), np.int8), np.zeros((LANES, LANES), np.int8)
        self.buffer: dict[int, Vector] = {}
        self.sums: Any = None
        self.accumulators: dict[int, Any] = {}
        self.alus: dict[int, Any] = {}
        self.history: list[dict[tuple[int, Stream], Vector]] = []
        self.executed: Counter[str] = Counter()
        for name, text in program.text.items():
            self.issue(name, text)
        for cycle in range(program.cycles):
            self.cycle(cycle)

    def issue(self, name: str, text: tuple[Instruction, ...]) -> None:
        cycle, latest, queue = 0, text[0], CHIP.by_name[name]
        for inst in text[1:]:
            if inst.spec.mnemonic == "nop":
                cycle += inst.number("n")
            elif inst.spec.mnemonic == "repeat":
                start = cycle - 1
                for k in range(inst.number("n")):
                    latest = latest.advanced(inst.number("step"))
                    self.dispatch(start + (k + 1) * inst.number("gap"), queue, latest)
                cycle = start + inst.number("n") * inst.number("gap") + 1
            elif not inst.spec.control:
                self.dispatch(cycle, queue, inst)
                latest = inst
                cycle += 1

    def dispatch(self, t: int, queue: Any, inst: Instruction) -> None:
        row = TABLE.latency(inst.spec, queue)
        assert row.skew is not None
        self.executed[inst.spec.mnemonic] += 1
        self.samples[t + row.skew].append(lambda: self.sample(t, queue, inst, row))

    def cycle(self, now: int) -> None:
        moved = {(hop + s.direction.step, s): v for (hop, s), v in self.registers.items()}
        self.registers = {place: v for place, v in moved.items() if 0 <= place[0] < CHIP.hops}
        self.sums, self.alus = None, {}
        for effect in self.later.pop(now, []):
            effect()
        self.history.append(dict(self.registers))
        for sample in self.samples.pop(now, []):
            sample()

    def drive(self, cycle: int, queue: Any, stream: Stream, vector: Vector) -> None:
        self.later[cycle].append(lambda: self.registers.__setitem__((queue.hop, stream), vector))

    def sample(self, t: int, queue: Any, inst: Instruction, row: Any) -> None:
        at = lambda s: self.registers[queue.hop, s]  # noqa: E731  # a local abbreviation
        mnemonic = inst.spec.mnemonic
        match queue.kind:
            case QueueKind.MEM_READ:
                word = self.word(queue, inst)
                found = np.zeros(LANES, np.int8) if word is None else self.sram[queue.index, word].copy()
                self.drive(t + row.func, queue, inst.stream("d"), found)
            case QueueKind.MEM_WRITE:
                word, vector = self.word(queue, inst), at(inst.stream("s"))
                if word is not None:
                    self.later[t + row.state].append(lambda: self.sram.__setitem__((queue.index, word), vector))
            case QueueKind.MXM_WEIGHTS if mnemonic == "iw":
                install = self.shadow.copy()
                self.later[t + row.state].append(lambda: setattr(self, "array", install))
            case QueueKind.MXM_WEIGHTS:
                vectors = [at(s) for s in queue.consumes]
                first = inst.number("g") * NANO.weight_streams
                shadow = self.shadow.T if mnemonic.startswith("lwt") else self.shadow
                loaded = TABLE.latency(BY_MNEMONIC["lw"], queue).state
                assert loaded is not None
                self.later[t + loaded].append(lambda: shadow.__setitem__(slice(first, first + len(vectors)), vectors))
                if mnemonic.endswith("iw"):
                    self.dispatch(t + 1, queue, instruction("iw"))
            case QueueKind.MXM_ACTS if mnemonic == "abl":
                address, loaded_vector = inst.number("a"), at(inst.stream("s"))
                self.later[t + row.state].append(lambda: self.buffer.__setitem__(address, loaded_vector))
            case QueueKind.MXM_ACTS:
                replayed = mnemonic == "abr"
                vector = (self.buffer[inst.number("a")] if replayed else at(inst.stream("s"))).astype(np.int64)

                def multiply() -> None:
                    sums = np.array(
                        [sum(vector[i] * int(self.array[i, j]) for i in range(LANES)) for j in range(LANES)]
                    )
                    self.later[t + row.state].append(lambda: setattr(self, "sums", sums.astype(np.int32)))

                self.samples[t + TABLE.weights_used].append(multiply)
            case QueueKind.MXM_ACCS:
                a = inst.number("a")
                held: Any = self.accumulators.get(a)
                value = held if mnemonic == "acc_out" else self.sums
                if mnemonic.startswith("acc_add"):
                    value = held + value
                assert value is not None
                self.later[t + row.state].append(lambda: self.accumulators.__setitem__(a, value))
                if mnemonic.endswith("out"):
                    self.drive_word(t + row.func, queue, inst.stream("d"), value)
            case QueueKind.VXM:
                operands = [self.operand(queue, inst, inst.operand(n)) for n in ("x", "y")[: inst.spec.arity]]
                result = BELT_ALU[mnemonic](*operands)
                self.later[t + row.state].append(lambda: self.alus.__setitem__(queue.index, result))
                match inst.operand("d"):
                    case Operand(Format.BYTE, Stream() as stream):
                        byte = np.array([min(max(int(v), -128), 127) for v in result], np.int8)
                        self.drive(t + row.func, queue, stream, byte)
                    case Operand(Format.WORD, Stream() as stream):
                        self.drive_word(t + row.func, queue, stream, result)
            case QueueKind.SXM_SHIFT if mnemonic == "rotate":
                for source_stream, stream in zip(inst.stream("s").planes, inst.stream("d").planes, strict=True):
                    held = at(source_stream).tolist()
                    turned = [held[(i - inst.number("n")) % LANES] for i in range(LANES)]
                    self.drive(t + row.func, queue, stream, np.array(turned, np.int8))
            case QueueKind.SXM_PERMUTE if mnemonic == "transpose":
                planes = [at(stream).tolist() for stream in inst.stream("s").planes]
                for j, stream in enumerate(inst.stream("d").planes):
                    column = [planes[lane % 4][lane // 4 * 4 + j] for lane in range(LANES)]
                    self.drive(t + row.func, queue, stream, np.array(column, np.int8))
            case QueueKind.SXM_SHIFT if mnemonic == "select":
                chosen = [v if m else 0 for v, m in zip(at(inst.stream("s")), at(inst.stream("m")), strict=True)]
                self.drive(t + row.func, queue, inst.stream("d"), np.array(chosen, np.int8))
            case _:
                source = at(inst.stream("s")).tolist()
                match mnemonic:
                    case "shift":
                        places = [i - inst.number("n") for i in range(LANES)]
                    case "permute":
                        places = [b & 0xFF for b in at(inst.stream("m")).tolist()]
                    case _:
                        places = [inst.number("n")] * LANES
                moved = [source[p] if 0 <= p < LANES else 0 for p in places]
                self.drive(t + row.func, queue, inst.stream("d"), np.array(moved, np.int8))

    def word(self, queue: Any, inst: Instruction) -> int | None:
        if inst.spec.mnemonic in ("read", "write"):
            return inst.number("a")
        low, high = (int(byte) & 0xFF for byte in self.registers[queue.hop, inst.stream("m")][:2])
        offset = low | high << 8
        if inst.spec.mnemonic.endswith("dealt"):
            if offset % 4 != inst.number("p"):  # nano has four weight streams
                return None
            offset //= 4
        return inst.number("a") + offset % 2 ** inst.number("n")

    def drive_word(self, cycle: int, queue: Any, stream: Stream, word: Any) -> None:
        for plane in range(4):
            byte = np.array([(int(v) >> 8 * plane & 0xFF) for v in word], np.uint8).view(np.int8)
            self.drive(cycle, queue, Stream(stream.direction, stream.index + plane), byte)

    def operand(self, queue: Any, inst: Instruction, operand: Operand) -> Any:
        match operand:
            case Operand(Format.BYTE, Stream() as stream):
                return self.registers[queue.hop, stream].astype(np.int32)
            case Operand(Format.WORD, Stream() as stream):
                planes = [self.registers[queue.hop, Stream(stream.direction, stream.index + p)] for p in range(4)]
                words = [
                    sum((int(b) & 0xFF) << 8 * p for p, b in enumerate(lane)) for lane in zip(*planes, strict=True)
                ]
                return np.array(words, np.uint32).view(np.int32)
            case Operand(Format.ALU, int() as alu):
                return self.alus[alu]
            case _:
                return np.full(LANES, inst.number("imm"), np.uint32).view(np.int32)


def random_program(build: Build, seed: int) -> Program:
    """Many random instructions, less those that the checker refuses; at least one repeat of most kinds remains."""
    rng = np.random.default_rng(seed)
    length, binary = 120, (0, 2, 3, 4)  # ALU 1 of nano converts, and does nothing else

    def pick(items: Any) -> Any:
        return items[int(rng.integers(len(items)))]

    def stream(letter: str, aligned: bool = False) -> str:
        return f"{letter}{pick((0, 4)) if aligned else int(rng.integers(0 if rng.random() < 0.1 else 4, 8))}"

    def either() -> str:
        return pick("ew")

    schedule: dict[str, dict[int, str]] = {queue.name: {} for queue in CHIP.queues}

    def put(queue: str, cycle: int, line: str) -> None:
        if 0 <= cycle < length:
            schedule[queue].setdefault(cycle, line)

    def mnemonic(alu: int, arity: int) -> str:
        known = [m for m in BELT_ALU if BY_MNEMONIC[m].op_class in (None, *NANO.alus[alu].classes)]
        return str(pick([m for m in known if BY_MNEMONIC[m].arity == arity]))

    def alu_line(alu: int) -> str:
        unary = alu not in binary or bool(rng.integers(2))
        inst = mnemonic(alu, 1 if unary else 2)
        sources = [pick([f"{stream('w')}.byte", f"{stream('w', True)}.word", "imm"]) for _ in range(1 if unary else 2)]
        dest = pick(["", f" d={stream('e')}.byte", f" d={stream('e', True)}.word"])
        imm = f" imm={int(rng.integers(1 << 32)):#x}" if "imm" in sources else ""
        return inst + "".join(f" {n}={s}" for n, s in zip("xy", sources, strict=False)) + dest + imm

    # Weights first; then pieces that make sense, on the lower streams; then noise, mostly on the upper ones.
    for t in (0, 60):
        for i in range(4):
            put(f"mem_e{i}.read", t + i // 2, f"read a={int(rng.integers(8))} d=e{i}")
        put("mxm_e0.weights", t + 5, pick(["lw g=0", "lwt g=0"]))
        put("mxm_e0.weights", t + 6, "iw")
    for t in rng.integers(4, length, 12).tolist():
        size, m, s = int(rng.integers(4)), f"e{int(rng.integers(2))}", f"e{int(rng.integers(2, 4))}"
        put("mem_e0.read", t, f"read a={int(rng.integers(8))} d={m}")
        put("mem_e1.read", t, f"read a={int(rng.integers(8))} d={s}")

        def windowed(mnemonic: str, size: int = size, m: str = m) -> str:
            dealt = f"_dealt p={int(rng.integers(4))}" if rng.integers(2) else ""
            return f"{mnemonic}{dealt} a=0 n={size} m={m}"

        put("mem_e2.write", t + 3, f"{windowed('scatter')} s={s}")
        put("mem_e3.read", t + 3, f"{windowed('gather')} d={stream(either())}")
        put("mem_e2.read", t + 6 + int(rng.integers(3)), f"{windowed('gather')} d={stream(either())}")
    for t in rng.integers(4, length, 12).tolist():
        for plane in range(4):
            put(f"mem_e{plane}.read", t + plane // 2, f"read a={int(rng.integers(8))} d=e{plane}")
        put("sxm_e.shift", t + 4, f"rotate s=e0 d={stream(either(), True)} n={int(rng.integers(-3, 4))}")
        put("sxm_e.permute", t + 4, f"transpose s=e0 d={stream(either(), True)}")
        put("sxm_e.shift", t + 5, f"select s=e0 m=e2 d={stream(either())}")
        put("mxm_e0.acts", t + 5, f"abl a={int(rng.integers(4))} s=e0")
        put("mxm_e0.acts", t + 6, f"abr a={int(rng.integers(4))}")
        put("mxm_e0.accs", t + 8, f"acc_set_out a=0 d={stream('w', True)}")
    for t in (1, *rng.integers(4, length, 20).tolist()):
        k, a, d, alu = int(rng.integers(4)), int(rng.integers(2)), stream("w", True), pick(binary)
        put("mem_e0.read", t, f"read a={int(rng.integers(8))} d=e{k}")
        put("mxm_e0.acts", t + 5, f"abc s=e{k}")
        kind = pick([f"acc_set a={a}", f"acc_add a={a}", f"acc_set_out a={a} d={d}", f"acc_add_out a={a} d={d}"])
        put("mxm_e0.accs", t + 7, kind)
        put("mxm_e0.accs", t + 8, f"acc_out a={a} d={d}")
        put(f"vxm.alu{alu}", t + 13, f"{mnemonic(alu, 2)} x={d}.word y={d}.word d=e{k}.byte")
    for t in rng.integers(4, length, 40).tolist():
        source, alu = f"w{int(rng.integers(4))}", pick(binary)
        put("mem_e1.read", t, f"read a={int(rng.integers(8))} d={source}")
        put(f"vxm.alu{alu}", t + 3, f"{mnemonic(alu, 2)} x={source}.byte y={source}.byte d=e4.word")
        put("mem_e2.write", t + 3 + TABLE.alu_depth[alu] + 3, f"write a={int(rng.integers(16))} s=e4")
    for t in rng.integers(4, length, 20).tolist():
        s, m = stream("e"), stream("e")
        put("mem_e0.read", t, f"read a={int(rng.integers(8))} d={s}")
        put("mem_e1.read", t, f"read a={int(rng.integers(8))} d={m}")
        put("sxm_e.permute", t + 4, f"permute s={s} m={m} d={stream(either())}")

    for t in range(4, length):
        for i in range(4):
            if rng.random() < 0.4:
                put(f"mem_e{i}.read", t, f"read a={int(rng.integers(8))} d={stream(either())}")
            elif rng.random() < 0.3:
                put(f"mem_e{i}.read", t, f"repeat n={int(rng.integers(1, 4))} gap=1 step={int(rng.integers(-2, 3))}")
            if rng.random() < 0.5:
                put(f"mem_e{i}.write", t, f"write a={int(rng.integers(16))} s={stream(either())}")
        put("mxm_e0.weights", t, pick(["lw g=0", "iw", "lw_iw g=0", "lwt g=0", "lwt_iw g=0"]))
        if rng.random() < 0.6:
            put("mxm_e0.acts", t, f"abc s={stream('e')}")
        put("mxm_e0.acts", t, f"abr a={int(rng.integers(4))}")
        if rng.random() < 0.8:
            a, d = int(rng.integers(3)), stream("w", True)
            put("mxm_e0.accs", t, pick(
                [f"acc_set a={a}", f"acc_add a={a}", f"acc_set_out a={a} d={d}", f"acc_add_out a={a} d={d}",
                 f"acc_out a={a} d={d}"]
            ))  # fmt: skip
        for alu, depth in enumerate(TABLE.alu_depth):
            if rng.random() < 0.1:
                put(f"vxm.alu{alu}", t, alu_line(alu))
                other = int(rng.integers(5))
                put(f"vxm.alu{other}", t + depth, f"pass x=alu{alu} d={stream('e', True)}.word")
        if rng.random() < 0.5:
            n = int(rng.integers(-3, 4))
            put("sxm_e.shift", t, f"shift s={stream(either())} d={stream(either())} n={n}")
            s, m, d = stream(either()), stream(either()), stream(either())
            put("sxm_e.permute", t, pick([f"permute s={s} m={m} d={d}", f"distribute s={s} d={d} n={n % 4}"]))

    for queue, lines in schedule.items():  # a repeat keeps its queue busy: drop what it would run into
        for t in [t for t, line in lines.items() if line.startswith("repeat")]:
            if t in lines:
                for busy in range(t + 1, t + int(lines[t].split("n=")[1].split()[0])):
                    schedule[queue].pop(busy, None)
    image = random_words(seed)
    for _ in range(200):
        program = build(schedule, halt=length + 30, image=image)
        try:
            check(program)
        except CheckError as error:
            for queue, cycle in {(v.queue, v.cycle): None for v in error.violations}:
                lines = schedule[queue]
                lines.pop(max((t for t in lines if t <= cycle), default=-1), None)
        else:
            return program
    raise AssertionError(f"seed {seed}: no legal program found")


def assert_as_on_the_belt(program: Program) -> Counter[str]:
    belt, chip = Belt(program), run(program)
    for (number, address), word in belt.sram.items():
        np.testing.assert_array_equal(chip.read_memory(number, address, 1)[0], word, str((number, address)))
    assert chip.trace is not None
    registers = list(chip.trace.registers())
    assert len(registers) == len(belt.history)
    for cycle, (golden, moved) in enumerate(zip(registers, belt.history, strict=True)):
        assert golden.keys() == moved.keys(), cycle
        for place, (vector, _) in golden.items():
            np.testing.assert_array_equal(vector, moved[place], f"cycle {cycle}, {place}")
        if cycle % 17 == 0:
            again = chip.trace.register_contents(cycle)
            assert {place: vector.tolist() for place, (vector, _) in again.items()} == {
                place: vector.tolist() for place, (vector, _) in golden.items()
            }
    return belt.executed


def test_random_programs_do_the_same_as_moving_every_register(build: Build) -> None:
    executed: Counter[str] = Counter()
    for seed in range(6):
        print(f"seed {seed}")
        executed += assert_as_on_the_belt(random_program(build, seed))
    print(executed)
    units = {"read", "write", "lw", "iw", "abc", "shift", "permute", "distribute", *BELT_ALU}
    units |= {"gather", "scatter", "gather_dealt", "scatter_dealt"}
    units |= {"lw_iw", "lwt", "lwt_iw", "abl", "abr", "rotate", "transpose", "select"}
    units |= {"acc_set", "acc_add", "acc_set_out", "acc_add_out", "acc_out"}
    assert units - set(executed) == set()


def test_a_second_run_takes_over_what_the_first_left(build: Build) -> None:
    # Reads word 0, adds 1, writes it back.
    schedule = {
        "mem_e0.read": {0: "read a=0 d=w0"},
        "vxm.alu0": {3: "iadd x=w0.byte y=imm d=e1.byte imm=0x1"},
        "mem_e0.write": {7: "write a=0 s=e1"},
    }
    program = build(schedule, image={(0, 0): np.array([1, 2, 3, 126], np.int8)})
    chip = run(program)
    chip.run()
    chip.run()
    assert chip.read_memory(0, 0, 1).tolist() == [[4, 5, 6, 127]]
    assert chip.run(3) == chip.status().run == RunStatus(3 * program.cycles + 2 * TABLE.rerun)
    assert chip.read_memory(0, 0, 1).tolist() == [[7, 8, 9, 127]]
    with pytest.raises(ValueError, match="once or more often, not 0 times"):
        chip.run(0)


def test_defined_words_matter_not_the_program_that_defined_them(build: Build) -> None:
    program = build({"mem_e0.read": {0: "read a=0 d=w0"}}, image=random_words(3))
    chip = loaded(dataclasses.replace(program, image={}))
    with pytest.raises(GoldenError):
        chip.run()


def test_weights_changed_between_runs(build: Build) -> None:
    """By the host after the second run, and by the program itself (row 0) in every run."""
    reads = {f"mem_e{i}.read": {1 if i >= 2 else 0: f"read a=0 d=e{i}"} for i in range(4)}
    schedule = {
        **reads,
        "mem_e0.read": {0: "read a=0 d=e0", 3: "read a=1 d=e0"},
        "mxm_e0.weights": {5: "lw_iw g=0"},
        "mxm_e0.acts": {8: "abc s=e0"},
        "mxm_e0.accs": {10: "acc_set_out a=0 d=w4"},
        "mem_e3.read": {1: "read a=0 d=e3", 2: "read a=2 d=w1"},
        "mem_e0.write": {5: "write a=0 s=w1"},
    }
    chip = loaded(build(schedule, image=random_words(8)))
    for step in range(5):
        if step == 4:
            chip.run(3)
        if step == 2:
            chip.write_memory(1, 0, np.array([[1, -2, 3, -4]], np.int8))
        weights = np.stack([chip.read_memory(i, 0, 1)[0] for i in range(4)]).astype(np.int32)
        activations = chip.read_memory(0, 1, 1)[0].astype(np.int32)
        chip.run()
        assert chip.trace is not None
        planes = [
            chip.trace.vectors[p.vector] for p in chip.trace.productions if p.dispatch.queue.name == "mxm_e0.accs"
        ]
        np.testing.assert_array_equal(np.stack(planes, axis=-1).view(np.int32)[:, 0], activations @ weights)


def test_offsets_have_sixteen_bits() -> None:
    maps = np.array([[5, 0, 9, 9], [-1, 0, 0, 0], [0, 1, 0, 0], [-2, -128, 0, 0]], np.int8)
    assert semantics.offsets(maps).tolist() == [5, 255, 256, 254 + 256 * 128]
