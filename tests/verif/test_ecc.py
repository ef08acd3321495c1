# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Wrong bits in the SRAM and in the stream registers of the running RTL: one is corrected, two are flagged.

Random programs, whose every vector the golden model knows the way of, so that it is known who must notice. A failure
prints the seeds of program and fault.
"""

import dataclasses
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from openlpu.arch.config import ChipConfig
from openlpu.arch.ecc import vector_code
from openlpu.arch.geometry import Stream, geometry
from openlpu.arch.presets import NANO
from openlpu.arch.program import Program, Vector
from openlpu.arch.status import HOST
from openlpu.arch.timing import timing
from openlpu.model.golden import GoldenChip
from openlpu.runtime.driver import Device, DeviceError
from openlpu.runtime.port import ChipPort
from openlpu.verif.host import Flip
from openlpu.verif.odd_configs import UNEVEN
from openlpu.verif.random_programs import random_program
from openlpu.verif.rtl_port import RtlChip, sram_word, stream_register
from openlpu.verif.upsets import Exposure, Word

Chips = Callable[[ChipConfig], RtlChip]
LENGTH = 40
"""Of the programs, in cycles of dispatches."""
PER_PROGRAM = 25
"""Faults in runs of one program, each in a run of its own."""


class Bench:
    """A program in the RTL, what becomes of it without faults, and who consumes what in it."""

    def __init__(self, chip: RtlChip, program: Program) -> None:
        self.chip = chip
        self.config = program.config
        golden = GoldenChip(program.config)
        for port in (chip, golden):
            Device(port).load(program)
        self.before = memory(golden)
        self.status = golden.run()
        self.after = memory(golden)
        assert golden.trace is not None
        self.exposure = Exposure(program, golden.trace)
        self.text = golden.trace.linked.text_source
        """Words that hold text."""

    def restore(self) -> None:
        """Bring the SRAM to where it was before the program, whatever a fault has led to."""
        for number, words in enumerate(self.before):
            self.chip.write_memory(number, 0, words)


def memory(port: ChipPort) -> Vector:
    """All words of all slices: int8 [slices, mem_words, lanes]."""
    slices = len(geometry(port.config).mem_slices)
    return np.stack([port.read_memory(number, 0, port.config.mem_words) for number in range(slices)])


def counts(chip: RtlChip) -> tuple[Counter[str], Counter[str]]:
    """Corrected and uncorrectable vectors so far, by place; their sums are the totals."""
    status = chip.status()
    corrected = +Counter({found.place: found.corrected for found in status.places})
    uncorrectable = +Counter({found.place: found.uncorrectable for found in status.places})
    assert (status.corrected, status.uncorrectable) == (corrected.total(), uncorrectable.total())
    return corrected, uncorrectable


def benches(chip: RtlChip, faults: int) -> Iterator[tuple[Bench, random.Random]]:
    """As many programs as it takes for so many faults, `PER_PROGRAM` times each."""
    for seed in range(100, 100 + faults // PER_PROGRAM):
        bench = Bench(chip, random_program(chip.config, seed, length=LENGTH))
        for fault in range(PER_PROGRAM):
            print(f"program {seed}, fault {fault}")
            bench.restore()
            yield bench, random.Random(seed * PER_PROGRAM + fault)


def bits(rng: random.Random, config: ChipConfig, count: int) -> int:
    """A mask of bits of one vector, check bits included."""
    return sum(1 << bit for bit in rng.sample(range(vector_code(config).bits), count))


def place_and_time(rng: random.Random, bench: Bench, words: Sequence[Word]) -> tuple[Word, int, Counter[str]]:
    """One of the words, a cycle (0: before the program), and by whom it is read after that: by somebody."""
    while True:
        word = rng.choice(words)
        cycle = rng.choice((0, rng.randrange(timing(bench.config).clock_delay + 1, bench.status.cycles)))
        noticed = bench.exposure.of_word(word, cycle)
        if noticed:
            return word, cycle, noticed


def register_and_time(rng: random.Random, bench: Bench) -> tuple[int, Stream, int, Counter[str]]:
    """A stream register, a cycle in which it holds something, and by whom that is consumed from then on."""
    while True:
        cycle = rng.randrange(timing(bench.config).clock_delay + 1, bench.status.cycles)
        for hop, stream in sorted(bench.exposure.registers[cycle], key=lambda place: rng.random()):
            noticed = bench.exposure.of_register(hop, stream, cycle)
            if noticed:
                return hop, stream, cycle, noticed


def turned(bench: Bench, word: Word, mask: int) -> list[Flip]:
    return sram_word(bench.config, geometry(bench.config).mem_slices[word[0]], word[1], mask)


def correct_words(chip: RtlChip, faults: int) -> None:
    """Single faults in SRAM words that are read: nothing changes, and each consumer of the word counts it."""
    expected, _ = counts(chip)
    for bench, rng in benches(chip, faults):
        word, cycle, noticed = place_and_time(rng, bench, bench.exposure.words)
        status = chip.run_upset(cycle, *turned(bench, word, bits(rng, chip.config, 1)))
        assert status == dataclasses.replace(bench.status, corrected=noticed.total())
        np.testing.assert_array_equal(memory(chip), bench.after)
        expected += noticed + Counter({HOST: int(bench.exposure.outlives(word, cycle))})
    assert counts(chip)[0] == expected


def flag_words(chip: RtlChip, faults: int) -> None:
    """Double faults in SRAM words that are read: as many cycles, and each consumer of the word counts it.

    Not in text, which nothing would stop from running for ever. Copies of a wrong word are as wrong as it is, so others
    may count them, too.
    """
    corrected, before = counts(chip)
    expected = Counter[str]()
    for bench, rng in benches(chip, faults):
        data = [word for word in bench.exposure.words if word not in bench.text]
        word, cycle, noticed = place_and_time(rng, bench, data)
        status = chip.run_upset(cycle, *turned(bench, word, bits(rng, chip.config, 2)))
        assert status.uncorrectable >= noticed.total()
        assert status == dataclasses.replace(bench.status, uncorrectable=status.uncorrectable)
        expected += noticed
    after = counts(chip)
    assert after[0] == corrected
    assert all((after[1] - before)[place] >= count for place, count in expected.items())


def correct_registers(chip: RtlChip, faults: int) -> None:
    """Single faults in stream registers, in flight: nothing changes, and each consumer downstream counts it."""
    expected, _ = counts(chip)
    for bench, rng in benches(chip, faults):
        hop, stream, cycle, noticed = register_and_time(rng, bench)
        flips = stream_register(chip.config, hop, stream, bits(rng, chip.config, 1))
        assert chip.run_upset(cycle, *flips) == dataclasses.replace(bench.status, corrected=noticed.total())
        np.testing.assert_array_equal(memory(chip), bench.after)
        expected += noticed
    assert counts(chip)[0] == expected


def test_faults_in_sram_and_streams(rtl_chip: Chips) -> None:
    chip = rtl_chip(UNEVEN)
    correct_words(chip, 75)
    flag_words(chip, 50)
    correct_registers(chip, 50)


@pytest.mark.regress
def test_a_thousand_faults_of_each_kind() -> None:
    chip = RtlChip(dataclasses.replace(NANO, name="nano_ecc", ecc=True))
    try:
        correct_words(chip, 1000)
        flag_words(chip, 1000)
        correct_registers(chip, 1000)
    finally:
        chip.close()


def test_the_host_is_told_of_a_word_that_it_reads(rtl_chip: Chips) -> None:
    """A fault after the last consumption but before the host's read: corrected there, or flagged."""
    chip = rtl_chip(UNEVEN)
    bench = Bench(chip, random_program(UNEVEN, 100, length=LENGTH))
    word = next(word for word in bench.exposure.words if bench.exposure.outlives(word))
    for wrong, name in ((1, "corrected"), (2, "uncorrectable")):
        bench.restore()
        chip.run_upset(bench.status.cycles - 1, *turned(bench, word, bits(random.Random(wrong), UNEVEN, wrong)))
        before = chip.status()
        found = chip.read_memory(*word, 1)
        after = chip.status()
        assert (after.corrected, after.uncorrectable) == (
            before.corrected + (name == "corrected"),
            before.uncorrectable + (name == "uncorrectable"),
        )
        assert after.run == before.run
        if name == "corrected":
            np.testing.assert_array_equal(found[0], bench.after[word])


def test_the_driver_does_not_pass_on_what_is_wrong(rtl_chip: Chips, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = rtl_chip(UNEVEN)
    program = random_program(UNEVEN, 100, length=LENGTH)
    bench = Bench(chip, program)
    word = next(word for word in bench.exposure.words if bench.exposure.of_word(word) and word not in bench.text)
    device = Device(chip)
    device.load(program)

    def run_with(wrong: int) -> int:
        bench.restore()
        flips = turned(bench, word, bits(random.Random(wrong), UNEVEN, wrong))
        monkeypatch.setattr(chip, "run", lambda count: chip.run_upset(0, *flips))
        return device.run({}).cycles

    assert run_with(1) == program.cycles
    with pytest.raises(DeviceError, match="ECC found words with two wrong bits"):
        run_with(2)
