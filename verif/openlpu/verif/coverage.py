# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What programs have exercised of a chip's instruction set, and what not, by name.

    python -m openlpu.verif.coverage nano --programs 200

The bins follow from the tables of the instruction set and from the chip: every instruction in every kind of queue that
has it, every mode of every operand, and crosses of the two. A bin is there when a queue of the chip can encode it and
something can get there on a stream, so nothing is left out by name, and a new instruction has its bins without a word
here. Only what really executes counts: text that a queue never comes to does not.
"""

import enum
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import click

from openlpu.arch.config import ChipConfig, ConfigError, Source
from openlpu.arch.encoding import EncodingError, encoding
from openlpu.arch.geometry import Direction, Queue, Stream, geometry
from openlpu.arch.isa import (
    IMMEDIATE,
    NOTHING,
    TAIL,
    Field,
    FieldKind,
    Format,
    Instruction,
    Operand,
    Spec,
    Value,
    for_kind,
    stride_kind,
)
from openlpu.arch.presets import find_config
from openlpu.arch.program import Program
from openlpu.arch.timing import timing
from openlpu.model.expand import InstructionMemory, cycles_taken
from openlpu.model.text import follow_program
from openlpu.verif.random_programs import random_program
from openlpu.verif.random_text import text_readers

_NAMED = (FieldKind.STREAM, FieldKind.GROUP, FieldKind.SOURCE, FieldKind.DEST, FieldKind.WINDOW)
"""Fields whose modes are no bounds of numbers: the ones that instructions are crossed with."""
_SIGNED = (FieldKind.LANE_SHIFT, FieldKind.STRIDE)


class Group(enum.StrEnum):
    """What a bin is about."""

    INSTRUCTIONS = "instructions"
    """Every instruction in every kind of queue that has it."""
    OPERANDS = "operand modes"
    """Every mode of every field in every kind of queue; of queue control and of what follows an instruction, whose
    fields are the same in all, once."""
    CROSSES = "crosses"
    """Every unit instruction with every direction, format and window of its operands."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Something that can happen. Its text names it in reports."""

    group: Group
    name: str

    def __str__(self) -> str:
        return self.name


class Coverage:
    """The bins of one chip, and how often programs hit them."""

    def __init__(self, config: ChipConfig) -> None:
        self.config = config
        self.programs = 0
        self.hits: Counter[Bin] = Counter()
        self.bins: frozenset[Bin] = frozenset(
            found
            for queue in geometry(config).queues
            for spec in for_kind(queue.kind)
            if spec.implemented
            for inst in _possible(config, queue, spec)
            for found in _hit(config, queue, inst)
        )

    def add(self, program: Program) -> None:
        """Count what a program executes."""
        self.programs += 1
        for (queue, inst), count in Counter(executed(program)).items():
            for found in set(_hit(self.config, queue, inst)):
                self.hits[found] += count

    def of(self, group: Group) -> list[Bin]:
        """The bins of a group, by name."""
        return sorted((found for found in self.bins if found.group is group), key=str)

    def holes(self, group: Group) -> list[Bin]:
        """The bins of a group that no program has hit, by name."""
        return [found for found in self.of(group) if not self.hits[found]]

    @property
    def complete(self) -> bool:
        """Whether no bin of any group is left."""
        return all(self.hits[found] for found in self.bins)

    def report(self) -> str:
        """Percentages, and every hole by its name."""
        lines = [f"{self.config.name}, {self.programs} programs"]
        for group in Group:
            bins, holes = self.of(group), self.holes(group)
            hit = len(bins) - len(holes)
            lines.append(f"{group}: {hit} of {len(bins)} ({100 * hit / len(bins):.1f} %)")
            lines += [f"  never: {hole}" for hole in holes]
        return "\n".join(lines)


def executed(program: Program) -> Iterator[tuple[Queue, Instruction]]:
    """Every word that the queues of a program come to, and every unit instruction that they dispatch."""
    config = program.config
    followed = follow_program(program)
    for number, queue in enumerate(geometry(config).queues):
        if queue.name not in followed.expansions:
            continue
        expansion = followed.expansions[queue.name]
        words = (encoding(config).decode(word, queue) for q, _, word in followed.fetched if q == number)
        memory = InstructionMemory(config, queue, program.text[queue.name])
        fetches, reached, head = iter(expansion.fetches), [0], 0
        yield queue, program.text[queue.name][0]
        while True:
            index = len(reached)
            inst = memory.read(index, reached[index - 2] - timing(config).text_ahead if index > 2 else None)
            if inst is None:
                break
            reached.append(head)
            yield queue, inst
            if inst.spec.mnemonic == "halt":
                break
            if inst.spec.mnemonic == "ifetch":
                memory.fetch(next(fetches), [next(words) for _ in range(inst.number("n"))])
            head += cycles_taken(inst)
        yield from ((queue, dispatch.instruction) for dispatch in expansion.dispatches)


# What a chip can do. One field at a time takes each of its values in an instruction that is legal otherwise.


def _possible(config: ChipConfig, queue: Queue, spec: Spec) -> Iterator[Instruction]:
    """Legal instructions that between them have every mode of every field."""
    choices = [_values(config, queue, spec, f) for f in spec.fields]
    if not all(choices):
        return
    if spec.arity == 2:
        # A second operand, wherever there may be one.
        choices[1] = choices[1][1:] + choices[1][:1]
    plain = tuple(values[0] for values in choices)
    for k, values in enumerate(choices):
        for value in values:
            inst = Instruction(spec, (*plain[:k], value, *plain[k + 1 :]))
            if _encodes(config, queue, inst):
                yield inst
    if not choices:
        yield Instruction(spec, ())


def _encodes(config: ChipConfig, queue: Queue, inst: Instruction) -> bool:
    try:
        encoding(config).encode(inst, queue)
    except EncodingError:
        return False
    return True


def _values(config: ChipConfig, queue: Queue, spec: Spec, f: Field) -> list[Value]:
    """What a field may hold, the plainest first."""
    here = [stream for stream in queue.consumes if _arrives(config, queue, stream)]
    match f.kind:
        case FieldKind.STREAM | FieldKind.GROUP if f.name in spec.produces:
            return [*queue.produces]
        case FieldKind.STREAM if spec.control:
            return [stream for stream in queue.fetches if text_readers(config, queue, stream)]
        case FieldKind.STREAM | FieldKind.GROUP:
            return [*here]
        case FieldKind.SOURCE:
            alus = [Operand(Format.ALU, alu) for alu in geometry(config).alu_sources(queue.index)]
            riding = {
                source: [Operand(form, stream) for stream in here]
                for source, form in ((Source.BYTE, Format.BYTE), (Source.WORD, Format.WORD))
            }
            given = {Source.IMMEDIATE: [IMMEDIATE], Source.CHAIN: alus, **riding}
            allowed = geometry(config).operand_sources(queue.index, f.name)
            found = [operand for source, operands in given.items() if source in allowed for operand in operands]
            return [NOTHING, *found] if f.name == "y" else [*found, NOTHING]
        case FieldKind.DEST:
            forms = (Format.BYTE, Format.WORD, Format.BYTE_BOTH, Format.WORD_BOTH)
            return [NOTHING, *(Operand(form, stream) for form in forms for stream in queue.produces)]
        case FieldKind.WINDOW:
            low, high = encoding(config).limits(f.kind, queue.kind)
            return [*range(low, high + 1)]
        case FieldKind.IMM32:
            return [0, 1, 0xFFFFFFFF]
        case FieldKind.TAIL_COUNT:
            # Once more, so that gap and step mean something.
            return [1, *encoding(config).limits(f.kind, queue.kind)]
        case FieldKind.COUNT if spec.mnemonic == "ifetch":
            most = [most for s in queue.fetches for _, most in text_readers(config, queue, s)]
            return [*dict.fromkeys((1, min(2, max(most, default=1)), max(most, default=1)))]
        case _:
            low, high = _bounds(config, queue, f)
            plain = min(max(low, 0), high)
            return [*dict.fromkeys((plain, low, high, min(plain + 1, high), max(plain - 1, low)))]


def _bounds(config: ChipConfig, queue: Queue, f: Field) -> tuple[int, int]:
    """Lowest and highest value of a number that a legal program can have."""
    low, high = encoding(config).limits_in(f.kind, queue)
    strided = stride_kind(queue.kind)
    if f.kind is not FieldKind.STRIDE or strided is None:
        return low, high
    if any(spec.stride is None for spec in for_kind(queue.kind) if not spec.control):
        return low, high  # It has no address that could leave its range.
    first, last = encoding(config).limits(strided, queue.kind)
    return max(low, first - last), min(high, last - first)


def _arrives(config: ChipConfig, queue: Queue, stream: Stream) -> bool:
    """Whether any unit drives a stream at or upstream of a queue's hop."""
    chip = geometry(config)
    return any(stream in q.produces and chip.hops_between(stream, q.hop, queue.hop) >= 0 for q in chip.queues)


# What an instruction hits.


def _hit(config: ChipConfig, queue: Queue, inst: Instruction) -> Iterator[Bin]:
    spec, kind = inst.spec, queue.kind
    yield Bin(Group.INSTRUCTIONS, f"{kind}: {spec.mnemonic}")
    for f, value in zip(spec.fields, inst.values, strict=True):
        for mode in _modes(config, queue, inst, f, value):
            if spec.control or f in TAIL:
                where = kind if f.kind is FieldKind.STRIDE else "queue control"
                yield Bin(Group.OPERANDS, f"{where}: {spec.mnemonic if spec.control else 'tail'} {f.name} {mode}")
                continue
            yield Bin(Group.OPERANDS, f"{kind}: {f.name} ({f.kind.name.lower()}) {mode}")
            if f.kind in _NAMED:
                yield Bin(Group.CROSSES, f"{kind}: {spec.mnemonic} {f.name} {mode}")


def _modes(config: ChipConfig, queue: Queue, inst: Instruction, f: Field, value: Value) -> Iterator[str]:
    match value:
        case Stream():
            yield _way(value.direction)
        case Operand(Format.ALU, alu):
            yield "own result" if alu == queue.index else "result of another alu"
        case Operand(Format.BYTE | Format.WORD as form, Stream() as stream):
            yield f"{form.name.lower()} {_way(stream.direction)}"
        case Operand(form):
            yield form.name.lower()
        case int() if f.kind is FieldKind.WINDOW:
            yield f"{1 << value} words"
        case int() if f.kind in (FieldKind.TAIL_GAP, FieldKind.TAIL_STEP) and inst.number("again") == 0:
            pass
        case int() if f.kind is FieldKind.IMM32 and IMMEDIATE not in (inst.operand("x"), inst.operand("y")):
            pass
        case int():
            low, high = _bounds(config, queue, f)
            if value == low:
                yield "lowest"
            if value == high:
                yield "highest"
            if f.kind in _SIGNED:
                yield "negative" if value < 0 else "positive" if value else "zero"
            elif low < value < high:
                yield "between"


def _way(direction: Direction) -> str:
    return f"{direction.name.lower()}ward"


# The command.


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("config")
@click.option("--programs", type=click.IntRange(1), default=200, show_default=True, help="Seeds, from the first on.")
@click.option("--first", type=click.IntRange(0), default=0, show_default=True, help="The first seed.")
def main(config: str, programs: int, first: int) -> None:
    """Print what random programs exercise of CONFIG, a preset or a .toml or .json file."""
    coverage = Coverage(find_config(config))
    for seed in range(first, first + programs):
        coverage.add(random_program(coverage.config, seed))
    click.echo(coverage.report())


def run() -> None:
    """The command, with one line and exit status 2 for what it cannot do."""
    try:
        main(standalone_mode=False)
    except click.ClickException as error:
        message = error.format_message()
    except ConfigError as error:
        message = str(error)
    else:
        return
    click.echo(f"coverage: error: {' '.join(message.split())}", err=True)
    sys.exit(2)


if __name__ == "__main__":
    run()
