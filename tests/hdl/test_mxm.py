# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""MXM planes in Amaranth's simulator against numpy's int64 matrix product."""

import dataclasses

import numpy as np
import pytest
from tests.hdl.units import UnitBench, Vector

from openlpu.arch.config import ChipConfig, PipelineConfig
from openlpu.arch.geometry import QueueKind, geometry
from openlpu.arch.isa import BY_MNEMONIC
from openlpu.arch.presets import NANO
from openlpu.arch.timing import timing
from openlpu.hdl.mxm import MxmPlane

NARROW = dataclasses.replace(
    NANO,
    lanes=6,
    weight_streams=2,
    pipeline=PipelineConfig(dispatch=4, activations=2, multiply=2, tree_levels=1, accumulators=2),
)
DEEP = dataclasses.replace(
    NANO,
    lanes=9,
    weight_streams=3,
    pipeline=PipelineConfig(dispatch=2, activations=3, multiply=3, tree_levels=3, accumulators=3),
)
CONFIGS = [NANO, NARROW, DEEP]
KINDS = (QueueKind.MXM_WEIGHTS, QueueKind.MXM_ACTS, QueueKind.MXM_ACCS)


class Plane(UnitBench):
    """A plane with the events of its instructions."""

    def __init__(self, config: ChipConfig) -> None:
        super().__init__(config, MxmPlane(config=config, index=0))
        self.weights, self.acts, self.accs = (geometry(config).of_kind(kind)[0] for kind in KINDS)

    def latency(self, mnemonic: str) -> tuple[int, int, int]:
        """Skew, func and state; 0 where there is none."""
        spec = BY_MNEMONIC[mnemonic]
        queue = next(q for q in (self.weights, self.acts, self.accs) if q.kind in spec.kinds)
        row = timing(self.config).latency(spec, queue)
        return row.skew or 0, row.func or 0, row.state or 0

    def load(self, cycle: int, matrix: Vector) -> int:
        """Load a matrix into the shadow; the first cycle in which it may be installed."""
        skew, _, state = self.latency("lw")
        groups = len(matrix) // self.config.weight_streams
        for group in range(groups):
            self.at(cycle + group, self.weights, "lw", g=group)
            for i, stream in enumerate(self.weights.consumes):
                self.put(cycle + group + skew, stream, matrix[group * self.config.weight_streams + i])
        return cycle + groups - 1 + state - self.latency("iw")[0]

    def multiply(self, cycle: int, vector: Vector, replayed: int | None = None) -> int:
        """Enter activations, or those in a word of the activation buffer; the dispatch cycle of the accumulator
        instruction that takes the sums."""
        skew, _, state = self.latency("abc" if replayed is None else "abr")
        if replayed is not None:
            self.at(cycle, self.acts, "abr", a=replayed)
            return cycle + state - self.latency("acc_set")[0]
        free = [stream for stream in self.acts.consumes if stream not in self.weights.consumes]
        stream = free[cycle % len(free)]
        self.at(cycle, self.acts, "abc", s=stream)
        self.put(cycle + skew, stream, vector)
        return cycle + state - self.latency("acc_set")[0]

    def accumulate(self, cycle: int, mnemonic: str, address: int, group: int | None = None) -> int:
        """Use an accumulator; the cycle in which the value stands on the hop."""
        fields = {} if group is None else {"d": self.accs.produces[4 * group]}
        self.at(cycle, self.accs, mnemonic, a=address, **fields)
        return cycle + self.latency(mnemonic)[1]

    def words(self, cycle: int, group: int) -> list[int]:
        """The int32 vector produced on a group."""
        planes = [self.produced.pop((stream, cycle)) for stream in self.accs.produces[4 * group :][:4]]
        return np.array(planes, np.int8).T.copy().view("<i4")[:, 0].tolist()


@pytest.mark.parametrize("config", CONFIGS, ids=["nano", "narrow", "deep"])
def test_matrix_product_while_weights_are_swapped(config: ChipConfig) -> None:
    """Vectors enter every cycle while the shadow fills; the install is as late as the table allows for the next one."""
    rng = np.random.default_rng(3)
    plane = Plane(config)
    matrices = rng.integers(-128, 128, (4, config.lanes, config.lanes))
    matrices[0] = -128
    cycle, expected = 4, []
    install = plane.load(cycle, matrices[0])
    for k, matrix in enumerate(matrices):
        plane.at(install, plane.weights, "iw")
        # The first vector that meets the new weights.
        cycle = install + plane.latency("iw")[2] - timing(config).weights_used
        install = plane.load(install + 1, matrices[k + 1]) if k + 1 < len(matrices) else cycle + 8
        last = install + plane.latency("iw")[2] - timing(config).weights_used
        for entry in range(cycle, last):
            vector = rng.integers(-128, 128, config.lanes) if entry > cycle else np.full(config.lanes, -128)
            group = entry % (config.streams // 4)
            stands = plane.accumulate(plane.multiply(entry, vector), "acc_set_out", entry % config.acc_depth, group)
            expected.append((stands, group, (vector.astype(np.int64) @ matrix).tolist()))
    plane.run(expected[-1][0] + 3)
    for stands, group, sums in expected:
        assert plane.words(stands, group) == sums, f"in cycle {stands}"
    assert plane.produced == {}
    assert plane.empty == []


@pytest.mark.parametrize("config", CONFIGS, ids=["nano", "narrow", "deep"])
def test_accumulators(config: ChipConfig) -> None:
    """Random set, add and out, back to back on few addresses, so that most meet a value of the cycle before."""
    rng = np.random.default_rng(4)
    plane = Plane(config)
    matrix = rng.integers(-128, 128, (config.lanes, config.lanes))
    install = plane.load(0, matrix)
    plane.at(install, plane.weights, "iw")
    first = install + 4
    accumulators: dict[int, Vector] = {}
    expected = []
    for entry in range(first, first + 150):
        vector = rng.integers(-128, 128, config.lanes)
        dispatch = plane.multiply(entry, vector)
        address = int(rng.integers(3))
        known = ["acc_add", "acc_add_out", "acc_out"] if address in accumulators else []
        mnemonic = str(rng.choice(["acc_set", "acc_set_out", *known, *known]))
        group = int(rng.integers(config.streams // 4)) if mnemonic.endswith("out") else None
        stands = plane.accumulate(dispatch, mnemonic, address, group)
        sums = vector.astype(np.int64) @ matrix
        if mnemonic.startswith("acc_add"):
            sums = accumulators[address] + sums
        if mnemonic == "acc_out":
            sums = accumulators[address]
        accumulators[address] = sums
        if group is not None:
            expected.append((stands, group, sums.tolist()))
    plane.run(first + 150 + 30)
    for stands, group, sums in expected:
        assert plane.words(stands, group) == sums, f"in cycle {stands}"
    assert plane.produced == {}
    assert plane.empty == []


def test_faults() -> None:
    """Sums a cycle early and late, one of four weight streams missing, activations missing."""
    plane = Plane(NANO)
    skew = NANO.pipeline.dispatch
    install = plane.load(0, np.zeros((4, 4)))
    del plane.contents[plane.weights.consumes[3], skew]
    plane.at(install, plane.weights, "iw")
    taken = plane.multiply(10, np.zeros(4))
    for cycle in (taken - 1, taken, taken + 1):
        plane.accumulate(cycle, "acc_set", 0)
    plane.accumulate(taken + 2, "acc_out", 0, 0)
    plane.at(30, plane.acts, "abc", s=plane.acts.consumes[0])
    plane.run(40)
    accs = plane.accs.name
    assert plane.empty == [
        (plane.weights.name, skew),
        (accs, taken - 1 + skew + 1),
        (accs, taken + 1 + skew + 1),
        (plane.acts.name, 30 + skew),
    ]


@pytest.mark.parametrize("config", CONFIGS, ids=["nano", "narrow", "deep"])
@pytest.mark.parametrize("installs", ["with the last load", "of equal loads with the last", "a cycle after it"])
def test_transposed_loads_and_installs_on_the_way(config: ChipConfig, installs: str) -> None:
    """Loads in a row without a gap, by rows and by columns; an array is used for just as long as it stands."""
    rng = np.random.default_rng(12)
    plane = Plane(config)
    together = config.weight_streams
    groups = config.lanes // together
    skew, _, loaded = plane.latency("lw_iw")
    matrices = rng.integers(-128, 128, (6, config.lanes, config.lanes))
    period = groups + (installs == "a cycle after it")
    installing = {"with the last load": {groups - 1}, "of equal loads with the last": {*range(groups)}}.get(
        installs, set()
    )
    expected = []
    for k, matrix in enumerate(matrices):
        transposed = k % 2 == 1
        rows = matrix.T if transposed else matrix
        for g in range(groups):
            cycle = k * period + g
            mnemonic = "lwt" if transposed else "lw"
            if g in installing:
                mnemonic += "_iw"
            plane.at(cycle, plane.weights, mnemonic, g=g)
            for i, stream in enumerate(plane.weights.consumes):
                plane.put(cycle + skew, stream, rows[g * together + i])
        if not installing:
            plane.at(k * period + groups, plane.weights, "iw")
        first = k * period + groups - 1 + loaded - timing(config).weights_used
        for entry in range(first, first + period):
            vector = rng.integers(-128, 128, config.lanes)
            stands = plane.accumulate(plane.multiply(entry, vector), "acc_set_out", 0, 0)
            expected.append((stands, (vector.astype(np.int64) @ matrix).tolist()))
    assert len(expected) == len(matrices) * period
    plane.run(expected[-1][0] + 3)
    assert [plane.words(stands, 0) for stands, _ in expected] == [sums for _, sums in expected]
    assert plane.produced == {}
    assert plane.empty == []


def test_only_whole_loads_change_a_column() -> None:
    """A row, then a column, then half a matrix: the shadow keeps what no load names. Only the last group installs."""
    config = dataclasses.replace(NANO, weight_streams=1)
    rng = np.random.default_rng(13)
    plane = Plane(config)
    skew = config.pipeline.dispatch
    matrix = np.zeros((4, 4), np.int64)
    cycle, expected = 0, []
    standing = matrix
    rows = [("lw", 0), ("lw", 1), ("lw", 2), ("lw_iw", 3), ("lwt", 2), ("lw_iw", 1), ("lwt_iw", 0), ("lwt_iw", 3)]
    for mnemonic, g in (*rows, ("lwt", 1), ("lw_iw", 2), ("lw_iw", 3)):
        vector = rng.integers(-128, 128, 4)
        plane.at(cycle, plane.weights, mnemonic, g=g)
        plane.put(cycle + skew, plane.weights.consumes[0], vector)
        if mnemonic.startswith("lwt"):
            matrix[:, g] = vector
        else:
            matrix[g] = vector
        if mnemonic.endswith("_iw"):
            standing = matrix.copy() if g == 3 else standing
            vector = rng.integers(-128, 128, 4)
            dispatch = plane.multiply(cycle + plane.latency(mnemonic)[2] - timing(config).weights_used, vector)
            expected.append((plane.accumulate(dispatch, "acc_set_out", 0, 0), (vector @ standing).tolist()))
        cycle += 2
    plane.run(cycle + 20)
    assert [plane.words(stands, 0) for stands, _ in expected] == [sums for _, sums in expected]


@pytest.mark.parametrize("config", CONFIGS, ids=["nano", "narrow", "deep"])
def test_activations_are_replayed(config: ChipConfig) -> None:
    """Loads, replays and activations from streams in any order, replays as close behind loads as the table allows."""
    rng = np.random.default_rng(14)
    plane = Plane(config)
    matrix = rng.integers(-128, 128, (config.lanes, config.lanes))
    install = plane.load(0, matrix)
    plane.at(install, plane.weights, "iw")
    first = install + 4
    skew, _, stored = plane.latency("abl")
    assert stored - plane.latency("abr")[0] == 1
    buffer: dict[int, Vector] = {}
    expected = []
    for entry in range(first, first + 150):
        vector, address = rng.integers(-128, 128, config.lanes), int(rng.integers(min(3, config.act_depth)))
        mnemonic = str(rng.choice(["abc", "abl", "abr"])) if address in buffer else "abl"
        if mnemonic == "abl":
            source = plane.acts.consumes[rng.integers(len(plane.acts.consumes))]
            plane.at(entry, plane.acts, "abl", a=address, s=source)
            plane.put(entry + skew, source, vector)
            buffer[address] = vector
            continue
        if mnemonic == "abr":
            vector = buffer[address]
        dispatch = plane.multiply(entry, vector, replayed=address if mnemonic == "abr" else None)
        expected.append((plane.accumulate(dispatch, "acc_set_out", 0, 0), (vector.astype(np.int64) @ matrix).tolist()))
    plane.run(first + 150 + 30)
    assert [plane.words(stands, 0) for stands, _ in expected] == [sums for _, sums in expected]
    assert plane.produced == {}
    assert plane.empty == []


def test_faults_of_loads_and_replays() -> None:
    """Weights missing however they are loaded; a buffer loaded with nothing keeps its word, and has no sums."""
    plane = Plane(NANO)
    skew = NANO.pipeline.dispatch
    for number, mnemonic in enumerate(("lw", "lwt", "lw_iw", "lwt_iw")):
        plane.at(5 * number, plane.weights, mnemonic, g=0)
    source = plane.acts.consumes[0]
    plane.put(20 + skew, source, np.ones(4))
    for cycle in (20, 21):
        plane.at(cycle, plane.acts, "abl", a=1, s=source)
    plane.at(22, plane.acts, "abr", a=1)
    sums = 22 + plane.latency("abr")[2] - plane.latency("acc_set")[0]
    for cycle in (sums - 1, sums, sums + 1):
        plane.accumulate(cycle, "acc_set", 0)
    matrix = plane.load(30, np.eye(4))
    plane.at(matrix, plane.weights, "iw")
    replay = matrix + plane.latency("iw")[2] - timing(NANO).weights_used
    stands = plane.accumulate(plane.multiply(replay, np.empty(0), replayed=1), "acc_set_out", 0, 0)
    plane.run(60)
    weights, acts, accs = plane.weights.name, plane.acts.name, plane.accs.name
    assert plane.empty == [
        *((weights, cycle + skew) for cycle in (0, 5, 10, 15)),
        (acts, 21 + skew),
        (accs, sums - 1 + skew + 1),
        (accs, sums + 1 + skew + 1),
    ]
    assert plane.words(stands, 0) == [1] * 4
