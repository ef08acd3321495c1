# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""ULX3S with an LFE5U-85F, by Radiona."""

from amaranth_boards.ulx3s import ULX3S_85F_Platform

from .board import Board

BOARD = Board(
    name="ulx3s",
    maker="Radiona",
    make_platform=ULX3S_85F_Platform,
    config="ulx3s",
    alive=("led", 0),
    running=("led", 1),
    fault=("led", 2),
    loader=("--board", "ulx3s"),
)
