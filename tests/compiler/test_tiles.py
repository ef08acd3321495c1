# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""In how many parts a replayed product takes the rows that it multiplies."""

import dataclasses

import numpy as np
import pytest

from openlpu.arch.config import ChipConfig
from openlpu.arch.presets import LAB32, ULX3S
from openlpu.compiler.graph import Port
from openlpu.compiler.kernel_writer import KernelWriter
from openlpu.compiler.kernels import BufferOperand, Immediate, KernelGraph, MatMulKernel, Step
from openlpu.compiler.place import Placement
from openlpu.compiler.schedule import schedule
from openlpu.compiler.tiles import Tiles

ROWS = 12


def three_products(config: ChipConfig, count: int = ROWS) -> KernelGraph:
    """Codes of inputs times weights, codes of that times others, and the same codes once more."""
    random, lanes = np.random.default_rng(1), config.lanes
    writer, whole = KernelWriter(config), [Step("f2i", Immediate(0))]
    view = BufferOperand(writer.buffer("x", count))

    def weights() -> np.ndarray:
        return random.integers(-127, 128, (count * lanes, count * lanes), np.int8)

    writer.made("codes", view, whole, rows=count, wide=False)
    first = writer.stacked("first", writer.rows("codes", count), weights(), [Step("i2f", Immediate(0))])
    writer.made("again", first, whole, rows=count, wide=False)
    for name in ("second", "third"):
        writer.stacked(name, writer.rows("again", count), weights(), [Step("i2f", Immediate(0))])
    ports = [Port(name, name, "float32", (count, lanes)) for name in ("x", "second", "third")]
    return writer.written("three", [(ports[0], "x")], [(port, BufferOperand(port.name)) for port in ports[1:]])


def parts(config: ChipConfig) -> list[int]:
    graph = three_products(config)
    tiles = Tiles(graph, Placement(graph, config), config)
    return [len(tiles.passes(i, kernel)) for i, kernel in enumerate(graph.kernels) if isinstance(kernel, MatMulKernel)]


@pytest.mark.parametrize("config", [LAB32, ULX3S], ids=["planes", "plane"])
def test_rows_that_come_column_by_column_are_met_in_parts(config: ChipConfig) -> None:
    """Not those that come all at once, nor those that the activation buffers hold already."""
    assert parts(config) == [1, 3, 1]


def test_rows_are_met_all_at_once_where_sums_have_no_accumulators_to_wait_in() -> None:
    assert parts(dataclasses.replace(ULX3S, acc_depth=ROWS)) == [1, 3, 1]
    assert parts(dataclasses.replace(ULX3S, acc_depth=ROWS - 4)) == [1, 1, 1]


@pytest.mark.parametrize(("config", "count"), [(LAB32, ROWS), (ULX3S, ROWS // 2)], ids=["planes", "plane"])
def test_a_product_in_parts_begins_before_all_its_rows_are_there(
    monkeypatch: pytest.MonkeyPatch, config: ChipConfig, count: int
) -> None:
    graph = three_products(config, count)
    second = [kernel.output for kernel in graph.kernels].index("second")
    in_parts = schedule(graph, Placement(graph, config), config).finished[second]
    monkeypatch.setattr("openlpu.compiler.tiles._PARTS", 1)
    assert in_parts < schedule(graph, Placement(graph, config), config).finished[second]
