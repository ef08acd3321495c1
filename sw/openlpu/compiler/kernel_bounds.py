# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Lower bounds of kernels, as `openlpu.compiler.bounds` has them for networks that come as operators."""

from __future__ import annotations

from openlpu.arch.config import ChipConfig
from openlpu.compiler.bounds import Bounds
from openlpu.compiler.kernel_work import special_cycles, weight_cycles
from openlpu.compiler.kernels import KernelGraph
from openlpu.compiler.longest_chain import Chain


def kernel_bounds(graph: KernelGraph, config: ChipConfig) -> Bounds:
    """Both lower bounds of a kernel graph on a chip."""
    resources = {"weight streams": weight_cycles(graph, config), "special functions": special_cycles(graph, config)}
    return Bounds(resources, Chain(graph, config).length())


def chain_ends(graph: KernelGraph, config: ChipConfig) -> list[int]:
    """Of each kernel: the cycle before which nothing that it writes last can be read."""
    chain = Chain(graph, config)
    return [chain.follow(kernel) for kernel in graph.kernels]
