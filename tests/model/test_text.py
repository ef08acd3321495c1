# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Instruction text that is fetched from SRAM while the program runs: what it does, and every way of it being wrong."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from openlpu.arch.assembly import parse_instruction
from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import Direction, geometry
from openlpu.arch.isa import BY_MNEMONIC, instruction
from openlpu.arch.presets import NANO
from openlpu.arch.program import Program
from openlpu.arch.timing import timing
from openlpu.model.golden import GoldenChip, GoldenError
from openlpu.model.link import check, cycles, link
from openlpu.model.violation import CheckError

QUEUE = geometry(NANO).by_name["mem_e2.read"]
FETCH = 3
"""The dispatch of `ifetch` that samples what mem_e0 reads in cycle 0: one hop upstream."""
STANDS = FETCH + (timing(NANO).fetch.state or 0)
"""The first fetched word may be read from this cycle on."""
DATA = {(2, a): np.full(4, a, np.int8) for a in range(8)}


def text_image(*lines: str, first: int = 10, config: ChipConfig = NANO) -> dict[tuple[int, int], NDArray[np.int8]]:
    """Words of slice 0 from `first` on that hold the text of mem_e2.read."""
    codec, queue = encoding(config), geometry(config).by_name[QUEUE.name]
    size = codec.word_vectors(queue.kind) * config.lanes
    raw = b"".join(codec.encode(parse_instruction(line), queue).to_bytes(size, "little") for line in lines)
    vectors = np.frombuffer(raw, np.int8).reshape(-1, config.lanes)
    return {(0, first + k): vector for k, vector in enumerate(vectors)}


def program(
    resident: tuple[str, ...],
    image: Mapping[tuple[int, int], NDArray[np.int8]],
    others: Mapping[str, tuple[str, ...]] | None = None,
    config: ChipConfig = NANO,
) -> Program:
    """mem_e0 reads all text back to back from cycle 0 on; mem_e2 begins with `resident`."""
    count = sum(place[0] == 0 for place in image)
    lines = {
        "mem_e0.read": ("notify", "read a=10 d=e2", f"repeat n={count - 1} gap=1 step=1", "nop n=60", "halt"),
        "mem_e2.read": resident,
        **(others or {}),
    }
    text = {name: tuple(parse_instruction(line) for line in text) for name, text in lines.items()}
    made = Program(name="test", config=config, text=text, image={**DATA, **image})
    return dataclasses.replace(made, cycles=cycles(made))


def resident(words: int = 2, wait: int = 20) -> tuple[str, ...]:
    """Fetch to address 6; word 6 is read `text_ahead` cycles before word 4 is reached."""
    return ("sync", f"nop n={FETCH}", f"ifetch s=e2 a=6 n={words}", f"nop n={wait}", "nop n=1", "nop n=1")


def refusals(bad: Program) -> list[str]:
    with pytest.raises(CheckError) as caught:
        check(bad)
    return [str(violation) for violation in caught.value.violations]


def loaded(good: Program) -> GoldenChip:
    chip = GoldenChip(good.config)
    for (number, address), word in good.image.items():
        chip.write_memory(number, address, word[np.newaxis])
    for number, queue in enumerate(geometry(good.config).queues):
        text = good.text.get(queue.name, (instruction("halt"),))
        chip.write_text(number, [encoding(good.config).encode(inst, queue) for inst in text])
    return chip


def west(chip: GoldenChip) -> list[int]:
    """The words that mem_e2 read onto w4, by their first byte."""
    assert chip.trace is not None
    return [int(chip.trace.vectors[p.vector][0]) for p in chip.trace.productions if str(p.stream) == "w4"]


def test_fetched_text_is_executed() -> None:
    good = program(resident(3), text_image("read a=5 d=w4", "repeat n=2 gap=3 step=-1", "halt"))
    check(good)
    chip = loaded(good)
    assert chip.run().cycles == good.cycles
    assert west(chip) == [5, 4, 3]
    reads = [d for d in link(good).dispatches if d.queue == QUEUE]
    assert [(d.cycle, d.index) for d in reads] == [(FETCH + 1 + 22, 6), (FETCH + 26, 7), (FETCH + 29, 7)]
    chip.run()
    assert west(chip) == [5, 4, 3]
    with pytest.raises(GoldenError, match=f"{QUEUE.name}: fetches text, which stays in its instruction memory"):
        chip.run(2)


def test_the_host_may_change_the_text_in_sram() -> None:
    good = program(resident(2), text_image("read a=5 d=w4", "halt"))
    chip = loaded(good)
    chip.run()
    for (number, address), word in text_image("read a=7 d=w4", "halt").items():
        chip.write_memory(number, address, word[np.newaxis])
    chip.run()
    assert west(chip) == [7]


def test_fetched_text_fetches_more() -> None:
    at = FETCH + 1 + 20 + 2  # dispatch of the second fetch
    first = text_image("ifetch s=e2 a=10 n=2", "nop n=12", "nop n=1", "nop n=1")
    filler = {(0, 10 + len(first) + k): np.zeros(4, np.int8) for k in range(at - FETCH - len(first))}
    second = text_image("read a=6 d=w4", "halt", first=10 + at - FETCH)
    good = program(resident(4), {**first, **filler, **second})
    check(good)
    chip = loaded(good)
    assert chip.run().cycles == good.cycles
    assert west(chip) == [6]


def test_text_continues_at_address_0() -> None:
    small = dataclasses.replace(NANO, imem_words=8)
    lines = ("read a=1 d=w4", "read a=2 d=w4", "read a=3 d=w4", "halt")
    good = program(resident(4), text_image(*lines, config=small), config=small)
    check(good)
    chip = loaded(good)
    chip.run()
    assert west(chip) == [1, 2, 3]
    # Addresses 0 and 1 hold fetched words now, so the text does not begin with sync any more: as in hardware.
    with pytest.raises(ValueError, match="must begin with sync or notify"):
        chip.run()


@pytest.mark.parametrize(
    ("early", "problem"), [(0, ""), (1, "on the clock edge of its fetch"), (2, "fetched too late")]
)
def test_text_must_stand_before_it_is_read(early: int, problem: str) -> None:
    # Word 6 is read text_ahead cycles before word 4 is reached, in FETCH + 1 + wait; the halt one cycle later.
    wait = STANDS - early + timing(NANO).text_ahead - (FETCH + 1)
    made = program(resident(2, wait), text_image("read a=5 d=w4", "halt"))
    if problem:
        assert any(problem in message for message in refusals(made))
    else:
        check(made)


def test_a_word_of_several_vectors() -> None:
    queue = geometry(NANO).by_name["vxm.alu0"]
    (stream,) = (s for s in queue.fetches if s.direction is Direction.WEST)
    size = encoding(NANO).word_vectors(queue.kind) * NANO.lanes
    assert size > NANO.lanes
    codes = [encoding(NANO).encode(parse_instruction(t), queue) for t in ("pass x=imm d=e4.word imm=0x1234567", "halt")]
    words = np.frombuffer(b"".join(code.to_bytes(size, "little") for code in codes), np.int8).reshape(-1, NANO.lanes)
    lines = {
        "mem_e0.read": (
            "notify",
            f"read a=10 d={stream}",
            f"repeat n={len(words) - 1} gap=1 step=1",
            "nop n=60",
            "halt",
        ),
        "vxm.alu0": ("sync", f"nop n={FETCH}", f"ifetch s={stream} a=6 n=2", "nop n=20", "nop n=1", "nop n=1"),
    }
    text = {name: tuple(parse_instruction(line) for line in text) for name, text in lines.items()}
    made = Program(name="test", config=NANO, text=text, image={(0, 10 + k): word for k, word in enumerate(words)})
    chip = loaded(dataclasses.replace(made, cycles=cycles(made)))
    chip.run()
    assert chip.trace is not None
    driven = [int(chip.trace.vectors[p.vector][0]) & 0xFF for p in chip.trace.productions if p.dispatch.queue == queue]
    assert driven == [0x67, 0x45, 0x23, 0x01]


def test_text_is_executed_once() -> None:
    small = dataclasses.replace(NANO, imem_words=8)
    lines = ["read a=1 d=w4"] * 8
    assert any(
        "does not end with halt" in m
        for m in refusals(program(resident(8), text_image(*lines, config=small), config=small))
    )


def test_fetches_of_a_queue_do_not_overlap() -> None:
    image = text_image("read a=5 d=w4", "halt", "nop n=1")
    text = ("sync", "nop n=3", "ifetch s=e2 a=9 n=2", "ifetch s=e2 a=20 n=1", "nop n=20", *["nop n=1"] * 4)
    messages = refusals(program(text, image))
    assert any("the fetch before it takes vectors until cycle 4" in message for message in messages)


def test_a_fetch_ends_before_its_queue() -> None:
    text = ("sync", "nop n=3", "ifetch s=e2 a=20 n=4", "nop n=1", "halt")
    lines = ["nop n=1"] * 4
    assert any("still fetching until cycle" in message for message in refusals(program(text, text_image(*lines))))
    check(program((*text[:3], "nop n=30", "halt"), text_image(*lines)))


def test_text_comes_from_reads_of_constants() -> None:
    image = text_image("read a=5 d=w4", "halt")
    good = program(resident(2), image)
    missing = dataclasses.replace(good, image={k: v for k, v in good.image.items() if k != (0, 10)})
    with pytest.raises(CheckError, match=r"takes text from word 10 of mem_e0, which is no constant"):
        link(missing, defined=[(0, 10)])
    # alu0 puts a vector onto e2 right behind the two words of text.
    func = timing(NANO).latency(BY_MNEMONIC["pass"], geometry(NANO).by_name["vxm.alu0"]).func
    assert func is not None
    waiting = (f"nop n={4 - func}",) if func < 4 else ()
    alu = ("sync", *waiting, "pass x=imm d=e2.byte", "nop n=20", "halt")
    (message,) = refusals(program(resident(3), image, {"vxm.alu0": alu}))
    assert f"text must come from SRAM by plain reads, not from cycle {4 - func}, vxm.alu0" in message


def test_text_is_never_written() -> None:
    others = {"mem_e0.write": ("sync", "nop n=30", "write a=10 s=e5", "nop n=20", "halt")}
    made = program(resident(2), text_image("read a=5 d=w4", "halt"), others)
    assert any(
        "takes text from a word that is written: cycle 30, mem_e0.write" in message for message in refusals(made)
    )


def test_what_is_fetched_must_be_instructions() -> None:
    made = program(resident(2), {(0, 10 + k): np.zeros(4, np.int8) for k in range(2)})
    assert any("fetches no instruction for address 6" in message for message in refusals(made))


def test_an_empty_stream() -> None:
    text = ("sync", "nop n=2", "ifetch s=e2 a=5 n=1", "nop n=20", "halt")
    messages = refusals(program(text, text_image("nop n=1")))
    assert any(f"e2 is empty at hop 2 in cycle {2 + 1}" in message for message in messages)
