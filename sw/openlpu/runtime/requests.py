# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Requests to a chip over a wire that loses, repeats and changes bytes: each is taken once, and in order.

The chip takes only the number that it expects and says with every refusal which one that is (`openlpu.arch.protocol`).
So the host may send any request any number of times. It sends as many at once as the chip can hold; when one is
damaged, or nothing comes back in time, it goes back to the first that may not have been taken, and once an answer says
how far the chip has come, on from there (go-back-N). A wire keeps the order of what it carries, so no answer is older
than one that came before it.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from openlpu.arch import protocol
from openlpu.arch.protocol import Command, Field, Outcome
from openlpu.runtime import frames
from openlpu.runtime.errors import ConnectionLostError, DeviceError, RequestRefusedError

_NUMBERS = 1 << (8 * protocol.REQUEST_HEADER[1].bytes)
"""How many numbers there are for requests."""
_OPENING_TRIES = 3
"""How often an unknown device is asked what it is."""


class Wire(Protocol):
    """Bytes to and from a chip. Both methods raise ConnectionLostError when the other end is gone."""

    @property
    def name(self) -> str:
        """What to call it in messages."""
        ...

    def send(self, data: bytes) -> None:
        """Put all bytes on the wire."""
        ...

    def receive(self, seconds: float) -> bytes:
        """Whatever has come, at least one byte; nothing when nothing comes for so long."""
        ...

    def close(self) -> None:
        """Release the wire."""
        ...


@dataclass(frozen=True)
class Patience:
    """How long to wait for an answer, and how often to try again before giving up."""

    seconds: float
    """Of the first wait, but for the line; each further one in vain is twice as long as the one before."""
    line_seconds: float = 0.0
    """What the longest request and reply may take on the line, in the first wait."""
    tries: int = 4
    """In a row that bring a request no further."""

    @property
    def longest(self) -> float:
        """Seconds without any answer after which a device is given up."""
        return sum(self.wait(silences) for silences in range(self.tries))

    def wait(self, silences: int) -> float:
        """Seconds to wait for an answer after so many waits in vain."""
        return (self.seconds + self.line_seconds) * float(2**silences)


@dataclass(frozen=True)
class Request:
    """A command with the values of its fields, and its data."""

    command: Command
    values: tuple[int, ...] = ()
    data: bytes = b""

    def frame(self, number: int) -> bytes:
        """The request on the wire."""
        header = _pack(protocol.REQUEST_HEADER, (self.command.code, number))
        return frames.encode(header + _pack(self.command.fields, self.values) + self.data)


@dataclass(frozen=True)
class Reply:
    """What a chip answered to a request that it did: the fields of the reply by name, and the data behind them."""

    fields: dict[str, int]
    data: bytes


@dataclass(frozen=True)
class Identity:
    """What a chip says it is; the fields of the reply to `IDENTIFY`."""

    digest: str
    clock_khz: int
    buffer_bytes: int


@dataclass(frozen=True)
class _Answer:
    outcome: Outcome
    number: int
    body: bytes


class RequestLine:
    """The host's end of a wire: requests in, replies out. Used from one thread.

    After a `ConnectionLostError` every further request raises the same.
    """

    def __init__(self, wire: Wire, patience: Patience) -> None:
        self._wire = wire
        self._patience = patience
        self._splitter = frames.FrameSplitter(protocol.stuffed_bytes(protocol.max_reply_bytes()))
        self._answers: deque[_Answer] = deque()
        self._number = 0
        """Of the next request."""
        self._buffer_bytes = 0
        self._lost: ConnectionLostError | None = None
        self.repeated = 0
        """Requests that were sent once more, or asked once more under a new number."""
        self.damaged = 0
        """Frames that came damaged."""

    def identify(self) -> Identity:
        """Find out what is at the other end, and agree with it on the number of the next request.

        Raises:
            DeviceError: when nothing answers, or what does is no chip that this driver can talk to.
        """
        # Any number will do; a chance one tells the answer from one to a host before, and a chip that is reset apart.
        number = secrets.randbelow(_NUMBERS)
        frame = frames.DELIMITER + Request(protocol.IDENTIFY).frame(number)
        for attempt in range(_OPENING_TRIES):
            self._wire.send(frame)
            deadline = time.monotonic() + self._patience.seconds * 2**attempt
            while (answer := self._receive(deadline)) is not None:
                if answer.outcome is Outcome.DONE and answer.number == number:
                    self._number = number + 1
                    identity = self._identity(answer.body)
                    self._buffer_bytes = identity.buffer_bytes
                    return identity
        if self.damaged:
            raise DeviceError(f"{self._wire.name} sends nothing that makes sense: is the baud rate right?")
        raise DeviceError(
            f"no answer on {self._wire.name}: is this the right port, and is the board on and configured as a chip?"
        )

    def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """Have requests done that can be done again and do not depend on each other's order; their replies.

        A request whose reply got lost is made again, with a new number.

        Raises:
            RequestRefusedError: when the chip refuses one.
            ConnectionLostError: when the chip does not answer, or is not the one that it was.
        """
        replies: list[Reply | None] = [None] * len(requests)
        for _ in range(1 + self._patience.tries):
            missing = [i for i, reply in enumerate(replies) if reply is None]
            if not missing:
                break
            for i, reply in zip(missing, self.deliver([requests[i] for i in missing]), strict=True):
                replies[i] = reply
            self.repeated += sum(replies[i] is None for i in missing)
        answered = [reply for reply in replies if reply is not None]
        if len(answered) < len(requests):
            raise self._lose(f"the answers of {self._wire.name} are lost again and again: check the cable")
        return answered

    def deliver(self, requests: Sequence[Request]) -> list[Reply | None]:
        """Have the chip take each request, once and in order; None for one that it took, but whose reply got lost.

        Raises:
            RequestRefusedError: when the chip refuses one. It has still taken all of them.
            ConnectionLostError: when the chip does not answer, or is not the one that it was.
        """
        if self._lost is not None:
            raise self._lost
        sending = _Sending(self._number, requests)
        tries = silences = 0
        """In a row, that brought nothing."""
        while sending.taken < len(requests):
            # After a try in vain one at a time, until it is known where the chip is.
            for frame in sending.due(0 if tries else self._buffer_bytes):
                self._wire.send(frame)
            before = sending.taken
            answer = self._receive(time.monotonic() + self._patience.wait(silences))
            if answer is None:
                silences += 1
            else:
                self._hear(sending, answer)
            if sending.taken > before:
                tries = silences = 0
            elif answer is None or answer.outcome is Outcome.DAMAGED:
                tries += 1
                if tries == self._patience.tries:
                    raise self._lose(
                        f"{self._wire.name} stopped answering: {tries} tries, for {self._patience.longest:.2f} s at "
                        "most. Check board and cable, open it again, and load the program again"
                    )
                sending.go_back()
        self.repeated += sending.repeated
        self._number = sending.number
        return [
            None if answer is None else self._reply(request, answer)
            for request, answer in zip(requests, sending.answers, strict=True)
        ]

    def _hear(self, sending: _Sending, answer: _Answer) -> None:
        """Note what an answer says of how far the chip has come."""
        due = sending.number
        if not sending.hear(answer):
            raise self._lose(
                f"{self._wire.name} expects request {answer.number} where {due} is due: the chip was reset, or another "
                "host talks to it. Open it again, and load the program again"
            )

    def _receive(self, deadline: float) -> _Answer | None:
        """The next answer; None when none comes before the deadline."""
        while not self._answers:
            left = deadline - time.monotonic()
            data = self._wire.receive(left) if left > 0 else b""
            if not data:
                return None
            for frame in self._splitter.split(data):
                try:
                    self._answers.append(_answer(frames.decode(frame)))
                except frames.DamagedFrameError:
                    self.damaged += 1
        return self._answers.popleft()

    def _reply(self, request: Request, answer: _Answer) -> Reply:
        command = request.command
        if answer.outcome is not Outcome.DONE:
            raise RequestRefusedError(
                f"{self._wire.name} refused {command.name} {list(request.values)}: {_words(answer.outcome)}"
            )
        length = protocol.size(command.reply_fields)
        if len(answer.body) < length:
            raise self._lose(f"{self._wire.name} answered {command.name} with {len(answer.body)} bytes of {length}")
        return Reply(_unpack(command.reply_fields, answer.body), answer.body[length:])

    def _identity(self, body: bytes) -> Identity:
        magic, version, *_ = _unpack(protocol.IDENTIFY.reply_fields, body).values()
        if magic != protocol.MAGIC:
            raise DeviceError(f"what answers on {self._wire.name} is no OpenLPU chip")
        if version != protocol.VERSION:
            raise DeviceError(
                f"the chip on {self._wire.name} speaks version {version} of the protocol, this driver version "
                f"{protocol.VERSION}: install the release of openlpu that the board was built with"
            )
        said = _unpack(protocol.IDENTIFY.reply_fields, body)
        return Identity(f"{said['digest']:016x}", said["clock_khz"], said["buffer_bytes"])

    def _lose(self, why: str) -> ConnectionLostError:
        self._lost = ConnectionLostError(why)
        return self._lost


class _Sending:
    """Requests with numbers from `first` on, on their way to the chip."""

    def __init__(self, first: int, requests: Sequence[Request]) -> None:
        self._first = first
        self._frames = [request.frame((first + i) % _NUMBERS) for i, request in enumerate(requests)]
        self._ends = [0, *itertools.accumulate(len(frame) for frame in self._frames)]
        self._sent = 0
        """Need not be sent, unless it is gone back."""
        self._reached = 0
        """Were sent at some time."""
        self.taken = 0
        """The chip has taken for certain."""
        self.repeated = 0
        self.answers: list[_Answer | None] = [None] * len(requests)

    @property
    def number(self) -> int:
        """Of the first request that is not taken."""
        return (self._first + self.taken) % _NUMBERS

    def due(self, room: int) -> Iterator[bytes]:
        """The frames to send now: as many as keep the unanswered ones below `room` bytes, but always one."""
        while self._sent < len(self._frames) and (
            self._sent == self.taken or self._ends[self._sent + 1] - self._ends[self.taken] < room
        ):
            self.repeated += self._sent < self._reached
            self._sent += 1
            self._reached = max(self._reached, self._sent)
            yield self._frames[self._sent - 1]

    def go_back(self) -> None:
        """Send everything again that may not have been taken."""
        self._sent = self.taken

    def hear(self, answer: _Answer) -> bool:
        """Note an answer; False when no chip that took these requests would give it."""
        distance = (answer.number - self._first) % _NUMBERS
        if answer.outcome.consumes_number:
            # A number from before the first one belongs to an earlier reply that came twice.
            if distance < self._reached:
                self.answers[distance] = answer
                self.taken = max(self.taken, distance + 1)
        elif self.taken <= distance <= self._reached:
            self.taken = distance
        else:
            return False
        self._sent = max(self._sent, self.taken)
        return True


def _answer(message: bytes) -> _Answer:
    length = protocol.size(protocol.REPLY_HEADER)
    if len(message) < length:
        raise frames.DamagedFrameError("shorter than a header")
    code, number = _unpack(protocol.REPLY_HEADER, message).values()
    try:
        return _Answer(Outcome(code), number, message[length:])
    except ValueError:
        raise frames.DamagedFrameError(f"there is no outcome {code}") from None


def _words(outcome: Outcome) -> str:
    return outcome.name.lower().replace("_", " ")


def _pack(fields: Iterable[Field], values: Iterable[int]) -> bytes:
    return b"".join(value.to_bytes(field.bytes, "little") for field, value in zip(fields, values, strict=True))


def _unpack(fields: Iterable[Field], data: bytes) -> dict[str, int]:
    """Fields from the beginning of `data`, by name; 0 for what is not there."""
    values, position = {}, 0
    for field in fields:
        values[field.name] = int.from_bytes(data[position : position + field.bytes], "little")
        position += field.bytes
    return values
