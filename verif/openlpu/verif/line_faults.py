# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A wire that does what bad cables do: a transparent relay, except for the frames that it is told to spoil."""

import random
from collections.abc import Callable

from openlpu.arch import protocol
from openlpu.runtime.requests import Wire

_DELIMITER = bytes((protocol.DELIMITER,))
_FEW = 4
"""Bits or bytes that one fault touches, at most."""


class FaultInjector:
    """Passes a stream of bytes on frame by frame, and spoils each frame with a probability of `rate`.

    `injected` counts the faults by kind.
    """

    def __init__(self, rate: float, source: random.Random) -> None:
        self.rate = rate
        self._random = source
        self._part = b""
        self._kinds: dict[str, Callable[[bytes], bytes]] = {
            "bits flipped": self._flip,
            "bytes lost": self._lose,
            "bytes twice": self._repeat,
            "frame cut short": lambda frame: frame[: self._random.randrange(len(frame))],
            "frame twice": lambda frame: frame + frame,
            "frame lost": lambda _: b"",
            "garbage before": lambda frame: self._garbage() + frame,
            "garbage of a frame before": lambda frame: self._garbage() + _DELIMITER + frame,
        }
        self.injected = dict.fromkeys(self._kinds, 0)

    def relay(self, data: bytes) -> bytes:
        """What comes out for bytes that go in. A frame comes out when it is whole."""
        *ended, self._part = (self._part + data).split(_DELIMITER)
        return b"".join(self._frame(frame + _DELIMITER) for frame in ended)

    def _frame(self, frame: bytes) -> bytes:
        if self._random.random() >= self.rate:
            return frame
        kind = self._random.choice(list(self._kinds))
        self.injected[kind] += 1
        return self._kinds[kind](frame)

    def _flip(self, frame: bytes) -> bytes:
        spoilt = bytearray(frame)
        for bit in self._random.sample(range(8 * len(frame)), self._random.randint(1, _FEW)):
            spoilt[bit // 8] ^= 1 << bit % 8
        return bytes(spoilt)

    def _lose(self, frame: bytes) -> bytes:
        first = self._random.randrange(len(frame))
        return frame[:first] + frame[first + self._random.randint(1, _FEW) :]

    def _repeat(self, frame: bytes) -> bytes:
        first = self._random.randrange(len(frame))
        last = first + self._random.randint(1, _FEW)
        return frame[:last] + frame[first:]

    def _garbage(self) -> bytes:
        return self._random.randbytes(self._random.randint(1, 2 * _FEW))


class FaultyWire:
    """A wire between a host and the wire to its device, with faults in both directions."""

    def __init__(self, wire: Wire, rate: float, seed: int) -> None:
        source = random.Random(seed)
        self._wire = wire
        self._out, self._in = FaultInjector(rate, source), FaultInjector(rate, source)

    @property
    def name(self) -> str:
        """That of the wire behind."""
        return self._wire.name

    @property
    def injected(self) -> int:
        """Faults so far, in both directions."""
        return sum((*self._out.injected.values(), *self._in.injected.values()))

    def stop(self) -> None:
        """No more faults."""
        self._out.rate = self._in.rate = 0.0

    def send(self, data: bytes) -> None:
        """Send what the injector makes of `data`."""
        self._wire.send(self._out.relay(data))

    def receive(self, seconds: float) -> bytes:
        """What the injector makes of what comes; nothing when nothing comes for so long, or nothing is left of it."""
        while data := self._wire.receive(seconds):
            if relayed := self._in.relay(data):
                return relayed
        return b""

    def close(self) -> None:
        """Close the wire behind."""
        self._wire.close()
