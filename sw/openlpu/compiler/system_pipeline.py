# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The compiler for several chips, behind lowering: deal out, place, schedule, assemble, check.

The checker proves all programs together; and every vector is held to the `send` and the `receive` that it was meant to
have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from openlpu.arch.program import Program
from openlpu.arch.system import SystemConfig
from openlpu.arch.system_program import SystemProgram
from openlpu.compiler.assemble import assemble
from openlpu.compiler.errors import InternalCompilerError
from openlpu.compiler.kernel_bounds import weight_cycles
from openlpu.compiler.kernels import KernelGraph
from openlpu.compiler.meetings import verify_meetings, verify_words
from openlpu.compiler.partition import partition
from openlpu.compiler.pipeline import Ports, states, uncollected
from openlpu.compiler.place import Placement
from openlpu.compiler.system_schedule import SystemSchedule, schedule_system
from openlpu.model.system import link_system


@dataclass(frozen=True)
class CompiledSystem:
    """Programs, and the schedule that they were made from."""

    program: SystemProgram
    schedule: SystemSchedule


@uncollected()
def compile_system(
    kernels: KernelGraph,
    system: SystemConfig,
    ports: Callable[[KernelGraph, Placement], Ports],
    macs: int,
) -> CompiledSystem:
    """Compile kernels for all chips of a system; `ports` finds inputs and outputs in a placement.

    Raises:
        CompileError: when they do not fit.
    """
    config = system.chip
    shares = partition(kernels, system.chips, config.lanes)
    for graph in shares.graphs:
        graph.verify()
    placements = [Placement(graph, config) for graph in shares.graphs]
    scheduled = schedule_system(shares.graphs, placements, system)
    programs = []
    for graph, placement, chip in zip(shares.graphs, placements, scheduled.chips, strict=True):
        verify_words(chip.dispatches, placement.image, placement.kept | placement.words.shared, config)
        places = ports(graph, placement)
        programs.append(
            Program(
                name=graph.name,
                config=config,
                text=assemble(chip.dispatches, scheduled.cycles, config),
                image=placement.image,
                kept=frozenset(placement.kept),
                inputs=places.inputs,
                outputs=places.outputs,
                states=states(graph, placement),
                cycles=scheduled.cycles,
                macs=macs // system.chips,
                resource_bound=weight_cycles(graph, config),
                resource_name="weight streams",
            )
        )
    _verify(programs, scheduled, system)
    program = SystemProgram(kernels.name, system, tuple(programs), shares.outputs)
    return CompiledSystem(program, scheduled)


def _verify(programs: list[Program], scheduled: SystemSchedule, system: SystemConfig) -> None:
    linked = link_system(system, programs)
    for chip, schedule in zip(linked.chips, scheduled.chips, strict=True):
        verify_meetings(chip, schedule.rides)
    meant = {(hop.sender, hop.sent, hop.receiver, hop.received) for hop in scheduled.hops}
    found = {(m.sender, m.send.cycle, m.receiver, m.receive.cycle) for m in linked.meetings}
    if meant != found:
        wrong = min(meant ^ found, key=lambda hop: hop[1])
        raise InternalCompilerError(f"schedule: a vector from {wrong[0]}, sent in cycle {wrong[1]}, goes astray")
