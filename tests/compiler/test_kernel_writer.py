# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Kernels written by hand, compiled and run: states, stacked products, and words that are used again."""

import dataclasses

import numpy as np
import pytest

from openlpu.arch.config import ChipConfig
from openlpu.arch.numerics import to_bits
from openlpu.arch.presets import LAB32, NANO, ULX3S
from openlpu.arch.program import Port, Program
from openlpu.compiler import graph as ir
from openlpu.compiler.bounds import Bounds
from openlpu.compiler.kernel_reference import KernelReference
from openlpu.compiler.kernel_writer import KernelWriter
from openlpu.compiler.kernels import BufferOperand, Factor, Immediate, KernelGraph, MatMulKernel, Step, Target, Term
from openlpu.compiler.pipeline import Ports, compile_kernels
from openlpu.compiler.place import Placement
from openlpu.compiler.tiles import Tiles
from openlpu.runtime.driver import open_device

SUM = [Step("i2f", Immediate(0))]


def floats(name: str, config: ChipConfig, rows: int) -> ir.Port:
    return ir.Port(name, name, "float32", (rows, config.lanes))


def compiled(kernels: KernelGraph, config: ChipConfig) -> Program:
    """The program, and every port a float matrix in a buffer of its own name."""

    def ports(graph: KernelGraph, placement: Placement) -> Ports:
        def port(outside: ir.Port) -> Port:
            rows, cols = outside.shape
            columns = placement.buffers[outside.tensor]
            return Port(outside.name, outside.shape, rows, cols, columns, "float32", stored="float32")

        return Ports(tuple(port(p) for p, _ in graph.inputs), tuple(port(p) for p, _ in graph.outputs))

    return compile_kernels(kernels, config, ports, Bounds({"nothing": 1}, 1), 0, lambda name, text: None)


def test_nothing_is_written_over_what_is_still_to_be_read() -> None:
    # Nothing but the words that they share keeps `late` from being computed before `first` has been read.
    small = dataclasses.replace(NANO, mem_words=16)
    rows, writer = small.mem_words // 5 + 1, KernelWriter(small)
    for name in ("a", "b"):
        writer.buffer(name, rows)
    long_way = [Step("fmul", Immediate.of_float(2.0)), Step("fadd", Immediate.of_float(1.0)), Step("recip")]
    first = writer.made("first", BufferOperand("a"), long_way, rows=rows)
    writer.made("sum", first, [Step("fadd", Immediate.of_float(1.0))], rows=rows)
    writer.made("late", BufferOperand("b"), [Step("fmul", Immediate.of_float(3.0))], rows=rows)
    inputs = [(floats(name, small, rows), name) for name in ("a", "b")]
    outputs = [(floats(name, small, rows), BufferOperand(name)) for name in ("sum", "late")]
    kernels = writer.written("tight", inputs, outputs)
    placement = Placement(kernels, small)
    assert placement.before["late"] == {"first"}
    rng = np.random.default_rng(3)
    a, b = (rng.uniform(1, 2, (rows, small.lanes)).astype(np.float32) for _ in range(2))
    with open_device("golden", small) as device:
        device.load(compiled(kernels, small))
        found = device.run({"a": a, "b": b}).outputs
    np.testing.assert_allclose(found["sum"], 1 / (a * 2 + 1) + 1, rtol=1e-6)
    np.testing.assert_array_equal(found["late"], b * 3)


@pytest.mark.parametrize("config", [NANO, ULX3S], ids=lambda config: config.name)
def test_a_state_is_what_the_run_before_left(config: ChipConfig) -> None:
    writer = KernelWriter(config)
    writer.state("total", np.zeros((2, config.lanes), np.int32))
    writer.buffer("x", 2)
    writer.made("seen", BufferOperand("total"), [Step("fadd", Immediate.of_float(0.0))], rows=2)
    writer.vector("total", BufferOperand("total"), [Step("fadd", BufferOperand("x"))])
    outputs = [(floats(name, config, 2), BufferOperand(name)) for name in ("seen", "total")]
    program = compiled(writer.written("adder", [(floats("x", config, 2), "x")], outputs), config)
    x = np.arange(2 * config.lanes, dtype=np.float32).reshape(2, -1)
    with open_device("golden", config) as device:
        device.load(program)
        for count, total in ((1, 1), (3, 4), (2, 6)):
            outputs_now = device.run({"x": x}, count).outputs
            np.testing.assert_array_equal(outputs_now["total"], x * total)
            np.testing.assert_array_equal(outputs_now["seen"], x * (total - 1))
        device.load(program)
        np.testing.assert_array_equal(device.run({"x": x}).outputs["total"], x)


def test_a_state_changes_no_sooner_than_it_has_been_read() -> None:
    chip, double = ULX3S, [Step("fmul", Immediate.of_float(2.0))]
    writer = KernelWriter(chip)
    writer.state("count", np.zeros((1, chip.lanes), np.int32))
    # The state is read late, and what becomes of it is known from the beginning.
    late = BufferOperand(writer.buffer("x", 1))
    for i in range(3):
        late = writer.made(f"later{i}", late, double, rows=1)
    writer.made("y", late, [Step("fadd", BufferOperand("count"))], rows=1)
    writer.vector("count", BufferOperand("x"), [])
    graph = writer.written("late", [(floats("x", chip, 1), "x")], [(floats("y", chip, 1), BufferOperand("y"))])
    with open_device("golden", chip) as device:
        device.load(compiled(graph, chip))
        first, second = (device.run({"x": np.full((1, chip.lanes), x, np.float32)}).outputs["y"] for x in (3, 5))
    assert (first == 24).all()
    assert (second == 43).all()


@pytest.mark.parametrize("rows", [1, 40])
def test_columns_of_several_planes_lie_below_one_another(rows: int) -> None:
    """Replayed and streamed; what reads the last column waits for it."""
    writer, lanes, columns = KernelWriter(LAB32), LAB32.lanes, 6
    x = BufferOperand(writer.buffer("x", rows))
    codes = writer.made("codes", x, [Step("f2i", Immediate(0))], rows=rows, wide=False)
    weights = np.random.default_rng(rows).integers(-127, 128, (lanes, columns * lanes)).astype(np.int8)
    last = BufferOperand(writer.buffer("y", columns * rows), first_row=(columns - 1) * rows)
    writer.product("y", [Term(codes, (weights,))], [Step("i2f", Immediate(0))], Target(stacked=columns))
    z = writer.made("z", last, [Step("fmul", Immediate.of_float(0.5))], rows=rows)
    ports = [(floats("x", LAB32, rows), "x")], [(floats("z", LAB32, rows), z)]
    program = compiled(writer.written("planes", *ports), LAB32)
    inputs = np.random.default_rng(1).integers(-128, 128, (rows, lanes))
    with open_device("golden", LAB32) as device:
        device.load(program)
        found = device.run({"x": inputs.astype(np.float32)}).outputs["z"]
    assert np.array_equal(found, inputs @ weights[:, -lanes:].astype(np.int64) / 2)


OWN_REACH = dataclasses.replace(ULX3S, name="own", mxm_transposes=True)
TWO_SIDES = dataclasses.replace(
    LAB32, name="sides", lanes=8, mem_slices=16, streams=8, weight_streams=4, mxm_planes=2, act_depth=8, acc_depth=64
)


@pytest.mark.parametrize("config", [LAB32, TWO_SIDES, OWN_REACH], ids=lambda config: config.name)
def test_caches_take_rows_wherever_their_planes_are(config: ChipConfig) -> None:
    """Five caches, and so more than planes; three rows of queries; what is kept stays where it is."""
    lanes, caches, rows = config.lanes, 5, 3
    writer = KernelWriter(config)
    writer.buffer("x", rows)
    writer.buffer("place", 1)
    here = writer.made("word", BufferOperand("place"), [Step("f2i", Immediate(0))], rows=1)
    writer.made("index", BufferOperand(here.name, byte=0), [], rows=1, wide=False)
    codes = writer.made("codes", BufferOperand("x"), [Step("f2i", Immediate(0))], rows=rows, wide=False)
    for number in range(caches):
        writer.state(f"cache{number}", np.zeros((3 * lanes, lanes), np.int8))
        row = BufferOperand("x", first_row=number % rows)
        writer.vector(f"cache{number}", row, [Step("f2i", Immediate(number))], Target(indices="index"))
    for number in range(caches):
        writer.buffer(f"y{number}", rows, cols=3 * lanes)
        writer.product(f"y{number}", [Term(codes, Factor(f"cache{number}", transposed=True))], SUM)
    names = [f"y{number}" for number in range(caches)]
    outputs = [(ir.Port(name, name, "float32", (rows, 3 * lanes)), BufferOperand(name)) for name in names]
    inputs = [(floats("x", config, rows), "x"), (floats("place", config, 1), "place")]
    kernels = writer.written("caches", inputs, outputs)
    reference, rng = KernelReference(kernels, config), np.random.default_rng(4)
    with open_device("golden", config) as device:
        device.load(compiled(kernels, config))
        for place in (0, 1, 3 * lanes - 1, lanes + 1, 1):
            values = {
                "x": rng.integers(-9, 10, (rows, lanes)).astype(np.float32),
                "place": np.eye(1, lanes, dtype=np.float32) * place,
            }
            found = device.run(values).outputs
            wanted = reference.run({name: to_bits(array) for name, array in values.items()})
            for name in names:
                np.testing.assert_array_equal(to_bits(found[name]), wanted[name])


@pytest.mark.parametrize("config", [LAB32, OWN_REACH], ids=lambda config: config.name)
def test_rows_that_exceed_the_activation_buffer_pass_it_in_parts(config: ChipConfig) -> None:
    """Sums wait in accumulators of their own, and a tile that comes again stays in the array."""
    config = dataclasses.replace(config, act_depth=8)
    lanes, inputs, columns, rows = config.lanes, 11, 6, 2
    writer = KernelWriter(config)
    writer.buffer("x", rows * inputs)
    writer.made("codes", BufferOperand("x"), [Step("f2i", Immediate(0))], rows=rows * inputs, wide=False)
    weights = np.random.default_rng(6).integers(-127, 128, (inputs, lanes, columns * lanes)).astype(np.int8)
    weights[3] = weights[2]
    views = [BufferOperand("codes", first_row=number, row_step=inputs) for number in range(inputs)]
    writer.buffer("y", rows, cols=columns * lanes)
    writer.product("y", [Term(view, (tile,)) for view, tile in zip(views, weights, strict=True)], SUM)
    y = ir.Port("y", "y", "float32", (rows, columns * lanes))
    kernels = writer.written("parts", [(floats("x", config, rows * inputs), "x")], [(y, BufferOperand("y"))])
    tiles = Tiles(kernels, Placement(kernels, config), config)
    (product,) = (kernel for kernel in kernels.kernels if isinstance(kernel, MatMulKernel))
    assert tiles.replays(1, product)
    assert [len(sources) for sources in tiles.passes(1, product)] == [2, 2, 2, 2, 2, 1]
    x = np.random.default_rng(7).integers(-128, 128, (rows * inputs, lanes))
    with open_device("golden", config) as device:
        device.load(compiled(kernels, config))
        found = device.run({"x": x.astype(np.float32)}).outputs["y"]
    wanted = sum(x[[number, inputs + number]] @ weights[number].astype(np.int64) for number in range(inputs))
    assert np.array_equal(found, wanted)


def test_planes_add_up_the_columns_that_all_of_them_share() -> None:
    lanes, inputs, columns = LAB32.lanes, 16, 6
    writer = KernelWriter(LAB32)
    writer.buffer("x", 2 * inputs)
    writer.made("codes", BufferOperand("x"), [Step("f2i", Immediate(0))], rows=2 * inputs, wide=False)
    weights = np.random.default_rng(8).integers(-127, 128, (inputs, lanes, columns * lanes)).astype(np.int8)
    views = [BufferOperand("codes", first_row=number, row_step=inputs) for number in range(inputs)]
    terms = [Term(view, (tile,)) for view, tile in zip(views, weights, strict=True)]
    writer.buffer("y", 2 * columns)
    writer.product("y", terms, SUM, Target(rows=2, stacked=columns))
    y = [(floats("y", LAB32, 2 * columns), BufferOperand("y"))]
    kernels = writer.written("shared", [(floats("x", LAB32, 2 * inputs), "x")], y)
    assert all(len(members) == 4 for members in Placement(kernels, LAB32).dealing.rounds[1])
    x = np.random.default_rng(9).integers(-128, 128, (2 * inputs, lanes))
    with open_device("golden", LAB32) as device:
        device.load(compiled(kernels, LAB32))
        found = device.run({"x": x.astype(np.float32)}).outputs["y"]
    rows = x.reshape(2, -1) @ weights.reshape(-1, columns * lanes).astype(np.int64)
    assert np.array_equal(found, rows.reshape(2, columns, lanes).swapaxes(0, 1).reshape(-1, lanes))
