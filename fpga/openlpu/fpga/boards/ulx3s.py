# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""ULX3S with an LFE5U-85F, by Radiona."""

from amaranth_boards.ulx3s import ULX3S_85F_Platform

from .board import Board, LinkPins

_PAIRS = 7
"""Pairs of pins of a header that a link takes: half of its 14. Header J1 has pairs 0 to 13, J2 the others."""


def _link(first: int) -> LinkPins:
    """A link that leaves by pairs of J1, from `first` on, and comes in by the pins of the same places of J2.

    So two flat cables, from J1 of each board to J2 of the other, connect two boards.
    """

    def half(pair: int) -> tuple[str, tuple[str, ...]]:
        # The second pair's first pin is for the clock: on J2 of the first link it leads to a clock net directly.
        clock, names = f"{pair + 1}+", [f"{pair + place}{sign}" for place in range(_PAIRS) for sign in "+-"]
        return clock, tuple(name for name in names if name != clock)

    (tx_clock, tx_data), (rx_clock, rx_data) = half(first), half(first + 2 * _PAIRS)
    return LinkPins(connector=("gpio", 0), tx_clock=tx_clock, tx_data=tx_data, rx_clock=rx_clock, rx_data=rx_data)


BOARD = Board(
    name="ulx3s",
    maker="Radiona",
    make_platform=ULX3S_85F_Platform,
    config="ulx3s16",
    alive=("led", 0),
    running=("led", 1),
    fault=("led", 2),
    links=(_link(0), _link(_PAIRS)),
    loader=("--board", "ulx3s"),
)
