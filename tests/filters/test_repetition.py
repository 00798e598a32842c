"""Circles of words, lines and signs; honest repetition stays."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.filters.repetition import Repetition

CIRCLES = [
    "I think it is 4. " * 8, "We check again and again. " * 5, "no " * 30, "Let me think.\n" * 6, "The answer is 4.\nSo the answer is 4, wait, no, " * 4, "ha" * 60, "我想" * 50,
]  # fmt: skip
HONEST = [
    "3 + 4 = 7. 7 + 5 = 12. So there are 12 pens.", "The cat sat. The dog sat. The bird flew away over the roof.", "Row, row, row your boat.", "-" * 100, "",
    "very very very good", "1, 2, 3, 4, 5, 6, 7, 8",
]  # fmt: skip


@pytest.mark.parametrize("text", CIRCLES)
def test_circles_are_found(text):
    assert Repetition().judge({"rationale": text}).reason in (
        "loop",
        "repeated_lines",
    )


@pytest.mark.parametrize("text", HONEST)
def test_honest_texts_stay(text):
    assert Repetition().judge({"rationale": text}).keep


def test_long_texts_cost_little():
    started = time.process_time()
    for text in (
        "a " * 200_000,
        "ab" * 500_000,
        "x y z " * 100_000,
        "\n" * 500_000,
    ):
        Repetition().judge({"reply": text})
    assert time.process_time() - started < 2


@given(
    st.just([]) | st.lists(st.sampled_from("abc"), min_size=8, max_size=30),
    st.integers(2, 5),
)
def test_the_share_of_repeated_words_is_that_of_a_slow_count(words, n):
    """A word counts where any n-gram over it stood before."""
    grams = [tuple(words[at : at + n]) for at in range(len(words) - n + 1)]
    covered = {
        at + step
        for at, gram in enumerate(grams)
        for step in range(n)
        if gram in grams[:at]
    }
    share = len(covered) / max(1, len(words))
    verdict = Repetition(words=n).judge({"rationale": " ".join(words)})
    assert verdict.marks["repeated"] == pytest.approx(share, abs=1e-4)
