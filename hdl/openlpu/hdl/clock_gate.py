# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A clock with edges left out. What it is made of a device has its own cell for, which flows put in its place."""

from amaranth.hdl import ClockDomain, ClockSignal, Module, Signal
from amaranth.lib.wiring import In, Out

from .shared import SharedComponent

__all__ = ["CLOCK_GATE", "ClockGate"]

CLOCK_GATE = "clock_gate"
"""The Verilog module."""


class ClockGate(SharedComponent):
    """The clock of domain `sync`, some of its edges left out.

    `enable` : set in a cycle that ends with an edge of `clock`, too. From a register of the domain.
    """

    enable: Signal
    clock: Signal

    def __init__(self) -> None:
        super().__init__({"enable": In(1), "clock": Out(1)}, like=(), module_name=CLOCK_GATE)

    def body(self) -> Module:
        """Look at `enable` while the clock is low: so no edge is cut."""
        m = Module()
        m.domains.low = ClockDomain("low", clk_edge="neg", local=True, reset_less=True)
        passes = Signal(init=1)
        m.d.comb += [ClockSignal("low").eq(ClockSignal()), self.clock.eq(ClockSignal() & passes)]
        m.d.low += passes.eq(self.enable)
        return m
