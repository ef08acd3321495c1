# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""How a run ended: what every device reports, whether model, simulation or board. Pure data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """The first schedule fault of a run: the program was wrong in time, or not a program."""

    queue: str
    """Name of the queue whose instruction faulted."""
    cycle: int
    """Program cycle of the operand sampling; of the dispatch, for an illegal instruction."""
    illegal: bool
    """True: an illegal instruction. False: a stream, chain or array with nothing in it."""
    count: int = 1
    """Cycles of the run in which something went wrong, this one included."""

    def __str__(self) -> str:
        what = "illegal instruction" if self.illegal else "operand without a value"
        more = f", the first of {self.count} cycles with faults" if self.count > 1 else ""
        return f"{what} in {self.queue}, cycle {self.cycle}{more}"


@dataclass(frozen=True)
class RunStatus:
    """`cycles` counts from cycle 0 until every queue has halted; `fault` is None after a good run."""

    cycles: int
    fault: Fault | None = None
