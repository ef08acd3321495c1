# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The `.lpu` file of a program for several chips: that of each chip, one behind the other, and what makes them one.

Its header has the name, the system, which parts of outputs are where, and how long the files of the chips are.
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

from openlpu.arch.program import Program
from openlpu.arch.system import SystemConfig
from openlpu.arch.system_program import Part, SystemProgram
from openlpu.runtime import program_file
from openlpu.runtime.errors import ProgramFileError
from openlpu.runtime.sealed_file import FileKind, read_file, write_whole

SYSTEM = FileKind(b"\x89LPS\r\n\x1a\n", 1)


def save(program: SystemProgram, path: Path) -> None:
    """As `program_file.save`."""
    write_whole(to_bytes(program), path)


def load_any(path: Path) -> Program | SystemProgram:
    """Read a program, whether it is for one chip or for several.

    Raises:
        ProgramFileError: when the file is missing, no program, of another version, damaged, or inconsistent.
    """

    def parsed(content: bytes) -> Program | SystemProgram:
        return from_bytes(content) if SYSTEM.marks(content) else program_file.from_bytes(content)

    return read_file(path, parsed)


def to_bytes(program: SystemProgram) -> bytes:
    """The content of a program's file; the same program always gives the same bytes.

    Raises:
        EncodingError: when an instruction does not fit its queue.
    """
    files = [program_file.to_bytes(each) for each in program.programs]
    header = {
        "name": program.name,
        "system": program.system.to_dict(),
        "parts": {name: [dataclasses.asdict(part) for part in parts] for name, parts in program.parts.items()},
        "files": [len(content) for content in files],
    }
    return SYSTEM.seal(header, b"".join(files))


def from_bytes(content: bytes) -> SystemProgram:
    """The program of a file's content.

    Raises:
        ProgramFileError: see `load_any`.
    """
    return SYSTEM.parse(content, _program)


def _program(header: dict[str, Any], body: bytes) -> SystemProgram:
    system = SystemConfig.from_dict(header["system"])
    places = [*itertools.accumulate(header["files"], initial=0)]
    programs = tuple(program_file.from_bytes(body[first:last]) for first, last in itertools.pairwise(places))
    if places[-1] != len(body) or len(programs) != system.chips:
        raise ProgramFileError("malformed: it does not hold a program for each chip")
    if any(each.config != system.chip for each in programs):
        raise ProgramFileError("malformed: its programs are for other chips than its system has")
    parts = {name: tuple(_part(values) for values in found) for name, found in header["parts"].items()}
    return SystemProgram(header["name"], system, programs, parts)


def _part(values: dict[str, Any]) -> Part:
    return Part(values["chip"], values["port"], tuple(values["rows"]), tuple(values["columns"]))
