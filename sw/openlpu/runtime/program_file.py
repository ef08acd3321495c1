# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The `.lpu` file: a program at rest.

Its header has config and digest, the lengths of what is in the body, ports, and what else a program says. The body is
the instruction words of each queue (little-endian, whole bytes), then blocks of SRAM words. The same program always
gives the same bytes; what is around them is `openlpu.runtime.sealed_file`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import geometry
from openlpu.arch.isa import Instruction
from openlpu.arch.program import Column, Port, Program, Vector
from openlpu.runtime.arrays import image_runs, word_runs
from openlpu.runtime.errors import ProgramFileError
from openlpu.runtime.sealed_file import FileKind, read_file, write_whole

PROGRAM = FileKind(b"\x89LPU\r\n\x1a\n", 6)
"""Its version is also that of what instruction words mean."""
_STRUCTURED = ("config", "text", "image", "kept", "inputs", "outputs", "states")
"""Fields of a program that have a form of their own in the file; all others are plain values in the header."""


def save(program: Program, path: Path) -> None:
    """Write a program: the whole file or, on any failure, none and the old one untouched.

    Raises:
        ProgramFileError: when the file cannot be written.
        EncodingError: when an instruction does not fit its queue.
    """
    write_whole(to_bytes(program), path)


def load(path: Path) -> Program:
    """Read a program.

    Raises:
        ProgramFileError: when the file is missing, no program, of another version, damaged, or inconsistent.
    """
    return read_file(path, from_bytes)


def to_bytes(program: Program) -> bytes:
    """The content of a program's file.

    Raises:
        EncodingError: when an instruction does not fit its queue.
    """
    codec, chip = encoding(program.config), geometry(program.config)
    texts, blocks, body = [], [], bytearray()
    for queue in chip.queues:
        if queue.name in program.text:
            text = program.text[queue.name]
            texts.append([queue.name, len(text)])
            for inst in text:
                body += codec.encode(inst, queue).to_bytes(codec.word_bytes(queue.kind), "little")
    for (number, address), words in image_runs(program.image):
        blocks.append([number, address, len(words)])
        body += words.astype(np.int8, copy=False).tobytes()
    header = {
        "config": program.config.to_dict(),
        "digest": program.config.digest,
        "text": texts,
        "image": blocks,
        "kept": word_runs(program.kept),
        "inputs": [dataclasses.asdict(port) for port in program.inputs],
        "outputs": [dataclasses.asdict(port) for port in program.outputs],
        "states": [dataclasses.asdict(port) for port in program.states],
        "program": {f.name: getattr(program, f.name) for f in _plain_fields()},
    }
    return PROGRAM.seal(header, bytes(body))


def from_bytes(content: bytes) -> Program:
    """The program of a file's content.

    Raises:
        ProgramFileError: see `load`.
    """
    return PROGRAM.parse(content, _program)


def _program(header: dict[str, Any], body: bytes) -> Program:
    config = ChipConfig.from_dict(header["config"])
    if config.digest != header["digest"]:
        raise ProgramFileError(
            f"made for the chip {header['digest']}, which this OpenLPU knows as {config.digest}: compile again"
        )
    codec, chip = encoding(config), geometry(config)
    position = 0

    def take(size: int) -> bytes:
        nonlocal position
        if size < 0 or position + size > len(body):
            raise ProgramFileError("malformed: its parts are longer than the whole")
        position += size
        return body[position - size : position]

    text: dict[str, tuple[Instruction, ...]] = {}
    for name, count in header["text"]:
        queue = chip.by_name[name]
        width = codec.word_bytes(queue.kind)
        text[name] = tuple(codec.decode(int.from_bytes(take(width), "little"), queue) for _ in range(count))
    image: dict[tuple[int, int], Vector] = {}
    for number, address, count in header["image"]:
        words = np.frombuffer(take(count * config.lanes), np.int8).reshape(count, config.lanes)
        image.update({(number, address + row): words[row] for row in range(count)})
    if position != len(body):
        raise ProgramFileError("malformed: its parts are shorter than the whole")
    plain = header["program"]
    return Program(
        config=config,
        text=text,
        image=image,
        kept=frozenset((number, address + row) for number, address, count in header["kept"] for row in range(count)),
        inputs=tuple(_port(values) for values in header["inputs"]),
        outputs=tuple(_port(values) for values in header["outputs"]),
        states=tuple(_port(values) for values in header["states"]),
        **{f.name: plain[f.name] for f in _plain_fields()},
    )


def _port(values: dict[str, Any]) -> Port:
    columns = tuple(
        Column(
            tuple(column["slices"]), column["base"], tuple(tuple(copy) for copy in column["copies"]), column["dealt"]
        )
        for column in values["columns"]
    )
    return Port(**{**values, "shape": tuple(values["shape"]), "columns": columns})


def _plain_fields() -> list[dataclasses.Field[Any]]:
    return [f for f in dataclasses.fields(Program) if f.name not in _STRUCTURED]
