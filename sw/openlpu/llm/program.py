# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A Llama as a program: one token a run, for contexts up to a length that the program is made for."""

from __future__ import annotations

from collections.abc import Callable

from openlpu.arch.config import ChipConfig
from openlpu.arch.program import Port, Program
from openlpu.compiler import graph as ir
from openlpu.compiler.kernel_bounds import kernel_bounds
from openlpu.compiler.kernels import BufferOperand, KernelGraph, MatMulKernel
from openlpu.compiler.pipeline import Ports, compile_kernels
from openlpu.compiler.place import Placement
from openlpu.llm.checkpoint import LlamaShape
from openlpu.llm.decode import decoding
from openlpu.llm.quantise import QuantisedLlama

Dump = Callable[[str, Callable[[], str]], None]


def context_for(shape: LlamaShape, tokens: int, config: ChipConfig) -> int:
    """The shortest context that a program is made for and that holds so many tokens: whole vectors, doubled until they
    do, or all that the network knows."""
    length = config.lanes
    while length < min(tokens, shape.context):
        length *= 2
    return min(length, -(-shape.context // config.lanes) * config.lanes)


def compile_llama(model: QuantisedLlama, context: int, config: ChipConfig, *, dump: Dump | None = None) -> Program:
    """Compile the program that makes one token from the one before, at any position below `context`.

    Raises:
        CompileError: when the network does not suit the chip, or does not fit.
    """
    kernels = decoding(model, context, config).kernels
    macs = sum(
        kernel.target.count(kernels.buffer(kernel.output)) * matrix.size
        for kernel in kernels.kernels
        if isinstance(kernel, MatMulKernel)
        for term in kernel.terms
        if isinstance(term.weights, tuple)
        for matrix in term.weights
    )
    return compile_kernels(
        kernels, config, _ports, kernel_bounds(kernels, config), macs, dump or (lambda name, text: None)
    )


def _ports(kernels: KernelGraph, placement: Placement) -> Ports:
    def placed(port: ir.Port, view: BufferOperand) -> Port:
        buffer = kernels.buffer(view.name)
        return Port(
            name=port.name,
            shape=port.shape,
            rows=buffer.rows,
            cols=port.shape[-1],
            columns=placement.buffers[view.name],
            dtype=port.dtype,
            stored=port.dtype,
        )

    return Ports(
        tuple(placed(port, BufferOperand(name)) for port, name in kernels.inputs),
        tuple(placed(port, view) for port, view in kernels.outputs),
    )
