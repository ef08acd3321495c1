# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Networks of many rows, whose columns are dealt out to chips: byte by byte what the graph means."""

import numpy as np
import pytest

from openlpu.arch.presets import LAB32
from openlpu.arch.system import SystemConfig
from openlpu.compiler.column_partition import partition_columns
from openlpu.compiler.kernels import Factor, KernelGraph, MatMulKernel
from openlpu.compiler.lower import lower
from openlpu.compiler.reference import evaluate
from openlpu.compiler.system_pipeline import compile_graph_system
from openlpu.compiler.workloads import feed_forward, lstm_step
from openlpu.runtime.driver import open_device
from openlpu.runtime.joined import JoinedDevice


@pytest.mark.parametrize(
    ("rows", "hidden", "ffn", "chips"),
    [(6, 96, 160, 2), pytest.param(1, 224, 416, 3, marks=pytest.mark.regress), (40, 64, 256, 4)],
)
def test_chips_compute_what_the_graph_means(rows: int, hidden: int, ffn: int, chips: int) -> None:
    graph, system = feed_forward(rows, hidden, ffn, seed=rows), SystemConfig.of(LAB32, chips)
    program = compile_graph_system(graph, system).program
    x = np.random.default_rng(rows).integers(-128, 128, (rows, hidden), dtype=np.int8)
    with JoinedDevice(open_device("golden", system)) as device:
        device.load(program)
        for values in (x, x[::-1].copy()):
            result = device.run({"x": values})
            assert result.outputs["y"].tobytes() == evaluate(graph, {"x": values})["y"].tobytes()
            assert result.cycles == program.cycles


def weights(graph: KernelGraph) -> int:
    """Of all products."""
    terms = (term for kernel in graph.kernels if isinstance(kernel, MatMulKernel) for term in kernel.terms)
    return sum(sum(m.size for m in term.weights) for term in terms if not isinstance(term.weights, Factor))


def test_chips_have_equally_much_to_do_in_all() -> None:
    """The 18 columns of the last product do not divide by 8; what they leave uneven, the 48 of the others even out."""
    hidden, ffn = 576, 1536
    shares = partition_columns(lower(feed_forward(8, hidden, ffn, seed=1), LAB32), 8, LAB32).graphs
    most, least = max(map(weights, shares)), min(map(weights, shares))
    assert most - least <= 2 * hidden * LAB32.lanes  # one column of `gate` and `up`


def test_no_chip_has_the_weights_of_another() -> None:
    graph, chips = lower(feed_forward(8, 96, 160, seed=1), LAB32), 3
    shares = partition_columns(graph, chips, LAB32)
    for share in shares.graphs:
        share.verify()
    assert sum(weights(share) for share in shares.graphs) == weights(graph)
    columns = [column for part in shares.outputs["y"] for column in part.columns]
    assert columns == list(range(96))


def test_every_chip_has_of_an_lstm_the_step_and_a_share_of_the_weights() -> None:
    graph, system = lstm_step(40, 2, 0), SystemConfig.of(LAB32, 2)
    shares = partition_columns(lower(graph, LAB32), 2, LAB32).graphs
    assert sum(map(weights, shares)) == weights(lower(graph, LAB32))
    program = compile_graph_system(graph, system).program
    random = np.random.default_rng(1)
    inputs = {
        port.name: random.integers(-128, 128, port.shape, dtype=np.int8)
        if port.dtype == "int8"
        else random.normal(0, 1, port.shape).astype(np.float32)
        for port in graph.inputs
    }
    with JoinedDevice(open_device("golden", system)) as device:
        device.load(program)
        found = device.run(inputs).outputs
    for name, values in evaluate(graph, inputs).items():
        assert found[name].tobytes() == values.tobytes(), name
