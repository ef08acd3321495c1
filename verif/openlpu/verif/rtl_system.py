# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Several Verilated chips, each with its own clock, and wires between them that take their time: no cocotb.

Clocks and wires are drawn, and nothing of them is known to the chips or to the programs.
"""

import dataclasses
import random
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openlpu.arch.bring_up import LinkReport, link_problems
from openlpu.arch.config import ChipConfig
from openlpu.arch.ecc import vector_code
from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import geometry
from openlpu.arch.isa import instruction
from openlpu.arch.links import HAC_BITS
from openlpu.arch.program import Program, Vector
from openlpu.arch.protocol import LINK
from openlpu.arch.status import ChipStatus, Fault, RunStatus, SystemStatus
from openlpu.arch.system import LinkEnd, SystemConfig
from openlpu.arch.timing import timing
from openlpu.hdl import generate
from openlpu.hdl.chip import reset_cycles
from openlpu.runtime.closing import Closing
from openlpu.verif import elaboration, simulator
from openlpu.verif.host import Snapshot
from openlpu.verif.rtl_port import RtlError

WIRES = Path(__file__).with_name("wires.hpp")
"""What benches of several chips include: it stands in front of them."""
_MAIN = Path(__file__).with_name("system_bench.cpp")
_TOP = "chip_system"
PERIOD = 10_000_000
"""Of a clock that is as fast as it should be, in femtoseconds."""
_REGISTERS = ("e_valid", "e_data", "w_valid", "w_data")
"""Of every hop, in the order of a `Snapshot`."""
_PATIENCE = 100_000
"""Cycles by which a run may take longer than its program, before it is given up."""
_BRING_UP_EPOCHS = 12
"""Until all chips are aligned, at most: some for each chip on the way to the farthest one."""


@dataclass(frozen=True)
class Conditions:
    """What no chip knows: clocks and wires, in femtoseconds."""

    periods: tuple[int, ...]
    phases: tuple[int, ...]
    delays: Mapping[LinkEnd, int]
    """Of the wire that comes to an end."""
    jitter: int
    starts: tuple[int, ...]
    """Cycles after one another in which the hosts start their chips."""
    seed: int

    @classmethod
    def drawn(cls, system: SystemConfig, seed: int) -> "Conditions":
        """Conditions that a system must stand: the same for the same seed."""
        rng = random.Random(seed)
        delays: dict[LinkEnd, int] = {}
        for here, there in system.peers.items():
            # Both directions of a cable are nearly as long.
            base = delays.get(there, rng.randrange(0, (system.wire_cycles - 2) * PERIOD))
            delays[here] = base + rng.randrange(PERIOD // 2) if there in delays else base
        return cls(
            periods=tuple(
                round(PERIOD / (1 + rng.choice((-1, 1, rng.uniform(-1, 1))) * system.ppm * 1e-6))
                for _ in range(system.chips)
            ),
            phases=tuple(rng.randrange(PERIOD) for _ in range(system.chips)),
            delays=delays,
            jitter=rng.choice((0, rng.randrange(PERIOD * 4 // 10))),
            starts=tuple(rng.randrange(300) for _ in range(system.chips)),
            seed=seed,
        )


def system_verilog(system: SystemConfig) -> str:
    """The chips side by side, as Verilog: port p of chip i is `chip<i>_<p>`."""
    declared, instances = [], []
    for chip in range(system.chips):
        for port in _ports(system):
            declared.append(f"{port.direction}put [{port.width - 1}:0] chip{chip}_{port.shown}")
        connected = ", ".join(f".{port.name}(chip{chip}_{port.shown})" for port in _ports(system))
        instances.append(f"  {generate.TOP} chip{chip} ({connected});")
        for tap in _taps(system):
            declared.append(f"output [{tap.width - 1}:0] chip{chip}_{tap.shown}")
            instances.append(f"  assign chip{chip}_{tap.shown} = chip{chip}.{tap.name};")
    body = "\n".join(instances)
    return f"{elaboration.verilog(system.chip)}\nmodule {_TOP} ({', '.join(declared)});\n{body}\nendmodule\n"


@dataclass(frozen=True)
class _Port:
    """A port of a chip."""

    name: str
    direction: str
    width: int

    @property
    def shown(self) -> str:
        """Its name outside, as Verilator leaves it in C++."""
        return self.name.replace("__", "_")


@dataclass(frozen=True)
class _Tap:
    """A signal inside of a chip, by its path."""

    name: str
    width: int

    @property
    def shown(self) -> str:
        """Its name outside."""
        return self.name.removeprefix("core.").removeprefix("alignment.").replace(".", "_")


def _ports(system: SystemConfig) -> list[_Port]:
    return [
        _Port("clk", "in", 1),
        _Port("rst", "in", 1),
        *(_Port(**port) for port in generate.manifest(system.chip)["ports"]),
    ]


def _taps(system: SystemConfig) -> list[_Tap]:
    """What a trace needs besides ports: which cycle of the program it is, and the stream registers."""
    chip, width = system.chip, vector_code(system.chip).bits
    registers = [
        _Tap(f"core.hop{hop}.{name}", chip.streams * (width if name.endswith("data") else 1))
        for hop in range(geometry(chip).hops)
        for name in _REGISTERS
    ]
    return [_Tap("alignment.cycle", 32), *registers]


class RtlSystem(Closing):
    """Chips under some conditions, from their reset on: a `SystemPort`, and what else there is to do with a simulation.

    Building the simulation takes a minute the first time.

    `crossed` says which ends a wire really goes to, where that is not as the system has it.
    """

    def __init__(
        self,
        system: SystemConfig,
        conditions: Conditions,
        *,
        dead: Iterable[LinkEnd] = (),
        crossed: Mapping[LinkEnd, LinkEnd] | None = None,
    ) -> None:
        self.system = system
        self._geometry = geometry(system.chip)
        self._timing = timing(system.chip)
        self._starts = conditions.starts
        self._patience = _PATIENCE
        shown = [*(port.shown for port in _ports(system)), *(tap.shown for tap in _taps(system))]
        ports = " ".join(f"PORT({chip}, {name})" for chip in range(system.chips) for name in shown)
        heading = f"#define PORTS(PORT) {ports}\n#define LINK_WIDTH {system.chip.c2c_width}\n"
        executable = simulator.compile_model(
            system_verilog(system),
            heading + "".join(part.read_text(encoding="utf-8") for part in (WIRES, _MAIN)),
            top=_TOP,
            waivers=generate.LINT_WAIVERS,
        )
        self._process = subprocess.Popen([executable], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._send(f"seed {conditions.seed}")
        for chip, (period, phase) in enumerate(zip(conditions.periods, conditions.phases, strict=True)):
            self._send(f"clock {chip} {period} {phase}")
        for here, there in (crossed or system.peers).items():
            delay = conditions.delays[there]
            self._send(f"wire {here.chip} {here.link} {there.chip} {there.link} {delay} {conditions.jitter}")
        for end in dead:
            self._send(f"cut {end.chip} {end.link}")
        for chip in range(system.chips):
            parent = system.parents[chip]
            self._set(chip, "c2c_chip", chip)
            self._set(chip, "c2c_root", parent is None)
            self._set(chip, "c2c_parent", parent or 0)
            self._set(chip, "c2c_children", sum(1 << link for link in system.children(chip)))
        self.memories = tuple(_ChipMemory(self, chip) for chip in range(system.chips))
        """The SRAM of each chip, in blocks."""
        self._reset()

    def close(self) -> None:
        """End the simulation."""
        if self._process.poll() is None:
            self._process.communicate()

    def bring_up(self) -> tuple[LinkReport, ...]:
        """Reset all chips, and wait until all links are up and all chips aligned, but not for ever; return what every
        end reports."""
        self._reset()
        for _ in range(_BRING_UP_EPOCHS * max(self.system.depths)):
            if all(self._get(chip, "c2c_aligned") for chip in range(self.system.chips)):
                break
            self._tick(0, 1 << HAC_BITS)
        return self.reports()

    def reports(self) -> tuple[LinkReport, ...]:
        """What every connected end of a link reports now."""
        return tuple(map(self._report, self.system.peers))

    def status(self) -> SystemStatus:
        """What the chips know of themselves."""
        chips = range(self.system.chips)
        return SystemStatus(
            tuple(self._chip_status(chip) for chip in chips),
            self.reports(),
            tuple(bool(self._get(chip, "c2c_aligned")) for chip in chips),
            tuple(map(self.missed, chips)),
        )

    @property
    def aligned(self) -> bool:
        """Whether all chips are."""
        return all(self._get(chip, "c2c_aligned") for chip in range(self.system.chips))

    def missed(self, chip: int) -> bool:
        """Whether a chip has fallen behind the others since the start."""
        return bool(self._get(chip, "c2c_missed"))

    def load(self, programs: Sequence[Program]) -> None:
        """Write images and texts. Queues without text halt at once."""
        self._patience = max(program.cycles for program in programs) + _PATIENCE
        for chip, program in enumerate(programs):
            for (mem_slice, address), word in program.image.items():
                self.write_memory(chip, mem_slice, address, word)
            for number, queue in enumerate(self._geometry.queues):
                text = program.text.get(queue.name, (instruction("halt"),))
                for address, inst in enumerate(text):
                    data = encoding(self.system.chip).encode(inst, queue)
                    ports = {"imem_we": 1, "imem_queue": number, "imem_addr": address, "wdata": data}
                    self._access(chip, ports, "imem_we")

    def write_memory(self, chip: int, mem_slice: int, address: int, word: Vector) -> None:
        """Write a word of SRAM."""
        data = int.from_bytes(word.tobytes(), "little")
        ports = {"mem_en": 1, "mem_we": 1, "mem_slice": mem_slice, "mem_addr": address, "wdata": data}
        self._access(chip, ports, "mem_en")

    def read_memory(self, chip: int, mem_slice: int, address: int) -> Vector:
        """A word of SRAM."""
        self._access(chip, {"mem_en": 1, "mem_we": 0, "mem_slice": mem_slice, "mem_addr": address}, "mem_en")
        self._tick(chip, self._timing.host_read - 1)
        lanes = self.system.chip.lanes
        return np.frombuffer(self._get(chip, "host_mem_rdata").to_bytes(lanes, "little"), np.int8).copy()

    def start(self, count: int = 1) -> None:
        """Start all chips, one after the other, for so many runs in a row."""
        for chip, pause in enumerate(self._starts):
            self._set(chip, "host_reruns", count - 1)
            self._tick(chip, pause)
            self._set(chip, "host_start", 1)
            self._tick(chip, 1)
            self._set(chip, "host_start", 0)

    def trace(self) -> None:
        """Keep the stream registers of all cycles of the next program."""
        names = [tap.shown for tap in _taps(self.system)[1:]]
        for chip in range(self.system.chips):
            self._send(f"trace {chip} {len(names)} {' '.join(names)}")

    def traced(self, chip: int, cycles: int) -> list[Snapshot]:
        """What was kept of a chip, for so many cycles of its program from cycle 0 on."""
        lines = [self._line() for _ in range(int(self._ask(f"traced {chip}")))]
        snapshots: list[Snapshot] = []
        for cycle, line in enumerate(lines[:cycles]):
            number, *words = line.split()
            if int(number) != cycle:
                raise RtlError(f"chip {chip} skips from cycle {cycle - 1} to {number}")
            values = [int(word, 16) for word in words]
            hops = zip(*(values[first::4] for first in range(4)), strict=True)
            snapshots.append(tuple(hops))
        return snapshots

    def reach(self, cycle: int, limit: int = 10_000) -> None:
        """Wait until chip 0 has counted so many cycles of its program.

        Raises:
            RtlError: when it has not after `limit` cycles.
        """
        if self._ask(f"until 0 cycles {cycle:x} {limit}") == "-1":
            raise RtlError(f"the program is not in cycle {cycle} after {limit} cycles")

    def finish(self, limit: int = 100_000) -> tuple[RunStatus, ...]:
        """Wait until all chips have ended; how they did.

        Raises:
            RtlError: when one has not after `limit` cycles.
        """
        for chip in range(self.system.chips):
            if self._ask(f"until {chip} running 0 {limit}") == "-1":
                raise RtlError(f"chip {chip} has not halted after {limit} cycles")
        return tuple(map(self._status, range(self.system.chips)))

    def run(self, count: int = 1) -> tuple[RunStatus, ...]:
        """Start all chips, for so many runs in a row, and wait for their ends.

        Raises:
            RtlError: when links or chips are not as they should be, or a chip does not end.
        """
        problems = link_problems(self.system, self.reports())
        if problems or not self.aligned:
            raise RtlError("; ".join(problems) or "the chips are not aligned")
        self.start(count)
        return self.finish(self._patience * count)

    def disturb(self, end: LinkEnd, bits: int, every: int, count: int) -> None:
        """On the wire to an end turn so many bits in one beat, of every so manieth, so often."""
        self._send(f"errors {end.chip} {end.link} {bits} {every} {count}")

    def disturbed(self, end: LinkEnd) -> int:
        """How many beats that were."""
        return int(self._ask(f"turned {end.chip} {end.link}"))

    def cut(self, end: LinkEnd) -> None:
        """Nothing comes to an end any more."""
        self._send(f"cut {end.chip} {end.link}")

    def wait(self, cycles: int) -> None:
        """Let time pass: so many cycles of chip 0."""
        self._tick(0, cycles)

    # --- helpers ---

    def _reset(self) -> None:
        for chip in range(self.system.chips):
            self._set(chip, "rst", 1)
        self._tick(0, reset_cycles(self.system.chip) + 2)
        for chip in range(self.system.chips):
            self._set(chip, "rst", 0)

    def _chip_status(self, chip: int) -> ChipStatus:
        status = ChipStatus(bool(self._get(chip, "running")), self._status(chip))
        if not self.system.chip.ecc:
            return status
        corrected, uncorrectable = (self._get(chip, f"ecc_{name}") for name in ("corrected", "uncorrectable"))
        return dataclasses.replace(status, corrected=corrected, uncorrectable=uncorrectable)

    def _report(self, end: LinkEnd) -> LinkReport:
        self._set(end.chip, "c2c_link", end.link)
        self._tick(end.chip, 2)
        return LinkReport.of(end, {field.name: self._get(end.chip, f"c2c_{field.name}") for field in LINK.reply_fields})

    def _status(self, chip: int) -> RunStatus:
        names = ("fault", "fault_queue", "fault_cycle", "fault_illegal", "faults")
        found = {name: self._get(chip, name) for name in names}
        fault = None
        if found["fault"]:
            queue = self._geometry.queues[found["fault_queue"]].name
            fault = Fault(queue, found["fault_cycle"], bool(found["fault_illegal"]), found["faults"])
        return RunStatus(self._get(chip, "cycles"), fault)

    def _access(self, chip: int, ports: Mapping[str, int], enable: str) -> None:
        for name, value in ports.items():
            self._set(chip, f"host_{name}", value)
        self._tick(chip, 1)
        self._set(chip, f"host_{enable}", 0)

    def _set(self, chip: int, port: str, value: int) -> None:
        self._send(f"set {chip} {port} {int(value):x}")

    def _get(self, chip: int, port: str) -> int:
        return int(self._ask(f"get {chip} {port}"), 16)

    def _tick(self, chip: int, edges: int) -> None:
        self._send(f"tick {chip} {edges}")

    def _send(self, request: str) -> None:
        assert self._process.stdin is not None
        print(request, file=self._process.stdin)

    def _ask(self, request: str) -> str:
        assert self._process.stdin is not None
        self._send(request)
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            raise RtlError(f"the bench ended with status {self._process.wait()}")
        return answer.strip()


@dataclass(frozen=True)
class _ChipMemory:
    """The SRAM of one chip."""

    rtl: RtlSystem
    chip: int

    @property
    def config(self) -> ChipConfig:
        return self.rtl.system.chip

    def write_memory(self, slice: int, address: int, words: Vector) -> None:
        for number, word in enumerate(words):
            self.rtl.write_memory(self.chip, slice, address + number, word)

    def read_memory(self, slice: int, address: int, count: int) -> Vector:
        return np.stack([self.rtl.read_memory(self.chip, slice, address + number) for number in range(count)])


def drawn_system(system: SystemConfig) -> RtlSystem:
    """Chips under conditions that are drawn; which ones nobody can tell."""
    return RtlSystem(system, Conditions.drawn(system, random.randrange(1 << 32)))
