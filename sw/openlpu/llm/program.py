# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Language models as programs: one token a run, for contexts up to a length that the program is made for.

Several programs may take turns on one chip: each has its text, and all have the same weights and caches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from openlpu.arch.config import GROUP, ChipConfig
from openlpu.arch.program import Program
from openlpu.arch.system import SystemConfig
from openlpu.compiler.errors import CompileError
from openlpu.compiler.kernel_bounds import kernel_bounds
from openlpu.compiler.kernels import KernelGraph, MatMulKernel
from openlpu.compiler.lasting import Lasting
from openlpu.compiler.partition import partition
from openlpu.compiler.pipeline import compile_beside, kernel_ports
from openlpu.compiler.system_pipeline import CompiledSystem, Dealing, compile_kernels_system
from openlpu.llm.checkpoint import LlamaShape
from openlpu.llm.decode import decoding, layer_decoding
from openlpu.llm.gpt import QuantisedGpt
from openlpu.llm.gpt_decode import gpt_decoding
from openlpu.llm.quantise import QuantisedLlama
from openlpu.llm.reading import reading as reading_kernels

_QUARTERS = 4
"""How much longer one context is than the next shorter one. Twice would gain 2 % of the example's cycles, and take more
than half as long again to compile."""

Dump = Callable[[str, Callable[[], str]], None]


def context_for(shape: LlamaShape, tokens: int, config: ChipConfig) -> int:
    """The shortest context that a program is made for and that holds so many tokens: whole vectors, doubled until they
    do, or all that the network knows."""
    length = config.lanes
    while length < min(tokens, shape.context):
        length *= 2
    return min(length, -(-shape.context // config.lanes) * config.lanes)


def contexts_for(shape: LlamaShape, first: int, tokens: int, config: ChipConfig) -> list[int]:
    """The contexts of programs that take turns, for positions from `first` to `tokens` - 1, in order: quarters of the
    shortest that holds them all, from the first on that holds `first`, and itself."""
    contexts = [context_for(shape, tokens, config)]
    while (quarter := contexts[-1] // _QUARTERS) >= config.lanes and quarter > first and quarter % config.lanes == 0:
        contexts.append(quarter)
    return contexts[::-1]


def compile_llama(model: QuantisedLlama, context: int, config: ChipConfig, *, dump: Dump | None = None) -> Program:
    """Compile the program that makes one token from the one before, at any position below `context`.

    Raises:
        CompileError: when the network does not suit the chip, or does not fit.
    """
    return compile_turns(model, [context], config, dump=dump).writing[0].program


class ForContext(NamedTuple):
    """A program for positions 0 to `context` - 1."""

    context: int
    program: Program


class ForPrompt(NamedTuple):
    """A program that reads a block of so many tokens, at positions below `context`."""

    context: int
    tokens: int
    program: Program


@dataclass(frozen=True)
class Turns:
    """Programs of one network that take turns on a chip, over the same weights, caches and list of tokens."""

    writing: tuple[ForContext, ...]
    """They make a token from the one before; the shortest context first."""
    reading: ForPrompt | None = None

    @property
    def first(self) -> Program:
        """The program that a sequence begins with."""
        return self.writing[0].program


def compile_turns(
    model: QuantisedLlama,
    contexts: Sequence[int],
    config: ChipConfig,
    *,
    prompt: int = 0,
    dump: Dump | None = None,
) -> Turns:
    """Compile programs that make a token from the one before, for each of some contexts, and one that reads blocks of
    a prompt at positions below `prompt`, unless that is 0. All know as many positions as the longest context.

    Where no block of a prompt fits on the chip, there is no such program.

    Raises:
        CompileError: when the network does not suit the chip, or does not fit.
    """
    longest, *shorter = sorted({*contexts}, reverse=True)
    lasting, writing = Lasting(), []
    what = f"{model.name}: weights, caches and tables for {longest} positions"
    reading = None
    for context in (longest, *shorter):
        kernels = decoding(model, context, config, capacity=longest).kernels
        macs = macs_per_token(model.shape, context)
        program, lasting = _compiled_beside(lasting, kernels, what, macs, config, dump)
        writing.append(ForContext(context, program))
        if context == longest and prompt:
            reading, lasting = _compiled_reading(lasting, model, prompt, longest, config, dump)
    return Turns(tuple(reversed(writing)), reading)


def _compiled_reading(
    lasting: Lasting, model: QuantisedLlama, context: int, capacity: int, config: ChipConfig, dump: Dump | None
) -> tuple[ForPrompt | None, Lasting]:
    """The program for the largest block of a prompt that fits."""
    for tokens in block_sizes(model.shape, config):
        kernels = reading_kernels(model, context, tokens, config, capacity=capacity).kernels
        macs = tokens * macs_per_prompt_token(model.shape, context)
        what = f"{model.name}: blocks of {tokens} tokens"
        with contextlib.suppress(CompileError):
            program, beside = _compiled_beside(lasting, kernels, what, macs, config, dump)
            return ForPrompt(context, tokens, program), beside
    return None, lasting


def block_sizes(shape: LlamaShape, config: ChipConfig) -> list[int]:
    """Of how many tokens the blocks of a prompt may be, the best first: most of those for which a hidden vector of all
    fits in the activation buffers."""
    sizes = [size for size in (16, 8, 4, 2) if config.lanes % size == 0]
    fits = [size for size in sizes if size * -(-shape.hidden // config.lanes) <= config.act_depth]
    return fits or sizes[-1:]


def compile_layer(model: QuantisedLlama, context: int, config: ChipConfig, *, dump: Dump | None = None) -> Program:
    """Compile the program of the first layer alone, for one token at any position below `context`; see
    `openlpu.llm.decode.layer_decoding`.

    Raises:
        CompileError: when the network does not suit the chip, or does not fit.
    """
    what = f"a layer of {model.name}: its weights, caches and tables for {context} positions"
    kernels = layer_decoding(model, context, config).kernels
    return _compiled(kernels, what, macs_per_layer(model.shape, context), config, dump)


def compile_llama_system(
    model: QuantisedLlama, context: int, system: SystemConfig, dealing: Dealing = partition
) -> CompiledSystem:
    """Compile programs for all chips of a system, which together make one token from the one before, as
    `compile_llama`, and bit by bit the same. They share heads and columns of every layer, or, by `partition_stages`,
    the layers.

    Raises:
        CompileError: when the network does not suit the chips, does not fit, or has fewer layers than there are chips.
    """
    kernels = decoding(model, context, system.chip, shared=True).kernels
    return compile_kernels_system(kernels, system, macs_per_token(model.shape, context), dealing)


def compile_layer_system(model: QuantisedLlama, context: int, system: SystemConfig) -> CompiledSystem:
    """As `compile_layer`, for all chips of a system; each ends with the whole hidden vector.

    Raises:
        CompileError: when the network does not suit the chips, or does not fit.
    """
    kernels = layer_decoding(model, context, system.chip, shared=True).kernels
    return compile_kernels_system(kernels, system, macs_per_layer(model.shape, context))


def _compiled(kernels: KernelGraph, what: str, macs: int, config: ChipConfig, dump: Dump | None) -> Program:
    return _compiled_beside(Lasting(), kernels, what, macs, config, dump)[0]


def _compiled_beside(
    lasting: Lasting, kernels: KernelGraph, what: str, macs: int, config: ChipConfig, dump: Dump | None
) -> tuple[Program, Lasting]:
    needed, there = lasting_words(kernels, config), config.hemispheres * config.mem_slices * config.mem_words
    if needed > there:
        raise CompileError(
            f"{what} take {needed:,} words of SRAM, and config '{config.name}' has {there:,}: that would be "
            f"{-(-needed // there)} chips, and this program is for one; use more chips, a smaller network, a shorter "
            f"context or a config with more mem_words or mem_slices"
        )
    bounds = kernel_bounds(kernels, config)
    return compile_beside(lasting, kernels, config, kernel_ports, bounds, macs, dump or (lambda _, text: None))


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


def macs_per_prompt_token(shape: LlamaShape, context: int) -> int:
    """Multiply-accumulates that a token of a prompt asks for: of the last layer its key and value alone."""
    return (shape.layers - 1) * macs_per_layer(shape, context) + 2 * shape.hidden * shape.kv_heads * shape.head_size


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
