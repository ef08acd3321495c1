# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The compiler for several chips, behind lowering: deal out, place, schedule, assemble, check.

The checker proves all programs together; and every vector is held to the `send` and the `receive` that it was meant to
have.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from openlpu.arch.program import Program
from openlpu.arch.system import SystemConfig
from openlpu.arch.system_program import SystemProgram
from openlpu.compiler import graph as ir
from openlpu.compiler.assemble import assemble
from openlpu.compiler.bounds import useful_macs
from openlpu.compiler.column_partition import partition_columns
from openlpu.compiler.errors import InternalCompilerError
from openlpu.compiler.kernel_work import weight_cycles
from openlpu.compiler.kernels import BufferOperand, KernelGraph
from openlpu.compiler.lower import lower
from openlpu.compiler.meetings import verify_meetings, verify_words
from openlpu.compiler.partition import Partition, partition
from openlpu.compiler.pipeline import (
    Dump,
    Ports,
    graph_port,
    kernel_ports,
    program_text,
    schedule_text,
    states,
    uncollected,
)
from openlpu.compiler.place import Placement
from openlpu.compiler.system_schedule import SystemSchedule, schedule_system
from openlpu.model.system import link_system


@dataclass(frozen=True)
class CompiledSystem:
    """Programs, and the schedule that they were made from."""

    program: SystemProgram
    schedule: SystemSchedule


def compile_graph_system(graph: ir.Graph, system: SystemConfig, *, dump: Dump | None = None) -> CompiledSystem:
    """Compile a graph for all chips of a system, which then have columns of its outputs each.

    `dump` is as `compile_graph` has it; a text is that of all chips.

    Raises:
        CompileError: when it does not fit, or has more in it than products with constants and what goes on element by
            element behind them.
    """
    dump = dump or (lambda name, text_of: None)
    graph.verify()
    dump("graph", graph.__str__)
    shares = partition_columns(lower(graph, system.chip), system.chips, system.chip)

    def ports(kernels: KernelGraph, placement: Placement) -> Ports:
        outputs = ((port, graph_port(port, graph, placement, view)) for port, view in kernels.outputs)
        return Ports(
            tuple(graph_port(port, graph, placement, BufferOperand(name)) for port, name in kernels.inputs),
            tuple(
                dataclasses.replace(whole, shape=port.shape, cols=math.prod(port.shape[-1:])) for port, whole in outputs
            ),
        )

    return compile_system(graph.name, shares, system, ports, useful_macs(graph), dump)


Dealing = Callable[[KernelGraph, int, int], Partition]
"""What deals kernels that say themselves how (`KernelGraph.sharing`) out to so many chips of so many lanes: `partition`
by rows, `partition_stages` by layers."""


def compile_kernels_system(
    kernels: KernelGraph, system: SystemConfig, macs: int, dealing: Dealing = partition
) -> CompiledSystem:
    """Compile kernels that say themselves where they may be dealt out.

    Raises:
        CompileError: when they do not fit, or have fewer parts than there are chips.
    """
    shares = dealing(kernels, system.chips, system.chip.lanes)
    return compile_system(kernels.name, shares, system, kernel_ports, macs, lambda name, text_of: None)


@uncollected()
def compile_system(
    name: str,
    shares: Partition,
    system: SystemConfig,
    ports: Callable[[KernelGraph, Placement], Ports],
    macs: int,
    dump: Dump,
) -> CompiledSystem:
    """Compile kernels that are dealt out to all chips of a system; `ports` finds inputs and outputs in a placement.

    Raises:
        CompileError: when they do not fit.
    """
    config = system.chip
    for graph in shares.graphs:
        graph.verify()
    dump("kernels", lambda: _by_chip(map(str, shares.graphs)))
    placements = [Placement(graph, config) for graph in shares.graphs]
    dump("placement", lambda: _by_chip(map(str, placements)))
    scheduled = schedule_system(shares.graphs, placements, system)
    dump("schedule", lambda: _by_chip(schedule_text(chip, config) for chip in scheduled.chips))
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
    dump("program", lambda: _by_chip(map(program_text, programs)))
    _verify(programs, scheduled, system)
    program = SystemProgram(name, system, tuple(programs), shares.outputs)
    return CompiledSystem(program, scheduled)


def _by_chip(texts: Iterable[str]) -> str:
    return "\n".join(f"// chip {number}\n{text}" for number, text in enumerate(texts))


def _verify(programs: list[Program], scheduled: SystemSchedule, system: SystemConfig) -> None:
    linked = link_system(system, programs)
    for chip, schedule in zip(linked.chips, scheduled.chips, strict=True):
        verify_meetings(chip, schedule.rides)
    meant = {(hop.sender, hop.sent, hop.receiver, hop.received) for hop in scheduled.hops}
    found = {(m.sender, m.send.cycle, m.receiver, m.receive.cycle) for m in linked.meetings}
    if meant != found:
        wrong = min(meant ^ found, key=lambda hop: hop[1])
        raise InternalCompilerError(f"schedule: a vector from {wrong[0]}, sent in cycle {wrong[1]}, goes astray")
