# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The checker and the linker: one resolution of a program in space-time that either proves it or says what is wrong.

A vector riding a stream keeps `Stream.diagonal`. So the value that a consumer samples is the last production at or
upstream of its hop on its diagonal, and no register needs to be moved cycle by cycle to find it. State is resolved in
the same way: the write a read sees, the weights an `abc` multiplies with, the sums an `acc_*` samples, the result an
ALU chains. What comes out is a data-flow graph without time: `LinkedProgram`, which any number of runs execute.

Values are numbered; SRAM reads and writes, copies of weights and accumulators only hand numbers on. Operations whose
operands are ready at the same *level* (the longest path from the program's start) are one `Step`, and one numpy call.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from openlpu.arch.config import GROUP, ChipConfig
from openlpu.arch.geometry import QueueKind, Stream, geometry
from openlpu.arch.isa import Format, Instruction, Operand
from openlpu.arch.program import Program
from openlpu.arch.timing import Latency, timing
from openlpu.model.dataflow import MULTIPLY, Indices, LinkedProgram, Production, SramWrite, Step
from openlpu.model.expand import Dispatch, Expansion, expand
from openlpu.model.places import placement_problems, port_words
from openlpu.model.semantics import OPERATIONS, Space
from openlpu.model.violation import CheckError, Violation

_LAST = 1 << 60
"""Later than any dispatch number, to search sorted pairs by their first member."""


def check(program: Program, defined: Iterable[tuple[int, int]] = ()) -> None:
    """Prove a program correct in time and place.

    Raises:
        CheckError: with every violation found.
    """
    link(program, defined)


def cycles(program: Program) -> int:
    """Length of a program, from the text alone: cycle 0 until every queue has halted."""
    chip = geometry(program.config)
    return _length([expand(program.config, chip.by_name[name], text) for name, text in program.text.items()])


def link(program: Program, defined: Iterable[tuple[int, int]] = ()) -> LinkedProgram:
    """Check a program and resolve it into data flow.

    The SRAM words that may be read before they are written are those of the image, those of the inputs, and
    `defined` by (slice number, address).

    Raises:
        CheckError: with every violation found.
    """
    config = program.config
    problems = placement_problems(program)
    if problems:
        raise CheckError(program.name, [Violation(0, "", "", problem) for problem in problems])
    mask = np.zeros((len(geometry(config).mem_slices), config.mem_words), np.bool_)
    for place in [*program.image, *defined, *(place for port in program.inputs for place in port_words(port))]:
        mask[place] = True

    resolution = _Resolution(config, program.text, mask)
    violations = resolution.violations
    if program.cycles != resolution.cycles:
        message = f"it takes {resolution.cycles} cycles, but says {program.cycles}"
        violations.append(Violation(0, "", "", message))
    for write in resolution.writes:
        mask[write.slice, write.address] = True
    for port in program.outputs:
        missing = [place for place in port_words(port) if not mask[place]]
        if missing:
            (number, address), unit = missing[0], geometry(config).mem_slices
            message = f"output '{port.name}': word {address} of {unit[number]} is never written"
            violations.append(Violation(0, "", "", message))
    if violations:
        raise CheckError(program.name, sorted(violations, key=lambda v: v.cycle))
    return resolution.linked()


def link_text(
    config: ChipConfig, text: Mapping[str, Sequence[Instruction]], defined: NDArray[np.bool_]
) -> LinkedProgram:
    """Resolve the text of the queues, with the SRAM words `defined` [slices, mem_words] standing at the start.

    Raises:
        CheckError: with every violation found.
    """
    resolution = _Resolution(config, text, defined)
    if resolution.violations:
        raise CheckError("text", sorted(resolution.violations, key=lambda v: v.cycle))
    return resolution.linked()


def _length(expansions: Iterable[Expansion]) -> int:
    return max((e.halt + 1 for e in expansions if e.halt is not None), default=0)


Value = int | None
"""A value's number; None for one that a reported violation has poisoned, so that one mistake is reported once."""


class _Resolution:
    """Works on numbers of dispatches, so that nothing is hashed but integers."""

    def __init__(
        self, config: ChipConfig, text: Mapping[str, Sequence[Instruction]], defined: NDArray[np.bool_]
    ) -> None:
        self.config = config
        self.geometry = geometry(config)
        self.timing = timing(config)
        self.defined = defined
        self.violations: list[Violation] = []
        self.dispatches: list[Dispatch] = []
        self.cycles = 0

        self.vector_levels: list[int] = []
        self.word_levels: list[int] = []
        self.loads: dict[tuple[int, int], int] = {}
        self.constants: dict[int, int] = {}
        self.batches: dict[tuple[int, str, int], tuple[list[tuple[int, ...]], list[tuple[int, ...]]]] = {}
        self.installs: list[list[int]] = []
        self.install_levels: list[int] = []
        self.joined: dict[tuple[int, ...], int] = {}
        self.extended: dict[int, int] = {}
        self.results: list[tuple[Value, ...]] = []
        """Vectors that each dispatch drives onto streams, or writes to SRAM."""

        self.on_stream: dict[int, list[tuple[int, int, int]]] = {}
        """By stream and diagonal: (position downstream, dispatch, plane of its result), sorted."""
        self.standing: dict[int, list[tuple[int, int]]] = {}
        """By SRAM word: (cycle from which a write is visible, dispatch), sorted."""
        self.shadow: dict[int, list[Value]] = {}
        self.installed: dict[int, list[tuple[int, int | None, list[int]]]] = {}
        """By plane: (cycle from which it stands, index in `installs`, rows never loaded), sorted."""
        self.sums: dict[tuple[int, int], Value] = {}
        """By (plane, the one cycle they stand in)."""
        self.accumulators: dict[tuple[int, int], Value] = {}
        self.alu_results: dict[tuple[int, int], Value] = {}
        """By (ALU, the one cycle it stands in)."""

        self._expand(text)
        self._place()
        self._resolve()

    # Time and place of every event.

    def _expand(self, text: Mapping[str, Sequence[Instruction]]) -> None:
        expansions = {
            queue.name: expand(self.config, queue, text[queue.name])
            for queue in self.geometry.queues
            if queue.name in text
        }
        self.cycles = _length(expansions.values())
        for expansion in expansions.values():
            self.violations += expansion.violations
            self.dispatches += expansion.dispatches
        notifying = [name for name, expansion in expansions.items() if expansion.notifies]
        if not notifying:
            self.violations.append(Violation(0, "", "", "no queue notifies: it would never start"))
        for name in notifying[1:]:
            self.violations.append(Violation(0, name, "notify", f"{notifying[0]} notifies already"))

    def _place(self) -> None:
        """Put productions on their diagonals and writes in their words."""
        rows: dict[tuple[str, str], Latency] = {}
        self.latencies: list[Latency] = []
        for number, dispatch in enumerate(self.dispatches):
            spec = dispatch.instruction.spec
            key = (spec.mnemonic, dispatch.queue.name)
            if key not in rows:
                rows[key] = self.timing.latency(spec, dispatch.queue)
            row = rows[key]
            self.latencies.append(row)
            end = dispatch.cycle + row.retire
            if end > self.cycles:
                self.violations.append(
                    dispatch.violation(f"still in flight until cycle {end}, after the last halt in {self.cycles - 1}")
                )
            if row.func is not None:
                for plane, stream in enumerate(dispatch.instruction.drives):
                    hop, cycle = dispatch.queue.hop, dispatch.cycle + row.func
                    here = self.on_stream.setdefault(_rider(stream, cycle, hop), [])
                    here.append((hop * stream.direction.step, number, plane))
            if dispatch.queue.kind is QueueKind.MEM_WRITE and row.state is not None:
                word = self._word(dispatch)
                self.standing.setdefault(word, []).append((dispatch.cycle + row.state, number))
        for riders in self.on_stream.values():
            riders.sort()
            for (position, first, _), (other, second, plane) in pairwise(riders):
                if position == other:
                    loser = self.dispatches[second]
                    stream = loser.instruction.drives[plane]
                    self.violations.append(
                        loser.violation(
                            f"two producers of {stream} at hop {loser.queue.hop}: also {self.dispatches[first]}"
                        )
                    )

    def _word(self, dispatch: Dispatch) -> int:
        return dispatch.queue.index * self.config.mem_words + dispatch.instruction.number("a")

    # Values.

    def _resolve(self) -> None:
        """Resolve the dispatches in the order in which they sample their operands.

        Every value is sampled later than its producer sampled, except by `abc`, which meets the weights of an `iw`
        one cycle after its own sampling: it is resolved by that cycle.
        """
        self.results = [()] * len(self.dispatches)
        order = sorted(range(len(self.dispatches)), key=self._sampled)
        handlers = {
            QueueKind.MEM_READ: self._read,
            QueueKind.MEM_WRITE: self._write,
            QueueKind.MXM_WEIGHTS: self._weights,
            QueueKind.MXM_ACTS: self._activations,
            QueueKind.MXM_ACCS: self._accumulate,
            QueueKind.VXM: self._compute,
            QueueKind.SXM_SHIFT: self._move_lanes,
            QueueKind.SXM_PERMUTE: self._move_lanes,
        }
        for number in order:
            dispatch = self.dispatches[number]
            self.results[number] = handlers[dispatch.queue.kind](dispatch, self.latencies[number])

    def _sampled(self, number: int) -> int:
        dispatch = self.dispatches[number]
        if dispatch.queue.kind is QueueKind.MXM_ACTS:
            return dispatch.cycle + self.timing.weights_used
        return dispatch.cycle + _given(self.latencies[number].skew)

    def _complain(self, dispatch: Dispatch, message: str, fault_cycle: int | None = None) -> None:
        self.violations.append(dispatch.violation(message, fault_cycle=fault_cycle))

    def _consume(self, dispatch: Dispatch, stream: Stream, cycle: int) -> Value:
        hop = dispatch.queue.hop
        riders = self.on_stream.get(_rider(stream, cycle, hop), [])
        upstream = bisect_right(riders, (hop * stream.direction.step, _LAST, 0))
        if upstream == 0:
            self._complain(dispatch, f"{stream} is empty at hop {hop} in cycle {cycle}", fault_cycle=cycle)
            return None
        _, producer, plane = riders[upstream - 1]
        return self.results[producer][plane]

    def _read(self, dispatch: Dispatch, row: Latency) -> tuple[Value, ...]:
        cycle, word = dispatch.cycle + _given(row.skew), self._word(dispatch)
        writes = self.standing.get(word, [])
        seen = bisect_right(writes, (cycle, _LAST))
        if seen < len(writes) and writes[seen][0] == cycle + 1:
            self._complain(dispatch, f"reads the word on the clock edge of {self.dispatches[writes[seen][1]]}")
            return (None,)
        if seen:
            return self.results[writes[seen - 1][1]]
        place = (dispatch.queue.index, dispatch.instruction.number("a"))
        if not self.defined[place]:
            self._complain(dispatch, f"word {place[1]} of {dispatch.queue.unit} holds nothing yet in cycle {cycle}")
            return (None,)
        if place not in self.loads:
            self.loads[place] = self._vector(0)
        return (self.loads[place],)

    def _write(self, dispatch: Dispatch, row: Latency) -> tuple[Value, ...]:
        return (self._consume(dispatch, dispatch.instruction.stream("s"), dispatch.cycle + _given(row.skew)),)

    def _weights(self, dispatch: Dispatch, row: Latency) -> tuple[Value, ...]:
        # One queue loads and installs, so the order of its dispatches is the order of its effects.
        plane, lanes = dispatch.queue.index, self.config.lanes
        shadow = self.shadow.setdefault(plane, [-1] * lanes)
        if dispatch.instruction.spec.mnemonic == "lw":
            first = dispatch.instruction.number("g") * self.config.weight_streams
            for i, stream in enumerate(dispatch.queue.consumes):
                shadow[first + i] = self._consume(dispatch, stream, dispatch.cycle + _given(row.skew))
            return ()
        missing = [i for i, value in enumerate(shadow) if value == -1]
        rows = [value for value in shadow if value is not None]
        install = None
        if not missing and len(rows) == lanes:
            install = len(self.installs)
            self.installs.append(rows)
            self.install_levels.append(max(self.vector_levels[value] for value in rows))
        stands = dispatch.cycle + _given(row.state)
        self.installed.setdefault(plane, []).append((stands, install, missing))
        return ()

    def _activations(self, dispatch: Dispatch, row: Latency) -> tuple[Value, ...]:
        plane = dispatch.queue.index
        vector = self._consume(dispatch, dispatch.instruction.stream("s"), dispatch.cycle + _given(row.skew))
        result: Value = None
        installs = self.installed.get(plane, [])
        current = bisect_right(installs, dispatch.cycle + self.timing.weights_used, key=lambda entry: entry[0])
        if current == 0:
            self._complain(dispatch, f"no weights are installed in {dispatch.queue.unit} yet")
        else:
            _, install, missing = installs[current - 1]
            if missing:
                rows = f"row {missing[0]}" + (f" and {len(missing) - 1} others" if len(missing) > 1 else "")
                self._complain(dispatch, f"multiplies with weights of {dispatch.queue.unit} never loaded: {rows}")
            elif install is not None and vector is not None:
                level = max(self.vector_levels[vector], self.install_levels[install])
                result = self._operate_word(MULTIPLY, (vector,), level, install)
        self.sums[plane, dispatch.cycle + _given(row.state)] = result
        return ()

    def _accumulate(self, dispatch: Dispatch, row: Latency) -> tuple[Value, ...]:
        inst, plane = dispatch.instruction, dispatch.queue.index
        mnemonic, place = inst.spec.mnemonic, (plane, inst.number("a"))
        cycle = dispatch.cycle + _given(row.skew)
        value: Value = None
        if mnemonic != "acc_out":
            if (plane, cycle) in self.sums:
                value = self.sums[plane, cycle]
            else:
                self._complain(dispatch, f"no sums leave the array in cycle {cycle}", fault_cycle=cycle)
        if not mnemonic.startswith("acc_set"):
            if place not in self.accumulators:
                self._complain(dispatch, f"accumulator {place[1]} of {dispatch.queue.unit} holds nothing yet")
                value = None
            elif mnemonic == "acc_out":
                value = self.accumulators[place]
            else:
                held = self.accumulators[place]
                value = None if value is None or held is None else self._compute_word("iadd", (held, value))
        self.accumulators[place] = value
        return self._drive_planes(value) if row.func is not None else ()

    def _compute(self, dispatch: Dispatch, row: Latency) -> tuple[Value, ...]:
        inst, alu = dispatch.instruction, dispatch.queue.index
        names = ("x", "y")[: inst.spec.arity]
        operands = [self._operand(dispatch, inst.operand(name), row) for name in names]
        known = tuple(value for value in operands if value is not None)
        value: Value = None
        if len(known) == len(operands):
            value = self._compute_word(inst.spec.mnemonic, known)
        self.alu_results[alu, dispatch.cycle + _given(row.state)] = value
        match inst.operand("d").format:
            case Format.BYTE:
                return (None if value is None else self._saturated(value),)
            case Format.WORD:
                return self._drive_planes(value)
            case _:
                return ()

    def _operand(self, dispatch: Dispatch, operand: Operand, row: Latency) -> Value:
        """The word that a VXM source brings."""
        cycle = dispatch.cycle + _given(row.skew)
        match operand:
            case Operand(Format.BYTE, Stream() as stream):
                vector = self._consume(dispatch, stream, cycle)
                return None if vector is None else self._extended(vector)
            case Operand(Format.WORD, Stream() as stream):
                planes = [self._consume(dispatch, plane, cycle) for plane in stream.planes]
                known = tuple(plane for plane in planes if plane is not None)
                return self._joined(known) if len(known) == GROUP else None
            case Operand(Format.ALU, int() as source):
                if (source, cycle) not in self.alu_results:
                    self._complain(dispatch, f"alu{source} puts out no result in cycle {cycle}", fault_cycle=cycle)
                    return None
                return self.alu_results[source, cycle]
            case _:
                return self._constant(dispatch.instruction.number("imm"))

    def _move_lanes(self, dispatch: Dispatch, row: Latency) -> tuple[Value, ...]:
        inst, cycle = dispatch.instruction, dispatch.cycle + _given(row.skew)
        sources = [self._consume(dispatch, inst.stream(name), cycle) for name in inst.spec.consumes]
        known = tuple(value for value in sources if value is not None)
        if len(known) < len(sources):
            return (None,)
        distance = inst.number("n") if any(f.name == "n" for f in inst.spec.fields) else 0
        result = self._vector(1 + max(self.vector_levels[value] for value in known))
        self._emit(self.vector_levels[result], inst.spec.mnemonic, distance, known, (result,))
        return (result,)

    # Numbering, and the graph.

    def _vector(self, level: int) -> int:
        self.vector_levels.append(level)
        return len(self.vector_levels) - 1

    def _emit(
        self, level: int, operation: str, parameter: int, inputs: tuple[int, ...], outputs: tuple[int, ...]
    ) -> None:
        batch = self.batches.setdefault((level, operation, parameter), ([], []))
        batch[0].append(inputs)
        batch[1].append(outputs)

    def _operate_word(self, operation: str, inputs: tuple[int, ...], level: int, parameter: int = 0) -> int:
        """A new word from operands that are ready at `level`."""
        self.word_levels.append(level + 1)
        result = len(self.word_levels) - 1
        self._emit(level + 1, operation, parameter, inputs, (result,))
        return result

    def _compute_word(self, operation: str, inputs: tuple[int, ...]) -> int:
        return self._operate_word(operation, inputs, max(self.word_levels[value] for value in inputs))

    def _constant(self, bits: int) -> int:
        if bits not in self.constants:
            self.word_levels.append(0)
            self.constants[bits] = len(self.word_levels) - 1
        return self.constants[bits]

    def _extended(self, vector: int) -> int:
        if vector not in self.extended:
            self.extended[vector] = self._operate_word("extend", (vector,), self.vector_levels[vector])
        return self.extended[vector]

    def _joined(self, planes: tuple[int, ...]) -> int:
        if planes not in self.joined:
            level = max(self.vector_levels[plane] for plane in planes)
            self.joined[planes] = self._operate_word("join", planes, level)
        return self.joined[planes]

    def _saturated(self, word: int) -> int:
        result = self._vector(self.word_levels[word] + 1)
        self._emit(self.vector_levels[result], "saturate", 0, (word,), (result,))
        return result

    def _drive_planes(self, word: Value) -> tuple[Value, ...]:
        if word is None:
            return (None,) * GROUP
        level = self.word_levels[word] + 1
        planes = tuple(self._vector(level) for _ in range(GROUP))
        self._emit(level, "split", 0, (word,), planes)
        self.joined[planes] = word
        return planes

    # The result.

    @property
    def writes(self) -> list[SramWrite]:
        """Every SRAM write, in order of cycles."""
        writes = []
        for word, entries in self.standing.items():
            number, address = divmod(word, self.config.mem_words)
            for cycle, producer in entries:
                vector = self.results[producer][0]
                writes.append(
                    SramWrite(cycle, number, address, -1 if vector is None else vector, self.dispatches[producer])
                )
        return sorted(writes, key=lambda write: write.cycle)

    def linked(self) -> LinkedProgram:
        """The data flow, with values renumbered: what stands at the start comes first."""
        assert not self.violations
        vector_number = _initial_first(self.vector_levels, self.loads.values())
        numbers = {Space.VECTOR: vector_number, Space.WORD: _initial_first(self.word_levels, self.constants.values())}
        steps = []
        for (_, operation, parameter), (inputs, outputs) in sorted(self.batches.items()):
            source, result = _spaces(operation)
            numbers_in = numbers[source][np.array(inputs, np.intp).T]
            numbers_out = numbers[result][np.array(outputs, np.intp).T]
            steps.append(
                Step(operation, parameter, numbers_in, numbers_out.squeeze(0) if len(outputs[0]) == 1 else numbers_out)
            )
        productions = []
        for riders in self.on_stream.values():
            for _, producer, plane in riders:
                dispatch, row = self.dispatches[producer], self.latencies[producer]
                stream = dispatch.instruction.drives[plane]
                vector = self.results[producer][plane]
                assert vector is not None
                productions.append(
                    Production(
                        dispatch.cycle + _given(row.func),
                        dispatch.queue.hop,
                        stream,
                        int(vector_number[vector]),
                        dispatch,
                    )
                )
        return LinkedProgram(
            config=self.config,
            cycles=self.cycles,
            dispatches=tuple(self.dispatches),
            loads=tuple(self.loads),
            constants=tuple(self.constants),
            vectors=len(self.vector_levels),
            words=len(self.word_levels),
            weights=tuple(vector_number[np.array(rows, np.intp)] for rows in self.installs),
            steps=tuple(steps),
            productions=tuple(
                sorted(productions, key=lambda p: (p.cycle, p.hop, p.stream.direction.value, p.stream.index))
            ),
            writes=tuple(
                SramWrite(w.cycle, w.slice, w.address, int(vector_number[w.vector]), w.dispatch) for w in self.writes
            ),
        )


def _given(cycles_later: int | None) -> int:
    """An entry of the timing table that an instruction of this kind always has."""
    assert cycles_later is not None
    return cycles_later


def _spaces(operation: str) -> tuple[Space, Space]:
    """Where a step takes its operands from, and where its result goes."""
    if operation == MULTIPLY:
        return Space.VECTOR, Space.WORD
    return OPERATIONS[operation].source, OPERATIONS[operation].result


def _rider(stream: Stream, cycle: int, hop: int) -> int:
    """One number for a stream and a diagonal: streams are few, and their numbers the lowest bits."""
    return stream.diagonal(cycle, hop) << 8 | stream.index << 1 | stream.direction.value


def _initial_first(levels: Sequence[int], initial: Iterable[int]) -> Indices:
    """New numbers by old: the initial values first, in their order, then all others in theirs."""
    first = list(initial)
    numbers = np.zeros(len(levels), np.intp)
    numbers[first] = np.arange(len(first))
    rest = np.ones(len(levels), np.bool_)
    rest[first] = False
    numbers[rest] = np.arange(len(first), len(levels))
    return numbers
