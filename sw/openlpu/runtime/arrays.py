# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Arrays outside of a chip, and what they are in its SRAM.

The host's only arithmetic is here: float32 to int8 and back, as ONNX QuantizeLinear and DequantizeLinear do it, in
float32, and uint8 moved by 128.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openlpu.arch.program import Port, Vector
from openlpu.runtime.errors import InputError

STORED: dict[str, type[np.int8] | type[np.int32]] = {
    "int8": np.int8,
    "int32": np.int32,
    "float32": np.int32,
    "index": np.int8,
}
"""What a port's elements are in SRAM."""
_UINT8_SHIFT = 128
"""What is subtracted from a uint8 value to hold it as int8."""


def to_chip(port: Port, values: NDArray[Any]) -> NDArray[Any]:
    """An input as the chip holds it: int8 (or int32, patterns of floats among them) [rows, cols].

    float32 that is int8 on the chip becomes saturate(round_half_even(x / scale) + zero_point), a NaN the lowest code,
    as in ONNX Runtime. Negative indices count from the end.

    Raises:
        InputError: when the array is not of the port's type and shape, or an index points nowhere.
    """
    array = np.asarray(values)
    if array.dtype != np.dtype(port.dtype) or array.shape != port.shape:
        raise InputError(
            f"input '{port.name}' is {port.dtype}{list(port.shape)}, but {array.dtype}{list(array.shape)} was given"
        )
    match port.dtype, port.stored:
        case _, "index":
            stored = _index_bytes(port, array)
        case "float32", "float32":
            stored = array.view(np.int32)
        case "float32", _:
            limits = np.iinfo(STORED[port.stored])
            with np.errstate(over="ignore", invalid="ignore"):
                quotient = array / np.float32(port.scale)
            # In float64, where every bound of int32 is exact; fmax and fmin give a NaN to the bound.
            lowest, highest = limits.min - port.zero_point, limits.max - port.zero_point
            bounded = np.fmin(np.fmax(quotient.astype(np.float64), lowest), highest)
            stored = np.rint(bounded).astype(np.int64) + port.zero_point
        case "uint8", _:
            stored = array.astype(np.int64) - _UINT8_SHIFT
        case _:
            stored = array
    return stored.astype(STORED[port.stored]).reshape(port.rows, port.cols)


def _index_bytes(port: Port, array: NDArray[Any]) -> NDArray[Any]:
    """Low and high byte of each index."""
    wrong = array[(array < -port.entries) | (array >= port.entries)]
    if wrong.size:
        raise InputError(
            f"input '{port.name}' holds the index {wrong.flat[0]}, but there are {port.entries} rows to choose from"
        )
    chosen: NDArray[Any] = np.mod(array, port.entries).astype("<u2").reshape(-1, 1)
    return chosen.view(np.int8)


def from_chip(port: Port, stored: NDArray[Any]) -> NDArray[Any]:
    """An output as the host sees it, from int8 or int32 (patterns) [rows, cols]: of the port's type and shape."""
    match port.dtype, port.stored:
        case "float32", "float32":
            outside: NDArray[Any] = np.ascontiguousarray(stored).view(np.float32)
        case "float32", _:
            centred = (stored.astype(np.int64) - port.zero_point).astype(np.float32)
            outside = centred * np.float32(port.scale)
        case "uint8", _:
            outside = (stored.astype(np.int16) + _UINT8_SHIFT).astype(np.uint8)
        case _:
            outside = stored.astype(port.dtype)
    return outside.reshape(port.shape)


def image_runs(image: Mapping[tuple[int, int], Vector]) -> list[tuple[tuple[int, int], Vector]]:
    """An image as few blocks of consecutive words: (slice number, first address) and int8 [n, lanes], in order."""
    runs: list[tuple[tuple[int, int], list[Vector]]] = []
    for number, address in sorted(image):
        (previous, first), words = runs[-1] if runs else ((-1, 0), [])
        if (number, address) != (previous, first + len(words)):
            words = []
            runs.append(((number, address), words))
        words.append(image[number, address])
    return [(place, np.stack(words)) for place, words in runs]


def word_runs(words: Iterable[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Words of SRAM, by (slice number, address), as few blocks of consecutive ones: (slice, first address, count)."""
    runs: list[tuple[int, int, int]] = []
    for number, address in sorted(words):
        if runs and runs[-1][0] == number and sum(runs[-1][1:]) == address:
            runs[-1] = (*runs[-1][:2], runs[-1][2] + 1)
        else:
            runs.append((number, address, 1))
    return runs
