# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The state of one import: how values flow in the ONNX graph, what each is known to be, and the graph built so far."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from onnx import GraphProto, NodeProto

from openlpu.compiler.frontend.nodes import UnsupportedError
from openlpu.compiler.frontend.values import (
    Activation,
    Computed,
    Constant,
    Dequantised,
    DequantisedConstant,
    Value,
)
from openlpu.compiler.graph import Op, Pointwise, Port, Reduce, Tensor, operands


class Dataflow:
    """Who makes and who reads each value of an ONNX graph, by name; an output of the network is a reader.

    `nodes` are those that an output depends on, in order; no others are readers, as ONNX Runtime removes them first.
    """

    def __init__(self, graph: GraphProto) -> None:
        self.nodes = _alive(graph)
        self.makers: dict[str, NodeProto] = {output: node for node in self.nodes for output in node.output}
        self._readers: defaultdict[str, list[NodeProto | None]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                self._readers[name].append(node)
        for info in graph.output:
            self._readers[info.name].append(None)

    def reads(self, name: str) -> int:
        """How many times a value is read."""
        return len(self._readers[name])

    def readers(self, name: str) -> list[NodeProto | None]:
        """The nodes that read a value, one for each time they do; None for the network's user."""
        return self._readers[name]

    def qdq_pair(self, name: str) -> tuple[NodeProto, NodeProto] | None:
        """The QuantizeLinear that makes a value and the DequantizeLinear that reads it, for one reader, alone."""
        maker, readers = self.makers.get(name), self._readers[name]
        if maker is None or maker.op_type != "QuantizeLinear" or len(readers) != 1:
            return None
        reader = readers[0]
        if reader is None or reader.op_type != "DequantizeLinear" or self.reads(reader.output[0]) != 1:
            return None
        return maker, reader


def _alive(graph: GraphProto) -> list[NodeProto]:
    needed = {info.name for info in graph.output}
    alive: list[NodeProto] = []
    for node in reversed(graph.node):
        if not needed.isdisjoint(node.output):
            needed.update(node.input)
            alive.append(node)
    return alive[::-1]


class Network:
    """One import of a model of an `opset`.

    `values` maps ONNX value names to what is known; a name absent from it depends on a problem. `floats` maps the
    expressions and dequantised tensors that were computed in floats to the tensors that hold them. `reduced` are the
    tensors of `Graph.reduced`, `makers` the operations by the tensor they compute.
    """

    def __init__(self, graph: GraphProto, opset: int) -> None:
        self.flow = Dataflow(graph)
        self.opset = opset
        self.values: dict[str, Value] = {}
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.makers: dict[str, Op] = {}
        self.inputs: dict[str, Port] = {}
        self.notes: list[str] = []
        self.floats: dict[Value, str] = {}
        self.reduced: set[str] = set()
        # Names of the model are left to the model's values.
        self._taken = {*self.flow.makers, *(info.name for info in graph.input)}

    def emit(self, op: Op, output: Tensor) -> Activation:
        """Append an operation, and the tensor it computes."""
        self.tensors[output.name] = output
        self.ops.append(op)
        self.makers[output.name] = op
        if isinstance(op, Reduce) or (isinstance(op, Pointwise) and self.reduced.issuperset(operands(op))):
            self.reduced.add(output.name)
        return Activation(output.name)

    def fresh(self, base: str) -> str:
        """A name for a tensor that is not a value of the model: `base`, or `base` and a number."""
        name, count = base, 1
        while name in self._taken:
            name, count = f"{base}.{count}", count + 1
        self._taken.add(name)
        return name

    def shape(self, value: Value) -> tuple[int, ...]:
        """The shape of any value."""
        match value:
            case Constant():
                return value.array.shape
            case DequantisedConstant():
                return value.codes.shape
            case Activation() | Dequantised() | Computed():
                return self.tensors[value.tensor].shape
            case _:
                return value.shape

    def broadcast(self, operands: Sequence[Value]) -> tuple[int, ...]:
        """The shape that `operands` have together."""
        try:
            return np.broadcast_shapes(*(self.shape(operand) for operand in operands))
        except ValueError:
            shapes = " and ".join(str(list(self.shape(operand))) for operand in operands)
            raise UnsupportedError(f"operands of shapes {shapes} do not broadcast") from None
