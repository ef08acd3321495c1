# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Flits as bits, systems as graphs, and what is said of systems that cannot be."""

import dataclasses
import random
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from openlpu.arch.bring_up import LinkReport, identified, link_problems
from openlpu.arch.config import ChipConfig, ConfigError
from openlpu.arch.ecc import Verdict
from openlpu.arch.geometry import QueueKind, geometry
from openlpu.arch.links import HEADER_BITS, LINK_BITS, flit_format
from openlpu.arch.presets import LAB32, NANO, TSP1, ULX3S
from openlpu.arch.system import LinkEnd, SystemConfig, Topology

LINKED = dataclasses.replace(NANO, c2c_links=3, c2c_width=8)
CHIPS = [
    LINKED,
    dataclasses.replace(ULX3S, c2c_links=1, c2c_width=4),
    dataclasses.replace(LAB32, c2c_links=7, c2c_width=16),
    dataclasses.replace(TSP1, c2c_links=7, c2c_width=64),
]
SYSTEM = SystemConfig(name="four", chip=LINKED, chips=4)
ALL = pytest.mark.parametrize("config", CHIPS, ids=lambda config: config.name)


@ALL
def test_flits_bring_back_what_went_in(config: ChipConfig) -> None:
    code, rng = flit_format(config), random.Random(1)
    assert code.payload_bits == HEADER_BITS + 8 * config.lanes
    assert code.bits <= code.beats * config.c2c_width < code.bits + config.c2c_width
    for _ in range(20):
        payload = rng.getrandbits(code.payload_bits)
        flit = code.encode(payload)
        assert code.decode(flit) == (payload, Verdict.INTACT)
        wrong = rng.randrange(code.bits)
        assert code.decode(flit ^ 1 << wrong) == (payload, Verdict.CORRECTED)


def test_two_wrong_bits_of_a_code_word_are_always_found() -> None:
    code = flit_format(LINKED)
    assert len(code.words) == 1
    flit = code.encode(0x5A5A5A5A5A5A)
    for a, b in combinations(range(code.bits), 2):
        assert code.decode(flit ^ 1 << a ^ 1 << b)[1] is Verdict.UNCORRECTABLE


@ALL
def test_links_stand_at_the_sxms(config: ChipConfig) -> None:
    chip = geometry(config)
    shifts = chip.of_kind(QueueKind.SXM_SHIFT)
    for link in range(config.c2c_links):
        send, receive = chip.by_name[f"c2c{link}.send"], chip.by_name[f"c2c{link}.receive"]
        sxm = shifts[link % config.hemispheres]
        assert (send.hop, receive.hop) == (sxm.hop, sxm.hop)
        assert (send.consumes, receive.produces) == (sxm.consumes, sxm.produces)
        assert (send.produces, receive.consumes) == ((), ())


def test_links_change_no_other_queue() -> None:
    count = len(geometry(NANO).queues)
    assert geometry(LINKED).queues[:count] == geometry(NANO).queues


@pytest.mark.parametrize("chips", [2, 3, 4, 8])
@pytest.mark.parametrize("topology", Topology)
def test_topologies(topology: Topology, chips: int) -> None:
    chip = dataclasses.replace(LINKED, c2c_links=7)
    system = SystemConfig(name="s", chip=chip, chips=chips, topology=topology)
    for here, there in system.peers.items():
        assert system.peers[there] == here
        assert here.chip != there.chip
    degree = 2 if topology is Topology.RING else chips - 1
    assert len(system.peers) == degree * chips
    assert all(sum(end.chip == chip for end in system.peers) == degree for chip in range(chips))
    # The tree: every chip but the first has one parent, one step nearer to it.
    children = [system.peers[LinkEnd(chip, link)].chip for chip in range(chips) for link in system.children(chip)]
    assert sorted(children) == list(range(1, chips))
    assert system.depths == tuple(min(c, chips - c) if topology is Topology.RING else c > 0 for c in range(chips))
    assert system.parents[0] is None


def test_systems_survive_files(tmp_path: Path) -> None:
    assert SystemConfig.from_dict(SYSTEM.to_dict()) == SYSTEM
    path = tmp_path / "pair.toml"
    alu = '{classes = ["int"], chain = [0]}'
    numbers = "lanes=4\nstreams=4\nmem_slices=2\nmem_words=8\nslices_per_hop=1\nweight_streams=4\nacc_depth=2\n"
    path.write_text(
        f'name="pair"\nchips=2\ntopology="ring"\n[chip]\nname="c"\nimem_words=8\nclock_mhz=50\nc2c_links=2\nc2c_width=4\n'
        f"{numbers}alus=[{alu}]\n"
    )
    system = SystemConfig.from_file(path)
    assert (system.chips, system.topology, system.chip.c2c_width) == (2, Topology.RING, 4)
    with pytest.raises(ConfigError, match=r"nothing\.toml"):
        SystemConfig.from_file(tmp_path / "nothing.toml")
    path.write_text("chips=")
    with pytest.raises(ConfigError, match="config file"):
        SystemConfig.from_file(path)
    path.write_text("chips=2")
    with pytest.raises(ConfigError, match=r"pair\.toml: config fields are missing: 'name', 'chip'$"):
        SystemConfig.from_file(path)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"chips": 1}, "chips"),
        ({"chips": 65}, "chips"),
        ({"chips": 5}, "chip.c2c_links"),
        ({"ppm": 251}, "ppm"),
        ({"ppm": -1}, "ppm"),
        ({"wire_cycles": 0}, "wire_cycles"),
        ({"deskew_cycles": 1 << 20}, "deskew_cycles"),
        ({"deskew_cycles": 4096.0}, "deskew_cycles"),
        ({"chips": 64, "topology": Topology.RING, "wire_cycles": 64}, "chips"),
    ],
)
def test_impossible_systems(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError, match=f"config field '{field}'"):
        dataclasses.replace(SYSTEM, **changes)


def test_unknown_fields_are_named() -> None:
    with pytest.raises(ConfigError, match="speed"):
        SystemConfig.from_dict(SYSTEM.to_dict() | {"speed": 3})
    with pytest.raises(ConfigError, match="star"):
        SystemConfig.from_dict(SYSTEM.to_dict() | {"topology": "star"})


@pytest.mark.parametrize("width", [9, 64])
def test_flits_that_are_too_short(width: int) -> None:
    with pytest.raises(ConfigError, match="'c2c_width': a vector of 4 lanes takes"):
        dataclasses.replace(NANO, c2c_links=1, c2c_width=width)
    # Without links it means nothing.
    dataclasses.replace(NANO, c2c_width=width)


def test_flits_that_are_too_long() -> None:
    with pytest.raises(ConfigError, match="'c2c_width': a vector of 320 lanes takes 2560 cycles on 1 wires"):
        dataclasses.replace(TSP1, c2c_links=1)


def test_time_follows_from_clocks_and_wires() -> None:
    """Longer wires, wilder clocks and rarer alignment cost cycles; without drift there is only rounding."""
    exact = dataclasses.replace(SYSTEM, ppm=0)
    assert (exact.drift, SYSTEM.drift) == (0, 2)
    assert SYSTEM.latency == exact.latency + SYSTEM.drift
    assert SYSTEM.pause == exact.pause + SYSTEM.drift
    assert dataclasses.replace(SYSTEM, wire_cycles=20).latency == SYSTEM.latency + 12
    assert dataclasses.replace(SYSTEM, deskew_cycles=40_000).drift == 9


def test_problems_name_the_link() -> None:
    ends = list(SYSTEM.peers)
    good = [LinkReport(end, True, True, peer, 12) for end, peer in SYSTEM.peers.items()]
    assert link_problems(SYSTEM, good) == []
    bad = [
        LinkReport(ends[0], False, False),
        LinkReport(ends[1], True, False),
        LinkReport(ends[2], True, True, ends[4], 12),
        LinkReport(ends[3], True, True, SYSTEM.peers[ends[3]], SYSTEM.slowest_delay + 1),
        LinkReport(LinkEnd(9, 9), False, False),
    ]
    found = link_problems(SYSTEM, bad)
    assert [problem.split(":")[0] for problem in found] == [str(end) for end in ends[:4]]
    words = ["nothing comes", "does not hear", f"connected to {ends[4]}", f"take {SYSTEM.slowest_delay + 1} cycles"]
    assert all(word in problem for word, problem in zip(words, found, strict=True))


def test_identities() -> None:
    assert identified(63 << LINK_BITS | 15) == LinkEnd(63, 15)
