# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The text of a queue that dispatches given instructions in given cycles: one of the many there are, at random.

The compiler writes the shortest text. Here REPEAT is used or not, instructions say more or less of what follows them,
waits are split, gaps and steps stand where they mean nothing, and what IFETCH brings replaces decoys that must never
execute.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import Queue, QueueKind, Stream, geometry
from openlpu.arch.isa import BY_MNEMONIC, FieldKind, Instruction, instruction
from openlpu.arch.timing import timing
from openlpu.model.expand import expand

Entry = tuple[int, Instruction]
"""A dispatch: its cycle, and the instruction. The address of an `ifetch` is chosen here, whatever the entry says."""
WORDS_PER_ENTRY = 2
"""At most: a wait and the instruction, or a wait and a REPEAT."""
WORDS_AROUND = 3
"""At most: the barrier, the last wait and HALT."""
_ATTEMPTS = 12
"""Random places for fetched text before it is put where nothing can go wrong."""


@dataclass(frozen=True)
class LaidOut:
    """What stands in the instruction memory at the start, and the words of each `ifetch` in order."""

    text: tuple[Instruction, ...]
    fetched: tuple[tuple[Instruction, ...], ...] = ()


def text_readers(config: ChipConfig, queue: Queue, stream: Stream) -> list[tuple[Queue, int]]:
    """The queues that can read text onto `stream` for `queue`, and how many words of it at most.

    A read queue may fetch what it has read itself, before it dispatches the `ifetch`.
    """
    chip, times, codec = geometry(config), timing(config), encoding(config)
    _, longest = codec.limits(FieldKind.COUNT, queue.kind)
    found = []
    for reader in chip.of_kind(QueueKind.MEM_READ):
        if stream not in reader.produces or chip.hops_between(stream, reader.hop, queue.hop) < 0:
            continue
        func, skew = times.latency(BY_MNEMONIC["read"], reader).func, times.fetch.skew
        assert func is not None
        assert skew is not None
        most = longest if reader != queue else (func - skew) // codec.word_vectors(queue.kind)
        if most:
            found.append((reader, most))
    return found


class TextWriter:
    """Lays out the text of one queue. `alone` entries come one after the other, as their cycles say."""

    def __init__(self, config: ChipConfig, queue: Queue, rng: random.Random) -> None:
        self._config, self._queue, self._random = config, queue, rng
        self._codec = encoding(config)

    def write(self, start: str, entries: Sequence[Entry], halt_at: int) -> LaidOut:
        """The text from `start` (`sync` or `notify`) to a HALT in cycle `halt_at`."""
        words = [*self.opening(start, entries, halt_at), instruction("halt")]
        fetches = [k for k, word in enumerate(words) if word.spec.mnemonic == "ifetch"]
        if not fetches:
            return LaidOut(tuple(words))
        return self._fetching(words, fetches, entries, halt_at)

    def opening(self, start: str, entries: Sequence[Entry], until: int) -> list[Instruction]:
        """The text from the barrier through all entries, to come to whatever follows in cycle `until`."""
        words = [instruction(start)]
        self._spare = self._queue.text_words - WORDS_PER_ENTRY * len(entries) - WORDS_AROUND
        head, done = 0, 0
        latest: Instruction | None = None
        while done < len(entries):
            cycle, inst = entries[done]
            again = 0 if latest is None or self._random.random() < 0.15 else self._again(latest, entries[done:])
            if again and latest is not None:
                count = self._random.choice((again, again, self._random.randint(1, again)))
                gap = self._gap(entries[done : done + count], head)
                if not gap:
                    count, gap = 1, self._gap(entries[done : done + 1], head)
                words += self._wait(cycle - gap + 1 - head)
                words.append(instruction("repeat", n=count, gap=gap, step=self._step(latest, inst)))
                done += count
                head, latest = entries[done - 1][0] + 1, entries[done - 1][1]
                continue
            words += self._wait(cycle - head)
            again, gap, step = self._further(entries[done:])
            done += 1 + again
            head = entries[done - 1][0] + 1
            idle = (entries[done][0] if done < len(entries) else until) - head
            wait = self._part(min(idle, self._longest(FieldKind.TAIL_WAIT))) if inst.spec.tail else 0
            words.append(inst.followed_by(again=again, gap=gap, step=step, wait=wait))
            head += wait
            latest = latest if inst.spec.control else entries[done - 1][1]
        return words + self._wait(until - head)

    def _further(self, entries: Sequence[Entry]) -> tuple[int, int, int]:
        """How many of the entries behind the first it makes itself, how far apart, and by what step."""
        (cycle, inst), following = entries[0], entries[1:]
        widest, step = self._longest(FieldKind.TAIL_GAP), self._random.randint(0, 1)
        gap = self._random.randint(1, widest)
        if not inst.spec.tail or not following or following[0][0] - cycle > widest:
            return 0, gap, step
        if inst.spec.stride and inst != self._codec.advanced(inst, 1):
            step = int(following[0][1] != inst)
        apart, again = following[0][0] - cycle, 0
        while again < min(len(following), self._longest(FieldKind.TAIL_COUNT)):
            if following[again] != (cycle + apart * (again + 1), self._codec.advanced(inst, step * (again + 1))):
                break
            again += 1
        again = self._part(again)
        return again, apart if again else gap, step

    def _part(self, most: int) -> int:
        """All, nothing, or something of it."""
        return self._random.choice((most, most, 0, self._random.randint(0, most)))

    def _longest(self, kind: FieldKind) -> int:
        return self._codec.limits(kind, self._queue.kind)[1]

    def _again(self, latest: Instruction, entries: Sequence[Entry]) -> int:
        """How many of the entries a REPEAT after `latest` can issue, if their distances allow it."""
        _, first = entries[0]
        if first.spec != latest.spec:
            return 0
        step = self._distance(latest, first)
        _, most = self._codec.limits(FieldKind.COUNT, self._queue.kind)
        count = 0
        while count < min(len(entries), most):
            cycle, inst = entries[count]
            even = count < 2 or cycle - entries[count - 1][0] == entries[1][0] - entries[0][0]
            if not even or inst != self._codec.advanced(latest, step * (count + 1)):
                break
            count += 1
        return count

    def _gap(self, entries: Sequence[Entry], head: int) -> int:
        """The gap of a REPEAT that issues the entries, reached in `head` or later; 0 when there is none."""
        widest = min(self._codec.limits(FieldKind.GAP, self._queue.kind)[1], entries[0][0] - head + 1)
        if len(entries) == 1:
            return self._random.choice((widest, self._random.randint(1, widest)))
        gap = entries[1][0] - entries[0][0]
        return gap if gap <= widest else 0

    def _distance(self, latest: Instruction, inst: Instruction) -> int:
        stride = inst.spec.stride
        return inst.number(stride) - latest.number(stride) if stride else 0

    def _step(self, latest: Instruction, inst: Instruction) -> int:
        low, high = self._codec.limits(FieldKind.STRIDE, self._queue.kind)
        distance, around = self._distance(latest, inst), self._config.row_groups
        if inst.spec.has(FieldKind.ROW_GROUP):
            steps = (distance, distance - around, distance + around)
            return self._random.choice([step for step in steps if low <= step <= high])
        if inst.spec.stride:
            return distance
        return self._random.choice((0, low, high, self._random.randint(low, high)))

    def _wait(self, cycles: int) -> list[Instruction]:
        _, longest = self._codec.limits(FieldKind.CYCLES, self._queue.kind)
        pieces = []
        while cycles > 0:
            piece = min(cycles, longest)
            if self._spare > 0 and piece > 1 and self._random.random() < 0.1:
                piece = self._random.randint(1, piece - 1)
                self._spare -= 1
            pieces.append(instruction("nop", n=piece))
            cycles -= piece
        return pieces

    # Fetched text

    def _fetching(
        self, words: list[Instruction], fetches: list[int], entries: Sequence[Entry], halt_at: int
    ) -> LaidOut:
        for _ in range(_ATTEMPTS):
            places = [self._place(words, fetch) for fetch in fetches]
            made = self._placed(words, fetches, places, self._random.random() < 0.5)
            if self._as_meant(made, entries, halt_at):
                return made
        # Each word onto itself: whenever it comes, it changes nothing.
        for shift in range(self._queue.text_words):
            places = [shift] * len(fetches)
            made = self._placed(words, fetches, places, False, decoys=False)
            if self._as_meant(made, entries, halt_at):
                return made
        raise AssertionError(f"no place for what {self._queue.name} fetches")

    def _place(self, words: Sequence[Instruction], fetch: int) -> int:
        last = self._queue.text_words - 1
        if self._random.random() < 0.75:
            return self._random.randint(min(fetch + 2, last), len(words) - 1)
        return self._random.choice((0, last, self._random.randint(0, last), min(len(words), last)))

    def _placed(
        self,
        words: Sequence[Instruction],
        fetches: Sequence[int],
        places: Sequence[int],
        short: bool,
        decoys: bool = True,
    ) -> LaidOut:
        """The text with every fetch to its place; `short`: without the end, where a fetch brings it."""
        final = list(words)
        for fetch, place in zip(fetches, places, strict=True):
            old = words[fetch]
            final[fetch] = instruction("ifetch", s=old.stream("s"), a=place, n=old.number("n"))
        resident, fetched, end = list(final), [], len(final)
        for fetch, place in zip(fetches, places, strict=True):
            addresses = [(place + k) % self._queue.text_words for k in range(words[fetch].number("n"))]
            fetched.append(tuple(final[a] if a < len(final) else self._decoy(final) for a in addresses))
            for address in addresses if decoys else ():
                if fetch + 1 < address < len(final):
                    resident[address] = self._decoy(final)
            if short and addresses[-1] == place + len(addresses) - 1 >= len(final) - 1 > place > max(fetches) + 1:
                end = min(end, place)
        return LaidOut(tuple(resident[:end]), tuple(fetched))

    def _decoy(self, words: Sequence[Instruction]) -> Instruction:
        return self._random.choice((instruction("halt"), instruction("nop", n=3), self._random.choice(words[1:])))

    def _as_meant(self, made: LaidOut, entries: Sequence[Entry], halt_at: int) -> bool:
        found = expand(self._config, self._queue, made.text, made.fetched)
        dispatched = [(d.cycle, d.instruction) for d in found.dispatches]
        meant = [entry for entry in entries if not entry[1].spec.control]
        starts = [d.cycle for d in found.fetches]
        fetching = [cycle for cycle, inst in entries if inst.spec.control]
        return (not found.violations, dispatched, starts, found.halt) == (True, meant, fetching, halt_at)
