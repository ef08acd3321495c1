# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Placement: every buffer, constant and weight tile gets its words of SRAM.

One rule serves chips with full and with own reach: every slice speaks on one stream, and every aligned group of four
slices on one group of streams (see `docs/decisions/0006-canonical-placement.md`). Words are handed out once, the
emptiest slice first; only where none are left, those of what nothing needs any more are handed out again.

A plane multiplies what the slices of its own hemisphere send outwards. So on a chip of two hemispheres the activations
that are multiplied lie in both, at the same places. What only the VXM reads and writes, constants of chains among it,
lies in either: so the columns that several planes finish at once come from different slices, and go to different ones.
Everything else that is not weights lies in the east. Where slices are left that feed no weight stream, those nearest to
the VXM are for what it writes, and for what it reads first, and the outermost for what only the MXM reads, so that
neither travels further than it must.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from openlpu.arch.config import GROUP, ChipConfig, Reach
from openlpu.arch.program import Column, Vector
from openlpu.compiler.dealing import Dealing, Inner, stacks_of
from openlpu.compiler.errors import CompileError
from openlpu.compiler.kernels import (
    Buffer,
    Content,
    Factor,
    Kernel,
    KernelGraph,
    LaneConstants,
    MatMulKernel,
    padded,
    views_of,
    window_bits,
)
from openlpu.compiler.lasting import Lasting, Stripe, words_of
from openlpu.compiler.lifetimes import Lifetimes, read_first
from openlpu.compiler.planes import Plane, Zone, eastern, opposite, planes_of, zones_of
from openlpu.compiler.words import Words


class Placement:
    """Where everything lies in the MEM slices, beside what other programs have there: it is left alone, and what is the
    same is not placed again.

    Raises:
        CompileError: when the SRAM is too small, or the chip has no slices that reach the weight streams together.
    """

    def __init__(self, graph: KernelGraph, config: ChipConfig, beside: Lasting | None = None) -> None:
        self.config = config
        self._slices = eastern(config)
        self.words = Words(config.hemispheres * config.mem_slices, config.mem_words)
        self._beside = beside or Lasting()
        self.words.occupy(self._beside.image)
        self.before: dict[str, frozenset[str]] = {}
        """By buffer: those whose words it has taken over, when nothing needed them any more."""
        self.image: dict[tuple[int, int], Vector] = {}
        self.kept: set[tuple[int, int]] = set()
        """Words of states, which the image holds as they are at first."""
        self.planes = planes_of(config)
        """Eastern planes first."""
        self._zones = zones_of(config, self.planes)
        self.buffers: dict[str, tuple[Column, ...]] = {}
        """The columns of each buffer, in the east, with a copy in the west where that is needed."""
        self.dealing = Dealing(graph, config, self._beside.homes)
        """Which plane multiplies by which tile."""
        self.weights: dict[tuple[int, int, Inner], int] = {}
        """By place of the kernel, output column and inner tile: the first address in all feeders of the plane."""
        self._stored: dict[tuple[int, bytes], int] = {}
        """Constant tiles by plane and content: equal ones are stored once."""
        self.constants: dict[tuple[str, int], Column] = {}
        """By name and column number: one row of 32-bit constants."""
        self.stripes: dict[tuple[str, int], tuple[Stripe, ...]] = {}
        """By name of a factor and column number: where its rows lie."""
        self.fronts: dict[str, int] = {}
        """By name of a cache whose slices all take a result as it passes: the slice from which the index that chooses
        its row comes with it."""
        self.windows: dict[str, int] = {}
        """By name of what indices choose rows of: the binary logarithm of the words in the window of a slice."""
        self._graph = graph
        self._company: dict[str, set[str]] = {buffer.name: set() for buffer in graph.buffers}
        """By buffer: the others that the same kernels read."""
        for kernel in graph.kernels:
            read = {view.name for view in views_of(kernel)}
            for name in read:
                self._company[name] |= read - {name}
        self._folded = {
            view.name
            for kernel in graph.kernels
            for view in views_of(kernel)
            if any(other.name == view.name and other.met(0) != view.met(0) for other in views_of(kernel))
        }
        """The buffers of which a kernel reads several columns at once."""
        self._turned = {view.name for kernel in graph.kernels for view in views_of(kernel) if view.rotate}
        self._computed = {kernel.output for kernel in graph.kernels}
        self._first = read_first(graph)
        """Inputs that need nothing that is multiplied for what the VXM makes of them."""
        self._products = [(i, kernel) for i, kernel in enumerate(graph.kernels) if isinstance(kernel, MatMulKernel)]
        self._reserve_constants()
        self._place_chosen()
        self._place_buffers()
        self._fill_buffers()
        for kernel in graph.kernels:
            for step in kernel.chain:
                if isinstance(step.y, LaneConstants) and (step.y.name, 0) not in self.constants:
                    self._place_constants(step.y, kernel)

    @property
    def lasting(self) -> Lasting:
        """All that stays in SRAM for other programs. Of things of one name the first is found again."""
        graph, beside = self._graph, self._beside
        names = {*graph.constants, *graph.states}
        return Lasting(
            {**self.image, **beside.image},
            {**{name: columns for name, columns in self.buffers.items() if name in names}, **beside.buffers},
            {**{key: stripes for key, stripes in self.stripes.items() if key[0] in names}, **beside.stripes},
            {**self.windows, **beside.windows},
            {**self.constants, **beside.constants},
            {**self._stored, **beside.tiles},
            self.dealing.homes,
        )

    def _reserve_constants(self) -> None:
        """Keep room for the constants of chains, which come last."""
        words = {
            step.y.name: -(-len(step.y.values) // self.config.lanes)
            for kernel in self._graph.kernels
            for step in kernel.chain
            if isinstance(step.y, LaneConstants)
        }
        self.words.reserved = -(-sum(words.values()) * GROUP // self.config.mem_slices)

    def _place_chosen(self) -> None:
        """What indices choose from, constant factors, weights, and indices.

        The first lies aligned, which costs least at the beginning, and the largest first; indices lie beside it.
        """
        graph = self._graph
        chosen = {**graph.indexed, **graph.scattered}
        constant = [name for name in graph.constants if name in graph.factors]
        for table in sorted(dict.fromkeys((*chosen, *constant)), key=lambda name: -graph.buffer(name).rows):
            if table in graph.factors or table in self._beside.homes:
                self._place_cache(graph.buffer(table))
            else:
                self._place_table(graph.buffer(table))
        for number, product in self._products:
            self._place_weights(number, product)
        for indices in dict.fromkeys(chosen.values()):
            self._place_indices(graph.buffer(indices), [table for table, by in chosen.items() if by == indices])

    def _place_buffers(self) -> None:
        """All other buffers, what is there from the beginning first, since it needs fresh words."""
        graph, lifetimes = self._graph, Lifetimes(self._graph)
        lasting = {*graph.constants, *graph.states, *(name for _, name in graph.inputs)}
        for name, content in {**graph.constants, **graph.states}.items():
            mirrored = self.config.hemispheres == 2 and name in graph.multiplied
            found = self._beside.columns(name, content, self.config.lanes, 1 + mirrored)
            # Columns that several planes finish at once are not all read in the same slices.
            alone = len(self.planes) == 1 or found == self._beside.buffers.get(name)
            if found and alone and name not in {*self.buffers, *graph.factors}:
                self.buffers[name] = found
        for buffer in sorted(graph.buffers, key=lambda buffer: buffer.name not in lasting):
            if buffer.name in self.buffers:
                continue
            for name in lifetimes.over(buffer.name, self.buffers):
                for column in self.buffers[name]:
                    self.words.give_back(tuple(itertools.chain(*column.places)), column.base, graph.buffer(name).rows)
            if buffer.name in graph.factors:
                self._place_factor(buffer)
            else:
                mirrored = self.config.hemispheres == 2 and buffer.name in graph.multiplied
                near = buffer.name in self._computed or (buffer.name in self._first and not mirrored)
                self._place_buffer(buffer, Zone.NEAR if near else Zone.FAR, mirrored)

    def _fill_buffers(self) -> None:
        """Put constants and first states where their buffers lie; what lies as weights do is there already."""
        graph = self._graph
        there = {*graph.factors, *self._beside.homes}
        for name, content in graph.constants.items():
            if name not in there:
                self._fill(self.buffers[name], content)
        constant = {*self.image}
        for name, content in graph.states.items():
            if name not in there:
                self._fill(self.buffers[name], content)
        self.kept |= self.image.keys() - constant

    def columns(self, name: str) -> tuple[Column, ...]:
        """The columns of a buffer, those of a cache as they are dealt out."""
        return tuple(
            column if column.slices else self._dealt(self.stripes[name, number])
            for number, column in enumerate(self.buffers[name])
        )

    @staticmethod
    def _dealt(stripes: Sequence[Stripe]) -> Column:
        return Column(tuple(stripe.mem_slice for stripe in stripes), stripes[0].base, dealt=True)

    def streams(self, column: Column) -> range:
        """The indices of the streams that the slices of a column speak on, and hear on, in either direction."""
        place, count = column.slices[0] % self.config.mem_slices, self.config.streams
        if len(column.slices) > 1:
            return range(place % count, place % count + len(column.slices))
        if self.config.mem_reach is not Reach.FULL:
            first = self.config.reach(place)[0]
            return range(first, first + 1)
        # Slices of one hop, and of neighbouring hops, are spread over the weight streams of all planes.
        spread = max(count // self.config.slices_per_hop, 1)
        stream = (place * spread + place // self.config.slices_per_hop) % count
        return range(stream, stream + 1)

    def inward(self, column: Column) -> range:
        """The indices of the streams that bring a column to the VXM.

        Operands from one hemisphere end in the registers that results on their way to the other one begin at. So where
        all slices reach all streams, 32-bit operands ride on groups of their own: odd ones, as bytes for the slices
        next to the VXM ride in even ones; and not in the first two, as 32 bits for those slices ride there.
        """
        own, groups = self.streams(column), self.config.streams // GROUP
        if len(own) == 1 or self.config.mem_reach is not Reach.FULL or self.config.hemispheres == 1:
            return own
        first = (2 * own.start // GROUP + 3) % groups * GROUP
        return range(first, first + GROUP)

    def __str__(self) -> str:
        fullest = self.words.fullest(range(self.config.hemispheres * self.config.mem_slices))
        lines = [f"placement, {fullest} of {self.config.mem_words} words in the fullest slice"]
        for name, columns in self.buffers.items():
            lines += [
                f"  %{name} column {i}: slices {' and '.join(str(list(s)) for s in c.places)} from {c.base}"
                for i, c in enumerate(columns)
            ]
        lines += [
            f"  {name} column {i}: slices {list(c.slices)} at {c.base}" for (name, i), c in self.constants.items()
        ]
        lines += [
            f"  kernel {number}, column {column}, tile {tuple(inner)}: "
            f"plane {self.dealing.plane_of(number, column, inner)} from {base}"
            for (number, column, inner), base in self.weights.items()
        ]
        return "\n".join(lines) + "\n"

    def _rank(
        self,
        buffer: Buffer,
        column: int,
        home: Sequence[int],
        everywhere: Sequence[int],
        words: int,
        zone: Zone,
        others: Iterable[Column] = (),
    ) -> tuple[bool, bool, int, bool, int]:
        """What to choose a home of a column by: room, no weights there, apart from what is read in the same cycles, of
        which `others` are columns of the same buffer; then the wanted zone; then the emptiest."""
        zones = {self._zones[number] for number in home}
        crowd = sum(
            any({*home} & {*met.slices} for met in self._met(buffer, column, self.buffers.get(other, ())))
            for other in self._company[buffer.name]
        )
        crowd += sum(not {*home}.isdisjoint(other.slices) for other in others)
        room = self.words.fresh(everywhere, words) is not None
        fullest = self.words.fullest(everywhere)
        return not room, Zone.FEEDER in zones, crowd, zones != {zone}, fullest

    def _met(self, buffer: Buffer, column: int, others: Sequence[Column]) -> Sequence[Column]:
        """Of the columns of another buffer those that a kernel may read along with this column."""
        alike = len(others) == -(-buffer.cols // self.config.lanes)
        return others[column : column + 1] if alike else others

    def _allocate(self, slices: Sequence[int], words: int, what: str, *, align: int = 1, last: bool = False) -> int:
        """Fresh words at one address, a multiple of `align`, in all of `slices`."""
        base = self.words.fresh(slices, words, align, last=last)
        if base is None:
            raise self._no_room(slices, words, what)
        self.words.take(what, slices, base, words)
        return base

    def _no_room(self, slices: Sequence[int], words: int, what: str) -> CompileError:
        return CompileError(
            f"no room in SRAM for {what}: it takes {words} words of MEM slices {min(slices)}..{max(slices)}, of which "
            f"{self.words.fullest(slices)} are given away, and config '{self.config.name}' has {self.config.mem_words} "
            f"words a slice; use a smaller network or a config with more mem_words or mem_slices"
        )

    def _groups(self, what: str) -> list[tuple[int, ...]]:
        """The aligned groups of slices that hold 32-bit elements: each reaches its stream of a group."""
        start, config = self._slices.start, self.config
        groups = [
            tuple(range(start + place, start + place + GROUP))
            for place in range(0, config.mem_slices - GROUP + 1, GROUP)
            if all((place + i) % config.streams in config.reach(place + i) for i in range(GROUP))
        ]
        if not groups:
            raise CompileError(
                f"{what} is 32 bits wide and needs {GROUP} MEM slices that reach {GROUP} streams; config "
                f"'{config.name}' has none"
            )
        return groups

    def _both_sides(self, homes: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """Homes in the east, and those at the same places in the west, if there is one."""
        return [*homes, *[opposite(home, self.config) for home in homes] * (self.config.hemispheres - 1)]

    def _place_buffer(self, buffer: Buffer, zone: Zone, mirrored: bool) -> None:
        count = -(-buffer.cols // self.config.lanes)
        what = f"'{buffer.name}' ({buffer.rows} x {buffer.cols})"
        homes: Sequence[tuple[int, ...]] = self._groups(what) if buffer.wide else [(number,) for number in self._slices]
        if not mirrored and buffer.name not in self._turned:
            homes = self._both_sides(homes)

        def copies(home: tuple[int, ...], column: int) -> tuple[tuple[int, ...], ...]:
            if mirrored:
                return (opposite(home, self.config),)
            others = [other for other in homes if other != home]
            if buffer.turned and others and self.config.mem_reach is Reach.FULL:
                # All slices reach the streams that a result is on, so two groups can take it as it passes.
                return (min(others, key=lambda other: self._rank(buffer, column, other, other, buffer.rows, zone)),)
            return ()

        columns: dict[int, Column] = {}
        # What comes last should not have far to go, so it chooses first among the near; unless it goes on to the MXM.
        last_first = not mirrored and zone in self._zones.values()
        for column in reversed(range(count)) if last_first else range(count):
            places = min(
                ((home, *copies(home, column)) for home in homes),
                key=lambda places: self._rank(
                    buffer,
                    column,
                    places[0],
                    tuple(itertools.chain(*places)),
                    buffer.rows,
                    zone,
                    columns.values() if buffer.name in self._folded else (),
                ),
            )
            base = self._settle(buffer, tuple(itertools.chain(*places)), what)
            columns[column] = Column(places[0], base, places[1:])
        self.buffers[buffer.name] = tuple(columns[column] for column in range(count))

    def _settle(self, buffer: Buffer, slices: Sequence[int], what: str) -> int:
        """Words for a column of a buffer: fresh ones, or else some that nobody needs any more."""
        base = self.words.fresh(slices, buffer.rows)
        if base is None and buffer.name in self._computed and buffer.name not in self._graph.states:
            base = self.words.vacated(slices, buffer.rows)
        if base is None:
            raise self._no_room(slices, buffer.rows, what)
        self.before[buffer.name] = self.before.get(buffer.name, frozenset()) | self.words.take(
            buffer.name, slices, base, buffer.rows
        )
        return base

    def _place_table(self, table: Buffer) -> None:
        """A table whose rows are looked up: every column in a window of its own."""
        what = f"the table '{table.name}' ({table.rows} x {table.cols})"
        self.windows[table.name] = window_bits(table.rows)
        window = 1 << self.windows[table.name]
        content = {**self._graph.constants, **self._graph.states}[table.name]
        found = self._beside.columns(table.name, content, self.config.lanes, 1)
        if found and self._beside.windows.get(table.name) == self.windows[table.name]:
            self.buffers[table.name] = found
            self._fill_windows(table, window)
            return
        homes = self._groups(what) if table.wide else [(mem_slice,) for mem_slice in self._slices]
        columns = []
        for column in range(-(-table.cols // self.config.lanes)):
            home = min(homes, key=lambda home: self._rank(table, column, home, home, 2 * window, Zone.FAR))
            columns.append(Column(home, self._allocate(home, window, what, align=window)))
        self.buffers[table.name] = tuple(columns)
        self._fill_windows(table, window)

    def _fill_windows(self, table: Buffer, window: int) -> None:
        """The rest of a window must hold something: an index might point there."""
        for column in self.buffers[table.name]:
            for mem_slice in column.slices:
                for address in range(column.base + table.rows, column.base + window):
                    self.image[mem_slice, address] = np.zeros(self.config.lanes, np.int8)
                    if table.name in self._graph.states:
                        self.kept.add((mem_slice, address))

    def _place_indices(self, indices: Buffer, tables: Sequence[str]) -> None:
        """Indices: a copy in every slice of what they choose from, but where all slices reach all streams, one in
        front of caches that take rows is enough.

        Who computes them writes all copies at once, or where that cannot be one after the other.
        """
        at_once = self.config.mem_reach is Reach.FULL
        columns = {mem_slice for table in tables for column in self.buffers[table] for mem_slice in column.slices}
        fronts: dict[str, int] = {}
        for table in tables:
            feeders = [stripe.mem_slice for stripe in self.stripes.get((table, 0), ())]
            if feeders and at_once and table not in self._graph.indexed:
                fronts[table] = self._front(feeders)
            else:
                columns |= {*feeders}
        slices = sorted({*columns, *fronts.values()})
        base = self._allocate(slices, indices.rows, f"'{indices.name}'")
        first, *copies = ((mem_slice,) for mem_slice in slices)
        self.buffers[indices.name] = (Column(first, base, tuple(copies)),)
        self.fronts |= fronts
        if indices.name in self._computed and not at_once:
            self.stripes[indices.name, 0] = tuple(Stripe(number, base, 0, 1, indices.rows) for number in slices)

    def _front(self, feeders: Sequence[int]) -> int:
        """The slice that no result for `feeders` comes by later than by them; the first one that feeds nothing."""
        per_hop, first = self.config.slices_per_hop, self._slices.start if feeders[0] in self._slices else 0
        nearest = min((feeder - first) // per_hop for feeder in feeders)
        before = range(first, first + (nearest + 1) * per_hop)
        return min(before, key=lambda number: (self._zones[number] is not Zone.NEAR, number))

    def _place_cache(self, cache: Buffer) -> None:
        """A factor that is constant, or of which an index says rows: every column of it in one window of each feeder of
        its home plane."""
        lanes, width = self.config.lanes, self.config.weight_streams
        plane, kept = self.planes[self.dealing.homes[cache.name]], cache.name in self._graph.states
        content = (self._graph.states if kept else self._graph.constants)[cache.name]
        words = -(-cache.rows // lanes) * lanes // width
        self.windows[cache.name] = window_bits(words)
        window = 1 << self.windows[cache.name]
        for across in range(-(-cache.cols // lanes)):
            what = f"'{cache.name}' ({cache.rows} x {cache.cols})"
            there = self._beside.stripes.get((cache.name, across))
            alike = there is not None and self._beside.windows.get(cache.name) == self.windows[cache.name]
            base = there[0].base if there and alike else self._allocate(plane.feeders, window, what, align=window)
            part = padded(content.astype(np.int8), lanes)[:, across * lanes : (across + 1) * lanes]
            for place, feeder in enumerate(plane.feeders):
                for word in range(window):
                    row = word * width + place
                    held = part[row] if row < len(part) else np.zeros(lanes, np.int8)
                    self.image[feeder, base + word] = held.copy()
                    if kept:
                        self.kept.add((feeder, base + word))
            self.stripes[cache.name, across] = tuple(
                Stripe(feeder, base, place, width, words) for place, feeder in enumerate(plane.feeders)
            )
            for number, product in self._products:
                for i, term in enumerate(product.terms):
                    if isinstance(term.weights, Factor) and term.weights.name == cache.name:
                        inners = -(-self._graph.buffer(term.rows.name).cols // lanes)
                        for inner, output in itertools.product(range(inners), range(self.outputs(product))):
                            down, met = term.weights.tile(inner, output)
                            if met == across:
                                self.weights[number, output, Inner(i, 0, inner)] = base + down * lanes // width
        self.buffers[cache.name] = tuple(Column((), 0) for _ in range(-(-cache.cols // lanes)))

    def _fill(self, columns: Sequence[Column], content: Content) -> None:
        """Put constants where a buffer lies, and its copies."""
        self.image.update(words_of(columns, content, self.config.lanes))

    def _read_along(self, kernel: Kernel, column: int) -> set[int]:
        """The slices that are read with every row of an output column: rows of the last input column of a product, and
        what its chain meets."""
        columns: list[Column] = []
        for number, view in enumerate(views_of(kernel)):
            placed = self.buffers[view.name]
            if isinstance(kernel, MatMulKernel) and number < len(kernel.sources):
                columns = [placed[-1]]
            else:
                columns.append(placed[view.met(column)])
        return {*itertools.chain(*(slices for column in columns for slices in column.places))}

    def _place_constants(self, constants: LaneConstants, kernel: Kernel) -> None:
        """Constants for the columns of a kernel."""
        lanes = self.config.lanes
        count = -(-len(constants.values) // lanes)
        padded = np.zeros(count * lanes, np.int32)
        padded[: len(constants.values)] = constants.values
        groups = self._both_sides(self._groups(f"'{constants.name}'"))
        # The columns of several planes are finished at once, so their constants must come from different slices; and
        # those that feed weight streams have no time, if weights take longer to load than to use.
        holders = Counter(column.slices for column in self.constants.values())
        zones = [Zone.NEAR, Zone.FAR, Zone.FEEDER]
        before: list[tuple[int, ...]] = []
        for i, row in enumerate(padded.reshape(count, lanes)):
            there = self._beside.constants.get((constants.name, i))
            if there is not None and self._beside.has(words_of((there,), row[None], lanes)):
                self.constants[constants.name, i] = there
                self._fill((there,), row[None])
                continue
            crowded = self._read_along(kernel, i)
            at_once = before[max(i - len(self.planes) + 1, 0) :]
            slices = min(
                groups,
                key=lambda group: (
                    self.words.fresh(group, 1, last=True) is None,
                    not crowded.isdisjoint(group),
                    group in at_once,
                    max(zones.index(self._zones[number]) for number in group),
                    holders[group],
                    self.words.fullest(group),
                ),
            )
            holders[slices] += 1
            before.append(slices)
            column = Column(slices, self._allocate(slices, 1, f"'{constants.name}'", last=True))
            self.constants[constants.name, i] = column
            self._fill((column,), row[None])

    def outputs(self, kernel: MatMulKernel) -> int:
        """How many columns of `lanes` lanes a product has."""
        return -(-kernel.target.cols(self._graph.buffer(kernel.output)) // self.config.lanes)

    def _place_weights(self, number: int, kernel: MatMulKernel) -> None:
        lanes, what = self.config.lanes, f"the weights of '{kernel.output}'"
        stacks = stacks_of(kernel, self._graph, lanes)
        shares = sorted(itertools.chain(*self.dealing.rounds[number]), key=lambda share: share.column)
        for share in shares:
            for inner in share.inners:
                stack = stacks[inner]
                if stack is not None:
                    tile = np.ascontiguousarray(stack[:, share.column * lanes : (share.column + 1) * lanes])
                    self.weights[number, share.column, inner] = self._store_tile(self.planes[share.plane], tile, what)

    def _store_tile(self, plane: Plane, tile: npt.NDArray[np.int8], what: str) -> int:
        """The address of a constant tile in the feeders of a plane."""
        key = plane.index, tile.tobytes()
        if key not in self._stored:
            width = self.config.weight_streams
            base = self._beside.tiles.get(key)
            if base is None:
                base = self._allocate(plane.feeders, self.config.lanes // width, what)
            self._stored[key] = base
            for row, vector in enumerate(tile):
                self.image[plane.feeders[row % width], base + row // width] = vector
        return self._stored[key]

    def _place_factor(self, buffer: Buffer) -> None:
        """Tiles of a factor where weights would be. All products that use it take the same tiles."""
        lanes, width = self.config.lanes, self.config.weight_streams
        groups = lanes // width
        tall, broad = -(-buffer.rows // lanes), -(-buffer.cols // lanes)
        uses = [
            (number, i, term.weights.transposed)
            for number, product in self._products
            for i, term in enumerate(product.terms)
            if isinstance(term.weights, Factor) and term.weights.name == buffer.name
        ]
        transposed = any(turned for _, _, turned in uses)
        stripes: dict[int, list[Stripe]] = {column: [] for column in range(broad)}
        for down in range(tall):
            for across in range(broad):
                inner, output = (across, down) if transposed else (down, across)
                plane = self.planes[output % len(self.planes)]
                base = self._allocate(plane.feeders, groups, f"'{buffer.name}' as weights")
                for number, i, _ in uses:
                    self.weights[number, output, Inner(i, 0, inner)] = base
                for offset in range(lanes):
                    if down * lanes + offset >= buffer.rows:
                        place = plane.feeders[offset % width], base + offset // width
                        self.image[place] = np.zeros(lanes, np.int8)
                for offset, feeder in enumerate(plane.feeders):
                    first = down * lanes + offset
                    if first < buffer.rows:
                        count = -(-(min(buffer.rows, (down + 1) * lanes) - first) // width)
                        stripes[across].append(Stripe(feeder, base, first, width, count))
        for column, placed in stripes.items():
            self.stripes[buffer.name, column] = tuple(placed)
        self.buffers[buffer.name] = tuple(Column((), 0) for _ in range(broad))
