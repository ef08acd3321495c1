# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The SXM in Amaranth's simulator against numpy."""

import dataclasses

import numpy as np
import pytest
from tests.hdl.units import UnitBench

from openlpu.arch.config import ChipConfig, PipelineConfig
from openlpu.arch.geometry import QueueKind, geometry
from openlpu.arch.isa import BY_MNEMONIC
from openlpu.arch.presets import NANO
from openlpu.arch.timing import timing
from openlpu.hdl.sxm import Sxm

WIDE = dataclasses.replace(NANO, lanes=20, pipeline=PipelineConfig(dispatch=2, lanes=3))
CONFIGS = [NANO, WIDE]


@pytest.mark.parametrize("config", CONFIGS, ids=["nano", "wide"])
def test_lanes_move(config: ChipConfig) -> None:
    """An instruction a cycle in both units: every shift distance, random and out-of-range maps, every lane."""
    rng = np.random.default_rng(5)
    lanes = config.lanes
    shift, permute = (geometry(config).of_kind(kind)[0] for kind in (QueueKind.SXM_SHIFT, QueueKind.SXM_PERMUTE))
    bench = UnitBench(config, Sxm(config=config, index=0))
    expected = {}
    streams, half = shift.consumes, config.streams
    for cycle, distance in enumerate(range(1 - lanes, lanes)):
        row = timing(config).latency(BY_MNEMONIC["shift"], shift)
        assert row.skew is not None
        assert row.func is not None
        source, target = (streams[i] for i in rng.integers(half, size=2))
        vector = rng.integers(-128, 128, lanes)
        bench.at(cycle, shift, "shift", s=source, d=target, n=distance)
        bench.put(cycle + row.skew, source, vector)
        moved = [vector[i - distance] if 0 <= i - distance < lanes else 0 for i in range(lanes)]
        expected[target, cycle + row.func] = [int(x) for x in moved]
    for cycle in range(4 * lanes):
        mnemonic = ("permute", "distribute")[cycle % 2]
        row = timing(config).latency(BY_MNEMONIC[mnemonic], permute)
        assert row.skew is not None
        assert row.func is not None
        source, places, target = (streams[half + i] for i in rng.permutation(half)[:3])
        vector = rng.integers(-128, 128, lanes)
        lane_map = rng.integers(0, (lanes, lanes + 2, 256)[cycle // 2 % 3], lanes)
        bench.put(cycle + row.skew, source, vector)
        if mnemonic == "permute":
            bench.put(cycle + row.skew, places, lane_map)
            bench.at(cycle, permute, "permute", s=source, m=places, d=target)
            chosen = [vector[place] if place < lanes else 0 for place in lane_map]
        else:
            lane = cycle // 2 % lanes
            bench.at(cycle, permute, "distribute", s=source, d=target, n=lane)
            chosen = [vector[lane]] * lanes
        expected[target, cycle + row.func] = [int(x) for x in chosen]
    bench.run(4 * lanes + 10)
    assert bench.produced == expected
    assert bench.empty == []


def test_faults() -> None:
    shift, permute = (geometry(NANO).of_kind(kind)[0] for kind in (QueueKind.SXM_SHIFT, QueueKind.SXM_PERMUTE))
    source, places, target = shift.consumes[:3]
    skew = NANO.pipeline.dispatch
    bench = UnitBench(NANO, Sxm(config=NANO, index=0))
    vector = np.zeros(NANO.lanes)
    bench.at(0, shift, "shift", s=source, d=target, n=1)
    bench.at(10, permute, "permute", s=source, m=places, d=target)
    bench.put(10 + skew, source, vector)
    bench.at(20, permute, "permute", s=source, m=places, d=target)
    bench.put(20 + skew, places, vector)
    bench.at(30, permute, "distribute", s=source, d=target, n=1)
    bench.at(40, permute, "distribute", s=source, d=target, n=1)
    bench.put(40 + skew, source, vector)
    bench.run(50)
    names = [shift.name, *[permute.name] * 3]
    assert bench.empty == [(name, cycle + skew) for name, cycle in zip(names, (0, 10, 20, 30), strict=True)]
