# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""How fast the RTL simulates: cycles a second of the chip under cocotb, and of the same model in a bare C++ loop.

    python -m openlpu.verif.bench

Both run the same long matrix product, in turns, so that whatever else the machine does meets both.
"""

import time

import numpy as np

from openlpu.arch.presets import ULX3S
from openlpu.compiler.pipeline import compile_graph
from openlpu.compiler.workloads import gemm
from openlpu.runtime.driver import Device
from openlpu.verif.bare_chip import BareChip
from openlpu.verif.rtl_port import RtlChip

CONFIG = ULX3S
ROWS, DEPTH, COLUMNS = 1500, 64, 16
"""A matrix product that nearly fills the SRAM of the chip, and keeps all its units busy."""
SECONDS = 3.0
"""How long each of the two runs at least."""


def main() -> None:
    """Measure and print. Raises AssertionError when the two do not compute the same."""
    program = compile_graph(gemm(ROWS, DEPTH, COLUMNS, seed=1), CONFIG)
    values = {"x": np.random.default_rng(1).integers(-128, 128, (ROWS, DEPTH), dtype=np.int8)}
    spent = {"cocotb": 0.0, "bare C++ loop": 0.0}
    with Device(RtlChip(CONFIG)) as cocotb, Device(BareChip(CONFIG)) as bare:
        devices = dict(zip(spent, (cocotb, bare), strict=True))
        for device in devices.values():
            device.load(program)
        outputs = [device.run(values).outputs["y"] for device in devices.values()]
        np.testing.assert_array_equal(outputs[0], outputs[1])
        runs = 0
        while min(spent.values()) < SECONDS:
            for name, device in devices.items():
                start = time.perf_counter()
                device.port.run()
                spent[name] += time.perf_counter() - start
            runs += 1
    cycles = runs * program.cycles
    for name, seconds in spent.items():
        print(f"{CONFIG.name}, {name}: {cycles / seconds:,.0f} cycles/s ({runs} runs of {program.cycles:,} cycles)")
    print(f"the bare loop is {spent['cocotb'] / spent['bare C++ loop']:.2f} times as fast")


if __name__ == "__main__":
    main()
