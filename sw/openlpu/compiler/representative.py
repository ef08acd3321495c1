# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""One chip of many, scheduled for all of them.

Chips that have a network dealt out to them do nearly the same in the same cycles. So one that has most of it can stand
for the others: whenever it sends vectors, each of them sends it what it has computed meanwhile, over the same link.
That takes as long as to schedule one chip, however many there are, and says how long the program of all would be; but
it is no program, as nobody has looked at what the others do.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from openlpu.arch.system import LinkEnd, SystemConfig
from openlpu.compiler.kernels import AllGatherKernel, KernelGraph
from openlpu.compiler.links import Parcel
from openlpu.compiler.partition import Deal
from openlpu.compiler.place import Placement
from openlpu.compiler.system_schedule import Delivery, SystemSchedule, SystemScheduler


def fullest(deal: Deal, chips: int) -> int:
    """The chip that stands for all: of those that have a part of all that is gathered, the one with most weights."""
    sharing = [chip for chip in range(chips) if all((owners == chip).any() for owners in deal.owners.values())]
    return max(sharing, key=lambda chip: (deal.tiles(chip), -chip))


def schedule_representative(
    graph: KernelGraph, placement: Placement, chip: int, system: SystemConfig
) -> SystemSchedule:
    """The schedule of a chip of a system, whose graph this is, as if all others were like it.

    Raises:
        CompileError: when the chip has too few streams or ALU paths for a kernel, or two chips have no link.
    """
    return _Representative({chip: graph}, {chip: placement}, system).run()


class _Representative(SystemScheduler):
    """A system of whose chips one is scheduled."""

    def gather(self, kernels: Sequence[AllGatherKernel]) -> None:
        """Send what the chip has, and receive what the others send meanwhile."""
        (kernel,) = kernels
        name, owners, own = kernel.output, np.array(kernel.owners), kernel.chip
        self.owners = owners
        chip = self.chips[own]
        parcels = [
            (int(chip.ready[name, parcel.column][parcel.row]), parcel)
            for parcel in self.parcels(name, own, np.flatnonzero(owners == own).tolist())
        ]
        others = [other for other in range(self.system.chips) if other != own]
        for _, parcel in sorted(parcels, key=lambda entry: entry[0]):
            self.reserve_pauses()
            self.send(own, parcel, others)
        for column in range(len(chip.placement.buffers[name])):
            # What nobody has been seen to send is there when everything is.
            ready = chip.ready[name, column]
            ready[(ready == 0) & (owners != own)] = ready.max()

    def deliveries(self, end: LinkEnd, parcel: Parcel) -> Iterator[Delivery]:
        """What is received when a parcel is sent at an end: what the other chip has at its place, at the same end."""
        peer = self.system.peers[end]
        rows = _counterpart(parcel, _runs(self.owners == end.chip), _runs(self.owners == peer.chip))
        if rows:
            ready = int(self.chips[end.chip].ready[parcel.buffer, parcel.column][parcel.row])
            alike = Parcel(parcel.buffer, parcel.column, parcel.plane, rows.start, len(rows))
            yield Delivery(peer, end, alike, (ready,) * len(rows))


def _runs(mine: np.typing.NDArray[np.bool_]) -> list[range]:
    """Rows that a chip has, in parts that lie next to each other."""
    rows = np.flatnonzero(mine).tolist()
    starts = [i for i, row in enumerate(rows) if i == 0 or row != rows[i - 1] + 1]
    return [range(rows[first], rows[last - 1] + 1) for first, last in itertools.pairwise([*starts, len(rows)])]


def _counterpart(parcel: Parcel, mine: Sequence[range], others: Sequence[range]) -> range:
    """The rows that another chip has where the parcel's are among one's own; with the last ones all that are left."""
    number = next(number for number, run in enumerate(mine) if parcel.row in run)
    if number >= len(others):
        return range(0)
    run, other = mine[number], others[number]
    first, last = parcel.row - run.start, parcel.row + parcel.count - run.start
    return other[first:] if last == len(run) else other[first:last]
