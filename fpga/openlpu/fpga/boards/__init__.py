# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The boards that chips are built for, a module each."""

from . import ecpix5, ulx3s
from .board import Board, LinkPins, Pin

__all__ = ["BOARDS", "Board", "LinkPins", "Pin", "find_board"]

BOARDS = {board.name: board for board in (ulx3s.BOARD, ecpix5.BOARD)}
"""By name."""


def find_board(name: str) -> Board:
    """The board of that name. Raises ValueError when there is none."""
    if name not in BOARDS:
        raise ValueError(f"no board '{name}': there are {', '.join(BOARDS)}")
    return BOARDS[name]
