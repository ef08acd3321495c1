# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The one kind of memory on the chip: SRAM of the slices, accumulators, instruction text.

What a read returns while its word is being written is left open: the schedule never asks, and block RAM that need not
answer costs nothing beside itself. In the Verilog a size is a module of its own, so that a memory macro can stand in.
"""

from typing import Any, cast

from amaranth.hdl import Module, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import Out
from amaranth.utils import ceil_log2

from .shared import SharedComponent

__all__ = ["Ram"]


class Ram(SharedComponent):
    """`depth` words of `width` bits: `read` is a synchronous read port, `write` a write port, both as Amaranth's.

    Every word is 0 until it is written.
    """

    read: Any
    write: Any

    def __init__(self, *, depth: int, width: int) -> None:
        self._depth = depth
        self._width = width
        # The stubs tie the shape of a port's signature to a type that only a port has.
        address, word = ceil_log2(depth), cast(Any, unsigned(width))
        super().__init__(
            {
                "read": Out(memory.ReadPort.Signature(addr_width=address, shape=word)),
                "write": Out(memory.WritePort.Signature(addr_width=address, shape=word)),
            },
            like=(depth, width),
            module_name=f"ram_{depth}x{width}",
        )

    def body(self) -> Module:
        """The words and their ports."""
        m = Module()
        words: memory.Memory
        m.submodules.words = words = memory.Memory(
            # Else Yosys, to whom a read answers with the old word, builds that beside the block RAM.
            shape=unsigned(self._width),
            depth=self._depth,
            init=[],
            attrs=cast(Any, {"no_rw_check": 1}),
        )
        wiring.connect(m, wiring.flipped(self.read), words.read_port())
        wiring.connect(m, wiring.flipped(self.write), words.write_port())
        return m
