"""Rows that the student finds harder than the reference does come first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from synth.filters.learnability import Learnability

LOSSES = st.lists(
    st.tuples(st.floats(0, 9), st.floats(0, 9)), min_size=1, max_size=20
)


@given(LOSSES, st.integers(1, 20))
def test_the_largest_differences_stay(pairs, most):
    verdicts = Learnability(student="s", reference="r", most=most).verdicts_of(
        [a for a, _ in pairs], [b for _, b in pairs]
    )
    kept = [v.marks["learnability"] for v in verdicts if v.keep]
    dropped = [v.marks["learnability"] for v in verdicts if not v.keep]
    assert len(kept) >= min(most, len(pairs))
    assert min(kept) > max(dropped, default=-99)
