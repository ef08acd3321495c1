# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A program: what the compiler makes, the checker proves, and every device runs. Pure data.

A program is the text of every queue, the words of SRAM that must stand there before it runs, and where its inputs and
outputs live. Running it needs nothing else; its length in cycles is known from it alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from openlpu.arch.config import ChipConfig
from openlpu.arch.isa import Instruction

Vector = npt.NDArray[np.int8]
"""One SRAM word or stream register: `lanes` bytes."""


@dataclass(frozen=True)
class Column:
    """`lanes` consecutive columns of a matrix: row r is word `base + r` of each slice.

    One slice for int8 elements; four for int32 or fp32, byte-planar, least significant byte first.
    """

    slices: tuple[int, ...]
    """Numbers of MEM slices, as in `Geometry.mem_slices`."""
    base: int
    copies: tuple[tuple[int, ...], ...] = ()
    """Further slices that hold the same at the same addresses: whoever writes the column writes them, too."""
    dealt: bool = False
    """int8 rows lie as weights do: of n slices, row r is word `base + r div n` of slice number r mod n alone."""

    @property
    def places(self) -> tuple[tuple[int, ...], ...]:
        """Every set of slices that holds the column."""
        return (self.slices, *self.copies)

    def byte(self, number: int) -> Column:
        """The column of int8 elements that byte `number` of every element is."""
        return Column((self.slices[number],), self.base, tuple((copy[number],) for copy in self.copies))

    def from_row(self, row: int) -> Column:
        """The same column without its first `row` rows."""
        return Column(self.slices, self.base + row, self.copies)


@dataclass(frozen=True)
class Port:
    """An input or output of a program: a matrix of rows x cols elements in SRAM, and its meaning outside the chip.

    Lanes beyond `cols` of the last column are padding: inputs hold zero there, outputs anything.
    """

    name: str
    shape: tuple[int, ...]
    """Shape outside; its elements in row-major order are the matrix in row-major order."""
    rows: int
    cols: int
    columns: tuple[Column, ...]
    dtype: str
    """Outside: "int8", "uint8", "int32", "int64" or "float32"."""
    scale: float = 1.0
    """With float32 outside and int8 on the chip: real = (q - zero_point) * scale, as ONNX QuantizeLinear and
    DequantizeLinear do it."""
    zero_point: int = 0
    """In the chip's int8 (uint8 values are 128 less there)."""
    stored: str = "int8"
    """On the chip: "int8"; "int32" or "float32", in columns of four slices; or "index", a whole number in two bytes,
    low and high, in a row of its own."""
    entries: int = 0
    """Of an index: how many rows it chooses from, as ONNX Gather counts them."""


@dataclass(frozen=True)
class Program:
    """A complete program for one chip."""

    name: str
    config: ChipConfig
    text: dict[str, tuple[Instruction, ...]]
    """Instructions of each queue by name. A queue that is missing takes no part: it halts at once."""
    image: dict[tuple[int, int], Vector] = field(default_factory=dict)
    """Words by (MEM slice number, address) that stand there when a program is loaded: weights, biases, first states."""
    kept: frozenset[tuple[int, int]] = frozenset()
    """Of them those that the program keeps for its next run: as it leaves them, not as they were."""
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()
    states: tuple[Port, ...] = ()
    """What it keeps for its next run, as matrices, int8 or int32 patterns: a host may write and read them between runs.
    Inputs among them are written before every run anyway."""
    cycles: int = 0
    """Length as the compiler predicts it: from cycle 0 until every queue has halted."""
    macs: int = 0
    """Useful multiply-accumulates of the source network, for reports."""
    resource_bound: int = 0
    """No schedule on this chip can be shorter: cycles that the busiest resource needs. 0 when not known."""
    resource_name: str = ""
    """That resource, e.g. "weight streams"."""
    chain_bound: int = 0
    """No schedule on this chip can be shorter: cycles of the longest dependence chain. 0 when not known."""
