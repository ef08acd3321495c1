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
module column(input clk, input rst, input [7:0] a, output [15:0] product);
    wire [15:0] other;
    multiplier_1 multiplier0(.clk(clk), .rst(rst), .a(a), .b(a), .product(product[15:0]));
endmodule

module multiplier_1(input clk, input rst, input [7:0] a, input [7:0] b, output [15:0] product);
endmodule

module hosted_chip(input clk, input rst, input rx, output reg tx, output running, output reg fault);
    reg [7:0] taken;
    wire [15:0] product;
    column column0(.clk(clk), .rst(rst), .a(taken), .product(product));
    assign running = taken[7];
    always @(posedge clk) begin
        taken <= {taken[6:0], rx};
        tx <= ^product;
        fault <= product == 16'h1234;
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
    assert report.used.dsp == 1
    assert report.units["MXM"].dsp == 1
    assert report.units["board"].ff > 17 + 24  # the reset's counter, and the LEDs'
    assert {path.clocks for path in report.paths} >= {"clk to clk"}
    assert f"OpenLPU nano {NANO.digest}".encode() in files["board.bit"][:200]
    assert len(files["board.bit"]) > 10_000
