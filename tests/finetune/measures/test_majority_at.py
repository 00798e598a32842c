"""majority@k against all choices of k draws."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.measures.majority_at import MajorityAt

ANSWERS = st.lists(
    st.sampled_from(["5", "4", "3", None]), min_size=1, max_size=7
)


@given(ANSWERS, st.integers(1, 7))
def test_it_is_the_mean_over_all_choices(answers, k):
    k = min(k, len(answers))
    rows = [{"answer": one, "right": one == "5"} for one in answers]
    shares = []
    for chosen in combinations(answers, k):
        votes = Counter(one for one in chosen if one is not None)
        leading = [one for one, n in votes.items() if n == max(votes.values())]
        shares.append(fmean(one == "5" for one in leading) if leading else 0.0)
    assert MajorityAt(k=k).of_question(rows) == pytest.approx(fmean(shares))


def test_many_choices_are_spread():
    rows = [{"answer": "5", "right": True}] * 12 + [
        {"answer": "4", "right": False}
    ] * 12
    found = MajorityAt(k=9).of_question(rows)
    assert 0.3 < found < 0.7


@pytest.mark.parametrize(("draws", "k"), [(60, 30), (1000, 3), (300_000, 5)])
def test_more_choices_than_can_be_counted_are_sampled(draws, k):
    # A third of the draws is right, and each of three answers is as frequent.
    rows = [{"answer": str(n % 3), "right": n % 3 == 1} for n in range(draws)]
    found = MajorityAt(k=k).of_question(rows)
    assert found == pytest.approx(1 / 3, abs=0.03)
    assert found == MajorityAt(k=k).of_question(rows)
