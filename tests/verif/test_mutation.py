# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""No single-bit change of an encoded program makes the golden model and the RTL disagree.

A flip may turn a short wait into one of 32,768 cycles. Runs beyond a limit are counted, and left to the regression.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable

import pytest

from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import EncodingError, encoding
from openlpu.arch.geometry import geometry
from openlpu.arch.presets import NANO
from openlpu.arch.program import Program
from openlpu.model.golden import GoldenChip, GoldenError
from openlpu.model.text import follow_program
from openlpu.runtime.driver import Device
from openlpu.verif.lockstep import Mismatch
from openlpu.verif.mutation import Flip, Outcome, flips, mutated, outcome
from openlpu.verif.random_programs import random_program
from openlpu.verif.rtl_port import RtlChip

Chips = Callable[[ChipConfig], RtlChip]
LONGEST = 300
"""Cycles up to which a mutant runs on the RTL in the normal tests."""
SHORT = random_program(NANO, seed=210, length=5)
"""A few instructions, `ifetch` among them."""


def classified(program: Program, chosen: Iterable[Flip], chip: RtlChip, longest: int = LONGEST) -> Counter[Outcome]:
    start = time.perf_counter()
    counts = Counter(outcome(program, flip, chip, longest) for flip in chosen)
    shown = ", ".join(f"{counts[kind]} {kind}" for kind in Outcome)
    print(f"{program.name}: {counts.total()} flips in {time.perf_counter() - start:.0f} s: {shown}")
    return counts


@pytest.mark.regress
def test_every_bit_of_a_short_program(rtl_chip: Chips) -> None:
    assert follow_program(SHORT).sources
    counts = classified(SHORT, flips(SHORT), rtl_chip(NANO))
    assert all(counts[kind] for kind in Outcome)


def test_some_bits_of_longer_programs(rtl_chip: Chips) -> None:
    counts: Counter[Outcome] = Counter()
    for seed in range(40, 43):
        program = random_program(NANO, seed, length=30)
        counts += classified(program, random.Random(seed).sample(flips(program), 60), rtl_chip(NANO))
    assert counts[Outcome.UNDECODED]
    assert counts[Outcome.UNPROVED]
    assert counts[Outcome.SAME]


@pytest.mark.regress
@pytest.mark.parametrize("seed", range(100, 120))
def test_many_bits_of_many_programs(rtl_chip: Chips, seed: int) -> None:
    program = random_program(NANO, seed)
    classified(program, random.Random(seed).sample(flips(program), 500), rtl_chip(NANO), longest=5_000)


@pytest.mark.regress
def test_flips_that_make_a_program_long(rtl_chip: Chips) -> None:
    """The highest bit of a wait, of every queue of the short program that waits: all of the RTL's time goes here."""
    waits = [flip for flip in flips(SHORT) if _lengthened(flip)]
    chosen = random.Random(1).sample(waits, 8)
    assert classified(SHORT, chosen, rtl_chip(NANO), longest=100_000)[Outcome.SAME] == len(chosen)


def _lengthened(flip: Flip) -> bool:
    try:
        mutant = mutated(SHORT, flip)
    except EncodingError:
        return False
    golden = GoldenChip(NANO)
    Device(golden).load(mutant)
    try:
        return golden.run().cycles > 30_000
    except GoldenError:
        return False


def test_a_flip_is_one_bit_of_what_the_chip_holds() -> None:
    found = flips(SHORT)
    assert len(set(found)) == len(found)
    for flip in random.Random(2).sample(found, 200):
        try:
            mutant = mutated(SHORT, flip)
        except EncodingError:
            assert isinstance(flip.memory, str)
            continue
        assert sum(_different_bits(SHORT, mutant)) == 1


def _different_bits(one: Program, other: Program) -> list[int]:
    codec, chip = encoding(NANO), geometry(NANO)
    texts = [
        (codec.encode(a, chip.by_name[name]) ^ codec.encode(b, chip.by_name[name])).bit_count()
        for name in one.text
        for a, b in zip(one.text[name], other.text[name], strict=True)
    ]
    images = [
        (int.from_bytes(one.image[k].tobytes()) ^ int.from_bytes(other.image[k].tobytes())).bit_count()
        for k in one.image
    ]
    return texts + images


def test_a_disagreement_is_a_failure(rtl_chip: Chips, monkeypatch: pytest.MonkeyPatch) -> None:
    """An RTL that ignores the flip: it has the words of the program as it was."""
    chip, codec = rtl_chip(NANO), encoding(NANO)
    queues = geometry(NANO).queues
    original = {queue.name: [codec.encode(inst, queue) for inst in SHORT.text.get(queue.name, ())] for queue in queues}
    honest = chip.write_text

    def forgetful(queue: int, words: list[int]) -> None:
        honest(queue, original[queues[queue].name] or words)

    monkeypatch.setattr(chip, "write_text", forgetful)
    with pytest.raises(Mismatch, match=r"random_210 with Flip\(memory="):
        classified(SHORT, flips(SHORT), chip)
