# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The arithmetic units of the VXM, equal bit for bit to `openlpu.arch.numerics`.

Every unit is a `Datapath`: a list of steps, cut by registers to the depth the timing table gives. The delays of the
steps are nanoseconds of an ECP5, as placed and routed, less what every stage pays for its register; a step whose
special-case flags are slower than its data counts the data, since only those wait for the step before.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value
from amaranth.lib import enum
from amaranth.lib.wiring import In, Out

from .floats import (
    BIAS,
    clamped,
    extremes,
    fields,
    is_infinite,
    is_nan,
    is_zero,
    pack,
    rounded_sum,
    rounds_up,
    shifted_left,
    shifted_right,
)
from .pipeline import Datapath, Step
from .shared import Replaceable
from .signals import named
from .sums import gated_sum

__all__ = ["NARROW", "SIGNIFICAND", "AddOp", "FpAdd", "FpMul", "FpToInt", "IntToFp", "Mul", "NarrowProduct"]


class AddOp(enum.Enum, shape=4):
    """What an `FpAdd` does with its operands. The highest bit tells the operations on bits."""

    ADD = 0
    SUB = 1
    MAX = 2
    MIN = 3
    LT = 4
    LE = 5
    EQ = 6
    PASS = 7
    AND = 8
    OR = 9
    CONVERT = 10


class FpAdd(Datapath):
    """Sums, and what can be told from the comparison that a sum begins with.

    ``a + b`` and ``a - b``: `numerics.fp32_add` and `fp32_sub`; the larger or smaller operand, or an all-ones mask
    where a relation holds: `fp32_max`, `fp32_min`, `fp32_lt`, `fp32_le` and `fp32_eq`; bit by bit, `a`, ``a & b`` or
    ``a | b``; or the sum of two integers as a float, as `IntToFp` makes it. The result for a value of `op` outside
    `AddOp` is any word.

    The operand of smaller magnitude is shifted right to the exponent of the larger one and added to it or taken from
    it, so the sum is never negative. Three bits below the significand suffice: the last of them collects everything
    shifted out. What is no sum is a word known as soon as the operands are compared, which takes the place of the
    larger operand and has nothing added to it, or one of equal bits. Integers are added where floats are compared;
    their sum then is the smaller operand beside a larger one of 0, and is taken from that if it is negative.
    """

    a: Signal
    b: Signal
    op: Signal

    def __init__(self, *, depth: int) -> None:
        super().__init__(
            inputs={"a": 32, "b": 32, "op": Shape.cast(AddOp).width},
            output=32,
            steps=[
                Step(_compare_magnitudes, delay=3.5),
                Step(_swap, delay=3),
                Step(_classify, delay=3),
                Step(_align, delay=5),
                Step(_add, delay=5),
                Step(_normalise_far, delay=4),
                Step(_normalise_middle, delay=5),
                Step(_normalise_near, delay=3.5),
                Step(rounded_sum, delay=4),
                Step(_choose_sum, delay=5),
            ],
            depth=depth,
        )


class Mul(Datapath):
    """``a * b`` of floats, or the low word of the product of integers where `integer`: `fp32_mul` and `int32_mul`.

    Both share one multiplier. The low 32 bits of a product are the same for signed and unsigned operands, so integers
    enter as they are; significands enter with their leading one. With `keeps`, beside `integer` and where `b` is 0, it
    is `a`: its product with 1.
    """

    a: Signal
    b: Signal
    integer: Signal
    keeps: Signal

    def __init__(self, *, depth: int) -> None:
        super().__init__(
            inputs={"a": 32, "b": 32, "integer": 1, "keeps": 1},
            output=32,
            steps=[
                Step(_factors, delay=1),
                Step(_multiply, delay=6),
                Step(_sum_products, delay=5),
                Step(_normalise_product, delay=2),
                Step(_round_product, delay=4.5),
                Step(pack, delay=4),
                Step(_choose_product, delay=1),
            ],
            depth=depth,
        )


class FpMul(Datapath):
    """``a * b`` of floats: `numerics.fp32_mul`.

    It takes fewer multipliers than `Mul`, of the 18 bits that those of many devices have. With `keeps`, where `b` is 0,
    it is `a`, whatever word that is: its product with 1.0, of which nothing is rounded, nor any value special.
    """

    a: Signal
    b: Signal
    keeps: Signal

    def __init__(self, *, depth: int) -> None:
        super().__init__(
            inputs={"a": 32, "b": 32, "keeps": 1},
            output=32,
            steps=[
                Step(_significands, delay=0),
                Step(_multiply_significands, delay=8),
                Step(_sum_significand_products, delay=5),
                Step(_normalise_product, delay=2),
                Step(_round_product, delay=4.5),
                Step(_pack_product, delay=4),
            ],
            depth=depth,
        )


SIGNIFICAND = 24
"""The width of a significand with its leading one."""
NARROW = SIGNIFICAND - 18
"""The width of the narrow factor: what a multiplier of 18 bits leaves of a significand."""


class NarrowProduct(Replaceable):
    """`o` is the unsigned product of a narrow `x` and a significand `y`, with no register.

    A multiplier is mostly wasted on it. In Verilog it is always the module `narrow_product`.
    """

    x: Signal
    y: Signal
    o: Signal

    def __init__(self) -> None:
        ports = {"x": In(NARROW), "y": In(SIGNIFICAND), "o": Out(NARROW + SIGNIFICAND)}
        super().__init__(ports, module_name="narrow_product")

    def body(self) -> Module:
        """The product."""
        m = Module()
        m.d.comb += self.o.eq(self.x * self.y)
        return m


class IntToFp(Datapath):
    """The sum of the integers `a` and `b`, modulo 2**32, as a float: `int32_to_fp32` of `int32_add`."""

    a: Signal
    b: Signal

    def __init__(self, *, depth: int) -> None:
        super().__init__(
            inputs={"a": 32, "b": 32},
            output=32,
            steps=[
                Step(_sum_integers, delay=3),
                Step(_raise_far, delay=4),
                Step(_raise_middle, delay=5),
                Step(_raise_near, delay=2),
                Step(_round_integer, delay=6),
            ],
            depth=depth,
        )


class FpToInt(Datapath):
    """The float `a` as the nearest integer, plus `b` modulo 2**32; beyond int32, the limit alone.

    With `b` 0 it is `numerics.fp32_to_int32`; as there, a NaN counts as 0. With `keeps`, where `b` is 0, it is `a`,
    which is shifted as little as the largest integer, and not rounded.
    """

    a: Signal
    b: Signal
    keeps: Signal

    def __init__(self, *, depth: int) -> None:
        super().__init__(
            inputs={"a": 32, "b": 32, "keeps": 1},
            output=32,
            steps=[
                Step(_distance_to_units, delay=3.5),
                Step(_shift_far, delay=4),
                Step(_shift_near, delay=3),
                Step(_round_to_units, delay=5),
            ],
            depth=depth,
        )


# --- steps of the adder ---

_OF_INTEGERS = BIAS + 30
"""The exponent of a significand whose leading one weighs as much as the highest bit but one of an integer."""


def _compare_magnitudes(m: Module, a: Value, b: Value, op: Value) -> dict[str, Value]:
    converts = named(m, "converts", op == AddOp.CONVERT)
    total = gated_sum(
        m,
        "compared",
        a=Cat(a[:31], a[31] & converts),
        takes_a=Const(1),
        b=Cat(b[:31], b[31] & converts),
        inverts_b=~converts,
        carry=~converts,
    )
    return {"swap": total[31], "alike": ~total[:31].any(), "converts": converts, "integer": Mux(converts, total, 0)}


def _swap(
    m: Module, a: Value, b: Value, op: Value, swap: Value, alike: Value, converts: Value, integer: Value
) -> dict[str, Value]:
    x, y = fields(a), fields(b)
    a_zero, b_zero = named(m, "a_zero", is_zero(a)), named(m, "b_zero", is_zero(b))
    zeros = named(m, "zeros", a_zero & b_zero)
    opposite = x.sign ^ y.sign ^ (op == AddOp.SUB)
    mixed = x.sign ^ y.sign
    # Unless they are equal. To a maximum and a minimum -0 is less than +0, in a relation it is not.
    less, equal = named(m, "less", x.sign ^ (~mixed & swap)), zeros | (alike & ~mixed)
    takes_a, takes_b, holds = Signal(name="takes_a"), Signal(name="takes_b"), Signal(name="holds")
    with m.Switch(op):
        with m.Case(AddOp.PASS):
            m.d.comb += takes_a.eq(1)
        with m.Case(AddOp.MAX):
            m.d.comb += [takes_a.eq(~less), takes_b.eq(less)]
        with m.Case(AddOp.MIN):
            m.d.comb += [takes_a.eq(less), takes_b.eq(~less)]
        with m.Case(AddOp.LT):
            m.d.comb += [takes_a.eq(1), holds.eq(less & ~equal)]
        with m.Case(AddOp.LE):
            m.d.comb += [takes_a.eq(1), holds.eq(less | equal)]
        with m.Case(AddOp.EQ):
            m.d.comb += [takes_a.eq(1), holds.eq(equal)]
        with m.Case(AddOp.AND):
            m.d.comb += [takes_a.eq(0), takes_b.eq(0)]
        with m.Case(AddOp.OR):
            m.d.comb += [takes_a.eq(1), takes_b.eq(1)]
        with m.Default():
            m.d.comb += [takes_a.eq(~swap), takes_b.eq(swap)]
    bounds, bitwise = op.matches(AddOp.MAX, AddOp.MIN), op.matches(AddOp.AND, AddOp.OR)
    sums = named(m, "sums", op.matches(AddOp.ADD, AddOp.SUB))
    # With neither it is ``a & b``, with both ``a | b``.
    larger = (a & b) | (a & takes_a.replicate(32)) | (b & takes_b.replicate(32))
    smaller = Mux(takes_b, a, b)
    # An exact difference of zero is +0.
    cancels = opposite & (alike | zeros)
    sign = Mux(swap, y.sign ^ (op == AddOp.SUB), x.sign) & ~cancels
    return {
        "larger": Cat(larger[:23], Const(1, 1)),
        "smaller": Mux(converts, integer[7:31], Cat(smaller[:23], Const(1, 1))),
        "smaller_zero": Mux(takes_b, a_zero, b_zero) & ~converts,
        "exponent": Mux(converts, _OF_INTEGERS, larger[23:31]),
        "smaller_exponent": Mux(converts, _OF_INTEGERS, smaller[23:31]),
        "opposite": Mux(converts, integer[31], opposite),
        "sums": sums & ~zeros,
        "bounds": bounds,
        "kept": bitwise | (op == AddOp.PASS) | (bounds & ~Mux(takes_b, b_zero, a_zero)),
        "holds": holds,
        "sign": Mux(sums, sign, Mux(converts, integer[31], larger[31] & ~op.matches(AddOp.LT, AddOp.LE, AddOp.EQ))),
    }


def _classify(
    m: Module,
    larger: Value,
    exponent: Value,
    smaller: Value,
    smaller_exponent: Value,
    smaller_zero: Value,
    opposite: Value,
    sums: Value,
    bounds: Value,
    converts: Value,
    kept: Value,
    holds: Value,
) -> dict[str, Value]:
    distance = (exponent - smaller_exponent)[:8]
    unlimited, too = named(m, "unlimited", exponent.all()), named(m, "too", smaller_exponent.all())
    unordered = named(m, "unordered", (unlimited & larger[:23].any()) | (too & smaller[:23].any()))
    difference_of_infinities = sums & unlimited & too & opposite
    return {
        "distance": distance[:5],
        # From there on it does not even round; nor is anything to be added to what is no sum.
        "negligible": smaller_zero | distance[5:].any() | ~(sums | converts),
        "nan": (unordered & (sums | bounds)) | difference_of_infinities,
        "infinite": unlimited & sums,
        "finite": (sums & ~unlimited) | converts,
        "kept": kept & ~(unordered & bounds),
        "holds": holds & ~unordered,
    }


def _align(m: Module, smaller: Value, distance: Value, negligible: Value) -> dict[str, Value]:
    aligned, lost = shifted_right(m, Cat(Const(0, 2), Mux(negligible, 0, smaller)), distance[1:], unit=2)
    return {"aligned": aligned, "lost": lost}


def _add(
    m: Module,
    larger: Value,
    exponent: Value,
    integer: Value,
    aligned: Value,
    distance: Value,
    lost: Value,
    opposite: Value,
    converts: Value,
) -> dict[str, Value]:
    # The last level of the shift is not longer for the inversion behind it.
    shifted, more_lost = shifted_right(m, aligned, distance[:1])
    # Of the seven bits below a significand alignment fills three. An integer fills them all, and the one above, too.
    low = integer[:7] | Cat(Const(0, 4), lost | more_lost, shifted[:2])
    magnitude = gated_sum(
        m,
        "added",
        # The top bit is that of a carry out of the larger operand: its exponent is one more.
        a=Cat(Const(0, 7), larger, Const(0, 1)),
        takes_a=~converts,
        b=Cat(low, shifted[2:], integer[31]),
        inverts_b=opposite,
        carry=opposite,
    )
    return {
        "magnitude": magnitude,
        # Yet another, since to take n is to add ~n and one.
        "exponent": Cat(exponent[0], exponent[1:] + 1),
    }


def _normalise_far(m: Module, magnitude: Value) -> dict[str, Value]:
    raised, zeros = shifted_left(m, magnitude, (16,), Const(0, 1))
    return {"raised": raised, "zeros": zeros}


def _normalise_middle(m: Module, raised: Value, zeros: Value) -> dict[str, Value]:
    raised, more_zeros = shifted_left(m, raised, (8, 4), Const(0, 1))
    return {"raised": raised, "zeros": Cat(more_zeros, zeros)}


def _normalise_near(m: Module, raised: Value, zeros: Value) -> dict[str, Value]:
    normalised, more_zeros = shifted_left(m, raised, (2, 1), Const(0, 1))
    return {
        "significand": normalised[-24:],
        "increment": rounds_up(normalised),
        "correction": (~Cat(more_zeros, zeros, Const(0, 1))).as_signed(),
    }


def _choose_sum(
    m: Module,
    rounded: Value,
    nonzero: Value,
    sign: Value,
    kept: Value,
    holds: Value,
    nan: Value,
    infinite: Value,
    finite: Value,
) -> dict[str, Value]:
    overflow, underflow = extremes(rounded, nonzero)
    unlimited = named(m, "unlimited", nan | infinite | (overflow & finite))
    stands = named(m, "stands", kept | (finite & ~overflow & ~underflow))
    ones = Cat(holds.replicate(22), holds | nan, (holds | unlimited).replicate(8))
    return {"o": Cat((rounded[:31] & stands.replicate(31)) | ones, holds | (sign & ~nan))}


# --- steps of the multiplier ---


def _factors(m: Module, a: Value, b: Value, integer: Value, keeps: Value) -> dict[str, Value]:
    def factor(word: Value) -> Value:
        # A zero gets a leading one too, so that nothing but one multiplexer stands before the multiplier.
        return Cat(word[:23], Mux(integer, word[23:], 1))

    return {"x": factor(a), "y": factor(b) | keeps, **_beside_product(m, a, b)}


def _significands(m: Module, a: Value, b: Value, keeps: Value) -> dict[str, Value]:
    # Beside a `b` of 0, the exponent of 1.0.
    beside = _beside_product(m, a, b | Cat(Const(0, 23), keeps.replicate(7), Const(0, 2)))
    special = {name: beside[name] & ~keeps for name in ("vanishes", "nan", "infinite")}
    # Those of zeros too are as if they had a leading one.
    return {"x": Cat(a[:23], Const(1, 1)), "y": Cat(b[:23], Const(1, 1)), **beside, **special}


def _beside_product(m: Module, a: Value, b: Value) -> dict[str, Value]:
    """What else there is to know of the product of two floats."""
    x, y = fields(a), fields(b)
    invalid = (is_infinite(a) & is_zero(b)) | (is_zero(a) & is_infinite(b))
    return {
        "vanishes": is_zero(a) | is_zero(b),
        "sign": x.sign ^ y.sign,
        # The bias is one less than a power of two.
        "exponent": named(m, "unbiased", (x.exponent + y.exponent + Const(1, 1))) - (BIAS + 1),
        "nan": is_nan(a) | is_nan(b) | invalid,
        "infinite": x.exponent.all() | y.exponent.all(),
    }


def _multiply(m: Module, x: Value, y: Value) -> dict[str, Value]:
    return {
        "low": x[:16] * y[:16],
        "cross": x[16:] * y[:16],
        "crossed": x[:16] * y[16:],
        "high": x[16:] * y[16:],
    }


def _sum_products(m: Module, low: Value, cross: Value, crossed: Value, high: Value) -> dict[str, Value]:
    return {"product": (Cat(low, high[:16]) + ((cross + crossed) << 16))[:48]}


def _multiply_significands(m: Module, x: Value, y: Value) -> dict[str, Value]:
    m.submodules.narrow_product = narrow = NarrowProduct()
    m.d.comb += [narrow.x.eq(x[:NARROW]), narrow.y.eq(y)]
    return {"narrow": narrow.o, "cross": x[NARROW:] * y[:NARROW], "high": x[NARROW:] * y[NARROW:]}


def _sum_significand_products(m: Module, narrow: Value, cross: Value, high: Value) -> dict[str, Value]:
    # Each sum leaves out the bits below it that nothing is added to.
    middle = named(m, "middle", narrow[NARROW:] + cross)
    upper = (middle[NARROW:] + high)[: len(high)]
    return {"product": Cat(narrow[:NARROW], middle[:NARROW], upper)}


def _normalise_product(m: Module, product: Value, vanishes: Value) -> dict[str, Value]:
    carried, lost = product[47], product[:22].any()
    upper = Mux(carried, Cat(lost | product[22], product[23:47]), Cat(lost, product[22:46]))
    # The leading one is certain, unless an operand was zero.
    return {"normalised": Cat(upper, ~vanishes), "carried": carried}


def _round_product(m: Module, normalised: Value, exponent: Value, carried: Value) -> dict[str, Value]:
    return rounded_sum(m, normalised[-24:], rounds_up(normalised), exponent, carried)


def _pack_product(
    m: Module, sign: Value, rounded: Value, nonzero: Value, nan: Value, infinite: Value, keeps: Value
) -> dict[str, Value]:
    packed = pack(m, sign, rounded, nonzero, nan, infinite)["o"]
    return {"o": Mux(keeps, Cat(rounded[:31], sign), packed)}


def _choose_product(m: Module, o: Value, integer: Value, product: Value) -> dict[str, Value]:
    return {"o": Mux(integer, product[:32], o)}


# --- steps of the conversions ---


def _sum_integers(m: Module, a: Value, b: Value) -> dict[str, Value]:
    return {"total": (a + b)[:32]}


def _raise_far(m: Module, total: Value) -> dict[str, Value]:
    # Negative numbers too are shifted as they are, past bits that equal the sign.
    raised, signs = shifted_left(m, total, (16,), total[31])
    return {"raised": raised, "signs": signs, "sign": total[31]}


def _raise_middle(m: Module, raised: Value, signs: Value, sign: Value) -> dict[str, Value]:
    raised, more_signs = shifted_left(m, raised, (8, 4), sign)
    return {"raised": raised, "signs": Cat(more_signs, signs)}


def _raise_near(m: Module, raised: Value, signs: Value, sign: Value) -> dict[str, Value]:
    raised, more_signs = shifted_left(m, raised, (2,), sign)
    return {"raised": raised, "signs": Cat(more_signs, signs)}


def _round_integer(m: Module, raised: Value, signs: Value, sign: Value) -> dict[str, Value]:
    # The last level of the shift is not longer for the inversion behind it.
    number, last_sign = shifted_left(m, raised, (1,), sign)
    # -(n + 1) is ~n, and -n is ~n + 1: one carry chain rounds and negates.
    significand = number[-24:] ^ sign.replicate(24)
    increment = rounds_up(number) ^ sign
    # A power of two below zero gets its leading one, and with it the exponent, from the carry.
    leading, nonzero = significand[23], significand[23] | sign
    bias = Cat(increment, Const(0, 22), leading, nonzero.replicate(6))
    return {"o": Cat((Cat(significand[:23], ~Cat(last_sign, signs)) + bias)[:31], sign)}


def _distance_to_units(m: Module, a: Value, keeps: Value) -> dict[str, Value]:
    x = fields(a)
    least = x.sign & ~x.fraction.any()  # -2**31, if the exponent is that of 2**31
    beyond = named(m, "beyond", Mux(x.exponent == BIAS + 31, ~least, (x.exponent > BIAS + 31) & ~is_nan(a)) & ~keeps)
    # Zeros, NaNs and all that lies beyond are shifted out whole.
    distance = clamped((BIAS + 31 - x.exponent)[:8], 6) | beyond.replicate(6)
    # 32 bits of integer and one below them. Left at the top, the leading one stands for 2**31.
    return {
        "units": Mux(keeps, Cat(Const(0, 1), a), Cat(Const(0, 9), x.fraction, Const(1, 1))),
        "distance": distance & (~keeps).replicate(6),
        "beyond": beyond,
        "negative": x.sign & ~keeps,
    }


def _shift_far(m: Module, units: Value, distance: Value) -> dict[str, Value]:
    shifted, lost = shifted_right(m, units, distance[3:], unit=8)
    return {"units": shifted, "lost": lost}


def _shift_near(m: Module, units: Value, distance: Value, lost: Value) -> dict[str, Value]:
    shifted, more_lost = shifted_right(m, units, distance[1:3], unit=2)
    return {"units": shifted, "lost": lost | more_lost}


def _round_to_units(
    m: Module, b: Value, units: Value, distance: Value, lost: Value, beyond: Value, negative: Value
) -> dict[str, Value]:
    # The last level of the shift is not longer for the inversion behind it.
    shifted, more_lost = shifted_right(m, units, distance[:1])
    half, whole = shifted[0], Cat(shifted[1:32], shifted[32] | beyond)
    increment = half & (lost | more_lost | shifted[1])
    # -(n + 1) is ~n, and -n is ~n + 1: one carry chain rounds, negates and adds. The limits are 2**31 and ~2**31.
    inverted = negative ^ beyond
    carry = (increment ^ inverted) & ~beyond
    return {"o": gated_sum(m, "rounded", a=b, takes_a=~beyond, b=whole, inverts_b=inverted, carry=carry)}
