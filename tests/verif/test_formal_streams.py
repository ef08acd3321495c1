# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Streams of `nano`, proven: no vector is lost, doubled or made up, whatever the units do, for all time."""

from typing import Any

import pytest
from amaranth.hdl import EnableInserter

from openlpu.arch.geometry import Direction
from openlpu.arch.presets import NANO
from openlpu.hdl import chip
from openlpu.hdl.stream import Hop
from openlpu.verif.formal.prover import Mode, Proof, Verdict, prove
from openlpu.verif.formal.streams import StreamLaws


def ask(direction: Direction, mode: Mode, depth: int) -> Proof:
    laws = StreamLaws(NANO, direction)
    return prove(laws, laws.inputs, mode=mode, depth=depth, chosen=laws.chosen, cut=laws.cut)


@pytest.mark.parametrize("direction", [Direction.EAST, pytest.param(Direction.WEST, marks=pytest.mark.regress)])
def test_what_stands_in_a_register_is_what_came(direction: Direction) -> None:
    proof = ask(direction, Mode.UNBOUNDED, 2)
    assert proof.verdict is Verdict.PROVEN, proof.log


def thrifty_hop(**parameters: Any) -> Any:
    """A hop that is not clocked when nothing flows in: the vector before stays for another cycle."""
    hop = Hop(**parameters)
    return EnableInserter(hop.e_valid_in.any() | hop.w_valid_in.any())(hop)


@pytest.mark.regress
def test_a_hop_that_keeps_a_vector_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chip, "Hop", thrifty_hop)
    proof = ask(Direction.EAST, Mode.BOUNDED, 4)
    assert proof.verdict is Verdict.REFUTED, proof.log
    assert "Assert failed in property" in proof.log
