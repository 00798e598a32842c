"""pass@k against the share of all choices of k draws that hold a right one."""

from __future__ import annotations

from itertools import combinations
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.measures.pass_at import PassAt
from synth.core.errors import WrongUse


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.integers(1, 8))
def test_it_is_the_mean_over_all_choices(right, k):
    rows = [{"right": one} for one in right]
    if k > len(rows):
        with pytest.raises(WrongUse, match="draws of a question"):
            PassAt(k=k).of_question(rows)
        return
    wanted = fmean(any(chosen) for chosen in combinations(right, k))
    assert PassAt(k=k).of_question(rows) == pytest.approx(wanted)


def test_k_is_at_least_one():
    with pytest.raises(WrongUse, match="1 or more"):
        PassAt(k=0)
