# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Run every held-out digit on the RTL and on the golden model, and hold both against ONNX Runtime: `make sim`.

Four claims are tested on each image, and one that fails fails the script: the RTL takes exactly the cycles that the
compiler predicted, its bytes are those of the golden model, those are the bytes that ONNX Runtime computes, and the
digit that comes out is nearly always the right one.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from openlpu.arch.presets import ULX3S
from openlpu.arch.program import Program
from openlpu.compiler.pipeline import compile_model
from openlpu.runtime.driver import Device, DeviceError, open_device
from openlpu.verif.onnx_reference import onnxruntime_session

HERE = Path(__file__).parent
MODEL = HERE / "digits.onnx"
TEST_SET = HERE / "digits_test.npz"
CONFIG = ULX3S
BATCH = 16
"""Images per run: the network's dynamic dimension, fixed when it is compiled."""
LEAST_ACCURACY = 0.96

Images = NDArray[np.float32]
Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Measured:
    """What one device did with the whole test set."""

    logits: Logits
    cycles: tuple[int, ...]
    """Of each run."""
    seconds: float


@dataclass(frozen=True)
class Claim:
    """Something that must hold, whether it does, and the evidence."""

    text: str
    holds: bool
    evidence: str


def batches(images: Images) -> Iterator[Images]:
    """The images, `BATCH` at a time; blank images fill the last batch."""
    for start in range(0, len(images), BATCH):
        batch = np.zeros((BATCH, images.shape[1]), np.float32)
        part = images[start : start + BATCH]
        batch[: len(part)] = part
        yield batch


def measure(device: Device, program: Program, images: Images, progress: Progress, name: str) -> Measured:
    """Run all images through one device."""
    device.load(program)
    (source,), (sink,) = program.inputs, program.outputs
    logits, cycles = [], []
    start = time.perf_counter()
    for batch in progress.track(list(batches(images)), description=f"{name:>6}"):
        result = device.run({source.name: batch})
        logits.append(result.outputs[sink.name])
        cycles.append(result.cycles)
    seconds = time.perf_counter() - start
    return Measured(np.concatenate(logits)[: len(images)], tuple(cycles), seconds)


def reference(images: Images) -> Logits:
    """What ONNX Runtime computes, on the CPU."""
    session = onnxruntime_session(str(MODEL))
    (logits,) = session.run(None, {session.get_inputs()[0].name: images})
    return np.asarray(logits, np.float32)


def different_images(a: Logits, b: Logits) -> int:
    """How many images have at least one logit that is not the same."""
    return int(np.count_nonzero(np.any(a != b, axis=1)))


def claims(program: Program, rtl: Measured, golden: Measured, labels: NDArray[Any], expected: Logits) -> list[Claim]:
    """What this example is there to show."""
    count = len(labels)
    off = sum(cycles != program.cycles for cycles in rtl.cycles)
    wrong_bytes = int(np.count_nonzero(rtl.logits.view(np.uint8) != golden.logits.view(np.uint8)))
    differing = different_images(rtl.logits, expected)
    accuracy = float(np.mean(np.argmax(rtl.logits, axis=1) == labels))
    return [
        Claim(
            "RTL cycles are the predicted cycles",
            off == 0,
            f"{program.cycles} in {len(rtl.cycles) - off} of {len(rtl.cycles)} runs",
        ),
        Claim("RTL and golden model agree", wrong_bytes == 0, f"{wrong_bytes} bytes differ"),
        Claim("RTL and ONNX Runtime agree", differing == 0, f"{count - differing} of {count} images equal"),
        Claim("digits are recognised", accuracy >= LEAST_ACCURACY, f"{accuracy:.2%} of {count}"),
    ]


def main() -> int:
    """The whole job; returns the exit status."""
    out = Console(highlight=False)
    with np.load(TEST_SET) as data:
        images, labels = data["images"], data["labels"]
    program = compile_model(MODEL, CONFIG, batch=BATCH)
    bound = max(program.resource_bound, program.chain_bound)
    micro = program.cycles / CONFIG.clock_mhz
    out.print(f"{program.name} on {CONFIG.name}, {BATCH} images a run")
    out.print(
        f"  predicted {program.cycles} cycles, {micro:.2f} us at {CONFIG.clock_mhz:g} MHz, "
        f"{program.cycles / bound:.2f} x the lower bound of {bound}"
    )
    expected = reference(images)
    messages = Console(stderr=True)
    with Progress(console=messages, transient=True, disable=not messages.is_terminal) as progress:
        waiting = progress.add_task("building the RTL (minutes, the first time)", total=None)
        try:
            with open_device("golden", CONFIG) as golden_chip, open_device("rtl", CONFIG) as rtl_chip:
                progress.remove_task(waiting)
                golden = measure(golden_chip, program, images, progress, "golden")
                rtl = measure(rtl_chip, program, images, progress, "rtl")
        except DeviceError as error:
            messages.print(f"error: {error}", markup=False, style="bold red")
            return 1
    for name, measured in (("golden", golden), ("rtl", rtl)):
        rate = sum(measured.cycles) / measured.seconds
        out.print(f"  {name}: {len(images)} images in {measured.seconds:.2f} s, {rate:,.0f} cycles/s")
    verdicts = claims(program, rtl, golden, labels, expected)
    for claim in verdicts:
        mark = "[green]ok[/]  " if claim.holds else "[bold red]FAIL[/]"
        out.print(f"  {mark} {claim.text}: {claim.evidence}")
    return 0 if all(claim.holds for claim in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
