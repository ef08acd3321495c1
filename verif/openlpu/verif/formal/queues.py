# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What an instruction queue promises: every instruction in its cycle, whatever its text is, for all time.

The specification is the instruction set's description of `nop`, `repeat`, `sync`, `notify` and `halt`, and of what unit
instructions say of the cycles behind them, one cycle after another. It has no pipeline: it looks straight into the
text. As the queue's head does, it acts in the cycle before a dispatch.
"""

from collections.abc import Callable, Mapping

from amaranth.hdl import Array, Assert, Assume, Cat, Elaboratable, Module, Mux, ResetSignal, Signal, Value

from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import bits_for, encoding
from openlpu.arch.geometry import Queue
from openlpu.arch.isa import FieldKind
from openlpu.hdl.decode import Decoder
from openlpu.hdl.icu import InstructionQueue, notify_registers, release_registers
from openlpu.hdl.shared import ports_of
from openlpu.hdl.signals import delayed, named

__all__ = ["QueueLaws"]

_CONTROL = ("nop", "repeat", "sync", "notify", "halt", "ifetch")
_READ_VALID = "w:icu.fetched_valid %ci*:+$dff[D,Q]:+$mux[A,B,Y] t:$dff %i %co1 w:* %i w:icu.fetched_valid %d"
"""A register without a name in the netlist: the other of the two from whose outputs `fetched_valid` chooses."""
_HALTED, _READING, _FETCHING, _LOADING, _EXECUTING = range(5)
"""Phases: from the start on, a cycle each until the first word is in the head; then until the queue halts."""


class QueueLaws(Elaboratable):
    """A queue, with its specification beside it.

    Its text is any words, legal or not, that stay what they are: the memory is taken out, and assumed to answer with
    them. (`ifetch` is an instruction like any other here.) It is started any number of times, always while halted, and
    the barrier is released in any cycles. In every cycle:

    - an instruction is dispatched if, and only if, the specification dispatches one, and it is that one;
    - NOTIFY is told of once, one cycle before its own and `notify_registers` later;
    - the queue has halted if the specification has, and a word is illegal when it is its turn and it is no instruction,
      or a `repeat` without one before it.

    If `inductive`, further assertions say what the registers inside hold. They are no promise to anyone, and change
    with the queue; but with them, what is asserted follows from itself a cycle before, and so holds for all time.

    `inputs`, `watched`, `chosen` and `cut` are for `prover.prove`.
    """

    def __init__(self, config: ChipConfig, queue: Queue, *, inductive: bool = True) -> None:
        self._config = config
        self._queue = queue
        self._inductive = inductive
        self._icu = InstructionQueue(config=config, queue=queue)
        words, bits = queue.text_words, encoding(config).word_bits(queue.kind)
        assert words == 1 << bits_for(words)
        self._text = [Signal(bits, name=f"text{place}", reset_less=True) for place in range(words)]
        widths = {
            "counter": bits_for(words),
            "read__addr": bits_for(words),
            "read__en": 1,
            "read__data": bits,
            "fetched": bits,
            "fetched_valid": 1,
            "head": bits,
            "fresh_q1": 1,
            "reset": 1,
            "release_q1": 1,
            "seen": 1,
            "count": 16,
            "since": 6,
            "last": 1,
            "due": 1,
            **{f"head_{name}": 1 for name in (*_CONTROL, "unit", "illegal", "more")},
        }
        self._inside = {name: Signal(width, name=f"inside_{name}") for name, width in widths.items()}
        self.inputs = list(ports_of(self._icu).values())
        self.watched = {f"w:icu.{name}": signal for name, signal in self._inside.items()}
        self._inside["read_valid"] = self.watched[_READ_VALID] = Signal(name="inside_read_valid")
        self.chosen = self._text
        self.cut = ("icu.text_memory",)

    def elaborate(self, platform: object) -> Module:
        """The queue, its memory, and what it is held against."""
        m = Module()
        m.submodules.icu = icu = self._icu
        m.d.comb += Assume(~ResetSignal(), "no reset")
        m.d.sync += [word.eq(word) for word in self._text]
        self._memory(m)

        phase, place = Signal(range(5), name="phase"), Signal(bits_for(len(self._text)), name="place")
        now = named(m, "now", Array(self._text)[place])
        m.d.comb += Assume(~icu.start | (phase == _HALTED), "started while halted")
        self._specification(m, phase, place, now)
        if self._inductive:
            self._registers(m, phase, place, now)
        return m

    def _memory(self, m: Module) -> None:
        inside = self._inside
        answer = Signal(len(inside["read__data"]), name="answer")
        with m.If(inside["read__en"]):
            m.d.sync += answer.eq(Array(self._text)[inside["read__addr"]])
        m.d.comb += Assume(inside["read__data"] == answer, "the memory holds the text")

    # --- the specification ---

    def nop_cycles(self, n: Value) -> Value:
        """How long a NOP keeps the next instruction waiting."""
        return n

    def further(self, again: Value) -> Value:
        """How often an instruction that says so is dispatched again."""
        return again

    def wait_cycles(self, wait: Value) -> Value:
        """How long an instruction that says so keeps the next one waiting after its last dispatch."""
        return wait

    def advanced(self, m: Module, word: Value, step: Value) -> Value:
        """A unit instruction with its address moved by a step, a row group modulo their number; as it is, if it has
        none."""
        moved = Signal(len(word), name="moved")
        m.d.comb += moved.eq(word)
        decoder = self._decoder(word)
        for spec in decoder.specs:
            if spec.stride is not None:
                slot = decoder.slot(spec.mnemonic, spec.stride)
                end = slot.lsb + slot.width
                address = word[slot.lsb : end] + step
                if slot.field.kind is FieldKind.ROW_GROUP:
                    # No step takes away as much as there are groups.
                    address = (address + self._config.row_groups).as_unsigned() % self._config.row_groups
                with m.If(decoder.is_(spec.mnemonic)):
                    m.d.comb += moved.eq(Cat(word[: slot.lsb], address[: slot.width], word[end:]))
        return moved

    def _specification(self, m: Module, phase: Signal, place: Signal, now: Value) -> None:
        icu, reader, bits = self._icu, self._decoder(now), encoding(self._config).issue_bits(self._queue.kind)
        # Cycles since the instruction, or its last repetition, had its turn; repetitions done.
        self._since, self._done = Signal(16, name="since"), Signal(12, name="done")
        self._first = Signal(name="first")
        self._last, self._known = Signal(bits, name="last"), Signal(name="known")
        self._released = named(m, "released", delayed(m, "released", icu.release, release_registers(self._config)))
        dispatches, word = Signal(name="dispatches"), Signal(bits, name="word")
        says = named(m, "says", reader.has_tail)
        again = named(m, "again", Mux(says, self.further(reader.tail("again")), 0))
        wait = named(m, "wait", Mux(says, self.wait_cycles(reader.tail("wait")), 0))
        elapsed = named(m, "elapsed", (self._since + 1)[:16])
        finished, ends, illegal, notifies = (Signal(name=name) for name in ("finished", "ends", "illegal", "notifies"))

        with m.If(phase == _HALTED):
            m.d.sync += phase.eq(icu.start)
            with m.If(icu.start):
                m.d.sync += [place.eq(0), self._known.eq(0)]
        with m.Elif(phase != _EXECUTING):
            m.d.sync += [phase.eq(phase + 1), self._since.eq(0), self._done.eq(0), self._first.eq(1)]
        with m.Else():
            m.d.sync += [self._since.eq(self._since + 1), self._first.eq(0)]
            with m.If(~reader.legal | (reader.is_("repeat") & ~self._known)):
                m.d.comb += [ends.eq(1), illegal.eq(1)]
            with m.Elif(reader.is_("halt")):
                m.d.comb += ends.eq(1)
            with m.Elif(reader.is_("nop")):
                m.d.comb += finished.eq(elapsed == self.nop_cycles(reader.field("nop", "n")))
            with m.Elif(reader.is_("repeat")), m.If(elapsed == reader.field("repeat", "gap")):
                m.d.comb += [
                    dispatches.eq(1),
                    word.eq(self.advanced(m, self._last, reader.field("repeat", "step"))),
                    finished.eq((self._done + 1)[:12] == reader.field("repeat", "n")),
                ]
                m.d.sync += [self._since.eq(0), self._done.eq(self._done + 1)]
            with m.Elif(reader.is_("sync") | reader.is_("notify")):
                m.d.comb += [finished.eq(self._released), notifies.eq(reader.is_("notify") & self._first)]
            with m.Elif(reader.is_("ifetch")):
                m.d.comb += finished.eq(1)
            with m.Elif(self._first):
                m.d.comb += [dispatches.eq(1), word.eq(now), finished.eq((again == 0) & (wait == 0))]
                m.d.sync += [self._known.eq(1), self._since.eq(0)]
            with m.Elif(self._done == again):
                m.d.comb += finished.eq(elapsed == wait)
            with m.Elif(elapsed == reader.tail("gap")):
                m.d.comb += [
                    dispatches.eq(1),
                    word.eq(self.advanced(m, self._last, reader.tail("step"))),
                    finished.eq((self._done + 1 == again) & (wait == 0)),
                ]
                m.d.sync += [self._since.eq(0), self._done.eq(self._done + 1)]
            with m.If(dispatches):
                m.d.sync += self._last.eq(word)
            with m.If(finished):
                m.d.sync += [place.eq(place + 1), self._since.eq(0), self._done.eq(0), self._first.eq(1)]
            with m.If(ends):
                m.d.sync += phase.eq(_HALTED)

        due, due_illegal = Signal(name="due"), Signal(name="due_illegal")
        m.d.sync += [due.eq(dispatches), due_illegal.eq(illegal)]
        told = delayed(m, "told", notifies, notify_registers(self._config))
        m.d.comb += [
            Assert(icu.issue.valid == due, "an instruction dispatches in its cycle, and in no other"),
            Assert(~due | (icu.issue.word == self._last), "it is the one that the text has there"),
            Assert(icu.halted == (phase == _HALTED), "the queue has halted from its HALT on"),
            Assert(icu.illegal == due_illegal, "an illegal word is one when its turn has come"),
            Assert(icu.notify == told, "NOTIFY is told of when it should be"),
        ]

    # --- what the registers hold ---

    def _registers(self, m: Module, phase: Signal, place: Signal, now: Value) -> None:
        inside, text, reader = self._inside, Array(self._text), self._decoder(now)
        executing, legal = phase == _EXECUTING, named(m, "now_legal", reader.legal)
        control = named(m, "now_control", Cat(reader.is_(name) for name in _CONTROL).any())

        def ahead(distance: int) -> Value:
            return (place + distance)[: len(place)]

        def when(condition: Value, holds: Value, name: str) -> None:
            m.d.comb += Assert(~condition | holds, name)

        def during(phases: Mapping[int, Value], same: Callable[[Value], Value], name: str) -> None:
            for number, value in phases.items():
                when(phase == number, same(value), f"{name} in phase {number}")

        m.d.comb += Assert(phase <= _EXECUTING, "there are no other phases")
        m.d.comb += [
            Assert(~inside["reset"] | (phase == _HALTED), "a reset was in the beginning"),
            Assert(inside["release_q1"] == self._released, "the release comes a cycle later"),
        ]
        when(phase != _EXECUTING, (phase == _HALTED) | (place == 0), "it begins with the first word")
        during(
            {_READING: ahead(0), _FETCHING: ahead(1), _LOADING: ahead(2), _EXECUTING: ahead(3)},
            lambda value: inside["counter"] == value,
            "counter",
        )
        during(
            {_FETCHING: text[ahead(0)], _LOADING: text[ahead(1)], _EXECUTING: text[ahead(2)]},
            lambda value: inside["read__data"] == value,
            "word read",
        )
        during(
            {_LOADING: text[ahead(0)], _EXECUTING: text[ahead(1)]},
            lambda value: inside["fetched_valid"] & (inside["fetched"] == value),
            "word fetched",
        )
        when(phase > _READING, inside["read_valid"], "a word is read")
        when(phase == _READING, ~inside["read_valid"], "no word is read yet")
        when((phase == _READING) | (phase == _FETCHING), ~inside["fetched_valid"], "nothing is fetched yet")
        when(executing, inside["head"] == now, "head")
        unit = named(m, "now_unit", executing & legal & ~control)
        again = named(m, "now_again", Mux(reader.has_tail, reader.tail("again"), 0))
        wait = named(m, "now_wait", Mux(reader.has_tail, reader.tail("wait"), 0))
        repeating = named(m, "now_repeating", unit & ~self._first & (self._done < again))
        waiting = named(m, "now_waiting", unit & ~self._first & (self._done == again))
        when(unit & self._first, inside["head_more"] == ((again != 0) | (wait != 0)), "something follows")
        when(repeating, inside["head_more"] == (wait != 0), "a wait follows")
        when(executing & legal & ~(unit & self._first) & ~repeating, ~inside["head_more"], "nothing follows")
        when(~executing, ~inside["head_more"], "nothing follows nothing")
        when(unit & self._first, self._done == 0, "nothing is done yet")
        when(unit & ~self._first, self._known, "it is known")
        when(unit, self._done <= again, "dispatches end")
        m.d.comb += [
            Assert(inside["head_unit"] == (unit & self._first), "the head is for the unit"),
            Assert(inside["head_illegal"] == (executing & ~legal), "the head is illegal"),
            Assert(inside["seen"] == self._known, "there is an instruction to repeat"),
            Assert(~self._known | (self._icu.issue.word == self._last), "it is the one to repeat"),
        ]
        latest = self._decoder(self._last)
        for spec in latest.specs:
            if spec.stride is not None and spec.kind_of(spec.stride) is FieldKind.ROW_GROUP:
                there = latest.field(spec.mnemonic, spec.stride) < self._config.row_groups
                when(self._known & latest.is_(spec.mnemonic), there, f"there is the row group of {spec.mnemonic}")
        when(executing, inside["fresh_q1"] == self._first, "the head is new")
        ends = {
            "nop": (executing & legal & reader.is_("nop")) | waiting,
            "repeat": (executing & legal & reader.is_("repeat")) | repeating,
        }
        for name in _CONTROL:
            flag = ends.get(name, executing & legal & reader.is_(name))
            m.d.comb += Assert(inside[f"head_{name}"] == flag, f"the head is {name}")
        nops, repeats = ends["nop"], ends["repeat"]
        cycles = named(m, "now_cycles", Mux(unit, wait, reader.field("nop", "n")))
        times = named(m, "now_times", Mux(unit, again, reader.field("repeat", "n")))
        gap = named(m, "now_gap", Mux(unit, reader.tail("gap"), reader.field("repeat", "gap")))
        when(nops, inside["count"] == (cycles - self._since)[:16], "cycles of the NOP")
        when(nops, self._since < cycles, "a NOP ends")
        when(repeats, inside["since"] == (self._since + 2)[: len(inside["since"])], "cycles of the gap")
        when(repeats, inside["due"] == (self._since + 1 == gap), "the gap ends")
        when(nops | repeats, inside["last"] == (inside["count"] == 1), "the last time")
        when(repeats, inside["count"] == (times - self._done)[:16], "repetitions")
        when((phase != _HALTED) & ~repeats, inside["since"] == 2, "no gap yet")
        when(repeats, self._since < gap, "a gap ends")
        when(repeats, self._done < times, "repetitions end")

    def _decoder(self, word: Value) -> Decoder:
        return Decoder(self._config, self._queue, word)
