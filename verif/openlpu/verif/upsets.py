# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Wrong bits in SRAM and stream registers, and who must notice them: told from the golden model, for a chip with ECC.

The golden model knows which vector every instruction samples, and where it came from. A vector with wrong bits is
counted by whoever samples it.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import Queue, QueueKind, Stream
from openlpu.arch.isa import FieldKind
from openlpu.arch.program import Program
from openlpu.arch.timing import timing
from openlpu.model import semantics
from openlpu.model.expand import Dispatch, Expansion
from openlpu.model.golden import Trace
from openlpu.model.text import follow_program

Word = tuple[int, int]
"""Number of a MEM slice, and address."""


@dataclass(frozen=True)
class Consumption:
    """A vector sampled from a stream."""

    queue: Queue
    stream: Stream
    cycle: int
    producer: Dispatch


class Exposure:
    """What a program's run consumes, and so where a wrong bit is noticed: numbers of vectors by name of the queue."""

    def __init__(self, program: Program, trace: Trace) -> None:
        self._config = program.config
        self._timing = timing(program.config)
        self.registers = list(trace.registers())
        """The valid stream registers of every cycle: (hop, stream) to value and producer."""
        self.consumptions = list(self._consumptions(program))
        self._writes: dict[Word, list[int]] = {}
        for write in trace.writes:
            self._writes.setdefault((write.slice, write.address), []).append(write.cycle)
        self._words = {id(c.producer): self._word_read(c.producer) for c in self.consumptions}

    def of_word(self, word: Word, cycle: int = 0) -> Counter[str]:
        """Where bits of an SRAM word that turn in a cycle (0: before the program) are noticed during the run."""
        return Counter(
            c.queue.name
            for c in self.consumptions
            if self._words[id(c.producer)] == word and self._holds(word, cycle, self._sampled(c.producer))
        )

    def outlives(self, word: Word, cycle: int = 0) -> bool:
        """Whether bits of an SRAM word that turn in a cycle are still wrong after the run."""
        return self._holds(word, cycle, len(self.registers))

    def of_register(self, hop: int, stream: Stream, cycle: int) -> Counter[str]:
        """Where bits of a valid stream register that turn in a cycle are noticed."""
        _, producer = self.registers[cycle][hop, stream]
        return Counter(
            c.queue.name
            for c in self.consumptions
            if c.producer is producer
            and c.stream == stream
            and c.cycle >= cycle
            and stream.diagonal(c.cycle, c.queue.hop) == stream.diagonal(cycle, hop)
        )

    @property
    def words(self) -> list[Word]:
        """All SRAM words that are read and consumed."""
        return sorted({word for word in self._words.values() if word is not None})

    # --- helpers ---

    def _consumptions(self, program: Program) -> Iterator[Consumption]:
        for expansion in follow_program(program).expansions.values():
            for queue, stream, cycle in (*self._by_units(expansion), *self._by_queues(expansion)):
                _, producer = self.registers[cycle][queue.hop, stream]
                yield Consumption(queue, stream, cycle, producer)

    def _by_units(self, expansion: Expansion) -> Iterator[tuple[Queue, Stream, int]]:
        for dispatch in expansion.dispatches:
            inst, queue = dispatch.instruction, dispatch.queue
            loads = inst.spec.has(FieldKind.ROW_GROUP)
            for stream in set(queue.consumes if loads else inst.samples):
                yield queue, stream, self._sampled(dispatch)

    def _by_queues(self, expansion: Expansion) -> Iterator[tuple[Queue, Stream, int]]:
        for fetch in expansion.fetches:
            first = fetch.cycle + (self._timing.fetch.skew or 0)
            vectors = fetch.instruction.number("n") * encoding(self._config).word_vectors(fetch.queue.kind)
            for cycle in range(first, first + vectors):
                yield fetch.queue, fetch.instruction.stream("s"), cycle

    def _word_read(self, dispatch: Dispatch) -> Word | None:
        """The SRAM word that a dispatch puts onto a stream; None if it computes, or its map means another slice."""
        inst, queue = dispatch.instruction, dispatch.queue
        if queue.kind is not QueueKind.MEM_READ:
            return None
        if not inst.spec.has(FieldKind.WINDOW):
            return queue.index, inst.number("a")
        lane_map, _ = self.registers[self._sampled(dispatch)][queue.hop, inst.stream("m")]
        offset = semantics.picked_word(self._config, inst, lane_map)
        return None if offset is None else (queue.index, inst.number("a") + offset)

    def _sampled(self, dispatch: Dispatch) -> int:
        return dispatch.cycle + (self._timing.latency(dispatch.instruction.spec, dispatch.queue).skew or 0)

    def _holds(self, word: Word, turned: int, read: int) -> bool:
        """The read comes after the turn, and no write between. Units work `Timing.correct` cycles after they count."""
        first = turned - self._timing.correct if turned else -1
        return first <= read and not any(first < written <= read for written in self._writes.get(word, []))
