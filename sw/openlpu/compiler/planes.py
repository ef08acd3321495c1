# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""MXM planes, the slices that feed them, and what that leaves the other slices for.

A plane multiplies what slices of its own hemisphere send outwards. Where more slices reach its weight streams than it
takes, two thirds of those left over are next to the VXM, a third next to the MXM. In the west everything is as in the
east, at the same places.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from openlpu.arch.config import ChipConfig, Reach
from openlpu.arch.geometry import geometry
from openlpu.compiler.errors import CompileError


class Zone(enum.Enum):
    """What a slice is for, apart from weights that have no other place."""

    NEAR = "between the VXM and the slices that feed weight streams"
    FEEDER = "feeds a weight stream"
    FAR = "between those and the MXM"


@dataclass(frozen=True)
class Plane:
    """An MXM plane, and the slices that feed its weight streams, in the order of those streams."""

    index: int
    """Over the chip, as in `Queue.index`."""
    hemisphere: int
    """0 for the east, 1 for the west."""
    feeders: tuple[int, ...]


def eastern(config: ChipConfig) -> range:
    """The slices of the east: those of the west, if there is one, are counted first."""
    first = (config.hemispheres - 1) * config.mem_slices
    return range(first, first + config.mem_slices)


def opposite(slices: Sequence[int], config: ChipConfig) -> tuple[int, ...]:
    """The slices at the same places in the west, if there is one."""
    return tuple(mem_slice - eastern(config).start for mem_slice in slices)


def planes_of(config: ChipConfig) -> tuple[Plane, ...]:
    """All planes, eastern ones first.

    Raises:
        CompileError: when there are too few slices to feed one.
    """
    planes = []
    for hemisphere in range(config.hemispheres):
        taken: list[int] = []
        for number in range(config.mxm_planes):
            index = (config.hemispheres - 1 - hemisphere) * config.mxm_planes + number
            feeders = _feeders(config, geometry(config).weight_stream_base(index), taken)
            taken += feeders
            planes.append(Plane(index, hemisphere, opposite(feeders, config) if hemisphere else feeders))
    return tuple(planes)


def zones_of(config: ChipConfig, planes: Sequence[Plane]) -> dict[int, Zone]:
    """What every slice is for."""
    feeders = {number for plane in planes if plane.hemisphere == 0 for number in plane.feeders}
    zones = {}
    for mem_slice in eastern(config):
        near = mem_slice < min(feeders)
        zones[mem_slice] = Zone.FEEDER if mem_slice in feeders else Zone.NEAR if near else Zone.FAR
        zones[opposite((mem_slice,), config)[0]] = zones[mem_slice]
    return zones


def _feeders(config: ChipConfig, base: int, taken: Sequence[int]) -> tuple[int, ...]:
    """The eastern slices that feed the weight streams from `base` on, none of those `taken` if that can be."""
    slices, chosen = eastern(config), list[int]()
    spare = config.mem_slices - config.mxm_planes * config.weight_streams
    nearest = slices.start + max(spare, 0) * 2 // 3
    for stream in range(base, base + config.weight_streams):
        reaching = [s for s in slices if stream in config.reach(s - slices.start)]
        anyone = [s for s in reaching if s >= nearest] if config.mem_reach is Reach.FULL else reaching
        free = [s for s in anyone if s not in chosen and s not in taken] or [s for s in anyone if s not in chosen]
        if not free:
            raise CompileError(
                f"config '{config.name}': no MEM slice is left to feed weight stream {stream}; "
                f"use fewer weight_streams or more mem_slices"
            )
        chosen.append(free[0])
    return tuple(chosen)
