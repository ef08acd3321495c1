# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Programs of a system of chips, which run as one. Pure data."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

from openlpu.arch.program import Port, Program
from openlpu.arch.system import SystemConfig


@dataclass(frozen=True)
class Part:
    """Of an output what one chip has: some rows and columns, in order, of the matrix that it is."""

    chip: int
    port: str
    """By this name."""
    rows: tuple[int, ...]
    columns: tuple[int, ...]


@dataclass(frozen=True)
class SystemProgram:
    """A program for each chip of a system. They are of one length, and run together any number of times in a row.

    Every chip takes all inputs that its program has. Of an output, each has some parts; what several have is the same.
    """

    name: str
    system: SystemConfig
    programs: tuple[Program, ...]
    """Of each chip."""
    parts: Mapping[str, tuple[Part, ...]]
    """By output: where it is."""

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
        """Those of all chips together. Columns are those of the first part."""
        whole = []
        for name, parts in self.parts.items():
            rows = len({row for part in parts for row in part.rows})
            cols = len({column for part in parts for column in part.columns})
            port = next(port for port in self.programs[parts[0].chip].outputs if port.name == parts[0].port)
            # Of several parts each is some columns of all rows, or some rows of a matrix.
            shape = (*port.shape[:-1], cols) if math.prod(port.shape[:-1]) == rows else (rows, cols)
            port = dataclasses.replace(port, rows=rows, cols=cols, shape=shape) if len(parts) > 1 else port
            whole.append(dataclasses.replace(port, name=name))
        return tuple(whole)
