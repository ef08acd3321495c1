# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Units alone: their ports are found in the chip's Verilog, and registers stand at all of them."""

from typing import Any

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from openlpu.arch.presets import ULX3S16
from openlpu.fpga import unit_clocks
from openlpu.fpga.device import Area
from openlpu.fpga.synthesis import area_by_unit, script
from openlpu.fpga.unit_clocks import ALONE, FIGURES, Port, UnitBench, verilog_ports
from openlpu.hdl.generate import hosted_verilog

VERILOG = """
module \\chip.some (clk, rst, \\release , word, result, more);
  wire \\$1 ;
  input clk;
  wire clk;
  input rst;
  input \\release ;
  input [3:0] word;
  output [1:0] result;
  output more;
endmodule

module \\chip.some2 (clk, other);
  input clk;
  input other;
endmodule
"""


def test_ports_are_read_from_verilog() -> None:
    inputs = [Port("rst", "input", 1), Port("release", "input", 1), Port("word", "input", 4)]
    assert verilog_ports(VERILOG, "chip.some") == [*inputs, Port("result", "output", 2), Port("more", "output", 1)]
    assert verilog_ports(VERILOG, "chip.some2") == [Port("other", "input", 1)]
    with pytest.raises(KeyError, match=r"chip\.so"):
        verilog_ports(VERILOG, "chip.so")


def test_every_unit_is_in_the_chip() -> None:
    text = hosted_verilog(ULX3S16, clock_hz=80e6, baud=1_000_000)
    for module in ALONE.values():
        directions = {port.direction for port in verilog_ports(text, module)}
        assert directions == {"input", "output"}, module


class Inverter(wiring.Component):
    """Stands for a unit of four bits."""

    clk: In(1)
    word: In(4)
    result: Out(4)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.result.eq(~self.word)
        return m


def test_registers_stand_at_all_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit that inverts four bits: the parity of what comes out, as the chain of registers has it."""

    def instance(module: str, **ports: Any) -> Module:
        m = Module()
        m.submodules.unit = unit = Inverter()
        m.d.comb += [unit.word.eq(ports["i_word"]), ports["o_result"].eq(unit.result)]
        return m

    monkeypatch.setattr(unit_clocks, "Instance", instance)
    bench = UnitBench("some", [Port("word", "input", 4), Port("result", "output", 4)])
    given = [1, 0, 1, 1, 0, 0, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1] * 4
    found, inputs, caught, chain, expected = [], 0, 0, [0] * 5, []

    async def drive(ctx: Any) -> None:
        for bit in given:
            ctx.set(bench.given, bit)
            found.append(ctx.get(bench.parity))
            await ctx.delay(5e-9)
            ctx.set(bench.clk, 1)
            await ctx.delay(5e-9)
            ctx.set(bench.clk, 0)

    simulator = Simulator(bench)
    simulator.add_testbench(drive)
    simulator.run()
    for bit in given:
        expected.append(chain[4])
        chain = [0, *(chain[i] ^ caught >> i & 1 for i in range(4))]
        caught, inputs = ~inputs & 15, (inputs << 1 | bit) & 15
    assert found == expected
    assert 0 < sum(found) < len(found)


def test_the_table_is_of_the_units_there_are() -> None:
    text = FIGURES.read_text(encoding="utf-8")
    assert f"ulx3s16 ({ULX3S16.digest})" in text
    assert all(f"\n{unit} " in text for unit in ALONE)


def test_a_unit_that_is_no_unit_of_the_count_is_counted_by_its_name() -> None:
    modules = ["board", "hosted_chip.bridged.bridge", "mem_e0"]
    commands = script(["board.il"], modules, top="board", in_dsp=[], apart=["hosted_chip.bridged.bridge"])
    assert "keep_hierarchy 1 hosted_chip.bridged.bridge mem_e0\n" in commands
    assert "keep_hierarchy 1 mem_e0\n" in script(["board.il"], modules, top="board", in_dsp=[])
    cells = {"board": {"TRELLIS_FF": 3, "some": 2}, "some": {"LUT4": 5}}
    counted = area_by_unit({"modules": {name: {"num_cells_by_type": of_it} for name, of_it in cells.items()}}, "board")
    assert counted == {"board": Area(ff=3), "some": Area(lut=10)}
