# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Builds by the real tools, of a chip so small that they take seconds."""

from pathlib import Path

import pytest

from openlpu.arch.presets import NANO
from openlpu.fpga import build
from openlpu.fpga.boards import BOARDS, Board
from openlpu.fpga.report import Report
from openlpu.fpga.toolchain import find_toolchain

CHIP = """
module \\chip.mxm_e0 (input clk, input rst, input [31:0] a, output [17:0] total);
    wire [17:0] other;
    assign total = other;
    dot_products_2 dot_products0(.clk(clk), .rst(rst), .a(a), .b__0(a), .b__1(a), .total__0(other));
    dot_products_2 dot_products1(.clk(clk), .rst(rst), .a(a), .b__0(a), .b__1(a));
endmodule

module dot_products_2(
    input clk, input rst, input [31:0] a, input [31:0] b__0, input [31:0] b__1,
    output [17:0] total__0, output [17:0] total__1
);
endmodule

module hosted_chip(input clk, input rst, input rx, output reg tx, output running, output reg fault);
    reg [31:0] taken;
    wire [17:0] total;
    \\chip.mxm_e0 plane(.clk(clk), .rst(rst), .a(taken), .total(total));
    assign running = taken[31];
    always @(posedge clk) begin
        taken <= {taken[30:0], rx};
        tx <= ^total;
        fault <= total == 18'h1234;
    end
endmodule
"""


def built(board: Board, directory: Path) -> tuple[Report, dict[str, bytes]]:
    directory.mkdir()
    report = build.build(board, NANO, clock_mhz=50, seed=5, toolchain=find_toolchain(), directory=directory)
    return report, {file.name: file.read_bytes() for file in directory.iterdir() if file.suffix != ".log"}


@pytest.mark.regress
@pytest.mark.parametrize("name", BOARDS)
def test_the_same_bitstream_twice(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "hosted_verilog", lambda config, clock_hz, baud: CHIP)
    report, files = built(BOARDS[name], tmp_path / "one")
    again, same = built(BOARDS[name], tmp_path / "two")
    assert files == same
    assert report == again == Report.from_json(report.json)
    assert report.met
    assert report.used.dsp == 4
    assert report.units["MXM"].dsp == 4
    assert report.units["board"].ff > 17 + 24  # the reset's counter, and the LEDs'
    assert {path.clocks for path in report.paths} >= {"clk to clk"}
    assert f"OpenLPU nano {NANO.digest}".encode() in files["board.bit"][:200]
    assert len(files["board.bit"]) > 10_000
