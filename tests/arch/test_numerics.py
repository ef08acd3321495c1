# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The VXM's arithmetic against two references that share nothing with it: exact rationals, and numpy's own float32.

The rational reference below reads the fields of a pattern, computes with `fractions.Fraction`, and rounds by integer
division. It knows neither float64 nor numpy. numpy's float32 is IEEE-754, so it must agree where no subnormal is near.
"""

from collections.abc import Callable
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest

from openlpu.arch import numerics
from openlpu.arch.numerics import QUIET_NAN, Words, from_bits, to_bits

SEED = 20261123

BINARY = ["fp32_add", "fp32_sub", "fp32_mul", "fp32_max", "fp32_min", "fp32_lt", "fp32_le", "fp32_eq"]
BINARY_INTEGER = ["int32_add", "int32_sub", "int32_mul", "int32_max", "int32_min", "int32_lt", "int32_le", "int32_eq"]

# Magnitudes only; both signs are tried.
MAGNITUDES = [
    0x0000_0000,  # zero
    0x0000_0001,  # subnormals: the smallest, one in the middle, the largest
    0x0040_0000,
    0x007F_FFFF,
    0x0080_0000,  # the smallest normal and its neighbour
    0x0080_0001,
    0x00FF_FFFF,
    0x0100_0000,
    0x1FC0_0000,  # 2**-64, 2**-63: their products meet the lower end of the normal range
    0x2000_0000,
    0x1FFF_FFFF,
    0x3380_0000,  # half an ulp of 1, and its neighbours
    0x3380_0001,
    0x337F_FFFF,
    0x3F00_0000,  # 0.5 and its neighbours: a tie between 0 and 1
    0x3F00_0001,
    0x3EFF_FFFF,
    0x3F7F_FFFF,  # 1 and its neighbours
    0x3F80_0000,
    0x3F80_0001,
    0x3FC0_0000,  # 1.5, 2.5: ties to even, upward and downward
    0x4020_0000,
    0x4B00_0001,  # 2**23 + 1, 2**24, 2**24 + 2: the end of the odd integers
    0x4B80_0000,
    0x4B80_0001,
    0x4EFF_FFFF,  # around 2**31: the end of int32
    0x4F00_0000,
    0x4F00_0001,
    0x7F00_0000,  # 2**127
    0x7F7F_FFFE,
    0x7F7F_FFFF,  # the largest
    0x7F80_0000,  # infinity
    0x7F80_0001,  # signalling NaNs
    0x7FBF_FFFF,
    0x7FC0_0000,  # quiet NaNs
    0x7FFF_FFFF,
]
CORNERS = [sign | magnitude for sign in (0, 1 << 31) for magnitude in MAGNITUDES]
INTEGER_CORNERS = sorted(
    {
        (sign * (1 << power) + step) & 0xFFFF_FFFF
        for sign in (1, -1)
        for power in (0, 1, 7, 23, 24, 25, 30, 31)
        for step in (-1, 0, 1)
    }
)


def words(patterns: list[int]) -> Words:
    return np.array(patterns, np.uint32).view(np.int32)


def patterns(array: Words) -> list[int]:
    return [int(word) for word in array.view(np.uint32)]


def signed(pattern: int) -> int:
    return pattern - (1 << 32) if pattern >> 31 else pattern


def nearby_pairs(count: int) -> tuple[list[int], list[int]]:
    """Random operands; the exponents of most pairs lie within 30 of each other, or add up to near 0 or near the top."""
    rng = np.random.default_rng(SEED)
    a = rng.integers(0, 1 << 32, count, np.uint32)
    b = rng.integers(0, 1 << 32, count, np.uint32)
    exponent_a, nudge = (a >> 23 & 0xFF).astype(int), rng.integers(-30, 31, count)
    kind = rng.integers(0, 5, count)
    partner = np.choose(
        kind,
        [
            exponent_a + nudge,
            exponent_a + nudge // 15,
            127 - exponent_a + nudge // 15,
            381 - exponent_a + nudge // 15,
            b >> 23 & 0xFF,
        ],
    )
    b = (b & 0x807F_FFFF) | (np.clip(partner, 0, 255).astype(np.uint32) << 23)
    b = np.where(rng.integers(0, 8, count) == 0, a ^ (b & 0x8000_000F), b)  # catastrophic cancellation
    return a.tolist(), b.tolist()


def corner_pairs() -> tuple[list[int], list[int]]:
    left, right = zip(*product(CORNERS, CORNERS), strict=True)
    return list(left), list(right)


# --- the rational reference ---


class Float:
    """A pattern taken apart: NaN, infinity, or an exact value with the sign of its zero."""

    def __init__(self, pattern: int) -> None:
        exponent, fraction = pattern >> 23 & 0xFF, pattern & 0x7F_FFFF
        self.negative = bool(pattern >> 31)
        self.nan = exponent == 255 and fraction != 0
        self.infinite = exponent == 255 and fraction == 0
        significand = 0 if exponent == 0 else (1 << 23) + fraction
        self.value = Fraction(significand) * Fraction(2) ** (exponent - 150) * (-1 if self.negative else 1)

    @property
    def order(self) -> tuple[int, Fraction, bool]:
        """Sorts as the number line does, -0 before +0."""
        infinity = 0 if not self.infinite else -1 if self.negative else 1
        return infinity, Fraction(0) if self.infinite else self.value, not self.negative

    @property
    def pattern(self) -> int:
        return int(self.negative) << 31 | 0x7F80_0000 if self.infinite else encode(self.value, self.negative)


def halves_to_even(value: Fraction) -> int:
    floor, rest = divmod(value.numerator, value.denominator)
    twice = 2 * rest
    return floor + int(twice > value.denominator or (twice == value.denominator and floor & 1 == 1))


def encode(value: Fraction, negative_zero: bool) -> int:
    """The pattern nearest to `value`: 24 bits with a free exponent first, the bounds of the exponent afterwards."""
    if value == 0:
        return int(negative_zero) << 31
    sign, magnitude, exponent = int(value < 0) << 31, abs(value), 0
    while magnitude >= Fraction(2) ** (exponent + 1):
        exponent += 1
    while magnitude < Fraction(2) ** exponent:
        exponent -= 1
    significand = halves_to_even(magnitude / Fraction(2) ** (exponent - 23))
    if significand == 1 << 24:
        significand, exponent = 1 << 23, exponent + 1
    if exponent < -126:
        return sign
    if exponent > 127:
        return sign | 0x7F80_0000
    return sign | (exponent + 127) << 23 | significand - (1 << 23)


def reference(operation: str, left: int, right: int) -> int:
    """The pattern `operation` must give, in exact arithmetic."""
    a, b = Float(left), Float(right ^ (1 << 31) if operation == "fp32_sub" else right)
    nan, equal = a.nan or b.nan, a.order[:2] == b.order[:2]
    if operation in ("fp32_lt", "fp32_le", "fp32_eq"):
        true = {"fp32_lt": a.order[:2] < b.order[:2], "fp32_le": a.order[:2] <= b.order[:2], "fp32_eq": equal}[
            operation
        ]
        return 0xFFFF_FFFF if true and not nan else 0
    if nan:
        return QUIET_NAN
    if operation in ("fp32_max", "fp32_min"):
        return (max if operation == "fp32_max" else min)(a, b, key=lambda operand: operand.order).pattern
    if operation == "fp32_mul":
        negative = a.negative != b.negative
        if a.infinite or b.infinite:
            zero = (not a.infinite and a.value == 0) or (not b.infinite and b.value == 0)
            return QUIET_NAN if zero else int(negative) << 31 | 0x7F80_0000
        return encode(a.value * b.value, negative)
    if a.infinite or b.infinite:
        return QUIET_NAN if a.infinite and b.infinite and a.negative != b.negative else (a if a.infinite else b).pattern
    return encode(a.value + b.value, a.negative and b.negative)


def reference_integer(operation: str, left: int, right: int) -> int:
    a, b = signed(left), signed(right)
    results: dict[str, Callable[[], int]] = {
        "int32_add": lambda: a + b,
        "int32_sub": lambda: a - b,
        "int32_mul": lambda: a * b,
        "int32_max": lambda: max(a, b),
        "int32_min": lambda: min(a, b),
        "int32_lt": lambda: -int(a < b),
        "int32_le": lambda: -int(a <= b),
        "int32_eq": lambda: -int(a == b),
    }
    return results[operation]() & 0xFFFF_FFFF


def assert_all(operation: str, left: list[int], right: list[int], expected: list[int]) -> None:
    got = patterns(getattr(numerics, operation)(words(left), words(right)))
    for a, b, result, want in zip(left, right, got, expected, strict=True):
        assert result == want, (
            f"{operation}({a:#010x}, {b:#010x}) = {result:#010x}, expected {want:#010x} (seed {SEED})"
        )


# --- exact references ---


@pytest.mark.parametrize("operation", BINARY)
@pytest.mark.parametrize("pairs", [corner_pairs(), nearby_pairs(3000)], ids=["corners", "random"])
def test_binary_equals_exact_arithmetic(operation: str, pairs: tuple[list[int], list[int]]) -> None:
    left, right = pairs
    assert_all(operation, left, right, [reference(operation, a, b) for a, b in zip(left, right, strict=True)])


@pytest.mark.parametrize("operation", BINARY_INTEGER)
def test_integers_equal_python(operation: str) -> None:
    left, right = zip(*product(INTEGER_CORNERS, INTEGER_CORNERS), strict=True)
    assert_all(
        operation,
        list(left),
        list(right),
        [reference_integer(operation, a, b) for a, b in zip(left, right, strict=True)],
    )


@pytest.mark.parametrize(
    ("left", "right", "kept"),
    [
        (0x800001, 0xFFFFFE, True),  # 2**47 - 2
        (0x868A84, 0xF38DCA, True),  # 2**47 - 2**22 + 40, nearer to 2**47 than to 2**47 - 2**23
        (0x842108, 0xF80000, True),  # 2**47 - 2**22, the tie; 2**47 is even
        (
            0x81E0A5,
            0xFC4C9B,
            False,
        ),  # 2**47 - 2**22 - 25, nearer to 2**47 - 2**23; float32's coarser subnormals round it up
        (0x800000, 0xFFFFFF, False),  # 2**47 - 2**23, no rounding
    ],
)
def test_product_flushes_after_rounding(left: int, right: int, kept: bool) -> None:
    """Products of significands near 2**47, scaled so that 2**47 lands on the smallest normal."""
    a, b = 64 << 23 | left & 0x7F_FFFF, 63 << 23 | right & 0x7F_FFFF
    smallest = 0x0080_0000 if kept else 0
    assert patterns(numerics.fp32_mul(words([a, a | 1 << 31]), words([b, b]))) == [smallest, smallest | 1 << 31]


def test_conversions_equal_exact_arithmetic() -> None:
    rng = np.random.default_rng(SEED)
    integers = (
        INTEGER_CORNERS + (rng.integers(0, 1 << 32, 2000, np.uint64) >> rng.integers(0, 32, 2000, np.uint64)).tolist()
    )
    for integer, got in zip(integers, patterns(numerics.int32_to_fp32(words(integers))), strict=True):
        assert got == encode(Fraction(signed(integer)), negative_zero=False), f"{integer:#010x}, seed {SEED}"

    exponents = rng.integers(124, 161, 2000, np.uint32) << 23
    floats = CORNERS + ((rng.integers(0, 1 << 32, 2000, np.uint32) & 0x807F_FFFF) | exponents).tolist()
    halves = (rng.integers(-4000, 4000, 500) / 2).astype(np.float32).view(np.uint32).tolist()
    for pattern, got in zip(floats + halves, patterns(numerics.fp32_to_int32(words(floats + halves))), strict=True):
        number = Float(pattern)
        unbounded = (-(1 << 40) if number.negative else 1 << 40) if number.infinite else halves_to_even(number.value)
        want = 0 if number.nan else min(max(unbounded, -(1 << 31)), (1 << 31) - 1)
        assert signed(got) == want, f"{pattern:#010x}, seed {SEED}"


def test_saturate_int8_clamps() -> None:
    values = [-(1 << 31), -129, -128, -127, -1, 0, 1, 126, 127, 128, (1 << 31) - 1]
    result = numerics.saturate_int8(np.array(values, np.int32))
    assert result.tolist() == [-128, -128, -128, -127, -1, 0, 1, 126, 127, 127, 127]
    assert result.dtype == np.int32


# --- IEEE-754 as numpy computes it ---


@pytest.mark.parametrize(
    ("operation", "ieee"), [("fp32_add", np.add), ("fp32_sub", np.subtract), ("fp32_mul", np.multiply)]
)
def test_arithmetic_equals_float32_away_from_subnormals(operation: str, ieee: np.ufunc) -> None:
    left, right = (words(side) for side in nearby_pairs(400_000))
    with np.errstate(all="ignore"):
        expected = ieee(from_bits(left), from_bits(right))
        operands_normal = np.logical_and(*(np.abs(from_bits(side)) >= 2.0**-126 for side in (left, right)))
    comparable = operands_normal & ((np.abs(expected) > 2.0**-126) | (expected == 0))
    comparable &= (expected != 0) | (operation != "fp32_mul")  # a product that underflows to zero is tested above
    got = getattr(numerics, operation)(left, right)
    assert np.count_nonzero(comparable) > 200_000
    np.testing.assert_array_equal(got[comparable], to_bits(expected)[comparable], err_msg=f"seed {SEED}")


# --- the contract of the arrays ---


@pytest.mark.parametrize("operation", BINARY + BINARY_INTEGER)
@pytest.mark.parametrize("shape", [(), (0,), (3, 1, 2)])
def test_any_shape_stays_int32(operation: str, shape: tuple[int, ...]) -> None:
    operand = np.full(shape, 0x7F7F_FFFF, np.int32)
    result = getattr(numerics, operation)(operand, operand)
    assert isinstance(result, np.ndarray)
    assert result.shape == shape
    assert result.dtype == np.int32


def test_operands_are_left_alone_and_may_be_read_only() -> None:
    a = words(CORNERS)
    a.setflags(write=False)
    for operation in BINARY:
        getattr(numerics, operation)(a, a[::-1])
    assert patterns(a) == CORNERS


def test_bits_round_trip_and_refuse_other_types() -> None:
    assert patterns(to_bits(from_bits(words(CORNERS)))) == CORNERS
    mistakes: list[Any] = [np.zeros(4, np.int64), np.zeros(4, np.float64)]
    with pytest.raises(TypeError, match="int64"):
        from_bits(mistakes[0])
    with pytest.raises(TypeError, match="float64"):
        to_bits(mistakes[1])
