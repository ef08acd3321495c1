# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A block of a prompt as kernels: tokens at consecutive positions, which meet every weight while it is in the array.

What is a row in `openlpu.llm.decode` is as many rows here as there are tokens, and what happens to each is the same,
operation by operation. So the caches hold afterwards what the same tokens would have left there one by one, bit by bit.
Keys and values of all tokens go to the caches first; each token then attends to the positions up to its own.

Nothing but the caches is of use to those who come later. So of the last layer there are only keys and values, and
there are no logits.

A product leaves whole numbers, and they are scaled in a pass of their own: so the rows of its columns come from the
activation buffers and wait for no word of SRAM, which is busy with weights. Where the rows of a vector are too many
for the buffers, sums wait in accumulators; and where columns are too many for those, the product is a sum of several:
float32 adds whole numbers up to 2**24 without an error.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from openlpu.arch.config import GROUP, ChipConfig
from openlpu.compiler.errors import CompileError
from openlpu.compiler.graph import Port
from openlpu.compiler.kernel_writer import patterns
from openlpu.compiler.kernels import (
    BufferOperand,
    Immediate,
    KernelGraph,
    LaneConstants,
    Step,
    Target,
    Term,
    padded,
)
from openlpu.llm.choosing import HIDDEN, largest_sum
from openlpu.llm.decode import Decoding
from openlpu.llm.llama_writer import TABLE, LlamaWriter
from openlpu.llm.quantise import LlamaNorm, QuantisedLayer, QuantisedLlama
from openlpu.llm.token_writer import BYTE, FINER, POSITION, SPLIT, WHOLE

PROMPT = "prompt"
"""The port that takes the tokens of a block, low and high byte of each."""

_EXACT = 1 << 24
"""Up to which every integer is a float."""
_FOR_SCORES = 16
"""The scores of a layer take this part of the SRAM, at most."""


def reading(model: QuantisedLlama, context: int, tokens: int, config: ChipConfig, *, capacity: int = 0) -> Decoding:
    """The kernels of a block of so many tokens, at positions from a multiple of `tokens` below `context` on, over
    states for `capacity` positions, or as many.

    Raises:
        CompileError: when the network does not suit the chip, or the number of tokens.
    """
    reader = _Reader(model, context, tokens, config, capacity)
    graph = reader.graph()
    return Decoding(graph, tuple(reader.parts))


class _Digits(NamedTuple):
    """Rows of whole numbers of 15 bits, from one on: the buffer of their upper bytes, and that of all their bytes."""

    upper: str
    lower: str
    first_row: int


class _Reader(LlamaWriter):
    def __init__(self, model: QuantisedLlama, context: int, tokens: int, config: ChipConfig, capacity: int) -> None:
        super().__init__(model, context, config, capacity=capacity, vectors=tokens)
        if TABLE % tokens or self.lanes % tokens:
            raise CompileError(f"{self.name}: blocks of {tokens} tokens divide not both {TABLE} and {self.lanes} lanes")
        self.tokens = tokens

    def graph(self) -> KernelGraph:
        self.buffer(PROMPT, self.tokens, wide=False)
        self.buffer(POSITION, 1)
        self.index("prompt.index", BufferOperand(PROMPT), self.tokens)
        x = self.embed()
        self.end("embedding")
        self.positions()
        self.end("position")
        *layers, last = self.model.layers
        for number, layer in enumerate(layers):
            x = self.layer(f"layer{number}", layer, x)
        name = f"layer{len(layers)}"
        inputs, ratio = self.normal(f"{name}.attention", last.attention_norm, x)
        self.end(f"{name} attention norm")
        self.project(name, last, inputs, ratio, queries=False)
        inside = (
            (Port(PROMPT, PROMPT, "int8", (self.tokens, 2)), PROMPT),
            (Port(POSITION, POSITION, "float32", (1, self.lanes)), POSITION),
        )
        return self.written(f"{self.name}, {self.tokens} tokens of a prompt of {self.context}", inside, ())

    # Vectors: a block of rows, one a token, for every row of one

    def part(self, name: str, block: int, **how: Any) -> BufferOperand:
        """The same row of all vectors."""
        return BufferOperand(name, first_row=block * self.tokens, **how)

    def only(self, block: int) -> Target:
        """What writes one row of all vectors."""
        return Target(first_row=block * self.tokens, rows=self.tokens)

    def all_rows(self, elements: int) -> int:
        """Rows that vectors of so many elements fill."""
        return self.blocks(elements) * self.tokens

    def summed(self, name: str, parts: Sequence[BufferOperand], codes: npt.NDArray[np.int8]) -> list[str]:
        """The product of rows, one after the other all vectors, with `codes` (elements, outputs): whole numbers, which
        add up to it."""
        wide, lanes = padded(codes, self.lanes), self.lanes
        terms = [Term(view, (wide[i * lanes : (i + 1) * lanes],)) for i, view in enumerate(parts)]
        columns = wide.shape[1] // lanes
        at_once = max(self.config.act_depth // self.tokens, 1)
        if columns * self.tokens <= self.config.acc_depth or largest_sum(codes.T) > _EXACT:
            at_once = len(terms)
        sums = []
        for number, first in enumerate(range(0, len(terms), at_once)):
            sums.append(self.buffer(f"{name}.sums{number}", columns * self.tokens))
            self.product(sums[-1], terms[first : first + at_once], [Step("i2f", WHOLE)], Target(stacked=columns))
        return sums

    def scaled_sums(self, name: str, sums: Sequence[str], elements: int, scale: BufferOperand) -> str:
        """The sum of whole numbers, times a scale for each of so many elements; `scale` has a row for each row of a
        vector."""
        total, *others = sums
        for number, other in enumerate(others):
            adding = [Step("fadd", BufferOperand(other))]
            total = self.made(f"{name}.sum{number}", BufferOperand(total), adding, rows=self.all_rows(elements)).name
        self.buffer(name, self.all_rows(elements))
        for block in range(self.blocks(elements)):
            here = dataclasses.replace(scale, first_row=scale.first_row + block * scale.row_step, row_step=0)
            self.vector(name, self.part(total, block), [Step("fmul", here)], self.only(block))
        return name

    def by_block(self, name: str, source: str, steps: Sequence[Step], elements: int) -> str:
        """`steps` of a buffer, with a row for each vector as the operand of every row of them."""
        self.buffer(name, self.all_rows(elements))
        for block in range(self.blocks(elements)):
            self.vector(name, self.part(source, block), steps, self.only(block))
        return name

    # Parts of the network

    def embed(self) -> str:
        """The hidden vectors of the tokens."""
        embedding, lanes = self.model.embedding, self.lanes
        blocks = self.blocks(self.shape.hidden)
        codes, scale = padded(embedding.codes, lanes), self.per_row("embedded.scale", embedding.scales)
        x = self.buffer("embedded", self.all_rows(self.shape.hidden))
        for block in range(blocks):
            table = self.constant(f"embedding{block}", codes[:, block * lanes : (block + 1) * lanes])
            steps = [Step("i2f", WHOLE), Step("fmul", dataclasses.replace(scale, first_row=block, row_step=0))]
            looked_up = BufferOperand(table, indices="prompt.index")
            if self.model.output is None:
                identity, feeders = (np.eye(lanes, dtype=np.int8),), range(self.config.weight_streams)
                terms = [Term(dataclasses.replace(looked_up, dealt=feeder), identity) for feeder in feeders]
                self.product(x, terms, steps, self.only(block))
            else:
                self.vector(x, looked_up, steps, self.only(block))
        return x

    def positions(self) -> None:
        """Indices, angles and hidden scores of the positions."""
        cols, tokens = self.head_rows * self.lanes, self.tokens
        numbers = np.repeat(np.arange(tokens)[:, np.newaxis], self.lanes, axis=1)
        ahead = BufferOperand(self.constant("position.ahead", patterns(numbers)))
        here = self.made("positions", BufferOperand(POSITION, row_step=0), [Step("fadd", ahead)], rows=tokens)
        self.index("position.index", self.as_index("position.word", here, 0.0, 1.0, tokens), tokens)
        self.table_index("position.high", "position.tables", BufferOperand(POSITION))
        self.angle_tables()
        for name in ("cosine", "sine"):
            # All positions of a block are in one multiple.
            self.made(f"{name}.large", BufferOperand(f"{name}.high", indices="position.high"), [], rows=1, cols=cols)
            small = BufferOperand(f"{name}.low", indices="position.index")
            self.made(f"{name}.small", small, [], rows=tokens, cols=cols)

        def product(large: str, small: str) -> BufferOperand:
            steps = [Step("fmul", BufferOperand(f"{large}.large", row_step=0))]
            return self.made(f"angle.{large}.{small}", BufferOperand(f"{small}.small"), steps, rows=tokens, cols=cols)

        cc, ss = product("cosine", "cosine"), product("sine", "sine")
        self.made("cosine", cc, [Step("fsub", ss)], rows=tokens, cols=cols)
        sc, cs = product("sine", "cosine"), product("cosine", "sine")
        self.made("sine", sc, [Step("fadd", cs)], rows=tokens, cols=cols)
        later = Step("flt", LaneConstants("position.numbers", patterns(np.arange(self.context))))
        self.made("later", dataclasses.replace(here, column=0), [later], rows=tokens, cols=self.context)
        hidden = [Step("and", Immediate(HIDDEN))]
        self.made("hidden", BufferOperand("later"), hidden, rows=tokens, cols=self.context)

    def normal(self, name: str, norm: LlamaNorm, x: str) -> tuple[list[BufferOperand], list[Step]]:
        """Codes of x in front of a norm, one after the other a row of all vectors, and what makes products with them
        those with the norm."""
        rows, blocks, lanes = self.all_rows(self.hidden), self.blocks(self.hidden), self.lanes
        scaled = [Step("fmul", Immediate.of_float(self.norm_scale(norm)))]
        y = self.made(f"{name}.normal", BufferOperand(x), scaled, rows=rows)
        self.squares(name, BufferOperand(x), y, rows)
        lower, halves = (np.full((lanes, lanes), -1, np.int8),), (np.full((lanes, lanes), -BYTE // 2, np.int8),) * 2
        terms = [Term(self.part(f"{name}.lower", block, byte=2), lower) for block in range(self.square_blocks)]
        terms += [Term(self.part(f"{name}.upper", block, byte=3), halves) for block in range(self.square_blocks)]
        factor = self.norms.for_each(self.buffer(f"{name}.factor", self.tokens))
        by = self.norms.codes_unit(name, norm, factor)
        unit = self.norms.factor_unit(name, norm)
        self.product(factor.name, terms, self.norm_steps(norm, self.shape.norm_epsilon, unit))
        self.buffer(f"{name}.input", rows, wide=False)
        for block in range(blocks):
            steps = [Step("fmul", by), Step("f2i", WHOLE)]
            self.vector(f"{name}.input", self.part(x, block), steps, self.only(block))
        codes = [self.part(f"{name}.input", block) for block in range(blocks)]
        return codes, self.norms.ratio(factor)

    def layer(self, name: str, layer: QuantisedLayer, x: str) -> str:
        """The hidden vectors behind a layer."""
        inputs, ratio = self.normal(f"{name}.attention", layer.attention_norm, x)
        self.end(f"{name} attention norm")
        self.project(name, layer, inputs, ratio, queries=True)
        heads, digits = range(self.shape.kv_heads), []
        for first in heads[:: self.heads_at_once]:
            digits += self.attend(name, layer, heads[first : first + self.heads_at_once])
        self.end(f"{name} attention")
        attended = self.digits(f"{name}.o", digits, self.output_by_heads(layer), layer.o.scales * layer.value)
        x = self.plus(f"{name}.middle", x, attended)
        self.end(f"{name} o")
        inputs, ratio = self.normal(f"{name}.ffn", layer.ffn_norm, x)
        self.end(f"{name} ffn norm")
        x = self.plus(f"{name}.end", x, self.feed_forward(name, layer, inputs, ratio))
        self.end(f"{name} down")
        return x

    def plus(self, name: str, x: str, addend: str) -> str:
        """Hidden vectors with what a part of the network adds."""
        adding = [Step("fadd", BufferOperand(addend))]
        return self.made(name, BufferOperand(x), adding, rows=self.all_rows(self.hidden)).name

    def project(
        self, name: str, layer: QuantisedLayer, inputs: Sequence[BufferOperand], ratio: Sequence[Step], *, queries: bool
    ) -> None:
        """Keys and values into their caches, and queries, if they are wanted."""
        rows, kv_heads = self.head_rows, self.shape.kv_heads
        heads = kv_heads + (self.shape.heads if queries else 0)
        codes, scales = self.projections(layer, queries=queries)
        sums, scale = self.summed(f"{name}.qkv", inputs, codes), self.per_row(f"{name}.qkv.scale", scales)
        qkv = self.scaled_sums(f"{name}.qkv", sums, len(scales), scale)
        self.end(f"{name} q, k, v")
        for head, row in itertools.product(range(heads), range(rows)):
            straight, turned = self.turned(f"{name}.{head}.{row}", qkv, heads, head, row)
            both = [Step("fadd", turned), *ratio, Step("f2i", WHOLE)]
            if head < heads - kv_heads:
                self.made(f"{name}.queries{head}.{row}", straight, both, rows=self.tokens, wide=False)
            else:
                self.cache(f"{name}.keys{head - heads + kv_heads}.{row}", straight, both, self.tokens)
        values = heads * rows * (2 if self.turned_by_weights else 1)
        for head, row in itertools.product(range(kv_heads), range(rows)):
            value = self.part(qkv, values + head * rows + row)
            self.cache(f"{name}.values{head}.{row}", value, [*ratio, Step("f2i", WHOLE)], self.tokens)
        self.end(f"{name} rope, caches")

    def turned(self, name: str, qkv: str, heads: int, head: int, row: int) -> tuple[BufferOperand, BufferOperand]:
        """Two addends of a row of a head: itself times cosines, and its halves, changed over, times sines."""
        rows, mine = self.head_rows, self.part(qkv, head * self.head_rows + row)
        if self.turned_by_weights:
            other = self.part(qkv, (heads + head) * rows + row)
        elif rows == 1:
            other = dataclasses.replace(mine, rotate=self.lanes // 2)
        else:
            other = self.part(qkv, head * rows + (row + rows // 2) % rows)
        cosine, sine = ([Step("fmul", BufferOperand(angle, column=row))] for angle in ("cosine", "sine"))
        return (
            self.made(f"{name}.straight", mine, cosine, rows=self.tokens),
            self.made(f"{name}.turned", other, sine, rows=self.tokens),
        )

    def attend(self, name: str, layer: QuantisedLayer, heads: range) -> list[_Digits]:
        """Averages of some heads of values, by each head of queries that they are for: those of a head, row by row."""
        rows, group, tokens = self.head_rows, self.shape.group, self.tokens
        members = [(head, head * group + member) for head in heads for member in range(group)]
        name, count = f"{name}.heads{heads.start}", len(members) * tokens
        layer_name = name.rpartition(".")[0]
        score = layer.query * layer.key / math.sqrt(self.shape.head_size)
        steps = [Step("i2f", BufferOperand("hidden")), Step("fmul", Immediate.of_float(score))]
        scores = self.buffer(f"{name}.scores", count, cols=self.context)
        for number, (head, query) in enumerate(members):
            terms = [
                Term(
                    BufferOperand(f"{layer_name}.queries{query}.{row}"),
                    self.cached(f"{layer_name}.keys{head}.{row}", transposed=True),
                )
                for row in range(rows)
            ]
            self.product(scores, terms, steps, self.only(number))
        weights = self.softmax(f"{name}.", scores, count)
        share = self.buffer(f"{name}.share", count)
        ones = np.full((self.context, self.lanes), -1, np.int8)
        steps = [Step("i2f", WHOLE), Step("recip"), Step("fmul", Immediate.of_float(-FINER))]
        self.product(share, [Term(BufferOperand(weights), (ones,))], steps)
        averages = [self.buffer(f"{name}.attended{row}", count) for row in range(rows)]
        mine = group * tokens
        for number, head in enumerate(heads):
            weighted, first = BufferOperand(weights, first_row=number * mine), Target(number * mine, rows=mine)
            steps = [
                Step("i2f", WHOLE),
                Step("fmul", BufferOperand(share, first_row=number * mine)),
                Step("f2i", WHOLE),
            ]
            for row, average in enumerate(averages):
                values = self.cached(f"{layer_name}.values{head}.{row}")
                self.product(average, [Term(weighted, values)], steps, first)
        uppers = [self.upper(average, count) for average in averages]
        return [
            _Digits(upper, average, number * tokens)
            for number in range(len(members))
            for upper, average in zip(uppers, averages, strict=True)
        ]

    @property
    def heads_at_once(self) -> int:
        """Heads of keys and values whose scores are in SRAM at a time."""
        words = self.shape.group * self.tokens * self.context // self.lanes * GROUP
        room = self.config.hemispheres * self.config.mem_slices * self.config.mem_words // _FOR_SCORES
        return min(max(room // words, 1), self.shape.kv_heads)

    def feed_forward(
        self, name: str, layer: QuantisedLayer, inputs: Sequence[BufferOperand], ratio: Sequence[Step]
    ) -> str:
        """What the feed-forward part of a layer adds."""
        scale, rows = self.norms.scale(layer.ffn_norm), self.all_rows(self.shape.ffn)
        # silu(g) = (1 + tanh(g / 2)) * g / 2
        gates = self.summed(f"{name}.gate", inputs, layer.gate.codes.T)
        ups = self.summed(f"{name}.up", inputs, layer.up.codes.T)
        by_gate = self.per_row(f"{name}.gate.scale", layer.gate.scales * np.float32(scale / 2))
        by_up = self.per_row(f"{name}.up.scale", layer.up.scales * np.float32(scale / layer.ffn_product * FINER))
        gate = BufferOperand(self.scaled_sums(f"{name}.gate", gates, self.shape.ffn, by_gate))
        up = BufferOperand(self.scaled_sums(f"{name}.up", ups, self.shape.ffn, by_up))
        one_more, whole = Step("fadd", Immediate.of_float(1.0)), Step("f2i", WHOLE)
        if ratio:
            half = self.by_block(f"{name}.half", gate.name, ratio, self.shape.ffn)
            tanh = self.made(f"{name}.tanh", BufferOperand(half), [Step("tanh")], rows=rows)
            silu = self.made(f"{name}.silu", tanh, [one_more, Step("fmul", BufferOperand(half))], rows=rows)
            factor = BufferOperand(self.by_block(f"{name}.silu.ratio", silu.name, ratio, self.shape.ffn))
            numbers = self.made(f"{name}.product", up, [Step("fmul", factor), whole], rows=rows).name
        else:
            tanh = self.made(f"{name}.tanh", gate, [Step("tanh")], rows=rows)
            both = self.made(f"{name}.both", gate, [Step("fmul", up)], rows=rows)
            numbers = self.made(f"{name}.product", tanh, [one_more, Step("fmul", both), whole], rows=rows).name
        self.end(f"{name} gate, up, silu")
        upper = self.upper(numbers, rows)
        digits = [_Digits(upper, numbers, block * self.tokens) for block in range(self.blocks(self.shape.ffn))]
        return self.digits(f"{name}.down", digits, layer.down.codes.T, layer.down.scales * layer.ffn_product)

    # Numbers of two digits

    def upper(self, numbers: str, rows: int) -> str:
        """The upper bytes of whole numbers; the lower ones are theirs."""
        steps = [Step("i2f", WHOLE), Step("fmul", Immediate.of_float(SPLIT)), Step("f2i", WHOLE)]
        return self.made(f"{numbers}.upper", BufferOperand(numbers), steps, rows=rows, wide=False).name

    def digits(
        self, name: str, digits: Sequence[_Digits], codes: npt.NDArray[np.int8], scales: npt.NDArray[np.floating[Any]]
    ) -> str:
        """The product of whole numbers, `FINER` of them to 1: of their upper bytes, and of their lower ones."""
        uppers = [BufferOperand(digit.upper, digit.first_row) for digit in digits]
        lowers = [BufferOperand(digit.lower, digit.first_row, byte=0) for digit in digits]
        by_digit = [
            self.summed(f"{name}.{what}", parts, codes) for what, parts in (("upper", uppers), ("lower", lowers))
        ]
        scale = BufferOperand(self.digit_scales(name, scales), row_step=2)
        upper = self.scaled_sums(f"{name}.upper", by_digit[0], len(scales), scale)
        lower = self.scaled_sums(f"{name}.lower", by_digit[1], len(scales), dataclasses.replace(scale, first_row=1))
        adding = [Step("fadd", BufferOperand(lower))]
        return self.made(name, BufferOperand(upper), adding, rows=self.all_rows(len(scales))).name
