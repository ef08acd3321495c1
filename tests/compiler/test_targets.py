# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""How near schedules come to the physical limit: figures that a change of the compiler may only better.

The limits: a plane takes one row a cycle, and a hemisphere's streams bring `streams` rows of weights a cycle.
"""

import numpy as np
import pytest

from openlpu.arch.geometry import QueueKind, geometry
from openlpu.arch.presets import LAB32, PRESETS, TSP1
from openlpu.arch.timing import timing
from openlpu.compiler.bounds import lower_bounds
from openlpu.compiler.graph import MatMul, Pointwise
from openlpu.compiler.kernel_bounds import kernel_bounds
from openlpu.compiler.lower import lower
from openlpu.compiler.pipeline import compile_graph
from openlpu.compiler.place import Placement
from openlpu.compiler.schedule import schedule
from openlpu.compiler.workloads import feed_forward, gemm, lstm_step
from openlpu.runtime.driver import open_device


@pytest.mark.parametrize(
    ("config", "shape", "floor", "most"),
    [
        # 90 % of four planes; 93 %; the weights of a product of one row and 58 cycles of fill and drain.
        ("lab32", (128, 576, 1536), 27_648, 30_720),
        ("lab32", (512, 512, 512), 32_768, 35_200),
        ("lab32", (1, 576, 1536), 432, 490),
        ("tsp1", (1024, 1024, 1024), 4_096, 4_500),
    ],
)
def test_products_near_the_limit(config: str, shape: tuple[int, int, int], floor: int, most: int) -> None:
    graph = gemm(*shape, seed=0)
    bounds = lower_bounds(graph, PRESETS[config])
    assert bounds.resources[bounds.busiest] == floor
    assert compile_graph(graph, PRESETS[config]).cycles <= most


@pytest.mark.parametrize(("hidden", "batch", "published"), [(512, 1, 670), (512, 32, 1_413), (1024, 1, 1_958)])
def test_an_lstm_step_takes_no_longer_than_the_published_one(hidden: int, batch: int, published: int) -> None:
    graph = lstm_step(hidden, batch, seed=0)
    program = compile_graph(graph, TSP1)
    assert program.resource_bound <= program.cycles <= published
    random = np.random.default_rng(hidden + batch)
    xh = random.integers(-128, 128, (batch, 2 * hidden), dtype=np.int8)
    cell = random.normal(0, 1, (batch, hidden)).astype(np.float32)
    with open_device("golden", TSP1) as device:
        device.load(program)
        found = device.run({"xh": xh, "c": cell}).outputs
    gates = {}
    for op in graph.ops:
        if isinstance(op, MatMul):
            scale, bias = (np.asarray(step.operand, np.float64) for step in op.steps[:2])
            gates[op.output] = (xh.astype(np.float64) @ op.weights[0]) * scale + bias
    forget, enter, leave = (1 / (1 + np.exp(gates[name])) for name in ("f", "i", "o"))
    new_cell = forget * cell + enter * np.tanh(gates["g"])
    np.testing.assert_allclose(found["c_next"], new_cell, rtol=0, atol=2e-6)
    codes = leave * np.tanh(new_cell) * 128
    assert np.abs(found["h"] - np.clip(codes, -128, 127)).max() <= 0.501


def test_all_planes_have_their_weights_in_less_than_40_cycles() -> None:
    """As published for the first-generation chip: 409,600 weights, transit included."""
    kernels = lower(gemm(64, TSP1.lanes, 4 * TSP1.lanes, seed=0), TSP1)
    scheduled = schedule(kernels, Placement(kernels, TSP1), TSP1)
    for queue in geometry(TSP1).of_kind(QueueKind.MXM_WEIGHTS):
        installs = [run for run in scheduled.dispatches[queue.name] if run.instruction.spec.mnemonic == "iw"]
        stands = timing(TSP1).latency(installs[0].instruction.spec, queue).state
        assert stands is not None
        assert installs[0].cycle + stands < 40


def test_one_row_takes_the_time_of_its_weights() -> None:
    """Loads leave no gap once activations are where they are replayed from."""
    kernels = lower(gemm(1, 576, 1536, seed=0), LAB32)
    scheduled = schedule(kernels, Placement(kernels, LAB32), LAB32)
    for queue in geometry(LAB32).of_kind(QueueKind.MXM_WEIGHTS):
        loads = sorted(cycle for run in scheduled.dispatches[queue.name] for cycle, _ in run.unrolled())
        assert len(loads) == 432
        assert loads[-1] - loads[0] < 432 + 12


@pytest.mark.parametrize(("rows", "floor", "most"), [(1, 1_296, 1_440), (128, 82_944, 86_700)])
def test_a_feed_forward_part_near_the_limit(rows: int, floor: int, most: int) -> None:
    """Of SmolLM2-135M: the weights of one row, and 10 % for all else; 95.6 % of four planes."""
    graph = feed_forward(rows, 576, 1536, seed=0)
    bounds = lower_bounds(graph, LAB32)
    assert bounds.resources[bounds.busiest] == floor
    kernels = lower(graph, LAB32)
    cycles = schedule(kernels, Placement(kernels, LAB32), LAB32).cycles
    assert max(floor, kernel_bounds(kernels, LAB32).cycles) <= cycles <= most


@pytest.mark.parametrize(("rows", "hidden", "ffn"), [(1, 192, 320), (40, 192, 320), (3, 160, 288)])
def test_a_feed_forward_part_is_what_it_says(rows: int, hidden: int, ffn: int) -> None:
    """The last two columns of each product, or the last one, are shared by the four planes."""
    graph = feed_forward(rows, hidden, ffn, seed=rows)
    program = compile_graph(graph, LAB32)
    x = np.random.default_rng(rows).integers(-128, 128, (rows, hidden), dtype=np.int8)
    with open_device("golden", LAB32) as device:
        device.load(program)
        run = device.run({"x": x})
    assert run.cycles == program.cycles
    gate, up, down = (op for op in graph.ops if isinstance(op, MatMul))
    (silu,) = (op for op in graph.ops if op.output == "silu" and isinstance(op, Pointwise))
    gate_scales, up_scales, down_scales = (
        np.abs(np.asarray(step.operand, np.float64)) for step in (gate.steps[0], silu.steps[1], down.steps[0])
    )
    opened = x.astype(np.float64) @ gate.weights[0] * gate_scales
    product = opened / (1 + np.exp(-opened)) * (x.astype(np.float64) @ up.weights[0]) * up_scales
    y = np.clip(np.rint(product), -128, 127) @ down.weights[0] * down_scales
    # In fp32 what is close to half a code may be rounded the other way.
    error, largest = np.abs(run.outputs["y"] - y), (128 * down_scales).max()
    assert error.max() <= 1.01 * largest
    assert error.mean() < 0.01 * largest
