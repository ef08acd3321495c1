# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A program file gives back the program, or says why not; no damage goes unnoticed."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openlpu.arch.isa import instruction
from openlpu.arch.program import Column, Port, Program
from openlpu.runtime import program_file
from openlpu.runtime.errors import ProgramFileError
from openlpu.runtime.program_file import PROGRAM, load, save, to_bytes

SEED = 20261123
PREFIX_BYTES = 8 + 4 + 4 + 8
"""Magic, version, and the lengths of header and body, as the format's description says."""


def assert_equal(one: Program, other: Program) -> None:
    assert one.image.keys() == other.image.keys()
    for place, word in one.image.items():
        np.testing.assert_array_equal(word, other.image[place])
        assert other.image[place].dtype == np.int8
    assert dataclasses.replace(one, image={}) == dataclasses.replace(other, image={})


def test_save_and_load(copier: Program, tmp_path: Path) -> None:
    path = tmp_path / "a.lpu"
    save(copier, path)
    assert_equal(copier, load(path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.lpu"]


def test_every_kind_of_port_survives(copier: Program, tmp_path: Path) -> None:
    planes = (Column((0, 1, 2, 3), 5), Column((3, 2, 1, 0), 9))
    scale = float(np.float32(0.1))
    ports = (
        Port("wide", (2, 3, 1), 2, 3, (Column((0,), 0),), "float32", scale, -5),
        Port("planes", (7,), 1, 7, planes, "int32", stored="int32"),
        Port("floats", (7,), 1, 7, planes, "float32", stored="float32"),
        Port("index", (2, 3), 6, 2, (Column((0,), 0, ((2,),)),), "int64", stored="index", entries=300),
        Port("name ü/0", (), 1, 1, (Column((1,), 0),), "uint8", 1e-30, 127),
    )
    cache = Port("cache", (7, 3), 7, 3, (Column((3, 1), 2, ((0, 2),), dealt=True),), "int8")
    program = dataclasses.replace(copier, inputs=ports, outputs=ports[::-1], states=(cache, ports[1]))
    save(program, tmp_path / "a.lpu")
    assert_equal(program, load(tmp_path / "a.lpu"))


def test_numpy_scalars_are_plain_afterwards(copier: Program, tmp_path: Path) -> None:
    numpys: dict[str, Any] = {"scale": np.float32(0.1), "zero_point": np.int64(3)}
    port = dataclasses.replace(copier.inputs[0], **numpys)
    save(dataclasses.replace(copier, inputs=(port,)), tmp_path / "a.lpu")
    (again,) = load(tmp_path / "a.lpu").inputs
    assert (type(again.scale), type(again.zero_point)) == (float, int)
    assert np.float32(again.scale) == np.float32(0.1)


def test_the_same_program_gives_the_same_bytes(copier: Program) -> None:
    shuffled = dataclasses.replace(
        copier,
        image=dict(reversed(copier.image.items())),
        text=dict(reversed(copier.text.items())),
    )
    assert to_bytes(copier) == to_bytes(shuffled)
    assert to_bytes(copier) != to_bytes(dataclasses.replace(copier, macs=8))


def test_every_flipped_bit_is_refused(copier: Program) -> None:
    content = to_bytes(copier)
    rng = np.random.default_rng(SEED)
    bits = np.concatenate([np.arange(8 * PREFIX_BYTES), rng.integers(8 * len(content), size=2000)])
    for bit in bits.tolist():
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ProgramFileError):
            program_file.from_bytes(bytes(damaged))


def test_every_truncation_is_refused(copier: Program) -> None:
    content = to_bytes(copier)
    for size in range(0, len(content), 7):
        with pytest.raises(ProgramFileError, match=r"truncated|not a"):
            program_file.from_bytes(content[:size])
    with pytest.raises(ProgramFileError, match="followed by something else"):
        program_file.from_bytes(content + b"\0")


def signed(content: bytes) -> bytes:
    return content + hashlib.sha256(content).digest()


def with_header(content: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """A file whose header was changed by somebody who knows how to compute its checksum."""
    length = int.from_bytes(content[12:16], "little")
    header = json.loads(content[PREFIX_BYTES : PREFIX_BYTES + length])
    change(header)
    head = json.dumps(header).encode()
    body = content[PREFIX_BYTES + length : -32]
    return signed(content[:12] + len(head).to_bytes(4, "little") + content[16:PREFIX_BYTES] + head + body)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(digest="0" * 16), "made for the chip 0000000000000000"),
        (lambda h: h["config"].update(lanes=3), "malformed: config field"),
        (lambda h: h.pop("text"), "malformed: 'text'"),
        (lambda h: h["text"][0].__setitem__(0, "mem_e9.read"), "malformed: 'mem_e9.read'"),
        (lambda h: h["text"][0].__setitem__(1, 100), "malformed: "),
        (lambda h: h["image"].pop(), "malformed: its parts are shorter"),
        (lambda h: h["image"][0].__setitem__(2, 99), "malformed: its parts are longer"),
        (lambda h: h["inputs"][0].pop("rows"), "malformed: "),
        (lambda h: h["program"].pop("macs"), "malformed: 'macs'"),
    ],
)
def test_a_header_that_makes_no_sense(copier: Program, change: Callable[[Any], None], message: str) -> None:
    with pytest.raises(ProgramFileError) as caught:
        program_file.from_bytes(with_header(to_bytes(copier), change))
    assert message in str(caught.value)


def test_files_that_are_no_program(copier: Program, tmp_path: Path) -> None:
    path = tmp_path / "a.lpu"
    with pytest.raises(ProgramFileError, match=r"a\.lpu: cannot be read: No such file"):
        load(path)
    with pytest.raises(ProgramFileError, match="cannot be read: Is a directory"):
        load(tmp_path)
    path.write_text("hello")
    with pytest.raises(ProgramFileError, match=r"a\.lpu: not a \.lpu program file"):
        load(path)
    content = to_bytes(copier)
    path.write_bytes(signed(content[:8] + (PROGRAM.version - 1).to_bytes(4, "little") + content[12:-32]))
    with pytest.raises(
        ProgramFileError, match=f"version {PROGRAM.version - 1}, but this OpenLPU reads version {PROGRAM.version}"
    ):
        load(path)


def test_a_failed_save_leaves_the_old_file(copier: Program, tmp_path: Path) -> None:
    path = tmp_path / "a.lpu"
    save(copier, path)
    before = path.read_bytes()
    wrong = dataclasses.replace(copier, text={"mem_e0.read": (instruction("iw"),)})
    with pytest.raises(ValueError, match="has no instruction 'iw'"):
        save(wrong, path)
    assert path.read_bytes() == before
    with pytest.raises(ProgramFileError, match="cannot be written: No such file"):
        save(copier, tmp_path / "nowhere" / "a.lpu")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ProgramFileError, match="cannot be written"):
        save(copier, tmp_path / "folder")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.lpu", "folder"]
