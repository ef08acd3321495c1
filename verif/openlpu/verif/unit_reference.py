# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The operations of the VXM in the floats of the machine: a reference that shares nothing with `openlpu.arch.numerics`.

Sums, products and comparisons are single float32 operations of numpy, which are IEEE-754, between operands without
subnormals; what the VXM does differently with their results is put right afterwards. (`numerics` computes in float64.)

The special functions are numpy's in float64. Their error is a few 2**-53 of the value, which is below 2**-27 of the
unit in the last place of a float32: an error measured with them is right to seven digits.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from openlpu.arch.numerics import Words

__all__ = ["OPERATIONS", "special_errors"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_SMALLEST = np.float32(2.0**-126)
_BELOW_NORMAL = 2.0**-126 * (1 - 2.0**-24)
_LARGEST = 2.0**128 * (1 - 2.0**-24)
_NAN = np.uint32(0x7FC0_0000).view(np.float32)
_FUNCTIONS: Mapping[str, Callable[[Doubles], Doubles]] = {
    "exp": np.exp,
    "recip": lambda x: 1 / x,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "tanh": np.tanh,
}


def _flushed(values: Floats) -> Floats:
    return np.where(np.abs(values) < _SMALLEST, np.copysign(np.float32(0), values), values)


def _read(words: Words) -> Floats:
    return _flushed(words.view(np.float32))


def _written(values: Floats) -> Words:
    assert values.dtype == np.float32
    return np.where(np.isnan(values), _NAN, _flushed(values)).view(np.int32)


def _sum(x: Words, y: Words) -> Words:
    # A sum below the normal range is exact, so it matters not when it is compared with that range.
    return _written(_read(x) + _read(y))


def _difference(x: Words, y: Words) -> Words:
    return _written(_read(x) - _read(y))


def _product(x: Words, y: Words) -> Words:
    a, b = _read(x), _read(y)
    # IEEE-754 rounds what is below the normal range to fewer bits. The VXM rounds first, so have the product above it.
    small, large = np.where(np.abs(a) < np.abs(b), a, b), np.where(np.abs(a) < np.abs(b), b, a)
    raised = (small * np.float32(2.0**100)) * large
    vanishes = (np.abs(small) < 1) & (np.abs(raised) < np.float32(2.0**-26))
    return _written(np.where(vanishes, np.copysign(np.float32(0), raised), a * b))


def _larger(x: Words, y: Words) -> Words:
    a, b = _read(x), _read(y)
    chosen = np.where((a > b) | ((a == b) & np.signbit(b)), a, b)
    return _written(np.where(np.isnan(a) | np.isnan(b), _NAN, chosen))


def _smaller(x: Words, y: Words) -> Words:
    a, b = _read(x), _read(y)
    chosen = np.where((a < b) | ((a == b) & np.signbit(a)), a, b)
    return _written(np.where(np.isnan(a) | np.isnan(b), _NAN, chosen))


def _mask(holds: NDArray[np.bool_]) -> Words:
    return -holds.astype(np.int32)


def _nearest_integer(x: Words, y: Words) -> Words:
    nearest = np.rint(_read(x))
    nearest = np.where(np.isnan(nearest), np.float32(0), nearest)
    # -2**31 is an int32, too: what is beside it is further away by more than one.
    inside = (nearest >= np.float32(-(2.0**31))) & (nearest < np.float32(2.0**31))
    limit = np.where(nearest < 0, -(2**31), 2**31 - 1)
    return np.where(inside, _wrapped_sum(np.where(inside, nearest, 0).astype(np.int32), y), limit).astype(np.int32)


def _larger_integer(x: Words, y: Words) -> Words:
    return np.where(x > y, x, y)


def _low_word(operation: Callable[..., NDArray[np.int64]]) -> Callable[..., Words]:
    """An operation on integers as one on wide integers, of whose result the low 32 bits are kept."""

    def apply(*operands: Words) -> Words:
        wide = operation(*(operand.astype(np.int64) for operand in operands))
        return (wide & 0xFFFF_FFFF).astype(np.uint32).view(np.int32)

    return apply


_wrapped_sum = _low_word(np.add)

OPERATIONS: Mapping[str, Callable[..., Words]] = {
    "pass": lambda x: x,
    "iadd": _wrapped_sum,
    "isub": _low_word(np.subtract),
    "imul": _low_word(np.multiply),
    "imax": _larger_integer,
    "imin": lambda x, y: _larger_integer(y, x) ^ x ^ y,
    "ilt": lambda x, y: _mask(x < y),
    "ile": lambda x, y: _mask(x <= y),
    "ieq": lambda x, y: _mask(x == y),
    "and": lambda x, y: x & y,
    "or": lambda x, y: x | y,
    "xor": lambda x, y: x ^ y,
    "i2f": lambda x, y: _wrapped_sum(x, y).astype(np.float64).astype(np.float32).view(np.int32),
    "f2i": _nearest_integer,
    "fadd": _sum,
    "fsub": _difference,
    "fmul": _product,
    "fmax": _larger,
    "fmin": _smaller,
    "flt": lambda x, y: _mask(_read(x) < _read(y)),
    "fle": lambda x, y: _mask(_read(x) <= _read(y)),
    "feq": lambda x, y: _mask(_read(x) == _read(y)),
}
"""By mnemonic: what the result is, bit for bit. They may raise numpy's floating-point warnings.

The special functions are not here, as they have a bound: `special_errors`.
"""


def special_errors(mnemonic: str, x: Words, results: Words) -> Doubles:
    """How far results of a special function are from the exact values, in units of the last place of those.

    Beyond the normal range a result of zero, or infinity, stands for any number there. The error is infinite where a
    result has the wrong sign, is a NaN without need, or is not the one NaN where there is no value.
    """
    with np.errstate(all="ignore"):
        exact = _FUNCTIONS[mnemonic](_read(x).astype(np.float64))
        got = results.view(np.float32).astype(np.float64)
        size, found = np.abs(exact), np.abs(got)
        unit = np.ldexp(1.0, np.frexp(size.clip(2.0**-126, _LARGEST))[1] - 24)
        found = np.where(found == 0, np.minimum(size, _BELOW_NORMAL), found)
        found = np.where(np.isinf(found), np.maximum(size, 2.0**128), found)
        error = np.where(found == size, 0.0, np.abs(found - size) / unit)
    absent = np.isnan(exact)
    wrong = np.isnan(got) | (np.signbit(got) != np.signbit(exact))
    error = np.where(wrong, np.inf, error)
    return np.where(absent, np.where(results == _NAN.view(np.int32), 0.0, np.inf), error)
