# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Registers that belong into DSP blocks and block RAMs, those that do not, and that nothing else changes."""

import copy
import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from openlpu.fpga.block_registers import absorb_output_registers
from openlpu.fpga.toolchain import find_toolchain

CLOCK, OTHER_CLOCK = 1, 2
_PLAIN = {"CEMUX": "1 ", "CLKMUX": "CLK", "REGSET": "RESET", "LSRMUX": "LSR"}


def cell(kind: str, outputs: Sequence[str], wires: Mapping[str, Any], parameters: Mapping[str, str]) -> dict[str, Any]:
    return {
        "type": kind,
        "parameters": dict(parameters),
        "port_directions": {port: "output" if port in outputs else "input" for port in wires},
        "connections": {port: [bit] for port, bit in wires.items()},
    }


def flop(bit: int, result: int, clock: int = CLOCK, **parameters: str) -> dict[str, Any]:
    wires = {"CLK": clock, "DI": bit, "LSR": "0", "Q": result}
    return cell("TRELLIS_FF", ("Q",), wires, {**_PLAIN, **parameters})


def module() -> dict[str, Any]:
    """A block with three bits of product, two of which go to registers."""
    wires = {"A0": 3, "B0": 4, "P0": 10, "P1": 11, "P35": 12}
    block = cell("MULT18X18D", ("P0", "P1", "P35"), wires, {})
    cells = {"block": block, "low": flop(10, 20), "high": flop(11, 21)}
    return {"ports": {"o": {"bits": [20, 21]}}, "netnames": {}, "cells": cells}


def ram(width: int = 9, wires: Mapping[str, Any] | None = None, **parameters: str) -> dict[str, Any]:
    """A block RAM of which bits 0 and 17 of port A and bit 0 of port B are connected."""
    plain: dict[str, Any] = {f"CLK{port}": CLOCK for port in "AB"} | {f"RST{port}": "0" for port in "AB"}
    modes = {f"REGMODE_{port}": "NOREG" for port in "AB"} | {f"CLK{port}MUX": f"CLK{port}" for port in "AB"}
    widths = {f"DATA_WIDTH_{port}": f"{width:032b}" for port in "AB"}
    outputs = {"DOA0": 10, "DOA17": 11, "DOB0": 12}
    connected = {**plain, "CEB": 5, "OCEA": "0", "OCEB": "1", **outputs, **(wires or {})}
    return cell("DP16KD", tuple(outputs), connected, {**modes, **widths, **parameters})


def memory(block: dict[str, Any], **others: dict[str, Any]) -> dict[str, Any]:
    """A module of such a block, with flip-flops behind all three outputs."""
    flops = {"low": flop(10, 20), "high": flop(11, 21), "second": flop(12, 22)}
    ports = {"o": {"bits": [20, 21, 22]}}
    return {"ports": ports, "netnames": {}, "cells": {"block": block, **flops, **others}}


def test_a_multiplier_takes_its_registers_in() -> None:
    changed = module()
    assert absorb_output_registers(changed) == 2
    assert list(changed["cells"]) == ["block"]
    block = changed["cells"]["block"]
    wires = {"A0": 3, "B0": 4, "P0": 20, "P1": 21, "P35": 12, "CLK0": CLOCK, "CE0": "1", "RST0": "0"}
    assert block["connections"] == {port: [bit] for port, bit in wires.items()}
    assert block["port_directions"].keys() == wires.keys()
    assert block["parameters"] == {"REG_OUTPUT_CLK": "CLK0", "REG_OUTPUT_CE": "CE0", "REG_OUTPUT_RST": "RST0"}


OTHERS = [
    ("another clock", {"high": flop(11, 21, OTHER_CLOCK)}),
    ("an enable", {"high": flop(11, 21, CEMUX="CE")}),
    ("a set", {"high": flop(11, 21, REGSET="SET")}),
    ("a reset", {"high": cell("TRELLIS_FF", ("Q",), {"CLK": CLOCK, "DI": 11, "LSR": 5, "Q": 21}, _PLAIN)}),
    ("logic", {"high": cell("LUT4", ("Z",), {"A": 11, "Z": 21}, {})}),
    ("two users", {"more": flop(11, 22)}),
    ("the edge", {"high": cell("TRELLIS_IO", (), {"I": 11}, {})}),
]


@pytest.mark.parametrize(
    ("name", "other"),
    [
        *OTHERS,
        ("a register already", {"block": cell("MULT18X18D", ("P0",), {"P0": 10}, {"REG_OUTPUT_CLK": "CLK0"})}),
    ],
)
def test_a_multiplier_leaves_out(name: str, other: dict[str, Any]) -> None:
    changed, untouched = module(), module()
    changed["cells"] |= other
    untouched["cells"] |= other
    assert absorb_output_registers(changed) == 0, name
    assert changed == untouched


def test_a_product_that_leaves_the_chip_stays_outside() -> None:
    changed = module()
    changed["ports"]["p"] = {"bits": [10]}
    assert absorb_output_registers(changed) == 0


def test_each_port_of_a_memory_takes_its_registers_in() -> None:
    changed = memory(ram())
    assert absorb_output_registers(changed) == 3
    assert changed["cells"] == {
        "block": ram(
            wires={"DOA0": 20, "DOA17": 21, "DOB0": 22, "OCEA": "1", "OCEB": "1"},
            REGMODE_A="OUTREG",
            REGMODE_B="OUTREG",
        )
    }


@pytest.mark.parametrize(
    ("name", "block", "other"),
    [
        *((name, ram(), other) for name, other in OTHERS),
        ("another clock than the port's", ram(wires={"CLKA": OTHER_CLOCK}), {}),
        ("the other edge", ram(CLKAMUX="INV"), {}),
        ("a reset of what is read", ram(wires={"RSTA": 5}), {}),
        ("a register already", ram(REGMODE_A="OUTREG"), {}),
    ],
)
def test_a_port_of_a_memory_leaves_out(name: str, block: dict[str, Any], other: dict[str, Any]) -> None:
    """Port A leaves its registers out, port B does not."""
    expected = copy.deepcopy(memory(block, **other))
    changed = copy.deepcopy(expected)
    del expected["cells"]["second"]
    expected["cells"]["block"]["connections"]["DOB0"] = [22]
    expected["cells"]["block"]["parameters"]["REGMODE_B"] = "OUTREG"
    assert absorb_output_registers(changed) == 1, name
    assert changed == expected


def test_both_ports_of_a_wide_memory_are_one() -> None:
    clocks = {"CLKA": OTHER_CLOCK, "CLKB": CLOCK}
    changed = memory(ram(36, wires=clocks))
    assert absorb_output_registers(changed) == 3
    results = {"DOA0": 20, "DOA17": 21, "DOB0": 22}
    expected = ram(36, wires={**clocks, **results, "OCEA": "1"}, REGMODE_A="OUTREG", REGMODE_B="OUTREG")
    assert changed["cells"] == {"block": expected}
    for _, other in OTHERS:
        partly = memory(ram(36), **copy.deepcopy(other))
        assert absorb_output_registers(partly) == 0


def test_a_port_that_is_not_read_stays() -> None:
    changed = {"ports": {}, "netnames": {}, "cells": {"block": ram()}}
    assert absorb_output_registers(changed) == 0
    assert changed["cells"] == {"block": ram()}


class Flop:
    """TRELLIS_FF that always takes its input."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        self._wires = {port: bits[0] for port, bits in found["connections"].items()}
        assert found["parameters"].items() >= _PLAIN.items()
        assert self._wires["LSR"] == "0"
        self._value = 0

    def outputs(self) -> Iterator[tuple[int, int]]:
        yield self._wires["Q"], self._value

    def clock(self, values: Mapping[Any, int]) -> None:
        self._value = values[self._wires["DI"]]


class BlockRam:
    """DP16KD: words of 9 bits, which either port reads or writes; or of 36, which port A writes and port B reads.

    From Lattice's description: CE enables an access; a port that writes keeps what it read last (WRITEMODE NORMAL), or
    reads what was there before (READBEFOREWRITE). Whatever the port does, OCE has its output register take what it read
    last. Registers of words of 36 bits have the clock and OCE of port B.
    """

    def __init__(self, found: Mapping[str, Any]) -> None:
        self._wires = {port: bits[0] for port, bits in found["connections"].items()}
        self._parameters = found["parameters"]
        (width,) = {int(self._parameters[f"DATA_WIDTH_{port}"], 2) for port in "AB"}
        self._wide = {9: False, 36: True}[width]
        self._words: dict[int, int] = defaultdict(int)
        self._read = {"A": 0, "B": 0}
        self._register = {"A": 0, "B": 0}

    def outputs(self) -> Iterator[tuple[int, int]]:
        for port in "AB":
            registered = self._parameters[f"REGMODE_{port}"] == "OUTREG"
            word = (self._register if registered else self._read)[port]
            for bit in range(18):
                yield self._wires[f"DO{port}{bit}"], word >> bit & 1

    def clock(self, values: Mapping[Any, int]) -> None:
        def number(name: str, bits: Sequence[int]) -> int:
            return sum(values[self._wires[f"{name}{bit}"]] << place for place, bit in enumerate(bits))

        def control(name: str) -> int:
            return values[self._wires[name]]

        assert not control("RSTA")
        assert not control("RSTB")
        for port in "AB":
            if control("OCEB" if self._wide else f"OCE{port}"):
                self._register[port] = self._read[port]
        address = {port: number(f"AD{port}", range(5 if self._wide else 3, 14)) for port in "AB"}
        before = {port: self._words[address[port]] for port in "AB"}
        if self._wide:
            if control("CEB"):
                self._read = {"A": before["B"] & 0x3FFFF, "B": before["B"] >> 18}
            if control("CEA") and control("WEA"):
                mask = sum(0x1FF << 9 * byte for byte in range(4) if control(f"ADA{byte}"))
                word = number("DIA", range(18)) | number("DIB", range(18)) << 18
                self._words[address["A"]] = before["A"] & ~mask | word & mask
        else:
            for port in "AB":
                keeps = {"NORMAL": True, "READBEFOREWRITE": False}[self._parameters[f"WRITEMODE_{port}"]]
                if control(f"CE{port}") and not (control(f"WE{port}") and keeps):
                    self._read[port] = before[port]
                if control(f"CE{port}") and control(f"WE{port}"):
                    self._words[address[port]] = number(f"DI{port}", range(9))


def simulate(flat: Mapping[str, Any], stimuli: Sequence[Mapping[str, int]]) -> list[dict[str, int]]:
    """The outputs of a module of these cells from power-up on: in each cycle, with the stimuli of those before it."""
    models: dict[str, type[Flop] | type[BlockRam]] = {"TRELLIS_FF": Flop, "DP16KD": BlockRam}
    cells = [models[found["type"]](found) for found in flat["cells"].values()]
    rows = []
    for stimulus in stimuli:
        values: dict[Any, int] = {"0": 0, "1": 1, "x": 0}
        for found in cells:
            values |= found.outputs()
        row = {}
        for name, port in flat["ports"].items():
            if port["direction"] == "output":
                row[name] = sum(values[bit] << place for place, bit in enumerate(port["bits"]))
            else:
                values |= {bit: stimulus[name] >> place & 1 for place, bit in enumerate(port["bits"])}
        rows.append(row)
        for found in cells:
            found.clock(values)
    return rows


MEMORIES = """
module memories(
    input clk, input read, input write, input [10:0] from, input [10:0] to, input [35:0] data,
    output reg [8:0] narrow_q, output reg [35:0] wide_q, output reg [8:0] one_q, output reg [8:0] other_q
);
    (* no_rw_check *) reg [8:0] narrow [2047:0];
    (* no_rw_check *) reg [35:0] wide [511:0];
    (* no_rw_check *) reg [8:0] dual [2047:0];
    reg [8:0] narrow_read, one_read, other_read;
    reg [35:0] wide_read;
    always @(posedge clk) begin
        if (write) narrow[to] <= data[8:0];
        if (read) narrow_read <= narrow[from];
        narrow_q <= narrow_read;

        if (write) wide[to[8:0]] <= data;
        if (read) wide_read <= wide[from[8:0]];
        wide_q <= wide_read;

        // The first port reads unless it writes.
        if (write) dual[to] <= data[8:0];
        else one_read <= dual[to];
        if (read) other_read <= dual[from];
        one_q <= one_read;
        other_q <= other_read;
    end
endmodule
"""


def test_words_come_as_before(tmp_path: Path) -> None:
    """What Yosys makes of memories has the same outputs in every cycle, from power-up on, whatever the ports do.

    There is no model of DP16KD in Yosys, nor one to be had that is free: `BlockRam` stands in.
    """
    (tmp_path / "memories.v").write_text(MEMORIES, encoding="utf-8")
    script = "read_verilog memories.v\nsynth_ecp5 -top memories -nowidelut\nwrite_json netlist.json\n"
    (tmp_path / "synthesis.ys").write_text(script, encoding="utf-8")
    find_toolchain().run("yosys", ["-Q", "-T", "synthesis.ys"], tmp_path)
    flat = json.loads((tmp_path / "netlist.json").read_text(encoding="utf-8"))["modules"]["memories"]
    changed = copy.deepcopy(flat)
    assert absorb_output_registers(changed) == 9 + 36 + 2 * 9
    assert [found["type"] for found in changed["cells"].values()] == ["DP16KD"] * 3

    seed = random.SystemRandom().getrandbits(32)
    print(f"{seed=}")
    draw = random.Random(seed)
    widths = {name: len(port["bits"]) for name, port in flat["ports"].items() if port["direction"] == "input"}
    stimuli = [{name: draw.getrandbits(width) for name, width in widths.items()} for _ in range(2000)]
    for stimulus in stimuli:
        # So few words that most are read after they were written.
        stimulus |= {name: stimulus[name] & 0b100_0000_0101 for name in ("from", "to")}
    before, after = simulate(flat, stimuli), simulate(changed, stimuli)
    assert before == after
    assert all(len({row[name] for row in before}) > 100 for name in ("narrow_q", "wide_q", "one_q", "other_q"))
