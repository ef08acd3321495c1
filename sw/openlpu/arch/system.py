# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Many chips: a frozen, validated, serialisable `SystemConfig`, and what follows from it.

All chips of a system are alike. Which link of which chip goes where follows from the topology; how late a vector
arrives, and how often the chips must deskew, from the flits, the longest wire and the clocks' tolerance. That lateness
is a constant of the system: it is what the compiler schedules with, whatever the wires and clocks of one day are.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openlpu.arch.config import (
    GROUP,
    MAX_LINK_WIDTH,
    MAX_LINKS,
    ChipConfig,
    ConfigError,
    from_fields,
    plain_values,
    read_fields,
    read_from,
    require_whole,
)
from openlpu.arch.encoding import PAUSE_BITS
from openlpu.arch.links import CHIP_BITS, HAC_BITS, flit_format
from openlpu.arch.presets import PRESETS, find_config

_ROUNDING = 2
"""By how many cycles two alignment counters may differ from where they should be: each end measures whole cycles, and
half the difference of two such numbers is corrected."""


class Topology(enum.StrEnum):
    """Who is connected to whom."""

    RING = "ring"
    """Link 0 of a chip to link 1 of the next one; the last chip's next one is the first. Where links are parallel, each
    is so many links."""
    ALL = "all_to_all"
    """A link between any two chips: those of a chip go to the others in their order."""


@dataclass(frozen=True, order=True)
class LinkEnd:
    """One end of a link."""

    chip: int
    link: int

    def __str__(self) -> str:
        return f"chip {self.chip} link {self.link}"


@dataclass(frozen=True, kw_only=True)
class SystemConfig:
    """Some chips, all alike, and the links between them.

    Raises:
        ConfigError: on construction, naming the field that is out of range or contradicts another.
    """

    name: str
    """What people call it."""
    chip: ChipConfig
    """Each of the chips."""
    chips: int
    """How many there are."""
    topology: Topology = Topology.ALL
    """Who is connected to whom: `ring` or `all_to_all`."""
    parallel: int = 1
    """Links between any two chips that are connected."""
    wire_cycles: int = 8
    """The longest that anything is on a wire between two chips, jitter included, in cycles."""
    ppm: int = 100
    """By how many millionths a clock may be faster or slower than it should."""
    deskew_cycles: int = 4096
    """The most cycles of a program from its start, or one `deskew`, to the next one or its end."""

    def __post_init__(self) -> None:
        whole = functools.partial(require_whole, self)
        whole("chips", 2, 1 << CHIP_BITS)
        whole("parallel", 1, 16)
        whole("wire_cycles", 1, 64)
        whole("ppm", 0, 250)
        whole("deskew_cycles", 64, 1 << 20)
        needed = max(end.link for end in self.peers) + 1
        if self.chip.c2c_links < needed:
            raise ConfigError(
                f"config field 'chip.c2c_links': {self.chip.c2c_links}, but {self.chips} chips in a topology "
                f"'{self.topology}', with {self.parallel} between two, need {needed} each"
            )
        if self.pause >= 1 << PAUSE_BITS:
            raise ConfigError(
                f"config field 'deskew_cycles': clocks may drift by {self.drift} cycles in {self.deskew_cycles}, and a "
                f"deskew must pause for {self.pause}; {(1 << PAUSE_BITS) - 1} is the most"
            )
        # GO begins with an epoch, and must be everywhere before the epoch ends.
        spread = max(self.depths) * (2 * flit_format(self.chip).beats + self.slowest_delay)
        if spread >= (1 << HAC_BITS) - self.pause:
            raise ConfigError(
                f"config field 'chips': a start takes up to {spread} cycles to reach all {self.chips}, and an epoch "
                f"has {1 << HAC_BITS}"
            )

    def links(self, chip: int, other: int) -> tuple[int, ...]:
        """The links of a chip that go to another one."""
        return tuple(here.link for here, there in self.peers.items() if here.chip == chip and there.chip == other)

    @functools.cached_property
    def peers(self) -> Mapping[LinkEnd, LinkEnd]:
        """The end that each connected end is connected to, in order of chips and links."""
        pairs: dict[LinkEnd, LinkEnd] = {}
        for chip, number in itertools.product(range(self.chips), range(self.parallel)):
            match self.topology:
                case Topology.RING:
                    there = LinkEnd((chip + 1) % self.chips, self.parallel + number)
                    pairs[LinkEnd(chip, number)] = there
                case Topology.ALL:
                    others = [other for other in range(self.chips) if other != chip]
                    for place, other in enumerate(others):
                        there = LinkEnd(other, self.parallel * (chip - (chip > other)) + number)
                        pairs[LinkEnd(chip, self.parallel * place + number)] = there
        return dict(sorted((pairs | {there: here for here, there in pairs.items()}).items()))

    @functools.cached_property
    def parents(self) -> tuple[int | None, ...]:
        """By chip, the link towards chip 0, whose time all others follow: the first of those on a shortest way."""
        depths = self.depths
        return tuple(
            next(
                (here.link for here, there in self.peers.items() if here.chip == chip and depths[there.chip] < depth),
                None,
            )
            for chip, depth in enumerate(depths)
        )

    @functools.cached_property
    def depths(self) -> tuple[int, ...]:
        """By chip, how many links it is away from chip 0."""
        depths, reached = {0: 0}, [0]
        for chip in reached:
            for here, there in self.peers.items():
                if here.chip == chip and there.chip not in depths:
                    depths[there.chip] = depths[chip] + 1
                    reached.append(there.chip)
        return tuple(depths[chip] for chip in range(self.chips))

    def children(self, chip: int) -> tuple[int, ...]:
        """The links of a chip to those whose parent it is."""
        return tuple(
            here.link
            for here, there in self.peers.items()
            if here.chip == chip and self.parents[there.chip] == there.link
        )

    @property
    def drift(self) -> int:
        """Cycles by which two chips may come apart between two times of alignment: of their programs with their
        alignment counters, and of these with each other."""
        return math.ceil((self.deskew_cycles + (1 << HAC_BITS)) * 2 * self.ppm / 1_000_000)

    @property
    def pause(self) -> int:
        """The least that a `deskew` must pause for, so that the slowest chip can catch up."""
        return self.drift + _ROUNDING + 1

    @property
    def slowest_delay(self) -> int:
        """The longest delay of a link that bring-up may measure, in cycles, from a flit's stamp to its reception."""
        return flit_format(self.chip).longest_delay + self.wire_cycles

    @property
    def skew(self) -> int:
        """By how many cycles the programs of two chips may be apart, as a link sees it."""
        return self.drift + 2 * _ROUNDING

    @property
    def latency(self) -> int:
        """From the dispatch of a `send` to the first cycle in which the `receive` of its vector may dispatch.

        A vector waits for the next flit, rides in it, and stands in the deskew buffer one cycle after its reception.
        """
        return flit_format(self.chip).beats + self.slowest_delay + 1 + self.skew

    @property
    def soonest(self) -> int:
        """From the dispatch of a `send` to the last cycle in which a `receive` that makes room for its vector may."""
        return flit_format(self.chip).shortest_delay - 1 - self.skew

    def to_dict(self) -> dict[str, Any]:
        """Plain values only (JSON- and TOML-ready); `from_dict` is its inverse."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SystemConfig:
        """Build a config from plain values.

        Raises:
            ConfigError: for unknown, missing or invalid fields, by name.
        """
        fields = dict(values)
        with plain_values():
            if "chip" in fields:
                fields["chip"] = ChipConfig.from_dict(fields["chip"])
            if "topology" in fields:
                fields["topology"] = Topology(fields["topology"])
            return from_fields(cls, fields)

    @classmethod
    def from_file(cls, path: Path) -> SystemConfig:
        """Read a system from a `.toml` or `.json` file.

        Its chip may have a `base`: a preset, or a file beside this one, of which the other fields are changes.

        Raises:
            ConfigError: when a file is missing, malformed or invalid.
        """
        fields = dict(read_fields(path))
        chip = fields.get("chip")
        if isinstance(chip, Mapping) and "base" in chip:
            base = str(chip["base"])
            known = find_config(base if base in PRESETS else str(path.parent / base))
            fields["chip"] = {**known.to_dict(), **{name: value for name, value in chip.items() if name != "base"}}
        with read_from(path):
            return cls.from_dict(fields)

    @classmethod
    def of(cls, chip: ChipConfig, chips: int) -> SystemConfig:
        """Some chips, each connected to each, with as many links of as many wires as such a chip can have, but no more
        between two than a 32-bit word has bytes.

        Raises:
            ConfigError: when there are too many chips for that.
        """
        parallel = max(1, min(GROUP, MAX_LINKS // max(chips - 1, 1)))
        name, width = f"{chip.name}x{chips}", min(2 * chip.lanes, MAX_LINK_WIDTH)
        linked = dataclasses.replace(chip, name=name, c2c_links=parallel * (chips - 1), c2c_width=width)
        return cls(name=name, chip=linked, chips=chips, parallel=parallel)
