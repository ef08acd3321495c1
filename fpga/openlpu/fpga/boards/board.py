# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What there is to say of a board."""

from collections.abc import Callable
from dataclasses import dataclass

from amaranth.vendor import LatticeECP5Platform

from openlpu.runtime.serial_wire import BAUD

from ..device import DEVICES, Device

__all__ = ["Board", "LinkPins", "Pin"]

Pin = tuple[str, int] | tuple[str, int, str]
"""A resource of a platform, its number, and perhaps one of its parts: ("led", 0), ("rgb_led", 2, "r")."""


@dataclass(frozen=True, kw_only=True)
class LinkPins:
    """Where a link leaves a board and comes in, by the names that pins have on a connector of its platform.

    What leaves by a pin comes in at the other board by that of the same place: `rx_clock` for `tx_clock`, and so on.
    """

    connector: tuple[str, int]
    tx_clock: str
    tx_data: tuple[str, ...]
    """As many as there are: a chip with fewer wires takes the first ones."""
    rx_clock: str
    rx_data: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board with an ECP5, for which chips are built.

    Pins, their electrical attributes, device, package and oscillator are the platform's, and stand nowhere else.
    """

    name: str
    maker: str
    make_platform: Callable[[], LatticeECP5Platform]
    """From amaranth-boards, as a rule: a platform serves one build."""
    config: str
    """The preset that is built unless another is asked for."""
    alive: Pin
    """An LED that blinks once a second while the chip has a clock and is not in reset."""
    running: Pin
    """An LED that is on while a program runs, and a little longer, to be seen."""
    fault: Pin
    """An LED that is on while the chip says `fault`."""
    uart: Pin = ("uart", 0)
    """The serial line to the host, with parts `rx` and `tx`."""
    baud: int = BAUD
    """Of that line: what the driver expects unless told another rate."""
    links: tuple[LinkPins, ...] = ()
    """Of the links that a chip may have, the first one first."""
    loader: tuple[str, ...]
    """Arguments by which openFPGALoader knows the board."""

    @property
    def device(self) -> Device:
        """What is on the board."""
        return DEVICES[self.make_platform().device]

    @property
    def oscillator_hz(self) -> float:
        """Of the platform's default clock."""
        return float(self.make_platform().default_clk_frequency)
