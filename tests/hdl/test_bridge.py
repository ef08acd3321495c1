# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The host bridge: every command and every outcome, byte for byte; then what a wire may do to them.

Replies are decoded with other people's code, and held against numbers written here or against the bridge's model.
"""

import dataclasses
import itertools
import random
import zlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator
from cobs import cobs

from openlpu.arch import protocol
from openlpu.arch.config import ChipConfig, TextConfig
from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import geometry
from openlpu.arch.presets import NANO
from openlpu.arch.protocol import CHIP_COMMANDS, Command, Outcome
from openlpu.arch.status import ChipStatus, RunStatus
from openlpu.arch.timing import timing
from openlpu.hdl.bridge import Bridge
from openlpu.hdl.chip import reset_cycles
from openlpu.verif.bridge_model import BridgeModel

CLOCK_HZ = 12_345_678.0
STATUS = {
    "running": 1,
    "fault": 1,
    "fault_illegal": 1,
    "fault_queue": 9,
    "fault_cycle": 0x01020304,
    "faults": 0x05060708,
    "cycles": 0x090A0B0C,
}
Reply = tuple[int, int, bytes]
"""Outcome, number, and what follows."""


def little(number: int, count: int) -> bytes:
    return number.to_bytes(count, "little")


def message(code: int, sequence: int, body: bytes = b"") -> bytes:
    return bytes([code]) + little(sequence, 2) + body


def messages(wire: bytes) -> list[bytes]:
    """What stands in frames, without their CRCs."""
    return [cobs.decode(stuffed)[:-4] for stuffed in wire.split(b"\0")[:-1]]


def frame(message: bytes) -> bytes:
    return bytes(cobs.encode(message + little(zlib.crc32(message), 4))) + b"\0"


def request(command: Command, sequence: int, *fields: int, data: bytes = b"") -> bytes:
    body = b"".join(little(value, field.bytes) for field, value in zip(command.fields, fields, strict=True))
    return frame(message(command.code, sequence, body + data))


class FakeChip:
    """What a chip does at its host port, and a record of what was asked of it."""

    def __init__(self, config: ChipConfig) -> None:
        self.config = config
        self.memory: dict[tuple[int, int], bytes] = {}
        self.text: dict[tuple[int, int], int] = {}
        self.reruns: list[int] = []
        """Of every start."""
        self.resets = 0
        """Cycles in which it was reset."""

    async def play(self, ctx: Any, dut: Any) -> None:
        port, lanes = dut.chip, self.config.lanes
        text_bits = max(encoding(self.config).word_bits(queue.kind) for queue in geometry(self.config).queues)
        rng = random.Random(5)
        ctx.set(port.digest, int(self.config.digest, 16))
        # The word of a read, and the cycles until it stands there.
        due: list[tuple[int, int]] = []
        names = ("mem_en", "mem_we", "mem_slice", "mem_addr", "imem_we", "imem_queue", "imem_addr")
        signals = [getattr(port, f"host_{name}") for name in (*names, "wdata", "reruns", "start")]
        async for _, _, en, we, number, address, text, queue, place, word, n, start, reset in ctx.tick().sample(
            *signals, dut.chip_reset
        ):
            if en and we:
                self.memory[number, address] = little(word & (1 << 8 * lanes) - 1, lanes)
            if text:
                self.text[queue, place] = word & (1 << text_bits) - 1
            self.reruns += [n] * start
            self.resets += reset
            due = [(left - 1, word) for left, word in due]
            if en and not we:
                due.append((timing(self.config).host_read - 1, int.from_bytes(self.read(number, address), "little")))
            if due and due[0][0] == 0:
                ctx.set(port.host_mem_rdata, due.pop(0)[1])
            elif due:
                ctx.set(port.host_mem_rdata, rng.getrandbits(8 * lanes))

    def read(self, number: int, address: int) -> bytes:
        return self.memory.get((number, address), bytes(self.config.lanes))


class Host:
    """The other end of the wire."""

    def __init__(self, dut: Any, ctx: Any) -> None:
        self._dut = dut
        self._ctx = ctx
        self._wire = bytearray()

    async def listen(self, ctx: Any) -> None:
        """Collect what comes."""
        tx = self._dut.tx
        async for _, _, valid, ready, byte in ctx.tick().sample(tx.valid, tx.ready, tx.payload):
            if valid and ready:
                self._wire.append(byte)

    async def send(self, wire: bytes, pause: int = 0) -> None:
        """Bytes, with so many cycles between them."""
        for byte in wire:
            self._ctx.set(self._dut.rx.valid, 1)
            self._ctx.set(self._dut.rx.payload, byte)
            await self._ctx.tick()
            self._ctx.set(self._dut.rx.valid, 0)
            for _ in range(pause):
                await self._ctx.tick()

    async def replies(self, count: int) -> list[Reply]:
        """The next so many replies; and no other is on its way."""
        for _ in range(20_000):
            if self.waiting >= count:
                break
            await self._ctx.tick()
        await self.idle(80)
        *frames, rest = self._wire.split(b"\0")
        assert (len(frames), len(rest)) == (count, 0)
        self._wire.clear()
        replies = []
        for stuffed in frames:
            message = cobs.decode(bytes(stuffed))
            assert zlib.crc32(message[:-4]) == int.from_bytes(message[-4:], "little")
            replies.append((message[0], int.from_bytes(message[1:3], "little"), message[3:-4]))
        return replies

    async def ask(self, wire: bytes) -> Reply:
        """Send a frame, and wait for its reply."""
        await self.send(wire)
        (reply,) = await self.replies(1)
        return reply

    async def idle(self, cycles: int) -> None:
        """Let time pass."""
        await self._ctx.tick().repeat(cycles)

    @property
    def waiting(self) -> int:
        """Replies that came and were not asked for."""
        return self._wire.count(0)

    def block(self, blocked: bool) -> None:
        """Have the line to the host take nothing, or take again."""
        self._ctx.set(self._dut.tx.ready, not blocked)

    def show(self, **status: int) -> None:
        """Have the chip's status outputs show this."""
        for name, value in status.items():
            self._ctx.set(getattr(self._dut.chip, name), value)


def simulate(
    dut: Any, script: Callable[[Host], Awaitable[None]], *background: Callable[[Any], Coroutine[Any, Any, None]]
) -> None:
    """Play a script at the host's end of `dut.rx` and `dut.tx`. It takes every byte at once, unless told otherwise."""
    hosts: list[Host] = []

    async def bench(ctx: Any) -> None:
        hosts.append(Host(dut, ctx))
        hosts[0].block(False)
        await ctx.tick()
        await script(hosts[0])

    async def listen(ctx: Any) -> None:
        while not hosts:
            await ctx.tick()
        await hosts[0].listen(ctx)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    for testbench in (listen, *background):
        simulator.add_testbench(testbench, background=True)
    simulator.run()


def play(
    script: Callable[[Host, FakeChip], Awaitable[None]], config: ChipConfig = NANO, clock_hz: float = CLOCK_HZ
) -> FakeChip:
    """Play a script with a bridge and a chip that is none; returns the chip."""
    dut: Any = Bridge(config=config, clock_hz=clock_hz)
    chip = FakeChip(config)

    async def play_chip(ctx: Any) -> None:
        await chip.play(ctx, dut)

    simulate(dut, lambda host: script(host, chip), play_chip)
    return chip


def done(sequence: int, body: bytes = b"") -> Reply:
    return (Outcome.DONE, sequence, body)


def test_identify() -> None:
    """In any state; and it sets the number."""

    async def script(host: Host, chip: FakeChip) -> None:
        body = (
            b"OLPU" + bytes([protocol.VERSION]) + little(int(NANO.digest, 16), 8) + little(12_346, 4) + little(4096, 2)
        )
        host.show(running=1)
        for sequence in (0, 7, 7, 65_535, 300):
            assert await host.ask(request(protocol.IDENTIFY, sequence)) == done(sequence, body)
        assert await host.ask(request(protocol.ECC, 300, 0)) == (Outcome.OUT_OF_ORDER, 301, b"")
        assert await host.ask(request(protocol.ECC, 301, 0)) == done(301, bytes(8))

    play(script)


def test_words_go_to_memory_and_come_back() -> None:
    """As many as a frame holds, and up to the last address."""
    config = dataclasses.replace(NANO, mem_words=300)
    most = protocol.MAX_DATA // config.lanes
    data = np.random.default_rng(3).bytes(protocol.MAX_DATA)
    words = [data[i : i + config.lanes] for i in range(0, len(data), config.lanes)]

    async def script(host: Host, chip: FakeChip) -> None:
        assert await host.ask(request(protocol.WRITE_MEMORY, 0, 2, 300 - most, data=data)) == done(0)
        assert chip.memory == {(2, 300 - most + i): word for i, word in enumerate(words)}
        assert await host.ask(request(protocol.WRITE_MEMORY, 1, 3, 0, data=words[5])) == done(1)
        assert await host.ask(request(protocol.READ_MEMORY, 2, 2, 300 - most, most)) == done(2, data)
        assert await host.ask(request(protocol.READ_MEMORY, 3, 2, 298, 1)) == done(3, words[-2])
        assert await host.ask(request(protocol.READ_MEMORY, 4, 3, 0, 3)) == done(4, words[5] + bytes(8))

    chip = play(script, config)
    assert (len(chip.memory), chip.text, chip.reruns, chip.resets) == (most + 1, {}, [], 0)


def test_text() -> None:
    """Words of the width of the longest, for the first and the last queue, up to the last address."""
    size, last = protocol.text_word_bytes(NANO), len(geometry(NANO).queues) - 1
    first = geometry(NANO).queues[last].text_words - 3
    assert size == 9
    words = [0xF0_0123_4567_89AB_CDEF, 0, 0x08_0766_5544_3322_1100]

    async def script(host: Host, chip: FakeChip) -> None:
        data = b"".join(little(word, size) for word in words)
        assert await host.ask(request(protocol.WRITE_TEXT, 0, last, first, data=data)) == done(0)
        assert await host.ask(request(protocol.WRITE_TEXT, 1, 0, 0, data=data[:size])) == done(1)

    chip = play(script)
    expected = {(last, first + i): word for i, word in enumerate(words)}
    assert chip.text == expected | {(0, 0): words[0]}
    assert chip.memory == {}


def test_run_status_and_reset() -> None:
    async def script(host: Host, chip: FakeChip) -> None:
        assert await host.ask(request(protocol.RUN, 0, 1)) == done(0)
        assert (chip.reruns, chip.resets) == ([0], 0)
        host.show(**STATUS)
        status = bytes.fromhex("01 01 01 0900 04030201 08070605 0C0B0A09") + bytes(8)
        assert await host.ask(request(protocol.STATUS, 1)) == done(1, status)
        assert await host.ask(request(protocol.RESET, 2)) == done(2)
        assert chip.reruns == [0]
        assert chip.resets >= reset_cycles(NANO)
        host.show(**dict.fromkeys(STATUS, 0))
        assert await host.ask(request(protocol.STATUS, 3)) == done(3, bytes(25))
        assert await host.ask(request(protocol.RUN, 4, 0x0403_0201)) == done(4)
        assert await host.ask(request(protocol.RUN, 5, 0xFFFF_FFFF)) == done(5)
        assert chip.reruns == [0, 0x0403_0200, 0xFFFF_FFFE]

    play(script)


QUEUES = len(geometry(NANO).queues)
WORD = bytes(NANO.lanes)
REFUSED: list[tuple[Outcome, Command | int, Sequence[int], bytes]] = [
    *((Outcome.UNKNOWN, code, (), b"") for code in (0, 9, 10, 0x80 | protocol.RUN.code, 255)),
    (Outcome.UNKNOWN, 9, (), bytes(20)),
    (Outcome.UNKNOWN, protocol.PLACE, (0, 0, 0), b""),
    (Outcome.UNKNOWN, protocol.LINK, (0,), b""),
    *((Outcome.MALFORMED, command, (), b"\0") for command in CHIP_COMMANDS if not command.fields),
    *((Outcome.MALFORMED, command, (0,), b"\0") for command in CHIP_COMMANDS if command.fields),
    (Outcome.MALFORMED, protocol.ECC, (), b""),
    (Outcome.MALFORMED, protocol.ECC, (0, 0), b""),
    (Outcome.MALFORMED, protocol.READ_MEMORY, (0, 0), b"\1"),
    (Outcome.MALFORMED, protocol.READ_MEMORY, (0, 0, 1, 0), b""),
    (Outcome.MALFORMED, protocol.WRITE_MEMORY, (0, 0), b""),
    (Outcome.MALFORMED, protocol.WRITE_MEMORY, (0, 0), WORD[1:]),
    (Outcome.MALFORMED, protocol.WRITE_MEMORY, (0, 0), WORD * 3 + b"\1"),
    (Outcome.MALFORMED, protocol.WRITE_MEMORY, (9, 999), WORD + b"\1"),
    (Outcome.MALFORMED, protocol.WRITE_TEXT, (0, 0), b""),
    (Outcome.MALFORMED, protocol.WRITE_TEXT, (0, 0), bytes(12)),
    (Outcome.OUT_OF_RANGE, protocol.WRITE_MEMORY, (4, 0), WORD),
    (Outcome.OUT_OF_RANGE, protocol.WRITE_MEMORY, (256, 0), WORD),
    (Outcome.OUT_OF_RANGE, protocol.WRITE_MEMORY, (0, 64), WORD),
    (Outcome.OUT_OF_RANGE, protocol.WRITE_MEMORY, (0, 62), WORD * 3),
    (Outcome.OUT_OF_RANGE, protocol.WRITE_MEMORY, (0, 65_535), WORD * 2),
    (Outcome.OUT_OF_RANGE, protocol.WRITE_TEXT, (QUEUES, 0), bytes(9)),
    (Outcome.OUT_OF_RANGE, protocol.WRITE_TEXT, (0, geometry(NANO).queues[0].text_words - 1), bytes(18)),
    (Outcome.OUT_OF_RANGE, protocol.READ_MEMORY, (4, 0, 1), b""),
    (Outcome.OUT_OF_RANGE, protocol.READ_MEMORY, (0, 0, 0), b""),
    (Outcome.OUT_OF_RANGE, protocol.READ_MEMORY, (0, 63, 2), b""),
    (Outcome.OUT_OF_RANGE, protocol.READ_MEMORY, (0, 1, 65_535), b""),
    (Outcome.OUT_OF_RANGE, protocol.ECC, (QUEUES + 1,), b""),
    (Outcome.MALFORMED, protocol.RUN, (), b""),
    (Outcome.OUT_OF_RANGE, protocol.RUN, (0, 0), b""),
]


def test_text_memories_of_different_lengths() -> None:
    """What a queue has no word for is refused, also where another queue's memory is longer."""
    lengths = TextConfig(
        mem_read=32, mem_write=8, mxm_weights=8, mxm_acts=8, mxm_accs=8, vxm=(16, 8, 4, 4, 4, 24), sxm_shift=8
    )
    config = dataclasses.replace(NANO, imem_words=lengths)
    word = bytes(protocol.text_word_bytes(config))

    async def script(host: Host, chip: FakeChip) -> None:
        for number, queue in enumerate(geometry(config).queues):
            for sequence, address, outcome in (
                (2 * number, queue.text_words - 1, Outcome.DONE),
                (2 * number + 1, queue.text_words, Outcome.OUT_OF_RANGE),
            ):
                reply = await host.ask(request(protocol.WRITE_TEXT, sequence, number, address, data=word))
                assert reply == (outcome, sequence, b"")

    chip = play(script, config)
    assert set(chip.text) == {(number, queue.text_words - 1) for number, queue in enumerate(geometry(config).queues)}


def test_counts_of_a_chip_with_ecc() -> None:
    config = dataclasses.replace(NANO, ecc=True)
    dut: Any = Bridge(config=config, clock_hz=CLOCK_HZ)

    async def chip(ctx: Any) -> None:
        ctx.set(dut.chip.ecc_corrected, 0x01020304)
        ctx.set(dut.chip.ecc_uncorrectable, 0x05060708)
        before = 0
        async for _, _, queue in ctx.tick().sample(dut.chip.ecc_queue):
            ctx.set(dut.chip.ecc_queue_corrected, 0x100 + before)
            ctx.set(dut.chip.ecc_queue_uncorrectable, 0x200 + before)
            before = queue

    async def script(host: Host) -> None:
        assert await host.ask(request(protocol.STATUS, 0)) == done(0, bytes(17) + bytes.fromhex("04030201 08070605"))
        for sequence, queue in enumerate((3, 0, QUEUES), 1):
            counts = little(0x100 + queue, 4) + little(0x200 + queue, 4)
            assert await host.ask(request(protocol.ECC, sequence, queue)) == done(sequence, counts)

    simulate(dut, script, chip)


LINKED = dataclasses.replace(NANO, c2c_links=3, c2c_width=8, ecc=True)


def linked(script: Callable[[Host, Any], Awaitable[None]], *background: Callable[[Any, Any], Any]) -> list[int]:
    """Play a script with the bridge of a chip with links, whose clock runs; in which cycles the chip was reset."""
    dut: Any = Bridge(config=LINKED, clock_hz=CLOCK_HZ)
    resets: list[int] = []

    async def watch(ctx: Any) -> None:
        cycle = 0
        async for _, _, reset in ctx.tick().sample(dut.chip_reset):
            resets.extend([cycle] * reset)
            cycle += 1

    async def begin(host: Host) -> None:
        host.show(c2c_runs=1)
        await script(host, dut.chip)

    def bound(play: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
        async def testbench(ctx: Any) -> None:
            await play(ctx, dut.chip)

        return testbench

    simulate(dut, begin, watch, *map(bound, background))
    return resets


def test_a_chip_is_told_its_place_and_reset() -> None:
    shown: list[tuple[int, ...]] = []

    async def watch(ctx: Any, chip: Any) -> None:
        names = ("c2c_chip", "c2c_root", "c2c_parent", "c2c_children")
        async for _, _, *values in ctx.tick().sample(*(getattr(chip, name) for name in names)):
            if tuple(values) not in shown[-1:]:
                shown.append(tuple(values))

    async def script(host: Host, chip: Any) -> None:
        assert await host.ask(request(protocol.PLACE, 0, 63, 2, 0b101)) == done(0)
        assert await host.ask(request(protocol.RESET, 1)) == done(1)
        assert await host.ask(request(protocol.PLACE, 2, 0, 1, 0xFFF2)) == done(2)
        refused = [(64, 0, 0), (256, 0, 0), (1, 3, 0), (1, 256, 0)]
        for sequence, fields in enumerate(refused, 3):
            assert await host.ask(request(protocol.PLACE, sequence, *fields)) == (Outcome.OUT_OF_RANGE, sequence, b"")
        host.show(running=1)
        assert await host.ask(request(protocol.PLACE, 7, 1, 0, 0)) == (Outcome.BUSY, 7, b"")

    resets = linked(script, watch)
    assert shown == [(0, 1, 0, 0), (63, 0, 2, 0b101), (0, 1, 1, 0b010)]
    assert len(resets) >= 3 * reset_cycles(LINKED)


def test_a_link_is_told_of() -> None:
    values = {"hears": 1, "up": 0, "peer": 0x3F2, "delay": 0x201, "corrected": 0x06050403, "uncorrectable": 0x0A090807}
    values |= {"fault": 1, "fault_cycle": 0x0E0D0C0B, "aligned": 1, "missed": 0}
    body = bytes.fromhex("01 00 F203 0102 03040506 0708090A 01 0B0C0D0E 01 00 3F00")

    async def chip(ctx: Any, chip: Any) -> None:
        async for _, _, link in ctx.tick().sample(chip.c2c_link):
            ctx.set(chip.c2c_hears, link == 2)

    async def script(host: Host, chip: Any) -> None:
        assert await host.ask(request(protocol.PLACE, 0, 63, 0, 0)) == done(0)
        host.show(running=1, **{f"c2c_{name}": value for name, value in values.items() if name != "hears"})
        assert await host.ask(request(protocol.LINK, 1, 2)) == done(1, body)
        assert await host.ask(request(protocol.LINK, 2, 0)) == done(2, b"\0" + body[1:])
        assert await host.ask(request(protocol.LINK, 3, 3)) == (Outcome.OUT_OF_RANGE, 3, b"")
        assert await host.ask(request(protocol.LINK, 4, 256)) == (Outcome.OUT_OF_RANGE, 4, b"")

    linked(script, chip)


def test_counts_are_waited_for_while_the_clock_of_a_chip_stands_still() -> None:
    """As long as a pause may be; the counts come two of its cycles after they were asked for."""
    rng = random.Random(11)

    async def chip(ctx: Any, chip: Any) -> None:
        before = waited = 0
        async for _, _, queue, runs in ctx.tick().sample(chip.ecc_queue, chip.c2c_runs):
            if runs:
                ctx.set(chip.ecc_queue_corrected, before)
                before = queue
            waited = waited + 1 if not runs else 0
            ctx.set(chip.c2c_runs, waited > 62 or rng.random() < 0.02)

    async def script(host: Host, chip: Any) -> None:
        host.show(running=1)
        for sequence, queue in enumerate((3, 0, 7, 2, 5, 1)):
            assert await host.ask(request(protocol.ECC, sequence, queue)) == done(sequence, little(queue, 4) + bytes(4))

    linked(script, chip)


def test_what_cannot_be_done_is_refused() -> None:
    """It changes nothing but the number."""

    async def script(host: Host, chip: FakeChip) -> None:
        for sequence, (outcome, command, fields, data) in enumerate(REFUSED):
            code = command if isinstance(command, int) else command.code
            body = b"".join(little(field, 2) for field in fields) + data
            reply = await host.ask(frame(message(code, sequence, body)))
            assert reply == (outcome, sequence, b""), (command, fields, data)
        assert await host.ask(request(protocol.ECC, len(REFUSED), QUEUES)) == done(len(REFUSED), bytes(8))

    chip = play(script)
    assert (chip.memory, chip.text, chip.reruns, chip.resets) == ({}, {}, [], 0)


def test_a_count_that_no_reply_holds() -> None:
    config = dataclasses.replace(NANO, mem_words=300)

    async def script(host: Host, chip: FakeChip) -> None:
        reply = await host.ask(request(protocol.READ_MEMORY, 0, 0, 0, protocol.MAX_DATA // config.lanes + 1))
        assert reply == (Outcome.OUT_OF_RANGE, 0, b"")

    play(script, config)


def test_busy() -> None:
    """What a running chip cannot do is refused, and counts; what it can is done."""
    bodies = {
        protocol.WRITE_MEMORY: bytes(4) + WORD,
        protocol.READ_MEMORY: bytes(4) + b"\1\0",
        protocol.WRITE_TEXT: bytes(13),
        protocol.RUN: b"\1\0\0\0",
        protocol.ECC: bytes(2),
    }

    async def script(host: Host, chip: FakeChip) -> None:
        host.show(running=1)
        for sequence, command in enumerate(CHIP_COMMANDS):
            outcome, _, _ = await host.ask(frame(message(command.code, sequence, bodies.get(command, b""))))
            assert outcome == (Outcome.DONE if command.while_running else Outcome.BUSY), command.name
        outcome, _, _ = await host.ask(request(protocol.WRITE_MEMORY, len(CHIP_COMMANDS), 9, 0, data=WORD))
        assert outcome == Outcome.OUT_OF_RANGE

    chip = play(script)
    assert (chip.memory, chip.text, chip.reruns) == ({}, {}, [])
    assert chip.resets >= reset_cycles(NANO)


def test_every_number_is_taken_once_and_in_order() -> None:
    def write(sequence: int, byte: int) -> bytes:
        return request(protocol.WRITE_MEMORY, sequence, 0, 0, data=bytes([byte]) * NANO.lanes)

    async def script(host: Host, chip: FakeChip) -> None:
        for sequence in (1, 65_535, 256):
            assert await host.ask(write(sequence, 1)) == (Outcome.OUT_OF_ORDER, 0, b"")
        assert chip.memory == {}
        assert await host.ask(write(0, 2)) == done(0)
        for sequence in (0, 2):
            assert await host.ask(write(sequence, 3)) == (Outcome.OUT_OF_ORDER, 1, b"")
        assert chip.memory == {(0, 0): bytes([2]) * NANO.lanes}
        await host.ask(request(protocol.IDENTIFY, 65_534))
        assert await host.ask(write(65_535, 4)) == done(65_535)
        assert await host.ask(write(65_535, 5)) == (Outcome.OUT_OF_ORDER, 0, b"")
        assert await host.ask(write(0, 6)) == done(0)
        # A malformed IDENTIFY sets the number, too; an unknown command must have the right one.
        assert await host.ask(request(protocol.IDENTIFY, 40, data=b"x")) == (Outcome.MALFORMED, 40, b"")
        assert await host.ask(frame(message(77, 40))) == (Outcome.OUT_OF_ORDER, 41, b"")
        assert await host.ask(write(41, 7)) == done(41)

    assert play(script).memory == {(0, 0): bytes([7]) * NANO.lanes}


def test_damage() -> None:
    """A write with each of its bits wrong, and cut anywhere: nothing is written, and the next frame is received."""
    good = request(protocol.WRITE_MEMORY, 0, 1, 2, data=b"\x11\0\x22\x33")
    flipped = [good[:i] + bytes([good[i] ^ 1 << bit]) + good[i + 1 :] for i in range(len(good) - 1) for bit in (0, 5)]
    cut = [good[:i] + b"\0" for i in range(1, len(good) - 1)]
    short = [cobs.encode(bytes(length)) + b"\0" for length in range(7)]
    doubled = [good[:-1] + good]

    async def script(host: Host, chip: FakeChip) -> None:
        for wire in (*flipped, *cut, *short, *doubled):
            await host.send(wire)
            parts = sum(1 for part in wire.split(b"\0") if part)
            assert await host.replies(parts) == [(Outcome.DAMAGED, 0, b"")] * parts, wire.hex()
        assert chip.memory == {}
        await host.send(b"\0\0\0" + good)
        assert await host.replies(1) == [done(0)]

    assert play(script).memory == {(1, 2): b"\x11\0\x22\x33"}


def test_too_long() -> None:
    """Even with the right CRC, even if it never seems to end."""
    limit = protocol.max_request_bytes()
    whole = message(protocol.WRITE_MEMORY.code, 0, bytes(limit + 1 - 3 - 4))

    async def script(host: Host, chip: FakeChip) -> None:
        assert await host.ask(frame(whole)) == (Outcome.OVERFLOW, 0, b"")
        assert await host.ask(b"\x77" * 2_000 + b"\0") == (Outcome.OVERFLOW, 0, b"")
        assert (await host.ask(frame(whole[:-1])))[0] == Outcome.OUT_OF_RANGE

    assert play(script).memory == {}


def test_requests_back_to_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many bytes as a host may have on their way, a byte a cycle, while not a byte of a reply gets out."""
    monkeypatch.setattr(protocol, "BUFFER_BYTES", 1024)
    wire, expected = b"", []
    for number in itertools.count():
        data = little(number, 2) * (NANO.lanes // 2) * (1 + number % 16)
        pair = request(protocol.WRITE_MEMORY, 2 * number, 1, 16, data=data) + request(
            protocol.READ_MEMORY, 2 * number + 1, 1, 16, len(data) // NANO.lanes
        )
        if len(wire + pair) >= protocol.BUFFER_BYTES:
            break
        wire += pair
        expected += [done(2 * number), done(2 * number + 1, data)]

    async def script(host: Host, chip: FakeChip) -> None:
        host.block(True)
        await host.send(wire)
        host.block(False)
        assert await host.replies(len(expected)) == expected

    play(script)


@pytest.mark.parametrize("words", [1, 2, 3])
def test_a_full_buffer(words: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What finds no room is answered with one OVERFLOW or more; what went before and comes after is not touched."""
    monkeypatch.setattr(protocol, "BUFFER_BYTES", 64)
    requests = [
        request(protocol.WRITE_MEMORY, number, 0, 3 * number, data=bytes([number + 1]) * NANO.lanes * words)
        for number in range(20)
    ]

    async def script(host: Host, chip: FakeChip) -> None:
        host.block(True)
        await host.send(b"".join(requests))
        host.block(False)
        await host.idle(1000)
        replies = await host.replies(host.waiting)
        taken = sum(reply[0] == Outcome.DONE for reply in replies)
        assert 1 <= taken < 20
        lost = [(Outcome.OVERFLOW, taken, b"")] * (len(replies) - taken)
        assert lost
        assert replies == [done(number) for number in range(taken)] + lost
        assert await host.ask(requests[taken]) == done(taken)
        written = {(0, 3 * number + i): number + 1 for number in range(taken + 1) for i in range(words)}
        assert chip.memory == {place: bytes([byte]) * NANO.lanes for place, byte in written.items()}

    play(script)


def test_more_outcomes_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one tells of all that found none."""
    monkeypatch.setattr(protocol, "BUFFER_BYTES", 64)

    async def script(host: Host, chip: FakeChip) -> None:
        host.block(True)
        await host.send(b"\1\0" * 200)
        host.block(False)
        await host.idle(4000)
        replies = await host.replies(host.waiting)
        assert set(replies[:-1]) == {(Outcome.DAMAGED, 0, b"")}
        assert 55 <= len(replies) <= 66
        assert replies[-1] == (Outcome.OVERFLOW, 0, b"")
        assert await host.ask(request(protocol.ECC, 0, 0)) == done(0, bytes(8))

    play(script)


class ModelPort:
    """The chip of the model: memories, and runs that do nothing."""

    def __init__(self, config: ChipConfig) -> None:
        self._config = config
        self.memory = np.zeros((len(geometry(config).mem_slices), config.mem_words, config.lanes), np.int8)
        self.text: dict[int, list[int]] = {}

    @property
    def config(self) -> ChipConfig:
        return self._config

    def write_memory(self, slice: int, address: int, words: Any) -> None:
        self.memory[slice, address : address + len(words)] = words

    def read_memory(self, slice: int, address: int, count: int) -> Any:
        return self.memory[slice, address : address + count]

    def write_text(self, queue: int, words: Sequence[int]) -> None:
        self.text[queue] = list(words)

    def run(self, count: int = 1) -> RunStatus:
        return RunStatus(0)

    def status(self) -> ChipStatus:
        return ChipStatus(False, self.run())

    def close(self) -> None:
        pass


def garbled(rng: random.Random, wire: bytes) -> bytes:
    """A frame as a bad line delivers it."""
    at = rng.randrange(len(wire))
    match rng.randrange(8):
        case 0:
            return wire[:at] + bytes([rng.randrange(256)]) + wire[at + 1 :]
        case 1:
            return wire[:at] + wire[at + 1 :]
        case 2:
            return wire[:at] + rng.randbytes(rng.randrange(4)) + wire[at:]
        case 3:
            return wire + wire
        case _:
            return wire


def random_request(rng: random.Random, expected: int) -> bytes:
    """A frame of any kind but those that tell of a run: legal, or nearly, most with the number that is expected."""
    command = rng.choice([command for command in CHIP_COMMANDS if command not in (protocol.RUN, protocol.STATUS)])
    ranges = {"slice": 5, "queue": QUEUES + 2, "address": NANO.mem_words + 2, "count": 5}
    body = b"".join(little(rng.randrange(ranges[field.name]), field.bytes) for field in command.fields)
    words = rng.randrange(1, 5)
    body += rng.randbytes(protocol.word_bytes(NANO, command.data) * words + (rng.random() < 0.1))
    return frame(message(command.code, (expected + (rng.random() < 0.1)) % 65536, body))


def test_random_requests_over_a_bad_line_against_the_model() -> None:
    """Requests of every kind, some garbled: the same replies, the same memories."""
    seed = random.randrange(1 << 32)
    print(f"{seed=}")
    rng = random.Random(seed)
    port = ModelPort(NANO)
    model = BridgeModel(port)

    async def script(host: Host, chip: FakeChip) -> None:
        for _ in range(60):
            wire = garbled(rng, random_request(rng, model.expected))
            answers = messages(model.answer(wire))
            await host.send(wire, pause=rng.choice((0, 0, 1, 5)))
            replies = await host.replies(len(answers))
            assert [message(outcome, number, body) for outcome, number, body in replies] == answers

    chip = play(script, clock_hz=NANO.clock_mhz * 1e6)
    for number, words in enumerate(port.memory):
        for address, word in enumerate(words):
            assert chip.read(number, address) == word.tobytes()
    for queue, text in port.text.items():
        for address, word in enumerate(text):
            assert chip.text.get((queue, address), 0) == word
    assert chip.memory
    assert chip.text
