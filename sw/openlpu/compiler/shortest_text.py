# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The shortest text that makes given dispatches.

A word makes one dispatch or more: a unit instruction, with those that it says follow, or a REPEAT. NOPs fill the
cycles between two words, unless the first of them can wait itself. So a text is a path through the dispatches, and the
shortest one is found by going on from every place that words reach. Few words can start at each: the instruction that
is dispatched there, or a REPEAT, of one dispatch or more. They make as many dispatches as they can: to leave some of
them to the words behind never makes those fewer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import Queue
from openlpu.arch.isa import FieldKind, Instruction, Spec, instruction
from openlpu.compiler.timeline import Run


def shortest_text(runs: Sequence[Run], queue: Queue, halt_at: int, config: ChipConfig) -> list[Instruction]:
    """What stands between the barrier and a HALT in cycle `halt_at`.

    Runs are in order of their first cycles, and may be interleaved; no two dispatches are in one cycle, and none is in
    that of the HALT or later.
    """
    return _Line(runs, queue, config).text(halt_at)


@dataclass(frozen=True, slots=True)
class _Word:
    """A word that makes the dispatches from `first` to before `end`, with all of the text before it."""

    before: _Word | None
    first: int
    end: int
    gap: int
    """Of a REPEAT; 0 for a unit instruction."""
    waits: bool
    """It can keep the queue waiting behind its last dispatch."""
    count: int
    """Words of the text up to here."""


_BARRIER = _Word(None, 0, 0, 0, waits=False, count=0)


class _Line:
    """The dispatches of a queue in order, one by one."""

    def __init__(self, runs: Sequence[Run], queue: Queue, config: ChipConfig) -> None:
        self._config = config
        table = encoding(config)
        _, self._nop_cycles = table.limits(FieldKind.CYCLES, queue.kind)
        _, self._wait_cycles = table.limits(FieldKind.TAIL_WAIT, queue.kind)
        _, self._again = table.limits(FieldKind.TAIL_COUNT, queue.kind)
        _, self._again_gap = table.limits(FieldKind.TAIL_GAP, queue.kind)
        _, self._again_step = table.limits(FieldKind.TAIL_STEP, queue.kind)
        _, self._repetitions = table.limits(FieldKind.COUNT, queue.kind)
        _, self._repeat_gap = table.limits(FieldKind.GAP, queue.kind)
        self._repeat_steps = table.limits(FieldKind.STRIDE, queue.kind)

        self._cycles: list[int] = []
        self._origins: list[Instruction] = []
        """The instructions at address 0, if they have one."""
        self._addresses: list[int] = []
        self._links: list[tuple[int, int] | None] = []
        """How each dispatch follows from the one before it, by gap and step; None if it does not."""
        for run in _disentangled(runs):
            self._append(run)
        self._ends = self._ends_of_even()
        """Of each dispatch, the end of those that follow evenly from it and each other."""

    def text(self, halt_at: int) -> list[Instruction]:
        """The words for all dispatches, and for the time until a HALT."""
        reached: dict[int, dict[bool, _Word]] = {0: {False: _BARRIER}}
        """By place, and whether the word waits: the last word of the shortest text that ends there."""
        for place in range(len(self._cycles)):
            for word in reached.pop(place, {}).values():
                for onwards in self._onwards(word):
                    there = reached.setdefault(onwards.end, {})
                    if onwards.waits not in there or onwards.count < there[onwards.waits].count:
                        there[onwards.waits] = onwards
        ends = reached[len(self._cycles)].values()
        return self._written(min(ends, key=lambda word: word.count + self._behind(word, halt_at)[1]), halt_at)

    # --- dispatches ---

    def _append(self, run: Run) -> None:
        spec, count = run.instruction.spec, run.count
        first = run.instruction.number(spec.stride) if spec.stride else 0
        origin, step = run.instruction.advanced(-first), run.step if spec.stride else 0
        if self._origins and origin == self._origins[-1]:
            self._links.append(self._link(spec, run.cycle - self._cycles[-1], first - self._addresses[-1]))
        else:
            self._links.append(None)
        self._links += [self._link(spec, run.gap, step)] * (count - 1)
        self._origins += [origin] * count
        self._cycles += [run.cycle + run.gap * k for k in range(count)]
        self._addresses += [first + step * k for k in range(count)]

    def _link(self, spec: Spec, gap: int, step: int) -> tuple[int, int]:
        around = spec.stride is not None and spec.kind_of(spec.stride) is FieldKind.ROW_GROUP
        return gap, step % self._config.row_groups if around else step

    def _ends_of_even(self) -> list[int]:
        ends: list[int] = []
        end = len(self._links)
        following: tuple[int, int] | None = None
        for place in reversed(range(len(self._links))):
            # `following` is how the next one follows from this one.
            ends.append(place + 1 if following is None else end)
            if self._links[place] != following:
                end = place + 1
            following = self._links[place]
        return ends[::-1]

    # --- words ---

    def _onwards(self, word: _Word) -> Iterator[_Word]:
        """The words that can follow a word."""
        place = word.end
        yield self._next(word, self._end_of_unit(place), 0)
        link = self._links[place]
        if link is None or not self._repeat_steps[0] <= link[1] <= self._repeat_steps[1]:
            return
        widest = min(link[0], self._repeat_gap)
        # A single repetition needs no NOP in front of it, as its gap is as wide as that.
        yield self._next(word, place + 1, widest)
        following = self._links[place + 1] if place + 1 < len(self._links) else None
        if following is not None and following[1] == link[1] and following[0] <= widest:
            end = min(self._ends[place], place + self._repetitions)
            yield self._next(word, end, following[0])
            # The last one may be where the next flow begins, which then is a word that waits.
            yield self._next(word, end - 1, following[0])

    def _end_of_unit(self, place: int) -> int:
        """The first dispatch that the instruction of a place does not make."""
        link = self._links[place + 1] if place + 1 < len(self._links) else None
        if not self._origins[place].spec.tail or link is None:
            return place + 1
        if link[0] > self._again_gap or not 0 <= link[1] <= self._again_step:
            return place + 1
        return min(self._ends[place], place + 1 + self._again)

    def _next(self, word: _Word, end: int, gap: int) -> _Word:
        place = word.end
        _, nops = self._behind(word, self._comes(place, gap))
        waits = gap == 0 and bool(self._origins[place].spec.tail)
        return _Word(word, place, end, gap, waits, word.count + nops + 1)

    def _comes(self, place: int, gap: int) -> int:
        """The cycle in which the queue has to come to a word for its first dispatch to be that of a place."""
        return self._cycles[place] - max(gap - 1, 0)

    def _behind(self, word: _Word, until: int) -> tuple[int, int]:
        """The cycles that a word waits behind its last dispatch, and how many NOPs wait for the others."""
        full, rest = divmod(self._idle(word, until), self._nop_cycles)
        if word.waits and rest <= self._wait_cycles:
            return rest, full
        return 0, full + bool(rest)

    def _idle(self, word: _Word, until: int) -> int:
        return until - (self._cycles[word.end - 1] + 1 if word.end else 0)

    def _nops(self, word: _Word, until: int) -> list[Instruction]:
        wait, count = self._behind(word, until)
        cycles = self._idle(word, until) - wait
        lengths = [min(self._nop_cycles, cycles - i * self._nop_cycles) for i in range(count)]
        return [instruction("nop", n=length) for length in lengths]

    def _written(self, last: _Word, until: int) -> list[Instruction]:
        """The text that ends with a word, and with NOPs until a cycle."""
        pieces: list[list[Instruction]] = []
        word = last
        while word.before is not None:
            wait, _ = self._behind(word, until)
            pieces.append([self._instruction(word, wait), *self._nops(word, until)])
            until, word = self._comes(word.first, word.gap), word.before
        pieces.append(self._nops(word, until))
        return [one for piece in reversed(pieces) for one in piece]

    def _instruction(self, word: _Word, wait: int) -> Instruction:
        count = word.end - word.first
        if word.gap:
            _, step = self._links[word.first] or (0, 0)
            return instruction("repeat", n=count, gap=word.gap, step=step)
        gap, step = (self._links[word.first + 1] if count > 1 else None) or (1, 0)
        unit = self._origins[word.first].advanced(self._addresses[word.first])
        return unit.followed_by(again=count - 1, gap=gap, step=step, wait=wait)


def _disentangled(runs: Sequence[Run]) -> Iterator[Run]:
    """The runs, those that are interleaved with others dispatch by dispatch."""
    knot: list[Run] = []
    end = -1
    for run in (*runs, None):
        if run is None or run.cycle > end:
            if len(knot) == 1:
                yield knot[0]
            else:
                pairs = sorted((pair for member in knot for pair in member.unrolled()), key=lambda pair: pair[0])
                yield from (Run(cycle, inst) for cycle, inst in pairs)
            knot = []
        if run is not None:
            knot.append(run)
            end = max(end, run.last)
