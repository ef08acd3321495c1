# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""LSTM of int8 weights: its steps written out, its state in floats.

    i, f, o = sigmoid(x W + h R + b), g = tanh(likewise), c' = f c + i g, h' = o tanh c'

The inputs of all steps are multiplied by W at once, gate by gate. The state h is a float in (-1, 1), and R wants int8,
so h is split: p1 = int8(128 h), p2 = int8(128 (128 h - p1)), and p3 alike. Nothing is lost but what p3 rounds off,
at most 2**-22 (2**-21 where h is above 127.5 / 128), and every product is exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from openlpu.compiler.exact import Quantisation
from openlpu.compiler.frontend import floats
from openlpu.compiler.frontend.compute import computed, operand
from openlpu.compiler.frontend.dense import scaled_matmul
from openlpu.compiler.frontend.floats import NEGATE, step
from openlpu.compiler.frontend.moving import emit_rearranged, move, places
from openlpu.compiler.frontend.network import Network
from openlpu.compiler.frontend.nodes import UnsupportedError, allow, attributes, required, title
from openlpu.compiler.frontend.pointwise import SIGMOID
from openlpu.compiler.frontend.values import (
    Arguments,
    Computed,
    Constant,
    Dequantised,
    DequantisedConstant,
    Value,
)
from openlpu.compiler.graph import Float32Array, FloatStep, Pointwise, Requantise, Tensor

_GATES = ("i", "o", "f", "g")
"""In the order of ONNX, which calls the last one c."""
_ACTIVATIONS = [b"sigmoid", b"tanh", b"tanh"]
_BACKWARD = {b"forward": (False,), b"reverse": (True,), b"bidirectional": (False, True)}


@dataclass(frozen=True, eq=False)
class _Cell:
    """One direction: by gate, weights [inputs, hidden] of x and of h, and biases (None for none)."""

    x: dict[str, DequantisedConstant]
    h: dict[str, DequantisedConstant]
    bias: dict[str, Float32Array | None]


@dataclass(frozen=True)
class _State:
    """h as codes that R can multiply, whose values add up to it, and c; None for zeros."""

    h: Sequence[Dequantised] | None
    c: floats.Operand | None


def lstm(net: Network, node: NodeProto, arguments: Arguments) -> tuple[Value, ...]:
    """LSTM: Y, Y_h and Y_c."""
    backward = _directions(node, arguments)
    x = required(arguments[0], "X")
    if not isinstance(x, Dequantised):
        raise UnsupportedError("its X is float: put QuantizeLinear and DequantizeLinear before it")
    w, r = (_weights(required(arguments[index], name), name) for index, name in ((1, "W"), (2, "R")))
    times, batch, _ = net.shape(x)
    count, hidden = len(backward), r.codes.shape[2]
    if (lengths := arguments[4]) is not None and not (
        isinstance(lengths, Constant) and bool((lengths.array == times).all())
    ):
        raise UnsupportedError("sequence_lens is not supported: remove it, all sequences have the same length")
    name = next(str(output) for output in node.output if output)
    every: list[list[str]] = []
    last: list[tuple[str, str]] = []
    for number, reverse in enumerate(backward):
        cell = _cell(net, (w, r), arguments[3], number)
        state = _initial(net, node, arguments, number)
        order = range(times)[:: -1 if reverse else 1]
        h, c = _run(net, net.fresh(f"{name}.{number}"), cell, x, state, order)
        every.append(h)
        last.append((h[order[-1]], c))
    results = (
        ([h[time] for time in range(times) for h in every], (times, count, batch, hidden)),
        ([h for h, _ in last], (count, batch, hidden)),
        ([c for _, c in last], (count, batch, hidden)),
    )
    return tuple(
        Computed(emit_rearranged(net, str(output) or net.fresh(f"{name}.unread"), tensors, places(shape)))
        for output, (tensors, shape) in zip(node.output, results, strict=False)
    )


def _directions(node: NodeProto, arguments: Arguments) -> tuple[bool, ...]:
    """Whether each direction is backward; refuses whatever else an LSTM may have."""
    allow(node, hidden_size=None, direction=None, layout=0, activations=None, input_forget=0)
    given = attributes(node)
    backward = _BACKWARD.get(given.get("direction", b"forward"), ())
    activations = [activation.lower() for activation in given.get("activations", _ACTIVATIONS * len(backward))]
    if activations != _ACTIVATIONS * len(backward):
        raise UnsupportedError("only its activations Sigmoid, Tanh, Tanh are supported")
    if arguments[7] is not None:
        raise UnsupportedError("peepholes (P) are not supported")
    return backward


def _weights(value: Value, name: str) -> DequantisedConstant:
    if not isinstance(value, DequantisedConstant):
        raise UnsupportedError(f"its {name} is no constant of int8: quantise it (a DequantizeLinear of int8 weights)")
    return value


def _cell(
    net: Network, weights: tuple[DequantisedConstant, DequantisedConstant], biases: Value | None, number: int
) -> _Cell:
    """The weights and biases of one direction, gate by gate."""
    hidden = weights[1].codes.shape[2]
    rows = {gate: slice(index * hidden, (index + 1) * hidden) for index, gate in enumerate(_GATES)}
    both: list[dict[str, DequantisedConstant]] = []
    for matrix in weights:
        taken = {g: move(net, "", matrix, [places(matrix.codes.shape)[number, rows[g]].T]) for g in _GATES}
        both.append({g: gate for g, gate in taken.items() if isinstance(gate, DequantisedConstant)})
    bias: dict[str, Float32Array | None] = dict.fromkeys(_GATES)
    if biases is not None:
        constant = floats.float_constant(biases)
        if constant is None:
            raise UnsupportedError("its bias is not a constant")
        for_x, for_h = np.split(constant[number], 2)
        bias = {gate: np.asarray(for_x[rows[gate]] + for_h[rows[gate]], np.float32) for gate in _GATES}
    return _Cell(both[0], both[1], bias)


def _initial(net: Network, node: NodeProto, arguments: Arguments, number: int) -> _State:
    """The state before the first step."""
    values: list[Value | None] = []
    for name, argument in (("initial_h", arguments[5]), ("initial_c", arguments[6])):
        if argument is None:
            values.append(None)
            continue
        part = move(net, net.fresh(f"{name}.{number}"), argument, [places(net.shape(argument))[number]])
        constant = floats.float_constant(part)
        values.append(None if constant is not None and not constant.any() else part)
    h, c = values
    state = None if c is None else operand(net, c)
    if h is None:
        return _State(None, state)
    if isinstance(h, Dequantised):
        return _State((h,), state)
    constant = floats.float_constant(h)
    if constant is None:
        net.notes.append(f"{title(node)}: initial_h is taken to be between -1 and 1, as any h of an LSTM is")
        return _State(split_state(net, computed(net, h)), state)
    if np.abs(constant).max() > 1:
        raise UnsupportedError("initial_h is not between -1 and 1")
    return _State(split_state(net, floats.constant_tensor(net, constant)), state)


def _run(
    net: Network, name: str, cell: _Cell, x: Dequantised, state: _State, order: Sequence[int]
) -> tuple[list[str], str]:
    """h after every step, by time, and c after the last one."""
    inputs: dict[str, str] = {}
    for gate in _GATES:
        inputs[gate] = scaled_matmul(net, net.fresh(f"{name}.{gate}"), x, cell.x[gate])
        bias = cell.bias[gate]
        if bias is not None:
            steps = [FloatStep("fadd", bias)]
            inputs[gate] = floats.pointwise(net, net.fresh(f"{name}.{gate}.biased"), inputs[gate], steps)
    h = [""] * len(order)
    c = ""
    for time in order:
        h[time], c = _step(net, f"{name}.{time}", cell, inputs, state, time)
        state = _State(None if time == order[-1] else split_state(net, h[time]), c)
    return h, c


def _step(net: Network, name: str, cell: _Cell, inputs: dict[str, str], state: _State, time: int) -> tuple[str, str]:
    """The next h and c."""
    gates: dict[str, str] = {}
    for gate in _GATES:
        source = inputs[gate]
        row = places(net.tensors[source].shape)[time]
        total = emit_rearranged(net, net.fresh(f"{name}.{gate}.x"), (source,), row)
        chain: list[FloatStep] = []
        # The smallest terms first.
        for index, plane in reversed(list(enumerate(state.h or ()))):
            product = scaled_matmul(net, net.fresh(f"{name}.{gate}.h{index}"), plane, cell.h[gate])
            last = index == 0
            chain = [step("fadd", total)]
            total = product if last else floats.pointwise(net, net.fresh(f"{name}.{gate}.sum{index}"), product, chain)
        activation = (step("tanh"),) if gate == "g" else SIGMOID
        gates[gate] = floats.pointwise(net, net.fresh(f"{name}.{gate}"), total, [*chain, *activation])
    shape = net.tensors[gates["i"]].shape
    update = [step("fmul", gates["g"])]
    if state.c is not None:
        kept = floats.combine(net, net.fresh(f"{name}.kept"), "fmul", gates["f"], state.c, shape)
        update.append(step("fadd", kept))
    c = floats.pointwise(net, net.fresh(f"{name}.c"), gates["i"], update)
    return floats.pointwise(net, net.fresh(f"{name}.h"), c, [step("tanh"), step("fmul", gates["o"])]), c


def split_state(net: Network, h: str) -> list[Dequantised]:
    """h in codes of decreasing weight, whose values add up to it; every step but the last rounding is exact."""
    first = _codes(net, f"{h}.p1", h, [step("fmul", 2.0**7)])
    rest = [step("fmul", -(2.0**-7)), step("fadd", h), step("fmul", 2.0**14)]
    left = floats.pointwise(net, net.fresh(f"{h}.left"), first, rest)
    second = _codes(net, f"{h}.p2", left, [])
    third = _codes(net, f"{h}.p3", second, [NEGATE, step("fadd", left), step("fmul", 2.0**7)])
    weights = ((first, -7), (second, -14), (third, -21))
    return [Dequantised(codes, Quantisation(np.float32(2.0**power), 0, 0)) for codes, power in weights]


def _codes(net: Network, base: str, source: str, steps: Sequence[FloatStep]) -> str:
    name, shape = net.fresh(base), net.tensors[source].shape
    net.emit(Pointwise(name, source, 0, tuple(steps), Requantise((), 0)), Tensor(name, shape, "int8", "int8"))
    return name
