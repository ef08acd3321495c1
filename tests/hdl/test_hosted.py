# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A chip behind its bridge: a program that is loaded, runs and is stopped by bytes alone."""

from collections.abc import Iterable
from typing import Any

import pytest
from amaranth.sim import Simulator
from cobs import cobs
from tests.hdl.test_bridge import Host, Reply, done, little, request, simulate
from tests.hdl.test_chip import TINY, Bench, assemble, copy, length
from tests.hdl.test_uart import drawn, framed, received

from openlpu.arch import protocol
from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import Direction, Stream, geometry
from openlpu.arch.isa import instruction
from openlpu.arch.protocol import Outcome
from openlpu.arch.timing import timing
from openlpu.hdl import generate
from openlpu.hdl.hosted import BridgedChip, HostedChip
from openlpu.hdl.uart import MIN_BIT_CYCLES
from openlpu.verif import elaboration, simulator
from openlpu.verif.fault_campaign import CONFIG
from openlpu.verif.odd_configs import LINKED

CLOCK_HZ = 1e8
VECTOR = b"\x81\x02\x83\x04"
QUEUES = geometry(TINY).queues


def text(words: Iterable[int]) -> bytes:
    """Instruction words as they go over the wire."""
    return b"".join(little(word, protocol.text_word_bytes(TINY)) for word in words)


def status(reply: Reply) -> dict[str, int]:
    outcome, _, body = reply
    assert outcome == Outcome.DONE
    values, offset = {}, 0
    for field in protocol.STATUS.reply_fields:
        values[field.name] = int.from_bytes(body[offset : offset + field.bytes], "little")
        offset += field.bytes
    return values


def test_a_program_over_the_wire() -> None:
    """Load, run, read; then a run without an end: busy, until the reset, which leaves text and memories alone."""
    bench = Bench(TINY)
    schedules = copy(bench, "mem_e0", "mem_e3", Stream(Direction.EAST, 6), at=2)
    texts = assemble(bench, schedules)
    program = [texts.get(queue.name, [encoding(TINY).encode(instruction("halt"), queue)]) for queue in QUEUES]
    notifier = [queue.name for queue in QUEUES].index("mem_e0.read")
    waiting = [encoding(TINY).encode(instruction("sync"), QUEUES[notifier])]
    target = geometry(TINY).mem_slices.index("mem_e3")
    dut: Any = BridgedChip(config=TINY, clock_hz=CLOCK_HZ)

    async def script(host: Host) -> None:
        load = [request(protocol.WRITE_MEMORY, 0, 0, 3, data=VECTOR)]
        load += [request(protocol.WRITE_TEXT, 1 + i, i, 0, data=text(words)) for i, words in enumerate(program)]
        await host.send(b"".join(load))
        number = len(load)
        assert await host.replies(number) == [done(i) for i in range(number)]

        async def ask(command: protocol.Command, *fields: int, data: bytes = b"") -> Reply:
            nonlocal number
            number += 1
            return await host.ask(request(command, number - 1, *fields, data=data))

        async def runs() -> None:
            for count in (1, 3):
                assert (await ask(protocol.RUN, count))[0] == Outcome.DONE
                await host.idle(60 * count)
                now = status(await ask(protocol.STATUS))
                assert now == dict.fromkeys(now, 0) | {"cycles": timing(TINY).series(length(schedules), count)}
            assert (await ask(protocol.READ_MEMORY, target, 5, 1))[2] == VECTOR

        await runs()
        await ask(protocol.WRITE_MEMORY, target, 5, data=bytes(4))
        await ask(protocol.WRITE_TEXT, notifier, 0, data=text(waiting))
        assert (await ask(protocol.RUN, 1))[0] == Outcome.DONE
        assert status(await ask(protocol.STATUS))["running"] == 1
        assert (await ask(protocol.RUN, 1))[0] == Outcome.BUSY
        assert (await ask(protocol.READ_MEMORY, 0, 3, 1))[0] == Outcome.BUSY
        assert (await ask(protocol.RESET))[0] == Outcome.DONE
        now = status(await ask(protocol.STATUS))
        assert now == dict.fromkeys(now, 0)
        assert (await ask(protocol.READ_MEMORY, 0, 3, 1))[2] == VECTOR

        await ask(protocol.WRITE_TEXT, notifier, 0, data=text(program[notifier]))
        await runs()
        # Runs that would take a minute end with a reset, too.
        assert (await ask(protocol.RUN, 1 << 20))[0] == Outcome.DONE
        await host.idle(200)
        now = status(await ask(protocol.STATUS))
        assert (now["running"], now["fault"]) == (1, 0)
        assert now["cycles"] > 100
        assert (await ask(protocol.RESET))[0] == Outcome.DONE
        assert status(await ask(protocol.STATUS))["running"] == 0
        await runs()

    simulate(dut, script)


def test_a_serial_line() -> None:
    """Bit by bit: a request, and the reply as it would be read from the line."""
    cycles = 4
    dut: Any = HostedChip(config=TINY, clock_hz=CLOCK_HZ, baud=25_000_000)
    line: list[int] = []

    async def testbench(ctx: Any) -> None:
        sent = request(protocol.WRITE_MEMORY, 0, 0, 3, data=VECTOR) + request(protocol.READ_MEMORY, 1, 0, 3, 1)
        for level in [1] * 8 + drawn([bit for byte in sent for bit in framed(byte)], cycles, 0.5) + [1] * 1200:
            ctx.set(dut.rx, level)
            _, _, out = await ctx.tick().sample(dut.tx)
            line.append(out)

    simulation = Simulator(dut)
    simulation.add_clock(1e-6)
    simulation.add_testbench(testbench)
    simulation.run()
    frames = received(line, cycles).split(b"\0")
    assert [cobs.decode(stuffed)[:-4] for stuffed in frames[:-1]] == [b"\0\0\0", b"\0\1\0" + VECTOR]
    assert frames[-1] == b""


@pytest.mark.parametrize("config", [CONFIG, LINKED], ids=lambda config: config.name)
def test_lint_is_clean(config: ChipConfig) -> None:
    # The text that virtual boards are made from.
    verilog = elaboration.hosted_verilog(config, MIN_BIT_CYCLES)
    simulator.lint(verilog, top=generate.HOSTED_TOP, waivers=generate.LINT_WAIVERS)


def test_a_line_too_fast_for_the_clock_is_refused() -> None:
    with pytest.raises(ValueError, match="30,000,000 baud need a clock"):
        generate.hosted_verilog(TINY, clock_hz=CLOCK_HZ, baud=30_000_000)
