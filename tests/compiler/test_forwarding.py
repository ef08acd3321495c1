# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Results go from the VXM to the MXM while they are written to SRAM: what that saves, and what happens where it cannot
be."""

import dataclasses

import numpy as np
import pytest
from tests.compiler.kernel_runs import assert_means_what_it_says, graph_of, stacked_product

from openlpu.arch.config import ChipConfig
from openlpu.arch.geometry import QueueKind, geometry
from openlpu.arch.isa import BY_MNEMONIC
from openlpu.arch.presets import LAB32, ULX3S
from openlpu.arch.timing import timing
from openlpu.compiler.forwarding import Forwarding
from openlpu.compiler.journeys import after
from openlpu.compiler.kernel_writer import KernelWriter
from openlpu.compiler.kernels import BufferOperand, Immediate, KernelGraph, Step, Term
from openlpu.compiler.place import Placement
from openlpu.compiler.schedule import Schedule, Scheduler, schedule

ROWS = 6
TWICE = [Step("i2f", Immediate(0)), Step("fmul", Immediate.of_float(2.0)), Step("f2i", Immediate(0))]


def scheduled(graph: KernelGraph, config: ChipConfig) -> Schedule:
    return schedule(graph, Placement(graph, config), config)


def at_once(monkeypatch: pytest.MonkeyPatch, graph: KernelGraph, config: ChipConfig) -> tuple[Schedule, Schedule]:
    """A schedule, and what it is where all rows are read from SRAM."""
    forwarded = scheduled(graph, config)
    with monkeypatch.context() as patch:
        patch.setattr(Forwarding, "_await", lambda *_: None)
        return forwarded, scheduled(graph, config)


def doubled(config: ChipConfig, names: str = "a", rows: int = 1) -> KernelGraph:
    """Inputs times 2, in as many buffers as there are names, one after the other; then products of so many rows with
    each of the buffers."""
    writer, random = KernelWriter(config), np.random.default_rng(1)
    writer.buffer("x", ROWS, wide=False)
    for name in names:
        writer.made(f"{name}.codes", BufferOperand("x"), TWICE, rows=ROWS, wide=False)
    counts = {}
    for name in names:
        views = [BufferOperand(f"{name}.codes", first_row=first) for first in range(0, ROWS, rows)]
        weights = random.integers(-128, 128, (len(views), config.lanes, 2 * config.lanes), np.int8)
        counts[name] = stacked_product(writer, name, views, rows, weights, [])
    return graph_of(writer, ROWS, counts)


def reads(found: Schedule, graph: KernelGraph, config: ChipConfig, name: str) -> int:
    """How often words of an int8 buffer are read."""
    count = 0
    for column in Placement(graph, config).buffers[name]:
        for mem_slice in (number for slices in column.places for number in slices):
            queue = geometry(config).of_kind(QueueKind.MEM_READ)[mem_slice]
            addresses = (
                instruction.number("a")
                for run in found.dispatches.get(queue.name, ())
                if run.instruction.spec.mnemonic == "read"
                for _, instruction in run.unrolled()
            )
            words = range(column.base, column.base + graph.buffer(name).rows)
            count += sum(address in words for address in addresses)
    return count


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("config", [ULX3S, LAB32], ids=lambda config: config.name)
def test_nothing_is_read_that_has_passed(monkeypatch: pytest.MonkeyPatch, config: ChipConfig, rows: int) -> None:
    graph = doubled(config, rows=rows)
    forwarded, plain = at_once(monkeypatch, graph, config)
    assert forwarded.cycles < plain.cycles
    assert reads(plain, graph, config, "a.codes") >= ROWS
    assert reads(forwarded, graph, config, "a.codes") == 0


def test_it_saves_a_write_and_a_read(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, chip = doubled(ULX3S), geometry(ULX3S)
    forwarded, plain = at_once(monkeypatch, graph, ULX3S)
    write = timing(ULX3S).latency(BY_MNEMONIC["write"], chip.of_kind(QueueKind.MEM_WRITE)[0])
    read = timing(ULX3S).latency(BY_MNEMONIC["read"], chip.of_kind(QueueKind.MEM_READ)[0])
    sram = after(write.state) - after(write.skew) + after(read.func) - after(read.skew)
    assert plain.cycles - forwarded.cycles == sram


@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("config", [ULX3S, LAB32], ids=lambda config: config.name)
def test_products_are_right(config: ChipConfig, rows: int) -> None:
    graph = doubled(config, "ab", rows)
    x = np.random.default_rng(2).integers(-64, 64, (ROWS, config.lanes), np.int8)
    assert_means_what_it_says(graph, config, x, f"{rows=}")


def test_rows_go_to_the_next_product_alone() -> None:
    """Those of a later one would cost the next one cycles of its weights."""
    graph = doubled(ULX3S, "ab")
    found = scheduled(graph, ULX3S)
    assert [reads(found, graph, ULX3S, f"{name}.codes") for name in "ab"] == [0, ROWS]


def test_there_are_words_for_no_more_rows_than_the_buffer_has() -> None:
    """Two products have rows of one buffer, and the activation buffer has room for those of the first."""
    small = dataclasses.replace(ULX3S, act_depth=ROWS // 2)
    writer, random = KernelWriter(small), np.random.default_rng(4)
    writer.buffer("x", ROWS, wide=False)
    writer.made("codes", BufferOperand("x"), TWICE, rows=ROWS, wide=False)
    counts = {}
    for name, first in (("a", 0), ("b", ROWS // 2)):
        views = [BufferOperand("codes", first_row=first + row) for row in range(ROWS // 2)]
        weights = random.integers(-128, 128, (len(views), small.lanes, 2 * small.lanes), np.int8)
        counts[name] = stacked_product(writer, name, views, 1, weights, [])
    graph = graph_of(writer, ROWS, counts)
    assert reads(scheduled(graph, small), graph, small, "codes") == ROWS // 2
    assert_means_what_it_says(graph, small, random.integers(-64, 64, (ROWS, small.lanes), np.int8), "small")


def test_what_nobody_reads_is_written_before_its_words_go_to_others() -> None:
    graph = doubled(ULX3S)
    scheduler = Scheduler(graph, Placement(graph, ULX3S), ULX3S)
    scheduler.begin()
    for number in range(len(graph.kernels)):
        scheduler.follow(number)
    written = scheduler.scheduled().finished[0]
    assert scheduler.read_until["a.codes"] >= written > 0


def test_a_row_that_would_have_to_wait_is_read_from_sram(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then all of its product are."""
    graph = doubled(ULX3S)
    plain = at_once(monkeypatch, graph, ULX3S)[1]
    monkeypatch.setattr(Forwarding, "may_load", lambda *_: plain.cycles)
    assert scheduled(graph, ULX3S).cycles == plain.cycles


def chained(config: ChipConfig, tiles: int, names: str) -> KernelGraph:
    """Products of the same two rows, of so many columns, one for each name; and a product of all results."""
    writer, random, lanes = KernelWriter(config), np.random.default_rng(5), config.lanes
    writer.buffer("x", 2 * tiles, wide=False)
    views = [BufferOperand("x", first_row=2 * tile) for tile in range(tiles)]

    def terms(views: list[BufferOperand], columns: int) -> list[Term]:
        return [Term(view, (random.integers(-9, 10, (lanes, columns * lanes), np.int8),)) for view in views]

    for name in names:
        writer.buffer(f"{name}.codes", 2, wide=False, cols=3 * lanes)
        small = [Step("i2f", Immediate(0)), Step("fmul", Immediate.of_float(1e-2)), Step("f2i", Immediate(0))]
        writer.product(f"{name}.codes", terms(views, 3), small)
    codes = [BufferOperand(f"{name}.codes") for name in names]
    matrices = random.integers(-9, 10, (len(names), 3 * lanes, lanes), np.int8)
    wide = [Term(view, (matrix,)) for view, matrix in zip(codes, matrices, strict=True)]
    writer.buffer("c", 2)
    writer.product("c", wide, [])
    return graph_of(writer, 2 * tiles, {"c": 2})


@pytest.mark.parametrize(("names", "depth"), [("a", 13), ("a", 14), ("ab", 19), ("ab", 20)])
def test_results_of_products_do_not_take_the_place_of_what_they_are_made_of(names: str, depth: int) -> None:
    """Where the activation buffer has no room for both, the next product reads them from SRAM."""
    tiles, config = 4, dataclasses.replace(ULX3S, act_depth=depth)
    graph = chained(config, tiles, names)
    passed = [reads(scheduled(graph, config), graph, config, f"{name}.codes") == 0 for name in names]
    assert passed == [depth >= 2 * tiles + 6 * len(names)] * len(names)
    x = np.random.default_rng(6).integers(-128, 128, (2 * tiles, config.lanes), np.int8)
    assert_means_what_it_says(graph, config, x, f"{depth=}")


@pytest.mark.parametrize("config", [ULX3S, LAB32], ids=lambda config: config.name)
def test_bytes_of_a_word_do_not_go_on_where_a_plane_would_take_several_at_once(config: ChipConfig) -> None:
    writer, random = KernelWriter(config), np.random.default_rng(2)
    writer.buffer("x", ROWS, wide=False)
    writer.made("words", BufferOperand("x"), TWICE[:2], rows=ROWS)
    views = [BufferOperand("words", byte=byte) for byte in range(4)]
    weights = random.integers(-128, 128, (len(views), config.lanes, 2 * config.lanes), np.int8)
    graph = graph_of(writer, ROWS, {"y": stacked_product(writer, "y", views, ROWS, weights, [])})
    x = random.integers(-128, 128, (ROWS, config.lanes), np.int8)
    assert_means_what_it_says(graph, config, x, "bytes")


def test_a_result_that_goes_on_keeps_no_tile_in_the_array(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next tile waits for the rows that meet the one before, and not for what comes to the activation buffer."""
    config = dataclasses.replace(ULX3S, act_depth=32)
    forwarded, plain = at_once(monkeypatch, chained(config, 1, "ab"), config)
    assert forwarded.finished[1] <= plain.finished[1]
    assert forwarded.cycles < plain.cycles


def test_rows_that_come_slowly_meet_their_tile_as_they_come() -> None:
    """One unit for special functions serves four lanes in turn; what it makes is added up."""
    writer = KernelWriter(ULX3S)
    writer.buffer("x", ROWS, wide=False)
    first, *others = TWICE
    writer.made("codes", BufferOperand("x"), [first, Step("tanh"), *others], rows=ROWS, wide=False)
    views = [BufferOperand("codes", first_row=row) for row in range(ROWS)]
    ones = np.ones((ROWS, ULX3S.lanes, ULX3S.lanes), np.int8)
    graph = graph_of(writer, ROWS, {"y": stacked_product(writer, "y", views, 1, ones, [])})
    queue = geometry(ULX3S).of_kind(QueueKind.MXM_ACTS)[0]
    cycles: dict[str, list[int]] = {"abl": [], "abr": []}
    for run in scheduled(graph, ULX3S).dispatches[queue.name]:
        cycles[run.instruction.spec.mnemonic] += [run.cycle, run.last]
    assert min(cycles["abr"]) < max(cycles["abl"])
