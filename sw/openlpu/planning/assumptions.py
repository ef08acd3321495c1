# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What a plan takes for granted, said in words: whoever reads its numbers reads these."""

from __future__ import annotations

from collections.abc import Iterator

from openlpu.arch.links import CHIP_BITS, flit_format
from openlpu.arch.system import SystemConfig
from openlpu.planning.plan import Plan


def assumptions(plan: Plan) -> list[str]:
    """A sentence for each thing."""
    return [*_of_the_model(plan), *_of_links(plan), *_of_the_schedule(plan)]


def _of_the_model(plan: Plan) -> Iterator[str]:
    config, shape = plan.config, plan.model.shape
    yield (
        f"one sequence (batch 1) and a context of {plan.context:,} positions, in whole vectors of {config.lanes}; a "
        f"token takes as long at the first of them as at the last"
    )
    yield "weights and caches are int8, the hidden vector is float32; every chip of a group has the norms to itself"
    yield "the host looks up the embedding and writes the hidden vector: neither time nor SRAM for that is counted"
    if shape.tied:
        yield "the output matrix, which is the embedding, is dealt out as one of its own"
    if plan.output_tokens < shape.vocabulary:
        yield (
            f"of {shape.vocabulary:,} tokens {plan.output_tokens:,} are scheduled, as many as an index tells apart; "
            f"time and SRAM of the output are extrapolated from them"
        )


def _of_links(plan: Plan) -> Iterator[str]:
    config, group = plan.config, plan.layout.group
    systems = [system for system in (group.system, group.onward) if system is not None]
    if not systems:
        return
    beats, rate = flit_format(config).beats, config.c2c_width * config.clock_mhz / 1000
    between = [] if group.system is None else [f"{group.system.parallel} between any two chips of a group"]
    between += (
        [] if group.onward is None else [f"{group.onward.parallel} to the chip at the same place in the next group"]
    )
    yield (
        f"links of {config.c2c_width} wires at the chip's clock, {rate:g} Gb/s each way: a vector lasts {beats} "
        f"cycles, and {systems[0].latency} pass from its send to its receive; {' and '.join(between)}"
    )
    yield _alignment(systems[0])
    if plan.layout.chips > 1 << CHIP_BITS:
        yield (
            f"a flit can name {1 << CHIP_BITS} chips, and a system is a ring or all to all: {plan.layout.chips} chips "
            f"in a line of groups are on paper only"
        )


def _alignment(system: SystemConfig) -> str:
    return (
        f"clocks are within {system.ppm} ppm, wires take up to {system.wire_cycles} cycles; pauses that align clocks, "
        f"{system.pause} cycles in every {system.deskew_cycles:,}, are not counted"
    )


def _of_the_schedule(plan: Plan) -> Iterator[str]:
    layout, group, config = plan.layout, plan.layout.group, plan.config
    if group.system is not None:
        yield (
            "the fullest chip of a group is placed and scheduled, and the others send what they have when it sends; "
            "no checker has seen the programs"
        )
    yield (
        f"one layer is scheduled: {layout.layers} take {layout.layers} times its cycles, as nothing of one overlaps "
        f"with the next, and a chip has {layout.layers_each} times its SRAM"
    )
    feeding = min(config.mem_slices, config.mxm_planes * config.weight_streams)
    yield f"weights lie in the {feeding} of {config.mem_slices} slices of a hemisphere that feed its planes"
    if group.onward is not None:
        yield (
            "from group to group each chip sends its rows of the hidden vector, which is scheduled for two chips; the "
            "group that gets them gathers them, in place of the one before"
        )
    words = layout.layers_each * plan.layer.text
    if words > plan.layer.text_room:
        yield (
            f"the text of {layout.layers_each} layers, {words:,} words in a queue, is longer than its memory of "
            f"{plan.layer.text_room:,}: it is fetched beside the program, which the compiler does not do yet"
        )
