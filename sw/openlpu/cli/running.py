# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""`lpu run` and `lpu bench`: programs on the golden model and on the RTL."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from openlpu.arch.config import ChipConfig
from openlpu.arch.presets import find_config
from openlpu.arch.program import Program
from openlpu.cli import figures
from openlpu.cli.errors import RunFailure, UserError
from openlpu.cli.files import replacing
from openlpu.cli.programs import print_summary, program_argument
from openlpu.cli.terminal import json_option, print_json, working
from openlpu.compiler.pipeline import compile_graph
from openlpu.compiler.reference import evaluate
from openlpu.compiler.workloads import gemm
from openlpu.model.golden import GoldenError
from openlpu.runtime.driver import BACKENDS, Device, DeviceError, RunResult, open_device
from openlpu.runtime.program_file import load

backend_option = click.option(
    "--backend", type=click.Choice(list(BACKENDS)), default="golden", show_default=True, help="What to run on."
)


@click.command()
@program_argument
@click.option("--input", "source", required=True, type=click.Path(path_type=Path), help="An .npz: inputs by name.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="An .npz for the outputs.")
@backend_option
@json_option
def run(program: Path, source: Path, output: Path, backend: str, as_json: bool) -> None:
    """Run PROGRAM once."""
    loaded = load(program)
    inputs = _read_arrays(source)
    with replacing(output) as draft:
        result, seconds = _execute(loaded, inputs, backend, as_json)
        packed = io.BytesIO()  # a zip archive seeks, which pipes cannot
        np.savez(packed, allow_pickle=False, **result.outputs)
        draft.write_bytes(packed.getvalue())
    if as_json:
        outputs = {name: {"shape": list(a.shape), "dtype": str(a.dtype)} for name, a in result.outputs.items()}
        print_json({**_measured(loaded, result, seconds), "backend": backend, "outputs": outputs})
    else:
        print_summary(loaded, [*_facts(backend, result, seconds), ("wrote", output)])


@click.command()
@click.argument("workload", type=click.Choice(["gemm", "gemv"]))
@click.option("--m", type=click.IntRange(min=1), help="Rows of the input; gemv: 1.")
@click.option("--k", type=click.IntRange(min=1), default=64, show_default=True, help="Columns of the input.")
@click.option("--n", type=click.IntRange(min=1), default=64, show_default=True, help="Columns of the output.")
@click.option("--config", default="ulx3s", show_default=True, help="The chip: a preset, or a .toml or .json file.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of weights and inputs.")
@backend_option
@json_option
def bench(workload: str, m: int | None, k: int, n: int, config: str, seed: int, backend: str, as_json: bool) -> None:
    """Compile and run an int8 matrix product, and compare every byte with numpy's."""
    chip = find_config(config)
    rows = m if m is not None else {"gemm": 64, "gemv": 1}[workload]
    _require_room(chip, rows, k, n)
    graph = gemm(rows, k, n, seed)
    clock = _PassClock()
    with working(f"compiling {graph.name} for {chip.name}", as_json=as_json):
        program = compile_graph(graph, chip, dump=clock)
    random = np.random.default_rng(seed + 1)
    inputs = {port.name: random.integers(-128, 128, port.shape, dtype=np.int8) for port in graph.inputs}
    result, seconds = _repeat(program, inputs, backend, as_json)
    expected = evaluate(graph, inputs)
    mismatches = sum(int(np.count_nonzero(result.outputs[name] != expected[name])) for name in expected)
    if as_json:
        passes = {name: round(passed, 3) for name, passed in clock.seconds.items()}
        compiled = {"instructions": figures.instructions(program), "pass_seconds": passes}
        measured = _measured(program, result, seconds)
        print_json({**measured, **compiled, "backend": backend, "mismatches": mismatches})
    else:
        facts = [("scheduling", _pace(program, clock)), *_facts(backend, result, seconds), ("mismatches", mismatches)]
        print_summary(program, facts)
    if mismatches:
        raise RunFailure(f"{program.name}: {mismatches} wrong results on {backend} (seed {seed})")


def _execute(
    program: Program, inputs: Mapping[str, NDArray[Any]], backend: str, as_json: bool
) -> tuple[RunResult, float]:
    """Run a program once; also the seconds of the run itself, without building and loading the device."""
    with working(f"preparing {backend} for {program.config.name}", as_json=as_json):
        device = _open(backend, program.config)
    with device, working(f"running {program.name} on {backend}", as_json=as_json):
        device.load(program)
        start = time.perf_counter()
        result = _run(device, inputs)
        return result, round(time.perf_counter() - start, 3)


def _repeat(
    program: Program, inputs: Mapping[str, NDArray[Any]], backend: str, as_json: bool
) -> tuple[RunResult, float]:
    """Run a program again and again for half a second; the seconds of one run.

    The first run, in which the golden model proves and links the program, does not count.
    """
    with working(f"preparing {backend} for {program.config.name}", as_json=as_json):
        device = _open(backend, program.config)
    with device, working(f"running {program.name} on {backend}", as_json=as_json):
        device.load(program)
        result = _run(device, inputs)
        runs, start = 0, time.perf_counter()
        while time.perf_counter() < start + 0.5:
            result = _run(device, inputs)
            runs += 1
        return result, (time.perf_counter() - start) / runs


class _PassClock:
    """How long each pass of the compiler took; `compile_graph` calls it after each."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def __call__(self, name: str, text_of: Callable[[], str]) -> None:
        now = time.perf_counter()
        self.seconds[name], self._since = now - self._since, now


def _pace(program: Program, clock: _PassClock) -> str:
    seconds, count = clock.seconds["schedule"], figures.instructions(program)
    return f"{count:,} instructions in {seconds:.3f} s ({count / seconds:,.0f} a second)"


# The errors of the RTL backend live beside the hardware tools, where software may not look; these are their bases.


def _open(backend: str, chip: ChipConfig) -> Device:
    try:
        return open_device(backend, chip)
    except (ValueError, RuntimeError) as error:  # not installed, no C++ compiler, a config without RTL
        raise UserError(f"{backend} device for {chip.name}: {error}") from None


def _run(device: Device, inputs: Mapping[str, NDArray[Any]]) -> RunResult:
    try:
        return device.run(inputs)
    except (DeviceError, GoldenError, RuntimeError) as error:
        raise RunFailure(str(error)) from None


def _measured(program: Program, result: RunResult, seconds: float) -> dict[str, Any]:
    return {
        **figures.summary(program),
        "cycles": result.cycles,
        "ratio": figures.ratio(program, result.cycles),
        "wall_seconds": seconds,
    }


def _facts(backend: str, result: RunResult, seconds: float) -> list[tuple[str, object]]:
    rate = f"{result.cycles / seconds:,.0f} cycles/s" if seconds else "too short to measure"
    return [("ran on", backend), ("measured cycles", f"{result.cycles:,}"), ("wall clock", f"{seconds:.6f} s ({rate})")]


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file by name."""
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise UserError(f"{path}: a single array, not an .npz of arrays by name: write it with numpy.savez")
            return {name: loaded[name] for name in loaded.files}
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not an .npz file of plain arrays: {error}") from None


def _require_room(chip: ChipConfig, m: int, k: int, n: int) -> None:
    """Refuse operands that no placement could hold, before memory is spent on them."""
    room = chip.hemispheres * chip.mem_slices * chip.mem_words * chip.lanes
    need = m * k + k * n + m * n
    if need > room:
        raise UserError(f"{m} x {k} x {n} needs {need:,} bytes of SRAM, and {chip.name} has {room:,}: choose smaller")
