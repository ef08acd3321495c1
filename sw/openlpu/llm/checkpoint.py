# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A Llama as Hugging Face stores it: a directory with `config.json`, `*.safetensors` and `tokenizer.json`.

Grouped or multi-query attention, tied or untied embeddings and every size are read. What a config asks for and OpenLPU
does not compute is refused, never passed over: a network that runs is the network that was trained.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize
from tokenizers import Tokenizer

from openlpu.compiler.errors import CompileError
from openlpu.compiler.graph import Float32Array


class CheckpointError(CompileError):
    """A directory that is no Llama that OpenLPU runs.

    `problems` holds one line for each thing that stands in the way, so that a user sees everything at once.
    """

    def __init__(self, directory: Path, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        if len(self.problems) == 1:
            super().__init__(f"{directory}: {self.problems[0]}")
        else:
            listing = "".join(f"\n  - {problem};" for problem in self.problems).removesuffix(";")
            super().__init__(f"{directory}: {len(self.problems)} problems:{listing}")


@dataclass(frozen=True)
class LlamaShape:
    """The sizes and constants of a Llama; `heads` is a multiple of `kv_heads`, and `head_size` even."""

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    ffn: int
    rope_theta: float
    norm_epsilon: float
    tied: bool
    """Whether the output matrix is the embedding."""
    context: int
    """The most tokens that it was made for."""
    eos: tuple[int, ...]
    """Tokens that end a text."""
    bos: int | None
    """The token that begins a text."""

    @classmethod
    def of_sizes(
        cls,
        *,
        hidden: int,
        layers: int,
        heads: int,
        kv_heads: int,
        head_size: int,
        ffn: int,
        vocabulary: int,
        context: int,
        tied: bool = False,
    ) -> Self:
        """A shape for what depends on sizes alone; the rest is as in Llama 2, and there are no special tokens."""
        return cls(
            hidden=hidden,
            layers=layers,
            heads=heads,
            kv_heads=kv_heads,
            head_size=head_size,
            ffn=ffn,
            vocabulary=vocabulary,
            context=context,
            tied=tied,
            rope_theta=10_000.0,
            norm_epsilon=1e-5,
            eos=(),
            bos=None,
        )

    @property
    def group(self) -> int:
        """How many heads share a head of keys and values: head `h` uses keys and values `h // group`."""
        return self.heads // self.kv_heads


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """One layer. Matrices are (outputs, inputs), heads one after the other; norms are vectors of `hidden` gains."""

    attention_norm: Float32Array
    q: Float32Array
    k: Float32Array
    v: Float32Array
    o: Float32Array
    ffn_norm: Float32Array
    gate: Float32Array
    up: Float32Array
    down: Float32Array


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A Llama: what it is, what it learnt, and what its tokens stand for. All weights are finite, and read-only."""

    name: str
    shape: LlamaShape
    embedding: Float32Array
    """(vocabulary, hidden)."""
    layers: tuple[LayerWeights, ...]
    final_norm: Float32Array
    output: Float32Array
    """(vocabulary, hidden): the embedding itself when they are tied."""
    tokenizer: Tokenizer

    @property
    def parameters(self) -> int:
        """How many numbers it has learnt; what two parts share counts once."""
        shared = self.embedding.size * (1 if self.shape.tied else 2) + self.final_norm.size
        return shared + sum(int(part.size) for layer in self.layers for part in vars(layer).values())


def load_checkpoint(directory: Path) -> Checkpoint:
    """Read a directory.

    Raises:
        CheckpointError: when files are missing, damaged or contradict each other, or the network is another than Llama;
            it names everything that could be found wrong.
    """
    if not directory.is_dir():
        raise CheckpointError(directory, ["not a directory: name one with config.json, *.safetensors, tokenizer.json"])
    problems: list[str] = []
    config = _json_object(directory / "config.json", problems)
    shape = None if config is None else _shape(config, problems)
    tensors = _tensors(directory, problems)
    tokenizer = _tokenizer(directory / "tokenizer.json", problems)
    if shape is not None and tensors is not None:
        problems += _tensor_problems(shape, tensors)
    if shape is not None and tokenizer is not None:
        problems += _token_problems(shape, tokenizer)
    if problems or shape is None or tensors is None or tokenizer is None:
        raise CheckpointError(directory, problems)
    embedding = tensors[_EMBEDDING]
    return Checkpoint(
        name=directory.resolve().name,
        shape=shape,
        embedding=embedding,
        layers=tuple(
            LayerWeights(**{role: tensors[_layer_tensor(layer, role)] for role in _LAYER_TENSORS})
            for layer in range(shape.layers)
        ),
        final_norm=tensors[_FINAL_NORM],
        output=embedding if shape.tied else tensors[_OUTPUT],
        tokenizer=tokenizer,
    )


def read_shape(directory: Path) -> LlamaShape:
    """The sizes of a Llama, as its `config.json` alone tells them. How angles are scaled makes no difference to them.

    Raises:
        CheckpointError: when the file is missing or damaged, or the network is another than Llama.
    """
    problems: list[str] = []
    config = _json_object(directory / "config.json", problems) or {}
    sizes = {field: value for field, value in config.items() if field not in _ROPE}
    shape = None if problems else _shape(sizes, problems)
    if problems or shape is None:
        raise CheckpointError(directory, problems)
    return shape


# --- config.json ---

_ROPE = ("rope_scaling", "rope_parameters")
"""Objects of a config that say all of rotary embedding: one thing has had two names."""

_FIXED: Mapping[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "rope_interleaved": False,
    "partial_rotary_factor": 1.0,
    "quantization_config": None,
}
"""What a config may say or leave out, but not say otherwise."""


def _json_object(path: Path, problems: list[str]) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        problems.append(f"{path.name} cannot be read: {error.strerror}")
        return None
    except ValueError as error:
        problems.append(f"{path.name} is not JSON: {error}")
        return None
    if not isinstance(content, dict):
        problems.append(f"{path.name} is not a JSON object")
        return None
    return content


def _shape(config: Mapping[str, Any], problems: list[str]) -> LlamaShape | None:
    """The shape, even of a network that is refused, as long as it can be told."""
    for field, value in _FIXED.items():
        if config.get(field) not in (None, value):
            problems.append(f"{field} {json.dumps(config[field])} is not supported, only {json.dumps(value)}")
    rope = _rope(config, problems)
    known = len(problems)

    def number(field: str, default: float | None = None, fields: Mapping[str, Any] = config) -> float:
        value = fields.get(field)
        value = default if value is None else value
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf:
            return value
        problems.append(f"config.json has {_what(field, value)}, but it must be a number above 0")
        return 1

    def size(field: str, default: int | None = None) -> int:
        value = number(field, default)
        if value != int(value):
            problems.append(f"config.json has {_what(field, value)}, but it must be a whole number")
        return max(int(value), 1)

    def flag(field: str) -> bool:
        value = config.get(field)
        if value is not None and not isinstance(value, bool):
            problems.append(f"config.json has {_what(field, value)}, but it must be true or false")
        return value is True

    def tokens(field: str) -> tuple[int, ...]:
        value = config.get(field)
        found = value if isinstance(value, list) else [] if value is None else [value]
        if not all(type(token) is int and token >= 0 for token in found):
            problems.append(f"config.json has {_what(field, value)}, but it must be a token")
        return tuple(found)

    hidden, heads = size("hidden_size"), size("num_attention_heads")
    bos = tokens("bos_token_id")
    shape = LlamaShape(
        vocabulary=size("vocab_size"),
        hidden=hidden,
        layers=size("num_hidden_layers"),
        heads=heads,
        kv_heads=size("num_key_value_heads", heads),
        head_size=size("head_dim", max(hidden // heads, 1)),
        ffn=size("intermediate_size"),
        rope_theta=float(number("rope_theta", 10000.0, rope)),
        norm_epsilon=float(number("rms_norm_eps", 1e-6)),
        tied=flag("tie_word_embeddings"),
        context=size("max_position_embeddings", 2048),
        eos=tokens("eos_token_id"),
        bos=bos[0] if bos else None,
    )
    if len(problems) > known:
        return None
    for token in (*shape.eos, *bos):
        if token >= shape.vocabulary:
            problems.append(f"config.json speaks of token {token}, but has a vocab_size of {shape.vocabulary}")
    if shape.heads % shape.kv_heads:
        problems.append(f"num_attention_heads {heads} is no multiple of num_key_value_heads {shape.kv_heads}")
    if config.get("head_dim") is None and hidden % heads:
        problems.append(f"hidden_size {hidden} is no multiple of num_attention_heads {heads}, and there is no head_dim")
    elif shape.head_size % 2:
        problems.append(f"head_dim {shape.head_size} is odd, but rotary embedding turns pairs")
    return shape if len(problems) == known else None


def _rope(config: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """All that a config says of rotary embedding: at its top, or in an object of its own."""
    rope = {"rope_theta": config.get("rope_theta")}
    for field in _ROPE:
        found = config.get(field) or {}
        if not isinstance(found, dict):
            problems.append(f"config.json has {_what(field, found)}, but it must be an object")
            continue
        kind = found.get("rope_type", found.get("type", "default"))
        if kind != "default":
            problems.append(f"{field} of type {json.dumps(kind)} is not supported, only none")
        if found.get("rope_theta") is not None:
            rope["rope_theta"] = found["rope_theta"]
    return rope


def _what(field: str, value: object) -> str:
    return f"no {field}" if value is None else f"{field} {json.dumps(value)}"


# --- Tensors ---

_EMBEDDING = "model.embed_tokens.weight"
_FINAL_NORM = "model.norm.weight"
_OUTPUT = "lm_head.weight"
_LAYER_TENSORS = {
    "attention_norm": "input_layernorm",
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}
"""The fields of `LayerWeights`, as Hugging Face calls them."""
_IGNORED = (".rotary_emb.inv_freq",)
"""Ends of the names of tensors that follow from the config, and were stored once."""


def _layer_tensor(layer: int, role: str) -> str:
    return f"model.layers.{layer}.{_LAYER_TENSORS[role]}.weight"


def _expected_tensors(shape: LlamaShape) -> dict[str, tuple[int, ...]]:
    q, kv = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    roles: dict[str, tuple[int, ...]] = {
        "attention_norm": (shape.hidden,),
        "q": (q, shape.hidden),
        "k": (kv, shape.hidden),
        "v": (kv, shape.hidden),
        "o": (shape.hidden, q),
        "ffn_norm": (shape.hidden,),
        "gate": (shape.ffn, shape.hidden),
        "up": (shape.ffn, shape.hidden),
        "down": (shape.hidden, shape.ffn),
    }
    expected: dict[str, tuple[int, ...]] = {_EMBEDDING: (shape.vocabulary, shape.hidden), _FINAL_NORM: (shape.hidden,)}
    if not shape.tied:
        expected[_OUTPUT] = (shape.vocabulary, shape.hidden)
    for layer in range(shape.layers):
        expected |= {_layer_tensor(layer, role): size for role, size in roles.items()}
    return expected


def _tensor_problems(shape: LlamaShape, tensors: Mapping[str, Float32Array]) -> list[str]:
    if shape.layers > len(tensors):  # most likely a slip of the pen; a list of what is missing might have no end
        return [f"config.json has num_hidden_layers {shape.layers}, but the weights are {len(tensors)} tensors in all"]
    problems = []
    expected = _expected_tensors(shape)
    if missing := [name for name in expected if name not in tensors]:
        problems.append(f"the weights lack {_listed(missing)}")
    # Tied checkpoints may hold their output matrix all the same; it is the embedding.
    known = {*expected, _OUTPUT}
    if unknown := [name for name in tensors if name not in known and not name.endswith(_IGNORED)]:
        problems.append(f"the weights hold {_listed(unknown)}, which no Llama of this config has")
    for name, tensor in tensors.items():
        if name not in expected:
            continue
        if tensor.shape != expected[name]:
            problems.append(
                f"{name} is {_dimensions(tensor.shape)}, but config.json makes it {_dimensions(expected[name])}"
            )
        if not np.isfinite(tensor).all():
            problems.append(f"{name} holds infinities or NaNs")
    return problems


def _tensors(directory: Path, problems: list[str]) -> dict[str, Float32Array] | None:
    """What all files of weights hold, or None when that cannot be told."""
    known = len(problems)
    tensors: dict[str, Float32Array] = {}
    for path in _weight_files(directory, problems):
        try:
            stored = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
        except OSError as error:
            problems.append(f"{path.name} cannot be read: {error.strerror}")
            continue
        except SafetensorError as error:
            problems.append(f"{path.name} is damaged, or no safetensors file: {error}")
            continue
        for name, tensor in stored:
            values = _float32(tensor["dtype"], tensor["data"])
            if values is None:
                problems.append(f"{name} is stored as {tensor['dtype']}: save it as F32, F16 or BF16")
                continue
            values.flags.writeable = False
            tensors[name] = values.reshape(tensor["shape"])
    return tensors if len(problems) == known else None


def _weight_files(directory: Path, problems: list[str]) -> list[Path]:
    """`model.safetensors`, else the files that the index lists, else the one file that is there."""
    single, index = directory / "model.safetensors", directory / "model.safetensors.index.json"
    if single.exists():
        return [single]
    if index.exists():
        content = _json_object(index, problems)
        if content is None:
            return []
        names = content.get("weight_map")
        if isinstance(names, dict) and names and all(isinstance(name, str) for name in names.values()):
            return [directory / name for name in sorted(set(names.values()))]
        problems.append(f"{index.name} has no weight_map from tensors to files")
        return []
    found = sorted(directory.glob("*.safetensors"))
    if not found:
        problems.append("there is no *.safetensors: save the weights in that format")
    elif len(found) > 1:
        names = _listed(path.name for path in found)
        problems.append(f"there is no {index.name} to tell which of {names} to read")
        return []
    return found


def _float32(dtype: str, data: bytes) -> Float32Array | None:
    """Values as they are stored, without loss, or None when float32 is not the type for them."""
    match dtype:
        case "F32":
            return np.frombuffer(data, "<f4").astype(np.float32, copy=False)
        case "F16":
            return np.frombuffer(data, "<f2").astype(np.float32)
        case "BF16":  # the upper half of a float32
            halves: NDArray[np.uint16] = np.frombuffer(data, "<u2")
            return (halves.astype(np.uint32) << 16).view(np.float32)
        case _:
            return None


# --- tokenizer.json ---


def _tokenizer(path: Path, problems: list[str]) -> Tokenizer | None:
    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"{path.name} cannot be read: {error.strerror}")
    except Exception as error:  # the library raises nothing more precise
        problems.append(f"{path.name} is damaged, or no tokenizer: {error}")
    return None


def _token_problems(shape: LlamaShape, tokenizer: Tokenizer) -> list[str]:
    highest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0)
    if highest < shape.vocabulary:
        return []
    return [f"tokenizer.json has tokens up to {highest}, but config.json has a vocab_size of {shape.vocabulary}"]


def _dimensions(size: Sequence[int]) -> str:
    return " x ".join(map(str, size)) or "a single number"


def _listed(names: Iterable[str], most: int = 6) -> str:
    every = list(names)
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")
