# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""When the buffers of a graph are needed: for the last time, and before all else."""

from __future__ import annotations

from collections.abc import Container

from openlpu.compiler.kernels import KernelGraph, MatMulKernel, views_of


class Lifetimes:
    """When the buffers of a graph are needed for the last time."""

    def __init__(self, graph: KernelGraph) -> None:
        self._first_write: dict[str, int] = {}
        self._last_use: dict[str, int] = {}
        for number, kernel in enumerate(graph.kernels):
            self._first_write.setdefault(kernel.output, number)
            for name in (kernel.output, *(view.name for view in views_of(kernel))):
                self._last_use[name] = number
        # What is there before the program or after it, or lies as weights do, is nobody else's.
        lasting = {name for _, name in graph.inputs} | {view.name for _, view in graph.outputs}
        lasting |= {*graph.constants, *graph.states, *graph.factors, *graph.indexed, *graph.indexed.values()}
        lasting |= {*graph.scattered.values()}
        self._passing = {name for name in self._last_use if name not in lasting}

    def over(self, buffer: str, placed: Container[str]) -> list[str]:
        """Of the buffers `placed`, each told once: those that nothing needs any more when `buffer` is written first."""
        now = self._first_write.get(buffer, 0)
        done = [name for name in sorted(self._passing) if name in placed and self._last_use[name] < now]
        self._passing.difference_update(done)
        return done


def read_first(graph: KernelGraph) -> set[str]:
    """The inputs of which something is made that no product comes before."""
    behind: set[str] = set()
    read: set[str] = set()
    for kernel in graph.kernels:
        names = {view.name for view in views_of(kernel)}
        if isinstance(kernel, MatMulKernel) or not names.isdisjoint(behind):
            behind.add(kernel.output)
        else:
            read |= names
    return read.intersection(name for _, name in graph.inputs).difference(graph.states)
