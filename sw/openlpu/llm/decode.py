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
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from openlpu.arch.config import ChipConfig
from openlpu.compiler.chain import split_chain
from openlpu.compiler.graph import Port
from openlpu.compiler.kernel_writer import patterns
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
from openlpu.llm.attention import Addends, AttentionWriter, HeadGroup
from openlpu.llm.choosing import CHOSEN, HIDDEN, Keys, choose, choose_by_key, largest_sum, leave_logits
from openlpu.llm.norms import ahead_pays
from openlpu.llm.quantise import LlamaNorm, QuantisedLayer, QuantisedLlama
from openlpu.llm.token_writer import FINER, LOGITS, POSITION, TOKEN, WHOLE

BEFORE, BEHIND = "before", "behind"
"""Ports of a layer alone: the hidden vector in front of it, and behind it."""
_WORTH_GROUPS = 64
"""Cycles of weights behind attention, for heads in two groups to pay: their sums then pass the VXM twice."""
LAYER = "layer"
"""The name of a layer alone, which those of its buffers begin with."""

DEALT: Mapping[str, tuple[str, int]] = {
    "o.digits": ("heads: q, k and v of them, with their caches", 2),
    "middle.added": ("columns of o, in vectors", 1),
    "middle.codes": ("columns of o, as codes", 1),
    "middle": ("columns of o, in vectors", 1),
    "down.digits": ("columns of gate and up, in vectors", 2),
    "end.added": ("columns of down, in vectors", 1),
    "end.codes": ("columns of down, as codes", 1),
    "end": ("columns of down, in vectors", 1),
}
"""What it means that a chip computes rows of a buffer of a layer that chips share, and how many rows make one."""


@dataclass(frozen=True)
class Decoding:
    """One token as kernels, and what each of them is part of."""

    kernels: KernelGraph
    parts: tuple[str, ...]


def decoding(
    model: QuantisedLlama, context: int, config: ChipConfig, *, capacity: int = 0, shared: bool = False
) -> Decoding:
    """The kernels of one token, for positions 0 to `context` - 1, over states for `capacity` positions, or as many;
    `shared` by several chips, or for one.

    Raises:
        CompileError: when the network does not suit the chip.
    """
    decoder = _decoder(model, context, config, capacity=capacity, shared=shared)
    graph = decoder.graph()
    return Decoding(graph, tuple(decoder.parts))


def layer_decoding(model: QuantisedLlama, context: int, config: ChipConfig, *, shared: bool = False) -> Decoding:
    """The kernels of one token in the first layer alone, as `decoding`: from a hidden vector in front of it, and a
    position, to the one behind it. The caches are states.

    Raises:
        CompileError: when the network does not suit the chip.
    """
    decoder = _decoder(model, context, config, shared=shared)
    graph = decoder.layer_graph()
    return Decoding(graph, tuple(decoder.parts))


def output_decoding(model: QuantisedLlama, context: int, config: ChipConfig) -> Decoding:
    """The kernels of what is behind the last layer alone: from the hidden vector to the logits and the next token.

    Raises:
        CompileError: when the network does not suit the chip.
    """
    decoder = _decoder(model, context, config)
    graph = decoder.output_graph()
    return Decoding(graph, tuple(decoder.parts))


def _decoder(
    model: QuantisedLlama, context: int, config: ChipConfig, *, capacity: int = 0, shared: bool = False
) -> _Decoder:
    if not ahead_pays(config):
        return _DecoderBehind(model, context, config, capacity=capacity)
    return _DecoderAhead(model, context, config, capacity=capacity, shared=shared)


@dataclass(frozen=True)
class _Hidden:
    """A hidden vector in front of a norm, and its codes, row by row."""

    x: BufferOperand
    codes: list[BufferOperand]
    norm: LlamaNorm


class _Decoder(AttentionWriter, ABC):
    """All but how codes come out of norms."""

    def graph(self) -> KernelGraph:
        self.begin()
        self.index("token.index", BufferOperand(TOKEN, byte=0))
        self.embed()
        hidden = self.hidden_vector("embedded", BufferOperand("embedded"), [], self.model.layers[0].attention_norm)
        self.end("embedding")
        self.normalise(hidden)
        self.end("layer0 attention norm")
        following = [f"layer{number} attention norm" for number in range(1, len(self.model.layers))] + ["final norm"]
        norms = [layer.attention_norm for layer in self.model.layers[1:]] + [self.model.final_norm]
        for number, (layer, name, next_norm) in enumerate(zip(self.model.layers, following, norms, strict=True)):
            hidden = self.layer(f"layer{number}", layer, hidden, next_norm)
            self.stages.append(self.left_behind(hidden))
            self.normalise(hidden)
            self.end(name)
        self.vector(POSITION, BufferOperand(POSITION), [Step("fadd", Immediate.of_float(1.0))])
        self.choose(hidden)
        # What is behind the last layer belongs to it.
        self.stages[-1] = (CHOSEN,)
        return self.token(Port(POSITION, POSITION, "float32", (1, self.lanes)), 2)

    def layer_graph(self) -> KernelGraph:
        """The first layer alone, for the norm of the last."""
        layer, blocks = self.model.layers[0], self.blocks(self.shape.hidden)
        self.buffer(BEFORE, blocks)
        self.buffer(POSITION, 1)
        hidden = self.hidden_vector(BEFORE, BufferOperand(BEFORE), [], layer.attention_norm)
        self.end("hidden vector")
        self.normalise(hidden)
        self.end("layer attention norm")
        x = self.layer(LAYER, layer, hidden, self.model.final_norm).x
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
        before = BufferOperand(self.buffer(BEFORE, blocks))
        hidden = self.hidden_vector(before.name, before, [], self.model.final_norm)
        self.index("position.index", self.as_index("position.word", BufferOperand(POSITION), 0.0, 1.0))
        self.end("hidden vector")
        self.normalise(hidden)
        self.end("final norm")
        self.choose(hidden)
        inside = Port(BEFORE, BEFORE, "float32", (blocks, self.lanes))
        return self.token(Port(POSITION, POSITION, "float32", (1, self.lanes)), 2, (inside, BEFORE))

    # Parts of the network

    def layer(self, name: str, layer: QuantisedLayer, hidden: _Hidden, next_norm: LlamaNorm) -> _Hidden:
        """The hidden vector behind a layer, in front of the norm that follows."""
        hidden = self.add(f"{name}.middle", hidden.x, self.attention(name, layer, hidden), layer.ffn_norm)
        self.end(f"{name} o")
        self.normalise(hidden)
        self.end(f"{name} ffn norm")
        hidden = self.add(f"{name}.end", hidden.x, self.feed_forward(name, layer, hidden), next_norm)
        self.end(f"{name} down")
        return hidden

    @abstractmethod
    def add(self, name: str, x: BufferOperand, digits: Addends, norm: LlamaNorm) -> _Hidden:
        """The hidden vector with what a part of the network adds, in two digits, in front of the norm that follows."""

    @abstractmethod
    def hidden_vector(self, name: str, source: BufferOperand, steps: Sequence[Step], norm: LlamaNorm) -> _Hidden:
        """The vector of this name, `steps(source)` unless there are none, in front of a norm."""

    @abstractmethod
    def left_behind(self, hidden: _Hidden) -> tuple[str, ...]:
        """The buffers that what follows a hidden vector needs of what is before it."""

    @abstractmethod
    def normalise(self, hidden: _Hidden) -> None:
        """What is still to do before products with the codes of a vector."""

    @abstractmethod
    def ratio(self, hidden: _Hidden) -> list[Step]:
        """What makes products with codes of a hidden vector those with the norm of it: a factor, or nothing."""

    def factor(self, hidden: _Hidden) -> BufferOperand:
        """What the squares of a vector are for."""
        name, norm = hidden.x.name, hidden.norm
        return self.norm_factor(name, norm, self.shape.norm_epsilon, self.norms.factor_unit(name, norm))

    def to_squares(self, norm: LlamaNorm) -> Step:
        """What a vector is multiplied with, to be multiplied with itself."""
        return Step("fmul", Immediate.of_float(self.norm_scale(norm)))

    def gains(self, norm: LlamaNorm) -> BufferOperand | None:
        """Where the embedding's codes are the output's, too, the vector behind the last norm takes these."""
        if norm is not self.model.final_norm or self.model.output is not None:
            return None
        return self.per_row("final.gains", self.model.final_gains)

    def positions(self) -> None:
        """Indices, angles and hidden scores of the position, unless they are there already."""
        if "cosine.high" in self.constants:
            return
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
        self.end("position")

    def embed(self) -> None:
        """The hidden vector of the token, `embedded`."""
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

    @abstractmethod
    def attention(self, name: str, layer: QuantisedLayer, hidden: _Hidden) -> Addends:
        """What attention adds to a hidden vector, in two digits; in the first layer, what the position is needed for,
        too."""

    def feed_forward(self, name: str, layer: QuantisedLayer, hidden: _Hidden) -> Addends:
        """All that is made of `gate` alone is found while the weights of `up` stream."""
        scale, blocks = self.norms.scale(layer.ffn_norm), self.blocks(self.shape.ffn)
        # silu(g) = (1 + tanh(g / 2)) * g / 2
        gate = self.scaled(f"{name}.gate", hidden.codes, layer.gate.codes.T, layer.gate.scales * np.float32(scale / 2))
        ratio = self.ratio(hidden)
        factor = np.float32(scale / layer.ffn_product * FINER)
        up = self.scaled(f"{name}.up", hidden.codes, layer.up.codes.T, layer.up.scales * factor)
        one_more, whole = Step("fadd", Immediate.of_float(1.0)), Step("f2i", WHOLE)
        if ratio:
            half = self.made(f"{name}.half", gate, ratio, rows=blocks)
            tanh = self.made(f"{name}.tanh", half, [Step("tanh")], rows=blocks)
            silu = self.made(f"{name}.silu", tanh, [one_more, Step("fmul", half), *ratio], rows=blocks)
            product = self.made(f"{name}.product", up, [Step("fmul", silu), whole], rows=blocks)
        else:
            tanh = self.made(f"{name}.tanh", gate, [Step("tanh")], rows=blocks)
            both = self.made(f"{name}.both", gate, [Step("fmul", up)], rows=blocks)
            product = self.made(f"{name}.product", tanh, [one_more, Step("fmul", both), whole], rows=blocks)
        self.end(f"{name} gate, up, silu")
        scales = layer.down.scales * layer.ffn_product
        return self.two_digits(f"{name}.down", product, blocks, layer.down.codes.T, scales)

    def choose(self, hidden: _Hidden) -> None:
        """The next token, and the logits."""
        model, vocabulary, rows = self.model, self.shape.vocabulary, self.blocks(self.shape.vocabulary)
        if model.output is None:
            terms = [Term(view, Factor(f"embedding{i}", transposed=True)) for i, view in enumerate(hidden.codes)]
            keys = Keys(vocabulary, largest_sum(model.embedding.codes))
            # The size of a vector changes no choice.
            sums = (
                choose_by_key(self, terms, keys) if keys.fit else choose(self, terms, vocabulary, Immediate.of_float(1))
            )
        else:
            codes = padded(model.output.codes.T, self.lanes)
            terms = [Term(view, (codes[i * self.lanes : (i + 1) * self.lanes],)) for i, view in enumerate(hidden.codes)]
            # Of what is no token a scale of 0 would make a logit of 0.
            scales = np.ones(rows * self.lanes, np.float32)
            scales[:vocabulary] = model.output.scales
            sums = choose(self, terms, vocabulary, self.per_row(f"{LOGITS}.scale", scales))
        leave_logits(self, sums, self.norms.scale(model.final_norm), self.ratio(hidden))


class _DecoderBehind(_Decoder):
    def add(self, name: str, x: BufferOperand, digits: Addends, norm: LlamaNorm) -> _Hidden:
        upper, lower = digits
        self.gathered.append((f"{name}.added",))
        added = self.made(f"{name}.added", upper, [Step("fadd", lower)], rows=self.blocks(self.shape.hidden))
        return self.hidden_vector(name, x, [Step("fadd", added)], norm)

    def hidden_vector(self, name: str, source: BufferOperand, steps: Sequence[Step], norm: LlamaNorm) -> _Hidden:
        rows = self.blocks(self.shape.hidden)
        self.made(f"{name}.normal", source, [*steps, self.to_squares(norm)], rows=rows)
        if steps:
            self.made(name, source, steps, rows=rows)
        return _Hidden(BufferOperand(name), self.rows(f"{name}.codes", rows), norm)

    def left_behind(self, hidden: _Hidden) -> tuple[str, ...]:
        return hidden.x.name, f"{hidden.x.name}.normal"

    def normalise(self, hidden: _Hidden) -> None:
        """Squares, and the codes themselves."""
        rows, x, gains = self.blocks(self.shape.hidden), hidden.x, self.gains(hidden.norm)
        gained = x if gains is None else self.made(f"{x.name}.gained", x, [Step("fmul", gains)], rows=rows)
        self.squares(x.name, x, BufferOperand(f"{x.name}.normal"))
        to_codes = [Step("fmul", self.factor(hidden)), Step("f2i", WHOLE)]
        self.made(f"{x.name}.codes", gained, to_codes, rows=rows, wide=False)

    def ratio(self, hidden: _Hidden) -> list[Step]:
        return []

    def attention(self, name: str, layer: QuantisedLayer, hidden: _Hidden) -> Addends:
        """One product for queries, keys and values, and all heads at a time: what waits, waits for all of them."""
        heads, kv_heads = self.shape.heads, self.shape.kv_heads
        self.positions()
        together = self.scaled(f"{name}.qkv", hidden.codes, *self.projections(layer)).name
        self.end(f"{name} q, k, v")
        straight, turned = queries = self.rope(together, heads + kv_heads)
        first = heads * self.head_rows
        keys = dataclasses.replace(straight, first_row=first), dataclasses.replace(turned, first_row=first)
        group = self.head_group(name, range(kv_heads))
        self.turned_queries(group, queries, [])
        self.cache_keys(name, keys, [])
        self.end(f"{name} rope, key cache")
        self.scores(name, layer, group)
        self.end(f"{name} scores")
        largest = self.attention_weights(group)
        self.end(f"{name} softmax")
        # Values are needed last, and what comes first has the first choice of cycles.
        after = (heads + kv_heads) * self.head_rows * (2 if self.turned_by_weights else 1)
        self.cache_values(name, BufferOperand(together, first_row=after), [])
        self.averages(name, group, largest)
        self.end(f"{name} values")
        return self.output(name, layer, [group])


class _DecoderAhead(_Decoder):
    """What the next product waits for comes first."""

    def __init__(self, model: QuantisedLlama, context: int, config: ChipConfig, *, capacity: int, shared: bool) -> None:
        super().__init__(model, context, config, capacity=capacity)
        self.shared = shared

    def add(self, name: str, x: BufferOperand, digits: Addends, norm: LlamaNorm) -> _Hidden:
        upper, lower = digits
        self.gathered += [(f"{name}.codes",), (name,)]
        return self.hidden_vector(name, upper, [Step("fadd", lower), Step("fadd", x)], norm)

    def hidden_vector(self, name: str, source: BufferOperand, steps: Sequence[Step], norm: LlamaNorm) -> _Hidden:
        rows, gains = self.blocks(self.shape.hidden), self.gains(norm)
        unit = self.norms.codes_unit(name, norm, BufferOperand(f"{name}.factor", row_step=0))
        if gains is not None:
            unit = self.made(f"{name}.unit.gained", gains, [Step("fmul", unit)], rows=rows)
        to_codes = [*steps, Step("fmul", unit), Step("f2i", WHOLE)]
        self.made(f"{name}.codes", source, to_codes, rows=rows, wide=False)
        if steps:
            self.made(name, source, steps, rows=rows)
        return _Hidden(BufferOperand(name), self.rows(f"{name}.codes", rows), norm)

    def left_behind(self, hidden: _Hidden) -> tuple[str, ...]:
        return hidden.x.name, f"{hidden.x.name}.codes", *self.norms.left_behind

    def normalise(self, hidden: _Hidden) -> None:
        """Squares."""
        x = hidden.x
        normal = self.made(f"{x.name}.normal", x, [self.to_squares(hidden.norm)], rows=self.blocks(self.shape.hidden))
        self.squares(x.name, x, normal)

    def ratio(self, hidden: _Hidden) -> list[Step]:
        return self.norms.ratio(self.factor(hidden))

    def attention(self, name: str, layer: QuantisedLayer, hidden: _Hidden) -> Addends:
        """What follows keys, and the ratio, is found while weights of queries stream, and the softmax of one group of
        heads while those of the next one, and of values, do."""
        groups, largest = self.head_groups(name), list[BufferOperand]()
        keys = self.scaled(f"{name}.k", hidden.codes, *self.rotated(layer, [self.keys(layer)]))
        self.end(f"{name} keys")
        self.positions()
        ratio = self.ratio(hidden)
        self.cache_keys(name, self.rope(keys.name, self.shape.kv_heads), ratio)
        self.end(f"{name} rope, key cache")
        for number, group in enumerate(groups):
            rotated = self.rotated(layer, [self.queries(layer, group.queries)])
            queries = self.rope(self.scaled(f"{group.name}.q", hidden.codes, *rotated).name, len(group.queries))
            self.end(f"{group.name} q, rope")
            if number:
                largest.append(self.attend(name, layer, groups[number - 1]))
            self.turned_queries(group, queries, ratio)
            self.end(f"{group.name} queries")
        largest.append(self.attend(name, layer, groups[-1]))
        values = self.scaled(f"{name}.v", hidden.codes, *self.values(layer))
        self.cache_values(name, values, ratio)
        self.end(f"{name} value cache")
        for group, scores in zip(groups, largest, strict=True):
            self.averages(name, group, scores)
        self.end(f"{name} values")
        return self.output(name, layer, groups)

    def attend(self, name: str, layer: QuantisedLayer, group: HeadGroup) -> BufferOperand:
        """Scores of a group, and their softmax; the largest ones."""
        self.scores(name, layer, group)
        largest = self.attention_weights(group)
        self.end(f"{group.name} scores, softmax")
        return largest

    def head_groups(self, name: str) -> list[HeadGroup]:
        """A third of the heads, and all others: the second group has its softmax while the first one is multiplied with
        the weights behind attention, if these take their time. Chips that share a layer have heads each of their own.
        """
        every = range(self.shape.kv_heads)
        first = -(-len(every) // 3)
        adding = [Step("iadd", BufferOperand("")), Step("i2f", WHOLE), Step("fmul", BufferOperand(""))]
        parts = split_chain(adding, self.config, from_sram=False)
        alone = self.shared or first == len(every) or parts is None or len(parts) > 1
        if alone or self.output_cycles() < _WORTH_GROUPS:
            return [self.head_group(name, every)]
        return [self.head_group(f"{name}.heads{heads.start}", heads) for heads in (every[:first], every[first:])]

    def output_cycles(self) -> int:
        """For which the weights behind attention stream."""
        config, tiles = self.config, self.shape.heads * self.head_rows * self.blocks(self.shape.hidden)
        return tiles * config.lanes // (config.weight_streams * config.mxm_planes * config.hemispheres)
