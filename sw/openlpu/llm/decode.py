# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""One token of a Llama as kernels: what the chip runs again and again, its state in SRAM.

A vector of the network is a matrix of `lanes` columns: element e stands in row e div lanes, lane e mod lanes, and a
head has rows of its own, as many as it fills. Products stack their columns into such rows. A run of the kernels

1. looks up the embedding of the token, and cosines and sines of its position;
2. for every layer puts keys and values of the position into the caches, which lie as weights lie, and attends to all
   positions up to this one: the others get so large a negative score that their weight is 0;
3. finds the largest logit, the first of equals, and leaves its token and the next position where the next run finds
   them, and the token in the history.

How often the caches have been filled makes no difference to the time: a run is as long as its `context` asks for.

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

from openlpu.arch.config import ChipConfig
from openlpu.compiler.graph import Port
from openlpu.compiler.kernel_writer import patterns
from openlpu.compiler.kernels import (
    BufferOperand,
    Factor,
    Immediate,
    KernelGraph,
    LaneConstants,
    Operand,
    Step,
    Target,
    Term,
    padded,
)
from openlpu.llm.choosing import HIDDEN, Keys, choose, choose_by_key, largest_sum
from openlpu.llm.llama_writer import LlamaWriter
from openlpu.llm.quantise import QuantisedLayer, QuantisedLlama, QuantisedNorm
from openlpu.llm.token_writer import FINER, LOGITS, POSITION, TOKEN, WHOLE

BEFORE, BEHIND = "before", "behind"
"""Ports of a layer alone: the hidden vector in front of it, and behind it."""


@dataclass(frozen=True)
class Decoding:
    """One token as kernels, and what each of them is part of."""

    kernels: KernelGraph
    parts: tuple[str, ...]


def decoding(model: QuantisedLlama, context: int, config: ChipConfig, *, capacity: int = 0) -> Decoding:
    """The kernels of one token, for positions 0 to `context` - 1, over states for `capacity` positions, or as many.

    Raises:
        CompileError: when the network does not suit the chip.
    """
    decoder = _Decoder(model, context, config, capacity=capacity)
    graph = decoder.graph()
    return Decoding(graph, tuple(decoder.parts))


def layer_decoding(model: QuantisedLlama, context: int, config: ChipConfig) -> Decoding:
    """The kernels of one token in the first layer alone: from a hidden vector in front of it, and a position, to the
    one behind it. The caches are states.

    Raises:
        CompileError: when the network does not suit the chip.
    """
    decoder = _Decoder(model, context, config)
    graph = decoder.layer_graph()
    return Decoding(graph, tuple(decoder.parts))


def output_decoding(model: QuantisedLlama, context: int, config: ChipConfig) -> Decoding:
    """The kernels of what is behind the last layer alone: from the hidden vector to the logits and the next token.

    Raises:
        CompileError: when the network does not suit the chip.
    """
    decoder = _Decoder(model, context, config)
    graph = decoder.output_graph()
    return Decoding(graph, tuple(decoder.parts))


class _Decoder(LlamaWriter):
    def graph(self) -> KernelGraph:
        self.begin()
        self.index("token.index", BufferOperand(TOKEN, byte=0))
        x, y = self.embed(self.model.layers[0].attention_norm)
        self.end("embedding")
        self.positions()
        self.end("position")
        norms = [layer.attention_norm for layer in self.model.layers[1:]] + [self.model.final_norm]
        for number, (layer, next_norm) in enumerate(zip(self.model.layers, norms, strict=True)):
            name = f"layer{number}"
            x, y = self.layer(name, layer, x, self.attention_inputs(name, layer, x, y), next_norm)
        self.vector(POSITION, BufferOperand(POSITION), [Step("fadd", Immediate.of_float(1.0))])
        self.choose(x, y)
        return self.token(Port(POSITION, POSITION, "float32", (1, self.lanes)), 2)

    def layer_graph(self) -> KernelGraph:
        """The first layer alone, for the norm of the last."""
        layer, blocks = self.model.layers[0], self.blocks(self.shape.hidden)
        self.buffer(BEFORE, blocks)
        self.buffer(POSITION, 1)
        x, y = self.with_normal(BEFORE, layer.attention_norm)
        self.end("hidden vector")
        inputs = self.attention_inputs("layer", layer, x, y)
        self.positions()
        self.end("position")
        x, _ = self.layer("layer", layer, x, inputs, self.model.final_norm)
        inside = (
            (Port(BEFORE, BEFORE, "float32", (blocks, self.lanes)), BEFORE),
            (Port(POSITION, POSITION, "float32", (1, self.lanes)), POSITION),
        )
        outside = ((Port(BEHIND, x.name, "float32", (blocks, self.lanes)), x),)
        return self.written(f"{self.model.name}, a layer of {self.context}", inside, outside)

    def output_graph(self) -> KernelGraph:
        """What is behind the last layer."""
        self.begin()
        blocks = self.blocks(self.shape.hidden)
        x, y = self.with_normal(self.buffer(BEFORE, blocks), self.model.final_norm)
        self.index("position.index", self.as_index("position.word", BufferOperand(POSITION), 0.0, 1.0))
        self.end("hidden vector")
        self.choose(x, y)
        hidden = Port(BEFORE, BEFORE, "float32", (blocks, self.lanes))
        return self.token(Port(POSITION, POSITION, "float32", (1, self.lanes)), 2, (hidden, BEFORE))

    # Parts of the network

    def attention_inputs(
        self, name: str, layer: QuantisedLayer, x: BufferOperand, y: BufferOperand
    ) -> list[BufferOperand]:
        """What queries, keys and values are products of."""
        inputs = self.normalised(f"{name}.attention", layer.attention_norm, self.shape.norm_epsilon, x, y, x)
        self.end(f"{name} attention norm")
        return inputs

    def layer(
        self,
        name: str,
        layer: QuantisedLayer,
        x: BufferOperand,
        inputs: Sequence[BufferOperand],
        next_norm: QuantisedNorm,
    ) -> tuple[BufferOperand, BufferOperand]:
        """The hidden vector behind a layer, and the same for the norm that follows; `inputs` are those of attention."""
        attended = self.attention(name, layer, inputs)
        x, y = self.add(f"{name}.middle", x, attended, layer.ffn_norm)
        self.end(f"{name} o")
        x, y = self.add(f"{name}.end", x, self.feed_forward(name, layer, x, y), next_norm)
        self.end(f"{name} down")
        return x, y

    def positions(self) -> None:
        """Indices, angles and hidden scores of the position."""
        cols = self.head_rows * self.lanes
        here = BufferOperand(POSITION)
        self.index("position.index", self.as_index("position.word", here, 0.0, 1.0))
        self.table_index("position.high", "position.tables", here)
        self.angle_tables()

        def angle(name: str) -> BufferOperand:
            index = "position.high" if name.endswith("high") else "position.index"
            return BufferOperand(name, indices=index, row_step=0)

        def product(name: str, a: str, b: str) -> BufferOperand:
            low = self.made(f"{name}.low", angle(b), [], rows=1, cols=cols)
            return self.made(name, angle(a), [Step("fmul", low)], rows=1, cols=cols)

        # The angle of the position is the sum of a large and a small one.
        cc, ss = product("angle.cc", "cosine.high", "cosine.low"), product("angle.ss", "sine.high", "sine.low")
        sc, cs = product("angle.sc", "sine.high", "cosine.low"), product("angle.cs", "cosine.high", "sine.low")
        self.made("cosine", cc, [Step("fsub", ss)], rows=1, cols=cols)
        self.made("sine", sc, [Step("fadd", cs)], rows=1, cols=cols)
        later = Step("flt", LaneConstants("position.numbers", patterns(np.arange(self.context))))
        self.buffer("later", 1, cols=self.context)
        self.vector("later", BufferOperand(POSITION, column=0), [later])
        self.buffer("hidden", 1, cols=self.context)
        self.vector("hidden", BufferOperand("later"), [Step("and", Immediate(HIDDEN))])

    def embed(self, norm: QuantisedNorm) -> tuple[BufferOperand, BufferOperand]:
        """The hidden vector of the token, and the same for the norm that follows."""
        embedding, lanes = self.model.embedding, self.lanes
        blocks = self.blocks(self.shape.hidden)
        codes, scale = padded(embedding.codes, lanes), self.per_row("embedded.scale", embedding.scales)
        x = self.buffer("embedded", blocks)
        for block in range(blocks):
            table = self.constant(f"embedding{block}", codes[:, block * lanes : (block + 1) * lanes])
            steps = [Step("i2f", WHOLE), Step("fmul", dataclasses.replace(scale, first_row=block))]
            target = Target(first_row=block, rows=1)
            if self.model.output is None:
                # Every feeder sends what it has of the row; all but one send zeros.
                identity, feeders = (np.eye(lanes, dtype=np.int8),), range(self.config.weight_streams)
                parts = (BufferOperand(table, indices="token.index", dealt=feeder) for feeder in feeders)
                self.product(x, [Term(part, identity) for part in parts], steps, target)
            else:
                self.vector(x, BufferOperand(table, indices="token.index"), steps, target)
        return self.with_normal(x, norm)

    def with_normal(self, x: str, norm: QuantisedNorm) -> tuple[BufferOperand, BufferOperand]:
        """A hidden vector, and the same for the norm that follows."""
        scaled = [Step("fmul", Immediate.of_float(self.norm_scale(norm)))]
        blocks = self.blocks(self.shape.hidden)
        return BufferOperand(x), self.made(f"{x}.normal", BufferOperand(x), scaled, rows=blocks)

    def attention(self, name: str, layer: QuantisedLayer, inputs: Sequence[BufferOperand]) -> BufferOperand:
        shape, lanes, size, rows = self.shape, self.lanes, self.shape.head_size, self.head_rows
        heads, kv_heads, group = shape.heads, shape.kv_heads, shape.group
        codes, scales = self.projections(layer)
        steps = [Step("i2f", WHOLE), Step("fmul", self.per_row(f"{name}.qkv.scale", scales))]
        qkv = self.stacked(f"{name}.qkv", inputs, padded(codes, lanes), steps).name
        self.end(f"{name} q, k, v")
        values = (heads + kv_heads) * rows * (2 if self.turned_by_weights else 1)
        straight, turned = self.rope(name, qkv, heads + kv_heads)
        for head, row in itertools.product(range(kv_heads), range(rows)):
            first = (heads + head) * rows + row
            both = [Step("fadd", BufferOperand(turned, first_row=first)), Step("f2i", WHOLE)]
            self.cache(f"{name}.keys{head}.{row}", BufferOperand(straight, first_row=first), both)
        both = [Step("fadd", BufferOperand(turned)), Step("f2i", WHOLE)]
        self.made(f"{name}.queries", BufferOperand(straight), both, rows=heads * rows, wide=False)
        self.end(f"{name} rope, key cache")
        score = layer.query * layer.key / math.sqrt(size)
        scores = self.buffer(f"{name}.scores", heads, cols=self.context)
        steps = [Step("i2f", BufferOperand("hidden", row_step=0)), Step("fmul", Immediate.of_float(score))]
        for head in range(kv_heads):
            terms = [
                Term(
                    BufferOperand(f"{name}.queries", first_row=head * group * rows + row, row_step=rows),
                    self.cached(f"{name}.keys{head}.{row}", transposed=True),
                )
                for row in range(rows)
            ]
            self.product(scores, terms, steps, Target(first_row=head * group, rows=group))
        # Values are needed last, and what comes first has the first choice of cycles.
        for head, row in itertools.product(range(kv_heads), range(rows)):
            source = BufferOperand(qkv, first_row=values + head * rows + row)
            self.cache(f"{name}.values{head}.{row}", source, [Step("f2i", WHOLE)])
        self.end(f"{name} scores, value cache")
        weights = self.softmax(f"{name}.", scores, heads)
        self.end(f"{name} softmax")
        self.buffer(f"{name}.share", heads)
        attended = self.buffer(f"{name}.attended", heads * rows)
        # The tile that norms have, too.
        ones = np.full((self.context, lanes), -1, np.int8)
        # Weights of so many heads are in the activation buffer at once, for both products with them.
        at_once = max(self.config.act_depth // (group * self.context // lanes), 1)
        for first in range(0, kv_heads, at_once):
            chosen = range(first, min(first + at_once, kv_heads))
            for head in chosen:
                members = Target(first_row=head * group, rows=group)
                mine = BufferOperand(weights, first_row=head * group)
                share = [Step("i2f", WHOLE), Step("recip"), Step("fmul", Immediate.of_float(-FINER))]
                self.product(f"{name}.share", [Term(mine, (ones,))], share, members)
            for head, row in itertools.product(chosen, range(rows)):
                members = Target(first_row=head * group * rows + row, row_step=rows, rows=group)
                mine = BufferOperand(weights, first_row=head * group)
                by_share = Step("fmul", BufferOperand(f"{name}.share", first_row=head * group))
                average = [Step("i2f", WHOLE), by_share, Step("f2i", WHOLE)]
                self.product(attended, [Term(mine, self.cached(f"{name}.values{head}.{row}"))], average, members)
        self.end(f"{name} values")
        by_row, by_output = self.output_by_heads(layer), layer.o.scales * layer.value
        return self.two_digits(f"{name}.o", BufferOperand(attended), heads * rows, by_row, by_output)

    def rope(self, name: str, source: str, count: int) -> tuple[str, str]:
        """Two addends for each of `count` heads: its rows times cosines, and its halves, changed over, times sines."""
        rows = self.head_rows
        straight, turned = (self.buffer(f"{name}.{what}", count * rows) for what in ("straight", "turned"))
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
        return straight, turned

    def feed_forward(self, name: str, layer: QuantisedLayer, x: BufferOperand, y: BufferOperand) -> BufferOperand:
        inputs = self.normalised(f"{name}.ffn", layer.ffn_norm, self.shape.norm_epsilon, x, y, x)
        self.end(f"{name} ffn norm")
        scale, blocks = layer.ffn_norm.output, self.blocks(self.shape.ffn)
        # silu(g) = (1 + tanh(g / 2)) * g / 2
        gate = self.scaled(f"{name}.gate", inputs, layer.gate.codes.T, layer.gate.scales * np.float32(scale / 2))
        factor = np.float32(scale / layer.ffn_product * FINER)
        up = self.scaled(f"{name}.up", inputs, layer.up.codes.T, layer.up.scales * factor)
        tanh = self.made(f"{name}.tanh", gate, [Step("tanh")], rows=blocks)
        both = self.made(f"{name}.both", gate, [Step("fmul", up)], rows=blocks)
        steps = [Step("fadd", Immediate.of_float(1.0)), Step("fmul", both), Step("f2i", WHOLE)]
        product = self.made(f"{name}.product", tanh, steps, rows=blocks)
        self.end(f"{name} gate, up, silu")
        return self.two_digits(
            f"{name}.down", product, blocks, layer.down.codes.T, layer.down.scales * layer.ffn_product
        )

    def choose(self, x: BufferOperand, y: BufferOperand) -> None:
        """The logits, and the next token."""
        model, vocabulary, rows = self.model, self.shape.vocabulary, self.blocks(self.shape.vocabulary)
        gained = x
        if model.output is None:
            by_gains = [Step("fmul", self.per_row("final.gains", model.final_gains))]
            gained = self.made("final.gained", x, by_gains, rows=self.blocks(self.shape.hidden))
        inputs = self.normalised("final", model.final_norm, self.shape.norm_epsilon, x, y, gained)
        self.end("final norm")
        if model.output is None:
            terms = [Term(view, Factor(f"embedding{i}", transposed=True)) for i, view in enumerate(inputs)]
            keys = Keys(vocabulary, largest_sum(model.embedding.codes))
            if keys.fit:
                choose_by_key(self, terms, keys, model.final_norm.output)
                return
            scale: Operand = Immediate.of_float(model.final_norm.output)
        else:
            codes = padded(model.output.codes.T, self.lanes)
            terms = [Term(view, (codes[i * self.lanes : (i + 1) * self.lanes],)) for i, view in enumerate(inputs)]
            # Of what is no token a scale of 0 would make a logit of 0.
            scales = np.ones(rows * self.lanes, np.float32)
            scales[:vocabulary] = model.output.scales * np.float32(model.final_norm.output)
            scale = self.per_row(f"{LOGITS}.scale", scales)
        choose(self, terms, vocabulary, scale)
