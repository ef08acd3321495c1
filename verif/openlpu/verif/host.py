# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The host side of a Verilated chip, inside the simulator: serves requests that come over a socket.

`openlpu.verif.rtl_port` is the other end. A request is a tuple of a name and its arguments, the answer is what the chip
gave. Signals are driven after the rising edge and read at the falling one. During a run Python sleeps until the chip is
done, except when the run is traced, where waking in every cycle is the point.
"""

import json
import os
from collections.abc import Sequence
from multiprocessing.connection import Client
from typing import Any, Protocol

import cocotb
from cocotb.clock import Clock
from cocotb.handle import LogicArrayObject, LogicObject
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge, with_timeout

from openlpu.arch.config import ChipConfig
from openlpu.arch.geometry import geometry
from openlpu.arch.timing import timing
from openlpu.hdl.chip import reset_cycles
from openlpu.hdl.errors import COUNT_DELAY

ADDRESS = "OPENLPU_HOST_ADDRESS"
"""Environment variable with the path of the socket on which `serve` finds its client."""
CONFIG = "OPENLPU_HOST_CONFIG"
"""Environment variable with the chip's config as JSON."""

PERIOD_NS = 10
Status = tuple[int, int | None, int, bool, int, int, int]
"""cycles; number of the queue that faulted first, or None; cycle of that fault; if it was an illegal instruction; the
number of cycles with faults; and of vectors corrected and uncorrectable during the run."""
Counts = tuple[int, int]
"""Vectors corrected and uncorrectable."""
Flip = tuple[str, int | None, int]
"""A signal by its path below the top, the element of it if it is an array, and a mask of bits to invert there."""
Snapshot = tuple[tuple[int, int, int, int], ...]
"""Of every hop: eastward valid bits and data, westward valid bits and data."""


class Chip(Protocol):
    """The ports of the top module, as cocotb finds them by name."""

    clk: LogicObject
    rst: LogicObject
    host_start: LogicObject
    host_reruns: LogicArrayObject
    host_mem_en: LogicObject
    host_mem_we: LogicObject
    host_mem_slice: LogicArrayObject
    host_mem_addr: LogicArrayObject
    host_wdata: LogicArrayObject
    host_mem_rdata: LogicArrayObject
    host_imem_we: LogicObject
    host_imem_queue: LogicArrayObject
    host_imem_addr: LogicArrayObject
    running: LogicObject
    cycles: LogicArrayObject
    fault: LogicObject
    faults: LogicArrayObject
    fault_queue: LogicArrayObject
    fault_cycle: LogicArrayObject
    fault_illegal: LogicObject


class CheckedChip(Chip, Protocol):
    """The ports of a chip with ECC."""

    ecc_corrected: LogicArrayObject
    ecc_uncorrectable: LogicArrayObject
    ecc_queue: LogicArrayObject
    ecc_queue_corrected: LogicArrayObject
    ecc_queue_uncorrectable: LogicArrayObject


@cocotb.test()
async def serve(dut: Chip) -> None:
    """Serve requests until the client says `close` or goes away."""
    host = Host(dut)
    await host.reset()
    with Client(os.environ[ADDRESS]) as connection:
        while True:
            try:
                name, *arguments = connection.recv()
            except EOFError:
                return
            if name == "close":
                return
            connection.send(await getattr(host, name)(*arguments))


class Host:
    """The accesses of the host port. Every method is one kind of request."""

    def __init__(self, dut: Any) -> None:
        self.dut: Chip = dut
        config = ChipConfig.from_dict(json.loads(os.environ[CONFIG]))
        self.checked: CheckedChip | None = dut if config.ecc else None
        self.read_latency = timing(config).host_read
        self.write_latency = timing(config).host_written
        self.clock_delay = timing(config).clock_delay
        self.reset_cycles = reset_cycles(config)
        self.hops = geometry(config).hops
        self.counted: Counts = (0, 0)
        """Totals before the run."""
        self.ended: Status = (0, None, 0, False, 0, 0, 0)

    async def reset(self) -> None:
        """Start the clock, and bring the chip into its first state."""
        dut = self.dut
        for port in (dut.host_start, dut.host_mem_en, dut.host_mem_we, dut.host_imem_we):
            port.value = 0
        dut.rst.value = 1
        Clock(dut.clk, PERIOD_NS, unit="ns", impl="gpi").start()
        await ClockCycles(dut.clk, self.reset_cycles)
        dut.rst.value = 0
        await RisingEdge(dut.clk)

    async def write_memory(self, mem_slice: int, address: int, words: Sequence[int]) -> None:
        """Write consecutive words of a MEM slice."""
        dut = self.dut
        dut.host_mem_en.value, dut.host_mem_we.value = 1, 1
        dut.host_mem_slice.value = mem_slice
        for i, word in enumerate(words):
            dut.host_mem_addr.value = address + i
            dut.host_wdata.value = word
            await RisingEdge(dut.clk)
        dut.host_mem_en.value, dut.host_mem_we.value = 0, 0

    async def read_memory(self, mem_slice: int, address: int, count: int) -> list[int]:
        """Read consecutive words of a MEM slice, one a cycle."""
        dut = self.dut
        words = []
        dut.host_mem_slice.value = mem_slice
        for i in range(count + self.read_latency):
            dut.host_mem_en.value = int(i < count)
            dut.host_mem_addr.value = address + min(i, count - 1)
            await FallingEdge(dut.clk)
            if i >= self.read_latency:
                words.append(dut.host_mem_rdata.value.to_unsigned())
            await RisingEdge(dut.clk)
        return words

    async def write_text(self, queue: int, words: Sequence[int]) -> None:
        """Write the first words of a queue's instruction memory."""
        dut = self.dut
        dut.host_imem_we.value = 1
        dut.host_imem_queue.value = queue
        for i, word in enumerate(words):
            dut.host_imem_addr.value = i
            dut.host_wdata.value = word
            await RisingEdge(dut.clk)
        dut.host_imem_we.value = 0

    async def run(self, limit: int, count: int, cycle: int = 0, flips: Sequence[Flip] = ()) -> Status | None:
        """Run the program `count` times in a row; None when it is not done after `limit` cycles.

        In the middle of a cycle of the program bits are inverted, as by radiation. The chip's own clock is late: what
        is to be inverted in one of the first `clock_delay` cycles is inverted before the first.
        """
        await self._start(count)
        if flips:
            # A word that was written last is still on its way, and so is the start.
            await ClockCycles(self.dut.clk, self.write_latency)
            await FallingEdge(self.dut.clk)
            while self.dut.cycles.value.to_unsigned() + self.clock_delay < cycle:
                await FallingEdge(self.dut.clk)
        for flip in flips:
            self._invert(*flip)
        try:
            await with_timeout(FallingEdge(self.dut.running), limit * PERIOD_NS, "ns")
        except TimeoutError:
            return None
        return await self._status()

    async def trace(self, limit: int, count: int) -> tuple[Status, list[Snapshot]] | None:
        """As `run`, with the stream registers of every cycle from cycle 0 of the first run to the end of the last."""
        await self._start(count)
        snapshots: list[Snapshot] = []
        waited = 0
        hops = [getattr(self.dut, f"hop{h}") for h in range(self.hops)]
        for _ in range(limit):
            await FallingEdge(self.dut.clk)
            if not self.dut.running.value:
                status = await self._status()
                return status, snapshots[waited : waited + status[0]]
            snapshots.append(tuple(_snapshot(hop) for hop in hops))
            if not self.dut.cycles.value.to_unsigned():
                # The barrier has not fallen yet, or so lately that the chip's clock has not moved.
                waited = len(snapshots) - 1 - self.clock_delay
        return None

    async def errors(self, queue: int) -> Counts:
        """Vectors corrected and uncorrectable since the reset that a queue consumed, or the host."""
        assert self.checked is not None
        self.checked.ecc_queue.value = queue
        await ClockCycles(self.dut.clk, 2)
        await FallingEdge(self.dut.clk)
        counts = self.checked.ecc_queue_corrected, self.checked.ecc_queue_uncorrectable
        await RisingEdge(self.dut.clk)
        return counts[0].value.to_unsigned(), counts[1].value.to_unsigned()

    async def state(self) -> tuple[Status, Counts]:
        """How the last run ended, and vectors corrected and uncorrectable since the reset."""
        await ClockCycles(self.dut.clk, COUNT_DELAY)
        await FallingEdge(self.dut.clk)
        totals = self._totals()
        await RisingEdge(self.dut.clk)
        return self.ended, totals

    async def _start(self, count: int) -> None:
        self.counted = self._totals()
        self.dut.host_reruns.value = count - 1
        self.dut.host_start.value = 1
        await RisingEdge(self.dut.clk)
        self.dut.host_start.value = 0
        await RisingEdge(self.dut.clk)

    async def _status(self) -> Status:
        dut = self.dut
        await FallingEdge(dut.clk)
        await RisingEdge(dut.clk)
        fault = dut.fault_queue.value.to_unsigned() if dut.fault.value else None
        corrected, uncorrectable = self._totals()
        self.ended = (
            dut.cycles.value.to_unsigned(),
            fault,
            dut.fault_cycle.value.to_unsigned(),
            bool(dut.fault_illegal.value),
            dut.faults.value.to_unsigned(),
            corrected - self.counted[0],
            uncorrectable - self.counted[1],
        )
        return self.ended

    def _invert(self, path: str, element: int | None, mask: int) -> None:
        signal: Any = self.dut
        for name in path.split("."):
            signal = getattr(signal, name)
        if element is not None:
            signal = signal[element]
        signal.value = signal.value.to_unsigned() ^ mask

    def _totals(self) -> Counts:
        if self.checked is None:
            return 0, 0
        return self.checked.ecc_corrected.value.to_unsigned(), self.checked.ecc_uncorrectable.value.to_unsigned()


def _snapshot(hop: Any) -> tuple[int, int, int, int]:
    registers = (hop.e_valid, hop.e_data, hop.w_valid, hop.w_data)
    values = tuple(register.value.to_unsigned() for register in registers)
    return values[0], values[1], values[2], values[3]
