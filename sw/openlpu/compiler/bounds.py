# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Lower bounds: how short any program for a network could be on a chip.

Computed from the graph and the config alone, with none of the scheduler's code, so that a report can say how far a
schedule is from what physics allows. Each counts only what no schedule can avoid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from openlpu.arch.config import GROUP, ChipConfig, OpClass
from openlpu.arch.geometry import QueueKind, geometry
from openlpu.arch.isa import BY_MNEMONIC
from openlpu.arch.timing import timing
from openlpu.compiler.graph import (
    Add,
    ConstantTensor,
    FloatStep,
    Graph,
    Int8Array,
    Lookup,
    MatMul,
    Mul,
    Op,
    Pointwise,
    Product,
    Rearrange,
    Reduce,
    Requantise,
    Reshape,
    Tensor,
    Unary,
    operands,
)


@dataclass(frozen=True)
class Bounds:
    """Cycles below which no program can stay."""

    resources: dict[str, int]
    """For each kind of resource: the work of the whole network, spread evenly over all units of the chip."""
    chain: int
    """The longest path of dependent operations for a single row, with no wait for any resource."""

    @property
    def busiest(self) -> str:
        """The resource with the most work."""
        return max(self.resources, key=lambda name: self.resources[name])

    @property
    def cycles(self) -> int:
        """The greater of the two bounds."""
        return max(self.resources[self.busiest], self.chain)


def lower_bounds(graph: Graph, config: ChipConfig) -> Bounds:
    """Both lower bounds of a network on a chip."""
    return Bounds(_resources(graph, config), _chain(graph, config))


def useful_macs(graph: Graph) -> int:
    """Multiply-accumulates that the network asks for, without padding."""
    total = 0
    for op in graph.ops:
        match op:
            case MatMul():
                total += graph.tensor(op.input).rows * sum(weights.size for weights in op.weights)
            case Product():
                total += graph.tensor(op.lhs).rows * graph.tensor(op.lhs).lanes * graph.tensor(op.output).lanes
            case _:
                pass
    return total


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _resources(graph: Graph, config: ChipConfig) -> dict[str, int]:
    lanes, planes = config.lanes, config.mxm_planes * config.hemispheres
    slices = config.mem_slices * config.hemispheres
    tiles = macs = reads = writes = into_vxm = 0
    work = dict.fromkeys(OpClass, 0)
    for op in graph.ops:
        if _needs_no_work(op):
            continue
        out = graph.tensor(op.output)
        vectors = out.rows * _ceil(out.lanes, lanes)
        sources = [graph.tensor(name) for name in operands(op)]
        writes += vectors * _streams(out)
        reads += sum(source.rows * _ceil(source.lanes, lanes) * _streams(source) for source in sources)
        into_vxm += vectors * (GROUP if isinstance(op, MatMul | Product) else 0)
        into_vxm += sum(
            source.rows * _ceil(source.lanes, lanes) * _streams(source) for source in sources[_multiplied(op) :]
        )
        for op_class in _operations(op):
            work[op_class] += vectors
        match op:
            case MatMul():
                used = sum(int(_used_tiles(weights, lanes).sum()) for weights in op.weights)
                tiles += used
                macs += used * sources[0].rows
            case Product():
                each = _ceil(sources[0].lanes, lanes) * _ceil(out.lanes, lanes)
                tiles += each * (out.rows // out.shape[-2])
                macs += each * sources[0].rows
            case _:
                pass
    reads += tiles * lanes
    inward = 2 if config.hemispheres == 2 else 1
    bounds = {
        "weight streams": _ceil(tiles * lanes, planes * config.weight_streams),
        "MXM": _ceil(macs, planes),
        "MEM read ports": _ceil(reads, slices),
        "MEM write ports": _ceil(writes, slices),
        "VXM streams": _ceil(into_vxm, inward * config.streams),
    }
    for op_class, vectors in work.items():
        units = sum(op_class in alu.classes for alu in config.alus)
        if units:
            turns = config.special_turns if op_class is OpClass.SPECIAL else 1
            bounds[f"VXM {op_class}"] = _ceil(vectors * turns, units)
    return bounds


def _needs_no_work(op: Op) -> bool:
    """What a clever placement does for nothing, or may."""
    return isinstance(op, Reshape | Rearrange | ConstantTensor)


def _streams(tensor: Tensor) -> int:
    """Streams, and so SRAM words, that one vector of a tensor takes."""
    return GROUP if tensor.dtype in ("int32", "float32") else 1


def _multiplied(op: Op) -> int:
    """How many of the operands go to the MXM, and not to the VXM."""
    match op:
        case MatMul():
            return 1
        case Product():
            return 2
        case _:
            return 0


def _operations(op: Op) -> list[OpClass]:
    """The VXM operations that one vector of an operation's output goes through, on its longest path."""
    match op:
        case MatMul():
            return _finish(op) or [OpClass.INT] * (op.bias is not None)
        case Product():
            return _finish(op)
        case Unary():
            return _requantise(op.requant)
        case Add():
            return [OpClass.I2F, OpClass.FMUL, OpClass.FADD, *_requantise(op.requant)[1:]]
        case Mul():
            return [OpClass.I2F, OpClass.FMUL, *_requantise(op.requant)[1:]]
        case Pointwise():
            return _steps(op.steps) + ([] if op.requant is None else _requantise(op.requant)[1:])
        case Reduce() | Reshape() | Rearrange() | Lookup() | ConstantTensor():
            return []


def _finish(op: MatMul | Product) -> list[OpClass]:
    tail = [] if op.requant is None else _requantise(op.requant)
    return [OpClass.I2F, *_steps(op.steps), *tail[1:]] if op.steps else tail


def _steps(steps: Sequence[FloatStep]) -> list[OpClass]:
    classes = [BY_MNEMONIC[step.function].op_class for step in steps]
    return [op_class for op_class in classes if op_class is not None]


def _requantise(requant: Requantise) -> list[OpClass]:
    middle = [OpClass.FMUL] * len(requant.multipliers) + [OpClass.FADD] * (requant.offset is not None)
    return [OpClass.I2F, *middle, OpClass.F2I]


@dataclass(frozen=True)
class _Path:
    """The way of one operand to the result: `rows` that the MXM sums one after the other (0: past the MXM), then
    operations of the VXM."""

    operand: str
    rows: int
    operations: list[OpClass]


def _chain(graph: Graph, config: ChipConfig) -> int:
    done = {port.tensor: 0 for port in graph.inputs}
    computed: set[str] = set()
    for op in graph.ops:
        if _needs_no_work(op):
            done[op.output] = max((done[name] for name in operands(op)), default=0)
        else:
            done[op.output] = max(
                done[path.operand] + _latency(path, config, path.operand in computed)
                for path in _paths(op, graph, config)
            )
            computed.add(op.output)
    return max(done[port.tensor] for port in graph.outputs)


def _paths(op: Op, graph: Graph, config: ChipConfig) -> list[_Path]:
    match op:
        case MatMul():
            columns = np.sum([_used_tiles(weights, config.lanes).sum(axis=0) for weights in op.weights], axis=0)
            sources = [_Path(op.input, max(1, int(columns.max())), _operations(op))]
        case Product():
            rows = _ceil(graph.tensor(op.lhs).lanes, config.lanes)
            sources = [_Path(op.lhs, rows, _operations(op)), _Path(op.rhs, rows, _operations(op))]
        case Add():
            after = [OpClass.I2F, OpClass.FMUL, OpClass.FADD, *_requantise(op.requant)[1:]]
            return [_Path(op.lhs, 0, _operations(op)), _Path(op.rhs, 0, after)]
        case Mul():
            after = [OpClass.I2F, OpClass.FMUL, *_requantise(op.requant)[1:]]
            return [_Path(op.lhs, 0, _operations(op)), _Path(op.rhs, 0, after)]
        case Pointwise():
            sources = [_Path(op.input, 0, _operations(op))]
        case _:
            return [_Path(name, 0, _operations(op)) for name in operands(op)]
    tail = [] if op.requant is None else _requantise(op.requant)[1:]
    # The operand of a step is wanted when that step comes, and not before.
    later = [
        _Path(step.operand, 0, _steps(op.steps[i:]) + tail)
        for i, step in enumerate(op.steps)
        if isinstance(step.operand, str)
    ]
    return sources + later


def _latency(path: _Path, config: ChipConfig, computed: bool) -> int:
    """From a row in SRAM to the row computed from it in SRAM, past the nearest slices. A `computed` row may have gone
    from the VXM to the MXM while it was written to SRAM."""
    places, table = geometry(config), timing(config)

    def row(mnemonic: str, kind: QueueKind) -> tuple[int, int, int]:
        latency = table.latency(BY_MNEMONIC[mnemonic], places.of_kind(kind)[-1])
        return latency.skew or 0, latency.func or 0, latency.state or 0

    read_skew, read_func, _ = row("read", QueueKind.MEM_READ)
    write_skew, _, write_state = row("write", QueueKind.MEM_WRITE)
    to_write = 1 + write_state - write_skew  # the nearest slice is one hop from the VXM
    cycles = read_func - read_skew + to_write
    if path.rows:
        abc_skew, _, abc_state = row("abc", QueueKind.MXM_ACTS)
        acc_skew, acc_func, _ = row("acc_set_out", QueueKind.MXM_ACCS)
        planes = config.mxm_planes * config.hemispheres
        through = (abc_state - abc_skew) + (acc_func - acc_skew)
        cycles += through + config.mem_hops + 2 + _ceil(path.rows, planes) - 1
        if computed:
            # On from the slice nearest to the VXM, without the write and the read that are counted.
            cycles += config.mem_hops + 1 - (write_state - write_skew) - (read_func - read_skew)
        else:
            cycles += 2  # from the outermost slices
    else:
        cycles += 1
    depths = list(zip(table.alu_depth, config.alus, strict=True))
    stages = [min((depth for depth, alu in depths if c in alu.classes), default=1) for c in path.operations]
    cycles += sum(stages) or min(table.alu_depth)
    return cycles + 1  # from the last ALU's result register to the stream


def _used_tiles(weights: Int8Array, lanes: int) -> npt.NDArray[np.bool_]:
    """Which tiles of a matrix are not all zeros, (rows of tiles, columns of tiles)."""
    tall, broad = (_ceil(size, lanes) for size in weights.shape)
    padded = np.zeros((tall * lanes, broad * lanes), np.bool_)
    padded[: weights.shape[0], : weights.shape[1]] = weights != 0
    return np.asarray(np.logical_or.reduce(padded.reshape(tall, lanes, broad, lanes), axis=(1, 3)))
