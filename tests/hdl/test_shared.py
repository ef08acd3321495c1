# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Shared components: one module of each kind in the Verilog, plain components in Amaranth's simulator."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from tests.hdl.units import simulate

from openlpu.hdl.shared import Library, Resettable, SharedComponent, ports_of


class Stage(SharedComponent):
    """A register, or a register that adds."""

    i: Signal
    o: Signal

    def __init__(self, step: int, module_name: str | None = None) -> None:
        super().__init__({"i": In(8), "o": Out(8)}, like=step, module_name=module_name or f"stage_{step}")
        self.step = step

    def body(self) -> Module:
        m = Module()
        m.d.sync += self.o.eq(self.i + self.step)
        return m


class Twice(SharedComponent):
    """Two stages, shared themselves."""

    i: Signal
    o: Signal

    def __init__(self) -> None:
        super().__init__({"i": In(8), "o": Out(8)}, like=(), module_name="twice")

    def body(self) -> Module:
        return chained(self, [Stage(1), Stage(1)])


class Top(wiring.Component):
    i: Signal
    o: Signal

    def __init__(self, parts: Sequence[Any]) -> None:
        super().__init__({"i": In(8), "o": Out(8)})
        self.parts = parts

    def elaborate(self, platform: object) -> Module:
        return chained(self, self.parts)


def chained(outer: Any, parts: Sequence[Any]) -> Module:
    m = Module()
    value = outer.i
    for position, part in enumerate(parts):
        m.submodules[f"part{position}"] = part
        m.d.comb += part.i.eq(value)
        value = part.o
    m.d.comb += outer.o.eq(value)
    return m


def verilog(parts: Sequence[Any]) -> str:
    library, top = Library(), Top(parts)
    return library.verilog(top, ports_of(top), "top") + library.text


def modules(text: str) -> list[str]:
    return re.findall(r"^module (\w+)", text, re.MULTILINE)


def instances(text: str, module: str) -> list[str]:
    return re.findall(rf"^  {module} (\w+) \(", text, re.MULTILINE)


def test_like_components_are_one_module() -> None:
    text = verilog([Stage(1), Stage(2), Stage(1), Stage(1)])
    assert modules(text) == ["top", "stage_1", "stage_2"]
    assert instances(text, "stage_1") == ["part0", "part2", "part3"]
    assert instances(text, "stage_2") == ["part1"]


def test_the_first_of_its_like_names_the_module() -> None:
    assert modules(verilog([Stage(1, "first"), Stage(1, "second")])) == ["top", "first"]


def test_shared_components_may_stand_in_one_another() -> None:
    text = verilog([Twice(), Twice(), Stage(1)])
    assert modules(text) == ["top", "stage_1", "twice"]
    assert len(instances(text, "stage_1")) == 3


class Stoppable(wiring.Component):
    """A chain of stages that `stop` resets, and after it one that it does not."""

    i: Signal
    stop: Signal
    o: Signal

    def __init__(self) -> None:
        super().__init__({"i": In(8), "stop": In(1), "o": Out(8)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        inner, last = Top([Stage(3), Stage(5)]), Stage(3)
        m.submodules.inner = Resettable(inner, reset=self.stop, module_name="inner")
        m.submodules.last = last
        m.d.comb += [inner.i.eq(self.i), last.i.eq(inner.o), self.o.eq(last.o)]
        return m


def test_a_reset_of_its_own() -> None:
    """In the simulator as it acts; in the Verilog as it is connected, down to the shared components."""
    dut = Stoppable()
    seen = []

    async def bench(ctx: Any) -> None:
        ctx.set(dut.i, 1)
        for stop in (0, 0, 0, 1, 0, 0, 0):
            ctx.set(dut.stop, stop)
            await ctx.tick()
            seen.append(ctx.get(dut.o))

    simulate(dut, bench)
    assert seen == [3, 8, 12, 12, 3, 8, 12]

    library, top = Library(), Stoppable()
    text = library.verilog(top, ports_of(top), "top")
    assert modules(text + library.text) == ["top", "stage_3", "stage_5", "inner"]
    resets = dict(re.findall(r"^  (inner|stage_3) .*?\.rst\((.*?)\)", text, re.MULTILINE | re.DOTALL))
    assert resets["stage_3"] == "rst"
    assert resets["inner"] == "stop"
    inner = library.text.partition("module inner(")[2]
    assert re.findall(r"\.rst\((.*?)\)", inner) == ["rst", "rst"]


def test_one_name_for_two_modules_is_refused() -> None:
    with pytest.raises(ValueError, match="two kinds of shared components are called 'same'"):
        verilog([Stage(1, "same"), Stage(2, "same")])


def test_the_simulator_sees_plain_components() -> None:
    top = Top([Twice(), Stage(3)])

    async def bench(ctx: Any) -> None:
        ctx.set(top.i, 10)
        await ctx.tick().repeat(3)
        assert ctx.get(top.o) == 15

    simulate(top, bench)
