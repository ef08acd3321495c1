# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Networks of every kind of operator on the Verilated chip: the bytes and the cycles of the golden model."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from tests.compiler.onnx_catalogue import GROUPS

from openlpu.arch.config import ChipConfig
from openlpu.arch.presets import NANO
from openlpu.compiler.onnx_import import import_model
from openlpu.compiler.pipeline import compile_graph
from openlpu.runtime.driver import Device, open_device
from openlpu.verif.rtl_port import RtlChip

ROOMY = dataclasses.replace(NANO, name="roomy", mem_words=4096, imem_words=1 << 14)
"""The smallest chip, with room for networks."""
CASES = 3


@pytest.mark.parametrize("group", GROUPS)
def test_operators_do_on_the_rtl_what_they_do_on_the_golden_model(
    rtl_chip: Callable[[ChipConfig], RtlChip], group: str
) -> None:
    cases = sorted(GROUPS[group](0), key=lambda case: sum(array.size for array in case.inputs.values()))
    for case in cases[:CASES]:
        program = compile_graph(import_model(case.model), ROOMY)
        with open_device("golden", ROOMY) as golden:
            golden.load(program)
            want = golden.run(case.inputs)
        device = Device(rtl_chip(ROOMY))
        device.load(program)
        found = device.run(case.inputs)
        assert found.cycles == want.cycles == program.cycles, case.name
        for name, array in want.outputs.items():
            np.testing.assert_array_equal(found.outputs[name], array, err_msg=f"{case.name}: {name}")
