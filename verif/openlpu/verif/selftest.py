# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A bench for the simulation machinery itself, run on a free-running 8-bit counter with an enable.

It runs inside the simulator; `tests/verif/test_simulator.py` builds the counter and drives this module from outside.
"""

import os
import random
from multiprocessing.connection import Client
from typing import Protocol

import cocotb
from cocotb.clock import Clock
from cocotb.handle import LogicArrayObject, LogicObject
from cocotb.triggers import ClockCycles, FallingEdge

ADDRESS = "OPENLPU_SELFTEST_ADDRESS"
"""Environment variable with the path of the socket on which `serve` finds its client."""


class Counter(Protocol):
    """The counter's ports, as cocotb finds them by name."""

    clk: LogicObject
    rst: LogicObject
    enable: LogicObject
    count: LogicArrayObject


async def _reset(dut: Counter) -> None:
    dut.rst.value = 1
    dut.enable.value = 0
    Clock(dut.clk, 10, unit="ns", impl="gpi").start()
    await ClockCycles(dut.clk, 2)
    dut.rst.value = 0


@cocotb.test(timeout_time=10, timeout_unit="us")
async def counts(dut: Counter) -> None:
    """The counter advances in each enabled cycle, by one."""
    await _reset(dut)
    cycles = random.randrange(1, 200)
    dut.enable.value = 1
    await ClockCycles(dut.clk, cycles)
    dut.enable.value = 0
    await FallingEdge(dut.clk)
    assert dut.count.value.to_unsigned() == cycles


@cocotb.test(timeout_time=10, timeout_unit="us")
async def miscounts(dut: Counter) -> None:
    """Fails on purpose: claims that a disabled counter counts."""
    await _reset(dut)
    await ClockCycles(dut.clk, 3)
    assert dut.count.value.to_unsigned() == 3, "a disabled counter stands still"


@cocotb.test()
async def serve(dut: Counter) -> None:
    """Serve requests: a number of cycles to count is answered with the count reached; None ends the simulation."""
    await _reset(dut)
    with Client(os.environ[ADDRESS]) as connection:
        while (cycles := connection.recv()) is not None:
            dut.enable.value = 1
            await ClockCycles(dut.clk, cycles)
            dut.enable.value = 0
            await FallingEdge(dut.clk)
            connection.send(dut.count.value.to_unsigned())
