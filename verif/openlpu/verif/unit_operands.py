# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Operands that are hard on arithmetic: the special patterns, and random ones where something happens.

Uniformly random patterns nearly always differ by dozens of binades: one operand of a sum is then lost, and a product
overflows or vanishes. So most of the random pairs are drawn for something: alignment, cancellation, ties of rounding,
the ends of the normal range, the ends of int32.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from openlpu.arch.numerics import Words, to_bits

__all__ = ["FEW_BINADES", "mantissas", "random_pairs", "special_pairs", "special_patterns"]

Patterns = NDArray[np.uint32]

BINADES = range(1, 255)
"""The biased exponents of all normal numbers."""
FEW_BINADES = (*range(1, 4), *range(62, 66), *range(102, 106), *range(124, 131), *range(149, 160), *range(252, 255))
"""Those near the ends, near halves of them (for products), near 1, an ulp of 1, and the ends of int32."""

_SIGN = np.uint32(1 << 31)
_FRACTION = np.uint32((1 << 23) - 1)
_NO_POWERS = (
    *(0x0000_0000, 0x0000_0001, 0x0000_0002, 0x003F_FFFF, 0x0040_0000, 0x007F_FFFE, 0x007F_FFFF),  # zero, subnormals
    *(0x7F7F_FFFE, 0x7F7F_FFFF, 0x7F80_0000),  # the largest, infinity
    *(0x7F80_0001, 0x7FA0_0000, 0x7FBF_FFFF, 0x7FC0_0000, 0x7FC0_0001, 0x7FFF_FFFF),  # signalling and quiet NaNs
)


def special_patterns(binades: Iterable[int] = BINADES) -> Words:
    """Of either sign: zero, subnormals, the largest, infinity, NaNs, and each power of two with its two neighbours."""
    powers = [(binade << 23) + step for binade in binades for step in (-1, 0, 1)]
    magnitudes = np.unique(np.array([*_NO_POWERS, *powers], np.uint32))
    return np.concatenate([magnitudes, magnitudes | _SIGN]).view(np.int32)


def special_pairs(binades: Iterable[int] = BINADES) -> tuple[Words, Words]:
    """Every pair of `special_patterns`."""
    patterns = special_patterns(binades)
    return np.repeat(patterns, len(patterns)), np.tile(patterns, len(patterns))


def random_pairs(rng: np.random.Generator, count: int) -> tuple[Words, Words]:
    """`count` pairs, of every kind below as many, in random order."""
    kinds = (_any, _near, _cancelling, _at_sum_ends, _tying, _at_product_ends, _at_powers, _integers, _halves)
    share = -(-count // len(kinds))
    drawn = [kind(rng, share) for kind in kinds]
    order = rng.permutation(share * len(kinds))[:count]
    left, right = (np.concatenate(side)[order].view(np.int32) for side in zip(*drawn, strict=True))
    return left, right


def mantissas(binade: int, *, negative: bool = False, step: int = 1, first: int = 0) -> Words:
    """The numbers of a biased exponent in their order: every `step`-th mantissa, from `first` on."""
    fractions = np.arange(first, 1 << 23, step, dtype=np.uint32)
    return (fractions | np.uint32(binade << 23) | (_SIGN if negative else np.uint32(0))).view(np.int32)


# --- kinds of pairs ---


def _any(rng: np.random.Generator, count: int) -> tuple[Patterns, Patterns]:
    a, b = rng.integers(0, 1 << 32, (2, count), np.uint32)
    return a, b


def _with_exponent(word: Patterns, exponent: NDArray[np.int64]) -> Patterns:
    return word & (_SIGN | _FRACTION) | exponent.clip(0, 255).astype(np.uint32) << np.uint32(23)


def _exponent(word: Patterns) -> NDArray[np.int64]:
    return (word >> np.uint32(23) & np.uint32(0xFF)).astype(np.int64)


def _near(rng: np.random.Generator, count: int) -> tuple[Patterns, Patterns]:
    """Exponents no further apart than a significand is wide, and a little."""
    a, b = _any(rng, count)
    return a, _with_exponent(b, _exponent(a) + rng.integers(-27, 28, count))


def _cancelling(rng: np.random.Generator, count: int) -> tuple[Patterns, Patterns]:
    """Magnitudes that differ in some of the last bits, or not at all, in the same or the next binade."""
    a, b = _any(rng, count)
    a = np.where(rng.integers(0, 4, count) == 0, _with_exponent(a, rng.integers(0, 30, count)), a)
    bits = rng.integers(0, 24, count, np.uint32) * rng.integers(0, 2, count, np.uint32)
    kept = (np.uint32(1) << bits) - np.uint32(1)
    near = (a ^ (b & kept)) ^ (b & _SIGN)
    return a, np.where(rng.integers(0, 4, count) == 0, near + np.uint32(1 << 23), near)


def _at_sum_ends(rng: np.random.Generator, count: int) -> tuple[Patterns, Patterns]:
    """Exponents both among the smallest, or both among the largest."""
    exponents = np.where(rng.integers(0, 2, count) == 0, 1, 252) + rng.integers(0, 3, (2, count))
    a, b = (_with_exponent(word, exponent) for word, exponent in zip(_any(rng, count), exponents, strict=True))
    return a, b


def _tying(rng: np.random.Generator, count: int) -> tuple[Patterns, Patterns]:
    """Significands with zeros at the end, and exponents such that what a result loses is often exactly a half."""
    a, b = _any(rng, count)
    zeros = rng.integers(8, 24, count, np.uint32)
    a, b = (word >> zeros << zeros for word in (a, b))
    a |= rng.integers(0, 2, count, np.uint32) << rng.integers(0, 23, count, np.uint32)
    moderate = _with_exponent(a, 64 + _exponent(a) // 2)
    return moderate, _with_exponent(b, _exponent(moderate) + rng.integers(-25, 26, count))


def _at_product_ends(rng: np.random.Generator, count: int) -> tuple[Patterns, Patterns]:
    """Products, and quotients, near the smallest and the largest normal number."""
    a, b = _any(rng, count)
    total = rng.choice([127, 381], count) + rng.integers(-2, 3, count)
    return a, _with_exponent(b, total - _exponent(a))


def _at_powers(rng: np.random.Generator, count: int) -> tuple[Patterns, Patterns]:
    """Products within a few units of the last place of a power of two; often of the smallest or the largest one."""
    a, b = _any(rng, count)
    significand = 1 + (a & _FRACTION) / 2**23
    nearest = np.rint((2 / significand - 1) * 2**23).astype(np.int64) + rng.integers(-1, 2, count)
    b = b & _SIGN | nearest.clip(0, int(_FRACTION)).astype(np.uint32)
    total = np.where(rng.integers(0, 2, count) == 0, rng.choice([126, 127, 380, 381], count), 254)
    return a, _with_exponent(b, total - _exponent(a))


def _integers(rng: np.random.Generator, count: int) -> tuple[Patterns, Patterns]:
    """Integers of every length and sign; every few the same, or next to each other, or near an end of int32."""
    drawn = rng.integers(-(2**31), 2**31, (2, count)) >> rng.integers(0, 32, (2, count))
    drawn[1, ::5] = drawn[0, ::5] + rng.integers(-1, 2, len(drawn[0, ::5]))
    drawn[0, ::7] = rng.choice([-(2**31), 2**31], len(drawn[0, ::7])) + rng.integers(-3, 4, len(drawn[0, ::7]))
    a, b = (drawn & 0xFFFF_FFFF).astype(np.uint32)
    return a, b


def _halves(rng: np.random.Generator, count: int) -> tuple[Patterns, Patterns]:
    """Floats around the integers: multiples of a half, of every magnitude that has any, and their neighbours."""
    halves = (rng.integers(-(2**33), 2**33, (2, count)) >> rng.integers(0, 33, (2, count))) / 2
    a, b = to_bits(halves.astype(np.float32)).view(np.uint32) + rng.integers(0, 3, (2, count), np.uint32) - np.uint32(1)
    return a, b
