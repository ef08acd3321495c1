# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The area of the presets that fit an ECP5 is what is committed. After a change that is meant: `make area`."""

import pytest

from openlpu.arch.config import ChipConfig
from openlpu.fpga import area
from openlpu.fpga.toolchain import find_toolchain


def test_every_preset_has_figures() -> None:
    assert set(area.read_figures()) == {config.name for config in area.CONFIGS}


@pytest.mark.regress
@pytest.mark.parametrize("config", area.CONFIGS, ids=lambda config: config.name)
def test_area(config: ChipConfig) -> None:
    assert area.differences(area.units_of(config, find_toolchain()), area.read_figures()[config.name]) == []
