# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Whatever clocks and wires are, every vector is received in the cycle of the program that the compiler said."""

import dataclasses

import pytest

from openlpu.arch.system import SystemConfig
from openlpu.model.system import GoldenSystem, LinkedSystem
from openlpu.verif.exchange import exchange
from openlpu.verif.link_time import Arrival, LinkTime
from openlpu.verif.odd_configs import LINKED
from openlpu.verif.random_systems import random_system
from openlpu.verif.rtl_system import PERIOD, Conditions

PAIR = SystemConfig(name="pair", chip=LINKED, chips=2, ppm=250)
PROGRAMS, DRAWS = 10, 1000


def swapped(conditions: Conditions) -> Conditions:
    """Each chip has the other's clock."""
    return dataclasses.replace(conditions, periods=conditions.periods[::-1], phases=conditions.phases[::-1])


def in_time_of_programs(linked: LinkedSystem, conditions: Conditions) -> list[tuple[object, ...]]:
    return [(arrival.end, arrival.sent, arrival.taken) for arrival in LinkTime(linked, conditions).arrivals()]


def test_clocks_and_wires_never_reach_the_time_of_a_program() -> None:
    for program in range(PROGRAMS):
        linked = GoldenSystem(PAIR).load(random_system(PAIR, program))
        planned = [(meeting.receiver, meeting.send.cycle, meeting.receive.cycle) for meeting in linked.meetings]
        for seed in range(program, DRAWS, PROGRAMS):
            conditions = Conditions.drawn(PAIR, seed)
            for each in (conditions, swapped(conditions)):
                assert in_time_of_programs(linked, each) == planned, f"{seed=}"


def long_exchange(conditions: Conditions) -> list[Arrival]:
    """9,000 cycles, with pauses."""
    system = dataclasses.replace(PAIR, chip=dataclasses.replace(LINKED, mem_words=2048))
    linked = GoldenSystem(system).load(exchange(system, 1000))
    return [*LinkTime(linked, conditions).arrivals()]


def test_pauses_keep_chips_together_that_drift() -> None:
    arrivals = long_exchange(Conditions.drawn(PAIR, 3))
    came = {arrival.there - arrival.sent for arrival in arrivals}
    assert len(arrivals) == 2000
    # It is not that nothing moved.
    assert max(came) > min(came) + 2
    assert max(came) <= PAIR.latency


def test_the_longest_wires_between_the_worst_clocks_leave_little() -> None:
    """The latency that the compiler is told is not more than it must be: the rest is roundings that rarely add up."""
    conditions = Conditions.drawn(PAIR, 0)
    longest = dict.fromkeys(conditions.delays, PAIR.wire_cycles * PERIOD - conditions.jitter)
    periods = tuple(round(PERIOD / (1 + sign * PAIR.ppm * 1e-6)) for sign in (1, -1))
    arrivals = long_exchange(dataclasses.replace(conditions, delays=longest, periods=periods))
    assert PAIR.latency - 8 < max(arrival.there - arrival.sent for arrival in arrivals) <= PAIR.latency


def test_what_is_too_slow_is_seen() -> None:
    conditions = Conditions.drawn(PAIR, 4)
    far = dict.fromkeys(conditions.delays, 3 * PAIR.wire_cycles * PERIOD)
    with pytest.raises(AssertionError, match=r"chip \d link 0: comes \d+ cycles late"):
        long_exchange(dataclasses.replace(conditions, delays=far))


def test_a_clock_beyond_its_tolerance_is_seen() -> None:
    conditions = Conditions.drawn(PAIR, 5)
    with pytest.raises(AssertionError, match=r"cycles late|missed the pause"):
        long_exchange(dataclasses.replace(conditions, periods=(PERIOD, PERIOD + PERIOD // 100)))
