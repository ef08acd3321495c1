# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""One lane of one VXM arithmetic unit.

An ALU is what its operation classes ask for: every operation of the instruction set names the `Datapath` that computes
it and how that one's control inputs are set, and an ALU holds the datapaths of its operations, side by side. All of
them are equally deep, so that results leave in the order in which their operands came and never meet; the registers
that a short datapath has left over stand where they shorten its stretches.

The lanes of an ALU all do the same, so what an operation means is looked up once for all of them: they take it as a
word of `control_layout`, one bit per datapath to choose its result, and its control inputs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from amaranth.hdl import Array, Cat, Const, Module, Shape, Signal, Value
from amaranth.lib import data, enum
from amaranth.lib.wiring import In, Out

from openlpu.arch.config import OpClass
from openlpu.arch.isa import INSTRUCTIONS

from .fp32 import AddOp, FpAdd, FpMul, FpToInt, IntToFp, Mul
from .pipeline import Datapath, Step
from .shared import SharedComponent
from .signals import delayed, select
from .special import Special, SpecialOp
from .sums import gated_sum

__all__ = ["Copy", "IntegerOp", "IntegerUnit", "LaneAlu", "control_layout", "operation"]


class IntegerOp(enum.Enum, shape=5):
    """What an `IntegerUnit` does with its operands. The lowest two bits alone say what it does bit by bit."""

    ADD = 0b00011
    SUB = 0b00111
    MAX = 0b01011
    MIN = 0b01111
    LT = 0b10011
    LE = 0b10111
    EQ = 0b11011
    AND = 0b11100
    OR = 0b11101
    XOR = 0b11110


class IntegerUnit(Datapath):
    """The int32 operations but the product: the functions of `numerics` of that name, and numpy's bitwise ones.

    The result for a value of `op` outside `IntegerOp` is any word.
    """

    a: Signal
    b: Signal
    op: Signal

    def __init__(self, *, depth: int) -> None:
        super().__init__(
            inputs={"a": 32, "b": 32, "op": Shape.cast(IntegerOp).width},
            output=32,
            steps=[Step(_combine, delay=4.5), Step(_decide, delay=3)],
            depth=depth,
        )


class Copy(Datapath):
    """`a`, later."""

    a: Signal

    def __init__(self, *, depth: int) -> None:
        super().__init__(inputs={"a": 32}, output=32, steps=[Step(lambda m, a: {"o": a}, delay=0)], depth=depth)


@dataclass(frozen=True)
class _Operation:
    """The datapath that computes an operation, and its control inputs (0 where not given)."""

    unit: str
    controls: Mapping[str, bool | enum.Enum] = field(default_factory=dict)


_UNITS: Mapping[str, Callable[..., Datapath]] = {
    "copy": Copy,
    "integer": IntegerUnit,
    "to_float": IntToFp,
    "to_integer": FpToInt,
    "add": FpAdd,
    "multiply_floats": FpMul,
    "multiply": Mul,
    "special": Special,
}

_OPERATIONS: Mapping[str, _Operation] = {
    "pass": _Operation("copy"),
    "iadd": _Operation("integer", {"op": IntegerOp.ADD}),
    "isub": _Operation("integer", {"op": IntegerOp.SUB}),
    "imax": _Operation("integer", {"op": IntegerOp.MAX}),
    "imin": _Operation("integer", {"op": IntegerOp.MIN}),
    "ilt": _Operation("integer", {"op": IntegerOp.LT}),
    "ile": _Operation("integer", {"op": IntegerOp.LE}),
    "ieq": _Operation("integer", {"op": IntegerOp.EQ}),
    "and": _Operation("integer", {"op": IntegerOp.AND}),
    "or": _Operation("integer", {"op": IntegerOp.OR}),
    "xor": _Operation("integer", {"op": IntegerOp.XOR}),
    "i2f": _Operation("to_float"),
    "f2i": _Operation("to_integer", {"keeps": False}),
    "fadd": _Operation("add", {"op": AddOp.ADD}),
    "fsub": _Operation("add", {"op": AddOp.SUB}),
    "fmax": _Operation("add", {"op": AddOp.MAX}),
    "fmin": _Operation("add", {"op": AddOp.MIN}),
    "flt": _Operation("add", {"op": AddOp.LT}),
    "fle": _Operation("add", {"op": AddOp.LE}),
    "feq": _Operation("add", {"op": AddOp.EQ}),
    "fmul": _Operation("multiply_floats", {"keeps": False}),
    "imul": _Operation("multiply", {"integer": True, "keeps": False}),
    "exp": _Operation("special", {"op": SpecialOp.EXP}),
    "recip": _Operation("special", {"op": SpecialOp.RECIP}),
    "rsqrt": _Operation("special", {"op": SpecialOp.RSQRT}),
    "tanh": _Operation("special", {"op": SpecialOp.TANH}),
}


# What needs no datapath of its own is done by one that is there.
_BY_SUMS = {
    "and": _Operation("add", {"op": AddOp.AND}),
    "or": _Operation("add", {"op": AddOp.OR}),
    "i2f": _Operation("add", {"op": AddOp.CONVERT}),
}
_PASSES = {
    OpClass.FADD: _Operation("add", {"op": AddOp.PASS}),
    OpClass.INT: _OPERATIONS["or"],
    OpClass.MASK: _OPERATIONS["or"],
    OpClass.IMUL: _Operation("multiply", {"integer": True, "keeps": True}),
    OpClass.FMUL: _Operation("multiply_floats", {"keeps": True}),
    OpClass.F2I: _Operation("to_integer", {"keeps": True}),
}
"""Of the first class that an ALU has, or by a datapath of its own."""


def control_layout(classes: Sequence[OpClass]) -> data.StructLayout:
    """What the lanes of an ALU are told of an operation.

    By datapath: whether its result is `chosen`, and the inputs that operations set.
    """
    layouts: dict[str, dict[str, int]] = {}
    for operation in _operations(classes).values():
        fields = layouts.setdefault(operation.unit, {"chosen": 1})
        fields |= {port: _width(value) for port, value in operation.controls.items()}
    return data.StructLayout({name: data.StructLayout(layouts[name]) for name in _UNITS if name in layouts})


def operation(classes: Sequence[OpClass], mnemonic: str) -> Value:
    """The value of `control_layout` for an operation. Raises KeyError for one that an ALU of the classes lacks."""
    wanted = _operations(classes)[mnemonic]
    return Value.cast(control_layout(classes).const({wanted.unit: {"chosen": 1, **wanted.controls}}))


class LaneAlu(SharedComponent):
    """The 32-bit data path of one lane: operands and an operation every cycle, each result `depth` cycles later.

    `control` is a value of `operation`, of the same cycle as `x` and `y`; an operand that an operation does not have
    must be 0. The first register holds the operands, whose multiplexers are long, unless it is the only one. `o` is
    chosen from the registers behind the last of the `depth` clock edges. Nothing is reset: whatever enters leaves.

    Without a unit of its own for special functions it has ports to one: `special_x`, the operand from the first
    register, and `special_o`, the result in the cycle in which it is to be at `o`.

    Parameters
    ----------
    classes : the operation classes that it computes; `pass` comes with any
    depth : cycles from operands to result, at least 1
    special_elsewhere : class `special` is computed elsewhere; then `depth` is at least 2

    Raises
    ------
    ValueError
        `depth` is not positive.
    """

    x: Signal
    y: Signal
    control: data.View
    o: Signal
    special_x: Signal
    special_o: Signal

    def __init__(self, *, classes: Sequence[OpClass], depth: int, special_elsewhere: bool = False) -> None:
        if depth < 1:
            raise ValueError(f"LaneAlu: depth must be at least 1 cycle, not {depth!r}")
        self._depth = depth
        self._operations = _operations(classes)
        self._layout = control_layout(classes)
        self._elsewhere = ("special",) if special_elsewhere else ()
        super().__init__(
            {"x": In(32), "y": In(32), "control": In(self._layout), "o": Out(32)}
            | ({"special_x": Out(32), "special_o": In(32)} if special_elsewhere else {}),
            like=(frozenset(classes), depth, special_elsewhere),
            module_name="_".join(("lane_alu", *sorted(classes), str(depth), *("turns" for _ in self._elsewhere))),
        )

    def body(self) -> Module:
        """Operands, once registered, into every datapath; out comes the result of the chosen one."""
        m = Module()
        x, y, control = self.x, self.y, self.control
        if self._depth > 1:
            x, y = Signal(32, name="x_q", reset_less=True), Signal(32, name="y_q", reset_less=True)
            control = data.View(self._layout, Signal(self._layout.size, name="control_q", reset_less=True))
            m.d.sync += [x.eq(self.x), y.eq(self.y), control.eq(self.control)]
        results, chosen = [], []
        for name in self._layout.members:
            if name in self._elsewhere:
                m.d.comb += self.special_x.eq(x)
                chosen.append(delayed(m, f"{name}_chosen", control[name].chosen, self._depth - 1))
                results.append(self.special_o)
                continue
            m.submodules[name] = unit = _UNITS[name](depth=max(self._depth - 1, 1))
            settings = control[name]
            tied = {port: self._tied(name, port, settings[port]) for port, _ in settings.shape() if port != "chosen"}
            inputs = {"a": x, "b": y, **tied}
            m.d.comb += [getattr(unit, port).eq(inputs[port]) for port in unit.signature.members if port in inputs]
            chosen.append(delayed(m, f"{name}_chosen", settings.chosen, unit.depth))
            results.append(unit.o)
        m.d.comb += self.o.eq(results[0] if len(results) == 1 else select(chosen, results))
        return m

    def _tied(self, name: str, port: str, setting: Value) -> Value:
        """A control input of a datapath, whose bits are constants where they are the same for every operation."""
        given = [Value.cast(o.controls.get(port, 0)) for o in self._operations.values() if o.unit == name]
        values = [Const.cast(value).value for value in given]
        bits = Value.cast(setting)
        return Cat(
            Const(values[0] >> i & 1, 1) if len({value >> i & 1 for value in values}) == 1 else bits[i]
            for i in range(len(bits))
        )


# --- helpers ---


def _width(setting: bool | enum.Enum) -> int:
    return 1 if isinstance(setting, bool) else Shape.cast(type(setting)).width


def _operations(classes: Sequence[OpClass]) -> dict[str, _Operation]:
    """The operations of an ALU with these classes, by mnemonic."""
    mnemonics = [spec.mnemonic for spec in INSTRUCTIONS if spec.implemented and spec.op_class in classes]
    found = {mnemonic: _OPERATIONS[mnemonic] for mnemonic in ("pass", *mnemonics)}
    if {OpClass.FMUL, OpClass.IMUL}.issubset(classes):
        # Both share one multiplier.
        found["fmul"] = _Operation("multiply", {"integer": False, "keeps": False})
    if OpClass.FADD in classes:
        found |= {mnemonic: operation for mnemonic, operation in _BY_SUMS.items() if mnemonic in found}
    found["pass"] = next((operation for op_class, operation in _PASSES.items() if op_class in classes), found["pass"])
    return found


def _combine(m: Module, a: Value, b: Value, op: Value) -> dict[str, Value]:
    subtract = op != IntegerOp.ADD
    # An extra highest place tells which operand is less.
    both = {"a": Cat(a, a[31]), "b": Cat(b, b[31])}
    total = gated_sum(m, "sum", **both, takes_a=Const(1), inverts_b=subtract, carry=subtract)
    # A maximum or minimum is this or `b`: it takes no wider choice than the operations on bits.
    first = Array([a & b, a | b, a ^ b, a])[Value.cast(op)[:2]]
    return {"total": total[:32], "less": total[32], "same": a == b, "first": first}


def _decide(m: Module, b: Value, op: Value, total: Value, less: Value, same: Value, first: Value) -> dict[str, Value]:
    sums, takes_first, takes_b, holds = (Signal(name=name) for name in ("sums", "takes_first", "takes_b", "holds"))
    with m.Switch(op):
        with m.Case(IntegerOp.ADD, IntegerOp.SUB):
            m.d.comb += sums.eq(1)
        with m.Case(IntegerOp.MAX):
            m.d.comb += [takes_first.eq(~less), takes_b.eq(less)]
        with m.Case(IntegerOp.MIN):
            m.d.comb += [takes_first.eq(less), takes_b.eq(~less)]
        with m.Case(IntegerOp.LT):
            m.d.comb += holds.eq(less)
        with m.Case(IntegerOp.LE):
            m.d.comb += holds.eq(less | same)
        with m.Case(IntegerOp.EQ):
            m.d.comb += holds.eq(same)
        with m.Default():
            m.d.comb += takes_first.eq(1)
    return {"o": select([sums, takes_first, takes_b], [total, first, b]) | holds.replicate(32)}
