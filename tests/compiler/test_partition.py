# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Kernels dealt out to chips: all of it is computed, each on as few chips as can be; and links carry what is meant."""

import dataclasses

import numpy as np
import pytest

from openlpu.arch.config import ChipConfig
from openlpu.arch.presets import NANO
from openlpu.arch.system import SystemConfig, Topology
from openlpu.compiler.errors import CompileError
from openlpu.compiler.graph import Port
from openlpu.compiler.kernel_reference import KernelReference
from openlpu.compiler.kernel_writer import KernelWriter
from openlpu.compiler.kernels import (
    AllGatherKernel,
    BufferOperand,
    Factor,
    Immediate,
    KernelGraph,
    MatMulKernel,
    Step,
    Target,
    Term,
)
from openlpu.compiler.partition import partition
from openlpu.compiler.stage_partition import partition_stages
from openlpu.compiler.system_pipeline import Dealing, compile_kernels_system
from openlpu.runtime.driver import open_device
from openlpu.runtime.joined import JoinedDevice

CHIP = dataclasses.replace(NANO, mem_slices=8, mem_words=256)
ROWS = 8


def two_layers(config: ChipConfig) -> KernelGraph:
    """x @ a, its rows gathered; that @ b; the largest row of it, added up from run to run; and twice itself, apart."""
    random = np.random.default_rng(5)
    writer, lanes = KernelWriter(config), config.lanes
    a, b = (random.integers(-9, 9, (ROWS * lanes, ROWS * lanes), dtype=np.int8) for _ in range(2))
    writer.buffer("x", ROWS, wide=False)
    whole = Immediate(0)
    scales = writer.per_row("scales", random.uniform(0.001, 0.01, ROWS * lanes))
    steps = [Step("i2f", whole), Step("fmul", scales), Step("f2i", whole)]
    writer.buffer("middle", ROWS, wide=False)
    writer.product("middle", _terms("x", a, lanes), steps, Target(stacked=ROWS))
    writer.gathered.append(("middle",))
    writer.buffer("sums", ROWS)
    writer.product("sums", _terms("middle", b, lanes), [Step("i2f", whole)], Target(stacked=ROWS))
    writer.state("kept", np.zeros((1, lanes), np.int32))
    most = writer.largest_row("most", "sums", ROWS)
    writer.vector("kept", BufferOperand("kept"), [Step("fadd", most)])
    writer.stages += [("middle",), (most.name,)]
    writer.made("twice", BufferOperand("sums"), [Step("fadd", BufferOperand("sums"))], rows=ROWS)
    writer.apart.append("twice")
    inside = ((Port("x", "x", "int8", (ROWS, lanes)), "x"),)
    outside = (
        (Port("kept", "kept", "float32", (1, lanes)), BufferOperand("kept")),
        (Port("twice", "twice", "float32", (ROWS, lanes)), BufferOperand("twice")),
    )
    return writer.written("two layers", inside, outside)


def _terms(name: str, matrix: np.ndarray, lanes: int) -> list[Term]:
    rows = [BufferOperand(name, first_row=row, row_step=0) for row in range(ROWS)]
    return [Term(view, (matrix[i * lanes : (i + 1) * lanes],)) for i, view in enumerate(rows)]


def _columns(kernel: MatMulKernel) -> list[bytes]:
    matrix = np.concatenate([term.weights[0] for term in kernel.terms if not isinstance(term.weights, Factor)])
    return [column.tobytes() for column in np.split(matrix, kernel.target.stacked, axis=1)]


@pytest.mark.parametrize("chips", [2, 3, 4])
def test_every_column_of_a_product_is_computed_once(chips: int) -> None:
    graph = two_layers(CHIP)
    shares = partition(graph, chips, CHIP.lanes)
    for name in ("middle", "sums"):
        columns: list[bytes] = []
        for share in shares.graphs:
            share.verify()
            for kernel in share.kernels:
                if isinstance(kernel, MatMulKernel) and kernel.output == name:
                    columns += _columns(kernel)
        (whole,) = (kernel for kernel in graph.kernels if isinstance(kernel, MatMulKernel) and kernel.output == name)
        assert sorted(columns) == sorted(_columns(whole))
    assert sorted(row for part in shares.outputs["twice"] for row in part.rows) == list(range(ROWS))
    gathered = [[k.output for k in share.kernels if isinstance(k, AllGatherKernel)] for share in shares.graphs]
    assert gathered == [gathered[0]] * chips
    assert gathered[0][0] == "middle"


def test_in_a_pipeline_every_chip_has_layers_of_its_own() -> None:
    first, second = partition_stages(two_layers(CHIP), 2, CHIP.lanes).graphs
    for share in (first, second):
        share.verify()
    multiplied = [[k.output for k in share.kernels if isinstance(k, MatMulKernel)] for share in (first, second)]
    assert multiplied == [["middle"], ["sums"]]
    gathered = [[k for k in share.kernels if isinstance(k, AllGatherKernel)] for share in (first, second)]
    assert [[k.output for k in some] for some in gathered] == [["middle"], ["middle"]]
    assert {*gathered[0][0].owners, *gathered[1][0].owners} == {0}
    assert (list(first.states), list(second.states)) == ([], ["kept"])


def test_a_pipeline_of_more_chips_than_layers_is_refused() -> None:
    with pytest.raises(CompileError, match="'two layers' has 2 parts that follow one another, and there are 3 chips"):
        partition_stages(two_layers(CHIP), 3, CHIP.lanes)


@pytest.mark.parametrize(("chips", "dealing"), [(2, partition), (3, partition), (2, partition_stages)])
def test_chips_compute_what_one_computes_run_after_run(chips: int, dealing: Dealing) -> None:
    system = SystemConfig.of(CHIP, chips)
    graph = two_layers(CHIP)
    compiled = compile_kernels_system(graph, system, 0, dealing)
    reference = KernelReference(graph, CHIP)
    with JoinedDevice(open_device("golden", system)) as device:
        device.load(compiled.program)
        for seed in range(3):
            x = np.random.default_rng(seed).integers(-128, 128, (ROWS, CHIP.lanes), dtype=np.int8)
            want = reference.run({"x": x})
            found = device.run({"x": x}).outputs
            for name, values in want.items():
                assert found[name].tobytes() == values.tobytes(), f"{seed=} {name}"


def test_chips_that_are_not_connected_are_named() -> None:
    chip = dataclasses.replace(CHIP, c2c_links=2, c2c_width=8)
    system = SystemConfig(name="ring", chip=chip, chips=4, topology=Topology.RING)
    with pytest.raises(CompileError, match="chip 0 has no link to chip 2; use the topology 'all_to_all'"):
        compile_kernels_system(two_layers(chip), system, 0)
