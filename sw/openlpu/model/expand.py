# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""From the text of a queue to its dispatches: which instruction reaches the unit in which cycle.

Nothing in a queue waits for data, so this is all there is to know about an instruction queue: NOP and REPEAT are
unrolled, the barrier is cycle 0, and the rest follows one dispatch a cycle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from openlpu.arch.assembly import format_instruction
from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import EncodingError, encoding
from openlpu.arch.geometry import Queue
from openlpu.arch.isa import Instruction
from openlpu.model.violation import Violation


@dataclass(frozen=True, slots=True, eq=False)
class Dispatch:
    """A unit instruction leaving its queue. Two dispatches are never equal, only identical."""

    cycle: int
    queue: Queue
    instruction: Instruction
    """With the address that REPEAT has advanced it to."""
    index: int
    """Position in the queue's text, of the REPEAT where one issued it."""

    def __str__(self) -> str:
        return f"cycle {self.cycle}, {self.queue.name}, '{format_instruction(self.instruction)}'"

    def __repr__(self) -> str:
        return f"<{self}>"

    def violation(self, message: str, fault_cycle: int | None = None) -> Violation:
        """A violation by this dispatch."""
        return Violation(
            self.cycle, self.queue.name, format_instruction(self.instruction), message, fault_cycle=fault_cycle
        )


@dataclass(slots=True)
class Expansion:
    """All that a queue does."""

    dispatches: list[Dispatch] = field(default_factory=list)
    """In order, at most one a cycle."""
    halt: int | None = None
    """Cycle in which HALT dispatches; None for a queue that takes no part."""
    notifies: bool = False
    violations: list[Violation] = field(default_factory=list)


def expand(config: ChipConfig, queue: Queue, text: Sequence[Instruction]) -> Expansion:
    """Follow the text of a queue from the barrier to HALT.

    An instruction that breaks a rule is reported and not dispatched; what follows it is still followed.
    """
    out = Expansion()
    codec = encoding(config)

    def refuse(cycle: int, inst: Instruction | None, message: str, fault_cycle: int | None = None) -> None:
        shown = "" if inst is None else format_instruction(inst)
        out.violations.append(Violation(cycle, queue.name, shown, message, fault_cycle=fault_cycle))

    mnemonics = [inst.spec.mnemonic for inst in text]
    if len(text) > config.imem_words:
        refuse(0, None, f"{len(text)} instructions do not fit its {config.imem_words} words of instruction memory")
    if mnemonics == ["halt"]:
        return out
    if mnemonics[:1] not in (["sync"], ["notify"]):
        refuse(0, text[0] if text else None, "the text must begin with sync or notify (or be just halt)")
    out.notifies = mnemonics[:1] == ["notify"]

    head = 0
    latest: Instruction | None = None
    for index in range(1 if mnemonics[:1] in (["sync"], ["notify"]) else 0, len(text)):
        inst = text[index]
        spec = inst.spec
        if not spec.implemented:
            refuse(head, inst, f"'{spec.mnemonic}' is not implemented", fault_cycle=head)
            head += 1
            continue
        try:
            codec.encode(inst, queue)
        except EncodingError as error:
            refuse(head, inst, str(error), fault_cycle=head)
            head += 1
            continue
        match spec.mnemonic:
            case "nop":
                head += inst.number("n")
            case "repeat":
                n, gap = inst.number("n"), inst.number("gap")
                if latest is None:
                    refuse(head, inst, "nothing to repeat: no unit instruction before it", fault_cycle=head)
                else:
                    latest = _repeat(config, queue, latest, inst, head - 1, index, out)
                head += n * gap
            case "sync" | "notify":
                refuse(head, inst, "only the first instruction of a queue may meet the barrier")
                head += 1
            case "halt":
                out.halt = head
                if index + 1 < len(text):
                    refuse(head, inst, f"{len(text) - index - 1} instructions after it can never run")
                return out
            case _:
                out.dispatches.append(Dispatch(head, queue, inst, index))
                latest = inst
                head += 1
    refuse(head, None, "the text does not end with halt")
    return out


def _repeat(
    config: ChipConfig, queue: Queue, latest: Instruction, repeat: Instruction, base: int, index: int, out: Expansion
) -> Instruction:
    """Dispatch `latest` again as `repeat` says, counted from cycle `base`; return its last form."""
    n, gap, step = repeat.number("n"), repeat.number("gap"), repeat.number("step")
    strided = latest.spec.stride
    low = high = start = 0
    if strided is not None:
        kind = next(f.kind for f in latest.spec.fields if f.name == strided)
        low, high = encoding(config).limits(kind, queue.kind)
        start = latest.number(strided)
    for k in range(1, n + 1):
        if not low <= (start + k * step if strided else 0) <= high:
            message = f"repetition {k} has {strided}={start + k * step}: not in {low}..{high}"
            out.violations.append(Violation(base + k * gap, queue.name, format_instruction(repeat), message))
            return latest
        out.dispatches.append(Dispatch(base + k * gap, queue, latest.advanced(k * step), index))
    return out.dispatches[-1].instruction
