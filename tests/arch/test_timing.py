# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The timing table: nano's rows written out once, and what every table must have for the chip to make sense."""

import dataclasses
from typing import Any

import pytest

from openlpu.arch.config import ChipConfig, OpClass, PipelineConfig
from openlpu.arch.geometry import QueueKind, geometry
from openlpu.arch.isa import BY_MNEMONIC
from openlpu.arch.presets import LAB32, NANO, PRESETS, TSP1
from openlpu.arch.timing import Latency, timing

ALL = pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)


def row(config: ChipConfig, queue: str, mnemonic: str) -> Latency:
    return timing(config).latency(BY_MNEMONIC[mnemonic], geometry(config).by_name[queue])


@pytest.mark.parametrize(
    ("queue", "mnemonic", "expected"),
    [
        ("mem_e0.read", "read", Latency(skew=1, func=3)),
        ("mem_e0.write", "write", Latency(skew=1, state=3)),
        ("mxm_e0.weights", "lw", Latency(skew=1, state=2)),
        ("mxm_e0.weights", "iw", Latency(skew=1, state=2)),
        ("mxm_e0.acts", "abc", Latency(skew=1, state=4)),
        ("mxm_e0.accs", "acc_set", Latency(skew=2, state=3)),
        ("mxm_e0.accs", "acc_add_out", Latency(skew=2, func=3, state=3)),
        ("mxm_e0.accs", "acc_out", Latency(skew=2, func=3, state=3)),
        ("vxm.alu0", "iadd", Latency(skew=1, func=4, state=3)),
        ("vxm.alu1", "i2f", Latency(skew=1, func=6, state=5)),
        ("vxm.alu2", "fmul", Latency(skew=1, func=6, state=5)),
        ("vxm.alu3", "fadd", Latency(skew=1, func=8, state=7)),
        ("vxm.alu3", "f2i", Latency(skew=1, func=8, state=7)),
        ("sxm_e.shift", "shift", Latency(skew=1, func=3)),
        ("sxm_e.permute", "permute", Latency(skew=1, func=3)),
        ("sxm_e.permute", "halt", Latency()),
    ],
)
def test_nano(queue: str, mnemonic: str, expected: Latency) -> None:
    assert row(NANO, queue, mnemonic) == expected


@pytest.mark.parametrize(
    ("change", "queue", "mnemonic", "event", "later"),
    [
        ({"dispatch": 3}, "mem_e0.read", "read", "func", 2),
        ({"dispatch": 0}, "vxm.alu0", "iadd", "skew", -1),
        ({"sram": 2}, "mem_e0.read", "read", "func", 1),
        ({"multiply": 3}, "mxm_e0.acts", "abc", "state", 2),
        ({"tree_levels": 1}, "mxm_e0.acts", "abc", "state", 1),
        ({"alu_int": 5}, "vxm.alu0", "iadd", "state", 3),
        ({"alu_f2i": 9}, "vxm.alu3", "fadd", "func", 3),
        ({"lanes": 2}, "sxm_e.permute", "permute", "func", 1),
    ],
)
def test_a_stage_more_is_a_cycle_more(
    change: dict[str, Any], queue: str, mnemonic: str, event: str, later: int
) -> None:
    config = dataclasses.replace(NANO, pipeline=dataclasses.replace(PipelineConfig(), **change))
    assert getattr(row(config, queue, mnemonic), event) == getattr(row(NANO, queue, mnemonic), event) + later


def test_adder_trees() -> None:
    # Before the tree stand the activation register and the multipliers. 9 levels by threes, then 5 by twos: the last
    # register of the latter has one level before it.
    assert timing(TSP1).array == 1 + 1 + 3
    assert timing(LAB32).array == 1 + 1 + 3


@ALL
def test_every_row_makes_sense(config: ChipConfig) -> None:
    rows = timing(config).rows(geometry(config).queues)
    assert {queue.name for queue, _, _ in rows} == set(geometry(config).by_name)
    for queue, spec, latency in rows:
        assert latency.skew is not None
        assert (latency.func is not None) == bool(spec.produces)
        for result in (latency.func, latency.state):
            assert result is None or result > latency.skew
        assert latency.retire == max(x for x in (latency.skew, latency.func, latency.state) if x is not None)
        if queue.kind is QueueKind.VXM:
            assert latency.state is not None
            assert latency.func == latency.state + config.pipeline.outputs + 1


@ALL
def test_what_the_units_owe_each_other(config: ChipConfig) -> None:
    chip, table = geometry(config), timing(config)
    weights, acts, accs = (chip.of_kind(k)[0] for k in (QueueKind.MXM_WEIGHTS, QueueKind.MXM_ACTS, QueueKind.MXM_ACCS))
    lw, iw = (table.latency(BY_MNEMONIC[m], weights) for m in ("lw", "iw"))
    acc, abc = table.latency(BY_MNEMONIC["acc_add"], accs), table.latency(BY_MNEMONIC["abc"], acts)
    assert lw.state is not None
    assert iw.skew is not None
    assert acc.skew is not None
    assert lw.state == iw.skew + 1, "iw may follow the last lw at once"
    assert iw.state is not None
    assert iw.state <= table.weights_used, "abc may dispatch with the iw that it needs"
    assert acc.state == acc.skew + 1, "accumulators are updated back to back"
    assert abc.state is not None
    assert abc.state > acc.skew - 1, "the acc of an abc dispatches no earlier than the abc"


@pytest.mark.parametrize(
    ("queue", "mnemonic", "without", "behind"),
    [
        ("mem_e0.read", "gather", Latency(skew=1, func=3), 1),
        ("mem_e0.write", "write", Latency(skew=1, state=3), None),
        ("mxm_e0.weights", "lw", Latency(skew=1, state=2), None),
        ("mxm_e0.acts", "abc", Latency(skew=1, state=4), None),
        ("mxm_e0.accs", "acc_add_out", Latency(skew=2, func=3, state=3), 2),
        ("vxm.alu0", "iadd", Latency(skew=1, func=4, state=3), 2),
        ("sxm_e.shift", "shift", Latency(skew=1, func=3), 2),
    ],
)
def test_ecc_delays_what_units_put_out(queue: str, mnemonic: str, without: Latency, behind: int | None) -> None:
    func = None if behind is None or without.func is None else without.func + behind
    assert row(dataclasses.replace(NANO, ecc=True), queue, mnemonic) == dataclasses.replace(without, func=func)


def test_ecc_delays_text_and_host_by_the_corrector() -> None:
    plain, checked = timing(NANO), timing(dataclasses.replace(NANO, ecc=True))
    assert (checked.fetch.skew, checked.fetch.state) == (plain.fetch.skew, (plain.fetch.state or 0) + 1)
    assert checked.host_written == plain.host_written + 1
    assert checked.host_read == plain.host_read + 2  # there, too, and back


def test_lanes_that_take_turns_are_later_by_all_turns_but_one() -> None:
    alu = next(number for number, alu in enumerate(NANO.alus) if OpClass.SPECIAL in alu.classes)
    config = dataclasses.replace(NANO, special_turns=4)
    for mnemonic in ("exp", "pass"):
        before, now = row(NANO, f"vxm.alu{alu}", mnemonic), row(config, f"vxm.alu{alu}", mnemonic)
        assert (now.skew, now.func, now.state) == (before.skew, (before.func or 0) + 3, (before.state or 0) + 3)
    assert [timing(config).turns(BY_MNEMONIC[mnemonic]) for mnemonic in ("exp", "rsqrt", "fmul")] == [4, 4, 1]
    assert row(config, "vxm.alu0", "iadd") == row(NANO, "vxm.alu0", "iadd")


@ALL
def test_runs_in_a_row_follow_one_another_as_late_as_it_takes(config: ChipConfig) -> None:
    table, hops = timing(config), geometry(config).hops
    last = max(latency.retire for _, _, latency in table.rows(geometry(config).queues))
    assert table.rerun > last + hops + table.notify
    assert table.series(100, 1) == 100
    assert table.series(100, 5) == 500 + 4 * table.rerun
    assert table.series(0, 5) == 0


def test_from_one_run_to_the_next_on_nano() -> None:
    # An ALU's result needs 10 cycles, a fault 5 until it is recorded; then the farthest queue is started.
    assert timing(NANO).clock_delay == 5
    assert timing(NANO).draining == 10 + 5 + 2
    assert timing(NANO).rerun == 17 + (3 + 4) + 5 + 4
