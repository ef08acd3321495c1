# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Errors of the compiler: one root, so that the command line can print the message alone.

A `CompileError` is something the user can act on, and its text says what, where and what to do. An
`InternalCompilerError` is not: it means that a pass produced an invalid graph, and is a bug in OpenLPU.
"""

from collections.abc import Sequence


class CompileError(ValueError):
    """A model cannot be compiled; the message names what, where and what to do."""


class ModelFileError(CompileError):
    """The model file is missing, is not ONNX, or is damaged."""


class UnsupportedModelError(CompileError):
    """The model uses something the chip or the importer does not support.

    `problems` holds one line for each thing that stands in the way, in the order of the model's nodes, so that
    a user sees everything at once.
    """

    def __init__(self, model: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        if len(self.problems) == 1:
            super().__init__(f"{model}: {self.problems[0]}")
        else:
            listing = "".join(f"\n  - {problem}" for problem in self.problems)
            super().__init__(f"{model}: {len(self.problems)} things are not supported:{listing}")


class InternalCompilerError(RuntimeError):
    """A graph breaks the rules of `openlpu.compiler.graph`: a bug in OpenLPU, never in the model."""
