# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The binary32 format of the VXM, and the logic that its units share.

Units whose result is rounded end in the same two steps: `round_significand` takes a significand of any width with its
leading one at the top, and `pack` decides on underflow, overflow and the special values, after the rounding.
"""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data

from .signals import named

__all__ = [
    "BIAS",
    "INFINITE_EXPONENT",
    "QUIET_NAN",
    "clamped",
    "extremes",
    "fields",
    "is_infinite",
    "is_nan",
    "is_zero",
    "pack",
    "round_significand",
    "rounded_sum",
    "rounds_up",
    "shifted_left",
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


def shifted_left(m: Module, value: Value, amounts: Sequence[int], fill: Value) -> tuple[Value, Value]:
    """`value` shifted left, at its width, by each of `amounts` in turn whose bits at its top are all `fill`.

    Also which of them it was shifted by, the last one lowest: of halving amounts, the binary distance.
    """
    taken = []
    for amount in amounts:
        empty = named(m, f"empty_{amount}", ~(value[-amount:] ^ fill.replicate(amount)).any())
        value = named(m, f"raised_{amount}", Mux(empty, value << amount, value)[: len(value)])
        taken.append(empty)
    return value, Cat(reversed(taken))


def rounds_up(normalised: Value) -> Value:
    """Whether the 24 bits at the top of `normalised` are to be increased to be the nearest, or the even one of two."""
    return normalised[-25] & (normalised[:-25].any() | normalised[-24])


def rounded_sum(
    m: Module, significand: Value, increment: Value, exponent: Value, correction: Value
) -> dict[str, Value]:
    """A significand of 24 bits, increased or not, at the exponent that is the sum of the last two.

    One carry chain does both: in `rounded` the fraction lies below a signed exponent of 10 bits.
    """
    unrounded, added = Signal(signed(10)), Signal(signed(10))
    m.d.comb += [unrounded.eq(exponent), added.eq(correction)]
    return {
        "rounded": (Cat(significand[:23], unrounded) + Cat(increment, Const(0, 22), added))[:33],
        "nonzero": significand[23],
    }


def round_significand(m: Module, normalised: Value, exponent: Value) -> dict[str, Value]:
    """Round the significand at the top of `normalised` to 24 bits; its carry runs on into the exponent."""
    return rounded_sum(m, normalised[-24:], rounds_up(normalised), exponent, Const(0))


def extremes(rounded: Value, nonzero: Value) -> tuple[Value, Value]:
    """Whether what was rounded is beyond the normal range, and whether it is below it, or zero."""
    exponent = rounded[23:]
    overflow = ~exponent[9] & (exponent[8] | exponent[:8].all())
    return overflow, ~nonzero | exponent[9] | ~exponent.any()


def pack(m: Module, sign: Value, rounded: Value, nonzero: Value, nan: Value, infinite: Value) -> dict[str, Value]:
    """The float with a sign that is NaN, infinite, or `rounded`, as far as that is normal; the first that holds."""
    overflow, underflow = extremes(rounded, nonzero)
    o = Signal(32)
    with m.If(nan):
        m.d.comb += o.eq(QUIET_NAN)
    with m.Elif(infinite | overflow):
        m.d.comb += o.eq(Cat(Const(_INFINITY, 31), sign))
    with m.Elif(underflow):
        m.d.comb += o.eq(Cat(Const(0, 31), sign))
    with m.Else():
        m.d.comb += o.eq(Cat(rounded[:31], sign))
    return {"o": o}
