# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What the netlist has instead of chains of flip-flops does the same in every cycle, and only where nobody can tell."""

import copy
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from openlpu.fpga.delay_lines import absorb_delays
from openlpu.fpga.table_inputs import enter_through_tables
from openlpu.fpga.toolchain import ToolError, find_toolchain

DELAYS = """
module delays(
    input clk, input enable, input reset, input [5:0] word, input [5:0] other, input bit,
    output [5:0] three, output [5:0] five, output [5:0] tapped, output reg held, output reg cleared, output two,
    output reg inverted
);
    reg [5:0] t [2:0], f [4:0];
    reg b [1:0], h [2:0], c [2:0], n [3:0];
    integer i;
    always @(posedge clk) begin
        t[0] <= word; f[0] <= other; b[0] <= bit;
        for (i = 1; i < 3; i = i + 1) t[i] <= t[i - 1];
        for (i = 1; i < 5; i = i + 1) f[i] <= f[i - 1];
        b[1] <= b[0];
        if (enable) begin h[0] <= bit; h[1] <= h[0]; h[2] <= h[1]; held <= h[2]; end
        if (reset) begin c[0] <= 0; c[1] <= 0; c[2] <= 0; cleared <= 0; end
        else begin c[0] <= bit; c[1] <= c[0]; c[2] <= c[1]; cleared <= c[2]; end
        n[0] <= ^word; n[1] <= n[0]; n[2] <= n[1]; n[3] <= n[2]; inverted <= ~n[3];
    end
    assign three = t[2], five = f[4], tapped = f[1], two = b[1];
endmodule
"""


@pytest.fixture(scope="module")
def netlist(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Yosys makes of `DELAYS`: a netlist with the one module."""
    directory = tmp_path_factory.mktemp("delays")
    (directory / "delays.v").write_text(DELAYS, encoding="utf-8")
    script = "read_verilog delays.v\nsynth_ecp5 -top delays -nowidelut\nwrite_json netlist.json\n"
    (directory / "synthesis.ys").write_text(script, encoding="utf-8")
    find_toolchain().run("yosys", ["-Q", "-T", "synthesis.ys"], directory)
    netlist: dict[str, Any] = json.loads((directory / "netlist.json").read_text(encoding="utf-8"))
    return netlist


def kinds(netlist: dict[str, Any]) -> Counter[str]:
    return Counter(cell["type"] for cell in netlist["modules"]["delays"]["cells"].values())


def prove_equal(one: dict[str, Any], other: dict[str, Any], directory: Path) -> None:
    """From power-up on, for 20 cycles of any inputs, by Yosys and its models of the cells."""
    script = []
    for name, netlist in (("one", one), ("other", other)):
        module = {"modules": {name: netlist["modules"]["delays"]}}
        (directory / f"{name}.json").write_text(json.dumps(module), encoding="utf-8")
        script.append(f"read_json {name}.json")
    script += [
        "read_verilog -icells -D NO_INCLUDES +/ecp5/cells_sim.v",
        "setattr -mod -unset top one other",
        "hierarchy -check",
        "proc",
        "flatten one other",
        "memory -nomap",
        "memory_map",
        "opt_clean",
        "miter -equiv -flatten -make_outputs one other miter",
        "hierarchy -top miter",
        "opt -full",
        "sat -verify -prove trigger 0 -seq 20 -set-init-zero miter",
    ]
    (directory / "prove.ys").write_text("\n".join(script) + "\n", encoding="utf-8")
    find_toolchain().run("yosys", ["-Q", "-T", "prove.ys"], directory)


def test_delays_are_the_same_in_memories(netlist: dict[str, Any], tmp_path: Path) -> None:
    """Six bits by three cycles, six by three behind a tap, and one by four; what holds, is cleared or short stays."""
    changed = copy.deepcopy(netlist)
    counters = 1 + 2
    assert absorb_delays(changed["modules"]["delays"]) == 6 * 2 + 6 * 2 + 3 - counters
    before, after = kinds(netlist), kinds(changed)
    assert after - before == {"TRELLIS_DPR16X4": 3 + 1, "LUT4": counters}
    assert before - after == {"TRELLIS_FF": 27 - counters}
    prove_equal(netlist, changed, tmp_path)


def test_new_wires_have_no_names_of_others(netlist: dict[str, Any]) -> None:
    changed = copy.deepcopy(netlist)
    module = changed["modules"]["delays"]
    dead = 1 + max(bit for net in module["netnames"].values() for bit in net["bits"] if isinstance(bit, int))
    module["netnames"]["dead"] = {"hide_name": 0, "bits": [dead], "attributes": {}}
    assert absorb_delays(module) > 0
    assert enter_through_tables(module, 1000) > 0
    wires = {bit for cell in module["cells"].values() for bits in cell["connections"].values() for bit in bits}
    assert dead not in wires


def test_what_comes_from_a_pin_stays(netlist: dict[str, Any]) -> None:
    """It is nobody's to say when it changes: the first flip-flops are there to settle it."""
    changed = copy.deepcopy(netlist)
    module = changed["modules"]["delays"]
    for port in ("word", "other", "bit"):
        for bit in module["ports"][port]["bits"]:
            buffer = {"type": "TRELLIS_IO", "parameters": {}, "port_directions": {"O": "output"}}
            module["cells"][f"buffer{bit}"] = {**buffer, "connections": {"O": [bit]}}
    # What is left are six bits behind a tap, and one that is a sum.
    assert absorb_delays(module) == 6 * 2 + 3 - 3


def test_a_delay_of_one_cycle_more_is_noticed(netlist: dict[str, Any], tmp_path: Path) -> None:
    """The proof above can fail: here a counter counts to four instead of three."""
    changed = copy.deepcopy(netlist)
    absorb_delays(changed["modules"]["delays"])
    cells = changed["modules"]["delays"]["cells"]
    tables = [cells[name] for name in sorted(cells) if re.search(r"delay4_0\.next", name)]
    for table, rows in zip(tables, ("0101", "0110"), strict=True):
        table["parameters"]["INIT"] = rows * 4
    with pytest.raises(ToolError, match="proof did fail"):
        prove_equal(netlist, changed, tmp_path)


def test_tables_pass_on_what_flip_flops_take(netlist: dict[str, Any], tmp_path: Path) -> None:
    """Those that no table feeds yet, as far as there are tables to be had."""
    every = copy.deepcopy(netlist)
    flops = [cell for cell in netlist["modules"]["delays"]["cells"].values() if cell["type"] == "TRELLIS_FF"]
    by_flops = {cell["connections"]["Q"][0] for cell in flops}
    count = sum(cell["connections"]["DI"][0] in by_flops for cell in flops)
    assert enter_through_tables(every["modules"]["delays"], 1000) == count > 30
    assert kinds(every) - kinds(netlist) == {"LUT4": count}
    prove_equal(netlist, every, tmp_path)
    some = copy.deepcopy(netlist)
    assert enter_through_tables(some["modules"]["delays"], 10) == 10
    none = copy.deepcopy(netlist)
    assert enter_through_tables(none["modules"]["delays"], -1) == 0
    assert none == netlist
