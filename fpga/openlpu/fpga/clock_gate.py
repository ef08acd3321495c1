# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The clock gate of an ECP5."""

from amaranth.hdl import ClockSignal, Instance, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Ecp5ClockGate"]


class Ecp5ClockGate(wiring.Component):
    """Stands in for `ClockGate`, with the same ports: a DCCA, which looks at its enable while the clock is low."""

    enable: In(1)
    clock: Out(1)

    def elaborate(self, platform: object) -> Module:
        """The cell, between the clock's source and a clock net of its own."""
        m = Module()
        m.submodules.gate = Instance("DCCA", i_CLKI=ClockSignal(), i_CE=self.enable, o_CLKO=self.clock)
        return m
