# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Chip-to-chip links: what a flit is, and how many cycles the ends of a link take. `docs/decisions/0026-links.md`.

A link sends flits without a gap, each as long as the other, so no bit error can shift what comes behind it. A flit is a
header and room for a vector; SECDED protects both in words, as SRAM and streams are protected. The header is the
background channel, which needs no flit of its own: alignment counters as on the GroqChip (Abts et al., "A
software-defined tensor streaming multiprocessor for large-scale machine learning", ISCA 2022), and, so that neither end
must know how long the wire is, what NTP and IEEE 1588 exchange to find out.
"""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass

from openlpu.arch.config import ChipConfig
from openlpu.arch.ecc import WORD_LANES, SecDed, Verdict

HAC_BITS = 10
"""Of a hardware alignment counter: an epoch is 1,024 cycles of the wire clock."""
LINK_BITS = 4
CHIP_BITS = HAC_BITS - LINK_BITS
"""Of the numbers that a link end tells its peer: of the link (lowest bits) and of the chip."""
DESKEW_DEPTH = 16
"""Vectors that a deskew buffer holds: a power of two."""
LOCK_FRAMES = 8
"""Training frames in a row, each where it is expected, that make a receiver believe it knows where flits begin."""
SETTLE_FRAMES = 4
"""Frames in a row of another kind that make an end believe that its peer has gone on."""

RECEIVED = 8
"""From the last beat of a flit, as it leaves, to the vector beside the deskew buffer, without the wire: half a cycle to
the edge of the forwarded clock, two registers of that clock's domain, up to four edges to cross into the wire clock,
one more if the first is metastable, the corrector, and what is left of the cycle in which it leaves."""
RECEIVED_LEAST = 5
"""The same, where every edge comes as soon as it can."""


class Word(enum.IntEnum):
    """What the word in a flit's header is. Flits take turns in the order of `TURNS`."""

    STAMP = 0
    """The sender's alignment counter as the flit was put together."""
    DELAY = 1
    """By how much the sender's counter was ahead of the stamp in the flit that came last: the delay of the link in the
    other direction, if the counters are aligned."""
    IDENTITY = 2
    """Who sends: number of the link, and above it number of the chip."""


TURNS = (Word.STAMP, Word.DELAY, Word.STAMP, Word.IDENTITY)
KIND_BITS = 2

HEADER = (("valid", 1), ("ready", 1), ("go", 1), ("kind", KIND_BITS), ("word", HAC_BITS))
"""The fields of a flit before its vector, lowest first, and their bits.

`valid`: there is a vector. `ready`: the chip and those behind it in the tree want to start. `go`: all start when the
epoch ends. `kind` and `word`: one of `Word`."""
HEADER_BITS = sum(bits for _, bits in HEADER)


@dataclass(frozen=True)
class CodeWord:
    """Where a code word lies: first bit in the payload, first bit in the flit."""

    payload: int
    flit: int
    code: SecDed


class FlitFormat:
    """The flits of a chip's links. Use `flit_format(config)`.

    The payload is header and vector; the flit is code word after code word, each its data and then its check bits; the
    beats are the flit, lowest bits first, `c2c_width` of them in each cycle of the sender's wire clock.
    """

    def __init__(self, config: ChipConfig) -> None:
        self.width = config.c2c_width
        self.vector_bits = 8 * config.lanes
        self.payload_bits = HEADER_BITS + self.vector_bits
        words, self.bits = [], 0
        for first in range(0, self.payload_bits, 8 * WORD_LANES):
            code = SecDed(min(8 * WORD_LANES, self.payload_bits - first))
            words.append(CodeWord(first, self.bits, code))
            self.bits += code.data_bits + code.check_bits
        self.words = tuple(words)
        self.beats = -(-self.bits // self.width)
        """Cycles that a flit lasts."""

    def training(self, locked: bool) -> int:
        """The frame that an end sends before its first flit: ones in the first beat, and in the second if it has
        `locked` onto its peer's."""
        return (1 << self.width * (2 if locked else 1)) - 1

    def encode(self, payload: int) -> int:
        """The flit of a payload."""
        flit = 0
        for word in self.words:
            data = payload >> word.payload & (1 << word.code.data_bits) - 1
            flit |= word.code.encode(data) << word.flit
        return flit

    def decode(self, flit: int) -> tuple[int, Verdict]:
        """The payload that was meant, as far as that can be told, and the worst verdict on its words."""
        payload, worst = 0, Verdict.INTACT
        for word in self.words:
            size = word.code.data_bits + word.code.check_bits
            meant, verdict = word.code.decode(flit >> word.flit & (1 << size) - 1)
            payload |= (meant & (1 << word.code.data_bits) - 1) << word.payload
            worst = max(worst, verdict)
        return payload, worst

    @property
    def longest_delay(self) -> int:
        """The most that a stamp may be behind the receiver's counter, without the wire."""
        return self.beats + RECEIVED

    @property
    def shortest_delay(self) -> int:
        """The least, if the counters are aligned."""
        return self.beats + RECEIVED_LEAST


@functools.cache
def flit_format(config: ChipConfig) -> FlitFormat:
    """The flits of a chip's links, computed once per config."""
    return FlitFormat(config)
