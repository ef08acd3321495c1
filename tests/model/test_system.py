# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Programs of several chips: which SEND meets which RECEIVE, what comes of it, and what the checker refuses."""

import dataclasses

import numpy as np
import pytest

from openlpu.arch.assembly import parse_instruction
from openlpu.arch.config import AluConfig, OpClass
from openlpu.arch.isa import Instruction
from openlpu.arch.links import DESKEW_DEPTH, flit_format
from openlpu.arch.presets import NANO
from openlpu.arch.program import Program, Vector
from openlpu.arch.system import LinkEnd, SystemConfig, Topology
from openlpu.model.link import check
from openlpu.model.system import GoldenSystem, link_system
from openlpu.model.violation import CheckError

LINKED = dataclasses.replace(
    NANO,
    name="linked",
    mem_words=256,
    alus=(AluConfig(classes=(OpClass.INT,), chain=(0,)),),
    c2c_links=2,
    c2c_width=8,
)
RING = SystemConfig(name="ring", chip=LINKED, chips=3, topology=Topology.RING)
BEATS = flit_format(LINKED).beats
SENT = 5
"""First cycle in which what was read in cycle 0 may be sent."""
END = 600


def text(start: str, *lines: tuple[int, str], end: int = END) -> tuple[Instruction, ...]:
    """Instructions in given cycles."""
    words, cycle = [start], 0
    for at, line in lines:
        words += [f"nop n={at - cycle}"] * (at > cycle) + [line]
        cycle = at + 1
    return tuple(parse_instruction(word) for word in [*words, f"nop n={end - cycle}", "halt"])


def program(chip: int, queues: dict[str, tuple[Instruction, ...]], image: list[Vector] | None = None) -> Program:
    words = {(0, address): word for address, word in enumerate(image or [])}
    return Program(name=f"p{chip}", config=LINKED, text=queues, image=words, cycles=END + 1)


def around(
    latency: int = RING.latency,
    gap: int = BEATS,
    count: int = 3,
    deskews: tuple[int, ...] = (),
    pause: int = RING.pause,
) -> list[Program]:
    """Words of chip 0 go to chip 1, and from there at once to chip 2, which writes them."""
    image = [np.array([i, -i, 2 * i, 7], np.int8) for i in range(count)]
    pauses = [(at, f"deskew n={pause}") for at in deskews]
    sends = [SENT - 1 + i * gap for i in range(count)]
    # A received vector passes the link's own hop three cycles later, and is sent on from there.
    first = [at + latency for at in sends]
    onward = [at + 2 for at in first]
    second = [at + RING.latency for at in onward]

    def with_pauses(lines: list[tuple[int, str]]) -> tuple[Instruction, ...]:
        return text("sync", *sorted(lines + pauses))

    reads = [(at - SENT + 1, f"read a={i} d=e0") for i, at in enumerate(sends)]
    writes = [(at + 4, f"write a={8 + i} s=w1") for i, at in enumerate(second)]
    return [
        program(
            0,
            {"mem_e0.read": text("notify", *reads), "c2c0.send": with_pauses([(at, "send s=e0") for at in sends])},
            image,
        ),
        program(
            1,
            {
                "c2c1.receive": text("notify", *[(at, "receive d=w1") for at in first]),
                "c2c0.send": with_pauses([(at, "send s=w1") for at in onward]),
            },
        ),
        program(
            2,
            {
                "c2c1.receive": text("notify", *[(at, "receive d=w1") for at in second]),
                "mem_e0.write": text("sync", *writes),
                "c2c0.send": with_pauses([]),
            },
        ),
    ]


def refused(programs: list[Program], system: SystemConfig = RING) -> str:
    with pytest.raises(CheckError) as caught:
        link_system(system, programs)
    return str(caught.value)


def test_vectors_go_from_chip_to_chip() -> None:
    golden = GoldenSystem(RING)
    linked = golden.load(around())
    assert [status.cycles for status in golden.run()] == [END + 1] * 3
    for i in range(3):
        assert golden.read_memory(2, 0, 8 + i).tolist() == [i, -i, 2 * i, 7]
    assert [(m.sender, m.receiver, m.receive.cycle - m.send.cycle) for m in linked.meetings] == [
        *[(LinkEnd(0, 0), LinkEnd(1, 1), RING.latency)] * 3,
        *[(LinkEnd(1, 0), LinkEnd(2, 1), RING.latency)] * 3,
    ]
    # Another run, with other words, of the same data flow.
    golden.write_memory(0, 0, 1, np.array([9, 8, 7, 6], np.int8))
    golden.run()
    assert golden.read_memory(2, 0, 9).tolist() == [9, 8, 7, 6]


def test_a_run_needs_programs() -> None:
    with pytest.raises(ValueError, match="no programs"):
        GoldenSystem(RING).run()
    with pytest.raises(ValueError, match="has 3 chips 'linked'"):
        link_system(RING, around()[:2])


def test_too_early() -> None:
    message = refused(around(latency=RING.latency - 1))
    due = SENT - 1 + RING.latency
    assert f"cycle {due - 1}, chip 1 c2c1.receive, 'receive d=w1': may be there only from cycle {due} on" in message


def test_too_often() -> None:
    message = refused(around(gap=BEATS - 1))
    assert f"the link takes a vector every {BEATS} cycles, and is busy with cycle {SENT - 1}" in message


def test_nothing_is_sent_or_received() -> None:
    first, second, third = around()
    silent = dataclasses.replace(first, text={"c2c0.send": text("notify")})
    assert "chip 1 c2c1.receive, 'receive d=w1': nothing that chip 0 link 0 has sent is left" in refused(
        [silent, second, third]
    )
    deaf = dataclasses.replace(third, text={"c2c0.send": text("notify")})
    assert "chip 1 c2c0.send, 'send s=w1': chip 2 link 1 never receives it" in refused([first, second, deaf])


def test_no_room() -> None:
    count = DESKEW_DEPTH + 1
    sends = [SENT - 1 + i * BEATS for i in range(count)]
    late = [sends[-1] + RING.latency + i for i in range(count)]
    reads = text("notify", *[(at - SENT + 1, f"read a={i} d=e0") for i, at in enumerate(sends)])
    sender = program(
        0,
        {"mem_e0.read": reads, "c2c0.send": text("sync", *[(at, "send s=e0") for at in sends])},
        [np.zeros(4, np.int8)] * count,
    )
    receiver = program(1, {"c2c1.receive": text("notify", *[(at, "receive d=w1") for at in late])})
    idle = program(2, {"c2c0.send": text("notify")})
    message = refused([sender, receiver, idle])
    assert message.startswith("ring: 1 violation\n")
    assert "there may be no room for it: chip 1 link 1 holds 16 vectors, and has received 0 by then" in message


def test_nowhere() -> None:
    three = dataclasses.replace(LINKED, c2c_links=3)
    system = dataclasses.replace(RING, chip=three)
    first = Program(
        name="p",
        config=three,
        text={
            "mem_e0.read": text("notify", (0, "read a=0 d=e0")),
            "c2c2.send": text("sync", (SENT - 1, "send s=e0")),
            "c2c2.receive": text("sync", (50, "receive d=w0")),
        },
        image={(0, 0): np.zeros(4, np.int8)},
        cycles=END + 1,
    )
    others = [Program(name="q", config=three, text={"c2c0.send": text("notify")}, cycles=END + 1)] * 2
    message = refused([first, *others], system)
    assert "chip 0 c2c2.send, 'send s=e0': chip 0 link 2 goes nowhere" in message
    assert "chip 0 c2c2.receive, 'receive d=w0': chip 0 link 2 goes nowhere" in message
    with pytest.raises(CheckError, match="the link goes nowhere: programs of chips that are connected"):
        check(first)


def test_deskews() -> None:
    often = dataclasses.replace(RING, deskew_cycles=250)
    link_system(often, around(deskews=(240, 480), pause=often.pause))
    assert "chip 0: 361 cycles pass from cycle 240 on without a deskew: 250 may" in refused(
        around(deskews=(240,), pause=often.pause), often
    )
    assert "a pause of less than" in refused(around(deskews=(240, 480), pause=often.pause - 1), often)
    alone = [*around(deskews=(240, 480))[:2], around(deskews=(241, 480))[2]]
    assert "other chips do not pause as long in this cycle" in refused(alone, often)


def test_violations_say_which_chip() -> None:
    first, second, third = around()
    assert "chip 1: it takes 601 cycles, but says 5" in refused([first, dataclasses.replace(second, cycles=5), third])
    ghost = dataclasses.replace(third, text=third.text | {"mem_w9.read": text("sync")})
    assert "chip 2: the chip has no queue 'mem_w9.read'" in refused([first, second, ghost])
