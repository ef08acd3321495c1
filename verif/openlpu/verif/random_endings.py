# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""How a random program may end: with what takes thousands of cycles, and would drown all else in every program.

An ending begins in one cycle for all queues that take part in it, when nothing is in flight any more. The others halt.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from openlpu.arch.config import ChipConfig, Source
from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import Queue, QueueKind, Stream, geometry
from openlpu.arch.isa import BY_MNEMONIC, IMMEDIATE, FieldKind, Instruction, instruction
from openlpu.arch.program import Vector
from openlpu.arch.timing import timing
from openlpu.model.expand import cycles_taken
from openlpu.verif.random_text import text_readers

ENDING_WORDS = 8
"""Words for which a queue must have room behind its text, whatever the ending."""


@dataclass
class Ending:
    """What some queues do when all else is done: text that ends with HALT."""

    text: dict[str, Callable[[int], list[Instruction]]]
    """By queue, given the number of words that it executed before."""
    cycles: int
    """From the common cycle until the last of them has halted."""
    words: dict[tuple[int, int], Vector] = field(default_factory=dict)
    """SRAM words that hold its text."""


@dataclass(frozen=True)
class _Way:
    """How text comes to `queue`: `read` by `reader`, the first of `places`, as many cycles before as `wait` says."""

    queue: Queue
    stream: Stream
    reader: Queue
    read: Instruction
    places: list[int]
    wait: int


def text_vectors(config: ChipConfig, queue: Queue, words: Iterable[Instruction]) -> list[Vector]:
    """Instructions of a queue as they ride on a stream."""
    codec = encoding(config)
    size = codec.word_vectors(queue.kind) * config.lanes
    data = b"".join(codec.encode(word, queue).to_bytes(size, "little") for word in words)
    return list(np.frombuffer(data, np.int8).reshape(-1, config.lanes))


class Endings:
    """The endings of one program.

    `text_places` finds evenly spaced words of a MEM slice for text, None when there are too few; `held` are the
    words of each slice that may be read.
    """

    def __init__(
        self,
        config: ChipConfig,
        rng: random.Random,
        text_places: Callable[[int, int], list[int] | None],
        held: Sequence[Iterable[int]],
    ) -> None:
        self._config, self._random, self._text_places, self._held = config, rng, text_places, held
        self._chip, self._timing, self._codec = geometry(config), timing(config), encoding(config)

    def longest_wait(self) -> Ending:
        """A NOP of as many cycles as there can be."""
        queue = self._random.choice(self._chip.queues)
        _, longest = self._codec.limits(FieldKind.CYCLES, queue.kind)
        text = [instruction("nop", n=longest), instruction("halt")]
        return Ending({queue.name: lambda _: text}, longest + 1)

    def longest_tail(self) -> Ending:
        """A read with as many dispatches behind it, and as many cycles, as it can say itself; and a REPEAT of it."""
        queue = self._random.choice(self._chip.of_kind(QueueKind.MEM_READ))
        kinds = (FieldKind.TAIL_COUNT, FieldKind.TAIL_GAP, FieldKind.TAIL_WAIT)
        again, gap, wait = (self._codec.limits(kind, queue.kind)[1] for kind in kinds)
        address, stream = self._random.choice([*self._held[queue.index]]), self._random.choice(queue.produces)
        read = instruction("read", a=address, d=stream, again=again, gap=gap, wait=wait)
        lasts = self._timing.latency(read.spec, queue).retire
        text = [read, instruction("repeat", n=1), instruction("nop", n=lasts), _HALT]
        return Ending({queue.name: lambda _: text}, sum(map(cycles_taken, text)))

    def longest_fetch(self) -> Ending:
        """An `ifetch` of as many words as there can be, round and round its memory, out of a REPEAT as long.

        That one word arrives again and again, so it must be no longer than a vector; without such a queue, the program
        just ends.
        """
        queues = [queue for queue in self._chip.queues if self._codec.word_vectors(queue.kind) == 1]
        way = self._way(queues, 1)
        if way is None:
            return _NOTHING
        _, most = self._codec.limits(FieldKind.COUNT, way.queue.kind)
        (word,) = text_vectors(self._config, way.queue, [_HALT])
        settled = most + self._timing.fetch.retire
        fetch = instruction("ifetch", s=way.stream, a=0, n=most)
        fetching = [instruction("nop", n=way.wait), fetch, instruction("nop", n=settled), _HALT]
        reading = [way.read, instruction("repeat", n=most), instruction("nop", n=way.wait), _HALT]
        text = {way.queue.name: lambda _: fetching, way.reader.name: lambda _: reading}
        return Ending(text, way.wait + settled + 2, {(way.reader.index, way.places[0]): word})

    def past_the_end(self) -> Ending:
        """Text that reaches the last address of its memory, and goes on at address 0."""
        queues = [*self._chip.of_kind(QueueKind.MEM_READ)]
        for queue in self._chip.of_kind(QueueKind.VXM):
            queues += [queue] * (Source.IMMEDIATE in self._chip.operand_sources(queue.index, "x"))
        way = self._way(queues, 4)
        if way is None:
            return _NOTHING
        queue = way.queue
        if queue.kind is QueueKind.VXM:
            work = [instruction("pass", x=IMMEDIATE, imm=self._random.getrandbits(32)) for _ in range(2)]
        else:
            address, stream = self._random.choice([*self._held[queue.index]]), self._random.choice(queue.produces)
            work = [instruction("read", a=address, d=stream), instruction("repeat", n=1, step=0)]
        lasts = self._timing.latency(work[0].spec, queue).retire
        arriving = [*work, instruction("nop", n=lasts), _HALT]
        vectors = text_vectors(self._config, queue, arriving)
        last = queue.text_words - 1
        # From the fetch to the last address, however many words there are before it.
        spent = last + len(vectors) + self._timing.fetch.retire

        def fetching(before: int) -> list[Instruction]:
            steps = last - before - 2
            fetch = instruction("ifetch", s=way.stream, a=last, n=len(arriving))
            waits = [spent - steps + 1] + [1] * (steps - 1)
            return [instruction("nop", n=way.wait), fetch, *(instruction("nop", n=wait) for wait in waits)]

        again = instruction("repeat", n=len(vectors) - 1, step=way.places[1] - way.places[0])
        reading = [way.read, again, instruction("nop", n=way.wait), _HALT]
        text = {queue.name: fetching, way.reader.name: lambda _: reading}
        words = {(way.reader.index, place): vector for place, vector in zip(way.places, vectors, strict=True)}
        return Ending(text, way.wait + 1 + spent + 2 + lasts + 1, words)

    def _way(self, queues: Iterable[Queue], words: int) -> _Way | None:
        """A way for so many words to one of the queues; None when there is none."""
        ways = [
            (queue, stream, reader)
            for queue in queues
            for stream in queue.fetches
            for reader, _ in text_readers(self._config, queue, stream)
            if reader != queue
        ]
        for queue, stream, reader in self._random.sample(ways, len(ways)):
            places = self._text_places(reader.index, words * self._codec.word_vectors(queue.kind))
            if places is None:
                continue
            func, skew = self._timing.latency(BY_MNEMONIC["read"], reader).func, self._timing.fetch.skew
            assert func is not None
            assert skew is not None
            # The first vector is sampled in the cycle in which it arrives.
            wait = func + self._chip.hops_between(stream, reader.hop, queue.hop) - skew
            return _Way(queue, stream, reader, instruction("read", a=places[0], d=stream), places, wait)
        return None


_HALT = instruction("halt")
_NOTHING = Ending({}, 1)

ENDINGS: tuple[Callable[[Endings], Ending], ...] = (
    Endings.longest_wait,
    Endings.longest_tail,
    Endings.longest_fetch,
    Endings.past_the_end,
)
"""Every one of them."""
