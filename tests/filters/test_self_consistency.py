from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.core.errors import RowFault, WrongUse
from synth.filters.self_consistency import SelfConsistency


def vote(*answers, **parameters):
    rows = [{"question": "q", "answer": a} for a in answers]
    return [v.reason for v in SelfConsistency(**parameters).judge_group(rows)]


def test_spellings_of_one_value_are_one_vote():
    assert vote("26", "$26.00", "26 eggs", "18") == [
        "",
        "",
        "",
        "minority_answer",
    ]


def test_ties_and_thin_majorities_keep_nothing():
    assert vote("1", "1", "2", "2") == ["weak_majority"] * 4
    assert vote("1", "1", "2", "3", "4") == ["weak_majority"] * 5
    assert vote("1", "1", "2", "3", "4", min_share=0.4) == [
        "",
        "",
        "minority_answer",
        "minority_answer",
        "minority_answer",
    ]
    assert vote("1") == ["weak_majority"]
    assert vote("1", min_votes=1) == [""]
    assert vote(None, None) == ["no_vote", "no_vote"]


def test_weights_decide_where_they_are_given():
    rows = [
        {"question": "q", "answer": a, "score": s}
        for a, s in (("4", 0.2), ("4", 0.2), ("5", 0.9))
    ]
    assert [r["answer"] for r in SelfConsistency().split(rows)[0]] == ["4", "4"]
    kept, _ = SelfConsistency(weight="score", min_votes=0).split(rows)
    assert [r["answer"] for r in kept] == ["5"]
    assert kept[0]["marks"]["self_consistency"]["share"] == round(0.9 / 1.3, 4)
    with pytest.raises(WrongUse, match="'high'"):
        SelfConsistency(weight="score").split(
            [{"question": "q", "answer": "4", "score": "high"}]
        )


def test_each_teacher_has_one_vote_however_many_draws_it_has():
    rows = [
        {"question": "q", "answer": a, "meta": {"teacher": t}}
        for a, t in (*[("4", "x")] * 5, ("5", "y"), ("$5", "z"))
    ]
    assert [r["answer"] for r in SelfConsistency().split(rows)[0]] == ["4"] * 5
    kept, _ = SelfConsistency(voter="teacher").split(rows)
    assert [r["answer"] for r in kept] == ["5", "$5"]
    assert kept[0]["marks"]["self_consistency"]["votes"] == 2


@pytest.mark.parametrize(
    "weight", [-1, float("nan"), float("inf"), 10**400, True, "1", None, [1]]
)
def test_a_weight_that_cannot_be_counted_is_named(weight):
    rows = [{"question": "q", "answer": "4", "w": weight, "id": "row 7"}]
    with pytest.raises(RowFault) as error:
        SelfConsistency(weight="w").split(rows)
    said = str(error.value)
    assert said.startswith("self_consistency:weight=w: found ")
    assert "wanted a number from 0 on" in said


VOTES = st.lists(
    st.tuples(st.sampled_from(["4", "5", "6", None]), st.integers(0, 3)),
    min_size=1,
    max_size=7,
)


@given(VOTES, st.sampled_from([0.0, 0.5, 0.8]), st.sampled_from([1, 2]))
def test_votes_are_counted_as_by_hand(drawn, share, fewest):
    rows = [{"question": "q", "answer": a, "w": w} for a, w in drawn]
    part = SelfConsistency(weight="w", min_share=share, min_votes=fewest)
    kept, _ = part.split(rows)
    sums = Counter()
    for answer, weight in drawn:
        sums[answer] += weight
    total = sums.total()
    del sums[None]
    first, second = (*sums.most_common(2), (None, 0), (None, 0))[:2]
    won = first[1] > second[1] and first[1] >= max(fewest, share * total)
    wanted = [row for row in rows if won and row["answer"] == first[0]]
    assert [row["answer"] for row in kept] == [row["answer"] for row in wanted]
