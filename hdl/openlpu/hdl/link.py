# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""One end of a chip-to-chip link: from its bring-up on, a flit out and a flit in, again and again.

Bring-up. Both ends send training frames. An end that has found where its peer's begin says so in its own; an end that
has found it, and whose peer has, goes on to flits. No end can get ahead of the other by more than that.

Vectors come from the core clock, which may stand still: so they stay where they are, and a bit that changes says that
there is a new one.
"""

from typing import Any

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from openlpu.arch.config import ChipConfig
from openlpu.arch.links import HAC_BITS, HEADER, HEADER_BITS, KIND_BITS, SETTLE_FRAMES, TURNS, Word, flit_format

from .flits import FlitCorrector, FlitDeserialiser, FlitSerialiser
from .signals import named, select

__all__ = ["Link", "SendSignature", "WireSignature"]

_HUNT_CYCLES = 15
"""For so long after a reset a receiver is told to forget its peer: for some cycles of any clock near the own one."""
_SILENT_FRAMES = 4
"""So many frames late, nothing will come any more."""


class WireSignature(wiring.Signature):
    """The wires of a link, as the end that drives them has them: `data`, and the `clock` that it goes with."""

    def __init__(self, config: ChipConfig) -> None:
        super().__init__({"data": Out(config.c2c_width), "clock": Out(1)})


class SendSignature(wiring.Signature):
    """Vectors to send: where `told` changes, there is a new one in `vector`, for as long as a flit lasts, or longer."""

    def __init__(self, config: ChipConfig) -> None:
        super().__init__({"told": Out(1), "vector": Out(8 * config.lanes)})


class Link(wiring.Component):
    """One end, in the wire clock.

    `tx`, `rx` : the wires.
    `send` : from the core clock.
    `identity`, `hac`, `ready`, `go` : what the flits' headers tell, as in `openlpu.arch.links`.
    `arrived`, `vector` : pulse, for a vector that has come.
    `hears` : this end knows where the other's flits begin. `up` : so does the other, and flits come and go.
    `measured`, `delay`, `peer_delay`, `peer_identity` : what came in flits; `measured` once all of it has.
    `peer_ready`, `peer_go` : likewise, of the last flit.
    `corrected`, `uncorrectable` : pulses, for a flit with wrong bits.
    `silent` : it was up, and nothing comes any more.
    """

    tx: Any
    rx: Any
    send: Any
    identity: Signal
    hac: Signal
    ready: Signal
    go: Signal
    arrived: Signal
    vector: Signal
    hears: Signal
    up: Signal
    measured: Signal
    delay: Signal
    peer_delay: Signal
    peer_identity: Signal
    peer_ready: Signal
    peer_go: Signal
    corrected: Signal
    uncorrectable: Signal
    silent: Signal

    def __init__(self, *, config: ChipConfig) -> None:
        self._config = config
        super().__init__(
            {
                "tx": Out(WireSignature(config)),
                "rx": In(WireSignature(config)),
                "send": In(SendSignature(config)),
                "identity": In(HAC_BITS),
                "hac": In(HAC_BITS),
                "ready": In(1),
                "go": In(1),
                "arrived": Out(1),
                "vector": Out(8 * config.lanes),
                "hears": Out(1),
                "up": Out(1),
                "measured": Out(1),
                "delay": Out(HAC_BITS),
                "peer_delay": Out(HAC_BITS),
                "peer_identity": Out(HAC_BITS),
                "peer_ready": Out(1),
                "peer_go": Out(1),
                "corrected": Out(1),
                "uncorrectable": Out(1),
                "silent": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Put both directions together."""
        m = Module()
        m.submodules.serialiser = serialiser = FlitSerialiser(config=self._config)
        m.submodules.deserialiser = deserialiser = FlitDeserialiser(config=self._config)
        m.submodules.corrector = corrector = FlitCorrector(config=self._config)
        training, settled = self._elaborate_bring_up(m, deserialiser)
        m.d.comb += [
            self.tx.data.eq(serialiser.data),
            self.tx.clock.eq(serialiser.clock),
            serialiser.train.eq(training),
            serialiser.locked.eq(deserialiser.locked),
            deserialiser.data.eq(self.rx.data),
            deserialiser.clock.eq(self.rx.clock),
            self.hears.eq(deserialiser.locked & ~self.silent),
            corrector.frame.eq(deserialiser.frame),
            corrector.arrived.eq(deserialiser.arrived & settled),
        ]
        self._elaborate_sending(m, serialiser)
        self._elaborate_receiving(m, corrector)
        self._elaborate_watch(m, deserialiser)
        return m

    def _elaborate_bring_up(self, m: Module, deserialiser: FlitDeserialiser) -> tuple[Signal, Signal]:
        """Whether this end sends training frames, and whether its peer sends flits: no flit is like a training frame
        several times in a row, as the kinds of words take turns."""
        code = flit_format(self._config)
        hunting = Signal(range(_HUNT_CYCLES + 1), init=_HUNT_CYCLES)
        m.d.comb += deserialiser.hunt.eq(hunting != 0)
        with m.If(hunting != 0):
            m.d.sync += hunting.eq(hunting - 1)
        frame = deserialiser.frame
        alone = named(m, "peer_not_locked", frame == code.training(False))
        trains = named(m, "peer_trains", alone | (frame == code.training(True)))
        training, settled = Signal(init=1), Signal()
        locked, beyond = Signal(range(SETTLE_FRAMES)), Signal(range(SETTLE_FRAMES))
        with m.If(deserialiser.arrived & ~settled):
            m.d.sync += [locked.eq(Mux(alone, 0, locked + 1)), beyond.eq(Mux(trains, 0, beyond + 1))]
            with m.If(~alone & (locked == SETTLE_FRAMES - 1)):
                m.d.sync += training.eq(0)
            with m.If(~trains & (beyond == SETTLE_FRAMES - 1)):
                m.d.sync += settled.eq(1)
        m.d.comb += self.up.eq(settled & ~self.silent)
        return training, settled

    def _elaborate_sending(self, m: Module, serialiser: FlitSerialiser) -> None:
        """Make a payload of what there is to tell, and the vector if there is a new one."""
        turn, heard = Signal(range(len(TURNS))), Signal()
        words = {Word.STAMP: self.hac, Word.DELAY: self.delay, Word.IDENTITY: self.identity}
        turns = [turn == number for number in range(len(TURNS))]
        fields = {
            "valid": self.send.told ^ heard,
            "ready": self.ready,
            "go": self.go,
            "kind": select(turns, [C(kind, KIND_BITS) for kind in TURNS]),
            "word": select(turns, [words[kind] for kind in TURNS]),
        }
        m.d.comb += serialiser.payload.eq(Cat(*(fields[name] for name, _ in HEADER), self.send.vector))
        with m.If(serialiser.take):
            m.d.sync += turn.eq(turn + 1)
            with m.If(~serialiser.train):
                m.d.sync += heard.eq(self.send.told)

    def _elaborate_receiving(self, m: Module, corrector: FlitCorrector) -> None:
        fields, first = {}, 0
        for name, bits in HEADER:
            fields[name] = corrector.payload[first:][:bits]
            first += bits
        believed = named(m, "believed", corrector.valid & ~corrector.uncorrectable)
        stamped, told = Signal(), Signal()
        m.d.comb += [
            # A flit that cannot be believed may still be a vector, and then those behind it must not take its place.
            self.arrived.eq(corrector.valid & fields["valid"]),
            self.vector.eq(corrector.payload[HEADER_BITS:]),
            self.corrected.eq(corrector.corrected),
            self.uncorrectable.eq(corrector.uncorrectable),
            self.measured.eq(stamped & told & self.up),
        ]
        with m.If(believed):
            m.d.sync += [self.peer_ready.eq(fields["ready"]), self.peer_go.eq(fields["go"])]
            with m.Switch(fields["kind"]):
                with m.Case(Word.STAMP):
                    m.d.sync += [self.delay.eq(self.hac - fields["word"]), stamped.eq(1)]
                with m.Case(Word.DELAY):
                    m.d.sync += [self.peer_delay.eq(fields["word"]), told.eq(stamped)]
                with m.Case(Word.IDENTITY):
                    m.d.sync += self.peer_identity.eq(fields["word"])

    def _elaborate_watch(self, m: Module, deserialiser: FlitDeserialiser) -> None:
        late = flit_format(self._config).beats * _SILENT_FRAMES
        waited = Signal(range(late + 1))
        with m.If(deserialiser.arrived):
            m.d.sync += waited.eq(0)
        with m.Elif(waited != late):
            m.d.sync += waited.eq(waited + 1)
        with m.If(waited == late):
            m.d.sync += self.silent.eq(1)
        with m.If(~deserialiser.locked):
            m.d.sync += [self.silent.eq(0), waited.eq(0)]
