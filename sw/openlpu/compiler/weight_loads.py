# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Weights on their way to the planes: which tile a plane has, which one it loads, and when rows may meet it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from openlpu.arch.config import ChipConfig
from openlpu.arch.geometry import QueueKind, geometry
from openlpu.arch.isa import instruction
from openlpu.compiler.activations import ActivationBuffer, HeldRows
from openlpu.compiler.forwarding import Forwarding
from openlpu.compiler.journeys import Journey, after
from openlpu.compiler.kernels import Factor, KernelGraph
from openlpu.compiler.place import Placement
from openlpu.compiler.planes import Plane
from openlpu.compiler.tiles import Tile, Tiles
from openlpu.compiler.timeline import Dispatch, Flight
from openlpu.compiler.vector_rows import VectorDepartures


class PlaneState:
    """What the scheduler knows about one plane while it goes through the tiles."""

    def __init__(
        self, plane: Plane, config: ChipConfig, tiles: Iterator[Tile], last_met: Mapping[HeldRows, int]
    ) -> None:
        places = geometry(config)
        self.plane = plane
        self.weights = places.of_kind(QueueKind.MXM_WEIGHTS)[plane.index]
        self.acts = places.of_kind(QueueKind.MXM_ACTS)[plane.index]
        self.accs = places.of_kind(QueueKind.MXM_ACCS)[plane.index]
        self.outward = self.acts.consumes[0].direction
        self.inward = self.accs.produces[0].direction
        self.installed = -1
        """Dispatch of the last install: the shadow buffer is free after it."""
        self.last_rows = -1
        """Last dispatch of `abc` or `abr`."""
        self.usable = 0
        """From when on it takes rows for the tile that was installed last."""
        self.tiles = tiles
        """Weight tiles still to be loaded, in order of use."""
        self.postponed: Tile | None = None
        """The next tile, when it could not be loaded yet because nothing has computed it."""
        self.loaded = 0
        """Cycle from which the tile that is being loaded may be installed."""
        self.buffer = ActivationBuffer(config, last_met)

    def meets(self, flight: Flight) -> list[Dispatch]:
        """What sends rows of a flight to the array, in order of time; what goes to the activation buffer does not."""
        here = (entry for entry in flight.dispatches if entry.queue == self.acts)
        rows = (entry for entry in here if entry.instruction.spec.mnemonic != "abl")
        return sorted(rows, key=lambda entry: entry.offset)


class WeightDepartures(VectorDepartures):
    """Departures of weight tiles, in the order in which every plane takes them."""

    def __init__(self, graph: KernelGraph, placement: Placement, config: ChipConfig) -> None:
        self.tiles = Tiles(graph, placement, config)
        self.planes = [
            PlaneState(plane, config, self.tiles.of_plane(number), self.tiles.last_met)
            for number, plane in enumerate(placement.planes)
        ]
        forwarding = Forwarding(graph, self.tiles, [plane.buffer for plane in self.planes])
        super().__init__(graph, placement, config, forwarding)
        self.loads: dict[tuple[PlaneState, str, int], tuple[Flight, int]] = {}
        """Of each plane and instruction the load of a group from word 0: all others differ in their addresses only."""
        self.computed = {*graph.constants, *graph.states} - {*graph.scattered}
        """Buffers whose kernels have been scheduled, or need not be."""

    def load_next(self, plane: PlaneState) -> None:
        """Stream the plane's next tile, if any, into the shadow buffer; of a replayed one all but the last group."""
        tile = next(plane.tiles, None)
        if tile is None:
            return
        factor = tile.term.weights
        if isinstance(factor, Factor) and factor.name not in self.computed:
            plane.postponed = tile
        else:
            self.load(plane, tile)

    def load(self, plane: PlaneState, tile: Tile) -> None:
        """Stream a tile into the shadow buffer of a plane."""
        plane.postponed = None
        plane.loaded = plane.installed + 1
        groups = self.tiles.groups - 1 if tile.replayed else self.tiles.groups
        if groups:
            journey = self.loading(plane, tile, 0)
            plane.loaded = self.depart_loads(journey, groups, plane.loaded) + groups

    def loading(self, plane: PlaneState, tile: Tile, group: int) -> Journey:
        """One load of weights, from the plane's feeders to its shadow buffer; the last group of a replayed tile
        installs it."""
        base = self.placement.weights[tile.number, tile.output_column, tile.inner]
        factor = tile.term.weights
        mnemonic = "lwt" if isinstance(factor, Factor) and factor.transposed else "lw"
        mnemonic += "_iw" if tile.replayed else ""
        if (plane, mnemonic, group) not in self.loads:
            self.loads[plane, mnemonic, group] = self.first_load(plane, mnemonic, group)
        pattern, read_at = self.loads[plane, mnemonic, group]
        journey = Journey(pattern.reading_from(base + group))
        if isinstance(factor, Factor):
            down, across = factor.tile(tile.inner.input_column, tile.output_column)
            journey.loads = (factor.name, across, down * self.config.lanes, read_at)
        return journey

    def first_load(self, plane: PlaneState, mnemonic: str, group: int) -> tuple[Flight, int]:
        """A load from word 0 of the feeders, and the time by which the words must be in SRAM."""
        flight = Flight()
        skew = after(self.router.latency(plane.weights, mnemonic).skew)
        flight.dispatch(plane.weights, 0, instruction(mnemonic, g=group), step=1)
        read_at = [
            self.router.read(flight, mem_slice, 0, stream, plane.weights.hop, skew, 1)
            for stream, mem_slice in zip(plane.weights.consumes, plane.plane.feeders, strict=True)
        ]
        return flight, min(read_at)

    def depart_loads(self, journey: Journey, count: int, earliest: int) -> int:
        """Load weights as early as the whole tile is in SRAM; return the start."""
        if journey.loads is None:
            return self.depart(journey.flight, count, 1, earliest)
        factor, column, row, offset = journey.loads
        ready = int(self.ready[factor, column][row : row + self.config.lanes].max())
        start = self.depart(journey.flight, count, 1, max(earliest, ready - offset))
        self.read_until[factor] = max(self.read_until[factor], start + offset + count - 1)
        return start

    def may_install(self, plane: PlaneState, mnemonic: str) -> int:
        """The first cycle in which the rows of the tile before have used the old weights by the time the new ones
        stand."""
        stands = after(self.router.latency(plane.weights, mnemonic).state)
        return max(plane.loaded, plane.last_rows + self.timing.weights_used - stands + 1)

    def may_use(self, plane: PlaneState, mnemonic: str) -> int:
        """The first cycle in which rows may be sent to weights that `mnemonic` has installed."""
        stands = after(self.router.latency(plane.weights, mnemonic).state)
        return max(plane.installed + stands - self.timing.weights_used, plane.last_rows + 1)
