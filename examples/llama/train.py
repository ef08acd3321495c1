# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Train the small Llama in `model/` on the text that comes with Python, and describe it in `model/README.md`.

    pip install -e '.[train]'
    python examples/llama/train.py

The text is that of Python's help topics and of the docstrings of its standard library, as the interpreter that runs
this script has it. Everything is seeded, and what a step sees depends on its number alone: a run that was stopped goes
on where its last checkpoint (`build/llama/`) was. Torch is used for gradients only. The network is written out below,
with the names that Hugging Face gives its weights, so that any program that reads Llamas reads this one.
"""

import argparse
import ast
import hashlib
import json
import math
import platform
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics

import matplotlib  # pyright: ignore[reportMissingImports]
import matplotlib.figure  # pyright: ignore[reportMissingImports]
import torch  # pyright: ignore[reportMissingImports]
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional  # pyright: ignore[reportMissingImports]

HERE = Path(__file__).parent
MODEL = HERE / "model"
CHECKPOINT = HERE.parents[1] / "build" / "llama" / "checkpoint.pt"

SEED = 2026
END_OF_TEXT = "<|endoftext|>"
VOCABULARY = 512
HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD_SIZE, FFN = 64, 3, 4, 2, 16, 160
CONTEXT = 256
ROPE_THETA = 10000.0
NORM_EPSILON = 1e-5

HELD_OUT = 0.05
"""The share of the documents that training never sees."""
BATCH = 16
"""Windows of `CONTEXT` tokens per step."""
WARM_UP = 300
"""Steps until the learning rate is at its peak."""
PEAK_RATE = 5e-3
FALL = 0.25
"""The share of the steps, at the end, in which the learning rate goes down to nothing."""
WEIGHT_DECAY = 0.05
EVALUATE_EVERY = 500
"""Steps from one evaluation and checkpoint to the next."""
SECONDS_PER_STEP = 0.16
"""On one core, measured; for the README."""
PROMPT = "Return a new"
CONTINUE = 80
"""Tokens that follow the prompt in the README."""

NOT_EVERYWHERE = {"site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip"}
NOT_EVERYWHERE |= {"lib2to3", "distutils", "pydoc_data"}
"""Folders of a Python that are not its standard library, or that distributions leave out."""

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Corpus:
    """Documents, and what the network sees of them: one after the other, each with its end."""

    documents: list[str]
    text: str
    tokens: torch.Tensor

    def __str__(self) -> str:
        return f"{len(self.documents)} | {len(self.text):,} | {len(self.tokens):,}"


@dataclass(frozen=True)
class Progress:
    """What an evaluation found."""

    step: int
    train_loss: float
    held_out_loss: float


# --- Text ---


def documents() -> list[str]:
    """Every help topic, and for every module its docstrings; no long paragraph twice, in an order made of their names.

    That order mixes the documents, and is the same for every Python. As it drops a paragraph that an earlier document
    has, nothing in the last documents is a copy of something in the first.
    """
    named = {f"topic {name}": text for name, text in topics.items()} | dict(module_docstrings())
    seen: set[str] = set()
    result = []
    for name in sorted(named, key=lambda name: hashlib.sha256(name.encode()).digest()):
        paragraphs = [paragraph.rstrip() for paragraph in named[name].strip().split("\n\n")]
        fresh = [paragraph for paragraph in paragraphs if len(paragraph) < 60 or paragraph not in seen]
        seen.update(fresh)
        text = "\n\n".join(paragraph for paragraph in fresh if paragraph)
        if len(text) >= 200:
            result.append(text)
    return result


def module_docstrings() -> Iterator[tuple[str, str]]:
    """The name of each module of the standard library that has docstrings, and these in the order of the source."""
    root = Path(sysconfig.get_path("stdlib"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if not NOT_EVERYWHERE.isdisjoint(relative.parts):
            continue
        nodes = [node for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, documented)]
        nodes.sort(key=lambda node: getattr(node, "lineno", 0))
        docstrings = [docstring for node in nodes if (docstring := ast.get_docstring(node))]
        if docstrings:
            yield f"module {relative.as_posix()}", "\n\n".join(docstrings)


def train_tokenizer(texts: list[str]) -> Tokenizer:
    """Byte-pair encoding of bytes: any text has an encoding."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def corpus(texts: list[str], tokenizer: Tokenizer) -> Corpus:
    """The documents, joined and encoded."""
    text = "".join(text + END_OF_TEXT for text in texts)
    return Corpus(texts, text, torch.tensor(tokenizer.encode(text).ids))


def beginnings(texts: list[str], size: int = 25_000, most_of_one: int = 3_000) -> list[str]:
    """The beginnings of the first documents, up to whole paragraphs, until there is enough."""
    result: list[str] = []
    for text in texts:
        if sum(map(len, result)) < size:
            beginning = text[:most_of_one]
            result.append(beginning if beginning == text else beginning.rpartition("\n\n")[0] or beginning)
    return result


# --- Network ---


def initial_weights() -> Weights:
    """Normal matrices, smaller in front of the residual stream, and norms of ones."""
    generator = torch.Generator().manual_seed(SEED)
    weights: Weights = {}

    def matrix(name: str, outputs: int, inputs: int, deviation: float) -> None:
        weights[name] = torch.randn(outputs, inputs, generator=generator) * deviation

    matrix("model.embed_tokens.weight", VOCABULARY, HIDDEN, 0.05)
    towards_residual = 1 / math.sqrt(2 * LAYERS)
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        weights[prefix + "input_layernorm.weight"] = torch.ones(HIDDEN)
        matrix(prefix + "self_attn.q_proj.weight", HEADS * HEAD_SIZE, HIDDEN, HIDDEN**-0.5)
        matrix(prefix + "self_attn.k_proj.weight", KV_HEADS * HEAD_SIZE, HIDDEN, HIDDEN**-0.5)
        matrix(prefix + "self_attn.v_proj.weight", KV_HEADS * HEAD_SIZE, HIDDEN, HIDDEN**-0.5)
        matrix(prefix + "self_attn.o_proj.weight", HIDDEN, HEADS * HEAD_SIZE, HIDDEN**-0.5 * towards_residual)
        weights[prefix + "post_attention_layernorm.weight"] = torch.ones(HIDDEN)
        matrix(prefix + "mlp.gate_proj.weight", FFN, HIDDEN, HIDDEN**-0.5)
        matrix(prefix + "mlp.up_proj.weight", FFN, HIDDEN, HIDDEN**-0.5)
        matrix(prefix + "mlp.down_proj.weight", HIDDEN, FFN, FFN**-0.5 * towards_residual)
    weights["model.norm.weight"] = torch.ones(HIDDEN)
    return weights


def logits(weights: Weights, tokens: torch.Tensor) -> torch.Tensor:
    """Of each next token: float32 [batch, tokens, vocabulary]."""
    batch, length = tokens.shape
    frequencies = ROPE_THETA ** (-torch.arange(0, HEAD_SIZE, 2) / HEAD_SIZE)
    angles = torch.outer(torch.arange(length), frequencies)
    cosine, sine = angles.cos(), angles.sin()

    def normalised(x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.rms_norm(x, (HIDDEN,), weights[name], NORM_EPSILON)

    def heads(x: torch.Tensor, name: str) -> torch.Tensor:
        return (x @ weights[name].T).view(batch, length, -1, HEAD_SIZE).transpose(1, 2)

    def rotated(x: torch.Tensor) -> torch.Tensor:
        low, high = x.chunk(2, dim=-1)
        return torch.cat((low * cosine - high * sine, high * cosine + low * sine), dim=-1)

    residual = weights["model.embed_tokens.weight"][tokens]
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        x = normalised(residual, prefix + "input_layernorm.weight")
        q = rotated(heads(x, prefix + "self_attn.q_proj.weight"))
        k = rotated(heads(x, prefix + "self_attn.k_proj.weight"))
        v = heads(x, prefix + "self_attn.v_proj.weight")
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        attended = attended.transpose(1, 2).reshape(batch, length, HEADS * HEAD_SIZE)
        residual = residual + attended @ weights[prefix + "self_attn.o_proj.weight"].T
        x = normalised(residual, prefix + "post_attention_layernorm.weight")
        gate = functional.silu(x @ weights[prefix + "mlp.gate_proj.weight"].T)
        up = x @ weights[prefix + "mlp.up_proj.weight"].T
        residual = residual + (gate * up) @ weights[prefix + "mlp.down_proj.weight"].T
    return normalised(residual, "model.norm.weight") @ weights["model.embed_tokens.weight"].T


def loss(weights: Weights, windows: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy, in nats, of every token of each window but its first."""
    predicted = logits(weights, windows[:, :-1])
    return functional.cross_entropy(predicted.reshape(-1, VOCABULARY), windows[:, 1:].reshape(-1))


def mean_loss(weights: Weights, tokens: torch.Tensor) -> float:
    """The loss over a text, cut into windows of `CONTEXT` tokens; what is left at its end does not count."""
    windows = tokens[: len(tokens) // CONTEXT * CONTEXT].view(-1, CONTEXT)
    with torch.no_grad():
        total = sum(loss(weights, some).item() * len(some) for some in windows.split(BATCH))
    return float(total / len(windows))


# --- Training ---


def rate(step: int, steps: int) -> float:
    """The learning rate: up in a line, level, and down in a line; most steps are the same however many there are."""
    return PEAK_RATE * min(1.0, (step + 1) / WARM_UP, (steps - step) / (FALL * steps))


def batch_of(tokens: torch.Tensor, step: int) -> torch.Tensor:
    """The windows of a step, from anywhere in the text."""
    generator = torch.Generator().manual_seed(SEED + step)
    starts = torch.randint(len(tokens) - CONTEXT, (BATCH, 1), generator=generator)
    return tokens[starts + torch.arange(CONTEXT + 1)]


def keep(weights: Weights, optimiser: torch.optim.Optimizer, history: list[Progress]) -> None:
    """Write a checkpoint."""
    CHECKPOINT.parent.mkdir(parents=True, exist_ok=True)
    state = {
        "weights": {name: value.detach() for name, value in weights.items()},
        "optimiser": optimiser.state_dict(),
        "history": [(entry.step, entry.train_loss, entry.held_out_loss) for entry in history],
    }
    torch.save(state, CHECKPOINT)


def restore(weights: Weights, optimiser: torch.optim.Optimizer) -> list[Progress]:
    """Read the checkpoint, if there is one, into weights and optimiser; what was found until then."""
    if not CHECKPOINT.exists():
        return []
    state = torch.load(CHECKPOINT, weights_only=True)
    with torch.no_grad():
        for name, value in weights.items():
            value.copy_(state["weights"][name])
    optimiser.load_state_dict(state["optimiser"])
    return [Progress(*values) for values in state["history"]]


def train(tokens: torch.Tensor, held_out: torch.Tensor, steps: int) -> tuple[Weights, list[Progress]]:
    """Train from the last checkpoint, or from the start."""
    weights = {name: value.requires_grad_() for name, value in initial_weights().items()}
    matrices = [value for value in weights.values() if value.ndim == 2]
    norms = [value for value in weights.values() if value.ndim == 1]
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": norms, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.95))
    history = restore(weights, optimiser)
    first = history[-1].step if history else 0
    start = time.monotonic()
    losses: list[float] = []
    for step in range(first, steps):
        for group in optimiser.param_groups:
            group["lr"] = rate(step, steps)
        optimiser.zero_grad()
        current = loss(weights, batch_of(tokens, step))
        current.backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        optimiser.step()
        losses.append(current.item())
        done = step + 1
        if done % EVALUATE_EVERY == 0 or done == steps:
            now = Progress(done, sum(losses) / len(losses), mean_loss(weights, held_out))
            history.append(now)
            losses.clear()
            keep(weights, optimiser, history)
            pace = (time.monotonic() - start) / (done - first)
            print(
                f"step {done} of {steps}: loss {now.train_loss:.4f}, held out {now.held_out_loss:.4f},"
                f" {pace * 1000:.0f} ms a step",
                flush=True,
            )
    return {name: value.detach() for name, value in weights.items()}, history


# --- What is published ---


def save_model(weights: Weights, tokenizer: Tokenizer) -> None:
    """Write what Hugging Face expects in the directory of a model."""
    MODEL.mkdir(parents=True, exist_ok=True)
    save_file({name: value.numpy() for name, value in weights.items()}, MODEL / "model.safetensors", {"format": "pt"})
    tokenizer.save(str(MODEL / "tokenizer.json"))
    end = tokenizer.token_to_id(END_OF_TEXT)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_SIZE,
        "intermediate_size": FFN,
        "hidden_act": "silu",
        "max_position_embeddings": CONTEXT,
        "rope_theta": ROPE_THETA,
        "rms_norm_eps": NORM_EPSILON,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": end,
        "eos_token_id": end,
        "torch_dtype": "float16",
    }
    (MODEL / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def save_curve(history: list[Progress]) -> None:
    """Draw the losses of training, step by step."""
    matplotlib.rcParams["svg.hashsalt"] = "openlpu"  # the same bytes each time
    figure = matplotlib.figure.Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    steps = [entry.step for entry in history]
    axes.plot(steps, [entry.train_loss for entry in history], label="training, mean since the last point")
    axes.plot(steps, [entry.held_out_loss for entry in history], label="held out")
    axes.set(xlabel="step", ylabel="nats per token")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    figure.savefig(MODEL / "loss.svg", metadata={"Date": None})


def continuation(weights: Weights, tokenizer: Tokenizer) -> str:
    """The prompt of the README, and what the network finds likeliest to follow."""
    tokens = tokenizer.encode(PROMPT).ids
    with torch.no_grad():
        for _ in range(CONTINUE):
            tokens.append(int(logits(weights, torch.tensor([tokens]))[0, -1].argmax()))
    return str(tokenizer.decode(tokens))


def card(weights: Weights, tokenizer: Tokenizer, steps: int, training: Corpus, held_out: Corpus, sample: Corpus) -> str:
    """The README of the model, with what is measured here."""
    held_out_loss, sample_loss = mean_loss(weights, held_out.tokens), mean_loss(weights, sample.tokens)
    epochs = steps * BATCH * CONTEXT / len(training.tokens)
    size = sum(value.numel() for value in weights.values())
    return f"""\
# A small Llama that has read Python's documentation

A language model that fits a small chip, and an example for everything that runs one: {size:,} weights, in the format of
Hugging Face (`LlamaForCausalLM`). It knows the words, the layout and some of the grammar of Python's documentation, and
next to nothing about Python. [train.py](../train.py) made this folder, this page included.

| what | |
| --- | --- |
| layers, hidden, feed-forward | {LAYERS}, {HIDDEN}, {FFN} |
| heads, of keys and values, size | {HEADS}, {KV_HEADS}, {HEAD_SIZE} |
| vocabulary | {VOCABULARY}, byte-level BPE, {len(training.text) / len(training.tokens):.2f} characters a token |
| begins and ends a text | `{END_OF_TEXT}` |
| context | {CONTEXT} tokens |
| embeddings | tied |
| weights | float16 |

## Data

The text that comes with every Python, here {platform.python_version()}: the help topics (`pydoc_data.topics`), and the
docstrings of the standard library, module by module, without what distributions leave out (tests, `tkinter`, IDLE and
the like). A paragraph that occurs twice is kept once. The documents are in an order made of their names (SHA-256), and
the last {HELD_OUT:.0%} of them are held out: none of their longer paragraphs is in the others.

| | documents | characters | tokens |
| --- | --- | --- | --- |
| training | {training} |
| held out | {held_out} |
| `heldout.txt`: beginnings of held-out documents | {sample} |

## Training

{steps:,} steps of {BATCH} windows of {CONTEXT} tokens ({epochs:.0f} times the text), AdamW (betas 0.9 and
0.95, weight decay {WEIGHT_DECAY}), gradients clipped to a norm of 1. The learning rate goes up to {PEAK_RATE} in
{WARM_UP} steps, stays there, and goes down to 0 in the last {FALL:.0%}. Seed {SEED}.

![Loss by step](loss.svg)

## Results

Cross entropy in nats, of the float16 weights in float32 arithmetic. A text is cut into windows of {CONTEXT} tokens,
what is left at its end does not count, and in each window all tokens but the first are predicted, from those in front
of them. A guess at random has a perplexity of {VOCABULARY}.

| text | loss | perplexity |
| --- | --- | --- |
| all that is held out | {held_out_loss:.4f} | {math.exp(held_out_loss):.3f} |
| `heldout.txt` | {sample_loss:.4f} | {math.exp(sample_loss):.3f} |

What it finds likeliest after "{PROMPT}":

```text
{continuation(weights, tokenizer)}
```

## To train it again

    pip install -e '.[train]'
    python examples/llama/train.py

This takes about {steps * SECONDS_PER_STEP / 60:.0f} minutes of one core (x86-64). A run that is stopped goes on
where its last checkpoint was. Another version of Python has another text.

## Licence

The weights are under the licence of this repository, Apache-2.0. The text is part of Python: copyright (c) 2001-2023
Python Software Foundation, all rights reserved. `heldout.txt` is an excerpt of it, cut as said above, under the
[PSF licence agreement](LICENSE-PSF.txt), which covers both documentation and library.
"""


def main() -> None:
    """Train, and write the folder `model/`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=11000, help="steps in all")
    steps = parser.parse_args().steps
    torch.set_num_threads(1)

    texts = documents()
    first_held_out = len(texts) - round(len(texts) * HELD_OUT)
    tokenizer = train_tokenizer(texts[:first_held_out])
    training, held_out = corpus(texts[:first_held_out], tokenizer), corpus(texts[first_held_out:], tokenizer)
    sample = corpus(beginnings(held_out.documents), tokenizer)
    trained, history = train(training.tokens, held_out.tokens, steps)

    halves = {name: value.half() for name, value in trained.items()}
    save_model(halves, tokenizer)
    save_curve(history)
    (MODEL / "heldout.txt").write_text(sample.text, encoding="utf-8")
    published = {name: value.float() for name, value in halves.items()}
    readme = card(published, tokenizer, steps, training, held_out, sample)
    (MODEL / "README.md").write_text(readme, encoding="utf-8")


if __name__ == "__main__":
    main()
