# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The last pass of the import: chains that follow each other become one, and what nobody reads goes.

Nothing here changes a value but one pair of steps: a reciprocal of a reciprocal is left out, which is more exact.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from openlpu.compiler.frontend.moving import is_matrix_transpose, rows_read
from openlpu.compiler.graph import (
    FloatStep,
    MatMul,
    Op,
    Pointwise,
    Product,
    Rearrange,
    Reshape,
    Tensor,
    operands,
)

_COMMUTES = ("fadd", "fmul", "fmax", "fmin", "and", "or")


def tidy(ops: Sequence[Op], tensors: dict[str, Tensor], ports: Iterable[str]) -> list[Op]:
    """`ops` with chains and moves merged, without those that no port depends on; unused tensors leave `tensors`.

    `ports` are the tensors that the network takes or gives.
    """
    kept = set(ports)
    ops = _alive(ops, kept)
    reads = Counter(name for op in ops for name in operands(op))
    private = {name for name, count in reads.items() if count == 1} - kept
    makers: dict[str, Op] = {}
    for op in ops:
        makers[op.output] = _merged(op, makers, tensors, private)
    result = _alive(list(makers.values()), kept)
    for name in set(tensors) - kept - {op.output for op in result}:
        del tensors[name]
    return result


def _alive(ops: Sequence[Op], ports: set[str]) -> list[Op]:
    """The operations that a port depends on, in order."""
    needed = set(ports)
    alive: list[Op] = []
    for op in reversed(ops):
        if op.output in needed:
            needed.update(operands(op))
            alive.append(op)
    return alive[::-1]


def _merged(op: Op, makers: dict[str, Op], tensors: dict[str, Tensor], private: set[str]) -> Op:
    """`op`, or one that does the work of what computes its input as well; `private` are tensors read once."""
    match op:
        case Pointwise():
            return _merged_chain(_swapped(op, makers, tensors, private), makers, tensors, private)
        case Rearrange():
            return _merged_move(op, makers, tensors, private)
        case _:
            return op


def _merged_move(op: Rearrange, makers: dict[str, Op], tensors: dict[str, Tensor], private: set[str]) -> Op:
    """A move that does the work of the one before it; transposes of matrices stay alone, as the chip has them."""
    name = op.inputs[0]
    if len(op.inputs) > 1 or name not in private or is_matrix_transpose(op.source, tensors[name].lanes):
        return op
    match makers.get(name):
        case Reshape() as view:
            return _placed(replace(op, inputs=(view.input,)), tensors)
        case Rearrange() as first:
            if len(first.inputs) == 1 and is_matrix_transpose(first.source, tensors[first.inputs[0]].lanes):
                return op
            merged = replace(op, inputs=first.inputs, source=first.source.ravel()[op.source])
            # Two moves that each read few rows may be one that reads many.
            most = max(_rows_read(op, tensors), _rows_read(first, tensors))
            return _placed(merged, tensors) if _rows_read(merged, tensors) <= most else op
        case _:
            return op


def _rows_read(op: Rearrange, tensors: dict[str, Tensor]) -> int:
    parts = [tensors[name] for name in op.inputs]
    return rows_read(op.source, [(part.rows * part.lanes, part.lanes) for part in parts])


def _placed(op: Rearrange, tensors: dict[str, Tensor]) -> Op:
    """A Rearrange, or the view that it is."""
    source = tensors[op.inputs[0]]
    still = len(op.inputs) == 1 and np.array_equal(op.source.ravel(), np.arange(source.rows * source.lanes))
    return Reshape(op.output, op.inputs[0]) if still and op.source.shape[-1:] == source.shape[-1:] else op


def _merged_chain(op: Pointwise, makers: dict[str, Op], tensors: dict[str, Tensor], private: set[str]) -> Op:
    maker = makers.get(op.input)
    match maker:
        case Pointwise() if maker.requant is None and (op.input in private or _is_dequantisation(maker, tensors)):
            return replace(
                op,
                input=maker.input,
                input_zero_point=maker.input_zero_point,
                steps=_without_double_reciprocals((*maker.steps, *op.steps)),
            )
        case MatMul() | Product() if maker.requant is None and op.input in private and op.requant is None and op.steps:
            return replace(maker, output=op.output, steps=(*maker.steps, *op.steps))
        case _:
            return op


def _swapped(op: Pointwise, makers: dict[str, Op], tensors: dict[str, Tensor], private: set[str]) -> Pointwise:
    """A chain that starts with a sum or the like, from the operand that can be merged."""
    if not op.steps or op.steps[0].function not in _COMMUTES or tensors[op.input].dtype != "float32":
        return op
    other = op.steps[0].operand
    if not isinstance(other, str) or other == op.input or tensors[other].shape != tensors[op.output].shape:
        return op
    swapped = replace(op, input=other, steps=(FloatStep(op.steps[0].function, op.input), *op.steps[1:]))
    merges = _merged_chain(swapped, makers, tensors, private) is not swapped
    return swapped if merges and _merged_chain(op, makers, tensors, private) is op else op


def _is_dequantisation(maker: Pointwise, tensors: dict[str, Tensor]) -> bool:
    """Codes are read anew by every chain: they are a quarter of the bytes of the floats that they stand for."""
    return tensors[maker.input].dtype == "int8" and len(maker.steps) == 1 and maker.steps[0].function == "fmul"


def _without_double_reciprocals(steps: tuple[FloatStep, ...]) -> tuple[FloatStep, ...]:
    kept: list[FloatStep] = []
    for step in steps:
        if kept and step.function == kept[-1].function == "recip":
            kept.pop()
        else:
            kept.append(step)
    return tuple(kept)
