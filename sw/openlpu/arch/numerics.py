# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The arithmetic of the vector unit (VXM), bit for bit.

A VXM word is a pattern of 32 bits: a two's complement integer or an IEEE-754 binary32 number, as the instruction
reads it. Here a word is an element of a numpy ``int32`` array, whatever it stands for, so that a chain of operations
never converts by accident. Every function takes and returns such arrays, of any shapes that broadcast, and raises no
floating-point warning. The RTL equals these functions on every pattern.

The floating-point rules, wherever a docstring says nothing else:

- IEEE-754 binary32, round to nearest, ties to even.
- A subnormal operand is read as the zero of its sign.
- A result is rounded to 24 bits as if the exponent had no bounds, and only then compared with the normal range: below
  2**-126 it becomes the zero of its sign, from 2**128 on the infinity of its sign. The value just below 2**-126 that
  rounds up to it is therefore kept.
- Every NaN that comes out is ``QUIET_NAN``; payload and sign of a NaN operand are lost.

Sums and products are formed in float64 and rounded once more to float32. The product of two 24-bit significands has at
most 48 bits, so it is exact there; and a sum first rounded to 53 bits, which is at least 2 * 24 + 2, ends at the same
float32 as the exact sum.

The special functions are not correctly rounded but within `special.MAX_ULP` of the exact value; `openlpu.arch.special`
says how they are computed, and these functions are that method and nothing else.
"""

from collections.abc import Callable
from functools import cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from openlpu.arch import special

__all__ = [
    "QUIET_NAN",
    "Words",
    "fp32_add",
    "fp32_eq",
    "fp32_exp",
    "fp32_le",
    "fp32_lt",
    "fp32_max",
    "fp32_min",
    "fp32_mul",
    "fp32_recip",
    "fp32_rsqrt",
    "fp32_sub",
    "fp32_tanh",
    "fp32_to_int32",
    "from_bits",
    "int32_add",
    "int32_eq",
    "int32_le",
    "int32_lt",
    "int32_max",
    "int32_min",
    "int32_mul",
    "int32_sub",
    "int32_to_fp32",
    "saturate_int8",
    "to_bits",
]

Words: TypeAlias = NDArray[np.int32]

_NO_ADDEND: Final = np.zeros((), np.int32)
QUIET_NAN: Final = 0x7FC0_0000
"""The one NaN the VXM produces."""

_SIGN: Final = np.int32(-(2**31))
_MAGNITUDE: Final = np.int32(2**31 - 1)
_SMALLEST_NORMAL: Final = np.int32(0x0080_0000)
_INFINITY: Final = np.int32(0x7F80_0000)
# Halfway between 2**-126 and the 24-bit number below it; the tie goes to 2**-126, whose significand is even.
_FLUSH_BELOW: Final = 2.0**-126 - 2.0**-151
# Bits of the significand of a special function before it is rounded, and powers of two that no float has.
_SIGNIFICAND_BITS: Final = special.FRACTION_BITS + special.GUARD_BITS
_OVERFLOWING: Final = 128
_VANISHING: Final = -128


def to_bits(values: NDArray[np.float32]) -> Words:
    """The patterns of float32 `values`, unchanged (NaN payloads and subnormals too).

    Raises `TypeError` for any other dtype, which would need a rounding nobody asked for.
    """
    if values.dtype != np.float32:
        raise TypeError(f"to_bits takes a float32 array, not {values.dtype}")
    return np.asarray(values.view(np.int32))


def from_bits(words: Words) -> NDArray[np.float32]:
    """The float32 values whose patterns are `words`, unchanged. Raises `TypeError` unless the dtype is int32."""
    if words.dtype != np.int32:
        raise TypeError(f"from_bits takes an int32 array, not {words.dtype}")
    return np.asarray(words.view(np.float32))


def fp32_add(a: Words, b: Words) -> Words:
    """``a + b``. Opposite infinities give NaN; an exact zero is +0 unless both operands are -0."""
    return _arithmetic(np.add, a, b)


def fp32_sub(a: Words, b: Words) -> Words:
    """``a - b``, which is ``a + (-b)``: equal infinities give NaN, and ``x - x`` is +0."""
    return _arithmetic(np.subtract, a, b)


def fp32_mul(a: Words, b: Words) -> Words:
    """``a * b``. The sign is the exclusive or of the signs; zero times infinity gives NaN."""
    return _arithmetic(np.multiply, a, b)


def fp32_max(a: Words, b: Words) -> Words:
    """The larger operand, where -0 < +0; NaN if either operand is NaN. A subnormal operand comes out as its zero."""
    return _select(np.maximum, a, b)


def fp32_min(a: Words, b: Words) -> Words:
    """The smaller operand, where -0 < +0; NaN if either operand is NaN. A subnormal operand comes out as its zero."""
    return _select(np.minimum, a, b)


def fp32_lt(a: Words, b: Words) -> Words:
    """-1 (all ones) where ``a < b``, else 0. Zeros of either sign are equal; a NaN operand gives 0."""
    return _mask(_operand(a) < _operand(b))


def fp32_le(a: Words, b: Words) -> Words:
    """-1 (all ones) where ``a <= b``, else 0. Zeros of either sign are equal; a NaN operand gives 0."""
    return _mask(_operand(a) <= _operand(b))


def fp32_eq(a: Words, b: Words) -> Words:
    """-1 (all ones) where ``a == b``, else 0. Zeros of either sign are equal; a NaN operand gives 0."""
    return _mask(_operand(a) == _operand(b))


def fp32_exp(a: Words) -> Words:
    """e to the power of `a`: of -infinity +0, of +infinity that, and of any zero 1."""
    exponent, fraction = _parts(a)
    # |a| * log2(e), below 2**8, with FRACTION_BITS below the point, rounded down.
    product = (fraction | 1 << 23) * special.LOG2_E
    below = 23 + special.LOG2_E_BITS - 1 - special.FRACTION_BITS
    magnitude = product >> np.clip(below - exponent, 0, 63)
    power = np.where(a < 0, ~magnitude, magnitude)
    z = power & ((1 << special.FRACTION_BITS) - 1)
    p = _parabola(z, special.EXP.first_row, special.EXP.index_bits, special.EXP.falling, special.EXP.concave)
    far = np.where(a < 0, _VANISHING, _OVERFLOWING)
    scale = np.where(exponent > special.EXP_LARGEST_EXPONENT, far, power >> special.FRACTION_BITS)
    return np.where(_is_nan(a), np.int32(QUIET_NAN), _packed(np.int32(0), scale, p))


def fp32_recip(a: Words) -> Words:
    """``1 / a``: of a zero the infinity of its sign, and of an infinity the zero of its sign."""
    exponent, fraction = _parts(a)
    z = fraction << (special.FRACTION_BITS - 23)
    p = _parabola(z, special.RECIP.first_row, special.RECIP.index_bits, special.RECIP.falling, special.RECIP.concave)
    scale = np.where(_is_zero(a), _OVERFLOWING, -exponent - 1)
    return np.where(_is_nan(a), np.int32(QUIET_NAN), _packed(a & _SIGN, scale, p))


def fp32_rsqrt(a: Words) -> Words:
    """One over the square root of `a`: of a zero the infinity of its sign, of +infinity +0, below zero NaN."""
    exponent, fraction = _parts(a)
    z = fraction << (special.FRACTION_BITS - 23)
    even, odd = special.RSQRT
    first_row = np.where(exponent & 1, odd.first_row, even.first_row)
    p = _parabola(z, first_row, even.index_bits, even.falling, even.concave)
    scale = np.where(_is_zero(a), _OVERFLOWING, np.where(a == _INFINITY, _VANISHING, -(exponent >> 1) - 1))
    nan = _is_nan(a) | ((a < 0) & ~_is_zero(a))
    return np.where(nan, np.int32(QUIET_NAN), _packed(a & _SIGN, scale, p))


def fp32_tanh(a: Words) -> Words:
    """The hyperbolic tangent of `a`: of an infinity the one of its sign, and of a zero that."""
    exponent, fraction = _parts(a)
    z = fraction << (special.FRACTION_BITS - 23)
    first_row = np.full_like(exponent, special.LIMIT.first_row)
    index_bits = np.full_like(exponent, special.LIMIT.index_bits)
    for binade, span in special.TANH.items():
        first_row = np.where(exponent == binade, span.first_row, first_row)
        index_bits = np.where(exponent == binade, span.index_bits, index_bits)
    small = exponent < 0
    # m / 2, and the unit that the table lacks.
    added = np.where(small, (1 << special.FRACTION_BITS - 1) + (z >> 1) + 1, 0)
    p = _parabola(z, first_row, index_bits, small, concave=True, added=added)
    return np.where(_is_nan(a), np.int32(QUIET_NAN), _packed(a & _SIGN, np.where(small, exponent, -1), p))


def int32_to_fp32(a: Words, b: Words = _NO_ADDEND) -> Words:
    """The integer ``a + b``, modulo 2**32, as a float, rounded to nearest even. 0 gives +0."""
    return to_bits(int32_add(a, b).astype(np.float32))


def fp32_to_int32(a: Words, b: Words = _NO_ADDEND) -> Words:
    """The float `a` rounded to the nearest integer, ties to even, plus `b`, modulo 2**32.

    Where `a` exceeds int32, the limit of int32 that it exceeds, without `b`. A NaN counts as 0.
    """
    nearest = np.rint(_operand(a))
    nearest = np.where(np.isnan(nearest), 0, nearest).astype(np.float64)
    limited = np.clip(nearest, -(2.0**31), 2.0**31 - 1)
    integer = limited.astype(np.int32)
    return np.where(limited == nearest, int32_add(integer, b), integer)


def saturate_int8(a: Words) -> Words:
    """The integer `a` clamped to [-128, 127], still a 32-bit word."""
    return np.asarray(np.clip(a, np.int32(-128), np.int32(127)))


def int32_add(a: Words, b: Words) -> Words:
    """``a + b`` modulo 2**32."""
    return np.asarray(np.add(a, b))


def int32_sub(a: Words, b: Words) -> Words:
    """``a - b`` modulo 2**32."""
    return np.asarray(np.subtract(a, b))


def int32_mul(a: Words, b: Words) -> Words:
    """The low 32 bits of ``a * b``."""
    return np.asarray(np.multiply(a, b))


def int32_max(a: Words, b: Words) -> Words:
    """The larger of two signed integers."""
    return np.asarray(np.maximum(a, b))


def int32_min(a: Words, b: Words) -> Words:
    """The smaller of two signed integers."""
    return np.asarray(np.minimum(a, b))


def int32_lt(a: Words, b: Words) -> Words:
    """-1 (all ones) where ``a < b`` as signed integers, else 0."""
    return _mask(np.less(a, b))


def int32_le(a: Words, b: Words) -> Words:
    """-1 (all ones) where ``a <= b`` as signed integers, else 0."""
    return _mask(np.less_equal(a, b))


def int32_eq(a: Words, b: Words) -> Words:
    """-1 (all ones) where ``a == b``, else 0."""
    return _mask(np.equal(a, b))


@cache
def _coefficients() -> NDArray[np.int64]:
    """The table of the special functions: constants, linear and quadratic coefficients."""
    return np.array([(row.constant, row.linear, row.quadratic) for row in special.table()], np.int64).T


def _parts(words: Words) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Exponent without bias, and fraction."""
    wide = np.asarray(words, np.int64)
    return (wide >> 23 & 0xFF) - 127, wide & 0x7F_FFFF


def _parabola(
    z: NDArray[np.int64],
    first_row: NDArray[np.int64] | int,
    index_bits: NDArray[np.int64] | int,
    falling: NDArray[np.bool_] | bool,
    concave: bool,
    added: NDArray[np.int64] | int = 0,
) -> NDArray[np.int64]:
    """The significand p at the reduced argument `z`, in units of 2**-_SIGNIFICAND_BITS: `special`, steps 2 and 3.

    `added` is what the table lacks, in units of its constants.
    """
    constant, linear, quadratic = _coefficients()[:, first_row + (z >> (special.FRACTION_BITS - index_bits))]
    offset = (z << index_bits & ((1 << special.FRACTION_BITS) - 1)) >> (special.FRACTION_BITS - special.OFFSET_BITS)
    lower = offset >> special.DISTANCE_BITS == 0
    distance = np.where(lower, ~offset, offset) & ((1 << special.DISTANCE_BITS) - 1)
    down = lower ^ falling
    bend = quadratic * distance >> special.STEP_SHIFT
    middle, half = linear << special.GUARD_BITS, 1 << special.GUARD_BITS - 1
    slope = (middle + np.where(down ^ concave, ~bend, bend) + half) >> special.GUARD_BITS
    half_step, step = slope >> special.HALF_STEP_SHIFT, slope * distance >> special.STEP_SHIFT
    p = (constant + added << special.GUARD_BITS) + np.where(down, ~step, step) + np.where(down, ~half_step, half_step)
    return np.asarray(p & ((1 << _SIGNIFICAND_BITS) - 1))


def _packed(sign: Words | np.int32, exponent: NDArray[np.int64], p: NDArray[np.int64]) -> Words:
    """The float 2p * 2**exponent with a sign; `p` is in [1/4, 1), in units of 2**-_SIGNIFICAND_BITS."""
    below_half = p >> (_SIGNIFICAND_BITS - 1) == 0
    normalised = np.where(below_half, p << 1, p)
    lost = _SIGNIFICAND_BITS - 24
    # Half a unit less its last bit, and the last bit kept: ties go to even.
    rounded = normalised + (1 << lost - 1) - 1 + (normalised >> lost & 1) >> lost
    pattern = (exponent - below_half + 126 << 23) + rounded
    finite = np.where(pattern < _SMALLEST_NORMAL, 0, np.minimum(pattern, _INFINITY))
    return np.asarray(finite.astype(np.int32) | sign)


def _is_nan(words: Words) -> NDArray[np.bool_]:
    return np.asarray((words & _MAGNITUDE) > _INFINITY)


def _is_zero(words: Words) -> NDArray[np.bool_]:
    """Zero or a subnormal."""
    return np.asarray((words & _MAGNITUDE) < _SMALLEST_NORMAL)


def _flush(words: Words) -> Words:
    """`words` with every subnormal replaced by the zero of its sign."""
    return np.where(_is_zero(words), words & _SIGN, words)


def _operand(words: Words) -> NDArray[np.float64]:
    """The values the VXM reads from `words`, exactly."""
    with np.errstate(invalid="ignore"):  # widening a signalling NaN
        return np.asarray(from_bits(_flush(words)).astype(np.float64))


def _arithmetic(operation: Callable[..., NDArray[np.float64]], a: Words, b: Words) -> Words:
    """`operation` on the operands' values, rounded to a VXM float."""
    with np.errstate(all="ignore"):
        wide = operation(_operand(a), _operand(b))
        kept = np.where(np.abs(wide) < _FLUSH_BELOW, np.copysign(0.0, wide), wide)
        rounded = to_bits(kept.astype(np.float32))
    return np.where(np.isnan(wide), np.int32(QUIET_NAN), rounded)


def _select(choose: Callable[..., Words], a: Words, b: Words) -> Words:
    """`choose` between flushed operands by their place on the number line, -0 before +0; NaN if either is."""
    chosen = _mirror(choose(_mirror(_flush(a)), _mirror(_flush(b))))
    return np.where(_is_nan(a) | _is_nan(b), np.int32(QUIET_NAN), chosen)


def _mirror(words: Words) -> Words:
    """Patterns to integers of the same order as the numbers, and back: it is its own inverse."""
    return np.where(words < 0, words ^ _MAGNITUDE, words)


def _mask(condition: NDArray[np.bool_]) -> Words:
    return np.where(condition, np.int32(-1), np.int32(0))
