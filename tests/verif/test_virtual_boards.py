# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Boards with linked chips, each with a clock of its own, through the very code that drives real ones."""

import dataclasses
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from openlpu.arch.links import flit_format
from openlpu.arch.status import RunStatus
from openlpu.arch.system import LinkEnd, SystemConfig, Topology
from openlpu.arch.timing import timing
from openlpu.runtime.bridged_chip import BridgedChip
from openlpu.runtime.bridged_system import BridgedSystem
from openlpu.runtime.driver import open_device
from openlpu.runtime.errors import DeviceError, LinkError
from openlpu.runtime.requests import Patience
from openlpu.runtime.serial_wire import BAUD, SerialWire
from openlpu.runtime.system import SystemDevice
from openlpu.verif.exchange import exchange
from openlpu.verif.odd_configs import LINKED
from openlpu.verif.virtual_board import VirtualBoards

PAIR = SystemConfig(name="pair", chip=LINKED, chips=2)
ROWS, BEATS = 16, flit_format(LINKED).beats
PROGRAMS = exchange(PAIR, ROWS)
SEED = 20290413


RING = SystemConfig(
    name="ring", chip=dataclasses.replace(LINKED, name="ringed", c2c_links=2), chips=4, topology=Topology.RING
)


@pytest.fixture
def boards() -> Iterator[VirtualBoards]:
    with VirtualBoards.of_system(PAIR, SEED) as boards:
        yield boards


def opened(boards: VirtualBoards, bring_up_seconds: float = 10.0) -> SystemDevice:
    chips = [BridgedChip(SerialWire(port, BAUD), LINKED, patience=Patience(3.0)) for port in boards.ports]
    return SystemDevice(BridgedSystem(chips, PAIR, bring_up_seconds=bring_up_seconds))


def run(device: SystemDevice, seed: int = 0) -> int:
    """Run once, and compare; how many replays it took."""
    rng = np.random.default_rng(SEED + seed)
    inputs = [{"x": rng.integers(-128, 128, (ROWS, LINKED.lanes), np.int8)} for _ in range(2)]
    result = device.run(inputs)
    for chip in range(2):
        np.testing.assert_array_equal(result.outputs[chip]["y0"], inputs[1 - chip]["x"])
    assert result.cycles == (PROGRAMS[0].cycles, PROGRAMS[1].cycles)
    return result.replays


def meanwhile(device: SystemDevice, happen: list[tuple[str, tuple[int, ...]]], boards: VirtualBoards) -> None:
    """Before the next run have something happen to the wire that comes to chip 1."""
    start = device.port.run

    def run(count: int = 1) -> tuple[RunStatus, ...]:
        while happen:
            what, arguments = happen.pop()
            getattr(boards, what)(LinkEnd(1, 0), *arguments)
        return start(count)

    device.port.run = run  # type: ignore[method-assign]


def test_a_system_runs_over_serial_ports(boards: VirtualBoards) -> None:
    with open_device(f"serial:{','.join(boards.ports)}", PAIR) as device:
        device.load(PROGRAMS)
        assert [run(device, seed) for seed in range(3)] == [0, 0, 0]
        inputs = [{"x": np.zeros((ROWS, LINKED.lanes), np.int8)}] * 2
        series = timing(LINKED).series(PROGRAMS[0].cycles, 3)
        assert device.run(inputs, count=3).cycles == (series, series)
        status = device.status()
        assert status.aligned == (True, True)
        assert status.missed == (False, False)
        assert [link.peer for link in status.links] == [LinkEnd(1, 0), LinkEnd(0, 0)]
        assert all(0 < link.delay <= PAIR.slowest_delay and link.corrected == 0 for link in status.links)
    # Whoever comes next finds everything as it is, and may begin anew.
    with open_device(f"serial:{boards.ports[1]}", LINKED) as chip:
        (link,) = chip.status().links
        # As clocks drift, what is measured may be a cycle more or less.
        assert dataclasses.replace(link, delay=0) == dataclasses.replace(status.links[1], delay=0)
    with open_device(f"serial:{','.join(boards.ports)}", PAIR) as device:
        device.load(PROGRAMS)
        assert run(device) == 0


@pytest.mark.regress
def test_single_bit_errors_are_corrected_and_counted(boards: VirtualBoards) -> None:
    with opened(boards) as device:
        device.load(PROGRAMS)
        meanwhile(device, [("disturb", (1, 2 * BEATS, 300))], boards)
        assert run(device) == 0
        assert device.status().links[1].corrected > 100
        assert device.status().links[1].uncorrectable == 0


def test_a_run_that_a_link_spoilt_is_done_again(boards: VirtualBoards) -> None:
    with opened(boards) as device:
        device.load(PROGRAMS)
        # So many that they go on until the run is over, and not until the replay.
        meanwhile(device, [("disturb", (2, 2 * BEATS, 400))], boards)
        assert run(device) == 1
        assert device.replayed == 1
        assert run(device) == 0


def test_a_link_that_dies_in_a_run_is_named(boards: VirtualBoards) -> None:
    with opened(boards, bring_up_seconds=1.0) as device:
        device.load(PROGRAMS)
        assert run(device) == 0
        meanwhile(device, [("cut", ())], boards)
        begin = time.monotonic()
        with pytest.raises(LinkError, match="chip 1 link 0: nothing comes from chip 0 link 0"):
            run(device)
        assert time.monotonic() - begin < 20
        # And the chips are free for whoever comes.
        assert not any(chip.running for chip in device.status().chips)


def test_dead_wires_are_named_when_a_system_is_opened(boards: VirtualBoards) -> None:
    boards.cut(LinkEnd(0, 0))
    with pytest.raises(LinkError, match="chip 0 link 0: nothing comes from chip 1 link 0"):
        opened(boards, bring_up_seconds=1.0)


@pytest.mark.regress
def test_a_ring_of_four_boards() -> None:
    programs = exchange(RING, ROWS)
    rng = np.random.default_rng(SEED)
    with VirtualBoards.of_system(RING, SEED) as boards, open_device(f"serial:{','.join(boards.ports)}", RING) as device:
        device.load(programs)
        inputs = [{"x": rng.integers(-128, 128, (ROWS, LINKED.lanes), np.int8)} for _ in programs]
        for _ in range(3):
            outputs = device.run(inputs).outputs
            for here, there in RING.peers.items():
                np.testing.assert_array_equal(outputs[here.chip][f"y{here.link}"], inputs[there.chip]["x"])
        assert device.replayed == 0
        boards.cut(LinkEnd(2, 1))
        with pytest.raises(LinkError, match="chip 2 link 1: nothing comes from chip 1 link 0"):
            device.run(inputs)


def test_the_command_serves_a_system_until_it_is_interrupted(tmp_path: Path) -> None:
    config, pair = tmp_path / "linked.json", tmp_path / "pair.json"
    config.write_text(json.dumps(LINKED.to_dict()))
    pair.write_text(json.dumps(PAIR.to_dict()))
    lpu = Path(sys.executable).parent / "lpu"
    process = subprocess.Popen(
        [lpu, "vboard", pair, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        assert said["digest"] == LINKED.digest
        with open_device(f"serial:{said['port']}", PAIR) as device:
            device.load(PROGRAMS)
            assert run(device) == 0
        last = said["port"].split(",")[1]
        status = subprocess.run(
            [lpu, "status", "--config", config, "--backend", f"serial:{last}"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert re.search(
            r"^chip 1 link 0 +up, to chip 0 link 0, \d+ cycles, 0 flits corrected, 0 un", status.stdout, re.M
        )
        with open_device(f"serial:{said['port']}", PAIR) as device:
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=30) == ("", "")
            assert process.returncode == 0
            with pytest.raises(DeviceError, match="the connection broke"):
                device.status()
    finally:
        process.kill()
        process.communicate()
