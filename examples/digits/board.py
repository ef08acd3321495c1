# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Run digits on a board that is a program, and compare with the golden model and the RTL: `make demo-board`.

The board is the RTL of chip and host bridge behind a pseudo-terminal. The driver reaches it as it would any board, by
the name of a serial port; one that is plugged in can be named on the command line instead.
"""

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from openlpu.arch.presets import ULX3S
from openlpu.arch.program import Program
from openlpu.compiler.pipeline import compile_model
from openlpu.runtime.driver import DeviceError, open_device
from openlpu.verif.virtual_board import VirtualBoard

HERE = Path(__file__).parent
CONFIG = ULX3S
BATCH = 16
"""Images per run."""
RUNS = 3


@dataclass(frozen=True)
class Measured:
    """What one device did, and how long the host waited for it."""

    logits: NDArray[np.float32]
    cycles: tuple[int, ...]
    """Of each run."""
    load_seconds: float
    run_seconds: float


def measure(backend: str, program: Program, images: NDArray[np.float32]) -> Measured:
    """Load the program once, and run it on one batch of images after the other."""
    (source,), (sink,) = program.inputs, program.outputs
    with open_device(backend, CONFIG) as device:
        start = time.perf_counter()
        device.load(program)
        loaded = time.perf_counter()
        results = [device.run({source.name: batch}) for batch in images]
        ended = time.perf_counter()
    logits = np.concatenate([result.outputs[sink.name] for result in results])
    return Measured(logits, tuple(result.cycles for result in results), loaded - start, ended - loaded)


@contextlib.contextmanager
def board_port(arguments: list[str]) -> Iterator[str]:
    """The serial port that was named, or that of a virtual board, which lasts as long as it is used."""
    if arguments:
        yield arguments[0]
    else:
        with VirtualBoard(CONFIG) as board:
            yield board.port


def main() -> int:
    """The whole job; returns the exit status."""
    out = Console(highlight=False)
    with np.load(HERE / "digits_test.npz") as data:
        images, labels = data["images"][: RUNS * BATCH].reshape(RUNS, BATCH, -1), data["labels"][: RUNS * BATCH]
    program = compile_model(HERE / "digits.onnx", CONFIG, batch=BATCH)
    try:
        with board_port(sys.argv[1:]) as port:
            backends = ("golden", "rtl", f"serial:{port}")
            measured = {backend: measure(backend, program, images) for backend in backends}
    except (DeviceError, RuntimeError) as error:
        Console(stderr=True).print(f"error: {error}", markup=False, style="bold red")
        return 1
    golden = measured["golden"]
    table = Table(title=f"{program.name} on {CONFIG.name}, {len(labels)} images, {program.cycles} cycles predicted")
    for title in ("device", "cycles", "wrong bytes", "digits", "load, s", "run, s"):
        table.add_column(title, justify="left" if title == "device" else "right")
    right = True
    for backend, each in measured.items():
        differing = int(np.count_nonzero(each.logits.view(np.uint8) != golden.logits.view(np.uint8)))
        correct = int(np.count_nonzero(np.argmax(each.logits, axis=1) == labels))
        cycles = ", ".join(str(count) for count in sorted(set(each.cycles)))
        times = (f"{each.load_seconds:.2f}", f"{each.run_seconds:.2f}")
        table.add_row(backend, cycles, str(differing), f"{correct} of {len(labels)}", *times)
        right &= not differing and set(each.cycles) == {program.cycles}
    out.print(table)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
