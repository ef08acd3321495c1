# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Assembly text: there and back, and errors that quote the line."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openlpu.arch.assembly import AssemblyError, format_instruction, parse_instruction
from openlpu.arch.geometry import Direction, Stream
from openlpu.arch.isa import IMMEDIATE, Format, Instruction, Operand, instruction

E3, W4 = Stream(Direction.EAST, 3), Stream(Direction.WEST, 4)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_there_and_back(cases: st.SearchStrategy[Any], data: st.DataObject) -> None:
    _, _, inst = data.draw(cases)
    line = format_instruction(inst)
    assert parse_instruction(line) == inst
    assert format_instruction(parse_instruction(line)) == line


@pytest.mark.parametrize(
    ("line", "inst"),
    [
        ("halt", instruction("halt")),
        ("read a=17 d=e3", instruction("read", a=17, d=E3)),
        ("repeat n=15 gap=1 step=-4", instruction("repeat", n=15, gap=1, step=-4)),
        ("read a=5 d=e3 again=7 gap=2 wait=12 step=1", instruction("read", a=5, d=E3, again=7, gap=2, wait=12, step=1)),
        ("iw wait=3", instruction("iw", wait=3)),
        ("acc_add_out a=2 d=w4", instruction("acc_add_out", a=2, d=W4)),
        ("shift s=e3 d=w4 n=-1", instruction("shift", s=E3, d=W4, n=-1)),
        ("pass x=w4.word", instruction("pass", x=Operand(Format.WORD, W4))),
        (
            "fmul x=alu1 y=imm d=e3.byte imm=0x3f800000",
            instruction("fmul", x=Operand(Format.ALU, 1), y=IMMEDIATE, d=Operand(Format.BYTE, E3), imm=0x3F800000),
        ),
    ],
)
def test_lines(line: str, inst: Instruction) -> None:
    assert format_instruction(inst) == line
    assert parse_instruction(line) == inst


def test_what_may_be_left_out_or_written_otherwise() -> None:
    assert parse_instruction("  repeat   n=0x0f ") == instruction("repeat", n=15)
    assert parse_instruction("read d=e3 a=1") == instruction("read", a=1, d=E3)
    assert parse_instruction("read wait=0 a=1 gap=1 d=e3") == instruction("read", a=1, d=E3)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "'': no instruction ''"),
        ("   ", "'': no instruction ''"),
        ("jump a=1", "'jump a=1': no instruction 'jump'"),
        ("read a=1", "'read a=1': read needs field 'd'"),
        ("read a=1 d=e3 q=1", "'q' is no field of read"),
        ("iw step=1", "'step' is no field of iw"),
        ("gather a=0 n=0 m=e1 d=e3 wait=1", "'wait' is no field of gather"),
        ("read a=1 a=1 d=e3", "'a' is no field of read, or is given twice"),
        ("read a=x d=e3", "'x' is no address of a word"),
        ("read a d=e3", "'' is no address of a word"),
        ("read a=1 d=3", "'3' is no stream"),
        ("read a=1 d=e", "'e' is no stream"),
        ("read a=1 d=e-3", "'e-3' is no stream"),
        ("pass x=e3", "'e3' is no VXM operand"),
        ("pass x=e3.half", "'e3.half' is no VXM operand"),
        ("pass x=alu", "'alu' is no VXM operand"),
        ("pass x=imm imm=one", "'one' is no 32-bit immediate"),
    ],
)
def test_lines_that_are_no_instruction(line: str, message: str) -> None:
    with pytest.raises(AssemblyError) as caught:
        parse_instruction(line)
    assert message in str(caught.value)
