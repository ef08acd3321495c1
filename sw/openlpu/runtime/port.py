# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What the driver needs of a chip, whatever stands behind it: a model, a simulation, a board.

The same few host accesses that the hardware offers, in units of whole SRAM words and instruction words. They are
allowed between runs only, and take no program cycles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from openlpu.arch.config import ChipConfig
from openlpu.arch.program import Vector
from openlpu.arch.status import ChipStatus, Fault, RunStatus

__all__ = ["ChipPort", "ChipStatus", "Fault", "RunStatus"]


class ChipPort(Protocol):
    """A chip as its host sees it. Numbers of slices and queues are those of `Geometry.mem_slices` and `.queues`."""

    @property
    def config(self) -> ChipConfig:
        """What chip this is."""
        ...

    def write_memory(self, slice: int, address: int, words: Vector) -> None:
        """Write consecutive SRAM words, int8 [n, lanes], from `address` on."""
        ...

    def read_memory(self, slice: int, address: int, count: int) -> Vector:
        """Read `count` consecutive SRAM words, int8 [count, lanes]."""
        ...

    def write_text(self, queue: int, words: Sequence[int]) -> None:
        """Write instruction words of a queue, from its word 0 on."""
        ...

    def run(self, count: int = 1) -> RunStatus:
        """Run the text `count` times in a row, from the barrier until every queue has halted.

        After a run with a fault there is no further one.

        Raises:
            ValueError: when the device can tell that the text is no program that may run, or run so often.
        """
        ...

    def status(self) -> ChipStatus:
        """What the chip knows of itself; cycles are 0 before the first run."""
        ...

    def close(self) -> None:
        """Release what the device holds. The port is of no use afterwards."""
        ...
