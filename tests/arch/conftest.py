# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Every legal instruction of every preset, as a search space."""

from typing import Any

import pytest
from hypothesis import strategies as st

from openlpu.arch.config import GROUP, ChipConfig, Source
from openlpu.arch.encoding import encoding, lacking
from openlpu.arch.geometry import Direction, Queue, QueueKind, Stream, geometry
from openlpu.arch.isa import IMMEDIATE, NOTHING, Field, FieldKind, Format, Instruction, Operand, Spec, for_kind
from openlpu.arch.presets import PRESETS

Case = tuple[ChipConfig, Queue, Instruction]


def streams(config: ChipConfig, queue: Queue, spec: Spec, f: Field) -> tuple[Stream, ...]:
    """Streams that a field may name, before alignment."""
    if spec.control:
        return queue.fetches
    return queue.produces if f.name in spec.produces else queue.consumes


def values(config: ChipConfig, queue: Queue, spec: Spec, f: Field) -> list[Any] | st.SearchStrategy[Any]:
    """Every legal value of a field other than an immediate: few of them as a list, many as a strategy."""
    reach = streams(config, queue, spec, f)
    groups = [s for s in reach if s.index % GROUP == 0]
    match f.kind:
        case FieldKind.STREAM:
            return list(reach)
        case FieldKind.GROUP:
            return groups
        case FieldKind.SOURCE | FieldKind.DEST:
            single, grouped = [Operand(Format.BYTE, s) for s in reach], [Operand(Format.WORD, s) for s in groups]
            if f.kind is FieldKind.DEST:
                both = [s for s in reach if s.direction is Direction.EAST and s.opposite in reach]
                single += [Operand(Format.BYTE_BOTH, s) for s in both]
                grouped += [Operand(Format.WORD_BOTH, s) for s in both if s.index % GROUP == 0]
                return [*single, *grouped, NOTHING]
            if f.name == "y" and spec.arity == 1:
                return [NOTHING]
            chained = [Operand(Format.ALU, a) for a in geometry(config).alu_sources(queue.index)]
            given = {Source.BYTE: single, Source.WORD: grouped, Source.CHAIN: chained, Source.IMMEDIATE: [IMMEDIATE]}
            return [operand for source in getattr(config.alus[queue.index], f.name) for operand in given[source]]
        case _:
            return st.integers(*encoding(config).limits_in(f.kind, queue))


def encodable(config: ChipConfig, queue: Queue, spec: Spec) -> bool:
    """Whether the queue has the instruction in any form: every field has a value, and the ALU has its class."""
    if lacking(config, queue, spec):
        return False
    return all(values(config, queue, spec, f) != [] for f in spec.fields)


@st.composite
def legal_instructions(draw: st.DrawFn) -> Case:
    config = draw(st.sampled_from(list(PRESETS.values())))
    kind = draw(st.sampled_from([kind for kind in QueueKind if geometry(config).of_kind(kind)]))
    queue = draw(st.sampled_from(geometry(config).of_kind(kind)))
    spec = draw(st.sampled_from([spec for spec in for_kind(kind) if encodable(config, queue, spec)]))
    drawn: list[Any] = []
    for f in spec.fields:
        if f.kind is FieldKind.IMM32:
            drawn.append(draw(st.integers(0, 2**32 - 1)) if IMMEDIATE in drawn else 0)
        else:
            space = values(config, queue, spec, f)
            drawn.append(draw(st.sampled_from(space) if isinstance(space, list) else space))
        if f.kind is FieldKind.WINDOW:
            # The address before it is a multiple of the window's size.
            drawn[-2] &= -(1 << drawn[-1])
    return config, queue, Instruction(spec, tuple(drawn))


@pytest.fixture(scope="session")
def cases() -> st.SearchStrategy[Case]:
    """(config, queue, instruction): an instruction that the queue accepts."""
    return legal_instructions()
