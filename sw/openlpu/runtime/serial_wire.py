# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A serial port as a wire to a chip."""

from __future__ import annotations

import errno

import serial
from serial.tools import list_ports

from openlpu.runtime.errors import ConnectionLostError, DeviceError

BAUD = 1_000_000
"""Bits a second, unless something else is asked for."""
BITS_PER_BYTE = 10
"""On the line: start, eight data, and stop."""


class SerialWire:
    """A serial port, 8N1, for this process alone.

    Raises:
        DeviceError: by the constructor, when the port cannot be opened; says why and what to do.
        ConnectionLostError: by `send` and `receive`, when the port is gone, or takes no bytes for `stall_seconds`.
    """

    def __init__(self, port: str, baud: int, *, stall_seconds: float = 30.0) -> None:
        self.name = port
        try:
            self._port = serial.Serial(port, baud, exclusive=True, write_timeout=stall_seconds)
        except (serial.SerialException, ValueError, OverflowError) as error:
            raise DeviceError(_why(port, baud, error)) from None

    def send(self, data: bytes) -> None:
        """Put all bytes on the wire."""
        try:
            self._port.write(data)
        except OSError as error:
            raise self._gone(error) from None

    def receive(self, seconds: float) -> bytes:
        """Whatever has come, at least one byte; nothing when nothing comes for so long."""
        try:
            self._port.timeout = seconds
            first: bytes = self._port.read(1)
            return first + self._port.read(self._port.in_waiting) if first else b""
        except OSError as error:
            raise self._gone(error) from None

    def close(self) -> None:
        """Release the port."""
        self._port.close()

    def _gone(self, error: OSError) -> ConnectionLostError:
        return ConnectionLostError(
            f"{self.name}: the connection broke ({error}): check board and cable, open it again, and load the program "
            "again"
        )


def _why(port: str, baud: int, error: Exception) -> str:
    """Why a port does not open, and what to do."""
    match getattr(error, "errno", None):
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            there = ", ".join(sorted(info.device for info in list_ports.comports())) or "none"
            return f"there is no port {port}: is the board plugged in? Serial ports of this machine: {there}"
        case errno.EACCES | errno.EPERM:
            return (
                f"{port}: permission denied: ask for access to it (on Linux its group, mostly dialout: "
                "`sudo usermod -aG dialout $USER`, then log in again)"
            )
        case errno.EAGAIN | errno.EBUSY:
            return f"{port} is in use by another program: close that first"
        case _:
            return f"{port} is no serial port that can run at {baud} baud: {error}"
