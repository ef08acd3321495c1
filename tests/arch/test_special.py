# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The special functions against numpy's float64, whose error is a few 2**-53, over whole ranges of arguments."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from openlpu.arch import numerics, special
from openlpu.arch.numerics import QUIET_NAN, Words, from_bits, to_bits
from openlpu.arch.special import MAX_ULP

SEED = 20261124
INFINITY, SIGN = 0x7F80_0000, 1 << 31
ZEROS = [0, 1, 0x007F_FFFF]
NANS = [0x7F80_0001, 0x7FBF_FFFF, 0x7FC0_0000, 0x7FFF_FFFF]

Doubles = NDArray[np.float64]

REFERENCES: dict[str, Callable[[Doubles], Doubles]] = {
    "exp": np.exp,
    "recip": lambda x: 1 / x,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "tanh": np.tanh,
}


def function(name: str) -> Callable[[Words], Words]:
    return getattr(numerics, f"fp32_{name}")


def words(patterns: list[int]) -> Words:
    return np.array(patterns, np.uint32).view(np.int32)


def patterns(array: Words) -> list[int]:
    return [int(word) for word in array.view(np.uint32)]


def apply(name: str, arguments: list[int]) -> list[int]:
    return patterns(function(name)(words(arguments)))


def binade(exponent: int, *, negative: bool = False, step: int = 1) -> Words:
    """The numbers of one exponent, or every `step`-th of them and the last."""
    fractions = np.append(np.arange(0, 1 << 23, step, dtype=np.int32), np.int32((1 << 23) - 1))
    return fractions | np.int32(exponent + 127 << 23) | np.int32(-SIGN if negative else 0)


def assert_within_bound(name: str, arguments: Words) -> None:
    """Every result is within the bound, or is what overflow and underflow make of one."""
    for piece in np.array_split(arguments, max(arguments.size >> 17, 1)):
        assert_piece_within_bound(name, piece)


def assert_piece_within_bound(name: str, arguments: Words) -> None:
    got = function(name)(arguments)
    exact = REFERENCES[name](from_bits(arguments).astype(np.float64))
    magnitude = np.abs(exact)
    ulp = np.ldexp(1.0, np.frexp(magnitude)[1] - 24)
    with np.errstate(over="ignore"):
        rounded = to_bits(exact.astype(np.float32))
    # Near the ends of the normal range, either of two results may be within the bound.
    normal = (magnitude >= 2.0**-126) & (magnitude < 2.0**128 * (1 - 2.0**-24))
    error = np.abs(from_bits(np.where(normal, got, rounded)).astype(np.float64)[normal] - exact[normal]) / ulp[normal]
    worst = int(np.argmax(error)) if error.size else 0
    assert not error.size or error[worst] <= MAX_ULP[name], (
        f"{name}({patterns(arguments[normal])[worst]:#010x}) is {error[worst]:.3f} ulp off (seed {SEED})"
    )
    vanished = magnitude < 2.0**-126 * (1 - 2.0**-24)
    np.testing.assert_array_equal(got[vanished] & 0x7FFF_FFFF, 0, err_msg=name)
    np.testing.assert_array_equal((got < 0)[~np.isnan(exact)], np.signbit(exact)[~np.isnan(exact)], err_msg=name)
    np.testing.assert_array_equal(got[magnitude >= 2.0**128] & 0x7FFF_FFFF, INFINITY, err_msg=name)


# --- the bounds ---


def sweeps(name: str) -> Iterator[Words]:
    """Every significand of exponents that meet every row of the function's table but tanh's, and samples of others."""
    if name == "recip":
        yield binade(0)
    elif name == "rsqrt":
        yield binade(0)
        yield binade(1)
    elif name == "exp":
        for exponent in range(-26, 7):
            step = 1 if exponent in (0, 4) else 61
            yield binade(exponent, step=step)
            yield binade(exponent, negative=True, step=step)
    else:
        for exponent in range(-14, 5):
            yield binade(exponent, negative=bool(exponent % 2), step=1 if exponent in (-5, 1) else 7)


@pytest.mark.parametrize("name", MAX_ULP)
def test_error_is_within_the_bound_for_every_significand(name: str) -> None:
    for arguments in sweeps(name):
        assert_within_bound(name, arguments)


@pytest.mark.parametrize("name", MAX_ULP)
def test_error_is_within_the_bound_for_any_argument(name: str) -> None:
    rng = np.random.default_rng(SEED)
    arguments = rng.integers(0, 1 << 32, 1_000_000, np.uint32).view(np.int32)
    exponents = arguments >> 23 & 0xFF
    arguments = arguments[(exponents != 0) & (exponents != 255)]
    if name == "rsqrt":
        arguments &= 0x7FFF_FFFF
    with np.errstate(over="ignore"):
        assert_within_bound(name, arguments)


def test_error_of_exp_is_within_the_bound_over_its_range() -> None:
    rng = np.random.default_rng(SEED)
    assert_within_bound("exp", to_bits(rng.uniform(-88, 89, 1_000_000).astype(np.float32)))


@pytest.mark.parametrize("name", MAX_ULP)
def test_bound_is_not_idle(name: str) -> None:
    """Results are not correctly rounded, and the stated bound is not far from what is true."""
    worst = 0.0
    for argument in (binade(0, step=3), binade(1, step=3)):
        exact = REFERENCES[name](from_bits(argument).astype(np.float64))
        error = np.abs(from_bits(function(name)(argument)) - exact) / np.ldexp(1.0, np.frexp(exact)[1] - 24)
        worst = max(worst, float(error.max()))
    assert 0.8 * MAX_ULP[name] < worst <= MAX_ULP[name]


# --- special values ---


def test_exp_of_what_is_no_finite_number() -> None:
    assert apply("exp", [INFINITY, INFINITY | SIGN]) == [INFINITY, 0]
    assert apply("exp", [zero | sign for zero in ZEROS for sign in (0, SIGN)]) == [0x3F80_0000] * 6


def test_exp_at_the_ends_of_the_range() -> None:
    """Between neighbours: the last finite and the first infinite power, the last normal and the first vanishing one."""
    # ln(2**128) = 88.722839... is between 0x42b17217 and 0x42b17218, ln(2**-126) = -87.336544... just past 0xc2aeac4f.
    assert apply("exp", [0x42B1_7218, 0x42B2_0000, 0x4300_0000, 0x7F7F_FFFF]) == [INFINITY] * 4
    assert 0x7F7F_0000 < apply("exp", [0x42B1_7217])[0] < INFINITY
    assert apply("exp", [0xC2AE_AC50, 0xC2AF_0000, 0xC300_0000, 0xFF7F_FFFF]) == [0] * 4
    assert 0x0080_0000 <= apply("exp", [0xC2AE_AC4F])[0] < 0x0080_0100


def test_recip_of_what_is_no_finite_number() -> None:
    assert apply("recip", [INFINITY, INFINITY | SIGN]) == [0, SIGN]
    assert apply("recip", [*ZEROS, *(zero | SIGN for zero in ZEROS)]) == [INFINITY] * 3 + [INFINITY | SIGN] * 3


def test_recip_flushes_what_would_be_subnormal() -> None:
    # 2**126 has the smallest normal number as its reciprocal; the next number a smaller one.
    assert apply("recip", [0x7E80_0000, 0x7E80_0001, 0x7F7F_FFFF, 0xFE80_0001]) == [0x0080_0000, 0, 0, SIGN]


def test_rsqrt_of_what_is_no_positive_number() -> None:
    assert apply("rsqrt", [INFINITY]) == [0]
    assert apply("rsqrt", [*ZEROS, *(zero | SIGN for zero in ZEROS)]) == [INFINITY] * 3 + [INFINITY | SIGN] * 3
    assert apply("rsqrt", [0x8080_0000, 0xBF80_0000, 0xFF7F_FFFF, 0xFF80_0000]) == [QUIET_NAN] * 4


def test_tanh_of_what_is_no_finite_number() -> None:
    assert apply("tanh", [INFINITY, INFINITY | SIGN]) == [0x3F80_0000, 0xBF80_0000]
    assert apply("tanh", [*ZEROS, *(zero | SIGN for zero in ZEROS)]) == [0] * 3 + [SIGN] * 3


@pytest.mark.parametrize("name", MAX_ULP)
def test_every_nan_becomes_the_one(name: str) -> None:
    assert apply(name, [nan | sign for nan in NANS for sign in (0, SIGN)]) == [QUIET_NAN] * 8


# --- properties that programs may rely on ---


def test_powers_of_two_have_exact_reciprocals_and_roots() -> None:
    exponents = np.arange(-126, 127)
    powers = to_bits(np.ldexp(np.float32(1), exponents))
    np.testing.assert_array_equal(from_bits(function("recip")(powers)), np.ldexp(np.float32(1), -exponents))
    np.testing.assert_array_equal(
        from_bits(function("rsqrt")(powers[::2])), np.ldexp(np.float32(1), -exponents[::2] // 2)
    )


def test_odd_functions_are_odd_to_the_bit() -> None:
    arguments = np.random.default_rng(SEED).integers(0x0080_0000, INFINITY, 100_000, np.int32)
    for name in ("recip", "tanh"):
        mirrored = function(name)(arguments | np.int32(-SIGN))
        np.testing.assert_array_equal(mirrored, function(name)(arguments) | np.int32(-SIGN), err_msg=f"seed {SEED}")


def test_results_stay_in_the_range_of_the_function() -> None:
    assert from_bits(function("tanh")(binade(3))).max() == 1
    assert from_bits(function("exp")(binade(-20, negative=True))).max() <= 1


def test_tanh_of_a_small_number_is_that() -> None:
    for exponent in (-126, -60, -13):
        arguments = binade(exponent, step=1001)
        np.testing.assert_array_equal(function("tanh")(arguments), arguments)


@pytest.mark.parametrize("name", MAX_ULP)
@pytest.mark.parametrize("shape", [(), (0,), (3, 1, 2)])
def test_any_shape_stays_int32(name: str, shape: tuple[int, ...]) -> None:
    operand = np.full(shape, 0x3F80_0000, np.int32)
    operand.setflags(write=False)
    result = function(name)(operand)
    assert isinstance(result, np.ndarray)
    assert result.shape == shape
    assert result.dtype == np.int32


# --- the table ---


def test_spans_tile_the_table() -> None:
    address = 0
    for span in special.SPANS:
        assert span.first_row == address
        assert address % (1 << span.index_bits) == 0
        address += 1 << span.index_bits
    assert address == len(special.table()) <= 1 << special.ADDRESS_BITS


def test_coefficients_fit_their_widths() -> None:
    for row in special.table():
        assert 1 << special.FRACTION_BITS - 1 <= row.constant < 1 << special.FRACTION_BITS
        assert row.linear >= 0
        assert row.linear + row.quadratic < 1 << special.LINEAR_BITS
        assert row.quadratic < 1 << special.QUADRATIC_BITS
