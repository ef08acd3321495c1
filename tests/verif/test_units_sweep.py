# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The arithmetic units of the presets, Verilated, over millions of operands.

Every result is compared bit for bit with the golden model's operation, and with the floats of this machine. Operations
take turns from row to row, so that what one leaves behind in the pipeline cannot pass for the result of another.
"""

from collections.abc import Iterator

import numpy as np
import pytest

from openlpu.arch.numerics import Words
from openlpu.arch.presets import NANO
from openlpu.arch.special import MAX_ULP
from openlpu.model.semantics import VXM
from openlpu.verif.unit_operands import (
    FEW_BINADES,
    mantissas,
    random_pairs,
    special_pairs,
    special_patterns,
)
from openlpu.verif.unit_reference import OPERATIONS, special_errors
from openlpu.verif.unit_sweep import UNITS, units_of

SEED = 20261124
CHUNK = 1 << 20
RANDOM, MANY_RANDOM = 1 << 20, 1 << 22
PIECE = 1 << 15
"""Rows compared at once: their intermediate values stay in the cache."""

OF_NANO = tuple(units_of([NANO]))
FUNCTIONS = tuple(MAX_ULP)
Pairs = tuple[Words, Words]


def chunks(x: Words, y: Words) -> Iterator[Pairs]:
    for start in range(0, len(x), CHUNK):
        yield x[start : start + CHUNK], y[start : start + CHUNK]


def compare(name: str, mnemonic: str, x: Words, y: Words, got: Words, seed: int) -> float:
    """Hold results against the golden model, and the machine or the bound; returns the largest error in ulp."""
    operation, worst = VXM[mnemonic], 0.0
    for start in range(0, len(x), PIECE):
        rows = slice(start, start + PIECE)
        operands = (x[rows], y[rows])[: operation.arity]
        wanted = {"golden model": operation.apply(*operands)}
        if mnemonic in OPERATIONS:
            with np.errstate(all="ignore"):
                wanted["floats of this machine"] = OPERATIONS[mnemonic](*operands)
        for source, expected in wanted.items():
            for row in np.flatnonzero(got[rows] != expected)[:1]:
                shown = ", ".join(f"{int(word[row]) & 0xFFFF_FFFF:#010x}" for word in operands)
                answer, right = (int(words[row]) & 0xFFFF_FFFF for words in (got[rows], expected))
                pytest.fail(f"{name}: {mnemonic} {shown} gave {answer:#010x}, not {right:#010x}: {source}, seed {seed}")
        if mnemonic in FUNCTIONS:
            worst = max(worst, largest_error(mnemonic, operands[0], got[rows]))
    return worst


def largest_error(function: str, x: Words, got: Words) -> float:
    """In ulp; it is within what the tables state."""
    errors = special_errors(function, x, got)
    worst = int(np.argmax(errors))
    argument = int(x[worst]) & 0xFFFF_FFFF
    assert errors[worst] <= MAX_ULP[function], f"{function}({argument:#010x}) is {errors[worst]:.4f} ulp off"
    return float(errors[worst])


def sweep(name: str, x: Words, y: Words, seed: int) -> int:
    """Every operation of a unit on every pair; returns how many results were compared."""
    unit, count = UNITS[name], 0
    mnemonics = list(unit.operations)
    controls = np.array([unit.operations[mnemonic] for mnemonic in mnemonics])
    # An operand that an operation does not have must be 0.
    has_y = np.array([VXM[mnemonic].arity == 2 for mnemonic in mnemonics])
    for left, right in chunks(x, y):
        for turn in range(len(mnemonics)):
            operation = (np.arange(len(left)) + turn) % len(mnemonics)
            got = unit.run(left, np.where(has_y[operation], right, 0), controls[operation])
            for number, mnemonic in enumerate(mnemonics):
                mine = slice((number - turn) % len(mnemonics), None, len(mnemonics))
                compare(name, mnemonic, left[mine], right[mine], got[mine], seed)
            count += len(left)
    return count


@pytest.mark.parametrize("name", OF_NANO)
def test_special_patterns(name: str) -> None:
    """Every pair of special patterns around a few powers of two."""
    sweep(name, *special_pairs(FEW_BINADES), seed=0)


@pytest.mark.parametrize("name", OF_NANO)
def test_random_operands(name: str) -> None:
    sweep(name, *random_pairs(np.random.default_rng(SEED), RANDOM), SEED)


@pytest.mark.regress
@pytest.mark.parametrize("name", UNITS)
def test_special_patterns_around_every_power_of_two(name: str) -> None:
    x, y = special_pairs()
    if not any(VXM[mnemonic].arity == 2 for mnemonic in UNITS[name].operations):
        x = y = special_patterns()
    count = sweep(name, x, y, seed=0)
    print(f"{name}: {len(x):,} pairs of special patterns, {count:,} results")


@pytest.mark.regress
@pytest.mark.parametrize("name", UNITS)
def test_many_random_operands(name: str) -> None:
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    count = sweep(name, *random_pairs(np.random.default_rng(seed), MANY_RANDOM), seed)
    print(f"{name}: {MANY_RANDOM:,} random pairs, {count:,} results, seed {seed}")


# --- every mantissa ---

SPECIAL = next(name for name in OF_NANO if "exp" in UNITS[name].operations)


def binades(function: str) -> list[tuple[int, bool]]:
    """Exponents and signs that meet all that a function does with a mantissa.

    recip: one exponent. rsqrt: an even and an odd one. exp: the whole reduced fraction, from what leaves 1 alone up to
    the largest power that is finite. tanh: every exponent that the table has rows for, and one beyond at either end.
    """
    match function:
        case "recip":
            return [(127, False)]
        case "rsqrt":
            return [(127, False), (128, False)]
        case "exp":
            return [
                (127 + exponent, negative) for exponent in (-25, -12, -3, -1, 0, 3, 6) for negative in (False, True)
            ]
        case _:
            return [(127 + exponent, bool(exponent % 2)) for exponent in range(-13, 5)]


def sweep_mantissas(name: str, function: str, step: int, first: int = 0) -> tuple[int, float]:
    """Every `step`-th mantissa of `binades`; returns the number of results, and the largest error in ulp."""
    unit, count, worst = UNITS[name], 0, 0.0
    for binade, negative in binades(function):
        x = mantissas(binade, negative=negative, step=step, first=first)
        for part, zeros in chunks(x, np.zeros_like(x)):
            got = unit.run(part, zeros, np.full_like(part, unit.operations[function]))
            worst = max(worst, compare(name, function, part, zeros, got, seed=first))
            count += len(part)
    return count, worst


@pytest.mark.parametrize(("function", "step"), [("recip", 1), ("rsqrt", 1), ("exp", 29), ("tanh", 37)])
def test_mantissas(function: str, step: int) -> None:
    """Every one, or an equal part of each exponent."""
    count, _ = sweep_mantissas(SPECIAL, function, step, first=SEED % step)
    assert count >= len(binades(function)) * ((1 << 23) // step)


@pytest.mark.regress
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("name", [name for name in UNITS if "exp" in UNITS[name].operations])
def test_every_mantissa(name: str, function: str) -> None:
    count, worst = sweep_mantissas(name, function, step=1)
    assert count == len(binades(function)) << 23
    print(f"{name}: {function}, {count:,} arguments, at most {worst:.4f} ulp off")
