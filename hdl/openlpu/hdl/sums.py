# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Sums and differences, with what comes just in front of them.

A carry chain of most devices has a table in front of every bit, which a plain sum leaves half unused.
"""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib.wiring import In, Out

from .shared import Replaceable

__all__ = ["GatedSum", "gated_sum"]


class GatedSum(Replaceable):
    """`o` is `a`, or 0 without `takes_a`, plus `b`, or its complement with `inverts_b`, plus `carry`.

    In Verilog it is always the module `gated_sum_{width}`. A carry out of the highest place is lost.
    """

    a: Signal
    takes_a: Signal
    b: Signal
    inverts_b: Signal
    carry: Signal
    o: Signal

    def __init__(self, *, width: int) -> None:
        ports = {"a": In(width), "takes_a": In(1), "b": In(width), "inverts_b": In(1), "carry": In(1), "o": Out(width)}
        super().__init__(ports, module_name=f"gated_sum_{width}")

    def body(self) -> Module:
        """One carry chain: an extra lowest place makes the carry."""
        m = Module()
        width = len(self.o)
        augend = Cat(self.carry, self.a & self.takes_a.replicate(width))
        addend = Cat(self.carry, self.b ^ self.inverts_b.replicate(width))
        m.d.comb += self.o.eq((augend + addend)[1:])
        return m


def gated_sum(m: Module, name: str, *, a: Value, takes_a: Value, b: Value, inverts_b: Value, carry: Value) -> Value:
    """What a `GatedSum` of the width of `a` makes of values."""
    m.submodules[name] = unit = GatedSum(width=len(a))
    m.d.comb += [
        unit.a.eq(a),
        unit.takes_a.eq(takes_a),
        unit.b.eq(b),
        unit.inverts_b.eq(inverts_b),
        unit.carry.eq(carry),
    ]
    return unit.o
