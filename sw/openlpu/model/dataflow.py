# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A program without time: what the linker makes of one, and the golden model executes. Pure data."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openlpu.arch.config import ChipConfig
from openlpu.arch.geometry import Stream
from openlpu.model.expand import Dispatch

MULTIPLY = "multiply"
"""The one step that is not in `semantics.OPERATIONS`, vector to word; its parameter indexes `LinkedProgram.weights`."""

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Step:
    """One operation on many rows: value numbers [arity, rows] in, [rows] (or [GROUP, rows], for `split`) out."""

    operation: str
    parameter: int
    inputs: Indices
    outputs: Indices


@dataclass(frozen=True, slots=True)
class Production:
    """A vector driven onto a stream: it stands in the register of `hop` in `cycle`."""

    cycle: int
    hop: int
    stream: Stream
    vector: int
    dispatch: Dispatch


@dataclass(frozen=True, slots=True)
class SramWrite:
    """A word of SRAM that stands from `cycle` on."""

    cycle: int
    slice: int
    address: int
    vector: int
    dispatch: Dispatch


@dataclass(frozen=True)
class LinkedProgram:
    """A proved program as data flow.

    Vectors are numbered from 0: first the initial SRAM words `loads`, by (slice, address), then the results of the
    steps. Words likewise: first `constants` (one bit pattern in every lane), then results. Steps are in an order that
    computes them. `weights[i]` holds the vectors of an installed array, row by row.
    """

    config: ChipConfig
    cycles: int
    dispatches: tuple[Dispatch, ...]
    loads: tuple[tuple[int, int], ...]
    constants: tuple[int, ...]
    vectors: int
    words: int
    weights: tuple[Indices, ...]
    steps: tuple[Step, ...]
    productions: tuple[Production, ...]
    """In order of cycles."""
    writes: tuple[SramWrite, ...]
    """In order of cycles."""

    @functools.cached_property
    def left_behind(self) -> tuple[Indices, Indices, Indices]:
        """What stands in SRAM afterwards: slice numbers, addresses and vectors of each word's last write."""
        last = {(write.slice, write.address): write.vector for write in self.writes}
        rows = [(slice_, address, vector) for (slice_, address), vector in last.items()]
        slices, addresses, vectors = np.array(rows, np.intp).reshape(-1, 3).T
        return slices, addresses, vectors
