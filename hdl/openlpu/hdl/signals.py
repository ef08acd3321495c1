# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Values on wires and behind registers: what every unit is put together from.

What goes far, or to all lanes of a unit, takes registers on its way. No register here has a reset: what enters leaves.
"""

from collections.abc import Iterable, Sequence

from amaranth.hdl import C, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from .shared import SharedComponent

__all__ = ["delayed", "named", "relayed", "select"]

_RELAYS = 4


def delayed(m: Module, name: str, value: Value, cycles: int) -> Value:
    """`value` of `cycles` ago: behind that many registers, which start at 0."""
    for stage in range(1, cycles + 1):
        register = Signal(len(value), name=f"{name}_q{stage}", reset_less=True)
        m.d.sync += register.eq(value)
        value = register
    return value


def named(m: Module, name: str, value: Value) -> Signal:
    """`value` on a wire: what is used more than once is otherwise built once for every use."""
    wire = Signal(value.shape(), name=name)
    m.d.comb += wire.eq(value)
    return wire


def select(matches: Iterable[Value], values: Sequence[Value]) -> Value:
    """The one of `values` whose match is set; 0 when none is."""
    width = max(map(len, values), default=0)
    result: Value = C(0, width)
    for match, value in zip(matches, values, strict=True):
        result = result | Mux(match, value, 0)
    return result


def relayed(m: Module, unit: str, name: str, value: Value, lanes: int, stages: int) -> list[Value]:
    """`value` of `stages` cycles ago, for each of the lanes of a unit.

    Every quarter of the lanes has registers of its own: it may lie far from the others, but is small itself.
    """
    if stages == 0:
        return [value] * lanes
    relays: list[_Relay] = []
    for number in range(min(_RELAYS, lanes)):
        relay = _Relay(unit=unit, width=len(value), stages=stages)
        m.submodules[f"{name}_relay{number}"] = relay
        m.d.comb += relay.i.eq(value)
        relays.append(relay)
    return [relays[lane * len(relays) // lanes].o for lane in range(lanes)]


class _Relay(SharedComponent):
    """`o` is `i` of some cycles ago, at least one. Synthesis merges nothing across modules, so these are kept apart."""

    i: Signal
    o: Signal

    def __init__(self, *, unit: str, width: int, stages: int) -> None:
        self._stages = stages
        super().__init__(
            {"i": In(width), "o": Out(width)},
            like=(unit, width, stages),
            module_name=f"{unit}_relay_{width}x{stages}",
        )

    def body(self) -> Module:
        """The registers."""
        m = Module()
        m.d.comb += self.o.eq(delayed(m, "relayed", self.i, self._stages))
        return m
