# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Assembly: the dispatches of each queue become its text, as short as NOP and REPEAT make it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import Encoding, encoding
from openlpu.arch.geometry import Queue, geometry
from openlpu.arch.isa import FieldKind, Instruction, instruction
from openlpu.compiler.errors import CompileError
from openlpu.compiler.timeline import Run

Dispatches = Mapping[str, Sequence[Run]]
"""Of each queue by name: its runs, in order of cycles. Runs may be interleaved, dispatches are never simultaneous."""


def assemble(dispatches: Dispatches, cycles: int, config: ChipConfig) -> dict[str, tuple[Instruction, ...]]:
    """The text of every queue that takes part, for a program that ends after `cycles`.

    Raises:
        CompileError: when the text of a queue is longer than its instruction memory.
    """
    queues = [queue for queue in geometry(config).queues if queue.name in dispatches]
    if not queues:
        # Nothing to compute, as in a network of reshapes: the barrier falls and the program is over.
        return {geometry(config).queues[0].name: (instruction("notify"), instruction("halt"))}
    # One queue gives the start signal, and one keeps the program alive until the last result is in place.
    last = max(queues, key=lambda queue: _last(dispatches[queue.name]))
    text = {}
    for queue in queues:
        halt_at = cycles - 1 if queue is last else _last(dispatches[queue.name]) + 1
        start = instruction("notify" if queue is queues[0] else "sync")
        text[queue.name] = (start, *_body(dispatches[queue.name], queue, halt_at, config), instruction("halt"))
        if len(text[queue.name]) > config.imem_words:
            raise CompileError(
                f"the program of {queue.name} has {len(text[queue.name])} instructions, config '{config.name}' has "
                f"room for {config.imem_words}; use a smaller network or a config with more imem_words"
            )
    return text


def _last(runs: Sequence[Run]) -> int:
    return max(run.last for run in runs)


def _body(runs: Sequence[Run], queue: Queue, halt_at: int, config: ChipConfig) -> list[Instruction]:
    text: list[Instruction] = []
    cycle = 0
    for run in _merged(_disentangled(runs), queue, config):
        text += _wait(run.cycle - cycle, queue, config)
        text.append(run.instruction)
        if run.count > 1:
            text.append(instruction("repeat", n=run.count - 1, gap=run.gap, step=run.step))
        cycle = run.last + 1
    return text + _wait(halt_at - cycle, queue, config)


def _wait(cycles: int, queue: Queue, config: ChipConfig) -> list[Instruction]:
    _, longest = encoding(config).limits(FieldKind.CYCLES, queue.kind)
    full, rest = divmod(cycles, longest)
    return [instruction("nop", n=n) for n in [longest] * full + [rest] * bool(rest)]


def _disentangled(runs: Sequence[Run]) -> Iterator[Run]:
    """The runs, those that are interleaved with others dispatch by dispatch."""
    knot: list[Run] = []
    end = -1
    for run in (*runs, None):
        if run is None or run.cycle > end:
            if len(knot) == 1:
                yield knot[0]
            else:
                pairs = sorted((pair for member in knot for pair in member.unrolled()), key=lambda pair: pair[0])
                yield from (Run(cycle, inst) for cycle, inst in pairs)
            knot = []
        if run is not None:
            knot.append(run)
            end = max(end, run.last)


def _merged(runs: Iterable[Run], queue: Queue, config: ChipConfig) -> Iterator[Run]:
    """The fewest runs that a REPEAT each can express, found greedily."""
    table = encoding(config)
    most = table.limits(FieldKind.COUNT, queue.kind)[1] + 1
    widest = table.limits(FieldKind.GAP, queue.kind)[1]
    low, high = table.limits(FieldKind.STRIDE, queue.kind)

    def expressible(run: Run) -> bool:
        return run.count == 1 or (run.count <= most and run.gap <= widest and low <= run.step <= high)

    held: Run | None = None
    for run in itertools.chain.from_iterable(_pieces(run, most, expressible) for run in runs):
        joined = None if held is None else _joined(held, run, table)
        if joined is not None and expressible(joined):
            held = joined
            continue
        if held is not None:
            yield held
        held = run
    if held is not None:
        yield held


def _pieces(run: Run, most: int, expressible: Callable[[Run], bool]) -> Iterator[Run]:
    """A run as runs that a REPEAT can express: whole, in blocks of `most`, or dispatch by dispatch."""
    for first in range(0, run.count, most):
        block = Run(
            run.cycle + run.gap * first,
            run.instruction.advanced(run.step * first),
            min(most, run.count - first),
            run.gap,
            run.step,
        )
        if expressible(block):
            yield block
        else:
            yield from (Run(cycle, inst) for cycle, inst in block.unrolled())


def _joined(first: Run, second: Run, table: Encoding) -> Run | None:
    """One run that is both in turn, as REPEAT would go on; None where there is none."""
    stride = first.instruction.spec.stride
    if first.instruction.spec != second.instruction.spec:
        return None
    between = second.cycle - first.last
    distance = second.instruction.number(stride) - first.instruction.number(stride) if stride else 0
    step = first.step if first.count > 1 else second.step if second.count > 1 else distance
    same = all(run.count == 1 or (run.gap, run.step) == (between, step) for run in (first, second))
    if not same or table.advanced(first.instruction, step * first.count) != second.instruction:
        return None
    return Run(first.cycle, first.instruction, first.count + second.count, between, step)
