# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What kernels ask of the units of a chip that are few: weight streams, and units for special functions."""

from __future__ import annotations

from openlpu.arch.config import ChipConfig, OpClass
from openlpu.arch.isa import BY_MNEMONIC
from openlpu.compiler.kernels import Factor, KernelGraph, MatMulKernel


def tile_cycles(graph: KernelGraph, kernel: MatMulKernel, config: ChipConfig) -> int:
    """Cycles for which the weights of a kernel keep the weight streams of one plane busy, if it has all of them; equal
    tiles come once."""
    return len(tiles_of(graph, kernel, config)) * config.lanes // config.weight_streams


def tiles_of(graph: KernelGraph, kernel: MatMulKernel, config: ChipConfig) -> set[tuple[int, object]]:
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


def special_cycles(graph: KernelGraph, config: ChipConfig) -> int:
    """Cycles for which all special functions keep their units busy, if these share them evenly."""
    cycles = 0
    for kernel in graph.kernels:
        output = graph.buffer(kernel.output)
        vectors = kernel.target.count(output) * -(-kernel.target.cols(output) // config.lanes)
        specials = sum(BY_MNEMONIC[step.mnemonic].op_class is OpClass.SPECIAL for step in kernel.chain)
        cycles += vectors * specials * config.special_turns
    return -(-cycles // special_units(config))


def special_units(config: ChipConfig) -> int:
    """ALUs that have special functions; 1 if there are none, as what asks for them is refused elsewhere."""
    return max(sum(OpClass.SPECIAL in alu.classes for alu in config.alus), 1)
