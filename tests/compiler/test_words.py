# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Who has which words of SRAM: fresh ones first, then those that nobody needs any more."""

import numpy as np

from openlpu.compiler.words import Words


def test_words_are_given_from_the_front_and_side_by_side() -> None:
    words = Words(slices=3, words=16)
    assert words.fresh((0, 1), 4) == 0
    assert words.take("a", (0,), 0, 3) == frozenset()
    assert words.fresh((0, 1), 4) == 3
    assert words.fresh((1, 2), 4) == 0
    assert words.fresh((0, 1), 4, align=4) == 4
    assert words.fullest((0, 1)) == 3
    words.take("b", (0, 1), 12, 4)
    assert words.fresh((0,), 9) == 3
    assert words.fresh((0,), 10) is None


def test_what_is_reserved_is_for_who_comes_last() -> None:
    words = Words(slices=1, words=8)
    words.reserved = 3
    assert words.fresh((0,), 6) is None
    assert words.fresh((0,), 6, last=True) == 0
    words.take("a", (0,), 0, 5)
    assert words.fresh((0,), 1) is None
    assert words.fresh((0,), 3, last=True) == 5


def test_words_come_back_with_the_names_of_who_had_them() -> None:
    words = Words(slices=2, words=8)
    words.take("a", (0, 1), 0, 3)
    words.take("b", (0, 1), 3, 3)
    words.give_back((0, 1), 0, 3)
    assert words.fresh((0, 1), 3) is None
    assert words.vacated((0, 1), 3) == 0
    words.give_back((0, 1), 3, 3)
    assert words.take("c", (0, 1), 2, 5) == {"a", "b"}
    assert words.shared == {(place, word) for place in (0, 1) for word in (2, 3, 4, 5)}
    assert words.vacated((0,), 2) == 0
    assert words.vacated((0,), 3) is None


def test_nothing_is_given_twice() -> None:
    seed = 7
    rng = np.random.default_rng(seed)
    words = Words(slices=4, words=40)
    held: dict[str, tuple[list[int], int, int]] = {}
    for number in range(300):
        if held and rng.random() < 0.4:
            words.give_back(*held.pop(str(rng.choice(list(held)))))
            continue
        slices, count = sorted(rng.choice(4, size=rng.integers(1, 5), replace=False).tolist()), int(rng.integers(1, 9))
        base = words.vacated(slices, count)
        if base is not None:
            words.take(str(number), slices, base, count)
            held[str(number)] = slices, base, count
        taken = [
            (s, word) for slices, base, count in held.values() for s in slices for word in range(base, base + count)
        ]
        assert len(taken) == len({*taken}), f"seed {seed}"
