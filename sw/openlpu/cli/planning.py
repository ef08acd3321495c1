# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""`lpu plan`: how many chips a Llama takes, and how fast it would be, before anybody has its weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import click

from openlpu.arch.config import ChipConfig
from openlpu.arch.presets import find_config
from openlpu.arch.system import SystemConfig
from openlpu.cli.errors import UserError
from openlpu.cli.targets import find_system, names_system, target_option
from openlpu.cli.terminal import json_option, print_facts, print_json, print_table, working
from openlpu.llm.decode import DEALT, LAYER
from openlpu.planning.assumptions import assumptions
from openlpu.planning.models import find_model
from openlpu.planning.plan import Plan, make_plan
from openlpu.planning.shares import Cost, Room

_LARGE = 10_000_000
"""Bytes of SRAM that are told in MB."""


@click.command("plan")
@click.argument("model")
@click.option("--chips", type=click.IntRange(min=1), help="At most so many chips, instead of as few as can be.")
@click.option("--group", type=click.IntRange(min=1), help="So many chips share a layer, instead of what suits best.")
@click.option(
    "--context",
    type=click.IntRange(min=1),
    default=4096,
    show_default=True,
    help="Positions to attend to, if the network knows as many, or else all that it knows.",
)
@target_option
@json_option
def plan_command(model: str, chips: int | None, group: int | None, context: int, config: str, as_json: bool) -> None:
    """Size a system of linked chips for MODEL, a name or a directory with a config.json; no weights are needed.

    One layer is scheduled as a chip would have it, and so is everything else that a token passes once.
    """
    found, target = find_model(model), _target(config, chips, group)
    with working(f"planning {found.name} for {config}", as_json=as_json):
        plan = make_plan(found, min(context, found.shape.context), target, chips, group)
    if as_json:
        print_json(_as_dict(plan))
    else:
        _print(plan)


def _target(config: str, chips: int | None, group: int | None) -> ChipConfig | SystemConfig:
    if not names_system(config):
        return find_config(config)
    if group is not None:
        raise UserError(
            f"{config}: all chips of a system share every layer: leave out --group, or give the config of a chip"
        )
    return find_system(config, chips)


def _as_dict(plan: Plan) -> dict[str, Any]:
    layout, config = plan.layout, plan.config
    published = plan.model.published
    return {
        "model": plan.model.name,
        "config": config.name,
        "digest": config.digest,
        "context": plan.context,
        "chips": layout.chips,
        "chips_of_a_group": layout.group.chips,
        "groups": [
            {
                "first_chip": number * layout.group.chips,
                "layers": [*layout.layers_of(number)],
                "output": number == layout.groups - 1,
            }
            for number in range(layout.groups)
        ],
        "rows_of_chips": {name: list(rows) for name, rows in plan.dealt.items()},
        "cycles_per_token": plan.cycles,
        "tokens_per_second": round(plan.tokens_per_second, 1),
        "weight_cycles_per_token": plan.weight_cycles,
        "layer": _part(plan.layer, plan.layer_room, config),
        "output": {**_part(plan.output, plan.output_room, config), "tokens_scheduled": plan.output_tokens},
        "hop_cycles": plan.hop,
        "rerun_cycles": plan.rerun,
        "sram_bytes_of_a_chip": _bytes(_words(config), config),
        "padding": round(plan.padding, 3),
        "published": None if published is None else dataclasses.asdict(published),
        "assumptions": assumptions(plan),
    }


def _part(cost: Cost, room: Room, config: ChipConfig) -> dict[str, Any]:
    """What a layer, or the output, takes on the fullest chip."""
    return {
        "cycles": cost.cycles,
        "weight_cycles": cost.weight_cycles,
        "weight_bytes": _bytes(room.weights, config),
        "cache_bytes": _bytes(room.caches, config),
        "sram_bytes": _bytes(room.all, config),
        "fullest_slice_words": room.fullest,
        "text_words": cost.text,
        "vectors_on_busiest_link": cost.vectors,
        "link_share": round(cost.link_cycles / cost.cycles, 4),
    }


def _print(plan: Plan) -> None:
    layout, config, shape = plan.layout, plan.config, plan.model.shape
    sizes = (
        f"{shape.layers} layers, hidden {shape.hidden:,}, {shape.heads} heads of {shape.head_size} "
        f"({shape.kv_heads} of keys and values), feed-forward {shape.ffn:,}, {shape.vocabulary:,} tokens"
    )
    line = f"{layout.groups} group{'s' * (layout.groups > 1)} of {layout.group.chips}"
    print_facts(
        [
            ("model", f"{plan.model.name}: {sizes}"),
            ("system", f"{layout.chips:,} chip{'s' * (layout.chips > 1)} {config.name} ({config.digest}), {line}"),
            ("context", f"{plan.context:,}"),
            ("cycles/token", f"{plan.cycles:,}, of which weights alone would take {plan.weight_cycles:,}"),
            ("tokens/s", f"{plan.tokens_per_second:,.0f} of one sequence, at {config.clock_mhz:g} MHz"),
            *([("published", _compared(plan))] if plan.model.published else []),
        ]
    )
    click.echo()
    _print_partition(plan)
    _print_time(plan)
    _print_use(plan)
    click.echo("assumed:")
    for sentence in assumptions(plan):
        click.echo(f"  - {sentence}")


def _compared(plan: Plan) -> str:
    published = plan.model.published
    assert published is not None
    there = 1e6 / (published.tokens_per_second * plan.layout.layers)
    here = plan.layer.cycles / plan.config.clock_mhz
    chips = "" if published.chips is None else f"on {published.chips} GroqChips, "
    return (
        f"{published.tokens_per_second:g} tokens/s ({chips}{published.source}): {there:.1f} us a layer, with all that "
        f"a service needs; here a layer takes {here:.1f} us, on paper"
    )


def _print_partition(plan: Plan) -> None:
    layout = plan.layout
    layers = f"{layout.layers_each} each" if layout.stages > 1 else str(layout.layers)
    last = "a group of its own" if layout.output_apart else "the last group, beside its layers"
    print_facts(
        [("layers", f"{layout.stages} group{'s' * (layout.stages > 1)}, {layers}"), ("output", last)], "what lies where"
    )
    if plan.dealt:
        rows = []
        for name, counts in plan.dealt.items():
            meaning, each = DEALT[name.removeprefix(f"{LAYER}.")]
            rows.append([meaning, " ".join(str(count // each) for count in counts)])
        print_table("", ["of every layer", f"chips 0 to {layout.group.chips - 1} of its group"], rows)
    click.echo()


def _print_time(plan: Plan) -> None:
    layout = plan.layout
    parts = [("layer", layout.layers, plan.layer.cycles), ("to the next group", layout.groups - 1, plan.hop)]
    parts += [("output", 1, plan.output_cycles), ("between two tokens", 1, plan.rerun)]
    rows = [
        [name, count, f"{cycles:,}", f"{count * cycles:,}", f"{100 * count * cycles / plan.cycles:.1f} %"]
        for name, count, cycles in parts
        if count
    ]
    print_table("where the cycles of a token go", ["", "times", "cycles", "all of them", "share"], rows)
    click.echo()


def _print_use(plan: Plan) -> None:
    config, layers = plan.config, plan.layout.layers_each
    unit, scale = ("kB", 1e3) if _bytes(_words(config), config) < _LARGE else ("MB", 1e6)
    parts: list[tuple[str, Cost, Room, Callable[[int], int]]] = [
        (f"{layers} layer{'s' * (layers > 1)}", plan.layer, plan.layer_room, lambda amount: layers * amount),
        ("output", plan.output, plan.output_room, plan.of_all_tokens),
    ]
    rows = []
    for name, cost, room, all_of in parts:
        sizes = (_bytes(all_of(words), config) / scale for words in (room.weights, room.caches, room.all))
        fullest = f"{100 * all_of(room.fullest) / config.mem_words:.0f} %"
        busy = f"{all_of(cost.vectors):,}, {100 * cost.link_cycles / cost.cycles:.1f} %"
        rows.append([name, *(f"{size:,.1f}" for size in sizes), fullest, f"{all_of(cost.text):,}", busy])
    sram = (
        f"{_bytes(_words(config), config) / scale:,.1f} {unit} of SRAM, {plan.layer.text_room:,} words of text a queue"
    )
    header = [
        "",
        f"weights, {unit}",
        f"caches, {unit}",
        f"all, {unit}",
        "fullest slice",
        "text",
        "vectors a token on a link, its time",
    ]
    print_table(f"the fullest chip of a group, which has {sram}", header, rows)
    print_facts(
        [("weights", f"{plan.padding:.2f} times their bytes, as all chips have room for whole tiles of the fullest")]
    )
    click.echo()


def _words(config: ChipConfig) -> int:
    return config.hemispheres * config.mem_slices * config.mem_words


def _bytes(words: int, config: ChipConfig) -> int:
    return words * config.lanes
