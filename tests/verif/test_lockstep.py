# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Random programs on the golden model and on the Verilated chip, compared in every register of every cycle.

A failure prints the seed in the program's name: `random_program(config, seed)` makes it again.
"""

import os
from collections.abc import Callable

import numpy as np
import pytest

from openlpu.arch.assembly import parse_instruction
from openlpu.arch.config import ChipConfig
from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import QueueKind, geometry
from openlpu.arch.isa import instruction
from openlpu.arch.presets import LAB32, NANO, ULX3S, ULX3S16
from openlpu.arch.status import Fault, RunStatus
from openlpu.compiler.dealing import Dealing
from openlpu.compiler.lower import lower
from openlpu.compiler.pipeline import compile_graph
from openlpu.compiler.reference import evaluate
from openlpu.compiler.workloads import gemm
from openlpu.model.link import check
from openlpu.runtime.driver import Device, open_device
from openlpu.verif import host
from openlpu.verif.lockstep import Mismatch, compare
from openlpu.verif.odd_configs import MIRRORED, UNEVEN
from openlpu.verif.random_programs import random_program
from openlpu.verif.rtl_port import RtlChip

Chips = Callable[[ChipConfig], RtlChip]
BATCH = 10


@pytest.mark.parametrize("batch", range(20))
def test_nano_runs_as_the_golden_model(rtl_chip: Chips, batch: int) -> None:
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        compare(random_program(NANO, seed), rtl_chip(NANO))


@pytest.mark.parametrize("batch", range(5))
def test_ulx3s_runs_as_the_golden_model(rtl_chip: Chips, batch: int) -> None:
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        compare(random_program(ULX3S, seed), rtl_chip(ULX3S))


@pytest.mark.parametrize("config", [ULX3S16, MIRRORED, UNEVEN], ids=lambda config: config.name)
def test_other_chips_run_as_the_golden_model(rtl_chip: Chips, config: ChipConfig) -> None:
    for seed in range(BATCH):
        compare(random_program(config, seed), rtl_chip(config))


@pytest.mark.parametrize("config", [NANO, ULX3S, ULX3S16, MIRRORED, UNEVEN], ids=lambda config: config.name)
def test_runs_in_a_row_are_as_on_the_golden_model(rtl_chip: Chips, config: ChipConfig) -> None:
    """Every register in every cycle of each run, the same cycles apart as the timing table says."""
    for seed, count in ((100, 2), (101, 4)):
        compare(random_program(config, seed, fetches=False), rtl_chip(config), count)


@pytest.mark.regress
@pytest.mark.parametrize(
    ("config", "share"),
    [(NANO, 1), (ULX3S, 20), (ULX3S16, 20), (MIRRORED, 10), (UNEVEN, 10)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_many_programs_run_as_the_golden_model(rtl_chip: Chips, config: ChipConfig, share: int) -> None:
    for seed in range(1000, 1000 + int(os.environ["OPENLPU_REGRESS_PROGRAMS"]) // share):
        compare(random_program(config, seed), rtl_chip(config))


@pytest.mark.parametrize("config", [NANO, ULX3S, LAB32], ids=lambda config: config.name)
def test_random_programs_satisfy_the_checker(config: ChipConfig) -> None:
    for seed in range(3):
        check(random_program(config, seed, length=20))


def test_the_first_difference_names_cycle_place_and_instruction(
    rtl_chip: Chips, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, chip = random_program(NANO, 3), rtl_chip(NANO)
    trace = compare(program, chip)
    seen = next(p for p in trace.productions if p.cycle > 20 and p.stream.direction.letter == "e" and p.hop == 2)
    honest = chip.trace

    def lying(count: int) -> tuple[RunStatus, list[host.Snapshot]]:
        status, snapshots = honest(count)
        hops = list(snapshots[seen.cycle])
        e_valid, e_data, w_valid, w_data = hops[seen.hop]
        hops[seen.hop] = (e_valid, e_data ^ 1 << (8 * NANO.lanes * seen.stream.index), w_valid, w_data)
        snapshots[seen.cycle] = tuple(hops)
        return status, snapshots

    monkeypatch.setattr(chip, "trace", lying)
    with pytest.raises(Mismatch, match=f"cycle {seen.cycle}, hop 2, stream {seen.stream}: .* from {seen.dispatch}"):
        compare(program, chip)


@pytest.mark.parametrize("config", [ULX3S, ULX3S16], ids=lambda config: config.name)
def test_matrix_product_is_the_same_on_both(rtl_chip: Chips, config: ChipConfig) -> None:
    program = compile_graph(gemm(32, 64, 64, seed=1), config)
    values = {"x": np.random.default_rng(1).integers(-128, 128, (32, 64), dtype=np.int8)}
    device = Device(rtl_chip(config))
    device.load(program)
    with open_device("golden", config) as golden:
        golden.load(program)
        want, found = golden.run(values), device.run(values)
    assert found.cycles == want.cycles == program.cycles
    np.testing.assert_array_equal(found.outputs["y"], want.outputs["y"])


@pytest.mark.parametrize(("rows", "inputs", "columns", "ways"), [(13, 20, 24, 2), (20, 12, 20, 3), (13, 20, 20, 4)])
def test_planes_that_share_a_column_do_so_on_the_rtl(
    rtl_chip: Chips, rows: int, inputs: int, columns: int, ways: int
) -> None:
    """The last of four sums is added by the conversion behind them, as no ALU is left for it."""
    graph = gemm(rows, inputs, columns, seed=1)
    (last,) = Dealing(lower(graph, MIRRORED), MIRRORED).rounds[0][-1:]
    assert [share.column for share in last].count(last[0].column) == ways
    program = compile_graph(graph, MIRRORED)
    values = {"x": np.random.default_rng(1).integers(-128, 128, (rows, inputs), dtype=np.int8)}
    device = Device(rtl_chip(MIRRORED))
    device.load(program)
    found = device.run(values)
    assert found.cycles == program.cycles
    np.testing.assert_array_equal(found.outputs["y"], evaluate(graph, values)["y"])


def load_text(chip: RtlChip, text: dict[str, list[int]]) -> None:
    """Raw words for some queues; all others halt at once."""
    config = chip.config
    for number, queue in enumerate(geometry(config).queues):
        idle = [encoding(config).encode(instruction("halt"), queue)]
        chip.write_text(number, text.get(queue.name, idle))


def words(config: ChipConfig, name: str, *text: str) -> list[int]:
    queue = geometry(config).by_name[name]
    return [encoding(config).encode(parse_instruction(line), queue) for line in text]


@pytest.mark.parametrize("config", [NANO, UNEVEN], ids=lambda config: config.name)
def test_an_empty_stream_is_a_fault_with_unit_and_cycle(rtl_chip: Chips, config: ChipConfig) -> None:
    chip = rtl_chip(config)
    load_text(chip, {"mem_e1.write": words(config, "mem_e1.write", "notify", "nop n=5", "write a=3 s=e2", "halt")})
    status = chip.run()
    assert status.fault == Fault("mem_e1.write", cycle=5 + config.pipeline.dispatch, illegal=False)


def test_text_from_an_empty_stream_is_a_fault_with_unit_and_cycle(rtl_chip: Chips) -> None:
    chip, (stream, *_) = rtl_chip(UNEVEN), geometry(UNEVEN).by_name["mem_e1.write"].fetches
    text = words(UNEVEN, "mem_e1.write", "notify", "nop n=5", f"ifetch s={stream} a=9 n=1", "nop n=20", "halt")
    load_text(chip, {"mem_e1.write": text})
    vectors = encoding(UNEVEN).word_vectors(QueueKind.MEM_WRITE)
    assert chip.run().fault == Fault("mem_e1.write", 5 + UNEVEN.pipeline.dispatch, illegal=False, count=vectors)


def test_every_cycle_with_a_fault_is_counted(rtl_chip: Chips) -> None:
    chip = rtl_chip(NANO)
    text = words(NANO, "mem_e1.write", "notify", "write a=3 s=e2", "repeat n=4 gap=2 step=1", "halt")
    load_text(chip, {"mem_e1.write": text})
    assert chip.run().fault == Fault("mem_e1.write", cycle=NANO.pipeline.dispatch, illegal=False, count=5)


@pytest.mark.parametrize("config", [NANO, UNEVEN], ids=lambda config: config.name)
def test_an_illegal_word_is_a_fault_with_unit_and_cycle(rtl_chip: Chips, config: ChipConfig) -> None:
    chip = rtl_chip(config)
    load_text(chip, {"vxm.alu0": [*words(config, "vxm.alu0", "notify", "nop n=3"), 0]})
    assert chip.run().fault == Fault("vxm.alu0", cycle=3, illegal=True)


def test_a_fault_is_forgotten_at_the_next_start(rtl_chip: Chips) -> None:
    chip = rtl_chip(NANO)
    load_text(chip, {"mem_e0.read": words(NANO, "mem_e0.read", "notify", "nop n=7", "halt")})
    assert chip.run() == RunStatus(cycles=8)
