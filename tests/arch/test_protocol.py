# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The protocol's tables, and the page that is made from them."""

import re
import zlib

import pytest
from cobs import cobs

from openlpu.arch import protocol
from openlpu.arch.presets import LAB32, NANO, ULX3S
from openlpu.arch.protocol import COMMANDS, Data, Outcome
from openlpu.arch.protocol_page import protocol_page

PAGE = protocol_page()


def rows(heading: str) -> list[list[str]]:
    """The cells of all tables of a chapter or section."""
    text = re.split(rf"^##+ {heading}\n", PAGE, flags=re.MULTILINE)[1]
    text = re.split(r"^##", text, flags=re.MULTILINE)[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")
    ]


def test_codes_and_names_are_used_once() -> None:
    assert len({command.code for command in COMMANDS}) == len({command.name for command in COMMANDS}) == len(COMMANDS)
    for command in COMMANDS:
        assert 0 < command.code < 256
        for fields in (command.fields, command.reply_fields):
            assert len({field.name for field in fields}) == len(fields)


def test_lengths_by_hand() -> None:
    assert protocol.max_request_bytes() == 3 + 4 + 1024 + 4
    assert protocol.max_reply_bytes() == 3 + 1024 + 4
    # The longest instruction of an ALU has 72 bits on nano, and some more on lab32.
    assert [protocol.text_word_bytes(config) for config in (NANO, ULX3S, LAB32)] == [9, 9, 10]
    assert [protocol.word_bytes(ULX3S, data) for data in Data] == [0, 16, 9]


@pytest.mark.parametrize("length", [1, 253, 254, 255, 508, 509, 1035])
def test_stuffing_is_never_longer_than_said(length: int) -> None:
    for fill in (b"\0", b"\1"):
        assert len(cobs.encode(fill * length)) + 1 <= protocol.stuffed_bytes(length)


def test_which_outcomes_consume() -> None:
    assert [outcome.name for outcome in Outcome if not outcome.consumes_number] == [
        "DAMAGED",
        "OVERFLOW",
        "OUT_OF_ORDER",
    ]


def test_the_examples_are_frames() -> None:
    """Decoded with other people's code."""
    sealed = [bytes.fromhex(each) for each in re.findall(r"^    message and CRC: (.*)$", PAGE, re.MULTILINE)]
    wires = [bytes.fromhex(each) for each in re.findall(r"^    on the wire: (.*)$", PAGE, re.MULTILINE)]
    assert [each[:-4] for each in sealed] == [b"\1\0\0", b"\0\2\1"]
    for message, wire in zip(sealed, wires, strict=True):
        assert zlib.crc32(message[:-4]) == int.from_bytes(message[-4:], "little")
        assert wire.endswith(b"\0")
        assert cobs.decode(wire[:-1]) == message


def test_every_command_and_outcome_is_on_the_page() -> None:
    assert [row[:2] for row in rows("Outcomes")[2:]] == [[str(o.value), f"`{o.name.lower()}`"] for o in Outcome]
    assert len(rows("Commands")) == len(COMMANDS) + 2
    for command in COMMANDS:
        names = [row[2] for row in rows(command.name) if len(row) == 4]
        for field in (*command.fields, *command.reply_fields):
            assert f"`{field.name}`" in names


def test_offsets_by_hand() -> None:
    offsets = {row[2]: row[:2] for row in rows("status")}
    assert offsets["`fault_queue`"] == ["6", "2"]
    assert offsets["`uncorrectable`"] == ["24", "4"]
    assert [row[:3] for row in rows("write_text")][-3:] == [
        ["3", "2", "`queue`"],
        ["5", "2", "`address`"],
        ["7", "the rest", "data"],
    ]


def test_links_lead_to_sections() -> None:
    headings = re.findall(r"^###? (\S+)$", PAGE, re.MULTILINE)
    assert set(re.findall(r"\(#(\w+)\)", PAGE)) <= set(headings)
