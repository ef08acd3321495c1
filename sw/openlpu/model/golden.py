# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The golden model: a chip with no hardware behind it, exact to the bit and the cycle.

It decodes the same instruction words as the hardware, proves them with the checker, and executes the data flow that
the linker found. What a program computes and how long it takes thus come from one resolution; registers are not moved
cycle by cycle, but `Trace` can say what stands in each of them in any cycle.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import EncodingError, encoding
from openlpu.arch.geometry import Queue, Stream, geometry
from openlpu.arch.isa import Instruction
from openlpu.arch.program import Vector
from openlpu.arch.status import ChipStatus, RunStatus
from openlpu.arch.timing import timing
from openlpu.model import semantics
from openlpu.model.dataflow import LinkedProgram, Production, SramWrite
from openlpu.model.execute import Execution
from openlpu.model.expand import Dispatch
from openlpu.model.link import link_text
from openlpu.model.violation import CheckError, Violation


class GoldenError(ValueError):
    """The text in the chip is no program that may run; `violations` says why, in order of cycles."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__(str(CheckError("golden chip", self.violations)))


@dataclass(frozen=True)
class Trace:
    """Everything that happened in one run, for lock-step comparison with hardware.

    `vectors` holds the value of every vector number, int8 [count, lanes].
    """

    linked: LinkedProgram
    vectors: Vector

    @property
    def productions(self) -> tuple[Production, ...]:
        """Every vector driven onto a stream, in order of cycles; its value is `vectors[production.vector]`."""
        return self.linked.productions

    @property
    def writes(self) -> tuple[SramWrite, ...]:
        """Every SRAM write, in order of cycles, scatters with the word they found, if any; its value is
        `vectors[write.vector]`."""
        return tuple(found for write in self.linked.writes for found in self._found(write))

    def _found(self, write: SramWrite) -> Iterator[SramWrite]:
        if write.map is None:
            yield write
            return
        inst = write.dispatch.instruction
        word = semantics.picked_word(self.linked.config, inst, self.vectors[write.map])
        if word is not None:
            yield dataclasses.replace(write, address=write.address + word, map=None)

    def registers(self) -> Iterator[dict[tuple[int, Stream], tuple[Vector, Dispatch]]]:
        """For each cycle of the program, the valid stream registers: (hop, stream) to value and producer."""
        hops = geometry(self.linked.config).hops
        held: dict[tuple[int, Stream], tuple[Vector, Dispatch]] = {}
        upcoming = iter((*self.productions, None))
        production = next(upcoming)
        for cycle in range(self.linked.cycles):
            moved = {(hop + stream.direction.step, stream): value for (hop, stream), value in held.items()}
            held = {place: value for place, value in moved.items() if 0 <= place[0] < hops}
            while production is not None and production.cycle == cycle:
                held[production.hop, production.stream] = (self.vectors[production.vector], production.dispatch)
                production = next(upcoming)
            yield dict(held)

    def register_contents(self, cycle: int) -> dict[tuple[int, Stream], tuple[Vector, Dispatch]]:
        """The valid stream registers in one cycle. To visit every cycle, `registers()` is faster."""
        hops = geometry(self.linked.config).hops
        held = {}
        for production in self.productions:
            hop = production.hop + (cycle - production.cycle) * production.stream.direction.step
            if production.cycle <= cycle and 0 <= hop < hops:
                held[hop, production.stream] = (self.vectors[production.vector], production.dispatch)
        return held


class GoldenChip:
    """A chip in numpy: a `ChipPort` with host access to SRAM and text, and a run that checks before it computes.

    SRAM words are undefined until the host or a program writes them; a program that reads one does not run.
    """

    def __init__(self, config: ChipConfig) -> None:
        self.config = config
        self.trace: Trace | None = None
        """Of the latest run."""
        self._status = RunStatus(0)
        self._geometry = geometry(config)
        slices = len(self._geometry.mem_slices)
        self._memory: Vector = np.zeros((slices, config.mem_words, config.lanes), np.int8)
        self._defined: NDArray[np.bool_] = np.zeros((slices, config.mem_words), np.bool_)
        self._text: list[list[int]] = [[] for _ in self._geometry.queues]
        self._changed: NDArray[np.bool_] = np.zeros((slices, config.mem_words), np.bool_)
        """Words written since the last run."""
        self._execution: Execution | None = None
        """Proved, and so valid until the text changes: defined words never become undefined."""

    def write_memory(self, slice: int, address: int, words: Vector) -> None:
        """Write consecutive words, int8 [n, lanes], of MEM slice number `slice` from `address` on."""
        if words.dtype != np.int8 or words.ndim != 2 or words.shape[1] != self.config.lanes:
            raise ValueError(f"SRAM words are int8[n, {self.config.lanes}], not {words.dtype}{list(words.shape)}")
        place = self._span(slice, address, len(words))
        self._memory[place] = words
        self._defined[place] = True
        self._changed[place] = True
        if self._execution is not None and any(
            number == slice and address <= word < address + len(words)
            for number, word in self._execution.linked.text_source
        ):
            self._execution = None

    def read_memory(self, slice: int, address: int, count: int) -> Vector:
        """A copy of `count` words, int8 [count, lanes]; zero where nothing was ever written."""
        return self._memory[self._span(slice, address, count)].copy()

    def write_text(self, queue: int, words: Sequence[int]) -> None:
        """Write the instruction memory of queue number `queue` from word 0 on; words beyond keep what they hold."""
        if not 0 <= queue < len(self._text):
            raise ValueError(f"queue {queue}: the chip has 0..{len(self._text) - 1}")
        room = geometry(self.config).queues[queue].text_words
        if len(words) > room:
            raise ValueError(f"queue {queue}: {len(words)} words, but it holds {room}")
        held = self._text[queue]
        held[: len(words)] = [int(word) for word in words]
        self._execution = None

    def run(self, count: int = 1) -> RunStatus:
        """Run the text `count` times in a row, each time from the barrier until every queue has halted.

        What may run once may run again, on what the run before left in SRAM: words become defined and never undefined,
        and what else a unit keeps no proved program looks at before it has set it. Fetched text is the exception.

        Raises:
            GoldenError: when a word is no instruction, or the checker refuses the program, or its second run.
        """
        if count < 1:
            raise ValueError(f"a program runs once or more often, not {count} times")
        if self._execution is None:
            self._execution = Execution(self._link())
        execution, linked = self._execution, self._execution.linked
        if count > 1 and linked.fetched:
            fetching = sorted({queue for queue, _, _ in linked.fetched})
            message = "fetches text, which stays in its instruction memory: run the program once at a time"
            raise GoldenError([Violation(0, self._geometry.queues[queue].name, "", message) for queue in fetching])
        for _ in range(count):
            self.trace = self._run_once(execution)
        self._keep_fetched(linked.fetched)
        self._status = RunStatus(timing(self.config).series(linked.cycles, count))
        return self._status

    def status(self) -> ChipStatus:
        """How the last run ended; nothing ever goes wrong in one."""
        return ChipStatus(running=False, run=self._status)

    def close(self) -> None:
        """Nothing to release."""

    def _run_once(self, execution: Execution) -> Trace:
        vectors = execution.run(self._memory, self._changed)
        slices, addresses, written = execution.linked.left_behind
        self._memory[slices, addresses] = vectors[written]
        self._defined[slices, addresses] = True
        self._changed[slices, addresses] = True
        return Trace(execution.linked, vectors)

    def _span(self, number: int, address: int, count: int) -> tuple[int, slice]:
        if not 0 <= number < len(self._memory):
            raise ValueError(f"MEM slice {number}: the chip has 0..{len(self._memory) - 1}")
        if not 0 <= address <= address + count <= self.config.mem_words:
            raise ValueError(f"words {address}..{address + count - 1}: a slice has 0..{self.config.mem_words - 1}")
        return number, slice(address, address + count)

    def _link(self) -> LinkedProgram:
        text, violations = {}, []
        for queue, words in zip(self._geometry.queues, self._text, strict=True):
            try:
                text[queue.name] = self._decode(queue, words)
            except EncodingError as error:
                violations.append(Violation(0, queue.name, "", str(error)))
        if violations:
            raise GoldenError(violations)
        try:
            return link_text(self.config, text, self._defined, self._word)
        except CheckError as error:
            raise GoldenError(error.violations) from None

    def _word(self, place: tuple[int, int]) -> Vector | None:
        return self._memory[place] if self._defined[place] else None

    def _decode(self, queue: Queue, words: Sequence[int]) -> tuple[Instruction, ...]:
        """The text of a queue up to its first HALT; what lies beyond is left from an earlier program.

        With an `ifetch` before it, that HALT may be replaced: then up to the first word that is no instruction.
        """
        text: list[Instruction] = []
        fetches = False
        for word in words:
            try:
                inst = encoding(self.config).decode(word, queue)
            except EncodingError:
                if fetches:
                    break
                raise
            text.append(inst)
            fetches |= inst.spec.mnemonic == "ifetch"
            if inst.spec.mnemonic == "halt" and not fetches:
                break
        return tuple(text)

    def _keep_fetched(self, fetched: Sequence[tuple[int, int, int]]) -> None:
        """What `ifetch` wrote stays in the instruction memories."""
        for queue, address, word in fetched:
            held = self._text[queue]
            held += [0] * (address + 1 - len(held))
            if held[address] != word:
                held[address] = word
                self._execution = None
