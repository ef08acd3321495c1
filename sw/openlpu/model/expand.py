# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""From the text of a queue to its dispatches: which instruction reaches the unit in which cycle.

Nothing in a queue waits for data, so this is all there is to know about an instruction queue: NOP, REPEAT and what
unit instructions say of the cycles behind them are unrolled, the barrier is cycle 0, and the rest follows one dispatch
a cycle.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from openlpu.arch.assembly import format_instruction
from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import EncodingError, encoding
from openlpu.arch.geometry import Queue
from openlpu.arch.isa import FieldKind, Instruction
from openlpu.arch.timing import timing
from openlpu.model.violation import Violation


@dataclass(frozen=True, slots=True, eq=False)
class Dispatch:
    """A unit instruction (or `ifetch`) leaving its queue. Two dispatches are never equal, only identical."""

    cycle: int
    queue: Queue
    instruction: Instruction
    """Alone, with the address that repetitions have advanced it to."""
    index: int
    """Position in the text that the queue executes, of the REPEAT where one issued it."""

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
    fetches: list[Dispatch] = field(default_factory=list)
    """Every `ifetch`, in order."""
    violations: list[Violation] = field(default_factory=list)


def expand(
    config: ChipConfig,
    queue: Queue,
    text: Sequence[Instruction],
    fetched: Sequence[Sequence[Instruction | None]] = (),
) -> Expansion:
    """Follow the text of a queue from the barrier to HALT, or to the first word that is not known.

    `text` stands in its instruction memory at the start; `fetched` holds the words of each `ifetch` in the order in
    which they dispatch, None where they are not known. An instruction that breaks a rule is reported and not
    dispatched; what follows it is still followed.
    """
    out = Expansion()
    codec = encoding(config)

    def refuse(cycle: int, inst: Instruction | None, message: str, fault_cycle: int | None = None) -> None:
        shown = "" if inst is None else format_instruction(inst)
        out.violations.append(Violation(cycle, queue.name, shown, message, fault_cycle=fault_cycle))

    mnemonics = [inst.spec.mnemonic for inst in text[:2]]
    if len(text) > queue.text_words:
        refuse(0, None, f"{len(text)} instructions do not fit its {queue.text_words} words of instruction memory")
    if mnemonics == ["halt"]:
        return out
    begins = mnemonics[:1] in (["sync"], ["notify"])
    if not begins:
        refuse(0, text[0] if text else None, "the text must begin with sync or notify (or be just halt)")
    out.notifies = mnemonics[:1] == ["notify"]

    memory = InstructionMemory(config, queue, text)
    head = 0
    reached = [0] if begins else []
    latest: Instruction | None = None
    while True:
        index = len(reached)
        before = reached[index - 2] - timing(config).text_ahead if index > 2 else None
        try:
            inst = memory.read(index, before)
        except TextMissing as missing:
            refuse(head, None, str(missing))
            return out
        if inst is None:
            return out
        reached.append(head)
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
            case "repeat":
                if latest is None:
                    refuse(head, inst, "nothing to repeat: no unit instruction before it", fault_cycle=head)
                else:
                    latest = _repeat(config, queue, latest, inst, head - 1, index, out)
            case "sync" | "notify":
                refuse(head, inst, "only the first instruction of a queue may meet the barrier")
            case "ifetch":
                fetch = Dispatch(head, queue, inst, index)
                if head < memory.fetches_until:
                    message = f"the fetch before it takes vectors until cycle {memory.fetches_until - 1}"
                    out.violations.append(fetch.violation(message))
                number = len(out.fetches)
                words = fetched[number] if number < len(fetched) else [None] * inst.number("n")
                memory.fetch(fetch, words)
                out.fetches.append(fetch)
            case "halt":
                out.halt = head
                if not out.fetches and index + 1 < len(text):
                    refuse(head, inst, f"{len(text) - index - 1} instructions after it can never run")
                if out.fetches and memory.settles > head + 1:
                    message = f"still fetching until cycle {memory.settles - 1}, after its halt in {head}"
                    out.violations.append(out.fetches[-1].violation(message))
                return out
            case _ if not spec.control:
                latest = inst.alone
                out.dispatches.append(Dispatch(head, queue, latest, index))
                if spec.tail:
                    latest = _repeat(config, queue, latest, inst, head, index, out)
            case _:
                pass
        head += cycles_taken(inst)


def cycles_taken(inst: Instruction) -> int:
    """How many cycles after an instruction a queue comes to the next one, the barrier's and HALT aside."""
    match inst.spec.mnemonic:
        case "nop":
            return inst.number("n")
        case "repeat":
            return inst.number("n") * inst.number("gap")
        case _ if inst.spec.tail:
            return 1 + inst.number("again") * inst.number("gap") + inst.number("wait")
        case _:
            return 1


def dispatches_of(inst: Instruction) -> int:
    """How many dispatches to its unit a queue makes of an instruction."""
    if inst.spec.control:
        return inst.number("n") if inst.spec.mnemonic == "repeat" else 0
    return 1 + (inst.number("again") if inst.spec.tail else 0)


class TextMissing(Exception):
    """The instruction memory holds nothing to execute; the message says why."""


class InstructionMemory:
    """What a queue finds in its instruction memory: each word it holds is executed once at most."""

    def __init__(self, config: ChipConfig, queue: Queue, text: Sequence[Instruction]) -> None:
        self.fetches_until = 0
        """First cycle whose vector no fetch takes, as a cycle of dispatch."""
        self.settles = 0
        """Cycle from which all fetched words stand."""
        self._config = config
        self._text = text
        self._words = queue.text_words
        self._vectors = encoding(config).word_vectors(queue.kind)
        self._fetched: dict[int, list[tuple[int, Instruction | None]]] = {}
        """By address: (cycle from which it may be read, word), in order."""
        self._executed: dict[int, int] = {}
        """By address: how many of its fetched words were executed or passed over."""

    def fetch(self, dispatch: Dispatch, words: Sequence[Instruction | None]) -> None:
        """Words come to stand, one after the other."""
        inst = dispatch.instruction
        stands = dispatch.cycle + timing(self._config).fetch.retire - 1
        for k, word in enumerate(words):
            stands += self._vectors
            self._fetched.setdefault((inst.number("a") + k) % self._words, []).append((stands, word))
        self.fetches_until = dispatch.cycle + self._vectors * len(words)
        self.settles = stands

    def read(self, position: int, cycle: int | None) -> Instruction | None:
        """The word that is executed in a position of the text, as it is read in a cycle (None: before the start).

        Raises:
            TextMissing: when nothing stands there, or nothing new, or it changes on the clock edge.
        """
        address = position % self._words
        writes = self._fetched.get(address, [])
        seen = 0 if cycle is None else bisect_right(writes, cycle, key=lambda write: write[0])
        if cycle is not None and seen < len(writes) and writes[seen][0] == cycle + 1:
            raise TextMissing(f"word {position} of its text is read on the clock edge of its fetch")
        if seen > self._executed.get(address, 0):
            self._executed[address] = seen
            return writes[seen - 1][1]
        if position < min(len(self._text), self._words):
            return self._text[position]
        if seen < len(writes):
            raise TextMissing(
                f"word {position} of its text is fetched too late: read in cycle {cycle}, there from {writes[seen][0]}"
            )
        raise TextMissing("the text does not end with halt")


def _repeat(
    config: ChipConfig, queue: Queue, latest: Instruction, word: Instruction, base: int, index: int, out: Expansion
) -> Instruction:
    """Dispatch `latest` again as `word` says, counted from cycle `base`; return its last form.

    `word` is a REPEAT, or the word of `latest` with what follows it.
    """
    n, gap = word.number("n" if word.spec.control else "again"), word.number("gap")
    strided, codec = latest.spec.stride, encoding(config)
    step = word.number("step") if strided else 0
    # A window moves by whole windows only, and inside the slice: what the encoder says of one, it says of all.
    windowed = latest.spec.has(FieldKind.WINDOW)
    low = high = 0
    if strided is not None:
        low, high = codec.limits(latest.spec.kind_of(strided), queue.kind)
    for k in range(1, n + 1):
        advanced = codec.advanced(latest, k * step)
        address = advanced.number(strided) if strided else 0
        if not low <= address <= high:
            message = f"repetition {k} has {strided}={address}: not in {low}..{high}"
            out.violations.append(Violation(base + k * gap, queue.name, format_instruction(word), message))
            return latest
        if windowed:
            try:
                codec.encode(advanced, queue)
            except EncodingError as error:
                out.violations.append(Violation(base + k * gap, queue.name, format_instruction(word), str(error)))
                return latest
        out.dispatches.append(Dispatch(base + k * gap, queue, advanced, index))
    return out.dispatches[-1].instruction
