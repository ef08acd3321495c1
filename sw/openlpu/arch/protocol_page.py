# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The page on the protocol between host and chip, from its tables."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from openlpu.arch import protocol
from openlpu.arch.pages import banner, docstrings, page, prose, table
from openlpu.arch.presets import PRESETS
from openlpu.arch.protocol import COMMANDS, LINK_COMMANDS, Command, Data, Field, Outcome


def protocol_page() -> str:
    """`docs/protocol.md`."""
    longest_request, longest_reply = protocol.max_request_bytes(), protocol.max_reply_bytes()
    parts = [
        "# Host protocol",
        banner("sw/openlpu/arch/protocol.py"),
        prose(
            f"""A host reaches a chip through its bridge, over any wire that carries bytes: a serial line on a board (8
            bits, no parity, one stop bit), a pipe to a simulation. The wire may lose, repeat and change bytes; a
            request is done once or not at all, and the host knows which. This page is version {protocol.VERSION}. The
            tables are in `sw/openlpu/arch/protocol.py`, and bridge and driver take every code, offset and width from
            there. All numbers are unsigned and little-endian."""
        ),
        "## Frames",
        prose(
            f"""A message is a request or a reply: header, fields, perhaps data. It is followed by its CRC of
            {protocol.CRC_BYTES} bytes, the CRC-32 of Ethernet and zlib over everything before it. The whole is stuffed
            by COBS (consistent overhead byte stuffing, Cheshire and Baker, 1999), which leaves no zero in it, and ended
            by a zero."""
        ),
        prose(
            f"""Stuffing cuts the bytes at every zero, drops the zeros, and puts before each piece a code: its length
            plus 1. A piece of {protocol.COBS_BLOCK} bytes has the code {protocol.COBS_BLOCK + 1}, and no zero stood
            behind it. Whatever garbage came before, the byte after a zero begins a frame. Zeros in a row are nothing,
            so a host may send one to end what the line may have begun by itself."""
        ),
        "The request `identify` with number 0, and the reply to a `reset` with number 258:",
        "\n".join(
            [
                _example("message and CRC", _sealed(_header(protocol.IDENTIFY.code, 0))),
                _example("on the wire", _framed(_header(protocol.IDENTIFY.code, 0))),
                "",
                _example("message and CRC", _sealed(_header(Outcome.DONE, 258))),
                _example("on the wire", _framed(_header(Outcome.DONE, 258))),
            ]
        ),
        prose(
            f"""With its CRC, and before stuffing, a request has at most {longest_request:,} bytes and a reply
            {longest_reply:,}; stuffing adds one byte in {protocol.COBS_BLOCK} at most, and one. Either holds up to
            {protocol.MAX_DATA:,} bytes of data."""
        ),
        "Every request begins with",
        _fields(protocol.REQUEST_HEADER),
        "and every reply with",
        _fields(protocol.REPLY_HEADER),
        "## Numbers",
        prose(
            """A chip takes each number once and in order: it executes the request whose number it expects, and expects
            the next one from then on, whether the request could be done or not. Any other number changes nothing; nor
            does a frame that is damaged, or finds no room. These are answered with the number that is expected.
            `identify` is the exception: it is answered whatever its number is, and the number after it is expected
            then. After a reset of the hardware 0 is expected; the command `reset` leaves the numbers alone."""
        ),
        prose(
            f"""Requests are executed, and replies come, in the order of the frames. A host need not wait for replies:
            the bridge buffers requests, up to {protocol.BUFFER_BYTES - 1:,} stuffed bytes, delimiters included, of
            those that are not answered yet. It says in `identify` how many it has; a host stays below that."""
        ),
        "## Outcomes",
        prose(
            """Of several errors the first of this table is told, except that what is longer than any request is not
            tested for damage. Everything is tested before anything is done: a request that is not done has changed
            nothing but the number."""
        ),
        table(
            ["code", "outcome", "when", "its number"],
            (
                [
                    outcome.value,
                    f"`{outcome.name.lower()}`",
                    _meaning(outcome),
                    "consumed" if outcome.consumes_number else "not consumed: the reply has the expected one",
                ]
                for outcome in Outcome
            ),
        ),
        "## Commands",
        prose(
            """Offsets count the bytes of a message. A reply has the fields and data shown only if its outcome is
            `done`; otherwise it is a header and nothing else."""
        ),
        table(
            ["code", "command", "known to", "while a program runs"],
            (
                [
                    command.code,
                    f"[`{command.name}`](#{command.name})",
                    "chips with links" if command in LINK_COMMANDS else "every chip",
                    "done" if command.while_running else f"`{Outcome.BUSY.name.lower()}`",
                ]
                for command in COMMANDS
            ),
        ),
        *(part for command in COMMANDS for part in _command(command)),
        "## Words",
        prose(
            """How long a word is depends on the chip. Slices and queues are numbered in the order of the manifest that
            `lpu generate` writes. Bits above an instruction word are not looked at."""
        ),
        table(
            ["", *PRESETS],
            [
                ["bytes of an SRAM word", *(protocol.word_bytes(chip, Data.WORDS) for chip in PRESETS.values())],
                ["bytes of an instruction word", *(protocol.text_word_bytes(chip) for chip in PRESETS.values())],
                ["SRAM words in a frame, at most", *(_most_words(Data.WORDS))],
                ["instruction words in a frame, at most", *(_most_words(Data.TEXT))],
            ],
        ),
        "## How a host recovers",
        "\n".join(f"{number}. {prose(step)}" for number, step in enumerate(_RECOVERY, 1)),
    ]
    return page(parts)


_RECOVERY = (
    """To begin, send a zero, which ends what may stand on the line, and `identify`; drop what comes before its reply.
    The digest says what chip this is, the number where to go on. When no reply comes, try again.""",
    """Give requests consecutive numbers, and keep each until the chip has taken it. A reply with an outcome that
    consumes says that its request is taken, and all before it; any other, that all before the number in it are.""",
    """After `damaged` or `overflow`, or when no reply comes in time, send a zero, and again the requests that may not
    have been taken, from the first one on, with the numbers they had. What the chip had taken after all is answered
    with `out_of_order`, does nothing, and tells how far it has come.""",
    """A request that was taken, but whose reply is lost, is not done again. Ask once more, with a new number, for what
    only reads; of anything else a read of memory, or `status`, tells what became of it.""",
    """When a number is expected that no request had, the chip was reset, or somebody else talks to it: begin again.""",
)


def _command(command: Command) -> list[str]:
    request = (*protocol.REQUEST_HEADER, *command.fields)
    reply = (*protocol.REPLY_HEADER, *command.reply_fields)
    parts = [f"### {command.name}", command.does]
    if command.fields or command.data is not Data.NONE:
        parts += ["Request:", _fields(request, command.data)]
    if command.reply_fields or command.reply_data is not Data.NONE:
        parts += ["Reply:", _fields(reply, command.reply_data)]
    return parts


def _fields(fields: Sequence[Field], data: Data = Data.NONE) -> str:
    rows: list[list[object]] = []
    offset = 0
    for field in fields:
        rows.append([offset, field.bytes, f"`{field.name}`", field.meaning])
        offset += field.bytes
    if data is not Data.NONE:
        rows.append([offset, "the rest", "data", data.value])
    return table(["offset", "bytes", "field", "meaning"], rows)


def _meaning(outcome: Outcome) -> str:
    return docstrings(Outcome)[outcome.name].split(" Consumed")[0] or "It was done."


def _most_words(data: Data) -> list[int]:
    return [protocol.MAX_DATA // protocol.word_bytes(chip, data) for chip in PRESETS.values()]


# --- examples ---


def _header(code: int, sequence: int) -> bytes:
    return bytes((code,)) + sequence.to_bytes(2, "little")


def _sealed(message: bytes) -> bytes:
    return message + zlib.crc32(message).to_bytes(protocol.CRC_BYTES, "little")


def _framed(message: bytes) -> bytes:
    """A short message on the wire: none of its pieces is as long as a block."""
    pieces = _sealed(message).split(b"\0")
    return b"".join(bytes((len(piece) + 1,)) + piece for piece in pieces) + bytes((protocol.DELIMITER,))


def _example(title: str, data: bytes) -> str:
    return f"    {title + ':':<17}{data.hex(' ').upper()}"
