# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A program small enough to read: the rows of an input, copied from one MEM slice to another."""

import dataclasses

import numpy as np
import pytest

from openlpu.arch.assembly import parse_instruction
from openlpu.arch.geometry import geometry
from openlpu.arch.isa import BY_MNEMONIC, Instruction
from openlpu.arch.presets import NANO
from openlpu.arch.program import Column, Port, Program
from openlpu.arch.timing import timing
from openlpu.model.link import cycles


def _text(*lines: str) -> tuple[Instruction, ...]:
    return tuple(parse_instruction(line) for line in lines)


@pytest.fixture
def copier() -> Program:
    """Input x, int8 [3, 4], from slice 0 to slice 2: output y. The image has words that nothing reads."""
    read, write = geometry(NANO).by_name["mem_e0.read"], geometry(NANO).by_name["mem_e2.write"]
    func = timing(NANO).latency(BY_MNEMONIC["read"], read).func
    skew = timing(NANO).latency(BY_MNEMONIC["write"], write).skew
    assert func is not None
    assert skew is not None
    wait = func + (write.hop - read.hop) - skew
    repeat = "repeat n=2 gap=1 step=1"
    program = Program(
        name="copier",
        config=NANO,
        text={
            "mem_e2.write": _text("sync", f"nop n={wait}", "write a=20 s=e3", repeat, "nop n=4", "halt"),
            "mem_e0.read": _text("notify", "read a=10 d=e3", repeat, "halt"),
        },
        image={(s, a): np.arange(4, dtype=np.int8) + s + a for s, a in ((3, 1), (1, 5), (1, 4), (0, 63))},
        inputs=(Port("x", (3, 4), 3, 4, (Column((0,), 10),), "int8"),),
        outputs=(Port("y", (3, 4), 3, 4, (Column((2,), 20),), "int8"),),
        macs=7,
        resource_bound=3,
        resource_name="MEM ports",
    )
    return dataclasses.replace(program, cycles=cycles(program))
