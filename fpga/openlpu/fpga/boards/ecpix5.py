# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""ECPIX-5 with an LFE5UM5G-85F, by LambdaConcept."""

from amaranth_boards.ecpix5 import ECPIX585Platform

from .board import Board

BOARD = Board(
    name="ecpix5",
    maker="LambdaConcept",
    make_platform=ECPIX585Platform,
    config="ulx3s16",
    alive=("rgb_led", 0, "g"),
    running=("rgb_led", 1, "b"),
    fault=("rgb_led", 2, "r"),
    loader=("--board", "ecpix5"),
)
