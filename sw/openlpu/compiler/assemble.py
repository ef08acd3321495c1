# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Assembly: the dispatches of each queue become its text, in as few words as it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from openlpu.arch.config import ChipConfig
from openlpu.arch.geometry import geometry
from openlpu.arch.isa import Instruction, instruction
from openlpu.compiler.errors import CompileError
from openlpu.compiler.shortest_text import shortest_text
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
        body = shortest_text(dispatches[queue.name], queue, halt_at, config)
        text[queue.name] = (start, *body, instruction("halt"))
        if len(text[queue.name]) > queue.text_words:
            raise CompileError(
                f"the program of {queue.name} has {len(text[queue.name])} instructions, config '{config.name}' has "
                f"room for {queue.text_words}; use a smaller network or a config with more imem_words"
            )
    return text


def _last(runs: Sequence[Run]) -> int:
    return max(run.last for run in runs)
