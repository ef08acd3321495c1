# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What ONNX Runtime makes of a group of nodes between DequantizeLinear and QuantizeLinear.

Its CPU provider on x86-64, at the default optimisation level, computes most groups in integer kernels, and some in
float. Which of the two, and in which code type, decides the last bit of a result; the rules are here, and what follows
from them is with the operators.
"""

from collections.abc import Sequence

from onnx import NodeProto

from openlpu.compiler.exact import Quantisation
from openlpu.compiler.frontend.network import Network
from openlpu.compiler.frontend.parameters import shift_of
from openlpu.compiler.frontend.values import Constant, Dequantised, DequantisedConstant, Result, Value

_PASSED = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice")
"""Operators that ONNX Runtime takes a QuantizeLinear across."""


def as_computed(net: Network, name: str, quantisation: Quantisation) -> Quantisation:
    """The quantisation of value `name` in ONNX Runtime 1.32, which turns pairs of int8 into uint8."""
    return quantisation if net.flow.qdq_pair(name) is None else quantisation.unsigned()


def merges_pairs(net: Network, node: NodeProto) -> bool:
    """Whether ONNX Runtime makes one rescaling of QuantizeLinear `node` and the pair that it directly follows."""
    before = net.flow.makers[node.input[0]].input[0]
    readers = net.flow.readers(node.output[0])
    pair = all(reader is not None and reader.op_type == "DequantizeLinear" for reader in readers)
    return pair and net.flow.qdq_pair(before) is not None


def lets_quantisation_pass(net: Network, name: str) -> bool:
    """Whether ONNX Runtime quantises before the move that makes value `name`, and not after."""
    maker = net.flow.makers.get(name)
    return maker is not None and maker.op_type in _PASSED and net.flow.reads(name) == 1


def fuses_elementwise(operands: Sequence[Value], result: Result) -> bool:
    """Whether Add or Mul becomes QLinearAdd or QLinearMul: all operands are codes of the result's type."""
    shift = result.quantisation.shift
    return all(
        (isinstance(a, Dequantised) and a.quantisation.shift == shift)
        or (isinstance(a, DequantisedConstant) and a.scale.size == 1 and shift_of(str(a.codes.dtype)) == shift)
        for a in operands
    )


def reason_for_float(
    net: Network,
    node: NodeProto,
    x: Dequantised | DequantisedConstant,
    w: Dequantised | DequantisedConstant,
    bias: Value | None,
    result: Result,
    plain: bool,
) -> str:
    """Why a dense group does not become an integer kernel; "" when it does.

    `plain` says that no Relu or Clip, and no other reader, keeps the QuantizeLinear from following the operator.
    """
    shift, weight_shift = _shift(x), _shift(w)
    signed = shift == 0
    if not plain:
        return "a Relu or Clip changes values, or another node reads them, before the QuantizeLinear"
    if shift != result.quantisation.shift:
        return "it sees one of input and output as int8, the other as uint8"
    if signed and weight_shift != 0:
        return "its input is int8, its weights uint8"
    if signed and node.op_type == "MatMul" and bias is None:
        return "a MatMul of int8; a Gemm, a QLinearMatMul or uint8 activations would be exact"
    if isinstance(bias, Constant) and bias.array.ndim != 1:
        return "the float bias is not a vector"
    if node.op_type == "MatMul" and bias is not None and len(net.shape(x)) != 2:
        return "a bias added to a MatMul of more than two dimensions"
    return ""


def _shift(operand: Dequantised | DequantisedConstant) -> int:
    if isinstance(operand, Dequantised):
        return operand.quantisation.shift
    return shift_of(str(operand.codes.dtype))
