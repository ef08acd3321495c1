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
"""

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "QUIET_NAN",
    "Words",
    "fp32_add",
    "fp32_eq",
    "fp32_le",
    "fp32_lt",
    "fp32_max",
    "fp32_min",
    "fp32_mul",
    "fp32_sub",
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

QUIET_NAN: Final = 0x7FC0_0000
"""The one NaN the VXM produces."""

_SIGN: Final = np.int32(-(2**31))
_MAGNITUDE: Final = np.int32(2**31 - 1)
_SMALLEST_NORMAL: Final = np.int32(0x0080_0000)
_INFINITY: Final = np.int32(0x7F80_0000)
# Halfway between 2**-126 and the 24-bit number below it; the tie goes to 2**-126, whose significand is even.
_FLUSH_BELOW: Final = 2.0**-126 - 2.0**-151


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


def int32_to_fp32(a: Words) -> Words:
    """The integer `a` as a float, rounded to nearest even. 0 gives +0."""
    return to_bits(np.asarray(a, np.int32).astype(np.float32))


def fp32_to_int32(a: Words) -> Words:
    """The float `a` rounded to the nearest integer, ties to even, saturated to int32. NaN gives 0."""
    nearest = np.rint(_operand(a))
    saturated = np.clip(nearest, -(2.0**31), 2.0**31 - 1)
    return np.asarray(np.where(np.isnan(saturated), 0, saturated).astype(np.int32))


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


def _flush(words: Words) -> Words:
    """`words` with every subnormal replaced by the zero of its sign."""
    return np.where((words & _MAGNITUDE) < _SMALLEST_NORMAL, words & _SIGN, words)


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
    nan = ((a & _MAGNITUDE) > _INFINITY) | ((b & _MAGNITUDE) > _INFINITY)
    return np.where(nan, np.int32(QUIET_NAN), _mirror(choose(_mirror(_flush(a)), _mirror(_flush(b)))))


def _mirror(words: Words) -> Words:
    """Patterns to integers of the same order as the numbers, and back: it is its own inverse."""
    return np.where(words < 0, words ^ _MAGNITUDE, words)


def _mask(condition: NDArray[np.bool_]) -> Words:
    return np.where(condition, np.int32(-1), np.int32(0))
