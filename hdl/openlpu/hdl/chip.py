# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The chip: everything `Geometry` lists, put together.

Nothing here knows one slice from another. A queue has an instruction memory and a part of a unit; both tap, and the
part drives, the streams that the queue lists at the hop that it names. What is left is what belongs to no slice: the
barrier, the clock of the program, and the record of the first fault.
"""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Member, Out

from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import PAUSE_BITS, bits_for
from openlpu.arch.geometry import QueueKind, Stream, geometry
from openlpu.arch.timing import timing

from .c2c import C2c, CoreLinkSignature
from .decode import part
from .ecc import CheckedHop
from .errors import COUNT_BITS, ErrorCounts, QueueErrors, counting_places
from .host import HostPort, HostSignature, text_name
from .icu import InstructionQueue, notify_registers, release_registers, tapped
from .mem import MemSlice
from .mxm import MxmPlane
from .signals import delayed, select
from .stream import Hop, drives_name
from .sxm import Sxm
from .vxm import Vxm

__all__ = ["MOST_LANES", "Chip", "ChipSignature", "link_name", "refuse_unsupported", "reset_cycles"]

_Place = tuple[Value, Value, Value]
"""Whether something is wrong in some queue, the queue's number, and whether it is an illegal word."""

MOST_LANES = 64
"""Widest chip that is elaborated: the netlist grows with the square of the lanes, and takes gigabytes from 32 on."""


def reset_cycles(config: ChipConfig) -> int:
    """How long a reset must be: until nothing is in flight any more, on streams or in units, and faults are recorded.

    It stops the queues; most other registers have none.
    """
    return timing(config).draining + geometry(config).hops


def link_name(link: int) -> str:
    """The port of a `Chip` to one of its links."""
    return f"link{link}"


class ChipSignature(wiring.Signature):
    """The ports of a chip: those of `HostSignature`, their names behind `host_`, and:

    `host_start` : pulse, while not `running`: every queue starts at the first word of its text.
    `host_reruns` : with `host_start`, how often they start again, each time once every queue has halted and nothing is
        in flight any more. After a run with a fault they do not.
    `running` : from the start until that is so for the last time. The host port works outside.
    `cycles` : from cycle 0 of the first run until every queue has halted in the last; final when `running` falls.
    `fault` : something went wrong since the start. The rest describes what went wrong first; of several in one cycle,
        what went wrong in the lowest queue.
    `faults` : cycles since the start in which something went wrong.
    `fault_queue` : position in `Geometry.queues`.
    `fault_cycle` : the cycle, counted as `cycles`, in which operands were sampled, or the illegal word was to be
        dispatched (0 also before the program's first).
    `fault_illegal` : 1 for an illegal instruction word, 0 for a stream, chain or array that held nothing.
    `digest` : `ChipConfig.digest`.

    With ECC also, of the vectors with wrong bits that were consumed since the reset:

    `ecc_corrected`, `ecc_uncorrectable` : how many.
    `ecc_queue` : a position in `Geometry.queues`, or the one after the last for the host port.
    `ecc_queue_corrected`, `ecc_queue_uncorrectable` : how many were consumed there; two cycles after `ecc_queue`.

    With links also a `CoreLinkSignature` for each, `link_name`; and `deskew`, which changes for each DESKEW, and with
    it `deskew_pause`. `openlpu.hdl.linked` has the other sides of them.
    """

    def __init__(self, config: ChipConfig) -> None:
        super().__init__(
            {f"host_{name}": member.flip() for name, member in HostSignature(config).members.items()}
            | {
                "host_start": In(1),
                "host_reruns": In(32),
                "running": Out(1),
                "cycles": Out(32),
                "fault": Out(1),
                "faults": Out(32),
                "fault_queue": Out(bits_for(len(geometry(config).queues))),
                "fault_cycle": Out(32),
                "fault_illegal": Out(1),
                "digest": Out(64),
            }
            | (_ecc_ports(config) if config.ecc else {})
            | (_link_ports(config) if config.c2c_links else {})
        )


class Chip(wiring.Component):
    """One chip, with the ports of `ChipSignature`.

    Raises
    ------
    ValueError
        The config asks for something that has no RTL yet.
    """

    host_start: Signal
    host_reruns: Signal
    running: Signal
    cycles: Signal
    fault: Signal
    faults: Signal
    fault_queue: Signal
    fault_cycle: Signal
    fault_illegal: Signal
    digest: Signal
    ecc_corrected: Signal
    ecc_uncorrectable: Signal
    ecc_queue: Signal
    ecc_queue_corrected: Signal
    ecc_queue_uncorrectable: Signal
    deskew: Signal
    deskew_pause: Signal

    def __init__(self, *, config: ChipConfig) -> None:
        refuse_unsupported(config)
        self._config = config
        super().__init__(ChipSignature(config))

    def elaborate(self, platform: object) -> Module:
        """Put the parts together."""
        m = Module()
        units = self._units(m)
        start = delayed(m, "start", self.host_start & ~self.running, 1)
        again = Signal()
        # What was written before may still be on its way, and what a run before left, on streams.
        starting = Cat(Signal(name=f"starting{age}") for age in range(timing(self._config).starting))
        m.d.sync += starting.eq(Cat(start | again, starting[:-1]))
        icus = self._icus(m, units, starting[-1])
        hops = self._connect_streams(m, units, icus)
        host = self._connect_host(m, units, hops, icus)
        if self._config.ecc:
            self._count_errors(m, icus, hops, host)
        if self._config.c2c_links:
            self._connect_links(m, units)

        notify = Cat(icu.notify for icu in icus).any()
        # The queues see NOTIFY one cycle before its dispatch, and act on the release one before that of cycle 0.
        in_queues = notify_registers(self._config) + release_registers(self._config)
        release = delayed(m, "release", notify, timing(self._config).notify - 1 - in_queues)
        m.d.comb += [icu.release.eq(release) for icu in icus]
        halted = Cat(icu.halted for icu in icus).all() & ~starting.any()
        fetching = Cat(icu.fetching for icu in icus).any()
        now = self._elaborate_clock(m, start, again, release, halted, fetching)
        late, way = timing(self._config).text_tap, timing(self._config).fault_found
        empty = Cat(getattr(units[queue.unit], f"{part(queue)}_empty") for queue in geometry(self._config).queues)
        wanting = delayed(m, "empty", empty, late) | Cat(icu.fetch_empty for icu in icus)
        illegal = [icu.illegal for icu in icus]
        self._elaborate_fault(m, start, now, illegal, delayed(m, "wanting", wanting, way - late))
        m.d.comb += self.digest.eq(Const(int(self._config.digest, 16), 64))
        return m

    # --- parts ---

    def _units(self, m: Module) -> dict[str, Any]:
        """All units by the name that their queues give them."""
        units: dict[str, Any] = {}
        unit: Any
        for queue in geometry(self._config).queues:
            if queue.unit not in units:
                match queue.kind:
                    case QueueKind.MEM_READ | QueueKind.MEM_WRITE:
                        unit = MemSlice(config=self._config, index=queue.index)
                    case QueueKind.MXM_WEIGHTS | QueueKind.MXM_ACTS | QueueKind.MXM_ACCS:
                        unit = MxmPlane(config=self._config, index=queue.index)
                    case QueueKind.SXM_SHIFT | QueueKind.SXM_PERMUTE:
                        unit = Sxm(config=self._config, index=queue.index)
                    case QueueKind.VXM:
                        unit = Vxm(config=self._config)
                    case QueueKind.C2C_SEND | QueueKind.C2C_RECEIVE:
                        unit = C2c(config=self._config, index=queue.index)
                units[queue.unit] = unit
                m.submodules[queue.unit] = unit
        return units

    def _icus(self, m: Module, units: dict[str, Any], start: Value) -> list[InstructionQueue]:
        icus = []
        for queue in geometry(self._config).queues:
            icu = InstructionQueue(config=self._config, queue=queue)
            m.submodules[f"icu_{queue.unit}_{part(queue)}"] = icu
            wiring.connect(m, icu.issue, getattr(units[queue.unit], f"{part(queue)}_issue"))
            m.d.comb += icu.start.eq(start)
            icus.append(icu)
        return icus

    def _connect_streams(
        self, m: Module, units: dict[str, Any], icus: Sequence[InstructionQueue]
    ) -> Sequence[Hop | CheckedHop]:
        chip = geometry(self._config)
        hops = [self._hop(place) for place in range(chip.hops)]
        for place, hop in enumerate(hops):
            m.submodules[f"hop{place}"] = hop
        for west, east in pairwise(hops):
            m.d.comb += [
                east.e_data_in.eq(west.e_data),
                east.e_valid_in.eq(west.e_valid),
                west.w_data_in.eq(east.w_data),
                west.w_valid_in.eq(east.w_valid),
            ]

        texts: dict[tuple[int, Stream], tuple[Value, ...]] = {}
        connected: Counter[tuple[int, Stream]] = Counter()
        for queue, icu in zip(chip.queues, icus, strict=True):
            unit, hop = units[queue.unit], hops[queue.hop]
            for stream, tap in zip(queue.consumes, getattr(unit, f"{part(queue)}_taps"), strict=True):
                valid, data = hop.standing(stream)
                m.d.comb += [tap.data.eq(data), tap.valid.eq(valid)]
            for stream, tap in zip(tapped(self._config, queue), icu.text_taps, strict=True):
                if (queue.hop, stream) not in texts:
                    # All queues that a stream brings text to share the register on its way.
                    texts[queue.hop, stream] = tuple(
                        delayed(m, f"text{queue.hop}_{stream}_{kind}", value, timing(self._config).text_tap)
                        for kind, value in zip(("valid", "data"), hop.standing(stream), strict=True)
                    )
                valid, data = texts[queue.hop, stream]
                m.d.comb += [tap.data.eq(data), tap.valid.eq(valid)]
            for stream, drive in zip(queue.produces, getattr(unit, f"{part(queue)}_drives"), strict=True):
                wiring.connect(m, drive, getattr(hop, drives_name(stream))[connected[queue.hop, stream]])
                connected[queue.hop, stream] += 1
        return hops

    def _hop(self, place: int) -> Hop | CheckedHop:
        config = self._config
        queues = [queue for queue in geometry(config).queues if queue.hop == place]
        producers = Counter(stream for queue in queues for stream in queue.produces)
        if not config.ecc:
            return Hop(lanes=config.lanes, streams=config.streams, producers=producers)
        return CheckedHop(
            config=config,
            producers=producers,
            consumed={stream for queue in queues for stream in (*queue.consumes, *tapped(config, queue))},
            # MEM slices share a hop with nothing else.
            encodes=all(queue.kind is not QueueKind.MEM_READ for queue in queues),
        )

    def _connect_host(
        self, m: Module, units: dict[str, Any], hops: Sequence[Hop | CheckedHop], icus: Sequence[InstructionQueue]
    ) -> HostPort:
        m.submodules.host = host = HostPort(config=self._config)
        m.d.comb += host.enable.eq(~self.running)
        for name, member in HostSignature(self._config).members.items():
            inside, outside = getattr(host.host, name), getattr(self, f"host_{name}")
            m.d.comb += inside.eq(outside) if member.flow is Out else outside.eq(inside)
        for i, unit in enumerate(geometry(self._config).mem_slices):
            wiring.connect(m, host.slices[i], units[unit].host)
        for i, icu in enumerate(icus):
            wiring.connect(m, getattr(host, text_name(i)), icu.text)
        m.d.comb += [hops[0].e_data_in.eq(host.e_data), host.w_data.eq(hops[0].w_data)]
        return host

    def _connect_links(self, m: Module, units: dict[str, Any]) -> None:
        links = [units[queue.unit] for queue in geometry(self._config).of_kind(QueueKind.C2C_SEND)]
        for number, unit in enumerate(links):
            wiring.connect(m, unit.link, wiring.flipped(getattr(self, link_name(number))))
        pauses = [unit.pauses for unit in links]
        with m.If(Cat(pauses).any()):
            m.d.sync += [
                self.deskew.eq(~self.deskew),
                self.deskew_pause.eq(select(pauses, [unit.pause for unit in links])),
            ]

    def _count_errors(self, m: Module, icus: Sequence[InstructionQueue], hops: Sequence[Any], host: HostPort) -> None:
        """Count what the correctors have found, where somebody consumed it."""
        m.submodules.errors = counts = ErrorCounts(config=self._config)
        for number, (queue, icu) in enumerate(zip(geometry(self._config).queues, icus, strict=True)):
            m.submodules[f"errors_{queue.unit}_{part(queue)}"] = errors = QueueErrors(config=self._config, queue=queue)
            checked = [hops[queue.hop].checked(stream) for stream in (*queue.consumes, *queue.fetches)]
            m.d.comb += [
                errors.issue.valid.eq(icu.issue.valid),
                errors.issue.word.eq(icu.issue.word),
                errors.fetched.eq(icu.fetched),
                errors.corrected.eq(Cat(vector.corrected for vector in checked)),
                errors.uncorrectable.eq(Cat(vector.uncorrectable for vector in checked)),
            ]
            wiring.connect(m, errors.errors, counts.places[number])
        m.d.comb += [
            counts.places[-1].corrected.eq(host.corrected),
            counts.places[-1].uncorrectable.eq(host.uncorrectable),
            counts.place.eq(self.ecc_queue),
            self.ecc_corrected.eq(counts.corrected),
            self.ecc_uncorrectable.eq(counts.uncorrectable),
            self.ecc_queue_corrected.eq(counts.place_corrected),
            self.ecc_queue_uncorrectable.eq(counts.place_uncorrectable),
        ]

    # --- what belongs to no slice ---

    def _elaborate_clock(
        self, m: Module, start: Value, again: Signal, release: Value, halted: Value, fetching: Value
    ) -> Value:
        """Drive `running`, `cycles`, and `again`, a pulse to begin a further run.

        Returns the cycle of the program that was `Timing.clock_delay` cycles ago, 0 before there was one.
        """
        # So many cycles pass from the release to cycle 0; the clock then runs late by as much as faults are.
        late = timing(self._config).clock_delay
        released = release_registers(self._config) + 2
        counting = Cat(Signal(name=f"counting{age}") for age in range(released + late))
        halted_q, fetching_q = delayed(m, "halted", halted, 1), delayed(m, "fetching", fetching, 1)
        finished = delayed(m, "finished", halted_q, late)
        now = Signal(32)
        m.d.sync += counting.eq(Cat(counting[0] | release, counting[:-1]))
        with m.If(counting[-1]):
            m.d.sync += now.eq(now + 1)
            with m.If(~finished):
                m.d.sync += self.cycles.eq(now + 1)

        longest = timing(self._config).draining
        draining, reruns = Signal(range(longest + 1)), Signal.like(self.host_reruns)
        more = delayed(m, "more", reruns != 0, 1)
        with m.If(~halted_q | fetching_q):
            m.d.sync += draining.eq(longest)
        with m.Elif(draining != 0):
            m.d.sync += draining.eq(draining - 1)
        with m.Elif(self.running & more & ~self.fault):
            m.d.comb += again.eq(1)
            m.d.sync += [draining.eq(longest), reruns.eq(reruns - 1)]
        with m.Else():
            m.d.sync += [self.running.eq(0), counting.eq(0)]
        with m.If(start):
            m.d.sync += [self.running.eq(1), draining.eq(longest), counting.eq(0), now.eq(0), self.cycles.eq(0)]
        with m.If(self.host_start & ~self.running):
            m.d.sync += reruns.eq(self.host_reruns)
        return now

    def _elaborate_fault(self, m: Module, start: Value, now: Value, illegal: Sequence[Value], empty: Value) -> None:
        # Units tell of an empty operand one cycle after they get it; illegal words must not get ahead of them.
        times = timing(self._config)
        illegal_q = delayed(m, "illegal", Cat(illegal), times.correct + 1 + times.fault_found)
        wrong = illegal_q | empty
        places: list[_Place] = list(zip(wrong, map(Const, range(len(wrong))), illegal_q, strict=True))
        some = math.isqrt(len(places))
        firsts = [_first(m, f"first{i}", places[i:][:some]) for i in range(0, len(places), some)]
        found, first, first_illegal = _first(m, "first", firsts)
        with m.If(found):
            m.d.sync += self.faults.eq(self.faults + 1)
        with m.If(found & ~self.fault):
            m.d.sync += [
                self.fault.eq(1),
                self.fault_queue.eq(first),
                self.fault_illegal.eq(first_illegal),
                self.fault_cycle.eq(now),
            ]
        with m.If(start):
            m.d.sync += [self.fault.eq(0), self.faults.eq(0)]


def _first(m: Module, name: str, places: Sequence[_Place]) -> _Place:
    """The first of some places where something is wrong, one cycle later. In the others, any place."""
    *before, last = places
    _, number, illegal = last
    for wrong, at, kind in reversed(before):
        number, illegal = Mux(wrong, at, number), Mux(wrong, kind, illegal)
    found = Cat(wrong for wrong, _, _ in places).any()
    values = {"found": found, "number": number, "illegal": illegal}
    wrong, number, illegal = (delayed(m, f"{name}_{kind}", value, 1) for kind, value in values.items())
    return wrong, number, illegal


def _ecc_ports(config: ChipConfig) -> dict[str, Member]:
    return {
        "ecc_corrected": Out(COUNT_BITS),
        "ecc_uncorrectable": Out(COUNT_BITS),
        "ecc_queue": In(bits_for(counting_places(config))),
        "ecc_queue_corrected": Out(COUNT_BITS),
        "ecc_queue_uncorrectable": Out(COUNT_BITS),
    }


def _link_ports(config: ChipConfig) -> dict[str, Member]:
    ports: dict[str, Member] = {link_name(link): Out(CoreLinkSignature(config)) for link in range(config.c2c_links)}
    return ports | {"deskew": Out(1), "deskew_pause": Out(PAUSE_BITS)}


def refuse_unsupported(config: ChipConfig) -> None:
    """Raise ValueError, naming the field, when the config asks for something that has no RTL yet."""
    if config.lanes > MOST_LANES:
        raise ValueError(
            f"config field 'lanes': {config.lanes} are more than the {MOST_LANES} that Amaranth elaborates in "
            f"reasonable memory; use the golden model for chips of this size"
        )
