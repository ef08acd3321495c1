# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Systems of Verilated chips, each with a clock of its own, against the golden model, over random clocks and wires.

A failure prints the seed, from which programs and conditions are made again.
"""

import dataclasses
from typing import Any

import pytest

from openlpu.arch.bring_up import link_problems
from openlpu.arch.links import flit_format
from openlpu.arch.status import Fault
from openlpu.arch.system import LinkEnd, SystemConfig, Topology
from openlpu.model.system import GoldenSystem
from openlpu.verif.link_campaign import campaign
from openlpu.verif.odd_configs import LINKED
from openlpu.verif.random_systems import random_system
from openlpu.verif.rtl_port import RtlError
from openlpu.verif.rtl_system import PERIOD, Conditions, RtlSystem
from openlpu.verif.system_lockstep import compare

PAIR = SystemConfig(name="pair", chip=LINKED, chips=2)
DRIFTING = dataclasses.replace(PAIR, name="drifting", ppm=250)
"""Clocks far worse than quartz."""
ENDS = [LinkEnd(0, 0), LinkEnd(1, 0)]
BEATS = flit_format(LINKED).beats


def up(system: SystemConfig, seed: int, **options: Any) -> RtlSystem:
    """A system under drawn conditions, brought up."""
    print(f"{seed=}")
    rtl = RtlSystem(system, Conditions.drawn(system, seed), **options)
    rtl.bring_up()
    return rtl


@pytest.mark.parametrize("batch", range(5))
def test_two_chips_run_as_the_golden_model(batch: int) -> None:
    for seed in range(10 * batch, 10 * batch + 10):
        with up(PAIR, seed) as rtl:
            compare(random_system(PAIR, seed), rtl)


@pytest.mark.parametrize("faster", [0, 1])
def test_drift_never_reaches_the_schedule(faster: int) -> None:
    """Bursts far apart: 48,000 cycles, in which the clocks come apart by 24, and either of them may be the faster."""
    seed = 40 + faster
    print(f"{seed=}")
    fast, slow = (round(PERIOD / (1 + sign * DRIFTING.ppm * 1e-6)) for sign in (1, -1))
    periods = (fast, slow) if faster == 0 else (slow, fast)
    conditions = dataclasses.replace(Conditions.drawn(DRIFTING, seed), periods=periods)
    with RtlSystem(DRIFTING, conditions) as rtl:
        rtl.bring_up()
        compare(random_system(DRIFTING, seed, 150, bursts=4, rest=16_000), rtl)


def test_programs_run_again_and_again() -> None:
    programs = random_system(PAIR, 7)
    with up(PAIR, 7) as rtl:
        golden = compare(programs, rtl)
        for _ in range(3):
            assert rtl.run() == golden.run()


ERRORS = 10_000
"""Beats with wrong bits at each end."""


def test_single_bit_errors_change_nothing() -> None:
    result = campaign(PAIR, rows=16, bits=1, count=ERRORS, seed=1)
    assert result.corrected == result.disturbed == dict.fromkeys(ENDS, ERRORS)
    assert result.uncorrectable == dict.fromkeys(ENDS, 0)
    assert result.replays == 0
    assert result.runs > 50


def test_double_bit_errors_are_flagged_and_change_no_cycle_and_runs_are_done_again() -> None:
    result = campaign(PAIR, rows=16, bits=2, count=ERRORS, seed=2)
    assert result.uncorrectable == result.disturbed == dict.fromkeys(ENDS, ERRORS)
    assert result.corrected == dict.fromkeys(ENDS, 0)
    assert result.replays == result.runs > 40


@pytest.mark.parametrize("dead", ENDS)
def test_a_dead_wire_is_named(dead: LinkEnd) -> None:
    with up(PAIR, 3, dead=[dead]) as rtl:
        other = PAIR.peers[dead]
        names = {f"{dead}: nothing comes from {other}", f"{other}: {dead} does not hear it"}
        assert set(link_problems(PAIR, rtl.reports())) == names
        with pytest.raises(RtlError, match=f"{dead}: nothing comes from {other}"):
            rtl.run()


def test_wires_that_go_elsewhere_are_named() -> None:
    with up(PAIR, 4, crossed={end: end for end in ENDS}) as rtl:
        assert link_problems(PAIR, rtl.reports()) == [
            "chip 0 link 0: connected to chip 0 link 0, and should be to chip 1 link 0",
            "chip 1 link 0: connected to chip 1 link 0, and should be to chip 0 link 0",
        ]


def test_a_wire_that_is_too_long_is_named() -> None:
    conditions = Conditions.drawn(PAIR, 5)
    far = dict.fromkeys(ENDS, 3 * PAIR.wire_cycles * conditions.periods[0])
    with RtlSystem(PAIR, dataclasses.replace(conditions, delays=far)) as rtl:
        problems = link_problems(PAIR, rtl.bring_up())
        assert len(problems) == 2
        assert "flits from chip 1 link 0 take" in problems[0]


def test_a_link_that_dies_ends_in_a_fault_with_link_and_cycle() -> None:
    programs = random_system(PAIR, 6)
    golden = GoldenSystem(PAIR)
    linked = golden.load(programs)
    with up(PAIR, 6) as rtl:
        rtl.load(programs)
        rtl.start()
        rtl.reach(1)
        rtl.cut(LinkEnd(1, 0))
        statuses = rtl.finish(limit=1000)
        samplings = [m.receive.cycle + LINKED.pipeline.dispatch for m in linked.meetings if m.receiver == LinkEnd(1, 0)]
        assert [s.cycles for s in statuses] == [s.cycles for s in golden.run()]
        assert statuses[0].fault is None
        fault = statuses[1].fault
        assert fault is not None
        # One vector may have left before the cut.
        arrived = samplings.index(fault.cycle)
        assert arrived <= 1
        assert fault == Fault("c2c0.receive", fault.cycle, False, len(samplings) - arrived)
        report = rtl.reports()[1]
        assert report.fault_cycle is not None
        assert report.fault_cycle < 6 * BEATS
        assert link_problems(PAIR, [report]) == ["chip 1 link 0: nothing comes from chip 0 link 0"]


def test_a_link_that_dies_before_the_start_is_named() -> None:
    with up(PAIR, 6) as rtl:
        rtl.load(random_system(PAIR, 6))
        rtl.start()
        rtl.cut(LinkEnd(1, 0))
        with pytest.raises(RtlError, match="chip 1 has not halted"):
            rtl.finish(limit=10_000)
        assert "chip 1 link 0: nothing comes from chip 0 link 0" in link_problems(PAIR, rtl.reports())


@pytest.mark.regress
def test_many_pairs_run_as_the_golden_model() -> None:
    for seed in range(1000, 2000):
        with up(PAIR, seed) as rtl:
            compare(random_system(PAIR, seed), rtl)


@pytest.mark.regress
@pytest.mark.parametrize(("topology", "links"), [(Topology.RING, 2), (Topology.ALL, 3)])
def test_four_chips_run_as_the_golden_model(topology: Topology, links: int) -> None:
    chip = dataclasses.replace(LINKED, c2c_links=links)
    run_as_golden(SystemConfig(name="four", chip=chip, chips=4, topology=topology))


@pytest.mark.regress
def test_chips_with_ecc_and_links_on_both_sides_run_as_the_golden_model() -> None:
    chip = dataclasses.replace(LINKED, ecc=True, hemispheres=2, c2c_links=2)
    run_as_golden(SystemConfig(name="both_sides", chip=chip, chips=2, topology=Topology.RING))


def run_as_golden(system: SystemConfig) -> None:
    for seed in range(50):
        with up(system, seed) as rtl:
            compare(random_system(system, seed), rtl)
