# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Products whose output columns are stacked, on one plane: each column follows the one before, and no row may meet the
tiles of another."""

import dataclasses
import itertools

import numpy as np
import pytest
from tests.compiler.kernel_runs import assert_means_what_it_says, graph_of, stacked_product

from openlpu.arch.presets import NANO, ULX3S
from openlpu.compiler.kernel_writer import KernelWriter
from openlpu.compiler.kernels import BufferOperand, Immediate, Step

ROOMY = dataclasses.replace(NANO, name="roomy", mem_words=512, imem_words=512)
CHIPS = {chip.name: chip for chip in (ROOMY, ULX3S)}
SIZES = [*itertools.product((1, 2, 3, 5, 8), (1, 2, 4, 7), (2, 3))]
"""Rows, tiles of a column, columns."""
FLOAT = Step("i2f", Immediate(0))
STEPS = {"sums": [], "floats": [FLOAT, Step("fmul", Immediate.of_float(0.5))], "turns": [FLOAT, Step("tanh")]}
"""At full pace, and where lanes of one chip take turns."""


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("name", CHIPS)
def test_columns_follow_one_another(name: str, steps: list[Step]) -> None:
    chip = CHIPS[name]
    random = np.random.default_rng(7)
    for rows, tiles, columns in SIZES:
        writer = KernelWriter(chip)
        writer.buffer("x", rows * tiles, wide=False)
        weights = random.integers(-128, 128, (tiles, chip.lanes, columns * chip.lanes), np.int8)
        views = [BufferOperand("x", first_row=tile * rows) for tile in range(tiles)]
        graph = graph_of(writer, rows * tiles, {"y": stacked_product(writer, "y", views, rows, weights, steps)})
        x = random.integers(-128, 128, (rows * tiles, chip.lanes), np.int8)
        assert_means_what_it_says(graph, chip, x, f"{rows} rows, {tiles} tiles, {columns} columns")
