# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What stands around a chip on a board: clock, reset, serial line and three LEDs."""

from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Const, Instance, Module, ResetSignal, Signal
from amaranth.lib import io, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out
from amaranth.vendor import LatticeECP5Platform

from openlpu.hdl.generate import HOSTED_TOP

from .boards import Board, Pin
from .device import Pll

__all__ = ["TOP", "BoardTop", "Indicators", "surroundings"]

TOP = "board"
"""Name of the top module."""
_RESET_CYCLES = 1 << 16
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


class BoardTop(wiring.Component):
    """A board with the chip's Verilog on it as an instance of `HOSTED_TOP`. Its pins are the platform's.

    The clock comes from the PLL. Reset holds from configuration, and whenever the PLL has no lock, until the PLL has
    been locked for a while.
    """

    def __init__(self, *, board: Board, pll: Pll) -> None:
        self._board = board
        self._pll = pll
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
            i_rst=ResetSignal(),
            i_rx=rx.i,
            o_tx=tx.o,
            o_running=indicators.running,
            o_fault=indicators.fault,
        )
        for name in ("alive", "running", "fault"):
            led = io.Buffer(io.Direction.Output, _port(platform, getattr(self._board, name)))
            m.submodules[f"{name}_led"] = led
            m.d.comb += led.o.eq(getattr(indicators, f"{name}_led"))
        return m

    def _elaborate_clock(self, m: Module, platform: LatticeECP5Platform) -> None:
        m.domains.sync = ClockDomain()
        # What counts until the reset ends cannot have one.
        m.domains.power_on = ClockDomain(reset_less=True, local=True)
        oscillator = io.Buffer(io.Direction.Input, _port(platform, (str(platform.default_clk), 0)))
        m.submodules.oscillator = oscillator
        clock = Signal()
        locked = Signal()
        m.submodules.pll = _pll(self._pll, oscillator.i, clock, locked)
        m.d.comb += [ClockSignal("sync").eq(clock), ClockSignal("power_on").eq(clock)]

        stable = Signal()
        m.submodules.lock = FFSynchronizer(locked, stable, o_domain="power_on")
        waited = Signal(range(_RESET_CYCLES))
        reset = Signal(init=1)
        m.d.power_on += reset.eq(waited != _RESET_CYCLES - 1)
        with m.If(~stable):
            m.d.power_on += waited.eq(0)
        with m.Elif(waited != _RESET_CYCLES - 1):
            m.d.power_on += waited.eq(waited + 1)
        m.d.comb += ResetSignal("sync").eq(reset)


def surroundings(board: Board, pll: Pll) -> tuple[str, str]:
    """RTLIL of `BoardTop`, named `TOP`, and the constraints of pins and oscillator (LPF)."""
    plan = board.make_platform().prepare(BoardTop(board=board, pll=pll), TOP, emit_src=False)
    rtlil, constraints = (plan.files[f"{TOP}.{kind}"] for kind in ("il", "lpf"))
    return _text(rtlil), _text(constraints)


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
