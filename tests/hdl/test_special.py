# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The special functions in Amaranth's simulator: bit for bit those of `numerics`, at any depth."""

import numpy as np
import pytest
from tests.hdl.units import CORNERS, Stimulus, run_datapath, words

from openlpu.arch import numerics, special
from openlpu.arch.numerics import Words, to_bits
from openlpu.hdl.special import Special, SpecialOp

SEED = 20261124
RANDOM = 700
FUNCTIONS = {
    SpecialOp.EXP: numerics.fp32_exp,
    SpecialOp.RECIP: numerics.fp32_recip,
    SpecialOp.RSQRT: numerics.fp32_rsqrt,
    SpecialOp.TANH: numerics.fp32_tanh,
}


def edges() -> list[int]:
    """Numbers on both sides of the boundaries of segments, for some rows of every span."""
    found = []
    for span in special.SPANS:
        exponents = [127 + exponent for exponent, other in special.TANH.items() if other is span] or [127, 128]
        for index in {0, 1, (1 << span.index_bits) // 2, (1 << span.index_bits) - 1}:
            boundary = index << 23 - span.index_bits
            found += [(exponent << 23) + boundary + step for exponent in exponents for step in (-1, 0, 1)]
    return found


def arguments(seed: int) -> Words:
    """Corners; boundaries; random patterns; random numbers of the magnitudes where exp and tanh do something."""
    rng = np.random.default_rng(seed)
    magnitudes = 2.0 ** rng.uniform(-26, 8, RANDOM) * rng.choice([-1, 1], RANDOM)
    ends = rng.choice([88.7228, -87.3365], RANDOM // 4) * rng.uniform(0.99999, 1.00001, RANDOM // 4)
    patterns = rng.integers(0, 1 << 32, RANDOM, np.uint32).view(np.int32)
    numbers = to_bits(np.concatenate([magnitudes, ends]).astype(np.float32))
    return np.concatenate([words(CORNERS), words(edges()), patterns, numbers])


def stimulus(seed: int) -> tuple[Stimulus, Words]:
    """Every argument with every function, in random order: no result may be that of a neighbour."""
    a = arguments(seed)
    order = np.random.default_rng(seed).permutation(len(a) * len(FUNCTIONS))
    expected = np.concatenate([FUNCTIONS[op](a) for op in SpecialOp])[order]
    op = np.repeat(np.array([op.value for op in SpecialOp], np.int32), len(a))[order]
    return {"a": np.tile(a, len(FUNCTIONS))[order], "op": op}, expected


@pytest.mark.parametrize("depth", [1, 4, 7, 14])
def test_equals_numerics_at_every_depth(depth: int) -> None:
    seed = SEED + depth
    inputs, expected = stimulus(seed)
    got = run_datapath(Special(depth=depth), inputs)[depth:]
    for row in np.flatnonzero(got != expected)[:1]:
        name, operand = SpecialOp(int(inputs["op"][row])).name, int(inputs["a"][row]) & 0xFFFF_FFFF
        pytest.fail(f"{name} {operand:#010x} gave {got[row]:#x}, expected {expected[row]:#x} (row {row}, seed {seed})")


@pytest.mark.parametrize("depth", [1, 3, 7, 20])
def test_impulse_arrives_after_depth_cycles(depth: int) -> None:
    """One operand among zeros appears at the output once, `depth` edges after it was there."""
    quiet_time = 24
    a = words([0] * (2 * quiet_time))
    a[quiet_time] = 0x3F80_0000
    got = run_datapath(Special(depth=depth), {"a": a, "op": np.full_like(a, SpecialOp.TANH.value)})[depth:]
    assert np.flatnonzero(got).tolist() == [quiet_time]


@pytest.mark.parametrize("depth", [0, -3])
def test_refuses_a_depth_without_a_register(depth: int) -> None:
    with pytest.raises(ValueError, match=f"Special: depth must be at least 1 cycle, not {depth}"):
        Special(depth=depth)
