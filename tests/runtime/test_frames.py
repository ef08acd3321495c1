# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Frames: what goes in comes out, and nothing else does."""

import random
import zlib

import pytest

from openlpu.arch import protocol
from openlpu.runtime.frames import DELIMITER, DamagedFrameError, FrameSplitter, decode, encode
from openlpu.verif.bridge_model import _stuffed, _unstuffed

SEED = 20270411
MESSAGES = [b"", b"\0", b"\0\0\0", bytes(range(256)), bytes(300), b"\1" * 250, b"\1" * 249, b"\1" * 1031, b"ab\0cd"]


@pytest.mark.parametrize("message", MESSAGES, ids=len)
def test_a_message_survives(message: bytes) -> None:
    frame = encode(message)
    assert frame.count(0) == 1
    assert frame.endswith(DELIMITER)
    assert len(frame) <= protocol.stuffed_bytes(len(message) + protocol.CRC_BYTES)
    assert decode(frame[:-1]) == message


@pytest.mark.parametrize("message", MESSAGES, ids=len)
def test_the_bridge_model_reads_and_writes_the_same_frames(message: bytes) -> None:
    checked = message + zlib.crc32(message).to_bytes(4, "little")
    assert _unstuffed(encode(message)[:-1]) == (checked, True)
    assert decode(_stuffed(checked)) == message


def test_the_format_is_this_one() -> None:
    # The check value of CRC-32, and a worked example of COBS: the code is the distance to the next zero.
    assert encode(b"123456789") == b"\x0e123456789" + bytes.fromhex("2639f4cb") + b"\0"
    assert encode(bytes.fromhex("11000022")) == bytes.fromhex("0211 01 06 22") + zlib.crc32(
        bytes.fromhex("11000022")
    ).to_bytes(4, "little") + bytes(1)


def test_every_flipped_bit_is_noticed() -> None:
    frame = encode(bytes(range(20)))[:-1]
    for bit in range(8 * len(frame)):
        spoilt = bytearray(frame)
        spoilt[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedFrameError):
            decode(bytes(spoilt))


@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_frames_are_found_in_a_stream_of_pieces(piece: int) -> None:
    frames = [encode(message)[:-1] for message in MESSAGES]
    stream = b"\0garbage\0\0" + b"\0".join(frames) + b"\0" + b"\7" * 5000 + b"\0" + frames[3] + b"\0unfinished"
    splitter = FrameSplitter(longest=1100)
    found = [frame for i in range(0, len(stream), piece) for frame in splitter.split(stream[i : i + piece])]
    assert found == [b"garbage", *frames, frames[3]]


def test_frames_of_the_longest_size_pass() -> None:
    longest = encode(random.Random(SEED).randbytes(1000).replace(b"\0", b"\1"))
    splitter = FrameSplitter(longest=len(longest) - 1)
    assert list(splitter.split(longest)) == [longest[:-1]]
    assert list(splitter.split(b"\1" + longest + b"\2\0")) == [b"\2"]
