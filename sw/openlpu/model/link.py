# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The checker and the linker: one resolution of a program in space-time that either proves it or says what is wrong.

A vector riding a stream keeps `Stream.diagonal`. So the value that a consumer samples is the last production at or
upstream of its hop on its diagonal, and no register needs to be moved cycle by cycle to find it. State is resolved in
the same way: the write a read sees, the weights an `abc` multiplies with, the sums an `acc_*` samples, the result an
ALU chains. What comes out is a data-flow graph without time: `LinkedProgram`, which any number of runs execute.

Values are numbered (`Values`); SRAM reads and writes, copies of weights and accumulators only hand numbers on. A
scatter gives each word of its window a new value: which of them differ from the old ones is data, and no matter for
the proof.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from openlpu.arch.config import GROUP, ChipConfig
from openlpu.arch.geometry import QueueKind, Stream, geometry
from openlpu.arch.isa import FieldKind, Format, Instruction, Operand
from openlpu.arch.program import Program
from openlpu.arch.timing import Latency, timing
from openlpu.model.dataflow import Indices, LinkedProgram, Production, SramWrite
from openlpu.model.expand import Dispatch, Expansion
from openlpu.model.places import placement_problems, port_words
from openlpu.model.semantics import share
from openlpu.model.text import Contents, FollowedText, follow, follow_program
from openlpu.model.traffic import Traffic
from openlpu.model.values import Values
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
    """Length of a program, from its text: cycle 0 until every queue has halted."""
    return _length(follow_program(program).expansions.values())


def link(program: Program, defined: Iterable[tuple[int, int]] = ()) -> LinkedProgram:
    """Check a program and resolve it into data flow.

    The SRAM words that may be read before they are written are those of the image, those of the inputs, and
    `defined` by (slice number, address).

    Raises:
        CheckError: with every violation found.
    """
    problems = placement_violations(program)
    if problems:
        raise CheckError(program.name, problems)
    resolution = Resolution(program.config, follow_program(program), defined_words(program, defined))
    resolution.resolve()
    violations = [*resolution.violations, *resolution.broken_promises(program)]
    if violations:
        raise CheckError(program.name, sorted(violations, key=lambda v: v.cycle))
    return resolution.linked()


def placement_violations(program: Program) -> list[Violation]:
    """What is wrong with the places that a program names."""
    return [Violation(0, "", "", problem) for problem in placement_problems(program)]


def defined_words(program: Program, defined: Iterable[tuple[int, int]] = ()) -> NDArray[np.bool_]:
    """The SRAM words that a program may read before they are written, [slices, mem_words], as `link` has them."""
    config = program.config
    mask = np.zeros((len(geometry(config).mem_slices), config.mem_words), np.bool_)
    for place in [*program.image, *defined, *(place for port in program.inputs for place in port_words(port))]:
        mask[place] = True
    return mask


def link_text(
    config: ChipConfig, text: Mapping[str, Sequence[Instruction]], defined: NDArray[np.bool_], contents: Contents
) -> LinkedProgram:
    """Resolve the text of the queues, with the SRAM words `defined` [slices, mem_words] standing at the start.

    `contents` tells the words that `ifetch` takes text from; the result holds for those contents alone.

    Raises:
        CheckError: with every violation found.
    """
    resolution = Resolution(config, follow(config, text, contents), defined)
    resolution.resolve()
    if resolution.violations:
        raise CheckError("text", sorted(resolution.violations, key=lambda v: v.cycle))
    return resolution.linked()


def _length(expansions: Iterable[Expansion]) -> int:
    return max((e.halt + 1 for e in expansions if e.halt is not None), default=0)


Value = int | None
"""A value's number; None for one that a reported violation has poisoned, so that one mistake is reported once."""


@dataclass(slots=True)
class _ShadowBuffer:
    """Weights on their way into an array: the vectors loaded as rows and as columns, and when, in order of loads."""

    rows: list[tuple[int, Value]]
    columns: list[tuple[int, Value]]
    loads: int = 0

    def load(self, transposed: bool, first: int, vectors: Sequence[Value]) -> None:
        self.loads += 1
        side = self.columns if transposed else self.rows
        side[first : first + len(vectors)] = [(self.loads, vector) for vector in vectors]


@dataclass(frozen=True, slots=True)
class _Array:
    """Weights in an array, from a cycle on."""

    cycle: int
    install: int | None
    problem: str
    """Why nothing may multiply with them; empty when something may."""


class Ends(Protocol):
    """The links of one chip, to whoever resolves its program. Both return what is wrong, empty if nothing is."""

    def sent(self, dispatch: Dispatch, vector: Value) -> str:
        """A vector leaves."""
        ...

    def received(self, dispatch: Dispatch) -> tuple[Value, str]:
        """The vector that has come."""
        ...


class _NoEnds:
    """The links of a chip that is alone."""

    _PROBLEM = "the link goes nowhere: programs of chips that are connected are checked together"

    def sent(self, dispatch: Dispatch, vector: Value) -> str:
        return self._PROBLEM

    def received(self, dispatch: Dispatch) -> tuple[Value, str]:
        return None, self._PROBLEM


class Resolution:
    """One chip's program, resolved dispatch by dispatch in the order in which operands are sampled.

    Works on numbers of dispatches, so that nothing is hashed but integers. Several chips that exchange vectors share
    `values`; the SRAM of this one then begins at slice `first_slice` of all of them.
    """

    def __init__(
        self,
        config: ChipConfig,
        text: FollowedText,
        defined: NDArray[np.bool_],
        *,
        values: Values | None = None,
        first_slice: int = 0,
        ends: Ends | None = None,
    ) -> None:
        self.config = config
        self.geometry = geometry(config)
        self.timing = timing(config)
        self.defined = defined
        self.text = text
        self.violations: list[Violation] = list(text.violations)
        self.dispatches = [dispatch for e in text.expansions.values() for dispatch in e.dispatches]
        self.cycles = _length(text.expansions.values())

        self.values = Values(config.lanes) if values is None else values
        self._first_slice = first_slice
        self._ends: Ends = _NoEnds() if ends is None else ends
        self.results: list[tuple[Value, ...]] = [()] * len(self.dispatches)
        """Vectors that each dispatch drives onto streams, or that stand in SRAM by it."""
        self.writes: list[SramWrite] = []
        """Every SRAM write, as it is resolved; vectors as numbered by `values`."""
        self.traffic = Traffic()
        self.standing: dict[int, list[tuple[int, int, int]]] = {}
        """By SRAM word: (cycle from which a write is visible, dispatch, which of its results), sorted."""
        self.shadow: dict[int, _ShadowBuffer] = {}
        self.arrays: dict[int, list[_Array]] = {}
        """By plane, in order of cycles."""
        self.activations: dict[tuple[int, int], Value] = {}
        """By (plane, address in its buffer)."""
        self.sums: dict[tuple[int, int], Value] = {}
        """By (plane, the one cycle they stand in)."""
        self.accumulators: dict[tuple[int, int], Value] = {}
        self.alu_results: dict[tuple[int, int], Value] = {}
        """By (ALU, the one cycle it stands in)."""

        self._check_barrier()
        self._place()
        self._check_text_source()
        self._check_turns()
        self._handlers: dict[QueueKind, Callable[[Dispatch, Latency], tuple[Value, ...]]] = {
            QueueKind.MEM_READ: self._read,
            QueueKind.MEM_WRITE: self._write,
            QueueKind.MXM_WEIGHTS: self._weights,
            QueueKind.MXM_ACTS: self._activations,
            QueueKind.MXM_ACCS: self._accumulate,
            QueueKind.VXM: self._compute,
            QueueKind.SXM_SHIFT: self._move_lanes,
            QueueKind.SXM_PERMUTE: self._move_lanes,
            QueueKind.C2C_SEND: self._send,
            QueueKind.C2C_RECEIVE: self._receive,
        }

    # Time and place of every event.

    def _check_barrier(self) -> None:
        notifying = [name for name, expansion in self.text.expansions.items() if expansion.notifies]
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
                    self.traffic.drive(number, plane, stream, dispatch, row.func)
            if dispatch.queue.kind is QueueKind.MEM_WRITE and row.state is not None:
                for plane, place in enumerate(_window(dispatch)):
                    entries = self.standing.setdefault(self._word(place), [])
                    entries.append((dispatch.cycle + row.state, number, plane))
        self.traffic.settle()
        for first, second, plane in self.traffic.collisions():
            loser = self.dispatches[second]
            stream = loser.instruction.drives[plane]
            self.violations.append(
                loser.violation(f"two producers of {stream} at hop {loser.queue.hop}: also {self.dispatches[first]}")
            )

    def _check_turns(self) -> None:
        """Lanes that share a unit must all have had their turn before it is needed again."""
        if self.config.special_turns == 1:
            return
        before: dict[str, Dispatch] = {}
        for dispatch in self.dispatches:
            turns = self.timing.turns(dispatch.instruction.spec)
            if turns == 1:
                continue
            last = before.get(dispatch.queue.name)
            if last is not None and dispatch.cycle - last.cycle < turns:
                self.violations.append(
                    dispatch.violation(f"its unit takes {turns} cycles, as lanes take turns, and is busy with {last}")
                )
            before[dispatch.queue.name] = dispatch

    def _check_text_source(self) -> None:
        for place, fetch in self.text.sources.items():
            writes = self.standing.get(self._word(place), [])
            if writes:
                message = f"takes text from a word that is written: {self.dispatches[writes[0][1]]}"
                self.violations.append(fetch.violation(message))

    def _word(self, place: tuple[int, int]) -> int:
        return place[0] * self.config.mem_words + place[1]

    # Values.

    def resolve(self) -> None:
        """Resolve all dispatches. Every value is sampled later than its producer sampled, except by `abc`, which meets
        the weights of an `iw` one cycle after its own sampling: it is resolved by that cycle."""
        for _, number in self.order():
            self.resolve_dispatch(number)

    def order(self) -> list[tuple[int, int]]:
        """The cycles by which dispatches are resolved, and the dispatches by number, in order."""
        return sorted((self._sampled(number), number) for number in range(len(self.dispatches)))

    def resolve_dispatch(self, number: int) -> None:
        """Resolve one dispatch: all that `order` has before it are."""
        dispatch = self.dispatches[number]
        self.results[number] = self._handlers[dispatch.queue.kind](dispatch, self.latencies[number])

    def broken_promises(self, program: Program) -> list[Violation]:
        """What a program says of itself and does not do."""
        found = []
        if program.cycles != self.cycles:
            found.append(Violation(0, "", "", f"it takes {self.cycles} cycles, but says {program.cycles}"))
        standing = self.defined.copy()
        for write in self.writes:
            standing[write.slice, write.address] = True
        for port in program.outputs:
            missing = [place for place in port_words(port) if not standing[place]]
            if missing:
                (number, address), unit = missing[0], self.geometry.mem_slices
                message = f"output '{port.name}': word {address} of {unit[number]} is never written"
                found.append(Violation(0, "", "", message))
        return found

    def _sampled(self, number: int) -> int:
        dispatch = self.dispatches[number]
        if dispatch.queue.kind is QueueKind.MXM_ACTS:
            return dispatch.cycle + self.timing.weights_used
        # A `deskew` samples nothing.
        return dispatch.cycle + (self.latencies[number].skew or 0)

    def _complain(self, dispatch: Dispatch, message: str, fault_cycle: int | None = None) -> None:
        self.violations.append(dispatch.violation(message, fault_cycle=fault_cycle))

    def _consume(self, dispatch: Dispatch, stream: Stream, cycle: int) -> Value:
        hop = dispatch.queue.hop
        met = self.traffic.met(stream, cycle, hop)
        if met is None:
            self._complain(dispatch, f"{stream} is empty at hop {hop} in cycle {cycle}", fault_cycle=cycle)
            return None
        producer, plane = met
        return self.results[producer][plane]

    def _samples(self, dispatch: Dispatch, row: Latency) -> tuple[Value, ...]:
        """The vectors that an instruction takes from streams, in the order of its fields."""
        cycle = dispatch.cycle + _given(row.skew)
        return tuple(self._consume(dispatch, stream, cycle) for stream in dispatch.instruction.samples)

    def _stands(self, dispatch: Dispatch, place: tuple[int, int], cycle: int) -> Value:
        """The vector of an SRAM word in a cycle."""
        writes = self.standing.get(self._word(place), [])
        seen = bisect_right(writes, (cycle, _LAST))
        if seen:
            _, producer, plane = writes[seen - 1]
            return self.results[producer][plane]
        if not self.defined[place]:
            self._complain(dispatch, f"word {place[1]} of {dispatch.queue.unit} holds nothing yet in cycle {cycle}")
            return None
        return self.values.load((self._first_slice + place[0], place[1]))

    def _sampled_word(self, dispatch: Dispatch, place: tuple[int, int], cycle: int) -> Value:
        """The vector that the SRAM's own port finds in a word."""
        writes = self.standing.get(self._word(place), [])
        seen = bisect_right(writes, (cycle, _LAST))
        if seen < len(writes) and writes[seen][0] == cycle + 1:
            self._complain(dispatch, f"reads the word on the clock edge of {self.dispatches[writes[seen][1]]}")
            return None
        return self._stands(dispatch, place, cycle)

    def _read(self, dispatch: Dispatch, row: Latency) -> tuple[Value, ...]:
        cycle = dispatch.cycle + _given(row.skew)
        if dispatch.instruction.spec.mnemonic == "read":
            return (self._sampled_word(dispatch, _window(dispatch)[0], cycle),)
        (lane_map,) = self._samples(dispatch, row)
        window = self._window_vectors(dispatch, cycle, self._sampled_word)
        if window is None or lane_map is None:
            return (None,)
        return (self.values.gathered(lane_map, window, share(self.config, dispatch.instruction)),)

    def _write(self, dispatch: Dispatch, row: Latency) -> tuple[Value, ...]:
        *maps, source = self._samples(dispatch, row)
        cycle, window = dispatch.cycle + _given(row.state), _window(dispatch)
        lane_map = maps[0] if maps else None
        self.writes.append(SramWrite(cycle, *window[0], -1 if source is None else source, dispatch, lane_map))
        if not maps:
            return (source,)
        # The one write queue of the slice keeps its order: what stands before the window changes was resolved before.
        held = self._window_vectors(dispatch, cycle - 1, self._stands)
        if held is None or source is None or lane_map is None:
            return (None,) * len(window)
        return self.values.scattered(lane_map, source, held, share(self.config, dispatch.instruction))

    def _window_vectors(
        self, dispatch: Dispatch, cycle: int, find: Callable[[Dispatch, tuple[int, int], int], Value]
    ) -> tuple[int, ...] | None:
        """The vectors in all words that an instruction may access; None, and one violation, when one is missing."""
        found = []
        for place in _window(dispatch):
            vector = find(dispatch, place, cycle)
            if vector is None:
                return None
            found.append(vector)
        return tuple(found)

    def _weights(self, dispatch: Dispatch, row: Latency) -> tuple[Value, ...]:
        # One queue loads and installs, so the order of its dispatches is the order of its effects.
        inst, plane, lanes = dispatch.instruction, dispatch.queue.index, self.config.lanes
        mnemonic = inst.spec.mnemonic
        if plane not in self.shadow:
            self.shadow[plane] = _ShadowBuffer([(0, None)] * lanes, [(0, None)] * lanes)
        shadow = self.shadow[plane]
        if mnemonic.startswith("lw"):
            cycle = dispatch.cycle + _given(row.skew)
            vectors = [self._consume(dispatch, stream, cycle) for stream in dispatch.queue.consumes]
            first = inst.number("g") * self.config.weight_streams
            shadow.load(mnemonic.startswith("lwt"), first, vectors)
        if mnemonic == "iw" or (mnemonic.endswith("_iw") and inst.number("g") == self.config.row_groups - 1):
            array = self._install(dispatch.queue.unit, dispatch.cycle + _given(row.state), shadow)
            self.arrays.setdefault(plane, []).append(array)
        return ()

    def _install(self, unit: str, cycle: int, shadow: _ShadowBuffer) -> _Array:
        rows, columns = ([load for load, _ in side] for side in (shadow.rows, shadow.columns))
        transposed = min(columns) > max(rows)
        if not transposed and min(rows) <= max(columns):
            if any(rows) and any(columns):
                return _Array(cycle, None, f"multiplies with a mix of rows and columns in {unit}")
            loads, line = (columns, "column") if any(columns) else (rows, "row")
            missing = [i for i, load in enumerate(loads) if load == 0]
            shown = f"{line} {missing[0]}" + (f" and {len(missing) - 1} others" if len(missing) > 1 else "")
            return _Array(cycle, None, f"multiplies with weights of {unit} never loaded: {shown}")
        vectors = [vector for _, vector in (shadow.columns if transposed else shadow.rows)]
        known = tuple(vector for vector in vectors if vector is not None)
        return _Array(cycle, self.values.install(known, transposed) if len(known) == len(vectors) else None, "")

    def _activations(self, dispatch: Dispatch, row: Latency) -> tuple[Value, ...]:
        inst, plane = dispatch.instruction, dispatch.queue.index
        match inst.spec.mnemonic:
            case "abl":
                # One queue fills the buffer and replays it, each word ready for the very next dispatch.
                (self.activations[plane, inst.number("a")],) = self._samples(dispatch, row)
                return ()
            case "abr":
                place = (plane, inst.number("a"))
                if place not in self.activations:
                    message = f"word {place[1]} of the activation buffer of {dispatch.queue.unit} holds nothing yet"
                    self._complain(dispatch, message)
                vector = self.activations.get(place)
            case _:
                (vector,) = self._samples(dispatch, row)
        self.sums[plane, dispatch.cycle + _given(row.state)] = self._multiply(dispatch, vector)
        return ()

    def _multiply(self, dispatch: Dispatch, vector: Value) -> Value:
        arrays = self.arrays.get(dispatch.queue.index, [])
        current = bisect_right(arrays, dispatch.cycle + self.timing.weights_used, key=lambda array: array.cycle)
        if current == 0:
            self._complain(dispatch, f"no weights are installed in {dispatch.queue.unit} yet")
            return None
        array = arrays[current - 1]
        if array.problem:
            self._complain(dispatch, array.problem)
        if array.install is None or vector is None:
            return None
        return self.values.multiplied(vector, array.install)

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
                value = None if value is None or held is None else self.values.computed("iadd", (held, value))
        self.accumulators[place] = value
        return self._drive_planes(value) if row.func is not None else ()

    def _compute(self, dispatch: Dispatch, row: Latency) -> tuple[Value, ...]:
        inst, alu = dispatch.instruction, dispatch.queue.index
        names = ("x", "y")[: inst.spec.arity]
        operands = [self._operand(dispatch, inst.operand(name), row) for name in names]
        known = tuple(value for value in operands if value is not None)
        value: Value = None
        if len(known) == len(operands):
            value = self.values.computed(inst.spec.mnemonic, known)
        self.alu_results[alu, dispatch.cycle + _given(row.state)] = value
        match inst.operand("d").format:
            case Format.BYTE | Format.BYTE_BOTH:
                planes: tuple[Value, ...] = (None if value is None else self.values.saturated(value),)
            case Format.WORD | Format.WORD_BOTH:
                planes = self._drive_planes(value)
            case _:
                return ()
        return planes * (len(inst.drives) // len(planes))

    def _operand(self, dispatch: Dispatch, operand: Operand, row: Latency) -> Value:
        """The word that a VXM source brings."""
        cycle = dispatch.cycle + _given(row.skew)
        match operand:
            case Operand(Format.BYTE, Stream() as stream):
                vector = self._consume(dispatch, stream, cycle)
                return None if vector is None else self.values.extended(vector)
            case Operand(Format.WORD, Stream() as stream):
                planes = [self._consume(dispatch, plane, cycle) for plane in stream.planes]
                known = tuple(plane for plane in planes if plane is not None)
                return self.values.joined(known) if len(known) == GROUP else None
            case Operand(Format.ALU, int() as source):
                if (source, cycle) not in self.alu_results:
                    self._complain(dispatch, f"alu{source} puts out no result in cycle {cycle}", fault_cycle=cycle)
                    return None
                return self.alu_results[source, cycle]
            case _:
                return self.values.constant(dispatch.instruction.number("imm"))

    def _move_lanes(self, dispatch: Dispatch, row: Latency) -> tuple[Value, ...]:
        inst = dispatch.instruction
        sources = self._samples(dispatch, row)
        known = tuple(value for value in sources if value is not None)
        if len(known) < len(sources):
            return (None,) * len(inst.drives)
        distance = inst.number("n") if any(f.name == "n" for f in inst.spec.fields) else 0
        if inst.spec.mnemonic == "rotate":
            return tuple(self.values.moved("rotate", (plane,), distance)[0] for plane in known)
        return self.values.moved(inst.spec.mnemonic, known, distance, len(inst.drives))

    def _send(self, dispatch: Dispatch, row: Latency) -> tuple[Value, ...]:
        if dispatch.instruction.spec.mnemonic == "send":
            (vector,) = self._samples(dispatch, row)
            problem = self._ends.sent(dispatch, vector)
            if problem:
                self._complain(dispatch, problem)
        return ()

    def _receive(self, dispatch: Dispatch, row: Latency) -> tuple[Value, ...]:
        vector, problem = self._ends.received(dispatch)
        if problem:
            self._complain(dispatch, problem)
        return (vector,)

    def _drive_planes(self, word: Value) -> tuple[Value, ...]:
        return (None,) * GROUP if word is None else self.values.split(word)

    # The result.

    def linked(self) -> LinkedProgram:
        """The data flow, with values renumbered: what stands at the start comes first."""
        assert not self.violations
        vector_number = self.values.vector_numbers()
        productions = []
        for producer, plane in self.traffic.all():
            dispatch = self.dispatches[producer]
            cycle = dispatch.cycle + _given(self.latencies[producer].func)
            vector = int(vector_number[_given(self.results[producer][plane])])
            stream = dispatch.instruction.drives[plane]
            productions.append(Production(cycle, dispatch.queue.hop, stream, vector, dispatch))
        weights, transposed = self.values.weights()
        return LinkedProgram(
            config=self.config,
            cycles=self.cycles,
            dispatches=tuple(self.dispatches),
            loads=tuple(self.values.loads),
            constants=tuple(self.values.constants),
            vectors=self.values.vectors,
            words=self.values.words,
            weights=weights,
            transposed=transposed,
            steps=self.values.steps(),
            productions=tuple(
                sorted(productions, key=lambda p: (p.cycle, p.hop, p.stream.direction.value, p.stream.index))
            ),
            writes=tuple(
                dataclasses.replace(
                    write,
                    vector=int(vector_number[write.vector]),
                    map=None if write.map is None else int(vector_number[write.map]),
                )
                for write in sorted(self.writes, key=lambda write: write.cycle)
            ),
            left_behind=self._left_behind(vector_number),
            text_source=frozenset(self.text.sources),
            fetched=tuple(self.text.fetched),
        )

    def _left_behind(self, vector_number: Indices) -> tuple[Indices, Indices, Indices]:
        words, latest = list(self.standing), [entries[-1] for entries in self.standing.values()]
        last = [_given(self.results[producer][plane]) for _, producer, plane in latest]
        slices, addresses = np.divmod(np.array(words, np.intp), self.config.mem_words)
        return slices + self._first_slice, addresses, vector_number[np.array(last, np.intp)]


def _window(dispatch: Dispatch) -> Sequence[tuple[int, int]]:
    """The SRAM words that a MEM instruction may access, by (slice, address)."""
    inst = dispatch.instruction
    first = inst.number("a")
    words = 1 << inst.number("n") if inst.spec.has(FieldKind.WINDOW) else 1
    return [(dispatch.queue.index, address) for address in range(first, first + words)]


def _given(number: int | None) -> int:
    """A number that is always there: an entry of the timing table, or a value of a program without violations."""
    assert number is not None
    return number
