# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What the kernels of all language models share: norms."""

import numpy as np
import pytest

from openlpu.arch.presets import ULX3S
from openlpu.compiler.graph import Port
from openlpu.compiler.kernel_reference import KernelReference
from openlpu.compiler.kernels import BufferOperand, Immediate, Step
from openlpu.llm.quantise import QuantisedNorm
from openlpu.llm.token_writer import TokenWriter

HIDDEN = 40
PARTS = [1, 3]
"""A vector of that size has three rows."""
NORM = QuantisedNorm(output=0.5, largest=10.0)
LIMIT = 127 * 256 + 127
"""Of a rounded square, near which the upper byte ends."""


def factor(values: np.ndarray, parts: int) -> float:
    """What the chip multiplies a vector with, whose squares it adds up in so many parts."""
    writer = TokenWriter("norm", HIDDEN, 1, 16, ULX3S)
    writer.square_parts = parts
    blocks = writer.blocks(HIDDEN)
    x = BufferOperand(writer.buffer("x", blocks))
    y = writer.made("y", x, [Step("fmul", Immediate.of_float(writer.norm_scale(NORM)))], rows=blocks)
    writer.squares("norm", x, y)
    writer.norm_factor("norm", NORM, 0.0, Immediate.of_float(writer.root_unit(NORM) / NORM.output))
    port = Port("x", "x", "float32", (blocks, ULX3S.lanes))
    found = BufferOperand("norm.factor")
    graph = writer.written("norm", [(port, "x")], [(Port("factor", "factor", "float32", (1, ULX3S.lanes)), found)])
    rows = np.zeros(blocks * ULX3S.lanes, np.float32)
    rows[:HIDDEN] = values
    outputs = KernelReference(graph, ULX3S).run({"x": rows.view(np.int32).reshape(blocks, -1)})
    (lane,) = {*outputs["factor"].view(np.float32)[0].tolist()}
    return lane


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("largest", [0.1, 0.3, 2.0, 10.0, 14.9])
def test_a_norm_sums_rounded_squares(largest: float, parts: int) -> None:
    values = np.random.default_rng(1).uniform(-largest, largest, HIDDEN)
    units = 32_500 / (1.5 * NORM.largest) ** 2 / parts
    whole = np.zeros(3 * ULX3S.lanes)
    whole[:HIDDEN] = values**2 * units
    rounded = np.rint(whole.reshape(parts, -1).sum(axis=0)).sum() / units
    assert factor(values, parts) == pytest.approx(1 / np.sqrt(rounded / HIDDEN) / NORM.output, rel=1e-5)


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("above", [1.002, 1.0041, 1.5, 1000.0])
def test_squares_beyond_the_limit_count_as_the_limit(above: float, parts: int) -> None:
    values = np.zeros(HIDDEN)
    values[3 : 3 + parts * ULX3S.lanes : ULX3S.lanes] = -above * 1.5 * NORM.largest
    units = 32_500 / (1.5 * NORM.largest) ** 2 / parts
    most = min(round(32_500 * above**2), LIMIT) / units
    assert factor(values, parts) == pytest.approx(1 / np.sqrt(most / HIDDEN) / NORM.output, rel=4e-3)
