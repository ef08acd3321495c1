# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Boards that are a program: Verilated chips with their bridges, bit by bit behind pseudo-terminals.

To a host each is a serial port like any other, at whatever baud rate: the line runs in the chip's own time. Those of a
system have clocks of their own, and wires between their links.
"""

import os
import subprocess
import tty
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from openlpu.arch import protocol
from openlpu.arch.config import ChipConfig
from openlpu.arch.system import LinkEnd, SystemConfig
from openlpu.hdl import generate
from openlpu.hdl.uart import MIN_BIT_CYCLES
from openlpu.runtime.closing import Closing
from openlpu.runtime.serial_wire import BITS_PER_BYTE
from openlpu.verif import elaboration, simulator
from openlpu.verif.rtl_system import PERIOD, WIRES, Conditions

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


class VirtualBoards(Closing):
    """Running boards with chips of a config; a context manager, at whose end the ports are gone.

    `ports` are the paths of their serial ports. Clients may come and go; one at a time, as on any port. A line is as
    fast as the chip's bridge allows, so that loading takes little simulation. Building the simulation takes a minute or
    two the first time, then it is cached.

    Parameters
    ----------
    chip : of every board
    clocks : of each board the period of its clock, and its first edge, in femtoseconds
    wires : arguments of `virtual_board.cpp`
    seed : of what is random on wires

    Raises ValueError when the config has no RTL, SimulationError and ToolchainError as `simulator.compile_model`.
    """

    def __init__(
        self, chip: ChipConfig, clocks: Sequence[tuple[int, int]], wires: Sequence[str] = (), seed: int = 0
    ) -> None:
        links = " ".join(f"LINK({link})" for link in range(chip.c2c_links))
        heading = f"#define LINKS(LINK) {links}\n#define LINK_WIDTH {chip.c2c_width}\n"
        executable = simulator.compile_model(
            elaboration.hosted_verilog(chip, MIN_BIT_CYCLES),
            heading + "".join(part.read_text(encoding="utf-8") for part in (WIRES, _MAIN)),
            top=generate.HOSTED_TOP,
            waivers=generate.LINT_WAIVERS,
        )
        # A bridge is silent for less than the time of its longest frame between a request and the reply.
        quiet_cycles = protocol.stuffed_bytes(protocol.max_request_bytes()) * BITS_PER_BYTE * MIN_BIT_CYCLES
        # As long as somebody holds the terminals, clients may leave without ending them.
        board_ends, self._client_ends = map(list, zip(*(os.openpty() for _ in clocks), strict=True))
        for end in self._client_ends:
            tty.setraw(end)
        self.ports = tuple(map(os.ttyname, self._client_ends))
        boards = (f"board {end} {period} {phase}" for end, (period, phase) in zip(board_ends, clocks, strict=True))
        self._process = subprocess.Popen(
            [executable, *map(str, (MIN_BIT_CYCLES, quiet_cycles, seed)), *boards, *wires],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=board_ends,
        )
        for end in board_ends:
            os.close(end)

    @classmethod
    def of_system(cls, system: SystemConfig, seed: int = 0) -> Self:
        """The boards of a system, under conditions that are drawn from a seed."""
        conditions = Conditions.drawn(system, seed)
        wires = [
            f"wire {here.chip} {here.link} {there.chip} {there.link} {conditions.delays[there]} {conditions.jitter}"
            for here, there in system.peers.items()
        ]
        return cls(system.chip, [*zip(conditions.periods, conditions.phases, strict=True)], wires, seed)

    def traffic(self, board: int = 0) -> Traffic:
        """What happened on a board so far."""
        self._request(f"traffic {board}")
        assert self._process.stdout is not None
        cycles, received, sent = map(int, self._process.stdout.readline().split())
        return Traffic(cycles, received, sent)

    def disturb(self, end: LinkEnd, bits: int, every: int, count: int) -> None:
        """On the wire to an end turn so many bits in one beat, of every so manieth, so often."""
        self._request(f"errors {end.chip} {end.link} {bits} {every} {count}")

    def cut(self, end: LinkEnd) -> None:
        """Nothing comes to an end any more."""
        self._request(f"cut {end.chip} {end.link}")

    def wait(self) -> None:
        """Wait until the simulation ends; only a crash, or somebody else, ends it."""
        status = self._process.wait()
        raise simulator.SimulationError(f"the virtual board on {', '.join(self.ports)} ended with status {status}")

    def close(self) -> None:
        """End the boards."""
        if self._process.poll() is None:
            self._process.communicate()
        while self._client_ends:
            os.close(self._client_ends.pop())

    def _request(self, line: str) -> None:
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)


class VirtualBoard(VirtualBoards):
    """A board by itself, with a chip of a config, whose links, if it has any, go nowhere."""

    def __init__(self, config: ChipConfig) -> None:
        super().__init__(config, [(PERIOD, 0)])

    @property
    def port(self) -> str:
        """The path of its serial port."""
        return self.ports[0]
