"""So many rows of each kind, the best first."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.core.errors import RowFault
from synth.filters.diversity import Diversity
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


@given(st.lists(st.sampled_from("abcd"), min_size=1), st.integers(0, 100))
def test_a_percentile_caps_the_largest_kinds(kinds, percentile):
    kept, _ = Quota(field="kind", percentile=percentile).split(
        [{"kind": kind, "place": n} for n, kind in enumerate(kinds)]
    )
    sizes = Counter(kinds)
    most = max(1, int(np.percentile([*sizes.values()], percentile)))
    assert Counter(row["kind"] for row in kept) == {
        kind: min(size, most) for kind, size in sizes.items()
    }


@pytest.mark.parametrize(
    "given",
    [{}, {"most": 1, "percentile": 90}, {"percentile": 101}],
    ids=str,
)
def test_one_cap_is_given(given):
    with pytest.raises(ValueError, match="percentile"):
        Quota(field="kind", **given)


def test_nothing_at_all_is_no_quota():
    with pytest.raises(ValueError, match="most=0"):
        Quota(field="kind", most=0)


PARTS = [
    Quota(field="question", most=1, by="score"),
    Diversity(most=1, by="score", embedding="hashing"),
]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
@pytest.mark.parametrize(
    "value", ["high", float("nan"), float("inf"), [1], {"a": 1}, 10**400, "nan"]
)
def test_a_rank_that_is_no_number_is_named_with_its_filter(part, value):
    rows = [{"question": "a", "score": 1}, {"question": "a", "score": value}]
    with pytest.raises(RowFault) as error:
        part.split(rows)
    said = str(error.value)
    assert said.startswith(f"{part.name}:by=score: found ")
    assert "wanted a number" in said


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
@pytest.mark.parametrize(
    ("low", "high"), [("0.5", "1e1"), (None, 0.1), (-1, ""), (False, True)]
)
def test_numbers_in_texts_rank_and_none_is_0(part, low, high):
    rows = [{"question": "a", "score": low}, {"question": "a", "score": high}]
    for order in (rows, rows[::-1]):
        kept, _ = part.split(order)
        assert [row["score"] for row in kept] == [high]
