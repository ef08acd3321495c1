# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Every operator from its ONNX model to the golden chip, against ONNX Runtime and the exact result."""

import contextlib
import dataclasses
from collections.abc import Iterable

import pytest
from tests.compiler.onnx_cases import Case
from tests.compiler.onnx_catalogue import GROUPS, catalogue
from tests.compiler.test_float_backend import CONFIGS

from openlpu.arch.config import ChipConfig
from openlpu.arch.presets import ULX3S, ULX3S8, ULX3S16
from openlpu.compiler.errors import CompileError
from openlpu.compiler.kernel_bounds import kernel_bounds
from openlpu.compiler.lower import lower
from openlpu.compiler.onnx_import import import_model
from openlpu.compiler.pipeline import compile_graph
from openlpu.runtime.driver import open_device

CHIPS = [dataclasses.replace(config, mem_words=1 << 14, imem_words=1 << 15) for config in CONFIGS]
"""With room for networks that were made to test something else."""

MANY_SHAPES = ("binary", "rows", "product", "broadcast", "lstm")
"""Groups in which every operator comes in many shapes: half of them will do, but in the long runs."""


def run_on_chip(cases: Iterable[tuple[Case, ChipConfig]]) -> None:
    for case, config in cases:
        graph = import_model(case.model)
        program = compile_graph(graph, config)
        with open_device("golden", config) as device:
            device.load(program)
            result = device.run(case.inputs)
        assert result.cycles == program.cycles, case.name
        assert program.cycles >= max(program.resource_bound, program.chain_bound), f"{case.name} beats its bounds"
        assert program.cycles >= kernel_bounds(lower(graph, config), config).cycles, f"{case.name} beats its kernels'"
        case.check(result.outputs)


@pytest.mark.parametrize("chip", range(len(CHIPS)))
@pytest.mark.parametrize("group", GROUPS)
def test_cases_on_one_chip_each(group: str, chip: int) -> None:
    stride = len(CHIPS) * (2 if group in MANY_SHAPES else 1)
    run_on_chip((case, CHIPS[chip]) for case in [*GROUPS[group](0)][chip::stride])


@pytest.mark.parametrize("group", MANY_SHAPES)
def test_no_operator_is_left_out(group: str) -> None:
    cases = [*GROUPS[group](0)]
    taken = [case for chip in range(len(CHIPS)) for case in cases[chip :: 2 * len(CHIPS)]]
    operators, all_of_them = (
        {node.op_type for case in some for node in case.model.graph.node} for some in (taken, cases)
    )
    assert operators == all_of_them


def test_a_chip_whose_arrays_load_no_columns_transposes_all_the_same() -> None:
    transposes = [case for case in GROUPS["movement"](0) if "Transpose" in case.name]
    assert len(transposes) > 10
    assert not ULX3S16.mxm_transposes
    run_on_chip((case, ULX3S16) for case in transposes)


@pytest.mark.regress
@pytest.mark.parametrize(
    ("chip", "least"), [(ULX3S, 544), (ULX3S8, 533), (ULX3S16, 437)], ids=["ulx3s", "ulx3s8", "ulx3s16"]
)
def test_boards_run_a_case_or_say_why_not(chip: ChipConfig, least: int) -> None:
    right = 0
    for case in catalogue():
        with contextlib.suppress(CompileError):
            run_on_chip([(case, chip)])
            right += 1
    assert right >= least


@pytest.mark.regress
@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: f"{chip.lanes}_lanes")
@pytest.mark.parametrize("group", GROUPS)
def test_every_case_on_every_chip(group: str, chip: ChipConfig) -> None:
    run_on_chip((case, chip) for seed in range(3) for case in GROUPS[group](seed))
