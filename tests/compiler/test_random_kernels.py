# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Random kernels on the golden chip, against what they mean in numpy, on chips of every kind.

The checker proves that somebody is where a vector goes; what only the scheduler knows, such as which tile a row was to
meet in the array, shows in the result. A failure names its seed: `kernels(chip, seed)` makes the graph again.
"""

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from tests.compiler.kernel_runs import assert_means_what_it_says, graph_of, stacked_product

from openlpu.arch.config import ChipConfig
from openlpu.arch.presets import LAB32, NANO, ULX3S, ULX3S8, ULX3S16, find_config
from openlpu.compiler.chain import split_chain
from openlpu.compiler.errors import CompileError
from openlpu.compiler.kernel_bounds import kernel_bounds
from openlpu.compiler.kernel_writer import KernelWriter
from openlpu.compiler.kernels import BufferOperand, Immediate, KernelGraph, Step
from openlpu.verif.odd_configs import MIRRORED

EXAMPLES = Path(__file__).parents[2] / "examples"
CHIPS = {
    chip.name: dataclasses.replace(chip, mem_words=max(chip.mem_words, 4096), imem_words=1 << 14)
    for chip in (
        NANO,
        ULX3S,
        ULX3S8,
        ULX3S16,
        LAB32,
        MIRRORED,
        find_config(str(EXAMPLES / "gpt/chip.toml")),
    )
}
"""With room for whatever comes."""
FLOAT = Step("i2f", Immediate(0))
CHAINS = [
    [],
    [FLOAT, Step("fmul", Immediate.of_float(1e-4))],
    [FLOAT, Step("fmul", Immediate.of_float(1e-5)), Step("tanh")],
    [FLOAT, Step("tanh")],
]
"""What may come behind a product, if a chip has it: whole numbers, or floats."""


class _Random:
    """One graph: a product of stacked columns; now and then a vector kernel behind it; more products of its rows."""

    def __init__(self, chip: ChipConfig, seed: int) -> None:
        self.random, self.writer, self.lanes = np.random.default_rng(seed), KernelWriter(chip), chip.lanes
        self.chains = [chain for chain in CHAINS if len(split_chain(chain, chip, from_sram=False) or ()) == 1]
        self.rows: dict[str, int] = {}

    def graph(self) -> KernelGraph:
        writer, random = self.writer, self.random
        rows, tiles = int(random.integers(1, 10)), int(random.integers(1, 9))
        writer.buffer("x", rows * tiles, wide=False)
        views = [BufferOperand("x", first_row=tile * rows) for tile in range(tiles)]
        chain = self.chains[random.integers(len(self.chains))]
        self.product("first", views, rows, chain)
        y, count = BufferOperand("first"), self.rows["first"]
        twice = [Step("fadd" if chain else "iadd", y)]
        if random.random() < 0.5 and split_chain(twice, writer.config):
            self.rows["twice"] = count
            writer.made("twice", y, twice, rows=count)
        if random.random() < 0.8:
            to_codes = [Step("fmul", Immediate.of_float(100)), Step("f2i", Immediate(0))] if chain else []
            writer.made("codes", y, to_codes, rows=count, wide=False)
            at_once = rows if random.random() < 0.6 else 1
            views = [BufferOperand("codes", first_row=first) for first in range(0, count, at_once)][:8]
            self.product("second", views, at_once, [])
            self.product("third", views, at_once, self.chains[-1])
        return graph_of(writer, rows * tiles, self.rows)

    def product(self, name: str, views: list[BufferOperand], rows: int, chain: list[Step]) -> None:
        columns = int(self.random.integers(1, 7))
        weights = self.random.integers(-128, 128, (len(views), self.lanes, columns * self.lanes), np.int8)
        if self.random.random() < 0.2:
            # Equal tiles stay in the array.
            weights[self.random.integers(len(views))] = weights[0]
        self.rows[name] = stacked_product(self.writer, name, views, rows, weights, chain)


def kernels(chip: ChipConfig, seed: int) -> KernelGraph:
    """The kernels of a seed, none but such as the chip has ALUs for."""
    return _Random(chip, seed).graph()


def assert_right(chip: ChipConfig, seed: int) -> None:
    graph = kernels(chip, seed)
    (port, _), *_ = graph.inputs
    x = np.random.default_rng(seed).integers(-128, 128, port.shape, np.int8)
    cycles = assert_means_what_it_says(graph, chip, x, f"{seed=}")
    assert cycles >= kernel_bounds(graph, chip).cycles, f"{seed=} beats its bounds"


def right(chip: ChipConfig, seeds: range) -> int:
    """How many graphs of some seeds are right; the others have no way through the chip, as its streams are too few."""
    count = 0
    for seed in seeds:
        with contextlib.suppress(CompileError):
            assert_right(chip, seed)
            count += 1
    return count


@pytest.mark.parametrize("name", CHIPS)
def test_some_kernels_mean_what_they_say(name: str) -> None:
    assert right(CHIPS[name], range(8)) >= 6


@pytest.mark.regress
@pytest.mark.parametrize("name", CHIPS)
def test_many_kernels_mean_what_they_say(name: str) -> None:
    assert right(CHIPS[name], range(100, 400)) >= 200
