# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""How far a float operator can be from the exact result of the floats that it reads: the one table of it.

A bound is so many units in the last place (ulp, of float32) of a magnitude, plus some for every term of a sum. The
magnitude is the exact result where nothing cancels, and else the largest number that enters, which the table names. To
every bound come 2**-126, for results that float32 has no normal number for are zeros; and beyond the range of float32,
intermediate results that leave it do what IEEE-754 says of infinities.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_SMALLEST_NORMAL = 2.0**-126


@dataclass(frozen=True)
class FloatBound:
    """`ulp` + `per_term` * terms units in the last place of the magnitude that `of` describes.

    `of` is "result", or says which larger magnitude it is; `terms` says what is counted.
    """

    ulp: float
    of: str = "result"
    per_term: float = 0.0
    terms: str = ""

    def tolerance(self, exact: ArrayLike, largest: ArrayLike = 0.0, terms: ArrayLike = 0) -> NDArray[Any]:
        """The absolute error allowed for `exact` results.

        `largest` is the magnitude that `of` describes (results count anyway), `terms` what `per_term` is counted in.
        """
        magnitude = np.maximum(np.abs(np.asarray(exact, np.float64)), largest)
        exponent = np.floor(np.log2(np.maximum(magnitude, _SMALLEST_NORMAL)))
        return np.asarray((self.ulp + self.per_term * np.asarray(terms)) * 2.0 ** (exponent - 23) + _SMALLEST_NORMAL)


_ELEMENTS, _STEPS = "element of the row", "step"

FLOAT_BOUNDS: Mapping[str, FloatBound] = {
    "Abs": FloatBound(0),
    "Add": FloatBound(0.5),
    "Clip": FloatBound(0),
    "DequantizeLinear": FloatBound(0.5),
    "Div": FloatBound(3),
    "Erf": FloatBound(4, "1"),
    "Exp": FloatBound(1),
    # exp multiplies the rounding of its argument by that argument.
    "Gelu": FloatBound(8, per_term=2, terms="x * x"),
    "Gelu (tanh)": FloatBound(8, per_term=4, terms="x * x + |x * x * x| / 8"),
    "HardSigmoid": FloatBound(1.5, "alpha * x, or beta"),
    "HardSwish": FloatBound(2.5, "x * x / 6, or x"),
    # It holds where the recurrence does not amplify errors; nothing bounds them where it does.
    "LSTM": FloatBound(2, "1, |c| or the sum of a row of |R|", per_term=1, terms=_STEPS),
    "LayerNormalization": FloatBound(8, "largest |x| of the row, times what multiplies it, or bias", 2, _ELEMENTS),
    "LeakyRelu": FloatBound(0.5),
    "MatMul": FloatBound(2, "sum of a row of products, or bias"),
    "Max": FloatBound(0),
    "Min": FloatBound(0),
    "Mul": FloatBound(0.5),
    "Neg": FloatBound(0),
    "Pow": FloatBound(2.5),
    "RMSNormalization": FloatBound(6, per_term=1, terms=_ELEMENTS),
    "Reciprocal": FloatBound(1),
    "ReduceMax": FloatBound(0),
    "ReduceMean": FloatBound(2, "sum of magnitudes, over their number", 1, _ELEMENTS),
    "ReduceMin": FloatBound(0),
    "ReduceSum": FloatBound(0, "sum of magnitudes", 1, _ELEMENTS),
    "Relu": FloatBound(0),
    "Sigmoid": FloatBound(4),
    "Softmax": FloatBound(6, "largest result of the row", 1, _ELEMENTS),
    "Sqrt": FloatBound(3),
    "Sub": FloatBound(0.5),
    "Tanh": FloatBound(1.5),
}
"""By ONNX operator. Sums may be taken in any order."""
