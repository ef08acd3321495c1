# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Units of a chip alone on a device: what each takes, and how fast it is between registers of its own.

`python -m openlpu.fpga.unit_clocks` places and routes them one after the other, with nextpnr's own placer, and rewrites
the table. What a unit has above the whole chip is what wires between units, and the lack of room, cost.
"""

import importlib
import itertools
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from openlpu.arch.config import ChipConfig
from openlpu.arch.presets import ULX3S16
from openlpu.hdl.generate import hosted_verilog

from .boards import BOARDS
from .build import CONSTRAINTS, TIMING, device_options, map_design
from .device import Area
from .report import as_table, timing_of
from .synthesis import multipliers_in_dsp
from .toolchain import Toolchain, find_toolchain
from .top import TOP

_rtlil = importlib.import_module("amaranth.back.rtlil")  # which the stubs do not know

__all__ = ["ALONE", "FIGURES", "Port", "UnitAlone", "UnitBench", "unit_alone", "verilog_ports"]

BOARD = BOARDS["ulx3s"]
ALONE = {
    "bridge": "hosted_chip.bridged.bridge",
    "queue of a MEM slice": "icu_mem_e0_read",
    "queue of an ALU": "icu_vxm_alu1",
    "streams of a hop": "chip.hop1",
    "MEM slice": "mem_e0",
    "MXM plane": "chip.mxm_e0",
    "SXM": "chip.sxm_e",
    "lane of the VXM": "vxm_lane",
    "VXM": "chip.vxm",
}
"""The Verilog modules of the units, one of each kind."""
FIGURES = Path(__file__).parents[2] / "reports" / "units.txt"
_SEED = 1


class Port(NamedTuple):
    """A port of a Verilog module."""

    name: str
    direction: str
    """`input` or `output`."""
    width: int


class UnitAlone(NamedTuple):
    """A unit that was placed and routed alone."""

    area: Area
    """As mapped, without the registers around it."""
    fmax_mhz: float


def verilog_ports(text: str, module: str) -> list[Port]:
    """The ports of a module in Verilog text, as Yosys prints it, without clocks. Raises KeyError when there is no such
    module."""
    found = re.search(rf"^module \\?{re.escape(module)}\s?\(.*?^endmodule", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise KeyError(module)
    declared = re.findall(r"^  (input|output) (?:\[(\d+):0\] )?\\?(\S+?) ?;", found[0], re.MULTILINE)
    return [Port(name, direction, int(high or 0) + 1) for direction, high, name in declared if name != "clk"]


class UnitBench(wiring.Component):
    """A unit between registers: a chain that fills its inputs, and one that takes the parity of its outputs.

    `clk` : of all of them.
    `given` : goes along the inputs, a bit a cycle.
    `parity` : of all outputs there have been, on their way.
    """

    clk: In(1)
    given: In(1)
    parity: Out(1)

    def __init__(self, module: str, ports: Sequence[Port]) -> None:
        self._module, self._ports = module, ports
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        """Both chains, and the unit."""
        m = Module()
        m.domains.sync = ClockDomain(reset_less=True)
        inputs = Signal(sum(port.width for port in self._ports if port.direction == "input"))
        outputs = Signal(sum(port.width for port in self._ports if port.direction == "output"))
        caught, parities = Signal.like(outputs), Signal(len(outputs) + 1)
        ports = dict(itertools.chain(self._connected("input", inputs), self._connected("output", outputs)))
        m.submodules.unit = Instance(self._module, i_clk=self.clk, **ports)
        m.d.sync += [
            inputs.eq(Cat(self.given, inputs)),
            caught.eq(outputs),
            parities.eq(Cat(0, parities ^ caught)),
        ]
        m.d.comb += [ClockSignal().eq(self.clk), self.parity.eq(parities[-1])]
        return m

    def _connected(self, direction: str, bits: Signal) -> Iterator[tuple[str, object]]:
        first = 0
        for port in self._ports:
            if port.direction == direction:
                yield f"{direction[0]}_{port.name}", bits[first : first + port.width]
                first += port.width


def unit_alone(config: ChipConfig, module: str, toolchain: Toolchain, directory: Path) -> UnitAlone:
    """Map, place and route a unit of a chip alone, at the chip's clock, with all files in an empty directory.

    Raises ToolError when a tool fails.
    """
    chip = hosted_verilog(config, clock_hz=config.clock_mhz * 1e6, baud=BOARD.baud)
    bench = UnitBench(module, verilog_ports(chip, module))
    around = _rtlil.convert(bench, name=TOP, emit_src=False)
    in_dsp = multipliers_in_dsp(config, BOARD.device.area.dsp)
    units, _ = map_design(BOARD.device, config, in_dsp, chip, around, toolchain, directory, apart=[module])
    (directory / CONSTRAINTS).write_text(f'FREQUENCY PORT "clk" {config.clock_mhz} MHZ;\n', encoding="utf-8")
    toolchain.run("nextpnr-ecp5", [*device_options(BOARD, _SEED), "--lpf-allow-unconstrained"], directory)
    timing = timing_of(json.loads((directory / TIMING).read_text(encoding="utf-8")))
    # The registers around it are counted as what they stand for, the board.
    return UnitAlone(sum((area for unit, area in units.items() if unit != TOP), Area()), timing.fmax_mhz)


def text_of(config: ChipConfig, found: Mapping[str, UnitAlone], toolchain: Toolchain) -> str:
    """The table, with what it was made by."""
    rows = [
        (unit, each.area.lut, each.area.ff, each.area.dsp, each.area.bram, f"{each.fmax_mhz:.1f}")
        for unit, each in found.items()
    ]
    made = [("config", f"{config.name} ({config.digest})"), ("device", BOARD.make_platform().device)]
    made += [*toolchain.versions.items(), ("seed", str(_SEED))]
    return f"{as_table(None, made)}\n{as_table(('unit', 'LUT', 'FF', 'DSP', 'BRAM', 'MHz'), rows)}"


def _main() -> None:
    toolchain, found = find_toolchain(), {}
    for unit, module in ALONE.items():
        with tempfile.TemporaryDirectory(prefix="openlpu-") as directory:
            found[unit] = unit_alone(ULX3S16, module, toolchain, Path(directory))
        sys.stdout.write(f"{unit}: {found[unit].fmax_mhz} MHz\n")
    FIGURES.write_text(text_of(ULX3S16, found, toolchain), encoding="utf-8")


if __name__ == "__main__":
    _main()
