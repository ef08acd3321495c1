# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Floats, reductions, moves, look-ups and products of activations on the golden chip, against the graph's meaning."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from openlpu.arch import numerics
from openlpu.arch.config import AluConfig, ChipConfig, OpClass, Source
from openlpu.arch.presets import LAB32, NANO, ULX3S, ULX3S16
from openlpu.compiler.bounds import lower_bounds
from openlpu.compiler.errors import CompileError
from openlpu.compiler.graph import (
    ConstantTensor,
    FloatStep,
    Graph,
    Lookup,
    MatMul,
    Op,
    Pointwise,
    Port,
    Product,
    Rearrange,
    Reduce,
    Requantise,
    StoredType,
    Tensor,
)
from openlpu.compiler.onnx_import import import_onnx
from openlpu.compiler.pipeline import compile_graph
from openlpu.compiler.reference import evaluate
from openlpu.runtime.driver import InputError, open_device

EXAMPLES = Path(__file__).parents[2] / "examples"
ROOMY = dataclasses.replace(NANO, mem_words=4096, imem_words=8192)
UNEVEN = dataclasses.replace(
    ROOMY,
    lanes=6,
    weight_streams=3,
    alus=(
        AluConfig(classes=(OpClass.INT, OpClass.I2F, OpClass.F2I), chain=(0, 1, 2)),
        AluConfig(classes=(OpClass.FADD, OpClass.MASK, OpClass.FMUL), y=(Source.WORD, Source.CHAIN), chain=(0, 1, 2)),
        AluConfig(classes=(OpClass.SPECIAL, OpClass.I2F, OpClass.F2I), chain=(0, 1, 2)),
    ),
)
CONFIGS = [ROOMY, UNEVEN, LAB32]
IDS = ["nano", "uneven", "lab32"]

Arrays = dict[str, NDArray[Any]]


def tensor(name: str, *shape: int, dtype: StoredType = "float32") -> Tensor:
    outside = "int64" if dtype == "index" else dtype
    return Tensor(name, shape, dtype, outside)


def run(tensors: list[Tensor], ops: list[Op], outputs: list[str], config: ChipConfig, **inputs: NDArray[Any]) -> Arrays:
    """Compile a graph whose ports have the names of their tensors, and run it on the golden model."""
    by_name = {t.name: t for t in tensors}

    def port(name: str) -> Port:
        t = by_name[name]
        return Port(name, name, t.outside, t.shape[:-1] if t.dtype == "index" else t.shape)

    graph = Graph("g", tuple(tensors), tuple(ops), tuple(port(n) for n in inputs), tuple(port(n) for n in outputs))
    program = compile_graph(graph, config)
    with open_device("golden", config) as device:
        device.load(program)
        return dict(device.run(inputs).outputs)


def floats(seed: int, *shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 2, shape).astype(np.float32)


def codes(seed: int, *shape: int) -> NDArray[np.int8]:
    return np.random.default_rng(seed).integers(-128, 128, shape, dtype=np.int8)


def bits(values: NDArray[np.float32]) -> numerics.Words:
    return numerics.to_bits(np.ascontiguousarray(values))


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
@pytest.mark.parametrize("lanes", [1, 5, 32, 41])
def test_a_float_chain_is_its_operations_one_by_one(config: ChipConfig, lanes: int) -> None:
    x, y, gain = floats(1, 3, lanes), floats(2, 3, lanes), floats(3, lanes)
    steps = (
        FloatStep("fmul", gain),
        FloatStep("fsub", "y"),
        FloatStep("exp"),
        FloatStep("fadd", np.array(1, np.float32)),
        FloatStep("recip"),
        FloatStep("xor", np.array(-(2**31), np.int32)),
    )
    found = run([tensor(n, 3, lanes) for n in "xyz"], [Pointwise("z", "x", 0, steps, None)], ["z"], config, x=x, y=y)[
        "z"
    ]
    want = numerics.fp32_sub(numerics.fp32_mul(bits(x), bits(gain)), bits(y))
    want = numerics.fp32_recip(numerics.fp32_add(numerics.fp32_exp(want), bits(np.array([1], np.float32))))
    np.testing.assert_array_equal(bits(found), want ^ np.int32(-(2**31)))


@pytest.mark.parametrize("config", [ULX3S, ULX3S16], ids=lambda config: config.name)
def test_a_chip_without_xor_changes_signs(config: ChipConfig) -> None:
    x = floats(4, 4, 20)
    x[2], x[3] = 0.0, -0.0
    negated = Pointwise("y", "x", 0, (FloatStep("xor", np.array(-(2**31), np.int32)),), None)
    found = run([tensor("x", 4, 20), tensor("y", 4, 20)], [negated], ["y"], config, x=x)["y"]
    np.testing.assert_array_equal(bits(found), bits(-x))


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_int8_to_floats_and_back(config: ChipConfig) -> None:
    x = codes(4, 5, 21)
    tensors = [tensor("x", 5, 21, dtype="int8"), tensor("f", 5, 21), tensor("y", 5, 21, dtype="int8")]
    half = (FloatStep("fmul", np.array(0.5, np.float32)),)
    back = Pointwise("y", "f", 0, half, Requantise((), -3, None, -100, 90))
    found = run(tensors, [Pointwise("f", "x", 7, half, None), back], ["f", "y"], config, x=x)
    np.testing.assert_array_equal(found["f"], (x.astype(np.float32) - 7) / 2)
    np.testing.assert_array_equal(found["y"], np.clip(np.rint((x.astype(np.float64) - 7) / 4) - 3, -100, 90))


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
@pytest.mark.parametrize("lanes", [1, 4, 7, 31, 64, 75])
@pytest.mark.parametrize("function", ["fadd", "fmax"])
def test_reductions(config: ChipConfig, lanes: int, function: str) -> None:
    # Sums of small whole numbers are exact in any order.
    x = np.random.default_rng(lanes).integers(-1000, -3, (3, lanes)).astype(np.float32)
    assert function in ("fadd", "fmax")
    reduce = Reduce("r", "x", "fadd" if function == "fadd" else "fmax")
    spread = Pointwise("d", "x", 0, (FloatStep("fsub", "r"),), None)
    negated = Pointwise("n", "r", 0, (FloatStep("fmul", np.array(-1, np.float32)),), None)
    tensors = [tensor("x", 3, lanes), tensor("r", 3, 1), tensor("d", 3, lanes), tensor("n", 3, 1)]
    found = run(tensors, [reduce, spread, negated], ["r", "d", "n"], config, x=x)
    want = (x.sum if function == "fadd" else x.max)(axis=1, keepdims=True)
    np.testing.assert_array_equal(found["r"], want)
    np.testing.assert_array_equal(found["d"], x - want)
    np.testing.assert_array_equal(found["n"], -want)


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_products_that_stay_floats(config: ChipConfig) -> None:
    x, w, scale, y = codes(5, 6, 23), codes(6, 23, 41), floats(7, 41), floats(8, 6, 41)
    steps = (FloatStep("fmul", scale), FloatStep("fadd", "y"))
    tensors = [tensor("x", 6, 23, dtype="int8"), tensor("y", 6, 41), tensor("z", 6, 41)]
    found = run(tensors, [MatMul("z", "x", (w,), None, None, steps)], ["z"], config, x=x, y=y)["z"]
    sums = (x.astype(np.int32) @ w.astype(np.int32)).astype(np.float32)
    np.testing.assert_array_equal(found, sums * scale + y)


MOVES = {
    "transpose": lambda x: x.swapaxes(-1, -2),
    "heads": lambda x: x.reshape(6, 3, 5).transpose(1, 0, 2),
    "rows reversed": lambda x: x[:, ::-1],
    "lanes reversed": lambda x: x[..., ::-1],
    "slice": lambda x: x[:, 1:3, 2:12],
    "every other lane": lambda x: x[..., 1::2],
    "flat": lambda x: x.reshape(2, 45),
    "narrow": lambda x: x.reshape(-1, 5),
    "two rows of one": lambda x: x.reshape(3, 30),
    "repeated": lambda x: np.broadcast_to(x[:, :1], x.shape),
    "first rows": lambda x: x[:1],
    "columns of other rows": lambda x: x.reshape(18, 5).T,
}


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize("move", MOVES)
def test_moves(config: ChipConfig, dtype: StoredType, move: str) -> None:
    shape = (2, 3, 15)
    x = floats(9, *shape) if dtype == "float32" else codes(9, *shape)
    source = np.ascontiguousarray(MOVES[move](np.arange(x.size).reshape(shape)))
    tensors = [tensor("x", *shape, dtype=dtype), tensor("y", *source.shape, dtype=dtype)]
    found = run(tensors, [Rearrange("y", ("x",), source)], ["y"], config, x=x)["y"]
    np.testing.assert_array_equal(found, x.reshape(-1)[source])


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize(
    ("axis", "shapes"),
    [(0, [(3, 9), (1, 9), (4, 9)]), (1, [(3, 9), (3, 9), (3, 14)]), (1, [(3, 1)] * 3)],
    ids=["rows", "columns", "single columns"],
)
def test_concatenations(config: ChipConfig, dtype: StoredType, axis: int, shapes: list[tuple[int, int]]) -> None:
    parts = [floats(i, *s) if dtype == "float32" else codes(i, *s) for i, s in enumerate(shapes)]
    ends = np.cumsum([0, *(part.size for part in parts)])
    source = np.concatenate(
        [np.arange(e, e + p.size).reshape(p.shape) for e, p in zip(ends[:-1], parts, strict=True)], axis
    )
    tensors = [tensor(f"x{i}", *s, dtype=dtype) for i, s in enumerate(shapes)]
    tensors.append(tensor("y", *source.shape, dtype=dtype))
    inputs = {f"x{i}": part for i, part in enumerate(parts)}
    found = run(tensors, [Rearrange("y", tuple(inputs), source)], ["y"], config, **inputs)["y"]
    np.testing.assert_array_equal(found, np.concatenate(parts, axis))


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
@pytest.mark.parametrize("zero_points", [(0, 0), (0, 5), (-7, 0), (-128, -128), (3, -100)])
@pytest.mark.parametrize("transposed", [False, True])
def test_products_of_activations(config: ChipConfig, zero_points: tuple[int, int], transposed: bool) -> None:
    a, b = codes(10, 2, 3, 13), codes(11, 2, *((9, 13) if transposed else (13, 9)))
    za, zb = zero_points
    tensors = [
        tensor("a", *a.shape, dtype="int8"),
        tensor("b", *b.shape, dtype="int8"),
        tensor("y", 2, 3, 9, dtype="int32"),
        tensor("f", 2, 3, 9),
        tensor("p", 2, 3, 9),
    ]
    scaled = (FloatStep("fmul", np.array(0.25, np.float32)), FloatStep("fadd", "p"))
    ops: list[Op] = [
        Product("y", "a", "b", za, zb, transposed, None),
        Product("f", "a", "b", za, zb, transposed, None, scaled),
    ]
    p = floats(12, 2, 3, 9)
    found = run(tensors, ops, ["y", "f"], config, a=a, b=b, p=p)
    right = b.astype(np.int64) - zb
    want = (a.astype(np.int64) - za) @ (right.swapaxes(-1, -2) if transposed else right)
    np.testing.assert_array_equal(found["y"], want)
    np.testing.assert_array_equal(found["f"], want.astype(np.float32) * np.float32(0.25) + p)


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_look_ups(config: ChipConfig, dtype: StoredType) -> None:
    table = floats(13, 11, 21) if dtype == "float32" else codes(13, 11, 21)
    other = codes(14, 300, 7)
    at = np.array([[0, 10, 3, 3], [-1, 7, 10, -11]])
    tensors = [
        tensor("at", 2, 4, 1, dtype="index"),
        tensor("y", 2, 4, 21, dtype=dtype),
        tensor("z", 2, 4, 7, dtype="int8"),
    ]
    found = run(tensors, [Lookup("y", "at", table), Lookup("z", "at", other)], ["y", "z"], config, at=at)
    np.testing.assert_array_equal(found["y"], table[at])
    # Indices count from the end of the smallest table.
    np.testing.assert_array_equal(found["z"], other[at % 11])
    with pytest.raises(InputError, match="input 'at' holds the index 11, but there are 11 rows to choose from"):
        run(tensors, [Lookup("y", "at", table), Lookup("z", "at", other)], ["y", "z"], config, at=at + 1)


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_constants_that_are_tensors(config: ChipConfig) -> None:
    x, c = floats(15, 4, 9), floats(16, 4, 9)
    tensors = [tensor(n, 4, 9) for n in "xcy"]
    ops: list[Op] = [ConstantTensor("c", c), Pointwise("y", "x", 0, (FloatStep("fadd", "c"),), None)]
    np.testing.assert_array_equal(run(tensors, ops, ["y"], config, x=x)["y"], x + c)


def test_lanes_that_take_turns_at_special_functions_are_in_the_bound() -> None:
    """64 exponentials through one unit, each taking as many cycles as lanes share it."""
    ops: list[Op] = [Pointwise("y", "x", 0, (FloatStep("exp", None),), None)]
    x, y = (Port(name, name, "float32", (64, 4)) for name in "xy")
    graph = Graph("turns", (tensor("x", 64, 4), tensor("y", 64, 4)), tuple(ops), (x,), (y,))
    config = dataclasses.replace(ROOMY, special_turns=4)
    assert lower_bounds(graph, ROOMY).resources["VXM special"] == 64
    bounds = lower_bounds(graph, config)
    assert (bounds.busiest, bounds.resources[bounds.busiest]) == ("VXM special", 256)
    assert compile_graph(graph, config).cycles >= bounds.cycles


def test_digits_on_the_chip_that_an_ecp5_can_wire() -> None:
    """Its ALUs take no immediates, its SXM turns no words, and a word takes all of its streams."""
    config = ULX3S16
    assert (config.lanes, config.mem_slices * config.mem_words * config.lanes) == (16, 256 << 10)
    with np.load(EXAMPLES / "digits" / "digits_test.npz") as data:
        images = data["images"][:5]
    graph = import_onnx(EXAMPLES / "digits" / "digits.onnx", batch=len(images))
    with open_device("golden", config) as device:
        device.load(compile_graph(graph, config))
        found = device.run({"image": images}).outputs["logits"]
    np.testing.assert_array_equal(found, evaluate(graph, {"image": images})["logits"])


def test_a_sum_of_lanes_needs_an_sxm_that_turns_words() -> None:
    config, reduced = dataclasses.replace(NANO, sxm_rotates=False), Reduce("y", "x", "fadd")
    with pytest.raises(CompileError, match=r"'y': the SXM of config 'nano' turns no 32-bit .* 'sxm_rotates'"):
        run([tensor("x", 2, 5), tensor("y", 2, 1)], [reduced], ["y"], config, x=floats(1, 2, 5))


def test_a_product_with_a_transpose_needs_an_array_that_takes_it() -> None:
    tensors = [
        tensor("a", 2, 5, dtype="int8"),
        tensor("b", 3, 5, dtype="int8"),
        tensor("y", 2, 3, dtype="int32"),
    ]
    config = dataclasses.replace(NANO, mxm_transposes=False)
    with pytest.raises(CompileError, match=r"'y': the MXM of config 'nano' loads no weights as columns, .* of 'b'"):
        run(tensors, [Product("y", "a", "b", 0, 0, True, None)], ["y"], config, a=codes(1, 2, 5), b=codes(2, 3, 5))
