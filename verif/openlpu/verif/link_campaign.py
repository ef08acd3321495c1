# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Bit errors on the wires between Verilated chips while they run a program, run after run, through the driver.

The program is `exchange`: every vector that goes over a link is compared with what was sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openlpu.arch.bring_up import LinkReport
from openlpu.arch.links import flit_format
from openlpu.arch.program import Program
from openlpu.arch.status import RunStatus
from openlpu.arch.system import LinkEnd, SystemConfig
from openlpu.runtime.system import SystemDevice
from openlpu.verif.exchange import exchange
from openlpu.verif.rtl_system import Conditions, RtlSystem

_BURST = 200
"""Beats that are disturbed at each end during one run, where it is done again: from before its start to its end."""


@dataclass(frozen=True)
class Campaign:
    """What came of it."""

    disturbed: Mapping[LinkEnd, int]
    """Beats, by the end that they came to."""
    corrected: Mapping[LinkEnd, int]
    uncorrectable: Mapping[LinkEnd, int]
    runs: int
    """That the driver was asked for."""
    replays: int
    """That it did besides."""


class _Watched(RtlSystem):
    """Chips whose links are looked at before they begin anew, once nothing disturbs them any more."""

    def __init__(self, system: SystemConfig, conditions: Conditions) -> None:
        self.corrected = dict.fromkeys(system.peers, 0)
        self.uncorrectable = dict.fromkeys(system.peers, 0)
        self.asked = 0
        """Beats to disturb at each end, so far."""
        self.cycles: set[tuple[int, ...]] = set()
        """Of all runs, by chip."""
        super().__init__(system, conditions)

    def bring_up(self) -> tuple[LinkReport, ...]:
        self.look()
        return super().bring_up()

    def run(self, count: int = 1) -> tuple[RunStatus, ...]:
        ended = super().run(count)
        self.cycles.add(tuple(status.cycles for status in ended))
        return ended

    def disturb_all(self, bits: int, count: int) -> None:
        # One flit of two at most, and each time a beat further.
        beats = flit_format(self.system.chip).beats
        for end in self.system.peers:
            self.disturb(end, bits, 2 * beats + 1, count)
        self.asked += count

    def pending(self) -> bool:
        return any(self.disturbed(end) < self.asked for end in self.system.peers)

    def look(self) -> None:
        """Add up what the ends count since the reset, once everything has come."""
        while self.pending():
            self.wait(100)
        self.wait(100)
        for report in self.reports():
            self.corrected[report.end] += report.corrected
            self.uncorrectable[report.end] += report.uncorrectable


def campaign(system: SystemConfig, *, rows: int, bits: int, count: int, seed: int) -> Campaign:
    """Run the exchange of so many rows again and again while at each end `count` beats have so many wrong bits.

    Raises AssertionError when an output or a length is not as it should be, and as `SystemDevice.run`.
    """
    rng = np.random.default_rng(seed)
    programs = exchange(system, rows)
    port = _Watched(system, Conditions.drawn(system, seed))
    with SystemDevice(port) as device:
        device.load(programs)
        runs = 0
        if bits == 1:
            port.disturb_all(bits, count)
        while port.asked < count or port.pending():
            if bits > 1:
                port.disturb_all(bits, min(_BURST, count - port.asked))
            inputs = [{"x": rng.integers(-128, 128, (rows, system.chip.lanes), np.int8)} for _ in programs]
            _verify(system, programs, inputs, device.run(inputs).outputs)
            runs += 1
        assert port.cycles == {tuple(program.cycles for program in programs)}
        port.look()
        disturbed = {end: port.disturbed(end) for end in system.peers}
        return Campaign(disturbed, port.corrected, port.uncorrectable, runs, device.replayed)


def _verify(
    system: SystemConfig,
    programs: tuple[Program, ...],
    inputs: list[dict[str, NDArray[Any]]],
    outputs: tuple[dict[str, NDArray[Any]], ...],
) -> None:
    for here, there in system.peers.items():
        np.testing.assert_array_equal(
            outputs[here.chip][f"y{here.link}"], inputs[there.chip]["x"], f"{programs[here.chip].name}, {here}"
        )
