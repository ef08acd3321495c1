# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Random programs that the checker accepts, for lock-step runs of two models of one chip.

A program is grown forwards in time. As no result is there before its operands are sampled, the stream registers of the
cycle in which an instruction dispatched now will sample are already decided, and it can pick operands that exist. What
needs several vectors in time (weights, 32-bit operands, instruction text) rarely meets by chance, so it is planned
ahead. Nothing here computes: values are whatever comes out. Instructions and operands come from the tables of the
instruction set; where a field has bounds, the bounds are frequent.

The first seeds have an ending (`openlpu.verif.random_endings`).
"""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from openlpu.arch.config import GROUP, ChipConfig, Source
from openlpu.arch.encoding import EncodingError, encoding, lacking
from openlpu.arch.geometry import Direction, Queue, QueueKind, Stream, geometry
from openlpu.arch.isa import (
    BY_MNEMONIC,
    IMMEDIATE,
    NOTHING,
    Field,
    FieldKind,
    Format,
    Instruction,
    Operand,
    Spec,
    Value,
    for_kind,
    instruction,
)
from openlpu.arch.program import Program, Vector
from openlpu.arch.timing import Latency, timing
from openlpu.verif.random_endings import ENDING_WORDS, ENDINGS, Endings, text_vectors
from openlpu.verif.random_text import WORDS_AROUND, WORDS_PER_ENTRY, Entry, TextWriter, text_readers

_CORNER_BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFF)
_CORNER_WORDS = (
    0,
    1,
    -1,
    0x7FFFFFFF,
    -0x80000000,
    0x3F800000,
    0x7F800000,
    -0x00800000,
    0x7FC00000,
    0x00800000,
    0x00000001,
)
_IMAGE_WORDS = 16
"""Words of each slice that hold data from the start, unless all of them do."""
_LONGEST_TEXT = 8
"""Words that one `ifetch` brings, but for the ending that fetches as many as there can be."""


def random_program(config: ChipConfig, seed: int, length: int = 120, *, fetches: bool = True) -> Program:
    """A program of about `length` cycles, the same for the same arguments, that `openlpu.model.link.check` accepts.

    Program number `seed` of the first `len(ENDINGS)` runs on for as long as its ending takes. One without `fetches` may
    run several times in a row, for its text stays as it is.
    """
    return Generator(config, seed, length, fetches).program()


@dataclass
class _Habit:
    """A queue that does the same again, `left` times, `gap` cycles apart, until something stands in its way."""

    instruction: Instruction
    at: int
    gap: int
    step: int
    left: int


@dataclass
class _Fetch:
    """Text on its way: the SRAM words that hold it, in the order in which they arrive."""

    queue: Queue
    cycle: int
    places: list[tuple[int, int]]


class Links(Protocol):
    """The links of a chip, to the generator of its program."""

    def send(self, link: int, cycle: int) -> bool:
        """Send a vector by a link, if it may be, and there is a cycle for its `receive`: whether that is so."""
        ...


class Generator:
    """Grows one program. Without `links` those that the chip has are idle."""

    def __init__(self, config: ChipConfig, seed: int, length: int, may_fetch: bool, links: Links | None = None) -> None:
        self.config, self.seed, self.length, self.may_fetch = config, seed, length, may_fetch
        self.links = links
        self.random = random.Random(seed)
        self.ending = ENDINGS[seed] if 0 <= seed < len(ENDINGS) else None
        self.around = WORDS_AROUND + (ENDING_WORDS if self.ending else 0)
        self.chip, self.timing, self.encoding = geometry(config), timing(config), encoding(config)
        self.out: dict[str, list[Entry]] = {}
        self.planned: dict[tuple[str, int], Instruction] = {}
        self.pending: Counter[str] = Counter()
        """How much is planned, by queue."""
        self.habits: dict[str, _Habit] = {}
        self.productions: dict[int, set[tuple[int, Stream]]] = {}
        """Registers that are loaded by a producer, by the cycle in which they hold the value."""
        self.reserved: set[tuple[int, int, Stream]] = set()
        """(cycle, hop, stream) of registers in which text rides to its queue: nobody may replace it."""
        self.present: set[tuple[int, Stream]] = set()
        """Registers that hold a vector in the cycle in which instructions dispatched now sample."""
        slices = len(self.chip.mem_slices)
        full = self.random.randrange(slices) if self.random.random() < 0.4 else None
        """A slice that holds data everywhere, so that the largest window is there, too."""
        self.image: dict[tuple[int, int], Vector] = {
            (mem_slice, address): self._random_vector()
            for mem_slice in range(slices)
            for address in (range(config.mem_words) if mem_slice == full else self._scattered_words())
        }
        self.written: list[dict[int, int]] = [{} for _ in range(slices)]
        """By slice: the words that may be read, with the cycle from which they may be sampled."""
        for mem_slice, address in self.image:
            self.written[mem_slice][address] = 0
        self.text_words: set[tuple[int, int]] = set()
        """Words that hold text: never written."""
        self.fetches: list[_Fetch] = []
        self.sampled: set[tuple[int, int, int]] = set()
        """(slice, address, cycle) of every read."""
        self.loaded: dict[int, tuple[str, set[int]]] = {
            plane.index: ("", set()) for plane in self.chip.of_kind(QueueKind.MXM_WEIGHTS)
        }
        """By plane, whether rows or columns of the shadow buffer were loaded last, and the groups since."""
        self.buffered: dict[tuple[int, int], int] = {}
        """Words of the activation buffers, with the cycle from which they may be replayed."""
        self.installed: dict[int, int] = {}
        """Planes with weights, and the cycle from which they stand."""
        self.sums: set[tuple[int, int]] = set()
        accs = self.chip.of_kind(QueueKind.MXM_ACCS)[0]
        self._sums_skew = self.timing.latency(BY_MNEMONIC["acc_set"], accs).skew or 0
        self.accumulators: set[tuple[int, int]] = set()
        self.results: set[tuple[int, int]] = set()
        """(ALU, cycle) of every result."""
        self.turns_end: dict[int, int] = {}
        """By ALU, the cycle from which its lanes may take turns again."""

    def program(self) -> Program:
        """Grow all of it."""
        for cycle in range(self.length):
            self.grow(cycle)
        return self.finished()

    def grow(self, cycle: int) -> None:
        """Decide what is dispatched in a cycle: every one from 0 on, in order."""
        self._advance(cycle)
        if self.random.random() < 0.3:
            plans = [self._plan_weights, self._plan_word, self._plan_group]
            if self.may_fetch and self.ending is None:  # It has the queues, and the text, to itself.
                plans.append(self._plan_fetch)
            self.random.choice(plans)(cycle)
        queues = list(self.chip.queues)
        self.random.shuffle(queues)
        for queue in queues:
            self._act(queue, cycle)

    def rest(self, cycle: int) -> None:
        """Dispatch nothing in a cycle but what is planned, in place of `grow`."""
        self._advance(cycle)
        self.habits.clear()
        for queue in self.chip.queues:
            if (queue.name, cycle) in self.planned:
                self._act(queue, cycle)

    def plan_arrival(self, link: int, earliest: int, latest: int) -> int | None:
        """Plan to receive a vector by a link: in which cycle, if there is one."""
        queue = self.chip.of_kind(QueueKind.C2C_RECEIVE)[link]
        latency = self.timing.latency(BY_MNEMONIC["receive"], queue)
        for at in range(earliest, min(latest, self.length - 1) + 1):
            stream = self.random.choice(queue.produces)
            if (queue.name, at) in self.planned or not self._free(queue, at, latency, (stream,)):
                continue
            if not self._room(queue, 1):
                return None
            self._plan_one(queue, at, instruction("receive", d=stream))
            self._claim(queue, at, stream, latency.func or 0)
            return at
        return None

    def plan_deskew(self, cycle: int, pause: int) -> None:
        """Plan a `deskew`."""
        self._plan_one(self.chip.of_kind(QueueKind.C2C_SEND)[0], cycle, instruction("deskew", n=pause))

    def finished(self) -> Program:
        """What has grown, as a program."""
        if not self.out:
            self.out[self.chip.queues[0].name] = []
        halts = {name: self._quiet(name) for name in self.out}
        ready = max(halts.values())
        ending = None
        if self.ending is not None:
            ending = self.ending(Endings(self.config, self.random, self._text_places, self.written))
        for name in ending.text if ending else ():
            halts.setdefault(name, 0)
        names = list(halts)
        first, last = self.random.choice(names), self.random.choice(names)
        text: dict[str, tuple[Instruction, ...]] = {}
        cycles = ready + 1
        for name in names:
            start, entries = "notify" if name == first else "sync", self.out.get(name, [])
            writer = TextWriter(self.config, self.chip.by_name[name], self.random)
            if ending is not None and name in ending.text:
                opening = writer.opening(start, entries, ready)
                text[name] = (*opening, *ending.text[name](len(opening)))
                continue
            made = writer.write(start, entries, ready if name == last else halts[name])
            text[name] = made.text
            fetches = [fetch for fetch in self.fetches if fetch.queue.name == name]
            for fetch, words in zip(fetches, made.fetched, strict=True):
                vectors = text_vectors(self.config, fetch.queue, words)
                self.image |= dict(zip(fetch.places, vectors, strict=True))
        if ending is not None:
            cycles = ready + ending.cycles
            self.image |= ending.words
        return Program(
            name=f"random_{self.seed}",
            config=self.config,
            text=text,
            image=self.image,
            cycles=cycles,
        )

    def _quiet(self, name: str) -> int:
        """The first cycle in which a queue may halt: all that it dispatched is done, and it dispatches no more."""
        queue = self.chip.by_name[name]
        return max((cycle + self._lasts(queue, inst) for cycle, inst in self.out[name]), default=0)

    def _lasts(self, queue: Queue, inst: Instruction) -> int:
        if inst.spec.mnemonic == "ifetch":
            return self.timing.fetch.retire + self.encoding.word_vectors(queue.kind) * inst.number("n")
        return max(self.timing.latency(inst.spec, queue).retire, 1)

    # Time

    def _advance(self, cycle: int) -> None:
        """Bring `present` to the cycle in which instructions dispatched in `cycle` sample."""
        moved = {(hop + stream.direction.step, stream) for hop, stream in self.present}
        kept = {(hop, stream) for hop, stream in moved if 0 <= hop < self.chip.hops}
        self.present = kept | self.productions.get(cycle + self.timing.dispatch, set())

    def _act(self, queue: Queue, cycle: int) -> None:
        """What a queue does in a cycle: what is planned, or what it has done before, or anything."""
        planned = self.planned.pop((queue.name, cycle), None)
        if planned is not None:
            self.pending[queue.name] -= 1
            if planned.spec.mnemonic in ("lw_iw", "lwt_iw") and not self._legal(queue, cycle, planned):
                planned = instruction(planned.spec.mnemonic.removesuffix("_iw"), g=planned.number("g"))
            if planned.spec.mnemonic != "iw" or self._whole(queue):
                self.habits.pop(queue.name, None)
                self._dispatch(queue, cycle, planned)
                return
        if not self._room(queue, 1):
            return
        habit = self.habits.get(queue.name)
        if habit is not None:
            if habit.at == cycle:
                self._again(queue, cycle, habit)
            return
        # What leaves the array, or an ALU, is there for one cycle, so somebody should be.
        summed = queue.kind is QueueKind.MXM_ACCS and (queue.index, cycle + self._sums_skew) in self.sums
        if summed or self._chained(queue, cycle) or self.random.random() < 0.5:
            chosen = self._choose(queue, cycle)
            if chosen is not None:
                self._dispatch(queue, cycle, chosen)
                if self.random.random() < 0.3:
                    self._begin_habit(queue, cycle, chosen)

    def _room(self, queue: Queue, entries: int) -> bool:
        """Whether the instruction memory holds so many dispatches more, however they are laid out."""
        count = len(self.out.get(queue.name, ())) + self.pending[queue.name] + entries
        return WORDS_PER_ENTRY * count + self.around <= queue.text_words

    def _begin_habit(self, queue: Queue, cycle: int, inst: Instruction) -> None:
        _, widest = self.encoding.limits(FieldKind.GAP, queue.kind)
        gap = self.random.choice((1, 1, 1, 1, 2, 3, self.random.randint(1, widest), widest))
        gap = max(gap, self.timing.turns(inst.spec))
        left = 1 if gap > 3 else self.random.choice((1, 1, 2, 3, 8))
        step = 0
        if inst.spec.stride is not None:
            unit = 1 << inst.number("n") if inst.spec.has(FieldKind.WINDOW) else 1
            low, high = self.encoding.limits(inst.spec.kind_of(inst.spec.stride), queue.kind)
            address = inst.number(inst.spec.stride)
            target, farthest = self._number(low, high) // unit * unit, (high + 1) // unit * unit - unit
            # From end to end is as far as a step goes.
            ends = farthest if address == low else low
            step = self.random.choice((0, unit, -unit, target - address, ends - address))
        self.habits[queue.name] = _Habit(inst, cycle + gap, gap, step, left)

    def _again(self, queue: Queue, cycle: int, habit: _Habit) -> None:
        inst = self.encoding.advanced(habit.instruction, habit.step)
        try:
            self.encoding.encode(inst, queue)
            legal = self._legal(queue, cycle, inst)
        except EncodingError:
            legal = False
        if legal:
            self._dispatch(queue, cycle, inst)
            habit.instruction, habit.at, habit.left = inst, cycle + habit.gap, habit.left - 1
        if not legal or not habit.left:
            del self.habits[queue.name]

    def _dispatch(self, queue: Queue, cycle: int, inst: Instruction) -> None:
        """Record an instruction and everything it changes."""
        self.out.setdefault(queue.name, []).append((cycle, inst))
        latency = self.timing.latency(inst.spec, queue)
        for stream in inst.drives:
            self._claim(queue, cycle, stream, latency.func or 0)
        state, place = cycle + (latency.state or 0), queue.index
        match inst.spec.mnemonic:
            case "read":
                self.sampled.add((place, inst.number("a"), cycle + (latency.skew or 0)))
            case "write":
                self.written[place][inst.number("a")] = state
            case "scatter" | "scatter_dealt":
                self.written[place] |= dict.fromkeys(_window(inst), state)
            case "gather" | "gather_dealt":
                self.sampled |= {(place, address, cycle + (latency.skew or 0)) for address in _window(inst)}
            case "lw" | "lwt" | "lw_iw" | "lwt_iw":
                self._load(place, inst)
                if self._installs(inst):
                    self.installed[place] = state
            case "iw":
                self.installed[place] = state
            case "abc" | "abr":
                self.sums.add((place, state))
            case "abl":
                self.buffered[place, inst.number("a")] = state
            case "acc_set" | "acc_set_out":
                self.accumulators.add((place, inst.number("a")))
        if queue.kind is QueueKind.VXM and not inst.spec.control:
            self.results.add((place, state))
            if self.timing.turns(inst.spec) > 1:
                self.turns_end[place] = cycle + self.timing.turns(inst.spec)

    def _load(self, plane: int, inst: Instruction) -> None:
        """Note a group of the shadow buffer; an array of rows and columns mixed is never installed."""
        kind = inst.spec.mnemonic.removesuffix("_iw")
        if self.loaded[plane][0] != kind:
            self.loaded[plane] = (kind, set())
        self.loaded[plane][1].add(inst.number("g"))

    def _whole(self, queue: Queue) -> bool:
        """Whether all of a plane's shadow buffer was loaded, in rows or in columns."""
        return len(self.loaded[queue.index][1]) == self.config.row_groups

    def _installs(self, load: Instruction) -> bool:
        """Whether a load installs, too."""
        return load.spec.mnemonic.endswith("_iw") and load.number("g") == self.config.row_groups - 1

    def _claim(self, queue: Queue, cycle: int, stream: Stream, func: int) -> None:
        self.productions.setdefault(cycle + func, set()).add((queue.hop, stream))

    def _free(self, queue: Queue, cycle: int, latency: Latency, streams: Iterable[Stream]) -> bool:
        """Nothing else is driven in the register and cycle of any of the streams, and no text passes there."""
        stands = cycle + (latency.func or 0)
        taken = self.productions.get(stands, set())
        return all(
            (queue.hop, stream) not in taken and (stands, queue.hop, stream) not in self.reserved for stream in streams
        )

    # What is legal now

    def _legal(self, queue: Queue, cycle: int, inst: Instruction) -> bool:
        """Whether an instruction that the queue has may be dispatched in this cycle."""
        latency, mnemonic = self.timing.latency(inst.spec, queue), inst.spec.mnemonic
        samples = queue.consumes if mnemonic.startswith("lw") else inst.samples
        if not all((queue.hop, stream) in self.present for stream in samples):
            return False
        if not self._free(queue, cycle, latency, inst.drives):
            return False
        sample, state = cycle + (latency.skew or 0), cycle + (latency.state or 0)
        match mnemonic:
            case "read" | "gather" | "gather_dealt":
                return self._defined(queue, _window(inst), sample)
            case "write":
                return self._writable(queue, _window(inst), cycle, state)
            case "scatter" | "scatter_dealt":
                window = _window(inst)
                return self._defined(queue, window, state) and self._writable(queue, window, cycle, state)
            case "iw":
                return self._whole(queue)
            case "send":
                return self.links is not None and self.links.send(queue.index, cycle)
            case "lw_iw" | "lwt_iw" if self._installs(inst):
                kind, loaded = self.loaded[queue.index]
                held = loaded if mnemonic.startswith(f"{kind}_") else set()
                return len(held | {inst.number("g")}) == self.config.row_groups
            case "abc":
                return self._armed(queue, cycle)
            case "abr":
                stands = self.buffered.get((queue.index, inst.number("a")))
                return self._armed(queue, cycle) and stands is not None and stands <= sample
            case _ if queue.kind is QueueKind.MXM_ACCS:
                held_already = mnemonic.startswith("acc_set") or (queue.index, inst.number("a")) in self.accumulators
                return held_already and (mnemonic == "acc_out" or (queue.index, sample) in self.sums)
            case _ if queue.kind is QueueKind.VXM:
                if self.timing.turns(inst.spec) > 1 and cycle < self.turns_end.get(queue.index, 0):
                    return False
                chained = [o.place for o in (inst.operand("x"), inst.operand("y")) if o.format is Format.ALU]
                return all((alu, sample) in self.results for alu in chained)
            case _:
                return True

    def _defined(self, queue: Queue, addresses: Iterable[int], cycle: int) -> bool:
        """Whether every one of the words holds something by `cycle`."""
        words = self.written[queue.index]
        return all(words.get(address, cycle + 1) <= cycle for address in addresses)

    def _writable(self, queue: Queue, addresses: Iterable[int], cycle: int, state: int) -> bool:
        """Whether no read meets the write, and no text stands there."""
        planned = self._planned_reads(cycle)
        return not any(
            (queue.index, address) in planned
            or (queue.index, address) in self.text_words
            or (queue.index, address, state - 1) in self.sampled
            for address in addresses
        )

    def _planned_reads(self, cycle: int) -> set[tuple[int, int]]:
        """Words that planned reads will sample; writing them now could meet the read."""
        return {
            (self.chip.by_name[name].index, inst.number("a"))
            for (name, at), inst in self.planned.items()
            if at >= cycle and inst.spec.mnemonic == "read"
        }

    def _armed(self, queue: Queue, cycle: int) -> bool:
        stands = self.installed.get(queue.index)
        return stands is not None and stands <= cycle + self.timing.weights_used

    # Choices

    def _choose(self, queue: Queue, cycle: int) -> Instruction | None:
        specs = [spec for spec in for_kind(queue.kind) if not spec.control and self._executes(queue, spec)]
        for spec in self.random.sample(specs, min(len(specs), 4)):
            inst = self._filled(queue, cycle, spec)
            if inst is not None and self._legal(queue, cycle, inst):
                return inst
        return None

    def _executes(self, queue: Queue, spec: Spec) -> bool:
        # When vectors are received, and when all chips pause, is planned.
        return spec.implemented and spec.mnemonic not in ("receive", "deskew") and not lacking(self.config, queue, spec)

    def _filled(self, queue: Queue, cycle: int, spec: Spec) -> Instruction | None:
        """An instruction with operands that are there, as far as that depends on one field alone; None if none is."""
        if queue.kind is QueueKind.VXM:
            return self._computation(queue, cycle, spec)
        windowed = spec.has(FieldKind.WINDOW)
        base, bits = self._random_window(queue) if windowed else (0, 0)
        values: dict[str, Value] = {"a": base, "n": bits} if windowed else {}
        for f in spec.own:
            if f.name in values:
                continue
            value = self._value(queue, cycle, spec, f)
            if value is None:
                return None
            values[f.name] = value
        return instruction(spec.mnemonic, **values)

    def _value(self, queue: Queue, cycle: int, spec: Spec, f: Field) -> Value | None:
        plane = queue.index
        match f.kind:
            case FieldKind.STREAM | FieldKind.GROUP if f.name in spec.produces:
                return self._pick(self._groups(queue.produces) if f.kind is FieldKind.GROUP else queue.produces)
            case FieldKind.STREAM:
                return self._pick(self._at(queue))
            case FieldKind.GROUP:
                return self._pick(self._words_at(queue))
            case FieldKind.WORD_ADDRESS if spec.mnemonic == "read":
                return self._pick_number([*self.written[queue.index]])
            case FieldKind.ACC_ADDRESS if not spec.mnemonic.startswith("acc_set"):
                return self._pick_number([a for p, a in self.accumulators if p == plane])
            case FieldKind.ACT_ADDRESS if spec.mnemonic == "abr":
                return self._pick_number([a for p, a in self.buffered if p == plane])
            case _:
                return self._number(*self.encoding.limits(f.kind, queue.kind))

    def _random_window(self, queue: Queue) -> tuple[int, int]:
        """The first word of a window that lies aligned in a slice, and the logarithm of its size."""
        _, largest = self.encoding.limits(FieldKind.WINDOW, queue.kind)
        full = len(self.written[queue.index]) == self.config.mem_words
        bits = self.random.randint(0, largest) if full else min(self.random.choice((0, 0, 0, 1, 2)), largest)
        return self._number(0, (self.config.mem_words >> bits) - 1) << bits, bits

    def _computation(self, queue: Queue, cycle: int, spec: Spec) -> Instruction | None:
        found = [self._source(queue, cycle, operand) for operand in ("x", "y")[: spec.arity]]
        sources = [source for source in found if source is not None]
        if len(sources) < spec.arity:
            return None
        if sources == [IMMEDIATE] * len(sources) and self.random.random() < 0.7:
            return None
        dest = self._destination(queue, cycle, spec)
        y = sources[1] if len(sources) > 1 else NOTHING
        immediate = self._random_word() & 0xFFFFFFFF if IMMEDIATE in sources else 0
        return instruction(spec.mnemonic, x=sources[0], y=y, d=dest, imm=immediate)

    def _chained(self, queue: Queue, cycle: int) -> list[int]:
        """The ALUs whose results an instruction of this cycle could take."""
        if queue.kind is not QueueKind.VXM:
            return []
        sample = cycle + self.timing.dispatch
        return [alu for alu in self.chip.alu_sources(queue.index) if (alu, sample) in self.results]

    def _source(self, queue: Queue, cycle: int, operand: str) -> Operand | None:
        """Something that operand `x` or `y` can be in this cycle; None if there is nothing."""
        words = [Operand(Format.WORD, stream) for stream in self._words_at(queue)]
        kinds: dict[Source, list[list[Operand]]] = {
            Source.BYTE: [[Operand(Format.BYTE, stream) for stream in self._at(queue)]],
            # Four bytes seldom come together: a chance to take them as a word is not to be missed.
            Source.WORD: [words] * 3,
            Source.CHAIN: [[Operand(Format.ALU, alu) for alu in self._chained(queue, cycle)]],
            Source.IMMEDIATE: [[IMMEDIATE]],
        }
        allowed = self.chip.operand_sources(queue.index, operand)
        possible = [kind for source in allowed for kind in kinds[source] if kind]
        return self.random.choice(self.random.choice(possible)) if possible else None

    def _destination(self, queue: Queue, cycle: int, spec: Spec) -> Operand:
        latency = self.timing.latency(spec, queue)
        options = [NOTHING]
        for form in (Format.BYTE, Format.WORD, Format.BYTE_BOTH, Format.WORD_BOTH):
            grouped, both = form in (Format.WORD, Format.WORD_BOTH), form in (Format.BYTE_BOTH, Format.WORD_BOTH)
            stream = self._pick(self._groups(queue.produces) if grouped else queue.produces)
            if stream is None:
                continue
            dest = Operand(form, Stream(Direction.EAST, stream.index) if both else stream)
            if set(dest.streams) <= set(queue.produces) and self._free(queue, cycle, latency, dest.streams):
                options.append(dest)
        return self.random.choice(options)

    # Plans

    def _plan_weights(self, cycle: int) -> None:
        """Reads that bring a weight tile to a plane, or several, and the loads and the installations that take them."""
        queue = self.random.choice(self.chip.of_kind(QueueKind.MXM_WEIGHTS))
        mnemonic = self.random.choice([name for name in ("lw", "lwt") if self._executes(queue, BY_MNEMONIC[name])])
        latency = self.timing.latency(BY_MNEMONIC[mnemonic], queue)
        at = cycle + 2 + self.chip.hops + self.random.randrange(4)
        loads = self._tile_loads(mnemonic)
        if not self._room(queue, len(loads) + 1):
            return
        for k, load in enumerate(loads):
            reads = self._aligned_reads(queue.consumes, queue.hop, at + k + (latency.skew or 0), cycle)
            if reads is None or (queue.name, at + k) in self.planned:
                return
            self._plan(reads)
            self._plan_one(queue, at + k, load)
        if (queue.name, at + len(loads)) not in self.planned and not self._installs(loads[-1]):
            self._plan_one(queue, at + len(loads), instruction("iw"))

    def _tile_loads(self, mnemonic: str) -> list[Instruction]:
        """Loads of all row groups: of one tile in any order, or of some tiles that follow each other, each installed
        with its last group."""
        groups = range(self.config.row_groups)
        if self.random.random() < 0.6:
            return [instruction(mnemonic, g=group) for group in self.random.sample(groups, len(groups))]
        tiles = self.random.choice((1, 1, 2, 3))
        return [instruction(f"{mnemonic}_iw", g=group) for _ in range(tiles) for group in groups]

    def _plan_group(self, cycle: int) -> None:
        """Reads that bring four streams of a group to the SXM together."""
        self._plan_arrival(self.random.choice(self.chip.of_kind(QueueKind.SXM_SHIFT)), cycle)

    def _plan_word(self, cycle: int) -> None:
        """Reads that bring four streams of a group to the VXM together."""
        alus = [queue for queue in self.chip.of_kind(QueueKind.VXM) if queue.consumes]
        if alus:
            self._plan_arrival(self.random.choice(alus), cycle)

    def _plan_arrival(self, queue: Queue, cycle: int) -> None:
        group = self.random.choice(self._groups(queue.consumes))
        arrival = cycle + 4 + self.chip.hops + self.random.randrange(4)
        self._plan(self._aligned_reads(group.planes, queue.hop, arrival, cycle) or {})

    def _plan_fetch(self, cycle: int) -> None:
        """An `ifetch`, and the reads that bring it words which are chosen when all else is done."""
        queue = self.random.choice(self.chip.queues)
        stream = self.random.choice(queue.fetches)
        readers = text_readers(self.config, queue, stream)
        if not readers or not self._room(queue, 1):
            return
        reader, most = self.random.choice(readers)
        vectors = self.encoding.word_vectors(queue.kind)
        count = self.random.randint(1, min(most, _LONGEST_TEXT, queue.text_words // 2))
        read = self.timing.latency(BY_MNEMONIC["read"], reader)
        way = self.chip.hops_between(stream, reader.hop, queue.hop)
        first = cycle + 1 + self.random.randrange(6)
        at = first + (read.func or 0) + way - (self.timing.fetch.skew or 0)
        reads = range(first, first + count * vectors)
        overlapping = any(
            fetch.queue == queue and fetch.cycle < at + count * vectors and at < fetch.cycle + len(fetch.places)
            for fetch in self.fetches
        )
        if overlapping or not cycle < at < self.length or reads[-1] >= self.length:
            return
        if not self._room(reader, len(reads) + 1) or (queue.name, at) in self.planned:
            return
        if any((reader.name, r) in self.planned or (reader, r) == (queue, at) for r in reads):
            return
        passed = {
            (r + (read.func or 0) + step, reader.hop + step * stream.direction.step, stream)
            for r in reads
            for step in range(way + 1)
        }
        if any((hop, ride) in self.productions.get(stands, set()) for stands, hop, ride in passed):
            return
        if passed & self.reserved:
            return
        places = self._text_places(reader.index, len(reads))
        if places is None:
            return
        self.reserved |= passed
        self.fetches.append(_Fetch(queue, at, [(reader.index, address) for address in places]))
        self.fetches.sort(key=lambda fetch: fetch.cycle)
        for address in places:
            self.text_words.add((reader.index, address))
            self.written[reader.index].setdefault(address, 0)
            self.image.setdefault((reader.index, address), self._random_vector())
        self._plan({(reader.name, r): instruction("read", a=a, d=stream) for r, a in zip(reads, places, strict=True)})
        self._plan_one(queue, at, instruction("ifetch", s=stream, a=0, n=count))

    def _text_places(self, mem_slice: int, count: int) -> list[int] | None:
        """Addresses for text, evenly spaced, that no program instruction has written and no other text takes."""
        for _ in range(8):
            step = self.random.choice((1, 1, 1, -1, 2, -3))
            start = self.random.randrange(self.config.mem_words)
            places = [start + step * k for k in range(count)]
            if all(
                0 <= a < self.config.mem_words
                and self.written[mem_slice].get(a, 0) == 0
                and (mem_slice, a) not in self.text_words
                for a in places
            ):
                return places
        return None

    def _plan(self, reads: dict[tuple[str, int], Instruction]) -> None:
        for (name, at), inst in reads.items():
            queue = self.chip.by_name[name]
            latency = self.timing.latency(inst.spec, queue)
            self._plan_one(queue, at, inst)
            self._claim(queue, at, inst.stream("d"), latency.func or 0)
            self.sampled.add((queue.index, inst.number("a"), at + (latency.skew or 0)))

    def _plan_one(self, queue: Queue, at: int, inst: Instruction) -> None:
        self.planned[queue.name, at] = inst
        self.pending[queue.name] += 1

    def _aligned_reads(
        self, streams: Sequence[Stream], hop: int, arrival: int, now: int
    ) -> dict[tuple[str, int], Instruction] | None:
        """A read for each of `streams`, from slices upstream of `hop`, to be there together; None if they cannot."""
        reads: dict[tuple[str, int], Instruction] = {}
        latency = self.timing.latency(BY_MNEMONIC["read"], self.chip.of_kind(QueueKind.MEM_READ)[0])
        for stream in streams:
            options = []
            for queue in self.chip.of_kind(QueueKind.MEM_READ):
                way = self.chip.hops_between(stream, queue.hop, hop)
                at, key = arrival - way - (latency.func or 0), (queue.name, arrival - way - (latency.func or 0))
                if way < 0 or at <= now or stream not in queue.produces or key in self.planned or key in reads:
                    continue
                if self._free(queue, at, latency, (stream,)) and self._room(queue, len(reads) + 1):
                    options.append((key, queue))
            if not options:
                return None
            key, queue = self.random.choice(options)
            # Words that were written meanwhile may not stand yet, those of the image always do.
            words = [a for a, ready in self.written[queue.index].items() if ready == 0]
            if not words:
                return None
            reads[key] = instruction("read", a=self.random.choice(words), d=stream)
        return reads

    # Odds and ends

    def _at(self, queue: Queue) -> list[Stream]:
        """The streams that hold a vector for the queue's unit to sample."""
        return [stream for stream in queue.consumes if (queue.hop, stream) in self.present]

    def _words_at(self, queue: Queue) -> list[Stream]:
        """The groups that hold vectors in all their streams."""
        here = set(self._at(queue))
        return [group for group in self._groups(queue.consumes) if here.issuperset(group.planes)]

    def _groups(self, streams: Sequence[Stream]) -> list[Stream]:
        return [stream for stream in streams if stream.index % GROUP == 0]

    def _pick(self, streams: Sequence[Stream]) -> Stream | None:
        return self.random.choice(streams) if streams else None

    def _number(self, low: int, high: int) -> int:
        """A number within bounds, often one of them, or zero."""
        chance = self.random.random()
        if chance < 0.4:
            return low if chance < 0.17 else high if chance < 0.34 else max(low, 0)
        return self.random.randint(low, high)

    def _pick_number(self, numbers: list[int]) -> int | None:
        """One of some numbers, often the first or last of them."""
        if not numbers:
            return None
        chance = self.random.random()
        return min(numbers) if chance < 0.15 else max(numbers) if chance < 0.3 else self.random.choice(sorted(numbers))

    def _scattered_words(self) -> list[int]:
        """Addresses of a slice: the first, the last, and some between."""
        words = self.config.mem_words
        return [*{0: None, words - 1: None} | dict.fromkeys(self.random.sample(range(words), min(_IMAGE_WORDS, words)))]

    def _random_vector(self) -> Vector:
        values = [
            self.random.choice(_CORNER_BYTES) if self.random.random() < 0.3 else self.random.randrange(256)
            for _ in range(self.config.lanes)
        ]
        return np.array(values, np.uint8).view(np.int8)

    def _random_word(self) -> int:
        return self.random.choice(_CORNER_WORDS) if self.random.random() < 0.4 else self.random.getrandbits(32)


def _window(inst: Instruction) -> range:
    """The addresses that a MEM instruction may touch."""
    first = inst.number("a")
    return range(first, first + (1 << inst.number("n") if inst.spec.has(FieldKind.WINDOW) else 1))
