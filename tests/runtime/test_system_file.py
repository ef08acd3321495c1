# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The file of a program for several chips gives it back, or says why not."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openlpu.arch.presets import NANO
from openlpu.arch.program import Program
from openlpu.arch.system import SystemConfig
from openlpu.arch.system_program import SystemProgram
from openlpu.compiler.system_pipeline import compile_graph_system
from openlpu.compiler.workloads import gemm
from openlpu.runtime import program_file
from openlpu.runtime.errors import ProgramFileError
from openlpu.runtime.system_file import SYSTEM, from_bytes, load_any, save, to_bytes

SEED = 20261128


@pytest.fixture(scope="module")
def pair() -> SystemProgram:
    return compile_graph_system(gemm(3, 8, 8, seed=7), SystemConfig.of(NANO, 2)).program


def test_save_and_load(pair: SystemProgram, tmp_path: Path) -> None:
    path = tmp_path / "pair.lpu"
    save(pair, path)
    again = load_any(path)
    assert isinstance(again, SystemProgram)
    assert to_bytes(again) == to_bytes(pair) == path.read_bytes()
    assert (again.name, again.system, again.parts, again.cycles) == (pair.name, pair.system, pair.parts, pair.cycles)
    assert [p.text for p in again.programs] == [p.text for p in pair.programs]


def test_programs_of_one_chip_are_read_too(copier: Program, tmp_path: Path) -> None:
    path = tmp_path / "one.lpu"
    program_file.save(copier, path)
    assert isinstance(load_any(path), Program)


def test_flipped_bits_and_truncations_are_refused(pair: SystemProgram) -> None:
    content = to_bytes(pair)
    for bit in np.random.default_rng(SEED).integers(8 * len(content), size=300).tolist():
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ProgramFileError):
            from_bytes(bytes(damaged))
    for size in range(0, len(content), 997):
        with pytest.raises(ProgramFileError):
            from_bytes(content[:size])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h["files"].pop(), "malformed: it does not hold a program for each chip"),
        (lambda h: h["system"].update(chips=3), "malformed: config field 'chip.c2c_links'"),
        (lambda h: h.pop("parts"), "malformed: 'parts'"),
        (lambda h: h["parts"]["y"][0].pop("rows"), "malformed: 'rows'"),
        (lambda h: h["files"].__setitem__(0, h["files"][0] - 1), "truncated"),
    ],
)
def test_a_header_that_makes_no_sense(pair: SystemProgram, change: Callable[[Any], None], message: str) -> None:
    header, body = SYSTEM.unseal(to_bytes(pair))
    change(header)
    with pytest.raises(ProgramFileError, match=message):
        from_bytes(SYSTEM.seal(header, body))


def test_programs_must_be_those_of_the_system(pair: SystemProgram) -> None:
    wires = dataclasses.replace(pair.system.chip, c2c_width=4)
    other = dataclasses.replace(pair, system=dataclasses.replace(pair.system, chip=wires))
    with pytest.raises(ProgramFileError, match="its programs are for other chips than its system has"):
        from_bytes(to_bytes(other))
