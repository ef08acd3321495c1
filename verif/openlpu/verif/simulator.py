# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Verilog text in, a running Verilated chip under cocotb out.

Everything that simulates RTL comes through here, because speed and safety hang on details that are easily lost:

- cocotb's own runner makes every signal of the design visible to VPI, which costs a factor of five or more in speed.
  Here only the signals listed by the caller are public. As Verilator's command line is then ours anyway, and a
  simulation that serves requests must be a child of the caller and not of a runner, the runner is not used at all.
- A Verilator build takes minutes, so executables are cached, keyed by a digest of everything that goes into them.
- cocotb reports success when no test matched; here that is a failure.
"""

import fcntl
import functools
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import cocotb_tools.config
import find_libpython

from openlpu.verif import toolchain

_EXECUTABLE = "simulation"
_MODEL = "Vtop"  # the class which cocotb's main() instantiates
_LOG_TAIL = 60  # lines of a tool's output worth showing in an error

_VERILATOR_FLAGS = (
    "--cc",
    "--exe",
    "--vpi",
    "--assert",
    "--prefix",
    _MODEL,
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "--timescale",
    "1ns/1ps",
    "-Wno-lint",  # generated Verilog is judged by lint(), once, and not by each build
)

# Settings of an outer cocotb run, or of the user's shell, that would change which tests run and where results go.
_FOREIGN_SETTINGS = ("COCOTB_TESTCASE", "COCOTB_TEST_FILTER", "COCOTB_RANDOM_SEED", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")


class SimulationError(RuntimeError):
    """Verilator refused the Verilog, or a simulation failed; the message holds the tool's own words."""


@dataclass(frozen=True, kw_only=True)
class Build:
    """A Verilated design, ready to run.

    `top` is the name of the top module, `executable` the program. Test modules are named as they are imported, and
    see the top module as `dut`.
    """

    top: str
    executable: Path

    def run(
        self,
        test_module: str,
        *,
        testcases: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        seed: int | None = None,
        work_dir: Path | None = None,
        timeout: float | None = None,
    ) -> None:
        """Run cocotb tests to their end.

        `testcases` are names of test functions (every parametrisation of one runs); None runs the whole module.
        `seed` seeds `random` inside the simulation; None draws one, named in any failure. `work_dir` receives
        `simulation.log` and `results.xml`; None uses a folder that is deleted afterwards. `timeout` is in seconds.

        Raises SimulationError when a test fails, when no test ran, and when the simulation crashes or exceeds
        `timeout`.
        """
        if seed is None:
            seed = random.SystemRandom().getrandbits(31)
        with tempfile.TemporaryDirectory(prefix="openlpu-") as temporary:
            folder = Path(temporary) if work_dir is None else work_dir
            process = self._start(test_module, testcases, {**(env or {}), "COCOTB_RANDOM_SEED": str(seed)}, folder)
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                verdict: str | None = f"still running after {timeout} s, stopped"
            else:
                verdict = _verdict(folder / "results.xml", process.returncode)
            finally:
                process.kill()
                process.wait()
            if verdict is not None:
                which = test_module if testcases is None else f"{test_module} ({', '.join(testcases)})"
                raise SimulationError(
                    f"simulation of {self.top!r} under {which}, seed {seed}: {verdict}\n"
                    f"{_tail((folder / 'simulation.log').read_text(errors='replace'))}"
                )

    def popen(
        self,
        test_module: str,
        testcase: str,
        env: Mapping[str, str] | None = None,
        *,
        work_dir: Path | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start one cocotb test and return while it runs: for a test that serves requests until told to stop.

        The process is the Verilated chip itself, with no runner in between: its end is the end of the simulation, and
        killing it leaves nothing behind. It inherits no terminal; its output goes to `simulation.log` in `work_dir`,
        which by default is a folder that lives as long as the returned object.
        """
        if work_dir is not None:
            return self._start(test_module, [testcase], env or {}, work_dir)
        temporary = Path(tempfile.mkdtemp(prefix="openlpu-"))
        try:
            process = self._start(test_module, [testcase], env or {}, temporary)
        except BaseException:
            shutil.rmtree(temporary)
            raise
        weakref.finalize(process, shutil.rmtree, temporary, ignore_errors=True)
        return process

    def _start(
        self, test_module: str, testcases: Sequence[str] | None, env: Mapping[str, str], work_dir: Path
    ) -> subprocess.Popen[bytes]:
        work_dir.mkdir(parents=True, exist_ok=True)
        results = work_dir.resolve() / "results.xml"
        results.unlink(missing_ok=True)
        environment = _clean_environment() | {
            "COCOTB_TOPLEVEL": self.top,
            "COCOTB_TEST_MODULES": test_module,
            "COCOTB_RESULTS_FILE": str(results),
            "COCOTB_ANSI_OUTPUT": "0",
            # Verilator applies writes inertially by itself; without this word cocotb would schedule each of them.
            "COCOTB_TRUST_INERTIAL_WRITES": "1",
            "TOPLEVEL_LANG": "verilog",
            "GPI_USERS": f"{_libpython()};{cocotb_tools.config.pygpi_entry_point()}",
            "PYGPI_PYTHON_BIN": sys.executable,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        if testcases is not None:
            names = "|".join(re.escape(name) for name in testcases)
            environment["COCOTB_TEST_FILTER"] = rf"\.(?:{names})(?:/.*)?$"
        with (work_dir / "simulation.log").open("wb") as log:
            return subprocess.Popen(
                [self.executable],
                cwd=work_dir,
                env=environment | dict(env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )


def build(verilog: str, *, top: str, public: Sequence[tuple[str, str]], waivers: str = "") -> Build:
    """Compile Verilog text into a simulation, or find the one compiled before.

    `public` names the signals cocotb may reach, as (module, signal) pairs where either may hold the wildcards `*` and
    `?`; ports of the top module are no exception. Each costs speed. `waivers` is Verilator control-file text.
    Processes that ask for the same build at once compile it once.

    Raises SimulationError when Verilator or the C++ compiler fails, ToolchainError when one is missing.
    """
    if not public:
        raise ValueError("no public signal: name at least the clock, or cocotb cannot drive the design")
    main = cocotb_tools.config.share_dir / "lib" / "verilator" / "verilator.cpp"
    libraries = cocotb_tools.config.libs_dir
    link = f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator"
    executable = compile_model(verilog, main.read_text(), top=top, public=public, waivers=waivers, link=link)
    return Build(top=top, executable=executable)


def compile_model(
    verilog: str,
    main: str,
    *,
    top: str,
    public: Sequence[tuple[str, str]] = (),
    waivers: str = "",
    link: str = "",
) -> Path:
    """Compile Verilog text and the C++ `main` that drives it, or find the executable compiled before.

    `main` finds the model as class `Vtop` in `Vtop.h`, with the ports of the top module as members. `public` and
    `waivers` are as in `build`, `link` are options of the linker.

    Raises SimulationError when Verilator or the C++ compiler fails, ToolchainError when one is missing.
    """
    tools = toolchain.find()
    control = _control_file(waivers, public)
    ingredients = [verilog, control, top, _VERILATOR_FLAGS, tools.version, tools.make_arguments, link, main]
    key = hashlib.sha256(json.dumps(ingredients).encode()).hexdigest()[:32]

    cache = cache_dir() / "verilator"
    cache.mkdir(parents=True, exist_ok=True)
    finished = cache / key
    with _locked(cache / f"{key}.lock"):
        if not finished.is_dir():
            # A build that was killed leaves its folder behind under this name, never under the final one.
            partial = cache / f"{key}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            objects = partial / "objects"
            objects.mkdir(parents=True)
            driver = partial / "main.cpp"
            driver.write_text(main)
            sources = _write_sources(partial, verilog, control, top)
            _call(
                [
                    *(str(tools.verilator), *_VERILATOR_FLAGS, "--top-module", top),
                    *(
                        "-Mdir",
                        str(objects),
                        "-o",
                        _EXECUTABLE,
                        *(["-LDFLAGS", link] if link else []),
                        str(driver),
                        *sources,
                    ),
                ],
                tools.environment,
                f"Verilator refused {top!r}",
            )
            _call(
                ["make", f"-j{os.cpu_count() or 1}", "-C", str(objects), "-f", f"{_MODEL}.mk", *tools.make_arguments],
                tools.environment,
                f"compiling the Verilated {top!r} failed",
            )
            (objects / _EXECUTABLE).rename(partial / _EXECUTABLE)
            shutil.rmtree(objects)
            partial.rename(finished)
    return finished / _EXECUTABLE


def lint(verilog: str, *, top: str, waivers: str = "") -> str:
    """Return Verilator's output on linting `verilog` with every warning on.

    `waivers` is Verilator control-file text; each `lint_off` in it must name its rule.
    Raises SimulationError, with the warnings, when any is not waived, and ValueError on a waiver without a rule.
    """
    for line in waivers.splitlines():
        if re.match(r"\s*lint_off\b", line) and not re.search(r"-rule\s+\w+", line):
            raise ValueError(f"waiver {line.strip()!r} would hide every warning: name the one meant with -rule")
    tools = toolchain.find()
    with tempfile.TemporaryDirectory(prefix="openlpu-") as temporary:
        sources = _write_sources(Path(temporary), verilog, _control_file(waivers, ()), top)
        return _call(
            [str(tools.verilator), "--lint-only", "-Wall", "--quiet", "--top-module", top, *sources],
            tools.environment,
            f"Verilator's lint has warnings about {top!r}",
        )


def _control_file(waivers: str, public: Sequence[tuple[str, str]]) -> str:
    for names in public:
        for name in names:
            if not name or '"' in name or "\n" in name:
                raise ValueError(f"public signal {names!r}: {name!r} is no name of a module or signal")
    signals = [f'public_flat_rw -module "{module}" -var "{signal}"' for module, signal in public]
    return "\n".join(["`verilator_config", waivers.strip(), *signals, ""])


def _write_sources(folder: Path, verilog: str, control: str, top: str) -> list[str]:
    design, settings = folder / f"{top}.v", folder / f"{top}.vlt"
    design.write_text(verilog)
    settings.write_text(control)
    return [str(settings), str(design)]


def _call(command: Sequence[str], environment: Mapping[str, str], complaint: str) -> str:
    result = subprocess.run(
        command,
        env=_clean_environment() | dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if result.returncode != 0:
        raise SimulationError(f"{complaint}:\n{_tail(result.stdout)}")
    return result.stdout


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _FOREIGN_SETTINGS}


def _verdict(results: Path, returncode: int) -> str | None:
    """What is wrong with a simulation that ended: None, or a text with the failure of each test."""
    if not results.is_file():
        return f"ended with status {returncode} before writing results"
    cases = list(ElementTree.parse(results).iter("testcase"))
    failures = [
        f"{case.get('classname')}.{case.get('name')} failed: {reason.get('message')}\n{reason.text or ''}"
        for case in cases
        for reason in (*case.iter("failure"), *case.iter("error"))
    ]
    if failures:
        return "\n".join(failures)
    if all(case.find("skipped") is not None for case in cases):
        return "no test ran: none matched, or all were skipped"
    return None if returncode == 0 else f"all tests passed, yet the simulator ended with status {returncode}"


def _tail(text: str) -> str:
    lines = text.rstrip().splitlines()
    omitted = [f"[{len(lines) - _LOG_TAIL} lines omitted]"] if len(lines) > _LOG_TAIL else []
    return "\n".join([*omitted, *lines[-_LOG_TAIL:]])


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def cache_dir() -> Path:
    """`$OPENLPU_CACHE`; else `.cache` in a source checkout; else the user's cache folder."""
    if chosen := os.environ.get("OPENLPU_CACHE"):
        return Path(chosen).resolve()
    checkout = Path(__file__).resolve().parents[3]
    if (checkout / "pyproject.toml").is_file():
        return checkout / ".cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").resolve() / "openlpu"


@functools.cache
def _libpython() -> str:
    path = find_libpython.find_libpython()
    if path is None:
        raise toolchain.ToolchainError(
            f"cocotb embeds Python, but {sys.executable} has no shared libpython: install it (Debian: "
            f"libpython{sys.version_info.major}.{sys.version_info.minor}), or use a Python built with --enable-shared"
        )
    return path
