# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Lower bounds of kernels: below what the scheduler reaches, and above what each single cause makes of them."""

import dataclasses

import numpy as np
import pytest

from openlpu.arch.config import ChipConfig, OpClass
from openlpu.arch.geometry import QueueKind, geometry
from openlpu.arch.presets import LAB32, ULX3S, ULX3S8
from openlpu.compiler.graph import Port
from openlpu.compiler.kernel_bounds import chain_ends, kernel_bounds
from openlpu.compiler.kernel_writer import KernelWriter
from openlpu.compiler.kernels import BufferOperand, Immediate, KernelGraph, Step, Target
from openlpu.compiler.place import Placement
from openlpu.compiler.schedule import schedule

WHOLE = Immediate(0)


def through(*passes: tuple[Step, ...], rows: int, config: ChipConfig = ULX3S) -> KernelGraph:
    """Vectors that pass the VXM, once for every chain of steps."""
    writer = KernelWriter(config)
    view = BufferOperand(writer.buffer("x", rows))
    for i, steps in enumerate(passes):
        view = writer.made(f"pass{i}", view, steps, rows=rows)
    lanes = config.lanes
    port = Port("x", "x", "float32", (rows, lanes))
    return writer.written("passes", [(port, "x")], [(Port("y", "y", "float32", (rows, lanes)), view)])


def product(inputs: int, outputs: int, config: ChipConfig = ULX3S) -> KernelGraph:
    """A vector, made whole, times a matrix."""
    writer = KernelWriter(config)
    x = BufferOperand(writer.buffer("x", inputs))
    whole = writer.made("whole", x, [Step("f2i", WHOLE)], rows=inputs, wide=False)
    codes = np.random.default_rng(1).integers(-127, 128, (inputs * config.lanes, outputs * config.lanes))
    rows = writer.rows(whole.name, inputs)
    y = writer.stacked("y", rows, codes.astype(np.int8), [Step("i2f", WHOLE)])
    port = Port("x", "x", "float32", (inputs, config.lanes))
    return writer.written("product", [(port, "x")], [(Port("y", "y", "float32", (outputs, config.lanes)), y)])


def cycles(graph: KernelGraph, config: ChipConfig = ULX3S) -> int:
    graph.verify()
    return max(schedule(graph, Placement(graph, config), config).finished)


def test_vectors_take_turns_at_special_functions() -> None:
    one, many = (kernel_bounds(through((Step("exp"),), rows=rows), ULX3S).chain for rows in (1, 40))
    assert many - one == 39 * ULX3S.special_turns


def test_as_many_vectors_as_units_come_at_once() -> None:
    chip = dataclasses.replace(LAB32, special_turns=8)
    units = sum(OpClass.SPECIAL in alu.classes for alu in chip.alus)
    one, few, many = (
        kernel_bounds(through((Step("exp"),), rows=rows, config=chip), chip).chain for rows in (1, units, 9 * units)
    )
    assert 1 < units <= 8
    assert one == few < many <= one + 8 * chip.special_turns


def test_a_row_does_not_wait_for_others_of_its_buffer() -> None:
    writer, double = KernelWriter(ULX3S), [Step("fmul", Immediate.of_float(2.0))]
    x = BufferOperand(writer.buffer("x", 1))
    late = writer.made("late", writer.made("later", x, double, rows=1), double, rows=1)
    both = BufferOperand(writer.buffer("both", 2), row_step=0)
    writer.vector("both", late, double, Target(first_row=1, rows=1))
    writer.vector("both", x, double, Target(rows=1))
    y = writer.made("y", both, double, rows=1)
    port = Port("x", "x", "float32", (1, ULX3S.lanes))
    ends = chain_ends(writer.written("rows", [(port, "x")], [(dataclasses.replace(port, name="y"), y)]), ULX3S)
    assert ends[-1] == ends[1] == 2 * ends[0]


def test_a_pass_waits_for_the_first_vector_of_the_one_before() -> None:
    steps = (Step("fmul", Immediate.of_float(2.0)),)
    once, twice = (kernel_bounds(through(*[steps] * n, rows=20), ULX3S).chain for n in (1, 2))
    alone = kernel_bounds(through(steps, rows=1), ULX3S).chain
    assert once == alone + 19
    assert twice == 2 * alone + 19


def test_a_sum_over_all_rows_waits_for_the_last() -> None:
    few, many = (kernel_bounds(product(inputs, 1), ULX3S).chain for inputs in (1, 4))
    assert many >= few + 3


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_parts_that_read_all_rows_wait_for_the_last(parts: int) -> None:
    """Powers come one after the other; whichever part of them is first, another one has the last."""
    rows = 32
    writer = KernelWriter(ULX3S)
    x = BufferOperand(writer.buffer("x", rows))
    writer.made("powers", x, [Step("exp")], rows=rows)
    y = writer.buffer("y", rows)
    for first in range(0, rows, rows // parts):
        part = BufferOperand("powers", first_row=first)
        writer.vector(y, part, [Step("fmul", Immediate.of_float(2.0))], Target(first_row=first, rows=rows // parts))
    port = Port("x", "x", "float32", (rows, ULX3S.lanes))
    graph = writer.written("parts", [(port, "x")], [(Port("y", "y", "float32", port.shape), BufferOperand(y))])
    powers, *ends = chain_ends(graph, ULX3S)
    alone = kernel_bounds(through((Step("fmul", Immediate.of_float(2.0)),), rows=1), ULX3S).chain
    assert ends[-1] == powers + alone
    assert ends == sorted(ends)
    assert ends[-1] <= cycles(graph)


def test_a_product_streams_its_weights() -> None:
    bounds = kernel_bounds(product(4, 20), ULX3S)
    tiles = 4 * 20 * ULX3S.lanes // ULX3S.weight_streams
    assert bounds.resources["weight streams"] == tiles
    assert bounds.chain > tiles


@pytest.mark.parametrize("rows", [1, 3, 40])
@pytest.mark.parametrize("steps", ["exp", "fmul"])
def test_no_pass_is_shorter(rows: int, steps: str) -> None:
    step = Step("exp") if steps == "exp" else Step("fmul", Immediate.of_float(0.5))
    graph = through((step,), (step,), rows=rows)
    assert 0.8 * cycles(graph) <= kernel_bounds(graph, ULX3S).cycles <= cycles(graph)


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (4, 20), (10, 4)])
@pytest.mark.parametrize("config", [ULX3S, ULX3S8, LAB32], ids=lambda config: config.name)
def test_no_product_is_shorter(inputs: int, outputs: int, config: ChipConfig) -> None:
    graph = product(inputs, outputs, config)
    bounds = kernel_bounds(graph, config)
    assert 0 < bounds.cycles <= cycles(graph, config)


@pytest.mark.parametrize("alike", [False, True])
def test_products_that_meet_stream_one_after_the_other(alike: bool) -> None:
    inputs, outputs = 4, 20
    writer = KernelWriter(ULX3S)
    x = BufferOperand(writer.buffer("x", inputs))
    whole = writer.made("whole", x, [Step("f2i", WHOLE)], rows=inputs, wide=False)
    rows, random = writer.rows(whole.name, inputs), np.random.default_rng(1)
    factors = [random.integers(-127, 128, (inputs * ULX3S.lanes, outputs * ULX3S.lanes), np.int8) for _ in range(2)]
    steps = [Step("i2f", WHOLE), Step("fmul", Immediate.of_float(0.5))]
    a, b = (
        writer.stacked(name, rows, codes, steps)
        for name, codes in zip("ab", [factors[0], factors[0 if alike else 1]], strict=True)
    )
    met = writer.made("met", a, [Step("fmul", b)], rows=outputs)
    port = Port("x", "x", "float32", (inputs, ULX3S.lanes))
    graph = writer.written("both", [(port, "x")], [(Port("y", "y", "float32", (outputs, ULX3S.lanes)), met)])
    _, one, other, both = chain_ends(graph, ULX3S)
    assert one == other
    # Equal weights may stay where they are.
    tiles = 0 if alike else inputs * outputs * ULX3S.lanes // ULX3S.weight_streams
    assert tiles <= both - one <= tiles + 30
    assert both <= cycles(graph)


def vector_times(writer: KernelWriter, inputs: int, outputs: int) -> BufferOperand:
    """The product of a vector `x` with random weights, a row for each `lanes` columns."""
    lanes, view = writer.lanes, BufferOperand(writer.buffer("x", inputs))
    whole = writer.made("whole", view, [Step("f2i", WHOLE)], rows=inputs, wide=False)
    codes = np.random.default_rng(1).integers(-127, 128, (inputs * lanes, outputs * lanes), np.int8)
    return writer.stacked("y", writer.rows(whole.name, inputs), codes, [Step("i2f", WHOLE)])


@pytest.mark.parametrize("column", [0, 39])
def test_what_comes_behind_one_column_of_a_product_waits_for_no_other(column: int) -> None:
    """It is not there before its own weights have streamed, and may be before those of the others have."""
    inputs, outputs, passes = 4, 40, 12
    writer, half = KernelWriter(ULX3S), [Step("fmul", Immediate.of_float(0.5))]
    y = vector_times(writer, inputs, outputs)
    one = dataclasses.replace(y, first_row=column)
    for number in range(passes):
        one = writer.made(f"pass{number}", one, half, rows=1)
    port = Port("x", "x", "float32", (inputs, ULX3S.lanes))
    ends = [(Port("y", "y", "float32", (outputs, ULX3S.lanes)), y), (Port("z", "z", "float32", (1, ULX3S.lanes)), one)]
    graph = writer.written("one column", [(port, "x")], ends)
    _, whole, *behind = chain_ends(graph, ULX3S)
    assert behind[0] < whole < behind[-1]
    assert behind[-1] <= cycles(graph)


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_special_functions_take_turns_whichever_kernels_they_are_of(parts: int) -> None:
    rows = 40
    writer = KernelWriter(ULX3S)
    x = BufferOperand(writer.buffer("x", rows))
    powers = writer.buffer("powers", rows)
    for part in range(parts):
        target = Target(first_row=part, row_step=parts, rows=rows // parts)
        writer.vector(powers, dataclasses.replace(x, first_row=part, row_step=parts), [Step("exp")], target)
    # A sum of the first row and any other needs both.
    last = BufferOperand(powers, first_row=rows - 1)
    writer.made("sum", BufferOperand(powers), [Step("fadd", dataclasses.replace(last, row_step=0))], rows=rows)
    port = Port("x", "x", "float32", (rows, ULX3S.lanes))
    made = (Port("y", "y", "float32", (rows, ULX3S.lanes)), BufferOperand("sum"))
    graph = writer.written("sums", [(port, "x")], [made])
    assert (rows - 1) * ULX3S.special_turns < kernel_bounds(graph, ULX3S).chain <= cycles(graph)


def test_what_comes_from_the_vxm_has_the_whole_way_to_the_mxm_before_it() -> None:
    """An input may lie next to the MXM; what a pass makes of it has to cross all slices, wherever it is kept."""
    chip = geometry(LAB32)
    way = chip.of_kind(QueueKind.MXM_ACTS)[-1].hop - chip.vxm_hop
    made, read = product(1, 1, LAB32), through((Step("f2i", WHOLE),), rows=1, config=LAB32)
    passes, both = kernel_bounds(read, LAB32).chain, kernel_bounds(made, LAB32).chain
    assert both - passes > 2 * way - 2
    assert 0.75 * cycles(made, LAB32) <= both <= cycles(made, LAB32)


def test_turned_rows_go_to_the_sxm_and_back() -> None:
    writer, lanes = KernelWriter(LAB32), LAB32.lanes
    first = writer.made("first", BufferOperand(writer.buffer("x", 3)), [Step("fmul", Immediate.of_float(2.0))], rows=3)
    largest = writer.largest_lane("largest", first, 3)
    ports = [Port(name, name, "float32", (3, lanes)) for name in ("x", "y")]
    graph = writer.written("turns", [(ports[0], "x")], [(ports[1], largest)])
    chip, turns = geometry(LAB32), lanes.bit_length() - 1
    way = chip.of_kind(QueueKind.SXM_SHIFT)[-1].hop - chip.vxm_hop
    bound = kernel_bounds(graph, LAB32).chain
    assert turns * 2 * way < bound <= cycles(graph, LAB32) <= 1.1 * bound
