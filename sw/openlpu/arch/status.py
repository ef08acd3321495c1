# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""How a run ended, and how a chip is: what every device reports, whether model, simulation or board. Pure data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from openlpu.arch.bring_up import LinkReport
from openlpu.arch.config import ChipConfig
from openlpu.arch.geometry import geometry

HOST = "host"
"""The place of errors in what the host itself read."""


@dataclass(frozen=True)
class Fault:
    """The first schedule fault of a run: the program was wrong in time, or not a program."""

    queue: str
    """Name of the queue whose instruction faulted."""
    cycle: int
    """Of the operand sampling, or of the dispatch of an illegal instruction, from cycle 0 of the first run."""
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
    """`cycles` counts from cycle 0 until every queue has halted; `fault` is None after a good run.

    Of several runs in a row it tells as of one: from cycle 0 of the first until every queue has halted in the last.

    `corrected` and `uncorrectable` count, on a chip with ECC, the vectors with wrong bits that were consumed during the
    run, once for every queue that did. After a run with an uncorrectable one the results mean nothing.
    """

    cycles: int
    fault: Fault | None = None
    corrected: int = 0
    uncorrectable: int = 0


@dataclass(frozen=True)
class PlaceErrors:
    """What ECC found in the vectors that one queue's unit consumed, or the host, since the reset."""

    place: str
    """Name of the queue, or `HOST`."""
    corrected: int
    uncorrectable: int


def error_places(config: ChipConfig) -> tuple[str, ...]:
    """The places that count errors, by their numbers: the queues, then the host."""
    return (*(queue.name for queue in geometry(config).queues), HOST)


def places_with_errors(config: ChipConfig, counts: Sequence[tuple[int, int]]) -> tuple[PlaceErrors, ...]:
    """The places that have any, given (corrected, uncorrectable) of each of `error_places`."""
    places = zip(error_places(config), counts, strict=True)
    return tuple(PlaceErrors(place, *found) for place, found in places if any(found))


@dataclass(frozen=True)
class ChipStatus:
    """What a device knows of itself at any time."""

    running: bool
    run: RunStatus
    """Of the run that is going on, so far, or else of the last one."""
    corrected: int = 0
    """As in `RunStatus`, but since the reset, the host's accesses included."""
    uncorrectable: int = 0
    """Likewise."""
    places: tuple[PlaceErrors, ...] = ()
    """Where that was, in the order of the queues; nothing where a device does not tell."""
    links: tuple[LinkReport, ...] = ()
    """How its ends of links are; nothing where a device does not tell."""


@dataclass(frozen=True)
class SystemStatus:
    """What the chips of a system know of themselves."""

    chips: tuple[ChipStatus, ...]
    links: tuple[LinkReport, ...]
    """Of every connected end."""
    aligned: tuple[bool, ...]
    """By chip: its time is that of its parent. No run begins before all are."""
    missed: tuple[bool, ...]
    """By chip: since the start it has fallen behind the others."""
