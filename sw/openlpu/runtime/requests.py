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
from collections.abc import Iterable, Sequence
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
    """Of the first wait; each further one in vain is twice as long as the one before."""
    tries: int = 5
    """In a row that bring a request no further."""

    @property
    def longest(self) -> float:
        """Seconds without any answer after which a device is given up."""
        return self.seconds * float(2**self.tries - 1)


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
                    self._number = (number + 1) % _NUMBERS
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
        first, count = self._number, len(requests)
        stuffed = [request.frame((first + i) % _NUMBERS) for i, request in enumerate(requests)]
        ends = [0, *itertools.accumulate(len(frame) for frame in stuffed)]
        answers: list[_Answer | None] = [None] * count
        taken = sent = reached = 0
        """Requests that the chip has taken for certain; that need not be sent again; that were ever sent."""
        tries = silences = 0
        """In a row, that brought nothing."""
        while taken < count:
            # After a try in vain one at a time, until it is known where the chip is.
            while sent < count and (sent == taken or (not tries and ends[sent + 1] - ends[taken] < self._buffer_bytes)):
                self._wire.send(stuffed[sent])
                self.repeated += sent < reached
                sent += 1
                reached = max(reached, sent)
            answer = self._receive(time.monotonic() + self._patience.seconds * 2**silences)
            before, again = taken, False
            if answer is None:
                silences, again = silences + 1, True
                self._wire.send(frames.DELIMITER)
            else:
                distance = (answer.number - first) % _NUMBERS
                if answer.outcome.consumes_number:
                    # A number from before the first one belongs to an earlier reply that came twice.
                    if distance < reached:
                        answers[distance] = answer
                        taken = max(taken, distance + 1)
                elif taken <= distance <= reached:
                    taken, again = distance, answer.outcome is Outcome.DAMAGED
                else:
                    raise self._lose(
                        f"{self._wire.name} expects request {answer.number} where {(first + taken) % _NUMBERS} is due: "
                        f"the chip was reset, or another host talks to it. Open it again, and load the program again"
                    )
            if taken > before:
                tries = silences = 0
            elif again:
                tries += 1
                if tries >= self._patience.tries:
                    raise self._lose(
                        f"{self._wire.name} stopped answering: {tries} tries in {self._patience.longest:g} s at most. "
                        "Check board and cable, open it again, and load the program again"
                    )
            sent = taken if again else max(sent, taken)
        self._number = (first + count) % _NUMBERS
        return [
            None if answer is None else self._reply(request, answer)
            for request, answer in zip(requests, answers, strict=True)
        ]

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
