# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What the sweeps of units rely on: operands that meet every case, and a measure that sees every kind of error."""

import numpy as np
import pytest

from openlpu.arch import numerics
from openlpu.arch.numerics import Words
from openlpu.verif.unit_operands import mantissas, random_pairs, special_pairs, special_patterns
from openlpu.verif.unit_reference import OPERATIONS, special_errors

SEED = 20261125
COUNT = 1 << 17
ENOUGH = COUNT // 200

ONE, TWO, INFINITY, LARGEST, SMALLEST = 0x3F80_0000, 0x4000_0000, 0x7F80_0000, 0x7F7F_FFFF, 0x0080_0000
NEGATIVE = 1 << 31


def words(*patterns: int) -> Words:
    return np.array(patterns, np.uint32).view(np.int32)


def floats(bits: Words) -> np.ndarray:
    with np.errstate(all="ignore"):
        return bits.view(np.float32).astype(np.float64)


def test_random_pairs_meet_what_they_are_drawn_for() -> None:
    x, y = random_pairs(np.random.default_rng(SEED), COUNT)
    assert len(x) == len(y) == COUNT
    with np.errstate(all="ignore"):
        a, b = floats(x), floats(y)
        total, product = a + b, a * b
        normal = np.isfinite(a) & np.isfinite(b) & (np.minimum(np.abs(a), np.abs(b)) >= 2.0**-126)
        lost = np.abs(total) / np.maximum(np.abs(a), np.abs(b))
        remainder = np.abs(total - total.astype(np.float32)) / np.spacing(np.abs(total).astype(np.float32))
        size = np.abs(product)
        power = np.abs(np.frexp(size)[0] - 1) < 2.0**-23
        events = {
            "cancellation": normal & (lost < 2.0**-10),
            "an exact zero": normal & (total == 0),
            "a tie": normal & (remainder == 0.5),
            "a sum below the normal range": normal & (np.abs(total) < 2.0**-126) & (total != 0),
            "a sum beyond it": normal & (np.abs(total) >= 2.0**128),
            "a product near the smallest": normal & (size > 2.0**-128) & (size < 2.0**-125),
            "a product near the largest": normal & (size > 2.0**126) & (size < 2.0**129),
            "a product just below a power of two": normal & power,
            "equal integers": x == y,
            "an overflowing integer": np.abs(x.astype(np.int64) + y) >= 2**31,
            "halves": normal & (np.abs(a) < 2.0**22) & (a * 2 == np.rint(a * 2)) & (a != np.rint(a)),
            "beyond int32": normal & (np.abs(a) > 2.0**30) & (np.abs(a) < 2.0**33),
        }
    scarce = {event: int(np.count_nonzero(met)) for event, met in events.items() if np.count_nonzero(met) < ENOUGH}
    assert scarce == {}, f"seed {SEED}"


def test_special_patterns_are_all_there_once() -> None:
    patterns = special_patterns().view(np.uint32)
    assert len(set(patterns.tolist())) == len(patterns)
    for magnitude in (0, 1, 0x7F_FFFF, SMALLEST, SMALLEST + 1, ONE - 1, ONE, ONE + 1, LARGEST, INFINITY, 0x7FC0_0000):
        assert {magnitude, magnitude | NEGATIVE} <= set(patterns.tolist())
    x, y = special_pairs([127])
    pairs = set(zip(x.tolist(), y.tolist(), strict=True))
    assert len(pairs) == len(x) == len(special_patterns([127])) ** 2


def test_mantissas_are_those_of_one_exponent() -> None:
    assert len(mantissas(127)) == 1 << 23
    assert mantissas(127, step=1 << 22, first=3).tolist() == [ONE + 3, ONE + 3 + (1 << 22)]
    assert np.all(np.diff(mantissas(200, negative=True).view(np.uint32)) == 1)


@pytest.mark.parametrize(("x", "y"), [(0x842108, 0xF80000), (0x868A84, 0xF38DCA), (0x800001, 0xFFFFFE)])
def test_products_around_the_smallest_number(x: int, y: int) -> None:
    """Where IEEE-754 and the VXM round differently: the reference follows the VXM."""
    a, b = words(64 << 23 | x & 0x7F_FFFF), words(63 << 23 | y & 0x7F_FFFF)
    np.testing.assert_array_equal(OPERATIONS["fmul"](a, b), numerics.fp32_mul(a, b))


@pytest.mark.parametrize(
    ("function", "argument", "result", "low", "high"),
    [
        pytest.param("recip", TWO, 0x3F00_0000, 0, 0, id="exact"),
        pytest.param("recip", TWO, 0x3F00_0002, 2, 2, id="two units"),
        pytest.param("recip", TWO, 0x3F00_0000 | NEGATIVE, np.inf, np.inf, id="wrong sign"),
        pytest.param("recip", TWO, 0x7FC0_0000, np.inf, np.inf, id="needless NaN"),
        pytest.param("recip", 0, INFINITY, 0, 0, id="infinite"),
        pytest.param("recip", 1 | NEGATIVE, INFINITY | NEGATIVE, 0, 0, id="a subnormal is a zero"),
        pytest.param("recip", 0, LARGEST, np.inf, np.inf, id="not infinite"),
        pytest.param("recip", LARGEST, 0, 0, 0, id="vanishing"),
        pytest.param("recip", TWO, 0, 1e6, np.inf, id="zero for a number"),
        pytest.param("recip", TWO, INFINITY, 1e6, np.inf, id="infinity for a number"),
        pytest.param("exp", 0x447A_0000, INFINITY, 0, 0, id="overflow"),
        pytest.param("exp", 0x447A_0000, LARGEST, 1e6, np.inf, id="no overflow"),
        pytest.param("exp", 0xC47A_0000, 0, 0, 0, id="underflow"),
        pytest.param("exp", 0xC47A_0000, 0x0100_0000, 1e6, np.inf, id="no underflow"),
        pytest.param("rsqrt", TWO | NEGATIVE, 0x7FC0_0000, 0, 0, id="no value"),
        pytest.param("rsqrt", TWO | NEGATIVE, 0x7FC0_0001, np.inf, np.inf, id="another NaN"),
        pytest.param("rsqrt", TWO | NEGATIVE, ONE, np.inf, np.inf, id="a number where there is no value"),
        pytest.param("tanh", INFINITY | NEGATIVE, ONE | NEGATIVE, 0, 0, id="a limit"),
    ],
)
def test_errors_are_measured(function: str, argument: int, result: int, low: float, high: float) -> None:
    (error,) = special_errors(function, words(argument), words(result))
    assert low <= error <= high
