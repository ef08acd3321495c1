# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Jobs that a machine takes one after the other, and when all that something needs of them can be over.

Each job has a head, before which it cannot begin, and a tail, which comes behind it and keeps no machine busy. Any set
of jobs takes at least from the least of its heads, through all of the set, to the least of its tails. The greatest of
these bounds is how long that schedule takes which interrupts a job whenever there is one with a longer tail
(J. Carlier, The one-machine sequencing problem, European Journal of Operational Research 11, 1982).

A job has parts, as a product has columns, since what comes behind it need not come behind all of it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

_REMEMBERED = 32
"""Jobs that are kept of what something needs, those with the latest heads: to forget any makes no bound higher."""


@dataclass(frozen=True, eq=False)
class Machine:
    """Units that share all jobs evenly."""

    units: int
    ahead: int
    """Cycles that each of them may be ahead of what its jobs are for."""


@dataclass(frozen=True, eq=False)
class Job:
    """Work for a machine."""

    machine: Machine
    head: int
    parts: tuple[int, ...]
    """Cycles of one unit."""
    tail: int
    columns_of: str = ""
    """A buffer each of whose columns comes behind one part, and behind no other."""

    def cycles(self, parts: int) -> int:
        """Cycles of one unit for some parts, a bit each."""
        return sum(cycles for number, cycles in enumerate(self.parts) if parts >> number & 1)


class Need(NamedTuple):
    """What something needs of a job."""

    parts: int
    """A bit for each."""
    behind: int
    """Cycles from the end of the tail of the job, at least."""
    anywhere: bool = True
    """Whether all of something needs it, and not only some place in it."""


Needs = Mapping[Job, Need]


def together(needs: Iterable[tuple[Needs, int]]) -> Needs:
    """What something needs that comes behind several others, each so many cycles or more."""
    found: dict[Job, Need] = {}
    for some, cycles in needs:
        later = {job: Need(need.parts, need.behind + cycles, need.anywhere) for job, need in some.items()}
        later |= {job: _both(found[job], later[job]) for job in found.keys() & later.keys()}
        found |= later
    if len(found) > _REMEMBERED:
        return {job: found[job] for job in heapq.nlargest(_REMEMBERED, found, key=lambda job: job.head)}
    return found


def spread(needs: Needs) -> Needs:
    """What every place in something needs, if each needs all of this."""
    return {job: Need(need.parts, need.behind) for job, need in needs.items()}


def everywhere(needs: Needs) -> Needs:
    """What every place in something needs."""
    return {job: need for job, need in needs.items() if need.anywhere}


def _both(one: Need, other: Need) -> Need:
    """Two needs of a job; what holds for its last part, whichever that is."""
    parts, anywhere = one.parts | other.parts, one.anywhere and other.anywhere
    if one.parts == other.parts:
        return Need(parts, max(one.behind, other.behind), anywhere)
    if parts in (one.parts, other.parts):
        return Need(parts, one.behind if parts == one.parts else other.behind, anywhere)
    return Need(parts, min(one.behind, other.behind), anywhere)


def over(needs: Needs) -> int:
    """The cycle before which not all that is needed is over."""
    jobs: dict[Machine, list[tuple[int, int, int]]] = {}
    for job, need in needs.items():
        units = job.machine.units
        work = job.head * units, job.cycles(need.parts), (job.tail + need.behind) * units
        jobs.setdefault(job.machine, []).append(work)
    return max((makespan(work) // machine.units - machine.ahead for machine, work in jobs.items()), default=0)


def makespan(jobs: Iterable[tuple[int, int, int]]) -> int:
    """How long one machine takes for jobs that may be interrupted, given by head, cycles and tail."""
    waiting = sorted(jobs, reverse=True)
    open_jobs: list[tuple[int, int]] = []
    now = end = 0
    while waiting or open_jobs:
        if not open_jobs:
            now = max(now, waiting[-1][0])
        while waiting and waiting[-1][0] <= now:
            _, cycles, tail = waiting.pop()
            heapq.heappush(open_jobs, (-tail, cycles))
        tail, cycles = heapq.heappop(open_jobs)
        done = min(cycles, waiting[-1][0] - now) if waiting else cycles
        now += done
        if done < cycles:
            heapq.heappush(open_jobs, (tail, cycles - done))
        else:
            end = max(end, now - tail)
    return end
