# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Lower bounds of kernels: how short a program that does what they say could be on a chip.

As `openlpu.compiler.bounds` for networks that come as kernels, and with none of the scheduler's code either. What is
followed through the kernels is when each vector of a buffer can be read at the earliest, and how close to one another
any of them can be: a product streams its weights, and every vector of a kernel passes the VXM. Products that a kernel
comes behind, however far, have streamed their weights one after the other, none before its first row is there: what is
known of one machine and jobs with release times. Kernels that fill one buffer, and together read all of another, are
not all done before what comes last of that is through. Kernels that need nothing of one another compete for nothing.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from openlpu.arch.config import ChipConfig, OpClass, Source
from openlpu.arch.geometry import Queue, QueueKind, geometry
from openlpu.arch.isa import BY_MNEMONIC
from openlpu.arch.timing import timing
from openlpu.compiler.bounds import Bounds
from openlpu.compiler.chain import Placed, map_chain
from openlpu.compiler.errors import InternalCompilerError
from openlpu.compiler.kernels import (
    Buffer,
    BufferOperand,
    Factor,
    Kernel,
    KernelGraph,
    MatMulKernel,
    Term,
    VectorKernel,
    views_of,
)

_READ, _WRITE = BY_MNEMONIC["read"], BY_MNEMONIC["write"]
_NEVER = 1 << 40
"""Later than everything."""
_ANY: frozenset[Source] = frozenset()
"""Of an ALU in the middle of a chain: it need not take anything from a stream."""


def kernel_bounds(graph: KernelGraph, config: ChipConfig) -> Bounds:
    """Both lower bounds of a kernel graph on a chip."""
    resources = {"weight streams": weight_cycles(graph, config), "special functions": _special_cycles(graph, config)}
    return Bounds(resources, _Chain(graph, config).length())


def chain_ends(graph: KernelGraph, config: ChipConfig) -> list[int]:
    """Of each kernel: the cycle before which nothing that it writes last can be read."""
    chain = _Chain(graph, config)
    return [chain.follow(kernel) for kernel in graph.kernels]


def tile_cycles(graph: KernelGraph, kernel: MatMulKernel, config: ChipConfig) -> int:
    """Cycles for which the weights of a kernel keep the weight streams of one plane busy, if it has all of them; equal
    tiles come once."""
    return len(_tiles(graph, kernel, config)) * config.lanes // config.weight_streams


def _tiles(graph: KernelGraph, kernel: MatMulKernel, config: ChipConfig) -> set[tuple[int, object]]:
    """The tiles that a kernel multiplies by: the output column of each, and what tells it from others."""
    lanes = config.lanes
    outputs = -(-kernel.target.cols(graph.buffer(kernel.output)) // lanes)
    tiles: set[tuple[int, object]] = set()
    for term in kernel.terms:
        inputs = -(-graph.buffer(term.rows.name).cols // lanes)
        if isinstance(term.weights, Factor):
            tiles |= {(across, (term.weights, down, across)) for down in range(inputs) for across in range(outputs)}
            continue
        for matrix in term.weights:
            for down in range(inputs):
                for across in range(outputs):
                    part = matrix[down * lanes : (down + 1) * lanes, across * lanes : (across + 1) * lanes]
                    tiles.add((across, (part.shape, part.tobytes())))
    return tiles


def weight_cycles(graph: KernelGraph, config: ChipConfig) -> int:
    """Cycles for which all weights stream, if the planes share them evenly."""
    total = sum(tile_cycles(graph, kernel, config) for kernel in graph.kernels if isinstance(kernel, MatMulKernel))
    return -(-total // (config.mxm_planes * config.hemispheres))


def _special_cycles(graph: KernelGraph, config: ChipConfig) -> int:
    units = max(sum(OpClass.SPECIAL in alu.classes for alu in config.alus), 1)
    cycles = 0
    for kernel in graph.kernels:
        output = graph.buffer(kernel.output)
        vectors = kernel.target.count(output) * -(-kernel.target.cols(output) // config.lanes)
        specials = sum(BY_MNEMONIC[step.mnemonic].op_class is OpClass.SPECIAL for step in kernel.chain)
        cycles += vectors * specials * config.special_turns
    return -(-cycles // units)


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
    behind: list[frozenset[int]] = field(default_factory=list)
    """By row: the products, by their place among all of them, without which it cannot be there."""


@dataclass(frozen=True)
class _Way:
    """What an operand of a kernel has before it."""

    view: BufferOperand
    latency: int
    """Cycles from SRAM, through everything behind, into SRAM."""


class _Chain:
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
                behind=[frozenset()] * buffer.rows,
            )
            for buffer in graph.buffers
        }
        self.streamed: list[tuple[int, int]] = []
        """Of each product so far: before when none of its rows is there, and the cycles for which those of its weights
        stream that no other product has."""
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
        behind = self._behind(kernel, rows)
        if isinstance(kernel, MatMulKernel):
            sums, begins, every, used = self._sums(kernel, rows[: len(rows) // stacked])
            read += [(name, places, tail + self._beyond(name)) for name, places in used.items()]
            ready = np.maximum(ready, np.tile(sums, stacked)[:, np.newaxis] + tail)
            last = max(last, every + tail, *(self._factor(term)[1] + tail for term in kernel.terms))
            known.append(self._streaming(kernel, begins + tail, ready.size))
            behind |= {len(self.streamed)}
            self.streamed.append((begins, self._cycles_of_its_own(kernel)))
            last = max(last, self._one_after_the_other(behind))
        elif behind:
            last = max(last, self._one_after_the_other(behind) + min(way.latency for way in ways))
        known += self._turns(kernel, int(ready.min()))
        row = max(known, key=lambda row: row.last(ready.size))
        last = max(last, int(ready.max()), row.last(ready.size))
        if target.indices is None:
            last = max(last, *(self._behind_all(kernel.output, *one) for one in read), 0)
        times = self.times[kernel.output]
        times.last = max(times.last, last)
        members = target.members(output)
        times.behind[members] = [already | behind for already in times.behind[members]]
        if target.indices is None:
            alone = ready.size == times.vectors.size and bool((times.vectors == _NEVER).all())
            times.row = row if alone else _Row(0, 0)
            times.vectors[members] = np.minimum(times.vectors[members], last if ready.size == 1 else ready)
        return times.last

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
        together, fastest = before | places, min(least, latency)
        self._parts[output, name] = together, fastest
        whole = len(together) == self.times[name].vectors.size and name not in self._in_bytes
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
        together: dict[str, set[tuple[int, int]]] = {}
        used: dict[str, set[tuple[int, int]]] = {}
        for term in kernel.terms:
            name, which = self._places(term.rows, rows, np.arange(self._columns(self.graph.buffer(term.rows.name))))
            seen = self.times[name].vectors[which] + self._beyond(name)
            factor, _ = self._factor(term)
            ready = np.maximum(ready, np.maximum(seen.max(axis=1), factor))
            begins.append(max(int(seen.min()), factor))
            used.setdefault(name, set()).update(_pairs(which))
            if term.rows.row_step == 0 or len(rows) == 1:
                together.setdefault(name, set()).update(_pairs(which))
        # These are in every sum.
        every = max((self._all_of(name, which) + self._beyond(name) for name, which in together.items()), default=0)
        ends = max(self._all_of(name, which) + self._beyond(name) for name, which in used.items())
        return np.maximum(ready, every), min(begins), ends, used

    def _behind(self, kernel: Kernel, rows: npt.NDArray[np.int64]) -> frozenset[int]:
        """The products that must have been computed before all of a kernel is there."""
        target = kernel.target
        found: set[int] = set()
        for number, view in enumerate(views_of(kernel)):
            source = number < len(kernel.sources)
            here = rows[: len(rows) // max(target.stacked, 1)] if source else rows
            name, (read, _) = self._places(view, here, np.zeros(1, np.int64))
            found.update(*(self.times[name].behind[row] for row in {*read.reshape(-1).tolist()}))
        if isinstance(kernel, MatMulKernel):
            factors = (term.weights.name for term in kernel.terms if isinstance(term.weights, Factor))
            found.update(*(behind for name in factors for behind in self.times[name].behind))
        if target.indices is not None:
            found.update(*self.times[target.indices].behind)
        return frozenset(found)

    def _one_after_the_other(self, products: frozenset[int]) -> int:
        """When what comes last behind some products is in SRAM, at the earliest: whichever of them began first, the
        weights of all that cannot begin before it stream from then on, but for what was loaded ahead."""
        jobs = sorted((self.streamed[number] for number in products), reverse=True)
        totals = itertools.accumulate(cycles for _, cycles in jobs)
        ends = (begins + max(total - self._ahead, 0) for (begins, _), total in zip(jobs, totals, strict=True))
        return max(ends) + self._through_array() + self._to_sram(map_chain((), self.config))

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
        return _Row(begins + max(cycles - self._ahead, 0) - pace * (vectors - 1), pace)

    def _stream_cycles(self, kernel: MatMulKernel) -> int:
        """For which the weights of a product stream, if every plane takes its share."""
        return tile_cycles(self.graph, kernel, self.config) // (self.config.mxm_planes * self.config.hemispheres)

    def _cycles_of_its_own(self, kernel: MatMulKernel) -> int:
        """The same for weights that no product before it has."""
        tiles = {tile for _, tile in _tiles(self.graph, kernel, self.config)} - self._streamed
        self._streamed |= tiles
        cycles = len(tiles) * self.config.lanes // self.config.weight_streams
        return cycles // (self.config.mxm_planes * self.config.hemispheres)

    @property
    def _ahead(self) -> int:
        """Cycles of weights that may have streamed before there is anything to multiply: of the tiles one may be in the
        array and one in the shadow buffer of each plane."""
        return 2 * self.config.lanes // self.config.weight_streams

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


def _pairs(which: _Places) -> set[tuple[int, int]]:
    return {*itertools.product(which[0].reshape(-1).tolist(), which[1].reshape(-1).tolist())}


def _after(cycles: int | None) -> int:
    if cycles is None:
        raise InternalCompilerError("the timing table lacks a latency")
    return cycles
