# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Requests off the wire, replies onto it: stuffing, CRC, and the buffer of what came in."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ETHERNET
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from openlpu.arch import protocol
from openlpu.arch.protocol import CRC_BYTES, Outcome

from .cobs import CobsDecoder, CobsEncoder, FrameByte
from .ram import Ram
from .signals import named

__all__ = ["FrameReceiver", "FrameSender", "RequestItem"]


class RequestItem(data.Struct):
    """A byte of a request; or, where `end`, after all of its bytes, an outcome: `DONE` if it came intact."""

    byte: unsigned(8)
    end: unsigned(1)


class FrameReceiver(wiring.Component):
    """The requests that came over the wire, one after the other, without their CRC.

    It takes a byte a cycle and never says no: what finds no room is answered with an `OVERFLOW`. Of a damaged or
    overlong frame only the outcome is kept.

    `wire` : stuffed bytes and delimiters.
    `items` : the bytes of the oldest request, then its outcome, then those of the next.
    `again` : pulse: the next item is the first of the oldest request once more. Nothing is taken meanwhile.
    `drop` : pulse: what was taken is forgotten, up to an `end`. The next request is the oldest now.
    """

    wire: Any
    items: Any
    again: Signal
    drop: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "wire": In(stream.Signature(8, always_ready=True)),
                "items": Out(stream.Signature(RequestItem)),
                "again": In(1),
                "drop": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """A ring between what comes in and what is taken."""
        m = Module()
        m.submodules.ring = ring = Ram(depth=protocol.BUFFER_BYTES, width=Value.cast(self.items.payload).shape().width)
        places = exact_log2(protocol.BUFFER_BYTES)
        oldest = Signal(places)
        begin = self._elaborate_write(m, ring.write, oldest)
        self._elaborate_read(m, ring.read, oldest, begin)
        return m

    def _elaborate_write(self, m: Module, port: Any, oldest: Signal) -> Signal:
        """Write what comes, take back what is wrong. Returns the place behind the last outcome."""
        m.submodules.decoder = decoder = CobsDecoder()
        crc: Any = CRC32_ETHERNET(8).create()
        m.submodules.checksum = crc
        wiring.connect(m, wiring.flipped(self.wire), decoder.wire)
        arrives = decoder.bytes.valid
        m.d.comb += [crc.valid.eq(arrives), crc.data.eq(decoder.bytes.payload), crc.start.eq(decoder.end)]

        place, begin, used = (Signal(len(oldest), name=name) for name in ("place", "begin", "used"))
        # What counts the places is a cycle late, and so the last four are left empty.
        m.d.sync += used.eq(place - oldest)
        fits = named(m, "fits", ~used[2:].all())

        length = Signal(range(protocol.max_request_bytes() + 1))
        lost, ending, outcome = Signal(), Signal(), Signal(Outcome)
        least = protocol.size(protocol.REQUEST_HEADER) + CRC_BYTES
        # A register, and not told from the length when the frame ends: all else waits for that.
        long_enough = Signal()
        write_byte = arrives & fits & ~lost & ~ending & (length != protocol.max_request_bytes())
        write_outcome = ending & fits & ~decoder.end
        with m.If(arrives):
            with m.If(write_byte):
                m.d.sync += [length.eq(length + 1), long_enough.eq(length >= least - 1)]
            with m.Else():
                m.d.sync += lost.eq(1)
        with m.If(write_byte | write_outcome):
            m.d.sync += place.eq(place + 1)
        with m.If(write_outcome):
            m.d.sync += [ending.eq(0), begin.eq(place + 1)]

        whole = decoder.intact & crc.match_detected & long_enough
        with m.If(decoder.end):
            m.d.sync += [ending.eq(1), length.eq(0), long_enough.eq(0), lost.eq(0)]
            # An outcome that still waits for room is not told apart from the one that joins it.
            with m.If(lost | ending):
                m.d.sync += [outcome.eq(Outcome.OVERFLOW), place.eq(begin)]
            with m.Elif(whole):
                m.d.sync += [outcome.eq(Outcome.DONE), place.eq(place - CRC_BYTES)]
            with m.Else():
                m.d.sync += [outcome.eq(Outcome.DAMAGED), place.eq(begin)]

        item = data.View(RequestItem, port.data)
        m.d.comb += [
            item.byte.eq(Mux(ending, outcome, decoder.bytes.payload)),
            item.end.eq(ending),
            port.addr.eq(place),
            port.en.eq(write_byte | write_outcome),
        ]
        return begin

    def _elaborate_read(self, m: Module, port: Any, oldest: Signal, begin: Signal) -> None:
        """Two stages, the ring's and a register, that hold an item each."""
        fetched, taken = Signal(len(oldest), name="fetched"), Signal(len(oldest), name="taken")
        waits = Signal()
        items = self.items
        onward, fetch = Signal(), Signal()
        m.d.comb += [
            onward.eq(~items.valid | items.ready),
            fetch.eq((~waits | onward) & (fetched != begin)),
            port.en.eq(fetch),
            port.addr.eq(fetched),
        ]
        with m.If(onward):
            m.d.sync += [items.valid.eq(waits), items.payload.eq(port.data), waits.eq(0)]
        with m.If(fetch):
            m.d.sync += [fetched.eq(fetched + 1), waits.eq(1)]
        with m.If(items.valid & items.ready):
            m.d.sync += taken.eq(taken + 1)
        with m.If(self.again):
            m.d.sync += [fetched.eq(oldest), taken.eq(oldest), waits.eq(0), items.valid.eq(0)]
        with m.If(self.drop):
            m.d.sync += oldest.eq(taken)


class FrameSender(wiring.Component):
    """Replies onto the wire: with CRC, stuffed, and a delimiter behind each.

    `reply` : the bytes of a reply, of at least one.
    `wire` : stuffed bytes and delimiters.
    """

    reply: Any
    wire: Any

    def __init__(self) -> None:
        super().__init__({"reply": In(stream.Signature(FrameByte)), "wire": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        """Pass bytes on, then those of the CRC."""
        m = Module()
        m.submodules.encoder = encoder = CobsEncoder()
        crc: Any = CRC32_ETHERNET(8).create()
        m.submodules.checksum = crc
        wiring.connect(m, encoder.wire, wiring.flipped(self.wire))
        frame, reply = encoder.frame, self.reply
        place = Signal(range(CRC_BYTES))
        unsent = Signal(8 * CRC_BYTES)
        m.d.comb += crc.data.eq(reply.payload.byte)
        with m.FSM():
            with m.State("REPLY"):
                m.d.comb += [
                    frame.valid.eq(reply.valid),
                    frame.payload.byte.eq(reply.payload.byte),
                    reply.ready.eq(frame.ready),
                    crc.valid.eq(reply.valid & frame.ready),
                ]
                with m.If(reply.valid & frame.ready & reply.payload.last):
                    m.next = "SUM"
            with m.State("SUM"):
                m.d.comb += crc.start.eq(1)
                m.d.sync += [unsent.eq(crc.crc), place.eq(0)]
                m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += [
                    frame.valid.eq(1),
                    frame.payload.byte.eq(unsent[:8]),
                    frame.payload.last.eq(place == CRC_BYTES - 1),
                ]
                with m.If(frame.ready):
                    m.d.sync += [place.eq(place + 1), unsent.eq(Cat(unsent[8:], 0))]
                    with m.If(frame.payload.last):
                        m.next = "REPLY"
        return m
