# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What the random programs of the normal tests exercise, and whether coverage would notice what they do not."""

import subprocess
import sys
from collections.abc import Iterable

import pytest

from openlpu.arch.assembly import parse_instruction
from openlpu.arch.config import ChipConfig, OpClass
from openlpu.arch.isa import INSTRUCTIONS, Instruction
from openlpu.arch.presets import NANO, ULX3S
from openlpu.arch.program import Program
from openlpu.verif.coverage import Bin, Coverage, Group, executed
from openlpu.verif.odd_configs import LINKED, MIRRORED, UNEVEN
from openlpu.verif.random_programs import random_program


@pytest.mark.parametrize(("config", "programs"), [(NANO, 200), (ULX3S, 80)], ids=["nano", "ulx3s"])
def test_random_programs_leave_nothing_out(config: ChipConfig, programs: int) -> None:
    """The same programs as in `test_lockstep`: as soon as some of them hit every bin, all of them do."""
    coverage = Coverage(config)
    for seed in range(programs):
        coverage.add(random_program(config, seed))
        if coverage.complete:
            break
    print(coverage.report())
    assert {group: [str(hole) for hole in coverage.holes(group)] for group in Group} == {group: [] for group in Group}


@pytest.mark.parametrize("config", [MIRRORED, UNEVEN], ids=lambda config: config.name)
def test_a_few_programs_have_every_operand_mode_of_other_chips(config: ChipConfig) -> None:
    """Destinations in both directions are nowhere else, and addresses whose bounds are no powers of two."""
    coverage = Coverage(config)
    for seed in range(10):
        coverage.add(random_program(config, seed))
    assert [str(hole) for hole in coverage.holes(Group.OPERANDS)] == []


def names(config: ChipConfig, group: Group) -> set[str]:
    return {str(found) for found in Coverage(config).of(group)}


def test_every_instruction_has_a_bin_in_every_queue_that_has_it() -> None:
    wanted = {f"{kind}: {spec.mnemonic}" for spec in INSTRUCTIONS for kind in spec.kinds}
    # No preset has links.
    assert names(NANO, Group.INSTRUCTIONS) | names(LINKED, Group.INSTRUCTIONS) == wanted


def test_what_a_chip_cannot_do_has_no_bin() -> None:
    missing = names(NANO, Group.INSTRUCTIONS) - names(ULX3S, Group.INSTRUCTIONS)
    assert {name for name in missing if not name.startswith("sxm_permute: ")} == {
        f"{kind}: {spec.mnemonic}"
        for spec in INSTRUCTIONS
        for kind in spec.kinds
        if spec.op_class in (OpClass.INT, OpClass.IMUL)
    }
    assert {name for name in names(NANO, Group.INSTRUCTIONS) if name.startswith("sxm_permute: ")} <= missing
    both = {f"vxm: d (dest) {form}_both" for form in ("byte", "word")}
    assert both <= names(MIRRORED, Group.OPERANDS)
    assert not both & names(NANO, Group.OPERANDS)
    # Products of ulx3s are in the middle of a chain: nothing but results comes first, and nothing goes out.
    multiplying = {name for name in names(ULX3S, Group.CROSSES) if name.startswith("vxm: fmul ")}
    assert multiplying == {
        "vxm: fmul x result of another alu",
        "vxm: fmul y word westward",
        "vxm: fmul y imm",
        "vxm: fmul d none",
    }


def program(*text: str) -> Program:
    lines = tuple(parse_instruction(line) for line in text)
    return Program(name="test", config=NANO, text={"mem_e0.read": lines})


def test_holes_have_names() -> None:
    coverage = Coverage(NANO)
    coverage.add(program("notify", "read a=0 d=e1", "repeat n=2 gap=1 step=3", "halt"))
    hit = {str(found) for found in coverage.bins if coverage.hits[found]}
    assert hit == {
        *(f"mem_read: {mnemonic}" for mnemonic in ("notify", "read", "repeat", "halt")),
        "mem_read: a (word_address) lowest",
        "mem_read: a (word_address) between",
        "mem_read: d (stream) eastward",
        "mem_read: read d eastward",
        "mem_read: repeat step positive",
        "queue control: repeat n between",
        "queue control: repeat gap lowest",
        "queue control: tail again lowest",
        "queue control: tail wait lowest",
    }
    hole = Bin(Group.OPERANDS, "queue control: nop n highest")
    assert hole in coverage.holes(Group.OPERANDS)
    assert f"never: {hole}" in coverage.report()
    assert not coverage.complete


def halts(instructions: Iterable[Instruction]) -> int:
    return sum(inst.spec.mnemonic == "halt" for inst in instructions)


def test_text_that_a_queue_never_comes_to_does_not_count() -> None:
    # Where fetched text goes, there are decoys; a queue with more than one HALT in its memory executes one of them.
    programs = (random_program(NANO, seed) for seed in range(3, 50))
    made = next(p for p in programs if any(halts(text) > 1 for text in p.text.values()))
    counted = [(queue.name, inst) for queue, inst in executed(made)]
    assert {name: halts(inst for n, inst in counted if n == name) for name in made.text} == dict.fromkeys(made.text, 1)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "openlpu.verif.coverage", *arguments], capture_output=True, text=True, check=False
    )


def test_the_command_prints_a_report() -> None:
    result = command("nano", "--programs", "1", "--first", "7")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("nano, 1 programs\ninstructions: ")
    assert "\n  never: queue control: nop n highest\n" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nono"], "coverage: error: no config 'nono': use one of nano"),
        (["nano", "--programs", "0"], "coverage: error: Invalid value for '--programs'"),
        ([], "coverage: error: Missing argument 'CONFIG'"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], message: str) -> None:
    result = command(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1
