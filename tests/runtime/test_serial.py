# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Devices behind serial ports: opened by name, and what is said when they cannot be."""

import errno
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import serial
from tests.runtime.model_board import model_port

from openlpu.arch.presets import NANO, ULX3S
from openlpu.arch.program import Program
from openlpu.model.golden import GoldenChip
from openlpu.runtime import driver
from openlpu.runtime.driver import DeviceError, open_device
from openlpu.runtime.requests import Patience
from openlpu.verif.bridge_model import BridgeModel


@pytest.fixture
def port() -> Iterator[str]:
    with model_port(BridgeModel(GoldenChip(NANO))) as path:
        yield path


@pytest.mark.parametrize("rate", ["", "@115200"])
def test_the_device_is_the_chip_at_the_port(rate: str, port: str, copier: Program) -> None:
    with open_device(f"serial:{port}{rate}") as device:
        assert device.port.config is NANO
        device.load(copier)
        rows = np.arange(12, dtype=np.int8).reshape(3, 4)
        np.testing.assert_array_equal(device.run({"x": rows}).outputs["y"], rows)
        with pytest.raises(DeviceError, match=f"{port} is in use by another program"):
            open_device(f"serial:{port}")
    open_device(f"serial:{port}", NANO).close()


def test_a_device_that_does_not_open_leaves_the_port_free(port: str) -> None:
    for _ in range(2):
        with pytest.raises(DeviceError, match=f"the chip on {port} is nano"):
            open_device(f"serial:{port}", ULX3S)


def test_a_port_behind_which_nothing_answers(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "_patience", lambda baud: Patience(0.01))
    monkeypatch.setattr(BridgeModel, "answer", lambda self, data: b"")
    with pytest.raises(DeviceError, match=f"no answer on {port}"):
        open_device(f"serial:{port}", NANO)


def test_places_that_are_no_port(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for place, message in (
        (tmp_path / "missing", "there is no port .*missing: is the board plugged in"),
        (file, "file is no serial port that can run at 1000000 baud"),
    ):
        with pytest.raises(DeviceError, match=message):
            open_device(f"serial:{place}", NANO)


@pytest.mark.parametrize("rate", ["fast", "0", "-1", "9600.5", ""])
def test_rates_that_are_none(rate: str, port: str) -> None:
    with pytest.raises(DeviceError, match=re.escape(f"'{rate}' is no baud rate: write serial:PORT or")):
        open_device(f"serial:{port}@{rate}", NANO)


def test_permission(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Simulated: the superuser, whom containers like, may open everything.
    def denied(*_: Any, **__: Any) -> None:
        raise serial.SerialException(errno.EACCES, "could not open port")

    monkeypatch.setattr(serial, "Serial", denied)
    with pytest.raises(DeviceError, match=f"{port}: permission denied: .* dialout"):
        open_device(f"serial:{port}", NANO)


def test_devices_that_can_be_any_chip_need_a_config() -> None:
    for backend in ("golden", "rtl"):
        with pytest.raises(DeviceError, match=f"the {backend} device can be any chip: name its config"):
            open_device(backend)


@pytest.mark.parametrize(("baud", "slowest"), [(1_000_000, 10_000), (115_200, 10_000), (2400, 2400)])
def test_the_wait_allows_for_a_slow_line(baud: int, slowest: int) -> None:
    # The longest request and reply are some 2,080 bytes of ten bits.
    assert driver._patience(baud).wait(0) == pytest.approx(1 + 2 * 1041 * 10 / slowest, rel=0.01)
    assert driver._patience(1_000_000).longest < 60
