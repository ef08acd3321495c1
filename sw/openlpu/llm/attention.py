# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Attention of one token, by heads: what its keys, queries, values and caches are made to.

Heads that have keys and values of their own need nothing of one another until their averages meet the weights behind
attention. So they may go in groups, and while one group has its softmax the weights of the next one stream. The sums
behind attention grow group by group: they are whole numbers, so it makes no difference to any bit.

Softmax. Scores less their maximum become powers, and these int8; their sum is once more a product with ones, and its
reciprocal is what the weighted values are multiplied with. So the weights add up to one as the chip sees them.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openlpu.compiler.kernels import BufferOperand, Immediate, Step, Target, Term, padded
from openlpu.llm.llama_writer import LlamaWriter
from openlpu.llm.quantise import QuantisedLayer
from openlpu.llm.token_writer import FINER, WHOLE

Addends = tuple[BufferOperand, BufferOperand]
"""Two views whose sum is meant: of what rotary embedding turns, and of products in two digits."""


@dataclass(frozen=True)
class HeadGroup:
    """Heads of keys and values whose heads of queries go together."""

    name: str
    """What buffers of the group begin with."""
    heads: range
    """Of keys and values."""
    queries: range
    """Heads of queries."""


class AttentionWriter(LlamaWriter):
    """The parts of attention, for some heads at a time."""

    def head_group(self, name: str, heads: range) -> HeadGroup:
        """Some heads of keys and values, with the heads of queries that are theirs."""
        return HeadGroup(name, heads, self.queries_of(heads))

    def rope(self, source: str, count: int) -> Addends:
        """Two addends for each of `count` heads: its rows times cosines, and its halves, changed over, times sines."""
        rows = self.head_rows
        straight, turned = (self.buffer(f"{source}.{what}", count * rows) for what in ("straight", "turned"))
        for row in range(rows):
            target = Target(first_row=row, row_step=rows, rows=count)
            if self.turned_by_weights:
                other = BufferOperand(source, first_row=count * rows + row, row_step=rows)
            elif rows == 1:
                other = BufferOperand(source, rotate=self.lanes // 2)
            else:
                other = BufferOperand(source, first_row=(row + rows // 2) % rows, row_step=rows)
            cosine, sine = (BufferOperand(angle, row_step=0, column=row) for angle in ("cosine", "sine"))
            self.vector(straight, BufferOperand(source, first_row=row, row_step=rows), [Step("fmul", cosine)], target)
            self.vector(turned, other, [Step("fmul", sine)], target)
        return BufferOperand(straight), BufferOperand(turned)

    def cache_keys(self, name: str, keys: Addends, ratio: Sequence[Step]) -> None:
        """Put the keys of all heads into the caches."""
        rows = self.head_rows
        for head, row in itertools.product(range(self.shape.kv_heads), range(rows)):
            straight, turned = (
                dataclasses.replace(view, first_row=view.first_row + head * rows + row) for view in keys
            )
            self.cache(f"{name}.keys{head}.{row}", straight, [Step("fadd", turned), *ratio, Step("f2i", WHOLE)])

    def cache_values(self, name: str, values: BufferOperand, ratio: Sequence[Step]) -> None:
        """Put the values of all heads into the caches."""
        rows = self.head_rows
        for head, row in itertools.product(range(self.shape.kv_heads), range(rows)):
            source = dataclasses.replace(values, first_row=values.first_row + head * rows + row)
            self.cache(f"{name}.values{head}.{row}", source, [*ratio, Step("f2i", WHOLE)])

    def turned_queries(self, group: HeadGroup, queries: Addends, ratio: Sequence[Step]) -> None:
        """Codes of the queries of a group."""
        straight, turned = queries
        both = [Step("fadd", turned), *ratio, Step("f2i", WHOLE)]
        self.made(f"{group.name}.queries", straight, both, rows=len(group.queries) * self.head_rows, wide=False)

    def scores(self, name: str, layer: QuantisedLayer, group: HeadGroup) -> None:
        """The scores of a group for all positions."""
        rows, each = self.head_rows, self.shape.group
        scores = self.buffer(f"{group.name}.scores", len(group.queries), cols=self.context)
        score = layer.query * layer.key / math.sqrt(self.shape.head_size)
        steps = [Step("i2f", BufferOperand("hidden", row_step=0)), Step("fmul", Immediate.of_float(score))]
        for number, head in enumerate(group.heads):
            terms = [
                Term(
                    BufferOperand(f"{group.name}.queries", first_row=number * each * rows + row, row_step=rows),
                    self.cached(f"{name}.keys{head}.{row}", transposed=True),
                )
                for row in range(rows)
            ]
            self.product(scores, terms, steps, Target(first_row=number * each, rows=each))

    def attention_weights(self, group: HeadGroup) -> BufferOperand:
        """The softmax of the scores of a group, but for the division, of those heads that `averages` begins with;
        and the largest scores."""
        scores = f"{group.name}.scores"
        largest = self.largest_scores(f"{group.name}.", scores, len(group.queries))
        weights = self.buffer(f"{group.name}.weights", len(group.queries), wide=False, cols=self.context)
        self.powers(weights, scores, largest, self.queries_of(self.averaged_at_once(group)[0]))
        return largest

    def averages(self, name: str, group: HeadGroup, largest: BufferOperand) -> None:
        """What the queries of a group attend to: averages of values, whole numbers of `FINER` to one of their units.

        The VXM makes weights of the next heads while values are added up by those of some.
        """
        rows, each, weights = self.head_rows, self.shape.group, f"{group.name}.weights"
        share = self.buffer(f"{group.name}.share", len(group.queries))
        attended = self.buffer(f"{group.name}.attended", len(group.queries) * rows)
        # The tile that norms have, too.
        ones = np.full((self.context, self.lanes), -1, np.int8)
        parts = self.averaged_at_once(group)
        for part, following in itertools.zip_longest(parts, parts[1:]):
            for number in part:
                mine = BufferOperand(weights, first_row=number * each)
                inverse = [Step("i2f", WHOLE), Step("recip"), Step("fmul", Immediate.of_float(-FINER))]
                self.product(share, [Term(mine, (ones,))], inverse, Target(first_row=number * each, rows=each))
            if following:
                self.powers(weights, f"{group.name}.scores", largest, self.queries_of(following))
            for number, row in itertools.product(part, range(rows)):
                mine = BufferOperand(weights, first_row=number * each)
                by_share = Step("fmul", BufferOperand(share, first_row=number * each))
                average = [Step("i2f", WHOLE), by_share, Step("f2i", WHOLE)]
                members = Target(first_row=number * each * rows + row, row_step=rows, rows=each)
                values = self.cached(f"{name}.values{group.heads[number]}.{row}")
                self.product(attended, [Term(mine, values)], average, members)

    def averaged_at_once(self, group: HeadGroup) -> list[range]:
        """Heads of keys and values, counted from the first of the group, in parts whose weights are in the activation
        buffer at once: two products meet them."""
        count = len(group.heads)
        at_once = max(self.config.act_depth // (self.shape.group * self.context // self.lanes), 1)
        return [range(first, min(first + at_once, count)) for first in range(0, count, at_once)]

    def queries_of(self, heads: range) -> range:
        """Heads of queries that belong to heads of keys and values."""
        return range(heads.start * self.shape.group, heads.stop * self.shape.group)

    def output(self, name: str, layer: QuantisedLayer, groups: Sequence[HeadGroup]) -> Addends:
        """The products with the weights behind attention, in two digits."""
        rows, width = self.head_rows, self.head_rows * self.lanes
        weights, scales = padded(self.output_by_heads(layer), self.lanes), layer.o.scales * layer.value
        scaling = [Step("i2f", WHOLE), Step("fmul", BufferOperand(self.digit_scales(f"{name}.o", scales)))]
        both = ""
        for group in groups:
            attended = BufferOperand(f"{group.name}.attended")
            digits = self.as_digits(f"{group.name}.o", attended, len(group.queries) * rows)
            part = weights[group.queries.start * width : group.queries.stop * width]
            steps = [Step("iadd", BufferOperand(both))] if both else []
            steps += scaling if group is groups[-1] else []
            both = self.digit_sums(f"{group.name}.o", digits, part, steps)
        return BufferOperand(both, row_step=2), BufferOperand(both, first_row=1, row_step=2)
