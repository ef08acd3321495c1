# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What the checker says about a program that is wrong in time or in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_SHOWN = 10
"""Violations that a `CheckError` lists in its message; it holds all of them."""


@dataclass(frozen=True)
class Violation:
    """One rule broken by one instruction; by the program as a whole when `queue` is empty."""

    cycle: int
    """Dispatch cycle of the instruction, counted from the barrier's release."""
    queue: str
    instruction: str
    """Assembly text, with the address as advanced by REPEAT."""
    message: str
    fault_cycle: int | None = None
    """The `Fault.cycle` that hardware reports for it; None when hardware cannot notice."""

    def __str__(self) -> str:
        if not self.queue:
            return f"program: {self.message}"
        if not self.instruction:
            return f"{self.queue}: {self.message}"
        return f"cycle {self.cycle}, {self.queue}, '{self.instruction}': {self.message}"


class CheckError(ValueError):
    """A program that must not run. `violations` holds every broken rule, in order of cycles."""

    def __init__(self, name: str, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        count = len(self.violations)
        lines = [str(violation) for violation in self.violations[:_SHOWN]]
        if count > _SHOWN:
            lines.append(f"... and {count - _SHOWN} more")
        listing = "".join(f"\n  {line}" for line in lines)
        super().__init__(f"{name}: {count} violation{'s' if count > 1 else ''}{listing}")
