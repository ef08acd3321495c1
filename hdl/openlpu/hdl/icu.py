# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Instruction queues: text memory, fetch, queue control, dispatch.

    text memory -> fetched word -> head -> issue register

The head is decoded as it is loaded, and acts one cycle before the dispatch it causes. It takes a word every cycle,
unless it waits; then the stages behind it wait too, so none of them needs a buffer, and the next word is always at
hand. What was dispatched last stays in the issue register, which is where REPEAT finds the instruction to advance.

A unit instruction is at the head for as long as what it says of the cycles behind it takes. Its flags say what it is
by then: itself, then a REPEAT, then a NOP, as far as it has them; so the counters of those two serve it, too.

Text comes on streams, by IFETCH or from the host: the pieces of a word are collected, and the word is written in the
cycle after its last. IFETCH takes them one after the other from the stream that it names. The host's come side by side,
from the edge of the chip, so that no bus of its own need reach every queue. The queue goes on meanwhile, and wherever
it reads the text next, the schedule has put it.
"""

from typing import Any

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import bits_for, encoding
from openlpu.arch.geometry import Queue, Stream, geometry
from openlpu.arch.isa import FieldKind
from openlpu.arch.timing import timing

from .decode import Decoder, IssueSignature, part, reach
from .ram import Ram
from .shared import SharedComponent
from .signals import delayed, named, select
from .stream import StreamSignature

__all__ = ["InstructionQueue", "TextWriteSignature", "notify_registers", "release_registers", "tapped", "text_streams"]

_CONTROL = ("nop", "repeat", "sync", "notify", "halt", "ifetch")


class TextWriteSignature(wiring.Signature):
    """Host access to the text memory of a queue: where `en`, what is on its `text_streams` becomes word `address`."""

    def __init__(self, config: ChipConfig, queue: Queue) -> None:
        super().__init__({"en": Out(1), "address": Out(bits_for(queue.text_words))})


def release_registers(config: ChipConfig) -> int:
    """How many registers `release` has inside each queue: one, if there is a cycle for it."""
    return min(timing(config).notify - 1, 1)


def notify_registers(config: ChipConfig) -> int:
    """How many registers `notify` has inside each queue: one, if there is another cycle for it."""
    return min(timing(config).notify - 1 - release_registers(config), 1)


def text_streams(config: ChipConfig, queue: Queue) -> tuple[Stream, ...]:
    """The streams that bring the pieces of a word from the host; where one is enough, the first of `Queue.fetches`.

    No stream brings different pieces to different queues.
    """
    codec, first = encoding(config), queue.fetches[0]
    most = max(codec.word_vectors(queue.kind) for queue in geometry(config).queues)
    base = first.index % (config.streams // most) * most
    return tuple(Stream(first.direction, base + piece) for piece in range(codec.word_vectors(queue.kind)))


def tapped(config: ChipConfig, queue: Queue) -> tuple[Stream, ...]:
    """The streams that bring text to a queue: `Queue.fetches`, and what else is in `text_streams`."""
    return tuple(dict.fromkeys((*queue.fetches, *text_streams(config, queue))))


def _times(instruction: Decoder) -> Value:
    """How often a NOP or a REPEAT counts, as queue control."""
    return Mux(instruction.is_("nop"), instruction.field("nop", "n"), instruction.field("repeat", "n"))


class InstructionQueue(SharedComponent):
    """One queue of a chip.

    From `start` (a pulse, while `halted`) it executes its text from address 0 until HALT, or until a word that is not
    legal. It dispatches nothing more from then on, but what it dispatched is still in the unit.

    `release` : SYNC and NOTIFY end; the next instruction dispatches `release_registers` + 2 cycles later.
    `notify` : pulse, one cycle before the dispatch cycle of NOTIFY, or `notify_registers` cycles later.
    `issue` : dispatch; this is cycle t of the timing table. A register.
    `halted` : from the dispatch cycle of HALT, or of an illegal word. A register.
    `illegal` : pulse in the dispatch cycle of an illegal word. A register.
    `text` : written while halted and not `fetching`; a write in the cycle before `start` is still seen.
    `text_taps` : the streams of `tapped`, `Timing.text_tap` cycles ago.
    `fetch_empty` : in the cycle before this one a vector of text was taken that is not valid. A register.
    `fetching` : while vectors of text are taken from the taps.
    `fetched` : which of `Queue.fetches` text is sampled from in this cycle: one of them, or none.

    A reset stops it; what is then in its registers leaves them, or stays there until `start`.
    """

    start: Signal
    release: Signal
    notify: Signal
    issue: Any
    halted: Signal
    illegal: Signal
    text: Any
    text_taps: Any
    fetch_empty: Signal
    fetching: Signal
    fetched: Signal

    def __init__(self, *, config: ChipConfig, queue: Queue) -> None:
        self._config = config
        self._queue = queue
        self._word_bits = encoding(config).word_bits(queue.kind)
        self._issue_bits = encoding(config).issue_bits(queue.kind)
        super().__init__(
            {
                "start": In(1),
                "release": In(1),
                "notify": Out(1),
                "issue": Out(IssueSignature(self._issue_bits)),
                "halted": Out(1),
                "illegal": Out(1),
                "text": In(TextWriteSignature(config, queue)),
                "text_taps": In(StreamSignature(config.lanes)).array(len(tapped(config, queue))),
                "fetch_empty": Out(1),
                "fetching": Out(1),
                "fetched": Out(len(queue.fetches)),
            },
            like=reach(queue),
            module_name=f"icu_{queue.unit}_{part(queue)}",
        )

    def body(self) -> Module:
        """Build fetch, head and issue register."""
        m = Module()
        advance = Signal()
        m.submodules.text_memory = text = Ram(depth=self._queue.text_words, width=self._word_bits)
        fetched, fetched_valid = self._fetch(m, text.read, advance)

        incoming = Decoder(self._config, self._queue, fetched)
        legal = Signal()
        m.d.comb += legal.eq(fetched_valid & incoming.legal)
        head = Signal(self._word_bits, reset_less=True)
        # `more`: the head is something else afterwards.
        flags = {name: Signal(name=f"head_{name}", reset_less=True) for name in (*_CONTROL, "unit", "illegal", "more")}
        at_head = Decoder(self._config, self._queue, head)
        # The cycles of a NOP or the repetitions that are left, and those of a gap so far, the next one included.
        count = Signal(len(at_head.field("nop", "n")), reset_less=True)
        since = Signal(len(at_head.field("repeat", "gap")), init=2, reset_less=True)
        # Whether they have come to their ends: told by registers, as all else waits for it.
        last = Signal(reset_less=True)
        due = Signal(reset_less=True)
        seen = Signal(reset_less=True)
        stopped = Signal(init=1, reset_less=True)
        # Set by the reset, which comes from as far as the release does.
        reset = Signal(init=1)
        m.d.sync += reset.eq(0)
        release = delayed(m, "release", self.release, release_registers(self._config))

        counted, counting, illegal, issuing = Signal(), Signal(), Signal(), Signal()
        notifies = flags["notify"] & delayed(m, "fresh", advance, 1)
        waits = counting | flags["more"] | ((flags["sync"] | flags["notify"]) & ~release)
        stops = flags["halt"] | illegal
        m.d.comb += [
            counted.eq(flags["nop"] | due),
            counting.eq((flags["nop"] | flags["repeat"]) & ~(counted & last)),
            illegal.eq(flags["illegal"] | (flags["repeat"] & ~seen)),
            issuing.eq(flags["unit"] | (flags["repeat"] & due & seen)),
            advance.eq(~(stopped | stops | waits)),
            self.halted.eq(stopped),
            self.notify.eq(delayed(m, "notify", notifies, notify_registers(self._config))),
            self.issue.valid.eq(delayed(m, "issues", issuing, 1)),
            self.illegal.eq(delayed(m, "illegal", illegal, 1)),
        ]

        control = Cat(incoming.is_(name) for name in _CONTROL)
        # What is at the head may be counted, and may be something else afterwards. Otherwise these are as the next word
        # wants them, whether it comes or not: `advance` comes late.
        again, wait = at_head.tail("again"), at_head.tail("wait")
        repeats = flags["unit"] & again.any()
        follows, times = Mux(repeats, again, wait), _times(incoming)
        gap = Mux(at_head.for_unit, at_head.tail("gap"), at_head.field("repeat", "gap"))
        waiting = flags["repeat"] & ~due
        next_due = Mux(waiting, since == gap, gap == 1)
        m.d.sync += [
            seen.eq(seen | flags["unit"]),
            since.eq(Mux(waiting, since + 1, 2)),
            due.eq(Mux(counting | flags["more"], next_due, incoming.field("repeat", "gap") == 1)),
        ]
        with m.If(counting):
            m.d.sync += [count.eq(count - counted), last.eq(Mux(counted, count == 2, last))]
        with m.Elif(flags["more"]):
            m.d.sync += [count.eq(follows), last.eq(follows == 1)]
            m.d.sync += [
                flags["unit"].eq(0),
                flags["repeat"].eq(repeats),
                flags["nop"].eq(~repeats),
                flags["more"].eq(repeats & wait.any()),
            ]
        with m.Else():
            m.d.sync += [count.eq(times), last.eq(times == 1)]
        says_more = incoming.tail("again").any() | incoming.tail("wait").any()
        with m.If(advance):
            m.d.sync += [
                head.eq(fetched),
                *(flags[name].eq(legal & incoming.is_(name)) for name in _CONTROL),
                flags["unit"].eq(legal & ~control.any()),
                flags["illegal"].eq(fetched_valid & ~legal),
                flags["more"].eq(fetched_valid & incoming.has_tail & says_more),
            ]
        with m.If(stops | reset):
            m.d.sync += stopped.eq(1)
        with m.If(stops | stopped):
            m.d.sync += [flag.eq(0) for flag in flags.values()]
        with m.If(self.start):
            m.d.sync += [stopped.eq(0), seen.eq(0)]

        self._elaborate_text(m, text.write, flags["ifetch"], at_head, reset)

        word = Signal(self._issue_bits, name="issue_word", reset_less=True)
        m.d.comb += self.issue.word.eq(word)
        with m.If(flags["unit"]):
            m.d.sync += word.eq(head)
        with m.Elif(issuing):
            m.d.sync += word.eq(self._advanced(m, word, at_head))
        return m

    def _fetch(self, m: Module, read: Any, advance: Value) -> tuple[Value, Value]:
        """The stages before the head: the word fetched, and whether there is one."""
        counter = Signal(bits_for(self._queue.text_words), reset_less=True)
        read_valid, fetched_valid = Signal(reset_less=True), Signal(reset_less=True)
        fetched = Signal(self._word_bits, reset_less=True)
        m.d.comb += [read.addr.eq(counter), read.en.eq(advance)]
        with m.If(advance):
            m.d.sync += [
                counter.eq(self._next_address(counter)),
                read_valid.eq(1),
                fetched.eq(read.data),
                fetched_valid.eq(read_valid),
            ]
        with m.If(self.start):
            m.d.sync += [counter.eq(0), read_valid.eq(0), fetched_valid.eq(0)]
        return fetched, fetched_valid

    def _elaborate_text(self, m: Module, write: Any, begins: Value, at_head: Decoder, reset: Value) -> None:
        """Collect words from the stream that IFETCH names; write them, or what the host has.

        What is counted runs ahead of the vectors by as much as they are sampled later than an instruction dispatches.
        """
        vector, pieces = 8 * self._config.lanes, encoding(self._config).word_vectors(self._queue.kind)
        streams, words = len(self._queue.fetches), at_head.field("ifetch", "n")
        source = Signal(streams, name="fetch_source", reset_less=True)
        wanted = Signal(len(words), name="fetch_wanted", reset_less=True)
        count = Signal(len(words), name="fetch_count", reset_less=True)
        piece = Signal(range(pieces), name="fetch_piece", reset_less=True)
        address = Signal(bits_for(self._queue.text_words), name="fetch_address", reset_less=True)
        last = named(m, "fetch_last", source.any() & (piece == pieces - 1))
        with m.If(source.any()):
            m.d.sync += piece.eq(Mux(last, 0, piece + 1))
        with m.If(last):
            m.d.sync += [count.eq(count + 1), address.eq(self._next_address(address))]
            with m.If(count == wanted):
                m.d.sync += source.eq(0)
        with m.If(begins):
            m.d.sync += [
                source.eq(Cat(at_head.choose("ifetch", "s", self._queue.fetches))),
                wanted.eq(words),
                count.eq(1),
                piece.eq(0),
                address.eq(at_head.field("ifetch", "a")),
            ]
        with m.If(reset):
            m.d.sync += source.eq(0)

        times = timing(self._config)
        assert times.fetch.skew is not None
        sampling = times.fetch.skew + times.correct
        stages = sampling + times.text_tap
        taking, place = delayed(m, "fetch_taking", source, stages - 1), delayed(m, "fetch_place", piece, stages - 1)
        m.d.comb += [
            self.fetching.eq(delayed(m, "fetching", taking.any(), 1)),
            self.fetched.eq(delayed(m, "fetch_sampled", source, sampling)),
        ]
        taps = dict(zip(tapped(self._config, self._queue), self.text_taps, strict=True))
        fetches = self._queue.fetches
        taken = delayed(m, "fetch_taken", taking, 1)
        missing = self.fetching & ~select(taken, [taps[stream].valid for stream in fetches])
        m.d.comb += self.fetch_empty.eq(delayed(m, "fetch_empty", missing, 1))
        collected = Signal(self._word_bits, name="fetch_collected", reset_less=True)
        for number, host in enumerate(text_streams(self._config, self._queue)):
            chosen: dict[Stream, Value] = {host: ~taking.any()}
            for stream, fetch in zip(fetches, taking, strict=True):
                chosen[stream] = chosen.get(stream, C(0)) | (fetch & (place == number))
            # The bits of a piece lie far apart: nothing but registers tells them whence they come.
            takes = Signal(len(chosen), name=f"fetch_takes{number}", init=1, reset_less=True)
            m.d.sync += takes.eq(Cat(chosen.values()))
            with m.If(takes.any()):
                m.d.sync += collected[number * vector :][:vector].eq(select(takes, [taps[s].data for s in chosen]))
        fetched = delayed(m, "fetch_last", last, stages)
        fetched_address = delayed(m, "fetch_address", address, stages)
        written = delayed(m, "text_written", fetched | self.text.en, 1)
        written_address = Mux(self.text.en, self.text.address, fetched_address)
        m.d.comb += [
            write.en.eq(written),
            write.addr.eq(delayed(m, "text_address", written_address, 1)),
            write.data.eq(collected),
        ]

    def _next_address(self, address: Value) -> Value:
        """The address of the word after this one: after the last comes the first."""
        words = self._queue.text_words
        return address + 1 if words == 1 << len(address) else Mux(address == words - 1, 0, address + 1)

    def _advanced(self, m: Module, word: Value, head: Decoder) -> Value:
        """The instruction `word` as it is dispatched next, by a REPEAT or by itself: as `Encoding.advanced` has it."""
        last = Decoder(self._config, self._queue, word)
        step = Mux(head.for_unit, head.tail("step"), head.field("repeat", "step"))
        advanced = Signal(len(word))
        m.d.comb += advanced.eq(word)
        for spec in last.specs:
            if spec.stride is not None:
                slot = last.slot(spec.mnemonic, spec.stride)
                address = word[slot.lsb :][: slot.width]
                with m.If(last.is_(spec.mnemonic)):
                    moved = self._around(address + step) if slot.field.kind is FieldKind.ROW_GROUP else address + step
                    m.d.comb += advanced[slot.lsb :][: slot.width].eq(moved)
        return advanced

    def _around(self, group: Value) -> Value:
        """A row group that is less than a step away from those that there are: the last one comes before the first."""
        groups = self._config.row_groups
        if groups == 1:
            return C(0)
        if groups & (groups - 1) == 0:
            return group
        return Mux(group < 0, group + groups, Mux(group >= groups, group - groups, group))
