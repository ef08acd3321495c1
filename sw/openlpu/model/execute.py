# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Runs a linked program's data flow, any number of times."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from openlpu.arch.numerics import Words
from openlpu.arch.program import Vector
from openlpu.model import semantics
from openlpu.model.dataflow import Gather, Indices, LinkedProgram, Multiplication, Scatter, Step
from openlpu.model.semantics import OPERATIONS, Space

_KEPT = 1 << 25
"""Weights that are kept converted from run to run at most: 128 MiB of float32."""


class Execution:
    """One program's runs. Weights that no run and no host has changed are converted for the multiplier once."""

    def __init__(self, linked: LinkedProgram) -> None:
        self.linked = linked
        self._kept: dict[int, NDArray[np.float32]] = {}
        """Converted weights by step."""
        constant = [s.installs for s in linked.steps if isinstance(s, Multiplication) and s.constant]
        used = np.unique(linked.weights[np.concatenate(constant)]) if constant else np.zeros(0, np.intp)
        slices, addresses = linked.load_places
        self._weight_places = slices[used], addresses[used]

    def run(self, memory: Vector, changed: NDArray[np.bool_]) -> Vector:
        """Every vector of the data flow, int8 [count, lanes], from SRAM `memory` [slices, mem_words, lanes].

        `changed` [slices, mem_words] tells the words written since the last run; it is cleared where that was noticed.
        """
        linked = self.linked
        lanes = memory.shape[-1]
        if changed[self._weight_places].any():
            self._kept.clear()
            changed[self._weight_places] = False
        vectors: Vector = np.empty((linked.vectors, lanes), np.int8)
        words: Words = np.empty((linked.words, lanes), np.int32)
        tables: dict[Space, NDArray[Any]] = {Space.VECTOR: vectors, Space.WORD: words}
        vectors[: len(linked.loads)] = memory[linked.load_places]
        bits = np.array(linked.constants, np.uint32).view(np.int32)
        words[: len(bits)] = bits[:, np.newaxis]
        for number, step in enumerate(linked.steps):
            match step:
                case Step(operation, parameter, inputs, outputs):
                    known = OPERATIONS[operation]
                    operands = [tables[known.source][rows] for rows in inputs]
                    parameters = (parameter,) if known.parametric else ()
                    tables[known.result][outputs] = known.apply(*operands, *parameters)
                case Multiplication():
                    words[step.outputs] = semantics.multiply(vectors[step.inputs], self._weights(number, step, vectors))
                case Gather(maps, shares, window, outputs):
                    found, here = _picked(window, vectors[maps], shares)
                    vectors[outputs] = np.where(here[:, np.newaxis], vectors[found], np.int8(0))
                case Scatter(maps, shares, sources, window, outputs):
                    vectors[outputs] = vectors[window]
                    found, here = _picked(outputs, vectors[maps], shares)
                    vectors[found[here]] = vectors[sources[here]]
        return vectors

    def _weights(self, number: int, step: Multiplication, vectors: Vector) -> NDArray[np.float32]:
        if number in self._kept:
            return self._kept[number]
        linked = self.linked
        weights = vectors[linked.weights[step.installs]].astype(np.float32)
        columns = linked.transposed[step.installs]
        weights[columns] = weights[columns].swapaxes(-1, -2)
        if step.constant and weights.size + sum(kept.size for kept in self._kept.values()) <= _KEPT:
            self._kept[number] = weights
        return weights


def _picked(window: Indices, maps: Vector, shares: Indices) -> tuple[Indices, NDArray[np.bool_]]:
    """The numbers in `window` [words, rows] that each row's map picks, and whether they are in its share of a table."""
    word, here = semantics.picked(maps, shares, len(window))
    return window[word, np.arange(window.shape[1])], here
