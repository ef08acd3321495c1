# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What the compiler makes for two chips, on Verilated ones with clocks of their own: vectors that go over the link and
are gone on with there, in lock-step with the golden model, and then run after run with no host in between."""

import numpy as np
import pytest

from openlpu.arch.system import SystemConfig
from openlpu.arch.timing import timing
from openlpu.compiler.graph import Port
from openlpu.compiler.kernel_reference import KernelReference
from openlpu.compiler.kernel_writer import KernelWriter
from openlpu.compiler.kernels import BufferOperand, Immediate, KernelGraph, Step, Target
from openlpu.compiler.partition import partition
from openlpu.compiler.stage_partition import partition_stages
from openlpu.compiler.system_pipeline import Dealing, compile_kernels_system
from openlpu.runtime.joined import JoinedDevice
from openlpu.runtime.system import SystemDevice
from openlpu.verif.odd_configs import LINKED
from openlpu.verif.rtl_system import Conditions, RtlSystem
from openlpu.verif.system_lockstep import compare

PAIR = SystemConfig(name="pair", chip=LINKED, chips=2, ppm=250, deskew_cycles=256)
ROWS, RUNS = 4, 50


def turning() -> KernelGraph:
    """A state that changes from run to run: its rows are dealt out, turned around, and dealt out once more; or one chip
    computes them, and another one turns them around."""
    writer, first = KernelWriter(LINKED), np.arange(ROWS * LINKED.lanes, dtype=np.int8)
    writer.state("x", first.reshape(ROWS, -1))
    writer.made("there", BufferOperand("x"), [Step("iadd", Immediate(3))], rows=ROWS, wide=False)
    turned = BufferOperand("there", first_row=ROWS - 1, row_step=-1)
    writer.made("back", turned, [Step("iadd", Immediate(5))], rows=ROWS, wide=False)
    writer.gathered += [("there",), ("back",)]
    writer.stages += writer.gathered
    writer.vector("x", BufferOperand("back", first_row=1), [], Target(rows=1))
    writer.vector("x", BufferOperand("back"), [], Target(first_row=1, rows=ROWS - 1))
    port = Port("x", "x", "int8", (ROWS, LINKED.lanes))
    return writer.written("turning", [], [(port, BufferOperand("x"))])


@pytest.mark.parametrize(("dealing", "draws"), [(partition, 3), (partition_stages, 1)])
def test_compiled_programs_run_as_the_golden_model_again_and_again(dealing: Dealing, draws: int) -> None:
    program = compile_kernels_system(turning(), PAIR, 0, dealing).program
    reference = KernelReference(turning(), LINKED)
    want = [reference.run({})["x"] for _ in range(RUNS)]
    for seed in range(draws):
        print(f"{seed=}")
        with RtlSystem(PAIR, Conditions.drawn(PAIR, seed)) as rtl:
            rtl.bring_up()
            compare(program.programs, rtl)
        drawn = RtlSystem(PAIR, Conditions.drawn(PAIR, seed + draws))
        with JoinedDevice(SystemDevice(drawn, replays=0)) as chips:
            chips.load(program)
            result = chips.run({}, RUNS)
        assert result.outputs["x"].tobytes() == want[-1].tobytes()
        assert result.cycles == timing(LINKED).series(program.cycles, RUNS)
