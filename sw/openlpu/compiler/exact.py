# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Constants that make the chip's elementwise arithmetic equal to ONNX Runtime's, proved over every input.

ONNX Runtime divides by scales and, in QLinearAdd on x86-64, uses fused multiply-adds; the chip does neither. But an
elementwise operation on int8 has only 256 operands (65,536 pairs for two), so equality can be had by search: start
from the constants a mathematician would take, move them by a few units in the last place, and accept the first that
give ONNX Runtime's code for *every* operand. When none does (it takes scales in ratios of small whole numbers, where
many sums fall next to a rounding tie), the answer is None and the model is refused: nearly equal is not equal.

The formulas (float32 throughout, `fl` a rounding, `r` = scale / output scale):

    QLinearAdd   round(fma(a, ra, fma(b, rb, F))),  F = fl(zy - fma(ra, za, fl(rb * zb))); a is the first operand, or
                 the second when the first is a single number. The fused multiply-adds, even the one in F, are those
                 of the compiled kernel; the source spells only some of them
    QLinearMul   round(fl(fl((a - za) * (b - zb) * m) + zy)),  m = fl(fl(sa * sb) / sy): the chip's own chain
    not fused    DequantizeLinear fl((q - z) * s), the float operator, then round(fl(v / sy)) + zy
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openlpu.compiler.graph import (
    INT8_MAX,
    INT8_MIN,
    UINT8_SHIFT,
    Add,
    Float32Array,
    Int8Array,
    Int32Array,
    Mul,
    Requantise,
)
from openlpu.compiler.reference import add_activations, multiply_activations, requantise

STORED: Int8Array = np.arange(INT8_MIN, INT8_MAX + 1, dtype=np.int8)
"""Every stored value, in order: the operands over which equality is proved."""

_TIE_MARGIN = 1e-3
"""Distance from a rounding tie under which a pair is tried first; float32 sums below 512 err by less than 2**-13."""


@dataclass(frozen=True)
class Quantisation:
    """Scale and zero point of one operand as ONNX Runtime computes with them: codes are stored values + `shift`.

    The code type matters, for QLinearAdd and QLinearMul round sums that contain the zero point.
    """

    scale: np.float32
    zero_point: int
    shift: int

    def unsigned(self) -> "Quantisation":
        """The same meaning with uint8 codes."""
        return replace(self, zero_point=self.stored_zero_point + UINT8_SHIFT, shift=UINT8_SHIFT)

    @property
    def stored_zero_point(self) -> int:
        """Zero point of the stored int8 values."""
        return self.zero_point - self.shift


def fused_multiply_add(a: ArrayLike, b: ArrayLike, c: ArrayLike) -> Float32Array:
    """`a * b + c` of float32 values, rounded once."""
    term = np.asarray(c, np.float64)
    exact_product = np.asarray(a, np.float64) * np.asarray(b, np.float64)
    total = exact_product + term
    recovered = total - exact_product
    error = (exact_product - (total - recovered)) + (term - recovered)
    # Rounding to odd in float64 keeps the second rounding, to float32, from rounding a tie that was none.
    inexact_even = (error != 0) & (total.view(np.int64) & 1 == 0)
    towards = np.where((error > 0), np.inf, -np.inf)
    return np.where(inexact_even, np.nextafter(total, towards), total).astype(np.float32)


def qlinear_add(a: Int32Array, qa: Quantisation, b: Int32Array, qb: Quantisation, qy: Quantisation) -> Float32Array:
    """The value that QLinearAdd rounds, for operand codes as ONNX Runtime has them."""
    ra, rb, fixed = add_constants(qa, qb, qy)
    inner = fused_multiply_add(b.astype(np.float32), rb, fixed)
    return fused_multiply_add(a.astype(np.float32), ra, inner)


def add_constants(qa: Quantisation, qb: Quantisation, qy: Quantisation) -> tuple[np.float32, np.float32, np.float32]:
    """The two ratios and the constant part of QLinearAdd."""
    ra, rb = qa.scale / qy.scale, qb.scale / qy.scale
    zeros = fused_multiply_add(ra, np.float32(qa.zero_point), rb * np.float32(qb.zero_point))
    return ra, rb, np.float32(qy.zero_point) - np.float32(zeros)


def stored_codes(values: Float32Array, qy: Quantisation, lo: int, hi: int) -> Int32Array:
    """Round what a QLinear operator rounds (zero point included) to stored codes between `lo` and `hi`."""
    codes = np.rint(np.clip(values, -1e6, 1e6)).astype(np.int32) - qy.shift
    return np.asarray(np.clip(codes, lo, hi))


def find_unary(table: Int32Array, input_zero_point: int, seeds: Sequence[Requantise]) -> Requantise | None:
    """The first requantisation, from `seeds` and their neighbours, that gives `table`, or None.

    `table` is int32 (256, lanes): the stored result for each stored operand, in order. Each lane is searched on its
    own; a seed whose neighbours serve some lanes only is given up.
    """
    acc = STORED.astype(np.int32)[:, None] - np.int32(input_zero_point)
    lanes = table.shape[1]
    for seed in seeds:
        multiplier = np.broadcast_to(seed.multipliers[-1], (lanes,)).copy()
        offset = None if seed.offset is None else np.broadcast_to(seed.offset, (lanes,)).copy()
        open_lanes = np.arange(lanes)
        for m_step, o_step in _nudges(1 if offset is None else 2):
            tried = _restrict(seed, open_lanes, _nudge(multiplier, m_step), offset, o_step)
            wrong = (requantise(np.broadcast_to(acc, (256, open_lanes.size)), tried) != table[:, open_lanes]).any(
                axis=0
            )
            solved = open_lanes[~wrong]
            multiplier[solved] = _nudge(multiplier[solved], m_step)
            if offset is not None:
                offset[solved] = _nudge(offset[solved], o_step)
            open_lanes = open_lanes[wrong]
            if open_lanes.size == 0:
                multipliers = (*seed.multipliers[:-1], _collapse(multiplier))
                return replace(seed, multipliers=multipliers, offset=None if offset is None else _collapse(offset))
    return None


def find_add(op: Add, table: Int32Array, values: Float32Array) -> Add | None:
    """`op`, or a neighbour of it, that gives `table` for every pair of stored operands, or None.

    `table` is int32 (256, 256), indexed by the stored left and right operand; `values` are the sums before rounding,
    by which the pairs next to a tie are tried first.
    """
    distance = np.abs(np.abs(values - np.floor(values)) - 0.5)
    left, right = np.nonzero(distance < _TIE_MARGIN)
    for l_step, r_step, o_step in _nudges(3 if op.offset is not None else 2, arity=3):
        tried = replace(
            op,
            lhs_multiplier=np.float32(_nudge(op.lhs_multiplier, l_step)),
            rhs_multiplier=np.float32(_nudge(op.rhs_multiplier, r_step)),
            offset=None if op.offset is None else np.float32(_nudge(op.offset, o_step)),
        )
        if np.array_equal(add_activations(tried, STORED[left], STORED[right]), table[left, right]) and np.array_equal(
            add_activations(tried, STORED[:, None], STORED[None, :]), table
        ):
            return tried
    return None


def find_mul(op: Mul, table: Int32Array) -> Mul | None:
    """`op`, or a neighbour of it, that gives `table` for every pair of stored operands, or None."""
    for (step,) in _nudges(1, arity=1):
        multiplier = _nudge(op.requant.multipliers[0], step)
        tried = replace(op, requant=replace(op.requant, multipliers=(multiplier,)))
        if np.array_equal(multiply_activations(tried, STORED[:, None], STORED[None, :]), table):
            return tried
    return None


def find_reciprocal(scale: np.float32, zero_point: int) -> np.float32 | None:
    """A factor that quantises every float32 number to the code that dividing by `scale` gives, or None.

    Both round monotonely, so it is enough to compare them on either side of each tie. The saturated codes are those
    of `zero_point`, a stored one.
    """
    ties = np.arange(INT8_MIN, INT8_MAX + 1).astype(np.float32) - np.float32(zero_point) + np.float32(0.5)
    values = ((ties * scale)[:, None].view(np.int32) + np.arange(-4, 5, dtype=np.int32)).view(np.float32)
    codes = np.rint(values / scale)
    for (step,) in _nudges(1, arity=1):
        factor = np.float32(_nudge(np.float32(1) / scale, step))
        if np.array_equal(np.rint(values * factor), codes):
            return factor
    return None


def _nudges(free: int, arity: int = 2) -> Iterator[tuple[int, ...]]:
    """Steps in the last place for `arity` constants of which the first `free` may move, nearest first."""
    reach = {1: 8, 2: 5, 3: 3}[free]
    steps = product(*[range(-reach, reach + 1) if i < free else (0,) for i in range(arity)])
    return iter(sorted(steps, key=lambda step: (sum(abs(s) for s in step), step)))


def _nudge(value: Float32Array | np.float32, steps: int) -> Float32Array:
    """`value` moved by units in the last place, away from zero when `steps` is positive; a zero stays."""
    array = np.atleast_1d(np.asarray(value, np.float32))
    moved = (array.view(np.int32) + np.int32(steps)).view(np.float32)
    return np.where(array == 0, array, moved).reshape(np.shape(value))


def _restrict(
    seed: Requantise, lanes: NDArray[np.intp], multiplier: Float32Array, offset: Float32Array | None, step: int
) -> Requantise:
    """`seed` on some of its lanes, with the last multiplier and the offset replaced."""
    fixed = tuple(m if m.ndim == 0 else m[lanes] for m in seed.multipliers[:-1])
    moved = None if offset is None else _nudge(offset[lanes], step)
    return replace(seed, multipliers=(*fixed, multiplier[lanes]), offset=moved)


def _collapse(array: Float32Array) -> Float32Array:
    """One number instead of a vector of equal ones: it costs the chip no memory."""
    return np.asarray(array[0]) if bool((array == array[0]).all()) else array
