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

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Step:
    """One operation on many rows: value numbers [arity, rows] in, [rows] (or [GROUP, rows], for four planes) out."""

    operation: str
    parameter: int
    inputs: Indices
    outputs: Indices


@dataclass(frozen=True)
class Multiplication:
    """Vectors times installed weights: group g of `inputs` [groups, rows] meets `weights[installs[g]]`; words out."""

    installs: Indices
    inputs: Indices
    outputs: Indices
    constant: bool
    """All its weights are SRAM words as they stand at the start."""


@dataclass(frozen=True)
class Gather:
    """Row r of `outputs` [rows] is the vector of `window` [words, rows] that the vector `maps[r]` picks, or zeros where
    the share of the table, `shares` [2, rows] as `semantics.share` has it, is another one."""

    maps: Indices
    shares: Indices
    window: Indices
    outputs: Indices


@dataclass(frozen=True)
class Scatter:
    """`outputs` [words, rows] are the vectors of `window` [words, rows], but for the one in each row that the vector
    `maps[r]` picks, if the share of the table is not another one: it is `sources[r]`."""

    maps: Indices
    shares: Indices
    sources: Indices
    window: Indices
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
    """Of the window's first word, for a scatter."""
    vector: int
    dispatch: Dispatch
    map: int | None = None
    """The vector that picks the word of a scatter's window; None for a write."""


@dataclass(frozen=True)
class LinkedProgram:
    """A proved program as data flow.

    Vectors are numbered from 0: first the initial SRAM words `loads`, by (slice, address), then the results of the
    steps. Words likewise: first `constants` (one bit pattern in every lane), then results. Steps are in an order that
    computes them.
    """

    config: ChipConfig
    cycles: int
    dispatches: tuple[Dispatch, ...]
    loads: tuple[tuple[int, int], ...]
    constants: tuple[int, ...]
    vectors: int
    words: int
    weights: Indices
    """The vectors of each installed array, [installs, lanes]: its rows, or its columns where `transposed`."""
    transposed: NDArray[np.bool_]
    steps: tuple[Step | Multiplication | Gather | Scatter, ...]
    productions: tuple[Production, ...]
    """In order of cycles."""
    writes: tuple[SramWrite, ...]
    """In order of cycles."""
    left_behind: tuple[Indices, Indices, Indices]
    """What stands in SRAM afterwards, where the program may have changed it: slice numbers, addresses, vectors."""
    text_source: frozenset[tuple[int, int]]
    """The SRAM words that `ifetch` took text from: the program is proved for what they hold."""
    fetched: tuple[tuple[int, int, int], ...]
    """What `ifetch` wrote to the instruction memories, in order: (queue number, address, word)."""

    @functools.cached_property
    def load_places(self) -> tuple[Indices, Indices]:
        """Slice numbers and addresses of `loads`."""
        slices, addresses = np.array(self.loads, np.intp).reshape(-1, 2).T
        return slices, addresses
