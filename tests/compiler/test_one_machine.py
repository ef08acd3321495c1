# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""One machine and its jobs: against the bounds of all sets of jobs, one by one."""

import itertools
import random

from openlpu.compiler.one_machine import Job, Machine, Need, everywhere, makespan, over, spread, together

MACHINE = Machine(units=1, ahead=0)
FIRST, SECOND = Job(MACHINE, 10, (4, 4, 4), 20), Job(MACHINE, 11, (6,), 20)


def test_a_schedule_is_as_long_as_the_greatest_bound_of_any_set_of_jobs() -> None:
    for seed in range(300):
        draw = random.Random(seed)
        jobs = [(draw.randrange(20), draw.randrange(1, 8), draw.randrange(20)) for _ in range(draw.randrange(1, 8))]
        some = itertools.chain.from_iterable(itertools.combinations(jobs, n) for n in range(1, len(jobs) + 1))
        bounds = (
            min(head for head, _, _ in one) + sum(cycles for _, cycles, _ in one) + min(tail for _, _, tail in one)
            for one in some
        )
        assert makespan(jobs) == max(bounds), f"{seed=}"


def test_no_jobs_take_no_time() -> None:
    assert makespan([]) == 0
    assert over({}) == 0


def test_only_the_parts_that_are_needed_count() -> None:
    assert over({FIRST: Need(0b101, 5)}) == 10 + 8 + 20 + 5
    assert over({FIRST: Need(0b111, 0), SECOND: Need(0b1, 0)}) == 10 + 12 + 6 + 20


def test_units_share_the_work_and_may_be_ahead() -> None:
    machine = Machine(units=4, ahead=3)
    job = Job(machine, 10, (40,), 20)
    assert over({job: Need(1, 0)}) == 10 + 10 + 20 - 3


def test_machines_work_side_by_side() -> None:
    alike = Job(Machine(units=1, ahead=0), 10, (12,), 20)
    assert over({FIRST: Need(0b111, 0), alike: Need(1, 0)}) == 10 + 12 + 20


def test_what_comes_behind_several_waits_for_the_one_that_is_last() -> None:
    alone = {FIRST: Need(0b001, 7)}
    assert together([(alone, 0), ({FIRST: Need(0b001, 9)}, 1)]) == {FIRST: Need(0b001, 10)}
    # Which part is last is not known.
    assert together([(alone, 0), ({FIRST: Need(0b110, 9)}, 0)]) == {FIRST: Need(0b111, 7)}
    assert together([(alone, 0), ({FIRST: Need(0b011, 9)}, 0)]) == {FIRST: Need(0b011, 9)}
    assert together([(alone, 2), ({SECOND: Need(1, 0)}, 3)]) == {FIRST: Need(0b001, 9), SECOND: Need(1, 3)}


def test_what_only_some_place_needs_others_do_not() -> None:
    needs = together([({FIRST: Need(1, 0, anywhere=False)}, 1), ({SECOND: Need(1, 0)}, 1)])
    assert everywhere(needs) == {SECOND: Need(1, 1)}
    assert everywhere(spread(needs)) == {FIRST: Need(1, 1), SECOND: Need(1, 1)}


def test_old_jobs_are_forgotten() -> None:
    jobs = [Job(MACHINE, head, (1,), 0) for head in range(100)]
    kept = together([({job: Need(1, 0)}, 0) for job in jobs])
    assert {job.head for job in kept} == {*range(100 - len(kept), 100)}
    assert over(kept) <= over({job: Need(1, 0) for job in jobs})
