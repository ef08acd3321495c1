# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The prover tells true from false, and is not to be fooled."""

from collections.abc import Iterable, Mapping

import pytest
from amaranth.hdl import Assert, Assume, Elaboratable, Module, Signal

from openlpu.verif.formal.prover import FormalError, Mode, Verdict, prove


class Register(Elaboratable):
    """`q` is `d` a cycle before."""

    def __init__(self) -> None:
        self.d, self.q = Signal(4), Signal(4, init=3)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        kept = Signal(4, init=3, name="kept")
        m.d.sync += kept.eq(self.d)
        m.d.comb += self.q.eq(kept)
        return m


class Claim(Elaboratable):
    """A register fed with a sum, and the claims of a test about it."""

    def __init__(self, claim: str) -> None:
        self.a, self.shown, self.claim = Signal(4, name="a"), Signal(4, name="shown"), claim
        self.free = Signal(4, name="free", reset_less=True)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.inner = inner = Register()
        before, late = Signal(4), Signal()
        m.d.comb += [inner.d.eq(self.a + 1), Assume(self.a != 7, "no seven")]
        m.d.sync += [before.eq(self.a), late.eq(1), self.free.eq(self.free)]
        following = (before + 1)[:4]
        claims = {
            "true": ~late | (inner.q == following),
            "false": ~late | (inner.q == before),
            "initial": late | (inner.q == 3),
            "assumed": inner.q != 8,
            "unreachable": before != 7,
            "shown": self.shown == inner.q,
            "choice": self.free == 0,
        }
        if self.claim == "impossible":
            m.d.comb += Assume(self.a == 7, "seven")
        m.d.comb += Assert(claims.get(self.claim, 0), self.claim)
        return m


def verdict(
    claim: str,
    mode: Mode = Mode.UNBOUNDED,
    *,
    watched: Mapping[str, str] | None = None,
    chosen: bool = False,
    cut: Iterable[str] = (),
) -> Verdict:
    design = Claim(claim)
    shown = {selection: getattr(design, name) for selection, name in (watched or {}).items()}
    inputs = [design.a] if shown else [design.a, design.shown]
    free = [design.free] if chosen else []
    return prove(design, inputs, mode=mode, depth=3, watched=shown, chosen=free, cut=cut).verdict


@pytest.mark.parametrize("claim", ["true", "initial", "assumed", "unreachable"])
def test_what_is_true_is_proven(claim: str) -> None:
    assert verdict(claim) is Verdict.PROVEN


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("claim", ["false", "shown", "nothing"])
def test_what_is_false_is_refuted(claim: str, mode: Mode) -> None:
    assert verdict(claim, mode) is Verdict.REFUTED


def test_a_module_that_is_cut_out_may_do_anything() -> None:
    assert verdict("true", cut=["inner"]) is Verdict.REFUTED


def test_a_watched_wire_is_what_it_shows() -> None:
    assert verdict("shown", watched={"w:inner.kept": "shown"}) is Verdict.PROVEN


@pytest.mark.parametrize("selection", ["w:inner.lost", "w:inner.*"])
def test_a_watched_wire_is_one(selection: str) -> None:
    with pytest.raises(FormalError, match="shown_shows"):
        verdict("shown", watched={selection: "shown"})


def test_a_chosen_register_begins_with_anything() -> None:
    assert verdict("choice") is Verdict.PROVEN
    assert verdict("choice", chosen=True) is Verdict.REFUTED


def test_from_contradictions_nothing_follows() -> None:
    with pytest.raises(FormalError):
        verdict("impossible")
