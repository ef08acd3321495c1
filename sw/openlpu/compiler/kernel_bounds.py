# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Lower bounds of kernels: how short a program that does what they say could be on a chip.

As `openlpu.compiler.bounds` for networks that come as kernels, and with none of the scheduler's code either. Two times
are followed through the kernels: when the first row of a buffer can be read, and when the last.
"""

from __future__ import annotations

from dataclasses import dataclass

from openlpu.arch.config import ChipConfig
from openlpu.arch.geometry import Queue, QueueKind, geometry
from openlpu.arch.isa import BY_MNEMONIC
from openlpu.arch.timing import timing
from openlpu.compiler.bounds import Bounds
from openlpu.compiler.chain import map_chain
from openlpu.compiler.errors import InternalCompilerError
from openlpu.compiler.kernels import (
    Factor,
    Kernel,
    KernelGraph,
    MatMulKernel,
    Step,
    views_of,
)


def kernel_bounds(graph: KernelGraph, config: ChipConfig) -> Bounds:
    """Both lower bounds of a kernel graph on a chip."""
    return Bounds({"weight streams": _weight_cycles(graph, config)}, _Chain(graph, config).length())


def chain_ends(graph: KernelGraph, config: ChipConfig) -> list[int]:
    """Of each kernel: the cycle before which nothing that it writes last can be read."""
    chain = _Chain(graph, config)
    return [chain.follow(kernel) for kernel in graph.kernels]


def tile_cycles(graph: KernelGraph, kernel: MatMulKernel, config: ChipConfig) -> int:
    """Cycles for which the weights of a kernel keep the weight streams of one plane busy, if it has all of them; equal
    tiles come once."""
    lanes = config.lanes
    outputs = -(-kernel.target.cols(graph.buffer(kernel.output)) // lanes)
    tiles: set[object] = set()
    for number, term in enumerate(kernel.terms):
        inputs = -(-graph.buffer(term.rows.name).cols // lanes)
        if isinstance(term.weights, Factor):
            tiles |= {(number, down, across) for down in range(inputs) for across in range(outputs)}
            continue
        for matrix in term.weights:
            for down in range(inputs):
                for across in range(outputs):
                    part = matrix[down * lanes : (down + 1) * lanes, across * lanes : (across + 1) * lanes]
                    tiles.add((across, part.shape, part.tobytes()))
    return len(tiles) * lanes // config.weight_streams


def _weight_cycles(graph: KernelGraph, config: ChipConfig) -> int:
    total = sum(tile_cycles(graph, kernel, config) for kernel in graph.kernels if isinstance(kernel, MatMulKernel))
    return -(-total // (config.mxm_planes * config.hemispheres))


@dataclass
class _Times:
    """Of a buffer: when the first of its rows may be read, and when the last."""

    first: int = 0
    last: int = 0


class _Chain:
    """The longest path through the kernels, where nothing has to wait for a resource but for weights."""

    def __init__(self, graph: KernelGraph, config: ChipConfig) -> None:
        self.graph, self.config = graph, config
        self.timing, chip = timing(config), geometry(config)
        self._read, self._write = chip.of_kind(QueueKind.MEM_READ), chip.of_kind(QueueKind.MEM_WRITE)
        self._acts, self._accs = chip.of_kind(QueueKind.MXM_ACTS)[-1], chip.of_kind(QueueKind.MXM_ACCS)[-1]
        self._alus = chip.of_kind(QueueKind.VXM)
        self._chip = chip
        self.times = {buffer.name: _Times() for buffer in graph.buffers}

    def length(self) -> int:
        """Cycles until the last row of the last result is in its place."""
        for kernel in self.graph.kernels:
            self.follow(kernel)
        return max((times.last for times in self.times.values()), default=0)

    def follow(self, kernel: Kernel) -> int:
        """The next kernel; the time of the last row of its output."""
        known = [self.times[name] for name in self._needs(kernel)]
        latency = self._through_vxm(kernel.chain, self._to_vxm(kernel))
        rows = kernel.target.count(self.graph.buffer(kernel.output)) * max(kernel.target.stacked, 1)
        pace = max((self.timing.turns(BY_MNEMONIC[step.mnemonic]) for step in kernel.chain), default=1)
        first, last = max(t.first for t in known), max(t.last for t in known)
        if isinstance(kernel, MatMulKernel):
            # Of the tiles one may be in the array and one in the shadow buffer of each plane before there is anything
            # to multiply.
            ahead = 2 * self.config.lanes // self.config.weight_streams
            planes = self.config.mxm_planes * self.config.hemispheres
            streaming = max(-(-tile_cycles(self.graph, kernel, self.config) // planes) - ahead, 0)
            ends = max(last, first + streaming) + latency
            starts = first + latency
        else:
            starts, ends = first + latency, max(last, first + (rows - 1) * pace) + latency
        times = self.times[kernel.output]
        if kernel.output in self.graph.states:
            times.first = max(times.first, starts)
        else:
            times.first = min(times.first, starts) if times.last else starts
        times.last = max(times.last, ends)
        return times.last

    def _needs(self, kernel: Kernel) -> list[str]:
        names = [name for view in views_of(kernel) for name in (view.name, view.indices) if name is not None]
        if isinstance(kernel, MatMulKernel):
            names += [term.weights.name for term in kernel.terms if isinstance(term.weights, Factor)]
        return names + ([kernel.target.indices] if kernel.target.indices is not None else [])

    def _to_vxm(self, kernel: Kernel) -> int:
        """From a word in SRAM, or the rows of a product in SRAM, to the first ALU."""
        read = self.timing.latency(BY_MNEMONIC["read"], self._read[0])
        out = _after(read.func) - _after(read.skew)
        if not isinstance(kernel, MatMulKernel):
            turned = [view for view in views_of(kernel) if view.rotate]
            return out + self._hops(self._read) + (self._turn() if turned else 0)
        array = self.timing.latency(BY_MNEMONIC["abc"], self._acts)
        sums = self.timing.latency(BY_MNEMONIC["acc_set_out"], self._accs)
        there = min(abs(self._acts.hop - queue.hop) for queue in self._read)
        back = abs(self._accs.hop - self._chip.vxm_hop)
        return out + there + _after(array.state) - _after(array.skew) + _after(sums.func) - _after(sums.skew) + back

    def _turn(self) -> int:
        queue = self._chip.of_kind(QueueKind.SXM_SHIFT)[-1]
        turn = self.timing.latency(BY_MNEMONIC["rotate"], queue)
        return _after(turn.func) - _after(turn.skew) + 2 * min(abs(queue.hop - read.hop) for read in self._read)

    def _through_vxm(self, steps: tuple[Step, ...], before: int) -> int:
        chain = map_chain(steps, self.config)
        if chain is None:
            raise InternalCompilerError(f"no way through the VXM for {', '.join(step.mnemonic for step in steps)}")
        last = self.timing.latency(BY_MNEMONIC["pass"], self._alus[chain[-1].alu])
        write = self.timing.latency(BY_MNEMONIC["write"], self._write[0])
        depths = sum(self.timing.alu_depth[place.alu] for place in chain)
        leaves = _after(last.func) - _after(last.state)
        return before + depths + leaves + self._hops(self._write) + _after(write.state) - _after(write.skew)

    def _hops(self, queues: tuple[Queue, ...]) -> int:
        return min(abs(queue.hop - self._chip.vxm_hop) for queue in queues)


def _after(cycles: int | None) -> int:
    if cycles is None:
        raise InternalCompilerError("the timing table lacks a latency")
    return cycles
