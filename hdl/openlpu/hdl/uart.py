# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A serial line: bytes of 8 bits, no parity, one stop bit (8N1), lowest bit first. The line is 1 while idle."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["MIN_BIT_CYCLES", "UartReceiver", "UartTransmitter", "bit_cycles"]

MIN_BIT_CYCLES = 4
"""Below that the middle of a bit cannot be told from its ends."""
_DATA_BITS = 8
_TOLERANCE = 0.02
"""Of a bit's length. The stop bit is sampled 9.5 bits after the start: two ends may differ by 5 % in all."""


def bit_cycles(clock_hz: float, baud: float) -> int:
    """Clock cycles of a bit. Raises ValueError when no whole number of cycles, at least 4, comes near enough."""
    cycles = max(round(clock_hz / baud), 1)
    actual = clock_hz / cycles
    if cycles < MIN_BIT_CYCLES:
        raise ValueError(f"{baud:,} baud need a clock of at least {MIN_BIT_CYCLES * baud:,} Hz, not {clock_hz:,}")
    if abs(actual / baud - 1) > _TOLERANCE:
        raise ValueError(f"{baud:,} baud cannot be made from {clock_hz:,} Hz; the nearest are {actual:,.0f} baud")
    return cycles


class UartReceiver(wiring.Component):
    """Bytes from a line whose bits take `bit_cycles` cycles.

    Each bit is sampled once, in its middle. A byte whose stop bit is 0 is dropped, and then the line must be 1 before
    the next can begin.

    `line` : asynchronous.
    `bytes` : each is there for one cycle, in the middle of its stop bit.
    """

    line: Signal
    bytes: Any

    def __init__(self, *, bit_cycles: int) -> None:
        self._bit_cycles = bit_cycles
        super().__init__({"line": In(1), "bytes": Out(stream.Signature(8, always_ready=True))})

    def elaborate(self, platform: object) -> Module:
        """Wait for an edge, then count from middle to middle."""
        m = Module()
        line = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.line, line, init=1)
        timer = Signal(range(self._bit_cycles))
        bits = Signal(range(_DATA_BITS))
        m.d.sync += [timer.eq(timer - 1), self.bytes.valid.eq(0)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += timer.eq(self._bit_cycles // 2 - 1)
                with m.If(~line):
                    m.next = "START"
            with m.State("START"), m.If(timer == 0):
                m.d.sync += [timer.eq(self._bit_cycles - 1), bits.eq(_DATA_BITS - 1)]
                with m.If(line):
                    m.next = "IDLE"
                with m.Else():
                    m.next = "DATA"
            with m.State("DATA"), m.If(timer == 0):
                m.d.sync += [
                    timer.eq(self._bit_cycles - 1),
                    bits.eq(bits - 1),
                    self.bytes.payload.eq(Cat(self.bytes.payload[1:], line)),
                ]
                with m.If(bits == 0):
                    m.next = "STOP"
            with m.State("STOP"), m.If(timer == 0):
                m.d.sync += self.bytes.valid.eq(line)
                with m.If(line):
                    m.next = "IDLE"
                with m.Else():
                    m.next = "RECOVER"
            with m.State("RECOVER"), m.If(line):
                m.next = "IDLE"
        return m


class UartTransmitter(wiring.Component):
    """Bytes onto a line whose bits take `bit_cycles` cycles.

    `bytes` : taken while the line is idle.
    `line` : from a register.
    """

    bytes: Any
    line: Signal

    def __init__(self, *, bit_cycles: int) -> None:
        self._bit_cycles = bit_cycles
        super().__init__({"bytes": In(stream.Signature(8)), "line": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """Shift out start bit, data and stop bit."""
        m = Module()
        timer = Signal(range(self._bit_cycles))
        waiting = Signal(_DATA_BITS + 1)
        left = Signal(range(_DATA_BITS + 2))
        idle, level = Signal(init=1), Signal(init=1)
        m.d.comb += [self.bytes.ready.eq(idle), self.line.eq(level)]
        m.d.sync += timer.eq(timer - 1)
        with m.If(idle):
            m.d.sync += timer.eq(self._bit_cycles - 1)
            with m.If(self.bytes.valid):
                m.d.sync += [
                    idle.eq(0),
                    level.eq(0),
                    waiting.eq(Cat(self.bytes.payload, 1)),
                    left.eq(_DATA_BITS + 1),
                ]
        with m.Elif(timer == 0):
            m.d.sync += [timer.eq(self._bit_cycles - 1), left.eq(left - 1)]
            with m.If(left == 0):
                m.d.sync += idle.eq(1)
            with m.Else():
                m.d.sync += [level.eq(waiting[0]), waiting.eq(waiting[1:])]
        return m
