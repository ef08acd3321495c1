# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The arithmetic units of the VXM, equal bit for bit to `openlpu.arch.numerics`.

Every unit is a `Datapath`: a list of steps, cut by registers to the depth the timing table gives. The delays of the
steps are nanoseconds of an ECP5, as placed and routed, less what every stage pays for its register; a step whose
special-case flags are slower than its data counts the data, since only those wait for the step before.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value
from amaranth.lib import enum

from .decode import named
from .floats import (
    BIAS,
    clamped,
    fields,
    is_infinite,
    is_nan,
    is_zero,
    pack,
    round_significand,
    shifted_right,
)
from .pipeline import Datapath, Step

__all__ = ["AddOp", "FpAdd", "FpToInt", "IntToFp", "Mul"]


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


class FpAdd(Datapath):
    """Sums, and what can be told from the comparison that a sum begins with.

    ``a + b`` and ``a - b``: `numerics.fp32_add` and `fp32_sub`; the larger or smaller operand, or an all-ones mask
    where a relation holds: `fp32_max`, `fp32_min`, `fp32_lt`, `fp32_le` and `fp32_eq`; or, bit by bit, `a`, ``a & b``
    or ``a | b``. The result for a value of `op` outside `AddOp` is any word.

    The operand of smaller magnitude is shifted right to the exponent of the larger one and added to it or taken from
    it, so the sum is never negative. Three bits below the significand suffice: the last of them collects everything
    shifted out. What is no sum is known as soon as the operands are compared, and goes around all this.
    """

    a: Signal
    b: Signal
    op: Signal

    def __init__(self, *, depth: int) -> None:
        super().__init__(
            inputs={"a": 32, "b": 32, "op": Shape.cast(AddOp).width},
            output=32,
            steps=[
                Step(_compare_magnitudes, delay=4.5),
                # Beside the swap, which is as long.
                Step(_choose_operand, delay=0),
                Step(_swap, delay=2.5),
                Step(_align, delay=5),
                Step(_add, delay=4),
                Step(_count_leading_zeros, delay=4.5),
                Step(_normalise, delay=5),
                Step(round_significand, delay=4.5),
                Step(pack, delay=1.5),
                Step(_go_around, delay=0.5),
            ],
            depth=depth,
        )


class Mul(Datapath):
    """``a * b`` of floats, or the low word of the product of integers where `integer`: `fp32_mul` and `int32_mul`.

    Both share one multiplier. The low 32 bits of a product are the same for signed and unsigned operands, so integers
    enter as they are; significands enter with their leading one. With `integer` tied to 0 it narrows to 24 bits.
    """

    a: Signal
    b: Signal
    integer: Signal

    def __init__(self, *, depth: int) -> None:
        super().__init__(
            inputs={"a": 32, "b": 32, "integer": 1},
            output=32,
            steps=[
                Step(_factors, delay=1),
                Step(_multiply, delay=6),
                Step(_sum_products, delay=5),
                Step(_normalise_product, delay=1.5),
                Step(round_significand, delay=4.5),
                Step(pack, delay=1.5),
                Step(_choose_product, delay=1),
            ],
            depth=depth,
        )


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
                Step(_magnitude, delay=3.5),
                Step(_count_leading_zeros, delay=4.5),
                Step(_normalise, delay=5),
                Step(round_significand, delay=4.5),
                Step(pack, delay=1.5),
            ],
            depth=depth,
        )


class FpToInt(Datapath):
    """The float `a` as the nearest integer, plus `b` modulo 2**32; beyond int32, the limit alone.

    With `b` 0 it is `numerics.fp32_to_int32`; as there, a NaN counts as 0.
    """

    a: Signal
    b: Signal

    def __init__(self, *, depth: int) -> None:
        super().__init__(
            inputs={"a": 32, "b": 32},
            output=32,
            steps=[
                Step(_distance_to_units, delay=3.5),
                Step(_shift_far, delay=4),
                Step(_shift_near, delay=3),
                Step(_round_to_units, delay=5),
            ],
            depth=depth,
        )


# --- helpers ---


def _significand(word: Value) -> Value:
    """24 bits with the leading one in place; 0 for a zero."""
    return Mux(is_zero(word), 0, Cat(fields(word).fraction, Const(1, 1)))


def _leading_zeros(value: Value) -> Value:
    """How many zeros stand above the first one of `value`, whose width is a power of two; of zero, any number."""
    if len(value) == 1:
        return Const(0, 0)
    half = len(value) // 2
    low, high = value[:half], value[half:]
    empty = ~high.any()
    return Cat(Mux(empty, _leading_zeros(low), _leading_zeros(high)), empty)


# --- steps of the adder ---


def _compare_magnitudes(m: Module, a: Value, b: Value, op: Value) -> dict[str, Value]:
    x, y = fields(a), fields(b)
    opposite = x.sign ^ y.sign ^ (op == AddOp.SUB)
    alike, zeros, unordered = a[:31] == b[:31], is_zero(a) & is_zero(b), is_nan(a) | is_nan(b)
    return {
        "swap": a[:31] < b[:31],
        "alike": alike,
        "zeros": zeros,
        "opposite": opposite,
        "cancels": opposite & (alike | zeros),
        "ahead": clamped((x.exponent - y.exponent)[:8], 5),
        "behind": clamped((y.exponent - x.exponent)[:8], 5),
        "unordered": unordered,
        "nan": unordered | (is_infinite(a) & is_infinite(b) & opposite),
        "infinite": x.exponent.all() | y.exponent.all(),
    }


def _choose_operand(
    m: Module, a: Value, b: Value, op: Value, swap: Value, alike: Value, zeros: Value, unordered: Value
) -> dict[str, Value]:
    negative, mixed = a[31], a[31] ^ b[31]
    # -0 is less than +0 to a maximum and a minimum, and equal to it in a relation.
    less = Mux(zeros | mixed, negative & mixed, Mux(negative, ~(swap | alike), swap))
    equal = zeros | (alike & ~mixed)
    holds, takes_b, around = Signal(name="holds"), Signal(name="takes_b"), Signal(name="around")
    m.d.comb += around.eq(1)
    with m.Switch(op):
        with m.Case(AddOp.ADD, AddOp.SUB):
            m.d.comb += around.eq(0)
        with m.Case(AddOp.MAX):
            # A NaN is left to the sum.
            m.d.comb += [takes_b.eq(less), around.eq(~unordered)]
        with m.Case(AddOp.MIN):
            m.d.comb += [takes_b.eq(~less), around.eq(~unordered)]
        with m.Case(AddOp.LT):
            m.d.comb += holds.eq(less & ~zeros & ~unordered)
        with m.Case(AddOp.LE):
            m.d.comb += holds.eq((less | equal) & ~unordered)
        with m.Case(AddOp.EQ):
            m.d.comb += holds.eq(equal & ~unordered)
        with m.Case(AddOp.OR):
            m.d.comb += takes_b.eq(1)
    bounds, relates = op.matches(AddOp.MAX, AddOp.MIN), op.matches(AddOp.LT, AddOp.LE, AddOp.EQ)
    vanishes = named(m, "vanishes", relates | (bounds & Mux(takes_b, is_zero(b), is_zero(a))))
    chosen = Mux(op.matches(AddOp.AND, AddOp.OR), Mux(takes_b, a | b, a & b), Mux(takes_b, b, a))
    word = Cat(Mux(vanishes, 0, chosen[:31]), chosen[31] & ~relates) | holds.replicate(32)
    return {"word": word, "around": around}


def _swap(
    m: Module,
    a: Value,
    b: Value,
    op: Value,
    swap: Value,
    cancels: Value,
    ahead: Value,
    behind: Value,
) -> dict[str, Value]:
    return {
        "larger": Mux(swap, _significand(b), _significand(a)),
        "smaller": Mux(swap, _significand(a), _significand(b)),
        "distance": Mux(swap, behind, ahead),
        "exponent": Mux(swap, fields(b).exponent, fields(a).exponent),
        # An exact difference of zero is +0.
        "sign": Mux(swap, fields(b).sign ^ (op == AddOp.SUB), fields(a).sign) & ~cancels,
    }


def _align(m: Module, smaller: Value, distance: Value) -> dict[str, Value]:
    aligned, lost = shifted_right(m, Cat(Const(0, 2), smaller), distance)
    return {"aligned": Cat(lost, aligned)}


def _add(m: Module, larger: Value, aligned: Value, opposite: Value, exponent: Value) -> dict[str, Value]:
    # The extra lowest bit feeds the carry that completes a two's complement into one carry chain.
    augend = Cat(Const(1, 1), Const(0, 3), larger, Const(0, 1))
    addend = Cat(opposite, aligned ^ opposite.replicate(27), opposite)
    # The top bit is that of a carry out of the larger operand; four zeros below make a power of two for the count.
    return {"magnitude": Cat(Const(0, 4), (augend + addend)[1:29]), "top_exponent": exponent + 1}


def _go_around(m: Module, o: Value, word: Value, around: Value) -> dict[str, Value]:
    return {"o": Mux(around, word, o)}


# --- steps of the multiplier ---


def _factors(m: Module, a: Value, b: Value, integer: Value) -> dict[str, Value]:
    def factor(word: Value) -> Value:
        # A zero gets a leading one too, so that nothing but one multiplexer stands before the multiplier.
        return Cat(word[:23], Mux(integer, word[23:], 1))

    x, y = fields(a), fields(b)
    invalid = (is_infinite(a) & is_zero(b)) | (is_zero(a) & is_infinite(b))
    return {
        "x": factor(a),
        "y": factor(b),
        "vanishes": is_zero(a) | is_zero(b),
        "sign": x.sign ^ y.sign,
        "exponent": x.exponent + y.exponent - BIAS,
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


def _normalise_product(m: Module, product: Value, exponent: Value, vanishes: Value) -> dict[str, Value]:
    carried = product[47]
    return {
        # The leading one is certain, unless an operand was zero.
        "normalised": Cat(Mux(carried, product[:47], product[:46] << 1), ~vanishes),
        "exponent": Mux(carried, exponent + 1, exponent),
    }


def _choose_product(m: Module, o: Value, integer: Value, product: Value) -> dict[str, Value]:
    return {"o": Mux(integer, product[:32], o)}


# --- steps of the conversions ---


def _sum_integers(m: Module, a: Value, b: Value) -> dict[str, Value]:
    return {"total": (a + b)[:32]}


def _magnitude(m: Module, total: Value) -> dict[str, Value]:
    return {
        "magnitude": Mux(total[31], -total, total)[:32],
        "top_exponent": Const(BIAS + 31, 8),
        "sign": total[31],
        "nan": Const(0, 1),
        "infinite": Const(0, 1),
    }


def _distance_to_units(m: Module, a: Value, b: Value) -> dict[str, Value]:
    x = fields(a)
    least = x.sign & ~x.fraction.any()  # -2**31, if the exponent is that of 2**31
    beyond = named(m, "beyond", Mux(x.exponent == BIAS + 31, ~least, (x.exponent > BIAS + 31) & ~is_nan(a)))
    return {
        # Zeros, NaNs and all that lies beyond are shifted out whole.
        "distance": clamped((BIAS + 31 - x.exponent)[:8], 6) | beyond.replicate(6),
        "beyond": beyond,
        "b": Mux(beyond, 0, b),
    }


def _shift_far(m: Module, a: Value, distance: Value) -> dict[str, Value]:
    # 32 bits of integer and one below them. Left at the top, the leading one stands for 2**31.
    units, lost = shifted_right(m, Cat(Const(0, 9), fields(a).fraction, Const(1, 1)), distance[3:], unit=8)
    return {"units": units, "lost": lost}


def _shift_near(m: Module, units: Value, distance: Value, lost: Value) -> dict[str, Value]:
    shifted, more_lost = shifted_right(m, units, distance[1:3], unit=2)
    return {"units": shifted, "lost": lost | more_lost}


def _round_to_units(
    m: Module, a: Value, b: Value, units: Value, distance: Value, lost: Value, beyond: Value
) -> dict[str, Value]:
    # The last level of the shift is not longer for the inversion behind it.
    shifted, more_lost = shifted_right(m, units, distance[:1])
    half, whole = shifted[0], Cat(shifted[1:32], shifted[32] | beyond)
    increment = half & (lost | more_lost | shifted[1])
    # -(n + 1) is ~n, and -n is ~n + 1: one carry chain rounds, negates and adds. The limits are 2**31 and ~2**31.
    inverted = fields(a).sign ^ beyond
    return {"o": ((whole ^ inverted.replicate(32)) + b + ((increment ^ inverted) & ~beyond))[:32]}


# --- steps shared by units that round to a float ---


def _count_leading_zeros(m: Module, magnitude: Value) -> dict[str, Value]:
    return {"zeros": _leading_zeros(magnitude)}


def _normalise(m: Module, magnitude: Value, zeros: Value, top_exponent: Value) -> dict[str, Value]:
    return {
        "normalised": (magnitude << zeros)[: len(magnitude)],
        "exponent": top_exponent - zeros,
    }
