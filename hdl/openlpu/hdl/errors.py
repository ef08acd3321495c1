# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Counts of the wrong vectors that were consumed, and by whom.

A corrector stands for all units at a hop, and sees every vector that passes. An error counts where somebody consumed
the vector: once for every queue whose unit sampled it, or that fetched text from it, and for the host.
"""

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from openlpu.arch.config import GROUP, ChipConfig
from openlpu.arch.encoding import bits_for, encoding
from openlpu.arch.geometry import Queue, Stream, geometry
from openlpu.arch.isa import FieldKind, Format, Operand, Spec
from openlpu.arch.status import error_places

from .decode import Decoder, IssueSignature, part, reach
from .dispatch import Dispatch
from .shared import SharedComponent
from .signals import delayed, select

__all__ = ["COUNT_BITS", "COUNT_DELAY", "ErrorCounts", "ErrorSignature", "QueueErrors", "counting_places"]

COUNT_BITS = 32
"""Of every count. A count that has come to its end stays there."""
COUNT_DELAY = 2
"""From the cycle of `ErrorSignature` to the one from which the counts hold it."""


def counting_places(config: ChipConfig) -> int:
    """How many of `error_places` there are."""
    return len(error_places(config))


class ErrorSignature(wiring.Signature):
    """How many vectors with errors a place consumed in a cycle: `corrected` and `uncorrectable` ones."""

    def __init__(self, config: ChipConfig) -> None:
        most = max(len(queue.consumes) + len(queue.fetches) for queue in geometry(config).queues)
        super().__init__({"corrected": Out(range(most + 1)), "uncorrectable": Out(range(most + 1))})


class QueueErrors(SharedComponent):
    """The errors in what a queue and its unit consume.

    `issue` : that of the queue.
    `fetched` : those of `Queue.fetches` from which text is taken in this cycle.
    `corrected`, `uncorrectable` : what the correctors of `Queue.consumes` and then `Queue.fetches` have found.
    `errors` : two cycles after the unit or the queue consumed. Registers.
    """

    issue: Any
    fetched: Signal
    corrected: Signal
    uncorrectable: Signal
    errors: Any

    def __init__(self, *, config: ChipConfig, queue: Queue) -> None:
        self._config = config
        self._queue = queue
        streams = len(queue.consumes) + len(queue.fetches)
        super().__init__(
            {
                "issue": In(IssueSignature(encoding(config).issue_bits(queue.kind))),
                "fetched": In(len(queue.fetches)),
                "corrected": In(streams),
                "uncorrectable": In(streams),
                "errors": Out(ErrorSignature(config)),
            },
            like=reach(queue),
            module_name=f"errors_{queue.unit}_{part(queue)}",
        )

    def body(self) -> Module:
        """Find out what was consumed, and count what was wrong with it."""
        m = Module()
        dispatch = Dispatch(m, self._config, self._queue, self.issue)
        sampled = self._sampled(dispatch.instruction)
        consumed = Cat(dispatch.decoded("sampled", sampled & dispatch.ahead.replicate(len(sampled))), self.fetched)
        for name in ("corrected", "uncorrectable"):
            found = delayed(m, name, getattr(self, name) & consumed, 1)
            m.d.sync += getattr(self.errors, name).eq(sum(found))
        return m

    def _sampled(self, instruction: Decoder) -> Value:
        """For each stream that the unit consumes, 1 where an instruction samples it."""
        streams = self._queue.consumes
        forms: dict[tuple[object, ...], list[Spec]] = {}
        for spec in instruction.specs:
            if not spec.control:
                slots = tuple(instruction.slot(spec.mnemonic, name) for name in spec.consumes)
                forms.setdefault((slots, _samples_all(spec)), []).append(spec)
        matches, samples = [], []
        for alike in forms.values():
            matches.append(Cat(instruction.is_(spec.mnemonic) for spec in alike).any())
            samples.append(_samples(instruction, alike[0], streams))
        # Where there are no streams, there is no bit to choose either.
        return select(matches, samples)[: len(streams)]


class ErrorCounts(wiring.Component):
    """Counts since the reset, in total and for every place.

    `places` : what to count, in the order of `counting_places`.
    `corrected`, `uncorrectable` : totals.
    `place` : whose counts `place_corrected` and `place_uncorrectable` are two cycles later; those of none are 0.
    """

    places: Any
    corrected: Signal
    uncorrectable: Signal
    place: Signal
    place_corrected: Signal
    place_uncorrectable: Signal

    def __init__(self, *, config: ChipConfig) -> None:
        count = counting_places(config)
        super().__init__(
            {
                "places": In(ErrorSignature(config)).array(count),
                "corrected": Out(COUNT_BITS),
                "uncorrectable": Out(COUNT_BITS),
                "place": In(bits_for(count)),
                "place_corrected": Out(COUNT_BITS),
                "place_uncorrectable": Out(COUNT_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The counters, and the choice of those to show."""
        m = Module()
        chosen = delayed(m, "chosen", Cat(self.place == number for number in range(len(self.places))), 1)
        for name in ("corrected", "uncorrectable"):
            amounts = [getattr(place, name) for place in self.places]
            total = Value.cast(sum(amounts))
            _count(m, getattr(self, name), delayed(m, f"{name}_amount", total, 1))
            counters = [Signal(COUNT_BITS, name=f"{name}{number}") for number in range(len(amounts))]
            for counter, amount in zip(counters, amounts, strict=True):
                _count(m, counter, amount)
            m.d.sync += getattr(self, f"place_{name}").eq(select(chosen, counters))
        return m


# --- helpers ---


def _samples_all(spec: Spec) -> bool:
    """Loads of weights name no streams: they take all that their queue consumes."""
    return any(field.kind is FieldKind.ROW_GROUP for field in spec.fields)


def _samples(instruction: Decoder, spec: Spec, streams: Sequence[Stream]) -> Value:
    """For each stream, 1 where `instruction`, if it is a `spec`, samples it."""
    if _samples_all(spec):
        return Cat(True for _ in streams)
    named = {field.name: field.kind for field in spec.fields}
    chosen = [
        _operand(instruction, spec, name, streams)
        if named[name] is FieldKind.SOURCE
        else Cat(instruction.choose(spec.mnemonic, name, streams))
        for name in spec.consumes
    ]
    return Cat(Cat(bits).any() for bits in zip(*chosen, strict=True))


def _operand(instruction: Decoder, spec: Spec, name: str, streams: Sequence[Stream]) -> Value:
    """As `_samples`, of one source of an ALU: a byte is one stream, a word the four of its group."""

    def names(form: Format, stream: Stream) -> Value:
        return instruction.names(spec.mnemonic, name, Operand(form, stream))

    words = [names(Format.WORD, first) for first in streams[::GROUP]]
    return Cat(names(Format.BYTE, stream) | words[place // GROUP] for place, stream in enumerate(streams))


def _count(m: Module, counter: Signal, amount: Value) -> None:
    """Add to a counter, up to its last value."""
    total = counter + amount
    m.d.sync += counter.eq(Mux(total[len(counter) :].any(), -1, total))
