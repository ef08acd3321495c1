# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""When the tiles of an output column pass through the array, where one column follows the other in step.

Times are relative to the cycle in which the first row meets the last tile of the column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from openlpu.compiler.timeline import Flight

_MOST_GAPS = 8
"""Cycles in which no weights are loaded, of a column, at most."""


@dataclass(frozen=True)
class Flow:
    """The way of an output column through the array."""

    loads: list[tuple[int, int, int]]
    """(position of a tile, row group, when that is loaded)."""
    meets: list[int]
    """When the first row meets each tile."""
    finish: tuple[int, ...] | None = None
    """When each row meets the last tile; None for one after the other, as fast as can be."""

    def apart(self, last_row: int, ahead: int) -> int:
        """Cycles from a column to the next one, at least, whose last row meets its last tile at `last_row`.

        The next one's first tile may not come to the shadow buffer before that has left it; and a row meets the tile
        that has been installed `ahead` cycles before, which may not be the next one's.
        """
        loads = [at for _, _, at in self.loads]
        first_install = max(at for position, _, at in self.loads if position == 0)
        return max(max(loads) - min(loads), last_row - first_install - ahead) + 1


@dataclass(frozen=True)
class Pace:
    """How fast a plane takes tiles."""

    groups: int
    """Loads of a tile, one a cycle; the last installs it."""
    ahead: int
    """Cycles from that load to the first row that may meet the tile."""
    turns: int
    """Cycles from a row that meets the last tile to the next one, at least, as the chain behind can take them."""


def straight(tiles: int, rows: int, pace: Pace) -> Flow:
    """Tiles that are met by `rows` rows each, as soon as one may follow the other."""
    loads: list[tuple[int, int, int]] = []
    meets: list[int] = []
    for position in range(tiles):
        # The shadow buffer is free behind one install; the next may not take the array from the rows before.
        first = max(loads[-1][2] + 1, meets[-1] + rows - pace.ahead - pace.groups + 1) if loads else 0
        loads += [(position, group, first + group) for group in range(pace.groups)]
        meets.append(loads[-1][2] + pace.ahead)
    back = meets[-1]
    return Flow([(position, group, at - back) for position, group, at in loads], [meet - back for meet in meets])


def even(tiles: int, rows: int, pace: Pace, load: Flight, finish: Flight) -> Flow | None:
    """Tiles that are met for longer than they take to load, all loads at equal distances: that is short text. Rows meet
    the last tile in cycles in which `finish`, of one of them, needs nothing that a `load` needs. None where there are
    too few such cycles."""
    wanted = dict(load.claims)
    taken = [offset - wanted[key] for key, offset in finish.claims if key in wanted]
    least = -(-rows // pace.groups)
    for apart in range(least, least + _MOST_GAPS):
        period = apart * pace.groups
        free: list[int] = []
        for at in range(period):
            in_turn = not free or at >= free[-1] + pace.turns
            if in_turn and all((at + other + pace.ahead) % apart for other in taken):
                free.append(at)
        if len(free) >= rows:
            meets = [period * (position + 1 - tiles) for position in range(tiles)]
            loads = [
                (position, group, meet - pace.ahead - apart * (pace.groups - 1 - group))
                for position, meet in enumerate(meets)
                for group in range(pace.groups)
            ]
            return Flow(loads, meets, tuple(free[:rows]))
    return None


def with_gaps(tiles: int, rows: int, pace: Pace, load: Flight, finish: Flight) -> Flow | None:
    """Tiles loaded in all cycles but those in which `finish`, at time 0 of every column, needs a slice or a stream that
    a `load` needs, too: so many columns overlap, and the next comes as soon as can be. None if too late."""
    wanted = dict(load.claims)
    taken = [offset - wanted[key] for key, offset in finish.claims if key in wanted]
    count = tiles * pace.groups
    for period in range(count, count + _MOST_GAPS):
        blocked = {offset % period for offset in taken}
        free = [at for at in range(-pace.ahead, -pace.ahead - period, -1) if at % period not in blocked]
        if len(free) < count:
            continue
        times = free[count - 1 :: -1]
        installs = times[pace.groups - 1 :: pace.groups]
        if installs[0] + period + pace.ahead >= rows:
            loads = [(*divmod(number, pace.groups), at) for number, at in enumerate(times)]
            return Flow(loads, [*(at + pace.ahead for at in installs[:-1]), 0])
    return None


def flows(tiles: int, rows: int, pace: Pace, load: Flight, finish: Flight, row: Flight) -> Iterator[Flow]:
    """The ways that are worth trying; see `straight`, `even` and `with_gaps`. `row` is what the first one does of the
    rows that `finish`."""
    evenly = even(tiles, rows, pace, load, row) if rows > pace.groups else None
    if evenly is not None:
        yield evenly
        return
    yield straight(tiles, rows, pace)
    gapped = with_gaps(tiles, rows, pace, load, finish)
    if gapped is not None:
        yield gapped
