# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""`lpu bench`: workloads of any size, compiled, run, compared byte by byte, and timed."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from openlpu.arch.config import ChipConfig
from openlpu.arch.presets import find_config
from openlpu.arch.program import Program
from openlpu.arch.system import SystemConfig
from openlpu.arch.timing import timing
from openlpu.cli import figures
from openlpu.cli.errors import RunFailure, UserError
from openlpu.cli.programs import print_summary
from openlpu.cli.running import backend_option, facts, measured, open_backend, run_on
from openlpu.cli.system_benching import measure_system
from openlpu.cli.targets import chips_option, find_system
from openlpu.cli.terminal import json_option, print_json, working
from openlpu.compiler.graph import Graph, Port
from openlpu.compiler.kernel_reference import KernelReference
from openlpu.compiler.pipeline import compile_graph
from openlpu.compiler.reference import evaluate
from openlpu.compiler.system_pipeline import compile_graph_system
from openlpu.compiler.workloads import feed_forward, gemm, lstm_step
from openlpu.llm.gpt import GptShape, quantise_gpt, random_gpt, random_texts
from openlpu.llm.gpt_decode import chosen, gpt_decoding, gpt_inputs
from openlpu.llm.program import compile_gpt, compile_layer, compile_layer_system
from openlpu.llm.quantise import quantise
from openlpu.llm.token_writer import HISTORY
from openlpu.llm.workloads import layer_inputs, layer_reference, random_layer, random_text
from openlpu.runtime.driver import RunResult

_SIZE = click.IntRange(min=1)
_POSITIONS = 3
"""At which a layer is run, and at the last one."""
_Arrays = Mapping[str, NDArray[Any]]


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """What every workload takes."""
    config = click.option(
        "--config", default="ulx3s", show_default=True, help="The chip: a preset, or a .toml or .json file."
    )
    seed = click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of weights and inputs."
    )
    return config(seed(backend_option(json_option(command))))


@click.group()
def bench() -> None:
    """Compile and run a workload, and compare every byte with the graph's own meaning in numpy."""


@bench.command("gemm")
@click.option("--m", type=_SIZE, default=64, show_default=True, help="Rows of the input.")
@click.option("--k", type=_SIZE, default=64, show_default=True, help="Columns of the input.")
@click.option("--n", type=_SIZE, default=64, show_default=True, help="Columns of the output.")
@_options
def gemm_command(m: int, k: int, n: int, config: str, seed: int, backend: str, as_json: bool) -> None:
    """An int8 matrix product, requantised to int8."""
    chip = find_config(config)
    _require_room(chip, f"{m} x {k} x {n}", m * k + k * n + m * n)
    _bench(gemm(m, k, n, seed), chip, seed, backend, as_json)


@bench.command("gemv")
@click.option("--m", type=_SIZE, default=1, show_default=True, help="Rows of the input.")
@click.option("--k", type=_SIZE, default=64, show_default=True, help="Columns of the input.")
@click.option("--n", type=_SIZE, default=64, show_default=True, help="Columns of the output.")
@_options
@click.pass_context
def gemv_command(context: click.Context, /, **options: Any) -> None:
    """As gemm, of one row."""
    context.invoke(gemm_command, **options)


@bench.command("lstm")
@click.option("--hidden", type=_SIZE, default=64, show_default=True, help="Hidden units, and as many inputs.")
@click.option("--batch", type=_SIZE, default=1, show_default=True, help="Rows of the input.")
@_options
def lstm_command(hidden: int, batch: int, config: str, seed: int, backend: str, as_json: bool) -> None:
    """A step of an LSTM layer: int8 products, the rest in fp32."""
    chip = find_config(config)
    _require_room(chip, f"an LSTM of {hidden}", 8 * hidden * hidden + 31 * batch * hidden)
    _bench(lstm_step(hidden, batch, seed), chip, seed, backend, as_json)


@bench.command("ffn")
@click.option("--m", type=_SIZE, default=1, show_default=True, help="Rows of the input.")
@click.option("--hidden", type=_SIZE, default=64, show_default=True, help="Columns of input and output.")
@click.option("--ffn", type=_SIZE, default=160, show_default=True, help="Columns between them.")
@chips_option
@_options
def ffn_command(
    m: int, hidden: int, ffn: int, chips: int | None, config: str, seed: int, backend: str, as_json: bool
) -> None:
    """The feed-forward part of a Llama (SwiGLU): int8 products, a scale for each output, the rest in fp32."""
    if chips is not None:
        system, graph = find_system(config, chips), feed_forward(m, hidden, ffn, seed)
        _bench_system(graph, system, find_config(config), seed, backend, as_json)
        return
    chip = find_config(config)
    _require_room(
        chip, f"a feed-forward part of {m} x {hidden} x {ffn}", 3 * hidden * ffn + m * (5 * hidden + 13 * ffn)
    )
    _bench(feed_forward(m, hidden, ffn, seed), chip, seed, backend, as_json)


@bench.command("gpt")
@_options
def gpt_command(config: str, seed: int, backend: str, as_json: bool) -> None:
    """A small GPT (a block of width 24, 27 tokens) that writes as many tokens as its context has, in one run."""
    chip, shape = find_config(config), GptShape()
    with working(f"compiling a GPT for {chip.name}", as_json=as_json):
        model = quantise_gpt(random_gpt(shape, seed), random_texts(shape, seed))
        program = compile_gpt(model, chip)
        reference = KernelReference(gpt_decoding(model, chip).kernels, chip)
    expected = reference.run(gpt_inputs(0, 0))
    for position in range(1, shape.context):
        expected = reference.run(gpt_inputs(chosen(expected[HISTORY][position - 1]), position))
    with working(f"preparing {backend} for {chip.name}", as_json=as_json):
        device = open_backend(backend, chip)
    with device, working(f"running {program.name} on {backend}", as_json=as_json):
        device.load(program)
        start = time.perf_counter()
        result = run_on(device, gpt_inputs(0, 0), shape.context)
        seconds = time.perf_counter() - start
    found = result.outputs[HISTORY]
    mismatches = int(np.count_nonzero(found != expected[HISTORY][:, : found.shape[1]]))
    each = program.cycles + timing(chip).rerun
    if as_json:
        more = {"cycles_per_token": each, "tokens": shape.context, "backend": backend, "mismatches": mismatches}
        print_json({**measured(program, result, seconds, shape.context), **more})
    else:
        per_token = f"{each:,}, with {timing(chip).rerun} between two runs"
        more_facts = [("cycles / token, all in", per_token), *facts(backend, result, seconds)]
        print_summary(program, [*more_facts, ("tokens", shape.context), ("mismatches", mismatches)])
    if mismatches:
        raise RunFailure(f"{program.name}: {mismatches} wrong tokens on {backend} (seed {seed})")


@bench.command("layer")
@click.option("--hidden", type=_SIZE, default=576, show_default=True, help="Elements of the hidden vector.")
@click.option("--heads", type=_SIZE, default=9, show_default=True, help="Heads of queries.")
@click.option("--kv-heads", type=_SIZE, default=3, show_default=True, help="Heads of keys and values.")
@click.option("--head-size", type=_SIZE, default=64, show_default=True, help="Elements of a head.")
@click.option("--ffn", type=_SIZE, default=1536, show_default=True, help="Elements inside the feed-forward part.")
@click.option("--context", type=_SIZE, default=128, show_default=True, help="Positions that it attends to.")
@chips_option
@_options
def layer_command(chips: int | None, config: str, seed: int, backend: str, as_json: bool, **sizes: int) -> None:
    """One token in one layer of a Llama, SmolLM2-135M's unless sizes are given: int8 products, caches in SRAM, the rest
    in fp32. It runs at a few positions, each with what the ones before have left in the caches."""
    chip, context = find_config(config), sizes["context"]
    products = sizes["hidden"] * (2 * (sizes["heads"] + sizes["kv_heads"]) * sizes["head_size"] + 3 * sizes["ffn"])
    _require_room(chip, "a layer", products + 2 * context * sizes["kv_heads"] * sizes["head_size"])
    try:
        checkpoint = random_layer(**sizes, seed=seed)
    except ValueError as error:
        raise UserError(str(error)) from None
    model = quantise(checkpoint, [random_text(checkpoint, seed + 1)])
    positions = sorted({*range(min(_POSITIONS, context)), context - 1})
    runs = [layer_inputs(checkpoint, position, chip) for position in positions]
    compiled = functools.partial(compile_layer, model, context, chip)
    if chips is not None:
        system, reference = find_system(config, chips), layer_reference(model, context, chip)
        dealt = functools.partial(compile_layer_system, model, context, system)
        measure_system(checkpoint.name, system, dealt, compiled, runs, reference, backend, as_json)
        return
    _measure(checkpoint.name, compiled, runs, layer_reference(model, context, chip), seed, backend, as_json)


def _bench(graph: Graph, chip: ChipConfig, seed: int, backend: str, as_json: bool) -> None:
    random = np.random.default_rng(seed + 1)
    inputs = {port.name: _noise(port, random) for port in graph.inputs}
    compiled = functools.partial(compile_graph, graph, chip)
    _measure(graph.name, compiled, [inputs], lambda inputs: evaluate(graph, inputs), seed, backend, as_json)


def _bench_system(graph: Graph, system: SystemConfig, chip: ChipConfig, seed: int, backend: str, as_json: bool) -> None:
    """As `_bench`, on several chips; they are compared with one."""
    random = np.random.default_rng(seed + 1)
    inputs = {port.name: _noise(port, random) for port in graph.inputs}
    dealt = functools.partial(compile_graph_system, graph, system)
    alone = functools.partial(compile_graph, graph, chip)
    measure_system(graph.name, system, dealt, alone, [inputs], lambda inputs: evaluate(graph, inputs), backend, as_json)


def _measure(
    name: str,
    compiled: Callable[..., Program],
    runs: Sequence[_Arrays],
    meaning: Callable[[_Arrays], _Arrays],
    seed: int,
    backend: str,
    as_json: bool,
) -> None:
    """Compile a workload, run it on inputs one after the other, and compare with what they should become."""
    clock = _PassClock()
    with working(f"compiling {name}", as_json=as_json):
        program = compiled(dump=clock)
        seconds_to_compile = clock.total()
    results, seconds = _repeat(program, runs, backend, as_json)
    mismatches = 0
    for inputs, result in zip(runs, results, strict=True):
        expected = meaning(inputs)
        mismatches += sum(int(np.count_nonzero(result.outputs[name] != expected[name])) for name in expected)
    result = results[-1]
    if as_json:
        passes = {name: round(passed, 3) for name, passed in clock.seconds.items()}
        compiled_to = {
            "instructions": figures.instructions(program),
            "compile_seconds": round(seconds_to_compile, 3),
            "pass_seconds": passes,
        }
        print_json({**measured(program, result, seconds), **compiled_to, "backend": backend, "mismatches": mismatches})
    else:
        pace = ("scheduling", _pace(program, clock))
        total = ("compiled in", f"{seconds_to_compile:.3f} s")
        print_summary(program, [pace, total, *facts(backend, result, seconds), ("mismatches", mismatches)])
    if mismatches:
        raise RunFailure(f"{program.name}: {mismatches} wrong results on {backend} (seed {seed})")


def _noise(port: Port, random: np.random.Generator) -> NDArray[Any]:
    if port.dtype == "float32":
        return random.normal(0, 1, port.shape).astype(np.float32)
    return random.integers(-128, 128, port.shape, dtype=np.int8)


def _repeat(program: Program, runs: Sequence[_Arrays], backend: str, as_json: bool) -> tuple[list[RunResult], float]:
    """Run a program on inputs one after the other, and on the last ones again and again for half a second; the results
    of the former, and the seconds of one of the latter.

    The first run, in which the golden model proves and links the program, does not count.
    """
    with working(f"preparing {backend} for {program.config.name}", as_json=as_json):
        device = open_backend(backend, program.config)
    with device, working(f"running {program.name} on {backend}", as_json=as_json):
        device.load(program)
        results = [run_on(device, inputs) for inputs in runs]
        count, start = 0, time.perf_counter()
        while time.perf_counter() < start + 0.5:
            results[-1] = run_on(device, runs[-1])
            count += 1
        return results, (time.perf_counter() - start) / count


class _PassClock:
    """How long each pass of the compiler took; `compile_graph` calls it after each."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._begin = self._since = time.perf_counter()

    def __call__(self, name: str, text_of: Callable[[], str]) -> None:
        now = time.perf_counter()
        self.seconds[name], self._since = now - self._since, now

    def total(self) -> float:
        """Seconds so far, with what follows the last pass."""
        return time.perf_counter() - self._begin


def _pace(program: Program, clock: _PassClock) -> str:
    seconds, count = clock.seconds["schedule"], figures.instructions(program)
    return f"{count:,} instructions in {seconds:.3f} s ({count / seconds:,.0f} a second)"


def _require_room(chip: ChipConfig, what: str, need: int) -> None:
    """Refuse operands that no placement could hold, before memory is spent on them."""
    room = chip.hemispheres * chip.mem_slices * chip.mem_words * chip.lanes
    if need > room:
        raise UserError(f"{what} needs {need:,} bytes of SRAM, and {chip.name} has {room:,}: choose smaller")
