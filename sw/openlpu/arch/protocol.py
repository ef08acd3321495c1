# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""How a host and a chip talk over a wire that loses, repeats and changes bytes. Pure tables.

The bridge in the RTL, the driver and `docs/protocol.md` are all made from this one definition.

A message is a *frame*: its bytes stuffed by COBS (Cheshire and Baker, 1999), which leaves no zero in them, then a
zero. Whatever garbage came before, the byte after a zero begins a frame; two zeros in a row are nothing. Inside, a
request is `REQUEST_HEADER`, the fields of its command and perhaps data, then the CRC of all that; a reply is
`REPLY_HEADER`, the fields of the reply and perhaps data, and the CRC. Numbers are little-endian.

Requests are numbered, and a chip takes each number once and in order: it executes the request whose `sequence` it
expects, and then expects the next. Any other number, and any frame that is damaged, changes nothing and is answered
with the number that is expected. So a host that does not know what became of a request asks which number the chip
expects, and never repeats what was done. A host may send on without waiting for replies, as many bytes as
`Bridge.buffer_bytes` holds.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import geometry
from openlpu.arch.links import LINK_BITS

VERSION = 5
"""Of everything here, and of what instruction words mean. `IDENTIFY` and the beginning of its reply, up to the
version, stay as they are for ever."""
MAGIC = 0x55504C4F
"""The first number of the reply to `IDENTIFY`: the letters OLPU."""
CRC_BYTES = 4
"""CRC-32 as in Ethernet and zlib, over header, fields and data."""
DELIMITER = 0
"""The byte that ends a frame."""
COBS_BLOCK = 254
"""Bytes that one COBS code byte can stand before."""
MAX_DATA = 1024
"""Bytes of data in a frame, in either direction."""


@dataclass(frozen=True)
class Field:
    """An unsigned number of so many bytes."""

    name: str
    bytes: int
    meaning: str


REQUEST_HEADER = (
    Field("command", 1, "code of the command"),
    Field("sequence", 2, "number of the request, modulo 65,536"),
)
REPLY_HEADER = (
    Field("outcome", 1, "code of the outcome"),
    Field("sequence", 2, "of the request; after an outcome that consumed no number, the one that is expected"),
)


class Outcome(enum.IntEnum):
    """What became of a request. Only `DONE` did anything, and only its reply has fields and data.

    Of several errors it is the first in this order, but what is longer than any request is not tested for damage.
    """

    DONE = 0
    DAMAGED = 1
    """CRC or stuffing wrong, or fewer bytes than a header and a CRC. Consumed no number."""
    OVERFLOW = 2
    """Longer than any request, or the buffer was full: then one reply may stand for several. Consumed no number."""
    OUT_OF_ORDER = 3
    """Not the expected number, and not `IDENTIFY`. Consumed none."""
    UNKNOWN = 4
    """No such command."""
    MALFORMED = 5
    """Too short or too long for its command, no data where there must be some, or part of a word at the end."""
    OUT_OF_RANGE = 6
    """A slice, queue, link or address that the chip does not have, or a number that is not allowed."""
    BUSY = 7
    """Memories and text can be reached, and a run can begin, only while the chip is halted."""

    @property
    def consumes_number(self) -> bool:
        """The request was the expected one: the next number is expected now."""
        return self not in (Outcome.DAMAGED, Outcome.OVERFLOW, Outcome.OUT_OF_ORDER)


class Data(enum.Enum):
    """What follows the fields."""

    NONE = "nothing"
    WORDS = "at least one SRAM word, byte i of a word is lane i"
    TEXT = "at least one instruction word, each in as many bytes as the longest on the chip needs"


@dataclass(frozen=True)
class Command:
    """One request, and the reply to it if it was done."""

    name: str
    code: int
    does: str
    fields: tuple[Field, ...] = ()
    data: Data = Data.NONE
    reply_fields: tuple[Field, ...] = ()
    reply_data: Data = Data.NONE
    while_running: bool = False
    """Answered during a run, too."""


_SLICE = Field("slice", 2, "number of the MEM slice")
_QUEUE = Field("queue", 2, "number of the instruction queue")
_ADDRESS = Field("address", 2, "of the first word")

IDENTIFY = Command(
    "identify",
    1,
    "Says what chip this is. Whatever its number, the chip expects the next one from then on.",
    reply_fields=(
        Field("magic", 4, f"0x{MAGIC:08X}"),
        Field("version", 1, "of the protocol"),
        Field("digest", 8, "of the chip's config, as a number"),
        Field("clock_khz", 4, "the chip's clock"),
        Field("buffer_bytes", 2, "stuffed bytes of unanswered requests that the bridge can hold"),
    ),
    while_running=True,
)
WRITE_MEMORY = Command(
    "write_memory", 2, "Writes consecutive words of a MEM slice.", fields=(_SLICE, _ADDRESS), data=Data.WORDS
)
READ_MEMORY = Command(
    "read_memory",
    3,
    f"Reads consecutive words of a MEM slice, at least one and no more than {MAX_DATA:,} bytes hold.",
    fields=(_SLICE, _ADDRESS, Field("count", 2, "words")),
    reply_data=Data.WORDS,
)
WRITE_TEXT = Command(
    "write_text", 4, "Writes consecutive words of a queue's text.", fields=(_QUEUE, _ADDRESS), data=Data.TEXT
)
RUN = Command(
    "run",
    5,
    "Starts the program, to run `count` times in a row; after a run with a fault there is no further one. The reply "
    "does not wait for the end.",
    fields=(Field("count", 4, "runs, at least one"),),
)
STATUS = Command(
    "status",
    6,
    "Tells of the runs that are going on, or else of the last ones.",
    reply_fields=(
        Field("running", 1, "1 from the start until, after the last run, nothing is in flight any more"),
        Field("fault", 1, "1 if something went wrong"),
        Field("fault_illegal", 1, "1 for an illegal word, 0 for an operand without a value"),
        Field("fault_queue", 2, "number of the queue that faulted first"),
        Field("fault_cycle", 4, "cycle of that fault, from cycle 0 of the first run"),
        Field("faults", 4, "cycles with faults"),
        Field("cycles", 4, "from cycle 0 of the first run to the end of the last, final when nothing runs any more"),
        Field("corrected", 4, "vectors with a single wrong bit since the reset, over all queues"),
        Field("uncorrectable", 4, "vectors with two wrong bits since the reset, over all queues"),
    ),
    while_running=True,
)
ECC = Command(
    "ecc",
    7,
    "Counts of wrong vectors that one queue's unit consumed, or the host, since the reset.",
    fields=(
        Field("queue", 2, "number of the instruction queue; the one after the last stands for what the host read"),
    ),
    reply_fields=(
        Field("corrected", 4, "with a single wrong bit, which was corrected"),
        Field("uncorrectable", 4, "with two"),
    ),
    while_running=True,
)
RESET = Command(
    "reset",
    8,
    "Stops a run and clears status and counts. Memories and text keep what they hold. Links are brought up anew, as "
    "soon as the chips at their other ends are reset, too.",
    while_running=True,
)
PLACE = Command(
    "place",
    9,
    "Says what this chip is in its system, until the next `place`, and then does what `reset` does.",
    fields=(
        Field("chip", 2, "its number; the time of chip 0 is everybody's"),
        Field("parent", 2, "number of its link towards chip 0; of chip 0 it says nothing"),
        Field("children", 2, "its links to chips whose parent it is: bit k for link k"),
    ),
)
LINK = Command(
    "link",
    10,
    "Tells how this end of a link is, and the chip's time.",
    fields=(Field("link", 2, "number of the link"),),
    reply_fields=(
        Field("hears", 1, "1 if this end knows where the other end's flits begin, and they still come"),
        Field("up", 1, "1 if so does the other end, and flits come and go"),
        Field(
            "peer", 2, f"who sends them: number of its link in the lowest {LINK_BITS} bits, above it that of the chip"
        ),
        Field("delay", 2, "of these flits, in cycles, once both chips are aligned"),
        Field("corrected", 4, "flits with a single wrong bit since the reset"),
        Field("uncorrectable", 4, "flits with more since the reset"),
        Field("fault", 1, "1 if since the start a flit was uncorrectable, a vector had no room, or no flits came"),
        Field("fault_cycle", 4, "cycle of the program in which the first of these was found"),
        Field("aligned", 1, "1 if the chip's time is that of its parent: before that, no run begins"),
        Field("missed", 1, "1 if the chip has fallen behind the others since the start"),
        Field("chip", 2, "number of the chip, as `place` has it"),
    ),
    while_running=True,
)

CHIP_COMMANDS = (IDENTIFY, WRITE_MEMORY, READ_MEMORY, WRITE_TEXT, RUN, STATUS, ECC, RESET)
"""Those that every chip knows."""
LINK_COMMANDS = (PLACE, LINK)
"""Those that a chip with links knows besides."""
COMMANDS = CHIP_COMMANDS + LINK_COMMANDS


def commands(config: ChipConfig) -> tuple[Command, ...]:
    """Those that a chip knows; any other is `UNKNOWN` to it."""
    return COMMANDS if config.c2c_links else CHIP_COMMANDS


def size(fields: tuple[Field, ...]) -> int:
    """Bytes of consecutive fields."""
    return sum(field.bytes for field in fields)


def text_word_bytes(config: ChipConfig) -> int:
    """Bytes of an instruction word on the wire: the same for every queue of a chip."""
    chip = geometry(config)
    return -(-max(encoding(config).word_bits(queue.kind) for queue in chip.queues) // 8)


def word_bytes(config: ChipConfig, data: Data) -> int:
    """Bytes of one word of data; 0 where there is none."""
    return {Data.NONE: 0, Data.WORDS: config.lanes, Data.TEXT: text_word_bytes(config)}[data]


def max_request_bytes() -> int:
    """The longest request, with its CRC and before stuffing."""
    return max(_frame_bytes(REQUEST_HEADER, command.fields, command.data) for command in COMMANDS)


def max_reply_bytes() -> int:
    """The longest reply, with its CRC and before stuffing."""
    return max(_frame_bytes(REPLY_HEADER, command.reply_fields, command.reply_data) for command in COMMANDS)


def _frame_bytes(header: tuple[Field, ...], fields: tuple[Field, ...], data: Data) -> int:
    return size(header) + size(fields) + (0 if data is Data.NONE else MAX_DATA) + CRC_BYTES


def stuffed_bytes(length: int) -> int:
    """Bytes on the wire of a frame of `length` bytes, its delimiter included, at most."""
    return length + length // COBS_BLOCK + 2


BUFFER_BYTES = 4096
"""What a bridge buffers of requests: a host keeps the stuffed bytes of unanswered ones below it."""
