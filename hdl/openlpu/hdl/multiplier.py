# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The multiplier of the MXM: a module of its own, so that what a device has for it can stand in.

An FPGA has a few hundred multipliers with registers in them, which synthesis does not always find, and there are more
MACs than multipliers. So the choice is made by instance, when a chip is built for a device; here is what it does.
"""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib.wiring import In, Out

from .decode import delayed
from .shared import SharedComponent

__all__ = ["Multiplier"]


class Multiplier(SharedComponent):
    """The exact `product` of two int8, `stages` cycles later."""

    a: Signal
    b: Signal
    product: Signal

    def __init__(self, *, stages: int) -> None:
        self._stages = stages
        super().__init__(
            {"a": In(signed(8)), "b": In(signed(8)), "product": Out(signed(16))},
            like=stages,
            module_name=f"multiplier_{stages}",
        )

    def body(self) -> Module:
        """The product behind its registers."""
        m = Module()
        m.d.comb += self.product.eq(delayed(m, "product", self.a * self.b, self._stages, reset_less=True))
        return m
