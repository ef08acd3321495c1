# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The units of the VXM in Amaranth's simulator: depth measured, then results compared with `numerics` bit for bit."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from tests.hdl.units import CORNERS, Stimulus, run_datapath, words

from openlpu.arch import numerics
from openlpu.arch.numerics import Words
from openlpu.hdl.fp32 import AddOp, FpAdd, FpMul, FpToInt, IntToFp, Mul
from openlpu.hdl.pipeline import Datapath, Step, registers_after
from openlpu.hdl.shared import Library, ports_of

SEED = 20261123
RANDOM = 1200

# Factors whose product stands at the tie just below the smallest normal, or beside it, at the lower of the exponents.
_EXPONENTS = (64, 65)
_TIES = [(0x842108, 0xF80000), (0x868A84, 0xF38DCA), (0x81E0A5, 0xFC4C9B), (0x800001, 0xFFFFFE)]
# Factors whose product is above a tie by nothing but the next bit, with a carry and without.
_TIES += [(0xFFF800, 0xFFE800), (0x800800, 0x800C00)]
_LEAST = 0xCF00_0000  # -2**31
INTEGERS = [
    (s * (1 << p) + d) & 0xFFFF_FFFF for s in (1, -1) for p in (0, 1, 8, 23, 24, 25, 30, 31) for d in (-1, 0, 1)
]


def float_pairs(seed: int) -> tuple[Words, Words]:
    """A sample of corner pairs, and random pairs whose exponents meet: near each other, or adding up to an extreme."""
    rng = np.random.default_rng(seed)
    corners = np.array(CORNERS, np.uint32)
    sampled = rng.permutation(len(corners) ** 2)[:2000]
    ties = np.array(
        [(e << 23 | x & 0x7F_FFFF, 63 << 23 | y & 0x7F_FFFF) for e in _EXPONENTS for x, y in _TIES], np.uint32
    )
    a, b = rng.integers(0, 1 << 32, (2, RANDOM), np.uint32)
    exponent, nudge = (a >> 23 & 0xFF).astype(int), rng.integers(-28, 29, RANDOM)
    partner = np.choose(
        rng.integers(0, 4, RANDOM),
        [exponent + nudge, exponent + nudge // 14, 127 - exponent + nudge // 14, 381 - exponent + nudge // 14],
    ).clip(0, 255)
    b = (b & 0x807F_FFFF) | (partner.astype(np.uint32) << 23)
    b = np.where(rng.integers(0, 6, RANDOM) == 0, a ^ (b & 0x8000_0007), b)  # cancellation
    left = np.concatenate([corners[sampled // len(corners)], ties[:, 0], a])
    right = np.concatenate([corners[sampled % len(corners)], ties[:, 1], b])
    return left.view(np.int32), right.view(np.int32)


def integer_pairs(seed: int) -> tuple[Words, Words]:
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, 1 << 32, (2, RANDOM), np.uint64) >> rng.integers(0, 32, (2, RANDOM), np.uint64)
    chosen = rng.choice(np.array(INTEGERS, np.uint64), (2, 1000))
    left, right = np.concatenate([chosen, drawn], axis=1).astype(np.uint32).view(np.int32)
    right[::16] = left[::16]
    return left, right


def constant(value: int, like: Words) -> Words:
    return np.full_like(like, value)


# --- what each unit is asked, and what it must answer ---


def additions(seed: int) -> tuple[Stimulus, Words]:
    a, b = float_pairs(seed)
    rng = np.random.default_rng(seed)
    b = np.where(rng.integers(0, 10, len(b)) == 0, a, b)
    op, expected = rng.integers(0, len(AddOp), len(a), np.int32), a.copy()
    integers = {name: np.resize(values, len(a)) for name, values in integers_to_floats(seed)[0].items()}
    a, b = (np.where(op == AddOp.CONVERT.value, integers[name], of) for name, of in (("a", a), ("b", b)))
    others = {
        AddOp.PASS: a,
        AddOp.AND: a & b,
        AddOp.OR: a | b,
        AddOp.CONVERT: numerics.int32_to_fp32(numerics.int32_add(a, b)),
    }
    for value in AddOp:
        result = others[value] if value in others else getattr(numerics, f"fp32_{value.name.lower()}")(a, b)
        expected = np.where(op == value.value, result, expected)
    return {"a": a, "b": b, "op": op}, expected


def products(seed: int) -> tuple[Stimulus, Words]:
    (a, b), (x, y) = float_pairs(seed), integer_pairs(seed)
    # Floats and integers alternate, so that one kind's leftovers in the pipeline cannot pass for the other's.
    order = np.random.default_rng(seed).permutation(len(a) + len(x))
    stimulus = {
        "a": np.concatenate([a, x])[order],
        "b": np.concatenate([b, y])[order],
        "integer": np.concatenate([constant(0, a), constant(1, x)])[order],
    }
    return with_kept(seed, stimulus, np.concatenate([numerics.fp32_mul(a, b), numerics.int32_mul(x, y)])[order])


def with_kept(seed: int, stimulus: Stimulus, expected: Words) -> tuple[Stimulus, Words]:
    """Among them, some operands `a` beside a `b` of 0 that are to come out as they are."""
    keeps = np.random.default_rng(seed).integers(0, 4, len(expected)) == 0
    a = stimulus["a"]
    kept = {"b": np.where(keeps, 0, stimulus["b"]), "keeps": keeps.astype(np.int32)}
    if "integer" in stimulus:
        kept["integer"] = stimulus["integer"] | kept["keeps"]
    return stimulus | kept, np.where(keeps, a, expected)


def float_products(seed: int) -> tuple[Stimulus, Words]:
    a, b = float_pairs(seed)
    return with_kept(seed, {"a": a, "b": b}, numerics.fp32_mul(a, b))


def integers_to_floats(seed: int) -> tuple[Stimulus, Words]:
    a, b = integer_pairs(seed)
    # Sums that stand at the corners themselves, and such that nothing is added to.
    corners = np.resize(words(INTEGERS), len(a))
    kind = np.random.default_rng(seed).integers(0, 4, len(a))
    b = np.choose(kind, [b, np.zeros_like(b), numerics.int32_sub(corners, a), b])
    a = np.where(kind == 1, corners, a)
    return {"a": a, "b": b}, numerics.int32_to_fp32(numerics.int32_add(a, b))


def floats_to_integers(seed: int) -> tuple[Stimulus, Words]:
    rng = np.random.default_rng(seed)
    exponents = rng.integers(124, 161, RANDOM, np.uint32) << 23
    drawn = (rng.integers(0, 1 << 32, RANDOM, np.uint32) & 0x807F_FFFF) | exponents
    halves = (rng.integers(-1000, 1000, RANDOM) / 2).astype(np.float32)
    a = np.concatenate([words(CORNERS), drawn.view(np.int32), numerics.to_bits(halves), words([_LEAST] * 16)])
    b = np.where(rng.integers(0, 3, len(a)) == 0, 0, np.resize(integer_pairs(seed)[1], len(a)))
    nearest, values = numerics.fp32_to_int32(a), a.view(np.float32)
    beyond = (values >= 2.0**31) | (values < -(2.0**31))
    return with_kept(seed, {"a": a, "b": b}, np.where(beyond, nearest, numerics.int32_add(nearest, b)))


@dataclass(frozen=True)
class Case:
    unit: Callable[..., Datapath]
    work: Callable[[int], tuple[Stimulus, Words]]
    depths: tuple[int, ...]


CASES = [
    Case(FpAdd, additions, (1, 5, 7, 10)),
    Case(Mul, products, (1, 3, 4, 7)),
    Case(FpMul, float_products, (1, 2, 3, 4, 6)),
    Case(IntToFp, integers_to_floats, (1, 3, 6)),
    Case(FpToInt, floats_to_integers, (1, 3, 4)),
]


@pytest.mark.parametrize(
    ("case", "depth"),
    [pytest.param(case, depth, id=f"{case.unit.__name__}-{depth}") for case in CASES for depth in case.depths],
)
def test_equals_numerics_at_every_depth(case: Case, depth: int) -> None:
    seed = SEED + depth
    stimulus, expected = case.work(seed)
    got = run_datapath(case.unit(depth=depth), stimulus)[depth:]
    for row in np.flatnonzero(got != expected)[:1]:
        operands = {name: hex(int(column[row]) & 0xFFFF_FFFF) for name, column in stimulus.items()}
        pytest.fail(f"{operands} gave {got[row]:#x}, expected {expected[row]:#x} (row {row}, seed {seed})")


@pytest.mark.parametrize(
    ("case", "depth"),
    [pytest.param(case, depth, id=f"{case.unit.__name__}-{depth}") for case in CASES for depth in case.depths],
)
def test_impulse_arrives_after_depth_cycles(case: Case, depth: int) -> None:
    """One operand that cannot give the idle result appears at the output once, `depth` edges after it was there."""
    idle, quiet_time = 0, 12
    stimulus, _ = case.work(SEED)
    impulse = {name: words([idle] * (2 * quiet_time)) for name in stimulus}
    impulse["a"][quiet_time] = 0x4120_0000
    if "b" in impulse:
        impulse["b"][quiet_time] = 0x3F80_0000
    got = run_datapath(case.unit(depth=depth), impulse)[depth:]
    assert np.flatnonzero(got).tolist() == [quiet_time]


# --- what synthesis may replace ---


@pytest.mark.parametrize(
    ("unit", "module", "count", "ports"),
    [
        (FpMul, "narrow_product", 1, ["o", "x", "y"]),
        (FpAdd, "gated_sum_32", 2, ["a", "b", "carry", "inverts_b", "o", "takes_a"]),
    ],
)
def test_what_synthesis_replaces_is_a_module_of_its_own(
    unit: Callable[..., Datapath], module: str, count: int, ports: list[str]
) -> None:
    """One for all, whose ports are known: not even a clock is among them."""
    library = Library()
    for depth in (1, 2):
        text = library.verilog(datapath := unit(depth=depth), ports_of(datapath), f"unit{depth}")
        assert len(re.findall(rf"^  {module} ", text, re.MULTILINE)) == count
    modules = re.findall(r"^module (\w+)\((.*)\);$", library.text, re.MULTILINE)
    assert [(name, sorted(given.split(", "))) for name, given in modules] == [(module, ports)]


# --- where the registers go ---


@pytest.mark.parametrize(
    ("delays", "depth", "expected"),
    [
        ([3], 1, [1]),
        ([3, 3, 3], 1, [0, 0, 1]),
        ([1, 1, 4], 2, [0, 1, 1]),
        ([4, 1, 1], 2, [1, 0, 1]),
        ([2, 2, 2, 2], 2, [0, 1, 0, 1]),
        ([1, 5, 1, 1], 3, [1, 1, 0, 1]),
        ([1, 1, 1], 3, [1, 1, 1]),
        ([1, 1, 1], 5, [1, 1, 3]),
    ],
)
def test_registers_balance_the_stretches(delays: list[float], depth: int, expected: list[int]) -> None:
    assert registers_after(delays, depth) == expected


def test_more_registers_never_lengthen_a_stretch() -> None:
    rng = np.random.default_rng(SEED)
    for _ in range(50):
        delays = rng.integers(1, 9, rng.integers(1, 8)).tolist()
        longest = []
        for depth in range(1, len(delays) + 3):
            registers = registers_after(delays, depth)
            assert sum(registers) == depth
            stretches: list[int] = []
            length = 0
            for delay, count in zip(delays, registers, strict=True):
                length += delay
                if count:
                    stretches, length = [*stretches, length], 0
            assert length == 0
            longest.append(max(stretches))
        assert longest == sorted(longest, reverse=True)
        assert longest[-1] == max(delays)


def test_a_value_is_carried_to_its_last_reader() -> None:
    """An operand read again three cuts later arrives together with what was computed from its neighbours."""

    class Chain(Datapath):
        def __init__(self, *, depth: int) -> None:
            super().__init__(
                inputs={"a": 32, "b": 32},
                output=32,
                steps=[
                    Step(lambda m, a: {"x": a + 1}, delay=1),
                    Step(lambda m, x: {"x": x + 1}, delay=1),
                    Step(lambda m, x: {"x": x << 8}, delay=1),
                    Step(lambda m, x, b: {"o": (x | b)[:32]}, delay=1),
                ],
                depth=depth,
            )

    a, b = words(list(range(40))), words(list(range(100, 140)))
    for depth in (1, 2, 3, 4, 6):
        assert run_datapath(Chain(depth=depth), {"a": a, "b": b})[depth:].tolist() == ((a + 2) << 8 | b).tolist()


@pytest.mark.parametrize("unit", [case.unit for case in CASES])
@pytest.mark.parametrize("depth", [0, -3])
def test_refuses_a_depth_without_a_register(unit: Callable[..., Datapath], depth: int) -> None:
    with pytest.raises(ValueError, match=rf"{unit.__name__}: depth must be at least 1 cycle, not {depth}"):
        unit(depth=depth)
