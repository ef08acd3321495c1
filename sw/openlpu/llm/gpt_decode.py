# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""One token of a small GPT as kernels, with as few steps from a token to the next one as the network lets.

A vector is a matrix of `lanes` columns, as in `openlpu.llm.decode`. Several heads share a row of keys and of values; a
row of queries belongs to one head, and is 0 where others are.

What a norm divides by is the same for all elements, and so a product need not wait for it. Queries, keys and values
are products of codes of the embedding as it is, and meet the norm's factor behind the array. The next one passes relu,
and meets only what the second product of the feed-forward part leaves. A normalised vector is not changed by the
norm that follows, but for epsilon; so there is one in front of attention, not two.

The hidden vector is nowhere on the way. It is a sum, and products with it are sums of products with its parts, which
are bytes of one scale. Of logits those that are known in time are made in time, and meet the others as these leave the
array.

A byte that is -128 where a sum is negative, and 128 less than it elsewhere, is relu: saturation does it, on the way out
of the VXM. What the product behind it lacks is a constant for each output.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from openlpu.arch.config import ChipConfig
from openlpu.compiler.errors import CompileError
from openlpu.compiler.graph import INT8_MAX, Int8Array, Port
from openlpu.compiler.kernels import (
    BufferOperand,
    Factor,
    Immediate,
    KernelGraph,
    LaneConstants,
    Step,
    Target,
    Term,
    padded,
)
from openlpu.llm.choosing import HIDDEN, choose_byte, largest_sum
from openlpu.llm.decode import Decoding
from openlpu.llm.gpt import QuantisedGpt
from openlpu.llm.quantise import QuantisedNorm
from openlpu.llm.token_writer import BYTE, POSITION, TOKEN, WHOLE, TokenWriter

_HALF = BYTE // 2


def gpt_decoding(model: QuantisedGpt, config: ChipConfig) -> Decoding:
    """The kernels of one token, at any position.

    Raises:
        CompileError: when the network does not suit the chip.
    """
    decoder = _GptDecoder(model, config)
    graph = decoder.graph()
    return Decoding(graph, tuple(decoder.parts))


def gpt_inputs(token: int, position: int) -> dict[str, npt.NDArray[np.int32]]:
    """What a run begins with, by port."""
    return {TOKEN: np.array([divmod(token, BYTE)[::-1]], np.int32), POSITION: np.array([[position, 0]], np.int32)}


def chosen(row: npt.NDArray[np.generic]) -> int:
    """The token in a row of the history."""
    return int(row[0]) % BYTE


class _GptDecoder(TokenWriter):
    def __init__(self, model: QuantisedGpt, config: ChipConfig) -> None:
        shape = model.shape
        super().__init__(f"gpt {shape.hidden} x {shape.ffn}", shape.hidden, shape.vocabulary, shape.context, config)
        self.model, self.shape = model, shape
        what = ""
        if shape.head_size > self.lanes:
            what = f"heads are at most {self.lanes} wide, as the lanes of config '{config.name}', not {shape.head_size}"
        elif max(shape.vocabulary, shape.context) > BYTE:
            what = f"an index has one byte, and there are {shape.vocabulary} tokens and {shape.context} positions"
        if what:
            raise CompileError(f"{self.name}: {what}")
        self.together = self.lanes // shape.head_size
        """Heads in a row."""
        self.head_rows = -(-shape.heads // self.together)

    def graph(self) -> KernelGraph:
        self.begin()
        self.embed()
        self.end("embedding")
        attended = self.attention()
        self.output_of_attention(attended)
        self.feed_forward()
        output = padded(np.ascontiguousarray(-self.model.output.codes.T), self.lanes)
        known = [*self.terms("residual", output), *self.terms("o", output)]
        largest = 2 * largest_sum(self.model.output.codes)
        choose_byte(self, self.terms("down", output), known, largest, self.model.output.scale * self.model.hidden)
        return self.token(Port(POSITION, POSITION, "int32", (1, 2)), 1)

    def terms(self, name: str, codes: npt.NDArray[np.int8]) -> list[Term]:
        """The rows of a buffer, one after the other a vector, times weights (elements, outputs) in whole tiles."""
        views = self.rows(name, len(codes) // self.lanes)
        return [Term(view, (codes[i * self.lanes : (i + 1) * self.lanes],)) for i, view in enumerate(views)]

    @property
    def first_norm(self) -> QuantisedNorm:
        """Of codes of embeddings; what it puts out makes codes of heads of their products."""
        return QuantisedNorm(1 / self.model.head, INT8_MAX)

    def to_codes(self, norm: QuantisedNorm) -> Immediate:
        """From 1 / root of a sum of squares to 1 / rms in units of a norm's output."""
        return Immediate.of_float(self.root_unit(norm) / norm.output)

    def embed(self) -> None:
        """The sum of both embeddings as codes, `embedded`, what the norm sums of it, and all that the position says."""
        model, lanes, blocks = self.model, self.lanes, self.blocks(self.hidden)
        self.index("token.index", BufferOperand(TOKEN, byte=0))
        # Copies are written one after the other, and caches need theirs later than tables do.
        self.index("table.index", BufferOperand(POSITION, byte=0))
        self.index("position.index", BufferOperand(POSITION, byte=0))
        self.buffer("embedded.normal", blocks)
        self.buffer("embedded", blocks, wide=False)
        tokens, positions = padded(model.token, lanes), padded(model.position, lanes).astype(np.int32)
        views = []
        for block in range(blocks):
            part = slice(block * lanes, (block + 1) * lanes)
            table = self.constant(f"tokens{block}", tokens[: self.vocabulary, part])
            place = self.constant(f"positions{block}", positions[: self.context, part])
            there = Step("i2f", BufferOperand(place, indices="table.index"))
            views.append((BufferOperand(table, indices="token.index"), there, Target(first_row=block, rows=1)))
        self.buffer("embedded.hidden", blocks)
        # What the residual stream is made of, in a unit that the norm's factor turns into codes.
        unit = model.head * model.hidden
        for token, there, target in views:
            self.vector("embedded.hidden", token, [there, Step("fmul", Immediate.of_float(1 / unit))], target)
        for token, there, target in views:
            scale = Immediate.of_float(self.norm_scale(self.first_norm) * unit)
            self.vector("embedded.normal", token, [there, Step("fmul", scale)], target)
        for token, there, target in views:
            self.vector("embedded", token, [there, Step("f2i", WHOLE)], target)
        self.squares("embedded", BufferOperand("embedded.hidden"), BufferOperand("embedded.normal"))
        ahead = np.tri(self.context, k=0) == 0
        self.constant("ahead", np.where(ahead, HIDDEN, 0).astype(np.int32))
        self.made("hidden", BufferOperand("ahead", indices="table.index"), [], rows=1, cols=self.context)
        step = np.zeros(self.lanes, np.int32)
        step[0] = 1
        self.vector(POSITION, BufferOperand(POSITION), [Step("i2f", LaneConstants("next", step)), Step("f2i", WHOLE)])

    def by_heads(self, codes: Int8Array) -> npt.NDArray[np.int8]:
        """Weights (inputs, outputs) whose outputs are rows of several heads."""
        heads, size = self.shape.heads, self.shape.head_size
        rows = np.zeros((self.blocks(self.hidden) * self.lanes, self.head_rows, self.lanes), np.int8)
        for head in range(heads):
            row, lane = divmod(head, self.together)
            part = codes[head * size : (head + 1) * size]
            rows[: self.hidden, row, lane * size : (lane + 1) * size] = part.T
        return rows.reshape(len(rows), -1)

    def by_head(self, codes: Int8Array) -> npt.NDArray[np.int8]:
        """The same, a row for each head: 0 where others of its row are."""
        rows = self.by_heads(codes).reshape(-1, self.head_rows, self.lanes)
        alone = np.zeros((len(rows), self.shape.heads, self.lanes), np.int8)
        size = self.shape.head_size
        for head in range(self.shape.heads):
            row, lane = divmod(head, self.together)
            mine = slice(lane * size, (lane + 1) * size)
            alone[:, head, mine] = rows[:, row, mine]
        return alone.reshape(len(rows), -1)

    def sums(self, name: str, codes: npt.NDArray[np.int8]) -> BufferOperand:
        """Products of the embedding with weights, as integers."""
        self.product(
            self.buffer(name, codes.shape[1] // self.lanes),
            self.terms("embedded", codes),
            [],
            Target(stacked=codes.shape[1] // self.lanes),
        )
        return BufferOperand(name)

    def attention(self) -> BufferOperand:
        """The averages of values, a row for each head, as codes of values."""
        model, heads, rows = self.model, self.shape.heads, self.head_rows
        epsilon = self.shape.norm_epsilon / model.embedding**2
        factor = self.norm_factor("embedded", self.first_norm, epsilon, self.to_codes(self.first_norm))
        self.end("norm")
        keys = self.sums("keys.sums", self.by_heads(model.k.codes))
        queries = self.sums("queries.sums", self.by_head(model.q.codes))
        by_factor = [Step("i2f", WHOLE), Step("fmul", factor), Step("f2i", WHOLE)]
        for row in range(rows):
            self.cache(f"keys{row}", dataclasses.replace(keys, first_row=row), by_factor)
        self.made("queries", queries, by_factor, rows=heads, wide=False)
        self.end("q, k, v")
        score = model.q.scale * model.k.scale / model.head**2 / math.sqrt(self.shape.head_size)
        steps = [Step("i2f", BufferOperand("hidden", row_step=0)), Step("fmul", Immediate.of_float(score))]
        scores = self.buffer("scores", heads, cols=self.context)
        mine = []
        for row in range(rows):
            first = row * self.together
            members = Target(first_row=first, rows=min(self.together, heads - first))
            query = BufferOperand("queries", first_row=first)
            self.product(scores, [Term(query, Factor(f"keys{row}", transposed=True))], steps, members)
            mine.append((BufferOperand("weights", first_row=first), members))
        self.end("scores")
        self.softmax("", scores, heads)
        self.end("softmax")
        # What nothing waits for yet comes here, since what comes first has the first choice of cycles.
        values = self.sums("values.sums", self.by_heads(model.v.codes))
        for row in range(rows):
            self.cache(f"values{row}", dataclasses.replace(values, first_row=row), by_factor)
        self.before_attention(factor)
        share, attended = self.buffer("share", heads), self.buffer("attended", heads, wide=False)
        ones = np.ones((self.context, self.lanes), np.int8)
        for view, members in mine:
            self.product(share, [Term(view, (ones,))], [Step("i2f", WHOLE), Step("recip")], members)
        for row, (view, members) in enumerate(mine):
            by_share = Step("fmul", BufferOperand(share, first_row=view.first_row))
            average = [Step("i2f", WHOLE), by_share, Step("f2i", WHOLE)]
            self.product(attended, [Term(view, Factor(f"values{row}"))], average, members)
        self.end("values")
        return BufferOperand(attended)

    def before_attention(self, factor: BufferOperand) -> None:
        """The hidden vector in front of attention, as codes."""
        before, steps = BufferOperand("embedded.hidden"), [Step("fmul", factor), Step("f2i", WHOLE)]
        self.made("residual", before, steps, rows=self.blocks(self.hidden), wide=False)
        self.made("residual.word", before, steps, rows=self.blocks(self.hidden))
        self.end("residual")

    def output_of_attention(self, attended: BufferOperand) -> None:
        """What attention adds to the hidden vector, as codes: `o`."""
        model, heads, size = self.model, self.shape.heads, self.shape.head_size
        by_row = np.zeros((heads, self.lanes, self.hidden), np.int8)
        for head in range(heads):
            lane = head % self.together * size
            by_row[head, lane : lane + size] = model.o.codes.T[head * size : (head + 1) * size]
        whole, blocks = padded(by_row.reshape(-1, self.hidden), self.lanes), self.blocks(self.hidden)
        scale = model.o.scale * model.v.scale / (model.head * model.hidden)
        steps = [Step("i2f", WHOLE), Step("fmul", Immediate.of_float(scale)), Step("f2i", WHOLE)]
        terms = self.terms(attended.name, whole)
        self.product(self.buffer("o", blocks, wide=False), terms, steps, Target(stacked=blocks))
        self.end("o")

    def feed_forward(self) -> None:
        """What the feed-forward part adds, as codes: `down`."""
        model, blocks, columns = self.model, self.blocks(self.hidden), self.blocks(self.shape.ffn)
        unit = model.hidden**2 / (model.down.scale * model.hinge)
        norm = QuantisedNorm(unit, model.largest_middle / model.hidden)
        steps = [
            Step("i2f", WHOLE),
            Step("fmul", Immediate.of_float(model.up.scale * model.hidden / model.hinge)),
            Step("f2i", Immediate(-_HALF)),
        ]
        codes = padded(np.ascontiguousarray(model.up.codes.T), self.lanes)
        terms = [*self.terms("residual", codes), *self.terms("o", codes)]
        self.product(self.buffer("hinge", columns, wide=False), terms, steps, Target(stacked=columns))
        word = Step("i2f", BufferOperand("residual.word"))
        normal = self.made(
            "middle.normal",
            BufferOperand("o"),
            [word, Step("fmul", Immediate.of_float(self.norm_scale(norm)))],
            rows=blocks,
        )
        self.squares("middle", self.made("middle", BufferOperand("o"), [word], rows=blocks), normal)
        self.end("up, relu")
        factor = self.norm_factor("middle", norm, self.shape.norm_epsilon / model.hidden**2, self.to_codes(norm))
        lacking = np.zeros(blocks * self.lanes, np.int32)
        lacking[: self.hidden] = _HALF * model.down.codes.astype(np.int32).sum(axis=1)
        lacks = BufferOperand(self.constant("lacking", lacking.reshape(blocks, -1)))
        codes = padded(np.ascontiguousarray(model.down.codes.T), self.lanes)
        steps = [Step("i2f", lacks), Step("fmul", factor), Step("f2i", WHOLE)]
        terms = self.terms("hinge", codes)
        self.product(self.buffer("down", blocks, wide=False), terms, steps, Target(stacked=blocks))
        self.end("down")
