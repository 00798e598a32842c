from __future__ import annotations

from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from finetune.cli import main
from finetune.measuring.span_f1 import score, spans
from tests.conftest import write

LISTS = st.lists(st.sampled_from(["Ann", "the Bo", "Cid!", "d e"]), max_size=4)


@given(st.lists(st.tuples(LISTS, LISTS), min_size=1, max_size=8))
def test_it_is_micro_f1_over_sets(rows):
    import json

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
