# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A chip with a serial line: what a board, or a simulator that plays one, needs to hold."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from openlpu.arch.config import ChipConfig

from .chip import Chip, refuse_unsupported

__all__ = ["HostedChip"]


class HostedChip(wiring.Component):
    """A chip that speaks `openlpu.arch.protocol` on a serial line of `baud` bits a second, 8N1.

    `rx` : the line from the host. Asynchronous.
    `tx` : the line to the host. Both are 1 while idle.
    `running` : from the start of a program until nothing is in flight any more.
    `fault` : something went wrong in the run that is going on, or else in the last one.

    Raises ValueError when the config asks for something that has no RTL yet.
    """

    rx: Signal
    tx: Signal
    running: Signal
    fault: Signal

    def __init__(self, *, config: ChipConfig, clock_hz: float, baud: int) -> None:
        refuse_unsupported(config)
        self._config = config
        self._clock_hz = clock_hz
        self._baud = baud
        super().__init__({"rx": In(1), "tx": Out(1), "running": Out(1), "fault": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """Put the parts together."""
        m = Module()
        m.submodules.chip = chip = Chip(config=self._config)
        m.d.comb += [self.tx.eq(1), self.running.eq(chip.running), self.fault.eq(chip.fault)]
        return m
