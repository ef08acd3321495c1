# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""How the codes that products begin with come out of the norms of a Llama.

The sum over all lanes that a norm needs takes longer than all else between two products, and it is for a single factor.
So where that pays the codes are *ahead* of the norm: those of a vector over the rms of another, the one that the norm
before has met. How much its own rms differs from that, the *ratio*, is found while weights stream, and meets what the
product leaves. Elsewhere they are *behind* it. (`docs/decisions/0033-codes-ahead-of-the-norm.md`)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from openlpu.arch.config import ChipConfig
from openlpu.compiler.kernels import BufferOperand, Immediate, Operand, Step
from openlpu.llm.quantise import LlamaNorm
from openlpu.llm.token_writer import TokenWriter

__all__ = ["CodesAhead", "CodesBehind", "Norms", "ahead_pays"]

_FEW_ROWS = 8
"""Of squares, that the MXM sums sooner than the VXM adds any up."""


def ahead_pays(config: ChipConfig) -> bool:
    """Whether a chip can do all else of a norm while weights stream. Where every slice feeds them, it cannot."""
    return config.mem_slices > config.mxm_planes * config.weight_streams


class Norms(ABC):
    """The norms of a network, one after the other, of so many `vectors` at a time.

    Of each norm its factor is 1 / root of the sum of the `squares` of a vector, times `factor_unit`.
    """

    def __init__(self, writer: TokenWriter, vectors: int) -> None:
        self.writer, self.vectors = writer, vectors

    def for_each(self, name: str) -> BufferOperand:
        """A buffer of a row for each vector, met by rows of all of them in turn."""
        return BufferOperand(name, row_step=0 if self.vectors == 1 else 1)

    @abstractmethod
    def scale(self, norm: LlamaNorm) -> float:
        """Of the codes of a vector in front of a norm."""

    @abstractmethod
    def codes_unit(self, name: str, norm: LlamaNorm, factor: BufferOperand) -> Operand:
        """What a vector in front of a norm is multiplied with for its codes, before `factor_unit` of the same norm.

        `factor` is where that of the norm is to be.
        """

    @abstractmethod
    def factor_unit(self, name: str, norm: LlamaNorm) -> Operand:
        """What makes the factor of a norm of the root of its squares."""

    @abstractmethod
    def square_parts(self, rows: int) -> int:
        """In how many parts a vector of so many rows comes, whose squares the VXM adds up before the MXM sums them."""

    @property
    @abstractmethod
    def left_behind(self) -> tuple[str, ...]:
        """The buffers that norms to come need of those before."""

    @abstractmethod
    def ratio(self, factor: BufferOperand) -> list[Step]:
        """What makes products with codes those with the norm, whose factor this is."""


class CodesBehind(Norms):
    """The factor of a norm makes codes of its vector."""

    def scale(self, norm: LlamaNorm) -> float:
        """That of the norm's output."""
        return norm.output

    def codes_unit(self, name: str, norm: LlamaNorm, factor: BufferOperand) -> Operand:
        """The factor."""
        return factor

    def factor_unit(self, name: str, norm: LlamaNorm) -> Operand:
        """From the root of squares to 1 / rms, in codes."""
        return Immediate.of_float(self.writer.root_unit(norm) / norm.output)

    def square_parts(self, rows: int) -> int:
        """One: the next product waits for the sum, and to add takes longer than to multiply."""
        return 1

    @property
    def left_behind(self) -> tuple[str, ...]:
        """None."""
        return ()

    def ratio(self, factor: BufferOperand) -> list[Step]:
        """Nothing."""
        return []


class CodesAhead(Norms):
    """1 / rms of the vector that the norm before has met makes codes of the next; the factor of a norm is its ratio."""

    def __init__(self, writer: TokenWriter, vectors: int) -> None:
        super().__init__(writer, vectors)
        self._normalised: BufferOperand | None = None
        """1 / rms of the vectors that the norm before has met, in every lane; None in front of the first."""
        self._last_ratio: BufferOperand | None = None
        """Of the last norm, as long as no codes have asked for its 1 / rms."""

    def scale(self, norm: LlamaNorm) -> float:
        """That of a vector over the rms of the one before."""
        return norm.ahead

    def codes_unit(self, name: str, norm: LlamaNorm, factor: BufferOperand) -> Operand:
        """1 / rms of the norm before, in codes: from now on that one is the last."""
        by_scale = Immediate.of_float(1 / norm.ahead)
        if self._normalised is None:
            self._normalised = self._last_ratio
        elif self._last_ratio is not None:
            self._normalised = self._one_each(f"{name}.before", self._last_ratio, [Step("fmul", self._normalised)])
        self._last_ratio = None
        if self._normalised is None:
            return by_scale
        return self._one_each(f"{name}.unit", self._normalised, [Step("fmul", by_scale)])

    def factor_unit(self, name: str, norm: LlamaNorm) -> Operand:
        """From the root of squares to 1 / rms, over that of the norm before."""
        root_unit = Immediate.of_float(self.writer.root_unit(norm))
        if self._normalised is None:
            return root_unit
        return self._one_each(f"{name}.inverse", self._normalised, [Step("recip"), Step("fmul", root_unit)])

    def square_parts(self, rows: int) -> int:
        """Up to three, of equally many rows, where there are many: the fewer a sum has, the fewer cycles it takes from
        the products that stream meanwhile."""
        return next(parts for parts in (3, 2, 1) if rows % parts == 0) if rows > _FEW_ROWS else 1

    @property
    def left_behind(self) -> tuple[str, ...]:
        """1 / rms of the norm before."""
        return () if self._normalised is None else (self._normalised.name,)

    def ratio(self, factor: BufferOperand) -> list[Step]:
        """A product with the factor, whose norm is now the last."""
        self._last_ratio = factor
        return [Step("fmul", factor)]

    def _one_each(self, name: str, source: BufferOperand, steps: Sequence[Step]) -> BufferOperand:
        return self.for_each(self.writer.made(name, source, steps, rows=self.vectors).name)
