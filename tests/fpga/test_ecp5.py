# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What stands in for multipliers: sums and products, with models of the cells as Lattice describes them; and proofs."""

import dataclasses
import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth.back import verilog
from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.sim import Simulator

from openlpu.arch.presets import ULX3S
from openlpu.fpga import ecp5
from openlpu.fpga.ecp5 import Ecp5DotProducts, Ecp5GatedSum, Ecp5NarrowProduct
from openlpu.fpga.toolchain import find_toolchain
from openlpu.hdl.fp32 import NarrowProduct
from openlpu.hdl.mxm import DotProducts
from openlpu.hdl.sums import GatedSum

INT8 = range(-128, 128)
CORNERS = (-128, -127, -2, -1, 0, 1, 2, 126, 127)


def carry_cell(**ports: Any) -> Module:
    """CCU2C: two tables of four inputs in a carry chain; the table of the first two inputs makes the carry."""
    assert (ports["p_INJECT1_0"], ports["p_INJECT1_1"]) == ("NO", "NO")
    m = Module()
    carry = Value.cast(ports["i_CIN"])
    for half in range(2 if "p_INIT1" in ports else 1):
        table = ports[f"p_INIT{half}"]
        inputs = Cat(ports[f"i_{name}{half}"] for name in "ABCD")
        propagates = table.bit_select(inputs, 1)
        generates = table[:4].bit_select(inputs[:2], 1)
        m.d.comb += ports[f"o_S{half}"].eq(propagates ^ carry)
        carry = Mux(propagates, carry, generates)
    m.d.comb += ports["o_COUT"].eq(carry)
    return m


def dsp_block(**ports: Any) -> Module:
    """MULT18X18D with a register at its output, if that is asked for, and no other."""
    m = Module()
    a, b = (Cat(ports[f"i_{name}{i}"] for i in range(18)) for name in "AB")
    signed = [(value.as_signed() if ports[f"i_SIGNED{name}"].value else value) for name, value in (("A", a), ("B", b))]
    product = Signal(36)
    registers = {name: value for name, value in ports.items() if name.startswith("p_REG")}
    assert registers == {"p_REG_OUTPUT_CLK": "CLK0", "p_REG_OUTPUT_CE": "CE0", "p_REG_OUTPUT_RST": "RST0"}
    assert (ports["i_CE0"].value, ports["i_RST0"].value) == (1, 0)
    m.d.sync += product.eq(signed[0] * signed[1])
    m.d.comb += Cat(ports[f"o_P{i}"] for i in range(36)).eq(product)
    return m


MODELS: dict[str, Callable[..., Module]] = {"CCU2C": carry_cell, "MULT18X18D": dsp_block}


Operands = tuple[Sequence[int], Sequence[Sequence[int]]]
"""The activations, and the weights of each column."""


def simulator_of(dut: wiring.Component) -> Simulator:
    """One with the models: it knows no instances itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ecp5, "Instance", lambda cell, **ports: MODELS[cell](**ports))
        return Simulator(dut)


def packed(values: Sequence[int]) -> int:
    return int.from_bytes(value & 0xFF for value in values)  # in any order, for all operands the same


def check(dut: Ecp5DotProducts, operands: Sequence[Operands], tree: int) -> None:
    """Operands back to back, and each sum when it is due."""
    found: list[list[int]] = []

    async def bench(ctx: Any) -> None:
        for a, columns in [*operands, *operands[:tree]]:
            ctx.set(dut.a, packed(a))
            for port, b in zip(dut.b, columns, strict=True):
                ctx.set(port, packed(b))
            await ctx.tick()
            found.append([ctx.get(total) for total in dut.total])

    simulator = simulator_of(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    for (a, columns), totals in zip(operands, found[tree:], strict=True):
        assert totals == [int(np.dot(a, b)) for b in columns], (a, columns)


@pytest.mark.parametrize(
    ("lanes", "columns", "tree", "blocks"),
    [
        # Those of ulx3s and of nano.
        *[(16, 2, 4, 15), (16, 2, 4, 16), (4, 2, 1, 8)],
        # A row alone, by a block, two and none; an odd number of them, by none to two; one stage for all levels.
        *[(1, 2, 1, 1), (1, 2, 1, 2), (1, 2, 1, 0), (5, 2, 3, 3), (5, 2, 2, 7), (4, 2, 1, 2), (4, 2, 1, 0)],
        # A column alone.
        *[(5, 1, 3, 2), (4, 1, 2, 4), (1, 1, 1, 0)],
    ],
)
def test_sums(lanes: int, columns: int, tree: int, blocks: int) -> None:
    """Of random operands, of corners in any order, and of corners in one row with the others 0."""
    seed = random.SystemRandom().getrandbits(32)
    print(f"{seed=}")
    draw = random.Random(seed)
    corners = [*itertools.product(CORNERS, repeat=1 + columns)]
    rows = [[row] * lanes for row in draw.sample(corners, 60 if columns > 1 else len(corners))]
    rows += [[row] * lanes for row in itertools.product((-128, 127), repeat=1 + columns)]
    rows += [[draw.choice(corners) for _ in range(lanes)] for _ in range(80)]
    rows += [[tuple(draw.randrange(-128, 128) for _ in range(1 + columns)) for _ in range(lanes)] for _ in range(80)]
    for lane in range(lanes):
        rows += [
            [row if other == lane else (0,) * len(row) for other in range(lanes)] for row in draw.sample(corners, 8)
        ]
    operands = [(a, b) for a, *b in (tuple(zip(*row, strict=True)) for row in rows)]
    check(Ecp5DotProducts(lanes=lanes, columns=columns, tree=tree, blocks=blocks), operands, tree)


def check_block(operands: Iterable[tuple[int, int, int]]) -> None:
    """One block that makes the products of an activation and two weights."""
    dut = Ecp5DotProducts(lanes=1, columns=2, tree=1, blocks=1)
    check(dut, [((a,), ((lower,), (upper,))) for a, lower, upper in operands], 1)


def test_two_products_of_a_block() -> None:
    check_block(itertools.product(INT8, CORNERS, CORNERS))


@pytest.mark.regress
@pytest.mark.parametrize("other", CORNERS)
def test_two_products_of_every_pair(other: int) -> None:
    """Of all activations and weights of either column, while one of the corners is the other's weight."""
    check_block(itertools.product(INT8, INT8, [other]))
    check_block(itertools.product(INT8, [other], INT8))


@pytest.mark.parametrize(("blocks", "chains"), [(15, 512), (16, 470)])
def test_cells(blocks: int, chains: int) -> None:
    """Two columns of ulx3s as small as they were made: these are most of what fills the chip."""
    text = verilog.convert(Ecp5DotProducts(lanes=16, columns=2, tree=4, blocks=blocks), "dot_products")
    assert text.count("MULT18X18D") == blocks
    assert text.count("CCU2C") <= chains


def test_narrow_products() -> None:
    """Of every narrow factor and each of: single bits, all but a single bit, runs of ones, random ones."""
    seed = random.SystemRandom().getrandbits(32)
    print(f"{seed=}")
    draw = random.Random(seed)
    ones = (1 << 24) - 1
    wide = [0, ones, *(1 << bit for bit in range(24)), *(ones ^ 1 << bit for bit in range(24))]
    wide += [ones >> length for length in range(24)] + [draw.randrange(1 << 24) for _ in range(100)]
    dut = Ecp5NarrowProduct()

    async def bench(ctx: Any) -> None:
        for x, y in itertools.product(range(64), wide):
            ctx.set(dut.x, x)
            ctx.set(dut.y, y)
            assert ctx.get(dut.o) == x * y, (x, y)

    simulator = simulator_of(dut)
    simulator.add_testbench(bench)
    simulator.run()


def test_cells_of_a_narrow_product() -> None:
    text = verilog.convert(Ecp5NarrowProduct(), "narrow_product")
    assert "MULT18X18D" not in text
    assert text.count("CCU2C") <= 65


def prove(generic: wiring.Component, substitute: wiring.Component, options: str, directory: Path) -> str:
    """What Yosys says to the question whether components are equal, with its own model of the cell."""
    for name, component in (("gold", generic), ("gate", substitute)):
        (directory / f"{name}.v").write_text(verilog.convert(component, name), encoding="utf-8")
    script = f"""
        read_verilog gate.v
        read_verilog -nooverwrite +/ecp5/cells_sim.v
        hierarchy -top gate
        prep -flatten -top gate
        design -stash gate
        read_verilog gold.v
        prep -flatten -top gold
        design -stash gold
        design -copy-from gold -as gold gold
        design -copy-from gate -as gate gate
        miter -equiv -flatten -make_outputs gold gate miter
        prep -flatten -top miter
        sat -verify -prove trigger 0 {options} miter
    """
    (directory / "proof.ys").write_text(script, encoding="utf-8")
    find_toolchain().run("yosys", ["-Q", "-T", "proof.ys"], directory)
    return (directory / "yosys.log").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [32, 33])
def test_chains_equal_the_gated_sum(width: int, tmp_path: Path) -> None:
    """For all operands: a proof by SAT."""
    said = prove(GatedSum(width=width), Ecp5GatedSum(width=width), "", tmp_path)
    assert "SAT proof finished - no model found: SUCCESS!" in said


def test_cells_of_a_gated_sum() -> None:
    """One for two places, and half a one that makes the carry: there is no other logic."""
    text = verilog.convert(Ecp5GatedSum(width=32), "gated_sum")
    assert text.count("  CCU2C ") == 17


@pytest.mark.regress
def test_chains_equal_the_multiplier(tmp_path: Path) -> None:
    """For every pair of operands beside one of 0: a proof by SAT, of minutes."""
    config = dataclasses.replace(ULX3S, lanes=2, weight_streams=1)
    generic = DotProducts(config=config, columns=1)
    chains = Ecp5DotProducts(lanes=2, columns=1, tree=1, blocks=0)
    said = prove(generic, chains, "-set-init-zero -set in_b__0[15:8] 0 -seq 2 -tempinduct", tmp_path)
    assert "Induction step proven: SUCCESS!" in said


@pytest.mark.regress
def test_chains_equal_the_narrow_multiplier(tmp_path: Path) -> None:
    """For every pair of operands: a proof by SAT, of minutes."""
    assert "SAT proof finished - no model found: SUCCESS!" in prove(NarrowProduct(), Ecp5NarrowProduct(), "", tmp_path)
