# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Assembly text: what a person reads and writes. `parse(format(x)) == x` for every instruction.

One instruction a line, fields as `name=value`. Operands that are nothing are left out, and of what follows a unit
instruction all that is as if nothing were said:

    read a=17 d=e3
    repeat n=15 gap=1 step=1
    read a=5 d=e0 again=7 gap=2 wait=12 step=1
    fmul x=alu1 y=imm d=e2.byte imm=0x3f800000
"""

from __future__ import annotations

from openlpu.arch.geometry import Direction, Stream
from openlpu.arch.isa import (
    BY_MNEMONIC,
    DEFAULTS,
    IMMEDIATE,
    NOTHING,
    TAIL,
    Field,
    FieldKind,
    Format,
    Instruction,
    Operand,
    Value,
    instruction,
)

_FORMATS = {form.name.lower(): form for form in (Format.BYTE, Format.WORD, Format.BYTE_BOTH, Format.WORD_BOTH)}
_LEFT_OUT = {FieldKind.IMM32, *(f.kind for f in TAIL)}
"""Kinds of fields that are not written where they hold their default."""


class AssemblyError(ValueError):
    """A line that is no instruction; the message quotes it and says why."""


def format_instruction(inst: Instruction) -> str:
    """The line of an instruction."""
    parts = [inst.spec.mnemonic]
    for f, value in zip(inst.spec.fields, inst.values, strict=True):
        if value != NOTHING and not (f.kind in _LEFT_OUT and value == DEFAULTS[f.kind]):
            parts.append(f"{f.name}={_format_value(f, value)}")
    return " ".join(parts)


def parse_instruction(line: str) -> Instruction:
    """The instruction of a line.

    Raises:
        AssemblyError: for an unknown mnemonic or field, a missing field, or a malformed value.
    """
    mnemonic, *pairs = line.split() or [""]
    if mnemonic not in BY_MNEMONIC:
        raise AssemblyError(f"'{line.strip()}': no instruction '{mnemonic}'")
    fields = {f.name: f for f in BY_MNEMONIC[mnemonic].fields}
    values: dict[str, Value] = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        if name not in fields or name in values:
            raise AssemblyError(f"'{line.strip()}': '{name}' is no field of {mnemonic}, or is given twice")
        try:
            values[name] = _parse_value(fields[name], text)
        except ValueError:
            raise AssemblyError(f"'{line.strip()}': '{text}' is no {fields[name].kind.value}") from None
    try:
        return instruction(mnemonic, **values)
    except KeyError as error:
        raise AssemblyError(f"'{line.strip()}': {error.args[0]}") from None


def _format_value(f: Field, value: Value) -> str:
    match value:
        case Operand(Format.ALU, alu):
            return f"alu{alu}"
        case Operand(Format.IMM):
            return "imm"
        case Operand(form, stream):
            return f"{stream}.{form.name.lower()}"
        case int() if f.kind is FieldKind.IMM32:
            return f"{value:#010x}"
        case _:
            return str(value)


def _parse_value(f: Field, text: str) -> Value:
    match f.kind:
        case FieldKind.STREAM | FieldKind.GROUP:
            return _parse_stream(text)
        case FieldKind.SOURCE | FieldKind.DEST:
            if text == "imm":
                return IMMEDIATE
            if text.startswith("alu"):
                return Operand(Format.ALU, int(text[3:]))
            stream, _, form = text.partition(".")
            if form not in _FORMATS:
                raise ValueError(text)
            return Operand(_FORMATS[form], _parse_stream(stream))
        case _:
            return int(text, 0)


def _parse_stream(text: str) -> Stream:
    direction = {"e": Direction.EAST, "w": Direction.WEST}.get(text[:1])
    if direction is None or not text[1:].isdecimal():
        raise ValueError(text)
    return Stream(direction, int(text[1:]))
