# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What stands around a chip on a board: clock, serial line, three LEDs, and the wires of links."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from amaranth.build import Attrs, Pins, Resource, Subsignal
from amaranth.hdl import ClockDomain, ClockSignal, Const, DomainRenamer, Instance, Module, Signal
from amaranth.lib import io, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2
from amaranth.vendor import LatticeECP5Platform

from openlpu.arch.config import ChipConfig
from openlpu.hdl.generate import HOSTED_TOP

from .boards import Board, LinkPins, Pin
from .clock_gate import Ecp5ClockGate
from .device import Pll

__all__ = ["TOP", "BoardTop", "ClockStart", "Indicators", "surroundings"]

TOP = "board"
"""Name of the top module."""
_STABLE_CYCLES = 1 << 16
"""Of a clock that is right: about a millisecond, long enough for every supply."""
_SHOWN_HZ = 10
"""What happens is shown for at least a tenth of a second."""


class Indicators(wiring.Component):
    """Three LEDs for people, in domain `sync`.

    `running`, `fault` : of the chip.
    `alive_led` : on and off once a second.
    `running_led` : on while the chip runs, and for 0.1 s after it.
    `fault_led` : on while the chip says fault.
    """

    running: In(1)
    fault: In(1)
    alive_led: Out(1)
    running_led: Out(1)
    fault_led: Out(1)

    def __init__(self, *, clock_hz: float) -> None:
        self._shown_cycles = max(round(clock_hz / _SHOWN_HZ), 1)
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        """Count tenths of a second, and those since the last run."""
        m = Module()
        cycles = Signal(range(self._shown_cycles))
        tenths = Signal(range(_SHOWN_HZ))
        left = Signal(range(self._shown_cycles + 1))
        with m.If(cycles == self._shown_cycles - 1):
            m.d.sync += [cycles.eq(0), tenths.eq(tenths + 1)]
            with m.If(tenths == _SHOWN_HZ - 1):
                m.d.sync += tenths.eq(0)
        with m.Else():
            m.d.sync += cycles.eq(cycles + 1)
        with m.If(self.running):
            m.d.sync += left.eq(self._shown_cycles)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        m.d.comb += [
            self.alive_led.eq(tenths < _SHOWN_HZ // 2),
            self.running_led.eq(left != 0),
            self.fault_led.eq(self.fault),
        ]
        return m


class ClockStart(wiring.Component):
    """When a clock begins that is right for the first time, and that it ends for good when it is not any more.

    `stable` : it is right.
    `begun` : from some `cycles` (a power of two) of that on, until it is not. A register.
    """

    stable: In(1)
    begun: Out(1)

    def __init__(self, *, cycles: int) -> None:
        self._cycles = cycles
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        """Count up to a bit above those that count."""
        m = Module()
        waited, lost = Signal(exact_log2(self._cycles) + 1), Signal()
        with m.If(waited[-1]):
            m.d.sync += lost.eq(lost | ~self.stable)
        with m.Elif(self.stable):
            m.d.sync += waited.eq(waited + 1)
        with m.Else():
            m.d.sync += waited.eq(0)
        m.d.sync += self.begun.eq(waited[-1] & ~lost)
        return m


class BoardTop(wiring.Component):
    """A board with the chip's Verilog on it as an instance of `HOSTED_TOP`. Its pins are the platform's.

    There is no reset: configuration leaves every register as it begins, and the chip has no clock before the PLL has
    been locked for a while. If the lock is ever lost, it has none until the device is configured again: nobody knows
    what the last cycles did.
    """

    def __init__(self, *, board: Board, pll: Pll, links: Sequence[LinkPins]) -> None:
        self._board = board
        self._pll = pll
        self._links = links
        super().__init__({})

    def elaborate(self, platform: LatticeECP5Platform) -> Module:
        """Put the parts together."""
        m = Module()
        self._elaborate_clock(m, platform)
        uart = _port(platform, self._board.uart)
        m.submodules.rx = rx = io.Buffer(io.Direction.Input, uart.rx)
        m.submodules.tx = tx = io.Buffer(io.Direction.Output, uart.tx)
        m.submodules.indicators = indicators = Indicators(clock_hz=self._pll.output_hz)
        m.submodules.chip = Instance(
            HOSTED_TOP,
            i_clk=ClockSignal(),
            i_rst=Const(0),
            i_rx=rx.i,
            o_tx=tx.o,
            o_running=indicators.running,
            o_fault=indicators.fault,
            **self._elaborate_links(m, platform),
        )
        for name in ("alive", "running", "fault"):
            led = io.Buffer(io.Direction.Output, _port(platform, getattr(self._board, name)))
            m.submodules[f"{name}_led"] = led
            m.d.comb += led.o.eq(getattr(indicators, f"{name}_led"))
        return m

    def _elaborate_links(self, m: Module, platform: LatticeECP5Platform) -> dict[str, Signal]:
        """The wires of links, and the ports of the chip that they go to.

        All pass flip-flops of the pins themselves, so that it does not matter how far away the chip was placed.
        """
        ports: dict[str, Signal] = {}
        for number, pins in enumerate(self._links):
            platform.add_resources([_link_resource(number, pins)])
            wires: Any = platform.request("c2c", number, dir="-")
            domain: Any = ClockDomain(f"c2c{number}", local=True, reset_less=True)
            clock: Any = io.Buffer(io.Direction.Input, wires.rx_clock)
            comes: Any = io.FFBuffer(io.Direction.Input, wires.rx_data, i_domain=domain.name)
            forwarded: Any = io.DDRBuffer(io.Direction.Output, wires.tx_clock)
            leaves: Any = io.FFBuffer(io.Direction.Output, wires.tx_data)
            m.domains += domain
            for name, buffer in (("rx_clock", clock), ("rx_data", comes), ("tx_clock", forwarded), ("tx_data", leaves)):
                m.submodules[f"c2c{number}_{name}"] = buffer
            arrived = Signal(name=f"c2c{number}_clock")
            m.d.comb += [
                arrived.eq(clock.i),
                domain.clk.eq(arrived),
                # Its edge is in the middle of a beat.
                forwarded.o[0].eq(0),
                forwarded.o[1].eq(1),
            ]
            platform.add_clock_constraint(arrived, self._pll.output_hz)
            ports |= {
                f"i_c2c{number}_rx__clock": arrived,
                f"i_c2c{number}_rx__data": comes.i,
                f"o_c2c{number}_tx__data": leaves.o,
            }
        return ports

    def _elaborate_clock(self, m: Module, platform: LatticeECP5Platform) -> None:
        # The clock of the PLL, which is there before that of the chip.
        m.domains.early = ClockDomain(reset_less=True, local=True)
        m.domains.sync = ClockDomain(reset_less=True)
        oscillator = io.Buffer(io.Direction.Input, _port(platform, (str(platform.default_clk), 0)))
        m.submodules.oscillator = oscillator
        clock, locked = Signal(), Signal()
        m.submodules.pll = _pll(self._pll, oscillator.i, clock, locked)
        gate = Ecp5ClockGate()
        m.submodules.gate = DomainRenamer("early")(gate)
        m.d.comb += [ClockSignal("early").eq(clock), ClockSignal("sync").eq(gate.clock)]

        stable = Signal()
        m.submodules.lock = FFSynchronizer(locked, stable, o_domain="early")
        m.submodules.start = start = DomainRenamer("early")(ClockStart(cycles=_STABLE_CYCLES))
        m.d.comb += [start.stable.eq(stable), gate.enable.eq(start.begun)]


def surroundings(board: Board, pll: Pll, config: ChipConfig) -> tuple[str, str]:
    """RTLIL of `BoardTop`, named `TOP`, and the constraints of pins and clocks (LPF).

    Raises ValueError when the board has no pins for the chip's links.
    """
    top = BoardTop(board=board, pll=pll, links=_used(board, config))
    plan = board.make_platform().prepare(top, TOP, emit_src=False)
    rtlil, constraints = (plan.files[f"{TOP}.{kind}"] for kind in ("il", "lpf"))
    return _text(rtlil), _text(constraints)


def _used(board: Board, config: ChipConfig) -> Sequence[LinkPins]:
    """The pins of the links that a chip has. Raises ValueError when there are not as many."""
    width = min((len(pins.tx_data) for pins in board.links), default=0)
    if config.c2c_links > len(board.links) or (config.c2c_links and config.c2c_width > width):
        raise ValueError(
            f"config '{config.name}' has {config.c2c_links} links of {config.c2c_width} wires, and board {board.name} "
            f"has pins for {len(board.links)} of {width}"
        )
    return [
        dataclasses.replace(pins, tx_data=pins.tx_data[: config.c2c_width], rx_data=pins.rx_data[: config.c2c_width])
        for pins in board.links[: config.c2c_links]
    ]


def _link_resource(number: int, pins: LinkPins) -> Resource:
    def wires(names: Iterable[str], direction: str) -> Pins:
        return Pins(" ".join(names), dir=direction, conn=pins.connector)

    return Resource(
        "c2c",
        number,
        Subsignal("tx_clock", wires([pins.tx_clock], "o")),
        Subsignal("tx_data", wires(pins.tx_data, "o")),
        Subsignal("rx_clock", wires([pins.rx_clock], "i")),
        Subsignal("rx_data", wires(pins.rx_data, "i")),
        Attrs(IO_TYPE="LVCMOS33"),
    )


def _text(content: str | bytes) -> str:
    return content if isinstance(content, str) else content.decode()


def _port(platform: LatticeECP5Platform, pin: Pin) -> Any:
    name, number, *parts = pin
    port = platform.request(name, number, dir="-")
    for part in parts:
        port = getattr(port, part)
    return port


def _pll(settings: Pll, clock_in: Signal, clock_out: Signal, locked: Signal) -> Instance:
    """EHXPLLL with its first output fed back; analogue settings as Project Trellis's ecppll gives them."""
    return Instance(
        "EHXPLLL",
        a_ICP_CURRENT="12",
        a_LPF_RESISTOR="8",
        a_MFG_ENABLE_FILTEROPAMP="1",
        a_MFG_GMCREF_SEL="2",
        p_PLLRST_ENA="DISABLED",
        p_INTFB_WAKE="DISABLED",
        p_STDBY_ENABLE="DISABLED",
        p_DPHASE_SOURCE="DISABLED",
        p_OUTDIVIDER_MUXA="DIVA",
        p_OUTDIVIDER_MUXB="DIVB",
        p_OUTDIVIDER_MUXC="DIVC",
        p_OUTDIVIDER_MUXD="DIVD",
        p_CLKI_DIV=settings.input_div,
        p_CLKOP_ENABLE="ENABLED",
        p_CLKOP_DIV=settings.output_div,
        p_CLKOP_CPHASE=settings.output_div // 2,
        p_CLKOP_FPHASE=0,
        p_FEEDBK_PATH="CLKOP",
        p_CLKFB_DIV=settings.feedback_div,
        i_CLKI=clock_in,
        i_CLKFB=clock_out,
        i_RST=Const(0),
        i_STDBY=Const(0),
        i_PHASESEL0=Const(0),
        i_PHASESEL1=Const(0),
        i_PHASEDIR=Const(1),
        i_PHASESTEP=Const(1),
        i_PHASELOADREG=Const(1),
        i_PLLWAKESYNC=Const(0),
        i_ENCLKOP=Const(0),
        o_CLKOP=clock_out,
        o_LOCK=locked,
    )
