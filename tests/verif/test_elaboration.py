# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Remembered Verilog: never stale, never made twice."""

import dataclasses
from pathlib import Path

import pytest

from openlpu.arch.presets import NANO
from openlpu.hdl import generate
from openlpu.verif import elaboration


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The names of the configs that were really elaborated, into an empty cache."""
    names: list[str] = []
    monkeypatch.setenv("OPENLPU_CACHE", str(tmp_path))

    def verilog(config: object) -> str:
        names.append(getattr(config, "name", ""))
        return f"module chip; // {len(names)}"

    monkeypatch.setattr(generate, "verilog", verilog)
    return names


def test_the_same_chip_is_elaborated_once(made: list[str]) -> None:
    assert elaboration.verilog(NANO) == elaboration.verilog(NANO)
    assert made == ["nano"]


def test_another_chip_is_another_text(made: list[str]) -> None:
    elaboration.verilog(NANO)
    elaboration.verilog(dataclasses.replace(NANO, acc_depth=NANO.acc_depth * 2))
    assert len(made) == 2


def test_a_changed_generator_is_another_text(made: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = tmp_path / "mxm.py"
    monkeypatch.setattr(elaboration, "_sources", lambda: iter([source]))
    for version in ("a = 1", "a = 2"):
        source.write_text(version)
        elaboration.verilog(NANO)
    assert len(made) == 2


def test_the_generator_and_its_tables_are_sources() -> None:
    names = [source.name for source in elaboration._sources()]
    assert {"chip.py", "mxm.py", "isa.py", "timing.py"} <= set(names)
