# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""How near schedules come to the physical limit: figures that a change of the compiler may only better.

The limits: a plane takes one row a cycle, and a hemisphere's streams bring `streams` rows of weights a cycle.
"""

import pytest

from openlpu.arch.geometry import QueueKind, geometry
from openlpu.arch.presets import LAB32, PRESETS, TSP1
from openlpu.arch.timing import timing
from openlpu.compiler.bounds import lower_bounds
from openlpu.compiler.lower import lower
from openlpu.compiler.pipeline import compile_graph
from openlpu.compiler.place import Placement
from openlpu.compiler.schedule import schedule
from openlpu.compiler.workloads import gemm


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
