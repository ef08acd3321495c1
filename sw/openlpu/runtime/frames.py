# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Frames on a wire: bytes made checkable, and found again among garbage. The format is `openlpu.arch.protocol`'s."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from cobs import cobs

from openlpu.arch import protocol

DELIMITER = bytes((protocol.DELIMITER,))
"""Ends a frame. Sent ahead of one, it ends whatever stood on the wire before."""


class DamagedFrameError(ValueError):
    """Bytes between two delimiters that are no frame as it was sent."""


def encode(message: bytes) -> bytes:
    """A message as it goes over the wire: with its CRC, stuffed, and ended by a delimiter."""
    stuffed: bytes = cobs.encode(message + _crc(message))
    return stuffed + DELIMITER


def decode(stuffed: bytes) -> bytes:
    """The message of a frame, given without its delimiter.

    Raises:
        DamagedFrameError: when stuffing or CRC are wrong.
    """
    try:
        frame: bytes = cobs.decode(stuffed)
    except cobs.DecodeError as error:
        raise DamagedFrameError(f"stuffing: {error}") from None
    message, crc = frame[: -protocol.CRC_BYTES], frame[-protocol.CRC_BYTES :]
    if crc != _crc(message):
        raise DamagedFrameError("wrong CRC")
    return message


class FrameSplitter:
    """Cuts a stream of bytes, which may come in any pieces, into frames without their delimiters.

    Empty frames are left out. What is longer than `longest` bytes can be no frame: it is dropped as it comes.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._part = bytearray()

    def split(self, data: bytes) -> Iterator[bytes]:
        """The frames that end in `data`."""
        *ended, rest = data.split(DELIMITER)
        for tail in ended:
            frame = bytes(self._part + tail)
            self._part.clear()
            if 0 < len(frame) <= self._longest:
                yield frame
        self._part += rest
        del self._part[self._longest + 1 :]


def _crc(message: bytes) -> bytes:
    return zlib.crc32(message).to_bytes(protocol.CRC_BYTES, "little")
