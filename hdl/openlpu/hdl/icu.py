# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Instruction queues: text memory, fetch, queue control, dispatch.

    text memory -> fetched word -> head -> issue register

The head is decoded as it is loaded, and acts one cycle before the dispatch it causes. It takes a word every cycle,
unless it waits; then the stages behind it wait too, so none of them needs a buffer, and the next word is always at
hand. What was dispatched last stays in the issue register, which is where REPEAT finds the instruction to advance.
"""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import bits_for, encoding
from openlpu.arch.geometry import Queue

from .decode import Decoder, IssueSignature

__all__ = ["InstructionQueue", "TextWriteSignature"]

_CONTROL = ("nop", "repeat", "sync", "notify", "halt")


class TextWriteSignature(wiring.Signature):
    """Host access to the text memory of a queue: where `en`, `data` becomes word `address`."""

    def __init__(self, config: ChipConfig, word_bits: int) -> None:
        super().__init__({"en": Out(1), "address": Out(bits_for(config.imem_words)), "data": Out(word_bits)})


class InstructionQueue(wiring.Component):
    """One queue of a chip.

    From `start` (a pulse, while `halted`) it executes its text from address 0 until HALT, or until a word that is not
    legal. It dispatches nothing more from then on, but what it dispatched is still in the unit.

    `release` : SYNC and NOTIFY end; the next instruction dispatches two cycles later.
    `notify` : pulse, one cycle before the dispatch cycle of NOTIFY.
    `issue` : dispatch; this is cycle t of the timing table. A register.
    `halted` : from the dispatch cycle of HALT, or of an illegal word. A register.
    `illegal` : pulse in the dispatch cycle of an illegal word. A register.
    `text` : written while halted; a write in the cycle before `start` is still seen.
    """

    start: Signal
    release: Signal
    notify: Signal
    issue: Any
    halted: Signal
    illegal: Signal
    text: Any

    def __init__(self, *, config: ChipConfig, queue: Queue) -> None:
        self._config = config
        self._queue = queue
        self._word_bits = encoding(config).word_bits(queue.kind)
        super().__init__(
            {
                "start": In(1),
                "release": In(1),
                "notify": Out(1),
                "issue": Out(IssueSignature(self._word_bits)),
                "halted": Out(1),
                "illegal": Out(1),
                "text": In(TextWriteSignature(config, self._word_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build fetch, head and issue register."""
        m = Module()
        advance = Signal()
        fetched, fetched_valid = self._fetch(m, advance)

        incoming = Decoder(self._config, self._queue, fetched)
        legal = Signal()
        m.d.comb += legal.eq(fetched_valid & incoming.legal)
        head = Signal(self._word_bits, reset_less=True)
        flags = {name: Signal(name=f"head_{name}") for name in (*_CONTROL, "unit", "illegal")}
        fresh = Signal()
        wait = Signal(max(len(incoming.field("nop", "n")), len(incoming.field("repeat", "gap"))))
        left = Signal(len(incoming.field("repeat", "n")))
        seen = Signal()
        stopped = Signal(init=1)

        due, illegal, issuing = Signal(), Signal(), Signal()
        waits = (flags["nop"] & ~due) | (flags["repeat"] & ~(due & (left == 0)))
        waits |= (flags["sync"] | flags["notify"]) & ~self.release
        stops = flags["halt"] | illegal
        m.d.comb += [
            due.eq(wait == 0),
            illegal.eq(flags["illegal"] | (flags["repeat"] & ~seen)),
            issuing.eq(flags["unit"] | (flags["repeat"] & due & seen)),
            advance.eq(~(stopped | stops | waits)),
            self.halted.eq(stopped),
            self.notify.eq(flags["notify"] & fresh),
        ]

        control = Cat(incoming.is_(name) for name in _CONTROL)
        m.d.sync += [
            self.issue.valid.eq(issuing),
            self.illegal.eq(illegal),
            fresh.eq(advance),
            seen.eq(seen | flags["unit"]),
        ]
        with m.If(advance):
            m.d.sync += [
                head.eq(fetched),
                *(flags[name].eq(legal & incoming.is_(name)) for name in _CONTROL),
                flags["unit"].eq(legal & ~control.any()),
                flags["illegal"].eq(fetched_valid & ~legal),
                wait.eq(Mux(incoming.is_("nop"), incoming.field("nop", "n"), incoming.field("repeat", "gap")) - 1),
                left.eq(incoming.field("repeat", "n") - 1),
            ]
        with m.Elif(~due):
            m.d.sync += wait.eq(wait - 1)
        with m.Elif(flags["repeat"]):
            gap = Decoder(self._config, self._queue, head).field("repeat", "gap")
            m.d.sync += [wait.eq(gap - 1), left.eq(left - 1)]
        with m.If(stops):
            m.d.sync += [stopped.eq(1), *(flag.eq(0) for flag in flags.values())]
        with m.If(self.start):
            m.d.sync += [stopped.eq(0), seen.eq(0)]

        word = Signal(self._word_bits, name="issue_word", reset_less=True)
        m.d.comb += self.issue.word.eq(word)
        with m.If(flags["unit"]):
            m.d.sync += word.eq(head)
        with m.Elif(issuing):
            m.d.sync += word.eq(self._advanced(m, word, head))
        return m

    def _fetch(self, m: Module, advance: Value) -> tuple[Value, Value]:
        """The stages before the head: the word fetched, and whether there is one."""
        text: memory.Memory
        m.submodules.text_memory = text = memory.Memory(
            shape=unsigned(self._word_bits), depth=self._config.imem_words, init=[]
        )
        write, read = text.write_port(), text.read_port()
        m.d.comb += [write.en.eq(self.text.en), write.addr.eq(self.text.address), write.data.eq(self.text.data)]

        counter = Signal(bits_for(self._config.imem_words))
        read_valid, fetched_valid = Signal(), Signal()
        fetched = Signal(self._word_bits, reset_less=True)
        m.d.comb += [read.addr.eq(counter), read.en.eq(advance)]
        with m.If(advance):
            m.d.sync += [
                counter.eq(counter + 1),
                read_valid.eq(1),
                fetched.eq(read.data),
                fetched_valid.eq(read_valid),
            ]
        with m.If(self.start):
            m.d.sync += [counter.eq(0), read_valid.eq(0), fetched_valid.eq(0)]
        return fetched, fetched_valid

    def _advanced(self, m: Module, word: Value, repeat: Value) -> Value:
        """The instruction `word` with its address moved by the step of `repeat`; as it is, if it has no address."""
        last = Decoder(self._config, self._queue, word)
        step = Decoder(self._config, self._queue, repeat).field("repeat", "step")
        advanced = Signal(len(word))
        m.d.comb += advanced.eq(word)
        for spec in last.specs:
            if spec.stride is not None:
                slot = last.slot(spec.mnemonic, spec.stride)
                address = word[slot.lsb :][: slot.width]
                with m.If(last.is_(spec.mnemonic)):
                    m.d.comb += advanced[slot.lsb :][: slot.width].eq(address + step)
        return advanced
