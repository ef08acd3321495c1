# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Components that stand many times on a chip, and are elaborated once.

A lane is like the next one, and so is a column, a memory or a queue; elaborated for each use, they would make time,
memory and text grow with the area of the chip. A `SharedComponent` therefore says which others it is like. A `Library`,
which is the platform when Verilog is made, converts the first of them and makes each an instance of that module.
Amaranth's own simulator knows no instances: on any other platform a shared component is like every other.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from amaranth.back import verilog
from amaranth.hdl import ClockSignal, Const, Elaboratable, Instance, Module, ResetInserter, ResetSignal, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Member

__all__ = ["Library", "Resettable", "SharedComponent", "ports_of"]


class SharedComponent(wiring.Component):
    """A component whose like may stand elsewhere on the chip. It has registers, all in domain `sync`.

    Parameters
    ----------
    ports : its signature
    like : equal for two components of a class and a chip if, and only if, they are built alike
    module_name : of the Verilog module, unless another of its like came before
    """

    def __init__(self, ports: Mapping[str, Member], *, like: Hashable, module_name: str) -> None:
        super().__init__(ports)
        self.like = like
        self.module_name = module_name

    def elaborate(self, platform: object) -> Module | Instance:
        """An instance of the library's module where there is a library, else what is inside."""
        return platform.instance(self) if isinstance(platform, Library) else self.body()

    def body(self) -> Module:
        """What is inside: to be defined in place of `elaborate`."""
        raise NotImplementedError


class Replaceable(wiring.Component):
    """Logic without registers that synthesis for a device may have something better for.

    In Verilog it is always a module of its own, `module_name`, with its ports and no clock; another one with these can
    be put in its place.
    """

    def __init__(self, ports: Mapping[str, Member], *, module_name: str) -> None:
        super().__init__(ports)
        self.module_name = module_name

    def elaborate(self, platform: object) -> Module | Instance:
        """An instance of the library's module where there is a library, else what is inside."""
        if not isinstance(platform, Library):
            return self.body()
        name = self.module_name
        # The instance that the library offers has a clock, but what has no registers has no port for it.
        platform.module(self, self.body, key=name, name=name, reset=Const(0))
        return Instance(name, *_connected(self))

    def body(self) -> Module:
        """What is inside: to be defined in place of `elaborate`."""
        raise NotImplementedError


class Resettable(Elaboratable):
    """A component that `reset` resets, which follows the reset of its domain. In Verilog it is module `module_name`.

    Amaranth's own way does not reach into instances, which shared components are there.
    """

    def __init__(self, component: wiring.Component, *, reset: Value, module_name: str) -> None:
        self._component = component
        self._reset = reset
        self._module_name = module_name

    def elaborate(self, platform: object) -> Any:
        """An instance where there is a library, else the component."""
        component, name = self._component, self._module_name
        if not isinstance(platform, Library):
            return ResetInserter(self._reset)(component)
        return platform.module(component, lambda: component, key=name, name=name, reset=self._reset)


class Library:
    """The modules of the shared components of one chip, as far as they stand in what was made with `verilog`."""

    def __init__(self) -> None:
        self._names: dict[Hashable, str] = {}
        self._texts: dict[str, str] = {}

    @property
    def text(self) -> str:
        """The Verilog of the modules, each after those that stand in it."""
        return "".join(self._texts.values())

    def verilog(self, design: Elaboratable, ports: Mapping[str, Signal], name: str) -> str:
        """A design as Verilog, with `clk` and `rst` besides `ports`, and without the modules of the library."""
        named = [(port, signal, None) for port, signal in ports.items()]
        return verilog.convert(design, name, platform=self, ports=named, emit_src=False, strip_internal_attrs=True)

    def instance(self, component: SharedComponent) -> Instance:
        """A use of a component's module. Raises ValueError when one of another kind has taken the module's name."""
        like = (type(component), component.like)
        return self.module(component, component.body, key=like, name=component.module_name, reset=ResetSignal())

    def module(
        self,
        component: wiring.Component,
        body: Callable[[], Elaboratable],
        *,
        key: Hashable,
        name: str,
        reset: Value,
        clock: Value | None = None,
    ) -> Instance:
        """A use of the module with the ports of `component` that `body` made when `key` was first asked for. Its clock
        is that of domain `sync`, if it is not given.

        Raises ValueError when another has taken its name.
        """
        ports = ports_of(component)
        if key not in self._names:
            if name in self._names.values():
                raise ValueError(f"two kinds of shared components are called '{name}'")
            self._names[key] = name
            self._texts[name] = self.verilog(body(), ports, name)
        domain = [("i", "clk", ClockSignal() if clock is None else clock), ("i", "rst", reset)]
        return Instance(self._names[key], *domain, *_connected(component))


def ports_of(component: wiring.Component) -> dict[str, Signal]:
    """The signals of a component's ports by name, `__` between the parts of a path."""
    signals = {}
    for path, _, port in component.signature.flatten(component):
        signal = Value.cast(port)
        assert isinstance(signal, Signal)
        signals["__".join(map(str, path))] = signal
    return signals


# --- helpers ---


def _connected(component: wiring.Component) -> list[tuple[str, str, Signal]]:
    """A component's ports as an instance takes them."""
    flows = {"__".join(map(str, path)): member.flow for path, member, _ in component.signature.flatten(component)}
    return [("i" if flows[port] is In else "o", port, signal) for port, signal in ports_of(component).items()]
