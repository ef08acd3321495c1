# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The binary32 format of the VXM, and the logic that its units share.

Units whose result is rounded end in the same two steps: `round_significand` takes a significand of any width with its
leading one at the top, and `pack` decides on underflow, overflow and the special values, after the rounding.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data

__all__ = [
    "BIAS",
    "INFINITE_EXPONENT",
    "QUIET_NAN",
    "clamped",
    "fields",
    "is_infinite",
    "is_nan",
    "is_zero",
    "pack",
    "round_significand",
    "shifted_right",
]

_FLOAT = data.StructLayout({"fraction": 23, "exponent": 8, "sign": 1})
BIAS = 127
INFINITE_EXPONENT = 255
_INFINITY = INFINITE_EXPONENT << 23
QUIET_NAN = 0x7FC0_0000


def fields(word: Value) -> data.View:
    """`fraction`, biased `exponent` and `sign` of a float."""
    return data.View(_FLOAT, word)


def is_zero(word: Value) -> Value:
    """Zero or a subnormal."""
    return ~fields(word).exponent.any()


def is_infinite(word: Value) -> Value:
    """Either infinity."""
    return fields(word).exponent.all() & ~fields(word).fraction.any()


def is_nan(word: Value) -> Value:
    """Any NaN."""
    return fields(word).exponent.all() & fields(word).fraction.any()


def clamped(distance: Value, width: int) -> Value:
    """An unsigned `distance`, or the largest of `width` bits if it does not fit them."""
    return distance[:width] | distance[width:].any().replicate(width)


def shifted_right(m: Module, value: Value, distance: Value, *, unit: int = 1) -> tuple[Value, Value]:
    """`value` shifted right by `distance` times `unit` bits, at its width, and whether a one was shifted out."""
    width = len(value)
    lost = []
    for level in reversed(range(len(distance))):
        amount = unit << level
        lost.append(distance[level] & value[:amount].any())
        shifted = Signal(width, name=f"shifted_{amount}")
        m.d.comb += shifted.eq(Mux(distance[level], value[amount:], value))
        value = shifted
    return value, Cat(*lost).any()


def round_significand(m: Module, normalised: Value, exponent: Value) -> dict[str, Value]:
    """Round the significand at the top of `normalised` to 24 bits; its carry runs on into the exponent.

    Whether that carry leaves the normal range, or enters it, is found beside the carry chain and not after it.
    """
    significand, half, rest = normalised[-24:], normalised[-25], normalised[:-25].any()
    increment = half & (rest | significand[0])
    carry = increment & significand.all()
    unbounded = Signal(signed(10))
    m.d.comb += unbounded.eq(exponent)
    return {
        "rounded": (Cat(significand[:23], unbounded[:8]) + increment)[:31],
        "overflow": (unbounded >= INFINITE_EXPONENT) | ((unbounded == INFINITE_EXPONENT - 1) & carry),
        "underflow": ~normalised[-1] | (unbounded < 0) | ((unbounded == 0) & ~carry),
    }


def pack(
    m: Module, sign: Value, rounded: Value, overflow: Value, underflow: Value, nan: Value, infinite: Value
) -> dict[str, Value]:
    """The float with a sign that is NaN, infinite, or `rounded`, as far as that is normal; the first that holds."""
    o = Signal(32)
    with m.If(nan):
        m.d.comb += o.eq(QUIET_NAN)
    with m.Elif(infinite | overflow):
        m.d.comb += o.eq(Cat(Const(_INFINITY, 31), sign))
    with m.Elif(underflow):
        m.d.comb += o.eq(Cat(Const(0, 31), sign))
    with m.Else():
        m.d.comb += o.eq(Cat(rounded, sign))
    return {"o": o}
