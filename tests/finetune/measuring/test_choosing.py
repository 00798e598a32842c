"""A student's choice among texts follows their likelihoods, whatever their common factor."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.measuring.choosing import chosen

LOGS = st.lists(st.floats(-700, 0), min_size=1, max_size=6)


@given(LOGS)
def test_shares_add_up_and_the_likeliest_is_chosen(logs):
    texts = [f"t{n}" for n in range(len(logs))]
    choice = chosen(texts, logs)
    assert sum(choice.shares) == pytest.approx(1, abs=1e-5)
    assert logs[texts.index(choice.text)] == max(logs)
    assert 0 <= choice.margin <= 1
    for share, log in zip(choice.shares, logs, strict=True):
        assert share == pytest.approx(
            math.exp(log - max(logs))
            / sum(math.exp(o - max(logs)) for o in logs),
            abs=1e-5,
        )


@given(LOGS, st.floats(-5000, 5000))
def test_a_common_factor_plays_no_part(logs, shift):
    texts = [f"t{n}" for n in range(len(logs))]
    moved = chosen(texts, [log + shift for log in logs])
    assert moved.shares == pytest.approx(chosen(texts, logs).shares, abs=1e-5)
