# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Placement: every buffer, constant and weight tile gets its words of SRAM.

One rule serves chips with full and with own reach: slice i of a hemisphere speaks on stream i modulo S, its *own*
stream (see `docs/decisions/0006-canonical-placement.md`). Words are handed out once and never reused, the emptiest
slice first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from openlpu.arch.config import GROUP, ChipConfig, Reach
from openlpu.arch.geometry import QueueKind, geometry
from openlpu.arch.program import Column, Vector
from openlpu.compiler.errors import CompileError
from openlpu.compiler.kernels import Buffer, KernelGraph, LaneConstants, MatMulKernel


class Placement:
    """Where everything lies in the MEM slices of the eastern hemisphere.

    Raises:
        CompileError: when the SRAM is too small, or the chip has no slices that reach the weight streams together.
    """

    def __init__(self, graph: KernelGraph, config: ChipConfig) -> None:
        self.config = config
        self.plane = geometry(config).of_kind(QueueKind.MXM_ACTS)[-config.mxm_planes].index
        """The plane that computes: the first of the eastern hemisphere."""
        first = (config.hemispheres - 1) * config.mem_slices
        self._slices = range(first, first + config.mem_slices)
        self._used = dict.fromkeys(self._slices, 0)
        self.image: dict[tuple[int, int], Vector] = {}
        self.weight_slices = self._weight_slices()
        """For each weight stream of the plane, the slice that feeds it."""
        self.buffers: dict[str, tuple[Column, ...]] = {}
        """The columns of each buffer."""
        self.weights: dict[tuple[str, int], int] = {}
        """By kernel output and tile number: the first address, the same in every weight slice."""
        self.constants: dict[tuple[str, int], Column] = {}
        """By name and column number: one row of 32-bit constants."""
        for kernel in graph.kernels:
            if isinstance(kernel, MatMulKernel):
                self._place_weights(kernel)
        for buffer in graph.buffers:
            self._place_buffer(buffer)
        for kernel in graph.kernels:
            for step in kernel.chain:
                if isinstance(step.y, LaneConstants):
                    # Constants are read with every row of the last input column: better not from its slice.
                    self._place_constants(step.y, avoid=self.buffers[kernel.input][-1])

    def own_stream(self, mem_slice: int) -> int:
        """The index of the stream that a slice speaks on."""
        return (mem_slice - self._slices.start) % self.config.streams

    def __str__(self) -> str:
        lines = [f"placement, {max(self._used.values())} of {self.config.mem_words} words in the fullest slice"]
        for name, columns in self.buffers.items():
            lines += [f"  %{name} column {i}: slices {list(c.slices)} from {c.base}" for i, c in enumerate(columns)]
        lines += [
            f"  {name} column {i}: slices {list(c.slices)} at {c.base}" for (name, i), c in self.constants.items()
        ]
        lines += [f"  weights of %{name} tile {i}: from {base}" for (name, i), base in self.weights.items()]
        return "\n".join(lines) + "\n"

    def _weight_slices(self) -> tuple[int, ...]:
        base = geometry(self.config).weight_stream_base(self.plane)
        chosen: list[int] = []
        for stream in range(base, base + self.config.weight_streams):
            own = [s for s in self._slices if s not in chosen and self.own_stream(s) == stream]
            anyone = [s for s in self._slices if s not in chosen and self.config.mem_reach is Reach.FULL]
            if not own + anyone:
                raise CompileError(
                    f"config '{self.config.name}': no MEM slice is left to feed weight stream {stream}; "
                    f"use fewer weight_streams or more mem_slices"
                )
            chosen.append((own + anyone)[0])
        return tuple(chosen)

    def _allocate(self, slices: Sequence[int], words: int, what: str) -> int:
        """`words` words at one address in all of `slices`."""
        base = self._fullest(slices)
        if base + words > self.config.mem_words:
            raise CompileError(
                f"no room in SRAM for {what}: it takes words {base}..{base + words - 1} of MEM slices "
                f"{slices[0]}..{slices[-1]}, config '{self.config.name}' has {self.config.mem_words} words a slice; "
                f"use a smaller network or a config with more mem_words or mem_slices"
            )
        for s in slices:
            self._used[s] = base + words
        return base

    def _fullest(self, slices: Sequence[int]) -> int:
        return max(self._used[s] for s in slices)

    def _groups(self, what: str) -> list[tuple[int, ...]]:
        """The aligned groups of slices that hold 32-bit elements."""
        end = self._slices.start + self.config.mem_slices - GROUP + 1
        groups = [tuple(range(s, s + GROUP)) for s in range(self._slices.start, end, GROUP)]
        if not groups:
            raise CompileError(
                f"{what} is 32 bits wide and needs {GROUP} MEM slices; config '{self.config.name}' has fewer"
            )
        return groups

    def _place_buffer(self, buffer: Buffer) -> None:
        count = -(-buffer.cols // self.config.lanes)
        what = f"'{buffer.name}' ({buffer.rows} x {buffer.cols})"
        homes = self._groups(what) if buffer.wide else [(mem_slice,) for mem_slice in self._slices]
        columns = []
        for _ in range(count):
            slices = min(homes, key=self._fullest)
            columns.append(Column(slices, self._allocate(slices, buffer.rows, what)))
        self.buffers[buffer.name] = tuple(columns)

    def _place_constants(self, constants: LaneConstants, avoid: Column) -> None:
        lanes = self.config.lanes
        count = -(-len(constants.values) // lanes)
        padded = np.zeros(count * lanes, np.int32)
        padded[: len(constants.values)] = constants.values
        groups = self._groups(f"'{constants.name}'")
        for i, row in enumerate(padded.reshape(count, lanes)):
            slices = min(groups, key=lambda group: (bool({*group} & {*avoid.slices}), self._fullest(group)))
            column = Column(slices, self._allocate(slices, 1, f"'{constants.name}'"))
            self.constants[constants.name, i] = column
            planes = row.astype("<i4").view(np.int8).reshape(lanes, GROUP)
            for plane, mem_slice in enumerate(column.slices):
                self.image[mem_slice, column.base] = planes[:, plane].copy()

    def _place_weights(self, kernel: MatMulKernel) -> None:
        width, what = self.config.weight_streams, f"the weights of '{kernel.output}'"
        groups = self.config.lanes // width
        for number, tile in enumerate(weight_tiles(kernel, self.config.lanes)):
            base = self._allocate(self.weight_slices, groups, what)
            self.weights[kernel.output, number] = base
            for row, vector in enumerate(tile):
                self.image[self.weight_slices[row % width], base + row // width] = vector.copy()


def weight_tiles(kernel: MatMulKernel, lanes: int) -> Iterator[npt.NDArray[np.int8]]:
    """The L x L tiles of a kernel's weights, zero-padded, by output column, then matrix, then input column."""
    padded = []
    for weights in kernel.weights:
        k, n = (-(-size // lanes) * lanes for size in weights.shape)
        padded.append(np.zeros((k, n), np.int8))
        padded[-1][: weights.shape[0], : weights.shape[1]] = weights
    for n0 in range(0, padded[0].shape[1], lanes):
        for matrix in padded:
            for k0 in range(0, matrix.shape[0], lanes):
                yield matrix[k0 : k0 + lanes, n0 : n0 + lanes]
