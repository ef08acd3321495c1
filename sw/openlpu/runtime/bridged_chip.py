# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A chip behind its host bridge: the accesses of a `ChipPort` as requests on a wire."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence

import numpy as np

from openlpu.arch import protocol
from openlpu.arch.bring_up import LinkReport
from openlpu.arch.config import ChipConfig
from openlpu.arch.geometry import geometry
from openlpu.arch.presets import PRESETS
from openlpu.arch.program import Vector
from openlpu.arch.protocol import Data
from openlpu.arch.status import ChipStatus, Fault, PlaceErrors, RunStatus, error_places, places_with_errors
from openlpu.arch.system import LinkEnd
from openlpu.runtime.errors import DeviceError
from openlpu.runtime.requests import Identity, Patience, Request, RequestLine, Wire

_LONGEST_PAUSE = 0.05
"""Seconds between two looks at a run that goes on."""


@dataclasses.dataclass(frozen=True)
class LinkState:
    """What a chip tells of an end of a link, and of its time."""

    report: LinkReport
    aligned: bool
    missed: bool


class BridgedChip:
    """A `ChipPort` onto the chip at the other end of a wire, which it owns from then on.

    Without a `config` the chip is the preset that it says it is.

    Raises:
        DeviceError: by the constructor, when there is no chip of that config at the other end; by the accesses, when
            the chip refuses one.
        ConnectionLostError: by every access, when the chip does not answer any more or was reset.
    """

    def __init__(self, wire: Wire, config: ChipConfig | None, *, patience: Patience, run_seconds: float = 60.0) -> None:
        self._wire = wire
        self._run_seconds = run_seconds
        self._halted = False
        """No run of an earlier host goes on."""
        self.line = RequestLine(wire, patience)
        try:
            self.identity = self.line.identify()
            self._config = _agreed(wire.name, self.identity, config)
        except BaseException:
            wire.close()
            raise

    @property
    def name(self) -> str:
        """Of the wire."""
        return self._wire.name

    @property
    def config(self) -> ChipConfig:
        """What chip this is."""
        return self._config

    def write_memory(self, slice: int, address: int, words: Vector) -> None:
        """Write consecutive SRAM words, int8 [n, lanes], from `address` on."""
        self._take_over()
        size = self._config.lanes
        self.line.ask(
            [
                Request(protocol.WRITE_MEMORY, (slice, address + start), words[start:stop].tobytes())
                for start, stop in _blocks(len(words), size)
            ]
        )

    def read_memory(self, slice: int, address: int, count: int) -> Vector:
        """Read `count` consecutive SRAM words, int8 [count, lanes]."""
        self._take_over()
        size = self._config.lanes
        requests = [
            Request(protocol.READ_MEMORY, (slice, address + start, stop - start))
            for start, stop in _blocks(count, size)
        ]
        data = b"".join(reply.data for reply in self.line.ask(requests))
        if len(data) != count * size:
            raise DeviceError(f"{self._wire.name} answered {count} words with {len(data)} bytes: a broken device")
        return np.frombuffer(data, np.int8).reshape(count, size).copy()

    def write_text(self, queue: int, words: Sequence[int]) -> None:
        """Write instruction words of a queue, from its word 0 on."""
        self._take_over()
        size = protocol.word_bytes(self._config, Data.TEXT)
        self.line.ask(
            [
                Request(
                    protocol.WRITE_TEXT,
                    (queue, start),
                    b"".join(word.to_bytes(size, "little") for word in words[start:stop]),
                )
                for start, stop in _blocks(len(words), size)
            ]
        )

    def run(self, count: int = 1) -> RunStatus:
        """Start the program, once, to run `count` times in a row, and wait until every queue has halted for the last.

        Raises:
            DeviceError: when it goes on for longer than `count` times the `run_seconds` of the constructor; it is
                stopped then.
        """
        self._take_over()
        before = self.state()
        self.begin(count)
        seconds = count * self._run_seconds
        deadline, pause = time.monotonic() + seconds, pauses()
        while (status := self.state()).running:
            if time.monotonic() > deadline:
                self.reset()
                raise DeviceError(
                    f"the program on {self._wire.name} has not halted after {seconds:g} s: it was stopped"
                )
            time.sleep(next(pause))
        corrected, uncorrectable = status.corrected - before.corrected, status.uncorrectable - before.uncorrectable
        return dataclasses.replace(status.run, corrected=corrected, uncorrectable=uncorrectable)

    def begin(self, count: int = 1) -> None:
        """Start the program, once, and do not wait. Of a system all chips begin when the last one was started."""
        self._take_over()
        # A halted chip that takes this runs, whether its reply arrives or not.
        self.line.deliver([Request(protocol.RUN, (count,))])

    def reset(self) -> None:
        """Stop a run, and clear status and counts."""
        self.line.ask([Request(protocol.RESET)])

    def place(self, chip: int, parent: int | None, children: Sequence[int]) -> None:
        """Tell a chip with links which one it is, its link to its parent, and those to its children; and reset it."""
        self._take_over()
        self.line.ask([Request(protocol.PLACE, (chip, parent or 0, sum(1 << link for link in children)))])

    def links(self) -> list[LinkState]:
        """How this chip's ends of links are, connected or not, also while it runs."""
        replies = self.line.ask([Request(protocol.LINK, (link,)) for link in range(self._config.c2c_links)])
        return [
            LinkState(
                LinkReport.of(LinkEnd(said.fields["chip"], link), said.fields),
                bool(said.fields["aligned"]),
                bool(said.fields["missed"]),
            )
            for link, said in enumerate(replies)
        ]

    def status(self) -> ChipStatus:
        """What the chip says of itself, also while it runs."""
        state = self.state()
        if state.corrected or state.uncorrectable:
            state = dataclasses.replace(state, places=self._places())
        return dataclasses.replace(state, links=tuple(link.report for link in self.links()))

    def close(self) -> None:
        """Release the wire."""
        self._wire.close()

    def _places(self) -> tuple[PlaceErrors, ...]:
        """Where ECC found something."""
        numbers = range(len(error_places(self._config)))
        replies = self.line.ask([Request(protocol.ECC, (number,)) for number in numbers])
        counts = [(reply.fields["corrected"], reply.fields["uncorrectable"]) for reply in replies]
        return places_with_errors(self._config, counts)

    def state(self) -> ChipStatus:
        """`status`, without the places."""
        (reply,) = self.line.ask([Request(protocol.STATUS)])
        said = reply.fields
        fault = None
        if said["fault"]:
            queue = geometry(self._config).queues[said["fault_queue"]].name
            fault = Fault(queue, said["fault_cycle"], bool(said["fault_illegal"]), said["faults"])
        return ChipStatus(
            running=bool(said["running"]),
            run=RunStatus(said["cycles"], fault),
            corrected=said["corrected"],
            uncorrectable=said["uncorrectable"],
        )

    def _take_over(self) -> None:
        """Stop the run of a host that went away in the middle of it: nobody waits for its end any more."""
        if not self._halted:
            if self.state().running:
                self.reset()
            self._halted = True


def pauses() -> Iterator[float]:
    """Seconds to wait between looks at something that goes on: longer and longer."""
    pause = 0.001
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE)


def _agreed(name: str, identity: Identity, config: ChipConfig | None) -> ChipConfig:
    """The config of the chip that says it has this identity, which must be `config` if that is given."""
    preset = next((chip for chip in PRESETS.values() if chip.digest == identity.digest), None)
    if config is None:
        if preset is None:
            raise DeviceError(f"the chip on {name} ({identity.digest}) is no preset: name the config it was made from")
        return preset
    if config.digest != identity.digest:
        other = f"{preset.name} ({identity.digest})" if preset else identity.digest
        raise DeviceError(
            f"the chip on {name} is {other}, not {config.name} ({config.digest}): compile for that chip, or configure "
            "the board with this one"
        )
    return config


def _blocks(count: int, size: int) -> Iterator[tuple[int, int]]:
    """First and last + 1 of as many words of `size` bytes as fit a frame, `count` of them in all."""
    most = protocol.MAX_DATA // size
    return ((start, min(start + most, count)) for start in range(0, count, most))
