# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Fitting a chain of operations onto the ALUs of a chip.

An ALU executes some operation classes, reads the results of the few ALUs before it, and may or may not touch the
streams. A chain is mapped by a shortest-path search over (operations done, ALU); a `pass` fills in where data must only
get from one ALU to another. Every ALU serves a chain once, so that one vector can follow another without a gap.
"""

from __future__ import annotations

import functools
import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from openlpu.arch.config import ChipConfig, Source
from openlpu.arch.geometry import geometry
from openlpu.arch.isa import BY_MNEMONIC
from openlpu.arch.timing import timing
from openlpu.compiler.kernels import Immediate, Operand, OtherSums, Step

PASS = Step("pass")
_BEGINNINGS = frozenset({Source.BYTE, Source.WORD})
"""What the ALU at the head of a chain takes: kernels begin with either."""


@dataclass(frozen=True)
class Placed:
    """A step on the ALU that executes it."""

    alu: int
    step: Step


def disjoint_chains(steps: Sequence[Step], config: ChipConfig, most: int) -> list[tuple[Placed, ...]]:
    """Up to `most` ways through the VXM that share no ALU, the fastest first; as many as a greedy search finds."""
    chains: list[tuple[Placed, ...]] = []
    while len(chains) < most:
        taken = frozenset(place.alu for chain in chains for place in chain)
        chain = map_chain(steps, config, taken)
        if chain is None:
            break
        chains.append(chain)
    return chains


def map_chain(
    steps: Sequence[Step],
    config: ChipConfig,
    taken: frozenset[int] = frozenset(),
    begins: frozenset[Source] = _BEGINNINGS,
) -> tuple[Placed, ...] | None:
    """The fastest way through the VXM: from a stream, through every step in order, to a stream; None if none.

    It avoids the ALUs that are `taken`, and its first one takes every kind of operand in `begins`.
    """
    alus, depth = config.alus, timing(config).alu_depth
    sources = [geometry(config).alu_sources(alu) for alu in range(len(alus))]
    # Ordered by cycles, then by age, so that ties always break the same way.
    age = itertools.count()
    heap: list[tuple[int, int, tuple[Placed, ...], int]] = [(0, next(age), (), 0)]
    reached: set[tuple[int, int]] = set()
    while heap:
        cycles, _, placed, done = heapq.heappop(heap)
        path = [place.alu for place in placed]
        if path:
            if done == len(steps) and alus[path[-1]].writes:
                return placed
            if (path[-1], done) in reached:
                continue
            reached.add((path[-1], done))
        wanted = {Source.CHAIN} if path else begins
        for alu, unit in enumerate(alus):
            if alu in taken or alu in path:
                continue
            if not wanted <= {*unit.x} or (path and path[-1] not in sources[alu]):
                continue
            candidates = [(PASS, done)]
            if done < len(steps) and _executes(steps[done], alu, config):
                candidates.append((steps[done], done + 1))
            for step, progress in candidates:
                heapq.heappush(heap, (cycles + depth[alu], next(age), (*placed, Placed(alu, step)), progress))
    return None


@functools.cache
def joined(steps: tuple[Step, ...], planes: int, config: ChipConfig) -> tuple[Step, ...]:
    """The chain of a column whose tiles are dealt out to so many planes: additions of their sums, then `steps`.

    Where there is no way through the VXM for it, a conversion makes the last addition, if it has nothing else to add.
    """
    sums = [Step("iadd", OtherSums(number)) for number in range(planes - 1)]
    chain = (*sums, *steps)
    if map_chain(chain, config) is None and sums and steps[:1] == (Step("i2f", Immediate(0)),):
        return (*sums[:-1], Step("i2f", sums[-1].y), *steps[1:])
    return chain


def _executes(step: Step, alu: int, config: ChipConfig) -> bool:
    unit, op_class = config.alus[alu], BY_MNEMONIC[step.mnemonic].op_class
    return (op_class is None or op_class in unit.classes) and (step.y is None or _second_source(step.y) in unit.y)


def _second_source(y: Operand) -> Source:
    return Source.IMMEDIATE if isinstance(y, Immediate) else Source.WORD


def split_chain(steps: Sequence[Step], config: ChipConfig, *, from_sram: bool = True) -> list[tuple[Step, ...]] | None:
    """Cut a chain into the fewest parts that each map, the first as long as possible; None when some step fits nowhere.

    Between two parts the value goes through SRAM, 32 bits wide. The first part begins with a value that is `from_sram`,
    too, or comes from the MXM.
    """
    parts: list[tuple[Step, ...]] = []
    rest = tuple(steps)
    while True:
        for length in range(len(rest), -1, -1):
            if (length or not rest) and _fits(rest[:length], config, from_sram=from_sram or bool(parts)):
                break
        else:
            return None
        parts.append(rest[:length])
        rest = rest[length:]
        if not rest:
            return parts


def _fits(part: Sequence[Step], config: ChipConfig, *, from_sram: bool) -> bool:
    if map_chain(part, config) is None:
        return False
    # A value and the operand that it meets first may lie in one slice, which can read only one of them at a time.
    crowded = from_sram and bool(part) and reads_stream(part[0])
    return not crowded or map_chain([PASS, *part], config) is not None


def reads_stream(step: Step) -> bool:
    """Whether the second operand comes from a stream."""
    return step.y is not None and _second_source(step.y) is Source.WORD
