# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Scheduling: kernels become instructions at exact cycles.

Kernels are taken in order, and everything they do departs as early as data and free resources allow. The output columns
of a product are dealt out to the planes of the chip. What departs is divided by what it carries: rows of vector kernels
(`openlpu.compiler.vector_rows`), weights (`weight_loads`), rows that meet them (`product_rows`), and whole products
(`products`), each module on top of the one before.
"""

from __future__ import annotations

from dataclasses import dataclass

from openlpu.arch.config import ChipConfig
from openlpu.compiler.kernels import KernelGraph, MatMulKernel, VectorKernel
from openlpu.compiler.place import Placement
from openlpu.compiler.products import ProductDepartures
from openlpu.compiler.timeline import Ride, Run


@dataclass(frozen=True)
class Schedule:
    """What every queue does when."""

    dispatches: dict[str, list[Run]]
    """Of each queue by name, in order of cycles."""
    rides: tuple[tuple[Ride, int, int], ...]
    """Every vector that travels, and whom it is meant for: a ride, how often, and how many cycles apart.
    `openlpu.compiler.meetings` holds the program to it."""
    cycles: int
    """Length of the program."""
    finished: tuple[int, ...]
    """Of each kernel: the cycle from which on all that it writes may be read."""


def schedule(graph: KernelGraph, placement: Placement, config: ChipConfig) -> Schedule:
    """Give every instruction its cycle.

    Raises:
        CompileError: when the chip has too few streams or ALU paths for a kernel, by name.
    """
    scheduler = Scheduler(graph, placement, config)
    scheduler.begin()
    for number in range(len(graph.kernels)):
        scheduler.follow(number)
    return scheduler.scheduled()


class Scheduler(ProductDepartures):
    """Departures of all kernels in order."""

    def __init__(self, graph: KernelGraph, placement: Placement, config: ChipConfig) -> None:
        super().__init__(graph, placement, config)
        self.finished: list[int] = []

    def begin(self) -> None:
        """Load the first tile of every plane."""
        for plane in self.planes:
            self.load_next(plane)

    def follow(self, number: int) -> None:
        """Schedule the next kernel, the one with this number; of one that gathers, all has come already."""
        kernel = self.graph.kernels[number]
        match kernel:
            case MatMulKernel() if self.tiles.replays(number, kernel):
                self.replay(number, kernel)
                self.forget(number, kernel)
            case MatMulKernel():
                self.stream(number, kernel)
            case VectorKernel():
                self.vectors(number, kernel)
        self.computed.add(kernel.output)
        columns = range(self.tiles.columns(kernel.output))
        self.finished.append(max(int(self.ready[kernel.output, column].max()) for column in columns))

    def scheduled(self) -> Schedule:
        """All kernels so far."""
        dispatches = {name: sorted(runs, key=lambda run: run.cycle) for name, runs in self.dispatches.items()}
        return Schedule(dispatches, tuple(self.rides), self.end, tuple(self.finished))
