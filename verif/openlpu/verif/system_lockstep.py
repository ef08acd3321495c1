# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The same programs on the golden system and on Verilated chips, in lock-step: compared are every stream register in
every cycle of every chip, the SRAM words that the programs wrote, the length of the runs, and that nothing is wrong."""

from collections.abc import Sequence

from openlpu.arch.geometry import geometry
from openlpu.arch.program import Program
from openlpu.model.system import GoldenSystem
from openlpu.verif.lockstep import Mismatch, compare_registers
from openlpu.verif.rtl_system import RtlSystem


def compare(programs: Sequence[Program], rtl: RtlSystem) -> GoldenSystem:
    """Run programs on both; the chips of the RTL are up already.

    Raises:
        Mismatch: at the first difference.
    """
    golden = GoldenSystem(rtl.system)
    golden.load(programs)
    expected = golden.run()
    rtl.load(programs)
    rtl.trace()
    found = rtl.run()
    name = ", ".join(program.name for program in programs)
    if found != expected:
        raise Mismatch(f"{name}: the RTL ran {found}, the golden model {expected}")
    for report in rtl.reports():
        if report.fault_cycle is not None:
            raise Mismatch(f"{name}: {report.end} found something wrong in cycle {report.fault_cycle}")
    for chip, trace in enumerate(golden.traces):
        compare_registers(programs[chip], trace, rtl.traced(chip, expected[chip].cycles))
        if rtl.missed(chip):
            raise Mismatch(f"{name}: chip {chip} fell behind")
        last = {(write.slice, write.address): write for write in trace.writes}
        for (mem_slice, address), write in last.items():
            want = golden.read_memory(chip, mem_slice, address).tobytes()
            got = rtl.read_memory(chip, mem_slice, address).tobytes()
            if got != want:
                unit = geometry(rtl.system.chip).mem_slices[mem_slice]
                raise Mismatch(
                    f"{name}: chip {chip}, word {address} of {unit}: RTL has {got.hex(' ')}, golden {want.hex(' ')} "
                    f"from {write.dispatch}"
                )
    return golden
