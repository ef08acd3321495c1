# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""One chip that stands for all, against the schedule of all of them."""

from collections import Counter

import pytest

from openlpu.arch.links import DESKEW_DEPTH
from openlpu.arch.presets import LAB32, ULX3S
from openlpu.arch.system import LinkEnd, SystemConfig
from openlpu.compiler.kernels import KernelGraph
from openlpu.compiler.partition import Deal
from openlpu.compiler.place import Placement
from openlpu.compiler.representative import fullest, schedule_representative
from openlpu.compiler.system_schedule import SystemSchedule, schedule_system
from openlpu.llm.decode import layer_decoding
from openlpu.llm.quantise import quantise
from openlpu.llm.workloads import random_layer, random_text

SMALL = {"hidden": 48, "heads": 5, "kv_heads": 5, "head_size": 16, "ffn": 112, "context": 16}
SMOLLM2 = {"hidden": 576, "heads": 9, "kv_heads": 3, "head_size": 64, "ffn": 1536, "context": 128}
NEAR = 0.05
"""By what part of all cycles the two may differ."""


def layer(sizes: dict[str, int], system: SystemConfig) -> KernelGraph:
    checkpoint = random_layer(**sizes, seed=3)
    model = quantise(checkpoint, [random_text(checkpoint, 4)])
    return layer_decoding(model, sizes["context"], system.chip, shared=True).kernels


def both(
    sizes: dict[str, int], system: SystemConfig, chip: int | None = None
) -> tuple[int, SystemSchedule, SystemSchedule]:
    """A chip that stands for all, the fullest unless another is meant, its schedule, and that of all."""
    deal = Deal(layer(sizes, system), system.chips, system.chip.lanes)
    chip, graphs = fullest(deal, system.chips) if chip is None else chip, [deal.share(n) for n in range(system.chips)]
    placements = [Placement(graph, system.chip) for graph in graphs]
    alone = schedule_representative(graphs[chip], Placement(graphs[chip], system.chip), chip, system)
    return chip, alone, schedule_system(graphs, placements, system)


@pytest.mark.parametrize("chips", [2, 3])
def test_it_takes_as_long_as_all(chips: int) -> None:
    chip, alone, together = both(SMALL, SystemConfig.of(ULX3S, chips))
    assert abs(alone.cycles - together.cycles) <= NEAR * together.cycles
    assert {hop.receiver.chip for hop in alone.hops} == {chip}


@pytest.mark.parametrize("chip", [0, 1, 2])
def test_whatever_the_others_have_comes_to_it(chip: int) -> None:
    # Of five heads and seven columns two chips have more than the third.
    _, alone, together = both(SMALL, SystemConfig.of(ULX3S, 3), chip)
    come = Counter((hop.sender.chip, hop.buffer) for hop in alone.hops)
    assert come == Counter((hop.sender.chip, hop.buffer) for hop in together.hops if hop.receiver.chip == chip)


def test_links_are_what_they_are_for_all() -> None:
    system = SystemConfig.of(ULX3S, 3)
    _, alone, _ = both(SMALL, system)
    assert all(hop.received >= hop.sent + system.latency for hop in alone.hops)
    by_link: dict[LinkEnd, list[tuple[int, int]]] = {}
    for hop in alone.hops:
        by_link.setdefault(hop.receiver, []).append((hop.sent, hop.received))
    for hops in by_link.values():
        assert hops == sorted(hops)
        freed = zip(hops[DESKEW_DEPTH:], hops, strict=False)
        assert all(sent + system.soonest > received for (sent, _), (_, received) in freed)


@pytest.mark.regress
@pytest.mark.parametrize("chips", [2, 4, 8])
def test_it_takes_as_long_as_all_in_a_layer_of_smollm2(chips: int) -> None:
    _, alone, together = both(SMOLLM2, SystemConfig.of(LAB32, chips))
    print(f"{chips} chips: {alone.cycles} cycles by one, {together.cycles} by all")
    assert abs(alone.cycles - together.cycles) <= NEAR * together.cycles
