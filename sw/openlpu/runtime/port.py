# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What the driver needs of a chip, whatever stands behind it: a model, a simulation, a board.

The same few host accesses that the hardware offers, in units of whole SRAM words and instruction words. They are
allowed between runs only, and take no program cycles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from openlpu.arch.bring_up import LinkReport
from openlpu.arch.config import ChipConfig
from openlpu.arch.program import Program, Vector
from openlpu.arch.status import ChipStatus, Fault, RunStatus, SystemStatus
from openlpu.arch.system import SystemConfig

__all__ = ["ChipPort", "ChipStatus", "Fault", "Memory", "RunStatus", "SystemPort", "SystemStatus"]


class Memory(Protocol):
    """The SRAM of a chip as its host sees it. Numbers of slices are those of `Geometry.mem_slices`."""

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


class ChipPort(Memory, Protocol):
    """A chip as its host sees it. Numbers of queues are those of `Geometry.queues`."""

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


class SystemPort(Protocol):
    """The chips of a system as their host sees them. What is said of a `ChipPort` holds for each of them."""

    @property
    def system(self) -> SystemConfig:
        """Which chips these are, and their links."""
        ...

    @property
    def memories(self) -> Sequence[Memory]:
        """The SRAM of each chip."""
        ...

    def bring_up(self) -> tuple[LinkReport, ...]:
        """Reset all chips, and have their links begin anew. What every connected end reports once all chips are
        aligned, or are not after some time.

        SRAM and text keep what they hold; nothing is on its way any more.
        """
        ...

    def load(self, programs: Sequence[Program]) -> object:
        """Write text and image of a program for each chip.

        Raises:
            ValueError: when the device can tell that these are no programs that may run.
        """
        ...

    def run(self, count: int = 1) -> tuple[RunStatus, ...]:
        """Have all chips run their programs together, `count` times in a row, until every one has ended; how they did.

        More than once only programs of one length: nothing but the start brings chips together.

        Raises:
            LinkError: when a link is found dead before, and some may never end; all runs are stopped then.
            ValueError: as of a `ChipPort`.
        """
        ...

    def status(self) -> SystemStatus:
        """What the chips know of themselves."""
        ...

    def close(self) -> None:
        """Release what the device holds."""
        ...
