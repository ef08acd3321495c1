# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What bring-up found at the ends of a system's links, and what is wrong with it, each link by name. Pure data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from openlpu.arch.links import LINK_BITS
from openlpu.arch.system import LinkEnd, SystemConfig


@dataclass(frozen=True)
class LinkReport:
    """One end of a link, as its chip sees it."""

    end: LinkEnd
    hears: bool
    """It knows where the other end's flits begin."""
    up: bool
    """So does the other, and flits come and go."""
    peer: LinkEnd | None = None
    """Who sends them; None while nothing has come."""
    delay: int = 0
    """From a flit's stamp to its reception, in cycles, where both chips are aligned."""
    corrected: int = 0
    """Flits with a wrong bit, since the reset."""
    uncorrectable: int = 0
    """Flits with more."""
    fault_cycle: int | None = None
    """Cycle of the program in which something was found that its schedule cannot stand: a flit with wrong bits that
    could not be corrected, a vector too many, or nothing any more. None after a good run."""

    @property
    def fault(self) -> str:
        """In words, what was found since the start; empty after a good run."""
        if self.fault_cycle is None:
            return ""
        if not self.hears:
            return "nothing came any more"
        return "a flit with wrong bits beyond repair" if self.uncorrectable else "a vector had no room"

    @classmethod
    def of(cls, end: LinkEnd, said: Mapping[str, int]) -> LinkReport:
        """The report of an end from the fields that its chip tells: those of `protocol.LINK`."""
        return cls(
            end,
            bool(said["hears"]),
            bool(said["up"]),
            identified(said["peer"]) if said["up"] else None,
            said["delay"],
            said["corrected"],
            said["uncorrectable"],
            said["fault_cycle"] if said["fault"] else None,
        )


def identified(identity: int) -> LinkEnd:
    """The end that a `Word.IDENTITY` means."""
    return LinkEnd(identity >> LINK_BITS, identity & (1 << LINK_BITS) - 1)


def link_problems(system: SystemConfig, reports: Iterable[LinkReport]) -> list[str]:
    """Why a system cannot run: dead, mis-cabled and slow links; empty if it can."""
    problems = []
    for report in reports:
        expected = system.peers.get(report.end)
        if expected is None:
            continue
        if not report.hears:
            problems.append(f"{report.end}: nothing comes from {expected}")
        elif not report.up:
            problems.append(f"{report.end}: {expected} does not hear it")
        elif report.peer != expected:
            problems.append(f"{report.end}: connected to {report.peer}, and should be to {expected}")
        elif report.delay > system.slowest_delay:
            problems.append(
                f"{report.end}: flits from {expected} take {report.delay} cycles, more than the {system.slowest_delay} "
                f"that wire_cycles={system.wire_cycles} allows for"
            )
    return problems
