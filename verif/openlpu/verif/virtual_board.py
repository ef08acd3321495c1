# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A board that is a program: the Verilated chip with its bridge, bit by bit behind a pseudo-terminal.

To a host it is a serial port like any other, at whatever baud rate: the line runs in the chip's own time.
"""

import os
import subprocess
import tty
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from openlpu.arch import protocol
from openlpu.arch.config import ChipConfig
from openlpu.hdl import generate
from openlpu.hdl.uart import MIN_BIT_CYCLES
from openlpu.runtime.serial_wire import BITS_PER_BYTE
from openlpu.verif import elaboration, simulator

_MAIN = Path(__file__).with_name("virtual_board.cpp")


@dataclass(frozen=True)
class Traffic:
    """What happened on a board so far. While nothing happens the clock stands still."""

    cycles: int
    received: int
    """Bytes from the host."""
    sent: int
    """Bytes to the host."""

    def __sub__(self, before: Self) -> Self:
        return type(self)(self.cycles - before.cycles, self.received - before.received, self.sent - before.sent)

    @property
    def bit_times(self) -> float:
        """Of the serial line of a board."""
        return self.cycles / MIN_BIT_CYCLES


class VirtualBoard:
    """A running board with a chip of a config; a context manager, at whose end the port is gone.

    `port` is the path of its serial port. Clients may come and go; one at a time, as on any port. The line is as fast
    as the chip's bridge allows, so that loading takes little simulation. Building the simulation takes a minute or two
    the first time, then it is cached.

    Raises ValueError when the config has no RTL, SimulationError and ToolchainError as `simulator.compile_model`.
    """

    def __init__(self, config: ChipConfig) -> None:
        executable = simulator.compile_model(
            elaboration.hosted_verilog(config, MIN_BIT_CYCLES),
            _MAIN.read_text(encoding="utf-8"),
            top=generate.HOSTED_TOP,
            waivers=generate.LINT_WAIVERS,
        )
        # The bridge is silent for less than the time of its longest frame between a request and the reply.
        quiet_cycles = protocol.stuffed_bytes(protocol.max_request_bytes()) * BITS_PER_BYTE * MIN_BIT_CYCLES
        # As long as somebody holds the terminal, clients may leave without ending it.
        board_end, self._client_end = os.openpty()
        tty.setraw(self._client_end)
        self.port = os.ttyname(self._client_end)
        self._process = subprocess.Popen(
            [executable, str(board_end), str(MIN_BIT_CYCLES), str(quiet_cycles)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[board_end],
        )
        os.close(board_end)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def traffic(self) -> Traffic:
        """What happened so far."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(file=self._process.stdin, flush=True)
        cycles, received, sent = map(int, self._process.stdout.readline().split())
        return Traffic(cycles, received, sent)

    def wait(self) -> None:
        """Wait until the simulation ends; only a crash, or somebody else, ends it."""
        status = self._process.wait()
        raise simulator.SimulationError(f"the virtual board on {self.port} ended with status {status}")

    def close(self) -> None:
        """End the board."""
        if self._process.poll() is None:
            self._process.communicate()
        if self._client_end >= 0:
            os.close(self._client_end)
            self._client_end = -1
