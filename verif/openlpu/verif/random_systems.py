# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Random programs for all chips of a system, which send each other vectors.

They grow side by side, cycle by cycle (`openlpu.verif.random_programs`). A vector may be sent where the chip at the
other end has a cycle to receive it in; that is planned at once, often for the first cycle that there may be.
"""

import random
from dataclasses import dataclass, field

from openlpu.arch.links import DESKEW_DEPTH, flit_format
from openlpu.arch.program import Program
from openlpu.arch.system import LinkEnd, SystemConfig
from openlpu.verif.random_programs import Generator

_CHIP_SEEDS = 1_000_003
"""Far from the seeds that have an ending, of which only one chip would know."""
_LONGEST_WAIT = 40
"""Cycles that a vector stands in the deskew buffer, beyond those that it must."""
_TAIL = 160
"""Cycles that a program may go on behind its last dispatch."""


def random_system(
    system: SystemConfig, seed: int, length: int = 200, bursts: int = 1, rest: int = 0
) -> tuple[Program, ...]:
    """A program for each chip, the same for the same arguments; together `openlpu.model.system.link_system` accepts
    them. They are busy for `length` cycles, so often as `bursts` says, with `rest` cycles between."""
    rng, total = random.Random(seed), bursts * length + (bursts - 1) * rest
    links = _Links(system, rng)
    links.generators = [
        Generator(system.chip, (seed * system.chips + chip + 1) * _CHIP_SEEDS, total, False, _ChipLinks(links, chip))
        for chip in range(system.chips)
    ]
    cycle = 0
    while cycle + system.deskew_cycles - _TAIL < total:
        cycle += rng.randint(system.deskew_cycles // 2, system.deskew_cycles - _TAIL)
        pause = rng.choice((system.pause, system.pause + rng.randrange(8)))
        for generator in links.generators:
            generator.plan_deskew(cycle, pause)
    for cycle in range(total):
        for generator in links.generators:
            if cycle % (length + rest) < length:
                generator.grow(cycle)
            else:
                generator.rest(cycle)
    return tuple(generator.finished() for generator in links.generators)


@dataclass
class _Links:
    """What is on its way."""

    system: SystemConfig
    random: random.Random
    generators: list[Generator] = field(default_factory=list)
    sent: dict[LinkEnd, int] = field(default_factory=dict)
    """The cycle of the last `send` at an end."""
    arrivals: dict[LinkEnd, list[int]] = field(default_factory=dict)
    """The cycles in which what was sent at an end is received."""

    def send(self, end: LinkEnd, cycle: int) -> bool:
        """Send a vector, and plan when it is received; False if that cannot be."""
        peer = self.system.peers.get(end)
        beats = flit_format(self.system.chip).beats
        if peer is None or cycle - self.sent.get(end, -beats) < beats:
            return False
        arrivals = self.arrivals.setdefault(end, [])
        if sum(at > cycle + min(self.system.soonest, -1) for at in arrivals) >= DESKEW_DEPTH:
            return False
        due = max(cycle + self.system.latency, *(at + 1 for at in arrivals[-1:]), 0)
        wait = self.random.choice((0, 0, self.random.randrange(_LONGEST_WAIT)))
        at = self.generators[peer.chip].plan_arrival(peer.link, due + wait, due + wait + _LONGEST_WAIT)
        if at is None:
            return False
        arrivals.append(at)
        self.sent[end] = cycle
        return True


@dataclass(frozen=True)
class _ChipLinks:
    """Those of one chip."""

    links: _Links
    chip: int

    def send(self, link: int, cycle: int) -> bool:
        return self.links.send(LinkEnd(self.chip, link), cycle)
