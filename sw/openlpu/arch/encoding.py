# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Instruction words: where each field lies on a given chip, and the encoder and decoder that follow from it.

The layout is derived, never written down: opcode in the lowest `OPCODE_BITS`, then the fields of the instruction in
their order, each as wide as the chip needs. What follows an instruction (`isa.TAIL`) is said above the widest of those
that say it, so at one place in each kind of queue. All words of a queue kind are as wide as the widest of its
instructions; the bits that a shorter one leaves over must be zero. A word is legal when its opcode is known, its spare
bits are zero and every field holds a value the chip has. `decode(encode(x)) == x`, and every legal word has exactly one
meaning.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from openlpu.arch.config import GROUP, ChipConfig, ConfigError, Source
from openlpu.arch.geometry import Direction, Geometry, Queue, QueueKind, Stream, geometry
from openlpu.arch.isa import (
    IMMEDIATE,
    NOTHING,
    Field,
    FieldKind,
    Format,
    Instruction,
    Operand,
    Spec,
    Value,
    for_kind,
    stride_kind,
)

OPCODE_BITS = 6
CYCLES_BITS = 16
COUNT_BITS = 10
GAP_BITS = 6
TAIL_COUNT_BITS = 4
TAIL_GAP_BITS = 2
TAIL_WAIT_BITS = 7
"""With one bit for the step, these fit words of 36 bits for a MEM slice of 8,192 words, and of 72 for an ALU."""
PAUSE_BITS = 6
FORMAT_BITS = 3
"""Width of a VXM operand's `Format` code, for sources and destinations alike."""
FIRST_VALUE = {FieldKind.TAIL_GAP: 1}
"""What code 0 stands for, of numbers that are not their own codes: so every code is legal."""


class EncodingError(ValueError):
    """An instruction that the queue cannot hold, or a word that is none; the message says which and why."""


def bits_for(count: int) -> int:
    """Bits that number `count` things (at least 1)."""
    return max((count - 1).bit_length(), 1)


@dataclass(frozen=True)
class Slot:
    """The bits of one field: `width` bits from bit `lsb`."""

    field: Field
    lsb: int
    width: int


@dataclass(frozen=True)
class Layout:
    """The bits of one instruction in the queues of one kind."""

    spec: Spec
    slots: tuple[Slot, ...]

    @property
    def used(self) -> int:
        """Bits from 0 among which all meaning is; all above must be zero."""
        return self.slots[-1].lsb + self.slots[-1].width if self.slots else OPCODE_BITS

    @property
    def spare(self) -> tuple[tuple[int, int], ...]:
        """The bits among those that must be zero, too: of each stretch the first, and the first behind it."""
        ends = [OPCODE_BITS, *(slot.lsb + slot.width for slot in self.slots)]
        return tuple((end, slot.lsb) for end, slot in zip(ends, self.slots, strict=False) if end < slot.lsb)


class Encoding:
    """The instruction words of one chip. Use `encoding(config)`, which computes them once.

    Raises:
        ConfigError: on construction, when a word is longer than what all streams bring in a cycle: the host writes it
            in one.
    """

    def __init__(self, config: ChipConfig) -> None:
        self.config = config
        self._geometry: Geometry = geometry(config)
        self.stream_bits = 1 + bits_for(config.streams)
        """A stream is its direction (lowest bit) and its index."""
        self.place_bits = max(self.stream_bits, bits_for(len(config.alus)))
        """A VXM operand is its format (lowest bits) and its place: a stream, an ALU's index, or 0."""
        self._tail_lsb = {
            kind: max(self._own_bits(spec, kind) for spec in for_kind(kind) if spec.tail) for kind in QueueKind
        }
        self.layouts: dict[QueueKind, tuple[Layout, ...]] = {
            kind: tuple(self._layout(spec, kind) for spec in for_kind(kind)) for kind in QueueKind
        }
        self._by_opcode = {
            kind: {layout.spec.opcode: layout for layout in layouts} for kind, layouts in self.layouts.items()
        }
        self._require_streams()
        self._limits = {(field, kind): self._limits_of(field, kind) for field in FieldKind for kind in QueueKind}

    def _require_streams(self) -> None:
        lanes, streams = self.config.lanes, self.config.streams
        for queue in self._geometry.queues:
            if self.word_vectors(queue.kind) > streams:
                raise ConfigError(
                    f"config field 'streams': {streams} of {lanes} lanes bring {lanes * streams} bytes a cycle, and an "
                    f"instruction of {queue.name} has {self.word_bytes(queue.kind)}: use more streams or lanes"
                )

    def word_bits(self, kind: QueueKind) -> int:
        """Width of every instruction word of a queue kind."""
        return max(layout.used for layout in self.layouts[kind])

    def issue_bits(self, kind: QueueKind) -> int:
        """Bits from 0 of a word that tell a unit what to do; those above are for its queue alone."""
        return max(self._own_bits(spec, kind) for spec in for_kind(kind) if not spec.control)

    def word_bytes(self, kind: QueueKind) -> int:
        """Bytes that an instruction word takes in a file (little-endian), on the host port, and on a stream."""
        return -(-self.word_bits(kind) // 8)

    def word_vectors(self, kind: QueueKind) -> int:
        """Consecutive vectors that an instruction word takes on a stream, for `ifetch`."""
        return -(-self.word_bytes(kind) // self.config.lanes)

    def layout(self, spec: Spec, kind: QueueKind) -> Layout:
        """Where the fields of an instruction lie in the queues of a kind."""
        return self._by_opcode[kind][spec.opcode]

    def width(self, field_kind: FieldKind, kind: QueueKind) -> int:
        """Bits of a field in the queues of a kind."""
        config = self.config
        match field_kind:
            case FieldKind.WORD_ADDRESS:
                return bits_for(config.mem_words)
            case FieldKind.ACC_ADDRESS:
                return bits_for(config.acc_depth)
            case FieldKind.ACT_ADDRESS:
                return bits_for(config.act_depth)
            case FieldKind.TEXT_ADDRESS:
                return bits_for(max(self._geometry.text_lengths(kind)))
            case FieldKind.WINDOW:
                return bits_for(config.mem_words.bit_length())
            case FieldKind.PLACE:
                return bits_for(config.weight_streams)
            case FieldKind.ROW_GROUP:
                return bits_for(config.row_groups)
            case FieldKind.STREAM | FieldKind.GROUP:
                return self.stream_bits
            case FieldKind.SOURCE | FieldKind.DEST:
                return FORMAT_BITS + self.place_bits
            case FieldKind.IMM32:
                return 32
            case FieldKind.LANE:
                return bits_for(config.lanes)
            case FieldKind.LANE_SHIFT:
                return bits_for(config.lanes) + 1
            case FieldKind.CYCLES:
                return CYCLES_BITS
            case FieldKind.COUNT:
                return COUNT_BITS
            case FieldKind.GAP:
                return GAP_BITS
            case FieldKind.STRIDE:
                strided = stride_kind(kind)
                return self.width(strided, kind) + 1 if strided else 0
            case FieldKind.TAIL_COUNT:
                return TAIL_COUNT_BITS
            case FieldKind.TAIL_GAP:
                return TAIL_GAP_BITS
            case FieldKind.TAIL_STEP:
                return 1
            case FieldKind.TAIL_WAIT:
                return TAIL_WAIT_BITS
            case FieldKind.PAUSE:
                return PAUSE_BITS

    def limits(self, field_kind: FieldKind, kind: QueueKind) -> tuple[int, int]:
        """Lowest and highest legal value of an integer field in the queues of a kind."""
        return self._limits[field_kind, kind]

    def limits_in(self, field_kind: FieldKind, queue: Queue) -> tuple[int, int]:
        """Those in one queue, which may have fewer words of text than others of its kind."""
        if field_kind is FieldKind.TEXT_ADDRESS:
            return 0, queue.text_words - 1
        return self.limits(field_kind, queue.kind)

    def _limits_of(self, field_kind: FieldKind, kind: QueueKind) -> tuple[int, int]:
        config = self.config
        top = 1 << self.width(field_kind, kind)
        match field_kind:
            case FieldKind.WORD_ADDRESS:
                return 0, config.mem_words - 1
            case FieldKind.ACC_ADDRESS:
                return 0, config.acc_depth - 1
            case FieldKind.ACT_ADDRESS:
                return 0, config.act_depth - 1
            case FieldKind.TEXT_ADDRESS:
                return 0, max(self._geometry.text_lengths(kind)) - 1
            case FieldKind.WINDOW:
                return 0, config.mem_words.bit_length() - 1
            case FieldKind.PLACE:
                return 0, config.weight_streams - 1
            case FieldKind.ROW_GROUP:
                return 0, config.row_groups - 1
            case FieldKind.LANE:
                return 0, config.lanes - 1
            case FieldKind.LANE_SHIFT:
                return 1 - config.lanes, config.lanes - 1
            case FieldKind.STRIDE if stride_kind(kind) is FieldKind.ROW_GROUP:
                return 1 - config.row_groups, config.row_groups - 1
            case FieldKind.STRIDE:
                return (1 - top // 2, top // 2 - 1) if top > 1 else (0, 0)
            case FieldKind.CYCLES | FieldKind.COUNT | FieldKind.GAP | FieldKind.PAUSE:
                return 1, top - 1
            case FieldKind.TAIL_GAP:
                return 1, top
            case _:
                return 0, top - 1

    def advanced(self, instruction: Instruction, distance: int) -> Instruction:
        """An instruction as REPEAT issues it once its steps make `distance`: a row group modulo their number, any other
        address wherever that leads."""
        stride = instruction.spec.stride
        if stride is None or instruction.spec.kind_of(stride) is not FieldKind.ROW_GROUP:
            return instruction.advanced(distance)
        group = instruction.number(stride)
        return instruction.advanced((group + distance) % self.config.row_groups - group)

    def encode(self, instruction: Instruction, queue: Queue) -> int:
        """The word of an instruction in a queue.

        Raises:
            EncodingError: when the queue does not have the instruction, or a field is out of range or reach.
        """
        spec = instruction.spec
        if queue.kind not in spec.kinds:
            raise EncodingError(f"{queue.name} has no instruction '{spec.mnemonic}'")
        self._check(instruction, queue)
        word = spec.opcode
        for slot, value in zip(self.layout(spec, queue.kind).slots, instruction.values, strict=True):
            word |= self.field_code(slot, value) << slot.lsb
        return word

    def decode(self, word: int, queue: Queue) -> Instruction:
        """The instruction of a word in a queue.

        Raises:
            EncodingError: when the word is not the encoding of any instruction of the queue.
        """
        layout = self._by_opcode[queue.kind].get(word & ((1 << OPCODE_BITS) - 1))
        where = f"{queue.name}: word {word:#x}"
        if word < 0 or layout is None:
            raise EncodingError(f"{where} has no known opcode")
        if word >> layout.used or any(word >> first & (1 << end - first) - 1 for first, end in layout.spare):
            raise EncodingError(f"{where} has bits set that '{layout.spec.mnemonic}' does not have")
        values = tuple(
            self._unpack(slot, word >> slot.lsb & ((1 << slot.width) - 1), queue.kind, where) for slot in layout.slots
        )
        instruction = Instruction(layout.spec, values)
        self._check(instruction, queue)
        return instruction

    def _layout(self, spec: Spec, kind: QueueKind) -> Layout:
        slots, lsb = [], OPCODE_BITS
        for f in spec.fields:
            if f in spec.tail[:1]:
                lsb = self._tail_lsb[kind]
            width = self.width(f.kind, kind)
            slots.append(Slot(f, lsb, width))
            lsb += width
        return Layout(spec, tuple(slots))

    def _own_bits(self, spec: Spec, kind: QueueKind) -> int:
        """Bits from 0 up to what follows an instruction."""
        return OPCODE_BITS + sum(self.width(f.kind, kind) for f in spec.own)

    def _stream_code(self, stream: Stream) -> int:
        return stream.direction.value | stream.index << 1

    def field_code(self, slot: Slot, value: Value) -> int:
        """The bits of a field that hold `value`, from bit 0."""
        match value:
            case Stream():
                return self._stream_code(value)
            case Operand(place=Stream() as stream):
                return value.format | self._stream_code(stream) << FORMAT_BITS
            case Operand():
                place = value.place if isinstance(value.place, int) else 0
                return value.format | place << FORMAT_BITS
            case int():
                return (value - FIRST_VALUE.get(slot.field.kind, 0)) & ((1 << slot.width) - 1)

    def _unpack(self, slot: Slot, code: int, kind: QueueKind, where: str) -> Value:
        match slot.field.kind:
            case FieldKind.STREAM | FieldKind.GROUP:
                return Stream(Direction(code & 1), code >> 1)
            case FieldKind.SOURCE | FieldKind.DEST:
                return self._unpack_operand(slot, code, where)
            case signed if self.limits(signed, kind)[0] < 0:
                return code - (1 << slot.width) if code >> (slot.width - 1) else code
            case number:
                return code + FIRST_VALUE.get(number, 0)

    def _unpack_operand(self, slot: Slot, code: int, where: str) -> Operand:
        place = code >> FORMAT_BITS
        try:
            form = Format(code & ((1 << FORMAT_BITS) - 1))
        except ValueError:
            raise EncodingError(f"{where}: operand '{slot.field.name}' has no known format") from None
        match form:
            case Format.BYTE | Format.WORD | Format.BYTE_BOTH | Format.WORD_BOTH:
                return Operand(form, Stream(Direction(place & 1), place >> 1))
            case Format.ALU:
                return Operand(form, place)
            case Format.NONE | Format.IMM:
                if place:
                    raise EncodingError(
                        f"{where}: operand '{slot.field.name}' names a place that its format does not have"
                    )
                return NOTHING if form is Format.NONE else IMMEDIATE

    def _check(self, instruction: Instruction, queue: Queue) -> None:
        """Range and reach of every field, whether the queue has it, and the rules between fields."""
        for f, value in zip(instruction.spec.fields, instruction.values, strict=True):
            where = f"{queue.name}: {instruction.spec.mnemonic} {f.name}"
            match f.kind:
                case FieldKind.STREAM:
                    self._check_stream(value, instruction.spec, f, queue, where)
                case FieldKind.GROUP:
                    self._check_stream(value, instruction.spec, f, queue, where)
                    self._check_aligned(value, where)
                case FieldKind.SOURCE | FieldKind.DEST:
                    self._check_operand(value, instruction.spec, f, queue, where)
                case _:
                    low, high = self.limits_in(f.kind, queue)
                    if not isinstance(value, int) or not low <= value <= high:
                        raise EncodingError(f"{where}={value}: not in {low}..{high}")
        lack = lacking(self.config, queue, instruction.spec)
        if lack:
            raise EncodingError(f"{queue.name}: {instruction.spec.mnemonic}: {lack}")
        if queue.kind is QueueKind.VXM and not instruction.spec.control:
            self._check_alu(instruction, queue)
        if instruction.spec.has(FieldKind.WINDOW):
            self._check_window(instruction, queue)

    def _check_stream(self, value: Value, spec: Spec, f: Field, queue: Queue, where: str) -> None:
        reach = queue.produces if f.name in spec.produces else queue.consumes
        if spec.control:
            reach = queue.fetches
        if not isinstance(value, Stream) or value not in reach:
            raise EncodingError(f"{where}={value}: out of the unit's reach")

    def _check_aligned(self, value: Value, where: str) -> None:
        if not isinstance(value, Stream) or value.index % GROUP:
            raise EncodingError(f"{where}={value}: not the first of an aligned group of {GROUP}")

    def _check_operand(self, value: Value, spec: Spec, f: Field, queue: Queue, where: str) -> None:
        match value:
            case Operand(Format.BYTE, Stream() as stream):
                self._check_source(Source.BYTE, f, queue, where)
                self._check_stream(stream, spec, f, queue, where)
            case Operand(Format.WORD, Stream() as stream):
                self._check_source(Source.WORD, f, queue, where)
                self._check_stream(stream, spec, f, queue, where)
                self._check_aligned(stream, where)
            case Operand(Format.BYTE_BOTH | Format.WORD_BOTH, Stream(Direction.EAST) as stream) if (
                f.kind is FieldKind.DEST
            ):
                self._check_stream(stream, spec, f, queue, where)
                self._check_stream(stream.opposite, spec, f, queue, where)
                if value.format is Format.WORD_BOTH:
                    self._check_aligned(stream, where)
            case Operand(Format.ALU, int() as alu) if f.kind is FieldKind.SOURCE:
                self._check_source(Source.CHAIN, f, queue, where)
                if alu not in self._geometry.alu_sources(queue.index):
                    raise EncodingError(f"{where}: alu{alu} does not chain into {queue.name}")
            case Operand(Format.IMM, None) if f.kind is FieldKind.SOURCE:
                self._check_source(Source.IMMEDIATE, f, queue, where)
            case Operand(Format.NONE, None):
                pass
            case _:
                raise EncodingError(f"{where}={value}: not an operand of this kind")

    def _check_source(self, source: Source, f: Field, queue: Queue, where: str) -> None:
        if f.kind is FieldKind.SOURCE and source not in self._geometry.operand_sources(queue.index, f.name):
            raise EncodingError(f"{where}: the ALU takes no {source} there")

    def _check_window(self, instruction: Instruction, queue: Queue) -> None:
        base, words = instruction.number("a"), 1 << instruction.number("n")
        if base % words or base + words > self.config.mem_words:
            raise EncodingError(
                f"{queue.name}: {instruction.spec.mnemonic} a={base} n={instruction.number('n')}: no window of {words} "
                f"words, on a multiple of its size, in {self.config.mem_words} words"
            )

    def _check_alu(self, instruction: Instruction, queue: Queue) -> None:
        spec = instruction.spec
        where = f"{queue.name}: {spec.mnemonic}"
        x, y = instruction.operand("x"), instruction.operand("y")
        given = tuple(operand.format is not Format.NONE for operand in (x, y))
        if given != (True, spec.arity == 2):
            raise EncodingError(f"{where} takes {spec.arity} source operand{'s' if spec.arity == 2 else ''}")
        if IMMEDIATE not in (x, y) and instruction.number("imm") != 0:
            raise EncodingError(f"{where}: an immediate that no source uses")


def lacking(config: ChipConfig, queue: Queue, spec: Spec) -> str:
    """What a queue would need to have an instruction of its kind, as an error says it; empty if it has it."""
    if spec.op_class is not None and spec.op_class not in config.alus[queue.index].classes:
        return f"the ALU has no class '{spec.op_class}'"
    if spec.option is not None and not getattr(config, spec.option):
        return f"the config has no '{spec.option}'"
    return ""


@functools.cache
def encoding(config: ChipConfig) -> Encoding:
    """The instruction words of a chip, computed once per config."""
    return Encoding(config)
