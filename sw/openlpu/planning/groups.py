# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Groups of chips that share every layer they have, each linked with each; and a line of such groups.

A token goes from group to group. Each chip has links to the one at its place in the next group, and to the one in the
group before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from openlpu.arch.config import GROUP, MAX_LINK_WIDTH, MAX_LINKS, ChipConfig
from openlpu.arch.system import SystemConfig, Topology
from openlpu.compiler.errors import CompileError

_NEIGHBOURS = 2
"""Groups that one in a line is linked with."""


@dataclass(frozen=True)
class Group:
    """So many chips of a kind."""

    chip: ChipConfig
    chips: int
    system: SystemConfig | None
    """The chips and the links among them; None for a single chip."""
    onward: SystemConfig | None
    """A chip, and the one at its place in the next group; None for a group that is alone."""

    @property
    def alone(self) -> bool:
        """Whether there are no other groups."""
        return self.onward is None


def linked(chip: ChipConfig) -> ChipConfig:
    """A chip with links: with its own, or if it has none, as many as a chip can have, as `SystemConfig.of` has them."""
    if chip.c2c_links:
        return chip
    return dataclasses.replace(chip, c2c_links=MAX_LINKS, c2c_width=min(2 * chip.lanes, MAX_LINK_WIDTH))


def line_groups(chip: ChipConfig) -> Iterator[Group]:
    """Groups that a line can be made of, the smallest first; none where a chip has too few links."""
    chip = linked(chip)
    for chips in range(1, chip.c2c_links - _NEIGHBOURS + 2):
        parallel = min(GROUP, (chip.c2c_links - _NEIGHBOURS) // max(chips - 1, 1))
        left = min(GROUP, (chip.c2c_links - parallel * (chips - 1)) // _NEIGHBOURS)
        system = _all(chip, chips, parallel) if chips > 1 else None
        yield Group(chip, chips, system, _all(chip, 2, left))


def lone_groups(chip: ChipConfig) -> Iterator[Group]:
    """Groups that have a whole network, the smallest first. A single chip has no use for links."""
    yield Group(chip, 1, None, None)
    chip = linked(chip)
    for chips in range(2, chip.c2c_links + 2):
        yield Group(chip, chips, _all(chip, chips, min(GROUP, chip.c2c_links // (chips - 1))), None)


def group_of(system: SystemConfig) -> Group:
    """All chips of a system, as it has them.

    Raises:
        CompileError: when they are not all linked with each other.
    """
    if system.topology is not Topology.ALL and system.chips > 2:
        raise CompileError(
            f"system '{system.name}' is a ring, and chips that share layers want links to all others: use 'all_to_all'"
        )
    return Group(system.chip, system.chips, system, None)


def _all(chip: ChipConfig, chips: int, parallel: int) -> SystemConfig:
    return SystemConfig(name=f"{chip.name}x{chips}", chip=chip, chips=chips, parallel=parallel)
