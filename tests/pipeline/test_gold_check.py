"""Golds are read before the first call."""

from __future__ import annotations

import pytest

import synth
from synth.core.errors import WrongUse
from synth.pipeline.prepare import RunConfig, check

CHOICES = ["park", "station", "sea"]


def said(rows, **overrides):
    return check("cot", rows, RunConfig(teachers={}, overrides=overrides))[
        2
    ].golds


def test_forms_are_counted_and_the_first_unread_gold_is_named():
    rows = [
        {"question": "q", "target": gold}
        for gold in (
            "5",
            "so\n#### 5",
            r"\boxed{5}",
            7,
            "a long story",
            None,
            "none",
        )
    ]
    assert said(rows) == (
        "golds: 4 read (2 bare, 1 ####, 1 boxed); 2 that nothing reads, the first at row 5: "
        "target 'a long story' has no number, which the parser final_number reads"
    )


def test_choices_in_every_shape():
    labelled = {"text": CHOICES, "label": ["1", "2", "3"]}
    rows = [
        {"question": "q", "choices": CHOICES, "target": 1}, {"question": "q", "choices": CHOICES, "target": "B"},
        {"question": "q", "choices": CHOICES, "target": "station"}, {"question": "q", "choices": labelled, "target": "2"},
    ]  # fmt: skip
    assert said(rows) == "golds: 4 read (1 index, 1 letter, 1 choice, 1 label)"


@pytest.mark.parametrize("golds", [["many words"], ["####"], [{"other": 1}]])
def test_golds_of_which_none_is_read_are_refused(golds):
    with pytest.raises(WrongUse, match=r"row 1.*--column target=NAME"):
        said([{"question": "q", "target": gold} for gold in golds])


def test_a_gold_that_may_be_two_choices_is_refused_until_the_user_says_which():
    row = {"question": "q", "choices": ["1", "2", "3"], "target": 1}
    with pytest.raises(WrongUse, match="gold=index"):
        said([row])
    assert (
        said([row], **{"rationale.filters.answer_match.gold": "index"})
        == "golds: 1 read (1 index)"
    )


def test_a_run_over_labelled_choices(tmp_path):
    row = {
        "question": "Where do trains stop?",
        "choices": {"text": CHOICES, "label": ["1", "2", "3"]},
        "target": "2",
    }
    replies = tmp_path / "replies.jsonl"
    replies.write_text(
        '{"question": "Where do trains stop?", "completion": "At stations. The answer is (b) station."}\n'
    )
    done = synth.run(
        "cot", [row], teacher=f"replay/{replies}", output=tmp_path / "out"
    )
    assert done.counts["kept"] == 1
    assert "(b) station" in done.kept[0]["prompt"]


def test_a_wrong_row_says_what_was_said_and_what_was_right(tmp_path):
    replies = tmp_path / "replies.jsonl"
    replies.write_text(
        '{"question": "How many?", "completion": "It is so.\\n#### 4"}\n'
    )
    done = synth.run(
        "cot",
        [{"question": "How many?", "target": "14"}],
        teacher=f"replay/{replies}",
        output=tmp_path / "out",
    )
    assert done.dropped[0]["detail"] == "said: 4, gold: 14"


def test_an_input_without_golds_says_so_and_names_the_column(tmp_path):
    from tests.cli.test_cli import synth as command

    rows = tmp_path / "x.jsonl"
    rows.write_text('{"question": "What is 2 + 3 ?", "ground_truth": "5"}\n')
    code, out = command("check", "cot", "--input", rows)
    assert code == 0
    assert "no row has 'target': answer_match compares nothing" in out
    assert "--column target=ground_truth" in out
    rows.write_text(
        '{"question": "What is 2 + 3 ?", "choices": {"text": ["4", "5"], "label": ["A", "B"]}, "answerKey": "B"}\n'
    )
    assert (
        "golds: 1 read (1 label)" in command("check", "cot", "--input", rows)[1]
    )


def test_a_run_takes_the_kind_of_gold_that_the_user_says(tmp_path):
    replies = tmp_path / "replies.jsonl"
    replies.write_text(
        '{"question": "q", "completion": "The answer is (b)."}\n'
    )
    done = synth.run(
        "cot",
        [{"question": "q", "choices": ["1", "2", "3"], "target": 1}],
        teacher=f"replay/{replies}",
        overrides={"rationale.filters.answer_match.gold": "index"},
        output=tmp_path / "out",
    )
    assert done.counts["kept"] == 1
