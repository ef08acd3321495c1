# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The host bridge: executes the requests of `openlpu.arch.protocol`.

A request is read twice. First its header and fields are kept and its data is counted, whatever it asks for; when all
is judged, and nothing is wrong, a write reads it once more, and now its data goes where it belongs. So a request that
is refused has changed nothing, and no request needs a buffer besides that of the receiver.

Every code, place and width comes from the tables of the protocol.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value, ValueLike
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from openlpu.arch import protocol
from openlpu.arch.config import ChipConfig
from openlpu.arch.geometry import geometry
from openlpu.arch.links import CHIP_BITS
from openlpu.arch.protocol import (
    ECC,
    IDENTIFY,
    LINK,
    MAX_DATA,
    PLACE,
    READ_MEMORY,
    REPLY_HEADER,
    REQUEST_HEADER,
    RESET,
    RUN,
    STATUS,
    WRITE_MEMORY,
    WRITE_TEXT,
    Command,
    Outcome,
    size,
)
from openlpu.arch.timing import timing

from .chip import reset_cycles
from .cobs import FrameByte
from .frames import FrameReceiver, FrameSender, RequestItem
from .linked import host_signature
from .requests import RequestReader, packed, placed
from .signals import delayed, select

__all__ = ["Bridge", "Executor"]

_UNIT = {WRITE_MEMORY: "slice", READ_MEMORY: "slice", WRITE_TEXT: "queue", ECC: "queue", PLACE: "chip", LINK: "link"}
_ADDRESS = {WRITE_MEMORY: "address", READ_MEMORY: "address", WRITE_TEXT: "address", PLACE: "parent"}
_COUNT = {READ_MEMORY: "count"}
"""Fields by command, as far as they have one and share it with others."""
_JUDGING = 2
"""Cycles from the end of a request until everything that depends on its last byte is known."""


class Bridge(wiring.Component):
    """Between a wire and a chip.

    `rx`, `tx` : stuffed bytes and delimiters, from and to the host. It takes a byte a cycle, whatever it does.
    `chip` : all ports of the chip that are for a host, as `host_signature` has them.
    `chip_reset` : resets the chip, but not its memories.

    All of it is in the wire clock, as a chip's ports are.

    Parameters
    ----------
    config : of the chip
    clock_hz : what `IDENTIFY` tells of the chip's clock
    """

    rx: Any
    tx: Any
    chip: Any
    chip_reset: Signal

    def __init__(self, *, config: ChipConfig, clock_hz: float) -> None:
        self._config = config
        self._clock_hz = clock_hz
        super().__init__(
            {
                "rx": In(stream.Signature(8, always_ready=True)),
                "tx": Out(stream.Signature(8)),
                "chip": In(host_signature(config)),
                "chip_reset": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Receiver, executor, sender."""
        m = Module()
        m.submodules.receiver = receiver = FrameReceiver()
        m.submodules.executor = executor = Executor(config=self._config, clock_hz=self._clock_hz)
        m.submodules.sender = sender = FrameSender()
        wiring.connect(m, wiring.flipped(self.rx), receiver.wire)
        wiring.connect(m, receiver.items, executor.items)
        wiring.connect(m, executor.reply, sender.reply)
        wiring.connect(m, sender.wire, wiring.flipped(self.tx))
        wiring.connect(m, executor.chip, wiring.flipped(self.chip))
        m.d.comb += [
            receiver.again.eq(executor.again),
            receiver.drop.eq(executor.drop),
            self.chip_reset.eq(executor.chip_reset),
        ]
        return m


class Executor(wiring.Component):
    """Requests in, accesses of the chip and replies out; one after the other.

    `items`, `again`, `drop` : see `FrameReceiver`.
    `reply` : the bytes of replies.
    `chip`, `chip_reset` : see `Bridge`.
    """

    items: Any
    again: Signal
    drop: Signal
    reply: Any
    chip: Any
    chip_reset: Signal

    def __init__(self, *, config: ChipConfig, clock_hz: float) -> None:
        self._config = config
        self._clock_hz = clock_hz
        super().__init__(
            {
                "items": In(stream.Signature(RequestItem)),
                "again": Out(1),
                "drop": Out(1),
                "reply": Out(stream.Signature(FrameByte)),
                "chip": In(host_signature(config)),
                "chip_reset": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Read, judge, act, reply."""
        m = Module()
        m.submodules.request = request = RequestReader(config=self._config)
        wiring.connect(m, wiring.flipped(self.items), request.items)
        is_ = {command: request.is_command(command) for command in request.commands}
        sequence = placed(request.prefix, REQUEST_HEADER, "sequence")
        unit, address = (_shared(request.prefix, names) for names in (_UNIT, _ADDRESS))
        count, runs = _shared(request.prefix, _COUNT), placed(request.prefix, (*REQUEST_HEADER, *RUN.fields), "count")

        reception, expected = Signal(Outcome), Signal(len(sequence))
        outcome, done = Signal(Outcome), Signal()
        judged = self._judge(m, request, reception, sequence == expected)
        consumes = outcome.matches(*(each for each in Outcome if each.consumes_number))
        answered = Mux(consumes, sequence, expected)

        # A reply is sent from here, its header and fields first, then word after word of its data.
        head_bytes = size(REPLY_HEADER) + max(size(command.reply_fields) for command in request.commands)
        sent = Signal(8 * max(head_bytes, self._config.lanes), reset_less=True)
        left, words_left = Signal(range(len(sent) // 8)), Signal(range(MAX_DATA // self._config.lanes + 1))
        longest_wait = max(_JUDGING, timing(self._config).host_read, reset_cycles(self._config))
        place, wait = Signal(len(address)), Signal(range(longest_wait + 1))
        start, reset = Signal(), Signal()
        reading, writing = Signal(), Signal()
        # What happens to `sent` is told by registers, as there are many bits of it.
        moves, loads, takes = Signal(), Signal(), Signal()
        # What is waited for happens in the chip, whose clock may stand still while a program runs.
        passes = self.chip.c2c_runs if self._config.c2c_links else 1
        m.d.sync += [start.eq(0), reset.eq(0), moves.eq(0), loads.eq(0), takes.eq(0), wait.eq(wait - passes)]
        with m.FSM() as machine:
            writes = machine.ongoing("WRITE")
            m.d.comb += [
                request.ready.eq(machine.ongoing("SCAN") | writes),
                writing.eq(delayed(m, "writes", writes, 1) & request.word_complete),
                self.reply.valid.eq(machine.ongoing("SEND")),
            ]
            with m.State("SCAN"):
                m.d.sync += wait.eq(_JUDGING)
                with m.If(self.items.valid & self.items.payload.end):
                    m.d.sync += reception.eq(self.items.payload.byte)
                    m.next = "JUDGE"
            with m.State("JUDGE"):
                m.d.sync += [outcome.eq(judged), done.eq(judged == Outcome.DONE)]
                with m.If(wait == 0):
                    m.next = "ACT"
            with m.State("ACT"):
                m.d.sync += [
                    place.eq(address),
                    words_left.eq(Mux(done & is_[READ_MEMORY], count, 0)),
                    start.eq(done & is_[RUN]),
                    wait.eq(reset_cycles(self._config)),
                ]
                with m.If(done & (is_[WRITE_MEMORY] | is_[WRITE_TEXT])):
                    m.d.comb += self.again.eq(1)
                    m.next = "WRITE"
                with m.Elif(done & self._resets(is_)):
                    m.next = "RESET"
                with m.Else():
                    m.next = "REPLY"
            with m.State("RESET"):
                m.d.sync += reset.eq(1)
                with m.If(wait == 0):
                    m.next = "REPLY"
            with m.State("WRITE"), m.If(self.items.valid & self.items.payload.end):
                m.next = "REPLY"
            with m.State("REPLY"):
                fields = request.by_command({command: size(command.reply_fields) for command in request.commands})
                m.d.sync += [moves.eq(1), loads.eq(1), left.eq(Mux(done, fields, 0) + size(REPLY_HEADER) - 1)]
                m.next = "LOAD"
            with m.State("LOAD"):
                with m.If(consumes):
                    m.d.sync += expected.eq(sequence + 1)
                m.next = "SEND"
            with m.State("SEND"), m.If(self.reply.ready):
                m.d.sync += moves.eq(1)
                m.next = "SHIFT"
            with m.State("SHIFT"):
                m.d.sync += left.eq(left - 1)
                m.next = "SEND"
                with m.If(left == 0):
                    m.next = "NEXT"
            with m.State("NEXT"):
                m.d.sync += [words_left.eq(words_left - 1), wait.eq(timing(self._config).host_read)]
                with m.If(words_left == 0):
                    m.d.comb += self.drop.eq(1)
                    m.next = "SCAN"
                with m.Else():
                    m.d.comb += reading.eq(1)
                    m.next = "READ"
            with m.State("READ"):
                # Whatever comes, until the word is there; it still is when the first byte is sent.
                m.d.sync += [moves.eq(1), takes.eq(1), left.eq(self._config.lanes - 1)]
                with m.If(wait == 0):
                    m.next = "SEND"

        with m.If(moves):
            m.d.sync += sent.eq(sent[8:])
            with m.If(loads):
                m.d.sync += sent.eq(Cat(self._reply_header(outcome, answered), self._reply_fields(request)))
            with m.Elif(takes):
                m.d.sync += sent[: 8 * self._config.lanes].eq(self.chip.host_mem_rdata)
        with m.If(reading | writing):
            m.d.sync += place.eq(place + 1)
        m.d.comb += [
            request.restart.eq(self.again | self.drop),
            self.reply.payload.byte.eq(sent[:8]),
            self.reply.payload.last.eq((left == 0) & (words_left == 0)),
            self.chip_reset.eq(reset),
        ]
        m.d.comb += [
            self.chip.host_start.eq(start),
            self.chip.host_reruns.eq(delayed(m, "reruns", runs - 1, 1)),
            self.chip.host_mem_en.eq(reading | (writing & is_[WRITE_MEMORY])),
            self.chip.host_mem_we.eq(writing),
            self.chip.host_mem_slice.eq(unit),
            self.chip.host_mem_addr.eq(place),
            self.chip.host_imem_we.eq(writing & is_[WRITE_TEXT]),
            self.chip.host_imem_queue.eq(unit),
            self.chip.host_imem_addr.eq(place),
            self.chip.host_wdata.eq(request.word),
        ]
        if self._config.ecc:
            m.d.comb += self.chip.ecc_queue.eq(unit)
        if self._config.c2c_links:
            self._place(m, request, placing=machine.ongoing("ACT") & done & is_[PLACE])
        return m

    def _resets(self, is_: Mapping[Command, Value]) -> Value:
        return is_[RESET] | is_[PLACE] if self._config.c2c_links else is_[RESET]

    def _place(self, m: Module, request: RequestReader, placing: Value) -> None:
        """Keep what the chip is in its system, and choose the link to tell of."""
        chip, parent, children = (
            placed(request.prefix, (*REQUEST_HEADER, *PLACE.fields), field.name) for field in PLACE.fields
        )
        root = Signal(init=1)
        with m.If(placing):
            m.d.sync += [
                self.chip.c2c_chip.eq(chip),
                root.eq(chip == 0),
                self.chip.c2c_parent.eq(parent),
                self.chip.c2c_children.eq(children),
            ]
        m.d.comb += [
            self.chip.c2c_root.eq(root),
            self.chip.c2c_link.eq(placed(request.prefix, (*REQUEST_HEADER, *LINK.fields), "link")),
        ]

    def _text_words(self, number: Value) -> Value:
        """How many words the text memory of a queue has, by the queue's number."""
        of_queue = [queue.text_words for queue in geometry(self._config).queues]
        most, *fewer = sorted(set(of_queue), reverse=True)
        words: Value = C(most)
        for held in fewer:
            holding = Cat(number == queue for queue, words_of in enumerate(of_queue) if words_of == held)
            words = Mux(holding.any(), held, words)
        return words

    def _judge(self, m: Module, request: RequestReader, reception: Value, in_order: Value) -> Value:
        """The outcome of a request, `_JUDGING` cycles after the cycle in which its end was taken."""
        chip, config = geometry(self._config), self._config
        units = {WRITE_MEMORY: len(chip.mem_slices), READ_MEMORY: len(chip.mem_slices), WRITE_TEXT: len(chip.queues)}
        # The host's own reads are counted behind the queues.
        units[ECC] = len(chip.queues) + 1
        text_words = Signal(range(max(queue.text_words for queue in chip.queues) + 1))
        depths: dict[Command, ValueLike] = {
            WRITE_MEMORY: config.mem_words,
            READ_MEMORY: config.mem_words,
            WRITE_TEXT: text_words,
        }
        if config.c2c_links:
            units |= {PLACE: 1 << CHIP_BITS, LINK: config.c2c_links}
            # A link is not followed by others.
            depths[PLACE] = config.c2c_links - 1
        is_ = {command: request.is_command(command) for command in request.commands}
        unit, address = (_shared(request.prefix, names) for names in (_UNIT, _ADDRESS))
        count, runs = _shared(request.prefix, _COUNT), placed(request.prefix, (*REQUEST_HEADER, *RUN.fields), "count")

        awaited, counted, unit_exists, fits = Signal(), Signal(), Signal(), Signal()
        words, end = Signal(len(count)), Signal(len(address) + 1)
        m.d.sync += [
            awaited.eq(is_[IDENTIFY] | in_order),
            unit_exists.eq(unit < request.by_command(units)),
            words.eq(Mux(is_[READ_MEMORY], count, request.words)),
            counted.eq(
                (~is_[READ_MEMORY] | ((count != 0) & (count <= MAX_DATA // config.lanes))) & (~is_[RUN] | (runs != 0))
            ),
            text_words.eq(self._text_words(unit)),
            end.eq(address + words),
            fits.eq(end <= request.by_command(depths)),
        ]
        in_range = (unit_exists | ~_any(is_, units)) & (fits | ~_any(is_, depths)) & counted
        halted_only = _any(is_, [command for command in request.commands if not command.while_running])
        errors = {
            Outcome.OUT_OF_ORDER: ~awaited,
            Outcome.UNKNOWN: ~request.is_.any(),
            Outcome.MALFORMED: ~request.whole,
            Outcome.OUT_OF_RANGE: ~in_range,
            Outcome.BUSY: halted_only & self.chip.running,
        }
        judged: Value = C(Outcome.DONE, len(reception))
        for error, found in sorted(errors.items(), reverse=True):
            judged = Mux(found, error, judged)
        return Mux(reception == Outcome.DONE, judged, reception)

    def _reply_header(self, outcome: Value, sequence: Value) -> Value:
        values = {"outcome": outcome, "sequence": sequence}
        return packed(REPLY_HEADER, values.__getitem__)

    def _reply_fields(self, request: RequestReader) -> Value:
        """The fields of the reply to the command; those of one that has none are nothing in particular."""
        chip = self.chip
        constants = {
            "magic": protocol.MAGIC,
            "version": protocol.VERSION,
            "clock_khz": round(self._clock_hz / 1000),
            "buffer_bytes": protocol.BUFFER_BYTES,
        }
        identity: dict[str, Value] = {name: C(number, number.bit_length()) for name, number in constants.items()}
        # The ports that tell of a run are called as the fields.
        status: dict[str, Value] = {name: getattr(chip, name) for name in chip.signature.members}
        values = {
            IDENTIFY: identity | {"digest": chip.digest},
            STATUS: status | self._ecc_counts("ecc_{}"),
            ECC: self._ecc_counts("ecc_queue_{}"),
        }
        if self._config.c2c_links:
            values[LINK] = {field.name: getattr(chip, f"c2c_{field.name}") for field in LINK.reply_fields}
        fields = {command: packed(command.reply_fields, each.__getitem__) for command, each in values.items()}
        return select((request.is_command(command) for command in fields), [*fields.values()])

    def _ecc_counts(self, port: str) -> dict[str, Value]:
        """Counts by the names of the fields: zeros for a chip that does not count."""
        names = [field.name for field in ECC.reply_fields]
        return {name: getattr(self.chip, port.format(name)) if self._config.ecc else C(0, 1) for name in names}


def _any(is_: Mapping[Command, Value], commands: Iterable[Command]) -> Value:
    return Cat(is_[command] for command in commands).any()


def _shared(prefix: Value, names: Mapping[Command, str]) -> Value:
    """A field of several commands. Raises ValueError when it is not in the same place in all of them."""
    parts = [placed(prefix, (*REQUEST_HEADER, *command.fields), name) for command, name in names.items()]
    if len({repr(part) for part in parts}) > 1:
        raise ValueError(f"fields {sorted(set(names.values()))} of requests are not in the same place")
    return parts[0]
