# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Chips behind a wire: the same as the chips themselves, whatever happens on the wire."""

import dataclasses
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from openlpu.arch import protocol
from openlpu.arch.geometry import geometry
from openlpu.arch.isa import instruction
from openlpu.arch.presets import NANO, ULX3S
from openlpu.arch.program import Program
from openlpu.arch.status import HOST, ChipStatus, Fault, PlaceErrors, RunStatus
from openlpu.arch.timing import timing
from openlpu.model.golden import GoldenChip
from openlpu.runtime.bridged_chip import BridgedChip
from openlpu.runtime.driver import Device, DeviceError
from openlpu.runtime.errors import ConnectionLostError, RequestRefusedError
from openlpu.runtime.requests import Patience, Request
from openlpu.verif.bridge_model import BridgeModel, ModelWire
from openlpu.verif.fault_campaign import CONFIG, campaign
from openlpu.verif.line_faults import FaultyWire

SEED = 20270412
QUICK = Patience(0.01)


def nano(run_requests: int = 0) -> BridgeModel:
    return BridgeModel(GoldenChip(NANO), run_requests=run_requests)


class ScriptedWire(ModelWire):
    """Each frame from the host passes through `out`, each piece of what comes back through `back`."""

    def __init__(
        self,
        model: BridgeModel,
        out: Callable[[bytes], bytes] = lambda frame: frame,
        back: Callable[[bytes], bytes] = lambda data: data,
    ) -> None:
        super().__init__(model)
        self.out, self.back = out, back
        self.frames: list[bytes] = []

    def send(self, data: bytes) -> None:
        self.frames.append(data)
        super().send(self.out(data))

    def receive(self, seconds: float) -> bytes:
        return self.back(super().receive(seconds))


def losing(*numbers: int) -> Callable[[bytes], bytes]:
    """Lose the calls of these numbers that carry anything."""
    count = -1

    def lose(data: bytes) -> bytes:
        nonlocal count
        count += len(data) > 1
        return b"" if count in numbers and len(data) > 1 else data

    return lose


def words(count: int, lanes: int = 4) -> Any:
    return np.random.default_rng(SEED).integers(-128, 128, (count, lanes), dtype=np.int8)


# Without faults.


def test_a_program_runs(copier: Program) -> None:
    with Device(BridgedChip(ModelWire(nano()), NANO, patience=QUICK)) as device:
        device.load(copier)
        for sign in (1, -1):
            rows = sign * np.arange(12, dtype=np.int8).reshape(3, 4)
            result = device.run({"x": rows})
            np.testing.assert_array_equal(result.outputs["y"], rows)
            assert result.cycles == copier.cycles
            assert device.status() == ChipStatus(False, RunStatus(copier.cycles))


def test_the_program_stays_in_the_chip(copier: Program) -> None:
    wire = ScriptedWire(nano())
    device = Device(BridgedChip(wire, NANO, patience=QUICK))
    device.load(copier)
    wire.frames.clear()
    device.run({"x": np.zeros((3, 4), np.int8)})
    commands = [frame[1] for frame in wire.frames]
    # The input's 12 bytes in; a look before and after the run; the output's rows back.
    names = ("write_memory", "status", "run", "status", "read_memory")
    assert commands == [getattr(protocol, name.upper()).code for name in names]


def test_blocks_longer_than_a_frame_arrive_whole() -> None:
    model = BridgeModel(GoldenChip(ULX3S))
    chip = BridgedChip(ModelWire(model), ULX3S, patience=QUICK)
    block = words(1000, 16)
    chip.write_memory(3, 500, block)
    np.testing.assert_array_equal(model.chip.read_memory(3, 500, 1000), block)
    np.testing.assert_array_equal(chip.read_memory(3, 500, 1000), block)
    assert not model.chip.read_memory(3, 499, 1).any()
    assert chip.read_memory(0, 0, 0).shape == (0, 16)
    assert chip.line.repeated == 0


def test_the_host_sends_ahead_but_never_more_than_the_bridge_holds() -> None:
    model = BridgeModel(GoldenChip(ULX3S))
    unanswered, most = 0, 0

    class Slow(ModelWire):
        """Answers one frame each time the host waits."""

        queue: list[bytes]

        def send(self, data: bytes) -> None:
            nonlocal unanswered, most
            self.queue = [*getattr(self, "queue", []), data]
            unanswered += len(data)
            most = max(most, unanswered)

        def receive(self, seconds: float) -> bytes:
            nonlocal unanswered
            unanswered -= len(self.queue[0])
            return self.model.answer(self.queue.pop(0))

    chip = BridgedChip(Slow(model), ULX3S, patience=QUICK)
    chip.write_memory(0, 0, words(2048, 16))
    assert protocol.BUFFER_BYTES - protocol.stuffed_bytes(protocol.max_request_bytes()) < most < protocol.BUFFER_BYTES


@pytest.mark.parametrize("first", [65533, 65535])
def test_numbers_begin_anew_after_the_last(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "randbelow", lambda _: first)
    chip = BridgedChip(ScriptedWire(nano(), losing(3, 5), losing(7, 8)), NANO, patience=QUICK)
    for i in range(10):
        block = words(i + 1)
        chip.write_memory(1, i, block)
        np.testing.assert_array_equal(chip.read_memory(1, i, i + 1), block)


def test_what_the_chip_refuses_is_an_error_and_changes_nothing() -> None:
    chip = BridgedChip(ModelWire(nano()), NANO, patience=QUICK)
    for wrong in ((9, 0), (0, 63)):
        with pytest.raises(RequestRefusedError, match=r"model refused write_memory .*: out of range"):
            chip.write_memory(*wrong, words(2))
        with pytest.raises(RequestRefusedError, match="refused read_memory"):
            chip.read_memory(*wrong, 2)
    with pytest.raises(RequestRefusedError, match="refused write_text"):
        chip.write_text(0, [0] * (geometry(NANO).queues[0].text_words + 1))
    assert not any(chip.read_memory(number, 0, 64).any() for number in range(4))


# What is at the other end.


def test_the_config_follows_from_the_digest() -> None:
    assert BridgedChip(ModelWire(nano()), None, patience=QUICK).config is NANO
    mine = dataclasses.replace(NANO, mem_words=128)
    model = BridgeModel(GoldenChip(mine))
    assert BridgedChip(ModelWire(model), mine, patience=QUICK).config is mine
    with pytest.raises(DeviceError, match=rf"the chip on model \({mine.digest}\) is no preset: name the config"):
        BridgedChip(ModelWire(model), None, patience=QUICK)


def test_another_chip_than_the_program_is_for() -> None:
    with pytest.raises(DeviceError, match=rf"the chip on model is nano \({NANO.digest}\), not ulx3s"):
        BridgedChip(ModelWire(nano()), ULX3S, patience=QUICK)


def test_half_a_request_of_another_host_does_not_matter() -> None:
    model = nano()
    model.answer(Request(protocol.RUN, (1,)).frame(model.expected)[:-2])
    wire = ScriptedWire(model)
    BridgedChip(wire, NANO, patience=QUICK)
    assert len(wire.frames) == 1
    assert model.runs == 0


def test_nothing_at_the_other_end() -> None:
    closed = []

    class Silent(ScriptedWire):
        def close(self) -> None:
            closed.append(self)

    with pytest.raises(DeviceError, match="no answer on model: is this the right port"):
        BridgedChip(Silent(nano(), back=lambda _: b""), NANO, patience=QUICK)
    with pytest.raises(DeviceError, match="model sends nothing that makes sense: is the baud rate right"):
        BridgedChip(Silent(nano(), back=lambda data: data and b"\x55\0"), NANO, patience=QUICK)
    assert len(closed) == 2


@pytest.mark.parametrize(
    ("table", "value", "message"),
    [
        ("VERSION", 1, f"speaks version 1 of the protocol, this driver version {protocol.VERSION}"),
        ("MAGIC", 5, "is no OpenLPU chip"),
    ],
)
def test_something_else_at_the_other_end(table: str, value: int, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(ModelWire):
        def send(self, data: bytes) -> None:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(protocol, table, value)
                super().send(data)

    with pytest.raises(DeviceError, match=message):
        BridgedChip(Other(nano()), NANO, patience=QUICK)


def test_a_babbling_wire_does_not_hold_the_host_for_ever() -> None:
    with pytest.raises(DeviceError, match="sends nothing that makes sense"):
        BridgedChip(ScriptedWire(nano(), back=lambda _: b"\x55\0"), NANO, patience=QUICK)


# Runs.


def test_a_run_is_waited_for() -> None:
    model = nano(run_requests=5)
    chip = loaded(model)
    assert chip.run() == RunStatus(1)
    assert model.runs == 1


def loaded(model: BridgeModel, **script: Callable[[bytes], bytes]) -> BridgedChip:
    """A chip whose every queue halts at once, but for one that releases the barrier."""
    wire = ScriptedWire(model)
    chip = BridgedChip(wire, NANO, patience=QUICK)
    Device(chip).load(Program(name="empty", config=NANO, text={"mem_e0.read": _text("notify", "halt")}))
    wire.out, wire.back = script.get("out", wire.out), script.get("back", wire.back)
    return chip


def _text(*mnemonics: str) -> Any:
    return tuple(instruction(mnemonic) for mnemonic in mnemonics)


def test_a_run_without_an_end_is_given_up_and_stopped() -> None:
    model = nano(run_requests=10**9)
    chip = loaded(model)
    chip._run_seconds = 0.05
    with pytest.raises(DeviceError, match=r"the program on model has not halted after 0.05 s: it was stopped"):
        chip.run()
    assert not chip.status().running
    chip.write_memory(0, 0, words(1))
    # Several runs may take so many times as long.
    with pytest.raises(DeviceError, match=r"has not halted after 0.15 s"):
        chip.run(3)


def test_runs_in_a_row_are_one_request() -> None:
    model = nano(run_requests=5)
    chip = loaded(model)
    assert chip.run(4) == RunStatus(timing(NANO).series(1, 4))
    assert model.runs == 1
    with pytest.raises(RequestRefusedError, match=r"model refused run \[0\]: out of range"):
        chip.run(0)
    assert model.runs == 1


def test_the_run_of_a_host_that_went_away_is_stopped() -> None:
    model = nano(run_requests=10**9)
    first = loaded(model)
    first.line.deliver([Request(protocol.RUN, (1,))])
    second = BridgedChip(ModelWire(model), NANO, patience=QUICK)
    assert second.status().running
    second.write_memory(0, 0, words(1))
    assert not second.status().running


def test_faults_are_told() -> None:
    fault = Fault("vxm.alu0", 3, illegal=True, count=2)

    class Faulty(GoldenChip):
        def run(self, count: int = 1) -> RunStatus:
            return RunStatus(7, fault, corrected=4, uncorrectable=1)

        def status(self) -> ChipStatus:
            return ChipStatus(False, RunStatus(7, fault), 4, 1, places)

    places = (PlaceErrors("mem_e1.read", 3, 0), PlaceErrors("vxm.alu0", 0, 1), PlaceErrors(HOST, 1, 0))
    chip = BridgedChip(ModelWire(BridgeModel(Faulty(NANO))), NANO, patience=QUICK)
    assert chip.run() == RunStatus(7, fault, 4, 1)
    assert chip.status() == ChipStatus(False, RunStatus(7, fault), 4, 1, places)


@pytest.mark.parametrize("lost", [[0], [1], [0, 1], [0, 1, 2], [2], [1, 2, 3]])
@pytest.mark.parametrize("way", ["out", "back"])
def test_a_run_is_started_once_whatever_is_lost(way: str, lost: Sequence[int]) -> None:
    model = nano(run_requests=4)
    chip = loaded(model, **{way: losing(*lost)})
    for count in (1, 2):
        assert chip.run() == RunStatus(1)
        assert model.runs == count


def test_a_reset_in_the_middle_is_no_second_run() -> None:
    model = nano(run_requests=100)

    def power_fails(data: bytes) -> bytes:
        if model.runs == 1:
            model.reset()
        return data

    chip = loaded(model, back=power_fails)
    with pytest.raises(ConnectionLostError, match="the chip was reset, or another host talks to it") as first:
        chip.run()
    with pytest.raises(ConnectionLostError) as second:
        chip.status()
    assert second.value is first.value
    assert model.runs == 1
    assert BridgedChip(ModelWire(model), NANO, patience=QUICK).status().run == RunStatus(0)


def test_a_wire_that_breaks_is_given_up() -> None:
    model = nano()
    chip = loaded(model, back=lambda data: b"")
    with pytest.raises(ConnectionLostError, match=r"model stopped answering: 4 tries, for 0.15 s at most"):
        chip.run()
    assert model.runs == 0


def test_a_silent_chip_is_sent_one_request_at_a_time() -> None:
    wire = ScriptedWire(BridgeModel(GoldenChip(CONFIG)))
    chip = BridgedChip(wire, CONFIG, patience=QUICK)
    chip.status()
    wire.frames.clear()
    wire.out = lambda frame: b""
    with pytest.raises(ConnectionLostError):
        chip.line.ask([Request(protocol.WRITE_MEMORY, (0, 256 * i), bytes(1024)) for i in range(3)])
    first, second, third, *again = wire.frames
    assert len({first, second, third}) == 3
    assert again == [first] * (QUICK.tries - 1)


def test_requests_that_always_come_damaged_are_given_up() -> None:
    chip = loaded(nano(), out=lambda frame: frame[:-3] + frame[-2:] if len(frame) > 100 else frame)
    chip.write_memory(0, 0, words(4))
    with pytest.raises(ConnectionLostError, match="stopped answering"):
        chip.write_memory(0, 0, words(64))


def test_replies_that_always_get_lost_are_given_up() -> None:
    chip = loaded(nano(), back=lambda data: data if len(data) < 100 else data[:50] + data[51:])
    with pytest.raises(ConnectionLostError, match="answers of model are lost again and again"):
        chip.read_memory(0, 0, 64)


# Many faults.


@pytest.mark.parametrize("rate", [0.1, 0.3])
def test_random_faults(rate: float) -> None:
    campaign_on_the_model(rate, 1000, SEED)


@pytest.mark.regress
@pytest.mark.parametrize("seed", range(10))
def test_ten_thousand_random_faults(seed: int) -> None:
    campaign_on_the_model(0.05 + 0.05 * (seed % 5), 10_000, seed)


def campaign_on_the_model(rate: float, faults: int, seed: int) -> None:
    wire = FaultyWire(ModelWire(BridgeModel(GoldenChip(CONFIG))), rate, seed)
    result = campaign(wire, faults, seed, Patience(0.01, tries=12))
    print(f"seed {seed}: {result}")
    assert result.faults >= faults
    assert result.repeated > 0
    assert result.lost == 0


def test_the_injector_lets_everything_through_when_told_to() -> None:
    wire = FaultyWire(ModelWire(nano()), 0.0, SEED)
    chip = BridgedChip(wire, NANO, patience=QUICK)
    chip.write_memory(0, 0, words(64))
    np.testing.assert_array_equal(chip.read_memory(0, 0, 64), words(64))
    assert wire.injected == chip.line.repeated == chip.line.damaged == 0


def test_the_injector_is_seeded() -> None:
    def spoilt(seed: int) -> list[bytes]:
        wire = ScriptedWire(nano())
        faulty = FaultyWire(wire, 0.5, seed)
        for i in range(50):
            faulty.send(Request(protocol.STATUS).frame(i))
        return wire.frames

    assert spoilt(1) == spoilt(1) != spoilt(2)
