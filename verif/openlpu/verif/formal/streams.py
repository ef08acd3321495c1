# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What stream registers promise, as properties of a whole chip: its own hops, and the wires between them.

The units may do whatever they like, but for one thing, which the schedule promises: no two of them drive the chosen
stream at one hop in one cycle.
"""

from amaranth.hdl import Array, Assert, Assume, Cat, Elaboratable, Module, Mux, ResetSignal, Signal, Value

from openlpu.arch.config import ChipConfig
from openlpu.arch.geometry import Direction, Stream, geometry
from openlpu.hdl.chip import Chip
from openlpu.hdl.shared import ports_of
from openlpu.hdl.stream import Hop, drives_name

__all__ = ["StreamLaws"]


_UNITS = ("icu_*", "mem_*", "mxm_*", "sxm_*", "vxm", "host")
"""What the laws do not depend on: everything but the hops and the wires between them."""


class StreamLaws(Elaboratable):
    """A chip, and the laws of its streams for any one stream of a direction.

    *A hop.* What stands in a register is what a unit there drove the cycle before; else what stood in the register
    upstream, vector and valid bit; at the upstream edge nothing, if nothing was driven. So nothing is lost, nothing is
    there twice, and nothing comes from nothing.

    *A journey.* Of whatever stands, or does not stand, in any register in any cycle, the same is found n hops on n
    cycles later, for every n up to the edge, unless a unit drove the stream on the way just before it would have come.

    `inputs`, `chosen` and `cut` are for `prover.prove`.
    """

    def __init__(self, config: ChipConfig, direction: Direction) -> None:
        self._config = config
        self._direction = direction
        self._chip = Chip(config=config)
        hops = geometry(config).hops
        self._index = Signal(range(config.streams), name="index", reset_less=True)
        self._begin = Signal(name="begin")
        self._origin = Signal(range(hops), name="origin")
        self.inputs = [*ports_of(self._chip).values(), self._begin, self._origin]
        self.chosen = [self._index]
        self.cut = _UNITS

    def elaborate(self, platform: object) -> Module:
        """The chip with its laws."""
        m = self._chip.elaborate(platform)
        m.d.comb += Assume(~ResetSignal(), "no reset")
        m.d.sync += self._index.eq(self._index)
        hops = [getattr(m.submodules, f"hop{place}") for place in range(geometry(self._config).hops)]
        if self._direction is Direction.WEST:
            hops.reverse()
        # From here on a register's number says how far downstream it is.
        valid, data = zip(*(self._register(m, hop, number) for number, hop in enumerate(hops)), strict=True)
        driven, vector = zip(*(self._drive(m, hop, number) for number, hop in enumerate(hops)), strict=True)
        self._law_of_a_hop(m, valid, data, driven, vector)
        self._law_of_a_journey(m, valid, data, driven)
        return m

    # --- laws ---

    def _law_of_a_hop(
        self,
        m: Module,
        valid: tuple[Value, ...],
        data: tuple[Value, ...],
        driven: tuple[Value, ...],
        vector: tuple[Value, ...],
    ) -> None:
        later = Signal(name="later")
        m.d.sync += later.eq(1)
        for number in range(len(valid)):
            was_driven, was_vector = _before(m, driven[number]), _before(m, vector[number])
            came, was_upstream = was_driven, was_vector
            if number > 0:
                came = was_driven | _before(m, valid[number - 1])
                was_upstream = _before(m, data[number - 1])
            m.d.comb += Assert(~later | (valid[number] == came), "a vector stands where one came")
            expected = Mux(was_driven, was_vector, was_upstream)
            m.d.comb += Assert(~later | ~came | (data[number] == expected), "it is the one that came")
            m.d.comb += Assert(later | ~valid[number], "in the beginning there is none")

    def _law_of_a_journey(
        self, m: Module, valid: tuple[Value, ...], data: tuple[Value, ...], driven: tuple[Value, ...]
    ) -> None:
        last = len(valid) - 1
        riding, intact = Signal(name="riding"), Signal(name="intact")
        was_valid = Signal(name="was_valid")
        was_data = Signal(len(data[0]), name="was_data")
        origin, cycles = Signal(range(last + 1), name="from"), Signal(range(last + 1), name="cycles")
        m.d.comb += Assume(self._origin < last, "a journey begins before the edge")
        with m.If(~riding):
            m.d.sync += [
                riding.eq(self._begin),
                origin.eq(self._origin),
                cycles.eq(1),
                was_valid.eq(Array(valid)[self._origin]),
                was_data.eq(Array(data)[self._origin]),
                intact.eq(~Array(driven)[self._origin + 1]),
            ]
        with m.Else():
            place = origin + cycles
            m.d.comb += Assert((origin < last) & (cycles != 0) & (place <= last), "a journey is where it is")
            same = (Array(valid)[place] == was_valid) & (~was_valid | (Array(data)[place] == was_data))
            m.d.comb += Assert(~intact | same, "what set out arrives")
            m.d.sync += [
                riding.eq(place != last),
                cycles.eq(cycles + 1),
                intact.eq(intact & ~Array(driven)[place + 1]),
            ]

    # --- the chosen stream ---

    def _register(self, m: Module, hop: Hop, number: int) -> tuple[Value, Value]:
        """Valid bit and vector in the register of a hop."""
        letter, width = self._direction.letter, 8 * self._config.lanes
        valid, data = Signal(name=f"valid{number}"), Signal(width, name=f"data{number}")
        m.d.comb += [
            valid.eq(getattr(hop, f"{letter}_valid").bit_select(self._index, 1)),
            data.eq(getattr(hop, f"{letter}_data").word_select(self._index, width)),
        ]
        return valid, data

    def _drive(self, m: Module, hop: Hop, number: int) -> tuple[Value, Value]:
        """Whether a unit drives at a hop, and what. Assumes that not two of them do."""
        driven, vector = Signal(name=f"driven{number}"), Signal(8 * self._config.lanes, name=f"vector{number}")
        for index in range(self._config.streams):
            drives = getattr(hop, drives_name(Stream(self._direction, index)), ())
            with m.If(self._index == index):
                valid = Cat(drive.valid for drive in drives)
                # The vector comes one cycle after its valid bit.
                for drive, producing in zip(drives, _before(m, valid), strict=True):
                    with m.If(producing):
                        m.d.comb += [driven.eq(1), vector.eq(drive.data)]
                m.d.comb += Assume((valid & (valid - 1)[: len(valid)]) == 0, "one unit drives")
        return driven, vector


def _before(m: Module, value: Value) -> Value:
    """`value` in the cycle before this one."""
    register = Signal(len(value), name="before")
    m.d.sync += register.eq(value)
    return register
