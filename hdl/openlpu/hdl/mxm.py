# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""MXM planes: L x L multipliers that hold weights still while activations stream through.

A plane is L columns, one for each output lane, that share the activation register. A column keeps its weights twice:
those in use, and a shadow that fills up meanwhile. Behind it stands the dot product of those in use and activations, a
module of its own: what a device has for that can stand in. Sums leave it a fixed time after the activations entered it,
and pass by: the accumulators take them in that cycle or never.
"""

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from openlpu.arch.config import GROUP, ChipConfig
from openlpu.arch.geometry import QueueKind, geometry
from openlpu.arch.timing import timing

from .decode import delayed, named, queue_ports, select
from .dispatch import Dispatch, local_registers, relayed
from .ram import Ram
from .shared import SharedComponent

__all__ = ["COLUMNS", "Column", "DotProducts", "MxmPlane", "dot_product_columns"]


class Column(SharedComponent):
    """One column of weights.

    `load`, one bit a row group: the group's weights become `weights` in the shadow. `load_whole`: all of them become
    `column` there; not together with `load`. `install`: the shadow becomes the weights `in_use`. These three come one
    register ahead, if there is any behind the decoder.
    """

    load: Signal
    weights: Signal
    load_whole: Signal
    column: Signal
    install: Signal
    in_use: Signal

    def __init__(self, *, config: ChipConfig) -> None:
        self._config = config
        super().__init__(
            {
                "load": In(config.lanes // config.weight_streams),
                "weights": In(8 * config.weight_streams),
                "load_whole": In(1),
                "column": In(8 * config.lanes),
                "install": In(1),
                "in_use": Out(8 * config.lanes),
            },
            like=(),
            module_name="column",
        )

    def body(self) -> Module:
        """Build both registers of each weight."""
        m = Module()
        together = self._config.weight_streams
        orders = Cat(self.load, self.load_whole, self.install)
        registered = delayed(m, "orders", orders, local_registers(self._config))
        load, load_whole, install = registered[: len(self.load)], registered[-2], registered[-1]
        for row in range(self._config.lanes):
            shadow = Signal(8, name=f"shadow{row}", reset_less=True)
            weight = Signal(8, name=f"weight{row}", reset_less=True)
            with m.If(load[row // together]):
                m.d.sync += shadow.eq(self.weights.word_select(row % together, 8))
            with m.Elif(load_whole):
                m.d.sync += shadow.eq(self.column.word_select(row, 8))
            with m.If(install):
                m.d.sync += weight.eq(shadow)
            m.d.comb += self.in_use.word_select(row, 8).eq(weight)
        return m


class DotProducts(SharedComponent):
    """For each of some columns the exact `total` of the products of the int8 in `a` and in its `b`.

    It comes `multiply + Timing.tree` cycles later.
    """

    a: Signal
    b: list[Signal]
    total: list[Signal]

    def __init__(self, *, config: ChipConfig, columns: int) -> None:
        self._config = config
        width = 16 + (config.lanes - 1).bit_length()
        ports = {"a": In(8 * config.lanes), "b": In(8 * config.lanes).array(columns)}
        super().__init__(
            {**ports, "total": Out(signed(width)).array(columns)},
            like=columns,
            module_name=f"dot_products_{columns}",
        )

    def body(self) -> Module:
        """Build multipliers and adder trees."""
        m = Module()
        for column, (weights, total) in enumerate(zip(self.b, self.total, strict=True)):
            terms: list[Value] = []
            for row in range(self._config.lanes):
                a, b = (operand.word_select(row, 8).as_signed() for operand in (self.a, weights))
                name = f"product{column}_{row}"
                product = delayed(m, name, a * b, self._config.pipeline.multiply, reset_less=True)
                terms.append(product.as_signed())
            together, level = 1 << self._config.pipeline.tree_levels, 0
            while len(terms) > 1:
                level += 1
                partial = [_sum(terms[first : first + together]) for first in range(0, len(terms), together)]
                terms = _registered(m, f"sum{column}_q{level}", partial)
            m.d.comb += total.eq(terms[0])
        return m


COLUMNS = 2
"""Of dot products that are built together: there are devices that make products of one factor in pairs."""


def dot_product_columns(config: ChipConfig) -> Sequence[int]:
    """How many columns each `DotProducts` of a plane has, `dot_products0` first: `COLUMNS`, or what is left."""
    return [min(COLUMNS, config.lanes - first) for first in range(0, config.lanes, COLUMNS)]


class MxmPlane(wiring.Component):
    """MXM plane number `index` of the chip: ports as `queue_ports` says."""

    weights_issue: Any
    weights_taps: Any
    weights_empty: Signal
    acts_issue: Any
    acts_taps: Any
    acts_empty: Signal
    accs_issue: Any
    accs_drives: Any
    accs_empty: Signal

    def __init__(self, *, config: ChipConfig, index: int) -> None:
        kinds = (QueueKind.MXM_WEIGHTS, QueueKind.MXM_ACTS, QueueKind.MXM_ACCS)
        self._config = config
        self._weights, self._acts, self._accs = (geometry(config).of_kind(kind)[index] for kind in kinds)
        super().__init__(queue_ports(config, (self._weights, self._acts, self._accs)))

    def elaborate(self, platform: object) -> Module:
        """Build the columns, their dot products and the three queues' pipelines."""
        m = Module()
        columns = [Column(config=self._config) for _ in range(self._config.lanes)]
        for lane, column in enumerate(columns):
            m.submodules[f"column{lane}"] = column
        dots = [DotProducts(config=self._config, columns=count) for count in dot_product_columns(self._config)]
        for number, dot in enumerate(dots):
            m.submodules[f"dot_products{number}"] = dot
        for column, weights in zip(columns, [b for dot in dots for b in dot.b], strict=True):
            m.d.comb += weights.eq(column.in_use)
        self._elaborate_weights(m, columns)
        standing = self._elaborate_acts(m, dots)
        self._elaborate_accs(m, [total for dot in dots for total in dot.total], standing)
        return m

    def _elaborate_weights(self, m: Module, columns: Sequence[Column]) -> None:
        dispatch = Dispatch(m, self._config, self._weights, self.weights_issue)
        instruction, ahead = dispatch.instruction, dispatch.ahead
        rows, whole = (ahead & instruction.is_any(forms) for forms in (("lw", "lw_iw"), ("lwt", "lwt_iw")))
        later = delayed(m, "weights_later", ahead & instruction.is_any(("lw_iw", "lwt_iw")), 1)
        install = dispatch.decoded("install", (ahead & instruction.is_("iw")) | later, ahead=1)
        together = self._config.weight_streams
        # Every load has its group in the same place.
        group = [instruction.names("lw", "g", g) for g in range(self._config.lanes // together)]
        load = dispatch.decoded("load", Cat(rows & match for match in group), ahead=1)
        load_whole = dispatch.decoded("load_whole", Cat(whole & match for match in group), ahead=1)
        for lane, column in enumerate(columns):
            m.d.comb += [
                column.load.eq(load),
                column.weights.eq(Cat(tap.data.word_select(lane, 8) for tap in self.weights_taps)),
                column.load_whole.eq(load_whole[lane // together]),
                column.column.eq(self.weights_taps[lane % together].data),
                column.install.eq(install),
            ]
        loads = dispatch.decoded("loads", rows | whole)
        m.d.sync += self.weights_empty.eq(loads & ~Cat(tap.valid for tap in self.weights_taps).all())

    def _elaborate_acts(self, m: Module, dots: Sequence[DotProducts]) -> Value:
        """Feed the dot products; 1 in the cycle in which sums stand."""
        dispatch = Dispatch(m, self._config, self._acts, self.acts_issue)
        instruction, valid = dispatch.instruction, dispatch.valid
        stores, replays = dispatch.executes("stores", "abl"), dispatch.executes("replays", "abr")
        chosen = instruction.choose_of(("abc", "abl"), "s", self._acts.consumes)
        source = dispatch.decoded("source", chosen, reset_less=True)
        given = named(m, "given", select(source, [tap.valid for tap in self.acts_taps]))
        sampled = named(m, "sampled", select(source, [tap.data for tap in self.acts_taps]))

        buffer: memory.Memory
        m.submodules.activations = buffer = memory.Memory(
            shape=unsigned(8 * self._config.lanes), depth=self._config.act_depth, init=[]
        )
        write, read = buffer.write_port(), buffer.read_port(domain="comb")
        m.d.comb += [
            write.en.eq(stores & given),
            write.addr.eq(dispatch.decoded("write_address", instruction.field("abl", "a"), reset_less=True)),
            write.data.eq(sampled),
            read.addr.eq(dispatch.decoded("read_address", instruction.field("abr", "a"), reset_less=True)),
        ]
        activations = Signal(8 * self._config.lanes, reset_less=True)
        m.d.sync += [
            activations.eq(Mux(replays, read.data, sampled)),
            self.acts_empty.eq(valid & ~replays & ~given),
        ]
        stages = self._config.pipeline.activations - 1
        for dot, a in zip(dots, relayed(m, "mxm", activations, len(dots), stages), strict=True):
            m.d.comb += dot.a.eq(a)
        return delayed(m, "standing", valid & ~stores, timing(self._config).array)

    def _elaborate_accs(self, m: Module, sums: Sequence[Value], standing: Value) -> None:
        """Read-modify-write: address the memory; some cycles later add, write back and produce."""
        stages = self._config.pipeline.accumulators
        dispatch = Dispatch(m, self._config, self._accs, self.accs_issue)
        instruction, valid = dispatch.instruction, dispatch.valid
        accumulators = Ram(depth=self._config.acc_depth, width=32 * self._config.lanes)
        m.submodules.accumulators = accumulators
        read, write = accumulators.read, accumulators.write
        # Every instruction has its accumulator in the same place.
        addresses: list[Value] = [dispatch.decoded("address", instruction.field("acc_out", "a"), reset_less=True)]
        storing: list[Value] = [dispatch.executes("stores", "acc_set", "acc_add", "acc_set_out", "acc_add_out")]
        for stage in range(1, stages + 1):
            addresses.append(delayed(m, f"address{stage}", addresses[-1], 1, reset_less=True))
            storing.append(delayed(m, f"stores{stage}", storing[-1], 1))
        adding = dispatch.executes("takes_old", "acc_add", "acc_add_out", "acc_out")
        stores, takes_old = storing[-1], delayed(m, "adds", adding, stages)
        outs = [spec.mnemonic for spec in instruction.specs if spec.produces]
        chosen = Cat(instruction.choose("acc_out", "d", self._accs.produces))
        target = dispatch.decoded("target", chosen, reset_less=True)
        produces = target & dispatch.executes("outs", *outs).replicate(len(target))
        m.d.comb += [read.en.eq(valid), read.addr.eq(addresses[0])]

        result = Signal(32 * self._config.lanes)
        last_result = Signal.like(result, reset_less=True)
        old: Value = read.data
        for stage in range(1, stages + 1):
            # What the memory does not hold yet, this takes from the sum of the instruction so many cycles ahead.
            ahead = stages + 1 - stage
            forwards = delayed(m, f"forwards{ahead}", storing[ahead] & (addresses[ahead] == addresses[0]), stage)
            old = named(m, f"old{stage}", Mux(forwards, last_result, old))
            if stage < stages:
                old = delayed(m, f"old{stage}", old, 1, reset_less=True)
        m.d.sync += last_result.eq(result)
        m.d.comb += [
            result.eq(
                Cat(
                    (Mux(takes_old, old.word_select(lane, 32), 0) + Mux(stores, total, 0))[:32]
                    for lane, total in enumerate(sums)
                )
            ),
            write.en.eq(stores),
            write.addr.eq(addresses[-1]),
            write.data.eq(result),
        ]
        m.d.sync += self.accs_empty.eq(stores & ~standing)
        for stream, drive, produce in zip(
            self._accs.produces, self.accs_drives, delayed(m, "produces", produces, stages), strict=True
        ):
            place = stream.index % GROUP
            byte = Cat(result.word_select(GROUP * lane + place, 8) for lane in range(self._config.lanes))
            m.d.comb += [drive.valid.eq(produce), drive.data.eq(byte)]


def _registered(m: Module, name: str, values: Sequence[Value]) -> list[Value]:
    registers: list[Value] = []
    for position, value in enumerate(values):
        register = Signal(value.shape(), name=f"{name}_{position}", reset_less=True)
        m.d.sync += register.eq(value)
        registers.append(register)
    return registers


def _sum(terms: Sequence[Value]) -> Value:
    """The sum as a balanced tree."""
    if len(terms) < 2:
        return terms[0] if terms else Const(0)
    half = len(terms) // 2
    return _sum(terms[:half]) + _sum(terms[half:])
