# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The next token: the first of those with the largest logit, however it is found."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from openlpu.arch.presets import ULX3S
from openlpu.compiler.errors import CompileError
from openlpu.compiler.graph import Port
from openlpu.compiler.kernel_reference import KernelReference
from openlpu.compiler.kernels import BufferOperand, Immediate, Term, padded
from openlpu.llm.choosing import Keys, choose, choose_by_key, choose_byte, largest_sum, leave_logits
from openlpu.llm.token_writer import BYTE, HISTORY, LOGITS, POSITION, TOKEN, TokenWriter

SCALE = 0.0123
Codes = npt.NDArray[np.int8]


def by_key(writer: TokenWriter, term: Callable[[Codes], Term], codes: Codes) -> None:
    logits = choose_by_key(writer, [term(codes)], Keys(len(codes), largest_sum(codes)))
    leave_logits(writer, logits, SCALE, [])


def by_byte(writer: TokenWriter, term: Callable[[Codes], Term], codes: Codes) -> None:
    # Half of a logit is known before the other.
    known = codes // 2
    choose_byte(writer, [term(known - codes)], [term(-known)], 2 * largest_sum(codes), SCALE)


def by_logit(writer: TokenWriter, term: Callable[[Codes], Term], codes: Codes) -> None:
    logits = choose(writer, [term(codes)], len(codes), Immediate.of_float(SCALE / 2))
    leave_logits(writer, logits, 2.0, [])


def chosen(way: Callable[..., None], codes: Codes, vectors: Codes) -> list[tuple[int, npt.NDArray[np.float32]]]:
    """The token and all logits for each vector, whose products with the rows of `codes` logits are."""
    writer = TokenWriter("choice", 16, len(codes), 16, ULX3S)
    writer.begin()
    x = BufferOperand(writer.buffer("x", 1, wide=False))
    writer.index("position.index", BufferOperand(POSITION, byte=0))

    def term(weights: Codes) -> Term:
        return Term(x, (padded(np.ascontiguousarray(weights.T), ULX3S.lanes),))

    way(writer, term, codes)
    graph = writer.written(
        "choice",
        [(Port("x", "x", "int8", (1, 16)), "x"), (Port(POSITION, POSITION, "int32", (1, 2)), POSITION)],
        [
            (Port(HISTORY, HISTORY, "int8", (16, 2)), BufferOperand(HISTORY)),
            (Port(LOGITS, LOGITS, "float32", (writer.blocks(len(codes)), 16)), BufferOperand(LOGITS)),
        ],
    )
    reference, found = KernelReference(graph, ULX3S), []
    for vector in vectors:
        outputs = reference.run({"x": vector[None], POSITION: np.zeros((1, 2), np.int32)})
        low, high = (int(byte) % BYTE for byte in outputs[HISTORY][0, :2])
        token = low if way is by_byte else low + BYTE * high
        assert reference.read(TOKEN)[0, 0] % BYTE == token % BYTE
        found.append((token, outputs[LOGITS].view(np.float32).reshape(-1)[: len(codes)]))
    return found


@pytest.mark.parametrize(
    ("way", "count"),
    [(by_byte, 27), (by_byte, 256), (by_key, 27), (by_key, 32), (by_key, 300), (by_key, 512), (by_logit, 300)],
)
def test_the_first_of_the_largest(way: Callable[..., None], count: int) -> None:
    random = np.random.default_rng(count)
    codes = random.integers(-100, 101, (count, 16), np.int8)
    # Equals, far from each other.
    codes[count // 2 :] = codes[: count - count // 2]
    vectors = random.integers(-127, 128, (24, 16), np.int8)
    # All logits are the same, and then none is above 0.
    vectors[0] = 0
    codes[:, 0], vectors[1, 0], vectors[1, 1:] = np.abs(codes[:, 0]) | 1, -127, 0
    tokens = set()
    for (token, logits), vector in zip(chosen(way, codes, vectors), vectors, strict=True):
        sums = codes.astype(int) @ vector
        assert token == sums.argmax()
        np.testing.assert_array_equal(logits, sums.astype(np.float32) * np.float32(SCALE))
        tokens.add(token)
    assert 0 in tokens
    assert len(tokens) > 8


def test_keys_that_have_no_room() -> None:
    assert Keys(512, 1_000_000).fit
    assert not Keys(512, 2_100_000).fit
    assert not Keys(2, 9_000_000).fit
    writer = TokenWriter("wide", 16, 200, 16, ULX3S)
    with pytest.raises(
        CompileError, match=r"no room for 200 tokens and sums of up to 4,200,000: use a smaller network"
    ):
        choose_byte(writer, [], [], 2_100_000, 1.0)
