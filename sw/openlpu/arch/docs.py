# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The generated pages of `docs/`, straight from the tables: instruction set, timing, floor plan, protocol and others.

python -m openlpu.arch.docs            write them
python -m openlpu.arch.docs --check    exit 1 and name the pages that differ from what would be written
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence

from openlpu.arch import presets
from openlpu.arch.config import AluConfig, ChipConfig, PipelineConfig
from openlpu.arch.encoding import OPCODE_BITS, Layout, encoding
from openlpu.arch.floorplan import floorplan
from openlpu.arch.geometry import Direction, QueueKind, Stream, geometry
from openlpu.arch.isa import BY_MNEMONIC, FIRST_UNIT_OPCODE, INSTRUCTIONS, TAIL, Field, FieldKind, Spec, for_kind
from openlpu.arch.pages import banner, docstrings, main, page, prose, table
from openlpu.arch.presets import PRESETS, ULX3S
from openlpu.arch.protocol_page import protocol_page
from openlpu.arch.timing import Latency, timing

_BANNER = banner("sw/openlpu/arch/")
_NONE = "\N{EN DASH}"

_UNITS: Mapping[QueueKind, str] = {
    QueueKind.MEM_READ: "the read port of a MEM slice",
    QueueKind.MEM_WRITE: "the write port of a MEM slice",
    QueueKind.MXM_WEIGHTS: "the weight buffer of an MXM plane",
    QueueKind.MXM_ACTS: "the activation input of an MXM plane",
    QueueKind.MXM_ACCS: "the accumulators of an MXM plane",
    QueueKind.VXM: "an ALU of the VXM",
    QueueKind.SXM_SHIFT: "the lane shifter of the SXM",
    QueueKind.SXM_PERMUTE: "the lane crossbar of the SXM",
    QueueKind.C2C_SEND: "the sending end of a chip-to-chip link",
    QueueKind.C2C_RECEIVE: "the receiving end of a chip-to-chip link",
}


def derived(config: ChipConfig) -> dict[str, int | float]:
    """What a reader wants to know of a chip and no field says: the rows of the table, by title."""
    planes = config.hemispheres * config.mxm_planes
    slices = config.hemispheres * config.mem_slices
    macs = planes * config.lanes**2
    queues = geometry(config).queues
    text_bits = sum(queue.text_words * encoding(config).word_bits(queue.kind) for queue in queues)
    numbers: dict[str, int | float] = {
        "MACs a cycle": macs,
        "peak int8 GOP/s (a MAC counts two)": 2 * macs * config.clock_mhz / 1000,
        "SRAM, KiB": slices * config.mem_words * config.lanes / 1024,
        "SRAM reads, bytes a cycle": slices * config.lanes,
        "weight streams, bytes a cycle": planes * config.weight_streams * config.lanes,
        "cycles to load the weights of a plane": config.lanes // config.weight_streams,
        "accumulators, KiB": planes * config.acc_depth * config.lanes * 4 / 1024,
        "stream registers (hops)": geometry(config).hops,
        "instruction queues": len(queues),
        "instruction memory, KiB": round(text_bits / 8192, 1),
    }
    return {title: int(number) if number == int(number) else number for title, number in numbers.items()}


def isa_page() -> str:
    """`docs/isa.md`."""
    untailed = [spec for spec in INSTRUCTIONS if not (spec.control or spec.tail)]
    parts = [
        "# Instruction set",
        _BANNER,
        prose(
            f"""Every unit executes its own in-order queue, and every queue kind has its own instruction set. The lowest
            {OPCODE_BITS} bits of a word are the opcode and the fields follow upwards in the order shown, those of
            [what follows](#what-follows-an-instruction) at one place for all of a queue kind; the remaining bits are
            zero. Opcodes below {FIRST_UNIT_OPCODE} are queue control, the same in every queue, and opcode 0 is
            illegal. A word is legal when its opcode is known, its spare bits are zero, and every field holds a value
            that the chip has; anything else is refused by the software and is a fault in the hardware. Widths and times
            depend on the chip: they are given for each preset."""
        ),
        prose(
            """An instruction that is *specified* has its encoding and is refused by name; *implemented* ones execute.
            The columns of cycles read sampling / stream / state, counted from dispatch; [timing](timing.md) says what
            these mean, and [the architecture](architecture.md) what the units are."""
        ),
        "## Words",
        table(
            ["queue kind", "controls", *(f"bits, {name}" for name in PRESETS)],
            (
                [f"`{kind}`", _UNITS[kind], *(encoding(chip).word_bits(kind) for chip in PRESETS.values())]
                for kind in QueueKind
            ),
        ),
        "## Fields",
        table(
            ["kind", "holds", *(f"bits, {name}" for name in PRESETS)],
            ([f"{kind.name.lower()}", kind.value, *_widths(kind)] for kind in FieldKind),
        ),
        prose(
            """A stream is its direction (lowest bit: 0 east, 1 west) and its index. A VXM operand is its format (lowest
            bits) and its place. A stride is as wide as the address it advances, and a sign."""
        ),
        "## Queue control",
        "In every queue; executed by the queue itself.",
        _instructions([spec for spec in for_kind(QueueKind.MEM_READ) if spec.control]),
        "## What follows an instruction",
        prose(
            f"""A unit instruction has further fields, which say what its queue does next: {_names(TAIL)}. It is
            dispatched `again` more times, `gap` cycles apart, its address `step` further each time (a row group modulo
            their number); and the next instruction dispatches `wait` cycles later than right after the last of them. So
            `read a=5 d=e0 again=7 wait=12 step=1` is `read a=5 d=e0`, `repeat n=7 step=1` and `nop n=12`, in as many
            cycles. A `repeat` behind it goes on from the last address. Where `again` is 0, `gap` and `step` mean
            nothing, whatever they are."""
        ),
        prose(
            f"""Every instruction has them but {_names(untailed)}, whose words have no room; and `step` only if
            it has an address. A gap of 1 has the code 0: words of zeros above an instruction's own fields say that
            nothing follows."""
        ),
    ]
    for kind in QueueKind:
        specs = [spec for spec in for_kind(kind) if not spec.control]
        parts += [f"## `{kind}`: {_UNITS[kind]}", _instructions(specs)]
        parts += ["Bits of the fields:", table(["instruction", *PRESETS], _bit_rows(kind, specs))]
        timed = [spec for spec in specs if spec.implemented]
        if kind is QueueKind.VXM:
            parts.append("Cycles depend on the ALU, not on the instruction: see [timing](timing.md#alus).")
        else:
            parts += ["Cycles:", table(["instruction", *PRESETS], _time_rows(kind, timed))]
    return page(parts)


def configs_page() -> str:
    """`docs/configs.md`."""
    chips = list(PRESETS.values())
    rows = [[title, *(f"{derived(chip)[title]:,}" for chip in chips)] for title in derived(chips[0])]
    parts = [
        "# Configurations",
        _BANNER,
        prose(
            """A chip is one `ChipConfig`; hops, reach, queues, encodings and latencies follow from it. The presets are
            below; a chip of your own is a `.toml` or `.json` file with the same fields, accepted wherever a command
            takes a config. The digest identifies a chip, is stamped into every program, and is readable from the
            hardware: a program runs only on the chip it was compiled for."""
        ),
        "\n".join(f"- **{chip.name}**: {docstrings(presets)[chip.name.upper()]}" for chip in chips),
        "## What follows from a configuration",
        table(["", *PRESETS], [*rows, ["digest", *(f"`{chip.digest}`" for chip in chips)]]),
        "## Fields",
        table(["field", "meaning", *PRESETS], _field_rows(ChipConfig, chips, skip=("alus", "pipeline"))),
        "## `pipeline`",
        "Register stages, in cycles.",
        table(["field", "meaning", *PRESETS], _field_rows(PipelineConfig, [chip.pipeline for chip in chips])),
        "## `alus`",
        "In chain order. "
        + " ".join(f"`{name}`: {text}" for name, text in docstrings(AluConfig).items() if text)
        + " An ALU that only chains costs no multiplexers on the streams.",
        table(["ALU", *PRESETS], _alu_rows(chips)),
    ]
    return page(parts)


def timing_page() -> str:
    """`docs/timing.md`."""
    parts = [
        "# Timing",
        _BANNER,
        prose(
            """Cycle 0 is the cycle in which every queue dispatches its first instruction after the barrier. From the
            dispatch of an instruction count three times:"""
        ),
        (
            "- **sampling** (skew): its operands are sampled: streams, the SRAM word of a read, the shadow buffer of "
            "`iw`, the array's sums of `acc_*`.\n- **stream** (func): its result stands in the stream register of the "
            "unit's hop.\n- **state**: its result stands in the unit itself, ready for the unit's other instructions."
        ),
        "A producer p meets a consumer c on a stream exactly when",
        "    dispatch(c) + sampling(c) = dispatch(p) + stream(p) + hops(p, c)",
        "where *hops* counts registers in the direction of the stream. " + _example(ULX3S),
        prose(
            """Nothing in a running chip waits, so these numbers are the whole truth about time. They are computed in
            `sw/openlpu/arch/timing.py` from the [configuration](configs.md) and written down nowhere else: the
            compiler, the golden model, the checker and the RTL read them there, and a bench measures each RTL unit."""
        ),
        "## Chip",
        table(
            ["cycles", *PRESETS],
            [
                ["from sampled activations to the array's sums", *_timings(lambda c: timing(c).array)],
                ["from the dispatch of `abc` to the weights it uses", *_timings(lambda c: timing(c).weights_used)],
                ["from the dispatch of `notify` to cycle 0", *_timings(lambda c: timing(c).notify)],
                ["from the end of one of several runs to cycle 0 of the next", *_timings(lambda c: timing(c).rerun)],
                ["from a host read to its data, while the chip is halted", *_timings(lambda c: timing(c).host_read)],
                ["across the chip, edge to edge", *_timings(lambda c: geometry(c).hops - 1)],
            ],
        ),
        "## Units",
        "Sampling / stream / state, in cycles from dispatch.",
        table(
            ["queue kind", "instruction", *PRESETS],
            (
                [f"`{kind}`", *row]
                for kind in QueueKind
                if kind is not QueueKind.VXM
                for row in _time_rows(kind, [s for s in for_kind(kind) if s.implemented and not s.control])
            ),
        ),
        "## ALUs",
        prose(
            """An ALU has one latency, that of its deepest class, so that its results never collide. A chained consumer
            samples the result in the very cycle of *state*."""
        ),
        table(["ALU", *PRESETS], _alu_time_rows(list(PRESETS.values()))),
    ]
    return page(parts)


PAGES: Mapping[str, Callable[[], str]] = {
    "isa.md": isa_page,
    "configs.md": configs_page,
    "timing.md": timing_page,
    "protocol.md": protocol_page,
    "floorplan.svg": lambda: floorplan(ULX3S),
}
"""Generated files of the documentation by name."""


def _timings(number: Callable[[ChipConfig], int]) -> list[int]:
    return [number(chip) for chip in PRESETS.values()]


def _instructions(specs: Sequence[Spec]) -> str:
    """The table of instructions, after a line with their fields when all of them have the same ones."""

    def fields(spec: Spec) -> str:
        return ", ".join(f"`{f.name}` {f.kind.name.lower()}" for f in spec.own) or _NONE

    shared = {fields(spec) for spec in specs} == {fields(specs[0])} and len(specs) > 1
    classes = any(spec.op_class for spec in specs)
    header = ["instruction", "opcode"] + ["fields"] * (not shared) + ["class"] * classes + ["effect", "status"]
    rows = [
        [f"`{spec.mnemonic}`", str(spec.opcode)]
        + [fields(spec)] * (not shared)
        + [spec.op_class or "every ALU"] * classes
        + [spec.effect, "implemented" if spec.implemented else "*specified*"]
        for spec in specs
    ]
    return (f"Fields: {fields(specs[0])}.\n\n" if shared else "") + table(header, rows)


def _names(things: Sequence[Field] | Sequence[Spec]) -> str:
    """Fields or instructions by name, as a sentence has them."""
    *first, last = [f"`{thing.name if isinstance(thing, Field) else thing.mnemonic}`" for thing in things]
    return f"{', '.join(first)} and {last}"


def _widths(kind: FieldKind) -> list[str]:
    """Per preset, the distinct widths of a field kind over the queue kinds that have such a field."""
    owners = [q for q in QueueKind if any(f.kind is kind for spec in for_kind(q) for f in spec.fields)]
    return [
        " or ".join(str(bits) for bits in sorted({encoding(chip).width(kind, q) for q in owners}))
        for chip in PRESETS.values()
    ]


def _bit_rows(kind: QueueKind, specs: Sequence[Spec]) -> list[list[str]]:
    def bits(layout: Layout) -> str:
        return ", ".join(f"{s.field.name} {s.lsb + s.width - 1}:{s.lsb}" for s in layout.slots) or _NONE

    rows = [
        (spec.mnemonic, tuple(bits(encoding(chip).layout(spec, kind)) for chip in PRESETS.values())) for spec in specs
    ]
    return _merged(rows)


def _time_rows(kind: QueueKind, specs: Sequence[Spec]) -> list[list[str]]:
    def cell(chip: ChipConfig, spec: Spec) -> str:
        queues = geometry(chip).of_kind(kind)
        return _cycles(timing(chip).latency(spec, queues[0])) if queues else _NONE

    return _merged([(spec.mnemonic, tuple(cell(chip, spec) for chip in PRESETS.values())) for spec in specs])


def _merged(rows: Iterable[tuple[str, tuple[str, ...]]]) -> list[list[str]]:
    """Rows of equal cells as one row that names every instruction."""
    names: dict[tuple[str, ...], list[str]] = {}
    for mnemonic, cells in rows:
        names.setdefault(cells, []).append(f"`{mnemonic}`")
    return [[" ".join(mnemonics), *cells] for cells, mnemonics in names.items()]


def _cycles(latency: Latency) -> str:
    return " / ".join(_NONE if n is None else str(n) for n in (latency.skew, latency.func, latency.state))


def _alu_rows(chips: Sequence[ChipConfig]) -> list[list[str]]:
    def cell(chip: ChipConfig, index: int) -> str:
        if index >= len(chip.alus):
            return _NONE
        alu = chip.alus[index]
        operands = [f"{name}: {', '.join(sources)}" for name, sources in (("x", alu.x), ("y", alu.y)) if sources]
        chain = f"chains to {', '.join(map(str, geometry(chip).alu_sources(index)))}" if alu.chain else "no chain"
        return "; ".join([", ".join(alu.classes), *operands, chain, *["writes"] * alu.writes])

    longest = max(len(chip.alus) for chip in chips)
    return [[str(i), *(cell(chip, i) for chip in chips)] for i in range(longest)]


def _alu_time_rows(chips: Sequence[ChipConfig]) -> list[list[str]]:
    def cell(chip: ChipConfig, index: int) -> str:
        queues = geometry(chip).of_kind(QueueKind.VXM)
        if index >= len(queues):
            return _NONE
        moving = next(spec for spec in for_kind(QueueKind.VXM) if not spec.control)
        return _cycles(timing(chip).latency(moving, queues[index]))

    longest = max(len(chip.alus) for chip in chips)
    return [[str(i), *(cell(chip, i) for chip in chips)] for i in range(longest)]


def _field_rows(kind: type, values: Sequence[object], skip: Sequence[str] = ()) -> list[list[object]]:
    return [
        [f"`{name}`", text, *(getattr(value, name) for value in values)]
        for name, text in docstrings(kind).items()
        if name not in skip
    ]


def _example(chip: ChipConfig) -> str:
    """The rule in numbers: a word read from the first MEM slice into the array of the first plane."""
    places, table = geometry(chip), timing(chip)
    producer, consumer = places.of_kind(QueueKind.MEM_READ)[0], places.of_kind(QueueKind.MXM_ACTS)[0]
    stream = Stream(Direction.EAST, producer.produces[0].index)
    func, skew = table.latency(BY_MNEMONIC["read"], producer).func, table.latency(BY_MNEMONIC["abc"], consumer).skew
    assert func is not None
    assert skew is not None
    hops = places.hops_between(stream, producer.hop, consumer.hop)
    return (
        f"On `{chip.name}`, a `read` dispatched in `{producer.name}` (hop {producer.hop}) at cycle 0 stands on "
        f"{stream} at cycle {func}, passes hop {consumer.hop} at cycle {func + hops}, and is sampled there by an `abc` "
        f"that `{consumer.name}` dispatches at cycle {func + hops - skew}."
    )


if __name__ == "__main__":
    sys.exit(main(PAGES))
