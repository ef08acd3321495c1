# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""C2C: the part of a chip-to-chip link that belongs to the program, in the core clock. SEND, RECEIVE and DESKEW.

What to send stands in a register until the link has taken it; what came is taken from the deskew buffer. Neither waits:
the link is as fast as the schedule has it, and the vector is there when it says, or there is a fault.
"""

from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import PAUSE_BITS
from openlpu.arch.geometry import QueueKind, geometry

from .decode import queue_ports
from .dispatch import Dispatch
from .link import SendSignature
from .signals import delayed, select

__all__ = ["C2c", "CoreLinkSignature"]


class CoreLinkSignature(wiring.Signature):
    """A link as the core has it: vectors to `send`; `take`, `data` and `empty` as of a `DeskewBuffer`."""

    def __init__(self, config: ChipConfig) -> None:
        super().__init__(
            {
                "send": Out(SendSignature(config)),
                "take": Out(1),
                "data": In(8 * config.lanes),
                "empty": In(1),
            }
        )


class C2c(wiring.Component):
    """Link number `index`: ports as `queue_ports` says, and:

    `link` : the link.
    `pauses`, `pause` : pulse, for a DESKEW, and for how long.
    """

    send_issue: Any
    send_taps: Any
    send_drives: Any
    send_empty: Signal
    receive_issue: Any
    receive_taps: Any
    receive_drives: Any
    receive_empty: Signal
    link: Any
    pauses: Signal
    pause: Signal

    def __init__(self, *, config: ChipConfig, index: int) -> None:
        self._config = config
        self._send = geometry(config).of_kind(QueueKind.C2C_SEND)[index]
        self._receive = geometry(config).of_kind(QueueKind.C2C_RECEIVE)[index]
        super().__init__(
            queue_ports(config, (self._send, self._receive))
            | {"link": Out(CoreLinkSignature(config)), "pauses": Out(1), "pause": Out(PAUSE_BITS)}
        )

    def elaborate(self, platform: object) -> Module:
        """Both directions."""
        m = Module()
        self._elaborate_send(m)
        self._elaborate_receive(m)
        return m

    def _elaborate_send(self, m: Module) -> None:
        dispatch = Dispatch(m, self._config, self._send, self.send_issue)
        instruction = dispatch.instruction
        sends = dispatch.executes("sends", "send")
        source = dispatch.decoded("source", Cat(instruction.choose("send", "s", self._send.consumes)))
        given = select(source, [tap.valid for tap in self.send_taps])
        told = Signal()
        vector = Signal(8 * self._config.lanes, reset_less=True)
        m.d.comb += [
            self.send_empty.eq(delayed(m, "send_empty", sends & ~given, 1)),
            self.link.send.told.eq(told),
            self.link.send.vector.eq(vector),
            self.pauses.eq(dispatch.executes("pauses", "deskew")),
            self.pause.eq(dispatch.decoded("pause", instruction.field("deskew", "n"))),
        ]
        with m.If(sends):
            m.d.sync += [told.eq(~told), vector.eq(select(source, [tap.data for tap in self.send_taps]))]

    def _elaborate_receive(self, m: Module) -> None:
        dispatch = Dispatch(m, self._config, self._receive, self.receive_issue)
        chosen = Cat(dispatch.instruction.choose("receive", "d", self._receive.produces))
        target = dispatch.decoded("target", chosen & dispatch.ahead.replicate(len(chosen)))
        m.d.comb += [
            self.link.take.eq(dispatch.valid),
            self.receive_empty.eq(delayed(m, "receive_empty", dispatch.valid & self.link.empty, 1)),
        ]
        for drive, produce in zip(self.receive_drives, target, strict=True):
            m.d.comb += [drive.valid.eq(produce), drive.data.eq(self.link.data)]
