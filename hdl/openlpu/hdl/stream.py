# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Streams: the registers that vectors ride on.

A `Hop` holds one vector and one valid bit per direction and stream. It loads every cycle: from the slices that stand at
it, where one of them produces, else from its neighbour upstream. Nothing has a reset: what is on a stream leaves it.
The producers of a register meet in an AND-OR network, which is shorter than a chain of priorities; the schedule never
lets two of them drive it in one cycle. Which of them it is goes to all lanes, so it is said one cycle ahead.
"""

from collections.abc import Mapping
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Member, Out

from openlpu.arch.geometry import Direction, Stream

from .signals import relayed, select

__all__ = ["Hop", "StreamSignature", "drives_name", "lane_parts", "registers"]


class StreamSignature(wiring.Signature):
    """One stream at one hop: `valid` and `data`, lane i in byte i, and above the lanes what check bits there are.

    As a tap it is what the hop's register holds in this cycle. As a drive it is a production: one cycle after `valid`
    comes the `data` that stands in the hop's register in the next; in any other cycle it may be anything.
    """

    def __init__(self, lanes: int, *, check_bits: int = 0) -> None:
        super().__init__({"valid": Out(1), "data": Out(8 * lanes + check_bits)})


def drives_name(stream: Stream) -> str:
    """The port of a `Hop` that takes the productions on a stream."""
    return f"{stream}_drives"


def lane_parts(lanes: int, width: int) -> list[slice]:
    """Which bits of a vector of that width every lane has. Check bits go with the last one."""
    return [slice(8 * lane, 8 * lane + 8 if lane < lanes - 1 else width) for lane in range(lanes)]


def registers(lanes: int, streams: int, check_bits: int) -> dict[str, Member]:
    """Ports to the registers of a place: `{e,w}_data` and `{e,w}_valid`, and what comes in, `{e,w}_{data,valid}_in`.

    Stream s is at bits [s * width +: width] of the data ports, width being 8 * lanes + check_bits.
    """
    width = 8 * lanes + check_bits
    ports: dict[str, Member] = {}
    for direction in Direction:
        d = direction.letter
        ports |= {
            f"{d}_data_in": In(width * streams),
            f"{d}_valid_in": In(streams),
            f"{d}_data": Out(width * streams),
            f"{d}_valid": Out(streams),
        }
    return ports


class Hop(wiring.Component):
    """The stream registers of one place.

    Ports: `registers`, what comes in being the neighbour upstream (valid 0 at an edge); and for every stream with
    producers an array `drives_name(stream)` of drives.

    Parameters
    ----------
    lanes, streams : as in the config
    producers : how many units at this hop can produce on a stream; none where it is missing
    check_bits : that every vector carries
    """

    e_data_in: Signal
    e_valid_in: Signal
    e_data: Signal
    e_valid: Signal
    w_data_in: Signal
    w_valid_in: Signal
    w_data: Signal
    w_valid: Signal

    def __init__(self, *, lanes: int, streams: int, producers: Mapping[Stream, int], check_bits: int = 0) -> None:
        self._lanes = lanes
        self._width = 8 * lanes + check_bits
        self._streams = streams
        self._producers = dict(producers)
        ports = registers(lanes, streams, check_bits)
        for stream, count in self._producers.items():
            ports[drives_name(stream)] = In(StreamSignature(lanes, check_bits=check_bits)).array(count)
        super().__init__(ports)

    def standing(self, stream: Stream) -> tuple[Value, Value]:
        """Valid bit and vector of a stream, as units here consume it: what is in its register."""
        d = stream.direction.letter
        valid, data = getattr(self, f"{d}_valid"), getattr(self, f"{d}_data")
        return valid[stream.index], data.word_select(stream.index, self._width)

    def elaborate(self, platform: object) -> Module:
        """Choose the next value of every register, and register it."""
        m = Module()
        width = self._width
        for direction in Direction:
            d = direction.letter
            # A port is a wire with a reset: only a register of its own can go without.
            data = Signal(width * self._streams, name=f"{d}_data_q", reset_less=True)
            valid = Signal(self._streams, name=f"{d}_valid_q", reset_less=True)
            next_data, next_valid = [], []
            for index in range(self._streams):
                stream = Stream(direction, index)
                drives = getattr(self, drives_name(stream)) if self._producers.get(stream) else []
                incoming = getattr(self, f"{d}_data_in")[index * width :][:width]
                produced, vector = self._met(m, stream, drives, incoming) if drives else (Const(0), incoming)
                next_data.append(vector)
                next_valid.append(produced | getattr(self, f"{d}_valid_in")[index])
            m.d.sync += [data.eq(Cat(next_data)), valid.eq(Cat(next_valid))]
            m.d.comb += [getattr(self, f"{d}_data").eq(data), getattr(self, f"{d}_valid").eq(valid)]
        return m

    def _met(self, m: Module, stream: Stream, drives: Any, incoming: Value) -> tuple[Value, Value]:
        """Whether one of the producers of a stream, at least one, has a vector; and that, else what comes in."""
        valid = Cat(drive.valid for drive in drives)
        told = relayed(m, "hop", str(stream), Cat(valid.any(), valid), self._lanes, 1)
        vector = []
        for (produced, *producing), part in zip(told, lane_parts(self._lanes, self._width), strict=True):
            vector.append(Mux(produced, 0, incoming[part]) | select(producing, [drive.data[part] for drive in drives]))
        return told[0][0], Cat(vector)
