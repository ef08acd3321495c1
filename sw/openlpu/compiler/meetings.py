# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The last word on a schedule: does every vector reach the consumer it was meant for, on streams and in SRAM?

The checker proves that whoever samples a stream finds a vector there. Only the scheduler knows which vector it meant.
Here the two meet: its intentions, the rides, against what the linker finds on the streams of the assembled program. In
SRAM, where no word is used twice, it is enough that no word is written twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set

from openlpu.arch.config import ChipConfig
from openlpu.arch.geometry import Queue, QueueKind, Stream, geometry
from openlpu.arch.program import Vector
from openlpu.compiler.errors import InternalCompilerError
from openlpu.compiler.timeline import Ride, Run
from openlpu.model.dataflow import LinkedProgram


def verify_meetings(linked: LinkedProgram, rides: Iterable[tuple[Ride, int, int]]) -> None:
    """Raise InternalCompilerError, naming the vector, when another production takes the place of an intended one.

    Each ride is given once, with how often it is taken and how many cycles apart.
    """
    producers: dict[tuple[Stream, int], list[tuple[int, Queue]]] = {}
    for production in linked.productions:
        key = production.stream, production.stream.diagonal(production.cycle, production.hop)
        producers.setdefault(key, []).append((production.hop, production.dispatch.queue))
    for ride in (first.later(gap * i) for first, count, gap in rides for i in range(count)):
        step = ride.stream.direction.step
        upstream = [
            (hop * step, queue)
            for hop, queue in producers.get((ride.stream, ride.diagonal), ())
            if hop * step <= ride.consumer * step
        ]
        found = max(upstream, key=lambda entry: entry[0])[1] if upstream else None
        if found != ride.producer:
            raise InternalCompilerError(
                f"schedule: the vector of {ride.producer.name} on {ride.stream}, diagonal {ride.diagonal}, for hop "
                f"{ride.consumer}: {found.name if found else 'nothing'} is there instead"
            )


def verify_words(
    dispatches: Mapping[str, Sequence[Run]],
    image: Mapping[tuple[int, int], Vector],
    shared: Set[tuple[int, int]],
    config: ChipConfig,
) -> None:
    """Raise InternalCompilerError, naming the word, when two results, or a result and a constant, share one.

    Those that are `shared` may be: of states, and of what comes after one another. (The scheduler has nothing written
    there before everybody has read what was there.) What an index chooses is a word of a state.
    """
    filled = set(image)
    for queue in geometry(config).of_kind(QueueKind.MEM_WRITE):
        for run in dispatches.get(queue.name, ()):
            if run.instruction.spec.mnemonic != "write":
                continue
            for _, write in run.unrolled():
                word = queue.index, write.number("a")
                if word in shared:
                    continue
                if word in filled:
                    raise InternalCompilerError(f"placement: word {word[1]} of {queue.unit} is given to two things")
                filled.add(word)
