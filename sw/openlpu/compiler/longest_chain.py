# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The longest chain of kernels that need one another: how short a program that does what they say could be on a chip,
by that alone, and with none of the scheduler's code.

What is followed through the kernels is when each vector of a buffer can be read at the earliest, and how close to one
another any of them can be: a product streams its weights, and every vector of a kernel passes the VXM. Weights that
something comes behind, however far, have streamed one after the other, none before the first row that they meet is
there; and vectors have passed the units for special functions: jobs of `openlpu.compiler.one_machine`. Kernels that
fill one buffer, and together read all of another, are not all done before what comes last of that is through. Kernels
that need nothing of one another, and that no other needs both of, compete for nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from openlpu.arch.config import ChipConfig, OpClass, Source
from openlpu.arch.geometry import Queue, QueueKind, geometry
from openlpu.arch.isa import BY_MNEMONIC
from openlpu.arch.timing import timing
from openlpu.compiler.chain import Placed, map_chain
from openlpu.compiler.errors import InternalCompilerError
from openlpu.compiler.kernel_work import special_units, tile_cycles, tiles_of
from openlpu.compiler.kernels import (
    Buffer,
    BufferOperand,
    Factor,
    Kernel,
    KernelGraph,
    MatMulKernel,
    Term,
    VectorKernel,
    met_by,
    views_of,
)
from openlpu.compiler.one_machine import Job, Machine, Need, Needs, everywhere, over, spread, together

_READ, _WRITE = BY_MNEMONIC["read"], BY_MNEMONIC["write"]
_NEVER = 1 << 40
"""Later than everything."""
_ANY: frozenset[Source] = frozenset()
"""Of an ALU in the middle of a chain: it need not take anything from a stream."""
_Places = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Rows (n, 1) and columns (1, m) of a buffer."""


@dataclass(frozen=True)
class _Row:
    """Vectors that come one after the other: the last of any n of them at `first + (n - 1) * pace`, or later."""

    first: int
    pace: int

    def last(self, count: int) -> int:
        """When the last of so many is there."""
        return self.first + (count - 1) * self.pace


@dataclass
class _Times:
    """Of a buffer: when it may be read, at the earliest."""

    vectors: npt.NDArray[np.int64]
    """By row and column of `lanes` elements; where bytes come one by one, the first of them."""
    row: _Row = _Row(0, 0)
    """What is known of any of them together."""
    last: int = 0
    """All of it."""
    needs: list[Needs] = field(default_factory=list)
    """By row."""


@dataclass(frozen=True)
class _Way:
    """What an operand of a kernel has before it."""

    view: BufferOperand
    latency: int
    """Cycles from SRAM, through everything behind, into SRAM."""


class Chain:
    """The longest path through the kernels, where a kernel waits for its data, its weights and its own vectors only."""

    def __init__(self, graph: KernelGraph, config: ChipConfig) -> None:
        self.graph, self.config = graph, config
        self.timing, chip = timing(config), geometry(config)
        self._read, self._write = chip.of_kind(QueueKind.MEM_READ), chip.of_kind(QueueKind.MEM_WRITE)
        self._acts, self._accs = chip.of_kind(QueueKind.MXM_ACTS)[-1], chip.of_kind(QueueKind.MXM_ACCS)[-1]
        self._alus = chip.of_kind(QueueKind.VXM)
        self._chip = chip
        self._in_bytes = {kernel.output for kernel in graph.kernels if kernel.target.byte is not None}
        """Buffers whose elements are written byte by byte, and may be read so."""
        there = {name for _, name in graph.inputs} | {*graph.constants, *graph.states}
        # What a state holds at first may lie anywhere.
        self._computed = {kernel.output for kernel in graph.kernels} - ({*graph.states} - {*graph.scattered})
        self._indices = {*graph.indexed.values()}
        self.times = {
            buffer.name: _Times(
                np.full((buffer.rows, self._columns(buffer)), 0 if buffer.name in there else _NEVER),
                needs=[{}] * buffer.rows,
            )
            for buffer in graph.buffers
        }
        # Of the tiles one may be in the array, and one in the shadow buffer of each plane.
        ahead = 2 * config.lanes // config.weight_streams
        self._weights = Machine(config.mxm_planes * config.hemispheres, ahead)
        # Of a vector it is known when it begins.
        self._special = Machine(special_units(config), config.special_turns)
        self._readers = _readers(graph)
        self._fronts: dict[tuple[str, int], frozenset[int]] = {}
        self._streamed: set[object] = set()
        """Tiles of the products so far."""
        self._parts: dict[tuple[str, str], tuple[set[tuple[int, int]], int]] = {}
        """By a buffer and one that kernels read to fill it: which vectors of that, so far, and how long the fastest of
        them takes."""

    def length(self) -> int:
        """Cycles until the last row of the last result is in its place."""
        for kernel in self.graph.kernels:
            self.follow(kernel)
        return max((times.last for times in self.times.values()), default=0)

    def follow(self, kernel: Kernel) -> int:
        """The next kernel; when all that has been written so far of its output may be read."""
        output, target = self.graph.buffer(kernel.output), kernel.target
        stacked = max(target.stacked, 1)
        rows = np.arange(target.count(output) * stacked)
        ways, tail = self._ways(kernel)
        ready, last, known, read = self._operands(ways, rows, np.arange(self._columns(output)))
        needs = self._inputs(kernel, ways, tail, rows)
        if isinstance(kernel, MatMulKernel):
            sums, begins, every, used = self._sums(kernel, rows[: len(rows) // stacked])
            read += [(name, places, tail + self._beyond(name)) for name, places in used.items()]
            ready = np.maximum(ready, np.tile(sums, stacked)[:, np.newaxis] + tail)
            last = max(last, every + tail, *(self._factor(term)[1] + tail for term in kernel.terms))
            known.append(self._streaming(kernel, begins + tail, ready.size))
            needs = [{**some, **own} for some, own in zip(needs, self._product(kernel, begins, tail), strict=True)]
        ready = np.maximum(ready, [[over(everywhere(some) if ready.shape[1] > 1 else some)] for some in needs])
        for job in self._special_functions(kernel, ready):
            own = (Need(1 << row, 0, anywhere=False) for row in range(len(rows)))
            needs = [{**some, job: need} for some, need in zip(needs, own, strict=True)]
        last = max(last, over(together((some, 0) for some in needs)))
        known += self._turns(kernel, int(ready.min()))
        row = max(known, key=lambda row: row.last(ready.size))
        last = max(last, int(ready.max()), row.last(ready.size))
        if target.indices is None:
            last = max(last, *(self._behind_all(kernel.output, *one) for one in read), 0)
        self._note(kernel, ready, row, last, needs)
        return self.times[kernel.output].last

    def _note(self, kernel: Kernel, ready: npt.NDArray[np.int64], row: _Row, last: int, needs: Sequence[Needs]) -> None:
        """What a kernel writes may be read: each vector from `ready` on, as `row` knows of any of them, and all from
        `last` on."""
        times, members = self.times[kernel.output], _rows_of(kernel, self.graph)
        times.last = max(times.last, last)
        if kernel.target.indices is not None:
            # It may be any of them.
            needs = [together((some, 0) for some in needs)] * len(members)
        else:
            alone = ready.size == times.vectors.size and bool((times.vectors == _NEVER).all())
            times.row = row if alone else _Row(0, 0)
            times.vectors[members] = np.minimum(times.vectors[members], last if ready.size == 1 else ready)
        for member, some in zip(members, needs, strict=True):
            times.needs[member] = together([(times.needs[member], 0), (some, 0)])

    def _operands(
        self, ways: list[_Way], rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], int, list[_Row], list[tuple[str, set[tuple[int, int]], int]]]:
        """When operands let each vector of a kernel be there, and all, what else is known of any of them, and what is
        read, how long before it is of use."""
        ready, last = np.zeros((len(rows), len(columns)), np.int64), 0
        read: dict[str, set[tuple[int, int]]] = {}
        latencies: dict[str, int] = {}
        known = []
        for way in ways:
            name, which = self._places(way.view, rows, columns)
            places, row = _pairs(which), self.times[name].row
            ready = np.maximum(ready, self.times[name].vectors[which] + way.latency)
            last = max(last, self._all_of(name, places) + way.latency)
            if len(places) == ready.size:
                known.append(_Row(row.first + way.latency, row.pace))
            read.setdefault(name, set()).update(places)
            latencies[name] = min(latencies.get(name, way.latency), way.latency)
        last = max(last, *(self._all_of(name, places) + latencies[name] for name, places in read.items()), 0)
        return ready, last, known, [(name, places, latencies[name]) for name, places in read.items()]

    def _behind_all(self, output: str, name: str, places: set[tuple[int, int]], latency: int) -> int:
        """When the last vector of a buffer may be there, at the earliest, for what its kernels, up to this one, read of
        another: where they need all of it together, one of them needs what came last."""
        before, least = self._parts.get((output, name), (set(), latency))
        read, fastest = before | places, min(least, latency)
        self._parts[output, name] = read, fastest
        whole = len(read) == self.times[name].vectors.size and name not in self._in_bytes
        return self.times[name].last + fastest if whole else 0

    def _all_of(self, name: str, which: set[tuple[int, int]]) -> int:
        """When all vectors of a set may be read."""
        times = self.times[name]
        if len(which) == times.vectors.size and name not in self._in_bytes:
            return times.last
        return max(times.row.last(len(which)), *(int(times.vectors[place]) for place in which))

    def _columns(self, buffer: Buffer) -> int:
        return -(-buffer.cols // self.config.lanes)

    def _places(
        self, view: BufferOperand, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
    ) -> tuple[str, _Places]:
        """The buffer, and in it the rows and columns, that meet `rows` and `columns` of a kernel."""
        read = view.first_row + view.row_step * rows[:, np.newaxis]
        if view.indices is not None:
            return view.indices, (read, np.zeros((1, 1), int))
        met = np.array([view.met(column) for column in columns]) if view.column is None else np.array([view.column])
        return view.name, (read, met[np.newaxis])

    def _sums(
        self, kernel: MatMulKernel, rows: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], int, int, dict[str, set[tuple[int, int]]]]:
        """When the inputs of each row of a product are there, when the first of any, and when all; and which these
        are."""
        ready, begins = np.zeros(len(rows), np.int64), []
        shared: dict[str, set[tuple[int, int]]] = {}
        used: dict[str, set[tuple[int, int]]] = {}
        for term in kernel.terms:
            name, which = self._places(term.rows, rows, np.arange(self._columns(self.graph.buffer(term.rows.name))))
            seen = self.times[name].vectors[which] + self._beyond(name)
            factor, _ = self._factor(term)
            ready = np.maximum(ready, np.maximum(seen.max(axis=1), factor))
            begins.append(max(int(seen.min()), factor))
            used.setdefault(name, set()).update(_pairs(which))
            if term.rows.row_step == 0 or len(rows) == 1:
                shared.setdefault(name, set()).update(_pairs(which))
        # These are in every sum.
        every = max((self._all_of(name, which) + self._beyond(name) for name, which in shared.items()), default=0)
        ends = max(self._all_of(name, which) + self._beyond(name) for name, which in used.items())
        return np.maximum(ready, every), min(begins), ends, used

    def _inputs(self, kernel: Kernel, ways: list[_Way], tail: int, rows: npt.NDArray[np.int64]) -> list[Needs]:
        """What each row of a kernel needs, by all that it reads."""
        columns = np.arange(self._columns(self.graph.buffer(kernel.output)))
        found: list[list[tuple[Needs, int]]] = [[] for _ in rows]
        for way in ways:
            for needs, seen in zip(found, self._seen(way.view, rows, columns), strict=True):
                needs.append((seen, way.latency))
        if isinstance(kernel, MatMulKernel):
            met = self._met(kernel, tail, rows[: len(rows) // max(kernel.target.stacked, 1)])
            for row, needs in enumerate(found):
                needs.append((met[row % len(met)], 0))
        return [together(needs) for needs in found]

    def _met(self, kernel: MatMulKernel, tail: int, rows: npt.NDArray[np.int64]) -> list[Needs]:
        """What each row of sums needs of a product."""
        found: list[list[tuple[Needs, int]]] = [[] for _ in rows]
        for term in kernel.terms:
            name = term.rows.indices or term.rows.name
            columns = np.arange(self._columns(self.graph.buffer(term.rows.name)))
            factor = self._multiplied_by(term, tail)
            for needs, seen in zip(found, self._seen(term.rows, rows, columns), strict=True):
                needs += [(spread(seen), tail + self._beyond(name)), (factor, 0)]
        return [together(needs) for needs in found]

    def _multiplied_by(self, term: Term, tail: int) -> Needs:
        """What columns of a product need of a factor that was computed, each of its own part of it."""
        if not isinstance(term.weights, Factor):
            return {}
        name = term.weights.name
        rows = {id(row): row for row in self.times[name].needs}.values()
        needs = together((row, tail + self._further(name)) for row in rows)
        return {job: Need(need.parts, need.behind, anywhere=False) for job, need in needs.items()}

    def _seen(self, view: BufferOperand, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> list[Needs]:
        """What is needed for what each of `rows` and all of `columns` of a kernel read."""
        name, (read, met) = self._places(view, rows, columns)
        times = self.times[name]
        needs = [times.needs[row] for row in np.broadcast_to(read[:, 0], len(rows)).tolist()]
        seen = {*met.reshape(-1).tolist()}
        if view.byte is not None and name in self._in_bytes:
            return [{}] * len(rows)
        if len(seen) < times.vectors.shape[1]:
            needs = [_of_columns(row, name, seen) for row in needs]
        # One column, or the same for all, is the whole of it.
        return needs if met.size == len(columns) else [spread(row) for row in needs]

    def _product(self, kernel: MatMulKernel, begins: int, tail: int) -> list[Needs]:
        """What each row of a product needs of its weights, column by column, but for those that a product before it
        has, if the first of what they meet is there at `begins`."""
        tiles = tiles_of(self.graph, kernel, self.config)
        fresh = [across for across, tile in tiles if tile not in self._streamed]
        self._streamed |= {tile for _, tile in tiles}
        columns = 1 + max(across for across, _ in tiles)
        parts = np.bincount(np.array(fresh, int), minlength=columns) * (self.config.lanes // self.config.weight_streams)
        rows = kernel.target.count(self.graph.buffer(kernel.output))
        if not kernel.target.stacked:
            job = Job(self._weights, begins, tuple(parts.tolist()), tail, columns_of=kernel.output)
            return [{job: Need((1 << columns) - 1, 0, anywhere=False)}] * rows
        # What comes in front of the same has one job.
        fronts = [self._front(kernel.output, row) for row in _rows_of(kernel, self.graph)]
        jobs = {front: Job(self._weights, begins, tuple(parts.tolist()), tail) for front in fronts}
        return [{jobs[front]: Need(1 << number // rows, 0)} for number, front in enumerate(fronts)]

    def _front(self, name: str, row: int) -> frozenset[int]:
        """The kernels, by number, that read what row by row is made of a row, and are no such passes themselves."""
        if (name, row) not in self._fronts:
            found: set[int] = set()
            for number, met in self._readers[name][row]:
                kernel = self.graph.kernels[number]
                if isinstance(kernel, MatMulKernel) or kernel.target.indices is not None or met is None:
                    found.add(number)
                else:
                    found |= self._front(kernel.output, _rows_of(kernel, self.graph)[met])
            self._fronts[name, row] = frozenset(found)
        return self._fronts[name, row]

    def _special_functions(self, kernel: Kernel, ready: npt.NDArray[np.int64]) -> Iterator[Job]:
        """What each special function of a kernel is to the units, row by row, if its vectors may be in SRAM from
        `ready` on."""
        rows, columns = ready.shape
        for i, step in enumerate(kernel.chain):
            if BY_MNEMONIC[step.mnemonic].op_class is OpClass.SPECIAL:
                tail = self._to_sram(map_chain(kernel.chain[i:], self.config, begins=_ANY))
                cycles = columns * self.config.special_turns
                yield Job(self._special, int(ready.min()) - tail, (cycles,) * rows, tail)

    def _factor(self, term: Term) -> tuple[int, int]:
        """When the first of what a term multiplies by may be read, and when all of it. Where an index says what is
        written, that may be any of it."""
        if not isinstance(term.weights, Factor):
            return 0, 0
        name = term.weights.name
        times, further = self.times[name], self._further(name)
        first = times.last if name in self.graph.scattered else int(times.vectors.min())
        return first + further, times.last + further

    def _turns(self, kernel: Kernel, first: int) -> list[_Row]:
        """The vectors of a kernel, the first of which is through at `first`, as the units of a step take turns."""
        units = [(sum(alu.writes for alu in self.config.alus), 1)]
        for spec in (BY_MNEMONIC[step.mnemonic] for step in kernel.chain):
            units.append((sum(spec.op_class in alu.classes for alu in self.config.alus), self.timing.turns(spec)))
        # As many vectors as there are units come at once.
        return [_Row(first - (count - 1) * (turns // count), turns // count) for count, turns in units]

    def _streaming(self, kernel: MatMulKernel, begins: int, vectors: int) -> _Row:
        """The sums of a product whose first row is there early enough for results at `begins`, as its tiles come."""
        cycles = self._stream_cycles(kernel)
        pace = cycles // vectors
        return _Row(begins + max(cycles - self._weights.ahead, 0) - pace * (vectors - 1), pace)

    def _stream_cycles(self, kernel: MatMulKernel) -> int:
        """For which the weights of a product stream, if every plane takes its share."""
        return tile_cycles(self.graph, kernel, self.config) // (self.config.mxm_planes * self.config.hemispheres)

    def _ways(self, kernel: Kernel) -> tuple[list[_Way], int]:
        """The operands from SRAM to the VXM, and the cycles from the first sums' inputs, or nothing, to the end."""
        ways = [
            # What stands before a step may be there long before its operand is.
            _Way(step.y, self._to_vxm(step.y) + self._to_sram(map_chain(kernel.chain[i:], self.config, begins=_ANY)))
            for i, step in enumerate(kernel.chain)
            if isinstance(step.y, BufferOperand)
        ]
        tail = self._to_sram(map_chain(kernel.chain, self.config))
        if isinstance(kernel, VectorKernel):
            return [*ways, _Way(kernel.source, self._to_vxm(kernel.source) + tail)], tail
        return ways, self._through_array() + tail

    def _to_sram(self, chain: tuple[Placed, ...] | None) -> int:
        """From the first ALU of a chain to a word in SRAM."""
        if chain is None:
            raise InternalCompilerError("a kernel's chain has no way through the VXM")
        last = self.timing.latency(BY_MNEMONIC["pass"], self._alus[chain[-1].alu])
        write = self.timing.latency(_WRITE, self._write[0])
        depths = sum(self.timing.alu_depth[place.alu] for place in chain)
        leaves = _after(last.func) - _after(last.state)
        return depths + leaves + self._hops(self._write) + _after(write.state) - _after(write.skew)

    def _to_vxm(self, view: BufferOperand) -> int:
        """From a word in SRAM to an ALU."""
        read = self.timing.latency(_READ, self._read[0])
        out = _after(read.func) - _after(read.skew)
        out += out if view.indices is not None else 0
        return out + (self._turn(view.name) if view.rotate else self._hops(self._read))

    def _through_array(self) -> int:
        """From rows in SRAM to their sums at an ALU."""
        read = self.timing.latency(_READ, self._read[0])
        array = self.timing.latency(BY_MNEMONIC["abc"], self._acts)
        sums = self.timing.latency(BY_MNEMONIC["acc_set_out"], self._accs)
        there = self._nearest(self._acts)
        back = abs(self._accs.hop - self._chip.vxm_hop)
        through = _after(array.state) - _after(array.skew) + _after(sums.func) - _after(sums.skew)
        return _after(read.func) - _after(read.skew) + there + through + back

    def _turn(self, name: str) -> int:
        """From rows of a buffer in SRAM to the VXM by way of the SXM."""
        queue = self._chip.of_kind(QueueKind.SXM_SHIFT)[-1]
        turn = self.timing.latency(BY_MNEMONIC["rotate"], queue)
        back = abs(queue.hop - self._chip.vxm_hop)
        out = max(back - self._hops(self._write), 0) if name in self._computed else self._nearest(queue)
        return _after(turn.func) - _after(turn.skew) + out + back

    def _further(self, name: str) -> int:
        """What comes from the VXM has the whole way to the MXM before it, whichever slice on it keeps it: by so many
        hops more than from the nearest slice to the VXM and, once more, to the MXM."""
        whole = abs(self._acts.hop - self._chip.vxm_hop)
        return max(whole - self._hops(self._write) - self._nearest(self._acts), 0) if name in self._computed else 0

    def _beyond(self, name: str) -> int:
        """How much later rows to be multiplied are at the MXM than they would be, were they in the slice nearest to it
        as soon as they may be read. What comes from the VXM can go there past SRAM; what an index says is in SRAM."""
        if name not in self._computed or name in self._indices:
            return self._further(name)
        read, write = self.timing.latency(_READ, self._read[0]), self.timing.latency(_WRITE, self._write[0])
        sram = _after(write.state) - _after(write.skew) + _after(read.func) - _after(read.skew)
        return self._further(name) - sram

    def _nearest(self, queue: Queue) -> int:
        """Hops from a queue to the slice that is nearest to it."""
        return min(abs(queue.hop - read.hop) for read in self._read)

    def _hops(self, queues: tuple[Queue, ...]) -> int:
        return min(abs(queue.hop - self._chip.vxm_hop) for queue in queues)


def _readers(graph: KernelGraph) -> dict[str, list[list[tuple[int, int | None]]]]:
    """By buffer and row: the kernels that read it, by number, and for which of their rows, if for one of their own."""
    found: dict[str, list[list[tuple[int, int | None]]]] = {
        buffer.name: [[] for _ in range(buffer.rows)] for buffer in graph.buffers
    }
    for number, kernel in enumerate(graph.kernels):
        rows = kernel.target.count(graph.buffer(kernel.output))
        for view in views_of(kernel):
            met = rows * max(kernel.target.stacked, 1) if view in met_by(kernel) else rows
            readers = found[view.indices or view.name]
            if view.row_step == 0:
                readers[view.first_row].append((number, None))
            else:
                for row in range(met):
                    readers[view.first_row + view.row_step * row].append((number, row))
    return found


def _rows_of(kernel: Kernel, graph: KernelGraph) -> range:
    """The rows that a kernel fills, or may fill."""
    output = graph.buffer(kernel.output)
    return range(output.rows)[kernel.target.members(output)]


def _of_columns(needs: Needs, name: str, columns: set[int]) -> Needs:
    """What some columns need of what a row of a buffer needs."""
    mask = sum(1 << column for column in columns)
    own = {job: need._replace(parts=need.parts & mask) for job, need in needs.items() if job.columns_of == name}
    return own | {job: need for job, need in needs.items() if need.anywhere and job not in own}


def _pairs(which: _Places) -> set[tuple[int, int]]:
    return {*itertools.product(which[0].reshape(-1).tolist(), which[1].reshape(-1).tolist())}


def _after(cycles: int | None) -> int:
    if cycles is None:
        raise InternalCompilerError("the timing table lacks a latency")
    return cycles
