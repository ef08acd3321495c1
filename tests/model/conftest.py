# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Programs written by hand: instructions at given cycles, the waiting between them filled in."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from openlpu.arch.assembly import parse_instruction
from openlpu.arch.config import ChipConfig
from openlpu.arch.geometry import Stream, geometry
from openlpu.arch.isa import BY_MNEMONIC, Instruction, instruction
from openlpu.arch.presets import NANO
from openlpu.arch.program import Program
from openlpu.arch.timing import timing
from openlpu.model.link import cycles

Schedule = Mapping[str, Mapping[int, str]]


def queue_text(first: str, lines: Mapping[int, str], halt: int) -> tuple[Instruction, ...]:
    """The text that brings each line to the head of its queue in the given cycle, and halts."""
    text, head = [instruction(first)], 0
    for cycle in sorted(lines):
        assert cycle >= head, f"cycle {cycle} is taken"
        if cycle > head:
            text.append(instruction("nop", n=cycle - head))
        inst = parse_instruction(lines[cycle])
        text.append(inst)
        busy = inst.number("n") * inst.number("gap") if inst.spec.mnemonic == "repeat" else 1
        head = cycle + busy
    if halt > head:
        text.append(instruction("nop", n=halt - head))
    return (*text, instruction("halt"))


@pytest.fixture
def build() -> Callable[..., Program]:
    """`build(schedule, halt=20, **fields)`: lines at cycles, by queue; every queue halts in cycle `halt`."""

    def build(schedule: Schedule, halt: int = 30, config: ChipConfig = NANO, **fields: Any) -> Program:
        text = {
            name: queue_text("notify" if i == 0 else "sync", lines, halt)
            for i, (name, lines) in enumerate(schedule.items())
        }
        program = Program(name="test", config=config, text=text, **fields)
        return dataclasses.replace(program, cycles=cycles(program))

    return build


@pytest.fixture
def meet() -> Callable[..., int]:
    """`meet(cycle, producer, consumer, stream)`: when a consumer dispatches to sample what a producer of `cycle` made.

    Producer and consumer are (queue, mnemonic).
    """

    def meet(cycle: int, producer: tuple[str, str], consumer: tuple[str, str], stream: Stream) -> int:
        chip, table = geometry(NANO), timing(NANO)
        source, sink = chip.by_name[producer[0]], chip.by_name[consumer[0]]
        func = table.latency(BY_MNEMONIC[producer[1]], source).func
        skew = table.latency(BY_MNEMONIC[consumer[1]], sink).skew
        assert func is not None
        assert skew is not None
        return cycle + func + chip.hops_between(stream, source.hop, sink.hop) - skew

    return meet
