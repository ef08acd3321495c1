# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Plans: how many chips a Llama takes, what lies where, and how long a token takes.

A network is cut into groups of consecutive layers; the chips of a group share every matrix, head and cache of its
layers (`openlpu.compiler.partition`), and the last group, or one more, has the output matrix. One layer and the output
are scheduled as the fullest chip has them (`openlpu.planning.shares`), and so is the way from group to group. What is
added up here is that: every layer takes as long as the one, and as much SRAM.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from openlpu.arch.config import ChipConfig
from openlpu.arch.system import SystemConfig
from openlpu.arch.timing import timing
from openlpu.compiler.errors import CompileError
from openlpu.compiler.kernels import KernelGraph
from openlpu.compiler.pipeline import uncollected
from openlpu.llm.decode import layer_decoding, output_decoding
from openlpu.llm.token_writer import BYTE
from openlpu.planning.groups import Group, group_of, line_groups, lone_groups
from openlpu.planning.models import Model
from openlpu.planning.shares import Cost, Room, Share, fewest_words, hop_cycles
from openlpu.planning.stand_in import stand_in

_MOST_TOKENS = BYTE**2
"""That an index tells apart: of a larger vocabulary so many are scheduled."""


@dataclass(frozen=True)
class Layout:
    """Which chips have what."""

    group: Group
    layers: int
    """Of the network."""
    layers_each: int
    """Of a group; the last one may have fewer."""
    output_apart: bool
    """Whether the output matrix has a group of its own."""

    @property
    def stages(self) -> int:
        """Groups that have layers."""
        return -(-self.layers // self.layers_each)

    @property
    def groups(self) -> int:
        """All groups of the line."""
        return self.stages + self.output_apart

    @property
    def chips(self) -> int:
        """Of all groups."""
        return self.groups * self.group.chips

    def layers_of(self, number: int) -> range:
        """The layers of a group; none for one that has the output alone."""
        first = number * self.layers_each
        return range(min(first, self.layers), min(first + self.layers_each, self.layers))


@dataclass(frozen=True)
class Plan:
    """A model on some chips."""

    model: Model
    context: int
    """Positions that a token attends to, and caches have room for: whole vectors."""
    layout: Layout
    dealt: Mapping[str, tuple[int, ...]]
    """As `Share.dealt` of a layer."""
    layer: Cost
    layer_room: Room
    output: Cost
    output_room: Room
    """Cost and room of the output are those of `output_tokens`."""
    output_tokens: int
    hop: int
    """Cycles from one group to the next; 0 where there is one group."""

    @property
    def config(self) -> ChipConfig:
        """Each of the chips."""
        return self.layout.group.chip

    @property
    def output_cycles(self) -> int:
        """From the hidden vector behind the last layer to the next token."""
        return self.of_all_tokens(self.output.cycles)

    def of_all_tokens(self, amount: int) -> int:
        """What so much of the output that is scheduled becomes for the whole vocabulary."""
        return -(-amount * self.model.shape.vocabulary // self.output_tokens)

    @property
    def rerun(self) -> int:
        """Cycles between two tokens, in which all chips start again."""
        return timing(self.config).rerun

    @property
    def cycles(self) -> int:
        """Per token."""
        layers = self.layout.layers * self.layer.cycles
        return layers + (self.layout.groups - 1) * self.hop + self.output_cycles + self.rerun

    @property
    def weight_cycles(self) -> int:
        """Of a token: those in which planes do nothing but load weights, if nothing ever waits."""
        return self.layout.layers * self.layer.weight_cycles + self.of_all_tokens(self.output.weight_cycles)

    @property
    def tokens_per_second(self) -> float:
        """Of one sequence."""
        return self.config.clock_mhz * 1e6 / self.cycles

    @property
    def padding(self) -> float:
        """What the weights of a layer would take if all chips had as many as the fullest, over a byte for each."""
        held = self.layer_room.weights * self.config.lanes * self.layout.group.chips
        return held / self.model.layer_parameters


@uncollected()
def make_plan(
    model: Model, context: int, target: ChipConfig | SystemConfig, chips: int | None = None, group: int | None = None
) -> Plan:
    """Plan a model for a kind of chip: for as few as can be, or for up to `chips`, which then share layers among as
    many as can be; in groups of `group`, unless that is None. A system is planned for as it is.

    Raises:
        CompileError: when the model does not suit the chip, or does not fit.
    """
    config = target if isinstance(target, ChipConfig) else target.chip
    groups = _groups(config)
    if isinstance(target, SystemConfig):
        # What does not fit could have chips with other links.
        groups = _groups(dataclasses.replace(config, c2c_links=0))
    _require_room(model, groups)
    search = _Search(model, -(-context // config.lanes) * config.lanes, config)
    if isinstance(target, SystemConfig):
        return search.plan(search.only(group_of(target), groups))
    if group is not None:
        groups = [some for some in groups if some.chips == group]
        if not groups:
            raise CompileError(
                f"config '{config.name}' has no links for a group of {group} chips: choose a smaller one"
            )
    return search.plan(search.smallest(groups) if chips is None else search.largest(groups, chips))


def _groups(config: ChipConfig) -> list[Group]:
    return [*lone_groups(config), *line_groups(config)]


def _require_room(model: Model, groups: Sequence[Group]) -> None:
    """Refuse what no group has room for, before time is spent on it."""
    largest = max(groups, key=lambda group: group.chips)
    config = largest.chip
    there = largest.chips * config.hemispheres * config.mem_slices * config.mem_words * config.lanes
    if model.layer_parameters > there:
        raise CompileError(
            f"{model.name}: the weights of a layer are {model.layer_parameters:,} bytes, and {largest.chips} chips of "
            f"config '{config.name}', the most that can share one, have {there:,}: use larger chips or a smaller model"
        )


class _Search:
    """Layouts of one model."""

    def __init__(self, model: Model, context: int, config: ChipConfig) -> None:
        self.model, self.context, self.config = model, context, config
        self.tokens = min(model.shape.vocabulary, _MOST_TOKENS)
        twin = stand_in(model.name, model.shape, vocabulary=self.tokens, lanes=config.lanes)
        # What has been written is for the host to remember: of the context, the output has no use but for that.
        self.output_kernels = output_decoding(twin, config.lanes, config).kernels
        self._layer_of = functools.cache(lambda shared: layer_decoding(twin, context, config, shared=shared).kernels)
        planes = config.mxm_planes * config.weight_streams
        self.weight_words = config.hemispheres * min(config.mem_slices, planes) * config.mem_words
        """Of slices that feed planes: weights lie nowhere else."""
        self._fewest: dict[int, int] = {}
        """By size of a group: words that the weights of a layer take at least."""
        self._placed: tuple[Layout, Share, Share] | None = None
        """The last layout that has been found, with the shares of a layer and of the output."""
        self.why = ""
        """The last group that nothing fitted into has not fitted for this reason."""

    def layer_kernels(self, group: Group) -> KernelGraph:
        """Those of a layer that the chips of a group share, if there are several."""
        return self._layer_of(group.chips > 1)

    def plan(self, layout: Layout) -> Plan:
        """Schedule what a layout needs to know."""
        group = layout.group
        if self._placed is None or self._placed[0] != layout:
            self.layout(group)
        assert self._placed is not None, "a layout that does not fit"
        _, layer, output = self._placed
        return Plan(
            model=self.model,
            context=self.context,
            layout=layout,
            dealt=layer.dealt,
            layer=layer.cost(),
            layer_room=layer.room,
            output=output.cost(),
            output_room=output.room,
            output_tokens=self.tokens,
            hop=hop_cycles(self.model.shape.hidden, group) if layout.groups > 1 else 0,
        )

    def smallest(self, groups: Sequence[Group]) -> Layout:
        """The layout with the fewest chips, and of those the one that shares layers among most."""
        found: Layout | None = None
        for bound, group in sorted(self._bounds(groups), key=lambda entry: (entry[0], -entry[1].chips)):
            if found is not None and (bound, -group.chips) >= (found.chips, -found.group.chips):
                break
            layout = self.layout(group)
            if layout is not None and (found is None or layout.chips < found.chips):
                found = layout
        if found is None:
            if all(group.alone for group in groups):
                raise CompileError(
                    f"{self.model.name} is too large for one group of chips of config '{self.config.name}', whose "
                    f"'c2c_links' are too few for a line of such groups: use smaller groups, more links, or 0 for as "
                    f"many as a chip can have"
                )
            raise CompileError(
                f"{self.model.name}: no group of chips of config '{self.config.name}' has room for a layer, or for the "
                f"output: {self.why or 'its weights are too many'}; or use a shorter context, or larger groups"
            )
        return found

    def largest(self, groups: Sequence[Group], chips: int) -> Layout:
        """The layout on no more than so many chips that shares layers among most."""
        for bound, group in sorted(self._bounds(groups), key=lambda entry: -entry[1].chips):
            layout = self.layout(group) if bound <= chips else None
            if layout is not None and layout.chips <= chips:
                return layout
        raise self._too_few(chips, groups)

    def only(self, group: Group, others: Sequence[Group]) -> Layout:
        """The layout on a group that is alone; where it does not fit, `others` may say what would be needed."""
        layout = self.layout(group)
        if layout is None:
            raise self._too_few(group.chips, others)
        return layout

    def _too_few(self, chips: int, groups: Sequence[Group]) -> CompileError:
        return CompileError(
            f"{self.model.name} with a context of {self.context} does not fit in {chips} chips of config "
            f"'{self.config.name}': it needs {self.smallest(groups).chips}; use so many, or a shorter context"
        )

    def layout(self, group: Group) -> Layout | None:
        """The layout of a line of such groups, or of one that is alone; None where it does not fit."""
        self._placed = None
        try:
            layer, output = Share(self.layer_kernels(group), group), Share(self.output_kernels, group)
        except CompileError as error:
            self.why = str(error)
            return None
        layers, words = self.model.shape.layers, self.config.mem_words
        stages = -(-layers // max(words // layer.room.fullest, 1))
        each = -(-layers // stages)
        last = layers - (-(-layers // each) - 1) * each
        output_words = -(-output.room.fullest * self.model.shape.vocabulary // self.tokens)
        layout = Layout(group, layers, each, output_apart=last * layer.room.fullest + output_words > words)
        if group.alone != (layout.groups == 1) or output_words > words:
            return None
        self._placed = layout, layer, output
        return layout

    def _bounds(self, groups: Iterable[Group]) -> Iterator[tuple[int, Group]]:
        """Groups that a layer may fit into, by its weights alone, and how many chips it takes at least."""
        layers = self.model.shape.layers
        for group in groups:
            if group.chips not in self._fewest:
                self._fewest[group.chips] = fewest_words(self.layer_kernels(group), group)
            each = min(self.weight_words // self._fewest[group.chips], layers)
            if each == layers or (each and not group.alone):
                yield math.ceil(layers / each) * group.chips, group
