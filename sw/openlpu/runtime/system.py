# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Chips that run one program together: load it, give them numpy arrays, get numpy arrays and cycles.

    with open_device("serial:/dev/ttyUSB0,/dev/ttyUSB1", system) as device:
        device.load(programs)
        result = device.run([{"x": left}, {"x": right}])

A link cannot wait, so what it damages beyond repair is lost. It is flagged, and then the run is done again, from the
same inputs and the same SRAM: `docs/decisions/0029-replays.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from openlpu.arch.bring_up import link_problems
from openlpu.arch.program import Program
from openlpu.arch.status import SystemStatus
from openlpu.arch.system import SystemConfig
from openlpu.runtime.closing import Closing
from openlpu.runtime.errors import DeviceError, InputError, LinkError
from openlpu.runtime.loaded import LoadedProgram
from openlpu.runtime.port import SystemPort

REPLAYS = 3
"""How often a run is done again, unless something else is asked for."""


@dataclass(frozen=True)
class SystemResult:
    """Of each chip the outputs by name, in the shapes and types of their ports, and the cycles that its run took."""

    outputs: tuple[dict[str, NDArray[Any]], ...]
    cycles: tuple[int, ...]
    replays: int
    """Runs before this one that links spoilt."""


class SystemDevice(Closing):
    """The chips of a system and the programs loaded into them. A context manager: leaving it closes the chips.

    A run that links spoil is done again up to `replays` times; `replayed` counts those since the opening. With 0 it
    fails, and the words that the programs keep for their next run are as the failed one left them; otherwise they are
    as it found them, also where every replay failed.

    Raises:
        LinkError: by the constructor, when links are dead, crossed or slow.
    """

    def __init__(self, port: SystemPort, *, replays: int = REPLAYS) -> None:
        self.port = port
        self.replays = replays
        self.replayed = 0
        self._loaded: tuple[LoadedProgram, ...] = ()
        self._clean = False
        """Nothing of a spoilt run is on its way any more, or waits where the next one would find it."""
        try:
            self._bring_up()
        except BaseException:
            port.close()
            raise

    @property
    def system(self) -> SystemConfig:
        """Which chips these are, and their links."""
        return self.port.system

    def close(self) -> None:
        """Release the chips."""
        self.port.close()

    def status(self) -> SystemStatus:
        """What the chips know of themselves and of their links."""
        return self.port.status()

    def load(self, programs: Sequence[Program]) -> None:
        """Write the text and image of a program for each chip. They may then run together any number of times.

        Raises:
            DeviceError: when there is not one for each chip, or one was made for another chip.
            EncodingError: when a text does not fit the chip's queues.
            CheckError: by devices that can tell, when the programs do not fit together.
        """
        if len(programs) != self.system.chips:
            raise DeviceError(
                f"system '{self.system.name}' has {self.system.chips} chips, and {len(programs)} programs are given: "
                "give one for each"
            )
        pairs = zip(self.port.memories, programs, strict=True)
        loaded = tuple(LoadedProgram(memory, program) for memory, program in pairs)
        self._loaded = ()
        self.port.load(programs)
        self._loaded = loaded

    def run(self, inputs: Sequence[Mapping[str, NDArray[Any]]], count: int = 1) -> SystemResult:
        """Run the loaded programs together, `count` times in a row with no host in between, as `Device.run` does.

        `inputs` are those of each chip, by name.

        Raises:
            InputError: when an input is missing, unknown, or of another type or shape than its port.
            DeviceFault: when the hardware found a program wrong in time, and no link was to blame.
            LinkError: when links spoilt the run and every replay, or are dead.
            DeviceError: when no programs are loaded, they cannot run so often, one did not take the cycles that it
                says, or the memory of a chip lost bits that ECC cannot restore.
        """
        if not self._loaded:
            raise DeviceError("no programs are loaded")
        if len(inputs) != self.system.chips:
            raise InputError(f"inputs of {len(inputs)} chips are given, and there are {self.system.chips}")
        if count > 1 and len({each.program.cycles for each in self._loaded}) > 1:
            raise DeviceError("programs of different lengths run once at a time: no chip waits for another")
        for each in self._loaded:
            each.cycles(count)
        prepared = [each.check(own) for each, own in zip(self._loaded, inputs, strict=True)]
        carried = [each.carried() if self.replays else [] for each in self._loaded]
        replays = 0
        while True:
            if not self._clean:
                self._bring_up()
            for each, own in zip(self._loaded, prepared, strict=True):
                each.prepare(own)
            cycles, problems = self._attempt(count)
            if not problems:
                return SystemResult(tuple(each.outputs() for each in self._loaded), cycles, replays)
            for each, blocks in zip(self._loaded, carried, strict=True):
                each.put_back(blocks)
            if replays == self.replays:
                also = f" and {replays} replays" if replays else ""
                raise LinkError(f"links spoilt the run{also}: {'; '.join(problems)}")
            replays += 1
            self.replayed += 1

    def write_state(self, chip: int, name: str, rows: NDArray[Any]) -> int:
        """`LoadedProgram.write_state` of the program of a chip."""
        return self._of(chip).write_state(name, rows)

    def read_state(self, chip: int, name: str) -> NDArray[Any]:
        """`LoadedProgram.read_state` of the program of a chip."""
        return self._of(chip).read_state(name)

    def _of(self, chip: int) -> LoadedProgram:
        if not self._loaded:
            raise DeviceError("no programs are loaded")
        return self._loaded[chip]

    def _bring_up(self) -> None:
        """Bring links up anew: nothing of what a run left on its way is there any more."""
        problems = link_problems(self.system, self.port.bring_up())
        if not problems:
            aligned = self.port.status().aligned
            problems = [f"chip {chip}: its time is not aligned" for chip, so in enumerate(aligned) if not so]
        if problems:
            raise LinkError(f"links of system '{self.system.name}' are not as they should be: {'; '.join(problems)}")
        self._clean = True

    def _attempt(self, count: int) -> tuple[tuple[int, ...], list[str]]:
        """Run: the cycles of each chip, and what links did to the run, if anything.

        Raises as `run`, for all that a replay would not mend.
        """
        before = self.port.status()
        self._clean = False
        try:
            runs = self.port.run(count)
        except LinkError as error:
            return (), [str(error)]
        found = self.port.status()
        problems = [f"{link.end}: {link.fault}, in cycle {link.fault_cycle}" for link in found.links if link.fault]
        problems += [f"chip {chip} has fallen behind" for chip, missed in enumerate(found.missed) if missed]
        if problems:
            return (), problems
        for chip, (each, run) in enumerate(zip(self._loaded, runs, strict=True)):
            each.verify(run, count, f"chip {chip}: ")
            if found.chips[chip].uncorrectable != before.chips[chip].uncorrectable:
                raise DeviceError(
                    f"chip {chip}: {each.program.name}: ECC found words with two wrong bits: load the programs and run "
                    "them again"
                )
        self._clean = True
        return tuple(run.cycles for run in runs), []
