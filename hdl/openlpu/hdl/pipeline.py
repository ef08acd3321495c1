# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Datapaths of a given depth.

The timing table says how many cycles a unit takes, and the unit must then be exactly that deep. So the arithmetic is
written without registers, as a sequence of combinational steps in the order of the algorithm, and a `Datapath` cuts
registers between them. Each step states roughly how long its logic is; the cuts go where they keep the longest stretch
short. A faster clock is the same text with a larger number.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from amaranth.hdl import Const, Module, Shape, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Datapath", "Step", "registers_after"]


@dataclass(frozen=True)
class Step:
    """A stretch of combinational logic that no register cuts.

    `logic` is called with the module, for helper signals in the `comb` domain, and with the values its other
    parameters name: ports of the datapath or results of earlier steps. It returns its own results by name; a name used
    before is replaced. `delay` is the length of the logic in any unit common to the steps of one datapath.
    """

    logic: Callable[..., Mapping[str, Value]]
    delay: float

    @property
    def reads(self) -> tuple[str, ...]:
        """The names of the values that `logic` takes."""
        return tuple(inspect.signature(self.logic).parameters)[1:]


def registers_after(delays: Sequence[float], depth: int) -> list[int]:
    """How many registers follow each step, `depth` in all, so that the longest stretch of logic is as short as can be.

    The last step is always followed by one. Among equal choices the second longest stretch decides, and so on; then
    the earlier cut. What exceeds one register a step is appended to the end.
    """
    count = len(delays)
    if depth >= count:
        return [1] * (count - 1) + [1 + depth - count]

    def stretches(cuts: tuple[int, ...]) -> list[float]:
        return sorted((sum(delays[start:end]) for start, end in pairwise((0, *cuts, count))), reverse=True)

    best = min(combinations(range(1, count), depth - 1), key=stretches)
    return [int(end in (*best, count)) for end in range(1, count + 1)]


class Datapath(wiring.Component):
    """A unit that accepts operands every cycle and gives each result exactly `depth` cycles later.

    The first of the `depth` clock edges is the one that samples the operands; after the last, the result stands at `o`,
    which is a register. There is no handshake and no reset: whatever enters leaves.

    Parameters
    ----------
    inputs : widths of the input ports by name
    output : width of the output port `o`
    steps : the logic, in order; a step returns the result as `o`
    depth : cycles from operands to result, at least 1

    Raises
    ------
    ValueError
        `depth` is not positive.
    """

    o: Signal

    def __init__(self, *, inputs: Mapping[str, int], output: int, steps: Sequence[Step], depth: int) -> None:
        if depth < 1:
            raise ValueError(f"{type(self).__name__}: depth must be at least 1 cycle, not {depth!r}")
        super().__init__({name: In(width) for name, width in inputs.items()} | {"o": Out(output)})
        self._inputs = tuple(inputs)
        self._steps = tuple(steps)
        self._depth = depth

    @property
    def depth(self) -> int:
        """Cycles from operands to result."""
        return self._depth

    def elaborate(self, platform: object) -> Module:
        """Chain the steps, and carry past every cut just the values that something later reads."""
        m = Module()
        live: dict[str, Value] = {name: getattr(self, name) for name in self._inputs}
        age = 0
        registers = registers_after([step.delay for step in self._steps], self._depth)
        for position, step in enumerate(self._steps):
            results = step.logic(m, **{name: live[name] for name in step.reads})
            live |= {name: _held(m, "comb", f"{name}_{position}", value) for name, value in results.items()}
            wanted = {"o"}.union(*(later.reads for later in self._steps[position + 1 :]))
            live = {name: value for name, value in live.items() if name in wanted}
            for _ in range(registers[position]):
                age += 1
                live = {name: _held(m, "sync", f"{name}_q{age}", value) for name, value in live.items()}
        m.d.comb += self.o.eq(live["o"])
        return m


def _held(m: Module, domain: str, name: str, value: Value) -> Value:
    """`value` behind a named signal: a wire in `comb`, a register in `sync`. Constants need neither."""
    if isinstance(value, Const):
        return value
    signal = Signal(Shape.cast(value.shape()), name=name, reset_less=True)
    m.d[domain] += signal.eq(value)
    return signal
