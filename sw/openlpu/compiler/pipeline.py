# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The compiler from end to end: import, lower, place, schedule, assemble, check.

Every pass leaves an IR that verifies and prints itself. The last one is the checker, which shares nothing with the
scheduler but the arch tables: a program that leaves here is proved correct in time, and every vector in it meets the
consumer it was meant for.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from openlpu.arch.assembly import format_instruction
from openlpu.arch.config import ChipConfig
from openlpu.arch.geometry import geometry
from openlpu.arch.program import Port, Program
from openlpu.compiler import graph as ir
from openlpu.compiler.assemble import assemble
from openlpu.compiler.bounds import Bounds, lower_bounds, useful_macs
from openlpu.compiler.kernels import Buffer, BufferOperand, KernelGraph
from openlpu.compiler.lasting import Lasting
from openlpu.compiler.lower import lower
from openlpu.compiler.meetings import verify_meetings, verify_words
from openlpu.compiler.onnx_import import import_onnx
from openlpu.compiler.place import Placement
from openlpu.compiler.schedule import Schedule, schedule
from openlpu.model.link import link

Dump = Callable[[str, Callable[[], str]], None]
"""Called after each pass with its name and a function that makes the IR a text."""


def compile_model(path: Path, config: ChipConfig, *, batch: int | None = None, dump: Dump | None = None) -> Program:
    """Compile an ONNX file for a chip; `batch` fixes a dynamic first dimension.

    Raises:
        CompileError: when the model cannot be read, is not supported, or does not fit.
    """
    return compile_graph(import_onnx(path, batch=batch), config, dump=dump)


def compile_graph(graph: ir.Graph, config: ChipConfig, *, dump: Dump | None = None) -> Program:
    """Compile a graph for a chip.

    Raises:
        CompileError: when it does not fit.
    """
    dump = dump or (lambda name, text_of: None)
    graph.verify()
    dump("graph", graph.__str__)
    bounds = lower_bounds(graph, config)

    def ports(kernels: KernelGraph, placement: Placement) -> Ports:
        return Ports(
            tuple(graph_port(port, graph, placement, BufferOperand(name)) for port, name in kernels.inputs),
            tuple(graph_port(port, graph, placement, view) for port, view in kernels.outputs),
        )

    return compile_kernels(lower(graph, config), config, ports, bounds, useful_macs(graph), dump)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Compiling makes millions of objects that stay to its end, and hardly a circle of them: to look for circles again
    and again takes a seventh of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@dataclass(frozen=True)
class Ports:
    """Where inputs and outputs of a program live."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def compile_kernels(
    kernels: KernelGraph,
    config: ChipConfig,
    ports: Callable[[KernelGraph, Placement], Ports],
    bounds: Bounds,
    macs: int,
    dump: Dump,
) -> Program:
    """Compile what is lowered already; `ports` finds inputs and outputs in a placement.

    Raises:
        CompileError: when it does not fit.
    """
    return compile_beside(Lasting(), kernels, config, ports, bounds, macs, dump)[0]


@uncollected()
def compile_beside(
    lasting: Lasting,
    kernels: KernelGraph,
    config: ChipConfig,
    ports: Callable[[KernelGraph, Placement], Ports],
    bounds: Bounds,
    macs: int,
    dump: Dump,
) -> tuple[Program, Lasting]:
    """As `compile_kernels`, for a program that takes turns with others, over what `lasting` says that they share; and
    what the next one finds.

    Raises:
        CompileError: when it does not fit.
    """
    kernels.verify()
    dump("kernels", kernels.__str__)
    placement = Placement(kernels, config, lasting)
    dump("placement", placement.__str__)
    scheduled = schedule(kernels, placement, config)
    dump("schedule", lambda: schedule_text(scheduled, config))
    verify_words(scheduled.dispatches, placement.image, placement.kept | placement.words.shared, config)
    text = assemble(scheduled.dispatches, scheduled.cycles, config)
    places = ports(kernels, placement)
    program = Program(
        name=kernels.name,
        config=config,
        text=text,
        image=placement.image,
        kept=frozenset(placement.kept),
        inputs=places.inputs,
        outputs=places.outputs,
        states=states(kernels, placement),
        cycles=scheduled.cycles,
        macs=macs,
        resource_bound=bounds.resources[bounds.busiest],
        resource_name=bounds.busiest,
        chain_bound=bounds.chain,
    )
    dump("program", lambda: program_text(program))
    verify_meetings(link(program), scheduled.rides)
    return program, placement.lasting


def graph_port(port: ir.Port, graph: ir.Graph, placement: Placement, view: BufferOperand) -> Port:
    """Where a port of a graph lives: a view of a buffer, in its columns."""
    tensor = graph.tensor(port.tensor)
    tables = [op.table for op in graph.ops if isinstance(op, ir.Lookup) and op.indices == port.tensor]
    return Port(
        name=port.name,
        shape=port.shape,
        rows=tensor.rows,
        cols=2 if tensor.dtype == "index" else tensor.lanes,
        columns=tuple(column.from_row(view.first_row) for column in placement.buffers[view.name]),
        dtype=port.dtype,
        stored=tensor.dtype,
        entries=min((len(table) for table in tables), default=0),
        scale=1.0 if tensor.scale is None else float(tensor.scale),
        zero_point=tensor.zero_point,
    )


def kernel_ports(kernels: KernelGraph, placement: Placement) -> Ports:
    """Where the ports of a network that came as kernels live: as kernels have them."""

    def placed(port: ir.Port, view: BufferOperand) -> Port:
        buffer = kernels.buffer(view.name)
        return Port(
            name=port.name,
            shape=port.shape,
            rows=buffer.rows,
            cols=port.shape[-1],
            columns=placement.buffers[view.name],
            dtype=port.dtype,
            stored=port.dtype,
        )

    return Ports(
        tuple(placed(port, BufferOperand(name)) for port, name in kernels.inputs),
        tuple(placed(port, view) for port, view in kernels.outputs),
    )


def states(kernels: KernelGraph, placement: Placement) -> tuple[Port, ...]:
    """Where the states of a program live."""
    return tuple(_state(kernels.buffer(name), placement) for name in kernels.states)


def _state(buffer: Buffer, placement: Placement) -> Port:
    dtype = "int32" if buffer.wide else "int8"
    shape = (buffer.rows, buffer.cols)
    return Port(buffer.name, shape, *shape, placement.columns(buffer.name), dtype, stored=dtype)


def schedule_text(scheduled: Schedule, config: ChipConfig) -> str:
    """What every queue dispatches when, a line each."""
    lines = []
    for queue in geometry(config).queues:
        unrolled = (pair for run in scheduled.dispatches.get(queue.name, ()) for pair in run.unrolled())
        for cycle, inst in sorted(unrolled, key=lambda pair: pair[0]):
            lines.append(f"{cycle:8d}  {queue.name}: {format_instruction(inst)}")
    return "\n".join(lines) + "\n"


def program_text(program: Program) -> str:
    """The instructions of every queue, a line each."""
    lines = []
    for name, text in program.text.items():
        lines += [f".queue {name}", *(f"    {format_instruction(inst)}" for inst in text)]
    return "\n".join(lines) + "\n"
