# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Lock-step: the same program on the golden model and on the RTL, compared in every register of every cycle.

Compared are the valid bit of each stream register in each cycle, its vector where it is valid (and its check bits with
those that the vector should have), the SRAM words that the program wrote, and the length of the run. The first
difference names the cycle, the place, and the instruction that the golden model holds responsible.
"""

from collections.abc import Sequence

from openlpu.arch.config import ChipConfig
from openlpu.arch.ecc import vector_code
from openlpu.arch.geometry import Direction, Stream, geometry
from openlpu.arch.program import Program
from openlpu.arch.status import RunStatus
from openlpu.arch.timing import timing
from openlpu.model.golden import GoldenChip, Trace
from openlpu.runtime.driver import Device
from openlpu.verif.host import Snapshot
from openlpu.verif.rtl_port import RtlChip


class Mismatch(AssertionError):
    """The two models differ; the message says where first."""


def compare(program: Program, rtl: RtlChip, count: int = 1) -> Trace:
    """Run a program on both models, `count` times in a row; return the golden trace of the last run.

    Raises:
        Mismatch: at the first difference.
    """
    golden = GoldenChip(program.config)
    for port in (golden, rtl):
        Device(port).load(program)
    traces = []
    for _ in range(count):
        golden.run()
        assert golden.trace is not None
        traces.append(golden.trace)
    times, cycles = timing(program.config), traces[-1].linked.cycles
    expected = RunStatus(times.series(cycles, count))
    status, snapshots = rtl.trace(count)
    if status != expected:
        raise Mismatch(f"{program.name}: the RTL ran {status}, the golden model {expected}")
    for number, trace in enumerate(traces):
        first = number * (cycles + times.rerun)
        compare_registers(program, trace, snapshots[first : first + cycles])
    _compare_memory(program, golden, rtl, traces[-1])
    return traces[-1]


def compare_registers(program: Program, trace: Trace, snapshots: Sequence[Snapshot]) -> None:
    """Compare the stream registers of every cycle of a run.

    Raises:
        Mismatch: at the first difference.
    """
    for cycle, (registers, snapshot) in enumerate(zip(trace.registers(), snapshots, strict=True)):
        valid = {place: _stored(program.config, vector.tobytes()) for place, (vector, _) in registers.items()}
        seen = valid_registers(program.config, snapshot)
        if seen == valid:
            continue
        hop, stream = min(
            (place for place in valid.keys() | seen.keys() if valid.get(place) != seen.get(place)),
            key=lambda place: (place[0], str(place[1])),
        )
        culprit = registers[hop, stream][1] if (hop, stream) in registers else "no instruction"
        raise Mismatch(
            f"{program.name}: cycle {cycle}, hop {hop}, stream {stream}: RTL has {_shown(seen.get((hop, stream)))}, "
            f"golden {_shown(valid.get((hop, stream)))} from {culprit}"
        )


def valid_registers(config: ChipConfig, snapshot: Snapshot) -> dict[tuple[int, Stream], bytes]:
    """What the valid stream registers of a snapshot hold, check bits included, by hop and stream."""
    found = {}
    width = vector_code(config).bits
    for hop, (e_valid, e_data, w_valid, w_data) in enumerate(snapshot):
        for direction, valid, data in ((Direction.EAST, e_valid, e_data), (Direction.WEST, w_valid, w_data)):
            for index in range(config.streams):
                if valid >> index & 1:
                    word = data >> index * width & (1 << width) - 1
                    found[hop, Stream(direction, index)] = word.to_bytes(-(-width // 8), "little")
    return found


def _stored(config: ChipConfig, vector: bytes) -> bytes:
    """A vector as a stream register holds it."""
    code = vector_code(config)
    return code.encode(int.from_bytes(vector, "little")).to_bytes(-(-code.bits // 8), "little")


def _compare_memory(program: Program, golden: GoldenChip, rtl: RtlChip, trace: Trace) -> None:
    last = {(write.slice, write.address): write for write in trace.writes}
    for (mem_slice, address), write in last.items():
        want = golden.read_memory(mem_slice, address, 1).tobytes()
        got = rtl.read_memory(mem_slice, address, 1).tobytes()
        if got != want:
            unit = geometry(program.config).mem_slices[mem_slice]
            raise Mismatch(
                f"{program.name}: word {address} of {unit}: RTL has {_shown(got)}, golden {_shown(want)} "
                f"from {write.dispatch}"
            )


def _shown(vector: bytes | None) -> str:
    return "nothing" if vector is None else vector.hex(" ")
