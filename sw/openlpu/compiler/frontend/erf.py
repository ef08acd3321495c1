# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Erf and Gelu, by a polynomial for the complementary error function.

    erfc(z) = t * P(t) * exp(-z * z),   t = 1 / (1 + T_SLOPE * z),   z >= 0

The form is that of Abramowitz and Stegun, 7.1.26. P, of degree 8, is a fit of our own, for a small error *relative* to
erfc: a Gelu of large negative numbers is then as exact as one of small ones, and nothing is subtracted from 1.
"""

from math import sqrt

from onnx import NodeProto

from openlpu.compiler.frontend import floats
from openlpu.compiler.frontend.compute import computed
from openlpu.compiler.frontend.floats import MAGNITUDE, NEGATE, SIGN, step
from openlpu.compiler.frontend.network import Network
from openlpu.compiler.frontend.nodes import UnsupportedError, allow, attributes, required
from openlpu.compiler.frontend.pointwise import gelu_tanh
from openlpu.compiler.frontend.values import Arguments, Computed, Value
from openlpu.compiler.graph import FloatStep

T_SLOPE = 0.375
COEFFICIENTS = (
    0.2116144597530365,
    0.21063266694545746,
    0.2054360806941986,
    0.12101782113313675,
    0.27489173412323,
    -0.23114272952079773,
    0.433949738740921,
    -0.2881016135215759,
    0.06170184910297394,
)
"""P, the constant first; every one is a float32."""
MAX_RELATIVE_ERROR = 4e-8
"""Of the formula with these coefficients, evaluated exactly, for z up to 9.6; erfc is no normal float32 beyond."""


def erf(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """Erf: 1 - erfc |x|, with the sign of x."""
    allow(node)
    name, source = node.output[0], computed(net, required(arguments[0], "input"))
    sign = floats.pointwise(net, net.fresh(f"{name}.sign"), source, [SIGN])
    complement = _complement(net, name, source, 1.0, 1.0)
    # Rounding may leave more than 1 of erfc 0, and the sign is to be that of x.
    steps = [NEGATE, step("fadd", 1.0), step("fmax", 0.0), step("or", sign)]
    return Computed(floats.pointwise(net, name, complement, steps))


def gelu(net: Network, node: NodeProto, arguments: Arguments) -> Value:
    """Gelu: max(x, 0) - |x| * erfc(|x| / sqrt 2) / 2, or its approximation by tanh."""
    allow(node, approximate=None)
    name, source = node.output[0], computed(net, required(arguments[0], "input"))
    approximate = attributes(node).get("approximate", b"none")
    if approximate == b"tanh":
        return Computed(gelu_tanh(net, name, source))
    if approximate != b"none":
        raise UnsupportedError(f"attribute approximate = {approximate.decode(errors='replace')} is not supported")
    positive = floats.pointwise(net, net.fresh(f"{name}.positive"), source, [step("fmax", 0.0)])
    half = _complement(net, name, source, sqrt(0.5), 0.5)
    # The complement is not negative, so that a product without its sign is one with |x|.
    steps = [step("fmul", source), MAGNITUDE, NEGATE, step("fadd", positive)]
    return Computed(floats.pointwise(net, name, half, steps))


def _complement(net: Network, name: str, source: str, scale: float, factor: float) -> str:
    """factor * erfc(scale * |x|); `factor` is a power of two."""
    t = floats.pointwise(
        net,
        net.fresh(f"{name}.t"),
        source,
        [MAGNITUDE, step("fmul", T_SLOPE * scale), step("fadd", 1.0), step("recip")],
    )
    steps = [step("fmul", source), step("fmul", -scale * scale), step("exp")]
    power = floats.pointwise(net, net.fresh(f"{name}.exp"), source, steps)
    first, *others = (factor * coefficient for coefficient in reversed(COEFFICIENTS))
    horner: list[FloatStep] = [step("fmul", first)]
    for coefficient in others:
        horner += [step("fadd", coefficient), step("fmul", t)]
    return floats.pointwise(net, net.fresh(f"{name}.erfc"), t, [*horner, step("fmul", power)])
