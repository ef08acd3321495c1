# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Language models as programs: one token a run, for contexts up to a length that the program is made for."""

from __future__ import annotations

from collections.abc import Callable

from openlpu.arch.config import GROUP, ChipConfig
from openlpu.arch.program import Program
from openlpu.arch.system import SystemConfig
from openlpu.compiler.errors import CompileError
from openlpu.compiler.kernel_bounds import kernel_bounds
from openlpu.compiler.kernels import KernelGraph, MatMulKernel
from openlpu.compiler.pipeline import compile_kernels, kernel_ports
from openlpu.compiler.system_pipeline import CompiledSystem, compile_system
from openlpu.llm.checkpoint import LlamaShape
from openlpu.llm.decode import decoding, layer_decoding
from openlpu.llm.gpt import QuantisedGpt
from openlpu.llm.gpt_decode import gpt_decoding
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
    what = f"{model.name}: weights, caches and tables for {context} positions"
    return _compiled(decoding(model, context, config).kernels, what, macs_per_token(model.shape, context), config, dump)


def compile_layer(model: QuantisedLlama, context: int, config: ChipConfig, *, dump: Dump | None = None) -> Program:
    """Compile the program of the first layer alone, for one token at any position below `context`; see
    `openlpu.llm.decode.layer_decoding`.

    Raises:
        CompileError: when the network does not suit the chip, or does not fit.
    """
    what = f"a layer of {model.name}: its weights, caches and tables for {context} positions"
    kernels = layer_decoding(model, context, config).kernels
    return _compiled(kernels, what, macs_per_layer(model.shape, context), config, dump)


def compile_llama_system(model: QuantisedLlama, context: int, system: SystemConfig) -> CompiledSystem:
    """Compile programs for all chips of a system, which together make one token from the one before, as
    `compile_llama`, and bit by bit the same.

    Raises:
        CompileError: when the network does not suit the chips, or does not fit.
    """
    kernels = decoding(model, context, system.chip).kernels
    return compile_system(kernels, system, kernel_ports, macs_per_token(model.shape, context))


def compile_layer_system(model: QuantisedLlama, context: int, system: SystemConfig) -> CompiledSystem:
    """As `compile_layer`, for all chips of a system; each ends with the whole hidden vector.

    Raises:
        CompileError: when the network does not suit the chips, or does not fit.
    """
    kernels = layer_decoding(model, context, system.chip).kernels
    return compile_system(kernels, system, kernel_ports, macs_per_layer(model.shape, context))


def _compiled(kernels: KernelGraph, what: str, macs: int, config: ChipConfig, dump: Dump | None) -> Program:
    needed, there = lasting_words(kernels, config), config.hemispheres * config.mem_slices * config.mem_words
    if needed > there:
        raise CompileError(
            f"{what} take {needed:,} words of SRAM, and config '{config.name}' has {there:,}: that would be "
            f"{-(-needed // there)} chips, and this program is for one; use more chips, a smaller network, a shorter "
            f"context or a config with more mem_words or mem_slices"
        )
    return compile_kernels(
        kernels, config, kernel_ports, kernel_bounds(kernels, config), macs, dump or (lambda _, text: None)
    )


def compile_gpt(model: QuantisedGpt, config: ChipConfig, *, dump: Dump | None = None) -> Program:
    """Compile the program of a small GPT that makes one token from the one before, at any position.

    Raises:
        CompileError: when the network does not suit the chip, or does not fit.
    """
    decoded = gpt_decoding(model, config)
    return _compiled(decoded.kernels, f"{decoded.kernels.name}: weights and caches", model.shape.macs, config, dump)


def macs_per_token(shape: LlamaShape, context: int) -> int:
    """Multiply-accumulates that a token asks for, with all positions of a context."""
    return shape.layers * macs_per_layer(shape, context) + shape.vocabulary * shape.hidden


def macs_per_layer(shape: LlamaShape, context: int) -> int:
    """Multiply-accumulates of a token in one layer."""
    heads = shape.heads + shape.kv_heads
    attention = 2 * shape.hidden * heads * shape.head_size + 2 * context * shape.heads * shape.head_size
    return attention + 3 * shape.hidden * shape.ffn


def lasting_words(kernels: KernelGraph, config: ChipConfig) -> int:
    """Words of SRAM for what is there all the time: weights, constants and states."""
    lanes = config.lanes
    tiles: set[bytes] = set()
    for kernel in kernels.kernels:
        for term in kernel.terms if isinstance(kernel, MatMulKernel) else ():
            for matrix in term.weights if isinstance(term.weights, tuple) else ():
                for down in range(0, matrix.shape[0], lanes):
                    for across in range(0, matrix.shape[1], lanes):
                        tiles.add(matrix[down : down + lanes, across : across + lanes].tobytes())
    buffers = [kernels.buffer(name) for name in (*kernels.constants, *kernels.states)]
    held = sum(b.rows * -(-b.cols // lanes) * (GROUP if b.wide else 1) for b in buffers)
    return len(tiles) * lanes + held
