# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Instruction queues of `nano`, proven: whatever the text, each instruction is dispatched in its cycle, for all time.

The instruction memories have 8 words instead of 256.
"""

import dataclasses

import pytest
from amaranth.hdl import Module, Value

from openlpu.arch.config import ChipConfig
from openlpu.arch.geometry import geometry
from openlpu.arch.presets import NANO
from openlpu.hdl.decode import Decoder
from openlpu.hdl.icu import InstructionQueue
from openlpu.verif.formal import queues
from openlpu.verif.formal.prover import Mode, Proof, Verdict, prove
from openlpu.verif.formal.queues import QueueLaws

CONFIG = dataclasses.replace(NANO, imem_words=8)
AROUND = dataclasses.replace(CONFIG, lanes=6, weight_streams=2)
"""Three row groups, so that an address which comes around is no matter of bits alone."""
QUEUES = geometry(CONFIG).by_name
QUEUE = QUEUES["mxm_e0.accs"]
ONE_OF_A_KIND = {queue.kind: queue.name for queue in QUEUES.values()}.values()
HORIZON = 12
"""Cycles in which a mistake must show. The first instruction is dispatched in cycle 5 at the earliest."""


def ask(laws: QueueLaws, mode: Mode, depth: int) -> Proof:
    return prove(laws, laws.inputs, mode=mode, depth=depth, watched=laws.watched, chosen=laws.chosen, cut=laws.cut)


def assert_proven(name: str, config: ChipConfig = CONFIG) -> None:
    proof = ask(QueueLaws(config, geometry(config).by_name[name]), Mode.UNBOUNDED, 2)
    assert proof.verdict is Verdict.PROVEN, proof.log


def test_every_instruction_is_dispatched_in_its_cycle() -> None:
    assert_proven("mem_e0.read")


@pytest.mark.regress
def test_row_groups_come_around() -> None:
    assert_proven("mxm_e0.weights", AROUND)


@pytest.mark.regress
@pytest.mark.parametrize("name", ONE_OF_A_KIND)
def test_queues_of_every_kind(name: str) -> None:
    assert_proven(name)


# --- and the proofs can fail ---


def assert_refuted(laws: QueueLaws) -> None:
    proof = ask(laws, Mode.BOUNDED, HORIZON)
    assert proof.verdict is Verdict.REFUTED, proof.log
    assert "Assert failed in property" in proof.log


class LongerNops(QueueLaws):
    def nop_cycles(self, n: Value) -> Value:
        return (n + 1)[: len(n)]


class LongerWaits(QueueLaws):
    def wait_cycles(self, wait: Value) -> Value:
        return (wait + 1)[: len(wait)]


class FewerDispatches(QueueLaws):
    def further(self, again: Value) -> Value:
        return again >> 1


class RepeatsInPlace(QueueLaws):
    def advanced(self, m: Module, word: Value, step: Value) -> Value:
        return word


class StraightQueue(InstructionQueue):
    """A queue that goes on behind the last row group."""

    def _around(self, group: Value) -> Value:
        return group


def test_a_queue_whose_row_groups_do_not_come_around_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "InstructionQueue", StraightQueue)
    assert_refuted(QueueLaws(AROUND, geometry(AROUND).by_name["mxm_e0.weights"], inductive=False))


@pytest.mark.parametrize("laws", [LongerNops, LongerWaits, FewerDispatches, RepeatsInPlace])
def test_another_specification_is_refuted(laws: type[QueueLaws]) -> None:
    assert_refuted(laws(CONFIG, QUEUE, inductive=False))


class StubbornQueue(InstructionQueue):
    """A queue that does not advance the address of what it repeats."""

    def _advanced(self, m: Module, word: Value, head: Decoder) -> Value:
        return word


def test_another_queue_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "InstructionQueue", StubbornQueue)
    assert_refuted(QueueLaws(CONFIG, QUEUE, inductive=False))


def test_without_what_the_registers_hold_there_is_no_induction() -> None:
    """The assertions about registers are needed, so they are not true of just anything."""
    proof = ask(QueueLaws(CONFIG, QUEUE, inductive=False), Mode.UNBOUNDED, 2)
    assert proof.verdict is Verdict.UNDECIDED, proof.log
