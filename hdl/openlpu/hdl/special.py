# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The special functions of the VXM: the method of `openlpu.arch.special`, step by step.

The table is a memory read without a clock; where a register follows or precedes it, synthesis tools make a block RAM of
it. The delays are estimates of the kind that those of `fp32` are.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import data, enum, memory

from openlpu.arch import special
from openlpu.arch.special import Span

from .floats import (
    BIAS,
    INFINITE_EXPONENT,
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

__all__ = ["Special", "SpecialOp"]

_WIDEST = max(span.index_bits for span in special.SPANS)
_INDEX_BITS = _WIDEST.bit_length()
_LOW = special.LOG2_E_BITS // 2
_VANISHING = -1
# The highest bit of a constant coefficient is always one, and not stored.
_ROW = data.StructLayout(
    {
        "quadratic": special.QUADRATIC_BITS,
        "linear": special.LINEAR_BITS,
        "constant": special.FRACTION_BITS - 1,
    }
)
_SIGNIFICAND_BITS = special.FRACTION_BITS + special.GUARD_BITS


class SpecialOp(enum.Enum, shape=2):
    """Which function `Special` computes."""

    EXP = 0
    RECIP = 1
    RSQRT = 2
    TANH = 3


class Special(Datapath):
    """A function of `a`: `numerics.fp32_exp`, `fp32_recip`, `fp32_rsqrt` or `fp32_tanh`."""

    a: Signal
    op: Signal

    def __init__(self, *, depth: int) -> None:
        super().__init__(
            inputs={"a": 32, "op": Shape.cast(SpecialOp).width},
            output=32,
            steps=[
                Step(_multiply_log2_e, delay=6),
                Step(_sum_products, delay=5),
                Step(_place_power, delay=4.5),
                Step(_reduce, delay=5),
                Step(_look_up, delay=4.5),
                Step(_multiply_quadratic, delay=6),
                Step(_sum_slope, delay=3.5),
                Step(_multiply_slope, delay=6),
                Step(_sum_significand, delay=4),
                Step(_normalise, delay=1.5),
                Step(round_significand, delay=4.5),
                Step(pack, delay=1.5),
            ],
            depth=depth,
        )


# --- steps of the reduction ---


def _multiply_log2_e(m: Module, a: Value) -> dict[str, Value]:
    significand = Cat(fields(a).fraction, Const(1, 1))
    low, high = special.LOG2_E % (1 << _LOW), special.LOG2_E >> _LOW
    # In parts of at most 18 bits, as multipliers are.
    return {
        "low": significand[6:] * Const(low, _LOW),
        "cross": significand[:6] * Const(low, _LOW),
        "crossed": significand[:6] * Const(high, _LOW),
        "high": significand[6:] * Const(high, _LOW),
    }


def _sum_products(m: Module, low: Value, cross: Value, crossed: Value, high: Value) -> dict[str, Value]:
    total = (cross + (low << 6)) + ((crossed + (high << 6)) << _LOW)
    return {"product": total[: 24 + special.LOG2_E_BITS]}


def _place_power(m: Module, a: Value, product: Value) -> dict[str, Value]:
    x = fields(a)
    # Where the exponent is the largest, no shift: 8 bits above the point.
    magnitude = product[23 + special.LOG2_E_BITS - 1 - special.FRACTION_BITS - special.EXP_LARGEST_EXPONENT :]
    distance = (BIAS + special.EXP_LARGEST_EXPONENT - x.exponent)[:8]
    placed, _ = shifted_right(m, magnitude, clamped(distance, 6))
    return {"power": Cat(placed ^ x.sign.replicate(len(magnitude)), x.sign)}


def _reduce(m: Module, a: Value, op: Value, power: Value) -> dict[str, Value]:
    x = fields(a)
    below_one = x.exponent < BIAS
    exact = Cat(Const(0, special.FRACTION_BITS - 23), x.fraction)
    z = Mux(op == SpecialOp.EXP, power[: special.FRACTION_BITS], exact)
    first_row, index_bits = _span(m, x, op)
    shifted = (z << index_bits)[: special.FRACTION_BITS + _WIDEST]
    offset = shifted[special.FRACTION_BITS - special.OFFSET_BITS : special.FRACTION_BITS]
    upper = offset[-1]
    concave = op == SpecialOp.TANH
    falling = (op == SpecialOp.RECIP) | (op == SpecialOp.RSQRT) | (concave & below_one)
    return {
        # A span begins at a multiple of its rows.
        "address": first_row | shifted[special.FRACTION_BITS :],
        "distance": offset[:-1] ^ (~upper).replicate(special.DISTANCE_BITS),
        "down": ~upper ^ falling,
        "concave": concave,
        # tanh below one: half of the significand, and the unit that the table lacks.
        "added": Mux(concave & below_one, Cat(Const(1, special.FRACTION_BITS - 24), x.fraction, Const(1, 1)), 0),
        **_scale(m, x, op, power[special.FRACTION_BITS :].as_signed()),
    }


def _span(m: Module, x: data.View, op: Value) -> tuple[Signal, Signal]:
    """The first row of the span for an operand, and the width of its index."""
    first_row, index_bits = Signal(special.ADDRESS_BITS), Signal(_INDEX_BITS)

    def choose(span: Span) -> None:
        m.d.comb += [first_row.eq(span.first_row), index_bits.eq(span.index_bits)]

    even, odd = special.RSQRT
    with m.Switch(op):
        with m.Case(SpecialOp.EXP):
            choose(special.EXP)
        with m.Case(SpecialOp.RECIP):
            choose(special.RECIP)
        with m.Case(SpecialOp.RSQRT):
            # The bias is odd.
            with m.If(x.exponent[0]):
                choose(even)
            with m.Else():
                choose(odd)
        with m.Default(), m.Switch(x.exponent):
            for exponent, span in special.TANH.items():
                with m.Case(BIAS + exponent):
                    choose(span)
            with m.Default():
                choose(special.LIMIT)
    return first_row, index_bits


def _scale(m: Module, x: data.View, op: Value, whole_power: Value) -> dict[str, Value]:
    """Sign and biased exponent of the result, if its significand is in [1/2, 1), and what is no number."""
    word = x.as_value()
    zero, nan = is_zero(word), is_nan(word)
    exponent = Signal(signed(10))
    sign, invalid, infinite = Signal(), Signal(), Signal()
    inverse_root = op == SpecialOp.RSQRT
    m.d.comb += [
        invalid.eq(inverse_root & x.sign & ~zero),
        infinite.eq((inverse_root | (op == SpecialOp.RECIP)) & zero),
    ]
    with m.Switch(op):
        with m.Case(SpecialOp.EXP):
            beyond = x.exponent > BIAS + special.EXP_LARGEST_EXPONENT
            m.d.comb += exponent.eq(
                Mux(beyond, Mux(x.sign, _VANISHING, INFINITE_EXPONENT), whole_power + BIAS),
            )
        with m.Case(SpecialOp.RECIP):
            m.d.comb += [exponent.eq(2 * BIAS - 1 - x.exponent), sign.eq(x.sign)]
        with m.Case(SpecialOp.RSQRT):
            # Half of the exponent, rounded down, with the bias off and on again.
            halved = BIAS + BIAS // 2 - 1 - x.exponent[1:] + ~x.exponent[0]
            m.d.comb += [exponent.eq(Mux(is_infinite(word), _VANISHING, halved)), sign.eq(x.sign)]
        with m.Default():
            m.d.comb += [exponent.eq(Mux(x.exponent < BIAS, x.exponent, BIAS - 1)), sign.eq(x.sign)]
    return {"exponent": exponent, "sign": sign, "nan": nan | invalid, "infinite": infinite}


# --- steps of the evaluation ---


def _look_up(m: Module, address: Value) -> dict[str, Value]:
    table: memory.Memory
    m.submodules.table = table = memory.Memory(shape=_ROW.size, depth=1 << special.ADDRESS_BITS, init=_contents())
    port = table.read_port(domain="comb")
    m.d.comb += port.addr.eq(address)
    row = data.View(_ROW, port.data)
    return {"constant": Cat(row.constant, Const(1, 1)), "linear": row.linear, "quadratic": row.quadratic}


def _contents() -> list[int]:
    def packed(row: special.Row) -> int:
        constant = row.constant - (1 << special.FRACTION_BITS - 1)
        parts: dict[int | str, int] = {"quadratic": row.quadratic, "linear": row.linear, "constant": constant}
        return Const.cast(_ROW.const(parts)).value

    return [packed(row) for row in special.table()]


def _multiply_quadratic(m: Module, quadratic: Value, distance: Value) -> dict[str, Value]:
    return {"bend": (quadratic * distance)[special.STEP_SHIFT :]}


def _sum_slope(m: Module, linear: Value, bend: Value, down: Value, concave: Value) -> dict[str, Value]:
    middle = Cat(Const(1 << special.GUARD_BITS - 1, special.GUARD_BITS), linear)
    total = middle + _taken(bend, down ^ concave, len(middle))
    return {"slope": total[special.GUARD_BITS : len(middle)]}


def _multiply_slope(
    m: Module, slope: Value, distance: Value, constant: Value, added: Value, down: Value
) -> dict[str, Value]:
    # Beside the multiplier, all that does not wait for it.
    anchor = Cat(Const(0, special.GUARD_BITS), (constant + added)[: special.FRACTION_BITS])
    half_step = _taken(slope[special.HALF_STEP_SHIFT :], down, _SIGNIFICAND_BITS)
    return {
        "step": (slope * distance)[special.STEP_SHIFT :],
        "anchor": (anchor + half_step)[:_SIGNIFICAND_BITS],
    }


def _sum_significand(m: Module, anchor: Value, step: Value, down: Value) -> dict[str, Value]:
    return {"significand": (anchor + _taken(step, down, _SIGNIFICAND_BITS))[:_SIGNIFICAND_BITS]}


def _normalise(m: Module, significand: Value, exponent: Value) -> dict[str, Value]:
    below_half = ~significand[-1]
    return {
        "normalised": Mux(below_half, significand << 1, significand)[:_SIGNIFICAND_BITS],
        "exponent": exponent - below_half,
    }


def _taken(magnitude: Value, away: Value, width: int) -> Value:
    """`magnitude` at a width, its bits inverted if it is taken away."""
    return Cat(magnitude, Const(0, width - len(magnitude))) ^ away.replicate(width)
