# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Models that are known by name, and what others have published of systems that run them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from openlpu.compiler.errors import CompileError
from openlpu.llm.checkpoint import LlamaShape, read_shape


@dataclass(frozen=True)
class Published:
    """What is said of a system of GroqChips, generation 1, at a clock of 900 MHz."""

    tokens_per_second: float
    """Of one sequence, as a user sees them."""
    chips: int | None
    """None where that is not said."""
    source: str


def _llama(
    hidden: int, layers: int, heads: int, kv_heads: int, ffn: int, vocabulary: int, context: int, *, tied: bool = False
) -> LlamaShape:
    return LlamaShape.of_sizes(
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_size=hidden // heads,
        ffn=ffn,
        vocabulary=vocabulary,
        context=context,
        tied=tied,
    )


MODELS: Mapping[str, LlamaShape] = {
    "smollm2-135m": _llama(576, 30, 9, 3, 1536, 49_152, 8192, tied=True),
    "tinyllama-1.1b": _llama(2048, 22, 32, 4, 5632, 32_000, 2048),
    "llama2-7b": _llama(4096, 32, 32, 32, 11_008, 32_000, 4096),
    "llama2-13b": _llama(5120, 40, 40, 40, 13_824, 32_000, 4096),
    "llama2-70b": _llama(8192, 80, 64, 8, 28_672, 32_000, 4096),
}
"""As their `config.json` has them."""

PUBLISHED: Mapping[str, Published] = {
    "llama2-7b": Published(750, None, "TechPowerUp"),
    "llama2-70b": Published(300, 576, "TechPowerUp, The Next Platform"),
}


@dataclass(frozen=True)
class Model:
    """A Llama by name."""

    name: str
    shape: LlamaShape
    published: Published | None = None

    @property
    def layer_parameters(self) -> int:
        """Weights of the matrices of a layer."""
        shape = self.shape
        heads = 2 * (shape.heads + shape.kv_heads) * shape.head_size
        return shape.hidden * (heads + 3 * shape.ffn)


def find_model(name: str) -> Model:
    """A model that is known by its name, or one that a directory with a `config.json` describes.

    Raises:
        CompileError: when it is neither, or the file describes no Llama.
    """
    if name in MODELS:
        return Model(name, MODELS[name], PUBLISHED.get(name))
    directory = Path(name)
    if directory.is_dir():
        return Model(directory.resolve().name, read_shape(directory))
    raise CompileError(f"no model '{name}': use one of {', '.join(MODELS)}, or a directory with a config.json")
