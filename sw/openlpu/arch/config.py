# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What distinguishes one chip from another: a frozen, validated, serialisable `ChipConfig`.

Everything else that the project knows about a chip (hops, reach, queues, encodings, latencies) is derived from this one
object; nothing is stored twice. `ChipConfig.digest` is the identity of a chip: it is stamped into every program and
readable from the hardware, so that a program never runs on a chip it was not compiled for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

GROUP = 4
"""Streams that together carry one 32-bit element per lane, byte-planar, least significant byte first."""
MAX_LINKS, MAX_LINK_WIDTH = 16, 64
"""Chip-to-chip links of a chip, and data wires of one in either direction, at most."""

_TEXT_WORDS = 4, 1 << 16
"""Instructions of a queue, at least and at most."""

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Config = TypeVar("_Config", bound="DataclassInstance")


class ConfigError(ValueError):
    """A configuration that no chip can be built from; the message names the field."""


class OpClass(enum.StrEnum):
    """A family of VXM operations that share one data path, and so one pipeline depth."""

    INT = "int"
    """int32 add, subtract, compare, minimum, maximum and exclusive or."""
    MASK = "mask"
    """Bitwise and, or: what selects by a comparison's result."""
    I2F = "i2f"
    """Conversion of an int32 sum to fp32."""
    F2I = "f2i"
    """Conversion of fp32 to int32, and an int32 addend."""
    FADD = "fadd"
    """fp32 add, subtract, compare, minimum and maximum."""
    FMUL = "fmul"
    """fp32 multiply."""
    IMUL = "imul"
    """int32 multiply; next to `fmul` it shares that one's multiplier."""
    SPECIAL = "special"
    """Exponential, reciprocal, reciprocal square root, hyperbolic tangent."""


class Source(enum.StrEnum):
    """What an operand of an ALU may be."""

    BYTE = "byte"
    """A stream that passes the VXM, sign-extended."""
    WORD = "word"
    """A 32-bit group of streams that passes the VXM."""
    CHAIN = "chain"
    """The result of an ALU before it."""
    IMMEDIATE = "immediate"
    """A constant in the instruction."""


class SxmReach(enum.StrEnum):
    """Which streams an SXM consumes from and produces on."""

    TURN = "turn"
    """It takes what flows outward and gives what flows inward: vectors turn around at it."""
    FULL = "full"
    """Every stream, in both directions."""


class Reach(enum.StrEnum):
    """Which streams MEM slices may produce on and consume from, where it need not be said slice by slice."""

    OWN = "own"
    """Slice i reaches stream i modulo the number of streams, in either direction: what an FPGA can route."""
    FULL = "full"
    """Every slice reaches every stream: a crossbar per hop, affordable in simulation."""


def _require(condition: bool, name: str, message: str) -> None:
    if not condition:
        raise ConfigError(f"config field '{name}': {message}")


def require_whole(config: object, name: str, low: int, high: int) -> None:
    """Raise ConfigError, naming the field, unless that of a config is a whole number in `low`..`high`."""
    _require_in(getattr(config, name), name, low, high)


def _require_in(value: object, name: str, low: int, high: int) -> None:
    ok = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    _require(ok, name, f"{value!r} is not a whole number in {low}..{high}")


def read_fields(path: Path) -> dict[str, Any]:
    """The fields of a config in a `.toml` or `.json` file.

    Raises:
        ConfigError: when the file is missing or malformed.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise ConfigError(f"config file {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"config file {path}: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"config file {path}: expected a table of fields")
    return values


@contextlib.contextmanager
def plain_values() -> Iterator[None]:
    """Turn what goes wrong while a config is made from plain values, of kinds it cannot take, into ConfigErrors."""
    try:
        yield
    except ConfigError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"config: {error}") from None


def from_fields(of: type[_Config], fields: Mapping[str, Any], within: str = "") -> _Config:
    """A config of this type from its fields by name; `within` comes before a name, and says where the fields are.

    Raises:
        ConfigError: for a name that is none of its fields, and for fields without a default that are missing.
    """
    known = {field.name: field for field in dataclasses.fields(of)}
    for name in fields:
        if name not in known:
            raise ConfigError(f"config field '{within}{name}': there is none of this name, only {', '.join(known)}")
    no_default = dataclasses.MISSING
    needed = (name for name, field in known.items() if field.default is field.default_factory is no_default)
    missing = [f"'{within}{name}'" for name in needed if name not in fields]
    if missing:
        raise ConfigError(f"config fields are missing: {', '.join(missing)}")
    return of(**fields)


@contextlib.contextmanager
def read_from(path: Path) -> Iterator[None]:
    """Have ConfigErrors say which file the config is from."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


@dataclass(frozen=True, kw_only=True)
class AluConfig:
    """One VXM arithmetic unit (per lane): what it computes, on what, and whether its result may leave the VXM.

    Every source is a multiplexer 32 bits wide in every lane, and on an FPGA they cost more than the arithmetic.
    """

    classes: tuple[OpClass, ...]
    """Every ALU passes its first operand on; one without classes does nothing else."""
    x: tuple[Source, ...] = tuple(Source)
    """What the first operand may be."""
    y: tuple[Source, ...] = tuple(Source)
    """What the second operand may be."""
    chain: tuple[int, ...] = (0, 1)
    """How far before it (cyclically) the ALUs stand whose results it may take; 0 is the ALU itself."""
    writes: bool = True
    """Its result may go to streams (it may always feed a chained ALU)."""

    def __post_init__(self) -> None:
        for name, values in (("classes", self.classes), ("x", self.x), ("y", self.y), ("chain", self.chain)):
            _require(len(set(values)) == len(values), f"alus.{name}", f"something is repeated in {list(values)}")
        _require(len(self.x) > 0, "alus.x", "an ALU needs a source for its first operand")

    @property
    def reads(self) -> bool:
        """Whether an operand may come from the streams."""
        return not {Source.BYTE, Source.WORD}.isdisjoint((*self.x, *self.y))


@dataclass(frozen=True, kw_only=True)
class PipelineConfig:
    """Register stages of every unit, in cycles. `openlpu.arch.timing` turns these into latencies."""

    dispatch: int = 1
    """From a queue's head to the unit's control inputs: the fan-out registers of the instruction."""
    sram: int = 1
    """From address to data of a MEM slice."""
    activations: int = 1
    """The MXM: registers between sampled activations and the multipliers of all columns."""
    multiply: int = 1
    """The multipliers of the MXM, after the activation registers."""
    tree_levels: int = 2
    """Adder-tree levels of the MXM between two registers."""
    accumulators: int = 1
    """The MXM: from the address of an accumulator to the sum."""
    outputs: int = 0
    """The MXM and the VXM: registers from a result to the streams."""
    alu_pass: int = 1
    """VXM, an ALU without classes: from sampled operand to the result register."""
    alu_int: int = 2
    """VXM, class `int`: from sampled operands to the result register."""
    alu_mask: int = 2
    """VXM, class `mask`."""
    alu_i2f: int = 4
    """VXM, class `i2f`."""
    alu_f2i: int = 4
    """VXM, class `f2i`."""
    alu_fadd: int = 6
    """VXM, class `fadd`."""
    alu_fmul: int = 4
    """VXM, class `fmul`."""
    alu_imul: int = 4
    """VXM, class `imul`."""
    alu_special: int = 8
    """VXM, class `special`."""
    lanes: int = 1
    """The SXM: from sampled operand to result."""
    notify: int = 4
    """From NOTIFY to the cycle in which every waiting queue dispatches its next instruction."""

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            low = 0 if f.name in ("dispatch", "outputs") else 1
            _require(
                isinstance(value, int) and not isinstance(value, bool) and value >= low,
                f"pipeline.{f.name}",
                f"{value!r} is not a whole number >= {low}",
            )


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """Instructions per queue, where kinds of queue differ: a field for each `geometry.QueueKind`.

    Units that few chips have may be left out by those that have none.
    """

    mem_read: int
    mem_write: int
    mxm_weights: int
    mxm_acts: int
    mxm_accs: int
    vxm: int | tuple[int, ...]
    """Of every ALU, or a number for each."""
    sxm_shift: int
    sxm_permute: int = 4
    c2c_send: int = 4
    c2c_receive: int = 4

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            for words in value if f.name == "vxm" and isinstance(value, tuple) else (value,):
                _require_in(words, f"imem_words.{f.name}", *_TEXT_WORDS)


@dataclass(frozen=True, kw_only=True)
class ChipConfig:
    """One chip. See the architecture page of the documentation for the floor plan.

    Raises:
        ConfigError: on construction, naming the field that is out of range or contradicts another.
    """

    name: str
    """What people call it; not part of the chip's identity."""
    lanes: int
    """Elements of a vector (L). One vector is L bytes, one stream register."""
    streams: int
    """Streams in each direction (S)."""
    hemispheres: int = 1
    """1: the VXM at the west end and everything else east of it; 2: mirrored on both sides."""
    mem_slices: int
    """MEM slices per hemisphere."""
    mem_words: int
    """Words (vectors) per MEM slice."""
    slices_per_hop: int
    """MEM slices that share one stream register."""
    mem_reach: Reach | tuple[tuple[int, ...], ...] = Reach.FULL
    """Which streams a MEM slice may produce on and consume from, in either direction: `own`, `full`, or a table with
    the streams of each slice of a hemisphere, the one that it is to use first."""
    mxm_planes: int = 1
    """L x L multiplier arrays per hemisphere."""
    weight_streams: int
    """Streams a plane loads weights from at once: as many rows of the array a cycle."""
    acc_depth: int
    """int32 vectors in the accumulator memory of a plane."""
    act_depth: int = 16
    """Vectors in the activation buffer of a plane: activations that many weight tiles meet are sent there once."""
    alus: tuple[AluConfig, ...]
    """The VXM's arithmetic units, in chain order."""
    special_turns: int = 1
    """Lanes that share one unit for the class `special`, in each ALU that has it, and take turns: a divisor of `lanes`.
    The ALU takes such an instruction only every so many cycles, and is deeper by one less than that."""
    mxm_transposes: bool = True
    """Whether weights may be loaded as columns of the array, too: every column then takes whole vectors."""
    sxm_reach: SxmReach = SxmReach.FULL
    """Which streams an SXM consumes from and produces on: `turn` or `full`."""
    sxm_rotates: bool = True
    """Whether an SXM turns groups of four streams, too: it then has a data path for each of the four."""
    sxm_permutes: bool = True
    """Whether an SXM has a unit that gives every lane any lane, beside the one that shifts all by the same distance."""
    pipeline: PipelineConfig = field(default_factory=PipelineConfig)
    """Register stages of every unit."""
    imem_words: int | TextConfig
    """Instructions per queue: a number for all, or a table with one for each kind of queue, for `vxm` also a list with
    one for each ALU."""
    ecc: bool = False
    """SECDED on SRAM words and streams."""
    c2c_links: int = 0
    """Chip-to-chip links: each goes both ways."""
    c2c_width: int = 1
    """Bits per cycle and direction of a chip-to-chip link."""
    clock_mhz: float
    """The clock that reports convert cycles to time with; a target, not a promise."""

    def __post_init__(self) -> None:
        whole = functools.partial(require_whole, self)
        _require(isinstance(self.name, str) and self.name.isidentifier(), "name", f"{self.name!r} is not an identifier")
        whole("lanes", 2, 1024)
        whole("streams", GROUP, 64)
        whole("hemispheres", 1, 2)
        whole("mem_slices", 1, 128)
        whole("mem_words", 2, 1 << 16)
        whole("slices_per_hop", 1, 64)
        whole("mxm_planes", 1, 8)
        whole("weight_streams", 1, self.streams)
        whole("acc_depth", 1, 1 << 14)
        whole("act_depth", 1, 1 << 14)
        _require(1 <= len(self.alus) <= 16, "alus", f"{len(self.alus)} ALUs; 1 to 16 are supported")
        for number, alu in enumerate(self.alus):
            known = all(isinstance(distance, int) and 0 <= distance < len(self.alus) for distance in alu.chain)
            _require(known, "alus.chain", f"ALU {number} chains {list(alu.chain)}: not in 0..{len(self.alus) - 1}")
        self._check_text()
        whole("special_turns", 1, 16)
        whole("c2c_links", 0, MAX_LINKS)
        whole("c2c_width", 1, MAX_LINK_WIDTH)
        _require(
            self.streams % GROUP == 0, "streams", f"{self.streams} is not a multiple of {GROUP} (one 32-bit group)"
        )
        _require(
            self.lanes % self.weight_streams == 0,
            "weight_streams",
            f"{self.weight_streams} does not divide lanes={self.lanes}",
        )
        self._check_special_turns()
        self._check_reach()
        self._check_links()
        for name in ("mxm_transposes", "sxm_rotates", "sxm_permutes", "ecc"):
            value = getattr(self, name)
            _require(isinstance(value, bool), name, f"{value!r} is not true or false")
        _require(
            isinstance(self.clock_mhz, int | float) and self.clock_mhz > 0,
            "clock_mhz",
            f"{self.clock_mhz!r} is not a positive number",
        )

    def _check_text(self) -> None:
        words = self.imem_words
        if not isinstance(words, TextConfig):
            _require_in(words, "imem_words", *_TEXT_WORDS)
        elif isinstance(words.vxm, tuple):
            count = len(words.vxm)
            _require(count == len(self.alus), "imem_words.vxm", f"{count} numbers for {len(self.alus)} ALUs")

    def _check_special_turns(self) -> None:
        turns = self.special_turns
        _require(self.lanes % turns == 0, "special_turns", f"{turns} does not divide lanes={self.lanes}")
        _require(
            turns == 1 or self.pipeline.alu_special > 1,
            "pipeline.alu_special",
            f"1 cycle is too few where special_turns is {turns}: operands wait in a register for their turn",
        )

    def _check_links(self) -> None:
        """A flit must last long enough to cross into another clock, and be short beside an epoch (`arch.links`)."""
        cycles = 8 * self.lanes / self.c2c_width
        _require(
            self.c2c_links == 0 or 4 <= cycles <= 96,
            "c2c_width",
            f"a vector of {self.lanes} lanes takes {cycles:g} cycles on {self.c2c_width} wires; 4 to 96 are supported",
        )

    def _check_reach(self) -> None:
        if isinstance(self.mem_reach, Reach):
            return
        _require(
            isinstance(self.mem_reach, tuple) and all(isinstance(row, tuple) for row in self.mem_reach),
            "mem_reach",
            f"{self.mem_reach!r} is not one of {[r.value for r in Reach]}, nor a table of streams",
        )
        _require(
            len(self.mem_reach) == self.mem_slices,
            "mem_reach",
            f"the table has {len(self.mem_reach)} rows for {self.mem_slices} mem_slices",
        )
        for number, row in enumerate(self.mem_reach):
            known = all(isinstance(stream, int) and 0 <= stream < self.streams for stream in row)
            _require(
                bool(row) and known and len(set(row)) == len(row),
                "mem_reach",
                f"slice {number} reaches {list(row)}: not different streams in 0..{self.streams - 1}",
            )

    def reach(self, mem_slice: int) -> tuple[int, ...]:
        """The streams, in either direction, that a MEM slice (counted within its hemisphere) reaches."""
        match self.mem_reach:
            case Reach.OWN:
                return (mem_slice % self.streams,)
            case Reach.FULL:
                return tuple(range(self.streams))
            case table:
                return table[mem_slice]

    @property
    def mem_hops(self) -> int:
        """Stream registers spanned by the MEM slices of one hemisphere."""
        return -(-self.mem_slices // self.slices_per_hop)

    @property
    def row_groups(self) -> int:
        """Groups of `weight_streams` rows that make the weights of a plane: as many loads a tile."""
        return self.lanes // self.weight_streams

    @property
    def dealt_windows(self) -> bool:
        """Whether slices can share a table as they share weights, row k in the one for weight stream k mod
        `weight_streams`: there is more than one, and the bits of k tell which."""
        return self.weight_streams > 1 and self.weight_streams & (self.weight_streams - 1) == 0

    @functools.cached_property
    def digest(self) -> str:
        """Identity of the chip: 16 hexadecimal digits over every field but the name."""
        fields = self.to_dict()
        del fields["name"]
        canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Plain values only (JSON- and TOML-ready); `from_dict` is its inverse."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ChipConfig:
        """Build a config from plain values.

        Raises:
            ConfigError: for unknown, missing or invalid fields, by name.
        """
        fields = dict(values)
        with plain_values():
            if "alus" in fields:
                fields["alus"] = tuple(_alu(alu) for alu in fields["alus"])
            if "pipeline" in fields:
                fields["pipeline"] = from_fields(PipelineConfig, dict(fields["pipeline"]), "pipeline.")
            if isinstance(fields.get("imem_words"), Mapping):
                words = {kind: tuple(n) if isinstance(n, list) else n for kind, n in fields["imem_words"].items()}
                fields["imem_words"] = from_fields(TextConfig, words, "imem_words.")
            if "sxm_reach" in fields:
                fields["sxm_reach"] = SxmReach(fields["sxm_reach"])
            if "mem_reach" in fields:
                reach = fields["mem_reach"]
                fields["mem_reach"] = Reach(reach) if isinstance(reach, str) else tuple(tuple(row) for row in reach)
            return from_fields(cls, fields)

    @classmethod
    def from_file(cls, path: Path) -> ChipConfig:
        """Read a config from a `.toml` or `.json` file.

        Raises:
            ConfigError: when the file is missing, malformed or invalid.
        """
        fields = read_fields(path)
        with read_from(path):
            return cls.from_dict(fields)


_ALU_FIELDS: Mapping[str, type] = {"classes": OpClass, "x": Source, "y": Source, "chain": int}
"""The fields of an `AluConfig` that are lists, and of what."""


def _alu(values: Mapping[str, Any]) -> AluConfig:
    """An ALU from plain values."""
    lists = {name: tuple(map(kind, values[name])) for name, kind in _ALU_FIELDS.items() if name in values}
    return from_fields(AluConfig, {**values, **lists}, "alus.")
