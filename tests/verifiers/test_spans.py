"""Quoted words stand in a source, or do not."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.verifiers.spans import Spans

SOURCE = (
    "The lamp—which Ann had bought—was “never” lit.\nIt  cost\u00a05 euros."
)


@pytest.mark.parametrize(
    "span",
    [
        "the lamp-which Ann",
        '"never" lit',
        "It cost 5 euros",
        "THE LAMP ... lit",
        "lit. It cost",
        "[...] never [...] euros",
    ],
)
def test_typography_plays_no_part(span):
    assert Spans().verify(span, SOURCE)


@pytest.mark.parametrize(
    "span", ["", "...", "lamp which Ann", "euro", "lit ... lamp", "5 dollars"]
)
def test_other_words_are_not_there(span):
    assert not Spans().verify(span, SOURCE)


def test_an_ellipsis_can_be_refused():
    assert not Spans(ellipsis=False).verify("The lamp ... lit", SOURCE)


@given(
    st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=12),
    st.data(),
)
def test_every_run_of_words_is_found(words, data):
    start = data.draw(st.integers(0, len(words) - 1))
    assert Spans().verify(
        " ".join(words[start : data.draw(st.integers(start + 1, len(words)))]),
        " ".join(words),
    )


def test_long_spans_cost_little():
    started = time.process_time()
    Spans().verify("a ... " * 20_000, "b a " * 50_000)
    Spans().verify("." * 100_000 + "x", "a" * 100_000)
    assert time.process_time() - started < 3
