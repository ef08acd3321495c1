# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The settings of PLLs, against a search over every divider in exact arithmetic."""

import itertools
import random
from fractions import Fraction

import pytest

from openlpu.fpga.device import find_pll

OSCILLATORS = (12_000_000, 25_000_000, 48_000_000, 100_000_000)


def best_output(input_hz: int, wanted_hz: int) -> Fraction:
    """The highest clock, not above the wanted one, of any legal PLL; 0 if there is none."""
    outputs = [Fraction(0)]
    for divide, feed in itertools.product(range(1, 129), range(1, 81)):
        compared = Fraction(input_hz, divide)
        output = compared * feed
        if not (3_125_000 <= compared <= 400_000_000 and 3_125_000 <= output <= min(wanted_hz, 400_000_000)):
            continue
        if any(400_000_000 <= output * post <= 800_000_000 for post in range(1, 129)):
            outputs.append(output)
    return max(outputs)


def test_the_nearest_clock_below_is_found() -> None:
    seed = random.SystemRandom().getrandbits(32)
    draw = random.Random(seed)
    for _ in range(12):
        input_hz, wanted_hz = draw.choice(OSCILLATORS), draw.randrange(10_000_000, 200_000_000)
        pll = find_pll(input_hz, wanted_hz)
        assert pll.output_hz == pytest.approx(float(best_output(input_hz, wanted_hz))), (seed, input_hz, wanted_hz)
        assert pll.output_hz <= wanted_hz, (seed, input_hz, wanted_hz)
        assert 400e6 <= pll.vco_hz <= 800e6, (seed, input_hz, wanted_hz)
        assert pll.detector_hz >= 3.125e6, (seed, input_hz, wanted_hz)


@pytest.mark.parametrize("wanted_mhz", [25, 40, 50, 62.5, 75, 80, 100, 125])
def test_usual_clocks_are_exact(wanted_mhz: float) -> None:
    assert find_pll(25e6, wanted_mhz * 1e6).output_hz == wanted_mhz * 1e6


@pytest.mark.parametrize("input_hz", [25e6, 100e6])
def test_fifty_megahertz_are_made_as_trellis_makes_them(input_hz: float) -> None:
    # ecppll -i 25 -o 50: dividers 1, 2, 12.
    pll = find_pll(input_hz, 50e6)
    assert (pll.output_div, pll.vco_hz) == (12, 600e6)


@pytest.mark.parametrize(
    ("input_hz", "output_hz", "message"),
    [
        (25e6, 500e6, "a PLL makes 3.125 to 400 MHz, not 500 MHz"),
        (25e6, -1.0, "a PLL makes 3.125 to 400 MHz, not -1e-06 MHz"),
        (1e6, 50e6, "a PLL takes 8 to 400 MHz, not 1 MHz"),
    ],
)
def test_clocks_out_of_range_are_refused(input_hz: float, output_hz: float, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        find_pll(input_hz, output_hz)
