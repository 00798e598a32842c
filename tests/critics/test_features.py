"""What is seen of a rationale: shares and flags that no hostile text breaks, blind to order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.critics.features import NAMES, features
from synth.inputs.seeds import read_rows
from tests.conftest import SHARED

RATIONALES = st.sampled_from(
    [
        "2 + 2 = 4",
        "2 + 3 = 6, so 6 * 2 = 12",
        "because it is so",
        "",
        "1/0 = 4",
        "= = 4 + ( 3",
    ]
)
ROWS = st.fixed_dictionaries(
    {
        "question": st.sampled_from(["What is 2 + 2?", "Why?", ""]),
        "rationale": RATIONALES | st.text(max_size=40),
        "answer": st.none() | st.sampled_from(["4", "4.0", "$12", "x", "-1/3"]),
    }
)


def seen(row, *others):
    return dict(zip(NAMES, features([row, *others])[0], strict=True))


@given(st.lists(ROWS, min_size=1, max_size=5))
def test_every_figure_is_finite_and_within_its_bounds(rows):
    for figures in features(rows):
        named = dict(zip(NAMES, figures, strict=True))
        for name in (
            "agreement",
            "question_numbers",
            "known_operands",
            "steps",
        ):
            assert 0 <= named[name] <= 1, name
        for name in ("answered", "has_steps", "ends_in_answer", "whole"):
            assert named[name] in (0, 1), name
        assert -1 <= named["lead"] <= named["agreement"]
        assert 0 <= named["wrong_steps"] <= 3
        assert 0 <= named["words"] <= 2
        assert 0 <= named["size"] <= 6


@given(
    st.lists(ROWS, min_size=1, max_size=5), st.randoms(use_true_random=False)
)
def test_the_order_of_draws_changes_no_figure(rows, rng):
    order = rng.sample(range(len(rows)), len(rows))
    shuffled = features([rows[place] for place in order])
    found = features(rows)
    assert shuffled == [found[place] for place in order]


@pytest.mark.parametrize(
    "answer", ["1" * 400, "-" + "9" * 2000, "1e999", "10^400", "NaN", "inf"]
)
def test_an_answer_beyond_a_float_is_as_large_as_a_million(answer):
    row = {"question": "q", "rationale": "2 + 2 = 4", "answer": answer}
    assert 0 <= seen(row)["size"] <= 6


def test_draws_that_agree_by_value_are_one_vote():
    rows = [
        {"question": "q", "rationale": "", "answer": answer}
        for answer in ("4", "$4.00", "5", None)
    ]
    first = seen(*rows)
    assert (first["agreement"], first["lead"]) == (0.5, 0.25)
    lost = dict(zip(NAMES, features(rows)[3], strict=True))
    assert (lost["agreement"], lost["answered"]) == (0.0, 0.0)
    assert lost["lead"] == -0.5


def test_a_chain_is_seen_by_its_steps_and_where_it_ends():
    row = {
        "question": "Ann has 3 pens and 4 caps.",
        "rationale": "3 + 4 = 7. 7 * 2 = 15.",
        "answer": "15",
    }
    figures = seen(row)
    assert figures["steps"] == 0.2
    assert figures["wrong_steps"] == 1
    assert figures["ends_in_answer"] == 1
    assert figures["question_numbers"] == 1
    # 3, 4 of the question, 7 and 15 of a result; 2 comes from nowhere.
    assert figures["known_operands"] == pytest.approx(5 / 6)
    other = seen({**row, "answer": "7"})
    assert other["ends_in_answer"] == 0


@pytest.mark.skipif(not SHARED.is_dir(), reason="real data is elsewhere")
def test_steps_of_published_solutions_are_mostly_right():
    rows = []
    for row in read_rows(SHARED / "gsm8k" / "train.jsonl"):
        rows.append(row)
        if len(rows) == 150:
            break
    figures = [seen(row) for row in rows]
    assert sum(figure["has_steps"] for figure in figures) > 140
    assert sum(figure["wrong_steps"] == 0 for figure in figures) > 140
    assert sum(figure["ends_in_answer"] for figure in figures) > 100
