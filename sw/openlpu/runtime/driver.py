# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""One way to run a program on any device: load it, give it numpy arrays, get numpy arrays and cycles.

    with open_device("golden", program.config) as device:
        device.load(program)
        result = device.run({"image": pixels})

The host's only arithmetic is here, at the boundary: float32 to int8 and back, as ONNX QuantizeLinear and
DequantizeLinear do it, in float32, and uint8 moved by 128.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from openlpu.arch import protocol
from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import geometry
from openlpu.arch.isa import instruction
from openlpu.arch.program import Column, Port, Program, Vector
from openlpu.arch.timing import timing
from openlpu.model.expand import expand
from openlpu.model.golden import GoldenChip
from openlpu.runtime.bridged_chip import BridgedChip
from openlpu.runtime.errors import DeviceError, DeviceFault, InputError
from openlpu.runtime.port import ChipPort, ChipStatus
from openlpu.runtime.requests import Patience
from openlpu.runtime.serial_wire import BAUD, BITS_PER_BYTE, SerialWire

__all__ = [
    "BACKENDS",
    "SERIAL",
    "ChipStatus",
    "Device",
    "DeviceError",
    "DeviceFault",
    "InputError",
    "RunResult",
    "from_chip",
    "image_runs",
    "open_device",
    "to_chip",
]

_VIRTUAL_BAUD = 10_000
"""What a virtual board may be down to on a busy machine, whatever the rate it was opened with."""
_CYCLES = 1 << 8 * next(field.bytes for field in protocol.STATUS.reply_fields if field.name == "cycles")
"""The first number of cycles that a chip cannot tell."""
_UINT8_SHIFT = 128
"""What is subtracted from a uint8 value to hold it as int8."""


@dataclass(frozen=True)
class RunResult:
    """Outputs by name, in the shapes and types of their ports, and the cycles that all runs took."""

    outputs: dict[str, NDArray[Any]]
    cycles: int


class Device:
    """A chip and the program loaded into it. A context manager: leaving it closes the chip."""

    def __init__(self, port: ChipPort) -> None:
        self.port = port
        self.program: Program | None = None
        self._stale: dict[tuple[int, int], Vector] = {}
        """Image words that the program overwrites: every run begins with them as they were."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

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
        config = self.port.config
        if program.config.digest != config.digest:
            raise DeviceError(
                f"{program.name} was compiled for the chip {program.config.name} ({program.config.digest}), "
                f"but this is {config.name} ({config.digest}): compile it again for this chip"
            )
        codec, idle = encoding(config), (instruction("halt"),)
        for number, queue in enumerate(geometry(config).queues):
            text = program.text.get(queue.name, idle)
            self.port.write_text(number, [codec.encode(inst, queue) for inst in text])
        for (number, address), words in image_runs(program.image):
            self.port.write_memory(number, address, words)
        spoilt = {*_written(program)} - program.kept
        self._stale = {place: program.image[place] for place in sorted(spoilt) if place in program.image}
        self.program = program

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
        program = self.program
        if program is None:
            raise DeviceError("no program is loaded")
        cycles = _cycles(program, count)
        names = [port.name for port in program.inputs]
        for name in inputs:
            if name not in names:
                raise InputError(f"{program.name} has no input '{name}'; its inputs are: {', '.join(names) or 'none'}")
        for name in names:
            if name not in inputs:
                raise InputError(f"input '{name}' of {program.name} is missing")
        stored = [to_chip(port, inputs[port.name]) for port in program.inputs]

        before = self.port.status().uncorrectable if self.port.config.ecc else 0
        for (number, address), words in image_runs(self._stale):
            self.port.write_memory(number, address, words)
        for port, matrix in zip(program.inputs, stored, strict=True):
            self._write_matrix(port, matrix)
        status = self.port.run(count)
        if status.fault is not None:
            raise DeviceFault(program.name, status.fault)
        if status.cycles != cycles:
            raise DeviceError(f"{program.name} took {status.cycles} cycles, but takes {cycles}: a broken device")
        outputs = {port.name: from_chip(port, self._read_matrix(port)) for port in program.outputs}
        if self.port.config.ecc and self.port.status().uncorrectable != before:
            raise DeviceError(f"{program.name}: ECC found words with two wrong bits: load the program and run it again")
        return RunResult(outputs, status.cycles)

    def write_state(self, name: str, rows: NDArray[Any]) -> int:
        """Put rows, int8 or int32 (patterns), into a state of the loaded program, from its first row on.

        The other rows stay as they are. How many words of SRAM were written.

        Raises:
            InputError: when there is no such state, or the rows are of another type or width or too many.
            DeviceError: when no program is loaded.
        """
        port = self._state(name)
        wrong = rows.dtype != _STORED[port.stored] or rows.ndim != 2
        if wrong or len(rows) > port.rows or rows.shape[1] != port.cols:
            raise InputError(
                f"state '{name}' is {port.dtype}{list(port.shape)}, but {rows.dtype}{list(rows.shape)} was given"
            )
        return self._write_matrix(port, rows)

    def read_state(self, name: str) -> NDArray[Any]:
        """A state of the loaded program, int8 or int32 (patterns) [rows, cols].

        Raises:
            InputError: when there is no such state.
            DeviceError: when no program is loaded.
        """
        return self._read_matrix(self._state(name))

    def _state(self, name: str) -> Port:
        if self.program is None:
            raise DeviceError("no program is loaded")
        states = {port.name: port for port in self.program.states}
        if name not in states:
            known = ", ".join(states) or "none"
            raise InputError(f"{self.program.name} has no state '{name}'; its states are: {known}")
        return states[name]

    def _write_matrix(self, port: Port, matrix: NDArray[Any]) -> int:
        """The first rows of a port, or all, int8 or int32 (patterns), into its columns, padded with zeros.

        How many words that are.
        """
        lanes, rows, written = self.port.config.lanes, len(matrix), 0
        for k, column in enumerate(port.columns):
            part = matrix[:, k * lanes : (k + 1) * lanes]
            block = np.zeros((rows, lanes), matrix.dtype)
            block[:, : part.shape[1]] = part
            planes = block.astype(block.dtype.newbyteorder("<"), copy=False).view(np.int8)
            planes = planes.reshape(rows, lanes, block.dtype.itemsize)
            for slices in column.places:
                for p, number in enumerate(slices):
                    words = planes[p :: len(slices), :, 0] if column.dealt else planes[..., p]
                    if len(words):
                        self.port.write_memory(number, column.base, np.ascontiguousarray(words))
                    written += len(words)
        return written

    def _read_matrix(self, port: Port) -> NDArray[Any]:
        """The matrix of a port, int8 or int32 [rows, cols]."""
        blocks = []
        for column in port.columns:
            if column.dealt:
                blocks.append(self._read_dealt(column, port.rows))
                continue
            planes = [self.port.read_memory(number, column.base, port.rows) for number in column.slices]
            stored = np.dtype(_STORED[port.stored]).newbyteorder("<")
            blocks.append(np.stack(planes, axis=-1).view(stored)[..., 0])
        matrix: NDArray[Any] = np.concatenate(blocks, axis=1)[:, : port.cols]
        return matrix.astype(_STORED[port.stored])

    def _read_dealt(self, column: Column, rows: int) -> Vector:
        block = np.zeros((rows, self.port.config.lanes), np.int8)
        for p, number in enumerate(column.slices):
            words = block[p :: len(column.slices)]
            words[:] = self.port.read_memory(number, column.base, len(words))
        return block


def open_device(backend: str, config: ChipConfig | None = None) -> Device:
    """A chip of a configuration: "golden" (the model) and "rtl" (the Verilated hardware) are fresh ones.

    "serial:PORT" is the chip behind a serial port, at `BAUD` or, as "serial:PORT@BAUD", another rate. It may be opened
    without a config when it is one of the presets.

    Raises:
        DeviceError: for an unknown backend, one whose packages are not installed, or a chip that cannot be reached.
    """
    kind, _, place = backend.partition(":")
    if kind == SERIAL and place:
        return Device(_serial_chip(place, config))
    if backend not in BACKENDS:
        raise DeviceError(f"no device '{backend}'; there are: {', '.join(BACKENDS)}, {SERIAL}:PORT")
    if config is None:
        raise DeviceError(f"the {backend} device can be any chip: name its config")
    return Device(BACKENDS[backend](config))


def _serial_chip(place: str, config: ChipConfig | None) -> ChipPort:
    port, at, rate = place.rpartition("@")
    if not at:
        port, rate = place, str(BAUD)
    if not rate.isdecimal() or not int(rate):
        raise DeviceError(f"'{rate}' is no baud rate: write {SERIAL}:PORT or {SERIAL}:PORT@BAUD, as in @{BAUD}")
    return BridgedChip(SerialWire(port, int(rate)), config, patience=_patience(int(rate)))


def _patience(baud: int) -> Patience:
    """A second for the chip and the machine between, and the time of the longest request and reply on the line."""
    frames = protocol.stuffed_bytes(protocol.max_request_bytes()) + protocol.stuffed_bytes(protocol.max_reply_bytes())
    return Patience(1.0, frames * BITS_PER_BYTE / min(baud, _VIRTUAL_BAUD))


def _rtl_chip(config: ChipConfig) -> ChipPort:
    """The Verilated chip, looked up by name: software never depends on hardware tools."""
    try:
        port: ChipPort = importlib.import_module("openlpu.verif.rtl_port").RtlChip(config)
    except ModuleNotFoundError as error:
        raise DeviceError(
            f"the rtl device needs the package '{error.name}': install with `pip install 'openlpu[rtl]'`"
        ) from None
    except (RuntimeError, ValueError) as error:
        raise DeviceError(f"the rtl device cannot start: {error}") from error
    return port


BACKENDS: dict[str, Callable[[ChipConfig], ChipPort]] = {"golden": GoldenChip, "rtl": _rtl_chip}
"""The devices that `open_device` makes from a config, by name."""
SERIAL = "serial"
"""What the name of a device behind a serial port begins with."""


def to_chip(port: Port, values: NDArray[Any]) -> NDArray[Any]:
    """An input as the chip holds it: int8 (or int32, patterns of floats among them) [rows, cols].

    float32 that is int8 on the chip becomes saturate(round_half_even(x / scale) + zero_point), a NaN the lowest code,
    as in ONNX Runtime. Negative indices count from the end.

    Raises:
        InputError: when the array is not of the port's type and shape, or an index points nowhere.
    """
    array = np.asarray(values)
    if array.dtype != np.dtype(port.dtype) or array.shape != port.shape:
        raise InputError(
            f"input '{port.name}' is {port.dtype}{list(port.shape)}, but {array.dtype}{list(array.shape)} was given"
        )
    match port.dtype, port.stored:
        case _, "index":
            stored = _index_bytes(port, array)
        case "float32", "float32":
            stored = array.view(np.int32)
        case "float32", _:
            limits = np.iinfo(_STORED[port.stored])
            with np.errstate(over="ignore", invalid="ignore"):
                quotient = array / np.float32(port.scale)
            # In float64, where every bound of int32 is exact; fmax and fmin give a NaN to the bound.
            lowest, highest = limits.min - port.zero_point, limits.max - port.zero_point
            bounded = np.fmin(np.fmax(quotient.astype(np.float64), lowest), highest)
            stored = np.rint(bounded).astype(np.int64) + port.zero_point
        case "uint8", _:
            stored = array.astype(np.int64) - _UINT8_SHIFT
        case _:
            stored = array
    return stored.astype(_STORED[port.stored]).reshape(port.rows, port.cols)


def _index_bytes(port: Port, array: NDArray[Any]) -> NDArray[Any]:
    """Low and high byte of each index."""
    wrong = array[(array < -port.entries) | (array >= port.entries)]
    if wrong.size:
        raise InputError(
            f"input '{port.name}' holds the index {wrong.flat[0]}, but there are {port.entries} rows to choose from"
        )
    chosen: NDArray[Any] = np.mod(array, port.entries).astype("<u2").reshape(-1, 1)
    return chosen.view(np.int8)


def from_chip(port: Port, stored: NDArray[Any]) -> NDArray[Any]:
    """An output as the host sees it, from int8 or int32 (patterns) [rows, cols]: of the port's type and shape."""
    match port.dtype, port.stored:
        case "float32", "float32":
            outside: NDArray[Any] = np.ascontiguousarray(stored).view(np.float32)
        case "float32", _:
            centred = (stored.astype(np.int64) - port.zero_point).astype(np.float32)
            outside = centred * np.float32(port.scale)
        case "uint8", _:
            outside = (stored.astype(np.int16) + _UINT8_SHIFT).astype(np.uint8)
        case _:
            outside = stored.astype(port.dtype)
    return outside.reshape(port.shape)


def image_runs(image: Mapping[tuple[int, int], Vector]) -> list[tuple[tuple[int, int], Vector]]:
    """An image as few blocks of consecutive words: (slice number, first address) and int8 [n, lanes], in order."""
    runs: list[tuple[tuple[int, int], list[Vector]]] = []
    for number, address in sorted(image):
        (previous, first), words = runs[-1] if runs else ((-1, 0), [])
        if (number, address) != (previous, first + len(words)):
            words = []
            runs.append(((number, address), words))
        words.append(image[number, address])
    return [(place, np.stack(words)) for place, words in runs]


_STORED: dict[str, type[np.int8] | type[np.int32]] = {
    "int8": np.int8,
    "int32": np.int32,
    "float32": np.int32,
    "index": np.int8,
}
"""What a port's elements are in SRAM."""


def _cycles(program: Program, count: int) -> int:
    """How long `count` runs of a program take. Raises DeviceError when it cannot run so often."""
    if count < 1:
        raise DeviceError(f"{program.name} runs once or more often, not {count} times")
    fetching = [queue for queue, text in program.text.items() if any(i.spec.mnemonic == "ifetch" for i in text)]
    if count > 1 and fetching:
        raise DeviceError(
            f"{program.name} fetches text while it runs ({', '.join(fetching)}), which stays in the chip: run it once "
            "at a time"
        )
    cycles = timing(program.config).series(program.cycles, count)
    if cycles >= _CYCLES:
        raise DeviceError(
            f"{count} runs of {program.name} take {cycles:,} cycles, but a chip counts to {_CYCLES - 1:,}: run it in "
            "parts"
        )
    return cycles


def _written(program: Program) -> list[tuple[int, int]]:
    """SRAM words that the program writes, by (slice number, address)."""
    chip = geometry(program.config)
    return [
        (dispatch.queue.index, dispatch.instruction.number("a"))
        for queue in chip.queues
        if queue.name in program.text
        for dispatch in expand(program.config, queue, program.text[queue.name]).dispatches
        if dispatch.instruction.spec.mnemonic == "write"
    ]
