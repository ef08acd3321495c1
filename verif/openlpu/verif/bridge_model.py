# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The host bridge as a program: `openlpu.arch.protocol` read once more, for driver and RTL to be held against.

Bytes in, bytes out, in front of any chip. It shares nothing with the driver or the RTL but the tables.
"""

import zlib
from collections.abc import Callable

import numpy as np

from openlpu.arch import protocol
from openlpu.arch.geometry import geometry
from openlpu.arch.protocol import Data, Outcome
from openlpu.arch.status import PlaceErrors, RunStatus, error_places
from openlpu.runtime.port import ChipPort


class Refusal(Exception):
    """A request that is not done; its argument is the outcome."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__(outcome.name)


class BridgeModel:
    """A bridge in front of `chip`. A run goes on for `run_requests` further requests, whatever the chip takes.

    `runs` counts the requests that started some.
    """

    def __init__(self, chip: ChipPort, *, run_requests: int = 0) -> None:
        self.chip = chip
        self.runs = 0
        self._run_requests = run_requests
        self._text: list[list[int]] = [[] for _ in geometry(chip.config).queues]
        self.reset()

    def reset(self) -> None:
        """The reset of the hardware: what is in memories stays, everything else begins anew."""
        self.expected = 0
        self._part = b""
        self._status = RunStatus(0)
        self._running = 0

    def answer(self, data: bytes) -> bytes:
        """What comes back for bytes from the host."""
        *ended, self._part = (self._part + data).split(bytes((protocol.DELIMITER,)))
        return b"".join(self._frame(stuffed) for stuffed in ended if stuffed)

    def _frame(self, stuffed: bytes) -> bytes:
        frame, intact = _unstuffed(stuffed)
        header, crc = protocol.size(protocol.REQUEST_HEADER), protocol.CRC_BYTES
        if len(frame) > protocol.max_request_bytes():
            return self._reply(Outcome.OVERFLOW, self.expected)
        if not intact or len(frame) < header + crc or zlib.crc32(frame[:-crc]) != _number(frame[-crc:]):
            return self._reply(Outcome.DAMAGED, self.expected)
        code, sequence, body = frame[0], _number(frame[1:header]), frame[header:-crc]
        if sequence != self.expected and code != protocol.IDENTIFY.code:
            return self._reply(Outcome.OUT_OF_ORDER, self.expected)
        self.expected = (sequence + 1) % 65536
        self._running = max(0, self._running - 1)
        try:
            return self._reply(Outcome.DONE, sequence, self._do(code, body))
        except Refusal as refusal:
            return self._reply(refusal.outcome, sequence)

    def _reply(self, outcome: Outcome, sequence: int, body: bytes = b"") -> bytes:
        message = bytes((outcome,)) + sequence.to_bytes(2, "little") + body
        return _stuffed(message + zlib.crc32(message).to_bytes(protocol.CRC_BYTES, "little")) + b"\0"

    def _do(self, code: int, body: bytes) -> bytes:
        command = next((command for command in protocol.commands(self.chip.config) if command.code == code), None)
        if command is None:
            raise Refusal(Outcome.UNKNOWN)
        values = []
        for field in command.fields:
            values.append(_number(body[: field.bytes]))
            if len(body) < field.bytes:
                raise Refusal(Outcome.MALFORMED)
            body = body[field.bytes :]
        word = protocol.word_bytes(self.chip.config, command.data)
        if (command.data is Data.NONE) == bool(body) or (word and len(body) % word):
            raise Refusal(Outcome.MALFORMED)
        does: Callable[..., bytes] = getattr(self, f"_do_{command.name}")
        return does(*values, body) if word else does(*values)

    def _require_halted(self) -> None:
        if self._running:
            raise Refusal(Outcome.BUSY)

    def _require_words(self, address: int, count: int, most: int, *, there: bool) -> None:
        """The unit is there and has such words; and the chip is halted."""
        if not there or count < 1 or address + count > most:
            raise Refusal(Outcome.OUT_OF_RANGE)
        self._require_halted()

    def _do_identify(self) -> bytes:
        chip = self.chip.config
        return _fields(
            protocol.IDENTIFY.reply_fields,
            magic=protocol.MAGIC,
            version=protocol.VERSION,
            digest=int(chip.digest, 16),
            clock_khz=round(chip.clock_mhz * 1000),
            buffer_bytes=protocol.BUFFER_BYTES,
        )

    def _do_write_memory(self, number: int, address: int, body: bytes) -> bytes:
        config = self.chip.config
        words = np.frombuffer(body, np.int8).reshape(-1, config.lanes)
        there = number < len(geometry(config).mem_slices)
        self._require_words(address, len(words), config.mem_words, there=there)
        self.chip.write_memory(number, address, words)
        return b""

    def _do_read_memory(self, number: int, address: int, count: int) -> bytes:
        config = self.chip.config
        there = number < len(geometry(config).mem_slices) and count * config.lanes <= protocol.MAX_DATA
        self._require_words(address, count, config.mem_words, there=there)
        return self.chip.read_memory(number, address, count).tobytes()

    def _do_write_text(self, queue: int, address: int, body: bytes) -> bytes:
        config, size = self.chip.config, protocol.text_word_bytes(self.chip.config)
        words = [_number(body[i : i + size]) for i in range(0, len(body), size)]
        there = queue < len(self._text)
        held = geometry(config).queues[queue].text_words if there else 0
        self._require_words(address, len(words), held, there=there)
        text = self._text[queue]
        text += [0] * (address + len(words) - len(text))
        text[address : address + len(words)] = words
        self.chip.write_text(queue, text[: address + len(words)])
        return b""

    def _do_run(self, count: int) -> bytes:
        if count < 1:
            raise Refusal(Outcome.OUT_OF_RANGE)
        self._require_halted()
        self.runs += 1
        self._running = self._run_requests
        self._status = self.chip.run(count)
        return b""

    def _do_status(self) -> bytes:
        fault = self._status.fault
        names = [queue.name for queue in geometry(self.chip.config).queues]
        return _fields(
            protocol.STATUS.reply_fields,
            running=int(bool(self._running)),
            fault=int(fault is not None),
            fault_illegal=int(fault is not None and fault.illegal),
            fault_queue=names.index(fault.queue) if fault else 0,
            fault_cycle=fault.cycle if fault else 0,
            faults=fault.count if fault else 0,
            cycles=self._status.cycles,
            corrected=self._status.corrected,
            uncorrectable=self._status.uncorrectable,
        )

    def _do_ecc(self, queue: int) -> bytes:
        places = error_places(self.chip.config)
        if queue >= len(places):
            raise Refusal(Outcome.OUT_OF_RANGE)
        errors = {found.place: found for found in self.chip.status().places}
        found = errors.get(places[queue], PlaceErrors(places[queue], 0, 0))
        return _fields(protocol.ECC.reply_fields, corrected=found.corrected, uncorrectable=found.uncorrectable)

    def _do_reset(self) -> bytes:
        self._running, self._status = 0, RunStatus(0)
        return b""


class ModelWire:
    """A wire to a model, in the same process. What does not come at once never comes: it waits for nothing."""

    name = "model"

    def __init__(self, model: BridgeModel) -> None:
        self.model = model
        self._coming = b""

    def send(self, data: bytes) -> None:
        """Have the model answer."""
        self._coming += self.model.answer(data)

    def receive(self, seconds: float) -> bytes:
        """All that the model answered since."""
        coming, self._coming = self._coming, b""
        return coming

    def close(self) -> None:
        """Nothing to release."""


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _fields(fields: tuple[protocol.Field, ...], **values: int) -> bytes:
    return b"".join(values[field.name].to_bytes(field.bytes, "little") for field in fields)


def _stuffed(data: bytes) -> bytes:
    out = bytearray()
    for run in data.split(b"\0"):
        rest = run
        while len(rest) >= protocol.COBS_BLOCK:
            out += bytes((protocol.COBS_BLOCK + 1,)) + rest[: protocol.COBS_BLOCK]
            rest = rest[protocol.COBS_BLOCK :]
        out += bytes((len(rest) + 1,)) + rest
    return bytes(out)


def _unstuffed(data: bytes) -> tuple[bytes, bool]:
    """What was stuffed, and whether its last block is whole."""
    out, position = bytearray(), 0
    while position < len(data):
        code = data[position]
        out += data[position + 1 : position + code]
        position += code
        if code <= protocol.COBS_BLOCK and position < len(data):
            out.append(0)
    return bytes(out), position == len(data)
