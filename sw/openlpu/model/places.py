# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What is wrong with the places a program names: image words, and the columns of its ports."""

from __future__ import annotations

import numpy as np

from openlpu.arch.config import GROUP, ChipConfig
from openlpu.arch.geometry import geometry
from openlpu.arch.program import Port, Program


def placement_problems(program: Program) -> list[str]:
    """What is wrong with the places a program names, before any time is looked at."""
    config, chip = program.config, geometry(program.config)
    problems = [f"the chip has no queue '{name}'" for name in program.text if name not in chip.by_name]

    def exists(place: tuple[int, int]) -> bool:
        return 0 <= place[0] < len(chip.mem_slices) and 0 <= place[1] < config.mem_words

    for place, vector in program.image.items():
        if not exists(place):
            problems.append(f"image: the chip has no word {place[1]} in a slice number {place[0]}")
        if vector.shape != (config.lanes,) or vector.dtype != np.int8:
            problems.append(f"image: word {place} is {vector.dtype}{list(vector.shape)}, not int8[{config.lanes}]")
    for port in (*program.inputs, *program.outputs):
        bad = [place for place in port_words(port) if not exists(place)]
        if bad:
            problems.append(f"port '{port.name}': the chip has no word {bad[0][1]} in a slice number {bad[0][0]}")
        problems += [f"port '{port.name}': {problem}" for problem in _port_problems(config, port)]
    return problems


def port_words(port: Port) -> list[tuple[int, int]]:
    """The SRAM words of a port, by (slice number, address)."""
    return [
        (number, column.base + row)
        for column in port.columns
        for slices in column.places
        for number in slices
        for row in range(port.rows)
    ]


def _port_problems(config: ChipConfig, port: Port) -> list[str]:
    problems = []
    # An index is two bytes, one beside the other.
    bytes_of_index = 2 if port.stored == "index" else 1
    if int(np.prod(port.shape, dtype=np.int64)) * bytes_of_index != port.rows * port.cols:
        problems.append(f"shape {list(port.shape)} does not hold {port.rows} x {port.cols} elements")
    if len(port.columns) != -(-port.cols // config.lanes):
        problems.append(f"{len(port.columns)} columns of {config.lanes} lanes do not hold {port.cols} elements a row")
    widths = {len(column.slices) for column in port.columns}
    allowed = {
        ("int8", "int8"): {1},
        ("uint8", "int8"): {1},
        ("float32", "int8"): {1},
        ("int32", "int32"): {GROUP},
        ("float32", "float32"): {GROUP},
        ("int32", "index"): {1},
        ("int64", "index"): {1},
    }.get((port.dtype, port.stored), set())
    if not widths <= allowed or len(widths) > 1:
        problems.append(f"{port.dtype}, stored as {port.stored}, in columns of {sorted(widths)} slices")
    if not (0 < port.scale <= float(np.finfo(np.float32).max) and np.float32(port.scale) > 0):
        problems.append(f"scale {port.scale!r} is not a positive float32")
    return problems
