# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""`lpu bench` on several chips: how much sooner a workload is done than on one, and where the rest of the time goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from openlpu.arch.program import Program
from openlpu.arch.system import SystemConfig
from openlpu.cli.errors import RunFailure
from openlpu.cli.figures import summary
from openlpu.cli.running import open_system, running
from openlpu.cli.systems import print_report, report_as_dict
from openlpu.cli.terminal import print_facts, print_json, working
from openlpu.compiler.system_pipeline import CompiledSystem
from openlpu.compiler.system_report import system_report

_Arrays = Mapping[str, NDArray[Any]]


def measure_system(
    name: str,
    system: SystemConfig,
    compiled: Callable[[], CompiledSystem],
    alone: Callable[[], Program],
    runs: Sequence[_Arrays],
    meaning: Callable[[_Arrays], _Arrays],
    backend: str,
    as_json: bool,
) -> None:
    """Compile a workload for a system, and for one chip; run it on inputs one after the other on the system, and
    compare with what they should become."""
    start = time.perf_counter()
    with working(f"compiling {name} for {system.name}", as_json=as_json):
        together = compiled()
    seconds = time.perf_counter() - start
    with working(f"compiling {name} for one chip", as_json=as_json):
        one = alone().cycles
    program, mismatches = together.program, 0
    with working(f"preparing {backend} for {system.name}", as_json=as_json):
        device = open_system(backend, system)
    with device, working(f"running {program.name} on {backend}", as_json=as_json), running():
        device.load(program)
        results = [device.run(inputs) for inputs in runs]
    for inputs, result in zip(runs, results, strict=True):
        expected = meaning(inputs)
        mismatches += sum(int(np.count_nonzero(result.outputs[key] != expected[key])) for key in expected)
    report, speedup = system_report(together), one / program.cycles
    waits = max((sum(w.cycles for w in report.waits if w.chip == chip) for chip in range(system.chips)), default=0)
    if as_json:
        print_json(
            {
                **summary(program),
                "cycles": results[-1].cycles,
                "cycles_of_one_chip": one,
                "speedup": round(speedup, 3),
                "most_waited": waits,
                "compile_seconds": round(seconds, 3),
                "backend": backend,
                "mismatches": mismatches,
                "report": report_as_dict(report),
            }
        )
    else:
        busiest = max(each.resource_bound for each in program.programs)
        print_facts(
            [
                ("program", program.name),
                ("system", f"{system.name}: {system.chips} chips {system.chip.name} ({system.chip.digest})"),
                ("links", f"{system.parallel} between two of {system.chip.c2c_width} wires, {system.latency} cycles"),
                ("cycles", f"{program.cycles:,}; one chip takes {one:,}"),
                ("speedup", f"{speedup:.3f}"),
                ("weights", f"{busiest:,} cycles, on the chip that has most"),
                ("waits", f"{waits:,} cycles for others and for links, on the chip that waits longest"),
                ("compiled in", f"{seconds:.1f} s"),
                ("measured cycles", f"{results[-1].cycles:,} on {backend}"),
                ("mismatches", mismatches),
            ]
        )
        click.echo()
        print_report(report)
    if mismatches:
        raise RunFailure(f"{program.name}: {mismatches} wrong results on {backend}")
