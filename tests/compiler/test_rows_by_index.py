# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Several rows at once to where indices say, and products with the first rows of what they fill."""

import numpy as np
import pytest

from openlpu.arch.config import ChipConfig
from openlpu.arch.presets import LAB32, ULX3S
from openlpu.compiler.bounds import Bounds
from openlpu.compiler.errors import InternalCompilerError
from openlpu.compiler.graph import Port
from openlpu.compiler.kernel_reference import KernelReference
from openlpu.compiler.kernel_writer import KernelWriter
from openlpu.compiler.kernels import BufferOperand, Factor, Immediate, KernelGraph, Step, Target, Term
from openlpu.compiler.pipeline import compile_kernels, kernel_ports
from openlpu.runtime.driver import open_device

ROWS = 8
SEED = 30


def filling(config: ChipConfig) -> KernelGraph:
    """Rows into a cache and a list, where indices say; then a product with the first half of the cache."""
    lanes = config.lanes
    writer = KernelWriter(config)
    writer.buffer("index", ROWS, wide=False)
    writer.buffer("x", ROWS, wide=False)
    for name in ("cache", "list"):
        writer.state(name, np.zeros((2 * lanes, lanes), np.int8))
        writer.vector(name, BufferOperand("x"), [], Target(rows=ROWS, indices="index"))
    writer.buffer("y", ROWS)
    half = Factor("cache", rows=lanes)
    writer.product("y", [Term(BufferOperand("x"), half)], [Step("i2f", Immediate(0)), Step("f2i", Immediate(0))])
    inside = [(Port(name, name, "int8", (ROWS, lanes)), name) for name in ("index", "x")]
    outside = [
        (Port("y", "y", "int32", (ROWS, lanes)), BufferOperand("y")),
        (Port("list", "list", "int8", (2 * lanes, lanes)), BufferOperand("list")),
    ]
    return writer.written("rows by index", inside, outside)


@pytest.mark.parametrize("config", [ULX3S, LAB32], ids=lambda config: config.name)
def test_rows_go_where_their_indices_say(config: ChipConfig) -> None:
    lanes, kernels = config.lanes, filling(config)
    program = compile_kernels(kernels, config, kernel_ports, Bounds({"nothing": 1}, 1), 0, lambda name, text: None)
    rng, expected = np.random.default_rng(SEED), np.zeros((2 * lanes, lanes), np.int8)
    with open_device("golden", config) as device:
        device.load(program)
        for first in (ROWS, 2 * lanes - ROWS, 0):
            x = rng.integers(-128, 128, (ROWS, lanes)).astype(np.int8)
            index = np.zeros((ROWS, lanes), np.int8)
            index[:, 0] = first + np.arange(ROWS)
            found = device.run({"index": index, "x": x}).outputs
            expected[first : first + ROWS] = x
            for name in ("cache", "list"):
                np.testing.assert_array_equal(device.read_state(name), expected, name)
            np.testing.assert_array_equal(found["y"], x.astype(np.int64) @ expected[:lanes])


@pytest.mark.parametrize("rows", [[1, 2, 3, 4, 5, 6, 7, 8], [0, 1, 2, 3, 4, 5, 7, 6]])
def test_rows_that_do_not_follow_one_another(rows: list[int]) -> None:
    index = np.zeros((ROWS, LAB32.lanes), np.int8)
    index[:, 0] = rows
    reference = KernelReference(filling(LAB32), LAB32)
    with pytest.raises(ValueError, match=r"indices \[.*\] of what goes to %cache do not follow one another"):
        reference.run({"index": index, "x": np.zeros((ROWS, LAB32.lanes), np.int8)})


def test_a_product_with_more_rows_than_there_are() -> None:
    writer = KernelWriter(LAB32)
    writer.buffer("x", 1, cols=2 * LAB32.lanes, wide=False)
    writer.state("cache", np.zeros((LAB32.lanes, LAB32.lanes), np.int8))
    writer.buffer("y", 1)
    more = Factor("cache", rows=2 * LAB32.lanes)
    writer.product("y", [Term(BufferOperand("x"), more)], [Step("i2f", Immediate(0))])
    inside = [(Port("x", "x", "int8", (1, 2 * LAB32.lanes)), "x")]
    with pytest.raises(InternalCompilerError, match="multiplies by more rows than %cache has"):
        writer.written("too many rows", inside, []).verify()
