# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What stands in for multipliers and sums on a Lattice ECP5: DSP blocks, and carry chains.

`openlpu.hdl.mxm.DotProducts` becomes both. Where blocks are few, one makes two products of an activation: the second
weight stands so high that only four bits of these overlap. Chains make the four of the second product once more, which
separates the two.

A product that no block makes is not made at all. It is the sum of products of bits, and those of all such products are
added by what they weigh, whichever product they are of. So chains are few, full, and without bits for a sign.

`openlpu.hdl.fp32.NarrowProduct` becomes chains alone. So a product of significands takes two blocks; with that, too, in
blocks it would take four. `openlpu.hdl.sums.GatedSum` becomes one chain, and no table beside it.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from openlpu.hdl.fp32 import NarrowProduct
from openlpu.hdl.sums import GatedSum

__all__ = ["Ecp5DotProducts", "Ecp5GatedSum", "Ecp5NarrowProduct"]

_BLOCK = 18
"""The width of a block's operands."""
_SPACING = _BLOCK - 8
"""The places between two products of a block."""
_OVERLAP = 4
"""The places of the lower product, one of 8 bits and 7, from there to its sign."""
_LONGEST = 48
"""Cells in a chain. Timing analysis counts on a carry through all of them, which never goes farther than one sum."""


class _Bit(NamedTuple):
    """The bit `a & b`; or its complement, if that is asked for."""

    a: Value
    b: Value = Const(1)
    inverted: bool = False

    @property
    def only_x(self) -> bool:
        """Whether a cell can add it as x only."""
        return self.inverted and not isinstance(self.b, Const)


class _Turned(NamedTuple):
    """The bit `a`, or its complement where `b` is set."""

    a: Value
    b: Value


class _Cell(NamedTuple):
    """Half a CCU2C: adds x, y and the carry; without y, it puts out the carry that comes in, and the next one is x."""

    x: _Bit
    y: _Bit | _Turned | None
    into: list[_Bit] | None = None
    """Takes the result, if it is needed."""


_ZERO, _ONE = _Bit(Const(0)), _Bit(Const(1))


class _Heap:
    """Bits to be added, in lists by place: what they weigh, as a power of 2. There is no sum beyond the places."""

    def __init__(self, width: int) -> None:
        self.places: list[list[_Bit]] = [[] for _ in range(width)]
        self.constant = 0
        """Is added, too."""

    @property
    def height(self) -> int:
        """How many bits there are in the place that has most."""
        return max(map(len, self.places))

    def add(self, bits: Iterable[_Bit], place: int = 0) -> None:
        """Add a number that has these bits from `place` on."""
        for where, bit in enumerate(bits, place):
            self.places[where].append(bit)

    def subtract(self, bits: Iterable[_Bit], place: int = 0) -> None:
        """Subtract such a number: -x is ~x - 1."""
        for where, bit in enumerate(bits, place):
            self.places[where].append(bit._replace(inverted=not bit.inverted))
            self.constant -= 1 << where

    def add_signed(self, value: Value, place: int = 0) -> None:
        """Add a number whose highest bit weighs negative."""
        *bits, sign = map(_Bit, value)
        self.add(bits, place)
        self.subtract([sign], place + len(bits))

    def add_all(self, other: "_Heap") -> None:
        """Add what another has."""
        for place, bits in enumerate(other.places):
            self.places[place] += bits
        self.constant += other.constant

    def subtract_all(self, other: "_Heap") -> None:
        """Subtract what another has."""
        for place, bits in enumerate(other.places):
            for bit in bits:
                self.subtract([bit], place)
        self.constant -= other.constant

    def settle(self) -> None:
        """Put the constant among the bits."""
        for place, bits in enumerate(self.places):
            if self.constant >> place & 1:
                bits.append(_ONE)
        self.constant = 0

    def copy(self) -> "_Heap":
        """One with bits of its own."""
        heap = _Heap(len(self.places))
        heap.places = [list(bits) for bits in self.places]
        heap.constant = self.constant
        return heap


class _Total:
    """What one total is the sum of, by when it is there; but `minus` is to be subtracted."""

    def __init__(self, width: int) -> None:
        self.plus, self.minus = _Heap(width), _Heap(width)
        """From the beginning."""
        self.late = _Heap(width)
        """For the second level of chains, the last one in front of the register of products."""
        self.products = _Heap(width)
        """Behind the register."""
        self.late_products = _Heap(width)
        """For the second level of chains behind it."""


class Ecp5DotProducts(wiring.Component):
    """The ports of `openlpu.hdl.mxm.DotProducts`, with one register for the products and `tree` behind it.

    There are one or two columns. The rows get the DSP blocks in turn, one for each column at most.
    """

    a: Signal
    b: list[Signal]
    total: list[Signal]

    def __init__(self, *, lanes: int, columns: int, tree: int, blocks: int) -> None:
        self._lanes = lanes
        self._tree = tree
        self._blocks = blocks
        self._width = 16 + (lanes - 1).bit_length()
        ports = {"a": In(8 * lanes), "b": In(8 * lanes).array(columns)}
        super().__init__({**ports, "total": Out(signed(self._width)).array(columns)})

    def elaborate(self, platform: object) -> Module:
        """Levels of chains, with registers between them."""
        m = Module()
        totals = [_Total(self._width) for _ in self.total]
        runs = []
        for row in range(self._lanes):
            a, *weights = (operand.word_select(row, 8) for operand in (self.a, *self.b))
            blocks = -(-(self._blocks - row) // self._lanes)
            if blocks >= len(weights):
                for column, (b, total) in enumerate(zip(weights, totals, strict=True)):
                    total.products.add_signed(_block(m, f"block{row}_{column}", a, b))
            elif blocks > 0:
                runs.append(_two_products(m, f"block{row}", a, weights, totals))
            else:
                for b, total in zip(weights, totals, strict=True):
                    _add_product(total, a, b)

        plus = _add(m, "plus", [total.plus for total in totals])
        minus = _add(m, "minus", [total.minus for total in totals])
        for heap, negative, total in zip(plus, minus, totals, strict=True):
            heap.subtract_all(negative)
            heap.add_all(total.late)
        heaps = _registered(m, "products_q", _add(m, "both", plus))
        for heap, total in zip(heaps, totals, strict=True):
            heap.add_all(total.products)
            heap.settle()
        heaps = _add(m, "first", heaps)
        _connect(m, "overlap", runs)
        for heap, total in zip(heaps, totals, strict=True):
            heap.add_all(total.late_products)
        level = 0
        for later in reversed(range(self._tree)):
            # Each stage halves what is left, but that is 1 in the end.
            while max(heap.height for heap in heaps) > (3 << later) // 2:
                heaps = _add(m, f"sum{level}", heaps)
                level += 1
            heaps = _registered(m, f"sum_q{later}", heaps)
        for result, heap in zip(self.total, heaps, strict=True):
            m.d.comb += result.eq(Cat(bits[0].a ^ bits[0].inverted if bits else Const(0) for bits in heap.places))
        return m


class Ecp5NarrowProduct(NarrowProduct):
    """What stands in for a `NarrowProduct`: three levels of chains."""

    def body(self) -> Module:
        """Chains, and a gate for the lowest bit."""
        m = Module()
        m.d.comb += self.o.eq(Cat(bit.a & bit.b for bit in _product(m, "product", self.x, self.y)))
        return m


class Ecp5GatedSum(GatedSum):
    """What stands in for a `GatedSum`."""

    def body(self) -> Module:
        """A cell that makes the carry, and one for every place."""
        m = Module()
        places = zip(self.a, self.b, strict=True)
        cells = [_Cell(_Bit(self.carry), None)]
        cells += [_Cell(_Bit(a, self.takes_a), _Turned(b, self.inverts_b)) for a, b in places]
        m.d.comb += self.o.eq(_chain(m, "sum", cells)[1:])
        return m


def _product(m: Module, name: str, x: Value, y: Value) -> list[_Bit]:
    """The product of unsigned numbers: what two parts of the first make of the second, added by one chain.

    A chain goes over all of a number, and not only where a third bit makes its carry: that takes no more cells, and a
    level less.
    """
    if len(x) == 1:
        return [_Bit(x[0], bit) for bit in y]
    half = 1 << (len(x) - 1).bit_length() - 1
    heap = _Heap(len(x) + len(y))
    heap.add(_product(m, f"{name}_low", x[:half], y))
    heap.add(_product(m, f"{name}_high", x[half:], y), half)
    return [bit for (bit,) in _add(m, name, [heap])[0].places]


def _add_product(total: _Total, a: Value, b: Value) -> None:
    """Add the product of two int8."""
    for i in range(8):
        for j in range(8):
            # The highest bit of an operand weighs negative.
            (total.minus if (i == 7) != (j == 7) else total.plus).add([_Bit(a[i], b[j])], i + j)


def _two_products(m: Module, name: str, a: Value, weights: Sequence[Value], totals: Sequence[_Total]) -> list[_Cell]:
    """Add the products of an int8 and one for each total with one block; the cells that separate them are to be built.

    The block multiplies with the weight of the total `above`, 2 ** _SPACING times, and with the one `below` but for its
    sign. Below the spacing are bits of the lower product alone. Above it, the rest of that is added to the upper one.
    """
    (lower, upper), (below, above) = weights, totals
    magnitude, sign = lower[:7], lower[7]
    product = _block(m, name, a, Cat(magnitude, Const(0, _SPACING - 7), upper))
    below.minus.add((_Bit(bit, sign) for bit in a[:7]), 7)
    below.plus.add([_Bit(a[7], sign)], 14)
    below.products.add(map(_Bit, product[:_SPACING]))

    # The overlap, less what is the upper product's, is the lower one's. If that borrows, so must the rest of the upper.
    own = Signal(_OVERLAP, name=f"{name}_own", reset_less=True)
    m.d.sync += own.eq(_low_product(m, f"{name}_own", a, upper))
    above.products.add(map(_Bit, own))
    above.products.add_signed(product[_SPACING + _OVERLAP :], _OVERLAP)
    above.products.constant -= 1 << _OVERLAP
    overlap = slice(_SPACING, _SPACING + _OVERLAP)
    places = zip(product[overlap], own, below.late_products.places[overlap], strict=True)
    run = [
        _Cell(_ONE, None),
        *(_Cell(_Bit(both), _Bit(upper_bit, inverted=True), into) for both, upper_bit, into in places),
        _Cell(_ZERO, None, above.late_products.places[_OVERLAP]),
    ]

    # The lower product's sign is that of a, unless it is 0, and it was subtracted from the upper one.
    some = Signal(name=f"{name}_some")
    m.d.comb += some.eq(magnitude.any())
    below.late.subtract([_Bit(a[7], some)], _SPACING + _OVERLAP)
    above.late.add([_Bit(a[7], some)], _OVERLAP)
    return run


def _low_product(m: Module, name: str, a: Value, b: Value) -> Value:
    """The lowest `_OVERLAP` bits of a product, by two chains: nothing is carried out of the highest place."""
    first = [_Cell(_Bit(a[0], b[i]), _Bit(a[1], b[i - 1]) if i else _ZERO) for i in range(_OVERLAP)]
    half = _chain(m, f"{name}_half", first)
    highest = Signal(name=f"{name}_highest")
    m.d.comb += highest.eq((a[2] & b[1]) ^ (a[3] & b[0]))
    second = [_Cell(_Bit(half[2]), _Bit(a[2], b[0])), _Cell(_Bit(half[3]), _Bit(highest))]
    return Cat(half[:2], _chain(m, f"{name}_rest", second))


def _registered(m: Module, name: str, heaps: Sequence[_Heap]) -> list[_Heap]:
    results = [heap.copy() for heap in heaps]
    for number, heap in enumerate(results):
        for place, bits in enumerate(heap.places):
            register = Signal(len(bits), name=f"{name}{number}_{place}", reset_less=True)
            m.d.sync += register.eq(Cat(bit.a & bit.b for bit in bits))
            heap.places[place] = [_Bit(q, inverted=bit.inverted) for q, bit in zip(register, bits, strict=True)]
    return results


def _add(m: Module, name: str, heaps: Sequence[_Heap]) -> list[_Heap]:
    """The same sums after one level of chains: of about half as many bits."""
    results = [heap.copy() for heap in heaps]
    _connect(m, name, [run for heap in results for run in _runs(heap.places)])
    return results


def _connect(m: Module, name: str, runs: Iterable[list[_Cell]]) -> None:
    """Build runs, and put their results where these belong."""
    for number, chain in enumerate(_joined(runs)):
        for cell, bit in zip(chain, _chain(m, f"{name}_{number}", chain), strict=True):
            if cell.into is not None:
                cell.into.append(_Bit(bit))


def _runs(places: Sequence[list[_Bit]]) -> Iterator[list[_Cell]]:
    """Take bits from a heap for cells in a row: one to make a carry, those that add, one that puts out the last carry.

    A run begins where there are three bits, one of them for the carry, and ends where there are no two. But if there
    are no more than two anywhere, it begins with these and goes on to where there is none: then one bit is left of all.
    """
    begins, goes_on = (3, 2) if max(map(len, places)) > 2 else (2, 1)
    for bits in places:
        bits.sort(key=lambda bit: not bit.only_x)
    for lowest, bits in enumerate(places):
        while _fit(bits, begins):
            run = [_Cell(bits.pop(0) if len(bits) > 2 else _ZERO, None)]
            place = lowest
            while place < len(places) and _fit(places[place], goes_on):
                run.append(_Cell(*_pair(places[place]), places[place]))
                place += 1
            run.append(_Cell(_ZERO, None, places[place] if place < len(places) else None))
            yield run


def _fit(bits: Sequence[_Bit], least: int) -> bool:
    """Whether there are that many bits, and a cell can add two of them. Those that are x only come first."""
    return len(bits) >= least and (len(bits) == 1 or not bits[-1].only_x)


def _pair(bits: list[_Bit]) -> tuple[_Bit, _Bit]:
    """Take two bits that fit, or the only one."""
    x = bits.pop(0)
    return x, bits.pop(next(i for i, bit in enumerate(bits) if not bit.only_x)) if bits else _ZERO


def _joined(runs: Iterable[list[_Cell]]) -> list[list[_Cell]]:
    """Runs, one behind the other in chains: the cell that puts out the carry of one makes that of the next."""
    chains: list[list[_Cell]] = []
    for run in runs:
        for chain in chains:
            if len(chain) + len(run) - 1 <= _LONGEST:
                chain[-1:] = [run[0]._replace(into=chain[-1].into), *run[1:]]
                break
        else:
            chains.append(run)
    # No cell need make a first carry of 0, nor put out one beyond the places.
    return [chain[chain[0].x is _ZERO : len(chain) - (chain[-1].into is None)] for chain in chains]


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
    y = 0x0FF0 if isinstance(cell.y, _Turned) else 0x0FFF if cell.y.inverted else 0xF000
    return (0x1111 * x ^ y) & 0xFFF0 | x


def _block(m: Module, name: str, a: Value, b: Value) -> Value:
    """The product of signed numbers by a MULT18X18D with the register at its output, which synthesis never finds."""
    # Zeros below cost no wires, copies of the sign above would: inputs that are constant are set in the block itself.
    wide = [Cat(Const(0, _BLOCK - len(operand)), operand) for operand in (a, b)]
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
    return result[2 * _BLOCK - len(a) - len(b) :]
