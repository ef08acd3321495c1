# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Where everything is: hops, slices, their reach, and their instruction queues, derived from a `ChipConfig`.

A chip is a row of stream registers, the *hops*, numbered from west to east. A slice sits at one hop; it consumes from
and produces into the registers of that hop. Eastward streams move from hop h to h + 1 in a cycle, westward ones to h -
1.

    1 hemisphere:                       VXM | MEM_E.. | SXM_E | MXM_E
    2 hemispheres:  MXM_W | SXM_W | ..MEM_W | VXM | MEM_E.. | SXM_E | MXM_E

Chip-to-chip links, where there are any, stand at the hops of the SXMs, and reach what these reach
(`docs/decisions/0026-links.md` says why).
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable
from dataclasses import dataclass

from openlpu.arch.config import GROUP, ChipConfig, Source, SxmReach, TextConfig


class Direction(enum.Enum):
    """The way a stream flows. The value is its bit in an instruction."""

    EAST = 0
    WEST = 1

    @property
    def step(self) -> int:
        """Hops per cycle, signed: +1 eastward, -1 westward."""
        return 1 if self is Direction.EAST else -1

    @property
    def letter(self) -> str:
        """`e` or `w`, as in assembly text and signal names."""
        return "e" if self is Direction.EAST else "w"


@dataclass(frozen=True, order=True)
class Stream:
    """One conveyor belt: a direction and an index below `ChipConfig.streams`. Its text is `e3` or `w0`."""

    direction: Direction
    index: int

    def __str__(self) -> str:
        return f"{self.direction.letter}{self.index}"

    @property
    def planes(self) -> tuple[Stream, ...]:
        """The streams of the 32-bit group that begins with this one, least significant byte first."""
        return tuple(Stream(self.direction, self.index + plane) for plane in range(GROUP))

    @property
    def opposite(self) -> Stream:
        """The stream of the same index that flows the other way."""
        return Stream(Direction.WEST if self.direction is Direction.EAST else Direction.EAST, self.index)

    def diagonal(self, cycle: int, hop: int) -> int:
        """The constant that names a vector riding this stream: equal for all (cycle, hop) pairs it passes."""
        return cycle - hop * self.direction.step


class QueueKind(enum.StrEnum):
    """Kinds of instruction queue: each has its own instruction set."""

    MEM_READ = "mem_read"
    MEM_WRITE = "mem_write"
    MXM_WEIGHTS = "mxm_weights"
    MXM_ACTS = "mxm_acts"
    MXM_ACCS = "mxm_accs"
    VXM = "vxm"
    SXM_SHIFT = "sxm_shift"
    SXM_PERMUTE = "sxm_permute"
    C2C_SEND = "c2c_send"
    C2C_RECEIVE = "c2c_receive"


@dataclass(frozen=True)
class Queue:
    """One in-order instruction queue, and what the unit behind it reaches.

    `consumes` and `produces` list the streams that the unit's multiplexers connect to, in (direction, index) order; for
    32-bit groups every stream of the group is listed.
    """

    name: str
    """Unique in the chip, e.g. `mem_e0.read`, `vxm.alu2`; the part before the dot is `unit`."""
    kind: QueueKind
    hop: int
    index: int
    """Position of the unit among its kind: MEM slice and MXM plane count through both hemispheres, west first; links
    are dealt out to them, the first to the west."""
    consumes: tuple[Stream, ...]
    produces: tuple[Stream, ...]
    fetches: tuple[Stream, ...]
    """The streams that IFETCH may take instruction text from, whatever else the unit reaches: one eastward, as the text
    of the host comes, and one westward if there is no SRAM in the west."""
    text_words: int
    """Instructions that its memory holds."""

    @property
    def unit(self) -> str:
        """The slice, plane or VXM that the queue belongs to."""
        return self.name.split(".")[0]


class Geometry:
    """Every derived fact about places on one chip. Use `geometry(config)`, which computes it once."""

    def __init__(self, config: ChipConfig) -> None:
        self.config = config
        reach = config.mem_hops + 2
        self.vxm_hop = reach if config.hemispheres == 2 else 0
        self.hops = self.vxm_hop + reach + 1
        """Number of stream registers in each direction."""
        self.queues: tuple[Queue, ...] = tuple(self._queues())
        """Every queue of the chip; the position is its number on the host port."""
        self.by_name = {queue.name: queue for queue in self.queues}
        self.mem_slices: tuple[str, ...] = tuple(q.unit for q in self.queues if q.kind is QueueKind.MEM_READ)
        """Unit names of the MEM slices; the position is the slice's number on the host port."""

    def streams(self, *directions: Direction) -> tuple[Stream, ...]:
        """All streams of the given directions (of both, when none is given), in order."""
        return tuple(Stream(d, i) for d in directions or tuple(Direction) for i in range(self.config.streams))

    def hops_between(self, stream: Stream, producer: int, consumer: int) -> int:
        """Cycles from the register at hop `producer` to that at hop `consumer` on `stream`; negative upstream."""
        return (consumer - producer) * stream.direction.step

    def of_kind(self, kind: QueueKind) -> tuple[Queue, ...]:
        """The queues of one kind, in index order."""
        return tuple(queue for queue in self.queues if queue.kind is kind)

    def text_lengths(self, kind: QueueKind) -> tuple[int, ...]:
        """Instructions that the memories of a kind of queue hold: of each ALU, or one number for all of them."""
        words = self.config.imem_words
        held: int | tuple[int, ...] = getattr(words, kind) if isinstance(words, TextConfig) else words
        return held if isinstance(held, tuple) else (held,)

    def weight_stream_base(self, plane: int) -> int:
        """First of the `weight_streams` consecutive streams that a plane (index over the chip) loads from."""
        config = self.config
        return (plane % config.mxm_planes) * config.weight_streams % (config.streams - config.weight_streams + 1)

    def alu_sources(self, alu: int) -> tuple[int, ...]:
        """The ALUs whose results may chain into `alu`, the nearest first."""
        count = len(self.config.alus)
        return tuple((alu - distance) % count for distance in sorted(self.config.alus[alu].chain))

    def operand_sources(self, alu: int, operand: str) -> tuple[Source, ...]:
        """What operand `x` or `y` of an ALU may be."""
        sources: tuple[Source, ...] = getattr(self.config.alus[alu], operand)
        return sources

    def _queues(self) -> list[Queue]:
        config = self.config
        sides = [Direction.WEST, Direction.EAST] if config.hemispheres == 2 else [Direction.EAST]
        queues: list[Queue] = []

        def add(
            name: str,
            kind: QueueKind,
            hop: int,
            index: int,
            consumes: tuple[Stream, ...],
            produces: tuple[Stream, ...],
        ) -> None:
            # The own stream of a MEM slice brings its text, too; the other queues are spread over all streams.
            number = index % config.mem_slices if kind in (QueueKind.MEM_READ, QueueKind.MEM_WRITE) else len(queues)
            # SRAM can send text eastward from there on.
            first_sram = self.vxm_hop - config.mem_hops if config.hemispheres == 2 else self.vxm_hop + 1
            directions = (Direction.EAST,) if hop >= first_sram else tuple(Direction)
            fetches = tuple(Stream(direction, number % config.streams) for direction in directions)
            lengths = self.text_lengths(kind)
            text_words = lengths[index % len(lengths)]
            queues.append(Queue(name, kind, hop, index, consumes, produces, fetches, text_words))

        for hemisphere, outward in enumerate(sides):
            self._hemisphere(add, hemisphere, outward)
        # The VXM of a one-hemisphere chip stands at the edge: nothing flows in from the west, nothing leaves to it.
        inward = [Direction.WEST] if config.hemispheres == 1 else list(Direction)
        outward_ = [Direction.EAST] if config.hemispheres == 1 else list(Direction)
        for i, alu in enumerate(config.alus):
            consumes = self.streams(*inward) if alu.reads else ()
            produces = self.streams(*outward_) if alu.writes else ()
            add(f"vxm.alu{i}", QueueKind.VXM, self.vxm_hop, i, consumes, produces)
        for link in range(config.c2c_links):
            self._link(add, link, sides[link % len(sides)])
        return queues

    def _link(self, add: Callable[..., None], link: int, outward: Direction) -> None:
        hop = self.vxm_hop + outward.step * (self.config.mem_hops + 1)
        taken, given = self._sxm_reach(outward)
        add(f"c2c{link}.send", QueueKind.C2C_SEND, hop, link, taken, ())
        add(f"c2c{link}.receive", QueueKind.C2C_RECEIVE, hop, link, (), given)

    def _sxm_reach(self, outward: Direction) -> tuple[tuple[Stream, ...], tuple[Stream, ...]]:
        """The streams that the SXM of a hemisphere, and what stands beside it, consumes from and produces on."""
        if self.config.sxm_reach is SxmReach.FULL:
            return self.streams(), self.streams()
        inward = Direction.WEST if outward is Direction.EAST else Direction.EAST
        return self.streams(outward), self.streams(inward)

    def _hemisphere(self, add: Callable[..., None], hemisphere: int, outward: Direction) -> None:
        config, side, step = self.config, outward.letter, outward.step
        inward = Direction.WEST if outward is Direction.EAST else Direction.EAST
        taken, given = self._sxm_reach(outward)
        for i in range(config.mem_slices):
            hop = self.vxm_hop + step * (1 + i // config.slices_per_hop)
            streams = tuple(Stream(d, stream) for d in Direction for stream in config.reach(i))
            index = hemisphere * config.mem_slices + i
            add(f"mem_{side}{i}.read", QueueKind.MEM_READ, hop, index, streams, streams)
            add(f"mem_{side}{i}.write", QueueKind.MEM_WRITE, hop, index, streams, ())
        hop = self.vxm_hop + step * (config.mem_hops + 1)
        add(f"sxm_{side}.shift", QueueKind.SXM_SHIFT, hop, hemisphere, taken, given)
        if config.sxm_permutes:
            add(f"sxm_{side}.permute", QueueKind.SXM_PERMUTE, hop, hemisphere, taken, given)
        hop += step
        for p in range(config.mxm_planes):
            index = hemisphere * config.mxm_planes + p
            base = self.weight_stream_base(index)
            weights = tuple(Stream(outward, base + s) for s in range(config.weight_streams))
            unit = f"mxm_{side}{p}"
            add(f"{unit}.weights", QueueKind.MXM_WEIGHTS, hop, index, weights, ())
            add(f"{unit}.acts", QueueKind.MXM_ACTS, hop, index, self.streams(outward), ())
            add(f"{unit}.accs", QueueKind.MXM_ACCS, hop, index, (), self.streams(inward))


@functools.cache
def geometry(config: ChipConfig) -> Geometry:
    """The geometry of a chip, computed once per config."""
    return Geometry(config)
