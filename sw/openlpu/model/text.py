# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What every queue executes, with the text that `ifetch` brings from SRAM while the program runs.

What a fetch brings depends on reads, the reads may come from text that was itself fetched, and so on; but all of them
lie in the fetch's past. So the queues are followed as far as their text is known, the fetches are resolved through the
reads found so far, and again, until nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import EncodingError, encoding
from openlpu.arch.geometry import Stream, geometry
from openlpu.arch.isa import Instruction
from openlpu.arch.program import Program, Vector
from openlpu.arch.timing import timing
from openlpu.model.expand import Dispatch, Expansion, expand
from openlpu.model.traffic import Traffic
from openlpu.model.violation import Violation

Contents = Callable[[tuple[int, int]], Vector | None]
"""The SRAM word at (slice number, address) as it stands at the start; None where it is not known."""


@dataclass
class FollowedText:
    """All that the queues do."""

    expansions: dict[str, Expansion]
    sources: dict[tuple[int, int], Dispatch] = field(default_factory=dict)
    """The SRAM words that hold fetched text, and an `ifetch` that takes it."""
    fetched: list[tuple[int, int, int]] = field(default_factory=list)
    """What comes to stand in instruction memories, in order of each queue: (queue number, address, word)."""
    violations: list[Violation] = field(default_factory=list)
    """Of the expansions, and of the fetches."""


def follow_program(program: Program) -> FollowedText:
    """Follow a program's queues; fetched text comes from the words of its image."""
    return follow(program.config, program.text, program.image.get)


def follow(config: ChipConfig, text: Mapping[str, Sequence[Instruction]], contents: Contents) -> FollowedText:
    """Follow the text of all queues, resident and fetched."""
    queues = [queue for queue in geometry(config).queues if queue.name in text]
    expansions = {queue.name: expand(config, queue, text[queue.name]) for queue in queues}
    known: dict[str, list[list[Instruction | None]]] = {queue.name: [] for queue in queues}
    while True:
        followed = FollowedText(expansions)
        reader = _Reader(config, expansions, contents, followed)
        found = {name: [reader.words(fetch) for fetch in expansions[name].fetches] for name in expansions}
        changed = [queue for queue in queues if found[queue.name] != known[queue.name]]
        if not changed:
            followed.violations = [v for e in expansions.values() for v in e.violations] + followed.violations
            return followed
        known = found
        expansions = expansions | {q.name: expand(config, q, text[q.name], known[q.name]) for q in changed}


class _Reader:
    """Takes the words of fetches from the streams, as far as they are known."""

    def __init__(
        self, config: ChipConfig, expansions: Mapping[str, Expansion], contents: Contents, out: FollowedText
    ) -> None:
        self._config = config
        self._contents = contents
        self._out = out
        self._numbers = {queue.name: number for number, queue in enumerate(geometry(config).queues)}
        wanted = {fetch.instruction.stream("s") for e in expansions.values() for fetch in e.fetches}
        self._drivers = [d for e in expansions.values() for d in e.dispatches] if wanted else []
        self._traffic = Traffic()
        for number, dispatch in enumerate(self._drivers):
            for plane, stream in enumerate(dispatch.instruction.drives):
                func = timing(config).latency(dispatch.instruction.spec, dispatch.queue).func
                if stream in wanted and func is not None:
                    self._traffic.drive(number, plane, stream, dispatch, func)
        self._traffic.settle()

    def words(self, fetch: Dispatch) -> list[Instruction | None]:
        """The instructions that an `ifetch` brings, None where that is not known; why not is a violation."""
        inst, queue, codec = fetch.instruction, fetch.queue, encoding(self._config)
        vectors, used = codec.word_vectors(queue.kind), codec.word_bytes(queue.kind)
        first = fetch.cycle + (timing(self._config).fetch.skew or 0)
        found: list[Instruction | None] = []
        for k in range(inst.number("n")):
            parts = [self._vector(fetch, inst.stream("s"), first + k * vectors + v) for v in range(vectors)]
            known = [part for part in parts if part is not None]
            found.append(None)
            if len(known) < len(parts):
                continue
            word = int.from_bytes(b"".join(part.tobytes() for part in known)[:used], "little")
            address = (inst.number("a") + k) % queue.text_words
            self._out.fetched.append((self._numbers[queue.name], address, word))
            try:
                found[-1] = codec.decode(word, queue)
            except EncodingError as error:
                self._refuse(fetch, f"fetches no instruction for address {address}: {error}")
        return found

    def _vector(self, fetch: Dispatch, stream: Stream, cycle: int) -> Vector | None:
        met = self._traffic.met(stream, cycle, fetch.queue.hop)
        if met is None:
            message = f"{stream} is empty at hop {fetch.queue.hop} in cycle {cycle}"
            self._refuse(fetch, message, fault_cycle=cycle)
            return None
        producer = self._drivers[met[0]]
        if producer.instruction.spec.mnemonic != "read":
            self._refuse(fetch, f"text must come from SRAM by plain reads, not from {producer}")
            return None
        place = (producer.queue.index, producer.instruction.number("a"))
        vector = self._contents(place)
        if vector is None:
            self._refuse(fetch, f"takes text from word {place[1]} of {producer.queue.unit}, which is no constant")
            return None
        self._out.sources.setdefault(place, fetch)
        return vector

    def _refuse(self, fetch: Dispatch, message: str, fault_cycle: int | None = None) -> None:
        self._out.violations.append(fetch.violation(message, fault_cycle=fault_cycle))
