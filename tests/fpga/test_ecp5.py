# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What stands in for multipliers: products, with models of the cells as Lattice describes them; and a proof."""

import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from amaranth.back import verilog
from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.sim import Simulator

from openlpu.fpga import ecp5
from openlpu.fpga.ecp5 import CarryMultiplier, DspMultiplier
from openlpu.fpga.synthesis import modules_of, multipliers_verilog
from openlpu.fpga.toolchain import find_toolchain
from openlpu.hdl.multiplier import Multiplier

CORNERS = (-128, -127, -2, -1, 0, 1, 2, 126, 127)


def carry_cell(**ports: Any) -> Module:
    """CCU2C: two tables of four inputs in a carry chain; the table of the first two inputs makes the carry."""
    assert (ports["p_INJECT1_0"], ports["p_INJECT1_1"]) == ("NO", "NO")
    m = Module()
    carry = Value.cast(ports["i_CIN"])
    for half in range(2):
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


@pytest.mark.parametrize("kind", [CarryMultiplier, DspMultiplier])
def test_products(kind: type[CarryMultiplier | DspMultiplier], monkeypatch: pytest.MonkeyPatch) -> None:
    """A cycle later, back to back: of corners and of random operands."""
    seed = random.SystemRandom().getrandbits(32)
    print(f"{seed=}")
    draw = random.Random(seed)
    pairs = [*itertools.product(CORNERS, CORNERS)]
    pairs += [(draw.randrange(-128, 128), draw.randrange(-128, 128)) for _ in range(600)]
    monkeypatch.setattr(ecp5, "Instance", lambda cell, **ports: MODELS[cell](**ports))
    dut = kind()
    found = []

    async def bench(ctx: Any) -> None:
        for a, b in pairs:
            ctx.set(dut.a, a)
            ctx.set(dut.b, b)
            await ctx.tick()
            found.append(ctx.get(dut.product))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert found == [a * b for a, b in pairs]


@pytest.mark.regress
def test_carry_chains_equal_the_multiplier(tmp_path: Path) -> None:
    """For every pair of operands, with the model of the cell that Yosys has: a proof by SAT, of two minutes."""
    generic = Multiplier(stages=1)
    (tmp_path / "generic.v").write_text(
        verilog.convert(generic, "generic", ports=[generic.a, generic.b, generic.product]), encoding="utf-8"
    )
    (tmp_path / "ecp5.v").write_text(multipliers_verilog(), encoding="utf-8")
    _, chains = modules_of(multipliers_verilog())
    script = f"""
        read_verilog ecp5.v
        read_verilog -nooverwrite +/ecp5/cells_sim.v
        hierarchy -top {chains}
        prep -flatten -top {chains}
        rename {chains} gate
        design -stash gate
        read_verilog generic.v
        prep -flatten -top generic
        rename generic gold
        design -stash gold
        design -copy-from gold -as gold gold
        design -copy-from gate -as gate gate
        miter -equiv -flatten -make_outputs gold gate miter
        prep -flatten -top miter
        sat -verify -set-init-zero -prove trigger 0 -seq 1 -tempinduct miter
    """
    (tmp_path / "proof.ys").write_text(script, encoding="utf-8")
    find_toolchain().run("yosys", ["-Q", "-T", "proof.ys"], tmp_path)
    assert "Induction step proven: SUCCESS!" in (tmp_path / "yosys.log").read_text(encoding="utf-8")
