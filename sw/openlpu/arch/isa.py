# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The instruction set as data: every instruction, its fields and its effect, once.

Encoder, decoder, assembly text, RTL decode, golden model, documentation and test generators are all derived from
`INSTRUCTIONS`. Adding an instruction starts here; see `docs/adding-an-instruction.md`.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
from dataclasses import dataclass

from openlpu.arch.config import OpClass
from openlpu.arch.geometry import QueueKind, Stream
from openlpu.arch.special import MAX_ULP


class Format(enum.IntEnum):
    """How a VXM operand or result meets the streams. The value is its code in an instruction."""

    NONE = 0
    BYTE = 1
    """One stream: sign-extended to int32 on the way in, saturated to int8 on the way out."""
    WORD = 2
    """An aligned group of four streams: a 32-bit element per lane, least significant byte first."""
    ALU = 3
    """The result that another (or the same) ALU puts out in this very cycle: a chain. Sources only."""
    IMM = 4
    """The instruction's 32-bit immediate, in every lane. Sources only."""
    BYTE_BOTH = 5
    """As BYTE, onto the stream of that number in both directions; named by the eastward one. Destinations only."""
    WORD_BOTH = 6
    """As WORD, onto the group of that number in both directions; named by the eastward one. Destinations only."""


@dataclass(frozen=True)
class Operand:
    """A VXM source or destination: `Operand(Format.WORD, Stream(EAST, 4))`, `Operand(Format.ALU, 2)`."""

    format: Format
    place: Stream | int | None = None
    """The (first) stream of BYTE, WORD, BYTE_BOTH and WORD_BOTH, the ALU's index of ALU, None otherwise."""

    @property
    def streams(self) -> tuple[Stream, ...]:
        """Every stream that the operand meets, least significant byte first; eastward ones first."""
        match self:
            case Operand(Format.BYTE, Stream() as stream):
                return (stream,)
            case Operand(Format.WORD, Stream() as stream):
                return stream.planes
            case Operand(Format.BYTE_BOTH, Stream() as stream):
                return (stream, stream.opposite)
            case Operand(Format.WORD_BOTH, Stream() as stream):
                return (*stream.planes, *stream.opposite.planes)
            case _:
                return ()


NOTHING = Operand(Format.NONE)
IMMEDIATE = Operand(Format.IMM)


class FieldKind(enum.Enum):
    """What a field holds; its width in bits follows from this and the chip (`openlpu.arch.encoding`)."""

    WORD_ADDRESS = "address of a word in the MEM slice"
    ACC_ADDRESS = "address in the accumulator memory"
    ACT_ADDRESS = "address in the activation buffer"
    TEXT_ADDRESS = "address in the queue's instruction memory"
    WINDOW = "binary logarithm of the words in a window of the MEM slice"
    PLACE = "place of the MEM slice among the `weight_streams` that share a table"
    ROW_GROUP = "group of `weight_streams` rows of the weight buffer"
    STREAM = "stream that the unit reaches"
    GROUP = "first stream of an aligned group of four"
    SOURCE = "VXM operand: none, byte stream, word group, ALU result or immediate"
    DEST = "VXM destination: none, byte stream or word group, in one direction or both"
    IMM32 = "32-bit immediate, zero unless a source asks for it"
    LANE = "lane number"
    LANE_SHIFT = "signed lane distance, smaller than the number of lanes"
    CYCLES = "cycles, from 1"
    COUNT = "number of repetitions, from 1"
    GAP = "cycles between two repetitions, from 1"
    STRIDE = (
        "signed step of the queue's address field, less than the number of row groups where it is one; 0 if it has none"
    )
    TAIL_COUNT = "how many more times the instruction is dispatched"
    TAIL_GAP = "cycles between two of these dispatches, from 1"
    TAIL_STEP = "step of the address from one of them to the next: none or 1"
    TAIL_WAIT = "cycles that the queue waits behind the last of them"
    PAUSE = "cycles of the wire clock, from 1, give or take the drift since the deskew before"


@dataclass(frozen=True)
class Field:
    """A named field of an instruction."""

    name: str
    kind: FieldKind


TAIL = (
    Field("again", FieldKind.TAIL_COUNT),
    Field("gap", FieldKind.TAIL_GAP),
    Field("wait", FieldKind.TAIL_WAIT),
    Field("step", FieldKind.TAIL_STEP),
)
"""What a unit instruction says of the cycles that follow: it is dispatched `again` so many times, `gap` cycles apart,
its address `step` further each time; after the last of them, the queue waits for `wait` cycles.

The step comes last, as not every instruction has an address. Without further dispatches, gap and step mean nothing, and
any will do: to tell one from the others would take gates where a queue has no time for them."""


@dataclass(frozen=True)
class Spec:
    """One instruction of the set.

    `consumes` and `produces` name the fields that hold the streams it samples and drives (for the checker, the golden
    model and the RTL alike); `stride` names its address: what REPEAT advances, and the step of its tail
    (`Encoding.advanced` says how).
    """

    mnemonic: str
    kinds: tuple[QueueKind, ...]
    opcode: int
    fields: tuple[Field, ...]
    effect: str
    consumes: tuple[str, ...] = ()
    produces: tuple[str, ...] = ()
    stride: str | None = None
    op_class: OpClass | None = None
    """The ALU data path that executes it; None for other units, and for `pass`, which every ALU executes."""
    option: str | None = None
    """The field or property of `ChipConfig` that says whether its queues have it; None if they always do."""
    arity: int = 0
    """VXM only: the number of source operands (1: `y` must be nothing)."""
    control: bool = False
    """Executed by the queue itself, not dispatched to the unit."""
    implemented: bool = True
    """False: encoded and decoded, refused by name by the checker, a fault in the RTL."""

    def kind_of(self, name: str) -> FieldKind:
        """What a field holds. Raises KeyError for a field that does not exist."""
        for f in self.fields:
            if f.name == name:
                return f.kind
        raise KeyError(f"{self.mnemonic} has no field '{name}'")

    def has(self, kind: FieldKind) -> bool:
        """Whether there is a field of a kind."""
        return any(f.kind is kind for f in self.fields)

    @functools.cached_property
    def places(self) -> dict[str, int]:
        """By name: where among the fields."""
        return {f.name: place for place, f in enumerate(self.fields)}

    @functools.cached_property
    def own(self) -> tuple[Field, ...]:
        """The fields that say what it does. They come first."""
        return tuple(f for f in self.fields if f not in TAIL)

    @functools.cached_property
    def tail(self) -> tuple[Field, ...]:
        """The fields that say what follows it; none where there is no room for them."""
        return tuple(f for f in self.fields if f in TAIL)


Value = int | Stream | Operand
"""What a field may hold, by its kind: Stream for STREAM and GROUP, Operand for SOURCE and DEST, int for all else."""


@dataclass(frozen=True)
class Instruction:
    """An instruction with its field values, in the order of `spec.fields`. Build it with `instruction()`."""

    spec: Spec
    values: tuple[Value, ...]

    def __getitem__(self, name: str) -> Value:
        return self.values[self.spec.places[name]]

    def number(self, name: str) -> int:
        """The value of an integer field."""
        value = self[name]
        assert isinstance(value, int)
        return value

    def stream(self, name: str) -> Stream:
        """The value of a stream or group field."""
        value = self[name]
        assert isinstance(value, Stream)
        return value

    def operand(self, name: str) -> Operand:
        """The value of a VXM source or destination field."""
        value = self[name]
        assert isinstance(value, Operand)
        return value

    @property
    def alone(self) -> Instruction:
        """What it tells its unit: the same instruction, and nothing of what follows."""
        return self.followed_by()

    def followed_by(self, *, again: int = 0, gap: int = 1, step: int = 0, wait: int = 0) -> Instruction:
        """The same instruction with another tail; as it is, if it has none."""
        tail = {"again": again, "gap": gap, "step": step, "wait": wait}
        own = self.values[: len(self.spec.own)]
        return Instruction(self.spec, (*own, *(tail[f.name] for f in self.spec.tail)))

    @property
    def drives(self) -> tuple[Stream, ...]:
        """The streams it produces on: one for a vector, four for 32-bit elements, none when all stays in the unit."""
        return self._streams(self.spec.produces)

    @property
    def samples(self) -> tuple[Stream, ...]:
        """The streams it samples at its skew, in the order of its fields. (`lw` and its like sample others: those that
        their queue consumes; `ifetch` samples its stream more than once.)"""
        return self._streams(self.spec.consumes)

    def _streams(self, names: tuple[str, ...]) -> tuple[Stream, ...]:
        streams: list[Stream] = []
        if names:
            for f, value in zip(self.spec.fields, self.values, strict=True):
                if f.name in names:
                    match value:
                        case Stream():
                            streams += value.planes if f.kind is FieldKind.GROUP else (value,)
                        case Operand():
                            streams += value.streams
        return tuple(streams)

    def advanced(self, distance: int) -> Instruction:
        """The same instruction with its stride field moved by `distance` (unchanged when it has none), wherever that
        leads; a chip's row groups wrap around (`Encoding.advanced`)."""
        if self.spec.stride is None or distance == 0:
            return self
        place, values = self.spec.places[self.spec.stride], self.values
        return Instruction(self.spec, (*values[:place], self.number(self.spec.stride) + distance, *values[place + 1 :]))


_ALL = tuple(QueueKind)
_READ, _WRITE = (QueueKind.MEM_READ,), (QueueKind.MEM_WRITE,)
_WEIGHTS, _ACTS, _ACCS = (QueueKind.MXM_WEIGHTS,), (QueueKind.MXM_ACTS,), (QueueKind.MXM_ACCS,)
_SHIFT, _PERMUTE = (QueueKind.SXM_SHIFT,), (QueueKind.SXM_PERMUTE,)
_SEND, _RECEIVE = (QueueKind.C2C_SEND,), (QueueKind.C2C_RECEIVE,)

_ADDRESS = Field("a", FieldKind.WORD_ADDRESS)
_FROM = Field("s", FieldKind.STREAM)
_TO = Field("d", FieldKind.STREAM)
_MAP = Field("m", FieldKind.STREAM)
_WINDOW = Field("n", FieldKind.WINDOW)
_PLACE = Field("p", FieldKind.PLACE)
_FROM_GROUP = Field("s", FieldKind.GROUP)
_TO_GROUP = Field("d", FieldKind.GROUP)
_ACC = Field("a", FieldKind.ACC_ADDRESS)
_ACT = Field("a", FieldKind.ACT_ADDRESS)
_ROW_GROUP = Field("g", FieldKind.ROW_GROUP)
_ACC_OUT = Field("d", FieldKind.GROUP)

FIRST_UNIT_OPCODE = 8
"""Opcodes below are queue control, common to every queue; opcode 0 is illegal, so that empty memory never executes."""

_CONTROL = (
    Spec(
        "nop",
        _ALL,
        1,
        (Field("n", FieldKind.CYCLES),),
        "Wait: the next instruction dispatches n cycles later.",
        control=True,
    ),
    Spec(
        "repeat",
        _ALL,
        2,
        (Field("n", FieldKind.COUNT), Field("gap", FieldKind.GAP), Field("step", FieldKind.STRIDE)),
        "Dispatch what the queue dispatched last n more times, gap cycles apart, its address advanced by step each "
        "time; a row group modulo their number. The first one dispatches gap - 1 cycles after the repeat is reached; "
        "the next instruction follows the last. It goes on where that instruction's own repetitions have led, and what "
        "those fields say is not done again.",
        control=True,
    ),
    Spec(
        "sync",
        _ALL,
        3,
        (),
        "Wait for the chip-wide release. First instruction of every queue that takes part in a program.",
        control=True,
    ),
    Spec(
        "notify",
        _ALL,
        4,
        (),
        "Release every waiting queue, this one included: cycle 0 of the program. Exactly one in a program.",
        control=True,
    ),
    Spec("halt", _ALL, 5, (), "The queue is done. The program ends when every queue is.", control=True),
    Spec(
        "ifetch",
        _ALL,
        6,
        (Field("s", FieldKind.STREAM), Field("a", FieldKind.TEXT_ADDRESS), Field("n", FieldKind.COUNT)),
        "Fetch instruction text: from now on one vector a cycle is taken from stream s, until n words have come, and "
        "written to addresses a, a + 1, ... of the queue's instruction memory (modulo its size). A word takes as many "
        "consecutive vectors as its bytes fill, little-endian, lane 0 first; what is left of the last is not used. The "
        "queue goes on meanwhile; after the last address it continues at address 0.",
        control=True,
    ),
)

_MEM = (
    Spec("read", _READ, 8, (_ADDRESS, _TO), "Word a of the slice onto stream d.", produces=("d",), stride="a"),
    Spec(
        "gather",
        _READ,
        9,
        (_ADDRESS, _WINDOW, _MAP, _TO),
        "A word of the window of 2^n words that begins at word a, a multiple of 2^n, onto stream d. Which one is on "
        "stream m: lane 0 plus 256 times lane 1, unsigned, modulo 2^n.",
        consumes=("m",),
        produces=("d",),
        stride="a",
    ),
    Spec(
        "gather_dealt",
        _READ,
        10,
        (_ADDRESS, _WINDOW, _MAP, _TO, _PLACE),
        "As gather, from a table dealt out to weight_streams slices. Where the offset on stream m modulo "
        "weight_streams is p: word offset / weight_streams, rounded down and modulo 2^n, of the window onto stream d; "
        "else zeros.",
        consumes=("m",),
        produces=("d",),
        stride="a",
        option="dealt_windows",
    ),
    Spec(
        "write",
        _WRITE,
        8,
        (_ADDRESS, _FROM),
        "The vector on stream s into word a of the slice.",
        consumes=("s",),
        stride="a",
    ),
    Spec(
        "scatter",
        _WRITE,
        9,
        (_ADDRESS, _WINDOW, _MAP, _FROM),
        "The vector on stream s into a word of the window of 2^n words that begins at word a; which one is on stream "
        "m, as for gather.",
        consumes=("m", "s"),
        stride="a",
    ),
    Spec(
        "scatter_dealt",
        _WRITE,
        10,
        (_ADDRESS, _WINDOW, _MAP, _FROM, _PLACE),
        "As scatter, into a table dealt out as for gather_dealt. Where the offset on stream m modulo weight_streams is "
        "not p, nothing is written.",
        consumes=("m", "s"),
        stride="a",
        option="dealt_windows",
    ),
)

_MXM = (
    Spec(
        "lw",
        _WEIGHTS,
        8,
        (_ROW_GROUP,),
        "Load weights: the vectors on the plane's weight streams into rows g * weight_streams, ... of the shadow "
        "buffer. Lane j of row i is the weight from input i to output j.",
        stride="g",
    ),
    Spec("iw", _WEIGHTS, 9, (), "Install weights: copy the shadow buffer, whole, into the array."),
    Spec(
        "lw_iw",
        _WEIGHTS,
        10,
        (_ROW_GROUP,),
        "As lw; where g is the last row group, as iw in the next cycle.",
        stride="g",
    ),
    Spec(
        "lwt",
        _WEIGHTS,
        11,
        (_ROW_GROUP,),
        "Load weights transposed: the vectors on the plane's weight streams into columns g * weight_streams, ... of "
        "the shadow buffer. Lane i of column j is the weight from input i to output j.",
        stride="g",
        option="mxm_transposes",
    ),
    Spec(
        "lwt_iw",
        _WEIGHTS,
        12,
        (_ROW_GROUP,),
        "As lwt; where g is the last row group, as iw in the next cycle.",
        stride="g",
        option="mxm_transposes",
    ),
    Spec(
        "abc",
        _ACTS,
        8,
        (_FROM,),
        "Activations in: multiply the int8 vector on stream s with the array. The int32 sums leave it a fixed time "
        "later, for acc_*.",
        consumes=("s",),
    ),
    Spec(
        "abl",
        _ACTS,
        9,
        (_ACT, _FROM),
        "Load the activation buffer: the int8 vector on stream s into word a of the buffer.",
        consumes=("s",),
        stride="a",
    ),
    Spec("abr", _ACTS, 10, (_ACT,), "Replay: as abc, with word a of the activation buffer.", stride="a"),
    Spec("acc_set", _ACCS, 8, (_ACC,), "The array's sums overwrite accumulator a.", stride="a"),
    Spec("acc_add", _ACCS, 9, (_ACC,), "The array's sums are added to accumulator a (int32, modulo 2^32).", stride="a"),
    Spec(
        "acc_set_out",
        _ACCS,
        10,
        (_ACC, _ACC_OUT),
        "As acc_set, and the new value onto group d.",
        produces=("d",),
        stride="a",
    ),
    Spec(
        "acc_add_out",
        _ACCS,
        11,
        (_ACC, _ACC_OUT),
        "As acc_add, and the new value onto group d.",
        produces=("d",),
        stride="a",
    ),
    Spec(
        "acc_out", _ACCS, 12, (_ACC, _ACC_OUT), "Accumulator a, unchanged, onto group d.", produces=("d",), stride="a"
    ),
)

_VXM_FIELDS = (
    Field("x", FieldKind.SOURCE),
    Field("y", FieldKind.SOURCE),
    Field("d", FieldKind.DEST),
    Field("imm", FieldKind.IMM32),
)


def _alu(mnemonic: str, opcode: int, op_class: OpClass | None, arity: int, effect: str) -> Spec:
    return Spec(
        mnemonic,
        (QueueKind.VXM,),
        opcode,
        _VXM_FIELDS,
        effect,
        consumes=("x", "y"),
        produces=("d",),
        op_class=op_class,
        arity=arity,
    )


_VXM = (
    _alu("pass", 8, None, 1, "d = x"),
    _alu("iadd", 9, OpClass.INT, 2, "d = x + y (int32, modulo 2^32)"),
    _alu("isub", 10, OpClass.INT, 2, "d = x - y (int32, modulo 2^32)"),
    _alu("imax", 11, OpClass.INT, 2, "d = max(x, y) (int32)"),
    _alu("imin", 12, OpClass.INT, 2, "d = min(x, y) (int32)"),
    _alu("ilt", 13, OpClass.INT, 2, "d = x < y ? -1 : 0 (int32)"),
    _alu("ile", 14, OpClass.INT, 2, "d = x <= y ? -1 : 0 (int32)"),
    _alu("ieq", 15, OpClass.INT, 2, "d = x == y ? -1 : 0 (int32)"),
    _alu("and", 16, OpClass.MASK, 2, "d = x & y: with a comparison's mask, selects y or 0"),
    _alu("or", 17, OpClass.MASK, 2, "d = x | y"),
    _alu("xor", 18, OpClass.INT, 2, "d = x ^ y"),
    _alu("i2f", 24, OpClass.I2F, 2, "d = fp32(x + y), the sum int32, modulo 2^32; to nearest even"),
    _alu(
        "f2i",
        25,
        OpClass.F2I,
        2,
        "d = int32(x) + y, x fp32, to nearest even (0 for NaN), the sum modulo 2^32; the limit where x exceeds int32",
    ),
    _alu("fadd", 32, OpClass.FADD, 2, "d = x + y (fp32)"),
    _alu("fsub", 33, OpClass.FADD, 2, "d = x - y (fp32)"),
    _alu("fmax", 34, OpClass.FADD, 2, "d = maximum of x and y (fp32; NaN if either is)"),
    _alu("fmin", 35, OpClass.FADD, 2, "d = minimum of x and y (fp32; NaN if either is)"),
    _alu("flt", 36, OpClass.FADD, 2, "d = x < y ? -1 : 0 (fp32; 0 if either is NaN)"),
    _alu("fle", 37, OpClass.FADD, 2, "d = x <= y ? -1 : 0 (fp32; 0 if either is NaN)"),
    _alu("feq", 38, OpClass.FADD, 2, "d = x == y ? -1 : 0 (fp32; 0 if either is NaN)"),
    _alu("fmul", 40, OpClass.FMUL, 2, "d = x * y (fp32)"),
    _alu("imul", 41, OpClass.IMUL, 2, "d = x * y (int32, modulo 2^32)"),
    _alu("exp", 48, OpClass.SPECIAL, 1, f"d = e to the power of x (fp32, within {MAX_ULP['exp']:g} ulp)"),
    _alu("recip", 49, OpClass.SPECIAL, 1, f"d = 1 / x (fp32, within {MAX_ULP['recip']:g} ulp)"),
    _alu("rsqrt", 50, OpClass.SPECIAL, 1, f"d = 1 / square root of x (fp32, within {MAX_ULP['rsqrt']:g} ulp)"),
    _alu("tanh", 51, OpClass.SPECIAL, 1, f"d = hyperbolic tangent of x (fp32, within {MAX_ULP['tanh']:g} ulp)"),
)

_SXM = (
    Spec(
        "shift",
        _SHIFT,
        8,
        (_FROM, _TO, Field("n", FieldKind.LANE_SHIFT)),
        "Lane i of d is lane i - n of s, or 0 where there is none.",
        consumes=("s",),
        produces=("d",),
    ),
    Spec(
        "rotate",
        _SHIFT,
        9,
        (_FROM_GROUP, _TO_GROUP, Field("n", FieldKind.LANE_SHIFT)),
        "Lane i of each stream of group d is lane (i - n) modulo lanes of the same stream of group s: 32-bit elements "
        "change lanes, or four int8 vectors at once.",
        consumes=("s",),
        produces=("d",),
        option="sxm_rotates",
    ),
    Spec(
        "select",
        _SHIFT,
        10,
        (_FROM, _MAP, _TO),
        "Lane i of d is lane i of s where lane i of m is not 0, and 0 elsewhere.",
        consumes=("s", "m"),
        produces=("d",),
    ),
    Spec(
        "permute",
        _PERMUTE,
        8,
        (_FROM, _MAP, _TO),
        "Lane i of d is lane m[i] of s, m unsigned bytes on a stream; 0 where m[i] >= lanes. Any lane map.",
        consumes=("s", "m"),
        produces=("d",),
    ),
    Spec(
        "distribute",
        _PERMUTE,
        9,
        (_FROM, _TO, Field("n", FieldKind.LANE)),
        "Every lane of d is lane n of s.",
        consumes=("s",),
        produces=("d",),
    ),
    Spec(
        "transpose",
        _PERMUTE,
        10,
        (_FROM_GROUP, _TO_GROUP),
        "Lane 4 b + i of stream j of group d is lane 4 b + j of stream i of group s, or 0 where there is none: each "
        "block of 4 x 4 is transposed.",
        consumes=("s",),
        produces=("d",),
    ),
)

_C2C = (
    Spec(
        "send",
        _SEND,
        8,
        (_FROM,),
        "The vector on stream s leaves by the link. A link takes one vector in as many cycles as its flit lasts.",
        consumes=("s",),
    ),
    Spec(
        "deskew",
        _SEND,
        9,
        (Field("n", FieldKind.PAUSE),),
        "The time of the program stands still on the whole chip for n cycles, and as many more or fewer as align it "
        "with the other chips again. It takes no cycle of the program. Every chip does so in the same cycle.",
    ),
    Spec(
        "receive",
        _RECEIVE,
        8,
        (_TO,),
        "The next vector that came in by the link, in the order in which they were sent, onto stream d.",
        produces=("d",),
    ),
)


def _with_tail(spec: Spec) -> Spec:
    """A unit instruction and its tail. Windows take the room that it would need."""
    if spec.has(FieldKind.WINDOW):
        return spec
    tail = tuple(f for f in TAIL if f.kind is not FieldKind.TAIL_STEP or spec.stride is not None)
    return dataclasses.replace(spec, fields=(*spec.fields, *tail))


INSTRUCTIONS: tuple[Spec, ...] = (*_CONTROL, *map(_with_tail, (*_MEM, *_MXM, *_VXM, *_SXM, *_C2C)))
BY_MNEMONIC = {spec.mnemonic: spec for spec in INSTRUCTIONS}


@functools.cache
def for_kind(kind: QueueKind) -> tuple[Spec, ...]:
    """The instructions that queues of a kind accept, queue control first."""
    return tuple(spec for spec in INSTRUCTIONS if kind in spec.kinds)


@functools.cache
def stride_kind(kind: QueueKind) -> FieldKind | None:
    """The kind of the field that REPEAT advances in queues of this kind; None when they have no such field."""
    for spec in for_kind(kind):
        for f in spec.fields:
            if f.name == spec.stride:
                return f.kind
    return None


DEFAULTS: dict[FieldKind, Value] = {
    FieldKind.SOURCE: NOTHING,
    FieldKind.DEST: NOTHING,
    FieldKind.IMM32: 0,
    FieldKind.STRIDE: 0,
    FieldKind.GAP: 1,
    FieldKind.TAIL_COUNT: 0,
    FieldKind.TAIL_GAP: 1,
    FieldKind.TAIL_STEP: 0,
    FieldKind.TAIL_WAIT: 0,
}
"""Fields that need not be given."""


def instruction(mnemonic: str, **values: Value) -> Instruction:
    """Build an instruction: `instruction("read", a=17, d=Stream(Direction.EAST, 3))`.

    Operands that are not given are nothing, immediates 0, strides 0, gaps 1, and nothing follows.

    Raises:
        KeyError: for an unknown mnemonic, or a missing or unknown field.
    """
    spec = BY_MNEMONIC[mnemonic]
    unknown = [name for name in values if all(f.name != name for f in spec.fields)]
    if unknown:
        raise KeyError(f"{mnemonic} has no field '{unknown[0]}'")
    filled = []
    for f in spec.fields:
        if f.name not in values and f.kind not in DEFAULTS:
            raise KeyError(f"{mnemonic} needs field '{f.name}'")
        filled.append(values[f.name] if f.name in values else DEFAULTS[f.kind])
    return Instruction(spec, tuple(filled))
