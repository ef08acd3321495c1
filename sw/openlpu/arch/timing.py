# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The timing table: when an instruction samples its operands, and when its result is there. Written down nowhere else.

The compiler schedules with it, the golden model and the checker execute by it, the RTL builds its pipelines from it,
and a bench measures every RTL unit against it. The rule that ties a producer p to a consumer c on a stream:

    dispatch(c) + skew(c) = dispatch(p) + func(p) + hops(p, c)

Between streams and units stand, where a chip has ECC, a corrector on the way in and an encoder on the way out. A unit
then works on its operands `Timing.correct` cycles after they were sampled. What its instructions do to each other
through its own state is all as much later, so it counts as if it were not: `skew` and `state` are the same with ECC and
without, and only `func` and what the host sees grow.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from openlpu.arch.config import ChipConfig, OpClass
from openlpu.arch.geometry import Queue, QueueKind, geometry
from openlpu.arch.isa import INSTRUCTIONS, Spec


@dataclass(frozen=True)
class Latency:
    """Cycles after dispatch; None where the instruction has no such event.

    skew
        Operands are sampled: streams, or the SRAM word of a read or gather, the shadow buffer of `iw`, the activation
        buffer of `abr`, the array's sums of `acc_*`, the deskew buffer of `receive`.
    func
        The result stands in the stream register of the unit's hop.
    state
        The result stands in the unit's own state (with ECC, `Timing.correct` cycles later), ready for the unit's other
        instructions: the SRAM word of a write or scatter, the shadow buffer of `lw` and `lwt`, the array's weights of
        `iw`, `lw_iw` and `lwt_iw`, the array's sums of `abc` and `abr`, the activation buffer of `abl`, the accumulator
        of `acc_*`, the result register of an ALU (for chaining), what waits for the next flit of `send`, the order to
        pause of `deskew`.
    """

    skew: int | None = None
    func: int | None = None
    state: int | None = None

    @property
    def retire(self) -> int:
        """Cycles until nothing of the instruction is left in flight."""
        return max(value for value in (self.skew, self.func, self.state, 0) if value is not None)


class Timing:
    """The table of one chip. Use `timing(config)`, which computes it once."""

    def __init__(self, config: ChipConfig) -> None:
        self.config = config
        self._rows: dict[tuple[str, QueueKind, int], Latency] = {}
        pipe = config.pipeline
        self.dispatch = pipe.dispatch
        self.correct = int(config.ecc)
        """From sampled streams to the unit: the corrector. Every queue's unit and its text have one before them."""
        self.encode = int(config.ecc)
        """From a unit's result to the stream: the encoder. MEM has none, as it stores vectors with their check bits."""
        levels = (config.lanes - 1).bit_length()
        self.tree = -(-levels // pipe.tree_levels)
        """From products to the array's sums: the adder tree."""
        self.array = pipe.activations + pipe.multiply + self.tree
        """From sampled activations to the array's sums: activation registers, multipliers, adder tree."""
        self.weights_used = self.dispatch + pipe.activations
        """From the dispatch of `abc` or `abr` to the cycle whose array weights it multiplies with."""
        self.text_tap = 1
        """From a stream to the queues that take text from it: a register for all of them, which may lie far away."""
        self.fetch = Latency(skew=self.dispatch, state=self.dispatch + self.correct + self.text_tap + 2)
        """Of `ifetch`: its first vector is sampled at `skew`; a word may be read from the instruction memory `state`
        after the dispatch, counted as if its last vector were the first."""
        self.text_ahead = 2
        """Word k + 2 of a queue's text is read from its instruction memory this many cycles before word k dispatches
        (a NOP or REPEAT: before the queue comes to it)."""
        self.notify = pipe.notify
        """From the dispatch of `notify` to cycle 0 of the program."""
        self.first_dispatch = 5
        """From the start of the queues until each dispatches the first word of its text."""
        self.fault_found = 2
        """From a queue or unit that finds a fault to what records it. For missing text, `text_tap` of them."""
        self.clock_delay = self.correct + 3 + self.fault_found
        """How late the chip's own clock of the program runs: so many cycles after cycle c of the program it is c.

        It is how long a fault takes to be recorded: a corrector, a register in the unit, the way, and two registers
        that know which queue comes first: of some, and of all.
        """
        self.host_written = max(self.host_write(queue) for queue in geometry(config).queues)
        """`host_write` of the farthest queue."""
        self._deepest = max(queue.hop for queue in geometry(config).of_kind(QueueKind.MEM_READ))
        self.host_arrives = self.host_written + 1 + pipe.sram + 1 + self._deepest
        """From a read on the host port until its word leaves the chip's west end: as long as the write before it needs,
        wherever it goes; SRAM, hops."""
        self.host_read = self.host_arrives + 2 + self.correct
        """From a read on the host port to its word there: two registers and the corrector stand before it."""
        self.alu_depth = tuple(max(map(self._class_depth, alu.classes), default=pipe.alu_pass) for alu in config.alus)
        """Per ALU, from sampled operands to the result register: its deepest class, so that results never collide."""

    @functools.cached_property
    def draining(self) -> int:
        """From the last HALT until what was dispatched has retired, and every fault is recorded."""
        rows = self.rows(geometry(self.config).queues)
        return max(latency.retire for _, _, latency in rows) + self.clock_delay + 2

    @property
    def starting(self) -> int:
        """From a start of the chip to that of its queues: what was written before it, or rides a stream, is there."""
        return self.host_written + self.text_tap - 1

    @property
    def rerun(self) -> int:
        """Where a program runs several times in a row, from the end of one run to cycle 0 of the next."""
        return self.draining + self.starting + self.first_dispatch + self.notify

    def series(self, cycles: int, count: int) -> int:
        """From cycle 0 of the first to the end of the last of `count` runs of a program that takes `cycles`.

        A program without `notify`, which takes none, has no cycle 0.
        """
        return count * cycles + (count - 1) * self.rerun if cycles else 0

    def latency(self, spec: Spec, queue: Queue) -> Latency:
        """The row of the table for an instruction in a queue (an empty row for queue control)."""
        key = spec.mnemonic, queue.kind, queue.index
        if key not in self._rows:
            self._rows[key] = self._row(spec, queue)
        return self._rows[key]

    def host_write(self, queue: Queue) -> int:
        """From a write on the host port until it is at its queue: registers, hops from the west end, corrector."""
        return 3 + queue.hop + self.correct

    def host_asks(self, queue: Queue) -> int:
        """From a read on the host port until the slice whose read queue this is reads; words arrive equally late."""
        return self.host_written + 1 + self._deepest - queue.hop

    def turns(self, spec: Spec) -> int:
        """Cycles for which an ALU can take no further instruction of the same class, from one of these on."""
        return self.config.special_turns if spec.op_class is OpClass.SPECIAL else 1

    def _class_depth(self, op_class: OpClass) -> int:
        depth: int = getattr(self.config.pipeline, f"alu_{op_class}")
        return depth + self.config.special_turns - 1 if op_class is OpClass.SPECIAL else depth

    def _row(self, spec: Spec, queue: Queue) -> Latency:
        i, pipe = self.dispatch, self.config.pipeline
        through = self.correct + self.encode
        match queue.kind:
            case _ if spec.control:
                return Latency()
            case QueueKind.MEM_READ:
                return Latency(skew=i, func=i + self.correct + pipe.sram + 1)
            case QueueKind.MEM_WRITE:
                return Latency(skew=i, state=i + 2)
            case QueueKind.MXM_WEIGHTS:
                installs_later = spec.mnemonic in ("lw_iw", "lwt_iw")
                return Latency(skew=i, state=i + 2 if installs_later else i + 1)
            case QueueKind.MXM_ACTS if spec.mnemonic == "abl":
                return Latency(skew=i, state=i + 1)
            case QueueKind.MXM_ACTS:
                return Latency(skew=i, state=i + self.array)
            case QueueKind.MXM_ACCS:
                sums = i + pipe.accumulators
                func = sums + pipe.outputs + through + 1 if spec.produces else None
                return Latency(skew=sums, func=func, state=sums + 1)
            case QueueKind.VXM:
                depth = self.alu_depth[queue.index]
                return Latency(skew=i, func=i + through + depth + pipe.outputs + 1, state=i + depth)
            case QueueKind.SXM_SHIFT | QueueKind.SXM_PERMUTE:
                return Latency(skew=i, func=i + through + pipe.lanes + 1)
            case QueueKind.C2C_SEND:
                return Latency(skew=i if spec.consumes else None, state=i + 1)
            case QueueKind.C2C_RECEIVE:
                return Latency(skew=i, func=i + through + 2)

    def rows(self, kind_queues: tuple[Queue, ...]) -> list[tuple[Queue, Spec, Latency]]:
        """Every (queue, implemented unit instruction, latency) of the given queues: the table as documents print it."""
        return [
            (queue, spec, self.latency(spec, queue))
            for queue in kind_queues
            for spec in INSTRUCTIONS
            if queue.kind in spec.kinds and not spec.control and spec.implemented
        ]


@functools.cache
def timing(config: ChipConfig) -> Timing:
    """The timing table of a chip, computed once per config."""
    return Timing(config)
