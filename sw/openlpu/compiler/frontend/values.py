# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What the importer knows about an ONNX value.

A constant, a tensor on the chip seen as codes, as the floats they stand for or as the floats it holds, a float input
that waits for its QuantizeLinear, or a float expression over those. Expressions are computed as late as can be: the
QuantizeLinear that ends one may turn all of it into an integer operation (`openlpu.compiler.frontend.qdq`), and what
reads it otherwise has it computed in floats (`openlpu.compiler.frontend.compute`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from openlpu.compiler.exact import Quantisation
from openlpu.compiler.graph import INT8_MAX, INT8_MIN, Float32Array, Int32Array, OutsideType, Tensor


@dataclass(frozen=True, eq=False)
class Constant:
    """An initialiser, or something computed from initialisers alone."""

    array: NDArray[Any]


@dataclass(frozen=True, eq=False)
class DequantisedConstant:
    """Constant codes with their quantisation, whose arrays broadcast over the codes."""

    codes: NDArray[Any]
    scale: Float32Array
    zero_point: NDArray[Any]

    @property
    def centred(self) -> Int32Array:
        """The codes without their zero point."""
        return self.codes.astype(np.int32) - self.zero_point.astype(np.int32)

    @property
    def value(self) -> Float32Array:
        """The floats that the codes stand for."""
        return self.centred.astype(np.float32) * self.scale

    def transposed(self) -> "DequantisedConstant":
        """The transposed matrix."""
        return DequantisedConstant(self.codes.T, self.scale.T, self.zero_point.T)


@dataclass(frozen=True)
class Activation:
    """A tensor on the chip, seen as its int8, uint8 or int32 codes."""

    tensor: str


@dataclass(frozen=True)
class FloatInput:
    """A float input of the network, not yet quantised; `shape` after any reshapes."""

    port: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Dequantised:
    """A tensor on the chip, seen as floats."""

    tensor: str
    quantisation: Quantisation


@dataclass(frozen=True, eq=False)
class Expression:
    """A float operator that waits for what reads it."""

    node: NodeProto
    arguments: tuple["Value", ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Clipped(Expression):
    """A Relu or Clip of its one argument, to the closed range `bounds`."""

    bounds: tuple[float, float]


@dataclass(frozen=True)
class Computed:
    """A float32 tensor on the chip."""

    tensor: str


@dataclass(frozen=True, eq=False)
class Moved:
    """Elements of float values in another order, which waits for a QuantizeLinear that moves codes instead.

    `source`, of the value's shape, is that of `graph.Rearrange`: places in the flattened `parts`, one after the other.
    `passes` says that ONNX Runtime, too, moves the QuantizeLinear to the other side.
    """

    parts: tuple["Value", ...]
    source: NDArray[np.int64]
    passes: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the value."""
        return self.source.shape


@dataclass(frozen=True)
class Indices:
    """An input of indices, which only a Gather reads; `shape` as the model has it."""

    tensor: str
    shape: tuple[int, ...]


Value: TypeAlias = (
    Constant | DequantisedConstant | Activation | FloatInput | Dequantised | Expression | Computed | Moved | Indices
)
Arguments: TypeAlias = Sequence[Value | None]
"""The inputs of a node, in order; None for one left out."""


@dataclass(frozen=True)
class Result:
    """What an operation has to leave: the name, quantisation and outside type of an int8 tensor.

    `limits` are stored codes, the range to which Relu and Clip narrow the result. `quantisation` is what ONNX Runtime
    computes with, so its code type may differ from `outside`.
    """

    name: str
    quantisation: Quantisation
    outside: OutsideType
    limits: tuple[int, int] = (INT8_MIN, INT8_MAX)

    def tensor(self, shape: tuple[int, ...]) -> Tensor:
        """The tensor on the chip."""
        q = self.quantisation
        return Tensor(self.name, shape, "int8", self.outside, q.scale, q.stored_zero_point)
