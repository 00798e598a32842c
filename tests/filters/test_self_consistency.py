from __future__ import annotations

from synth.filters.self_consistency import SelfConsistency


def vote(*answers, **parameters):
    rows = [{"question": "q", "answer": a} for a in answers]
    return [v.reason for v in SelfConsistency(**parameters).judge_group(rows)]


def test_spellings_of_one_value_are_one_vote():
    assert vote("26", "$26.00", "26 eggs", "18") == ["", "", "", "minority_answer"]


def test_ties_and_thin_majorities_keep_nothing():
    assert vote("1", "1", "2", "2") == ["weak_majority"] * 4
    assert vote("1", "1", "2", "3", "4") == ["weak_majority"] * 5
    assert vote("1", "1", "2", "3", "4", min_share=0.4) == ["", "", "minority_answer", "minority_answer", "minority_answer"]
    assert vote("1") == ["weak_majority"]
    assert vote("1", min_votes=1) == [""]
    assert vote(None, None) == ["no_vote", "no_vote"]
