# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""How well the driver fills a serial line: what is loaded, in bytes a byte time of the line.

    python -m openlpu.verif.line_rate

A program with an image of some 24 KiB is loaded by the driver into a virtual board. The line is counted in the time of
the chip, so the figure is the same on every machine, as long as the host is faster than the simulation.
"""

from openlpu.arch import protocol
from openlpu.arch.presets import ULX3S
from openlpu.compiler.pipeline import compile_graph
from openlpu.compiler.workloads import gemm
from openlpu.runtime.driver import open_device
from openlpu.runtime.serial_wire import BITS_PER_BYTE
from openlpu.verif.virtual_board import VirtualBoard

CONFIG = ULX3S
ROWS, DEPTH, COLUMNS = 16, 128, 192
"""A matrix product whose weights are most of the image."""


def main() -> None:
    """Measure and print."""
    program = compile_graph(gemm(ROWS, DEPTH, COLUMNS, seed=1), CONFIG)
    image = sum(word.nbytes for word in program.image.values())
    text = sum(map(len, program.text.values())) * protocol.text_word_bytes(CONFIG)
    with VirtualBoard(CONFIG) as board, open_device(f"serial:{board.port}") as device:
        before = board.traffic()
        device.load(program)
        spent = board.traffic() - before
    share = (image + text) * BITS_PER_BYTE / spent.bit_times
    print(
        f"{CONFIG.name}: {image:,} bytes of image and {text:,} of text in {spent.bit_times:,.0f} bit times: "
        f"{share:.1%} of the line rate"
    )


if __name__ == "__main__":
    main()
