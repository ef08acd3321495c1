# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The host port: how the world reaches SRAM and instruction memories of a chip that is halted.

One access a cycle, of fixed latency and without handshake, like everything else on the chip. What the host writes, data
and text, rides the eastward streams from where they begin, and what says where it goes keeps pace with it; what it
reads rides the westward streams to where they end. So no bus of its own need reach every slice and queue. A read is
held back until the write before it has passed all of them, and so that all words take equally long.
With ECC the host is a producer and a consumer like others: it gives its words check bits, and reads corrected words.
"""

from types import SimpleNamespace
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from openlpu.arch.config import ChipConfig
from openlpu.arch.ecc import vector_code
from openlpu.arch.encoding import bits_for, encoding
from openlpu.arch.geometry import Direction, QueueKind, Stream, geometry
from openlpu.arch.timing import timing

from .ecc import Corrector, encoded
from .icu import TextWriteSignature, text_streams
from .mem import SramAccessSignature, word_stream
from .signals import delayed, named, relayed, select

__all__ = ["HostPort", "HostSignature", "text_name"]


class HostSignature(wiring.Signature):
    """What the host drives, and the word it reads.

    `mem_en` : access word `mem_addr` of MEM slice `mem_slice`: write what is in the lowest bits of `wdata`, or where
        `mem_we` is 0 read; then `mem_rdata` holds the word `Timing.host_read` cycles later, and until the word of
        another read. A write while the read is under way may change that word already.
    `imem_we` : what is in the lowest bits of `wdata` becomes word `imem_addr` of the text of queue `imem_queue`. Not
        where `mem_en` is set.
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
                "mem_rdata": In(word),
                "imem_we": Out(1),
                "imem_queue": Out(bits_for(len(chip.queues))),
                "imem_addr": Out(bits_for(max(queue.text_words for queue in chip.queues))),
                "wdata": Out(max(word, text_bits)),
            }
        )


def text_name(queue: int) -> str:
    """The port of a `HostPort` to the text of a queue, by its number."""
    return f"text{queue}"


class HostPort(wiring.Component):
    """Between a `HostSignature` and the memories: `slices[i]` of MEM slice i, `text_name(i)` of queue i.

    `e_data` : what enters the chip, as `e_data_in` of its first `Hop`: text on the `text_streams` of its queue, data on
        every stream. Where neither is written it may be anything.
    `w_data` : what leaves it, as `w_data` of its first `Hop`.

    Requests in a cycle without `enable` are ignored. With ECC there are `corrected` and `uncorrectable`, each a pulse
    for such a word, in the cycle in which it is first in `mem_rdata`.
    """

    enable: Signal
    host: Any
    slices: Any
    e_data: Signal
    w_data: Signal
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
                "w_data": In(vector_code(config).bits * config.streams),
            }
            | {text_name(i): Out(TextWriteSignature(config, queue)) for i, queue in enumerate(chip.queues)}
            | ({"corrected": Out(1), "uncorrectable": Out(1)} if config.ecc else {})
        )

    def elaborate(self, platform: object) -> Module:
        """Send words and addresses on their way, and collect the words read."""
        m = Module()
        chip, times = geometry(self._config), timing(self._config)
        host = self._registered(m)
        readers = chip.of_kind(QueueKind.MEM_READ)
        slices = Cat(host.mem_slice == i for i in range(len(self.slices)))
        queues = Cat(host.imem_queue == i for i in range(len(chip.queues)))
        accessed = named(m, "accessed", Mux(host.mem_en, slices, 0))
        texts = named(m, "texts", Mux(host.imem_we, queues, 0))
        writes = named(m, "writes", Mux(host.mem_we, accessed, 0))
        reads = named(m, "reads", Mux(host.mem_we, 0, accessed))
        # By the cycles since the host asked.
        addresses: list[Value] = [Const(0), Mux(host.mem_en, host.mem_addr, host.imem_addr)]
        for age in range(1, max(map(times.host_asks, readers))):
            addresses.append(delayed(m, f"address{age}", addresses[-1], 1))
        for i, (reader, writer) in enumerate(zip(readers, chip.of_kind(QueueKind.MEM_WRITE), strict=True)):
            port, asks, tells = self.slices[i], times.host_asks(reader), times.host_write(writer) - 1
            m.d.comb += [
                port.read.eq(delayed(m, f"read{i}", reads[i], asks - 1)),
                port.read_address.eq(addresses[asks]),
                port.write.eq(delayed(m, f"write{i}", writes[i], tells - 1)),
                port.write_address.eq(addresses[tells]),
            ]
        for i, queue in enumerate(chip.queues):
            port, arrives = getattr(self, text_name(i)), times.host_write(queue) + times.text_tap
            m.d.comb += [
                port.en.eq(delayed(m, text_name(i), texts[i], arrives - 1)),
                port.address.eq(addresses[arrives]),
            ]
        self._elaborate_entering(m, host)
        self._elaborate_leaving(m, reads)
        return m

    def _registered(self, m: Module) -> SimpleNamespace:
        """What the host asks for, one cycle later. It asks from afar."""
        members = HostSignature(self._config).members
        asked = {name: getattr(self.host, name) for name, member in members.items() if member.flow is Out}
        for name in ("mem_en", "imem_we"):
            asked[name] &= self.enable
        return SimpleNamespace(**{name: delayed(m, name, value, 1) for name, value in asked.items()})

    def _elaborate_entering(self, m: Module, host: SimpleNamespace) -> None:
        """Drive `e_data`, from a register for each piece of text that all streams share which bring it."""
        chip, word = geometry(self._config), 8 * self._config.lanes
        data = host.wdata[:word]
        pieces: list[Value] = []
        for first in range(0, len(host.wdata), word):
            piece = host.wdata[first:][:word]
            # Data enters on every stream. Beyond the end of text anything may, so there is nothing to choose.
            entering = Mux(host.mem_en, data, Cat(piece, data[len(piece) :])) if first else data
            pieces.append(delayed(m, f"entering{first}", encoded(self._config, entering), 1))
        number: dict[Stream, int] = {}
        for queue in chip.queues:
            number |= {stream: piece for piece, stream in enumerate(text_streams(self._config, queue))}
        m.d.comb += self.e_data.eq(Cat(pieces[number.get(stream, 0)] for stream in chip.streams(Direction.EAST)))

    def _elaborate_leaving(self, m: Module, reads: Value) -> None:
        """Drive `mem_rdata` from the streams that bring words."""
        config = self._config
        # At each stream whether a word was read that leaves on it.
        brings: dict[Stream, list[Value]] = {}
        for read, queue in zip(reads, geometry(config).of_kind(QueueKind.MEM_READ), strict=True):
            brings.setdefault(word_stream(queue), []).append(read)
        read = Cat(Cat(some).any() for some in brings.values())
        way = timing(config).host_arrives - 2
        arriving, arrives = delayed(m, "arriving", read, way), delayed(m, "arrives", read.any(), way)
        width = vector_code(config).bits
        collected = Signal(width, name="collected", reset_less=True)
        # A word is as wide as the chip: its parts are told by registers that lie with them.
        part = -(-width // config.lanes)
        told = relayed(m, "host", "arriving", Cat(arriving, arrives), config.lanes, 1)
        for first, choice in zip(range(0, width, part), told, strict=False):
            words = [self.w_data.word_select(stream.index, width)[first:][:part] for stream in brings]
            with m.If(choice[-1]):
                m.d.sync += collected[first:][:part].eq(select(choice[:-1], words))
        data = self._corrected(m, collected, delayed(m, "collected_valid", arrives, 2)) if config.ecc else collected
        m.d.comb += self.host.mem_rdata.eq(delayed(m, "read", data, 1))

    def _corrected(self, m: Module, collected: Value, valid: Value) -> Value:
        """What was meant by a word, one cycle later; what is told of it stands beside it in `mem_rdata`."""
        m.submodules.corrector = corrector = Corrector(config=self._config)
        m.d.comb += [
            corrector.i.valid.eq(valid),
            corrector.i.data.eq(collected),
            self.corrected.eq(delayed(m, "corrected", corrector.o.corrected, 1)),
            self.uncorrectable.eq(delayed(m, "uncorrectable", corrector.o.uncorrectable, 1)),
        ]
        data: Value = corrector.o.data
        return data
