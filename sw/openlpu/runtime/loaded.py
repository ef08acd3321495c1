# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A program that is loaded into a chip: what the host writes before a run, and reads after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openlpu.arch import protocol
from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import QueueKind, geometry
from openlpu.arch.isa import FieldKind, instruction
from openlpu.arch.program import Column, Port, Program, Vector
from openlpu.arch.timing import timing
from openlpu.model.text import follow_program
from openlpu.runtime.arrays import STORED, from_chip, image_runs, to_chip, word_runs
from openlpu.runtime.errors import DeviceError, DeviceFault, InputError
from openlpu.runtime.port import ChipPort, Memory, RunStatus

_CYCLES = 1 << 8 * next(field.bytes for field in protocol.STATUS.reply_fields if field.name == "cycles")
"""The first number of cycles that a chip cannot tell."""


@dataclass(frozen=True)
class Prepared:
    """The inputs of a run, checked, and as they will lie in SRAM."""

    matrices: tuple[tuple[Port, NDArray[Any]], ...]


def write_program(port: ChipPort, program: Program) -> None:
    """Write the text of every queue and the SRAM image.

    Raises:
        EncodingError: when the text does not fit the chip's queues.
    """
    write_text(port, program)
    write_image(port, program.image)


def write_text(port: ChipPort, program: Program) -> None:
    """Write the text of every queue. Raises EncodingError when it does not fit the chip's queues."""
    codec, idle = encoding(port.config), (instruction("halt"),)
    for number, queue in enumerate(geometry(port.config).queues):
        text = program.text.get(queue.name, idle)
        port.write_text(number, [codec.encode(inst, queue) for inst in text])


def write_image(port: ChipPort, image: Mapping[tuple[int, int], Vector]) -> None:
    """Write words of SRAM, by slice and address."""
    for (number, address), words in image_runs(image):
        port.write_memory(number, address, words)


class LoadedProgram:
    """A program whose text and image are in a chip with this memory. It may run any number of times.

    Raises:
        DeviceError: by the constructor, when the program was made for another chip.
    """

    def __init__(self, memory: Memory, program: Program) -> None:
        config = memory.config
        if program.config.digest != config.digest:
            raise DeviceError(
                f"{program.name} was compiled for the chip {program.config.name} ({program.config.digest}), "
                f"but this is {config.name} ({config.digest}): compile it again for this chip"
            )
        self.program = program
        self._memory = memory
        self.changed = frozenset(_changed(program))
        """The words of SRAM that it may write."""
        spoilt = sorted((self.changed - program.kept) & program.image.keys())
        self._stale = {place: program.image[place] for place in spoilt}
        """Image words that the program overwrites: every run begins with them as they were."""
        self._carried = word_runs(self.changed & program.kept)
        """Those that it leaves changed for its next run."""

    def cycles(self, count: int) -> int:
        """How long `count` runs in a row take. Raises DeviceError when the program cannot run so often."""
        program = self.program
        if count < 1:
            raise DeviceError(f"{program.name} runs once or more often, not {count} times")
        fetching = [queue for queue, text in program.text.items() if any(i.spec.mnemonic == "ifetch" for i in text)]
        if count > 1 and fetching:
            raise DeviceError(
                f"{program.name} fetches text while it runs ({', '.join(fetching)}), which stays in the chip: run it "
                "once at a time"
            )
        cycles = timing(program.config).series(program.cycles, count)
        if cycles >= _CYCLES:
            raise DeviceError(
                f"{count} runs of {program.name} take {cycles:,} cycles, but a chip counts to {_CYCLES - 1:,}: run it "
                "in parts"
            )
        return cycles

    def verify(self, status: RunStatus, count: int, where: str = "") -> None:
        """Raise DeviceFault or DeviceError unless `count` runs in a row, `where` they were, went as they should."""
        name, cycles = where + self.program.name, self.cycles(count)
        if status.fault is not None:
            raise DeviceFault(name, status.fault)
        if status.cycles != cycles:
            raise DeviceError(f"{name} took {status.cycles} cycles, but takes {cycles}: a broken device")

    def check(self, inputs: Mapping[str, NDArray[Any]]) -> Prepared:
        """The inputs of a run, as they will lie in SRAM.

        Raises:
            InputError: when an input is missing, unknown, or of another type or shape than its port.
        """
        program = self.program
        names = [port.name for port in program.inputs]
        for name in inputs:
            if name not in names:
                raise InputError(f"{program.name} has no input '{name}'; its inputs are: {', '.join(names) or 'none'}")
        for name in names:
            if name not in inputs:
                raise InputError(f"input '{name}' of {program.name} is missing")
        return Prepared(tuple((port, to_chip(port, inputs[port.name])) for port in program.inputs))

    def prepare(self, inputs: Prepared) -> None:
        """Write what a run needs: the inputs, and those words of the image that the run before has overwritten."""
        for (number, address), words in image_runs(self._stale):
            self._memory.write_memory(number, address, words)
        for port, matrix in inputs.matrices:
            self._write_matrix(port, matrix)

    def outputs(self) -> dict[str, NDArray[Any]]:
        """What a run has left, by name, in the shapes and types of the ports."""
        return {port.name: from_chip(port, self._read_matrix(port)) for port in self.program.outputs}

    def carried(self) -> list[tuple[int, int, Vector]]:
        """The words that the next run finds and changes and no `prepare` puts back, as blocks for `put_back`."""
        return [
            (number, address, self._memory.read_memory(number, address, count))
            for number, address, count in self._carried
        ]

    def put_back(self, blocks: Sequence[tuple[int, int, Vector]]) -> None:
        """Write blocks of words."""
        for number, address, words in blocks:
            self._memory.write_memory(number, address, words)

    def write_state(self, name: str, rows: NDArray[Any]) -> int:
        """Put rows, int8 or int32 (patterns), into a state of the program, from its first row on.

        The other rows stay as they are. How many words of SRAM were written.

        Raises:
            InputError: when there is no such state, or the rows are of another type or width or too many.
        """
        port = self._state(name)
        wrong = rows.dtype != STORED[port.stored] or rows.ndim != 2
        if wrong or len(rows) > port.rows or rows.shape[1] != port.cols:
            raise InputError(
                f"state '{name}' is {port.dtype}{list(port.shape)}, but {rows.dtype}{list(rows.shape)} was given"
            )
        return self._write_matrix(port, rows)

    def read_state(self, name: str) -> NDArray[Any]:
        """A state of the program, int8 or int32 (patterns) [rows, cols].

        Raises:
            InputError: when there is no such state.
        """
        return self._read_matrix(self._state(name))

    def _state(self, name: str) -> Port:
        states = {port.name: port for port in self.program.states}
        if name not in states:
            known = ", ".join(states) or "none"
            raise InputError(f"{self.program.name} has no state '{name}'; its states are: {known}")
        return states[name]

    def _write_matrix(self, port: Port, matrix: NDArray[Any]) -> int:
        """The first rows of a port, or all, int8 or int32 (patterns), into its columns, padded with zeros.

        How many words that are.
        """
        lanes, rows, written = self._memory.config.lanes, len(matrix), 0
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
                        self._memory.write_memory(number, column.base, np.ascontiguousarray(words))
                    written += len(words)
        return written

    def _read_matrix(self, port: Port) -> NDArray[Any]:
        """The matrix of a port, int8 or int32 [rows, cols]."""
        blocks = []
        for column in port.columns:
            if column.dealt:
                blocks.append(self._read_dealt(column, port.rows))
                continue
            planes = [self._memory.read_memory(number, column.base, port.rows) for number in column.slices]
            stored = np.dtype(STORED[port.stored]).newbyteorder("<")
            blocks.append(np.stack(planes, axis=-1).view(stored)[..., 0])
        matrix: NDArray[Any] = np.concatenate(blocks, axis=1)[:, : port.cols]
        return matrix.astype(STORED[port.stored])

    def _read_dealt(self, column: Column, rows: int) -> Vector:
        block = np.zeros((rows, self._memory.config.lanes), np.int8)
        for p, number in enumerate(column.slices):
            words = block[p :: len(column.slices)]
            words[:] = self._memory.read_memory(number, column.base, len(words))
        return block


def _changed(program: Program) -> Iterator[tuple[int, int]]:
    """SRAM words that the program may write, by (slice number, address): of a scatter, its window."""
    for expansion in follow_program(program).expansions.values():
        for dispatch in expansion.dispatches:
            inst = dispatch.instruction
            if dispatch.queue.kind is not QueueKind.MEM_WRITE or inst.spec.control:
                continue
            words = 1 << inst.number("n") if inst.spec.has(FieldKind.WINDOW) else 1
            yield from ((dispatch.queue.index, inst.number("a") + word) for word in range(words))
