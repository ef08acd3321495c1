# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Where the cycles of a token go, part by part, and what each part cannot do without."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from openlpu.arch.config import ChipConfig
from openlpu.compiler.kernel_bounds import chain_ends
from openlpu.compiler.kernel_work import tile_cycles
from openlpu.compiler.kernels import MatMulKernel
from openlpu.compiler.place import Placement
from openlpu.compiler.schedule import schedule
from openlpu.llm.decode import decoding
from openlpu.llm.quantise import QuantisedLlama


@dataclass(frozen=True)
class Part:
    """Consecutive kernels of a token."""

    name: str
    ends: int
    """The cycle from which on its results are there."""
    cycles: int
    """By so much the program is longer for it: from the end of all before it to its own."""
    chain: int
    """The same for a chip where nothing waits but for the data that it needs, and for weights."""
    weights: int
    """Cycles for which it keeps the weight streams busy."""

    @property
    def bound(self) -> str:
        """What limits it: the weights that it streams, or the way of its data."""
        return "weights" if self.weights > self.chain else "chain"


def breakdown(model: QuantisedLlama, context: int, config: ChipConfig) -> list[Part]:
    """The parts of a token, in order.

    Raises:
        CompileError: see `openlpu.llm.program.compile_llama`.
    """
    decoded = decoding(model, context, config)
    graph = decoded.kernels
    graph.verify()
    finished = schedule(graph, Placement(graph, config), config).finished
    rows = zip(decoded.parts, graph.kernels, finished, chain_ends(graph, config), strict=True)
    parts: list[Part] = []
    ended = earliest = 0
    for name, members in itertools.groupby(rows, key=lambda row: row[0]):
        kernels = list(members)
        ends = max(ended, *(end for _, _, end, _ in kernels))
        chain = max(earliest, *(end for *_, end in kernels))
        weights = sum(
            tile_cycles(graph, kernel, config) for _, kernel, *_ in kernels if isinstance(kernel, MatMulKernel)
        )
        parts.append(Part(name, ends, ends - ended, chain - earliest, weights))
        ended, earliest = ends, chain
    return parts
