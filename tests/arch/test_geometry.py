# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The floor plan: who stands where, who reaches what; and that a diagonal names a vector."""

from itertools import pairwise

import pytest

from openlpu.arch.config import GROUP, ChipConfig, Reach
from openlpu.arch.geometry import Direction, QueueKind, Stream, geometry
from openlpu.arch.presets import LAB32, NANO, PRESETS, TSP1

ALL = pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
EAST, WEST = Direction.EAST, Direction.WEST


def test_nano_as_drawn() -> None:
    # VXM | MEM 0 1 | MEM 2 3 | SXM | MXM
    chip = geometry(NANO)
    assert {queue.name: queue.hop for queue in chip.queues} == {
        **{f"mem_e{i}.{port}": 1 + i // 2 for i in range(4) for port in ("read", "write")},
        "sxm_e.shift": 3,
        "sxm_e.permute": 3,
        **{f"mxm_e0.{part}": 4 for part in ("weights", "acts", "accs")},
        **{f"vxm.alu{i}": 0 for i in range(6)},
    }
    assert (chip.hops, chip.vxm_hop) == (5, 0)
    assert chip.mem_slices == ("mem_e0", "mem_e1", "mem_e2", "mem_e3")


def test_tsp1_as_published() -> None:
    chip = geometry(TSP1)
    assert len(chip.mem_slices) == 88
    assert len(chip.of_kind(QueueKind.MXM_WEIGHTS)) == 4
    assert len(chip.of_kind(QueueKind.VXM)) == 16
    assert chip.mem_slices[0] == "mem_w0"
    assert chip.mem_slices[44] == "mem_e0"
    assert 88 * TSP1.mem_words * TSP1.lanes == 220 * 2**20


@ALL
def test_hemispheres_mirror_each_other(config: ChipConfig) -> None:
    chip = geometry(config)
    if config.hemispheres == 1:
        assert chip.vxm_hop == 0
        return
    assert chip.vxm_hop * 2 + 1 == chip.hops
    for queue in chip.queues:
        if "_w" in queue.name:
            twin = chip.by_name[queue.name.replace("_w", "_e")]
            assert queue.hop - chip.vxm_hop == chip.vxm_hop - twin.hop
            for mine, other in ((queue.consumes, twin.consumes), (queue.produces, twin.produces)):
                mirrored = {Stream(EAST if s.direction is WEST else WEST, s.index) for s in mine}
                assert mirrored == set(other)


@ALL
def test_queues_are_numbered_and_named(config: ChipConfig) -> None:
    chip = geometry(config)
    assert len(chip.by_name) == len(chip.queues)
    for kind in QueueKind:
        assert [queue.index for queue in chip.of_kind(kind)] == list(range(len(chip.of_kind(kind))))
    for number, unit in enumerate(chip.mem_slices):
        assert chip.by_name[f"{unit}.read"].index == chip.by_name[f"{unit}.write"].index == number
    assert {queue.hop for queue in chip.queues} == set(range(chip.hops))
    for queue in chip.queues:
        order = [(s.direction.value, s.index) for s in queue.consumes]
        assert order == sorted(set(order))


@ALL
def test_slices_share_a_hop(config: ChipConfig) -> None:
    chip = geometry(config)
    hops = [queue.hop for queue in chip.of_kind(QueueKind.MEM_READ)][-config.mem_slices :]
    assert all(hops.count(hop) <= config.slices_per_hop for hop in hops)
    assert all(near <= far <= near + 1 for near, far in pairwise(hops))
    assert len(set(hops)) == config.mem_hops


@ALL
def test_reach(config: ChipConfig) -> None:
    chip = geometry(config)
    for queue in (*chip.of_kind(QueueKind.MEM_READ), *chip.of_kind(QueueKind.MEM_WRITE)):
        reach = queue.produces or queue.consumes
        if config.mem_reach is Reach.OWN:
            number = queue.index % config.mem_slices
            assert reach == (Stream(EAST, number % config.streams), Stream(WEST, number % config.streams))
        else:
            assert len(reach) == 2 * config.streams
    for queue in chip.of_kind(QueueKind.MXM_WEIGHTS):
        outward = EAST if "_e" in queue.name else WEST
        base = chip.weight_stream_base(queue.index)
        assert [s.index for s in queue.consumes] == list(range(base, base + config.weight_streams))
        assert {s.direction for s in queue.consumes} == {outward}
    for acts, accs in zip(chip.of_kind(QueueKind.MXM_ACTS), chip.of_kind(QueueKind.MXM_ACCS), strict=True):
        assert {s.direction for s in acts.consumes} | {s.direction for s in accs.produces} == {EAST, WEST}


def test_planes_of_a_hemisphere_load_from_streams_of_their_own() -> None:
    for config in (LAB32, TSP1):
        chip = geometry(config)
        for side in "we":
            first, second = (chip.by_name[f"mxm_{side}{p}.weights"].consumes for p in (0, 1))
            assert not set(first) & set(second)


@ALL
def test_chains(config: ChipConfig) -> None:
    chip, count = geometry(config), len(config.alus)
    for alu in range(count):
        sources = chip.alu_sources(alu)
        assert {(alu - source) % count for source in sources} == set(config.alus[alu].chain)


def test_a_diagonal_names_a_vector() -> None:
    chip = geometry(NANO)
    for direction in Direction:
        stream = Stream(direction, 0)
        for hop in range(chip.hops):
            for later in range(chip.hops):
                cycles = chip.hops_between(stream, hop, later)
                if cycles >= 0:
                    assert stream.diagonal(10, hop) == stream.diagonal(10 + cycles, later)
        assert stream.diagonal(10, 2) != stream.diagonal(11, 2)
    assert geometry(NANO).hops_between(Stream(EAST, 0), 1, 3) == 2
    assert geometry(NANO).hops_between(Stream(WEST, 0), 1, 3) == -2


@ALL
def test_groups_are_whole(config: ChipConfig) -> None:
    for queue in geometry(config).queues:
        if queue.kind in (QueueKind.VXM, QueueKind.MXM_ACCS):
            for reach in (set(queue.consumes), set(queue.produces)):
                for s in reach:
                    base = s.index - s.index % GROUP
                    assert all(Stream(s.direction, base + plane) in reach for plane in range(GROUP))
