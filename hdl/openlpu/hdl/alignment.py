# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Time that several chips agree on: alignment counters, the common start of a program, and DESKEW.

The names are Groq's. The *hardware alignment counter* (HAC) counts cycles of the wire clock, and follows that of the
parent, the next chip on the way to chip 0; an epoch is once around. The *software alignment counter* (SAC) counts
cycles of the program. A chip that is to pause adds the pause to its SAC, and its core clock stands still until the HAC
is there. So the SACs of all chips are where their HACs are, and as far apart, however fast each has run.
"""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import PAUSE_BITS
from openlpu.arch.links import HAC_BITS
from openlpu.arch.timing import timing

from .signals import named

__all__ = ["Alignment"]

_EPOCH = 1 << HAC_BITS
_ALIGNED_EPOCHS = 2
"""In a row in which there was nothing to put right but what rounding makes: only then is the counter aligned."""


class Alignment(wiring.Component):
    """The counters of a chip, in the wire clock.

    `root` : this is chip 0; others follow the HAC at the other end of the link to their parent.
    `measured`, `delay`, `peer_delay` : of that link, both ends' `Word.DELAY`, as soon as there are any.
    `hac` : the alignment counter.
    `aligned` : it agrees with the parent's.
    `arm` : pulse: the program is to start as soon as every chip wants to.
    `armed` : until then.
    `children_ready` : all chips that have this one for a parent, and those behind them, want to.
    `ready` : so do they and this one. To be told to the parent.
    `parent_go`, `go` : the epoch ends with the start. From the parent, and to be told to the children.
    `start` : pulse: the program starts.
    `deskew` : changes when the program is to pause, for `pause` cycles and what it takes to align the SAC.
    `hold` : the core clock has no edge at the end of this cycle.
    `missed` : pulse: the chip had fallen behind by more than the pause, and is no longer where the others are.
    `cycle` : of the program, as the first queue's dispatch counts it; negative before the first.
    """

    root: Signal
    measured: Signal
    delay: Signal
    peer_delay: Signal
    hac: Signal
    aligned: Signal
    arm: Signal
    armed: Signal
    children_ready: Signal
    ready: Signal
    parent_go: Signal
    go: Signal
    start: Signal
    deskew: Signal
    pause: Signal
    hold: Signal
    missed: Signal
    cycle: Signal

    def __init__(self, *, config: ChipConfig) -> None:
        times = timing(config)
        self._until_cycle_0 = 1 + times.starting + times.first_dispatch + times.notify
        super().__init__(
            {
                "root": In(1),
                "measured": In(1),
                "delay": In(HAC_BITS),
                "peer_delay": In(HAC_BITS),
                "hac": Out(HAC_BITS),
                "aligned": Out(1),
                "arm": In(1),
                "armed": Out(1),
                "children_ready": In(1),
                "ready": Out(1),
                "parent_go": In(1),
                "go": Out(1),
                "start": Out(1),
                "deskew": In(1),
                "pause": In(PAUSE_BITS),
                "hold": Out(1),
                "missed": Out(1),
                "cycle": Out(signed(32)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Count, follow, start, and pause."""
        m = Module()
        follows = self._elaborate_counter(m)
        begins = named(m, "begins", self.hac == 0)
        self._elaborate_start(m, begins)
        self._elaborate_pause(m, follows)
        return m

    def _elaborate_counter(self, m: Module) -> Signal:
        """Drive `hac` and `aligned`; returns the next value of `hac`."""
        # Both ends' delays add up to what the wire takes there and back, whatever the counters are. Half of it is what
        # this end would measure if it were aligned.
        there_and_back = named(m, "there_and_back", (self.delay + self.peer_delay)[:HAC_BITS])
        wrong = Signal(signed(HAC_BITS))
        m.d.comb += wrong.eq((there_and_back >> 1) - self.delay)
        # In the middle of an epoch, so that none begins twice or not at all; and once, though a counter that is set
        # back comes there again. In the half that is left, and the next one's first, both ends measure again.
        corrected = Signal()
        corrects = named(m, "corrects", ~self.root & self.measured & ~corrected & (self.hac == _EPOCH // 2))
        with m.If(self.hac == 0):
            m.d.sync += corrected.eq(0)
        with m.If(corrects):
            m.d.sync += corrected.eq(1)
        following = Signal(HAC_BITS)
        m.d.comb += following.eq(self.hac + 1 + Mux(corrects, wrong, 0))
        m.d.sync += self.hac.eq(following)
        rounding = (wrong <= 1) & (wrong >= -1)
        good = Signal(range(_ALIGNED_EPOCHS + 1))
        m.d.comb += self.aligned.eq(self.root | (good == _ALIGNED_EPOCHS))
        with m.If(corrects):
            m.d.sync += good.eq(Mux(rounding, Mux(self.aligned, good, good + 1), 0))
        return following

    def _elaborate_start(self, m: Module, begins: Signal) -> None:
        m.d.comb += [
            self.ready.eq(self.armed & self.aligned & self.children_ready),
            self.start.eq(self.armed & self.go & begins),
        ]
        with m.If(self.arm):
            m.d.sync += self.armed.eq(1)
        with m.If(self.ready & Mux(self.root, begins, self.parent_go)):
            m.d.sync += self.go.eq(1)
        with m.If(self.start):
            m.d.sync += [self.armed.eq(0), self.go.eq(0)]

    def _elaborate_pause(self, m: Module, following: Signal) -> None:
        sac, done = Signal(HAC_BITS), Signal()
        pauses = named(m, "pauses", self.deskew ^ done)
        next_sac = Signal(HAC_BITS)
        m.d.comb += next_sac.eq(
            Mux(self.start, following, sac + Mux(self.hold, 0, 1) + Mux(pauses & ~self.hold, self.pause, 0))
        )
        ahead = Signal(signed(HAC_BITS))
        m.d.comb += ahead.eq(next_sac - following)
        m.d.sync += sac.eq(next_sac)
        with m.If(self.hold | pauses):
            m.d.sync += self.hold.eq(ahead > 0)
        with m.If(~self.hold):
            m.d.sync += [done.eq(self.deskew), self.missed.eq(pauses & (ahead < 0))]
        with m.If(self.start):
            m.d.sync += self.cycle.eq(1 - self._until_cycle_0)
        with m.Elif(~self.hold):
            m.d.sync += self.cycle.eq(self.cycle + 1)
