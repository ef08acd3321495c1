# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""ECC: the check bits that ride with a vector, from the unit that produces it to each one that consumes it.

    unit -> Encoder -> stream registers -> Corrector -> unit
                       stream registers -> Corrector -> SRAM -> stream registers

Check bits are made where a vector is, and from then on they stay with it. A write to SRAM consumes, and so it stores a
corrected vector, but with the check bits that came. Encoder and corrector are one register each, and stand once per
stream at a hop, whatever number of units share it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Member, Out

from openlpu.arch.config import ChipConfig
from openlpu.arch.ecc import SecDed, vector_code
from openlpu.arch.geometry import Direction, Stream

from .shared import SharedComponent
from .signals import delayed, named, select
from .stream import Hop, StreamSignature, drives_name, registers

__all__ = ["CheckedHop", "CheckedSignature", "Corrector", "Encoder", "check_bits_of", "encoded"]


def encoded(config: ChipConfig, vector: Value) -> Value:
    """A vector with its check bits, as `VectorCode.encode`; without ECC the vector itself."""
    words = vector_code(config).words
    checks = [check_bits_of(word.code, vector[word.data :][: word.code.data_bits]) for word in words]
    return Cat(vector, *checks) if checks else vector


class CheckedSignature(wiring.Signature):
    """A vector that a corrector has seen: as `StreamSignature`, with check bits, and what was found.

    `corrected` : it had wrong bits, and is right now.
    `uncorrectable` : it has wrong bits. Neither is set where `valid` is not.
    """

    def __init__(self, config: ChipConfig) -> None:
        stream = StreamSignature(config.lanes, check_bits=vector_code(config).check_bits)
        super().__init__({**stream.members, "corrected": Out(1), "uncorrectable": Out(1)})


class Encoder(SharedComponent):
    """What units produce on a stream at a hop, one cycle later and with check bits.

    Parameters
    ----------
    producers : how many `drives` there are; no two of them are valid in one cycle
    """

    drives: Any
    o: Any

    def __init__(self, *, config: ChipConfig, producers: int) -> None:
        self._config = config
        super().__init__(
            {
                "drives": In(StreamSignature(config.lanes)).array(producers),
                "o": Out(StreamSignature(config.lanes, check_bits=vector_code(config).check_bits)),
            },
            like=producers,
            module_name=f"encoder_{producers}",
        )

    def body(self) -> Module:
        """Let the drives meet, and append the check bits."""
        m = Module()
        valid = Cat(drive.valid for drive in self.drives)
        vector = named(m, "vector", select(delayed(m, "producing", valid, 1), [drive.data for drive in self.drives]))
        m.d.comb += [
            self.o.valid.eq(delayed(m, "valid", valid.any(), 1)),
            self.o.data.eq(delayed(m, "data", encoded(self._config, vector), 1)),
        ]
        return m


class Corrector(SharedComponent):
    """A vector one cycle later, as it was meant, as far as that can be told: `VectorCode.decode`."""

    i: Any
    o: Any

    def __init__(self, *, config: ChipConfig) -> None:
        self._code = vector_code(config)
        super().__init__(
            {
                "i": In(StreamSignature(config.lanes, check_bits=self._code.check_bits)),
                "o": Out(CheckedSignature(config)),
            },
            like=(),
            module_name="corrector",
        )

    def body(self) -> Module:
        """Compute the syndrome of every word, and invert the bit that it is the column of."""
        m = Module()
        wrong_data, wrong_checks, single, multiple = [], [], [], []
        for number, word in enumerate(self._code.words):
            size = word.code.data_bits
            found = self.i.data[word.check :][: word.code.check_bits]
            expected = check_bits_of(word.code, self.i.data[word.data :][:size])
            syndrome = named(m, f"syndrome{number}", found ^ expected)
            wrong = named(m, f"wrong{number}", Cat(syndrome == column for column in word.code.columns))
            wrong_data.append(wrong[:size])
            wrong_checks.append(wrong[size:])
            single.append(wrong.any())
            multiple.append(syndrome.any() & ~wrong.any())
        uncorrectable = named(m, "lost", self.i.valid & Cat(multiple).any())
        corrected = self.i.valid & Cat(single).any() & ~uncorrectable
        m.d.comb += [
            self.o.data.eq(delayed(m, "data", self.i.data ^ Cat(*wrong_data, *wrong_checks), 1)),
            self.o.valid.eq(delayed(m, "valid", self.i.valid, 1)),
            self.o.corrected.eq(delayed(m, "corrected", corrected, 1)),
            self.o.uncorrectable.eq(delayed(m, "uncorrectable", uncorrectable, 1)),
        ]
        return m


class CheckedHop(wiring.Component):
    """A `Hop` whose vectors have check bits, with the same ports, and a `CheckedSignature` for every stream consumed.

    Parameters
    ----------
    producers : how many units at this hop can produce on a stream; none where it is missing
    consumed : the streams that something here consumes
    encodes : what is produced here has no check bits yet, and stands in the register one cycle later than in a `Hop`
    """

    e_data_in: Signal
    e_valid_in: Signal
    e_data: Signal
    e_valid: Signal
    w_data_in: Signal
    w_valid_in: Signal
    w_data: Signal
    w_valid: Signal

    def __init__(
        self, *, config: ChipConfig, producers: Mapping[Stream, int], consumed: Iterable[Stream], encodes: bool
    ) -> None:
        self._config = config
        self._producers = dict(producers)
        self._consumed = sorted(set(consumed), key=lambda stream: (stream.direction.value, stream.index))
        self._encodes = encodes
        check_bits = vector_code(config).check_bits
        drive = StreamSignature(config.lanes, check_bits=0 if encodes else check_bits)
        ports: dict[str, Member] = registers(config.lanes, config.streams, check_bits)
        ports |= {drives_name(stream): In(drive).array(count) for stream, count in self._producers.items()}
        ports |= {_checked_name(stream): Out(CheckedSignature(config)) for stream in self._consumed}
        super().__init__(ports)

    def checked(self, stream: Stream) -> Any:
        """A stream that is consumed here, behind its corrector: a `CheckedSignature`."""
        return getattr(self, _checked_name(stream))

    def standing(self, stream: Stream) -> tuple[Value, Value]:
        """Valid bit and vector of a stream, as units here consume it."""
        vector = self.checked(stream)
        return vector.valid, vector.data

    def elaborate(self, platform: object) -> Module:
        """The registers between encoders and correctors."""
        m = Module()
        config = self._config
        m.submodules.registers = hop = Hop(
            lanes=config.lanes,
            streams=config.streams,
            producers=dict.fromkeys(self._producers, 1) if self._encodes else self._producers,
            check_bits=vector_code(config).check_bits,
        )
        for direction in Direction:
            for port in ("data", "valid"):
                name = f"{direction.letter}_{port}"
                m.d.comb += [
                    getattr(hop, f"{name}_in").eq(getattr(self, f"{name}_in")),
                    getattr(self, name).eq(getattr(hop, name)),
                ]
        for stream, count in self._producers.items():
            sources = [wiring.flipped(drive) for drive in getattr(self, drives_name(stream))]
            if self._encodes:
                m.submodules[f"{stream}_encoder"] = encoder = Encoder(config=config, producers=count)
                for source, sink in zip(sources, encoder.drives, strict=True):
                    wiring.connect(m, source, sink)
                sources = [encoder.o]
            for source, sink in zip(sources, getattr(hop, drives_name(stream)), strict=True):
                wiring.connect(m, source, sink)
        for stream in self._consumed:
            m.submodules[f"{stream}_corrector"] = corrector = Corrector(config=config)
            valid, data = hop.standing(stream)
            m.d.comb += [corrector.i.valid.eq(valid), corrector.i.data.eq(data)]
            wiring.connect(m, corrector.o, wiring.flipped(self.checked(stream)))
        return m


def _checked_name(stream: Stream) -> str:
    return f"{stream}_checked"


def check_bits_of(code: SecDed, data: Value) -> Value:
    """The check bits of a word."""
    return Cat(Cat(data[bit] for bit in range(code.data_bits) if row >> bit & 1).xor() for row in code.rows)
