# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Random programs that the checker accepts, for lock-step runs of two models of one chip.

A program is grown forwards in time. As no result is there before its operands are sampled, the stream registers of the
cycle in which an instruction dispatched now will sample are already decided, and it can pick operands that exist. What
needs several vectors at once (weights, 32-bit operands) rarely meets by chance, so groups of aligned reads are planned
ahead. Nothing here computes: values are whatever comes out.
"""

import random
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from openlpu.arch.config import GROUP, ChipConfig
from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import Direction, Queue, QueueKind, Stream, geometry
from openlpu.arch.isa import (
    BY_MNEMONIC,
    IMMEDIATE,
    NOTHING,
    FieldKind,
    Format,
    Instruction,
    Operand,
    Spec,
    for_kind,
    instruction,
)
from openlpu.arch.program import Program
from openlpu.arch.timing import timing
from openlpu.compiler.assemble import assemble
from openlpu.compiler.timeline import Run

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
"""Words of each slice that hold data from the start."""


def random_program(config: ChipConfig, seed: int, length: int = 120) -> Program:
    """A program of about `length` cycles, the same for the same arguments, that `openlpu.model.link.check` accepts."""
    return _Generator(config, seed, length).program()


class _Generator:
    def __init__(self, config: ChipConfig, seed: int, length: int) -> None:
        self.config, self.seed, self.length = config, seed, length
        self.random = random.Random(seed)
        self.chip, self.timing, self.encoding = geometry(config), timing(config), encoding(config)
        self.out: dict[str, list[tuple[int, Instruction]]] = {}
        self.planned: dict[tuple[str, int], Instruction] = {}
        self.productions: dict[int, set[tuple[int, Stream]]] = {}
        """Registers that are loaded by a producer, by the cycle in which they hold the value."""
        self.present: set[tuple[int, Stream]] = set()
        """Registers that hold a vector in the cycle in which instructions dispatched now sample."""
        image_words = min(_IMAGE_WORDS, config.mem_words)
        self.image = {
            (mem_slice, address): self._random_vector()
            for mem_slice in range(len(self.chip.mem_slices))
            for address in self.random.sample(range(config.mem_words), image_words)
        }
        self.written: dict[tuple[int, int], int] = dict.fromkeys(self.image, 0)
        """SRAM words that may be read, with the cycle from which they may be sampled."""
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
        self.accumulators: set[tuple[int, int]] = set()
        self.results: set[tuple[int, int]] = set()
        """(ALU, cycle) of every result."""

    def program(self) -> Program:
        for cycle in range(self.length):
            self._advance(cycle)
            if self.random.random() < 0.25:
                self.random.choice((self._plan_weights, self._plan_word, self._plan_group))(cycle)
            queues = list(self.chip.queues)
            self.random.shuffle(queues)
            for queue in queues:
                chosen = self.planned.pop((queue.name, cycle), None)
                if chosen is not None and chosen.spec.mnemonic == "iw" and not self._whole(queue):
                    chosen = None
                if chosen is None and self.random.random() < 0.5:
                    chosen = self._choose(queue, cycle)
                if chosen is not None:
                    self._dispatch(queue, cycle, chosen)
        retire = [
            cycle + max(self.timing.latency(inst.spec, self.chip.by_name[name]).retire, 2)
            for name, entries in self.out.items()
            for cycle, inst in entries
        ]
        cycles = max(retire)
        runs = {name: [Run(cycle, inst) for cycle, inst in entries] for name, entries in self.out.items()}
        return Program(
            name=f"random_{self.seed}",
            config=self.config,
            text=assemble(runs, cycles, self.config),
            image=self.image,
            cycles=cycles,
        )

    # Time

    def _advance(self, cycle: int) -> None:
        """Bring `present` to the cycle in which instructions dispatched in `cycle` sample."""
        moved = {(hop + stream.direction.step, stream) for hop, stream in self.present}
        kept = {(hop, stream) for hop, stream in moved if 0 <= hop < self.chip.hops}
        self.present = kept | self.productions.get(cycle + self.timing.dispatch, set())

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
                self.written[place, inst.number("a")] = state
            case "scatter":
                for address in _window(inst):
                    self.written[place, address] = state
            case "gather":
                self.sampled |= {(place, address, cycle + (latency.skew or 0)) for address in _window(inst)}
            case "lw" | "lwt" | "lw_iw" | "lwt_iw":
                self._load(place, inst)
                if inst.spec.mnemonic.endswith("_iw"):
                    self.installed[place] = state
            case "iw":
                self.installed[place] = state
            case "abc" | "abr":
                self.sums.add((place, state))
            case "abl":
                self.buffered[place, inst.number("a")] = state
            case "acc_set" | "acc_set_out":
                self.accumulators.add((place, inst.number("a")))
        if queue.kind is QueueKind.VXM:
            self.results.add((place, state))

    def _load(self, plane: int, inst: Instruction) -> None:
        """Note a group of the shadow buffer; an array of rows and columns mixed is never installed."""
        kind = inst.spec.mnemonic.removesuffix("_iw")
        if self.loaded[plane][0] != kind:
            self.loaded[plane] = (kind, set())
        self.loaded[plane][1].add(inst.number("g"))

    def _whole(self, queue: Queue) -> bool:
        """Whether all of a plane's shadow buffer was loaded, in rows or in columns."""
        return len(self.loaded[queue.index][1]) == self.config.lanes // self.config.weight_streams

    def _claim(self, queue: Queue, cycle: int, stream: Stream, func: int) -> None:
        self.productions.setdefault(cycle + func, set()).add((queue.hop, stream))

    def _free(self, queue: Queue, cycle: int, spec: Spec, streams: Iterable[Stream]) -> bool:
        """No other producer drives any of the streams in the register and cycle of this one."""
        taken = self.productions.get(cycle + (self.timing.latency(spec, queue).func or 0), set())
        return all((queue.hop, stream) not in taken for stream in streams)

    # Choices

    def _choose(self, queue: Queue, cycle: int) -> Instruction | None:
        choices: dict[QueueKind, Callable[[Queue, int], Instruction | None]] = {
            QueueKind.MEM_READ: self._read,
            QueueKind.MEM_WRITE: self._write,
            QueueKind.MXM_WEIGHTS: self._weights,
            QueueKind.MXM_ACTS: self._activations,
            QueueKind.MXM_ACCS: self._accumulate,
            QueueKind.VXM: self._compute,
            QueueKind.SXM_SHIFT: self._lanes,
            QueueKind.SXM_PERMUTE: self._lanes,
        }
        return choices[queue.kind](queue, cycle)

    def _read(self, queue: Queue, cycle: int) -> Instruction | None:
        if self.random.random() < 0.2:
            return self._gather(queue, cycle)
        return self._read_onto(queue, cycle, self._pick(queue.produces))

    def _gather(self, queue: Queue, cycle: int) -> Instruction | None:
        spec = BY_MNEMONIC["gather"]
        lane_map, stream = self._pick(self._at(queue)), self._pick(queue.produces)
        if lane_map is None or stream is None or not self._free(queue, cycle, spec, (stream,)):
            return None
        base, bits = self._random_window()
        inst = instruction("gather", a=base, n=bits, m=lane_map, d=stream)
        sample = cycle + (self.timing.latency(spec, queue).skew or 0)
        return inst if self._defined(queue, inst, sample) else None

    def _scatter(self, queue: Queue, cycle: int) -> Instruction | None:
        lane_map, stream = self._pick(self._at(queue)), self._pick(self._at(queue))
        if lane_map is None or stream is None:
            return None
        base, bits = self._random_window()
        inst = instruction("scatter", a=base, n=bits, m=lane_map, s=stream)
        lands = cycle + (self.timing.latency(inst.spec, queue).state or 0)
        planned = self._planned_reads(cycle)
        clash = any(
            (queue.index, address) in planned or (queue.index, address, lands - 1) in self.sampled
            for address in _window(inst)
        )
        return None if clash or not self._defined(queue, inst, lands) else inst

    def _random_window(self) -> tuple[int, int]:
        """The first word of a window that lies aligned in a slice, and the logarithm of its size."""
        _, largest = self.encoding.limits(FieldKind.WINDOW, QueueKind.MEM_READ)
        bits = min(self.random.choice((0, 0, 1, 1, 2, 3, largest)), largest)
        return self.random.randrange(self.config.mem_words >> bits) << bits, bits

    def _defined(self, queue: Queue, inst: Instruction, cycle: int) -> bool:
        """Whether every word of a window holds something by `cycle`."""
        return all(self.written.get((queue.index, address), cycle + 1) <= cycle for address in _window(inst))

    def _read_onto(self, queue: Queue, cycle: int, stream: Stream | None) -> Instruction | None:
        """A read of some word that stands by then, onto `stream`."""
        spec = BY_MNEMONIC["read"]
        if stream is None or not self._free(queue, cycle, spec, (stream,)):
            return None
        sample = cycle + (self.timing.latency(spec, queue).skew or 0)
        words = [a for (s, a), ready in self.written.items() if s == queue.index and ready <= sample]
        return None if not words else instruction("read", a=self.random.choice(words), d=stream)

    def _write(self, queue: Queue, cycle: int) -> Instruction | None:
        if self.random.random() < 0.3:
            return self._scatter(queue, cycle)
        stream = self._pick(self._at(queue))
        address = self.random.randrange(self.config.mem_words)
        edge = cycle + (self.timing.latency(BY_MNEMONIC["write"], queue).state or 0) - 1
        planned = (queue.index, address) in self._planned_reads(cycle)
        if stream is None or planned or (queue.index, address, edge) in self.sampled:
            return None
        return instruction("write", a=address, s=stream)

    def _planned_reads(self, cycle: int) -> set[tuple[int, int]]:
        """Words that planned reads will sample; writing them now could meet the read."""
        return {
            (self.chip.by_name[name].index, inst.number("a"))
            for (name, at), inst in self.planned.items()
            if at >= cycle and inst.spec.mnemonic == "read"
        }

    def _weights(self, queue: Queue, cycle: int) -> Instruction | None:
        groups = self.config.lanes // self.config.weight_streams
        kind, loaded = self.loaded[queue.index]
        if set(self._at(queue)) == set(queue.consumes):
            group = self.random.randrange(groups)
            mnemonic = self.random.choice(("lw", "lwt", kind or "lw"))
            completes = (mnemonic == kind and len(loaded | {group}) == groups) or groups == 1
            if completes and self.random.random() < 0.4:
                mnemonic += "_iw"
            return instruction(mnemonic, g=group)
        if self._whole(queue) and self.random.random() < 0.1:
            return instruction("iw")
        return None

    def _activations(self, queue: Queue, cycle: int) -> Instruction | None:
        stream = self._pick(self._at(queue))
        if stream is not None and self.random.random() < 0.3:
            return instruction("abl", a=self.random.randrange(self.config.act_depth), s=stream)
        stands = self.installed.get(queue.index)
        if stands is None or stands > cycle + self.timing.weights_used:
            return None
        sample = cycle + (self.timing.latency(BY_MNEMONIC["abr"], queue).skew or 0)
        words = [a for (plane, a), ready in self.buffered.items() if plane == queue.index and ready <= sample]
        if words and self.random.random() < 0.5:
            return instruction("abr", a=self.random.choice(words))
        return None if stream is None else instruction("abc", s=stream)

    def _accumulate(self, queue: Queue, cycle: int) -> Instruction | None:
        sample = cycle + (self.timing.latency(BY_MNEMONIC["acc_set"], queue).skew or 0)
        held = [address for plane, address in sorted(self.accumulators) if plane == queue.index]
        if (queue.index, sample) in self.sums:
            mnemonic = self.random.choice(("acc_set", "acc_set_out", "acc_add", "acc_add_out"))
        else:
            mnemonic = "acc_out"
        if mnemonic.startswith("acc_set"):
            address = self.random.randrange(self.config.acc_depth)
        elif held:
            address = self.random.choice(held)
        else:
            return None
        spec = BY_MNEMONIC[mnemonic]
        if not spec.produces:
            return instruction(mnemonic, a=address)
        group = self._pick(self._groups(queue.produces))
        if group is None or not self._free(queue, cycle, spec, group.planes):
            return None
        return instruction(mnemonic, a=address, d=group)

    def _compute(self, queue: Queue, cycle: int) -> Instruction | None:
        specs = [
            spec
            for spec in for_kind(QueueKind.VXM)
            if spec.implemented
            and not spec.control
            and (spec.op_class is None or spec.op_class in self.config.alus[queue.index].classes)
        ]
        spec = self.random.choice(specs)
        sources = [self._source(queue, cycle) for _ in range(spec.arity)]
        if sources == [IMMEDIATE] * len(sources) and self.random.random() < 0.8:
            return None
        dest = self._destination(queue, cycle, spec)
        y = sources[1] if len(sources) > 1 else NOTHING
        immediate = self._random_word() & 0xFFFFFFFF if IMMEDIATE in sources else 0
        return instruction(spec.mnemonic, x=sources[0], y=y, d=dest, imm=immediate)

    def _source(self, queue: Queue, cycle: int) -> Operand:
        here = self._at(queue)
        words = [group for group in self._groups(here) if set(group.planes) <= set(here)]
        sample = cycle + self.timing.dispatch
        chained = [alu for alu in self.chip.alu_sources(queue.index) if (alu, sample) in self.results]
        kinds: list[list[Operand]] = [
            [Operand(Format.BYTE, stream) for stream in here],
            [Operand(Format.WORD, stream) for stream in words],
            [Operand(Format.ALU, alu) for alu in chained],
            [IMMEDIATE],
        ]
        return self.random.choice(self.random.choice([kind for kind in kinds if kind]))

    def _destination(self, queue: Queue, cycle: int, spec: Spec) -> Operand:
        stream, group = self._pick(queue.produces), self._pick(self._groups(queue.produces))
        options = [NOTHING]
        if stream is not None and self._free(queue, cycle, spec, (stream,)):
            options.append(Operand(Format.BYTE, stream))
        if group is not None and self._free(queue, cycle, spec, group.planes):
            options.append(Operand(Format.WORD, group))
        for form in (Format.BYTE_BOTH, Format.WORD_BOTH):
            stream = self._pick(self._groups(queue.produces) if form is Format.WORD_BOTH else queue.produces)
            both = None if stream is None else Operand(form, Stream(Direction.EAST, stream.index))
            if both and set(both.streams) <= set(queue.produces) and self._free(queue, cycle, spec, both.streams):
                options.append(both)
        return self.random.choice(options)

    def _lanes(self, queue: Queue, cycle: int) -> Instruction | None:
        specs = [spec for spec in for_kind(queue.kind) if spec.implemented and not spec.control]
        spec = self.random.choice(specs)
        values: dict[str, Stream | int] = {}
        here = self._at(queue)
        words = [group for group in self._groups(here) if set(group.planes) <= set(here)]
        for field in spec.fields:
            grouped = field.kind is FieldKind.GROUP
            if field.name in spec.produces:
                stream = self._pick(self._groups(queue.produces) if grouped else queue.produces)
                if stream is None or not self._free(queue, cycle, spec, stream.planes if grouped else (stream,)):
                    return None
                values[field.name] = stream
            elif field.name in spec.consumes:
                source = self._pick(words if grouped else here)
                if source is None:
                    return None
                values[field.name] = source
            else:
                low, high = self.encoding.limits(field.kind, queue.kind)
                values[field.name] = self.random.randint(low, high)
        return instruction(spec.mnemonic, **values)

    # Plans

    def _plan_weights(self, cycle: int) -> None:
        """Reads that bring whole weight tiles to a plane, and the loads and the installation that take them."""
        queue = self.random.choice(self.chip.of_kind(QueueKind.MXM_WEIGHTS))
        groups = self.config.lanes // self.config.weight_streams
        mnemonic = self.random.choice(("lw", "lwt"))
        latency = self.timing.latency(BY_MNEMONIC[mnemonic], queue)
        at = cycle + 2 + self.chip.hops + self.random.randrange(4)
        for group in range(groups):
            reads = self._aligned_reads(queue.consumes, queue.hop, at + group + (latency.skew or 0), cycle)
            if reads is None or (queue.name, at + group) in self.planned:
                return
            self._plan(reads)
            self.planned[queue.name, at + group] = instruction(mnemonic, g=group)
        self.planned.setdefault((queue.name, at + groups), instruction("iw"))

    def _plan_group(self, cycle: int) -> None:
        """Reads that bring four streams of a group to the SXM together."""
        queue = self.random.choice(self.chip.of_kind(QueueKind.SXM_SHIFT))
        group = self.random.choice(self._groups(queue.consumes))
        arrival = cycle + 4 + self.chip.hops + self.random.randrange(4)
        self._plan(self._aligned_reads(group.planes, queue.hop, arrival, cycle) or {})

    def _plan_word(self, cycle: int) -> None:
        """Reads that bring four streams of a group to the VXM together."""
        alus = [queue for queue in self.chip.of_kind(QueueKind.VXM) if queue.consumes]
        if alus:
            queue = self.random.choice(alus)
            group = self.random.choice(self._groups(queue.consumes))
            arrival = cycle + 4 + self.chip.hops + self.random.randrange(4)
            self._plan(self._aligned_reads(group.planes, queue.hop, arrival, cycle) or {})

    def _plan(self, reads: dict[tuple[str, int], Instruction]) -> None:
        for (name, at), inst in reads.items():
            queue = self.chip.by_name[name]
            latency = self.timing.latency(inst.spec, queue)
            self.planned[name, at] = inst
            self._claim(queue, at, inst.stream("d"), latency.func or 0)
            self.sampled.add((queue.index, inst.number("a"), at + (latency.skew or 0)))

    def _aligned_reads(
        self, streams: Sequence[Stream], hop: int, arrival: int, now: int
    ) -> dict[tuple[str, int], Instruction] | None:
        """A read for each of `streams`, from slices upstream of `hop`, to be there together; None if they cannot."""
        reads: dict[tuple[str, int], Instruction] = {}
        func = self.timing.latency(BY_MNEMONIC["read"], self.chip.of_kind(QueueKind.MEM_READ)[0]).func or 0
        for stream in streams:
            options = []
            for queue in self.chip.of_kind(QueueKind.MEM_READ):
                at = arrival - self.chip.hops_between(stream, queue.hop, hop) - func
                upstream = self.chip.hops_between(stream, queue.hop, hop) >= 0
                key = (queue.name, at)
                if upstream and at > now and stream in queue.produces and key not in self.planned and key not in reads:
                    inst = self._read_onto(queue, at, stream)
                    if inst is not None and (queue.index, inst.number("a")) in self.image:
                        options.append((key, inst))
            if not options:
                return None
            key, inst = self.random.choice(options)
            reads[key] = inst
        return reads

    # Odds and ends

    def _at(self, queue: Queue) -> list[Stream]:
        """The streams that hold a vector for the queue's unit to sample."""
        return [stream for stream in queue.consumes if (queue.hop, stream) in self.present]

    def _groups(self, streams: Sequence[Stream]) -> list[Stream]:
        return [stream for stream in streams if stream.index % GROUP == 0]

    def _pick(self, streams: Sequence[Stream]) -> Stream | None:
        return self.random.choice(streams) if streams else None

    def _random_vector(self) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
        values = [
            self.random.choice(_CORNER_BYTES) if self.random.random() < 0.3 else self.random.randrange(256)
            for _ in range(self.config.lanes)
        ]
        return np.array(values, np.uint8).view(np.int8)

    def _random_word(self) -> int:
        return self.random.choice(_CORNER_WORDS) if self.random.random() < 0.4 else self.random.getrandbits(32)


def _window(inst: Instruction) -> range:
    """The addresses that a gather or scatter may touch."""
    return range(inst.number("a"), inst.number("a") + (1 << inst.number("n")))
