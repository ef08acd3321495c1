# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Text: it makes the dispatches that it was made of, in their cycles, and no other text for them is shorter."""

import functools
import random

import pytest

from openlpu.arch.assembly import format_instruction
from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import Direction, Queue, Stream, geometry
from openlpu.arch.isa import Instruction, instruction
from openlpu.arch.presets import NANO, ULX3S
from openlpu.compiler.assemble import assemble
from openlpu.compiler.timeline import Run
from openlpu.model.expand import expand

CONFIG = ULX3S
E0 = Stream(Direction.EAST, 0)
READ = instruction("read", a=5, d=E0)
GATHER = instruction("gather", a=8, n=3, m=Stream(Direction.WEST, 0), d=E0)
READER = "mem_e0.read"


def text_of(runs: list[Run], cycles: int, queue: str = READER) -> list[str]:
    """What stands between the barrier and HALT."""
    (text,) = assemble({queue: runs}, cycles, CONFIG).values()
    lines = [format_instruction(inst) for inst in text]
    assert (lines[0], lines[-1]) == ("notify", "halt")
    found = expand(CONFIG, geometry(CONFIG).by_name[queue], text)
    assert (found.violations, found.halt) == ([], cycles - 1)
    meant = sorted((pair for run in runs for pair in run.unrolled()), key=lambda pair: pair[0])
    assert [(dispatch.cycle, dispatch.instruction) for dispatch in found.dispatches] == meant
    return lines[1:-1]


@pytest.mark.parametrize(
    ("runs", "cycles", "lines"),
    [
        ([Run(0, READ)], 2, ["read a=5 d=e0"]),
        ([Run(0, READ, 8, step=1)], 21, ["read a=5 d=e0 again=7 wait=12 step=1"]),
        ([Run(3, READ, 3, gap=4)], 13, ["nop n=3", "read a=5 d=e0 again=2 gap=4"]),
        # A wait that is too long, and one that takes more than one word in any case.
        ([Run(0, READ)], 130, ["read a=5 d=e0", "nop n=128"]),
        ([Run(0, READ)], 65600, ["read a=5 d=e0 wait=63", "nop n=65535"]),
        # Too many for one word: two words, or a REPEAT where there are more.
        ([Run(0, READ, 20, step=1)], 24, ["read a=5 d=e0 again=15 step=1", "read a=21 d=e0 again=3 wait=3 step=1"]),
        ([Run(0, READ, 99, step=1)], 103, ["read a=5 d=e0 again=15 step=1", "repeat n=83 gap=1 step=1", "nop n=3"]),
        # Gaps and steps that only a REPEAT has.
        ([Run(0, READ, 2, gap=9, step=8)], 20, ["read a=5 d=e0 wait=8", "read a=13 d=e0 wait=9"]),
        ([Run(0, READ, 9, gap=9, step=8)], 74, ["read a=5 d=e0", "repeat n=8 gap=9 step=8"]),
        # The first of a flow is not what it looks like with the one before it.
        (
            [Run(0, READ), *(Run(1 + k, instruction("read", a=60 + k, d=E0)) for k in range(3))],
            5,
            ["read a=5 d=e0", "read a=60 d=e0 again=2 step=1"],
        ),
        # A window says nothing of what follows it.
        ([Run(0, GATHER, 2, gap=3)], 7, ["gather a=8 n=3 m=w0 d=e0", "repeat n=1 gap=3 step=0", "nop n=2"]),
        # Interleaved.
        (
            [Run(0, READ, 2, gap=2), Run(1, GATHER, 2, gap=2)],
            5,
            ["read a=5 d=e0", "gather a=8 n=3 m=w0 d=e0", "read a=5 d=e0", "gather a=8 n=3 m=w0 d=e0"],
        ),
    ],
)
def test_texts(runs: list[Run], cycles: int, lines: list[str]) -> None:
    assert text_of(runs, cycles) == lines


def test_row_groups_go_on_around() -> None:
    """Tiles one after the other: two groups on this chip, of which either is a step from the other."""
    load = instruction("lw_iw", g=0)
    runs = [Run(2 * tile, load, 2, step=1) for tile in range(5)]
    lines = text_of(runs, 15, "mxm_e0.weights")
    assert lines == ["lw_iw g=0 again=9 wait=4 step=1"]


def shortest(queue: Queue, entries: list[tuple[int, Instruction]], halt: int) -> int:
    """Words of the shortest text, by trial of every word there could be at every place."""
    codec = encoding(NANO)

    def made(first: Instruction, base: int, place: int, count: int, gap: int, step: int) -> bool:
        wanted = entries[place : place + count]
        return wanted == [(base + gap * k, codec.advanced(first, step * k)) for k in range(1, count + 1)]

    def nops(idle: int, waits: bool) -> int:
        return 0 if idle == 0 or (waits and idle < 128) else 1

    @functools.cache
    def rest(place: int, waits: bool) -> int:
        comes = entries[place - 1][0] + 1 if place else 0
        if place == len(entries):
            return nops(halt - comes, waits)
        cycle, unit = entries[place]
        tail = bool(unit.spec.tail)
        found = [nops(cycle - comes, waits) + 1 + rest(place + 1, tail)]
        for again in range(1, min(15, len(entries) - place - 1) + 1) if tail else ():
            for gap in range(1, 5):
                for step in (0, 1) if unit.spec.stride else (0,):
                    if made(unit, cycle, place + 1, again, gap, step):
                        found.append(nops(cycle - comes, waits) + 1 + rest(place + 1 + again, True))
        for count in range(1, len(entries) - place + 1) if place else ():
            before = entries[place - 1][1]
            for gap in range(1, min(63, cycle - comes + 1) + 1):
                for step in range(-9, 10):
                    if before.spec == unit.spec and made(before, cycle - gap, place, count, gap, step):
                        found.append(nops(cycle - gap + 1 - comes, waits) + 1 + rest(place + count, False))
        return min(found)

    return rest(0, False)


@pytest.mark.parametrize("seed", range(60))
def test_no_text_is_shorter(seed: int) -> None:
    rng = random.Random(seed)
    queue = geometry(NANO).by_name[READER]
    entries: list[tuple[int, Instruction]] = []
    cycle, inst = rng.randint(0, 2), instruction("read", a=30, d=E0)
    while len(entries) < 12:
        step, gap = rng.choice((0, 1, 1, 1, 2, -3)), rng.choice((1, 1, 1, 2, 4, 5, 70))
        for _ in range(rng.randint(1, 5)):
            entries.append((cycle, inst))
            cycle += gap
            inst = inst.advanced(step) if 0 <= inst.number("a") + step < NANO.mem_words else inst
        if rng.random() < 0.2:
            window = instruction("gather", a=8, n=0, m=Stream(Direction.WEST, 0), d=E0)
            inst = window if inst.spec.tail else instruction("read", a=rng.randint(25, 35), d=E0)
        elif rng.random() < 0.5:
            cycle += rng.choice((1, 3))
    halt = entries[-1][0] + rng.choice((1, 2, 200))
    (text,) = assemble({READER: [Run(*entry) for entry in entries]}, halt + 1, NANO).values()
    found = expand(NANO, queue, text)
    assert [(dispatch.cycle, dispatch.instruction) for dispatch in found.dispatches] == entries
    assert (found.violations, found.halt, len(text) - 2) == ([], halt, shortest(queue, entries, halt))
