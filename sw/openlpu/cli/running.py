# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""`lpu run`: programs on the golden model, on the RTL, and on boards."""

from __future__ import annotations

import contextlib
import io
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from openlpu.arch.config import ChipConfig
from openlpu.arch.program import Program
from openlpu.arch.system import SystemConfig
from openlpu.arch.system_program import SystemProgram
from openlpu.cli import figures
from openlpu.cli.errors import RunFailure, UserError
from openlpu.cli.files import replacing
from openlpu.cli.programs import print_summary, program_argument
from openlpu.cli.terminal import json_option, print_json, working
from openlpu.model.golden import GoldenError
from openlpu.runtime.driver import BACKENDS, SERIAL, Device, DeviceError, RunResult, open_device
from openlpu.runtime.joined import JoinedDevice
from openlpu.runtime.system_file import load_any


class _Backend(click.ParamType[str]):
    """The name of a device, as `open_device` knows it."""

    name = "backend"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name itself, if it can be one."""
        if value not in BACKENDS and not value.startswith(f"{SERIAL}:"):
            self.fail(f"'{value}' is none of {', '.join(BACKENDS)}, {SERIAL}:PORT", param, ctx)
        return str(value)


backend_option = click.option(
    "--backend",
    type=_Backend(),
    default="golden",
    show_default=True,
    metavar=f"[{'|'.join(BACKENDS)}|{SERIAL}:PORT[@BAUD]]",
    help="What to run on.",
)


@click.command()
@program_argument
@click.option("--input", "source", required=True, type=click.Path(path_type=Path), help="An .npz: inputs by name.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="An .npz for the outputs.")
@click.option(
    "--count", type=click.IntRange(min=1), default=1, show_default=True, help="Run so many times in a row, on the chip."
)
@backend_option
@json_option
def run(program: Path, source: Path, output: Path, count: int, backend: str, as_json: bool) -> None:
    """Run PROGRAM, once or with no host in between several times; the outputs are those of the last run."""
    loaded = load_any(program)
    inputs = _read_arrays(source)
    with replacing(output) as draft:
        result, seconds = _execute(loaded, inputs, count, backend, as_json)
        packed = io.BytesIO()  # a zip archive seeks, which pipes cannot
        np.savez(packed, allow_pickle=False, **result.outputs)
        draft.write_bytes(packed.getvalue())
    if as_json:
        outputs = {name: {"shape": list(a.shape), "dtype": str(a.dtype)} for name, a in result.outputs.items()}
        print_json({**measured(loaded, result, seconds, count), "count": count, "backend": backend, "outputs": outputs})
    else:
        print_summary(loaded, [*facts(backend, result, seconds), ("runs", count), ("wrote", output)])


def _execute(
    program: Program | SystemProgram,
    inputs: Mapping[str, NDArray[Any]],
    count: int,
    backend: str,
    as_json: bool,
) -> tuple[RunResult, float]:
    """Run a program; also the seconds of the runs themselves, without building and loading the device."""
    with _loaded(program, backend, as_json) as device, working(f"running {program.name} on {backend}", as_json=as_json):
        start = time.perf_counter()
        result = run_on(device, inputs, count)
        return result, round(time.perf_counter() - start, 3)


@contextlib.contextmanager
def _loaded(program: Program | SystemProgram, backend: str, as_json: bool) -> Iterator[Device | JoinedDevice]:
    """A device with a program in it."""
    if isinstance(program, SystemProgram):
        with working(f"preparing {backend} for {program.system.name}", as_json=as_json):
            chips = open_system(backend, program.system)
        with chips:
            chips.load(program)
            yield chips
    else:
        with working(f"preparing {backend} for {program.config.name}", as_json=as_json):
            device = open_backend(backend, program.config)
        with device:
            device.load(program)
            yield device


# The errors of the RTL backend live beside the hardware tools, where software may not look; these are their bases.


def open_backend(backend: str, chip: ChipConfig | None) -> Device:
    """A device; what keeps it from opening is the user's to mend."""
    try:
        return open_device(backend, chip)
    except (ValueError, RuntimeError) as error:  # not installed, no C++ compiler, a config without RTL, no board
        what = f"{backend} device for {chip.name}" if chip else f"{backend} device"
        raise UserError(f"{what}: {error}") from None


def open_system(backend: str, system: SystemConfig) -> JoinedDevice:
    """Chips of a system as one device; what keeps them closed is the user's to mend."""
    try:
        return JoinedDevice(open_device(backend, system))
    except (ValueError, RuntimeError) as error:  # not installed, no C++ compiler, no board, links that are dead
        raise UserError(f"{backend} devices for {system.name}: {error}") from None


@contextlib.contextmanager
def running() -> Iterator[None]:
    """What goes wrong inside, while a device runs, is a failure of the run."""
    try:
        yield
    except (DeviceError, GoldenError, RuntimeError) as error:
        raise RunFailure(str(error)) from None


def run_on(device: Device | JoinedDevice, inputs: Mapping[str, NDArray[Any]], count: int = 1) -> RunResult:
    """Runs in a row."""
    with running():
        return device.run(inputs, count)


def measured(program: Program | SystemProgram, result: RunResult, seconds: float, count: int = 1) -> dict[str, Any]:
    """What `count` runs in a row came to, for machines to read; the ratio is that of one of them."""
    return {
        **figures.summary(program),
        "cycles": result.cycles,
        "ratio": figures.ratio(program, result.cycles / count),
        "wall_seconds": seconds,
    }


def facts(backend: str, result: RunResult, seconds: float) -> list[tuple[str, object]]:
    """What a run came to, for people to read."""
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
