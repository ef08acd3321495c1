# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The host port: how the world reaches SRAM and instruction memories of a chip that is halted.

One access a cycle, of fixed latency and without handshake, like everything else on the chip. Requests are registered
before they fan out to all slices and queues; a read is held back one cycle more, so that it sees the write before it.
Text rides the streams to its queue, from the edge where they begin; what says where it goes keeps pace with it.
With ECC the host is a producer and a consumer like others: it gives its words check bits, and reads corrected words.
"""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import bits_for, encoding
from openlpu.arch.geometry import Direction, Queue, Stream, geometry
from openlpu.arch.timing import timing

from .decode import delayed, named, select
from .ecc import Corrector, encoded
from .icu import TextWriteSignature, text_streams
from .mem import SramAccessSignature

__all__ = ["HostPort", "HostSignature", "edge_name", "text_delay", "text_name"]


class HostSignature(wiring.Signature):
    """What the host drives, and the word it reads.

    `mem_en` : access word `mem_addr` of MEM slice `mem_slice`: write `mem_wdata`, or where `mem_we` is 0 read; then
        `mem_rdata` holds the word `Timing.host_read` cycles later, and until the word of another read.
    `imem_we` : `imem_data` becomes word `imem_addr` of the text of queue `imem_queue`.
    """

    def __init__(self, config: ChipConfig) -> None:
        chip, word = geometry(config), 8 * config.lanes
        text_bits = max(encoding(config).word_bits(queue.kind) for queue in chip.queues)
        super().__init__(
            {
                "mem_en": Out(1),
                "mem_we": Out(1),
                "mem_slice": Out(bits_for(len(chip.mem_slices))),
                "mem_addr": Out(bits_for(config.mem_words)),
                "mem_wdata": Out(word),
                "mem_rdata": In(word),
                "imem_we": Out(1),
                "imem_queue": Out(bits_for(len(chip.queues))),
                "imem_addr": Out(bits_for(config.imem_words)),
                "imem_data": Out(text_bits),
            }
        )


def text_name(queue: int) -> str:
    """The port of a `HostPort` to the text of a queue, by its number."""
    return f"text{queue}"


def edge_name(stream: Stream) -> str:
    """The port of a `HostPort` to the edge where a stream begins."""
    return f"{stream}_edge"


def text_delay(config: ChipConfig, queue: Queue) -> int:
    """Cycles from a request to write text until it is at its queue: two registers, hops, and the corrector."""
    chip, stream = geometry(config), queue.fetches[0]
    edge = 0 if stream.direction is Direction.EAST else chip.hops - 1
    return 2 + chip.hops_between(stream, edge, queue.hop) + timing(config).correct


class HostPort(wiring.Component):
    """Between a `HostSignature` and the memories: `slices[i]` of MEM slice i, `text_name(i)` of queue i.

    What enters the chip on a stream is `edge_name(stream)`: text for the queues of which `text_streams` has it, as many
    bits as they have of it, and 0 beyond.

    Requests in a cycle without `enable` are ignored. With ECC there are `corrected` and `uncorrectable`, each a pulse
    for such a word, in the cycle in which it is first in `mem_rdata`.
    """

    enable: Signal
    host: Any
    slices: Any
    corrected: Signal
    uncorrectable: Signal

    def __init__(self, *, config: ChipConfig) -> None:
        self._config = config
        chip = geometry(config)
        self._queues = len(chip.queues)
        texts = {text_name(i): Out(TextWriteSignature(config)) for i in range(self._queues)}
        vector = len(encoded(config, Const(0, 8 * config.lanes)))
        edges = {edge_name(stream): Out(vector) for stream in chip.streams()}
        super().__init__(
            {
                "enable": In(1),
                "host": In(HostSignature(config)),
                "slices": Out(SramAccessSignature(config)).array(len(chip.mem_slices)),
            }
            | texts
            | edges
            | ({"corrected": Out(1), "uncorrectable": Out(1)} if config.ecc else {})
        )

    def elaborate(self, platform: object) -> Module:
        """Register requests, fan them out, and collect the words read."""
        m = Module()
        host = self.host
        slices = Cat(host.mem_slice == i for i in range(len(self.slices)))
        accessed = named(m, "accessed", Mux(host.mem_en & self.enable, slices, 0))
        writes = delayed(m, "writes", Mux(host.mem_we, accessed, 0), 1)
        reads = delayed(m, "reads", Mux(host.mem_we, 0, accessed), 2)
        write_address = delayed(m, "address", host.mem_addr, 1, reset_less=True)
        read_address = delayed(m, "read_address", write_address, 1, reset_less=True)
        write_data = delayed(m, "write_data", encoded(self._config, host.mem_wdata), 1, reset_less=True)
        for i, port in enumerate(self.slices):
            m.d.comb += [
                port.read.eq(reads[i]),
                port.read_address.eq(read_address),
                port.write.eq(writes[i]),
                port.write_address.eq(write_address),
                port.write_data.eq(write_data),
            ]
        arriving = delayed(m, "arriving", reads, self._config.pipeline.sram)
        collected = self._corrected(m, arriving) if self._config.ecc else host.mem_rdata
        with m.If(arriving.any()):
            m.d.sync += collected.eq(select(arriving, [port.read_data for port in self.slices]))

        queues = Cat(host.imem_queue == i for i in range(self._queues))
        texts = named(m, "texts", Mux(host.imem_we & self.enable, queues, 0))
        delays = [text_delay(self._config, queue) for queue in geometry(self._config).queues]
        addresses: list[Value] = [host.imem_addr]
        for age in range(max(delays)):
            addresses.append(delayed(m, f"text_address{age}", addresses[-1], 1, reset_less=True))
        for i, delay in enumerate(delays):
            port = getattr(self, text_name(i))
            m.d.comb += [port.en.eq(delayed(m, text_name(i), texts[i], delay)), port.address.eq(addresses[delay])]
        for stream, text in self._entering().items():
            m.d.comb += getattr(self, edge_name(stream)).eq(
                delayed(m, f"text_{stream}", encoded(self._config, text), 1, reset_less=True)
            )
        return m

    def _entering(self) -> dict[Stream, Value]:
        """The vectors with text, by the streams that bring them to queues."""
        vector, entering = 8 * self._config.lanes, dict[Stream, Value]()
        # Of the words that a stream brings, the longest.
        for queue in sorted(geometry(self._config).queues, key=self._word_bits):
            word = Cat(self.host.imem_data[: self._word_bits(queue)], Const(0, vector))
            for piece, stream in enumerate(text_streams(self._config, queue)):
                entering[stream] = word[piece * vector :][:vector]
        return entering

    def _word_bits(self, queue: Queue) -> int:
        return encoding(self._config).word_bits(queue.kind)

    def _corrected(self, m: Module, arriving: Value) -> Signal:
        """Drive `mem_rdata` through a corrector, from the register that is returned."""
        m.submodules.corrector = corrector = Corrector(config=self._config)
        collected = Signal(len(corrector.i.data), name="collected", reset_less=True)
        m.d.comb += [
            corrector.i.valid.eq(delayed(m, "collected_valid", arriving.any(), 1)),
            corrector.i.data.eq(collected),
            self.host.mem_rdata.eq(corrector.o.data),
            self.corrected.eq(corrector.o.corrected),
            self.uncorrectable.eq(corrector.o.uncorrectable),
        ]
        return collected
