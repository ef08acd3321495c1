# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What every operation computes, in numpy, on any number of rows at once.

A *vector* is int8, a *word* is an int32 bit pattern (integer or fp32, as the operation reads it); both have one
element a lane. Operands are arrays [rows, lanes]; each row is one dispatch, and rows never meet. The VXM's arithmetic
is `openlpu.arch.numerics`; this module gives it its mnemonics.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openlpu.arch import numerics
from openlpu.arch.config import GROUP, ChipConfig
from openlpu.arch.isa import FieldKind, Instruction
from openlpu.arch.numerics import Words
from openlpu.arch.program import Vector


class Space(enum.Enum):
    """Where values live: one table each."""

    VECTOR = np.int8
    WORD = np.int32


@dataclass(frozen=True)
class Operation:
    """A function of `arity` arrays from one space; `parametric` ones take an int after them.

    The result is [rows, lanes] of the `result` space, or [GROUP, rows, lanes] for `split` and `transpose`.
    """

    source: Space
    result: Space
    arity: int
    apply: Callable[..., NDArray[Any]]
    parametric: bool = False


def extend(vector: Vector) -> Words:
    """Bytes sign-extended to words."""
    return vector.astype(np.int32)


def saturate(word: Words) -> Vector:
    """Words clamped to bytes."""
    return numerics.saturate_int8(word).astype(np.int8)


def join(*planes: Vector) -> Words:
    """The words of four byte planes, least significant first."""
    return np.ascontiguousarray(np.stack(planes, axis=-1)).view("<i4")[..., 0].astype(np.int32, copy=False)


def split(word: Words) -> Vector:
    """The four byte planes of words, [GROUP, rows, lanes], least significant first: the inverse of `join`."""
    planes = word.astype("<i4", copy=False).view(np.int8).reshape(*word.shape, GROUP)
    return np.ascontiguousarray(np.moveaxis(planes, -1, 0))


def multiply(activations: Vector, weights: NDArray[np.float32]) -> Words:
    """Exact int32 sums of `activations` [..., rows, lanes] and `weights` [..., lanes, lanes], integers of a byte each.

    Row i of the weights belongs to input i. In float32, at the speed of BLAS: no sum of up to 1024 products of bytes,
    nor any part of one, exceeds 2**24 in magnitude, and up to there float32 holds every integer.
    """
    return np.asarray(activations.astype(np.float32) @ weights).astype(np.int32)


def offsets(maps: Vector) -> NDArray[np.intp]:
    """The word of a table that each map [rows, lanes] picks: lane 0 plus 256 times lane 1, unsigned."""
    lowest = maps.view(np.uint8)[:, :2].astype(np.intp)
    return lowest[:, 0] + 256 * lowest[:, 1]


def share(config: ChipConfig, inst: Instruction) -> tuple[int, int]:
    """Which words of a table the window of a MEM instruction holds: of so many the one in that place."""
    return (config.weight_streams, inst.number("p")) if inst.spec.has(FieldKind.PLACE) else (1, 0)


def picked(maps: Vector, shares: NDArray[np.intp], words: int) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """By row, the word that a map [rows, lanes] picks in a window of so many, and whether its share [2, rows] of the
    table has what the map means."""
    found = offsets(maps)
    every, place = shares
    return found // every % words, found % every == place


def picked_word(config: ChipConfig, inst: Instruction, lane_map: Vector) -> int | None:
    """The word of its window that a MEM instruction takes with a map; None where that means another slice."""
    shares = np.array([share(config, inst)], np.intp).T
    (word,), (here,) = picked(lane_map[np.newaxis], shares, 1 << inst.number("n"))
    return int(word) if here else None


def shift(vector: Vector, n: int) -> Vector:
    """Lane i is lane i - n, or 0 where there is none."""
    lanes = vector.shape[-1]
    result = np.zeros_like(vector)
    if n >= 0:
        result[..., n:] = vector[..., : lanes - n]
    else:
        result[..., :n] = vector[..., -n:]
    return result


def rotate(vector: Vector, n: int) -> Vector:
    """Lane i is lane i - n, modulo lanes."""
    return np.roll(vector, n, axis=-1)


def select(vector: Vector, mask: Vector) -> Vector:
    """Lane i where the mask's lane i is not 0, and 0 elsewhere."""
    return np.where(mask != 0, vector, np.int8(0))


def transpose(*planes: Vector) -> Vector:
    """Lane 4 b + i of result j, [GROUP, rows, lanes], is lane 4 b + j of plane i, or 0 where there is none."""
    lanes = planes[0].shape[-1]
    blocks = np.pad(np.stack(planes), ((0, 0), (0, 0), (0, -lanes % GROUP))).reshape(GROUP, len(planes[0]), -1, GROUP)
    return np.ascontiguousarray(blocks.transpose(3, 1, 2, 0).reshape(GROUP, len(planes[0]), -1)[..., :lanes])


def permute(vector: Vector, lane_map: Vector) -> Vector:
    """Lane i is lane `lane_map[i]`, the map's bytes unsigned; 0 where that is no lane."""
    lanes = vector.shape[-1]
    source = lane_map.view(np.uint8).astype(np.intp)
    picked = np.take_along_axis(vector, np.minimum(source, lanes - 1), axis=-1)
    return np.where(source < lanes, picked, np.int8(0))


def distribute(vector: Vector, n: int) -> Vector:
    """Every lane is lane n."""
    return np.repeat(vector[..., n : n + 1], vector.shape[-1], axis=-1)


def _identity(word: Words) -> Words:
    return word


def _word(arity: int, apply: Callable[..., NDArray[Any]]) -> Operation:
    return Operation(Space.WORD, Space.WORD, arity, apply)


VXM: dict[str, Operation] = {
    "pass": _word(1, _identity),
    "iadd": _word(2, numerics.int32_add),
    "isub": _word(2, numerics.int32_sub),
    "imax": _word(2, numerics.int32_max),
    "imin": _word(2, numerics.int32_min),
    "ilt": _word(2, numerics.int32_lt),
    "ile": _word(2, numerics.int32_le),
    "ieq": _word(2, numerics.int32_eq),
    "and": _word(2, np.bitwise_and),
    "or": _word(2, np.bitwise_or),
    "xor": _word(2, np.bitwise_xor),
    "i2f": _word(2, numerics.int32_to_fp32),
    "f2i": _word(2, numerics.fp32_to_int32),
    "fadd": _word(2, numerics.fp32_add),
    "fsub": _word(2, numerics.fp32_sub),
    "fmax": _word(2, numerics.fp32_max),
    "fmin": _word(2, numerics.fp32_min),
    "flt": _word(2, numerics.fp32_lt),
    "fle": _word(2, numerics.fp32_le),
    "feq": _word(2, numerics.fp32_eq),
    "fmul": _word(2, numerics.fp32_mul),
    "imul": _word(2, numerics.int32_mul),
    "exp": _word(1, numerics.fp32_exp),
    "recip": _word(1, numerics.fp32_recip),
    "rsqrt": _word(1, numerics.fp32_rsqrt),
    "tanh": _word(1, numerics.fp32_tanh),
}
"""The ALUs' operations by mnemonic: every implemented one."""

SXM: dict[str, Operation] = {
    "shift": Operation(Space.VECTOR, Space.VECTOR, 1, shift, parametric=True),
    "rotate": Operation(Space.VECTOR, Space.VECTOR, 1, rotate, parametric=True),
    "select": Operation(Space.VECTOR, Space.VECTOR, 2, select),
    "transpose": Operation(Space.VECTOR, Space.VECTOR, GROUP, transpose),
    "permute": Operation(Space.VECTOR, Space.VECTOR, 2, permute),
    "distribute": Operation(Space.VECTOR, Space.VECTOR, 1, distribute, parametric=True),
}
"""The lane operations by mnemonic: every implemented one."""

OPERATIONS: dict[str, Operation] = {
    **VXM,
    **SXM,
    "extend": Operation(Space.VECTOR, Space.WORD, 1, extend),
    "saturate": Operation(Space.WORD, Space.VECTOR, 1, saturate),
    "join": Operation(Space.VECTOR, Space.WORD, GROUP, join),
    "split": Operation(Space.WORD, Space.VECTOR, 1, split),
}
"""All of the above, and the conversions between streams and words. `multiply` is apart: its weights are shared; so are
gather and scatter, which pick values rather than compute with them."""
