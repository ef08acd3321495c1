# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The checker: a correct program passes, and each way of being wrong is found, by the smallest program that has it."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from openlpu.arch.assembly import parse_instruction
from openlpu.arch.config import ChipConfig, OpClass
from openlpu.arch.geometry import Direction, Stream, geometry
from openlpu.arch.isa import Instruction, instruction
from openlpu.arch.presets import NANO, ULX3S
from openlpu.arch.program import Column, Port, Program
from openlpu.model.golden import GoldenChip
from openlpu.model.link import check, cycles, link
from openlpu.model.violation import CheckError
from openlpu.runtime.driver import Device

Build = Callable[..., Program]
Meet = Callable[..., int]

E3 = Stream(Direction.EAST, 3)
WORD = np.arange(4, dtype=np.int8)
READ, WRITE = ("mem_e0.read", "read"), ("mem_e2.write", "write")


def refusals(program: Program) -> list[str]:
    with pytest.raises(CheckError) as caught:
        check(program)
    return [str(violation) for violation in caught.value.violations]


def only(program: Program) -> str:
    """The one violation of a program: one mistake is reported once."""
    (message,) = refusals(program)
    return message


@pytest.fixture
def copy(build: Build, meet: Meet) -> Program:
    write = meet(0, READ, WRITE, E3)
    return build({"mem_e0.read": {0: "read a=1 d=e3"}, "mem_e2.write": {write: "write a=9 s=e3"}}, image={(0, 1): WORD})


def test_a_correct_program_passes(copy: Program) -> None:
    check(copy)
    linked = link(copy)
    assert linked.cycles == copy.cycles == cycles(copy)
    assert linked.loads == ((0, 1),)
    (production,) = linked.productions
    assert (production.hop, production.stream, production.vector) == (1, E3, 0)
    (write,) = linked.writes
    assert (write.slice, write.address, write.vector) == (2, 9, 0)


@pytest.mark.parametrize("late", [-1, 1])
def test_an_empty_stream(build: Build, meet: Meet, late: int) -> None:
    cycle = meet(0, READ, WRITE, E3) + late
    program = build(
        {"mem_e0.read": {0: "read a=1 d=e3"}, "mem_e2.write": {cycle: "write a=9 s=e3"}}, image={(0, 1): WORD}
    )
    assert only(program) == (
        f"cycle {cycle}, mem_e2.write, 'write a=9 s=e3': e3 is empty at hop 2 in cycle {cycle + 1}"
    )
    with pytest.raises(CheckError) as caught:
        check(program)
    assert caught.value.violations[0].fault_cycle == cycle + 1


def test_a_stream_is_empty_upstream_of_its_producer(build: Build) -> None:
    # mem_e2 stands one hop east of mem_e0, and e3 flows east: no cycle lets mem_e0 see it.
    reads = dict.fromkeys(range(12), "read a=1 d=e3")
    program = build({"mem_e2.read": reads, "mem_e0.write": {8: "write a=0 s=e3"}}, image={(2, 1): WORD})
    assert "e3 is empty at hop 1" in only(program)


def test_a_passing_value_is_replaced(build: Build, meet: Meet) -> None:
    write = meet(0, READ, WRITE, E3)
    program = build(
        {
            "mem_e0.read": {0: "read a=1 d=e3"},
            "mem_e3.read": {1: "read a=2 d=e3"},
            "mem_e2.write": {write: "write a=9 s=e3"},
        },
        image={(0, 1): WORD, (3, 2): -WORD},
    )
    linked = link(program)
    assert [linked.loads[write.vector] for write in linked.writes] == [(3, 2)]


def test_two_producers_in_one_register(build: Build) -> None:
    program = build(
        {"mem_e0.read": {0: "read a=1 d=e3"}, "mem_e1.read": {0: "read a=1 d=e3"}}, image={(0, 1): WORD, (1, 1): WORD}
    )
    assert "two producers of e3 at hop 1: also cycle 0, mem_e0.read, 'read a=1 d=e3'" in only(program)


def test_two_producers_of_one_plane_of_a_group(build: Build) -> None:
    program = build({"vxm.alu0": {0: "iadd x=imm y=imm d=e4.word imm=0x1"}, "vxm.alu4": {0: "pass x=imm d=e6.byte"}})
    assert "two producers of e6 at hop 0" in only(program)


@pytest.mark.parametrize(("read", "found"), [(1, "old"), (2, "collision"), (3, "new")])
def test_reading_a_word_around_its_write(build: Build, read: int, found: str) -> None:
    # The write of cycle 0 + 1 samples in cycle 2 (dispatch, then skew), its clock edge ends cycle 3, it stands from 4.
    schedule = {
        "vxm.alu0": {0: "pass x=imm d=e3.byte"},
        "mem_e0.write": {4: "write a=5 s=e3"},
        "mem_e0.read": {4 + read - 1: "read a=5 d=e0"},
    }
    program = build(schedule, image={(0, 5): WORD})
    if found == "collision":
        assert "reads the word on the clock edge of cycle 4, mem_e0.write" in only(program)
    else:
        linked = link(program)
        value = next(p.vector for p in linked.productions if p.stream.index == 0)
        assert (value == linked.writes[0].vector) == (found == "new")
        assert (value == 0 and linked.loads == ((0, 5),)) == (found == "old")


def test_a_word_that_holds_nothing(build: Build) -> None:
    program = build({"mem_e0.read": {2: "read a=7 d=e3"}})
    assert only(program).endswith("word 7 of mem_e0 holds nothing yet in cycle 3")
    check(dataclasses.replace(program, image={(0, 7): WORD}))
    link(program, defined=[(0, 7)])
    port = Port("x", (1, 4), 1, 4, (Column((0,), 7),), "int8")
    check(dataclasses.replace(program, inputs=(port,)))


def test_a_word_written_too_late(build: Build) -> None:
    schedule = {
        "vxm.alu0": {0: "pass x=imm d=e3.byte"},
        "mem_e0.write": {4: "write a=5 s=e3"},
        "mem_e0.read": {3: "read a=5 d=e0"},
    }
    assert "word 5 of mem_e0 holds nothing yet" in only(build(schedule))


def test_one_mistake_is_reported_once(build: Build, meet: Meet) -> None:
    # The word that holds nothing poisons the stream, the SRAM word and the ALU behind it, silently.
    write = meet(0, READ, WRITE, E3)
    program = build(
        {
            "mem_e0.read": {0: "read a=1 d=e3"},
            "mem_e2.write": {write: "write a=9 s=e3"},
            "mem_e2.read": {write + 3: "read a=9 d=w1"},
            "vxm.alu0": {write + 3 + 4: "iadd x=w1.byte y=imm d=e0.byte"},
            "vxm.alu1": {write + 3 + 6: "i2f x=alu0 y=imm d=e4.word"},
        }
    )
    assert "word 1 of mem_e0 holds nothing" in only(program)


ROWS = {(i, 0): WORD for i in range(4)}


def test_weights_never_installed(build: Build) -> None:
    schedule = {"mem_e0.read": {0: "read a=0 d=e0"}, "mxm_e0.acts": {5: "abc s=e0"}}
    assert only(build(schedule, image=ROWS)).endswith("no weights are installed in mxm_e0 yet")


def test_weights_installed_but_never_loaded(build: Build) -> None:
    schedule = {
        "mem_e0.read": {0: "read a=0 d=e0"},
        "mxm_e0.weights": {1: "iw"},
        "mxm_e0.acts": {5: "abc s=e0"},
    }
    message = only(build(schedule, image=ROWS))
    assert message.endswith("multiplies with weights of mxm_e0 never loaded: row 0 and 3 others")


@pytest.mark.parametrize(("install", "good"), [(5, True), (6, False)])
def test_weights_installed_in_time(build: Build, install: int, good: bool) -> None:
    # abc of cycle 5 multiplies with what stands in the array one cycle after its activations are sampled.
    schedule = {
        "mem_e0.read": {0: "read a=0 d=e0"},
        "mxm_e0.weights": {install: "iw"},
        "mxm_e0.acts": {5: "abc s=e0"},
    }
    message = only(build(schedule, image=ROWS))
    assert ("never loaded" in message) == good
    assert ("no weights are installed" in message) != good


@pytest.mark.parametrize("late", [-1, 0, 1])
def test_sums_stand_for_one_cycle(build: Build, late: int) -> None:
    schedule = {
        **{f"mem_e{i}.read": {1 if i >= 2 else 0: f"read a=0 d=e{i}"} for i in range(4)},
        "mxm_e0.weights": {5: "lw g=0", 6: "iw"},
        "mxm_e0.acts": {8: "abc s=e0"},
        "mxm_e0.accs": {10 + late: "acc_set a=0"},
    }
    schedule["mem_e0.read"] = {0: "read a=0 d=e0", 3: "read a=0 d=e0"}
    program = build(schedule, image=ROWS)
    if late:
        assert only(program).endswith(f"no sums leave the array in cycle {12 + late}")
    else:
        check(program)


@pytest.mark.parametrize("line", ["acc_out a=3 d=w0", "acc_add a=3"])
def test_an_accumulator_that_holds_nothing(build: Build, line: str) -> None:
    messages = refusals(build({"mxm_e0.accs": {0: line}}))
    assert messages[-1].endswith("accumulator 3 of mxm_e0 holds nothing yet")


@pytest.mark.parametrize(("cycle", "good"), [(1, False), (2, True), (3, False)])
def test_a_chain_meets_its_result_in_one_cycle(build: Build, cycle: int, good: bool) -> None:
    program = build({"vxm.alu0": {0: "pass x=imm imm=0x5"}, "vxm.alu1": {cycle: "i2f x=alu0 y=imm d=e0.word"}})
    if good:
        check(program)
    else:
        assert only(program).endswith(f"alu0 puts out no result in cycle {cycle + 1}")


def test_a_repeat_that_runs_out_of_its_memory(build: Build) -> None:
    program = build(
        {"mem_e0.read": {0: "read a=62 d=e3", 1: "repeat n=3 gap=1 step=1"}}, image={(0, a): WORD for a in (62, 63)}
    )
    assert only(program) == ("cycle 2, mem_e0.read, 'repeat n=3 gap=1 step=1': repetition 2 has a=64: not in 0..63")


def test_an_instruction_that_is_not_implemented(copy: Program) -> None:
    read = instruction("read", a=1, d=E3)
    planned = Instruction(dataclasses.replace(read.spec, mnemonic="peek", implemented=False), read.values)
    text = {**copy.text, "mem_e1.read": (instruction("sync"), planned, instruction("halt"))}
    assert only(dataclasses.replace(copy, text=text)).endswith("'peek' is not implemented")


def test_an_instruction_of_another_unit_or_out_of_reach(build: Build) -> None:
    assert "mem_e0.read has no instruction 'abc'" in only(build({"mem_e0.read": {0: "abc s=e0"}}))
    assert "out of the unit's reach" in only(build({"vxm.alu0": {0: "pass x=imm d=w0.byte"}}))
    assert "out of the unit's reach" in only(build({"mem_e0.read": {0: "read a=0 d=e3"}}, config=ULX3S))


def test_in_flight_at_the_end(build: Build) -> None:
    # A read of cycle 0 stands in its stream register in cycle 3: the program must last 3 cycles at least.
    schedule = {"mem_e0.read": {0: "read a=1 d=e3"}}
    check(build(schedule, halt=2, image={(0, 1): WORD}))
    message = only(build(schedule, halt=1, image={(0, 1): WORD}))
    assert message.endswith("still in flight until cycle 3, after the last halt in 1")


@pytest.mark.parametrize(("later", "other"), [(4, "exp"), (5, "tanh"), (1, "pass")])
def test_lanes_that_take_turns_take_their_time(later: int, other: str) -> None:
    turns = dataclasses.replace(NANO, special_turns=4)
    special = next(number for number, alu in enumerate(NANO.alus) if OpClass.SPECIAL in alu.classes)
    name = f"vxm.alu{special}"

    def text(gap: int) -> tuple[Instruction, ...]:
        waits = (f"nop n={gap - 1}",) if gap > 1 else ()
        lines = ("notify", "exp x=imm imm=0x1", *waits, f"{other} x=imm imm=0x1", "nop n=20", "halt")
        return tuple(parse_instruction(line) for line in lines)

    def timed(config: ChipConfig, gap: int) -> Program:
        made = Program(name="test", config=config, text={name: text(gap)})
        return dataclasses.replace(made, cycles=cycles(made))

    check(timed(turns, later))
    if other != "pass":
        check(timed(NANO, 1))
        message = only(timed(turns, 3))
        assert message.startswith(f"cycle 3, {name}, '{other} ")
        assert f"its unit takes 4 cycles, as lanes take turns, and is busy with cycle 0, {name}, 'exp" in message


def test_cycles_must_be_as_predicted(copy: Program) -> None:
    message = only(dataclasses.replace(copy, cycles=copy.cycles + 1))
    assert message == f"program: it takes {copy.cycles} cycles, but says {copy.cycles + 1}"


def test_places_that_the_chip_does_not_have(copy: Program) -> None:
    assert "no queue 'mem_e7.read'" in only(dataclasses.replace(copy, text={**copy.text, "mem_e7.read": ()}))
    assert "image: the chip has no word 64" in only(dataclasses.replace(copy, image={(0, 64): WORD}))
    assert "not int8[4]" in only(dataclasses.replace(copy, image={(0, 1): WORD[:3]}))
    port = Port("x", (2, 4), 2, 4, (Column((0,), 63),), "int8")
    assert "port 'x': the chip has no word 64" in only(dataclasses.replace(copy, inputs=(port,)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (3, 4)}, "shape [3, 4] does not hold 2 x 4"),
        ({"cols": 8, "shape": (2, 8)}, "1 columns of 4 lanes do not hold 8"),
        ({"dtype": "int32"}, "int32, stored as int8, in columns of [1] slices"),
        ({"dtype": "float32", "stored": "float32"}, "float32, stored as float32, in columns of [1] slices"),
        ({"dtype": "float64"}, "float64, stored as int8, in columns"),
        ({"dtype": "int64", "stored": "index"}, "shape [2, 4] does not hold 2 x 4"),
        ({"dtype": "float32", "scale": 0.0}, "scale 0.0"),
        ({"dtype": "float32", "scale": float("nan")}, "scale nan"),
    ],
)
def test_ports_that_contradict_themselves(copy: Program, change: dict[str, object], message: str) -> None:
    port = Port("x", (2, 4), 2, 4, (Column((0,), 8),), "int8")
    assert message in only(dataclasses.replace(copy, inputs=(dataclasses.replace(port, **change),)))  # type: ignore[arg-type]  # the parameters above hold fields of any type


def test_an_output_that_is_never_written(copy: Program) -> None:
    good = Port("y", (1, 4), 1, 4, (Column((2,), 9),), "int8")
    check(dataclasses.replace(copy, outputs=(good,)))
    bad = dataclasses.replace(good, columns=(Column((2,), 10),))
    message = only(dataclasses.replace(copy, outputs=(bad,)))
    assert message == "program: output 'y': word 10 of mem_e2 is never written"


def test_barrier(copy: Program) -> None:
    def with_text(queue: str, *lines: str) -> Program:
        text = {**copy.text, queue: tuple(parse_instruction(line) for line in lines)}
        return dataclasses.replace(copy, text=text)

    check(with_text("vxm.alu0", "halt"))
    check(with_text("vxm.alu0", "sync", "halt"))
    assert "must begin with sync or notify" in only(with_text("vxm.alu0", "nop n=3", "halt"))
    assert "mem_e0.read notifies already" in only(with_text("vxm.alu0", "notify", "halt"))
    assert "only the first instruction" in only(with_text("vxm.alu0", "sync", "sync", "halt"))
    assert "does not end with halt" in only(with_text("vxm.alu0", "sync", "nop n=1"))
    assert "2 instructions after it can never run" in only(with_text("vxm.alu0", "sync", "halt", "nop n=1", "halt"))
    assert "nothing to repeat" in only(with_text("mem_e1.read", "sync", "nop n=1", "repeat n=2", "halt"))
    too_long = with_text("vxm.alu0", "sync", *["nop n=1"] * geometry(NANO).queues[0].text_words, "halt")
    assert "do not fit its 256 words" in refusals(too_long)[0]


def test_nobody_notifies(copy: Program) -> None:
    text = {**copy.text, "mem_e0.read": (instruction("sync"), *copy.text["mem_e0.read"][1:])}
    assert only(dataclasses.replace(copy, text=text)) == "program: no queue notifies: it would never start"


def test_the_message_counts_and_lists(build: Build) -> None:
    program = build({"mem_e0.read": {c: f"read a={c} d=e3" for c in range(20)}})
    with pytest.raises(CheckError, match=r"(?s)test: 20 violations\n.*and 10 more") as caught:
        check(program)
    assert len(caught.value.violations) == 20


WINDOW = {(0, a): np.array([a, 0, 0, 0], np.int8) for a in range(8)}


@pytest.mark.parametrize(("cycle", "found"), [(4, "old"), (5, "collision"), (6, "new")])
@pytest.mark.parametrize("line", ["write a=2 s=e3", "scatter a=0 n=2 m=e3 s=e3", "scatter_dealt a=2 n=1 m=e3 s=e3 p=2"])
@pytest.mark.parametrize("reader", ["read a=2 d=e0", "gather a=2 n=0 m=e3 d=e0", "gather_dealt a=2 n=0 m=e3 d=e0 p=2"])
def test_accessing_a_word_around_its_change(build: Build, cycle: int, found: str, line: str, reader: str) -> None:
    # alu0 drives the same vector in every cycle; what changes word 2 dispatches in cycle 4.
    schedule = {
        "vxm.alu0": {0: "pass x=imm d=e3.byte imm=0x2", 1: "repeat n=8 gap=1"},
        "mem_e0.write": {4: line},
        "mem_e0.read": {cycle: reader},
    }
    program = build(schedule, image=WINDOW)
    if found == "collision":
        assert "reads the word on the clock edge of cycle 4, mem_e0.write" in only(program)
        return
    chip = GoldenChip(NANO)
    Device(chip).load(program)
    chip.run()
    assert chip.trace is not None
    value = next(chip.trace.vectors[p.vector] for p in chip.trace.productions if p.stream.index == 0)
    assert value.tolist() == ([2, 0, 0, 0] if found == "old" else [2, 2, 2, 2])
    assert [write.address for write in chip.trace.writes] == [2]


@pytest.mark.parametrize(
    ("queue", "line"),
    [
        ("mem_e0.read", "gather a=4 n=2 m=e3 d=e0"),
        ("mem_e0.read", "gather_dealt a=4 n=2 m=e3 d=e0 p=1"),
        ("mem_e0.write", "scatter a=4 n=2 m=e3 s=e3"),
        ("mem_e0.write", "scatter_dealt a=4 n=2 m=e3 s=e3 p=1"),
    ],
)
def test_every_word_of_a_window_holds_something(build: Build, queue: str, line: str) -> None:
    schedule = {"vxm.alu0": {0: "pass x=imm d=e3.byte"}, queue: {4: line}}
    check(build(schedule, image=WINDOW))
    image = {place: word for place, word in WINDOW.items() if place != (0, 6)}
    assert "word 6 of mem_e0 holds nothing yet" in only(build(schedule, image=image))


@pytest.mark.parametrize("place", range(4))
def test_a_dealt_table_is_in_one_slice_at_a_time(build: Build, place: int) -> None:
    """Row 9 of the table, in slices that have four words of it each, is word 2 of the one in place 1."""
    schedule = {
        "vxm.alu0": {0: "pass x=imm d=e3.byte imm=0x9", 1: "repeat n=8 gap=1"},
        "mem_e0.write": {4: f"scatter_dealt a=4 n=2 m=e3 s=e3 p={place}"},
        "mem_e0.read": {4: f"gather_dealt a=4 n=2 m=e3 d=e0 p={place}", 9: "read a=6 d=e1"},
    }
    # Lane 1 of the index is 9, too: its words come around, and its rows in the same place.
    chip = GoldenChip(NANO)
    Device(chip).load(build(schedule, image=WINDOW))
    chip.run()
    assert chip.trace is not None
    found = {
        p.stream.index: chip.trace.vectors[p.vector].tolist() for p in chip.trace.productions if p.stream.index < 2
    }
    assert found == ({0: [6, 0, 0, 0], 1: [9] * 4} if place == 1 else {0: [0] * 4, 1: [6, 0, 0, 0]})
    assert [write.address for write in chip.trace.writes] == [6] * (place == 1)


def test_a_scatter_defines_nothing(build: Build) -> None:
    schedule = {"vxm.alu0": {0: "pass x=imm d=e3.byte"}, "mem_e0.write": {4: "scatter a=4 n=2 m=e3 s=e3"}}
    port = Port("y", (1, 4), 1, 4, (Column((0,), 8),), "int8")
    message = only(build(schedule, image=WINDOW, outputs=(port,)))
    assert message == "program: output 'y': word 8 of mem_e0 is never written"


def test_a_window_on_a_multiple_of_its_size(build: Build) -> None:
    assert "no window of 4 words" in only(build({"mem_e0.read": {0: "gather a=2 n=2 m=e3 d=e0"}}))


def test_a_repeated_window_on_a_multiple_of_its_size() -> None:
    def repeated(step: int, first: int) -> Program:
        lines = (
            "notify",
            "read a=0 d=e3",
            "repeat n=1 gap=1 step=0",
            f"gather a={first} n=2 m=e3 d=e0",
            f"repeat n=1 gap=1 step={step}",
            "nop n=9",
            "halt",
        )
        text = {"mem_e0.read": tuple(parse_instruction(line) for line in lines)}
        image = {(0, address): WORD for address in range(NANO.mem_words)}
        return Program(name="test", config=NANO, text=text, image=image, cycles=14)

    check(repeated(4, first=56))
    assert "a=58 n=2: no window of 4 words" in only(repeated(2, first=56))
    assert "not in 0..63" in only(repeated(4, first=60))


def test_an_activation_buffer_word_never_loaded(build: Build) -> None:
    reads = {f"mem_e{i}.read": {1 if i >= 2 else 0: f"read a=0 d=e{i}"} for i in range(4)}
    schedule = {
        **reads,
        "mem_e0.read": {0: "read a=0 d=e0", 2: "read a=0 d=e0"},
        "mxm_e0.weights": {5: "lw_iw g=0"},
        "mxm_e0.acts": {7: "abl a=1 s=e0", 8: "abr a=1", 9: "abr a=2"},
    }
    assert only(build(schedule, image=ROWS)).endswith("word 2 of the activation buffer of mxm_e0 holds nothing yet")


def test_the_last_row_group_installs_and_the_first_follows_it(build: Build) -> None:
    """Three tiles by one load and one REPEAT; each can be used as soon as its last group has been loaded."""
    half, cycles_ = dataclasses.replace(NANO, weight_streams=2), range(16)
    for at, good in ((7, False), (8, True), (9, True)):
        schedule = {
            **{f"mem_e{i}.read": dict.fromkeys(cycles_, f"read a=0 d=e{i}") for i in (0, 1)},
            "mxm_e0.weights": {6: "lw_iw g=0", 7: "repeat n=5 gap=1 step=1"},
            "mxm_e0.acts": {at: "abc s=e0"},
        }
        program = build(schedule, image=ROWS, config=half)
        if good:
            check(program)
            loads = [d.instruction.number("g") for d in link(program).dispatches if d.queue.name == "mxm_e0.weights"]
            assert loads == [0, 1] * 3
            assert len(link(program).weights) == 3
        else:
            assert only(program).endswith("no weights are installed in mxm_e0 yet")


@pytest.mark.parametrize("load", ["lw", "lwt"])
@pytest.mark.parametrize(("at", "good"), [(5, False), (6, True), (7, True)])
def test_a_load_that_installs_does_so_one_cycle_later(build: Build, load: str, at: int, good: bool) -> None:
    # lw of cycle 5 and iw of cycle 6 serve an abc of cycle 6: it multiplies one cycle after it samples.
    reads = {f"mem_e{i}.read": {1 if i >= 2 else 0: f"read a=0 d=e{i}"} for i in range(4)}
    for weights in ({5: f"{load}_iw g=0"}, {5: f"{load} g=0", 6: "iw"}, {5: f"{load}_iw g=0", 6: "iw"}):
        schedule = {**reads, "mem_e0.read": {0: "read a=0 d=e0", at - 5: "read a=0 d=e0"}}
        program = build({**schedule, "mxm_e0.weights": weights, "mxm_e0.acts": {at: "abc s=e0"}}, image=ROWS)
        if good:
            check(program)
        else:
            assert only(program).endswith("no weights are installed in mxm_e0 yet")


@pytest.mark.parametrize(
    ("loads", "problem"),
    [
        (["lw g=0", "lw g=1"], ""),
        (["lwt g=1", "lwt g=0"], ""),
        (["lwt g=0", "lw g=0", "lw g=1"], ""),
        (["lw g=0", "lw g=1", "lwt g=1", "lwt g=0"], ""),
        (["lw g=0", "lwt g=0", "lw g=1"], "a mix of rows and columns"),
        (["lw g=0", "lw g=1", "lwt g=0"], "a mix of rows and columns"),
        (["lwt g=0"], "never loaded: column 2 and 1 others"),
        (["lw g=1"], "never loaded: row 0 and 1 others"),
    ],
)
def test_an_array_of_rows_or_of_columns(build: Build, loads: list[str], problem: str) -> None:
    half = dataclasses.replace(NANO, weight_streams=2)
    cycles_ = range(12)
    schedule = {
        **{f"mem_e{i}.read": dict.fromkeys(cycles_, f"read a=0 d=e{i}") for i in (0, 1)},
        "mxm_e0.weights": {**{6 + i: line for i, line in enumerate(loads)}, 6 + len(loads): "iw"},
        "mxm_e0.acts": {7 + len(loads): "abc s=e0"},
    }
    program = build(schedule, image=ROWS, config=half)
    if problem:
        assert problem in only(program)
    else:
        check(program)


def test_a_transposed_load(build: Build) -> None:
    reads = {f"mem_e{i}.read": {1 if i >= 2 else 0: f"read a=1 d=e{i}"} for i in range(4)}
    schedule = {
        **reads,
        "mem_e0.read": {0: "read a=1 d=e0", 3: "read a=0 d=e0"},
        "mxm_e0.weights": {5: "lwt_iw g=0"},
        "mxm_e0.acts": {8: "abc s=e0"},
        "mxm_e0.accs": {10: "acc_set_out a=0 d=w4"},
    }
    weights = np.random.default_rng(3).integers(-128, 128, (4, 4)).astype(np.int8)
    image = {(0, 0): WORD, **{(i, 1): weights[i] for i in range(4)}}
    chip = GoldenChip(NANO)
    Device(chip).load(build(schedule, image=image))
    chip.run()
    assert chip.trace is not None
    sums = [chip.trace.vectors[p.vector] for p in chip.trace.productions if p.dispatch.queue.name == "mxm_e0.accs"]
    found = np.stack(sums, axis=-1).view(np.int32)[:, 0]
    np.testing.assert_array_equal(found, weights.astype(np.int32) @ WORD)


@pytest.mark.parametrize(("form", "streams"), [("byte", "e4 w4"), ("word", "e4 e5 e6 e7 w4 w5 w6 w7")])
def test_a_result_in_both_directions(build: Build, form: str, streams: str) -> None:
    # nano's VXM stands at the chip's western edge; with two hemispheres it drives westward, too.
    wide = dataclasses.replace(NANO, hemispheres=2)
    linked = link(build({"vxm.alu0": {0: f"pass x=imm d=e4.{form}_both imm=0x7"}}, config=wide))
    assert sorted(str(p.stream) for p in linked.productions) == streams.split()
    east = {p.stream.index: p.vector for p in linked.productions if p.stream.direction is Direction.EAST}
    west = {p.stream.index: p.vector for p in linked.productions if p.stream.direction is Direction.WEST}
    assert east == west
    with pytest.raises(CheckError, match="out of the unit's reach"):
        check(build({"vxm.alu0": {0: f"pass x=imm d=e4.{form}_both imm=0x7"}}))
