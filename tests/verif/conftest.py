# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""One Verilated chip per config and test process."""

from collections.abc import Callable, Iterator

import pytest

from openlpu.arch.config import ChipConfig
from openlpu.verif.rtl_port import RtlChip


@pytest.fixture(scope="session")
def rtl_chip() -> Iterator[Callable[[ChipConfig], RtlChip]]:
    """The running simulation of a config, started at its first use."""
    chips: dict[str, RtlChip] = {}

    def chip(config: ChipConfig) -> RtlChip:
        if config.digest not in chips:
            chips[config.digest] = RtlChip(config)
        return chips[config.digest]

    yield chip
    for running in chips.values():
        running.close()
