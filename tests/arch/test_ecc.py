# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The code of vectors: its properties, counted out where they can be."""

import dataclasses
import random
from itertools import combinations

import pytest

from openlpu.arch.ecc import SecDed, Verdict, vector_code
from openlpu.arch.presets import NANO

WIDTHS = (8, 16, 24, 32, 40, 64, 112, 120, 128)


@pytest.mark.parametrize(
    ("data", "check"),
    # The widths of the shortest odd-weight-column codes, from Hsiao's paper, and the (137, 128) code of the GroqChip.
    [(8, 5), (16, 6), (32, 7), (64, 8), (128, 9)],
)
def test_check_bits_are_as_few_as_published(data: int, check: int) -> None:
    assert SecDed(data).check_bits == check


@pytest.mark.parametrize("width", WIDTHS)
def test_columns_differ_and_have_odd_weight(width: int) -> None:
    code = SecDed(width)
    assert len(set(code.columns)) == len(code.columns) == width + code.check_bits
    assert all(column.bit_count() % 2 for column in code.columns)


@pytest.mark.parametrize("width", WIDTHS)
def test_check_bits_are_parities_of_as_many_bits(width: int) -> None:
    weights = [row.bit_count() for row in SecDed(width).rows]
    assert max(weights) - min(weights) <= 2


@pytest.mark.parametrize("width", WIDTHS)
def test_one_wrong_bit_is_corrected_and_two_are_detected(width: int) -> None:
    code = SecDed(width)
    bits = range(width + code.check_bits)
    for data in (0, (1 << width) - 1, random.Random(width).getrandbits(width)):
        word = code.encode(data)
        assert word & (1 << width) - 1 == data
        assert code.decode(word) == (word, Verdict.INTACT)
        for bit in bits:
            assert code.decode(word ^ 1 << bit) == (word, Verdict.CORRECTED)
    for a, b in combinations(bits, 2):
        wrong = word ^ 1 << a ^ 1 << b
        assert code.decode(wrong) == (wrong, Verdict.UNCORRECTABLE)


@pytest.mark.parametrize("lanes", [2, 4, 16, 17, 20, 48])
def test_a_vector_is_as_good_as_its_worst_word(lanes: int) -> None:
    code = vector_code(dataclasses.replace(NANO, lanes=lanes, weight_streams=1, ecc=True))
    rng = random.Random(lanes)
    vector = rng.getrandbits(8 * lanes)
    stored = code.encode(vector)
    assert code.bits == code.data_bits + code.check_bits == 8 * lanes + sum(w.code.check_bits for w in code.words)
    assert stored & (1 << 8 * lanes) - 1 == vector
    assert code.decode(stored) == (stored, Verdict.INTACT)
    for bit in range(code.bits):
        assert code.decode(stored ^ 1 << bit) == (stored, Verdict.CORRECTED)
    one_each = sum(1 << word.check for word in code.words)
    assert code.decode(stored ^ one_each) == (stored, Verdict.CORRECTED)
    last = code.words[-1]
    lost = 1 << last.data ^ 1 << last.check
    others = one_each ^ 1 << last.check
    assert code.decode(stored ^ lost ^ others) == (stored ^ lost, Verdict.UNCORRECTABLE)


def test_a_vector_of_zeros_has_check_bits_of_zeros() -> None:
    """A MEM slice makes such vectors without an encoder."""
    assert vector_code(dataclasses.replace(NANO, ecc=True)).encode(0) == 0


def test_without_ecc_a_vector_is_stored_as_it_is() -> None:
    code = vector_code(NANO)
    assert (code.bits, code.check_bits, code.words) == (8 * NANO.lanes, 0, ())
    assert code.encode(0x1234) == 0x1234
    assert code.decode(0x1234) == (0x1234, Verdict.INTACT)
