"""Difficulty by the share of right draws."""

from __future__ import annotations

import pytest

from synth.filters.pass_rate import PassRate


def test_answers_count_by_value_and_missing_ones_as_wrong():
    rows = [
        {"question": "q", "answer": a, "target": "1/2"}
        for a in ("0.5", "$0.50", None, "2")
    ]
    kept, dropped = PassRate(least=0.4, most=0.6).split(rows)
    assert not dropped
    assert kept[0]["marks"]["pass_rate"]["pass_rate"] == 0.5


def test_shares_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match=r"least=0\.9"):
        PassRate(least=0.9, most=0.1)
