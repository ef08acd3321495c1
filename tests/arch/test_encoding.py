# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Instruction words: there and back for every legal instruction, and no other word is accepted."""

import dataclasses
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openlpu.arch.config import ChipConfig, ConfigError, OpClass
from openlpu.arch.encoding import OPCODE_BITS, EncodingError, encoding
from openlpu.arch.geometry import Direction, QueueKind, Stream, geometry
from openlpu.arch.isa import (
    BY_MNEMONIC,
    FIRST_UNIT_OPCODE,
    IMMEDIATE,
    INSTRUCTIONS,
    NOTHING,
    TAIL,
    FieldKind,
    Format,
    Instruction,
    Operand,
    for_kind,
    instruction,
    stride_kind,
)
from openlpu.arch.presets import LAB32, NANO, PRESETS, TSP1, ULX3S, ULX3S16
from openlpu.verif.odd_configs import UNEVEN

ALL = pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
QUICK = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def E(index: int) -> Stream:  # noqa: N802  # the letter of the assembly text
    return Stream(Direction.EAST, index)


ONE_STREAM = dataclasses.replace(NANO, name="one_stream", weight_streams=1)
NO_TURNS = dataclasses.replace(NANO, name="no_turns", sxm_rotates=False)
THREE_STREAMS = dataclasses.replace(NANO, name="three_streams", lanes=9, weight_streams=3)
DEALT = instruction("gather_dealt", a=0, n=0, m=E(0), d=E(1), p=0)


@QUICK
@given(data=st.data())
def test_there_and_back(cases: st.SearchStrategy[Any], data: st.DataObject) -> None:
    config, queue, inst = data.draw(cases)
    codec = encoding(config)
    word = codec.encode(inst, queue)
    assert codec.decode(word, queue) == inst
    assert 0 < word < 1 << codec.word_bits(queue.kind) <= 1 << 8 * codec.word_bytes(queue.kind)


@QUICK
@given(data=st.data())
def test_every_bit_that_an_instruction_does_not_have_is_refused(
    cases: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    config, queue, inst = data.draw(cases)
    codec = encoding(config)
    word = codec.encode(inst, queue)
    slots = codec.layout(inst.spec, queue.kind).slots
    had = {bit for slot in slots for bit in range(slot.lsb, slot.lsb + slot.width)}
    for bit in set(range(OPCODE_BITS, codec.word_bits(queue.kind) + 9)) - had:
        with pytest.raises(EncodingError, match=f"bits set that '{inst.spec.mnemonic}' does not have"):
            codec.decode(word | 1 << bit, queue)


@QUICK
@given(data=st.data())
def test_a_flipped_bit_is_refused_or_another_instruction(cases: st.SearchStrategy[Any], data: st.DataObject) -> None:
    config, queue, inst = data.draw(cases)
    codec = encoding(config)
    word = codec.encode(inst, queue)
    for bit in range(codec.word_bits(queue.kind)):
        try:
            other = codec.decode(word ^ 1 << bit, queue)
        except EncodingError:
            continue
        assert other != inst
        assert codec.encode(other, queue) == word ^ 1 << bit


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        pytest.param(config, kind, id=f"{config.name}-{kind}")
        for config in PRESETS.values()
        for kind in QueueKind
        if geometry(config).of_kind(kind)
    ],
)
def test_every_unknown_opcode_is_refused(config: ChipConfig, kind: QueueKind) -> None:
    known = {spec.opcode for spec in for_kind(kind)}
    assert 0 not in known
    queue = geometry(config).of_kind(kind)[0]
    for opcode in set(range(1 << OPCODE_BITS)) - known:
        for word in (opcode, opcode | 1 << OPCODE_BITS):
            with pytest.raises(EncodingError, match=f"{queue.name}.*no known opcode"):
                encoding(config).decode(word, queue)
    with pytest.raises(EncodingError):
        encoding(config).decode(-1, queue)


@ALL
@pytest.mark.parametrize("kind", QueueKind)
def test_layouts(config: ChipConfig, kind: QueueKind) -> None:
    """No two instructions share an opcode, and no two fields share a bit. What follows is told at one place, right
    above the widest of those that tell it."""
    codec = encoding(config)
    layouts = codec.layouts[kind]
    assert len({layout.spec.opcode for layout in layouts}) == len(layouts)
    for layout in layouts:
        assert (layout.spec.opcode < FIRST_UNIT_OPCODE) == layout.spec.control
        assert layout.spec.opcode < 1 << OPCODE_BITS
        bits = [bit for slot in layout.slots for bit in range(slot.lsb, slot.lsb + slot.width)]
        spare = [bit for first, end in layout.spare for bit in range(first, end)]
        assert bits == sorted(set(range(OPCODE_BITS, layout.used)) - set(spare))
        assert len(bits) + len(spare) == layout.used - OPCODE_BITS
        assert layout.used <= codec.word_bits(kind)
    tailed = [layout for layout in layouts if layout.spec.tail]
    for name in (f.name for f in TAIL):
        places = {(s.lsb, s.width) for layout in tailed for s in layout.slots[-4:] if s.field.name == name}
        assert len(places) == (name != "step" or stride_kind(kind) is not None)
    assert min(len(layout.spare) for layout in tailed) == 0
    assert all(layout.spare == () for layout in layouts if not layout.spec.tail)


@pytest.mark.parametrize("config", [NANO, ULX3S, ULX3S16], ids=lambda config: config.name)
def test_words_fit_block_ram(config: ChipConfig) -> None:
    """Of an ECP5: 36 bits a block, two blocks for an ALU."""
    for kind in QueueKind:
        assert encoding(config).word_bits(kind) <= (72 if kind is QueueKind.VXM else 36)


def test_every_word_of_nanos_streaming_units() -> None:
    """All words of all unit instructions but the VXM's: as many are legal as there are combinations of fields. What
    follows them is none or one thing: of it every code is legal."""
    codec, chip = encoding(NANO), geometry(NANO)
    sizes = {"s": 16, "d": 16, "m": 16, "a": 64, "g": 1}
    for queue in chip.queues:
        for layout in codec.layouts[queue.kind]:
            used = OPCODE_BITS + sum(slot.width for slot in layout.slots[: len(layout.spec.own)])
            if layout.spec.control or queue.kind is QueueKind.VXM or used > 20:
                continue
            tail = [slot.lsb for slot in layout.slots[len(layout.spec.own) :]]
            legal = 0
            for fields in range(1 << used - OPCODE_BITS):
                word = fields << OPCODE_BITS | layout.spec.opcode
                word |= 1 << tail[fields % len(tail)] if tail and fields % 3 else 0
                try:
                    inst = codec.decode(word, queue)
                except EncodingError:
                    continue
                legal += 1
                assert codec.encode(inst, queue) == word
            expected = 1
            for f in layout.spec.own:
                count = sizes.get(f.name, 0)
                if f.kind is FieldKind.ACC_ADDRESS:
                    count = 8
                elif f.kind is FieldKind.ACT_ADDRESS:
                    count = 4
                elif f.kind is FieldKind.GROUP:
                    # The MXM reaches the two groups of the inward direction, the SXM those of both.
                    count = 2 if queue.kind is QueueKind.MXM_ACCS else 4
                elif f.kind is FieldKind.LANE:
                    count = 4
                elif f.kind is FieldKind.LANE_SHIFT:
                    count = 7
                elif queue.kind is QueueKind.MXM_ACTS:
                    count = 8  # outward only
                expected *= count
            assert legal == expected, (queue.name, layout.spec.mnemonic)


def test_every_operand_of_nanos_alus() -> None:
    """Every code of a source and of a destination, in every ALU, against a list written by hand."""
    codec, chip = encoding(NANO), geometry(NANO)
    west = [Stream(Direction.WEST, i) for i in range(8)]
    for queue in chip.of_kind(QueueKind.VXM):
        layout = codec.layout(BY_MNEMONIC["pass"], queue.kind)
        slots = {slot.field.name: slot for slot in layout.slots}
        base = codec.encode(instruction("pass", x=IMMEDIATE), queue)
        found: dict[str, set[Any]] = {"x": set(), "d": set()}
        for name, operands in found.items():
            slot = slots[name]
            blank = base & ~(((1 << slot.width) - 1) << slot.lsb)
            for code in range(1 << slot.width):
                try:
                    operands.add(codec.decode(blank | code << slot.lsb, queue).operand(name))
                except EncodingError:
                    continue
        bytes_in = {Operand(Format.BYTE, s) for s in west}
        words_in = {Operand(Format.WORD, west[0]), Operand(Format.WORD, west[4])}
        heard = {Operand(Format.ALU, (queue.index - distance) % 6) for distance in range(5)}
        assert found["x"] == bytes_in | words_in | heard | {IMMEDIATE}
        bytes_out = {Operand(Format.BYTE, E(i)) for i in range(8)}
        assert found["d"] == bytes_out | {Operand(Format.WORD, E(0)), Operand(Format.WORD, E(4)), NOTHING}


@pytest.mark.parametrize(
    ("config", "queue", "inst", "message"),
    [
        (NANO, "mem_e0.read", instruction("write", a=0, s=E(0)), "mem_e0.read has no instruction 'write'"),
        (NANO, "mem_e0.read", instruction("read", a=64, d=E(0)), "a=64: not in 0..63"),
        (NANO, "mem_e0.read", instruction("read", a=-1, d=E(0)), "a=-1: not in 0..63"),
        (NANO, "mem_e0.read", instruction("read", a=0, d=E(8)), "d=e8: out of the unit's reach"),
        (NANO, "mem_e0.read", instruction("read", a=0, d=3), "d=3: out of the unit's reach"),
        (NANO, "mem_e0.read", instruction("read", a=E(0), d=E(0)), "a=e0: not in"),
        (NANO, "mem_e0.read", instruction("nop", n=0), "n=0: not in 1..65535"),
        (UNEVEN, "vxm.alu2", instruction("ifetch", s=E(1), a=180, n=1), "a=180: not in 0..179"),
        (NANO, "mem_e0.read", instruction("repeat", n=1024), "n=1024: not in 1..1023"),
        (NANO, "mem_e0.read", instruction("repeat", n=1, gap=64), "gap=64: not in 1..63"),
        (NANO, "mem_e0.read", instruction("repeat", n=1, step=64), "step=64: not in -63..63"),
        (NANO, "vxm.alu0", instruction("repeat", n=1, step=1), "step=1: not in 0..0"),
        (NANO, "mem_e0.read", instruction("read", a=0, d=E(0), again=16), "again=16: not in 0..15"),
        (NANO, "mem_e0.read", instruction("read", a=0, d=E(0), gap=0), "gap=0: not in 1..4"),
        (NANO, "mem_e0.read", instruction("read", a=0, d=E(0), gap=5), "gap=5: not in 1..4"),
        (NANO, "mem_e0.read", instruction("read", a=0, d=E(0), step=-1), "step=-1: not in 0..1"),
        (NANO, "mem_e0.read", instruction("read", a=0, d=E(0), wait=128), "wait=128: not in 0..127"),
        (NANO, "mxm_e0.accs", instruction("acc_out", a=0, d=Stream(Direction.WEST, 2)), "not the first of an aligned"),
        (NANO, "mxm_e0.accs", instruction("acc_out", a=0, d=E(4)), "out of the unit's reach"),
        (NANO, "mxm_e0.acts", instruction("abc", s=Stream(Direction.WEST, 0)), "out of the unit's reach"),
        (NANO, "sxm_e.shift", instruction("shift", s=E(0), d=E(0), n=4), "n=4: not in -3..3"),
        (NANO, "vxm.alu0", instruction("fadd", x=IMMEDIATE, y=IMMEDIATE), "the ALU has no class 'fadd'"),
        (NANO, "vxm.alu0", instruction("iadd", x=IMMEDIATE), "takes 2 source operands"),
        (NANO, "vxm.alu0", instruction("pass", x=IMMEDIATE, y=IMMEDIATE), "takes 1 source operand"),
        (NANO, "vxm.alu0", instruction("pass", y=IMMEDIATE), "takes 1 source operand"),
        (NANO, "vxm.alu0", instruction("pass", x=Operand(Format.ALU, 0), imm=1), "an immediate that no source uses"),
        (NANO, "vxm.alu0", instruction("pass", x=IMMEDIATE, imm=1 << 32), "imm=4294967296: not in"),
        (NANO, "vxm.alu0", instruction("pass", x=IMMEDIATE, d=IMMEDIATE), "not an operand of this kind"),
        (NANO, "vxm.alu0", instruction("pass", x=Operand(Format.WORD, Stream(Direction.WEST, 2))), "not the first of"),
        (ULX3S, "vxm.alu1", instruction("pass", x=Operand(Format.ALU, 3)), "alu3 does not chain into vxm.alu1"),
        (ULX3S, "vxm.alu0", instruction("pass", x=Operand(Format.ALU, 3)), "the ALU takes no chain there"),
        (
            ULX3S,
            "vxm.alu3",
            instruction("pass", x=Operand(Format.BYTE, Stream(Direction.WEST, 0))),
            "the ALU takes no byte there",
        ),
        (ULX3S16, "mxm_e0.weights", instruction("lwt", g=0), "the config has no 'mxm_transposes'"),
        (NO_TURNS, "sxm_e.shift", instruction("rotate", s=E(0), d=E(0), n=1), "the config has no 'sxm_rotates'"),
        (ONE_STREAM, "mem_e0.read", DEALT, "the config has no 'dealt_windows'"),
        (THREE_STREAMS, "mem_e0.read", DEALT, "the config has no 'dealt_windows'"),
        (THREE_STREAMS, "mxm_e0.weights", instruction("repeat", n=1, step=3), "step=3: not in -2..2"),
        (NANO, "mem_e0.read", dataclasses.replace(DEALT, values=(*DEALT.values[:-1], 4)), "p=4: not in 0..3"),
        (
            ULX3S,
            "vxm.alu0",
            instruction(
                "i2f",
                x=Operand(Format.WORD, Stream(Direction.WEST, 0)),
                y=Operand(Format.BYTE, Stream(Direction.WEST, 4)),
            ),
            "the ALU takes no byte there",
        ),
        (ULX3S, "vxm.alu0", instruction("pass", x=IMMEDIATE), "the ALU takes no immediate there"),
        (
            ULX3S,
            "vxm.alu0",
            instruction("pass", x=Operand(Format.BYTE, Stream(Direction.WEST, 0)), d=Operand(Format.BYTE, E(0))),
            "reach",
        ),
        (ULX3S, "mem_e3.read", instruction("read", a=0, d=E(2)), "d=e2: out of the unit's reach"),
    ],
)
def test_what_a_queue_does_not_hold(config: ChipConfig, queue: str, inst: Instruction, message: str) -> None:
    with pytest.raises(EncodingError) as caught:
        encoding(config).encode(inst, geometry(config).by_name[queue])
    assert message in str(caught.value)


@pytest.mark.parametrize("config", [NANO, ONE_STREAM, THREE_STREAMS, TSP1], ids=lambda config: config.name)
def test_row_groups_are_advanced_around(config: ChipConfig) -> None:
    codec, groups = encoding(config), config.row_groups
    low, high = codec.limits(FieldKind.STRIDE, QueueKind.MXM_WEIGHTS)
    assert (low, high) == (1 - groups, groups - 1)
    for g, step in product({0, groups // 2, groups - 1}, range(low, high + 1)):
        load, met = instruction("lw_iw", g=g), []
        for k in range(groups):
            met.append(codec.advanced(load, k * step).number("g"))
            assert codec.advanced(codec.advanced(load, k * step), step) == codec.advanced(load, (k + 1) * step)
        assert met == [(g + k * step) % groups for k in range(groups)]
    read = instruction("read", a=config.mem_words - 1, d=E(1))
    assert codec.advanced(read, 2) == read.advanced(2)
    assert codec.advanced(instruction("iw"), 1) == instruction("iw")


@ALL
def test_every_queue_of_a_kind_has_words_of_one_width(config: ChipConfig) -> None:
    codec = encoding(config)
    for kind in QueueKind:
        assert codec.word_bits(kind) == max(codec.layout(spec, kind).used for spec in for_kind(kind))
        assert codec.word_bytes(kind) * 8 >= codec.word_bits(kind) > codec.word_bytes(kind) * 8 - 8


def test_instruction_set() -> None:
    assert len(BY_MNEMONIC) == len(INSTRUCTIONS)
    for spec in INSTRUCTIONS:
        names = [f.name for f in spec.fields]
        assert len(set(names)) == len(names)
        assert {*spec.consumes, *spec.produces} <= set(names)
        assert spec.stride is None or spec.stride in names
        assert not (spec.control and (spec.consumes or spec.produces or spec.stride))
        assert spec.fields == (*spec.own, *spec.tail)
        told = [f.name for f in TAIL if f.name != "step" or spec.stride]
        assert [f.name for f in spec.tail] == ([] if spec.control or spec.has(FieldKind.WINDOW) else told)
    for kind, mnemonic in product(QueueKind, ("nop", "repeat", "sync", "notify", "halt")):
        assert kind in BY_MNEMONIC[mnemonic].kinds


def test_building_instructions() -> None:
    assert instruction("repeat", n=3) == instruction("repeat", n=3, gap=1, step=0)
    with pytest.raises(KeyError, match="read has no field 'x'"):
        instruction("read", a=0, d=E(0), x=1)
    with pytest.raises(KeyError, match="read needs field 'd'"):
        instruction("read", a=0)
    read = instruction("read", a=5, d=E(1))
    assert read.advanced(-2) == instruction("read", a=3, d=E(1))
    assert instruction("abc", s=E(0)).advanced(7) == instruction("abc", s=E(0))
    with pytest.raises(KeyError):
        read["s"]
    followed = read.followed_by(again=3, gap=2, step=1, wait=9)
    assert followed == instruction("read", a=5, d=E(1), again=3, gap=2, step=1, wait=9)
    assert followed.alone == read
    assert followed.followed_by(wait=9) == instruction("read", a=5, d=E(1), wait=9)
    with pytest.raises(KeyError, match="abc has no field 'step'"):
        instruction("abc", s=E(0), step=1)
    assert DEALT.followed_by(again=3) == DEALT == DEALT.alone
    assert dataclasses.replace(read) == read


@ALL
def test_every_instruction_has_a_queue_that_takes_it(config: ChipConfig) -> None:
    """But for those of chips for an ECP5, which have no products of int32 and no sums, and one of them what networks
    quantised to int8 need, and no more."""
    classes = {c for alu in config.alus for c in alu.classes}
    missing = {OpClass.INT, OpClass.IMUL} if config.name.startswith("ulx3s") else set()
    missing |= {OpClass.SPECIAL} if config is ULX3S16 else set()
    assert {spec.op_class for spec in INSTRUCTIONS if spec.op_class} - classes == missing


def test_both_directions_are_named_by_the_eastward_stream() -> None:
    codec, alu = encoding(LAB32), geometry(LAB32).by_name["vxm.alu0"]
    nano_alu = geometry(NANO).by_name["vxm.alu0"]
    for form, first in ((Format.BYTE_BOTH, 3), (Format.WORD_BOTH, 4)):
        inst = instruction("pass", x=IMMEDIATE, d=Operand(form, E(first)))
        assert codec.decode(codec.encode(inst, alu), alu) == inst
        planes = range(first, first + (4 if form is Format.WORD_BOTH else 1))
        assert inst.drives == tuple(Stream(direction, i) for direction in Direction for i in planes)
        with pytest.raises(EncodingError, match="not an operand of this kind"):
            codec.encode(instruction("pass", x=IMMEDIATE, d=Operand(form, Stream(Direction.WEST, first))), alu)
        with pytest.raises(EncodingError, match="not an operand of this kind"):
            codec.encode(instruction("pass", x=Operand(form, E(first))), alu)
        with pytest.raises(EncodingError, match="out of the unit's reach"):
            encoding(NANO).encode(instruction("pass", x=IMMEDIATE, d=Operand(form, E(4))), nano_alu)


def test_windows_lie_aligned_in_the_slice() -> None:
    codec, queue = encoding(NANO), geometry(NANO).by_name["mem_e0.read"]
    legal = set()
    for base, bits in product(range(64), range(7)):
        inst = instruction("gather", a=base, n=bits, m=E(0), d=E(1))
        try:
            assert codec.decode(codec.encode(inst, queue), queue) == inst
            legal.add((base, bits))
        except EncodingError:
            continue
    assert legal == {(base, bits) for bits in range(7) for base in range(0, 64, 1 << bits)}


def test_text_words_fill_whole_vectors() -> None:
    for config in PRESETS.values():
        for kind in QueueKind:
            codec = encoding(config)
            assert (codec.word_vectors(kind) - 1) * config.lanes * 8 < codec.word_bits(kind)
            assert codec.word_vectors(kind) * config.lanes * 8 >= codec.word_bits(kind)


def test_a_chip_brings_a_word_of_text_in_a_cycle() -> None:
    narrow = dataclasses.replace(NANO, lanes=2, streams=4, weight_streams=2)
    refused = r"'streams': 4 of 2 lanes bring 8 bytes a cycle, and an instruction of vxm\.alu0 has 9"
    with pytest.raises(ConfigError, match=refused):
        encoding(narrow)
