# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A chip with chip-to-chip links: the core, its links, and the time that it has in common with other chips.

There are two clocks. The *wire clock* is that of the board: links and alignment counters never stop. The *core clock*
is the same with edges left out: the program does not notice, as nothing else does that it deals with. DESKEW leaves
edges out; nothing else does.
"""

from types import SimpleNamespace
from typing import Any

from amaranth.hdl import C, Cat, ClockDomain, ClockSignal, DomainRenamer, Module, Mux, ResetSignal, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Member, Out

from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import bits_for
from openlpu.arch.links import CHIP_BITS, HAC_BITS, LINK_BITS

from .alignment import Alignment
from .chip import Chip, ChipSignature, link_name
from .clock_gate import ClockGate
from .deskew import CORE, DeskewBuffer
from .errors import COUNT_BITS
from .link import Link, WireSignature
from .shared import Library
from .signals import select

__all__ = [
    "LinkedChip",
    "LinkedHostSignature",
    "LinkedSignature",
    "host_signature",
    "wire_ports",
    "wires_name",
]


def wires_name(link: int, way: str) -> str:
    """The port of a `LinkedChip` to the wires of a link: `tx` or `rx`."""
    return f"c2c{link}_{way}"


def wire_ports(config: ChipConfig) -> dict[str, Member]:
    """The ports of a chip to the wires of its links: `c2c{k}_tx` and `c2c{k}_rx` of link k. None without links."""
    ports: dict[str, Member] = {}
    for link in range(config.c2c_links):
        ports[wires_name(link, "tx")] = Out(WireSignature(config))
        ports[wires_name(link, "rx")] = In(WireSignature(config))
    return ports


def host_signature(config: ChipConfig) -> wiring.Signature:
    """The ports of a chip, with links or without, that are for a host."""
    return LinkedHostSignature(config) if config.c2c_links else ChipSignature(config)


class LinkedHostSignature(wiring.Signature):
    """What a host has of a chip with links: those ports of `ChipSignature` that are not between core and links, and:

    `c2c_chip`, `c2c_root`, `c2c_parent`, `c2c_children` : what this chip is in its system: its number; whether that
        is 0; the link to its parent; and, bit by bit, its links to chips that it is the parent of. They change only
        while the chip is reset.
    `c2c_runs` : the core clock has an edge at the end of this cycle.
    `c2c_aligned` : its time is that of its parent.
    `c2c_missed` : it has fallen behind the others since the start, by more than a DESKEW could make up for.
    `c2c_link` : the link that the rest is about, one cycle later.
    `c2c_hears` : it knows where the other end's flits begin.
    `c2c_up` : so does the other, and flits come and go.
    `c2c_peer` : who sends them: number of its link in the lowest bits, and above it number of the chip.
    `c2c_delay` : how long they take, in cycles from `Word.STAMP` to reception, where both chips are aligned.
    `c2c_corrected`, `c2c_uncorrectable` : flits with wrong bits since the reset.
    `c2c_fault` : since the start, a flit was uncorrectable, or a vector had no room, or no more flits came.
    `c2c_fault_cycle` : of the program, in which the first such thing was found.

    `host_start` starts the program together with those of the other chips: `running` is set, and nothing runs, until
    all of them were told to.
    """

    def __init__(self, config: ChipConfig) -> None:
        inside = {link_name(link) for link in range(config.c2c_links)} | {"deskew", "deskew_pause"}
        ports: dict[str, Member] = {
            name: member for name, member in ChipSignature(config).members.items() if name not in inside
        }
        super().__init__(
            ports
            | {
                "c2c_chip": In(CHIP_BITS),
                "c2c_root": In(1),
                "c2c_parent": In(bits_for(config.c2c_links)),
                "c2c_children": In(config.c2c_links),
                "c2c_runs": Out(1),
                "c2c_aligned": Out(1),
                "c2c_missed": Out(1),
                "c2c_link": In(bits_for(config.c2c_links)),
                "c2c_hears": Out(1),
                "c2c_up": Out(1),
                "c2c_peer": Out(HAC_BITS),
                "c2c_delay": Out(HAC_BITS),
                "c2c_corrected": Out(COUNT_BITS),
                "c2c_uncorrectable": Out(COUNT_BITS),
                "c2c_fault": Out(1),
                "c2c_fault_cycle": Out(32),
            }
        )


class LinkedSignature(wiring.Signature):
    """All ports of a chip with links: `LinkedHostSignature` and `wire_ports`."""

    def __init__(self, config: ChipConfig) -> None:
        super().__init__({**LinkedHostSignature(config).members, **wire_ports(config)})


class LinkedChip(wiring.Component):
    """One chip of a system, with the ports of `LinkedSignature`.

    Raises ValueError when the config asks for something that has no RTL.
    """

    host_start: Signal
    host_reruns: Signal
    running: Signal
    fault: Signal
    c2c_chip: Signal
    c2c_root: Signal
    c2c_parent: Signal
    c2c_children: Signal
    c2c_runs: Signal
    c2c_aligned: Signal
    c2c_missed: Signal
    c2c_link: Signal
    c2c_hears: Signal
    c2c_up: Signal
    c2c_peer: Signal
    c2c_delay: Signal
    c2c_corrected: Signal
    c2c_uncorrectable: Signal
    c2c_fault: Signal
    c2c_fault_cycle: Signal

    def __init__(self, *, config: ChipConfig) -> None:
        self._config = config
        self._core = Chip(config=config)
        super().__init__(LinkedSignature(config))

    @property
    def host(self) -> Any:
        """An interface: the ports of `LinkedHostSignature`."""
        signature = LinkedHostSignature(self._config)
        return SimpleNamespace(signature=signature, **{name: getattr(self, name) for name in signature.members})

    def elaborate(self, platform: object) -> Module:
        """Put the parts together."""
        m = Module()
        config = self._config
        m.submodules.alignment = alignment = Alignment(config=config)
        self._elaborate_core(m, platform, alignment)
        links = [self._link(m, number, alignment) for number in range(config.c2c_links)]
        self._elaborate_tree(m, alignment, links)
        self._elaborate_status(m, alignment, links)
        return m

    def _elaborate_core(self, m: Module, platform: object, alignment: Alignment) -> None:
        """The core behind its clock, and what the host has to do with it."""
        core = self._core
        m.domains.core = ClockDomain(CORE, local=True)
        m.submodules.gate = gate = ClockGate()
        m.d.comb += [
            gate.enable.eq(~alignment.hold),
            ClockSignal(CORE).eq(gate.clock),
            ResetSignal(CORE).eq(ResetSignal()),
        ]
        if isinstance(platform, Library):
            clock, reset = ClockSignal(CORE), ResetSignal(CORE)
            m.submodules.core = platform.module(core, lambda: core, key=CORE, name=CORE, clock=clock, reset=reset)
        else:
            m.submodules.core = DomainRenamer(CORE)(core)
        reruns = Signal.like(self.host_reruns)
        m.d.comb += [
            alignment.arm.eq(self.host_start & ~self.running),
            alignment.deskew.eq(core.deskew),
            alignment.pause.eq(core.deskew_pause),
            core.host_start.eq(alignment.start),
            core.host_reruns.eq(reruns),
        ]
        # The core says that it is running one cycle late.
        starting = Signal()
        m.d.sync += starting.eq(alignment.start)
        m.d.comb += self.running.eq(core.running | alignment.armed | starting)
        with m.If(alignment.arm):
            m.d.sync += reruns.eq(self.host_reruns)
        for name, member in ChipSignature(self._config).members.items():
            if name in LinkedSignature(self._config).members and name not in ("host_start", "host_reruns", "running"):
                inside, outside = getattr(core, name), getattr(self, name)
                m.d.comb += inside.eq(outside) if member.flow is In else outside.eq(inside)

    def _link(self, m: Module, number: int, alignment: Alignment) -> tuple[Link, DeskewBuffer]:
        m.submodules[f"link{number}"] = link = Link(config=self._config)
        m.submodules[f"deskew{number}"] = buffer = DeskewBuffer(config=self._config)
        core = getattr(self._core, link_name(number))
        wiring.connect(m, wiring.flipped(getattr(self, wires_name(number, "tx"))), link.tx)
        wiring.connect(m, wiring.flipped(getattr(self, wires_name(number, "rx"))), link.rx)
        wiring.connect(m, core.send, link.send)
        m.d.comb += [
            link.identity.eq(Cat(C(number, LINK_BITS), self.c2c_chip)),
            link.hac.eq(alignment.hac),
            link.ready.eq(alignment.ready),
            link.go.eq(alignment.go),
            buffer.write.eq(link.arrived),
            buffer.vector.eq(link.vector),
            buffer.take.eq(core.take),
            core.data.eq(buffer.data),
            core.empty.eq(buffer.empty),
        ]
        return link, buffer

    def _elaborate_tree(self, m: Module, alignment: Alignment, links: list[tuple[Link, DeskewBuffer]]) -> None:
        """What is told to the parent and the children, and by them."""
        parents = [(self.c2c_parent == number) & ~self.c2c_root for number in range(len(links))]

        def parent(name: str) -> Value:
            return select(parents, [getattr(link, name) for link, _ in links])

        ready = Cat(link.peer_ready & link.up for link, _ in links)
        m.d.comb += [
            alignment.root.eq(self.c2c_root),
            alignment.measured.eq(parent("measured")),
            alignment.delay.eq(parent("delay")),
            alignment.peer_delay.eq(parent("peer_delay")),
            alignment.parent_go.eq(parent("peer_go")),
            alignment.children_ready.eq((ready | ~self.c2c_children).all()),
            self.c2c_aligned.eq(alignment.aligned),
            self.c2c_runs.eq(~alignment.hold),
        ]

    def _elaborate_status(self, m: Module, alignment: Alignment, links: list[tuple[Link, DeskewBuffer]]) -> None:
        chosen = [self.c2c_link == number for number in range(len(links))]
        shown: dict[str, list[Value]] = {}
        for number, (link, buffer) in enumerate(links):
            counts = {name: Signal(COUNT_BITS, name=f"{name}{number}") for name in ("corrected", "uncorrectable")}
            for name, count in counts.items():
                m.d.sync += count.eq(Mux(count.all(), count, count + getattr(link, name)))
            fault = Signal(name=f"fault{number}")
            cycle = Signal(32, name=f"fault_cycle{number}")
            silent = Signal(name=f"silent{number}")
            m.d.sync += silent.eq(link.silent)
            wrong = link.uncorrectable | buffer.overflow | (link.silent & ~silent)
            with m.If(wrong & ~fault):
                m.d.sync += [fault.eq(1), cycle.eq(alignment.cycle)]
            with m.If(alignment.start):
                m.d.sync += [fault.eq(link.silent), cycle.eq(0)]
            values = {
                "hears": link.hears,
                "up": link.up,
                "peer": link.peer_identity,
                "delay": link.delay,
                **counts,
                "fault": fault,
                "fault_cycle": cycle,
            }
            for name, value in values.items():
                shown.setdefault(name, []).append(value)
        for name, values_of in shown.items():
            m.d.sync += getattr(self, f"c2c_{name}").eq(select(chosen, values_of))
        with m.If(alignment.missed):
            m.d.sync += self.c2c_missed.eq(1)
        with m.If(alignment.start):
            m.d.sync += self.c2c_missed.eq(0)
