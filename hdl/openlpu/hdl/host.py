# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The host port: how the world reaches SRAM and instruction memories of a chip that is halted.

One access a cycle, of fixed latency and without handshake, like everything else on the chip. What the host writes, data
and text, rides the eastward streams from where they begin, and what says where it goes keeps pace with it; so no bus of
its own need reach every slice and queue. A read is held back until the write before it has passed all of them.
With ECC the host is a producer and a consumer like others: it gives its words check bits, and reads corrected words.
"""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from openlpu.arch.config import ChipConfig
from openlpu.arch.ecc import vector_code
from openlpu.arch.encoding import bits_for, encoding
from openlpu.arch.geometry import Direction, QueueKind, Stream, geometry
from openlpu.arch.timing import timing

from .decode import delayed, named, select
from .ecc import Corrector, encoded
from .icu import TextWriteSignature, text_streams
from .mem import SramAccessSignature

__all__ = ["HostPort", "HostSignature", "text_name"]


class HostSignature(wiring.Signature):
    """What the host drives, and the word it reads.

    `mem_en` : access word `mem_addr` of MEM slice `mem_slice`: write `mem_wdata`, or where `mem_we` is 0 read; then
        `mem_rdata` holds the word `Timing.host_read` cycles later, and until the word of another read. A write while
        the read is under way may change that word already.
    `imem_we` : `imem_data` becomes word `imem_addr` of the text of queue `imem_queue`. Not where `mem_en` is set.
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


class HostPort(wiring.Component):
    """Between a `HostSignature` and the memories: `slices[i]` of MEM slice i, `text_name(i)` of queue i.

    `e_data` : what enters the chip, as `e_data_in` of its first `Hop`: text on the `text_streams` of its queue, data on
        every stream. Where neither is written it may be anything.

    Requests in a cycle without `enable` are ignored. With ECC there are `corrected` and `uncorrectable`, each a pulse
    for such a word, in the cycle in which it is first in `mem_rdata`.
    """

    enable: Signal
    host: Any
    slices: Any
    e_data: Signal
    corrected: Signal
    uncorrectable: Signal

    def __init__(self, *, config: ChipConfig) -> None:
        self._config = config
        chip = geometry(config)
        super().__init__(
            {
                "enable": In(1),
                "host": In(HostSignature(config)),
                "slices": Out(SramAccessSignature(config)).array(len(chip.mem_slices)),
                "e_data": Out(vector_code(config).bits * config.streams),
            }
            | {text_name(i): Out(TextWriteSignature(config)) for i in range(len(chip.queues))}
            | ({"corrected": Out(1), "uncorrectable": Out(1)} if config.ecc else {})
        )

    def elaborate(self, platform: object) -> Module:
        """Send words and addresses on their way, and collect the words read."""
        m = Module()
        host, chip, times = self.host, geometry(self._config), timing(self._config)
        slices = Cat(host.mem_slice == i for i in range(len(self.slices)))
        queues = Cat(host.imem_queue == i for i in range(len(chip.queues)))
        accessed = named(m, "accessed", Mux(host.mem_en & self.enable, slices, 0))
        texts = named(m, "texts", Mux(host.imem_we & self.enable, queues, 0))
        writes = named(m, "writes", Mux(host.mem_we, accessed, 0))
        held_back = times.host_written + 1
        reads = delayed(m, "reads", Mux(host.mem_we, 0, accessed), held_back)
        addresses: list[Value] = [Mux(host.mem_en, host.mem_addr, host.imem_addr)]
        for age in range(held_back):
            addresses.append(delayed(m, f"address{age}", addresses[-1], 1, reset_less=True))
        for i, queue in enumerate(chip.of_kind(QueueKind.MEM_WRITE)):
            port, arrives = self.slices[i], times.host_write(queue)
            m.d.comb += [
                port.read.eq(reads[i]),
                port.read_address.eq(addresses[held_back]),
                port.write.eq(delayed(m, f"write{i}", writes[i], arrives)),
                port.write_address.eq(addresses[arrives]),
            ]
        for i, queue in enumerate(chip.queues):
            port, arrives = getattr(self, text_name(i)), times.host_write(queue)
            m.d.comb += [port.en.eq(delayed(m, text_name(i), texts[i], arrives)), port.address.eq(addresses[arrives])]
        self._elaborate_entering(m)

        arriving = delayed(m, "arriving", reads, self._config.pipeline.sram)
        collected = self._corrected(m, arriving) if self._config.ecc else host.mem_rdata
        with m.If(arriving.any()):
            m.d.sync += collected.eq(select(arriving, [port.read_data for port in self.slices]))
        return m

    def _elaborate_entering(self, m: Module) -> None:
        """Drive `e_data`, from a register for each piece of text that all streams share which bring it."""
        host, chip = self.host, geometry(self._config)
        text, data = host.imem_data, host.mem_wdata
        pieces: list[Value] = []
        for first in range(0, len(text), len(data)):
            piece = text[first:][: len(data)]
            # Beyond the end of text anything may enter, so there is nothing to choose.
            entering = Mux(host.mem_en, data, Cat(piece, data[len(piece) :]))
            pieces.append(delayed(m, f"entering{first}", encoded(self._config, entering), 1, reset_less=True))
        number: dict[Stream, int] = {}
        for queue in chip.queues:
            number |= {stream: piece for piece, stream in enumerate(text_streams(self._config, queue))}
        m.d.comb += self.e_data.eq(Cat(pieces[number.get(stream, 0)] for stream in chip.streams(Direction.EAST)))

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
