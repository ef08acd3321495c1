# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Chips that run together, to a host: programs and arrays for each, links that are named, runs that are replayed.

Links that fail are scripted here; `tests/verif/test_virtual_boards.py` has real ones.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from openlpu.arch.bring_up import LinkReport
from openlpu.arch.presets import NANO
from openlpu.arch.program import Program
from openlpu.arch.status import Fault, RunStatus, SystemStatus
from openlpu.arch.system import LinkEnd, SystemConfig
from openlpu.arch.timing import timing
from openlpu.model.system import GoldenSystem, LinkedSystem
from openlpu.runtime.driver import DeviceError, DeviceFault, InputError, open_device
from openlpu.runtime.errors import LinkError
from openlpu.runtime.system import REPLAYS, SystemDevice
from openlpu.verif.exchange import exchange
from openlpu.verif.odd_configs import LINKED

ROWS = 7
PAIR = SystemConfig(name="pair", chip=LINKED, chips=2)
PROGRAMS = exchange(PAIR, ROWS)
SEED = 20290412


def rows() -> list[dict[str, NDArray[Any]]]:
    rng = np.random.default_rng(SEED)
    return [{"x": rng.integers(-128, 128, (ROWS, LINKED.lanes), np.int8)} for _ in range(2)]


def verify(outputs: Sequence[Mapping[str, NDArray[Any]]], inputs: Sequence[Mapping[str, NDArray[Any]]]) -> None:
    """Each chip has what the other sent."""
    for chip, arrays in enumerate(outputs):
        np.testing.assert_array_equal(arrays["y0"], inputs[1 - chip]["x"])


def keeping(program: Program) -> Program:
    """The same, but what it writes it keeps for its next run."""
    words = {(0, ROWS + row): np.full(LINKED.lanes, row, np.int8) for row in range(ROWS)}
    return dataclasses.replace(program, image=words, kept=frozenset(words))


class Troubled(GoldenSystem):
    """A system with links to which something happens in one run after the other.

    `flit`: a damaged one, and what the programs write is wrong. `missed`: likewise, as a clock was too slow. `lost`:
    a link that is found dead. `dead`: it stays so. Anything else is how the first chip's run ends.
    """

    def __init__(self, *troubles: str | RunStatus) -> None:
        super().__init__(PAIR)
        self.troubles = [*troubles]
        self.trouble: str | RunStatus = ""
        self.brought_up = 0
        self.began: list[bytes] = []
        """What stood, as each run began, in the words that are written."""
        self.closed = False

    def bring_up(self) -> tuple[LinkReport, ...]:
        self.brought_up += 1
        reports = super().bring_up()
        return (dataclasses.replace(reports[0], hears=False), *reports[1:]) if self.trouble == "dead" else reports

    def run(self, count: int = 1) -> tuple[RunStatus, ...]:
        self.began.append(b"".join(self.word(chip, row).tobytes() for chip in range(2) for row in range(ROWS)))
        self.trouble = self.troubles.pop(0) if self.troubles else ""
        if self.trouble in ("lost", "dead"):
            raise LinkError("chip 0 link 0: nothing comes from chip 1 link 0")
        good = super().run(count)
        if isinstance(self.trouble, RunStatus):
            return (self.trouble, *good[1:])
        if self.trouble:
            for chip in range(2):
                self.write_memory(chip, 0, ROWS + 2, np.full(LINKED.lanes, 99, np.int8))
        return good

    def status(self) -> SystemStatus:
        status = super().status()
        first, *others = status.links
        if self.trouble == "flit":
            first = dataclasses.replace(first, uncorrectable=1, fault_cycle=17)
        return dataclasses.replace(status, links=(first, *others), missed=(False, self.trouble == "missed"))

    def close(self) -> None:
        self.closed = True

    def word(self, chip: int, row: int) -> NDArray[np.int8]:
        return self.read_memory(chip, 0, ROWS + row)


def test_systems_of_the_golden_model() -> None:
    with open_device("golden", PAIR) as device:
        with pytest.raises(DeviceError, match="no programs are loaded"):
            device.run(rows())
        device.load(PROGRAMS)
        result = device.run(rows())
        verify(result.outputs, rows())
        assert result.cycles == (PROGRAMS[0].cycles, PROGRAMS[1].cycles)
        assert (result.replays, device.replayed) == (0, 0)
        series = timing(LINKED).series(PROGRAMS[0].cycles, 5)
        assert device.run(rows(), count=5).cycles == (series, series)
        assert [chip.run.cycles for chip in device.status().chips] == [series, series]


def test_inputs_and_programs_that_do_not_fit() -> None:
    with open_device("golden", PAIR) as device:
        with pytest.raises(DeviceError, match="'pair' has 2 chips, and 1 programs are given: give one for each"):
            device.load(PROGRAMS[:1])
        with pytest.raises(DeviceError, match="exchange1 was compiled for the chip nano"):
            device.load((PROGRAMS[0], dataclasses.replace(PROGRAMS[1], config=NANO)))
        device.load(PROGRAMS)
        with pytest.raises(InputError, match="inputs of 1 chips are given, and there are 2"):
            device.run(rows()[:1])
        with pytest.raises(InputError, match="input 'x' of exchange1 is missing"):
            device.run([*rows()[:1], {}])
        with pytest.raises(DeviceError, match="exchange0 runs once or more often, not 0 times"):
            device.run(rows(), count=0)


@pytest.mark.parametrize("trouble", ["flit", "missed", "lost"])
def test_a_spoilt_run_is_done_again_on_what_the_first_one_found(trouble: str) -> None:
    port = Troubled("", trouble, trouble)
    with SystemDevice(port) as device:
        device.load([keeping(program) for program in PROGRAMS])
        assert device.run(rows()).replays == 0
        result = device.run(rows())
        verify(result.outputs, rows())
        assert (result.replays, device.replayed, port.brought_up) == (2, 2, 3)
        first, *again = port.began
        assert first != again[0]
        assert again == [again[0]] * 3
        verify(device.run(rows()).outputs, rows())
        assert device.replayed == 2
    assert port.closed


def test_replays_are_bounded() -> None:
    port = Troubled(*["flit"] * 100)
    with SystemDevice(port) as device:
        device.load([keeping(program) for program in PROGRAMS])
        with pytest.raises(LinkError, match=rf"spoilt the run and {REPLAYS} replays: chip 0 link 0: a flit .*cycle 17"):
            device.run(rows())
        assert len(port.began) == 1 + REPLAYS == 1 + device.replayed
        # What is kept is as it was, and the next run begins with new links.
        assert [port.word(0, row).tolist() for row in range(ROWS)] == [[row] * LINKED.lanes for row in range(ROWS)]
        assert port.brought_up == 1 + REPLAYS
        port.troubles.clear()
        verify(device.run(rows()).outputs, rows())
        assert port.brought_up == 2 + REPLAYS


def test_without_replays_a_spoilt_run_fails_and_nothing_is_read_before() -> None:
    port = Troubled("flit")
    with SystemDevice(port, replays=0) as device:
        device.load([keeping(program) for program in PROGRAMS])
        with pytest.raises(LinkError, match=r"links spoilt the run: chip 0 link 0"):
            device.run(rows())
        assert port.word(0, 2).tolist() == [99] * LINKED.lanes
        assert port.brought_up == 1
        for _ in range(2):
            verify(device.run(rows()).outputs, rows())
            assert port.brought_up == 2


def test_dead_links_are_named_when_a_system_is_opened_and_when_one_dies() -> None:
    named = r"links of system 'pair' are not as they should be: chip 0 link 0: nothing comes from chip 1 link 0"
    port = Troubled()
    port.trouble = "dead"
    with pytest.raises(LinkError, match=named):
        SystemDevice(port)
    assert port.closed
    port = Troubled("dead")
    with SystemDevice(port) as device:
        device.load(PROGRAMS)
        with pytest.raises(LinkError, match=named):
            device.run(rows())
        assert len(port.began) == 1


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (
            RunStatus(9, Fault("c2c0.receive", 3, illegal=False)),
            DeviceFault,
            "chip 0: exchange0: schedule fault: operand",
        ),
        (RunStatus(9), DeviceError, "chip 0: exchange0 took 9 cycles, but takes"),
    ],
)
def test_what_is_no_fault_of_links_is_not_done_again(status: RunStatus, kind: type[Exception], message: str) -> None:
    port = Troubled(status)
    with SystemDevice(port) as device:
        device.load(PROGRAMS)
        with pytest.raises(kind, match=message):
            device.run(rows())
        assert len(port.began) == 1


def test_programs_of_different_lengths_run_once_at_a_time() -> None:
    class Trusting(Troubled):
        def load(self, programs: Sequence[Program]) -> LinkedSystem:
            return super().load(PROGRAMS)

    with SystemDevice(Trusting()) as device:
        device.load((PROGRAMS[0], dataclasses.replace(PROGRAMS[1], cycles=PROGRAMS[1].cycles + 1)))
        with pytest.raises(DeviceError, match="programs of different lengths run once at a time"):
            device.run(rows(), count=2)


def test_every_chip_of_a_system_has_a_port() -> None:
    for ports in ("/dev/one", "/dev/one,", "/dev/one,/dev/two,/dev/three"):
        with pytest.raises(DeviceError, match=r"'pair' has 2 chips, and \d ports are named: write serial:PORT0,PORT1"):
            open_device(f"serial:{ports}", PAIR)
    with pytest.raises(DeviceError, match="no device 'tin'; there are: golden, rtl, serial:PORT"):
        open_device("tin", PAIR)


def test_reports_say_what_was_found() -> None:
    good = LinkReport(LinkEnd(0, 0), True, True, LinkEnd(1, 0))
    faulty = dataclasses.replace(good, fault_cycle=3)
    assert good.fault == ""
    assert faulty.fault == "a vector had no room"
    assert dataclasses.replace(faulty, uncorrectable=2).fault == "a flit with wrong bits beyond repair"
    assert dataclasses.replace(faulty, hears=False).fault == "nothing came any more"
