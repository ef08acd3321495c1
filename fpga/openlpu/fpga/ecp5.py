# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What stands in for `openlpu.hdl.mxm.DotProduct` on a Lattice ECP5: DSP blocks, and carry chains for what these leave.

A product that no block makes is not made at all. It is the sum of products of bits, and those of all such products are
added by what they weigh, whichever product they are of. So chains are few, full, and without bits for a sign.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Ecp5DotProduct"]

_BLOCK = 18
"""The width of a block's operands."""
_LEVELS = 2
"""Of chains in front of the first register, which is that of the blocks, too."""
_LONGEST = 48
"""Cells in a chain. Timing analysis counts on a carry through all of them, which never goes farther than one sum."""


class _Bit(NamedTuple):
    """The bit `a & b`; or its complement, if that is asked for and b is 1."""

    a: Value
    b: Value = Const(1)
    inverted: bool = False


class _Cell(NamedTuple):
    """Half a CCU2C: adds x, y and the carry; without y, it puts out the carry that comes in, and the next one is x."""

    x: _Bit
    y: _Bit | None
    place: int | None
    """What the result weighs; None if it is not needed."""


_Heap = list[list[_Bit]]
"""Bits to be added, in lists by place: what they weigh, as a power of 2. There is no sum beyond the places."""
_ZERO, _ONE = _Bit(Const(0)), _Bit(Const(1))


class Ecp5DotProduct(wiring.Component):
    """The ports of `openlpu.hdl.mxm.DotProduct`, with one register for the products and `tree` behind it.

    The first `blocks` products are made by DSP blocks.
    """

    a: Signal
    b: Signal
    total: Signal

    def __init__(self, *, lanes: int, tree: int, blocks: int) -> None:
        self._lanes = lanes
        self._tree = tree
        self._blocks = blocks
        self._width = 16 + (lanes - 1).bit_length()
        super().__init__({"a": In(8 * lanes), "b": In(8 * lanes), "total": Out(signed(self._width))})

    def elaborate(self, platform: object) -> Module:
        """Levels of chains, with registers between them."""
        m = Module()
        pairs = [(self.a.word_select(lane, 8), self.b.word_select(lane, 8)) for lane in range(self._lanes)]
        heap, negative = _products(pairs[self._blocks :], self._width)
        for level in range(_LEVELS):
            heap, negative = _add(m, f"plus{level}", heap), _add(m, f"minus{level}", negative)
        heap, negative = _registered(m, "plus_q", heap), _registered(m, "minus_q", negative)
        for number, (a, b) in enumerate(pairs[: self._blocks]):
            *bits, sign = _block(m, f"block{number}", a, b)
            for place, bit in enumerate(bits):
                heap[place].append(_Bit(bit))
            negative[15].append(_Bit(sign))
        _subtract(heap, negative)
        level = 0
        for later in reversed(range(self._tree)):
            # Each of the later stages halves what is left.
            while max(map(len, heap)) > 1 << later:
                heap = _add(m, f"sum{level}", heap)
                level += 1
            heap = _registered(m, f"sum_q{later}", heap)
        m.d.comb += self.total.eq(Cat(bits[0].a if bits else Const(0) for bits in heap))
        return m


def _products(pairs: Sequence[tuple[Value, Value]], width: int) -> tuple[_Heap, _Heap]:
    """The sum of products of int8: bits to be added, and bits to be subtracted."""
    plus: _Heap = [[] for _ in range(width)]
    minus: _Heap = [[] for _ in range(width)]
    for a, b in pairs:
        for i in range(8):
            for j in range(8):
                # The highest bit of an operand weighs negative.
                (minus if (i == 7) != (j == 7) else plus)[i + j].append(_Bit(a[i], b[j]))
    return plus, minus


def _subtract(heap: _Heap, negative: _Heap) -> None:
    """Let a heap have those of another, all of one input, to be subtracted: -x is ~x - 1."""
    constant = 0
    for place, bits in enumerate(negative):
        heap[place] += [_Bit(bit.a, inverted=True) for bit in bits]
        constant -= len(bits) << place
    for place, bits in enumerate(heap):
        if constant >> place & 1:
            bits.append(_ONE)


def _registered(m: Module, name: str, heap: _Heap) -> _Heap:
    registers: _Heap = []
    for place, bits in enumerate(heap):
        register = Signal(len(bits), name=f"{name}_{place}", reset_less=True)
        m.d.sync += register.eq(Cat((bit.a & bit.b) ^ bit.inverted for bit in bits))
        registers.append([_Bit(bit) for bit in register])
    return registers


def _add(m: Module, name: str, heap: _Heap) -> _Heap:
    """The same sum after one level of chains: of about half as many bits."""
    result = [list(bits) for bits in heap]
    for number, chain in enumerate(_joined(list(_runs(result)))):
        for cell, bit in zip(chain, _chain(m, f"{name}_{number}", chain), strict=True):
            if cell.place is not None:
                result[cell.place].append(_Bit(bit))
    return result


def _runs(heap: _Heap) -> Iterator[list[_Cell]]:
    """Take bits from a heap for cells in a row: one to make a carry, those that add, one that puts out the last carry.

    A run begins where there are three bits, one of them for the carry, and ends where there are no two. But if there
    are no more than two anywhere, it begins with these and goes on to where there is none: then one bit is left of all.
    """
    begins, goes_on = (3, 2) if max(map(len, heap)) > 2 else (2, 1)
    for lowest, bits in enumerate(heap):
        while len(bits) >= begins:
            run = [_Cell(bits.pop(0) if len(bits) > 2 else _ZERO, None, None)]
            place = lowest
            while place < len(heap) and len(heap[place]) >= goes_on:
                x, y = (*heap[place][:2], _ZERO)[:2]
                del heap[place][:2]
                run.append(_Cell(x, y, place))
                place += 1
            run.append(_Cell(_ZERO, None, place if place < len(heap) else None))
            yield run


def _joined(runs: Iterable[list[_Cell]]) -> Iterator[list[_Cell]]:
    """Runs, one behind the other in chains: the cell that puts out the carry of one makes that of the next."""
    chain: list[_Cell] = []
    for run in runs:
        if chain and len(chain) + len(run) <= _LONGEST:
            chain[-1:] = [run[0]._replace(place=chain[-1].place), *run[1:]]
        else:
            if chain:
                yield chain
            chain = run
    if chain:
        yield chain


def _chain(m: Module, name: str, cells: Sequence[_Cell]) -> Value:
    """The results of cells in a row, the first of which gets no carry."""
    results = Signal(len(cells), name=name)
    carry: Value = Const(0)
    for first in range(0, len(cells), 2):
        ports: dict[str, Any] = {"i_CIN": carry}
        for half, cell in enumerate(cells[first : first + 2]):
            x, y = cell.x, cell.y or _ONE
            ports |= {f"i_{port}{half}": value for port, value in zip("ABCD", (x.a, x.b, y.a, y.b), strict=True)}
            ports |= {f"p_INIT{half}": Const(_table(cell), 16), f"o_S{half}": results[first + half]}
        carry = Signal(name=f"{name}_carry{first}")
        m.submodules[f"{name}_{first}"] = Instance("CCU2C", p_INJECT1_0="NO", p_INJECT1_1="NO", o_COUT=carry, **ports)
    return results


def _table(cell: _Cell) -> int:
    """Of A to D: what the carry is added to, and whether it goes on. Of A and B, in the lowest four: the carry if not.

    The lowest four serve both where C and D are 0, and are the same there: y is 0, or its complement has D set.
    """
    x = 0b0111 if cell.x.inverted else 0b1000
    if cell.y is None:
        return x
    return (0x1111 * x ^ (0x0FFF if cell.y.inverted else 0xF000)) & 0xFFF0 | x


def _block(m: Module, name: str, a: Value, b: Value) -> Value:
    """The product of two int8 by a MULT18X18D with the register at its output, which synthesis never finds."""
    # Zeros below cost no wires, copies of the sign above would: inputs that are constant are set in the block itself.
    wide = [Cat(Const(0, _BLOCK - 8), operand) for operand in (a, b)]
    result = Signal(2 * _BLOCK, name=name)
    m.submodules[name] = Instance(
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
        **{f"i_A{i}": bit for i, bit in enumerate(wide[0])},
        **{f"i_B{i}": bit for i, bit in enumerate(wide[1])},
        **{f"i_C{i}": Const(0) for i in range(_BLOCK)},
        **{f"o_P{i}": bit for i, bit in enumerate(result)},
    )
    return result[2 * (_BLOCK - 8) :]
