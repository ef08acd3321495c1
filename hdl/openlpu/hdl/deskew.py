# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The deskew buffer: where vectors wait between the moment at which they came and the cycle that they are due in.

One end follows the wire clock, the other the core clock, which is the same clock with edges left out. So pointers may
be compared as they are, and a vector is written whole before the other end is told.
"""

from typing import Any, cast

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from openlpu.arch.config import ChipConfig
from openlpu.arch.links import DESKEW_DEPTH

__all__ = ["CORE", "DeskewBuffer"]

CORE = "core"
"""The domain of the core clock, where the wire clock is `sync`."""


class DeskewBuffer(wiring.Component):
    """`DESKEW_DEPTH` vectors, first come, first taken. `write` in the wire clock, `take` in the core clock.

    `write` : `vector` is the last one now. Where there is no room, it is lost, and `overflow` set in the next cycle.
    `take` : the first one goes to `data`, where it is in the next cycle.
    `empty` : there is none to take.
    """

    write: Signal
    vector: Signal
    overflow: Signal
    take: Signal
    data: Signal
    empty: Signal

    def __init__(self, *, config: ChipConfig) -> None:
        self._bits = 8 * config.lanes
        super().__init__(
            {
                "write": In(1),
                "vector": In(self._bits),
                "overflow": Out(1),
                "take": In(1),
                "data": Out(self._bits),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """A memory and two pointers, each with a bit more than an address."""
        m = Module()
        words: memory.Memory
        m.submodules.words = words = memory.Memory(shape=cast(Any, unsigned(self._bits)), depth=DESKEW_DEPTH, init=[])
        write, read = words.write_port(), words.read_port(domain=CORE)
        address = exact_log2(DESKEW_DEPTH)
        written, taken = Signal(address + 1), Signal(address + 1)
        full = (written ^ taken) == DESKEW_DEPTH
        m.d.comb += [
            write.en.eq(self.write & ~full),
            write.addr.eq(written),
            write.data.eq(self.vector),
            self.empty.eq(written == taken),
            read.en.eq(self.take),
            read.addr.eq(taken),
            self.data.eq(read.data),
        ]
        m.d.sync += [written.eq(written + write.en), self.overflow.eq(self.write & full)]
        m.d[CORE] += taken.eq(taken + (self.take & ~self.empty))
        return m
