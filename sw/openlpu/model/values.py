# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Values by number, and the operations between them, batched by level.

The level of a value is the longest path from the program's start to it. Operations of one kind whose operands are ready
at the same level are one step, and one numpy call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from openlpu.arch.config import GROUP
from openlpu.model.dataflow import Gather, Indices, Multiplication, Scatter, Step
from openlpu.model.semantics import OPERATIONS, Space

_MULTIPLY, _GATHER, _SCATTER = "multiply", "gather", "scatter"
_BATCH = 1 << 22
"""Weights that are multiplied with in one step at most: 16 MiB of float32."""


class Values:
    """Numbers for all vectors and words of a program, and how each comes from others."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.loads: dict[tuple[int, int], int] = {}
        """The vectors of initial SRAM words, by (slice, address)."""
        self.constants: dict[int, int] = {}
        """The words of immediates."""
        self._vector_levels: list[int] = []
        self._word_levels: list[int] = []
        self._batches: dict[tuple[int, str, int], tuple[list[tuple[int, ...]], list[tuple[int, ...]]]] = {}
        self._installs: list[tuple[int, ...]] = []
        self._transposed: list[bool] = []
        self._install_levels: list[int] = []
        self._joined: dict[tuple[int, ...], int] = {}
        self._extended: dict[int, int] = {}

    # New values.

    def load(self, place: tuple[int, int]) -> int:
        """The vector that stands in an SRAM word at the start."""
        if place not in self.loads:
            self.loads[place] = self._vector(0)
        return self.loads[place]

    def constant(self, bits: int) -> int:
        """The word of an immediate."""
        if bits not in self.constants:
            self.constants[bits] = self._word(0)
        return self.constants[bits]

    def extended(self, vector: int) -> int:
        """A vector's bytes as words."""
        if vector not in self._extended:
            self._extended[vector] = self._word_of("extend", (vector,), self._vector_levels[vector])
        return self._extended[vector]

    def joined(self, planes: tuple[int, ...]) -> int:
        """The words of four byte planes."""
        if planes not in self._joined:
            self._joined[planes] = self._word_of("join", planes, self._ready(planes))
        return self._joined[planes]

    def saturated(self, word: int) -> int:
        """A word's elements clamped to bytes."""
        level = self._word_levels[word] + 1
        result = self._vector(level)
        self._emit(level, "saturate", 0, (word,), (result,))
        return result

    def split(self, word: int) -> tuple[int, ...]:
        """The four byte planes of a word."""
        level = self._word_levels[word] + 1
        planes = tuple(self._vector(level) for _ in range(GROUP))
        self._emit(level, "split", 0, (word,), planes)
        self._joined[planes] = word
        return planes

    def computed(self, operation: str, operands: tuple[int, ...]) -> int:
        """The result of an ALU operation on words."""
        return self._word_of(operation, operands, max(self._word_levels[value] for value in operands))

    def moved(self, operation: str, operands: tuple[int, ...], parameter: int, results: int = 1) -> tuple[int, ...]:
        """The vectors that a lane operation makes of vectors."""
        level = self._ready(operands) + 1
        outputs = tuple(self._vector(level) for _ in range(results))
        self._emit(level, operation, parameter, operands, outputs)
        return outputs

    def gathered(self, lane_map: int, window: tuple[int, ...], share: tuple[int, int]) -> int:
        """The vector that a map picks, of a window that holds a share of a table (`semantics.share`)."""
        level = self._ready((lane_map, *window)) + 1
        result = self._vector(level)
        self._emit(level, _GATHER, len(window), (*share, lane_map, *window), (result,))
        return result

    def scattered(self, lane_map: int, source: int, window: tuple[int, ...], share: tuple[int, int]) -> tuple[int, ...]:
        """The vectors of a window that holds a share of a table, the one that a map picks replaced by `source`."""
        level = self._ready((lane_map, source, *window)) + 1
        results = tuple(self._vector(level) for _ in window)
        self._emit(level, _SCATTER, len(window), (*share, lane_map, source, *window), results)
        return results

    def install(self, vectors: tuple[int, ...], transposed: bool) -> int:
        """Number of an installed array: its rows, or its columns if transposed."""
        self._installs.append(vectors)
        self._transposed.append(transposed)
        self._install_levels.append(self._ready(vectors))
        return len(self._installs) - 1

    def multiplied(self, vector: int, install: int) -> int:
        """The sums of a vector with an installed array."""
        return self._word_of(
            _MULTIPLY, (vector,), max(self._vector_levels[vector], self._install_levels[install]), install
        )

    def _ready(self, vectors: Sequence[int]) -> int:
        return max(self._vector_levels[vector] for vector in vectors)

    def _vector(self, level: int) -> int:
        self._vector_levels.append(level)
        return len(self._vector_levels) - 1

    def _word(self, level: int) -> int:
        self._word_levels.append(level)
        return len(self._word_levels) - 1

    def _word_of(self, operation: str, inputs: tuple[int, ...], ready: int, parameter: int = 0) -> int:
        result = self._word(ready + 1)
        self._emit(ready + 1, operation, parameter, inputs, (result,))
        return result

    def _emit(
        self, level: int, operation: str, parameter: int, inputs: tuple[int, ...], outputs: tuple[int, ...]
    ) -> None:
        batch = self._batches.setdefault((level, operation, parameter), ([], []))
        batch[0].append(inputs)
        batch[1].append(outputs)

    # The result, renumbered: what stands at the start comes first.

    @property
    def vectors(self) -> int:
        """How many vectors there are."""
        return len(self._vector_levels)

    @property
    def words(self) -> int:
        """How many words there are."""
        return len(self._word_levels)

    def vector_numbers(self) -> Indices:
        """Final numbers of the vectors by the numbers given out: loads first."""
        return _initial_first(len(self._vector_levels), self.loads.values())

    def weights(self) -> tuple[Indices, NDArray[np.bool_]]:
        """The vectors of each installed array, [installs, lanes], and which of them are columns."""
        rows = np.array(self._installs, np.intp).reshape(-1, self.lanes)
        return self.vector_numbers()[rows], np.array(self._transposed, np.bool_)

    def steps(self) -> tuple[Step | Multiplication | Gather | Scatter, ...]:
        """All operations, in an order that computes them."""
        vectors = self.vector_numbers()
        words = _initial_first(len(self._word_levels), self.constants.values())
        numbers = {Space.VECTOR: vectors, Space.WORD: words}
        steps: list[tuple[int, Step | Multiplication | Gather | Scatter]] = []
        products: dict[tuple[int, int, bool], list[int]] = {}
        for (level, operation, parameter), (given, made) in self._batches.items():
            if operation == _MULTIPLY:
                constant = self._install_levels[parameter] == 0
                products.setdefault((level, len(given), constant), []).append(parameter)
                continue
            inputs, outputs = np.array(given, np.intp).T, np.array(made, np.intp).T
            step: Step | Gather | Scatter
            if operation == _GATHER:
                operands, outputs = vectors[inputs[2:]], vectors[outputs]
                step = Gather(operands[0], inputs[:2], operands[1:], outputs[0])
            elif operation == _SCATTER:
                operands, outputs = vectors[inputs[2:]], vectors[outputs]
                step = Scatter(operands[0], inputs[:2], operands[1], operands[2:], outputs)
            else:
                inputs = numbers[OPERATIONS[operation].source][inputs]
                outputs = numbers[OPERATIONS[operation].result][outputs]
                step = Step(operation, parameter, inputs, outputs.squeeze(0) if len(outputs) == 1 else outputs)
            steps.append((level, step))
        for (level, _, constant), installs in products.items():
            steps += [(level, step) for step in self._multiplications(installs, level, constant, vectors, words)]
        return tuple(step for _, step in sorted(steps, key=lambda entry: entry[0]))

    def _multiplications(
        self, installs: list[int], level: int, constant: bool, vectors: Indices, words: Indices
    ) -> Iterator[Multiplication]:
        at_once = max(_BATCH // self.lanes**2, 1)
        for first in range(0, len(installs), at_once):
            chunk = installs[first : first + at_once]
            batches = [self._batches[level, _MULTIPLY, install] for install in chunk]
            inputs = vectors[np.array([given for given, _ in batches], np.intp)[..., 0]]
            outputs = words[np.array([made for _, made in batches], np.intp)[..., 0]]
            yield Multiplication(np.array(chunk, np.intp), inputs, outputs, constant)


def _initial_first(count: int, initial: Iterable[int]) -> Indices:
    """New numbers by old: the initial values first, in their order, then all others in theirs."""
    first = list(initial)
    numbers = np.zeros(count, np.intp)
    numbers[first] = np.arange(len(first))
    rest = np.ones(count, np.bool_)
    rest[first] = False
    numbers[rest] = np.arange(len(first), count)
    return numbers
