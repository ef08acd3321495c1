# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The Verilated chip in a bare C++ loop: no cocotb, no traces. The measure of how fast the same model can run."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from openlpu.arch.config import ChipConfig
from openlpu.arch.program import Vector
from openlpu.arch.status import ChipStatus, RunStatus
from openlpu.arch.timing import timing
from openlpu.hdl import generate
from openlpu.verif import elaboration, simulator
from openlpu.verif.rtl_port import RtlError, public, run_status

_MAIN = Path(__file__).with_name("bare_chip.cpp")


class BareChip:
    """A chip port onto the model of `RtlChip`: compiled from the same Verilog with the same options."""

    def __init__(self, config: ChipConfig, *, limit: int = 10_000_000) -> None:
        self._config = config
        self._limit = limit
        self._last = RunStatus(0)
        executable = simulator.compile_model(
            elaboration.verilog(config),
            _MAIN.read_text(encoding="utf-8"),
            top=generate.TOP,
            public=public(config),
            waivers=generate.LINT_WAIVERS,
        )
        self._process = subprocess.Popen(
            [executable, str(timing(config).host_read)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    @property
    def config(self) -> ChipConfig:
        """What chip this is."""
        return self._config

    def write_memory(self, slice: int, address: int, words: Vector) -> None:
        """Write consecutive SRAM words, int8 [n, lanes], from `address` on."""
        for i, word in enumerate(words):
            self._send(f"m {slice} {address + i} {int.from_bytes(word.tobytes(), 'little'):x}")

    def read_memory(self, slice: int, address: int, count: int) -> Vector:
        """Read `count` consecutive SRAM words, int8 [count, lanes]."""
        words = [int(self._ask(f"r {slice} {address + i}"), 16) for i in range(count)]
        data = b"".join(word.to_bytes(self._config.lanes, "little") for word in words)
        return np.frombuffer(data, np.int8).reshape(count, self._config.lanes).copy()

    def write_text(self, queue: int, words: Sequence[int]) -> None:
        """Write instruction words of a queue, from its word 0 on."""
        for i, word in enumerate(words):
            self._send(f"t {queue} {i} {word:x}")

    def run(self, count: int = 1) -> RunStatus:
        """Run `count` times in a row, each time from the barrier until every queue has halted."""
        answer = self._ask(f"g {self._limit * count} {count - 1}")
        if answer == ".":
            raise RtlError(f"the program has not halted after {self._limit} cycles")
        cycles, fault, queue, fault_cycle, illegal, faults, corrected, uncorrectable = map(int, answer.split())
        first = queue if fault else None
        ended = (cycles, first, fault_cycle, bool(illegal), faults, corrected, uncorrectable)
        self._last = run_status(self._config, ended)
        return self._last

    def status(self) -> ChipStatus:
        """How the last run ended; what ECC found in others is not counted."""
        return ChipStatus(False, self._last, self._last.corrected, self._last.uncorrectable)

    def close(self) -> None:
        """End the loop."""
        self._process.communicate()

    def _send(self, request: str) -> None:
        assert self._process.stdin is not None
        print(request, file=self._process.stdin)

    def _ask(self, request: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._send(request)
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RtlError(f"the loop ended at '{request}' with status {self._process.wait()}")
        return answer.strip()
