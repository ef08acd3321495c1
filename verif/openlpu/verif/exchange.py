# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A program for systems of chips that keeps every link busy: each chip sends its input to all that it is connected to.

It does nothing else, so what a link does to a vector can be seen, and of what length a run is.
"""

import dataclasses

from openlpu.arch.geometry import Direction, QueueKind, Stream, geometry
from openlpu.arch.isa import BY_MNEMONIC, Instruction, instruction
from openlpu.arch.links import flit_format
from openlpu.arch.program import Column, Port, Program
from openlpu.arch.system import SystemConfig
from openlpu.arch.timing import timing
from openlpu.compiler.journeys import after
from openlpu.compiler.shortest_text import shortest_text
from openlpu.compiler.timeline import Run
from openlpu.model.link import cycles

_TAIL = 64
"""Cycles between a DESKEW and the next one, or the end, are so many fewer than may be."""


def exchange(system: SystemConfig, rows: int) -> tuple[Program, ...]:
    """A program for each chip: input `x`, int8 [rows, lanes], goes out by every link, back to back; output `y<k>` is
    what came in by link k.

    Raises ValueError when the chips have two hemispheres, or fewer slices or streams than links, or too little SRAM.
    """
    config = system.chip
    links = config.c2c_links
    if config.hemispheres != 1 or min(config.mem_slices, config.streams) < links or config.mem_words < 2 * rows:
        raise ValueError(f"config '{config.name}' cannot exchange {rows} rows by {links} links in this simple way")
    return tuple(_program(system, chip, rows) for chip in range(system.chips))


def _program(system: SystemConfig, chip: int, rows: int) -> Program:
    config = system.chip
    places, times, beats = geometry(config), timing(config), flit_format(config).beats
    used = [end.link for end in system.peers if end.chip == chip]
    reader = places.of_kind(QueueKind.MEM_READ)[0]
    out = Stream(Direction.EAST, 0)
    runs: dict[str, list[Run]] = {reader.name: [_run(0, "read", rows, beats, a=0, d=out)]}
    # Where a value meets a queue: what it takes from there on, and until there.
    leaves = after(times.latency(BY_MNEMONIC["read"], reader).func)
    for link in used:
        sender, receiver = (places.of_kind(kind)[link] for kind in (QueueKind.C2C_SEND, QueueKind.C2C_RECEIVE))
        writer = places.of_kind(QueueKind.MEM_WRITE)[link]
        takes = after(times.latency(BY_MNEMONIC["send"], sender).skew)
        comes = after(times.latency(BY_MNEMONIC["receive"], receiver).func)
        stores = after(times.latency(BY_MNEMONIC["write"], writer).skew)
        sent = leaves + sender.hop - reader.hop - takes
        received = sent + system.latency
        written = received + comes + receiver.hop - writer.hop - stores
        back = Stream(Direction.WEST, link)
        runs[sender.name] = [_run(sent, "send", rows, beats, s=out)]
        runs[receiver.name] = [_run(received, "receive", rows, beats, d=back)]
        runs[writer.name] = [_run(written, "write", rows, beats, a=rows, s=back)]
    length = max(run.last for each in runs.values() for run in each) + _TAIL
    first = places.of_kind(QueueKind.C2C_SEND)[0].name
    (sends,) = runs[first]
    period = system.deskew_cycles - _TAIL
    # A DESKEW stands between two SENDs.
    pauses = [cycle + ((cycle - sends.cycle) % beats == 0) for cycle in range(period, length, period)]
    runs[first] = [*runs[first], *(Run(cycle, instruction("deskew", n=system.pause)) for cycle in pauses)]
    program = Program(
        name=f"exchange{chip}",
        config=config,
        text={
            name: (
                instruction("notify" if name == reader.name else "sync"),
                *shortest_text(sorted(each, key=lambda run: run.cycle), places.by_name[name], length, config),
                instruction("halt"),
            )
            for name, each in runs.items()
        },
        inputs=(Port("x", (rows, config.lanes), rows, config.lanes, (Column((0,), 0),), "int8"),),
        outputs=tuple(
            Port(f"y{link}", (rows, config.lanes), rows, config.lanes, (Column((link,), rows),), "int8")
            for link in used
        ),
    )
    return dataclasses.replace(program, cycles=cycles(program))


def _run(cycle: int, mnemonic: str, rows: int, gap: int, **fields: int | Stream) -> Run:
    made: Instruction = instruction(mnemonic, **fields)
    return Run(cycle, made, rows, gap, 1 if "a" in fields else 0)
