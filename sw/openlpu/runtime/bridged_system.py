# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The chips of a system, each behind its host bridge, and one host that talks to all of them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from openlpu.arch.bring_up import LinkReport, link_problems
from openlpu.arch.program import Program
from openlpu.arch.status import RunStatus, SystemStatus
from openlpu.arch.system import SystemConfig
from openlpu.runtime.bridged_chip import BridgedChip, LinkState, pauses
from openlpu.runtime.errors import DeviceError, LinkError
from openlpu.runtime.loaded import write_program

_BRING_UP_SECONDS = 10.0
"""After which links that are not as they should be are what they will be."""


class BridgedSystem:
    """A `SystemPort` onto chips, given in the order of the system, which it owns from then on.

    `run_seconds` is how long a run may last. A link that dies is noticed within 0.05 s and the time of a request.
    """

    def __init__(
        self,
        chips: Sequence[BridgedChip],
        system: SystemConfig,
        *,
        run_seconds: float = 60.0,
        bring_up_seconds: float = _BRING_UP_SECONDS,
    ) -> None:
        self.system = system
        self.memories = tuple(chips)
        self._chips = tuple(chips)
        self._run_seconds = run_seconds
        self._bring_up_seconds = bring_up_seconds

    def bring_up(self) -> tuple[LinkReport, ...]:
        """Tell each chip its place, which resets it, and wait until links and times are as they should be, or for
        `bring_up_seconds`. The report of every connected end."""
        for chip, port in enumerate(self._chips):
            port.place(chip, self.system.parents[chip], self.system.children(chip))
        deadline = time.monotonic() + self._bring_up_seconds
        pause, states = pauses(), self._links()
        while not all(state.aligned and state.report.up for state in states) and time.monotonic() < deadline:
            time.sleep(next(pause))
            states = self._links()
        return tuple(state.report for state in states)

    def load(self, programs: Sequence[Program]) -> None:
        """Write text and image of a program for each chip."""
        for port, program in zip(self._chips, programs, strict=True):
            write_program(port, program)

    def run(self, count: int = 1) -> tuple[RunStatus, ...]:
        """Start all chips, which begin together once all are started, and wait until all have ended.

        Raises:
            LinkError: when a link is found dead before; the chips are stopped then.
            DeviceError: when one has not ended after `count` times `run_seconds`; likewise.
        """
        for port in self._chips:
            port.begin(count)
        seconds = count * self._run_seconds
        deadline = time.monotonic() + seconds
        pause = pauses()
        while running := [chip for chip, port in enumerate(self._chips) if port.state().running]:
            problems = link_problems(self.system, (state.report for state in self._links()))
            if problems:
                self._stop()
                raise LinkError("; ".join(problems))
            if time.monotonic() > deadline:
                self._stop()
                names = ", ".join(f"chip {chip} on {self._chips[chip].name}" for chip in running)
                raise DeviceError(f"not halted after {seconds:g} s, and stopped: {names}")
            time.sleep(next(pause))
        return tuple(port.state().run for port in self._chips)

    def status(self) -> SystemStatus:
        """What the chips say of themselves, also while they run."""
        states = self._links()
        # Of the chip itself each of its ends tells the same.
        of_chips = {state.report.end.chip: state for state in states}
        return SystemStatus(
            tuple(port.status() for port in self._chips),
            tuple(state.report for state in states),
            tuple(of_chips[chip].aligned for chip in range(self.system.chips)),
            tuple(of_chips[chip].missed for chip in range(self.system.chips)),
        )

    def close(self) -> None:
        """Release the wires."""
        for port in self._chips:
            port.close()

    def _links(self) -> list[LinkState]:
        """How every connected end is."""
        return [state for port in self._chips for state in port.links() if state.report.end in self.system.peers]

    def _stop(self) -> None:
        for port in self._chips:
            port.reset()
