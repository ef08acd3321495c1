# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What is known before the network runs: shapes, and whatever is computed of constants alone."""

from collections.abc import Sequence

import numpy as np
from onnx import NodeProto, TensorProto, helper

from openlpu.compiler.frontend.network import Network
from openlpu.compiler.frontend.nodes import allow, attributes, required
from openlpu.compiler.frontend.values import Arguments, Constant, Value


def shape_of(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """Shape, of any value: sizes are static here."""
    allow(node, start=None, end=None)
    given = attributes(node)
    shape = net.shape(required(arguments[0], "input"))
    return Constant(np.asarray(shape[given.get("start", 0) : given.get("end")], np.int64))


def folded(net: Network, node: NodeProto) -> tuple[Value, ...] | None:
    """The results of a node of constants alone, by the reference evaluator of ONNX; None for any other node."""
    values = [net.values.get(name) for name in node.input if name]
    constants = [value.array for value in values if isinstance(value, Constant)]
    if node.domain not in ("", "ai.onnx") or not values or len(constants) != len(values):
        return None
    return _evaluated(node, constants, net.opset)


def _evaluated(node: NodeProto, constants: Sequence[np.ndarray], opset: int) -> tuple[Value, ...] | None:
    # Only networks with such nodes need it, and it takes a tenth of a second to load.
    from onnx.reference import ReferenceEvaluator

    names = [name for name in node.input if name]
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in zip(names, constants, strict=True)
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in node.output if name]
    graph = helper.make_graph([node], "constants", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    try:
        results = ReferenceEvaluator(model).run(None, dict(zip(names, constants, strict=True)))
    except Exception:
        # Whatever it cannot do is refused as if it had not been tried.
        return None
    return tuple(Constant(np.asarray(result)) for result in results)
