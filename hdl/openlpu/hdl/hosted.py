# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A chip with a serial line: what a board, or a simulator that plays one, needs to hold."""

from typing import Any

from amaranth.hdl import Module, ResetSignal, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from openlpu.arch.config import ChipConfig

from .bridge import Bridge
from .chip import Chip, refuse_unsupported
from .linked import LinkedChip, wire_ports
from .shared import Resettable
from .signals import delayed
from .uart import UartReceiver, UartTransmitter, bit_cycles

__all__ = ["BridgedChip", "HostedChip"]


class BridgedChip(wiring.Component):
    """A chip that speaks `openlpu.arch.protocol`, a byte at a time.

    `rx`, `tx` : stuffed bytes and delimiters, from and to the host. It takes a byte a cycle, whatever it does.
    `running` : from the start of a program until nothing is in flight any more.
    `fault` : something went wrong in the run that is going on, or else in the last one.

    With links also the `wire_ports`. Bridge and links have the clock that comes in, which never stops.

    Raises ValueError when the config asks for something that has no RTL yet.
    """

    rx: Any
    tx: Any
    running: Signal
    fault: Signal

    def __init__(self, *, config: ChipConfig, clock_hz: float) -> None:
        refuse_unsupported(config)
        self._config = config
        self._clock_hz = clock_hz
        super().__init__(
            {
                "rx": In(stream.Signature(8, always_ready=True)),
                "tx": Out(stream.Signature(8)),
                "running": Out(1),
                "fault": Out(1),
                **wire_ports(config),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Put the parts together."""
        m = Module()
        m.submodules.bridge = bridge = Bridge(config=self._config, clock_hz=self._clock_hz)
        chip = LinkedChip(config=self._config) if self._config.c2c_links else Chip(config=self._config)
        # Both resets come from afar.
        reset = delayed(m, "chip_reset", bridge.chip_reset | ResetSignal(), 1)
        m.submodules.chip = Resettable(chip, reset=reset, module_name="chip")
        m.d.comb += [self.running.eq(chip.running), self.fault.eq(chip.fault)]
        wiring.connect(m, bridge.chip, chip.host if isinstance(chip, LinkedChip) else chip)
        _connect_wires(m, self._config, self, chip)
        wiring.connect(m, wiring.flipped(self.rx), bridge.rx)
        wiring.connect(m, bridge.tx, wiring.flipped(self.tx))
        return m


class HostedChip(wiring.Component):
    """A chip that speaks `openlpu.arch.protocol` on a serial line of `baud` bits a second, 8N1.

    `rx` : the line from the host. Asynchronous.
    `tx` : the line to the host. Both are 1 while idle.
    `running`, `fault`, and with links the wires : see `BridgedChip`.

    Raises ValueError when the config asks for something that has no RTL yet, and as `bit_cycles` does.
    """

    rx: Signal
    tx: Signal
    running: Signal
    fault: Signal

    def __init__(self, *, config: ChipConfig, clock_hz: float, baud: int) -> None:
        refuse_unsupported(config)
        self._config = config
        self._clock_hz = clock_hz
        self._bit_cycles = bit_cycles(clock_hz, baud)
        super().__init__({"rx": In(1), "tx": Out(1), "running": Out(1), "fault": Out(1), **wire_ports(config)})

    def elaborate(self, platform: object) -> Module:
        """Put the parts together."""
        m = Module()
        m.submodules.receiver = receiver = UartReceiver(bit_cycles=self._bit_cycles)
        m.submodules.transmitter = transmitter = UartTransmitter(bit_cycles=self._bit_cycles)
        m.submodules.bridged = bridged = BridgedChip(config=self._config, clock_hz=self._clock_hz)
        wiring.connect(m, receiver.bytes, bridged.rx)
        wiring.connect(m, bridged.tx, transmitter.bytes)
        m.d.comb += [
            receiver.line.eq(self.rx),
            self.tx.eq(transmitter.line),
            self.running.eq(bridged.running),
            self.fault.eq(bridged.fault),
        ]
        _connect_wires(m, self._config, self, bridged)
        return m


def _connect_wires(m: Module, config: ChipConfig, outside: wiring.Component, inside: wiring.Component) -> None:
    """Lead the wires of links through."""
    for name in wire_ports(config):
        wiring.connect(m, wiring.flipped(getattr(outside, name)), getattr(inside, name))
