# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What a case of the catalogue is, and how results are held to it."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto
from tests.compiler.onnx_models import Builder, run_onnxruntime

Array = NDArray[Any]
Feeds = dict[str, Array]


@dataclass
class Case:
    """A model, its inputs, and the exact result and absolute tolerance of each float output, by name.

    `codes` is how many codes an integer output may be off. `slack` is the relative deviation of ONNX Runtime that is
    taken into account, of the largest magnitude in its result, beside another `tolerance`.
    """

    name: str
    model: ModelProto
    inputs: Feeds
    exact: Feeds = field(default_factory=dict)
    tolerance: Feeds = field(default_factory=dict)
    codes: int = 0
    slack: float = 2e-7

    def check(self, results: Mapping[str, Array]) -> None:
        """Hold the outputs of an executor to the exact result and to ONNX Runtime's."""
        for output, theirs in zip(self.model.graph.output, run_onnxruntime(self.model, self.inputs), strict=True):
            name, ours = output.name, results[output.name]
            assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape), f"{self.name}: {name}"
            if ours.dtype != np.float32:
                different = np.abs(ours.astype(np.int64) - theirs.astype(np.int64)).max()
                assert different <= self.codes, f"{self.name}: {name} differs by {different}"
                continue
            if name not in self.tolerance:
                assert np.array_equal(ours, theirs), f"{self.name}: {name} differs from ONNX Runtime"
                continue
            worst = self.worst(name, ours)
            assert worst <= 1, f"{self.name}: {name} errs by {worst:.3g} of its bound"
            allowed = 2 * self.tolerance[name] + self.slack * np.abs(theirs).max()
            with np.errstate(invalid="ignore"):
                off = np.where(ours == theirs, 0, np.abs(ours.astype(np.float64) - theirs)) > allowed
            assert not off.any(), f"{self.name}: {name} is not near ONNX Runtime in {off.sum()} places"

    def worst(self, name: str, ours: Array) -> float:
        """The largest error of a float output, as a share of what is allowed."""
        with np.errstate(invalid="ignore"):
            error = np.where(ours == self.exact[name], 0, np.abs(ours.astype(np.float64) - self.exact[name]))
        return float((error / self.tolerance[name]).max())


def rng_of(name: str, seed: int) -> np.random.Generator:
    """Numbers that differ from case to case, and are the same on every day."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def float_case(
    name: str,
    build: Callable[[Builder], None],
    inputs: Feeds,
    exact: Array,
    tolerance: Array,
    *,
    opset: int = 20,
    slack: float = 2e-7,
    seed: int = 0,
) -> Case:
    """A case with one float output "y"."""
    b = Builder(rng_of(name, seed))
    build(b)
    b.output("y", "float32", exact.ndim)
    return Case(name, b.model(opset), inputs, {"y": exact}, {"y": np.broadcast_to(tolerance, exact.shape)}, slack=slack)
