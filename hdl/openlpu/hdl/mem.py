# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""MEM slices: SRAM between the streams.

A slice reads one word and writes one word a cycle. Every lane has a memory of its own, where the lane lies; each
quarter of them is told by registers of its own what to do. What a read returns while its word is being written is left
open. With ECC a word has its check bits beside it, which came with it from the streams and go there with it again. What
the host writes comes on a stream, too, and what it reads goes on one.

A window begins at a multiple of its size. So the place in it, which comes on a stream, is combined with its address
without a carry, and a word found that way takes as long as one that the instruction names. In a table that is dealt out
the lowest bits of a place tell the slice: one that is not meant reads all the same, and puts zeros onto the stream.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from openlpu.arch.config import ChipConfig
from openlpu.arch.ecc import vector_code
from openlpu.arch.encoding import bits_for
from openlpu.arch.geometry import Direction, Queue, QueueKind, Stream, geometry

from .decode import queue_ports, reach
from .dispatch import Dispatch, local_registers
from .ram import Ram
from .shared import SharedComponent
from .signals import delayed, named, relayed, select
from .stream import lane_parts

__all__ = ["MemSlice", "SramAccessSignature", "data_stream", "word_stream"]

_OFFSET_BITS = 16
"""Of a map: two lanes."""


class SramAccessSignature(wiring.Signature):
    """Host access to the SRAM of a slice, while no instruction is in flight.

    Where `read`, word `read_address` is produced on the slice's `word_stream`, as by an instruction whose operands are
    sampled in that cycle. One cycle after `write`, what is on the slice's `data_stream` becomes word `write_address`,
    valid or not. A read three cycles after a write sees it.
    """

    def __init__(self, config: ChipConfig) -> None:
        address = bits_for(config.mem_words)
        super().__init__(
            {
                "read": Out(1),
                "read_address": Out(address),
                "write": Out(1),
                "write_address": Out(address),
            }
        )


def data_stream(queue: Queue) -> Stream:
    """The eastward stream that brings a MEM slice, whose write queue this is, the host's words."""
    return queue.consumes[0]


def word_stream(queue: Queue) -> Stream:
    """The westward stream on which a MEM slice, whose read queue this is, gives the host its words."""
    return next(stream for stream in queue.produces if stream.direction is Direction.WEST)


@dataclass(frozen=True)
class _Word:
    """What an instruction beside its operands means by its address.

    `address` : the word.
    `mapped` : whether a map says which.
    `given` : whether there is a map.
    `elsewhere` : the map means another slice; never where no instruction is.
    """

    address: Value
    mapped: Value
    given: Value
    elsewhere: Value


class MemSlice(SharedComponent):
    """MEM slice number `index` of `Geometry.mem_slices`: ports as `queue_ports` says, and `host`."""

    read_issue: Any
    read_taps: Any
    read_drives: Any
    read_empty: Signal
    write_issue: Any
    write_taps: Any
    write_empty: Signal
    host: Any

    def __init__(self, *, config: ChipConfig, index: int) -> None:
        self._config = config
        self._read = geometry(config).of_kind(QueueKind.MEM_READ)[index]
        self._write = geometry(config).of_kind(QueueKind.MEM_WRITE)[index]
        # Of the registers of a read one belongs to the SRAM, the next stands behind it, all others before it.
        self._before = max(config.pipeline.sram - 2, 0)
        self._parts = lane_parts(config.lanes, vector_code(config).bits)
        queues = queue_ports(config, (self._read, self._write), check_bits=vector_code(config).check_bits)
        super().__init__(
            queues | {"host": In(SramAccessSignature(config))},
            like=(reach(self._read), reach(self._write)),
            module_name=self._read.unit,
        )

    def body(self) -> Module:
        """Build the SRAM and both queues' pipelines."""
        m = Module()
        memories = []
        for lane, part in enumerate(self._parts):
            memory = Ram(depth=self._config.mem_words, width=part.stop - part.start)
            m.submodules[f"sram{lane}"] = memory
            memories.append(memory)
        self._elaborate_read(m, [memory.read for memory in memories])
        self._elaborate_write(m, [memory.write for memory in memories])
        return m

    def _elaborate_read(self, m: Module, ports: Sequence[Any]) -> None:
        stages = self._config.pipeline.sram
        dispatch = Dispatch(m, self._config, self._read, self.read_issue)
        instruction, valid = dispatch.instruction, dispatch.valid
        word = self._word(dispatch, ("read", "gather", "gather_dealt"), self._read, self.read_taps)
        asks = Cat(valid | self.host.read, Mux(self.host.read, self.host.read_address, word.address))
        relays = min(self._before, 1)
        early = delayed(m, "asks", asks, self._before - relays)
        for port, asked in zip(ports, relayed(m, "mem", "asks", early, len(ports), relays), strict=True):
            m.d.comb += [port.en.eq(asked[0]), port.addr.eq(asked[1:])]
        m.d.comb += self.read_empty.eq(delayed(m, "read_empty", valid & word.mapped & ~word.given, 1))
        data = delayed(m, "data", Cat(port.data for port in ports), stages - 1 - self._before)
        if self._config.dealt_windows:
            data = self._silenced(m, data, delayed(m, "elsewhere", word.elsewhere, stages - 1))
        plain, mapped = (Cat(instruction.choose(name, "d", self._read.produces)) for name in ("read", "gather"))
        chosen = Mux(instruction.is_("read"), plain, mapped)
        target = dispatch.decoded("target", chosen & dispatch.ahead.replicate(len(chosen)))
        of_host = self.host.read << self._read.produces.index(word_stream(self._read))
        for drive, produce in zip(self.read_drives, delayed(m, "produces", target | of_host, stages - 1), strict=True):
            m.d.comb += [drive.valid.eq(produce), drive.data.eq(data)]

    def _silenced(self, m: Module, data: Value, silent: Value) -> Value:
        """A word from the SRAM, or zeros one cycle after `silent`: as a vector they have check bits of zeros, too."""
        told = relayed(m, "mem", "silent", silent, len(self._parts), 1)
        return Cat(Mux(no_word, 0, data[part]) for no_word, part in zip(told, self._parts, strict=True))

    def _elaborate_write(self, m: Module, ports: Sequence[Any]) -> None:
        dispatch = Dispatch(m, self._config, self._write, self.write_issue)
        instruction, valid = dispatch.instruction, dispatch.valid
        word = self._word(dispatch, ("write", "scatter", "scatter_dealt"), self._write, self.write_taps)
        # The word of the last instruction stays, and would choose beside the host.
        plain, mapped = (Cat(instruction.choose(name, "s", self._write.consumes)) for name in ("write", "scatter"))
        chosen = Mux(instruction.is_("write"), plain, mapped)
        source = dispatch.decoded("source", chosen & dispatch.ahead.replicate(len(chosen)), ahead=1)
        host_writes, host_address = (
            delayed(m, f"host_{name}", getattr(self.host, name), 1) for name in ("write", "write_address")
        )
        local = local_registers(self._config)
        of_host = (self.host.write if local else host_writes) << self._write.consumes.index(data_stream(self._write))
        taken = relayed(m, "mem", "taken", source | of_host, self._config.lanes, local)
        stands = select(taken[0], [tap.valid for tap in self.write_taps])
        given = named(m, "given", stands & (word.given | ~word.mapped))
        m.d.comb += self.write_empty.eq(delayed(m, "write_empty", valid & ~given, 1))

        writes = valid & given & ~word.elsewhere
        tells = Cat(writes | host_writes, Mux(host_writes, host_address, word.address))
        # As reads come to the SRAM later by the registers before it, writes do.
        told = relayed(m, "mem", "tells", delayed(m, "tells", tells, self._before), len(ports), 1)
        for lane, (port, part) in enumerate(zip(ports, self._parts, strict=True)):
            byte = select(taken[lane], [tap.data[part] for tap in self.write_taps])
            m.d.comb += [
                port.en.eq(told[lane][0]),
                port.addr.eq(told[lane][1:]),
                port.data.eq(delayed(m, f"stored{lane}", byte, self._before + 1)),
            ]

    def _word(self, dispatch: Dispatch, forms: tuple[str, str, str], queue: Queue, taps: Any) -> _Word:
        """The word that an instruction means: a plain one, by a map, or by a map in a table that is dealt out."""
        (plain, by_map, dealt), instruction = forms, dispatch.instruction
        # A dealt window has its place above all that other windows have.
        mapped = instruction.is_any((by_map, dealt))
        window, base = instruction.field(by_map, "n"), instruction.field(by_map, "a")
        address = dispatch.decoded("address", Mux(mapped, base, instruction.field(plain, "a")))
        inside = dispatch.decoded("inside", Cat(mapped & (window > bit) for bit in range(len(base))))
        lane_map = dispatch.decoded("m", Cat(instruction.choose(by_map, "m", queue.consumes)))
        offset = select(lane_map, [tap.data[:_OFFSET_BITS] for tap in taps])
        row: Value = offset
        elsewhere: Value = C(0)
        if self._config.dealt_windows:
            bits = bits_for(self._config.weight_streams)
            shared = dispatch.executes("dealt", dealt)
            row = Mux(shared, offset[bits:], offset)
            elsewhere = shared & (offset[:bits] != dispatch.decoded("p", instruction.field(dealt, "p")))
        return _Word(
            address=address | (row[: len(base)] & inside),
            mapped=dispatch.decoded("mapped", mapped),
            given=select(lane_map, [tap.valid for tap in taps]),
            elsewhere=elsewhere,
        )
