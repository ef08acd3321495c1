# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""One network on several chips, as a pipeline: each has some of the layers, one after the other.

What a layer leaves for the next travels where that is on another chip, and the token that comes out goes to the chip
that looks it up. A single sequence is not written sooner than by one chip, as every token passes all of them; but each
has room for its own layers, and nothing else is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from openlpu.arch.system_program import Part
from openlpu.compiler.errors import CompileError
from openlpu.compiler.kernels import KernelGraph
from openlpu.compiler.partition import Needs, Partition, Share


def partition_stages(graph: KernelGraph, chips: int, lanes: int) -> Partition:
    """Give each of so many chips of `lanes` lanes consecutive stages of a graph (`Sharing.stages`), as many as others.

    Raises:
        CompileError: when there are fewer stages than chips.
    """
    stages = graph.sharing.stages
    if len(stages) < chips:
        raise CompileError(
            f"'{graph.name}' has {len(stages)} parts that follow one another, and there are {chips} chips: use at most "
            f"as many chips, or share out columns"
        )
    made_by = {name: number * chips // len(stages) for number, names in enumerate(stages) for name in names}
    needs = _followed(graph, made_by, made_by, chips, lanes)
    sent = [name for name in made_by if sum(name in need.wanted for need in needs) > 1]
    needs = _followed(graph, made_by, sent, chips, lanes)
    outputs = {
        port.name: (Part(chips - 1, port.name, _every(graph.buffer(view.name).rows), _every(port.shape[-1])),)
        for port, view in graph.outputs
    }
    return Partition(tuple(Share(graph, need, lanes).graph() for need in needs), outputs)


def _followed(
    graph: KernelGraph, made_by: Mapping[str, int], sent: Iterable[str], chips: int, lanes: int
) -> list[Needs]:
    """What each chip has to have to make what stages leave, if others send it these buffers."""
    owners = {name: np.full(graph.buffer(name).rows, made_by[name]) for name in sent}
    needs = [Needs(graph, owners, chip, lanes) for chip in range(chips)]
    for need in needs:
        need.follow(name for name, chip in made_by.items() if chip == need.chip)
    needs[-1].follow(view.name for _, view in graph.outputs)
    return needs


def _every(count: int) -> tuple[int, ...]:
    return tuple(range(count))
