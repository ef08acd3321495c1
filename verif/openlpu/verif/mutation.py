# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Single bits of encoded programs, flipped: is it noticed, or is it another program that both models run alike?

A bit may stand in an instruction memory, or in an SRAM word that `ifetch` takes text from. There is no third way: a
flip that the software lets pass and that the two models understand differently is a `Mismatch`.
"""

import dataclasses
import enum
from dataclasses import dataclass

import numpy as np

from openlpu.arch.encoding import EncodingError, encoding
from openlpu.arch.geometry import geometry
from openlpu.arch.program import Program
from openlpu.model.golden import GoldenChip, GoldenError
from openlpu.model.text import follow_program
from openlpu.runtime.driver import Device
from openlpu.verif.lockstep import compare
from openlpu.verif.rtl_port import RtlChip


class Outcome(enum.StrEnum):
    """What becomes of a program with a flipped bit."""

    UNDECODED = "refused by the decoder"
    UNPROVED = "refused by the checker"
    """Fetched text that is no instruction included: it is the checker that decodes it."""
    SAME = "run identically by both models"
    LONG = "accepted, but too long to run on the RTL here"


@dataclass(frozen=True)
class Flip:
    """A bit of a word: of a queue's instruction memory by name, or of a MEM slice by number."""

    memory: str | int
    word: int
    bit: int


def flips(program: Program) -> list[Flip]:
    """Every bit of a program's text: in the instruction memories, and in the SRAM words that text is fetched from."""
    config, chip = program.config, geometry(program.config)
    resident = [
        Flip(name, word, bit)
        for name, text in program.text.items()
        for word in range(len(text))
        for bit in range(encoding(config).word_bits(chip.by_name[name].kind))
    ]
    sources = sorted(follow_program(program).sources)
    return resident + [Flip(number, word, bit) for number, word in sources for bit in range(8 * config.lanes)]


def mutated(program: Program, flip: Flip) -> Program:
    """The program with a bit flipped.

    Raises:
        EncodingError: when the word is no instruction any more.
    """
    if isinstance(flip.memory, int):
        place = flip.memory, flip.word
        vector = program.image[place].copy()
        vector.view(np.uint8)[flip.bit // 8] ^= 1 << flip.bit % 8
        return dataclasses.replace(program, name=f"{program.name} with {flip}", image=program.image | {place: vector})
    queue, codec = geometry(program.config).by_name[flip.memory], encoding(program.config)
    text = list(program.text[flip.memory])
    word = codec.encode(text[flip.word], queue) ^ 1 << flip.bit
    text[flip.word] = codec.decode(word, queue)
    # The flipped word itself runs on both models: no bit of it may get lost on the way through an instruction.
    assert codec.encode(text[flip.word], queue) == word, f"{flip}: {word:#x} has the meaning of another word"
    texts = program.text | {flip.memory: tuple(text)}
    return dataclasses.replace(program, name=f"{program.name} with {flip}", text=texts)


def outcome(program: Program, flip: Flip, rtl: RtlChip, longest: int) -> Outcome:
    """What becomes of a program with a bit flipped; runs of more than `longest` cycles are left to the golden model.

    Raises:
        Mismatch: when the two models differ.
    """
    try:
        mutant = mutated(program, flip)
    except EncodingError:
        return Outcome.UNDECODED
    golden = GoldenChip(program.config)
    Device(golden).load(mutant)
    try:
        status = golden.run()
    except GoldenError:
        return Outcome.UNPROVED
    if status.cycles > longest:
        return Outcome.LONG
    compare(mutant, rtl)
    return Outcome.SAME
