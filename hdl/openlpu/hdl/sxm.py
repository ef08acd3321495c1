# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""SXM: vectors whose lanes change places.

Two units, each with a queue and a data path of its own: one moves all lanes by the same distance, one chooses a lane
for every lane. Both first choose their streams, and can take a group of four at once; the timing table says how many
registers lie after that choice.
"""

from collections.abc import Callable, Sequence
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring

from openlpu.arch.config import GROUP, ChipConfig
from openlpu.arch.encoding import bits_for
from openlpu.arch.geometry import Queue, QueueKind, geometry

from .decode import queue_ports
from .dispatch import Dispatch, local_registers
from .pipeline import Datapath, Step
from .signals import delayed, named, relayed, select

__all__ = ["Sxm"]


class _Rotator(Datapath):
    """Lane i is lane (i - n) modulo lanes of a vector where `keep[i]`, else 0; `n` from 0 to lanes - 1.

    The vector is `plane` where `grouped`, else `single`.
    """

    plane: Signal
    single: Signal
    grouped: Signal
    n: Signal
    keep: Signal

    def __init__(self, *, lanes: int, depth: int) -> None:
        def choose(m: Module, plane: Value, single: Value, grouped: Value) -> dict[str, Value]:
            return {"data": Mux(grouped, plane, single)}

        def rotate(level: int) -> Callable[..., dict[str, Value]]:
            def rotated(m: Module, data: Value, n: Value) -> dict[str, Value]:
                return {"data": Mux(n[level], data.rotate_left(8 * ((1 << level) % lanes)), data)}

            return rotated

        def mask(m: Module, data: Value, keep: Value) -> dict[str, Value]:
            return {"o": data & Cat(bit.replicate(8) for bit in keep)}

        # What chooses the planes stands in front of the first step. The mask takes no more than an input.
        levels = [Step(rotate(level), delay=1) for level in range(bits_for(lanes))]
        super().__init__(
            inputs={"plane": 8 * lanes, "single": 8 * lanes, "grouped": 1, "n": bits_for(lanes), "keep": lanes},
            output=8 * lanes,
            steps=[Step(choose, delay=2), *levels, Step(mask, delay=0)],
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
        self._permutes = geometry(config).of_kind(QueueKind.SXM_PERMUTE)[index : index + 1]
        super().__init__(queue_ports(config, (self._shift, *self._permutes)))

    def elaborate(self, platform: object) -> Module:
        """Build the units that there are."""
        m = Module()
        self._elaborate_shift(m)
        for queue in self._permutes:
            self._elaborate_permute(m, queue)
        return m

    def _elaborate_shift(self, m: Module) -> None:
        """A rotator, or one for each stream of a group if groups rotate; what is alone goes through all of them."""
        config, taps, queue = self._config, self.shift_taps, self._shift
        lanes = config.lanes
        dispatch = Dispatch(m, config, queue, self.shift_issue)
        instruction, valid = dispatch.instruction, dispatch.valid
        rotates = instruction.is_("rotate") if config.sxm_rotates else Const(0)
        is_select = instruction.is_("select")
        grouped = dispatch.decoded("grouped", rotates)
        mnemonics = [spec.mnemonic for spec in instruction.specs if spec.produces]
        # What every lane is told: the streams of operand and mask, and whether there is a mask.
        order = Cat(
            instruction.choose_of(mnemonics, "s", queue.consumes),
            Cat(instruction.choose("select", "m", queue.consumes)),
            is_select,
        )
        told = [
            (lane[: len(taps)], lane[len(taps) : -1], lane[-1])
            for lane in relayed(
                m, "sxm", "shift", dispatch.decoded("order", order, ahead=1), lanes, local_registers(config)
            )
        ]
        source, mask, selects = told[0]
        planes = _planes([source for source, _, _ in told], taps)
        single = named(m, "single", _single(planes))
        given = _given(source, taps) & (_given(mask, taps) | ~selects)
        m.d.comb += self.shift_empty.eq(delayed(m, "shift_empty", valid & ~given, 1))

        distance = Signal(len(instruction.field("shift", "n")))
        m.d.comb += distance.eq(Mux(rotates, instruction.field("rotate", "n"), instruction.field("shift", "n")))
        backward = distance[-1]
        places = Mux(is_select, 0, Mux(backward, distance + lanes, distance))[: bits_for(lanes)]
        # Lanes from n on come from where they should, those before it from the other end. No n is beyond the last lane.
        straight = Cat(*(places <= lane for lane in range(lanes - 1)), Const(1))
        inside = (straight ^ backward.replicate(lanes)) | rotates.replicate(lanes)
        n = dispatch.decoded("n", places)
        inside = dispatch.decoded("inside", inside)
        keep = []
        for lane, (_, chosen, selects) in enumerate(told):
            wanted = select(chosen, [tap.data.word_select(lane, 8) for tap in taps]).any()
            keep.append(named(m, f"keep{lane}", Mux(selects, wanted, inside[lane])))

        rotated = []
        for place, plane in enumerate(planes if config.sxm_rotates else planes[:1]):
            m.submodules[f"rotator{place}"] = rotator = _Rotator(lanes=lanes, depth=config.pipeline.lanes)
            m.d.comb += [
                rotator.plane.eq(plane),
                rotator.single.eq(single),
                rotator.grouped.eq(grouped),
                rotator.n.eq(n),
                rotator.keep.eq(Cat(keep)),
            ]
            rotated.append(rotator.o)
        chosen = instruction.choose_of(mnemonics, "d", queue.produces)
        target = dispatch.decoded("target", chosen & dispatch.ahead.replicate(len(chosen)))
        produces = delayed(m, "shift_produces", target, config.pipeline.lanes - 1)
        for stream, drive, produce in zip(queue.produces, self.shift_drives, produces, strict=True):
            m.d.comb += [drive.valid.eq(produce), drive.data.eq(rotated[stream.index % len(rotated)])]

    def _elaborate_permute(self, m: Module, queue: Queue) -> None:
        config, taps = self._config, self.permute_taps
        lanes, depth = config.lanes, config.pipeline.lanes
        dispatch = Dispatch(m, config, queue, self.permute_issue)
        instruction, valid = dispatch.instruction, dispatch.valid
        by_map = dispatch.decoded("by_map", instruction.is_("permute"))
        transposes = dispatch.decoded("transposes", instruction.is_("transpose"))

        mnemonics = ("permute", "distribute", "transpose")
        source = dispatch.decoded("source", instruction.choose_of(mnemonics, "s", queue.consumes))
        lane_map = dispatch.decoded("m", Cat(instruction.choose("permute", "m", queue.consumes)))
        place_bits = max(8, bits_for(lanes))
        m.submodules.permuter = permuter = _Permuter(lanes=lanes, place_bits=place_bits, depth=depth)
        mapped = named(m, "mapped", select(lane_map, [tap.data for tap in taps]))
        one = dispatch.decoded("n", instruction.field("distribute", "n"))
        planes = _planes([source] * lanes, taps)
        m.d.comb += [
            permuter.data.eq(_single(planes)),
            permuter.places.eq(
                Cat(Mux(by_map, mapped.word_select(lane, 8), one)[:place_bits] for lane in range(lanes))
            ),
        ]
        given = _given(source, taps) & (_given(lane_map, taps) | ~by_map)
        m.d.comb += self.permute_empty.eq(delayed(m, "permute_empty", valid & ~given, 1))

        transposed = [
            delayed(m, f"transposed{place}", vector, depth) for place, vector in enumerate(_transposed(planes, lanes))
        ]
        transposes_q = delayed(m, "transposes", transposes, depth)
        vectors = [
            named(m, f"result{place}", Mux(transposes_q, vector, permuter.o)) for place, vector in enumerate(transposed)
        ]
        chosen = instruction.choose_of(mnemonics, "d", queue.produces)
        target = dispatch.decoded("target", chosen & dispatch.ahead.replicate(len(chosen)))
        produces = delayed(m, "permute_produces", target, depth - 1)
        for stream, drive, produce in zip(queue.produces, self.permute_drives, produces, strict=True):
            m.d.comb += [drive.valid.eq(produce), drive.data.eq(vectors[stream.index % GROUP])]


def _given(chosen: Value, taps: Any) -> Value:
    """1 where nothing chosen is empty."""
    return ~(chosen & ~Cat(tap.valid for tap in taps)).any()


def _planes(chosen: Sequence[Value], taps: Any) -> list[Value]:
    """What every lane chooses of its streams by their place in the group, 0 for a place that is not chosen."""
    return [
        Cat(
            select(streams[place::GROUP], [tap.data.word_select(lane, 8) for tap in taps][place::GROUP])
            for lane, streams in enumerate(chosen)
        )
        for place in range(GROUP)
    ]


def _single(planes: Sequence[Value]) -> Value:
    """The chosen stream, where only one is."""
    return planes[0] | planes[1] | planes[2] | planes[3]


def _transposed(planes: Sequence[Value], lanes: int) -> list[Value]:
    """Lane 4 b + i of vector j is lane 4 b + j of plane i, or 0 where there is none."""

    def lane_of(i: int, lane: int) -> Value:
        return planes[i].word_select(lane, 8) if lane < lanes else Const(0, 8)

    return [Cat(lane_of(i % GROUP, i - i % GROUP + j) for i in range(lanes)) for j in range(GROUP)]
