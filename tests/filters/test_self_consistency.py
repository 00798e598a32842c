from __future__ import annotations

import pytest

from synth.core.errors import WrongUse
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
