# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Random accesses to a chip over a wire with faults, each compared with what must come of it.

The chip is `CONFIG`, its program adds one to a word of SRAM: so a run that is lost, or happens twice, is seen.
"""

import contextlib
import dataclasses
import functools
import random
from dataclasses import dataclass

import numpy as np

from openlpu.arch.assembly import parse_instruction
from openlpu.arch.config import AluConfig, ChipConfig, OpClass
from openlpu.arch.geometry import geometry
from openlpu.arch.isa import Instruction
from openlpu.arch.program import Program, Vector
from openlpu.arch.timing import timing
from openlpu.model.link import cycles
from openlpu.runtime.bridged_chip import BridgedChip
from openlpu.runtime.driver import Device
from openlpu.runtime.errors import ConnectionLostError, DeviceError
from openlpu.runtime.requests import Patience
from openlpu.verif.line_faults import FaultyWire

CONFIG = ChipConfig(
    name="bench",
    lanes=4,
    streams=4,
    mem_slices=2,
    mem_words=2048,
    slices_per_hop=2,
    weight_streams=1,
    acc_depth=2,
    act_depth=2,
    alus=(AluConfig(classes=(OpClass.INT,), chain=(0,)),),
    imem_words=16,
    clock_mhz=100.0,
)
"""Hardly any chip, quickly built and simulated, with 16 KiB of SRAM: the bridge is what is tested."""
_WORDS = 320
"""Of each MEM slice, so many are accessed: at once that takes two frames."""
_OPENINGS = 10
"""How often a chip that cannot be reached is opened again before that is an error."""


@dataclass
class Campaign:
    """What became of a campaign: all that was compared was right."""

    accesses: int = 0
    runs: int = 0
    lost: int = 0
    """Connections that were given up, with an error, and opened again."""
    faults: int = 0
    repeated: int = 0
    """Requests that the driver sent more than once."""


def campaign(wire: FaultyWire, faults: int, seed: int, patience: Patience) -> Campaign:
    """Access a chip over `wire` until so many faults have happened; then once more without any.

    Raises:
        AssertionError: when something is not as it must be; names access and seed.
    """
    result, source = Campaign(), random.Random(seed)
    memory = np.zeros((len(geometry(CONFIG).mem_slices), _WORDS, CONFIG.lanes), np.int8)
    chip = _opened(wire, patience)
    _fill(chip, memory)
    while wire.injected < faults:
        result.accesses += 1
        try:
            _access(chip, memory, source, result, f"access {result.accesses}, seed {seed}")
        except ConnectionLostError:
            result.lost += 1
            result.repeated += chip.line.repeated
            # What the chip took of the last access is not known.
            chip = _opened(wire, patience)
            _fill(chip, memory)
    result.faults, result.repeated = wire.injected, result.repeated + chip.line.repeated
    wire.stop()
    for number, expected in enumerate(memory):
        assert np.array_equal(chip.read_memory(number, 0, _WORDS), expected), f"in the end, seed {seed}"
    return result


@functools.cache
def counter() -> Program:
    """Adds one to each byte of word 0 of MEM slice 0."""
    program = Program(
        name="counter",
        config=CONFIG,
        text={
            "mem_e0.read": _text("notify", "read a=0 d=w0", "halt"),
            "vxm.alu0": _text("sync", "nop n=3", "iadd x=w0.byte y=imm d=e1.byte imm=0x1", "halt"),
            "mem_e0.write": _text("sync", "nop n=7", "write a=0 s=e1", "nop n=3", "halt"),
        },
        image={(0, 0): np.zeros(CONFIG.lanes, np.int8)},
    )
    return dataclasses.replace(program, cycles=cycles(program))


def _text(*lines: str) -> tuple[Instruction, ...]:
    return tuple(parse_instruction(line) for line in lines)


def _opened(wire: FaultyWire, patience: Patience) -> BridgedChip:
    """The chip, with the program in it; a device may need to be opened more than once over such a wire."""
    for _ in range(_OPENINGS - 1):
        with contextlib.suppress(DeviceError):
            return _loaded(wire, patience)
    return _loaded(wire, patience)


def _loaded(wire: FaultyWire, patience: Patience) -> BridgedChip:
    chip = BridgedChip(wire, CONFIG, patience=patience)
    Device(chip).load(counter())
    return chip


def _fill(chip: BridgedChip, memory: Vector) -> None:
    """Write everything that is in `memory`."""
    for number, words in enumerate(memory):
        chip.write_memory(number, 0, words)


def _access(chip: BridgedChip, memory: Vector, source: random.Random, result: Campaign, which: str) -> None:
    """One write, read or run, compared with `memory`, which follows."""
    number, count = source.randrange(len(memory)), source.choice((1, 1, 2, 4, 8, 8, source.randint(1, _WORDS)))
    address = source.randrange(_WORDS - count + 1)
    match source.choice(("write", "read", "run")):
        case "write":
            words = np.frombuffer(source.randbytes(count * CONFIG.lanes), np.int8).reshape(count, CONFIG.lanes)
            memory[number, address : address + count] = words
            chip.write_memory(number, address, words)
        case "read":
            words = chip.read_memory(number, address, count)
            assert np.array_equal(words, memory[number, address : address + count]), f"read: {which}"
        case _:
            memory[0, 0], runs = source.randrange(100), source.choice((1, 1, 2, 5))
            chip.write_memory(0, 0, memory[0, :1])
            status = chip.run(runs)
            memory[0, 0] += runs
            assert status.fault is None, f"run: {which}"
            assert status.cycles == timing(CONFIG).series(counter().cycles, runs), f"run: {which}"
            assert np.array_equal(chip.read_memory(0, 0, 1), memory[0, :1]), f"run: {which}"
            result.runs += 1
