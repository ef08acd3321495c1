# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The chip in a bare loop: the same answers as the golden model, so that its speed is worth comparing."""

from collections.abc import Iterator

import numpy as np
import pytest

from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import geometry
from openlpu.arch.isa import instruction
from openlpu.arch.presets import NANO
from openlpu.arch.status import Fault
from openlpu.compiler.pipeline import compile_graph
from openlpu.compiler.reference import evaluate
from openlpu.compiler.workloads import gemm
from openlpu.runtime.driver import Device
from openlpu.verif.bare_chip import BareChip
from openlpu.verif.rtl_port import RtlError


@pytest.fixture(scope="module")
def chip() -> Iterator[BareChip]:
    chip = BareChip(NANO)
    yield chip
    chip.close()


def test_a_matrix_product_is_right(chip: BareChip) -> None:
    graph = gemm(5, 8, 4, seed=2)
    program = compile_graph(graph, NANO)
    values = {"x": np.random.default_rng(2).integers(-128, 128, (5, 8), dtype=np.int8)}
    device = Device(chip)
    device.load(program)
    result = device.run(values)
    assert result.cycles == program.cycles
    np.testing.assert_array_equal(result.outputs["y"], evaluate(graph, values)["y"])


def test_a_fault_is_reported(chip: BareChip) -> None:
    for number, queue in enumerate(geometry(NANO).queues):
        last = instruction("notify") if number == 0 else instruction("sync")
        chip.write_text(number, [encoding(NANO).encode(last, queue), 0])
    status = chip.run()
    assert status.fault == Fault(geometry(NANO).queues[0].name, cycle=0, illegal=True)


def test_a_program_without_an_end_is_given_up() -> None:
    chip = BareChip(NANO, limit=50)
    for number, queue in enumerate(geometry(NANO).queues):
        chip.write_text(number, [encoding(NANO).encode(instruction("sync"), queue)])
    with pytest.raises(RtlError, match="not halted after 50 cycles"):
        chip.run()
    chip.close()
