# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Kernels of random numbers on the golden chip, against what they mean in numpy."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from openlpu.arch.config import ChipConfig
from openlpu.compiler.bounds import Bounds
from openlpu.compiler.graph import Port
from openlpu.compiler.kernel_reference import KernelReference
from openlpu.compiler.kernel_writer import KernelWriter
from openlpu.compiler.kernels import BufferOperand, KernelGraph, Step, Target, Term
from openlpu.compiler.pipeline import compile_kernels, kernel_ports
from openlpu.runtime.driver import open_device


def stacked_product(
    writer: KernelWriter,
    name: str,
    views: Sequence[BufferOperand],
    rows: int,
    weights: npt.NDArray[np.int8],
    chain: Sequence[Step],
) -> int:
    """So many rows of each view, times a matrix each of `weights` (views, lanes, outputs), the output columns one below
    the other; how many rows that are."""
    columns = weights.shape[2] // writer.lanes
    terms = [Term(view, (matrix,)) for view, matrix in zip(views, weights, strict=True)]
    writer.buffer(name, rows * columns)
    writer.product(name, terms, chain, Target(rows=rows, stacked=columns))
    return rows * columns


def graph_of(writer: KernelWriter, rows: int, outputs: dict[str, int]) -> KernelGraph:
    """The kernels so far, from an int8 buffer `x` of so many rows to 32-bit buffers of as many as said."""
    inside = (Port("x", "x", "int8", (rows, writer.lanes)), "x")
    outside = [(Port(n, n, "int32", (count, writer.lanes)), BufferOperand(n)) for n, count in outputs.items()]
    return writer.written("kernels", [inside], outside)


def assert_means_what_it_says(graph: KernelGraph, chip: ChipConfig, x: npt.NDArray[np.int8], what: str) -> int:
    """Run a graph of `graph_of`; how many cycles it took.

    Raises:
        CompileError: when it has no way through the chip.
    """
    program = compile_kernels(graph, chip, kernel_ports, Bounds({"nothing": 0}, 0), 0, lambda *_: None)
    with open_device("golden", chip) as device:
        device.load(program)
        found = device.run({"x": x})
    for name, want in KernelReference(graph, chip).run({"x": x}).items():
        np.testing.assert_array_equal(found.outputs[name], want, f"{what}: {name}")
    assert found.cycles == program.cycles, what
    return program.cycles
