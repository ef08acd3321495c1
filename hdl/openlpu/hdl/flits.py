# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Flits on wires: from a payload to beats beside a clock, and back, in the receiver's clock.

    payload -> held -> encoder -> beats ...wire... beats -> frame | -> frame -> corrector -> payload
    wire clock of the sender ----------------------------------- | wire clock of the receiver

The sender's clock goes along, inverted, so that its edge meets the middle of a beat. Frames follow each other without a
gap from the reset on. So a receiver that has once found where they begin counts, and nothing that happens to bits can
make it lose its place. A frame stands still for as long as it lasts, and that is longer than a bit takes to say across
the two clocks that it is there: no FIFO is needed between them.
"""

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from openlpu.arch.config import ChipConfig
from openlpu.arch.links import LOCK_FRAMES, flit_format

from .ecc import check_bits_of
from .signals import named

__all__ = ["FlitCorrector", "FlitDeserialiser", "FlitSerialiser"]


class FlitSerialiser(wiring.Component):
    """Frames, one behind the other.

    `take` : in the cycle at whose end what the next frame is made of is taken: `payload`, or where `train` is set the
        training frame that tells whether this end has `locked`. Its first beat is on the wires two cycles later.
    `data`, `clock` : the wires.
    """

    payload: Signal
    train: Signal
    locked: Signal
    take: Signal
    data: Signal
    clock: Signal

    def __init__(self, *, config: ChipConfig) -> None:
        self._format = flit_format(config)
        super().__init__(
            {
                "payload": In(self._format.payload_bits),
                "train": In(1),
                "locked": In(1),
                "take": Out(1),
                "data": Out(self._format.width),
                "clock": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Count beats, encode, and shift out."""
        m = Module()
        code = self._format
        beat = Signal(range(code.beats))
        held = Signal(code.payload_bits, reset_less=True)
        training, pattern = Signal(init=1), Signal(code.bits, reset_less=True)
        shifting = Signal(code.beats * code.width, reset_less=True)
        m.d.comb += [
            self.take.eq(beat == code.beats - 1),
            self.data.eq(shifting[: code.width]),
            self.clock.eq(~ClockSignal()),
        ]
        m.d.sync += [beat.eq(Mux(self.take, 0, beat + 1)), shifting.eq(shifting[code.width :])]
        with m.If(self.take):
            m.d.sync += [
                held.eq(self.payload),
                training.eq(self.train),
                pattern.eq(Mux(self.locked, code.training(True), code.training(False))),
            ]
        with m.If(beat == 0):
            m.d.sync += shifting.eq(Mux(training, pattern, self._encoded(held)))
        return m

    def _encoded(self, payload: Value) -> Value:
        """As `FlitFormat.encode`."""
        words = []
        for word in self._format.words:
            data = payload[word.payload :][: word.code.data_bits]
            words += [data, check_bits_of(word.code, data)]
        return Cat(words)


class FlitDeserialiser(wiring.Component):
    """Frames from wires, whatever they hold.

    `data`, `clock` : the wires.
    `hunt` : forget where frames begin, and look for training frames. For some cycles of the clock that comes in.
    `locked` : so many training frames have come in a row that it is known.
    `arrived` : one cycle for each frame from then on, from which on `frame` holds it, until the next.
    """

    data: Signal
    clock: Signal
    hunt: Signal
    locked: Signal
    arrived: Signal
    frame: Signal

    def __init__(self, *, config: ChipConfig) -> None:
        self._format = flit_format(config)
        super().__init__(
            {
                "data": In(self._format.width),
                "clock": In(1),
                "hunt": In(1),
                "locked": Out(1),
                "arrived": Out(1),
                "frame": Out(self._format.bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Collect beats with the clock that comes with them, and hand whole frames over."""
        m = Module()
        code = self._format
        # It may not run when there is a reset, so nothing in it has one: `hunt` does what is needed.
        m.domains.rx = ClockDomain("rx", local=True, reset_less=True)
        m.d.comb += ClockSignal("rx").eq(self.clock)
        hunt = Signal()
        m.submodules.hunting = FFSynchronizer(self.hunt, hunt, o_domain="rx")
        collected = Signal(code.beats * code.width)
        position = Signal(range(code.beats))
        found = Signal(range(LOCK_FRAMES))
        locked, told = Signal(), Signal()
        frame = Signal(code.bits)
        trains = (collected == code.training(False)) | (collected == code.training(True))
        m.d.rx += [
            collected.eq(Cat(collected[code.width :], self.data)),
            position.eq(Mux(position == code.beats - 1, 0, position + 1)),
        ]
        with m.If(hunt):
            m.d.rx += [locked.eq(0), found.eq(0)]
        with m.Elif(found == 0), m.If(trains):
            m.d.rx += [position.eq(1), found.eq(1)]
        with m.Elif(~locked & (position == 0)):
            last = found == LOCK_FRAMES - 1
            m.d.rx += [found.eq(Mux(trains, found + ~last, 0)), locked.eq(trains & last)]
        with m.If(locked & (position == 0)):
            m.d.rx += [frame.eq(collected), told.eq(~told)]

        tells, heard = Signal(), Signal()
        m.submodules.locking = FFSynchronizer(locked, self.locked)
        m.submodules.telling = FFSynchronizer(told, tells)
        m.d.sync += [heard.eq(tells), self.arrived.eq(tells ^ heard)]
        with m.If(tells ^ heard):
            m.d.sync += self.frame.eq(frame)
        return m


class FlitCorrector(wiring.Component):
    """The payload of a frame one cycle later, as it was meant, as far as that can be told: `FlitFormat.decode`.

    `corrected` : it had a wrong bit. `uncorrectable` : it has some. Neither where `arrived` was not set.
    """

    arrived: Signal
    frame: Signal
    valid: Signal
    payload: Signal
    corrected: Signal
    uncorrectable: Signal

    def __init__(self, *, config: ChipConfig) -> None:
        self._format = flit_format(config)
        super().__init__(
            {
                "arrived": In(1),
                "frame": In(self._format.bits),
                "valid": Out(1),
                "payload": Out(self._format.payload_bits),
                "corrected": Out(1),
                "uncorrectable": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Compute the syndrome of every word, and invert the bit that it is the column of."""
        m = Module()
        payload, single, multiple = [], [], []
        for number, word in enumerate(self._format.words):
            data = self.frame[word.flit :][: word.code.data_bits]
            checks = self.frame[word.flit + word.code.data_bits :][: word.code.check_bits]
            syndrome = named(m, f"syndrome{number}", check_bits_of(word.code, data) ^ checks)
            wrong = named(m, f"wrong{number}", Cat(syndrome == column for column in word.code.columns))
            payload.append(data ^ wrong[: word.code.data_bits])
            single.append(wrong.any())
            multiple.append(syndrome.any() & ~wrong.any())
        lost = named(m, "lost", Cat(multiple).any())
        m.d.sync += [
            self.valid.eq(self.arrived),
            self.payload.eq(Cat(payload)),
            self.corrected.eq(self.arrived & Cat(single).any() & ~lost),
            self.uncorrectable.eq(self.arrived & lost),
        ]
        return m
