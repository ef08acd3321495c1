# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Networks from their ONNX models to several golden chips, against ONNX Runtime and the exact result."""

import dataclasses
from collections.abc import Iterable

import pytest
from tests.compiler.onnx_cases import Case
from tests.compiler.onnx_catalogue import GROUPS
from tests.compiler.test_operators_on_chip import CHIPS

from openlpu.arch.system import SystemConfig
from openlpu.compiler.onnx_import import import_model
from openlpu.compiler.system_pipeline import compile_graph_system
from openlpu.runtime.driver import open_device
from openlpu.runtime.joined import JoinedDevice


def run_on_chips(cases: Iterable[Case], system: SystemConfig) -> int:
    """How often chips gave one another something."""
    hops = 0
    for case in cases:
        compiled = compile_graph_system(import_model(case.model), system)
        hops += len(compiled.schedule.hops)
        with JoinedDevice(open_device("golden", system)) as chips:
            chips.load(compiled.program)
            result = chips.run(case.inputs)
        assert result.cycles == compiled.program.cycles, case.name
        case.check(result.outputs)
    return hops


@pytest.mark.parametrize(("group", "chips"), [("lstm", 2), ("transformer", 3)])
def test_some_networks_on_several_chips(group: str, chips: int) -> None:
    assert run_on_chips([*GROUPS[group](0)][:1], SystemConfig.of(CHIPS[1], chips)) > 0


def test_results_are_put_together_whatever_their_shape() -> None:
    run_on_chips(GROUPS["dense"](0), SystemConfig.of(CHIPS[0], 2))


def test_chips_pause_to_the_end_of_what_needs_no_links() -> None:
    """Softmax is every chip's own, and takes far longer than the time between two pauses."""
    case = next(case for case in GROUPS["rows"](0) if "Softmax" in case.name)
    run_on_chips([case], dataclasses.replace(SystemConfig.of(CHIPS[0], 2), deskew_cycles=128))


@pytest.mark.regress
@pytest.mark.parametrize("chips", [2, 3])
@pytest.mark.parametrize("group", GROUPS)
def test_every_case_on_several_chips(group: str, chips: int) -> None:
    run_on_chips(GROUPS[group](0), SystemConfig.of(CHIPS[chips - 2], chips))
