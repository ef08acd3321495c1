# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The simulation machinery, on a counter: what must pass passes, and what must fail fails."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from multiprocessing.connection import Listener
from pathlib import Path

import pytest
from amaranth.back import verilog
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from openlpu.verif import selftest, simulator, toolchain
from openlpu.verif.simulator import Build, SimulationError

BENCH = "openlpu.verif.selftest"
PUBLIC = [("counter", "clk"), ("counter", "rst"), ("counter", "enable"), ("counter", "count")]


class Counter(wiring.Component):
    enable: Signal
    count: Signal

    def __init__(self) -> None:
        super().__init__({"enable": In(1), "count": Out(8)})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        with m.If(self.enable):
            m.d.sync += self.count.eq(self.count + 1)
        return m


@pytest.fixture(scope="module")
def counter_verilog() -> str:
    return verilog.convert(Counter(), name="counter", emit_src=False)


@pytest.fixture(scope="module")
def counter(counter_verilog: str) -> Build:
    return simulator.build(counter_verilog, top="counter", public=PUBLIC)


def test_a_passing_test_passes(counter: Build, tmp_path: Path) -> None:
    counter.run(BENCH, testcases=["counts"], work_dir=tmp_path)
    assert (tmp_path / "results.xml").is_file()


def test_a_failing_test_raises_with_its_words(counter: Build) -> None:
    with pytest.raises(SimulationError, match=r"seed 7: .*miscounts failed: a disabled counter stands still"):
        counter.run(BENCH, testcases=["counts", "miscounts"], seed=7)


def test_a_name_selects_no_longer_names(counter: Build) -> None:
    # "counts" is also the end of "miscounts", which fails.
    counter.run(BENCH, testcases=["counts"])


def test_no_matching_test_is_a_failure(counter: Build) -> None:
    with pytest.raises(SimulationError, match="no test ran"):
        counter.run(BENCH, testcases=["count"])


def test_a_missing_bench_is_a_failure(counter: Build) -> None:
    with pytest.raises(SimulationError, match="no_such_bench"):
        counter.run("no_such_bench")


def test_a_test_that_hangs_is_stopped(counter: Build, tmp_path: Path) -> None:
    with Listener(str(tmp_path / "socket")) as listener, pytest.raises(SimulationError, match=r"still running after 2"):
        # Nobody answers on this socket.
        counter.run(BENCH, testcases=["serve"], env={selftest.ADDRESS: str(listener.address)}, timeout=2.0)


def test_the_seed_reaches_the_simulation(counter: Build, tmp_path: Path) -> None:
    counter.run(BENCH, testcases=["counts"], seed=8675309, work_dir=tmp_path)
    assert "8675309" in (tmp_path / "simulation.log").read_text()


def test_settings_of_the_shell_are_ignored(counter: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COCOTB_TESTCASE", "nothing")
    counter.run(BENCH, testcases=["counts"])


def test_a_simulator_that_fails_after_its_tests_is_a_failure(tmp_path: Path) -> None:
    executable = tmp_path / "simulation"
    results = '<testsuites><testsuite><testcase name="a"/></testsuite></testsuites>'
    executable.write_text(f"#!/bin/sh\necho '{results}' > $COCOTB_RESULTS_FILE\nexit 3\n")
    executable.chmod(0o755)
    with pytest.raises(SimulationError, match="all tests passed, yet the simulator ended with status 3"):
        Build(top="counter", executable=executable).run(BENCH)


def test_popen_serves_until_told_to_stop(counter: Build) -> None:
    # Socket paths are limited to about a hundred characters, which pytest's folders exceed.
    with tempfile.TemporaryDirectory() as folder, Listener(f"{folder}/socket") as listener:
        process = counter.popen(BENCH, "serve", {selftest.ADDRESS: str(listener.address)})
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        try:
            with listener.accept() as connection:
                for cycles, count in ((5, 5), (100, 105), (200, 305 % 256)):
                    connection.send(cycles)
                    assert connection.recv() == count
                connection.send(None)
            assert process.wait(30) == 0
        finally:
            watchdog.cancel()
            process.kill()
            process.wait()


def test_the_second_build_is_found_in_the_cache(
    counter: Build, counter_verilog: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a tool was called")

    monkeypatch.setattr(simulator, "_call", refuse)
    assert simulator.build(counter_verilog, top="counter", public=PUBLIC) == counter
    with pytest.raises(AssertionError, match="a tool was called"):
        simulator.build(counter_verilog + "\n", top="counter", public=PUBLIC)


def test_an_interrupted_build_is_built_again(
    counter: Build, counter_verilog: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENLPU_CACHE", str(tmp_path))
    key = counter.executable.parent.name
    partial = tmp_path / "verilator" / f"{key}.partial"
    partial.mkdir(parents=True)
    (partial / "simulation").write_text("half an executable")

    def finish(command: list[str], *_: object) -> str:
        if command[0] == "make":
            shutil.copy(counter.executable, partial / "objects" / "simulation")
        return ""

    monkeypatch.setattr(simulator, "_call", finish)
    again = simulator.build(counter_verilog, top="counter", public=PUBLIC)
    assert again.executable.is_relative_to(tmp_path)
    assert again.executable.read_bytes() == counter.executable.read_bytes()
    assert not partial.exists()


def test_broken_verilog_is_refused_and_not_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENLPU_CACHE", str(tmp_path))
    for _ in range(2):
        with pytest.raises(SimulationError, match=r"(?s)Verilator refused 'broken'.*syntax error"):
            simulator.build("module broken(input clk); oops", top="broken", public=[("broken", "clk")])


@pytest.mark.parametrize("public", [[], [("counter", "")], [("counter", 'c"lk')]])
def test_public_signals_are_checked(public: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError, match="public signal"):
        simulator.build("", top="counter", public=public)


UNUSED_BIT = "module wasteful(input [1:0] a, output b);\n  assign b = a[0];\nendmodule\n"


def test_lint_passes_clean_text_and_raises_on_a_warning() -> None:
    simulator.lint(UNUSED_BIT.replace("[1:0] a", "[0:0] a"), top="wasteful")
    with pytest.raises(SimulationError, match="UNUSEDSIGNAL"):
        simulator.lint(UNUSED_BIT, top="wasteful")


def test_lint_accepts_a_waiver_by_name_only() -> None:
    simulator.lint(UNUSED_BIT, top="wasteful", waivers='lint_off -rule UNUSEDSIGNAL -file "*"')
    with pytest.raises(SimulationError, match="UNUSEDSIGNAL"):
        simulator.lint(UNUSED_BIT, top="wasteful", waivers='lint_off -rule WIDTHTRUNC -file "*"')
    with pytest.raises(ValueError, match="name the one meant"):
        simulator.lint(UNUSED_BIT, top="wasteful", waivers='lint_off -file "*"')


def test_an_old_verilator_on_path_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "verilator"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for version, chosen in (("5.006 2023-01-22", False), ("5.036 2025-04-27", True)):
        fake.write_text(f"#!/bin/sh\necho 'Verilator {version}'\n")
        fake.chmod(0o755)
        assert (toolchain.find.__wrapped__().verilator == fake) is chosen


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(toolchain.ToolchainError, match="needs no-such-compiler"):
        toolchain.find.__wrapped__()


def test_workers_that_ask_at_once_build_once(counter_verilog: str, tmp_path: Path) -> None:
    """Two processes, a slow stand-in for make's work: the second must wait, and then find the first one's build."""
    script = (
        "import pathlib, sys, time\n"
        "from openlpu.verif import simulator\n"
        "def call(command, *_):\n"
        "    if command[0] == 'make':\n"
        "        time.sleep(1)\n"
        "        (pathlib.Path(command[command.index('-C') + 1]) / 'simulation').touch()\n"
        "        print('built', flush=True)\n"
        "    return ''\n"
        "simulator._call = call\n"
        "print(simulator.build(sys.stdin.read(), top='counter', public=[('counter', 'clk')]).executable.is_file())\n"
    )
    environment = os.environ | {"OPENLPU_CACHE": str(tmp_path), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write(counter_verilog)
        worker.stdin.close()
        worker.stdin = None
    outputs = "".join(worker.communicate(timeout=60)[0] for worker in workers)
    assert outputs.split().count("built") == 1
    assert outputs.split().count("True") == 2
