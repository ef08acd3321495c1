# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Kernels written by hand, compiled and run: states, stacked products, and words that are used again."""

import dataclasses

import numpy as np
import pytest

from openlpu.arch.config import ChipConfig
from openlpu.arch.presets import LAB32, NANO, ULX3S
from openlpu.arch.program import Port, Program
from openlpu.compiler import graph as ir
from openlpu.compiler.bounds import Bounds
from openlpu.compiler.kernel_writer import KernelWriter
from openlpu.compiler.kernels import BufferOperand, Immediate, KernelGraph, Step, Target, Term
from openlpu.compiler.pipeline import Ports, compile_kernels
from openlpu.compiler.place import Placement
from openlpu.runtime.driver import open_device


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
