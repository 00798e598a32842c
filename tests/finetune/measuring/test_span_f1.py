"""Spans of replies are counted as sets, whatever stands around them; what is no list is counted
apart.
"""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from finetune.cli import main
from finetune.measuring.span_f1 import normalised, score, spans
from tests.conftest import SHARED, write

LISTS = st.lists(st.sampled_from(["Ann", "the Bo", "Cid!", "d e"]), max_size=4)


@given(st.lists(st.tuples(LISTS, LISTS), min_size=1, max_size=8))
def test_it_is_micro_f1_over_sets(rows):
    found = score(
        [
            {"reply": f"So: {json.dumps(said)}", "target": json.dumps(true)}
            for said, true in rows
        ]
    )
    pairs = [
        (spans(json.dumps(said)), spans(json.dumps(true)))
        for said, true in rows
    ]
    right, made, gold = (
        sum(map(len, part))
        for part in (
            [a & b for a, b in pairs],
            [a for a, _ in pairs],
            [b for _, b in pairs],
        )
    )
    assert found["precision"] == (right / made if made else 0)
    assert found["recall"] == (right / gold if gold else 0)
    assert found["format_errors"] == 0


def test_unreadable_is_not_empty():
    assert spans("no list") is None
    assert spans('[{"entity": "Ann"}]') is None
    assert (
        score(
            [
                {"reply": "?", "target": '["Ann"]'},
                {"reply": "[]", "target": '["Ann"]'},
            ]
        )["format_errors"]
        == 0.5
    )


def test_the_command_says_what_was_no_list(tmp_path):
    data = write(
        tmp_path / "predictions.jsonl",
        [
            {"reply": '["Ann"]', "target": '["Ann", "Bo"]'},
            {"reply": "none", "target": "[]"},
        ],
    )
    result = CliRunner().invoke(main, ["score-spans", "--data", str(data)])
    assert result.exit_code == 0, result.output
    assert (
        "precision 1.000, recall 0.500, F1 0.667; no list: 0.500 of the rows"
        in result.output
    )


@pytest.mark.parametrize(
    "reply",
    [
        "[" * 100_000 + "]" * 100_000,
        "[" * 100_000 + "]",
        "] [",
        "[1, 2]",
        '["a", null]',
        '[["a"]]',
        '{"a": []} x',
        "['a']",
        "",
        "[",
        '["a"',
    ],
)
def test_a_reply_that_is_no_list_of_texts_is_none(reply):
    found = spans(reply)
    if reply == '{"a": []} x':
        # The list stands in it, whatever is around.
        assert found == set()
    else:
        assert found is None


WORDS = st.lists(
    st.text("ab\u00df\u0130 -.'\u4e2dATHEtheAn", max_size=8), max_size=5
)


@given(WORDS, st.text("abc \n:,", max_size=9), st.text("abc \n", max_size=9))
def test_a_list_is_read_wherever_it_stands_and_blank_entities_are_none(
    words, before, behind
):
    reply = f"{before}{json.dumps(words)}{behind}"
    found = spans(reply)
    assert found == {normalised(word) for word in words} - {""}
    assert spans(json.dumps(sorted(found))) == found
    assert spans(json.dumps(words[::-1])) == found


@given(st.text(max_size=20))
def test_a_name_is_normalised_once_and_whatever_its_case_and_blanks(text):
    found = normalised(text)
    assert normalised(found) == found
    assert normalised(f"  the {text}\n!") == found
    assert not set(found) & set("!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~")


NAMES = ["ann", "bo", "cy", "di", "oslo lake"]
ENTITIES = st.sets(st.sampled_from(NAMES))


@given(st.lists(st.tuples(ENTITIES, ENTITIES), min_size=1, max_size=5))
def test_the_figures_are_those_of_scikit_learn(pairs):
    metrics = pytest.importorskip("sklearn.metrics")
    rows = []
    wanted = []
    predicted = []
    for made, gold in pairs:
        said = json.dumps(list(made))
        rows.append({"reply": said, "target": json.dumps(list(gold))})
        wanted.append([name in gold for name in NAMES])
        predicted.append([name in made for name in NAMES])
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        wanted, predicted, average="micro", zero_division=0.0
    )
    found = score(rows)
    assert found["precision"] == pytest.approx(precision)
    assert found["recall"] == pytest.approx(recall)
    assert found["f1"] == pytest.approx(f1)
    assert found["format_errors"] == 0
    # The order of the rows plays no part.
    assert score(rows[::-1]) == found


WNUT = SHARED / "wnut17" / "dev.jsonl"


def entities(row):
    """The marked words of a row, joined: B- begins one, I- goes on."""
    found = []
    for word, tag in zip(row["tokens"], row["tags"], strict=True):
        if tag.startswith("B-"):
            found.append(word)
        elif tag.startswith("I-"):
            found[-1] = f"{found[-1]} {word}"
    return found


@pytest.mark.skipif(not WNUT.is_file(), reason="real data is elsewhere")
def test_half_of_the_rows_of_real_tweets_bring_the_recall_of_their_entities():
    lines = WNUT.read_text(encoding="utf-8").splitlines()
    golds = [entities(json.loads(line)) for line in lines]
    rows = []
    for number, gold in enumerate(golds):
        said = gold if number % 2 else []
        reply = f"Entities: {json.dumps(said)}"
        rows.append({"reply": reply, "target": json.dumps(gold)})
    found = score(rows)
    assert found["format_errors"] == 0
    assert found["precision"] == 1.0
    counts = [len(set(map(str.casefold, gold))) for gold in golds]
    assert found["recall"] == pytest.approx(
        sum(counts[1::2]) / sum(counts), abs=0.01
    )
