# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What of a network chips share by columns, and what each of them does by itself."""

import numpy as np
import numpy.typing as npt

from openlpu.compiler.graph import Port
from openlpu.compiler.kernels import (
    Buffer,
    BufferOperand,
    Factor,
    Immediate,
    Kernel,
    KernelGraph,
    MatMulKernel,
    Step,
    Target,
    Term,
    VectorKernel,
)
from openlpu.compiler.split_buffers import Splits

ROWS, COLS = 4, 8
DENSE, MOVES = (np.ones((COLS, COLS), np.int8),), (np.eye(COLS, dtype=np.int8)[::-1],)


def product(output: str, rows: str, weights: tuple[npt.NDArray[np.int8], ...] | Factor, *steps: Step) -> MatMulKernel:
    return MatMulKernel(output, (Term(BufferOperand(rows), weights),), steps)


def plus(name: str, column: int | None = None) -> Step:
    return Step("iadd", BufferOperand(name, column=column))


def splits(kernels: list[Kernel], narrow: tuple[str, ...] = ("x",), output: str = "y") -> Splits:
    """Of a graph of 32-bit buffers but for those of int8; each as its first kernel writes it."""
    names = dict.fromkeys(["x", *(kernel.output for kernel in kernels)])
    buffers = tuple(Buffer(name, ROWS, COLS, name not in narrow) for name in names)
    inputs = ((Port("x", "x", "int8", (ROWS, COLS)), "x"),)
    outputs = ((Port("y", output, "int32", (ROWS, COLS)), BufferOperand(output)),)
    return Splits(KernelGraph("some", buffers, tuple(kernels), inputs, outputs))


def test_what_follows_a_product_element_by_element_is_split_with_it() -> None:
    found = splits(
        [
            VectorKernel("wide", BufferOperand("x"), ()),
            product("sums", "x", DENSE),
            VectorKernel("y", BufferOperand("sums"), (plus("wide"),)),
        ]
    )
    assert found.split == found.dealt == {"sums", "y"}
    assert found.everywhere == set()
    assert found.groups == (("y",),)
    assert [kernel.output for kernel in found.behind("y")] == ["y", "sums"]


def test_what_is_multiplied_or_folded_goes_everywhere() -> None:
    folded = VectorKernel("folded", BufferOperand("sums", column=0), (plus("sums", 1),))
    found = splits(
        [
            product("sums", "x", DENSE),
            folded,
            VectorKernel("codes", BufferOperand("sums"), (plus("folded", 0),)),
            product("y", "codes", DENSE),
        ],
        narrow=("x", "codes"),
    )
    assert found.split == {"sums", "codes", "y"}
    assert found.everywhere == {"sums", "codes"}
    # Codes are made of what is everywhere: no chip waits for another's.
    assert found.dealt == {"sums", "y"}
    assert found.groups == (("sums", "codes"), ("y",))


def test_moves_are_no_work_to_share() -> None:
    assert splits([product("y", "x", MOVES)]).split == set()


def test_what_is_laid_out_as_weights_stays_whole_with_all_that_it_is_made_of() -> None:
    kernels: list[Kernel] = [
        product("keys", "x", DENSE),
        VectorKernel("shifted", BufferOperand("keys"), (Step("iadd", Immediate(1)),)),
        VectorKernel("factor", BufferOperand("shifted"), ()),
        product("y", "x", Factor("factor")),
    ]
    assert splits(kernels, narrow=("x", "factor")).split == set()


def test_what_is_read_before_all_of_it_is_there_stays_whole() -> None:
    upper, lower = (Target(first, rows=ROWS // 2) for first in (0, ROWS // 2))
    kernels: list[Kernel] = [
        MatMulKernel("sums", (Term(BufferOperand("x"), DENSE),), (), upper),
        VectorKernel("y", BufferOperand("sums"), (), upper),
        MatMulKernel("sums", (Term(BufferOperand("x"), DENSE),), (), lower),
        VectorKernel("y", BufferOperand("sums", first_row=ROWS // 2), (), lower),
    ]
    assert splits(kernels).split == set()
    assert splits([kernels[0], kernels[2], kernels[1], kernels[3]]).split == {"sums", "y"}
