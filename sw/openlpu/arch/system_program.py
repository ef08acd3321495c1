# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Programs of a system of chips, which run as one. Pure data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from openlpu.arch.program import Port, Program
from openlpu.arch.system import SystemConfig


@dataclass(frozen=True)
class SystemProgram:
    """A program for each chip of a system. They are of one length, and run together any number of times in a row.

    Every chip takes all inputs that its program has. Of an output, each has some rows; what several have is the same.
    """

    name: str
    system: SystemConfig
    programs: tuple[Program, ...]
    """Of each chip."""
    rows: Mapping[str, tuple[tuple[int, ...], ...]]
    """By output, and by chip: which of its rows are those of the chip's port of that name, in order."""

    @property
    def cycles(self) -> int:
        """From cycle 0 until every queue of every chip has halted."""
        return self.programs[0].cycles

    @property
    def inputs(self) -> tuple[Port, ...]:
        """Those of any chip. Columns are those of the first that has it."""
        return tuple({port.name: port for program in reversed(self.programs) for port in program.inputs}.values())

    @property
    def outputs(self) -> tuple[Port, ...]:
        """Those of all chips together. Columns are those of the first that has a part of it."""
        parts = {port.name: port for program in reversed(self.programs) for port in program.outputs}
        whole = []
        for name, of_chips in self.rows.items():
            count = len({row for of_chip in of_chips for row in of_chip})
            whole.append(dataclasses.replace(parts[name], rows=count, shape=(count, *parts[name].shape[1:])))
        return tuple(whole)
