# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The SXM in Amaranth's simulator against numpy."""

import dataclasses

import numpy as np
import pytest
from tests.hdl.units import UnitBench

from openlpu.arch.config import GROUP, ChipConfig, PipelineConfig
from openlpu.arch.geometry import Direction, Queue, QueueKind, Stream, geometry
from openlpu.arch.isa import BY_MNEMONIC, Value
from openlpu.arch.presets import NANO
from openlpu.arch.timing import timing
from openlpu.hdl.sxm import Sxm

WIDE = dataclasses.replace(NANO, lanes=20, pipeline=PipelineConfig(dispatch=2, lanes=3))
RAGGED = dataclasses.replace(NANO, lanes=6, streams=4, weight_streams=3, pipeline=PipelineConfig(dispatch=0, lanes=2))
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


@pytest.mark.parametrize("config", [NANO, WIDE, RAGGED], ids=["nano", "wide", "ragged"])
def test_groups_and_masks(config: ChipConfig) -> None:
    """Every distance of a rotation among shifts and selections, transposes among distributions, one a cycle."""
    rng = np.random.default_rng(8)
    lanes = config.lanes
    shift, permute = (geometry(config).of_kind(kind)[0] for kind in (QueueKind.SXM_SHIFT, QueueKind.SXM_PERMUTE))
    bench = UnitBench(config, Sxm(config=config, index=0))
    expected: dict[tuple[Stream, int], list[int]] = {}
    inputs = {}
    for cycle in range(12 * lanes + 20):
        for stream in geometry(config).streams():
            inputs[stream, cycle] = vector = rng.integers(-128, 128, lanes) * rng.integers(0, 2, lanes)
            bench.put(cycle, stream, vector)

    def latency(queue: Queue, mnemonic: str) -> tuple[int, int]:
        row = timing(config).latency(BY_MNEMONIC[mnemonic], queue)
        assert row.skew is not None
        assert row.func is not None
        return row.skew, row.func

    def any_group(direction: Direction) -> Stream:
        return Stream(direction, GROUP * int(rng.integers(config.streams // GROUP)))

    def any_stream(direction: Direction) -> Stream:
        return Stream(direction, int(rng.integers(config.streams)))

    # The units share their hop, so each has a direction to itself.
    for cycle in range(12 * lanes):
        distance = cycle // 3 % (2 * lanes - 1) + 1 - lanes
        mnemonic = ("rotate", "select", "shift")[cycle % 3]
        skew, func = latency(shift, mnemonic)
        sampled, stands = cycle + skew, cycle + func
        if mnemonic == "rotate":
            s, d = any_group(Direction.WEST), any_group(Direction.EAST)
            bench.at(cycle, shift, "rotate", s=s, d=d, n=distance)
            for source, target in zip(s.planes, d.planes, strict=True):
                expected[target, stands] = np.roll(inputs[source, sampled], distance).tolist()
        elif mnemonic == "select":
            s, mask, d = any_stream(Direction.WEST), any_stream(Direction.EAST), any_stream(Direction.EAST)
            bench.at(cycle, shift, "select", s=s, m=mask, d=d)
            expected[d, stands] = np.where(inputs[mask, sampled] != 0, inputs[s, sampled], 0).tolist()
        else:
            s, d = any_stream(Direction.EAST), any_stream(Direction.EAST)
            bench.at(cycle, shift, "shift", s=s, d=d, n=distance)
            padded = np.concatenate([np.zeros(lanes, int), inputs[s, sampled], np.zeros(lanes, int)])
            expected[d, stands] = padded[lanes - distance :][:lanes].tolist()

        mnemonic = ("transpose", "distribute")[cycle % 2]
        skew, func = latency(permute, mnemonic)
        sampled, stands = cycle + skew, cycle + func
        if mnemonic == "transpose":
            s, d = any_group(Direction.EAST), any_group(Direction.WEST)
            bench.at(cycle, permute, "transpose", s=s, d=d)
            blocks = np.zeros((GROUP, -(-lanes // GROUP) * GROUP), int)
            blocks[:, :lanes] = [inputs[plane, sampled] for plane in s.planes]
            turned = blocks.reshape(GROUP, -1, GROUP).transpose(2, 1, 0).reshape(GROUP, -1)
            for plane, target in enumerate(d.planes):
                expected[target, stands] = turned[plane, :lanes].tolist()
        else:
            s, d, lane = any_stream(Direction.EAST), any_stream(Direction.WEST), int(rng.integers(lanes))
            bench.at(cycle, permute, "distribute", s=s, d=d, n=lane)
            expected[d, stands] = [int(inputs[s, sampled][lane])] * lanes
    bench.run(12 * lanes + 20)
    assert bench.produced == expected
    assert bench.empty == []


@pytest.mark.parametrize("mnemonic", ["rotate", "select", "transpose"])
def test_each_stream_of_an_operand_must_stand(mnemonic: str) -> None:
    spec = BY_MNEMONIC[mnemonic]
    queue = geometry(NANO).of_kind(spec.kinds[0])[0]
    skew = NANO.pipeline.dispatch
    bench = UnitBench(NANO, Sxm(config=NANO, index=0))
    group = Stream(Direction.EAST, 4).planes
    fields: dict[str, Value] = {"s": group[0], "d": Stream(Direction.WEST, 4)}
    fields |= {"m": group[3]} if mnemonic == "select" else {"n": 1} if mnemonic == "rotate" else {}
    sampled = (group[0], group[3]) if mnemonic == "select" else group
    for number, absent in enumerate((None, *sampled)):
        bench.at(10 * number, queue, mnemonic, **fields)
        for stream in sampled:
            if stream != absent:
                bench.put(10 * number + skew, stream, np.zeros(NANO.lanes))
    bench.run(60)
    assert bench.empty == [(queue.name, 10 * number + skew) for number in range(1, len(sampled) + 1)]
