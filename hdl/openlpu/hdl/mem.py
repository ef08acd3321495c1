# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""MEM slices: SRAM between the streams.

A slice reads one word and writes one word a cycle. What a read returns while its word is being written is left open.
With ECC a word has its check bits beside it, which came with it from the streams and go there with it again. What the
host writes comes on a stream, too.

A window begins at a multiple of its size. So the place in it, which comes on a stream, is combined with its address
without a carry, and a word found that way takes as long as one that the instruction names.
"""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from openlpu.arch.config import ChipConfig
from openlpu.arch.ecc import vector_code
from openlpu.arch.encoding import bits_for
from openlpu.arch.geometry import Queue, QueueKind, Stream, geometry

from .decode import delayed, named, queue_ports, reach, select
from .dispatch import Dispatch
from .ram import Ram
from .shared import SharedComponent

__all__ = ["MemSlice", "SramAccessSignature", "data_stream"]


class SramAccessSignature(wiring.Signature):
    """Host access to the SRAM of a slice, check bits included, while no instruction is in flight.

    `read_data` follows `read` by `PipelineConfig.sram` cycles. Where `write`, what is on the slice's `data_stream`
    becomes word `write_address`, valid or not. A read two cycles after a write sees it.
    """

    def __init__(self, config: ChipConfig) -> None:
        address, word = bits_for(config.mem_words), vector_code(config).bits
        super().__init__(
            {
                "read": Out(1),
                "read_address": Out(address),
                "read_data": In(word),
                "write": Out(1),
                "write_address": Out(address),
            }
        )


def data_stream(queue: Queue) -> Stream:
    """The eastward stream that brings a MEM slice, whose write queue this is, the host's words."""
    return queue.consumes[0]


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
        queues = queue_ports(config, (self._read, self._write), check_bits=vector_code(config).check_bits)
        super().__init__(
            queues | {"host": In(SramAccessSignature(config))},
            like=(reach(self._read), reach(self._write)),
            module_name=self._read.unit,
        )

    def body(self) -> Module:
        """Build the SRAM and both queues' pipelines."""
        m = Module()
        m.submodules.sram = sram = Ram(depth=self._config.mem_words, width=vector_code(self._config).bits)
        self._elaborate_read(m, sram.read)
        self._elaborate_write(m, sram.write)
        return m

    def _elaborate_read(self, m: Module, port: Any) -> None:
        stages = self._config.pipeline.sram
        dispatch = Dispatch(m, self._config, self._read, self.read_issue)
        instruction, valid = dispatch.instruction, dispatch.valid
        mapped = dispatch.decoded("mapped", instruction.is_("gather"), reset_less=True)
        address, place_given = _address(dispatch, "gather", "read", self._read, self.read_taps)
        asked = Mux(self.host.read, self.host.read_address, address)
        m.d.comb += [
            port.en.eq(delayed(m, "read_enable", valid | self.host.read, self._before)),
            port.addr.eq(delayed(m, "read_address", asked, self._before, reset_less=True)),
        ]
        m.d.sync += self.read_empty.eq(valid & mapped & ~place_given)
        data = delayed(m, "data", port.data, stages - 1 - self._before, reset_less=True)
        target = dispatch.decoded("target", instruction.choose_of(("read", "gather"), "d", self._read.produces))
        produced = delayed(m, "produces", target & valid.replicate(len(target)), stages)
        for drive, produce in zip(self.read_drives, produced, strict=True):
            m.d.comb += [drive.valid.eq(produce), drive.data.eq(data)]
        m.d.comb += self.host.read_data.eq(data)

    def _elaborate_write(self, m: Module, port: Any) -> None:
        dispatch = Dispatch(m, self._config, self._write, self.write_issue)
        instruction, valid = dispatch.instruction, dispatch.valid
        mapped = dispatch.decoded("mapped", instruction.is_("scatter"), reset_less=True)
        wanted, place_given = _address(dispatch, "scatter", "write", self._write, self.write_taps)
        # The word of the last instruction stays, and would choose beside the host.
        chosen = instruction.choose_of(("write", "scatter"), "s", self._write.consumes)
        source = dispatch.decoded("source", chosen & dispatch.ahead.replicate(len(chosen)), reset_less=True)
        stands = select(source, [tap.valid for tap in self.write_taps])
        given = named(m, "given", stands & (place_given | ~mapped))
        of_host = self.host.write << self._write.consumes.index(data_stream(self._write))
        data = select(named(m, "taken", source | of_host), [tap.data for tap in self.write_taps])

        enable = (valid & given) | self.host.write
        address = Mux(self.host.write, self.host.write_address, wanted)
        # As reads come to the SRAM later by the registers before it, writes do.
        stages = 1 + self._before
        m.d.sync += self.write_empty.eq(valid & ~given)
        m.d.comb += [
            port.en.eq(delayed(m, "write_enable", enable, stages)),
            port.addr.eq(delayed(m, "write_address", address, stages, reset_less=True)),
            port.data.eq(delayed(m, "stored", data, stages, reset_less=True)),
        ]


def _address(dispatch: Dispatch, by_map: str, plain: str, queue: Queue, taps: Any) -> tuple[Value, Value]:
    """The address that an instruction of either mnemonic means, and whether there is a map.

    A map names a place in the window of the first one; the other has none.
    """
    instruction = dispatch.instruction
    mapped, window, base = instruction.is_(by_map), instruction.field(by_map, "n"), instruction.field(by_map, "a")
    address = dispatch.decoded("address", Mux(mapped, base, instruction.field(plain, "a")), reset_less=True)
    inside = dispatch.decoded("inside", Cat(mapped & (window > bit) for bit in range(len(base))), reset_less=True)
    lane_map = dispatch.decoded("m", Cat(instruction.choose(by_map, "m", queue.consumes)), reset_less=True)
    place = select(lane_map, [tap.data[: len(base)] for tap in taps])
    return address | (place & inside), select(lane_map, [tap.valid for tap in taps])
