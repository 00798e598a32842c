"""Far rows first, against the definition by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.filters.diversity import Diversity, deita, k_centre


def cloud(count, seed):
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(count, 4)).astype(np.float32)
    return table / np.linalg.norm(
        table, axis=1, keepdims=True
    ), rng.permutation(count).tolist()


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 99))
def test_k_centre_takes_the_farthest_each_time(count, most, seed):
    table, order = cloud(count, seed)
    verdicts = k_centre(table, order, most)
    taken = sorted(
        (n for n, v in enumerate(verdicts) if v.keep),
        key=lambda n: verdicts[n].marks["rank"],
    )
    assert len(taken) == min(most, count)
    assert taken[0] == order[0]
    for rank in range(1, len(taken)):
        distance = 1 - (table @ table[taken[:rank]].T).max(axis=1)
        distance[taken[:rank]] = -1
        assert distance[taken[rank]] == pytest.approx(distance.max(), abs=1e-5)


@given(
    st.integers(1, 30),
    st.integers(1, 12),
    st.floats(0, 1.5),
    st.integers(0, 99),
)
def test_deita_goes_down_the_ranks(count, most, far, seed):
    table, order = cloud(count, seed)
    verdicts = deita(table, order, most, far)
    taken = []
    for place in order:
        distance = min(
            (1 - float(table[place] @ table[n]) for n in taken), default=2.0
        )
        if abs(distance - far) < 1e-3:
            return  # too near to call
        wanted = (
            "enough"
            if len(taken) == most
            else "too_close"
            if distance < far
            else ""
        )
        assert verdicts[place].reason == wanted
        taken += [place] if not wanted else []


def test_the_rank_comes_from_a_field():
    rows = [
        {"question": t, "score": s}
        for t, s in (("a b c", 1), ("a b d", 2), ("x y z", 0))
    ]
    kept, dropped = Diversity(
        most=1, method="deita", by="score", embedding="hashing"
    ).split(rows)
    assert [r["score"] for r in kept] == [2]
    assert {r["reason"] for r in dropped} == {"enough"}
    with pytest.raises(ValueError, match="most=0"):
        Diversity(most=0)
