# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The arithmetic units of the VXM, Verilated without a chip around them: millions of operands a second.

What is swept is what stands on the chips: each `LaneAlu` of the presets, with the datapaths of its operation classes at
the preset's depth, driven by the same control words; and `Compare` by itself, since no ALU asks it for integers.

All units are in one model, as compiling the simulator's own library takes longer than compiling a unit. Each has a
clock of its own, so that only the one that is asked costs time.
"""

import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
from amaranth.hdl import ClockDomain, ClockSignal, Const, DomainRenamer, Elaboratable, Module, Signal, Value

from openlpu.arch.config import ChipConfig, OpClass
from openlpu.arch.isa import INSTRUCTIONS
from openlpu.arch.numerics import Words
from openlpu.arch.presets import PRESETS
from openlpu.arch.timing import timing
from openlpu.hdl.alu import LaneAlu, operation
from openlpu.hdl.generate import LINT_WAIVERS
from openlpu.hdl.shared import Library
from openlpu.verif import simulator

__all__ = ["UNITS", "SweptAlu", "SweptUnit", "units_of"]

_MAIN = Path(__file__).with_name("unit_sweep.cpp")
_TOP = "units"
_CONTROL_BITS = 32


class SweptUnit:
    """A unit of the VXM: operands `x` and `y` and a control word in, `depth` cycles later a result.

    `operations` are the control words of its operations by mnemonic.
    """

    def __init__(self, name: str, depth: int, operations: Mapping[str, int]) -> None:
        self.name = name
        self.depth = depth
        self.operations = {mnemonic: np.uint32(word).view(np.int32) for mnemonic, word in operations.items()}

    def build(self) -> tuple[Elaboratable, Value, Value, Value, Value]:
        """A fresh instance, its two operands, its control word and its result."""
        raise NotImplementedError

    def run(self, x: Words, y: Words, control: Words) -> Words:
        """The results of rows of operands that enter one a cycle, in their order.

        Raises SimulationError or ToolchainError as `simulator.compile_model` does.
        """
        rows = np.stack([x, y, control], axis=1).astype(np.int32, copy=False)
        finished = subprocess.run(
            [_executable(), str(list(UNITS).index(self.name)), str(self.depth)],
            input=rows.tobytes(),
            stdout=subprocess.PIPE,
            check=True,
        )
        return np.frombuffer(finished.stdout, np.int32)


class SweptAlu(SweptUnit):
    """One lane of an ALU with these operation classes and this depth: the instructions of its classes, and `pass`."""

    def __init__(self, classes: Iterable[OpClass], depth: int) -> None:
        self._classes = tuple(sorted(classes))
        mine = [spec.mnemonic for spec in INSTRUCTIONS if spec.implemented and spec.op_class in self._classes]
        operations = {name: Const.cast(operation(self._classes, name)).value for name in ("pass", *mine)}
        super().__init__("_".join((*self._classes, str(depth))), depth, operations)

    def build(self) -> tuple[Elaboratable, Value, Value, Value, Value]:
        """The lane, and its ports."""
        lane = LaneAlu(classes=self._classes, depth=self.depth)
        return lane, lane.x, lane.y, Value.cast(lane.control), lane.o


def units_of(configs: Iterable[ChipConfig]) -> dict[str, SweptUnit]:
    """What stands on some chips, by name."""
    found = [pair for config in configs for pair in zip(config.alus, timing(config).alu_depth, strict=True)]
    alus = [SweptAlu(alu.classes, depth) for alu, depth in found]
    return {unit.name: unit for unit in alus}


UNITS: Mapping[str, SweptUnit] = units_of(PRESETS.values())
"""Those of the presets: what can be run."""


class _Top(Elaboratable):
    """All units side by side: `x`, `y` and `control` go to each, and `unit` is clocked and seen at `o`."""

    def __init__(self, units: Iterable[SweptUnit]) -> None:
        self._units = tuple(units)
        self.unit, self.control = Signal(range(len(self._units))), Signal(_CONTROL_BITS)
        self.x, self.y, self.o = Signal(32), Signal(32), Signal(32)
        self.ports = {name: getattr(self, name) for name in ("unit", "x", "y", "control", "o")}

    def elaborate(self, platform: object) -> Module:
        """The units, each in a clock domain of its own."""
        m = Module()
        for number, unit in enumerate(self._units):
            domain = f"clock{number}"
            m.domains += ClockDomain(domain)
            chosen = self.unit == number
            m.d.comb += ClockSignal(domain).eq(ClockSignal() & chosen)
            inner, x, y, control, o = unit.build()
            assert len(control) <= _CONTROL_BITS
            m.submodules[unit.name] = DomainRenamer(domain)(inner)
            m.d.comb += [x.eq(self.x), y.eq(self.y), control.eq(self.control)]
            with m.If(chosen):
                m.d.comb += self.o.eq(o)
        return m


@cache
def _executable() -> Path:
    library, top = Library(), _Top(UNITS.values())
    text = library.verilog(top, top.ports, _TOP)
    return simulator.compile_model(
        text + library.text, _MAIN.read_text(encoding="utf-8"), top=_TOP, waivers=LINT_WAIVERS
    )
