# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Assembly: the dispatches of each queue become its text, as short as NOP and REPEAT make it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import Queue, geometry
from openlpu.arch.isa import FieldKind, Instruction, instruction
from openlpu.compiler.errors import CompileError

Dispatches = Mapping[str, Sequence[tuple[int, Instruction]]]
"""Of each queue by name: (cycle, instruction), in order of cycles."""


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
    last = max(queues, key=lambda queue: dispatches[queue.name][-1][0])
    text = {}
    for queue in queues:
        halt_at = cycles - 1 if queue is last else dispatches[queue.name][-1][0] + 1
        start = instruction("notify" if queue is queues[0] else "sync")
        text[queue.name] = (start, *_body(dispatches[queue.name], queue, halt_at, config), instruction("halt"))
        if len(text[queue.name]) > config.imem_words:
            raise CompileError(
                f"the program of {queue.name} has {len(text[queue.name])} instructions, config '{config.name}' has "
                f"room for {config.imem_words}; use a smaller network or a config with more imem_words"
            )
    return text


def _body(
    dispatches: Sequence[tuple[int, Instruction]], queue: Queue, halt_at: int, config: ChipConfig
) -> list[Instruction]:
    text: list[Instruction] = []
    cycle = 0
    i = 0
    while i < len(dispatches):
        at, inst = dispatches[i]
        text += _wait(at - cycle, queue, config)
        text.append(inst)
        count, gap, step = _run(dispatches, i, queue, config)
        if count:
            text.append(instruction("repeat", n=count, gap=gap, step=step))
        cycle = at + count * gap + 1
        i += 1 + count
    return text + _wait(halt_at - cycle, queue, config)


def _wait(cycles: int, queue: Queue, config: ChipConfig) -> list[Instruction]:
    _, longest = encoding(config).limits(FieldKind.CYCLES, queue.kind)
    full, rest = divmod(cycles, longest)
    return [instruction("nop", n=n) for n in [longest] * full + [rest] * bool(rest)]


def _run(
    dispatches: Sequence[tuple[int, Instruction]], first: int, queue: Queue, config: ChipConfig
) -> tuple[int, int, int]:
    """How many dispatches after `first` one REPEAT covers, and its gap and step."""
    table = encoding(config)
    if first + 1 >= len(dispatches):
        return 0, 1, 0
    (at, inst), (next_at, next_inst) = dispatches[first], dispatches[first + 1]
    gap = next_at - at
    stride = inst.spec.stride
    step = next_inst.number(stride) - inst.number(stride) if stride and next_inst.spec == inst.spec else 0
    low, high = table.limits(FieldKind.STRIDE, queue.kind)
    if gap > table.limits(FieldKind.GAP, queue.kind)[1] or not low <= step <= high:
        return 0, 1, 0
    most = table.limits(FieldKind.COUNT, queue.kind)[1]
    count = 0
    for later_at, later in dispatches[first + 1 : first + 1 + most]:
        if later_at != at + gap * (count + 1) or later != inst.advanced(step * (count + 1)):
            break
        count += 1
    return count, gap, step
