# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The Verilog of a chip, remembered: elaboration takes longer than most runs, and depends on its sources alone."""

import hashlib
import importlib
import json
import os
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from openlpu.arch.config import ChipConfig
from openlpu.hdl import generate
from openlpu.verif import simulator


def verilog(config: ChipConfig) -> str:
    """`generate.verilog(config)`, from the cache when neither config, generator nor tools have changed.

    Raises ValueError when the config asks for something that has no RTL yet.
    """
    return _remembered(f"{_key(config)}.v", lambda: generate.verilog(config))


def hosted_verilog(config: ChipConfig, bit_cycles: int) -> str:
    """Likewise `generate.hosted_verilog`, for a line whose bits take `bit_cycles` cycles of the config's clock."""
    clock_hz = config.clock_mhz * 1e6
    return _remembered(
        f"{_key(config)}-hosted-{bit_cycles}.v",
        lambda: generate.hosted_verilog(config, clock_hz=clock_hz, baud=round(clock_hz / bit_cycles)),
    )


def _remembered(name: str, generated: Callable[[], str]) -> str:
    """The text in the file of that name in the cache, where it is put when it is not there."""
    folder = simulator.cache_dir() / "verilog"
    remembered = folder / name
    if remembered.is_file():
        return remembered.read_text(encoding="utf-8")
    text = generated()
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{name}.{os.getpid()}"
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, remembered)
    return text


def _key(config: ChipConfig) -> str:
    """What the Verilog of a config depends on, as 32 hexadecimal digits."""
    digest = hashlib.sha256(json.dumps(config.to_dict(), sort_keys=True).encode())
    for tool in generate.TOOLS:
        digest.update(version(tool).encode())
    for source in _sources():
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:32]


def _sources() -> Iterator[Path]:
    """Every module that the Verilog is made from: the tables and the gateware."""
    for package in ("openlpu.arch", "openlpu.hdl"):
        for folder in importlib.import_module(package).__path__:
            yield from sorted(Path(folder).glob("*.py"))
