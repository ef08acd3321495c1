# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""When vectors come, by arithmetic: two chips with clocks and wires of their own, counters that align, and programs
that pause. It is the time that the golden model leaves out, and knows nothing of the RTL but what a register is.

Times are in femtoseconds. A cycle is numbered as the edge of the wire clock at its beginning, a cycle of a program as
it was dispatched in.
"""

import random
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from openlpu.arch.isa import BY_MNEMONIC
from openlpu.arch.links import DESKEW_DEPTH, HAC_BITS, TURNS, Word, flit_format
from openlpu.arch.system import LinkEnd
from openlpu.arch.timing import timing
from openlpu.model.expand import Dispatch
from openlpu.model.system import LinkedSystem
from openlpu.verif.rtl_system import Conditions

_EPOCH = 1 << HAC_BITS
_SETTLING = 8
"""Epochs that counters have before programs start."""


@dataclass
class _Chip:
    """A clock, and the counters that it drives."""

    period: int
    phase: int
    flits: int
    """A cycle in which a flit is put together; another one follows after each flit's beats."""
    hac: int
    """Of cycle 0."""
    corrected: list[tuple[int, int]] = field(default_factory=list)
    """Cycles from which on the alignment counter is ahead by so much of where it would be."""
    starts: int = 0
    """The cycle in which cycle 0 of the program is, give or take what is the same on all chips."""
    pauses: list[tuple[int, int]] = field(default_factory=list)
    """Cycles of the program behind which it is so much later, in all."""

    def counter(self, cycle: int) -> int:
        """The alignment counter, without its end."""
        behind = bisect_right(self.corrected, (cycle, _EPOCH**2))
        return self.hac + cycle + (self.corrected[behind - 1][1] if behind else 0)

    def cycle_with(self, counter: int, earliest: int) -> int:
        """The first cycle from `earliest` on in which the counter is there or beyond."""
        for correction, _ in self.corrected[bisect_right(self.corrected, (earliest, _EPOCH**2)) :]:
            reached = earliest + max(0, counter - self.counter(earliest))
            if reached < correction:
                return reached
            earliest = correction
        return earliest + max(0, counter - self.counter(earliest))

    def of_program(self, cycle: int) -> int:
        """The cycle of the wire clock in which a cycle of the program is."""
        behind = bisect_right(self.pauses, (cycle - 1, _EPOCH**2))
        return self.starts + cycle + (self.pauses[behind - 1][1] if behind else 0)


@dataclass(frozen=True)
class Arrival:
    """A vector, in the time of the programs that send and receive it."""

    end: LinkEnd
    sent: int
    there: int
    """The first cycle of the receiver's program in which it may be taken."""
    taken: int
    """The cycle in which it is."""


class LinkTime:
    """Two chips with one link between them, under some conditions."""

    def __init__(self, linked: LinkedSystem, conditions: Conditions) -> None:
        self._linked = linked
        self._conditions = conditions
        self._random = random.Random(conditions.seed)
        self._beats = flit_format(linked.system.chip).beats
        draw = self._random.randrange
        self._chips = [
            _Chip(period, phase, draw(self._beats), draw(_EPOCH) if number else 0)
            for number, (period, phase) in enumerate(zip(conditions.periods, conditions.phases, strict=True))
        ]
        length = max(chip.cycles for chip in linked.chips) + 2 * _EPOCH
        self._align((_SETTLING + length // _EPOCH + 4) * _EPOCH)
        root, child = self._chips
        root.starts = _SETTLING * _EPOCH
        # Epochs have no numbers: the one that begins nearest.
        apart = child.counter(root.starts) - root.counter(root.starts)
        child.starts = child.cycle_with(root.starts + round(apart / _EPOCH) * _EPOCH, root.starts - _EPOCH // 4)
        for chip in range(len(self._chips)):
            self._pause(chip)

    def arrivals(self) -> Iterator[Arrival]:
        """Every vector that goes over the link, in the order in which they are received.

        Raises AssertionError when one is not there in time, or has no room.
        """
        before: dict[LinkEnd, list[tuple[int, int]]] = {}
        for meeting in self._linked.meetings:
            sender, receiver = self._chips[meeting.sender.chip], self._chips[meeting.receiver.chip]
            waits = sender.of_program(meeting.send.cycle + self._after(meeting.send, "state"))
            # In the first flit that is put together from then on.
            flit = waits + (sender.flits - waits) % self._beats
            there = self._received(meeting.sender.chip, flit) + 1
            takes = receiver.of_program(meeting.receive.cycle + self._after(meeting.receive, "skew"))
            assert there <= takes, f"{meeting.receiver}: comes {there - takes} cycles late: {meeting.send}"
            held = before.setdefault(meeting.receiver, [])
            # Its place is that of the vector so many before it, which must have been taken.
            assert len(held) < DESKEW_DEPTH or held[-DESKEW_DEPTH][1] < there, f"{meeting.receiver} has no room"
            held.append((there, takes))
            early = takes - there
            yield Arrival(meeting.receiver, meeting.send.cycle, meeting.receive.cycle - early, meeting.receive.cycle)

    def _received(self, sender: int, flit: int) -> int:
        """The cycle of the receiver in which a flit stands corrected that the sender put together in a cycle."""
        here, there = self._chips[sender], self._chips[1 - sender]
        wire = self._conditions.delays[LinkEnd(1 - sender, 0)] + self._random.randrange(self._conditions.jitter + 1)
        # Its last beat stands two cycles and all beats later, its clock's edge half a cycle behind that; one more edge,
        # and a bit says that it has come.
        leaves = here.phase + (flit + self._beats + 1) * here.period + here.period // 2
        told = leaves + here.period + wire
        edge = (told - there.phase) // there.period + 1
        # Two flip-flops, of which the first may hesitate for a cycle; one that sees the change; the corrector.
        return edge + 3 + self._random.randrange(2)

    def _align(self, until: int) -> None:
        """Have chip 1 correct its counter once in every epoch, from what both ends measure."""
        child, now = self._chips[1], 0
        for epoch in range(1, until // _EPOCH + 1):
            # The counter may be set back to where it corrects: once an epoch is enough.
            now = child.cycle_with(epoch * _EPOCH + _EPOCH // 2, now + 1)
            stamp = self._latest(0, now, Word.STAMP)
            answer = self._latest(0, now, Word.DELAY)
            if stamp is None or answer is None:
                continue
            delay = self._measured(0, *stamp)
            asked = self._latest(1, answer[0], Word.STAMP)
            if asked is None:
                continue
            peer_delay = self._measured(1, *asked)
            wrong = (((delay + peer_delay) % _EPOCH) // 2 - delay + _EPOCH // 2) % _EPOCH - _EPOCH // 2
            total = child.corrected[-1][1] if child.corrected else 0
            child.corrected.append((now + 1, total + wrong))

    def _latest(self, sender: int, now: int, word: Word) -> tuple[int, int] | None:
        """The flit that last brought a word to the other chip before a cycle of its: when it was put together, and when
        it had come."""
        here, there = self._chips[sender], self._chips[1 - sender]
        about = (there.phase + now * there.period - here.phase) // here.period
        first = (about - here.flits) // self._beats
        for number in range(first, max(first - 64, -1), -1):
            if TURNS[number % len(TURNS)] is word:
                flit = here.flits + number * self._beats
                came = self._received(sender, flit)
                if came < now:
                    return flit, came
        return None

    def _measured(self, sender: int, flit: int, came: int) -> int:
        return (self._chips[1 - sender].counter(came) - self._chips[sender].counter(flit)) % _EPOCH

    def _pause(self, chip: int) -> None:
        """Find out how long each DESKEW holds a chip."""
        own, held, saved = self._chips[chip], 0, 0
        dispatches = self._linked.chips[chip].dispatches
        deskews = [dispatch for dispatch in dispatches if dispatch.instruction.spec.mnemonic == "deskew"]
        for dispatch in sorted(deskews, key=lambda dispatch: dispatch.cycle):
            cycle = dispatch.cycle + self._after(dispatch, "state")
            seen = own.starts + cycle + held
            # What the program's own counter says, and where the other one is when the core goes on.
            saved += dispatch.instruction.number("n")
            due = own.counter(own.starts) + cycle + 1 + saved
            goes_on = own.cycle_with(due, seen + 1)
            assert own.counter(seen + 1) <= due, f"chip {chip} has missed the pause in cycle {dispatch.cycle}"
            held += goes_on - seen - 1
            own.pauses.append((cycle, held))

    def _after(self, dispatch: Dispatch, event: str) -> int:
        row = timing(self._linked.system.chip).latency(BY_MNEMONIC[dispatch.instruction.spec.mnemonic], dispatch.queue)
        cycles = getattr(row, event)
        assert isinstance(cycles, int)
        return cycles
