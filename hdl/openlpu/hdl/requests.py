# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A request taken apart: which command, its fields, and its data in words. Places and widths come from the protocol."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value, ValueLike
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from openlpu.arch.config import ChipConfig
from openlpu.arch.protocol import MAX_DATA, REQUEST_HEADER, Command, Data, Field, commands, size, word_bytes

from .frames import RequestItem
from .signals import delayed, named, select

__all__ = ["RequestReader", "packed", "placed"]


class RequestReader(wiring.Component):
    """Takes the bytes of a request: those of header and fields into `prefix`, and of the data a word at a time.

    `items` : as from a `FrameReceiver`. Taken where `ready`; what an `end` says is not looked at.
    `restart` : pulse: the next item is the first of a request.
    `prefix` : header and fields. Holds until the next request.
    `is_` : one bit for each of `commands`, the one whose code is in `prefix`. Two cycles after the command's byte.
    `whole` : the data is as the command has it: none, or one word or more. Two cycles after the last byte.
    `words` : of data, one cycle after the last byte.
    `word` : the last word of data, in the lowest bits.
    `word_complete` : pulse, two cycles after the last byte of a word.
    """

    items: Any
    ready: Signal
    restart: Signal
    prefix: Signal
    is_: Signal
    whole: Signal
    words: Signal
    word: Signal
    word_complete: Signal

    def __init__(self, *, config: ChipConfig) -> None:
        self.commands = commands(config)
        self._word_bytes = {command: word_bytes(config, command.data) for command in self.commands}
        self._prefix_bytes = max(size(REQUEST_HEADER) + size(command.fields) for command in self.commands)
        super().__init__(
            {
                "items": In(stream.Signature(RequestItem)),
                "ready": In(1),
                "restart": In(1),
                "prefix": Out(8 * self._prefix_bytes),
                "is_": Out(len(self.commands)),
                "whole": Out(1),
                "words": Out(range(MAX_DATA + 1)),
                "word": Out(8 * max(self._word_bytes.values())),
                "word_complete": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Count bytes of prefix, and then of words."""
        m = Module()
        byte = self.items.payload.byte
        m.d.comb += self.items.ready.eq(self.ready)
        # Both follow the first byte by two and three cycles, and are wanted first for the fourth.
        length, last_place = Signal(range(self._prefix_bytes + 1)), Signal(range(max(self._word_bytes.values())))
        lengths = {command: size(command.fields) for command in self.commands}
        last_places = {command: max(count - 1, 0) for command, count in self._word_bytes.items()}
        code = placed(self.prefix, REQUEST_HEADER, "command")
        m.d.sync += [
            self.is_.eq(Cat(code == command.code for command in self.commands)),
            length.eq(size(REQUEST_HEADER) + self.by_command(lengths)),
            last_place.eq(self.by_command(last_places)),
        ]

        # Without resets: nothing looks at it before it has come.
        word = Signal(len(self.word), name="collected", reset_less=True)
        last_byte = delayed(m, "last_byte", byte, 1)
        m.d.comb += self.word.eq(word)
        taken = named(m, "taken", self.items.valid & self.ready & ~self.items.payload.end)
        position, place, data_follows = Signal.like(length), Signal.like(last_place), Signal()
        in_prefix = named(m, "in_prefix", position != length)
        word_ends = named(m, "word_ends", place == last_place)
        collects = named(m, "collects", taken & ~in_prefix)
        m.d.comb += self.word_complete.eq(delayed(m, "word_complete", collects & word_ends, 2))
        # Bytes of a word lie far apart: each is told by a register of its own that it is next.
        for number in range(len(word) // 8):
            with m.If(delayed(m, f"next{number}", collects & (place == number), 1)):
                m.d.sync += word.word_select(number, 8).eq(last_byte)
        with m.If(taken & in_prefix):
            m.d.sync += [self.prefix.word_select(position, 8).eq(byte), position.eq(position + 1)]
        with m.If(collects):
            m.d.sync += [
                place.eq(Mux(word_ends, 0, place + 1)),
                self.words.eq(self.words + word_ends),
                data_follows.eq(1),
            ]
        with m.If(self.restart):
            m.d.sync += [position.eq(0), place.eq(0), self.words.eq(0), data_follows.eq(0)]

        with_data = self.by_command({command: int(command.data is not Data.NONE) for command in self.commands})
        m.d.sync += self.whole.eq(~in_prefix & (place == 0) & (data_follows == with_data))
        return m

    def is_command(self, command: Command) -> Value:
        """The bit of `is_` for a command; 0 for one that the chip does not know."""
        return self.is_[self.commands.index(command)] if command in self.commands else C(0, 1)

    def by_command(self, numbers: Mapping[Command, ValueLike]) -> Value:
        """The number of the command whose bit is set in `is_`; 0 for one that has none."""
        known = {command: Value.cast(numbers[command]) for command in self.commands if command in numbers}
        return select((self.is_command(command) for command in known), [*known.values()])


def placed(bits: Value, fields: Iterable[Field], name: str) -> Value:
    """The bits of a field, where fields lie one after the other. Raises KeyError when there is no such field."""
    offset = 0
    for field in fields:
        if field.name == name:
            return bits[8 * offset :][: 8 * field.bytes]
        offset += field.bytes
    raise KeyError(name)


def packed(fields: Iterable[Field], value: Callable[[str], Value]) -> Value:
    """Fields one after the other, `value(name)` each. Raises ValueError for a value that is too wide."""
    parts: list[Value] = []
    for field in fields:
        bits = value(field.name)
        if len(bits) > 8 * field.bytes:
            raise ValueError(f"field '{field.name}' of {field.bytes} bytes cannot hold {len(bits)} bits")
        parts += [bits, C(0, 8 * field.bytes - len(bits))]
    return Cat(parts)
