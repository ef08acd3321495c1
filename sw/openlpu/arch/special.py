# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The special functions of the VXM: what exp, recip, rsqrt and tanh are, in integers.

One method serves all four, so that one datapath can. The argument is reduced to a fraction z in [0, 1) and a power of
two; z picks a row of a table of parabolas; the parabola gives a significand p, which is rounded to a float:

1. *Reduce.* z has `FRACTION_BITS` bits, p is near [1/2, 1), m = 1 + z is the significand of x, and the result is
   2p * 2**n:

   - recip: 1 / m = p, n = -e - 1 for x = m * 2**e.
   - rsqrt: 1 / sqrt(m) = p for even e, 1 / sqrt(2m) = p for odd e; n = -floor(e / 2) - 1.
   - exp: n + z = x * log2(e), rounded down; 2**z / 2 = p. The constant is `LOG2_E`. The product with the significand of
     |x| is shifted into place; below zero, all its bits are inverted, which is its floor too as it is never whole.
   - tanh, 1 <= |x|: tanh |x| = p, n = -1, from a table of its own for every e.
   - tanh, |x| < 1: p = m / 2 - c, n = e. The table holds 1 - c, less one unit, which is added with m; so c, and with it
     the table, may be rough where |x| is small, and tanh x = x where c vanishes.

2. *Look up.* A `Span` is a part of the table: z's highest `index_bits` bits pick the row, and the `OFFSET_BITS` below
   them say where in the row's segment z is, from one end (all zeros) to the other.
3. *Evaluate.* The highest bit of the offset says which half of the segment; the others, inverted in the lower half, are
   the distance d from the middle, `DISTANCE_BITS` wide. The coefficients are magnitudes. With the signs that
   `Span.falling` and `Span.concave` give,

       slope = (linear   << GUARD_BITS) +- (quadratic * d >> STEP_SHIFT), rounded to its place above GUARD_BITS
       p     = (constant << GUARD_BITS) +- (slope * d >> STEP_SHIFT) +- (slope >> HALF_STEP_SHIFT)

   where a term taken away is added with its bits inverted; p is modulo one. Inverting mirrors the offset about a point
   between two values, so d stands for d and a half; the last term is that half.
4. *Round.* p is normalised, being below 1/2 by at most one place, and rounded to nearest even. Overflow, underflow and
   NaN follow the rules of `openlpu.arch.numerics`, and so does a subnormal operand, which is a zero.

The coefficients come from `decimal`, which is correctly rounded, so they are the same on every machine.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from functools import cache
from typing import Final

__all__ = [
    "ADDRESS_BITS",
    "DISTANCE_BITS",
    "EXP",
    "EXP_LARGEST_EXPONENT",
    "FRACTION_BITS",
    "GUARD_BITS",
    "HALF_STEP_SHIFT",
    "LIMIT",
    "LINEAR_BITS",
    "LOG2_E",
    "LOG2_E_BITS",
    "MAX_ULP",
    "OFFSET_BITS",
    "QUADRATIC_BITS",
    "RECIP",
    "RSQRT",
    "SPANS",
    "STEP_SHIFT",
    "TANH",
    "Row",
    "Span",
    "table",
]

MAX_ULP: Final[Mapping[str, float]] = {"exp": 1.0, "recip": 1.0, "rsqrt": 1.0, "tanh": 1.5}
"""How far a result can be from the exact value, in units of the last place of the exact value."""

FRACTION_BITS: Final = 26
"""Bits of the reduced argument z below its point, and of the coefficients below theirs."""
OFFSET_BITS: Final = 19
"""Bits of z that say where in its segment it is. Where fewer are left below the index, zeros follow."""
DISTANCE_BITS: Final = OFFSET_BITS - 1
"""Bits of the distance from the middle of the segment."""
LINEAR_BITS: Final = 18
"""Bits of the linear coefficient, and of the slope."""
QUADRATIC_BITS: Final = 11
"""Bits of the quadratic coefficient."""
GUARD_BITS: Final = 4
"""Bits of the slope and of the significand p below those of the coefficients, before they are rounded."""
STEP_SHIFT: Final = DISTANCE_BITS - GUARD_BITS
HALF_STEP_SHIFT: Final = STEP_SHIFT + 1
ADDRESS_BITS: Final = 10
"""Bits of the address of a row; there are at most 1024."""

LOG2_E_BITS: Final = 36
"""Bits of `LOG2_E`, one of them above the point."""
EXP_LARGEST_EXPONENT: Final = 6
"""From 2**7 on, exp overflows or vanishes."""

_CONTEXT = Context(prec=40, rounding=ROUND_HALF_EVEN)
_SQRT_3_4 = Decimal("0.8660254037844386467637231707529361834714")
_HALF = Decimal("0.5")


@dataclass(frozen=True)
class Row:
    """The parabola of one segment, in units of 2**-FRACTION_BITS over half of the segment's width.

    `constant`, the value in the middle, is in [1/2, 1): its highest bit is always one.
    """

    constant: int
    linear: int
    quadratic: int


@dataclass(frozen=True)
class Span:
    """2**index_bits consecutive rows of the table, the first at a multiple of their number.

    `curve` is what they hold as a function of z. It falls if `falling`, and else rises; it bends down if `concave`, and
    else up. `floored`: the offset has been rounded down, and not cut from an argument whose other bits are zeros.
    """

    first_row: int
    index_bits: int
    curve: Callable[[Decimal], Decimal]
    falling: bool = False
    concave: bool = False
    floored: bool = False


def _tanh(x: Decimal) -> Decimal:
    power = (2 * x).exp()
    return (power - 1) / (power + 1)


def _tanh_span(exponent: int, first_row: int, index_bits: int) -> Span:
    scale = Decimal(2) ** exponent

    def value(z: Decimal) -> Decimal:
        return _tanh(scale * (1 + z))

    def complement(z: Decimal) -> Decimal:
        return 1 - ((1 + z) - value(z) / scale) / 2 - Decimal(2) ** -FRACTION_BITS

    falling = exponent < 0
    return Span(first_row, index_bits, complement if falling else value, falling=falling, concave=True)


RECIP: Final = Span(0, 8, lambda z: 1 / (1 + z), falling=True)
RSQRT: Final = (
    Span(256, 7, lambda z: 1 / (1 + z).sqrt(), falling=True),
    Span(384, 7, lambda z: 1 / (2 * (1 + z)).sqrt(), falling=True),
)
"""For an even exponent of x, and for an odd one."""
EXP: Final = Span(512, 7, lambda z: (z * Decimal(2).ln()).exp() / 2, floored=True)
TANH: Final[Mapping[int, Span]] = {
    exponent: _tanh_span(exponent, first_row, index_bits)
    for exponent, first_row, index_bits in (
        (2, 640, 6),
        (1, 704, 6),
        (0, 768, 6),
        (-1, 832, 6),
        (-2, 896, 5),
        (-3, 928, 5),
        (-4, 960, 4),
        (-5, 976, 3),
        (-6, 984, 3),
        (3, 992, 3),
        (-7, 1000, 2),
        (-8, 1004, 2),
        (-9, 1008, 1),
        (-10, 1010, 1),
        (-11, 1012, 1),
        (-12, 1014, 1),
    )
}
"""By exponent of x, as far as tanh x is neither x nor 1."""
LIMIT: Final = Span(1016, 0, lambda z: 1 - Decimal(2) ** -FRACTION_BITS)
"""The value just below one: for tanh of any other exponent."""

SPANS: Final = tuple(sorted((RECIP, *RSQRT, EXP, *TANH.values(), LIMIT), key=lambda span: span.first_row))
"""The whole table, in the order of addresses and without gaps."""


def _log2_e() -> int:
    with localcontext(_CONTEXT):
        return round((1 << LOG2_E_BITS - 1) / Decimal(2).ln())


LOG2_E: Final = _log2_e()
"""log2(e) with `LOG2_E_BITS` bits."""


@cache
def table() -> tuple[Row, ...]:
    """The coefficients of every row, by address; rows past the last span are not there."""
    with localcontext(_CONTEXT):
        return tuple(_fitted(span, index) for span in SPANS for index in range(1 << span.index_bits))


def _fitted(span: Span, index: int) -> Row:
    """The parabola through the curve at the Chebyshev nodes of a segment.

    Its constant is centred between the errors that are left with the others rounded, but keeps the parabola below one.
    """
    # What an offset is taken for lies half a unit above it.
    shift = Decimal(0 if span.floored else 1) / (1 << OFFSET_BITS)

    def curve(t: Decimal) -> Decimal:
        return span.curve((index + (t - shift + 1) / 2) / (1 << span.index_bits)) * (1 << FRACTION_BITS)

    low, middle, high = curve(-_SQRT_3_4), curve(Decimal(0)), curve(_SQRT_3_4)
    linear = round((high - low) / (2 * _SQRT_3_4))
    quadratic = round((high + low - 2 * middle) / (2 * _SQRT_3_4**2))
    rest = [curve(t) - linear * t - quadratic * t * t for t in (Decimal(-1), -_HALF, Decimal(0), _HALF, Decimal(1))]
    centred = round((max(rest) + min(rest)) / 2)
    rise = abs(linear) + quadratic
    return Row(min(centred, (1 << FRACTION_BITS) - max(rise, 1)), abs(linear), abs(quadratic))
