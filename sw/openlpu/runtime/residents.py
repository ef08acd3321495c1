# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What programs that take turns on a chip have left in its SRAM."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import numpy as np

from openlpu.arch.program import Port, Program, Vector
from openlpu.runtime.errors import DeviceError

Place = tuple[int, int]
"""A word of SRAM: slice and address."""


class Residents:
    """All programs so far, since one was loaded with its whole image."""

    def __init__(self) -> None:
        self._held: dict[Place, Vector] = {}
        """Words of their images, where they still stand."""
        self._kept: set[Place] = set()
        """Words of their states."""
        self._states: dict[str, Port] = {}

    def lacking(self, program: Program, changed: AbstractSet[Place]) -> dict[Place, Vector]:
        """What another program, which may change some words, needs of its image: neither states that are there, nor
        what stands where it should.

        Raises:
            DeviceError: when it has such states elsewhere, or changes words of others.
        """
        moved = any(self._states.get(port.name, port).columns != port.columns for port in program.states)
        if moved or not self._kept.isdisjoint(changed - program.kept):
            raise DeviceError(
                f"{program.name} would spoil states that are in the chip: programs that take turns are compiled beside "
                f"one another"
            )
        states = program.kept & self._kept
        return {
            place: word for place, word in program.image.items() if not (place in states or self._holds(place, word))
        }

    def take(self, program: Program, changed: AbstractSet[Place]) -> None:
        """A program is there, with all of its image; it may change some words."""
        held = {**self._held, **program.image}
        self._held = {place: word for place, word in held.items() if place not in changed}
        self._kept |= program.kept
        self._states |= {port.name: port for port in program.states}

    def _holds(self, place: Place, word: Vector) -> bool:
        return place in self._held and np.array_equal(self._held[place], word)
