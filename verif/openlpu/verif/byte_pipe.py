# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A Verilated chip and its bridge with nothing between: a byte a cycle, where a serial line takes forty cycles."""

import subprocess
from pathlib import Path
from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from openlpu.arch import protocol
from openlpu.arch.config import ChipConfig
from openlpu.hdl import generate
from openlpu.hdl.hosted import BridgedChip
from openlpu.hdl.shared import Library, ports_of
from openlpu.runtime.closing import Closing
from openlpu.verif import simulator

_MAIN = Path(__file__).with_name("byte_pipe.cpp")
_TOP = "byte_pipe"
_QUIET_CYCLES = 8 * protocol.max_request_bytes()
"""More than the bridge takes for its longest request, which it reads twice, or to stuff its longest reply."""


class BytePipe(Closing):
    """A running chip with its bridge; a context manager.

    Raises ValueError when the config has no RTL, SimulationError and ToolchainError as `simulator.compile_model`.
    """

    def __init__(self, config: ChipConfig) -> None:
        library, top = Library(), _Top(config)
        executable = simulator.compile_model(
            library.verilog(top, ports_of(top), _TOP) + library.text,
            _MAIN.read_text(encoding="utf-8"),
            top=_TOP,
            waivers=generate.LINT_WAIVERS,
        )
        self._process = subprocess.Popen(
            [executable, str(_QUIET_CYCLES)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def close(self) -> None:
        """End the simulation."""
        self._process.communicate()

    def exchange(self, data: bytes) -> bytes:
        """What the chip answers to bytes that come one a cycle, once it is silent and no program runs."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"%d\n" % len(data) + data)
        self._process.stdin.flush()
        length = self._process.stdout.readline()
        if not length:
            raise simulator.SimulationError(f"the simulation ended with status {self._process.wait()}")
        return self._process.stdout.read(int(length))


class _Top(wiring.Component):
    """A `BridgedChip` with plain ports: a port that is constant cannot be one of the top module."""

    rx_valid: Signal
    rx_payload: Signal
    tx_valid: Signal
    tx_payload: Signal
    tx_ready: Signal
    running: Signal

    def __init__(self, config: ChipConfig) -> None:
        self._config = config
        super().__init__(
            {
                "rx_valid": In(1),
                "rx_payload": In(8),
                "tx_valid": Out(1),
                "tx_payload": Out(8),
                "tx_ready": In(1),
                "running": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        chip: Any = BridgedChip(config=self._config, clock_hz=1e6 * self._config.clock_mhz)
        m.submodules.chip = chip
        m.d.comb += [
            chip.rx.valid.eq(self.rx_valid),
            chip.rx.payload.eq(self.rx_payload),
            self.tx_valid.eq(chip.tx.valid),
            self.tx_payload.eq(chip.tx.payload),
            chip.tx.ready.eq(self.tx_ready),
            self.running.eq(chip.running),
        ]
        return m
