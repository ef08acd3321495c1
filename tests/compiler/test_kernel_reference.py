# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The meaning of kernels against the meaning of the graphs that they were lowered from, bit by bit."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.compiler.onnx_catalogue import GROUPS
from tests.compiler.test_float_backend import CONFIGS

from openlpu.arch import numerics
from openlpu.arch.config import ChipConfig
from openlpu.arch.presets import NANO
from openlpu.compiler.errors import InternalCompilerError
from openlpu.compiler.graph import Port, Reduce
from openlpu.compiler.kernel_reference import KernelReference
from openlpu.compiler.kernels import (
    Buffer,
    BufferOperand,
    Content,
    Kernel,
    KernelGraph,
    LaneConstants,
    MatMulKernel,
    Step,
    Target,
    Term,
    VectorKernel,
)
from openlpu.compiler.lower import lower
from openlpu.compiler.onnx_import import import_model
from openlpu.compiler.reference import Stored, dequantize_output, evaluate_stored, quantize_input


def as_kernels_have_it(stored: Stored) -> Content:
    """A tensor of a graph as rows of a buffer."""
    if stored.dtype == np.int64:
        return np.ascontiguousarray(stored.reshape(-1, 1)).astype("<u2").view(np.int8)
    rows: npt.NDArray[Any] = np.ascontiguousarray(stored).reshape(-1, stored.shape[-1])
    return rows.view(np.int8) if rows.dtype == np.int8 else rows.view(np.int32)


@pytest.mark.parametrize("chip", range(len(CONFIGS)))
@pytest.mark.parametrize("group", GROUPS)
def test_lowering_keeps_the_meaning(group: str, chip: int) -> None:
    config = CONFIGS[chip]
    for number, case in enumerate(GROUPS[group](0)):
        if number % len(CONFIGS) != chip:
            continue
        graph = import_model(case.model)
        stored = {port.tensor: quantize_input(graph, port, case.inputs[port.name]) for port in graph.inputs}
        inputs = {port.name: as_kernels_have_it(stored[port.tensor]) for port in graph.inputs}
        found = KernelReference(lower(graph, config), config).run(inputs)
        expected = evaluate_stored(graph, stored)
        # A sum over lanes is formed in another order.
        sums = any(isinstance(op, Reduce) and op.function == "fadd" for op in graph.ops)
        results = {}
        for port in graph.outputs:
            tensor = expected[port.tensor]
            wanted = as_kernels_have_it(tensor)
            rows = found[port.name][: len(wanted)]
            assert sums or np.array_equal(rows, wanted), f"{case.name}: {port.name}"
            outside: npt.NDArray[Any] = rows.view(tensor.dtype).reshape(tensor.shape)
            results[port.name] = dequantize_output(graph, port, outside)
        case.check(results)


# Kernels that say what no lowered network says

LANES = NANO.lanes


def graph(
    buffers: list[Buffer],
    kernels: Sequence[Kernel],
    states: dict[str, Content] | None = None,
    constants: dict[str, Content] | None = None,
) -> KernelGraph:
    """The first buffer is the input "x", the last one the output "y"."""

    def port(name: str, buffer: Buffer) -> Port:
        return Port(name, buffer.name, "int32" if buffer.wide else "int8", (buffer.rows, buffer.cols))

    first, last = buffers[0], buffers[-1]
    inputs, outputs = ((port("x", first), first.name),), ((port("y", last), BufferOperand(last.name)),)
    return KernelGraph("g", tuple(buffers), tuple(kernels), inputs, outputs, constants or {}, states or {})


def words(seed: int, *shape: int) -> npt.NDArray[np.int32]:
    return np.random.default_rng(seed).integers(-(2**31), 2**31, shape).astype(np.int32)


def codes(seed: int, *shape: int) -> npt.NDArray[np.int8]:
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


def computed(g: KernelGraph, x: Content, config: ChipConfig = NANO) -> Content:
    return KernelReference(g, config).run({"x": x})["y"]


def test_lanes_turn_by_vectors() -> None:
    x = words(1, 2, 2 * LANES)
    kernel = VectorKernel("y", BufferOperand("x", rotate=1), ())
    y = computed(graph([Buffer("x", 2, 2 * LANES, True), Buffer("y", 2, 2 * LANES, True)], [kernel]), x)
    assert np.array_equal(y, np.roll(x.reshape(2, 2, LANES), 1, axis=-1).reshape(2, -1))


def test_lanes_beyond_the_last_column_turn_too() -> None:
    x = words(1, 1, LANES - 1)
    buffers = [Buffer("x", 1, LANES - 1, True), Buffer("y", 1, LANES - 1, True)]
    y = computed(graph(buffers, [VectorKernel("y", BufferOperand("x", rotate=1), ())]), x)
    assert np.array_equal(y, np.concatenate([[[0]], x[:, :-1]], axis=1))


def test_a_byte_is_read_signed_and_written_saturated() -> None:
    x = words(2, 3, LANES)
    kernels = [VectorKernel("y", BufferOperand("x", byte=2), (), Target(byte=byte)) for byte in range(3)]
    kernels.append(VectorKernel("y", BufferOperand("x"), (), Target(byte=3)))
    y = computed(graph([Buffer("x", 3, LANES, True), Buffer("y", 3, LANES, True)], kernels), x)
    planes = y.view(np.int8).reshape(3, LANES, 4)
    assert all(np.array_equal(planes[..., byte], x.view(np.int8).reshape(3, LANES, 4)[..., 2]) for byte in range(3))
    assert np.array_equal(planes[..., 3], numerics.saturate_int8(x))


def test_columns_of_a_product_lie_below_one_another() -> None:
    x, weights, addends = codes(3, 2, LANES), codes(4, LANES, 3 * LANES), words(5, 6, LANES) >> 8
    chain = (Step("iadd", BufferOperand("addends", first_row=5, row_step=-1)),)
    kernel = MatMulKernel("y", (Term(BufferOperand("x"), (weights,)),), chain, Target(1, 2, 2, stacked=3))
    other = VectorKernel("y", BufferOperand("addends"), (), Target(0, 2, 6))
    buffers = [Buffer("x", 2, LANES, False), Buffer("addends", 6, LANES, True), Buffer("y", 12, LANES, True)]
    y = computed(graph(buffers, [kernel, other], constants={"addends": addends}), x)
    sums = x.astype(np.int32) @ weights.astype(np.int32)
    below = np.concatenate([sums[:, block * LANES : (block + 1) * LANES] for block in range(3)])
    assert np.array_equal(y[1::2], below + addends[::-1])
    assert np.array_equal(y[::2], addends)


def test_a_column_meets_every_other() -> None:
    x, y = words(6, 2, 2 * LANES), words(7, 2, 2 * LANES)
    kernel = VectorKernel("y", BufferOperand("x", column=1), (Step("isub", BufferOperand("z", column=0)),))
    buffers = [Buffer("x", 2, 2 * LANES, True), Buffer("z", 2, 2 * LANES, True), Buffer("y", 2, 2 * LANES, True)]
    found = computed(graph(buffers, [kernel], constants={"z": y}), x)
    assert np.array_equal(found, np.tile(x[:, LANES:] - y[:, :LANES], 2))


def test_rows_are_looked_up_and_dealt() -> None:
    table = codes(8, 500, LANES)
    x = np.zeros((1, LANES), np.int8)
    x[0, :2] = np.array([456 % 256, 456 // 256], np.uint8).view(np.int8)
    views = [BufferOperand("table", indices="x", dealt=feeder) for feeder in range(NANO.weight_streams)]
    kernels = [VectorKernel("y", view, (), Target(row, rows=1)) for row, view in enumerate(views)]
    buffers = [Buffer("x", 1, LANES, False), Buffer("table", 500, LANES, False), Buffer("y", len(views), LANES, False)]
    y = computed(graph(buffers, kernels, constants={"table": table}), x)
    expected = np.zeros_like(y)
    expected[456 % NANO.weight_streams] = table[456]
    assert np.array_equal(y, expected)


def test_columns_that_an_input_lacks_are_zero() -> None:
    buffers = [Buffer("x", 1, LANES, False), Buffer("y", 1, LANES, False)]
    reference = KernelReference(graph(buffers, [VectorKernel("y", BufferOperand("x"), ())]), NANO)
    reference.run({"x": np.full((1, LANES), 7, np.int8)})
    assert reference.run({"x": np.full((1, 2), 9, np.int8)})["y"].tolist() == [[9, 9] + [0] * (LANES - 2)]


@pytest.mark.parametrize(("place", "row"), [(0, 0), (4, 4), (8, 0), (12, 4), (300, 4)])
def test_an_index_counts_modulo_the_window_of_a_table(place: int, row: int) -> None:
    buffers = [Buffer("x", 1, LANES, False), Buffer("table", 5, LANES, False), Buffer("y", 1, LANES, False)]
    kernels = [VectorKernel("y", BufferOperand("table", indices="x"), ())]
    index, table = np.zeros((1, LANES), np.int8), codes(3, 5, LANES)
    index[0, :2] = np.array([place], "<u2").view(np.int8)
    reference = KernelReference(graph(buffers, kernels, constants={"table": table}), NANO)
    assert np.array_equal(reference.run({"x": index})["y"], table[[row]])


def test_states_take_rows_by_an_index_and_keep_them() -> None:
    buffers = [Buffer("x", 1, LANES, False), Buffer("place", 1, LANES, True), Buffer("index", 1, LANES, False)]
    buffers += [Buffer("list", 5, LANES, False), Buffer("y", 5, LANES, False)]
    kernels = [
        VectorKernel("index", BufferOperand("place", byte=0), ()),
        VectorKernel("list", BufferOperand("x"), (), Target(indices="index")),
        VectorKernel("y", BufferOperand("list"), ()),
        VectorKernel(
            "place", BufferOperand("place"), (Step("iadd", LaneConstants("next", np.eye(1, LANES, dtype=np.int32)[0])),)
        ),
    ]
    first = np.zeros((1, LANES), np.int32)
    first[0, 0] = 1
    states: dict[str, Content] = {"place": first, "list": codes(9, 5, LANES)}
    g = graph(buffers, kernels, states=states)
    reference, rows = KernelReference(g, NANO), [codes(seed, 1, LANES) for seed in (10, 11)]
    y = [reference.run({"x": row})["y"] for row in rows][-1]
    assert np.array_equal(y[1:3], np.concatenate(rows))
    assert np.array_equal(y[3:], states["list"][3:])
    assert np.array_equal(reference.read("list"), y)
    assert np.array_equal(states["place"], first)


def test_what_does_not_fit_is_refused() -> None:
    buffers = [Buffer("x", 2, LANES, False), Buffer("y", 2, LANES, False)]
    reference = KernelReference(graph(buffers, [VectorKernel("y", BufferOperand("x"), ())]), NANO)
    with pytest.raises(KeyError, match="x"):
        reference.run({})
    with pytest.raises(ValueError, match=r"%x holds int8, 2 rows of 4; int32\[2, 4\] was given"):
        reference.run({"x": words(0, 2, LANES)})
    for shape in ((1, LANES), (2, LANES + 1)):
        with pytest.raises(ValueError, match=r"%x holds int8, 2 rows of 4; "):
            reference.run({"x": codes(0, *shape)})
    with pytest.raises(InternalCompilerError):
        KernelReference(graph(buffers, [VectorKernel("y", BufferOperand("x", first_row=1), ())]), NANO)
