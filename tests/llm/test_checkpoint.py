# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Checkpoints that are whole, and what is said of those that are not."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from openlpu.llm.checkpoint import CheckpointError, LayerWeights, LlamaShape, load_checkpoint
from openlpu.llm.tokens import encode

FIXTURES = Path(__file__).parent / "fixtures"


def random_tensors() -> dict[str, NDArray[Any]]:
    random = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (12, 8),
        "model.norm.weight": (8,),
        "lm_head.weight": (12, 8),
    }
    for layer in range(2):
        shapes |= {
            f"model.layers.{layer}.input_layernorm.weight": (8,),
            f"model.layers.{layer}.self_attn.q_proj.weight": (24, 8),
            f"model.layers.{layer}.self_attn.k_proj.weight": (12, 8),
            f"model.layers.{layer}.self_attn.v_proj.weight": (12, 8),
            f"model.layers.{layer}.self_attn.o_proj.weight": (8, 24),
            f"model.layers.{layer}.post_attention_layernorm.weight": (8,),
            f"model.layers.{layer}.mlp.gate_proj.weight": (10, 8),
            f"model.layers.{layer}.mlp.up_proj.weight": (10, 8),
            f"model.layers.{layer}.mlp.down_proj.weight": (8, 10),
        }
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@dataclass
class Draft:
    """A small Llama that a test may spoil before it is written."""

    config: dict[str, Any] = field(
        default_factory=lambda: {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": 12,
            "hidden_size": 8,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 6,
            "intermediate_size": 10,
            "max_position_embeddings": 7,
            "rms_norm_eps": 1e-3,
            "rope_theta": 500.0,
            "rope_scaling": None,
            "tie_word_embeddings": False,
            "bos_token_id": None,
            "eos_token_id": [3, 4],
        }
    )
    tensors: dict[str, NDArray[Any]] = field(default_factory=random_tensors)
    words: int = 12

    def write(self, folder: Path) -> Path:
        (folder / "config.json").write_text(json.dumps(self.config))
        save_file(self.tensors, folder / "model.safetensors")
        words = Tokenizer(models.WordLevel({f"w{token}": token for token in range(self.words)}, unk_token="w0"))
        words.pre_tokenizer = pre_tokenizers.Whitespace()
        words.save(str(folder / "tokenizer.json"))
        return folder


@pytest.fixture
def draft() -> Draft:
    return Draft()


def problems_of(folder: Path) -> tuple[str, ...]:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    assert str(caught.value).startswith(f"{folder}: ")
    return caught.value.problems


# --- What is whole ---


def test_every_field_of_the_config_has_its_place(draft: Draft, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(draft.write(tmp_path))
    assert checkpoint.name == tmp_path.name
    assert checkpoint.shape == LlamaShape(
        vocabulary=12,
        hidden=8,
        layers=2,
        heads=4,
        kv_heads=2,
        head_size=6,
        ffn=10,
        rope_theta=500.0,
        norm_epsilon=1e-3,
        tied=False,
        context=7,
        eos=(3, 4),
        bos=None,
    )
    assert checkpoint.shape.group == 2


def test_every_tensor_has_its_role(draft: Draft, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(draft.write(tmp_path))
    names = {
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
    assert set(names) == {role.name for role in fields(LayerWeights)}
    for number, layer in enumerate(checkpoint.layers):
        for role, name in names.items():
            expected = draft.tensors[f"model.layers.{number}.{name}.weight"]
            np.testing.assert_array_equal(getattr(layer, role), expected)
    np.testing.assert_array_equal(checkpoint.embedding, draft.tensors["model.embed_tokens.weight"])
    np.testing.assert_array_equal(checkpoint.final_norm, draft.tensors["model.norm.weight"])
    np.testing.assert_array_equal(checkpoint.output, draft.tensors["lm_head.weight"])


def test_what_a_config_leaves_out_has_defaults(draft: Draft, tmp_path: Path) -> None:
    for name in ("num_key_value_heads", "head_dim", "rope_theta", "rms_norm_eps", "max_position_embeddings"):
        del draft.config[name]
    del draft.config["eos_token_id"], draft.config["architectures"]
    draft.config["bos_token_id"] = 11
    for layer in range(2):
        for name in ("q", "k", "v", "o"):
            tensor = f"model.layers.{layer}.self_attn.{name}_proj.weight"
            draft.tensors[tensor] = np.ones((8, 8), np.float32)
    shape = load_checkpoint(draft.write(tmp_path)).shape
    assert (shape.kv_heads, shape.head_size, shape.rope_theta, shape.norm_epsilon) == (4, 2, 10000.0, 1e-6)
    assert (shape.context, shape.eos, shape.bos) == (2048, (), 11)


def test_rotary_embedding_may_have_an_object_of_its_own(draft: Draft, tmp_path: Path) -> None:
    del draft.config["rope_theta"]
    draft.config["rope_parameters"] = {"rope_type": "default", "rope_theta": 123.0}
    assert load_checkpoint(draft.write(tmp_path)).shape.rope_theta == 123.0


@pytest.mark.parametrize("stored", [True, False])
def test_a_tied_output_is_the_embedding(draft: Draft, tmp_path: Path, stored: bool) -> None:
    draft.config["tie_word_embeddings"] = True
    if not stored:
        del draft.tensors["lm_head.weight"]
    checkpoint = load_checkpoint(draft.write(tmp_path))
    assert checkpoint.shape.tied
    assert checkpoint.output is checkpoint.embedding


def test_half_precision_widens_without_loss(draft: Draft, tmp_path: Path) -> None:
    draft.tensors = {name: tensor.astype(np.float16) for name, tensor in draft.tensors.items()}
    embedding = load_checkpoint(draft.write(tmp_path)).embedding
    assert embedding.dtype == np.float32
    np.testing.assert_array_equal(embedding, draft.tensors["model.embed_tokens.weight"].astype(np.float32))


def test_bfloat16_is_the_upper_half_of_float32() -> None:
    embedding = load_checkpoint(FIXTURES / "multi_head_untied").embedding
    bits = embedding.view(np.uint32)
    assert not (bits & 0xFFFF).any()
    assert len(np.unique(bits)) > 1000
    assert embedding.std() == pytest.approx(0.1, rel=0.05)


def test_weights_cannot_be_changed(draft: Draft, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(draft.write(tmp_path))
    with pytest.raises(ValueError, match="read-only"):
        checkpoint.layers[1].q[0, 0] = 1


def write_shards(draft: Draft, folder: Path) -> Path:
    draft.write(folder)
    (folder / "model.safetensors").unlink()
    names = list(draft.tensors)
    shards = {"model-1-of-2.safetensors": names[:7], "model-2-of-2.safetensors": names[7:]}
    for file, part in shards.items():
        save_file({name: draft.tensors[name] for name in part}, folder / file)
    weight_map = {name: file for file, part in shards.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def test_weights_may_be_in_several_files(draft: Draft, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(write_shards(draft, tmp_path))
    np.testing.assert_array_equal(checkpoint.layers[1].down, draft.tensors["model.layers.1.mlp.down_proj.weight"])
    np.testing.assert_array_equal(checkpoint.embedding, draft.tensors["model.embed_tokens.weight"])


def test_a_single_file_may_have_any_name(draft: Draft, tmp_path: Path) -> None:
    draft.write(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "small.safetensors")
    load_checkpoint(tmp_path)


def test_frequencies_that_were_stored_once_are_ignored(draft: Draft, tmp_path: Path) -> None:
    draft.tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(3, np.float32)
    load_checkpoint(draft.write(tmp_path))


# --- What is refused ---


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"model_type": "mistral"}, 'model_type "mistral" is not supported, only "llama"'),
        (
            {"architectures": ["LlamaForSequenceClassification"]},
            'architectures ["LlamaForSequenceClassification"] is not supported, only ["LlamaForCausalLM"]',
        ),
        ({"hidden_act": "gelu"}, 'hidden_act "gelu" is not supported, only "silu"'),
        ({"attention_bias": True}, "attention_bias true is not supported, only false"),
        ({"mlp_bias": True}, "mlp_bias true is not supported, only false"),
        ({"rope_interleaved": True}, "rope_interleaved true is not supported, only false"),
        (
            {"rope_scaling": {"type": "linear", "factor": 2.0}},
            'rope_scaling of type "linear" is not supported, only none',
        ),
        (
            {"rope_parameters": {"rope_type": "llama3", "rope_theta": 500.0}},
            'rope_parameters of type "llama3" is not supported, only none',
        ),
        ({"rope_scaling": "yarn"}, 'config.json has rope_scaling "yarn", but it must be an object'),
        (
            {"quantization_config": {"bits": 4}},
            'quantization_config {"bits": 4} is not supported, only null',
        ),
        ({"hidden_size": None}, "config.json has no hidden_size, but it must be a number above 0"),
        ({"vocab_size": "12"}, 'config.json has vocab_size "12", but it must be a number above 0'),
        ({"intermediate_size": 2.5}, "config.json has intermediate_size 2.5, but it must be a whole number"),
        ({"rms_norm_eps": 0}, "config.json has rms_norm_eps 0, but it must be a number above 0"),
        ({"tie_word_embeddings": "no"}, 'config.json has tie_word_embeddings "no", but it must be true or false'),
        ({"eos_token_id": [3, 12]}, "config.json speaks of token 12, but has a vocab_size of 12"),
        ({"bos_token_id": "<s>"}, 'config.json has bos_token_id "<s>", but it must be a token'),
        (
            {"num_hidden_layers": 10**9},
            "config.json has num_hidden_layers 1000000000, but the weights are 21 tensors in all",
        ),
        ({"num_key_value_heads": 3}, "num_attention_heads 4 is no multiple of num_key_value_heads 3"),
        ({"head_dim": 5}, "head_dim 5 is odd, but rotary embedding turns pairs"),
        (
            {"num_attention_heads": 6, "head_dim": None},
            "hidden_size 8 is no multiple of num_attention_heads 6, and there is no head_dim",
        ),
    ],
)
def test_a_config_that_asks_for_something_else_is_refused(
    draft: Draft, tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    draft.config |= change
    assert problems_of(draft.write(tmp_path)) == (problem,)


def without_a_tensor(draft: Draft) -> None:
    del draft.tensors["model.layers.1.mlp.up_proj.weight"]


def of_another_shape(draft: Draft) -> None:
    draft.tensors["model.layers.0.self_attn.k_proj.weight"] = np.ones((24, 8), np.float32)


def with_a_bias(draft: Draft) -> None:
    draft.tensors["model.layers.0.self_attn.q_proj.bias"] = np.ones(24, np.float32)


def with_integers(draft: Draft) -> None:
    draft.tensors["model.norm.weight"] = np.ones(8, np.int8)


def with_a_nan(draft: Draft) -> None:
    draft.tensors["model.norm.weight"][3] = np.nan


def with_too_many_words(draft: Draft) -> None:
    draft.words = 13


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (without_a_tensor, "the weights lack model.layers.1.mlp.up_proj.weight"),
        (of_another_shape, "model.layers.0.self_attn.k_proj.weight is 24 x 8, but config.json makes it 12 x 8"),
        (
            with_a_bias,
            "the weights hold model.layers.0.self_attn.q_proj.bias, which no Llama of this config has",
        ),
        (with_integers, "model.norm.weight is stored as I8: save it as F32, F16 or BF16"),
        (with_a_nan, "model.norm.weight holds infinities or NaNs"),
        (with_too_many_words, "tokenizer.json has tokens up to 12, but config.json has a vocab_size of 12"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    draft: Draft, tmp_path: Path, spoil: Callable[[Draft], None], problem: str
) -> None:
    spoil(draft)
    assert problems_of(draft.write(tmp_path)) == (problem,)


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ("config.json", "config.json cannot be read: No such file or directory"),
        ("model.safetensors", "there is no *.safetensors: save the weights in that format"),
        ("tokenizer.json", "tokenizer.json cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_is_missing_is_named(draft: Draft, tmp_path: Path, file: str, problem: str) -> None:
    draft.write(tmp_path)
    (tmp_path / file).unlink()
    assert problems_of(tmp_path) == (problem,)


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("config.json", b"{", "config.json is not JSON: "),
        ("config.json", b"\xff", "config.json is not JSON: "),
        ("config.json", b"[1]", "config.json is not a JSON object"),
        ("tokenizer.json", b"{}", "tokenizer.json is damaged, or no tokenizer: "),
        ("tokenizer.json", b"\xff", "tokenizer.json is damaged, or no tokenizer: "),
        ("model.safetensors", b"PK\x03\x04 and more", "model.safetensors is damaged, or no safetensors file: "),
    ],
)
def test_a_file_that_is_something_else_is_refused(
    draft: Draft, tmp_path: Path, file: str, content: bytes, problem: str
) -> None:
    draft.write(tmp_path)
    (tmp_path / file).write_bytes(content)
    (found,) = problems_of(tmp_path)
    assert found.startswith(problem)


def test_everything_wrong_is_said_at_once(draft: Draft, tmp_path: Path) -> None:
    draft.config |= {"attention_bias": True, "rope_scaling": {"rope_type": "dynamic"}}
    without_a_tensor(draft)
    of_another_shape(draft)
    draft.write(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    problems = problems_of(tmp_path)
    assert len(problems) == 5
    for part in ("attention_bias", "rope_scaling", "tokenizer.json", "lack", "24 x 8"):
        assert any(part in problem for problem in problems)


def test_a_list_of_many_names_is_cut_short(draft: Draft, tmp_path: Path) -> None:
    for name in list(draft.tensors)[3:]:
        del draft.tensors[name]
    (problem,) = problems_of(draft.write(tmp_path))
    assert problem.startswith("the weights lack model.layers.0.input_layernorm.weight, ")
    assert problem.endswith(" and 12 more")


def test_no_truncated_file_of_weights_is_read(draft: Draft, tmp_path: Path) -> None:
    path = draft.write(tmp_path) / "model.safetensors"
    content = path.read_bytes()
    for length in (0, 7, 8, 9, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        (problem,) = problems_of(tmp_path)
        assert problem.startswith("model.safetensors is damaged, or no safetensors file: ")


@pytest.mark.parametrize("value", [None, True, 0, -1, 0.5, 1.5, 3, 10**9, "silu", [], [1], {}, {"type": "default"}])
def test_no_value_in_a_config_is_a_bug(draft: Draft, tmp_path: Path, value: object) -> None:
    draft.write(tmp_path)
    for name in (*draft.config, "hidden_act", "attention_bias", "rope_parameters"):
        (tmp_path / "config.json").write_text(json.dumps({**draft.config, name: value}))
        with contextlib.suppress(CheckpointError):
            load_checkpoint(tmp_path)


def test_a_shard_that_is_missing_is_named(draft: Draft, tmp_path: Path) -> None:
    write_shards(draft, tmp_path)
    (tmp_path / "model-2-of-2.safetensors").unlink()
    assert problems_of(tmp_path) == ("model-2-of-2.safetensors cannot be read: No such file or directory",)


@pytest.mark.parametrize("content", ["{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}'])
def test_an_index_without_files_is_refused(draft: Draft, tmp_path: Path, content: str) -> None:
    write_shards(draft, tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(content)
    assert problems_of(tmp_path) == ("model.safetensors.index.json has no weight_map from tensors to files",)


def test_shards_without_an_index_are_refused(draft: Draft, tmp_path: Path) -> None:
    write_shards(draft, tmp_path)
    (tmp_path / "model.safetensors.index.json").unlink()
    (problem,) = problems_of(tmp_path)
    assert problem == (
        "there is no model.safetensors.index.json to tell which of"
        " model-1-of-2.safetensors, model-2-of-2.safetensors to read"
    )


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path / "nothing")
    assert problem.startswith("not a directory: ")


# --- Prompts ---


def test_a_prompt_becomes_tokens(draft: Draft, tmp_path: Path) -> None:
    assert encode(load_checkpoint(draft.write(tmp_path)), "w3 w11 w5") == [3, 11, 5]


def test_an_empty_prompt_is_refused(draft: Draft, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the prompt is empty"):
        encode(load_checkpoint(draft.write(tmp_path)), " ")


def test_a_prompt_that_fills_the_context_is_refused(draft: Draft, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(draft.write(tmp_path))
    assert len(encode(checkpoint, "w1 " * 6)) == 6
    with pytest.raises(ValueError, match="the prompt has 7 tokens, but it and what follows must fit in 7: shorten it"):
        encode(checkpoint, "w1 " * 7)
