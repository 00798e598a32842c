"""Rounds end where nothing gets better."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.flows.rounds import settled

SCORES = st.lists(st.integers(0, 4), min_size=1, max_size=9)


def ends_at(scores: list[int], patience: int) -> int:
    """Rounds that are played, counted slowly: those since the best one so far, against the
    patience.
    """
    best, since = -1, 0
    for number, score in enumerate(scores, 1):
        if score > best:
            best, since = score, 0
        else:
            since += 1
        if since == patience:
            return number
    return len(scores)


@given(SCORES, st.integers(1, 4))
def test_rounds_end_where_patience_does(scores, patience):
    counts = range(1, len(scores) + 1)
    settled_at = (n for n in counts if settled(scores[:n], patience))
    assert next(settled_at, len(scores)) == ends_at(scores, patience)


@given(SCORES, st.integers(1, 4))
def test_a_loop_that_has_settled_stays_so_until_something_is_better(
    scores, patience
):
    if settled(scores, patience):
        assert settled([*scores, min(scores)], patience)
        assert not settled([*scores, max(scores) + 1], patience)
    assert not settled(scores[:patience], patience)


@pytest.mark.parametrize(
    ("shares", "patience", "ends"),
    [
        ((), 1, False),
        ((0.5,), 1, False),
        ((0.5, 0.5), 1, True),
        ((0.5, 0.6), 1, False),
        ((0.5, 0.4, 0.6), 2, False),
        ((0.5, 0.4, 0.5), 2, True),
    ],
)
def test_it_ends_where_nothing_gets_better(shares, patience, ends):
    assert settled(shares, patience) is ends
