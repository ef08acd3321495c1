# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A layer of a Llama by itself, on several planes: against its kernels in numpy, and against its definition."""

import dataclasses

import numpy as np
import pytest

from openlpu.arch.numerics import to_bits
from openlpu.arch.presets import LAB32
from openlpu.compiler.errors import CompileError
from openlpu.compiler.kernel_reference import KernelReference
from openlpu.llm.checkpoint import Checkpoint
from openlpu.llm.decode import BEHIND, layer_decoding
from openlpu.llm.float_model import Floats, forward
from openlpu.llm.program import compile_layer
from openlpu.llm.quantise import QuantisedLlama, quantise
from openlpu.llm.workloads import layer_inputs, layer_reference, random_layer, random_text
from openlpu.runtime.driver import open_device

CONTEXT = 64
SMALL = random_layer(hidden=96, heads=6, kv_heads=3, head_size=64, ffn=160, context=CONTEXT, seed=1)
LARGE = random_layer(hidden=288, heads=9, kv_heads=3, head_size=64, ffn=160, context=CONTEXT, seed=1)
"""Its heads go in two groups, and its squares are added up in three parts."""
MODELS = {layer.name: (layer, quantise(layer, [random_text(layer, 2)])) for layer in (SMALL, LARGE)}
BOTH = pytest.mark.parametrize(("layer", "model"), MODELS.values(), ids=MODELS)


@BOTH
def test_a_layer_is_what_its_definition_says(layer: Checkpoint, model: QuantisedLlama) -> None:
    """It does not know of what comes behind a position. Tokens are their positions, one of each."""
    seen: dict[str, Floats] = {}
    forward(layer, range(CONTEXT), np.float64, seen.__setitem__)
    added = seen["final_residual"] - layer.embedding
    run = layer_reference(model, CONTEXT, LAB32)
    for position, want in enumerate(added):
        behind = run(layer_inputs(layer, position, LAB32))[BEHIND].reshape(-1)
        found = behind - layer.embedding[position]
        assert found @ want > 0.995 * np.linalg.norm(found) * np.linalg.norm(want)
        assert 0.97 < np.linalg.norm(found) / np.linalg.norm(want) < 1.03


@BOTH
def test_planes_compute_what_the_kernels_say(layer: Checkpoint, model: QuantisedLlama) -> None:
    """Position by position, and beyond the rows of every table; then a sequence that begins anew."""
    program, run = compile_layer(model, CONTEXT, LAB32), layer_reference(model, CONTEXT, LAB32)
    with open_device("golden", LAB32) as device:
        device.load(program)
        for position in (0, 1, 2, 31, 32, CONTEXT - 1, 0):
            inputs = layer_inputs(layer, position, LAB32)
            result = device.run(inputs)
            assert result.cycles == program.cycles
            np.testing.assert_array_equal(result.outputs[BEHIND].view(np.int32), run(inputs)[BEHIND].view(np.int32))


def test_groups_of_heads_make_no_difference() -> None:
    """A layer that chips share has all its heads in one group."""
    _, model = MODELS[LARGE.name]
    graphs = [layer_decoding(model, CONTEXT, LAB32, shared=shared).kernels for shared in (False, True)]
    scores = [[kernel.output for kernel in graph.kernels if "scores" in kernel.output] for graph in graphs]
    assert [len({*outputs}) for outputs in scores] == [2, 1]
    alone, shared = (KernelReference(graph, LAB32) for graph in graphs)
    for position in range(3):
        inputs = {name: to_bits(values) for name, values in layer_inputs(LARGE, position, LAB32).items()}
        np.testing.assert_array_equal(alone.run(inputs)[BEHIND], shared.run(inputs)[BEHIND])


def test_weights_that_are_made_head_by_head_make_no_difference() -> None:
    """Activation buffers of 4 words have room for those of one head of keys and values, of 64 those of all."""
    model = MODELS[SMALL.name][1]
    chips = [dataclasses.replace(LAB32, act_depth=depth) for depth in (4, 64)]
    graphs = [layer_decoding(model, CONTEXT, chip).kernels for chip in chips]
    weights = [[kernel.output for kernel in graph.kernels if kernel.output.endswith("weights")] for graph in graphs]
    assert [len(outputs) for outputs in weights] == [3, 1]
    parts, whole = (KernelReference(graph, chip) for graph, chip in zip(graphs, chips, strict=True))
    for position in range(3):
        inputs = {name: to_bits(values) for name, values in layer_inputs(SMALL, position, LAB32).items()}
        np.testing.assert_array_equal(parts.run(inputs)[BEHIND], whole.run(inputs)[BEHIND])


def test_contexts_are_whole_vectors() -> None:
    with pytest.raises(CompileError, match="a context of 40 is no multiple of 32 lanes"):
        compile_layer(MODELS[SMALL.name][1], 40, LAB32)


@pytest.mark.parametrize(("heads", "head_size"), [(4, 64), (6, 63)])
def test_shapes_that_no_llama_has(heads: int, head_size: int) -> None:
    with pytest.raises(ValueError, match=f"{heads} heads of {head_size} for 3 of keys and values"):
        random_layer(hidden=96, heads=heads, kv_heads=3, head_size=head_size, ffn=160, context=64, seed=1)
