# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What stands in for `openlpu.hdl.multiplier` on a Lattice ECP5: a DSP block with its register, or carry chains.

Both are one module deep in the netlist of a chip, and equal to it for every pair of operands, which a test proves.
"""

from collections.abc import Sequence

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["CarryMultiplier", "DspMultiplier"]

_SUM_OF_TWO = 0x7888
"""(A & B) ^ (C & D), and A & B for the carry: the sum of two products of bits."""
_DIFFERENCE_OF_TWO = 0x8777
"""~(A & B) ^ (C & D), and ~(A & B) for the carry: the product C & D less the product A & B."""
_CARRY = 0x000F
"""With D set: no sum, and a carry."""
_WIDTH = 18


class _Multiplier(wiring.Component):
    """The ports of `openlpu.hdl.multiplier.Multiplier`, whose `product` comes one cycle later."""

    a: In(signed(8))
    b: In(signed(8))
    product: Out(signed(16))


class DspMultiplier(_Multiplier):
    """One MULT18X18D, with the register at its output: synthesis finds the multiplier, but never the register."""

    def elaborate(self, platform: object) -> Module:
        """The block, both operands signed."""
        m = Module()
        wide = [operand.as_signed() for operand in (self.a, self.b)]
        a, b = (Cat(value, value[-1].replicate(_WIDTH - len(value))) for value in wide)
        result = Signal(2 * _WIDTH)
        m.submodules.block = Instance(
            "MULT18X18D",
            p_REG_OUTPUT_CLK="CLK0",
            p_REG_OUTPUT_CE="CE0",
            p_REG_OUTPUT_RST="RST0",
            i_CLK0=ClockSignal(),
            i_CE0=Const(1),
            i_RST0=Const(0),
            i_SIGNEDA=Const(1),
            i_SIGNEDB=Const(1),
            i_SOURCEA=Const(0),
            i_SOURCEB=Const(0),
            **{f"i_A{i}": bit for i, bit in enumerate(a)},
            **{f"i_B{i}": bit for i, bit in enumerate(b)},
            **{f"i_C{i}": Const(0) for i in range(_WIDTH)},
            **{f"o_P{i}": bit for i, bit in enumerate(result)},
        )
        m.d.comb += self.product.eq(result[:16])
        return m


class CarryMultiplier(_Multiplier):
    """Seven carry chains and a register.

    A cell of a chain has a table of four inputs before its adder. So it adds two products of bits, and a chain of ten
    cells the operand times two bits of the other: four such chains, two sums of them, and the sum of these.
    """

    def elaborate(self, platform: object) -> Module:
        """The chains, as a tree."""
        m = Module()
        a, b = self.a, self.b
        extended = [*a, a[-1], a[-1]]
        pairs = []
        for low in range(0, 8, 2):
            # Twice the operand: its bits, one place up.
            lower = [(bit, b[low]) for bit in extended]
            upper = [(bit, b[low + 1]) for bit in (Const(0), *extended[:-1])]
            if low + 1 < 7:
                cells = [(_SUM_OF_TWO, *one, *other) for one, other in zip(lower, upper, strict=True)]
                pairs.append(_chain(m, f"pair{low}", cells))
            else:
                # The sign of b weighs negative. Its lowest place is 0, which leaves room for the carry of the negation.
                cells = [(_DIFFERENCE_OF_TWO, *other, *one) for one, other in zip(lower[1:], upper[1:], strict=True)]
                first = (_CARRY, Const(0), Const(0), Const(0), Const(1))
                pairs.append(Cat(a[0] & b[low], _chain(m, f"pair{low}", [first, *cells])[1:]))
        lower_half = _shifted_sum(m, "low", pairs[0], pairs[1], 2)
        upper_half = _shifted_sum(m, "high", pairs[2], pairs[3], 2)
        product = Signal(signed(16), reset_less=True)
        m.d.sync += product.eq(_shifted_sum(m, "sum", lower_half, upper_half, 4))
        m.d.comb += self.product.eq(product)
        return m


def _shifted_sum(m: Module, name: str, x: Value, y: Value, shift: int) -> Value:
    """x + (y << shift), both signed, as wide as y and the shift: what the sum of parts of a product never exceeds."""
    upper = [*x[shift:], *([x[-1]] * (len(y) - len(x) + shift))]
    cells = [(_SUM_OF_TWO, bit, Const(1), other, Const(1)) for bit, other in zip(upper, y, strict=True)]
    return Cat(x[:shift], _chain(m, name, cells))


def _chain(m: Module, name: str, cells: Sequence[tuple[int, Value, Value, Value, Value]]) -> Value:
    """A chain of cells, each a table and its inputs A to D, from the lowest place up: the sums. No carry comes in."""
    sums = Signal(len(cells), name=name)
    carries = Signal(len(cells) // 2, name=f"{name}_carry")
    for pair in range(len(cells) // 2):
        halves = cells[2 * pair : 2 * pair + 2]
        inputs = {
            f"i_{p}{h}": value for h, cell in enumerate(halves) for p, value in zip("ABCD", cell[1:], strict=True)
        }
        m.submodules[f"{name}_{pair}"] = Instance(
            "CCU2C",
            p_INIT0=Const(halves[0][0], 16),
            p_INIT1=Const(halves[1][0], 16),
            p_INJECT1_0="NO",
            p_INJECT1_1="NO",
            i_CIN=carries[pair - 1] if pair else Const(0),
            o_COUT=carries[pair],
            o_S0=sums[2 * pair],
            o_S1=sums[2 * pair + 1],
            **inputs,
        )
    return sums
