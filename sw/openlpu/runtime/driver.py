# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""One way to run a program on any device: load it, give it numpy arrays, get numpy arrays and cycles.

    with open_device("golden", program.config) as device:
        device.load(program)
        result = device.run({"image": pixels})

Where chips are linked, `open_device` takes their `SystemConfig`, and returns a `SystemDevice`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, overload

from numpy.typing import NDArray

from openlpu.arch import protocol
from openlpu.arch.config import ChipConfig
from openlpu.arch.program import Program
from openlpu.arch.system import SystemConfig
from openlpu.model.golden import GoldenChip
from openlpu.model.system import GoldenSystem
from openlpu.runtime.arrays import from_chip, image_runs, to_chip
from openlpu.runtime.bridged_chip import BridgedChip
from openlpu.runtime.bridged_system import BridgedSystem
from openlpu.runtime.closing import Closing
from openlpu.runtime.errors import DeviceError, DeviceFault, InputError
from openlpu.runtime.loaded import LoadedProgram, write_image, write_program, write_text
from openlpu.runtime.port import ChipPort, ChipStatus, SystemPort
from openlpu.runtime.requests import Patience
from openlpu.runtime.residents import Residents
from openlpu.runtime.serial_wire import BAUD, BITS_PER_BYTE, SerialWire
from openlpu.runtime.system import REPLAYS, SystemDevice

__all__ = [
    "BACKENDS",
    "SERIAL",
    "ChipStatus",
    "Device",
    "DeviceError",
    "DeviceFault",
    "InputError",
    "RunResult",
    "SystemDevice",
    "from_chip",
    "image_runs",
    "open_device",
    "to_chip",
]

_VIRTUAL_BAUD = 10_000
"""What a virtual board may be down to on a busy machine, whatever the rate it was opened with."""


@dataclass(frozen=True)
class RunResult:
    """Outputs by name, in the shapes and types of their ports, and the cycles that all runs took."""

    outputs: dict[str, NDArray[Any]]
    cycles: int


class Device(Closing):
    """A chip and the program loaded into it. A context manager: leaving it closes the chip."""

    def __init__(self, port: ChipPort) -> None:
        self.port = port
        self._loaded: LoadedProgram | None = None
        self._residents = Residents()

    @property
    def config(self) -> ChipConfig:
        """What chip this is."""
        return self.port.config

    @property
    def program(self) -> Program | None:
        """The one that is loaded."""
        return None if self._loaded is None else self._loaded.program

    def close(self) -> None:
        """Release the chip."""
        self.port.close()

    def status(self) -> ChipStatus:
        """What the chip knows of itself: how the last run ended, and what ECC found."""
        return self.port.status()

    def load(self, program: Program) -> None:
        """Write the text of every queue and the SRAM image. The program may then run any number of times.

        Raises:
            DeviceError: when the program was made for another chip.
            EncodingError: when its text does not fit the chip's queues.
        """
        loaded = LoadedProgram(self.port, program)
        self._loaded = None
        write_program(self.port, program)
        self._loaded, self._residents = loaded, Residents()
        self._residents.take(program, loaded.changed)

    def switch(self, program: Program) -> int:
        """Put another program in the place of the loaded one, beside which it was compiled. States that both have stay
        as they are, and so does all that is in SRAM already. How many words of SRAM were written.

        Raises:
            DeviceError: when no program is loaded, or none beside which this one was compiled.
            EncodingError: when its text does not fit the chip's queues.
        """
        self._required()
        loaded = LoadedProgram(self.port, program)
        lacking = self._residents.lacking(program, loaded.changed)
        self._loaded = None
        write_text(self.port, program)
        write_image(self.port, lacking)
        self._loaded = loaded
        self._residents.take(program, loaded.changed)
        return len(lacking)

    def run(self, inputs: Mapping[str, NDArray[Any]], count: int = 1) -> RunResult:
        """Run the loaded program, `count` times in a row with no host in between; outputs are those of the last run.

        Inputs and the program's image are as given at the beginning of the first run; each further one finds in SRAM
        what the one before left there.

        Raises:
            InputError: when an input is missing, unknown, or of another type or shape than its port.
            DeviceFault: when the hardware found the program wrong in time.
            DeviceError: when no program is loaded, it cannot run so often, the runs did not take the cycles that the
                program says, or the memory of the chip lost bits that ECC cannot restore.
        """
        loaded = self._required()
        loaded.cycles(count)
        prepared = loaded.check(inputs)
        before = self.port.status().uncorrectable if self.port.config.ecc else 0
        loaded.prepare(prepared)
        status = self.port.run(count)
        loaded.verify(status, count)
        outputs = loaded.outputs()
        if self.port.config.ecc and self.port.status().uncorrectable != before:
            name = loaded.program.name
            raise DeviceError(f"{name}: ECC found words with two wrong bits: load the program and run it again")
        return RunResult(outputs, status.cycles)

    def write_state(self, name: str, rows: NDArray[Any]) -> int:
        """`LoadedProgram.write_state`. Raises DeviceError when no program is loaded."""
        return self._required().write_state(name, rows)

    def read_state(self, name: str) -> NDArray[Any]:
        """`LoadedProgram.read_state`. Raises DeviceError when no program is loaded."""
        return self._required().read_state(name)

    def _required(self) -> LoadedProgram:
        if self._loaded is None:
            raise DeviceError("no program is loaded")
        return self._loaded


@overload
def open_device(backend: str, config: ChipConfig | None = None) -> Device: ...
@overload
def open_device(backend: str, config: SystemConfig, *, replays: int | None = None) -> SystemDevice: ...
def open_device(
    backend: str, config: ChipConfig | SystemConfig | None = None, *, replays: int | None = None
) -> Device | SystemDevice:
    """A chip, or the linked chips of a system: "golden" (the model) and "rtl" (the Verilated hardware) are fresh ones.

    "serial:PORT" is the chip behind a serial port, at `BAUD` or, as "serial:PORT@BAUD", another rate. It may be opened
    without a config when it is one of the presets. "serial:PORT0,PORT1" are the chips of a system, in their order.
    `replays` is as `SystemDevice` has it: `REPLAYS` on boards, and none where nothing happens to links, unless it is
    given.

    Raises:
        DeviceError: for an unknown backend, one whose packages are not installed, a chip that cannot be reached, or
            links that are not as the system has them.
    """
    kind, _, place = backend.partition(":")
    serial = kind == SERIAL and place != ""
    if not serial and backend not in BACKENDS:
        raise DeviceError(f"no device '{backend}'; there are: {', '.join(BACKENDS)}, {SERIAL}:PORT")
    match config:
        case SystemConfig():
            port = _serial_system(place, config) if serial else SYSTEM_BACKENDS[backend](config)
            return SystemDevice(port, replays=(REPLAYS if serial else 0) if replays is None else replays)
        case _ if serial:
            return Device(_serial_chip(place, config))
        case None:
            raise DeviceError(f"the {backend} device can be any chip: name its config")
        case _:
            return Device(BACKENDS[backend](config))


def _serial_chip(place: str, config: ChipConfig | None) -> BridgedChip:
    port, at, rate = place.rpartition("@")
    if not at:
        port, rate = place, str(BAUD)
    if not rate.isdecimal() or not int(rate):
        raise DeviceError(f"'{rate}' is no baud rate: write {SERIAL}:PORT or {SERIAL}:PORT@BAUD, as in @{BAUD}")
    return BridgedChip(SerialWire(port, int(rate)), config, patience=_patience(int(rate)))


def _serial_system(places: str, system: SystemConfig) -> BridgedSystem:
    ports = places.split(",")
    if len(ports) != system.chips or not all(ports):
        raise DeviceError(
            f"system '{system.name}' has {system.chips} chips, and {len([*filter(None, ports)])} ports are named: "
            f"write {SERIAL}:PORT0,PORT1,... in the order of the chips"
        )
    chips: list[BridgedChip] = []
    try:
        for port in ports:
            chips.append(_serial_chip(port, system.chip))
        return BridgedSystem(chips, system)
    except BaseException:
        for chip in chips:
            chip.close()
        raise


def _patience(baud: int) -> Patience:
    """A second for the chip and the machine between, and the time of the longest request and reply on the line."""
    frames = protocol.stuffed_bytes(protocol.max_request_bytes()) + protocol.stuffed_bytes(protocol.max_reply_bytes())
    return Patience(1.0, frames * BITS_PER_BYTE / min(baud, _VIRTUAL_BAUD))


def _rtl_chip(config: ChipConfig) -> ChipPort:
    port: ChipPort = _rtl("rtl_port", "RtlChip", config)
    return port


def _rtl_system(system: SystemConfig) -> SystemPort:
    port: SystemPort = _rtl("rtl_system", "drawn_system", system)
    return port


def _rtl(module: str, name: str, config: ChipConfig | SystemConfig) -> Any:
    """Verilated hardware, looked up by name: software never depends on hardware tools."""
    try:
        return getattr(importlib.import_module(f"openlpu.verif.{module}"), name)(config)
    except ModuleNotFoundError as error:
        raise DeviceError(
            f"the rtl device needs the package '{error.name}': install with `pip install 'openlpu[rtl]'`"
        ) from None
    except (RuntimeError, ValueError) as error:
        raise DeviceError(f"the rtl device cannot start: {error}") from error


BACKENDS: dict[str, Callable[[ChipConfig], ChipPort]] = {"golden": GoldenChip, "rtl": _rtl_chip}
"""The devices that `open_device` makes from a config, by name."""
SYSTEM_BACKENDS: dict[str, Callable[[SystemConfig], SystemPort]] = {"golden": GoldenSystem, "rtl": _rtl_system}
"""Likewise of several chips."""
SERIAL = "serial"
"""What the name of a device behind a serial port begins with."""
