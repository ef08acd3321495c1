# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""LSTM of the importer: what it becomes, that its state is split exactly, and what is refused."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from onnx import helper
from tests.compiler import onnx_models as models

from openlpu.compiler.errors import UnsupportedModelError
from openlpu.compiler.frontend.lstm import split_state
from openlpu.compiler.frontend.network import Network
from openlpu.compiler.graph import Graph, MatMul, Pointwise, Port, Tensor
from openlpu.compiler.onnx_import import import_model
from openlpu.compiler.reference import evaluate_stored


def network(**changes: Any) -> models.Builder:
    """A network of one LSTM of two steps; `changes` replace its inputs by name, or add attributes."""
    b = models.Builder(np.random.default_rng(0))
    names = {"x": b.dequantise(b.input("x", "int8", [2, 1, 3]), b.parameters("x", "int8"))}
    for key, depth in (("w", 3), ("r", 4)):
        codes = b.constant(key, b.rng.integers(-127, 128, (1, 16, depth)), np.int8)
        names[key] = b.dequantise(codes, b.parameters(key, "int8", 0.01, 0))
    names |= {"b": "", "lengths": "", "h": "", "c": "", "p": ""}
    inputs = {
        key: b.constant(f"{key}_changed", changes.pop(key)) if key in changes else name for key, name in names.items()
    }
    attributes = {"hidden_size": 4, **changes}
    b.nodes.append(helper.make_node("LSTM", list(inputs.values()), ["y", "", "c_last"], name="lstm", **attributes))
    b.output("y", "float32", 4)
    b.output("c_last", "float32", 3)
    return b


def test_products_and_chains_of_two_steps() -> None:
    graph = import_model(network().model())
    kinds = Counter(type(op) for op in graph.ops)
    # Four gates of x, and of three planes of h after the first step.
    assert kinds[MatMul] == 4 + 4 * 3
    products = [op for op in graph.ops if isinstance(op, MatMul) and any(step.function == "exp" for step in op.steps)]
    assert len(products) == 3


def test_a_state_is_split_without_loss_but_of_its_last_bits() -> None:
    h = np.random.default_rng(0).uniform(-1, 1, (1, 100_000)).astype(np.float32)
    h[0, :4] = (1, -1, np.nextafter(np.float32(1), np.float32(0)), 0)
    net = Network(helper.make_graph([], "", [], []), 17)
    net.tensors["h"] = Tensor("h", h.shape, "float32", "float32")
    planes = split_state(net, "h")
    ports = (Port("h", "h", "float32", h.shape),)
    graph = Graph("planes", tuple(net.tensors.values()), tuple(net.ops), ports, ports)
    graph.verify()
    values = evaluate_stored(graph, {"h": h})
    total = np.sum([values[p.tensor].astype(np.float64) * p.quantisation.scale for p in planes], axis=0)
    error = np.abs(total - h)
    assert error.max() <= 2.0**-21
    assert error[np.abs(h) < 127.5 / 128].max() <= 2.0**-22
    assert all(isinstance(op, Pointwise) for op in graph.ops)


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"x": np.ones((2, 1, 3), np.float32)}, "its X is float: put QuantizeLinear and DequantizeLinear before it"),
    (
        {"w": np.ones((1, 16, 3), np.float32)},
        "its W is no constant of int8: quantise it (a DequantizeLinear of int8 weights)",
    ),
    (
        {"lengths": np.ones(1, np.int32)},
        "sequence_lens is not supported: remove it, all sequences have the same length",
    ),
    ({"h": np.full((1, 1, 4), 2, np.float32)}, "initial_h is not between -1 and 1"),
    ({"p": np.ones((1, 12), np.float32)}, "peepholes (P) are not supported"),
    ({"clip": 3.0}, "attribute 'clip' is not supported: remove it"),
    ({"input_forget": 1}, "attribute input_forget = 1 is not supported: only 0 is"),
    ({"layout": 1}, "attribute layout = 1 is not supported: only 0 is"),
    ({"activations": ["Relu", "Tanh", "Tanh"]}, "only its activations Sigmoid, Tanh, Tanh are supported"),
]


@pytest.mark.parametrize(("changes", "problem"), REFUSALS, ids=["-".join(changes) for changes, _ in REFUSALS])
def test_refusals(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        import_model(network(**changes).model())
    assert caught.value.problems == (f"LSTM 'lstm': {problem}",)
