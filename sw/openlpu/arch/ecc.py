# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The code that protects vectors: what SRAM and streams hold beside the data, and what is made of a wrong word.

SECDED in words of 16 lanes, as on the GroqChip: 9 check bits for 128 bits of data. A single wrong bit of a word is
corrected, two are detected. The code is Hsiao's ("A class of optimal minimum odd-weight-column SEC-DED codes", 1970):
every column of the parity-check matrix has an odd number of ones, so one wrong bit gives a syndrome of odd weight, and
two give one of even weight that is not 0.

Encoder and corrector in the RTL are made from the same tables; `encode` and `decode` here are what tests hold against
them.
"""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass
from itertools import combinations

from openlpu.arch.config import ChipConfig

WORD_LANES = 16
"""Lanes of a vector that share check bits; the last word of a vector may have fewer."""


class Verdict(enum.IntEnum):
    """What is known of a word or vector, from good to bad."""

    INTACT = 0
    CORRECTED = 1
    """It had a wrong bit, and has none any more."""
    UNCORRECTABLE = 2
    """It has two wrong bits, or another number of them that the code tells from one."""


@dataclass(frozen=True)
class SecDed:
    """The code of words with `data_bits`. A code word holds the data, and above it the check bits."""

    data_bits: int

    @functools.cached_property
    def check_bits(self) -> int:
        """The fewest that leave enough columns of odd weight above 1 (those of weight 1 belong to the check bits)."""
        return next(bits for bits in range(3, self.data_bits + 4) if (1 << bits - 1) - bits >= self.data_bits)

    @functools.cached_property
    def columns(self) -> tuple[int, ...]:
        """For each bit of the code word, the check bits that it is part of: its syndrome when it is wrong.

        As light as can be, and spread evenly over the check bits, so that their XOR trees are small and equally deep.
        """
        rows = range(self.check_bits)
        chosen: list[tuple[int, ...]] = []
        for weight in range(3, self.check_bits + 1, 2):
            candidates = list(combinations(rows, weight))
            while candidates and len(chosen) < self.data_bits:
                load = [sum(row in column for column in chosen) for row in rows]
                lightest = min(candidates, key=lambda column: sorted((load[row] for row in column), reverse=True))
                candidates.remove(lightest)
                chosen.append(lightest)
        return (*(sum(1 << row for row in column) for column in chosen), *(1 << row for row in rows))

    @functools.cached_property
    def rows(self) -> tuple[int, ...]:
        """For each check bit, the data bits that it is the parity of, as a mask."""
        data = self.columns[: self.data_bits]
        return tuple(
            sum((column >> row & 1) << bit for bit, column in enumerate(data)) for row in range(self.check_bits)
        )

    def encode(self, data: int) -> int:
        """The code word of data."""
        check = sum(((data & row).bit_count() & 1) << place for place, row in enumerate(self.rows))
        return data | check << self.data_bits

    def decode(self, word: int) -> tuple[int, Verdict]:
        """The code word that was meant, as far as that can be told, and the verdict."""
        syndrome = (word ^ self.encode(_bits(word, 0, self.data_bits))) >> self.data_bits
        if syndrome == 0:
            return word, Verdict.INTACT
        if syndrome in self.columns:
            return word ^ 1 << self.columns.index(syndrome), Verdict.CORRECTED
        return word, Verdict.UNCORRECTABLE


@dataclass(frozen=True)
class Word:
    """Where a code word of a vector lies: its first data bit, and the first of its check bits."""

    data: int
    check: int
    code: SecDed


class VectorCode:
    """How the vectors of a chip are stored: lane i in byte i, above them the check bits of each word in turn.

    Without ECC there are no words, and nothing above the lanes. Use `vector_code(config)`.
    """

    def __init__(self, config: ChipConfig) -> None:
        self.data_bits = self.bits = 8 * config.lanes
        """`bits` counts the check bits, too: of an SRAM word, and of a stream register."""
        words = []
        for data in range(0, self.data_bits if config.ecc else 0, 8 * WORD_LANES):
            code = SecDed(min(8 * WORD_LANES, self.data_bits - data))
            words.append(Word(data, self.bits, code))
            self.bits += code.check_bits
        self.words = tuple(words)
        """Lane 0 first."""
        self.check_bits = self.bits - self.data_bits

    def encode(self, vector: int) -> int:
        """A vector with its check bits."""
        stored = vector
        for word in self.words:
            stored |= (
                word.code.encode(_bits(vector, word.data, word.code.data_bits)) >> word.code.data_bits << word.check
            )
        return stored

    def decode(self, stored: int) -> tuple[int, Verdict]:
        """The vector with its check bits as they were meant, and the worst verdict on its words."""
        worst = Verdict.INTACT
        for word in self.words:
            size = word.code.data_bits
            found = _bits(stored, word.data, size) | _bits(stored, word.check, word.code.check_bits) << size
            meant, verdict = word.code.decode(found)
            wrong = found ^ meant
            stored ^= _bits(wrong, 0, size) << word.data | wrong >> size << word.check
            worst = max(worst, verdict)
        return stored, worst


@functools.cache
def vector_code(config: ChipConfig) -> VectorCode:
    """The code of a chip's vectors, computed once per config."""
    return VectorCode(config)


def _bits(value: int, first: int, count: int) -> int:
    return value >> first & (1 << count) - 1
