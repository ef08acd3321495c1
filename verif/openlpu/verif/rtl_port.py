# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The `rtl` backend: the generated Verilog, Verilated, behind the same port as every other chip.

The simulator runs as a child process with `openlpu.verif.host` inside; the two talk over a socket.
"""

import contextlib
import dataclasses
import json
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

import numpy as np

from openlpu.arch.config import ChipConfig
from openlpu.arch.ecc import vector_code
from openlpu.arch.geometry import Direction, Stream, geometry
from openlpu.arch.program import Vector
from openlpu.arch.status import ChipStatus, Fault, RunStatus, error_places, places_with_errors
from openlpu.hdl import generate
from openlpu.hdl.stream import lane_parts
from openlpu.runtime.errors import DeviceError
from openlpu.verif import elaboration, host, simulator

PUBLIC = (
    *((generate.TOP, name) for name in host.Chip.__annotations__),
    *((f"{generate.TOP}.hop*", name) for name in ("e_valid", "e_data", "w_valid", "w_data")),
)
"""What cocotb may see of every chip: the ports, and the stream registers for traces."""


class RtlError(DeviceError):
    """The simulator ended, or the program in it does not."""


class RtlChip:
    """A Verilated chip. Building the simulation takes a minute or two the first time, then it is cached.

    Raises ValueError for a chip that only runs together with others.
    """

    def __init__(self, config: ChipConfig, *, limit: int = 10_000_000) -> None:
        if config.c2c_links:
            raise ValueError(
                f"config field 'c2c_links': {config.c2c_links} links, but only chips without any run alone: open a "
                "system of them"
            )
        self._config = config
        self._limit = limit
        """Cycles after which one run counts as hung."""
        build = simulator.build(
            elaboration.verilog(config), top=generate.TOP, public=public(config), waivers=generate.LINT_WAIVERS
        )
        self._folder = tempfile.TemporaryDirectory(prefix="openlpu-")
        address = str(Path(self._folder.name) / "host")
        environment = {
            host.ADDRESS: address,
            host.CONFIG: json.dumps(config.to_dict()),
        }
        with Listener(address, "AF_UNIX") as listener:
            self._process = build.popen("openlpu.verif.host", "serve", environment, work_dir=Path(self._folder.name))
            self._connection = self._accept(listener)

    @property
    def config(self) -> ChipConfig:
        """What chip this is."""
        return self._config

    def write_memory(self, slice: int, address: int, words: Vector) -> None:
        """Write consecutive SRAM words, int8 [n, lanes], from `address` on."""
        self._ask("write_memory", slice, address, [int.from_bytes(word.tobytes(), "little") for word in words])

    def read_memory(self, slice: int, address: int, count: int) -> Vector:
        """Read `count` consecutive SRAM words, int8 [count, lanes]."""
        lanes = self._config.lanes
        data = b"".join(word.to_bytes(lanes, "little") for word in self._ask("read_memory", slice, address, count))
        return np.frombuffer(data, np.int8).reshape(count, lanes).copy()

    def write_text(self, queue: int, words: Sequence[int]) -> None:
        """Write instruction words of a queue, from its word 0 on."""
        self._ask("write_text", queue, list(words))

    def run(self, count: int = 1) -> RunStatus:
        """Run `count` times in a row, each time from the barrier until every queue has halted."""
        return run_status(self._config, self._finished(self._ask("run", self._limit * count, count)))

    def run_upset(self, cycle: int, *flips: host.Flip) -> RunStatus:
        """As `run`, with bits of the design inverted in a cycle of the program, or before it if that is 0.

        The first cycle after 0 that may be chosen is `Timing.clock_delay` + 1.
        """
        return run_status(self._config, self._finished(self._ask("run", self._limit, 1, cycle, flips)))

    def errors(self, queue: int) -> tuple[int, int]:
        """On a chip with ECC, the vectors corrected and uncorrectable since the reset that a queue consumed.

        The number after that of the last queue is the host port's.
        """
        corrected, uncorrectable = self._ask("errors", queue)
        return corrected, uncorrectable

    def trace(self, count: int = 1) -> tuple[RunStatus, list[host.Snapshot]]:
        """As `run`, with the stream registers of every cycle from cycle 0 of the first run to the end of the last."""
        status, snapshots = self._finished(self._ask("trace", self._limit * count, count))
        return run_status(self._config, status), snapshots

    def status(self) -> ChipStatus:
        """How the last run ended, and the vectors that ECC found wrong since the reset."""
        status, (corrected, uncorrectable) = self._ask("state")
        found = ChipStatus(False, run_status(self._config, status), corrected, uncorrectable)
        if not self._config.ecc:
            return found
        counts = [self.errors(place) for place in range(len(error_places(self._config)))]
        return dataclasses.replace(found, places=places_with_errors(self._config, counts))

    def close(self) -> None:
        """End the simulation."""
        if not self._connection.closed:
            try:
                self._connection.send(("close",))
                self._process.wait(timeout=10)
            except (OSError, subprocess.TimeoutExpired):
                self._process.kill()
                self._process.wait()
            self._connection.close()
            self._folder.cleanup()

    def _finished(self, answer: Any) -> Any:
        if answer is None:
            raise RtlError(f"the program has not halted after {self._limit} cycles")
        return answer

    def _ask(self, *request: Any) -> Any:
        try:
            self._connection.send(request)
            return self._connection.recv()
        except (EOFError, OSError):
            raise RtlError(f"the simulation ended early:\n{self._log()}") from None

    def _accept(self, listener: Listener) -> Connection:
        """Wait for the simulation to call; a simulation that dies first would leave us waiting for ever."""
        watcher = threading.Thread(target=self._hang_up_on_death, args=(listener.address,), daemon=True)
        watcher.start()
        connection = listener.accept()
        if self._process.poll() is not None:
            raise RtlError(f"the simulation did not start:\n{self._log()}")
        return connection

    def _hang_up_on_death(self, address: str) -> None:
        """When the simulation ends, call in its place."""
        self._process.wait()
        with contextlib.suppress(OSError):
            Client(address, "AF_UNIX").close()

    def _log(self) -> str:
        log = Path(self._folder.name) / "simulation.log"
        return log.read_text(errors="replace")[-4000:] if log.is_file() else "no log"


def public(config: ChipConfig) -> tuple[tuple[str, str], ...]:
    """What cocotb may see of a chip: the ports, the stream registers for traces, and with ECC what can be upset."""
    if not config.ecc:
        return PUBLIC
    ports = tuple((generate.TOP, name) for name in host.CheckedChip.__annotations__)
    widths = {part.stop - part.start for part in lane_parts(config.lanes, vector_code(config).bits)}
    memories = ((f"ram_{config.mem_words}x{width}", "words") for width in sorted(widths))
    registers = ((f"{generate.TOP}.hop*", f"{direction.letter}_data_q") for direction in Direction)
    return (*PUBLIC, *ports, *memories, *registers)


def sram_word(config: ChipConfig, mem_slice: str, address: int, mask: int) -> list[host.Flip]:
    """The flips of bits in a word of a MEM slice of a chip with ECC, one for every lane that has some of them."""
    flips: list[host.Flip] = []
    for lane, part in enumerate(lane_parts(config.lanes, vector_code(config).bits)):
        of_lane = mask >> part.start & (1 << part.stop - part.start) - 1
        if of_lane:
            flips.append((f"{mem_slice}.sram{lane}.words", address, of_lane))
    return flips


def stream_register(config: ChipConfig, hop: int, stream: Stream, mask: int) -> list[host.Flip]:
    """The flips of bits in a stream register of a chip with ECC: in the register, and on the wire that shows it.

    A simulator has some read the one and some the other, and evaluates the wire no more once the register has changed.
    """
    turned = mask << stream.index * vector_code(config).bits
    return [(f"hop{hop}.registers.{stream.direction.letter}_{name}", None, turned) for name in ("data_q", "data")]


def run_status(config: ChipConfig, status: host.Status) -> RunStatus:
    """How a run ended, from the chip's registers."""
    cycles, queue, fault_cycle, illegal, faults, corrected, uncorrectable = status
    fault = None
    if queue is not None:
        fault = Fault(geometry(config).queues[queue].name, fault_cycle, illegal, faults)
    return RunStatus(cycles, fault, corrected, uncorrectable)
