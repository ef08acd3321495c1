# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Instruction text that arrives on a stream, on the golden model and on the RTL, at the last moment that is allowed.

Word k of a queue's text is read before the queue comes to word k - 2. Two words lie between the wait and the first word
fetched, so it is the wait that decides when that is read.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import Queue, QueueKind, Stream, geometry
from openlpu.arch.isa import BY_MNEMONIC, IMMEDIATE, Instruction, instruction
from openlpu.arch.presets import NANO
from openlpu.arch.program import Program
from openlpu.arch.timing import timing
from openlpu.model.link import check
from openlpu.model.text import follow_program
from openlpu.model.violation import CheckError
from openlpu.verif.lockstep import compare
from openlpu.verif.rtl_port import RtlChip

AT = 6
"""Where fetched text goes: behind sync, nop, ifetch, the wait, and two words more."""
LONGEST = 40
"""A wait that the slowest fetch is done after."""


def fetched_text(queue: Queue) -> tuple[Instruction, ...]:
    """What arrives: instructions that are legal in the queue without any preparation."""
    match queue.kind:
        case QueueKind.VXM:
            work = tuple(instruction("pass", x=IMMEDIATE, imm=value) for value in (1, 0x12345678, 0xFFFFFFFF))
        case _:
            work = tuple(instruction("nop", n=cycles) for cycles in (1, 3, 2))
    return (*work, instruction("halt"))


def fetching(config: ChipConfig, queue: Queue, stream: Stream, wait: int) -> Program | None:
    """A program that fetches its end and comes to it `wait` cycles later; None when no slice is upstream."""
    chip, codec, times = geometry(config), encoding(config), timing(config)
    readers = [
        reader
        for reader in chip.of_kind(QueueKind.MEM_READ)
        if reader != queue and stream in reader.produces and chip.hops_between(stream, reader.hop, queue.hop) >= 0
    ]
    if not readers:
        return None
    reader, text = readers[-1], fetched_text(queue)
    size = codec.word_vectors(queue.kind) * config.lanes
    data = b"".join(codec.encode(inst, queue).to_bytes(size, "little") for inst in text)
    vectors = np.frombuffer(data, np.int8).reshape(-1, config.lanes)
    func = times.latency(BY_MNEMONIC["read"], reader).func
    assert func is not None
    assert times.fetch.skew is not None
    arrives = 2 + func + chip.hops_between(stream, reader.hop, queue.hop)
    resident = [
        instruction("sync"),
        instruction("nop", n=arrives - times.fetch.skew),
        instruction("ifetch", s=stream, a=AT, n=len(text)),
        instruction("nop", n=wait),
    ]
    resident += [instruction("nop", n=1)] * (AT - len(resident))
    reading = [instruction("notify"), instruction("nop", n=2), instruction("read", a=0, d=stream)]
    reading += [instruction("repeat", n=len(vectors) - 1, step=1), instruction("nop", n=2 * LONGEST)]
    reading += [instruction("halt")]
    program = Program(
        name="fetching",
        config=config,
        text={reader.name: tuple(reading), queue.name: tuple(resident)},
        image={(reader.index, address): vector.copy() for address, vector in enumerate(vectors)},
    )
    lengths = [expansion.halt for expansion in follow_program(program).expansions.values()]
    return dataclasses.replace(program, cycles=max(halt for halt in lengths if halt is not None) + 1)


def refusals(program: Program) -> str:
    """What the checker has against a program; nothing when it accepts it."""
    try:
        check(program)
    except CheckError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("queue", geometry(NANO).queues, ids=lambda queue: queue.name)
def test_text_is_fetched_at_the_last_moment(rtl_chip: Callable[[ChipConfig], RtlChip], queue: Queue) -> None:
    tried = 0
    for stream in queue.fetches:
        if fetching(NANO, queue, stream, LONGEST) is None:
            continue
        tried += 1
        programs = [program for wait in range(1, LONGEST) if (program := fetching(NANO, queue, stream, wait))]
        verdicts = [refusals(program) for program in programs]
        first = verdicts.index("")
        assert first > 0, "with the shortest wait of all, the text cannot stand in time"
        assert "is read on the clock edge of its fetch" in verdicts[first - 1]
        assert verdicts[first:] == [""] * len(verdicts[first:])
        compare(programs[first], rtl_chip(NANO))
    assert tried
