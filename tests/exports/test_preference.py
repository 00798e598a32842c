from __future__ import annotations

import json
import re

import pytest

import synth
from synth.core import registry
from synth.core.errors import WrongUse
from synth.runs.pairing import jaccard, make_pairs, why_no_pair
from synth.teachers.simulation.word_problems import make_problems
from tests.exports.test_sft import folder, rows_of  # noqa: F401 - a fixture


def test_pairs_prefer_right_over_wrong_of_the_same_seed(folder):  # noqa: F811
    rows = rows_of(folder, "preference:per_seed=9")
    targets = {row["id"]: row["target"] for row in folder.rows()}
    assert len(rows) > 20
    for row in rows:
        assert row["chosen"].endswith(f"#### {targets[row['id']]}")
        assert not row["rejected"].endswith(f"#### {targets[row['id']]}")
    once = rows_of(folder, "preference")
    assert len({row["id"] for row in once}) == len(once)


def test_equal_texts_and_equal_answers_make_no_pair():
    kept = [{"id": "a", "prompt": "p", "completion": "x 4", "answer": "4"}]
    dropped = [
        {"id": "a", "completion": "x 4", "answer": "4", "reason": "wrong_step"},
        {
            "id": "a",
            "completion": "4.0",
            "answer": "4.0",
            "reason": "wrong_answer",
        },
    ]
    assert list(make_pairs(kept, dropped, per_seed=9)) == []
    assert (
        len(list(make_pairs(kept, [{**dropped[1], "reason": "wrong_step"}])))
        == 1
    )
    assert (
        list(
            make_pairs(
                kept,
                [{**dropped[1], "answer": "5", "reason": "no_answer_marker"}],
            )
        )
        == []
    )


def test_the_most_unlike_pairs_come_first():
    kept = [
        {
            "id": "a",
            "prompt": "p",
            "completion": "two and two make four",
            "answer": "4",
        }
    ]
    dropped = [
        {"id": "a", "completion": c, "answer": "5", "reason": "wrong_answer"}
        for c in ("two and two make five", "I guess it is five")
    ]
    found = [
        row["rejected"]
        for row in make_pairs(kept, dropped, per_seed=2, order="unlike")
    ]
    assert found == ["I guess it is five", "two and two make five"]


def test_a_teacher_over_a_student_where_their_answers_differ(tmp_path, folder):  # noqa: F811
    synth.run(
        "cot",
        make_problems(80, seed=5),
        teacher="simulated/slips:slip=0.6",
        output=tmp_path,
        draws=2,
    )
    rows = rows_of(
        folder, {"name": "preference", "other": str(tmp_path), "per_seed": 2}
    )
    targets = {row["id"]: row["target"] for row in folder.rows()}
    assert len(rows) > 20
    for row in rows:
        assert row["chosen"].endswith(f"#### {targets[row['id']]}")
        assert not row["rejected"].endswith(f"#### {targets[row['id']]}")
        assert row["reason"] == "worse"
        assert jaccard(row["chosen"], row["rejected"]) <= 0.9


def test_a_critics_margins_make_pairs_and_never_of_equals():
    from synth.runs.marks import mark, split_name
    from synth.runs.pairing import by_score

    def row(text, score):
        marks = json.dumps({"score": score}) if score is not None else ""
        verdicts = [
            {"filter": "critic", "keep": True, "reason": "", "marks": marks}
        ]
        return {
            "id": "a",
            "prompt": "p",
            "completion": text,
            "meta": {"verdicts": verdicts},
        }

    rows = [
        row("one", 0.9),
        row("two", 0.9),
        row("three", 0.4),
        row("one", 0.1),
        row("four", None),
    ]
    scored = [
        (r, s) for r in rows if (s := mark(r, ("critic", "score"))) is not None
    ]
    found = [
        (p["chosen"], p["rejected"], p["margin"])
        for p in by_score(scored, per_seed=9)
    ]
    assert found == [
        ("two", "one", 0.8),
        ("one", "three", 0.5),
        ("two", "three", 0.5),
        ("three", "one", 0.3),
    ]
    with pytest.raises(ValueError, match="above 0"):
        list(by_score(scored, least=0))
    with pytest.raises(WrongUse, match=r"FILTER\.MARK"):
        split_name("critic")
    with pytest.raises(WrongUse, match="least"):
        registry.build("synth.exports", "preference:by=critic.score,least=0")


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ("reasons=shoutin", "none was dropped for shoutin, and "),
        ("by=bounds.score", "0 draws have bounds.score"),
    ],
)
def test_an_export_of_nothing_says_why(folder, named, says):  # noqa: F811
    maker = registry.build("synth.exports", f"preference:{named}", "--to")
    assert re.search(says, maker.why_none(folder))


def test_the_commonest_reason_is_proposed_and_reasons_that_fit_ask_for_draws():
    shouting = [{"reason": "shouting"}] * 2 + [{"reason": "too_long"}]
    found, todo = why_no_pair(shouting)
    assert found.endswith("and 2 shouting, 1 too_long")
    assert "preference:reasons=shouting" in todo
    assert "--draws" in why_no_pair(shouting, ("too_long",))[1]
    assert why_no_pair([])[0].endswith("no draw was dropped")
