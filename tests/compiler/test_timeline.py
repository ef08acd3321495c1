# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Reservations in space-time, against a set of taken places and a search one cycle at a time."""

import dataclasses
import random

from openlpu.arch.geometry import Direction, Stream, geometry
from openlpu.arch.isa import instruction
from openlpu.arch.presets import NANO
from openlpu.compiler.timeline import Flight, Timeline, departures


def random_flight(rng: random.Random) -> Flight:
    chip = geometry(NANO)
    flight = Flight()
    for _ in range(rng.randrange(1, 5)):
        queue = rng.choice(chip.queues)
        flight.dispatch(queue, rng.randrange(-8, 9), instruction("nop", n=1))
    for _ in range(rng.randrange(4)):
        producer = rng.choice(chip.queues)
        consumer = rng.randrange(chip.hops)
        direction = Direction.EAST if consumer >= producer.hop else Direction.WEST
        flight.ride(Stream(direction, rng.randrange(NANO.streams)), producer, consumer, rng.randrange(12))
    if rng.random() < 0.3:
        flight.hold("turns", rng.randrange(9), rng.randrange(2, 6))
    return flight


def places(flight: Flight, start: int, count: int, gap: int) -> set[tuple[object, int]]:
    return {(key, start + offset + gap * i) for key, offset in flight.claims for i in range(count)}


def test_earliest_start_is_the_first_that_meets_nothing() -> None:
    for seed in range(60):
        rng = random.Random(seed)
        timeline = Timeline(geometry(NANO).hops)
        taken: set[tuple[object, int]] = set()
        for _ in range(25):
            flight = random_flight(rng)
            count = rng.randrange(1, 7)
            gap = flight.gap(count)
            if gap is None:
                continue
            ready = rng.randrange(40)
            want = max(ready, -min(entry.offset for entry in flight.dispatches))
            while places(flight, want, count, gap) & taken:
                want += 1
            start = timeline.earliest(flight, count, gap, ready)
            assert start == want, f"seed {seed}"
            timeline.reserve(flight, count, gap, start)
            taken |= places(flight, start, count, gap)


def test_departures_at_the_smallest_gap_do_not_meet() -> None:
    for seed in range(200):
        rng = random.Random(seed)
        flight = random_flight(rng)
        count = rng.randrange(1, 9)
        if flight.clashes or len({(entry.queue, entry.offset) for entry in flight.dispatches}) < len(flight.dispatches):
            assert flight.gap(count) is None
            continue
        apart = [gap for gap in range(1, 33) if len(places(flight, 0, count, gap)) == count * len(flight.claims)]
        assert flight.gap(count) == next(iter(apart), None), f"seed {seed}"


def test_what_is_held_for_a_while_keeps_departures_apart() -> None:
    flight = Flight()
    flight.dispatch(geometry(NANO).queues[0], 0, instruction("nop", n=1))
    assert flight.gap(100) == 1
    held = dataclasses.replace(flight)
    held.hold("turns", 3, 5)
    assert held.gap(100) == held.reading_from(0).gap(100) == 5
    assert held.gap(1) == 1


def test_a_ride_passes_every_hop_a_cycle_apart() -> None:
    flight = Flight()
    west, accs = Stream(Direction.WEST, 2), geometry(NANO).by_name["mxm_e0.accs"]
    assert accs.hop == 4
    assert flight.ride(west, accs, consumer=1, arrival=20) == 17
    assert set(flight.registers) == {
        ((west.direction.value, 2, hop), west.diagonal(21 - hop, hop)) for hop in (1, 2, 3, 4)
    }


def test_two_productions_in_one_register_never_depart() -> None:
    chip = geometry(NANO)
    flight = Flight()
    west = Stream(Direction.WEST, 2)
    flight.ride(west, chip.by_name["mxm_e0.accs"], consumer=0, arrival=20)
    assert flight.gap(1) == 1
    flight.ride(west, chip.by_name["mem_e0.read"], consumer=0, arrival=20)
    assert flight.gap(1) is None


def test_two_instructions_in_one_slot_never_depart() -> None:
    queue = geometry(NANO).queues[0]
    flight = Flight()
    flight.dispatch(queue, 0, instruction("nop", n=1))
    flight.dispatch(queue, 0, instruction("nop", n=1))
    assert flight.gap(1) == 1
    flight.dispatch(queue, 0, instruction("nop", n=2))
    assert flight.gap(1) is None


def test_departures_advance_addresses() -> None:
    queue = geometry(NANO).by_name["mem_e0.read"]
    flight = Flight()
    flight.dispatch(queue, 3, instruction("read", a=5, d=Stream(Direction.EAST, 0)), step=2)
    found = [(cycle, inst.number("a")) for cycle, inst in departures(flight.dispatches[0], 10, 3, 4).unrolled()]
    assert found == [(13, 5), (17, 7), (21, 9)]
