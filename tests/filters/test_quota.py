"""So many rows of each kind, the best first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.filters.quota import Quota


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9)), unique=True),
    st.integers(1, 4),
)
def test_the_best_of_each_kind_stay(pairs, most):
    kept, dropped = Quota(field="kind", most=most, by="score").split(
        [{"kind": k, "score": s} for k, s in pairs]
    )
    for kind in "ab":
        scores = sorted((s for k, s in pairs if k == kind), reverse=True)
        assert (
            sorted(
                (r["score"] for r in kept if r["kind"] == kind), reverse=True
            )
            == scores[:most]
        )
    assert len(kept) + len(dropped) == len(pairs)


def test_nothing_at_all_is_no_quota():
    with pytest.raises(ValueError, match="most=0"):
        Quota(field="kind", most=0)
