# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The RTL of chip and bridge behind a pseudo-terminal, through the very code that drives a board."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import serial

from openlpu.arch.status import RunStatus
from openlpu.arch.timing import timing
from openlpu.runtime.driver import Device, DeviceError, open_device
from openlpu.runtime.requests import Patience
from openlpu.runtime.serial_wire import BAUD, BITS_PER_BYTE, SerialWire
from openlpu.verif.fault_campaign import CONFIG, campaign, counter
from openlpu.verif.line_faults import FaultyWire
from openlpu.verif.virtual_board import VirtualBoard

SEED = 20270413
LINE_RATE = 0.9
"""Of the line's bits, at least so many carry what is loaded."""


@pytest.fixture(scope="module")
def board() -> Iterator[VirtualBoard]:
    with VirtualBoard(CONFIG) as board:
        yield board


@pytest.fixture
def device(board: VirtualBoard) -> Iterator[Device]:
    with open_device(f"serial:{board.port}", CONFIG) as device:
        yield device


def image() -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
    """All of the chip's SRAM."""
    return np.random.default_rng(SEED).integers(-128, 128, (CONFIG.mem_slices, CONFIG.mem_words, CONFIG.lanes), np.int8)


def test_a_program_runs_as_on_the_golden_model(device: Device) -> None:
    with open_device("golden", CONFIG) as golden:
        for each in (golden, device):
            each.load(counter())
            for _ in range(3):
                each.port.run()
        assert device.status() == golden.status()
        np.testing.assert_array_equal(device.port.read_memory(0, 0, 1), golden.port.read_memory(0, 0, 1))
    assert device.run({}).cycles == counter().cycles


def test_runs_in_a_row_are_the_same_on_every_device(device: Device) -> None:
    with open_device("golden", CONFIG) as golden, open_device("rtl", CONFIG) as rtl:
        for each in (golden, rtl, device):
            each.load(counter())
            result = each.run({}, count=3)
            assert result.cycles == 3 * counter().cycles + 2 * timing(CONFIG).rerun
            assert each.status().run == RunStatus(result.cycles)
            np.testing.assert_array_equal(each.port.read_memory(0, 0, 1), [[3] * CONFIG.lanes])
            assert each.run({}).cycles == counter().cycles


def test_loading_fills_the_line(board: VirtualBoard, device: Device) -> None:
    def load() -> float:
        before = board.traffic()
        for number, words in enumerate(image()):
            device.port.write_memory(number, 0, words)
        return image().nbytes * BITS_PER_BYTE / (board.traffic() - before).bit_times

    assert image().nbytes == 16384
    # The line waits for a host that has no processor: once in three times it will have one.
    assert any(LINE_RATE <= load() <= 1 for _ in range(3))
    for number, words in enumerate(image()):
        np.testing.assert_array_equal(device.port.read_memory(number, 0, CONFIG.mem_words), words)


def test_the_port_is_for_one_client_at_a_time_and_many_in_turn(board: VirtualBoard) -> None:
    for _ in range(2):
        with open_device(f"serial:{board.port}@115200", CONFIG) as device:
            device.load(counter())
            device.port.run()
            with pytest.raises(DeviceError, match=f"{board.port} is in use by another program: close that first"):
                open_device(f"serial:{board.port}", CONFIG)
            np.testing.assert_array_equal(device.port.read_memory(0, 0, 1), [[1] * CONFIG.lanes])
    # One that leaves rubbish behind, and half a request.
    with serial.Serial(board.port, BAUD) as port:
        port.write(random.Random(SEED).randbytes(3000) + b"\5")
    with open_device(f"serial:{board.port}", CONFIG) as device:
        assert device.status().run == RunStatus(counter().cycles)


def test_a_config_must_be_the_one_on_the_board(board: VirtualBoard) -> None:
    with pytest.raises(DeviceError, match="is no preset: name the config"):
        open_device(f"serial:{board.port}")


def test_an_idle_board_stands_still(board: VirtualBoard, device: Device) -> None:
    device.status()
    deadline = time.monotonic() + 60
    before, now = board.traffic(), None
    while before != now:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        before, now = now or before, board.traffic()
    device.status()
    assert board.traffic().cycles > before.cycles


PATIENCE = Patience(0.01, tries=12)


def test_random_faults_between_driver_and_rtl(board: VirtualBoard) -> None:
    faulty_campaign(board, 200, SEED)


@pytest.mark.regress
def test_ten_thousand_random_faults_between_driver_and_rtl(board: VirtualBoard) -> None:
    faulty_campaign(board, 10_000, SEED + 1)


def faulty_campaign(board: VirtualBoard, faults: int, seed: int) -> None:
    wire = FaultyWire(SerialWire(board.port, BAUD), 0.25, seed)
    try:
        result = campaign(wire, faults, seed, PATIENCE)
    finally:
        wire.close()
    print(f"seed {seed}: {result}")
    assert result.faults >= faults
    assert result.runs > 0
    assert result.lost == 0
    with open_device(f"serial:{board.port}", CONFIG) as device:
        device.load(counter())
        assert device.run({}).cycles == counter().cycles


@pytest.fixture
def served(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A board in a process of its own, that of the command."""
    config = tmp_path / "bench.json"
    config.write_text(json.dumps(CONFIG.to_dict()))
    lpu = Path(sys.executable).parent / "lpu"
    process = subprocess.Popen(
        [lpu, "vboard", config, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_interrupted(served: subprocess.Popen[str], number: int) -> None:
    assert served.stdout is not None
    said = json.loads(served.stdout.readline())
    port = said["port"]
    with open_device(f"serial:{port}", CONFIG) as device:
        assert said["digest"] == device.port.config.digest
        served.send_signal(number)
        assert served.communicate(timeout=30) == ("", "")
        assert served.returncode == 0
        with pytest.raises(DeviceError, match=f"{port}: the connection broke"):
            device.status()
    assert not os.path.exists(port)
    with pytest.raises(DeviceError, match=f"there is no port {port}: is the board plugged in"):
        open_device(f"serial:{port}", CONFIG)
