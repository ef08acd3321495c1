# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Which plane multiplies by what: homes of caches, and columns that planes share."""

import dataclasses
import itertools

import numpy as np
import pytest
from tests.compiler.kernel_runs import assert_means_what_it_says, graph_of

from openlpu.arch.config import ChipConfig
from openlpu.arch.presets import LAB32, ULX3S
from openlpu.compiler.dealing import Dealing
from openlpu.compiler.errors import InternalCompilerError
from openlpu.compiler.kernel_writer import KernelWriter
from openlpu.compiler.kernels import BufferOperand, Factor, Immediate, KernelGraph, MatMulKernel, Step, Target, Term

SUM = [Step("pass")]
TWO = dataclasses.replace(ULX3S, mxm_planes=2, weight_streams=4, mxm_transposes=True)
"""Two planes, and no ALU that adds integers."""


def products(config: ChipConfig, factors: list[list[str]], chosen: set[str]) -> KernelGraph:
    """A product for each list of names, of as many terms; an index chooses rows of those factors that are `chosen`."""
    writer, lanes = KernelWriter(config), config.lanes
    writer.buffer("x", 1, wide=False)
    writer.constant("index", np.zeros((1, lanes), np.int8))
    for name in sorted({*itertools.chain(*factors)}):
        writer.state(name, np.zeros((2 * lanes, lanes), np.int8))
        target = Target(indices="index") if name in chosen else Target(rows=2 * lanes)
        writer.vector(name, BufferOperand("x", row_step=0), SUM, target)
    for number, names in enumerate(factors):
        terms = [Term(BufferOperand("x"), Factor(name, transposed=True)) for name in names]
        writer.product(writer.buffer(f"y{number}", 1, cols=2 * lanes), terms, SUM)
    return writer.written("products", [], [])


def planes_of(dealing: Dealing, graph: KernelGraph) -> list[set[int]]:
    numbers = [number for number, kernel in enumerate(graph.kernels) if isinstance(kernel, MatMulKernel)]
    return [{share.plane for share in itertools.chain(*dealing.rounds[number])} for number in numbers]


def test_caches_have_homes_in_turn_and_those_that_meet_have_one() -> None:
    factors = [["a", "b"], ["c"], ["d"], ["e"], ["f"], ["b"]]
    graph = products(LAB32, factors, set("abcdef"))
    dealing = Dealing(graph, LAB32)
    assert dealing.homes == {"a": 0, "b": 0, "c": 1, "d": 2, "e": 3, "f": 0}
    assert planes_of(dealing, graph) == [{0}, {1}, {2}, {3}, {0}, {0}]


def test_what_joins_two_caches_late_moves_them_together() -> None:
    dealing = Dealing(products(LAB32, [["a"], ["b"], ["c"], ["a", "b"]], set("abc")), LAB32)
    assert dealing.homes == {"a": 0, "b": 0, "c": 1}


def test_on_one_plane_everything_is_at_home() -> None:
    graph = products(ULX3S, [["a"], ["b"]], {"a", "b"})
    assert planes_of(Dealing(graph, ULX3S), graph) == [{0}, {0}]


def test_other_factors_lie_in_front_of_several_planes() -> None:
    graph = products(LAB32, [["a"]], set())
    dealing = Dealing(graph, LAB32)
    assert dealing.homes == {}
    assert planes_of(dealing, graph) == [{0, 1}]


def table_product(config: ChipConfig, chain: list[Step]) -> Dealing:
    """Of four constant factors with one row, each 4 columns wide."""
    writer, lanes = KernelWriter(config), config.lanes
    writer.buffer("x", 1, wide=False)
    names = [writer.constant(name, np.zeros((lanes, 4 * lanes), np.int8)) for name in "abcd"]
    terms = [Term(BufferOperand("x"), Factor(name)) for name in names]
    writer.product(writer.buffer("y", 1, cols=4 * lanes), terms, chain)
    return Dealing(writer.written("product", [], []), config)


def test_planes_share_every_column_of_constant_factors() -> None:
    dealing = table_product(LAB32, SUM)
    assert dealing.homes == {"a": 0, "b": 1, "c": 2, "d": 3}
    tiles = [{share.plane: [inner.term for inner in share.inners] for share in one} for one in dealing.rounds[0]]
    assert tiles == [{0: [0], 1: [1], 2: [2], 3: [3]}] * 4


def test_factors_stay_together_where_planes_cannot_add_their_sums() -> None:
    assert {*table_product(TWO, SUM).homes.values()} == {0}


def test_a_conversion_adds_the_sums_of_two_planes() -> None:
    assert table_product(TWO, [Step("i2f", Immediate(0))]).homes == {"a": 0, "b": 1, "c": 0, "d": 1}
    assert {*table_product(TWO, [Step("i2f", Immediate(1))]).homes.values()} == {0}


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("config", [LAB32, TWO], ids=["additions", "conversions"])
def test_sums_over_constant_factors_meet_in_the_vxm(config: ChipConfig, rows: int) -> None:
    writer, random, lanes = KernelWriter(config), np.random.default_rng(rows), config.lanes
    writer.buffer("x", 5 * rows, wide=False)
    terms = []
    for number in range(5):
        table = writer.constant(f"table{number}", random.integers(-128, 128, (4 * lanes, lanes), np.int8))
        terms.append(Term(BufferOperand("x", first_row=number * rows), Factor(table, transposed=True)))
    chain = [Step("i2f", Immediate(0)), Step("fmul", Immediate.of_float(0.125))]
    writer.product(writer.buffer("y", 4 * rows), terms, chain, Target(rows=rows, stacked=4))
    graph = graph_of(writer, 5 * rows, {"y": 4 * rows})
    assert len({*Dealing(graph, config).homes.values()}) > 1
    x = random.integers(-128, 128, (5 * rows, lanes), np.int8)
    assert_means_what_it_says(graph, config, x, f"{rows=}")


def test_a_product_of_factors_with_a_home_and_without_is_refused() -> None:
    with pytest.raises(InternalCompilerError, match="with a home and without one"):
        Dealing(products(LAB32, [["a", "b"]], {"a"}), LAB32)


def dealt(rows: int, inputs: int, columns: int) -> list[dict[int, int]]:
    """For each round of a product of so many vectors: the tiles of each plane."""
    writer, lanes = KernelWriter(LAB32), LAB32.lanes
    writer.constant("x", np.zeros((rows, inputs * lanes), np.int8))
    writer.buffer("y", rows, cols=columns * lanes)
    weights = np.ones((inputs * lanes, columns * lanes), np.int8)
    writer.product("y", [Term(BufferOperand("x"), (weights,))], SUM)
    rounds = Dealing(writer.written("product", [], []), LAB32).rounds[0]
    return [{share.plane: len(share.inners) for share in members} for members in rounds]


def test_planes_share_columns_where_rows_take_the_time_of_tiles() -> None:
    """Two rows keep a tile for the two cycles in which the next one is loaded; 48 vectors of them are 96 loads of the
    activation buffer, or 24 if every plane has a quarter. Of 18 vectors planes would have 4 or 5."""
    assert dealt(2, 48, 18) == [{0: 12, 1: 12, 2: 12, 3: 12}] * 18
    assert dealt(1, 48, 16) == [{0: 48, 1: 48, 2: 48, 3: 48}] * 4
    assert dealt(2, 18, 16) == [{0: 18, 1: 18, 2: 18, 3: 18}] * 4


def test_a_long_sum_of_one_column_is_shared() -> None:
    assert dealt(1, 54, 1) == [{0: 14, 1: 14, 2: 13, 3: 13}]
    assert dealt(1, 4, 1) == [{0: 4}]
    assert dealt(1, 54, 2) == [{0: 54, 1: 54}]
