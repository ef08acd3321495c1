# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What the kernels of a Llama share, whether they make a token or read a prompt: its norms, its weights as rows of
heads, the tables of its angles, its caches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from openlpu.arch.config import ChipConfig
from openlpu.compiler.kernel_writer import patterns
from openlpu.compiler.kernels import BufferOperand, Factor
from openlpu.llm.float_model import rotations
from openlpu.llm.norms import CodesAhead, CodesBehind, ahead_pays
from openlpu.llm.quantise import QuantisedLayer, QuantisedLlama, QuantisedMatrix
from openlpu.llm.token_writer import TokenWriter

TABLE = 16
"""Rows of the table of small angles; larger ones are multiples of so many positions."""


class Projection(NamedTuple):
    """Weights (inputs, outputs), and the scale of each output."""

    codes: npt.NDArray[np.int8]
    scales: npt.NDArray[np.floating[Any]]


Heads = tuple[QuantisedMatrix, float, int]
"""Weights of heads, the scale of what they make, and how many heads."""


class LlamaWriter(TokenWriter):
    """Kernels so far, for positions 0 to `context` - 1, over states for `capacity` positions, or as many, and for so
    many `vectors` at a time.

    Raises:
        CompileError: when the network does not suit the chip.
    """

    def __init__(
        self, model: QuantisedLlama, context: int, config: ChipConfig, *, capacity: int = 0, vectors: int = 1
    ) -> None:
        shape = model.shape
        super().__init__(model.name, shape.hidden, shape.vocabulary, context, config, capacity=capacity)
        self.model, self.shape = model, shape
        self.head_rows = self.blocks(shape.head_size)
        self.norms = (CodesAhead if ahead_pays(config) else CodesBehind)(self, vectors)
        self.square_parts = self.norms.square_parts(self.blocks(shape.hidden))

    # Weights

    @property
    def turned_by_weights(self) -> bool:
        """Whether halves of a head change places in a product, since neither lanes nor rows can turn them."""
        size = self.shape.head_size
        return size != self.lanes and size % (2 * self.lanes) != 0

    def by_heads(
        self, matrix: QuantisedMatrix, scale: float, heads: int, *, turned: bool = False
    ) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
        """Weights (inputs, outputs) and scales with whole rows for every head, in units of `scale`; of turned ones the
        halves of a head have changed places."""
        size, width = self.shape.head_size, self.head_rows * self.lanes
        codes = np.zeros((matrix.codes.shape[1], heads, width), np.int8)
        codes[..., :size] = matrix.codes.T.reshape(-1, heads, size)
        scales = np.zeros((heads, width), np.float32)
        scales[:, :size] = matrix.scales.reshape(heads, size) / scale
        if turned:
            half = np.roll(np.arange(size), size // 2)
            codes[..., :size], scales[:, :size] = codes[..., half], scales[:, half]
        return codes.reshape(len(codes), -1), scales.reshape(-1)

    def projections(self, layer: QuantisedLayer, *, queries: bool = True) -> Projection:
        """Weights and scales by heads: queries, if they are wanted, and keys, both turned, too, if weights do that, and
        values."""
        rotated = self.rotated(layer, [*([self.queries(layer)] if queries else []), self.keys(layer)])
        values = self.values(layer)
        codes = np.concatenate([rotated.codes, values.codes], axis=1)
        return Projection(codes, np.concatenate([rotated.scales, values.scales]))

    def queries(self, layer: QuantisedLayer, heads: range | None = None) -> Heads:
        """What makes queries, of consecutive heads if not of all."""
        heads = heads or range(self.shape.heads)
        outputs = slice(heads.start * self.shape.head_size, heads.stop * self.shape.head_size)
        return QuantisedMatrix(layer.q.codes[outputs], layer.q.scales[outputs]), layer.query, len(heads)

    def keys(self, layer: QuantisedLayer) -> Heads:
        """What makes keys."""
        return layer.k, layer.key, self.shape.kv_heads

    def rotated(self, layer: QuantisedLayer, parts: Sequence[Heads]) -> Projection:
        """Weights and scales by heads of what rotary embedding is for, and the same turned, if weights do that."""
        blocks = [self.by_heads(*part) for part in parts]
        if self.turned_by_weights:
            blocks += [self.by_heads(*part, turned=True) for part in parts]
        codes, scales = zip(*blocks, strict=True)
        return Projection(
            np.concatenate(codes, axis=1), np.concatenate(scales) * self.norms.scale(layer.attention_norm)
        )

    def values(self, layer: QuantisedLayer) -> Projection:
        """Weights and scales by heads of values."""
        codes, scales = self.by_heads(layer.v, layer.value, self.shape.kv_heads)
        return Projection(codes, scales * self.norms.scale(layer.attention_norm))

    def output_by_heads(self, layer: QuantisedLayer) -> npt.NDArray[np.int8]:
        """The weights behind attention (inputs, outputs), with whole rows for every head."""
        heads, size, width = self.shape.heads, self.shape.head_size, self.head_rows * self.lanes
        codes = np.zeros((heads * width, self.shape.hidden), np.int8)
        codes.reshape(heads, width, -1)[:, :size] = layer.o.codes.T.reshape(heads, size, -1)
        return codes

    def cached(self, name: str, *, transposed: bool = False) -> Factor:
        """Of a cache the rows of all positions of the context."""
        return Factor(name, transposed, None if self.capacity == self.context else self.context)

    def angle_tables(self) -> None:
        """Cosines and sines of small angles, and of multiples of `TABLE` positions. Those of any position are those of
        the sum of two."""
        cosine, sine = rotations(self.shape, self.capacity)
        sign = np.where(np.arange(self.shape.head_size) < self.shape.head_size // 2, -1.0, 1.0)
        multiples = range(0, self.capacity, TABLE)
        tables = {
            "cosine.high": np.tile(cosine[multiples], 2),
            "sine.high": np.tile(sine[multiples], 2) * sign,
            "cosine.low": np.tile(cosine[:TABLE], 2),
            "sine.low": np.tile(sine[:TABLE], 2) * sign,
        }
        for name, table in tables.items():
            whole = np.zeros((len(table), self.head_rows * self.lanes))
            whole[:, : self.shape.head_size] = table
            self.constant(name, patterns(whole))

    def table_index(self, name: str, word: str, position: BufferOperand) -> None:
        """The row of a position in the tables of multiples."""
        self.index(name, self.as_index(word, position, 0.5 - TABLE / 2, 1 / TABLE))
