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
from openlpu.arch.encoding import bits_for
from openlpu.arch.geometry import QueueKind, geometry
from openlpu.arch.timing import timing

from .decode import queue_ports
from .dispatch import Dispatch, local_registers
from .ram import Ram
from .shared import SharedComponent
from .signals import delayed, named, relayed, select

__all__ = ["COLUMNS", "Column", "DotProducts", "MxmPlane", "dot_product_columns"]


class Column(SharedComponent):
    """One column of weights.

    `load`, one bit a row group: the group's weights become `weights` in the shadow. Where weights may be transposed
    `load_whole`: all of them become `column` there; not together with `load`. `install`: the shadow becomes the weights
    `in_use`. These three come one register ahead, if there is any behind the decoder.
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
                "load": In(config.row_groups),
                "weights": In(8 * config.weight_streams),
                "install": In(1),
                "in_use": Out(8 * config.lanes),
            }
            | ({"load_whole": In(1), "column": In(8 * config.lanes)} if config.mxm_transposes else {}),
            like=(),
            module_name="column",
        )

    def body(self) -> Module:
        """Build both registers of each weight."""
        m = Module()
        local, together = local_registers(self._config), self._config.weight_streams
        load, install = delayed(m, "load", self.load, local), delayed(m, "install", self.install, local)
        whole = self._config.mxm_transposes
        load_whole = delayed(m, "load_whole", self.load_whole, local) if whole else None
        for row in range(self._config.lanes):
            shadow = Signal(8, name=f"shadow{row}", reset_less=True)
            weight = Signal(8, name=f"weight{row}", reset_less=True)
            with m.If(load[row // together]):
                m.d.sync += shadow.eq(self.weights.word_select(row % together, 8))
            if load_whole is not None:
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
                product = delayed(m, name, a * b, self._config.pipeline.multiply)
                terms.append(product.as_signed())
            together, level = 1 << self._config.pipeline.tree_levels, 0
            while len(terms) > 1:
                level += 1
                partial = [_sum(terms[first : first + together]) for first in range(0, len(terms), together)]
                terms = _registered(m, f"sum{column}_q{level}", partial)
            m.d.comb += total.eq(terms[0])
        return m


class Accumulator(SharedComponent):
    """The accumulators of one lane: they read, and `PipelineConfig.accumulators` cycles later add and write back.

    `asks` : whether to read, and above that which accumulator.
    `order` : for each cycle since a read, the first one lowest, whether the sum of the cycle before is the word then
        asked for; above that of the instruction that adds in this cycle whether it adds what it read, whether it adds
        `total` and stores the sum, and in which accumulator. All but the lowest bit come `told_ahead` cycles ahead.
    `total` : of the array.
    `o` : the sum, `PipelineConfig.outputs` cycles later.
    """

    asks: Signal
    order: Signal
    total: Signal
    o: Signal

    def __init__(self, *, config: ChipConfig) -> None:
        self._config = config
        self._stages = config.pipeline.accumulators
        address = bits_for(config.acc_depth)
        super().__init__(
            {
                "asks": In(1 + address),
                "order": In(self._stages + 2 + address),
                "total": In(signed(16 + (config.lanes - 1).bit_length())),
                "o": Out(32),
            },
            like=(),
            module_name="accumulator",
        )

    def body(self) -> Module:
        """Memory and adder, and what takes sums past the memory."""
        m = Module()
        m.submodules.accumulators = ram = Ram(depth=self._config.acc_depth, width=32)
        told = Cat(self.order[0], delayed(m, "order", self.order[1:], told_ahead(self._config)))
        forwards, order = told[: self._stages], told[self._stages :]
        adds, stores, address = order[0], order[1], order[2:]
        result = Signal(32)
        last = delayed(m, "last_result", result, 1)
        old: Value = ram.read.data
        for stage, forward in enumerate(forwards):
            old = named(m, f"old{stage}", Mux(forward, last, old))
            if stage < self._stages - 1:
                old = delayed(m, f"old{stage}", old, 1)
        m.d.comb += [
            ram.read.en.eq(self.asks[0]),
            ram.read.addr.eq(self.asks[1:]),
            result.eq(Mux(adds, old, 0) + Mux(stores, self.total, 0)),
            ram.write.en.eq(stores),
            ram.write.addr.eq(address),
            ram.write.data.eq(result),
            self.o.eq(delayed(m, "o", result, self._config.pipeline.outputs)),
        ]
        return m


def told_ahead(config: ChipConfig) -> int:
    """By how many cycles accumulators know what they do after the first cycle since a read: a lane keeps it for one."""
    return min(config.pipeline.accumulators - 1, 1)


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
        # Without transposing there are no instructions of the second kind.
        rows, whole = (ahead & instruction.is_any(forms) for forms in (("lw", "lw_iw"), ("lwt", "lwt_iw")))
        together = self._config.weight_streams
        # Every load has its group in the same place.
        group = [instruction.names("lw", "g", g) for g in range(self._config.row_groups)]
        later = delayed(m, "weights_later", ahead & instruction.is_any(("lw_iw", "lwt_iw")) & group[-1], 1)
        install = dispatch.decoded("install", (ahead & instruction.is_("iw")) | later, ahead=1)
        load = dispatch.decoded("load", Cat(rows & match for match in group), ahead=1)
        for lane, column in enumerate(columns):
            m.d.comb += [
                column.load.eq(load),
                column.weights.eq(Cat(tap.data.word_select(lane, 8) for tap in self.weights_taps)),
                column.install.eq(install),
            ]
        if self._config.mxm_transposes:
            load_whole = dispatch.decoded("load_whole", Cat(whole & match for match in group), ahead=1)
            for lane, column in enumerate(columns):
                m.d.comb += [
                    column.load_whole.eq(load_whole[lane // together]),
                    column.column.eq(self.weights_taps[lane % together].data),
                ]
        missing = dispatch.decoded("loads", rows | whole) & ~Cat(tap.valid for tap in self.weights_taps).all()
        m.d.comb += self.weights_empty.eq(delayed(m, "weights_empty", missing, 1))

    def _elaborate_acts(self, m: Module, dots: Sequence[DotProducts]) -> Value:
        """Feed the dot products; 1 in the cycle in which sums stand."""
        config, lanes = self._config, self._config.lanes
        dispatch = Dispatch(m, config, self._acts, self.acts_issue)
        instruction, valid, taps = dispatch.instruction, dispatch.valid, self.acts_taps
        # What every lane is told: the stream, what the buffer does, and where.
        stores, replays = dispatch.ahead & instruction.is_("abl"), dispatch.ahead & instruction.is_("abr")
        written, replayed = instruction.field("abl", "a"), instruction.field("abr", "a")
        source = instruction.choose_of(("abc", "abl"), "s", self._acts.consumes)
        order = dispatch.decoded("order", Cat(stores, replays, written, replayed, source), ahead=1)
        empty, bytes_in = [], []
        for lane, told in enumerate(relayed(m, "mxm", "acts", order, lanes, local_registers(config))):
            places, chosen = told[2:][: 2 * len(written)], told[2 + 2 * len(written) :]
            given = select(chosen, [tap.valid for tap in taps])
            sampled = named(m, f"sampled{lane}", select(chosen, [tap.data.word_select(lane, 8) for tap in taps]))
            buffer: memory.Memory = memory.Memory(shape=unsigned(8), depth=config.act_depth, init=[])
            m.submodules[f"activations{lane}"] = buffer
            write, read = buffer.write_port(), buffer.read_port(domain="comb")
            m.d.comb += [
                write.en.eq(told[0] & given),
                write.addr.eq(places[: len(written)]),
                write.data.eq(sampled),
                read.addr.eq(places[len(written) :]),
            ]
            bytes_in.append(Mux(told[1], read.data, sampled))
            empty.append(~told[1] & ~given)
        m.d.comb += self.acts_empty.eq(delayed(m, "acts_empty", valid & empty[0], 1))
        activations = delayed(m, "activations", Cat(bytes_in), 1)
        stages = config.pipeline.activations - 1
        for dot, a in zip(dots, relayed(m, "mxm", "activations", activations, len(dots), stages), strict=True):
            m.d.comb += dot.a.eq(a)
        multiplies = valid & ~dispatch.executes("stores", "abl")
        return delayed(m, "standing", multiplies, timing(config).array)

    def _elaborate_accs(self, m: Module, sums: Sequence[Value], standing: Value) -> None:
        """Tell every lane's accumulators what to do; some cycles later they add, write back and produce."""
        config, stages = self._config, self._config.pipeline.accumulators
        dispatch = Dispatch(m, config, self._accs, self.accs_issue)
        instruction = dispatch.instruction
        # Every instruction has its accumulator in the same place.
        place = instruction.field("acc_out", "a")
        asks = dispatch.decoded("asks", Cat(dispatch.ahead, place), ahead=1)
        addresses: list[Value] = [dispatch.decoded("address", place)]
        storing: list[Value] = [dispatch.executes("stores", "acc_set", "acc_add", "acc_set_out", "acc_add_out")]
        for stage in range(1, stages + 1):
            addresses.append(delayed(m, f"address{stage}", addresses[-1], 1))
            storing.append(delayed(m, f"stores{stage}", storing[-1], 1))
        # What the memory does not hold yet, a read takes from the sum of the instruction so many cycles ahead.
        later = stages - 1 - told_ahead(config)
        same = {ahead: storing[ahead] & (addresses[ahead] == addresses[0]) for ahead in range(1, stages + 1)}
        first, *forwards = (
            delayed(m, f"forwards{ahead}", same[ahead], max(later + 1 - ahead, 0)) for ahead in reversed(same)
        )
        adds = delayed(m, "adds", dispatch.executes("takes_old", "acc_add", "acc_add_out", "acc_out"), later)
        order = Cat(first, *forwards, adds, storing[later], addresses[later])
        orders = relayed(m, "mxm", "accumulating", order, config.lanes, 1)
        asked = relayed(m, "mxm", "accumulators", asks, config.lanes, local_registers(config))
        results = []
        for lane, total in enumerate(sums):
            m.submodules[f"accumulator{lane}"] = accumulator = Accumulator(config=config)
            m.d.comb += [
                accumulator.asks.eq(asked[lane]),
                accumulator.order.eq(orders[lane]),
                accumulator.total.eq(total),
            ]
            results.append(accumulator.o)
        m.d.comb += self.accs_empty.eq(delayed(m, "accs_empty", storing[stages] & ~standing, 1))

        outs = [spec.mnemonic for spec in instruction.specs if spec.produces]
        chosen = Cat(instruction.choose("acc_out", "d", self._accs.produces))
        target = dispatch.decoded("target", chosen & (dispatch.ahead & instruction.is_any(outs)).replicate(len(chosen)))
        produces = delayed(m, "produces", target, stages + config.pipeline.outputs - 1)
        for stream, drive, produce in zip(self._accs.produces, self.accs_drives, produces, strict=True):
            byte = Cat(result.word_select(stream.index % GROUP, 8) for result in results)
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
