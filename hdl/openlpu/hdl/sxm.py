# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""SXM: vectors whose lanes change places.

Two units, each with a queue and a data path of its own: one moves all lanes by the same distance, one chooses a lane
for every lane. Both first choose their stream; the timing table says how many registers lie after that choice.
"""

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import C, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring

from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import bits_for
from openlpu.arch.geometry import QueueKind, Stream, geometry

from .decode import Decoder, delayed, dispatched, named, queue_ports, select
from .pipeline import Datapath, Step

__all__ = ["Sxm"]


class _Shifter(Datapath):
    """Lane i is lane i - n of `data`, or 0 where there is none; `n` signed."""

    data: Signal
    n: Signal

    def __init__(self, *, lanes: int, depth: int) -> None:
        # Twice the lanes in a ring, half of it zeros: whatever leaves at an end meets zeros only.
        ring = 2 << bits_for(lanes)

        def shift(m: Module, data: Value, n: Value) -> dict[str, Value]:
            places: list[Value] = [data.word_select(lane, 8) if lane < lanes else Const(0, 8) for lane in range(ring)]
            for level in reversed(range(len(n))):
                shifted = Mux(n[level], Cat(places[lane - (1 << level)] for lane in range(ring)), Cat(places))
                vector = named(m, f"level{level}", shifted)
                places = [vector.word_select(lane, 8) for lane in range(ring)]
            return {"o": Cat(places[:lanes])}

        super().__init__(
            inputs={"data": 8 * lanes, "n": bits_for(lanes) + 1},
            output=8 * lanes,
            steps=[Step(shift, delay=1)],
            depth=depth,
        )


class _Permuter(Datapath):
    """Lane i is lane `places[i]` of `data`, or 0 where there is none; every place takes `place_bits`, unsigned."""

    data: Signal
    places: Signal

    def __init__(self, *, lanes: int, place_bits: int, depth: int) -> None:
        def permute(m: Module, data: Value, places: Value) -> dict[str, Value]:
            chosen = []
            for lane in range(lanes):
                place = places.word_select(lane, place_bits)
                exists = place < lanes if lanes < 1 << place_bits else Const(1)
                chosen.append(Mux(exists, data.word_select(place[: bits_for(lanes)], 8), 0))
            return {"o": Cat(chosen)}

        super().__init__(
            inputs={"data": 8 * lanes, "places": place_bits * lanes},
            output=8 * lanes,
            steps=[Step(permute, delay=1)],
            depth=depth,
        )


class Sxm(wiring.Component):
    """The SXM of hemisphere `index`, west first: ports as `queue_ports` says."""

    shift_issue: Any
    shift_taps: Any
    shift_drives: Any
    shift_empty: Signal
    permute_issue: Any
    permute_taps: Any
    permute_drives: Any
    permute_empty: Signal

    def __init__(self, *, config: ChipConfig, index: int) -> None:
        self._config = config
        self._shift = geometry(config).of_kind(QueueKind.SXM_SHIFT)[index]
        self._permute = geometry(config).of_kind(QueueKind.SXM_PERMUTE)[index]
        super().__init__(queue_ports(config, (self._shift, self._permute)))

    def elaborate(self, platform: object) -> Module:
        """Build both units."""
        m = Module()
        self._elaborate_shift(m)
        self._elaborate_permute(m)
        return m

    def _elaborate_shift(self, m: Module) -> None:
        config, taps = self._config, self.shift_taps
        valid, word = dispatched(m, config, "shift", self.shift_issue)
        instruction = Decoder(config, self._shift, word)
        source = named(m, "shift_source", Cat(instruction.choose("shift", "s", self._shift.consumes)))
        m.submodules.shifter = shifter = _Shifter(lanes=config.lanes, depth=config.pipeline.lanes)
        m.d.comb += [
            shifter.data.eq(select(source, [tap.data for tap in taps])),
            shifter.n.eq(instruction.field("shift", "n")),
        ]
        m.d.sync += self.shift_empty.eq(valid & ~select(source, [tap.valid for tap in taps]))
        target = Cat(valid & match for match in instruction.choose("shift", "d", self._shift.produces))
        produces = delayed(m, "shift_produces", target, config.pipeline.lanes)
        for drive, produce in zip(self.shift_drives, produces, strict=True):
            m.d.comb += [drive.valid.eq(produce), drive.data.eq(shifter.o)]

    def _elaborate_permute(self, m: Module) -> None:
        config, taps = self._config, self.permute_taps
        valid, word = dispatched(m, config, "permute", self.permute_issue)
        instruction = Decoder(config, self._permute, word)
        by_map = named(m, "by_map", instruction.is_("permute"))

        def choose(name: str, streams: Sequence[Stream]) -> Value:
            # `distribute` has no map, so what comes after that lies elsewhere in it.
            permute, distribute = (Cat(instruction.choose(op, name, streams)) for op in ("permute", "distribute"))
            return named(m, f"permute_{name}", Mux(by_map, permute, distribute))

        source = choose("s", self._permute.consumes)
        lane_map = named(m, "permute_m", Cat(instruction.choose("permute", "m", self._permute.consumes)))
        place_bits = max(8, bits_for(config.lanes))
        m.submodules.permuter = permuter = _Permuter(
            lanes=config.lanes, place_bits=place_bits, depth=config.pipeline.lanes
        )
        mapped = named(m, "mapped", select(lane_map, [tap.data for tap in taps]))
        lane = instruction.field("distribute", "n")
        places = (Mux(by_map, mapped.word_select(i, 8), lane) for i in range(config.lanes))
        m.d.comb += [
            permuter.data.eq(select(source, [tap.data for tap in taps])),
            permuter.places.eq(Cat(C(0, place_bits) | place for place in places)),
        ]
        given = select(source, [tap.valid for tap in taps])
        map_given = select(lane_map, [tap.valid for tap in taps]) | ~by_map
        m.d.sync += self.permute_empty.eq(valid & ~(given & map_given))
        target = choose("d", self._permute.produces) & valid.replicate(len(self._permute.produces))
        produces = delayed(m, "permute_produces", target, config.pipeline.lanes)
        for drive, produce in zip(self.permute_drives, produces, strict=True):
            m.d.comb += [drive.valid.eq(produce), drive.data.eq(permuter.o)]
