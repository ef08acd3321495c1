# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What kernels can ask of the back end beyond what operators ask of it: factors, turned lanes, other rows."""

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest

from openlpu.arch.config import ChipConfig
from openlpu.arch.presets import LAB32, NANO, ULX3S
from openlpu.arch.program import Port as ProgramPort
from openlpu.arch.program import Program
from openlpu.compiler.assemble import assemble
from openlpu.compiler.graph import Port
from openlpu.compiler.kernels import Buffer, BufferOperand, Factor, KernelGraph, MatMulKernel, Step, Term, VectorKernel
from openlpu.compiler.meetings import verify_meetings
from openlpu.compiler.place import Placement
from openlpu.compiler.schedule import schedule
from openlpu.model.link import link
from openlpu.runtime.driver import open_device

ROOMY = dataclasses.replace(NANO, mem_words=1024, imem_words=4096)
"""The smallest chip, with room for matrices of some tiles."""
TABLED = dataclasses.replace(
    ROOMY, name="tabled", mem_slices=8, mem_reach=((0, 4), (1,), (2, 3), (3, 0), (4, 0), (5, 1, 2), (6,), (7,))
)
"""Every slice reaches streams of its own."""
CONFIGS = [ROOMY, ULX3S, LAB32, TABLED]


def run(graph: KernelGraph, config: ChipConfig, **inputs: npt.NDArray[np.int8]) -> dict[str, npt.NDArray[np.int32]]:
    """Compile kernels whose ports are buffers of the same name, and run them on the golden model."""
    graph.verify()
    placement = Placement(graph, config)
    scheduled = schedule(graph, placement, config)

    def port(name: str) -> ProgramPort:
        buffer = graph.buffer(name)
        shape, dtype = (buffer.rows, buffer.cols), "int32" if buffer.wide else "int8"
        return ProgramPort(name, shape, *shape, placement.buffers[name], dtype, stored=dtype)

    program = Program(
        name=graph.name,
        config=config,
        text=assemble(scheduled.dispatches, scheduled.cycles, config),
        image=placement.image,
        inputs=tuple(port(name) for _, name in graph.inputs),
        outputs=tuple(port(view.name) for _, view in graph.outputs),
        cycles=scheduled.cycles,
    )
    verify_meetings(link(program), scheduled.rides)
    with open_device("golden", config) as device:
        device.load(program)
        return dict(device.run(inputs).outputs)


def graph_of(buffers: list[Buffer], kernels: list[MatMulKernel | VectorKernel], outputs: list[str]) -> KernelGraph:
    written = {kernel.output for kernel in kernels}

    def port(buffer: Buffer) -> Port:
        shape = (buffer.rows, buffer.cols)
        return Port(buffer.name, buffer.name, "int32" if buffer.wide else "int8", shape)

    return KernelGraph(
        "kernels",
        tuple(buffers),
        tuple(kernels),
        tuple((port(buffer), buffer.name) for buffer in buffers if buffer.name not in written),
        tuple((port(buffer), BufferOperand(buffer.name)) for buffer in buffers if buffer.name in outputs),
    )


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 20, 37), (3, 9, 5), (17, 40, 70)])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_products_of_two_activations(config: ChipConfig, shape: tuple[int, int, int], transposed: bool) -> None:
    m, k, n = shape
    if transposed:
        config = dataclasses.replace(config, mxm_transposes=True)
        # Lanes beyond the last column would have to be cleared: that is for lowering to do.
        k = -(-k // config.lanes) * config.lanes
    rows, cols = (n, k) if transposed else (k, n)
    buffers = [
        Buffer("a", m, k, False),
        Buffer("b", rows, cols, False),
        Buffer("factor", rows, cols, False),
        Buffer("y", m, n, True),
    ]
    kernels: list[MatMulKernel | VectorKernel] = [
        VectorKernel("factor", BufferOperand("b"), (Step("pass"),)),
        MatMulKernel("y", (Term(BufferOperand("a"), Factor("factor", transposed)),), (Step("pass"),)),
    ]
    rng = np.random.default_rng(hash(shape) % 1000)
    a = rng.integers(-128, 128, (m, k), dtype=np.int8)
    b = rng.integers(-128, 128, (rows, cols), dtype=np.int8)
    found = run(graph_of(buffers, kernels, ["y"]), config, a=a, b=b)["y"]
    np.testing.assert_array_equal(found, a.astype(np.int64) @ (b.T if transposed else b))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_lanes_turn(config: ChipConfig) -> None:
    lanes, rows = config.lanes, 5
    buffers = [Buffer("x", rows, lanes, False), Buffer("wide", rows, lanes, True), Buffer("y", rows, lanes, True)]
    kernels: list[MatMulKernel | VectorKernel] = [
        VectorKernel("wide", BufferOperand("x"), (Step("pass"),)),
        VectorKernel("y", BufferOperand("wide"), (Step("and", BufferOperand("wide", rotate=3)),)),
    ]
    x = np.random.default_rng(7).integers(-128, 128, (rows, lanes), dtype=np.int8)
    found = run(graph_of(buffers, kernels, ["y"]), config, x=x)["y"]
    np.testing.assert_array_equal(found, x & np.roll(x, 3, axis=1))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_other_rows_and_one_column_for_all(config: ChipConfig) -> None:
    lanes, rows = config.lanes, 6
    names = (("x", rows + 2, False), ("wide", rows + 2, True), ("y", rows, True))
    buffers = [Buffer(name, count, 2 * lanes, wide) for name, count, wide in names]
    kernels: list[MatMulKernel | VectorKernel] = [
        VectorKernel("wide", BufferOperand("x"), (Step("pass"),)),
        VectorKernel("y", BufferOperand("x", first_row=2), (Step("and", BufferOperand("wide", column=1)),)),
    ]
    x = np.random.default_rng(8).integers(-128, 128, (rows + 2, 2 * lanes), dtype=np.int8)
    found = run(graph_of(buffers, kernels, ["y"]), config, x=x)["y"]
    np.testing.assert_array_equal(found, x[2:] & np.tile(x[:rows, lanes:], 2))
