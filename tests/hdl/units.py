# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Benches for one unit.

`UnitBench`: instructions and stream contents by cycle in, productions and faults by cycle out. `run_datapath`:
operands in, results out. `simulate`: any testbench of any component.
"""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from amaranth.sim import Simulator

from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import Queue, Stream
from openlpu.arch.isa import Instruction, Value, instruction
from openlpu.arch.numerics import Words
from openlpu.hdl.decode import part
from openlpu.hdl.pipeline import Datapath

Vector = npt.NDArray[Any]
Stimulus = dict[str, Words]

# Exponents of the corner patterns: zero and subnormal, the ends of the normal range, halves of it (for products), both
# sides of 1 and of the ends of int32, infinity and NaN.
_EXPONENTS = (0, 1, 2, 63, 64, 103, 125, 126, 127, 128, 149, 150, 151, 157, 158, 253, 254, 255)
_FRACTIONS = (0, 1, 0x40_0000, 0x7F_FFFF)
CORNERS = [s << 31 | e << 23 | f for s in (0, 1) for e in _EXPONENTS for f in _FRACTIONS]


def pack(vector: Vector) -> int:
    """Lane i in byte i."""
    return int.from_bytes(np.asarray(vector).astype(np.int8).tobytes(), "little")


def unpack(word: int, lanes: int) -> Vector:
    """The int8 vector of a packed word."""
    return np.frombuffer(word.to_bytes(lanes, "little"), np.int8)


@dataclass
class UnitBench:
    """Collect a schedule with `at` and `put`, then `run`.

    Afterwards `produced[stream, cycle]` is the vector that stands in the hop's register in that cycle, and `empty` are
    the (queue, sampling cycle) of faults. Taps without content are invalid and full of noise.
    """

    config: ChipConfig
    dut: Any
    issues: dict[tuple[str, int], int] = field(default_factory=dict)
    contents: dict[tuple[Stream, int], Vector] = field(default_factory=dict)
    produced: dict[tuple[Stream, int], list[int]] = field(default_factory=dict)
    empty: list[tuple[str, int]] = field(default_factory=list)
    queues: dict[str, Queue] = field(default_factory=dict)

    def at(self, cycle: int, queue: Queue, mnemonic: str, **fields: Value) -> Instruction:
        """Dispatch an instruction."""
        inst = instruction(mnemonic, **fields)
        self.queues[queue.name] = queue
        assert (queue.name, cycle) not in self.issues
        self.issues[queue.name, cycle] = encoding(self.config).encode(inst, queue)
        return inst

    def put(self, cycle: int, stream: Stream, vector: Vector) -> None:
        """Have a vector stand in the hop's register of a stream."""
        self.contents[stream, cycle] = vector

    def run(self, cycles: int) -> None:
        """Play the schedule."""
        rng = np.random.default_rng(7)
        lanes = self.config.lanes

        async def bench(ctx: Any) -> None:
            producing: set[tuple[str, Stream]] = set()
            for cycle in range(cycles):
                for queue in self.queues.values():
                    name = part(queue)
                    issue = getattr(self.dut, f"{name}_issue")
                    ctx.set(issue.valid, (queue.name, cycle) in self.issues)
                    noise = int(rng.integers(0, 256))
                    ctx.set(issue.word, self.issues.get((queue.name, cycle), noise))
                    for tap, stream in zip(getattr(self.dut, f"{name}_taps"), queue.consumes, strict=True):
                        ctx.set(tap.valid, (stream, cycle) in self.contents)
                        garbage = rng.integers(-128, 128, lanes)
                        ctx.set(tap.data, pack(self.contents.get((stream, cycle), garbage)))
                for queue in self.queues.values():
                    name = part(queue)
                    for drive, stream in zip(getattr(self.dut, f"{name}_drives"), queue.produces, strict=True):
                        # The vector comes one cycle after its valid bit.
                        if (name, stream) in producing:
                            assert (stream, cycle + 1) not in self.produced
                            self.produced[stream, cycle + 1] = unpack(ctx.get(drive.data), lanes).tolist()
                            producing.remove((name, stream))
                        if ctx.get(drive.valid):
                            producing.add((name, stream))
                    if ctx.get(getattr(self.dut, f"{name}_empty")):
                        self.empty.append((queue.name, cycle - 1))
                await ctx.tick()

        simulate(self.dut, bench)


def simulate(dut: Any, bench: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
    """Run a testbench to its end, in Amaranth's simulator."""
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def words(patterns: Sequence[int]) -> Words:
    return np.array(patterns, np.uint32).view(np.int32)


def run_datapath(unit: Datapath, stimulus: Stimulus) -> Words:
    """Feed a row of `stimulus` every cycle, then drain; returns what stood at the output before each edge."""
    rows = len(stimulus["a"])
    results: list[int] = []

    async def bench(ctx: Any) -> None:
        ports = [(getattr(unit, name), [int(word) for word in column]) for name, column in stimulus.items()]
        for row in range(rows + unit.depth):
            for port, column in ports:
                ctx.set(port, column[row] if row < rows else 0)
            results.append(ctx.get(unit.o))
            await ctx.tick()

    simulate(unit, bench)
    return words(results)
