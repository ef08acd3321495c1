# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Consistent overhead byte stuffing (Cheshire and Baker, 1999), with the delimiter behind each frame.

A frame on the wire is a chain of blocks: a code byte n, then n - 1 bytes that are not 0. Between two blocks stands a 0,
unless the first of them is as long as can be.
"""

from typing import Any

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from openlpu.arch.protocol import COBS_BLOCK, DELIMITER

from .ram import Ram

__all__ = ["CobsDecoder", "CobsEncoder", "FrameByte"]


class FrameByte(data.Struct):
    """A byte of a frame, and whether it is the last."""

    byte: unsigned(8)
    last: unsigned(1)


class CobsDecoder(wiring.Component):
    """Frames from what comes over the wire, up to a byte a cycle.

    `wire` : stuffed bytes and delimiters.
    `bytes` : those of the frames. Never one in the cycle after `end`.
    `end` : pulse, one cycle after a delimiter. Not for one that follows another.
    `intact` : with `end`: the last block was as long as its code said.
    """

    wire: Any
    bytes: Any
    end: Signal
    intact: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "wire": In(stream.Signature(8, always_ready=True)),
                "bytes": Out(stream.Signature(8, always_ready=True)),
                "end": Out(1),
                "intact": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Count down blocks."""
        m = Module()
        byte, delimiter = self.wire.payload, Signal()
        begun, left, zero_owed = Signal(), Signal(8), Signal()
        m.d.comb += delimiter.eq(byte == DELIMITER)
        m.d.sync += [self.bytes.valid.eq(0), self.end.eq(0), self.intact.eq(left == 0)]
        with m.If(self.wire.valid):
            m.d.sync += begun.eq(~delimiter)
            with m.If(delimiter):
                m.d.sync += [self.end.eq(begun), left.eq(0), zero_owed.eq(0)]
            with m.Elif(left == 0):
                m.d.sync += [
                    self.bytes.valid.eq(zero_owed),
                    self.bytes.payload.eq(0),
                    left.eq(byte - 1),
                    zero_owed.eq(byte != COBS_BLOCK + 1),
                ]
            with m.Else():
                m.d.sync += [self.bytes.valid.eq(1), self.bytes.payload.eq(byte), left.eq(left - 1)]
        return m


class CobsEncoder(wiring.Component):
    """Frames, of at least one byte, as they go over the wire.

    A block is collected before its code can be sent; meanwhile nothing is sent, and while it is sent nothing collected.

    `frame` : the bytes.
    `wire` : stuffed bytes and delimiters. Registers.
    """

    frame: Any
    wire: Any

    def __init__(self) -> None:
        super().__init__({"frame": In(stream.Signature(FrameByte)), "wire": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        """Collect a block, send its code, its bytes, and after the last block the delimiter."""
        m = Module()
        m.submodules.block = block = Ram(depth=COBS_BLOCK, width=8)
        byte, last = Signal(8), Signal()
        length, place = Signal(range(COBS_BLOCK + 1)), Signal(range(COBS_BLOCK))
        # After the last byte of a frame there is no further block, but if it is a 0, an empty one.
        final, empty_follows = Signal(), Signal()
        m.d.comb += [
            block.write.addr.eq(length),
            block.write.data.eq(byte),
            block.read.addr.eq(place),
            block.read.en.eq(1),
        ]
        with m.FSM() as machine:
            m.d.comb += self.frame.ready.eq(machine.ongoing("COLLECT"))
            with m.State("COLLECT"):
                # Looked at in the next cycle: it may come from afar.
                m.d.sync += [byte.eq(self.frame.payload.byte), last.eq(self.frame.payload.last)]
                with m.If(self.frame.valid):
                    m.next = "STORE"
            with m.State("STORE"):
                zero = byte == 0
                m.d.comb += block.write.en.eq(~zero)
                m.d.sync += [length.eq(length + ~zero), final.eq(last & ~zero), empty_follows.eq(last & zero)]
                m.next = "COLLECT"
                with m.If(zero | last | (length == COBS_BLOCK - 1)):
                    m.next = "CODE"
            with m.State("CODE"):
                m.d.sync += [self.wire.payload.eq(length + 1), self.wire.valid.eq(1), place.eq(0)]
                m.next = "SEND"
            with m.State("SEND"), m.If(self.wire.ready):
                m.d.sync += self.wire.valid.eq(0)
                with m.If(length != 0):
                    m.next = "BYTE"
                with m.Elif(empty_follows):
                    m.d.sync += [final.eq(1), empty_follows.eq(0)]
                    m.next = "CODE"
                with m.Elif(final):
                    m.next = "DELIMITER"
                with m.Else():
                    m.next = "COLLECT"
            with m.State("BYTE"):
                # The word at `place` was read while the byte before it was sent.
                m.d.sync += [
                    self.wire.payload.eq(block.read.data),
                    self.wire.valid.eq(1),
                    length.eq(length - 1),
                    place.eq(place + 1),
                ]
                m.next = "SEND"
            with m.State("DELIMITER"):
                m.d.sync += [self.wire.payload.eq(DELIMITER), self.wire.valid.eq(1), final.eq(0)]
                m.next = "SENT"
            with m.State("SENT"), m.If(self.wire.ready):
                m.d.sync += self.wire.valid.eq(0)
                m.next = "COLLECT"
        return m
