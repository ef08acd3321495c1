# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What one chip of a group has of a part of a network, and what the scheduler says of it: cycles, SRAM, text, links.

Nothing here is computed by a formula: the share of the chip that has most is placed and scheduled like a program, and
stands for all chips of its group.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from openlpu.arch.config import ChipConfig
from openlpu.arch.geometry import Queue, QueueKind, geometry
from openlpu.arch.links import flit_format
from openlpu.compiler.assemble import assemble
from openlpu.compiler.graph import Port
from openlpu.compiler.kernel_work import weight_cycles
from openlpu.compiler.kernels import AllGatherKernel, Buffer, KernelGraph
from openlpu.compiler.partition import Deal
from openlpu.compiler.place import Placement
from openlpu.compiler.representative import fullest, schedule_representative
from openlpu.compiler.schedule import Schedule, schedule
from openlpu.compiler.system_schedule import schedule_system
from openlpu.planning.groups import Group

_CARRIED = "hidden"
"""What goes from group to group."""


@dataclass(frozen=True)
class Room:
    """Words of SRAM that a share takes on its chip."""

    weights: int
    """Whole tiles of `lanes` x `lanes`."""
    caches: int
    """Keys and values of all positions, with the windows that they lie in."""
    all: int
    fullest: int
    """Of the slice that has most: what does not fit there does not fit."""


@dataclass(frozen=True)
class Cost:
    """What a run of a share takes."""

    cycles: int
    weight_cycles: int
    """For which all planes load weights, without a pause."""
    text: int
    """Instruction words of the queue that is fullest, of those with most departures among their kind..."""
    text_room: int
    """...and how many its memory holds."""
    vectors: int
    """That a chip sends over the link that is used most..."""
    link_cycles: int
    """...and for how long that link is busy with them."""


class Share:
    """Of some kernels what the fullest chip of a group has, placed in its SRAM.

    Raises:
        CompileError: when it does not fit.
    """

    def __init__(self, kernels: KernelGraph, group: Group) -> None:
        self._group = group
        self._chip, self._graph = 0, kernels
        self.dealt: Mapping[str, tuple[int, ...]] = {}
        """By buffer that all chips have a part of: of how many rows each computes what is in them."""
        if group.system is not None:
            deal = Deal(kernels, group.chips, group.chip.lanes)
            self._chip = fullest(deal, group.chips)
            self._graph = deal.share(self._chip)
            numbers = range(group.chips)
            self.dealt = {
                name: tuple(int((own == chip).sum()) for chip in numbers) for name, own in deal.owners.items()
            }
        self._graph.verify()
        self._placement = Placement(self._graph, group.chip)

    @functools.cached_property
    def room(self) -> Room:
        """What it takes of SRAM."""
        placement, config = self._placement, self._group.chip
        return Room(
            weights=len(placement.lasting.tiles) * config.lanes,
            caches=len(placement.kept),
            all=placement.words.given,
            fullest=placement.words.fullest(range(config.hemispheres * config.mem_slices)),
        )

    def cost(self) -> Cost:
        """Schedule it.

        Raises:
            CompileError: when the chip has too few streams or ALU paths, or its text is longer than its memory.
        """
        group, sent = self._group, Counter[int]()
        if group.system is None:
            scheduled = schedule(self._graph, self._placement, group.chip)
        else:
            together = schedule_representative(self._graph, self._placement, self._chip, group.system)
            (scheduled,) = together.chips
            sends = geometry(group.chip).of_kind(QueueKind.C2C_SEND)
            for queue in sends:
                runs = scheduled.dispatches.get(queue.name, ())
                sent[queue.index] = sum(run.count for run in runs if run.instruction.spec.mnemonic == "send")
        vectors = max(sent.values(), default=0)
        text, text_room = self._fullest_text(scheduled)
        return Cost(
            cycles=scheduled.cycles,
            weight_cycles=weight_cycles(self._graph, group.chip),
            text=text,
            text_room=text_room,
            vectors=vectors,
            link_cycles=vectors * flit_format(group.chip).beats if vectors else 0,
        )

    def _fullest_text(self, scheduled: Schedule) -> tuple[int, int]:
        """Words, and how many its memory holds.

        To write the text of every queue takes longer than all else, and queues of a kind are much alike.
        """
        config, dispatches = self._group.chip, scheduled.dispatches
        used = [queue for queue in geometry(config).queues if queue.name in dispatches]
        busiest: dict[QueueKind, Queue] = {}
        for queue in sorted(used, key=lambda queue: len(dispatches[queue.name])):
            busiest[queue.kind] = queue
        text = assemble({queue.name: dispatches[queue.name] for queue in busiest.values()}, scheduled.cycles, config)
        rooms = {queue.name: queue.text_words for queue in busiest.values()}
        return max(((len(words), rooms[name]) for name, words in text.items()), key=lambda full: full[0] / full[1])


def fewest_words(kernels: KernelGraph, group: Group) -> int:
    """A lower bound of the words that the constant weights of a share take, without placing anything."""
    chips, lanes = group.chips, group.chip.lanes
    return max(Deal(kernels, chips, lanes).tiles(chip) for chip in range(chips)) * lanes


def hop_cycles(elements: int, group: Group) -> int:
    """Cycles that a hidden vector of so many elements takes from one group to the next, from SRAM to SRAM: each chip
    sends the rows that it has computed last, and the group to come gathers them."""
    assert group.onward is not None, "a group that is alone"
    config = group.chip
    rows = math.ceil(math.ceil(elements / config.lanes) / group.chips)
    graphs = [_carrying(rows, chip, config) for chip in range(2)]
    placements = [Placement(graph, config) for graph in graphs]
    return max(hop.arrived for hop in schedule_system(graphs, placements, group.onward).hops)


def _carrying(rows: int, chip: int, config: ChipConfig) -> KernelGraph:
    """The rows of a vector go from chip 0 to chip 1."""
    port = Port(_CARRIED, _CARRIED, "float32", (rows, config.lanes))
    inputs = ((port, _CARRIED),) if chip == 0 else ()
    buffer = Buffer(_CARRIED, rows, config.lanes, wide=True)
    return KernelGraph(_CARRIED, (buffer,), (AllGatherKernel(_CARRIED, (0,) * rows, chip),), inputs, ())
