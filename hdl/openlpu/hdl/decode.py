# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Instructions in hardware: the port on which a unit receives them, and their decoder.

Opcodes, field positions, ranges and reach all come from `openlpu.arch.encoding`; nothing about an instruction is
written down here. A queue tests words with `Decoder.legal` before it dispatches them, so a unit takes for granted that
what it receives is an instruction it has, and need not compare more bits than tell its own instructions apart.
"""

import dataclasses
from collections.abc import Iterable, Sequence

from amaranth.hdl import C, Cat, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Member, Out

from openlpu.arch.config import GROUP, ChipConfig, Source
from openlpu.arch.encoding import FIRST_VALUE, OPCODE_BITS, Layout, Slot, encoding, lacking
from openlpu.arch.geometry import Direction, Queue, QueueKind, Stream, geometry
from openlpu.arch.isa import FIRST_UNIT_OPCODE, IMMEDIATE, NOTHING, Field, FieldKind, Format, Operand, Spec
from openlpu.arch.isa import Value as FieldValue

from .signals import select
from .stream import StreamSignature

__all__ = [
    "Decoder",
    "IssueSignature",
    "part",
    "queue_ports",
    "reach",
]


class IssueSignature(wiring.Signature):
    """Dispatch of an instruction: the cycle in which `valid` is set is cycle t of the timing table.

    `word` is what the unit needs of it, `Encoding.issue_bits`; bits that its instruction does not have may be anything.
    """

    def __init__(self, issue_bits: int) -> None:
        super().__init__({"valid": Out(1), "word": Out(issue_bits)})


def part(queue: Queue) -> str:
    """What a queue is called inside its unit: `read`, `acts`, `alu2`."""
    return queue.name.split(".")[1]


def reach(queue: Queue) -> Queue:
    """A queue without what tells it from others on the chip that have the same instructions and reach."""
    # ALUs have classes and neighbours by their number.
    index = queue.index if queue.kind is QueueKind.VXM else 0
    return dataclasses.replace(queue, name="", hop=0, index=index)


def queue_ports(config: ChipConfig, queues: Iterable[Queue], *, check_bits: int = 0) -> dict[str, Member]:
    """The ports that a unit has for each of its queues, by name.

    `{part}_issue` : the instructions.
    `{part}_taps` : the streams it consumes, in the order of `Queue.consumes`.
    `{part}_drives` : the streams it produces, in the order of `Queue.produces`.
    `{part}_empty` : in the cycle before this one an instruction sampled a stream, chain or array that held nothing.

    Vectors come and go with `check_bits`.
    """
    ports: dict[str, Member] = {}
    stream = StreamSignature(config.lanes, check_bits=check_bits)
    for queue in queues:
        name = part(queue)
        ports |= {
            f"{name}_issue": In(IssueSignature(encoding(config).issue_bits(queue.kind))),
            f"{name}_taps": In(stream).array(len(queue.consumes)),
            f"{name}_drives": Out(stream).array(len(queue.produces)),
            f"{name}_empty": Out(1),
        }
    return ports


class Decoder:
    """The meaning of `word` in a queue of a chip, as values over its bits: no component, no registers."""

    def __init__(self, config: ChipConfig, queue: Queue, word: Value) -> None:
        self._config = config
        self._encoding = encoding(config)
        self._queue = queue
        self._word = word
        self._layouts = {layout.spec.mnemonic: layout for layout in self._encoding.layouts[queue.kind]}

    @property
    def specs(self) -> tuple[Spec, ...]:
        """What the queue can execute: the implemented instructions of its kind, and of its operation classes."""
        return tuple(layout.spec for layout in self._layouts.values() if self._has(layout.spec))

    def is_(self, mnemonic: str) -> Value:
        """1 where the opcode is that of an instruction. Raises KeyError for one the kind of queue does not have."""
        return self._word[:OPCODE_BITS] == self._layouts[mnemonic].spec.opcode

    def is_any(self, mnemonics: Iterable[str]) -> Value:
        """1 where the opcode is that of one of some instructions. Raises as `is_`."""
        return Cat(self.is_(mnemonic) for mnemonic in mnemonics).any()

    def field(self, mnemonic: str, name: str) -> Value:
        """The value of a field, signed if one is. Raises KeyError for a field that does not exist."""
        slot = self.slot(mnemonic, name)
        bits, first = self._bits(slot), FIRST_VALUE.get(slot.field.kind)
        low, _ = self._encoding.limits(slot.field.kind, self._queue.kind)
        if first is not None:
            return bits + first
        return bits.as_signed() if low < 0 else bits

    @property
    def for_unit(self) -> Value:
        """1 where the opcode is not that of queue control."""
        return self._word[:OPCODE_BITS] >= FIRST_UNIT_OPCODE

    @property
    def has_tail(self) -> Value:
        """1 where an instruction says what follows it; of words that are none it may be anything."""
        return self.for_unit & ~self.is_any(spec.mnemonic for spec in self.specs if not (spec.control or spec.tail))

    def tail(self, name: str) -> Value:
        """The value of a field of what follows, which all that have it have at one place; 0 where none does."""
        having = [spec for spec in self.specs if any(f.name == name for f in spec.tail)]
        return self.field(having[0].mnemonic, name) if having else C(0)

    def slot(self, mnemonic: str, name: str) -> Slot:
        """Where a field lies. Raises KeyError for a field that does not exist."""
        for slot in self._layouts[mnemonic].slots:
            if slot.field.name == name:
                return slot
        raise KeyError(f"{mnemonic} has no field '{name}'")

    def names(self, mnemonic: str, name: str, value: FieldValue) -> Value:
        """1 where a field holds `value`: a stream, an operand or a number."""
        slot = self.slot(mnemonic, name)
        return self._bits(slot) == self._code(slot, value)

    def choose(self, mnemonic: str, name: str, streams: Sequence[Stream]) -> list[Value]:
        """For each of `streams`, 1 where a STREAM field names it, or a GROUP field names the group it is in."""
        slot = self.slot(mnemonic, name)
        group = slot.field.kind is FieldKind.GROUP
        return [
            self.names(mnemonic, name, Stream(s.direction, s.index - s.index % GROUP) if group else s) for s in streams
        ]

    def choose_of(self, mnemonics: Sequence[str], name: str, streams: Sequence[Stream]) -> Value:
        """As `choose`, one bit each, for that of `mnemonics` which the word is: their fields may lie apart."""
        return select(
            [self.is_(mnemonic) for mnemonic in mnemonics],
            [Cat(self.choose(mnemonic, name, streams)) for mnemonic in mnemonics],
        )

    @property
    def legal(self) -> Value:
        """1 where the word encodes an instruction that the queue can execute."""
        # Instructions of one shape share the tests of their fields.
        shapes: dict[tuple[object, ...], list[Layout]] = {}
        for spec in self.specs:
            layout = self._layouts[spec.mnemonic]
            shape = (layout.slots, spec.consumes, spec.produces, spec.control, spec.arity)
            shapes.setdefault(shape, []).append(layout)
        opcode = self._word[:OPCODE_BITS]
        return Cat(
            opcode.matches(*(layout.spec.opcode for layout in layouts)) & self._well_formed(layouts[0])
            for layouts in shapes.values()
        ).any()

    # --- helpers ---

    def _has(self, spec: Spec) -> bool:
        return spec.implemented and not lacking(self._config, self._queue, spec)

    def _bits(self, slot: Slot) -> Value:
        return self._word[slot.lsb :][: slot.width]

    def _code(self, slot: Slot, value: FieldValue) -> int:
        return self._encoding.field_code(slot, value)

    def _well_formed(self, layout: Layout) -> Value:
        conditions = [~self._word[first:end].any() for first, end in (*layout.spare, (layout.used, len(self._word)))]
        conditions += [self._in_range(layout.spec, slot) for slot in layout.slots]
        if self._queue.kind is QueueKind.VXM and not layout.spec.control:
            conditions.append(self._operands_agree(layout.spec))
        if any(slot.field.kind is FieldKind.WINDOW for slot in layout.slots):
            conditions.append(self._window_fits(layout.spec))
        return Cat(conditions).all()

    def _in_range(self, spec: Spec, slot: Slot) -> Value:
        """The field holds a value that it may hold in this queue."""
        legal = self._listed(spec, slot.field)
        if legal is not None:
            return self._bits(slot).matches(*(self._code(slot, value) for value in legal))
        low, high = self._encoding.limits_in(slot.field.kind, self._queue)
        if high - low + 1 == 1 << slot.width:
            return C(1)
        number = self._bits(slot).as_signed() if low < 0 else self._bits(slot)
        # Comparing with a bound that the width already ensures costs logic in simulation, and warnings. Where one
        # pattern alone lies below the bound, it is told without a carry chain.
        ends = (-(1 << slot.width >> 1), (1 << slot.width >> 1) - 1) if low < 0 else (0, (1 << slot.width) - 1)
        above = number != ends[0] if low == ends[0] + 1 else number >= low
        return Cat([above] * (low > ends[0]) + [number <= high] * (high < ends[1])).all()

    def _listed(self, spec: Spec, field: Field) -> list[FieldValue] | None:
        """All values of a stream or operand field; None for a number."""
        reach = self._queue.produces if field.name in spec.produces else self._queue.consumes
        if spec.control:
            reach = self._queue.fetches
        aligned = [s for s in reach if s.index % GROUP == 0]
        single = [Operand(Format.BYTE, s) for s in reach]
        grouped = [Operand(Format.WORD, s) for s in aligned]
        match field.kind:
            case FieldKind.STREAM:
                return [*reach]
            case FieldKind.GROUP:
                return [*aligned]
            case FieldKind.DEST:
                # Both directions are named by the eastward stream.
                both = [s for s in reach if s.direction is Direction.EAST and s.opposite in reach]
                single_both = [Operand(Format.BYTE_BOTH, s) for s in both]
                grouped_both = [Operand(Format.WORD_BOTH, s) for s in both if s in aligned]
                return [NOTHING, *single, *grouped, *single_both, *grouped_both]
            case FieldKind.SOURCE:
                chip, alu = geometry(self._config), self._queue.index
                given: dict[Source, list[Operand]] = {
                    Source.BYTE: single,
                    Source.WORD: grouped,
                    Source.CHAIN: [Operand(Format.ALU, source) for source in chip.alu_sources(alu)],
                    Source.IMMEDIATE: [IMMEDIATE],
                }
                return [NOTHING, *(one for source in chip.operand_sources(alu, field.name) for one in given[source])]
            case _:
                return None

    def _operands_agree(self, spec: Spec) -> Value:
        """As many sources as the operation has, and an immediate only where one of them is it."""
        name = spec.mnemonic
        given = [~self.names(name, source, NOTHING) for source in ("x", "y")]
        immediate = self.names(name, "x", IMMEDIATE) | self.names(name, "y", IMMEDIATE)
        return given[0] & (given[1] == (spec.arity == 2)) & (immediate | ~self.field(name, "imm").any())

    def _window_fits(self, spec: Spec) -> Value:
        """The window begins at a multiple of its size, and ends inside the slice."""
        base, words = self.field(spec.mnemonic, "a"), self._config.mem_words

        def fits(exponent: int) -> Value:
            aligned = ~base[:exponent].any()
            # An aligned window sticks out only of a slice that is no multiple of its size.
            return aligned & (base <= words - (1 << exponent)) if words % (1 << exponent) else aligned

        exponents = range(words.bit_length())
        return select([self.names(spec.mnemonic, "n", n) for n in exponents], [fits(n) for n in exponents]).any()
