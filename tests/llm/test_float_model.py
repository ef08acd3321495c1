# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The float model against `transformers`, which made the logits in `fixtures/`, and against what a Llama must do."""

import json
from pathlib import Path

import numpy as np
import pytest

from openlpu.llm.checkpoint import Checkpoint, load_checkpoint
from openlpu.llm.float_model import Floats, cross_entropy, forward, normalise, perplexity, rotate, rotations, silu

FIXTURES = Path(__file__).parent / "fixtures"
NAMES = ("grouped_tied", "multi_head_untied", "multi_query")


@pytest.fixture(params=NAMES)
def folder(request: pytest.FixtureRequest) -> Path:
    return FIXTURES / str(request.param)


@pytest.fixture
def llama(folder: Path) -> Checkpoint:
    return load_checkpoint(folder)


@pytest.fixture
def tokens(folder: Path) -> list[int]:
    return [int(token) for token in json.loads((folder / "tokens.json").read_text())]


def test_the_logits_are_those_of_transformers(folder: Path, llama: Checkpoint, tokens: list[int]) -> None:
    expected = np.load(folder / "logits.npy")
    assert expected.std() > 0.5  # of 32-bit floats: an error of 1e-5 is one of rounding
    for dtype in (np.float32, np.float64):
        logits = forward(llama, tokens, dtype)
        assert logits.dtype == dtype
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)


def test_no_token_sees_what_follows(llama: Checkpoint, tokens: list[int]) -> None:
    np.testing.assert_allclose(forward(llama, tokens[:9]), forward(llama, tokens)[:9], rtol=0, atol=1e-12)


def test_an_observer_is_told_every_intermediate_result(llama: Checkpoint, tokens: list[int]) -> None:
    seen: dict[str, Floats] = {}
    logits = forward(llama, tokens, np.float32, lambda name, value: seen.update({name: value}))
    shape, count = llama.shape, len(tokens)
    sizes = {
        "attention_residual": (count, shape.hidden),
        "attention_input": (count, shape.hidden),
        "q": (count, shape.heads, shape.head_size),
        "k": (count, shape.kv_heads, shape.head_size),
        "v": (count, shape.kv_heads, shape.head_size),
        "attended": (count, shape.heads * shape.head_size),
        "ffn_residual": (count, shape.hidden),
        "ffn_input": (count, shape.hidden),
        "gate": (count, shape.ffn),
        "up": (count, shape.ffn),
        "ffn_product": (count, shape.ffn),
    }
    expected = {f"layers.{layer}.{name}": size for layer in range(shape.layers) for name, size in sizes.items()}
    expected |= {"final_residual": (count, shape.hidden), "final_input": (count, shape.hidden)}
    assert {name: value.shape for name, value in seen.items()} == expected
    assert {value.dtype for value in seen.values()} == {np.dtype(np.float32)}
    # What is seen is what is used.
    first, last = llama.layers[0], llama.layers[-1]
    np.testing.assert_array_equal(seen["layers.0.attention_residual"], llama.embedding[tokens])
    np.testing.assert_array_equal(
        seen["layers.0.ffn_residual"], seen["layers.0.attention_residual"] + seen["layers.0.attended"] @ first.o.T
    )
    prefix = f"layers.{shape.layers - 1}."
    np.testing.assert_array_equal(
        seen["final_residual"], seen[prefix + "ffn_residual"] + seen[prefix + "ffn_product"] @ last.down.T
    )
    np.testing.assert_array_equal(logits, seen["final_input"] @ llama.output.T)


@pytest.mark.parametrize("token", [-1, 1000])
def test_a_token_that_does_not_exist_is_refused(llama: Checkpoint, token: int) -> None:
    with pytest.raises(ValueError, match=rf"its tokens are 0 to {llama.shape.vocabulary - 1}"):
        forward(llama, [1, token])


def test_the_first_token_attends_to_itself_alone(llama: Checkpoint) -> None:
    seen: dict[str, Floats] = {}
    forward(llama, [5], observe=lambda name, value: seen.update({name: value}))
    values = np.repeat(seen["layers.0.v"], llama.shape.group, axis=1)
    np.testing.assert_allclose(seen["layers.0.attended"], values.reshape(1, -1), rtol=1e-12)


def test_rotating_depends_on_distance_alone(llama: Checkpoint) -> None:
    random = np.random.default_rng(1)
    q, k = random.normal(size=(2, 1, 1, llama.shape.head_size))
    cosine, sine = rotations(llama.shape, 30)

    def score(query: int, key: int) -> float:
        turned = [rotate(x, cosine[at : at + 1], sine[at : at + 1]) for x, at in ((q, query), (k, key))]
        return float((turned[0] * turned[1]).sum())

    assert score(7, 3) == pytest.approx(score(29, 25), rel=1e-12)
    assert score(0, 0) == pytest.approx(float((q * k).sum()), rel=1e-12)
    assert score(7, 3) != pytest.approx(score(7, 4), rel=1e-3)


def test_normalised_rows_have_a_mean_square_of_one() -> None:
    x = np.random.default_rng(2).normal(0, 3, (5, 40))
    ones = np.ones(40, np.float32)
    np.testing.assert_allclose((normalise(x, ones, 0.0) ** 2).mean(axis=-1), 1)
    np.testing.assert_allclose(normalise(np.zeros((1, 40)), ones, 1e-6), 0)


def test_silu_neither_overflows_nor_loses_its_sign() -> None:
    x = np.array([-1e4, -1.0, 0.0, 1.0, 1e4])
    np.testing.assert_allclose(silu(x), [0, -1 / (1 + np.e), 0, 1 / (1 + 1 / np.e), 1e4], atol=1e-12)


def test_perplexity_of_a_guess_is_the_number_of_choices() -> None:
    losses = cross_entropy(np.zeros((3, 50), np.float32), [0, 7, 49])
    np.testing.assert_allclose(losses, np.log(50))
    assert perplexity(losses) == pytest.approx(50)


def test_cross_entropy_is_that_of_the_target() -> None:
    logits = np.log([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]) + 1000
    np.testing.assert_allclose(cross_entropy(logits, [0, 1]), -np.log([0.5, 0.1]))
