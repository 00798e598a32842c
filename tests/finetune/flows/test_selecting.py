"""The stage `select`, against plain Python, and its draws against the weights that they are drawn by."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.flows.row_schema import SelectSpec
from finetune.flows.selecting import (
    Select,
    distinct,
    key_of,
    robust_weights,
    table_of,
)
from synth.core.errors import WrongUse
from synth.text.words import jaccard
from tests.shipped import shipped

TEXTS = st.text(st.characters(blacklist_categories=("Cs",)), max_size=12)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    TEXTS,
    st.lists(TEXTS, max_size=3),
)
ROWS = st.lists(
    st.fixed_dictionaries({"a": VALUES, "n": st.integers(-9, 9)}), max_size=12
)


def select(rows, joins=None, on=None, around=None, **spec):
    made = Select(SelectSpec.model_validate(spec), "flow.yaml:3 s")
    return made.apply(rows, joins or {}, on or {}, around or {})


@given(ROWS)
def test_what_is_not_named_changes_nothing(rows):
    assert select(rows) == rows


@given(ROWS)
def test_an_expression_keeps_the_kind_of_its_value(rows):
    made = select(rows, make={"b": "{{ row.a }}"})
    assert [row["b"] for row in made] == [row["a"] for row in rows]
    said = select(rows, make={"b": 1.5, "c": True, "d": -3}, only=True)
    assert said == [{"b": 1.5, "c": True, "d": -3} for _ in rows]
    text = select(rows, make={"b": "n is {{ row.n }}"}, only=True)
    assert text == [{"b": f"n is {row['n']}"} for row in rows]


@given(ROWS, st.integers(-9, 9), st.integers(0, 5))
def test_where_order_and_most(rows, least, most):
    made = select(
        rows,
        around={"least": least, "many": most},
        where="{{ row.n >= least }}",
        order="{{ -row.n }}",
        most="{{ many }}",
    )
    wanted = [row for row in rows if row["n"] >= least]
    assert made == sorted(wanted, key=lambda row: -row["n"])[:most]


@given(ROWS, st.integers(0, 3))
def test_rows_go_on_so_many_times(rows, times):
    assert select(rows, times=str(times)) == rows * times
    assert select(rows, times="{{ n }}", around={"n": times}) == rows * times


@given(ROWS, st.floats(0.01, 1))
def test_share_is_rounded_up(rows, share):
    assert len(select(rows, share=share)) == math.ceil(
        round(share * len(rows), 9)
    )


@given(st.lists(st.lists(VALUES, max_size=3), max_size=4))
def test_each_element_becomes_a_row(lists):
    made = select(
        [{"list": listed} for listed in lists],
        each="{{ row.list }}",
        make={"one": "{{ item }}", "place": "{{ index }}"},
        only=True,
    )
    assert made == [
        {"one": one, "place": place}
        for listed in lists
        for place, one in enumerate(listed)
    ]


@given(ROWS)
def test_a_group_becomes_one_row_in_the_order_of_first_rows(rows):
    made = select(
        rows,
        group="{{ row.n }}",
        make={"n": "{{ row.n }}", "size": "{{ rows | length }}"},
    )
    sizes = Counter(row["n"] for row in rows)
    assert [(row["n"], row["size"]) for row in made] == list(sizes.items())


@given(ROWS, ROWS)
def test_a_join_keeps_what_the_other_rows_know(rows, others):
    made = select(
        rows,
        joins={"other": table_of(others, "n")},
        on={"other": "n"},
        make={"b": "{{ other.a }}"},
    )
    first = {}
    for other in others:
        first.setdefault(other["n"], other["a"])
    assert made == [
        {**row, "b": first[row["n"]]} for row in rows if row["n"] in first
    ]


@given(ROWS, st.integers(0, 12), st.integers(0, 3))
def test_draws_are_the_same_each_time_and_without_repetition(rows, most, turn):
    rows = [{**row, "place": place} for place, row in enumerate(rows)]
    spec = {"sample": "{{ 1 + row.n | abs }}", "most": most}
    drawn = select(rows, around={"round": turn}, **spec)
    assert drawn == select(rows, around={"round": turn}, **spec)
    places = [row["place"] for row in drawn]
    assert places == sorted(set(places))
    assert len(places) == min(most, len(rows))


def test_draws_follow_their_weights():
    rows = [{"w": 1.0}, {"w": 3.0}, {"w": 0.0}]
    hits = Counter()
    for turn in range(400):
        drawn = select(
            rows, around={"round": turn}, sample="{{ row.w }}", most=1
        )
        hits[drawn[0]["w"]] += 1
    # 0.75 of 400 is 300; four standard deviations are 35.
    assert abs(hits[3.0] - 300) < 36
    assert hits[0.0] == 0


@given(
    st.lists(st.floats(0.001, 1), min_size=1, max_size=8, unique=True),
    st.floats(0, 0.9),
    st.integers(1, 9),
)
def test_robust_weights_are_the_minimax_ones(gains, mistaken, least):
    ranked = sorted(gains, reverse=True)
    worths = [
        (k - len(gains) * mistaken) / sum(1 / gain for gain in ranked[:k])
        for k in range(1, len(gains) + 1)
    ]
    least = min(least, len(gains))
    last = worths.index(max(worths[least - 1 :]), least - 1) + 1
    for gain, weight in zip(
        gains, robust_weights(gains, mistaken, least), strict=True
    ):
        drawn = gain >= ranked[last - 1]
        assert weight == (pytest.approx(1 / gain) if drawn else 0)


@given(st.lists(st.text("abc ", max_size=8), max_size=10), st.floats(0.1, 1))
def test_near_texts_are_held_once(texts, near):
    kept = distinct([{"t": text} for text in texts], "t", near, "jaccard", "p")
    wanted: list[str] = []
    for text in texts:
        if text not in wanted and all(
            jaccard(text, other) < near for other in wanted
        ):
            wanted.append(text)
    assert [row["t"] for row in kept] == wanted


def test_a_pack_writes_prompts_as_it_exports_them():
    spec = SelectSpec.model_validate(
        {
            "make": {"rationale": "{{ row.said }}"},
            "prompt": "multitask.answer",
            "completion": "sft",
        }
    )
    pack = shipped("two_stages")
    row = {"question": "Why ?", "choices": ["a", "b"], "answer": "b"}
    made = Select(spec, "flow.yaml:3 s", pack).apply(
        [{**row, "said": "So ."}], {}, {}, {}
    )
    templates = pack.exports["multitask"]["answer"]
    values = pack.values({**row, "rationale": "So ."})
    assert made[0]["prompt"] == templates["prompt"].render(values)
    assert made[0]["completion"] == "So .\n#### b"
    wrong = spec.model_copy(update={"prompt": "multitask.answers"})
    with pytest.raises(WrongUse, match=r"multitask.answers.*multitask.answer"):
        Select(wrong, "flow.yaml:3 s", pack)


@given(VALUES, VALUES)
def test_keys_tell_values_apart(one, two):
    same = key_of({"a": one}, "a") == key_of({"a": two}, "a")
    if isinstance(one, str) == isinstance(two, str) and one != two:
        assert not same


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ({"where": "{{ row.n }}"}, "True or False"),
        ({"order": "{{ row.a }}"}, "a number"),
        ({"each": "{{ row.n }}"}, "s.each: found 3; wanted a list"),
        ({"sample": "{{ -1 }}"}, "a weight from 0 on"),
        ({"most": "{{ 1.5 }}"}, "a whole number"),
        ({"most": "-1"}, "a whole number from 0 on"),
        ({"distinct": "nope"}, "without 'nope'"),
        ({"make": {"b": "{{ nope }}"}}, "nope"),
        ({"make": {"b": "{{ row.nope }}"}}, "nope"),
        ({"where": "{{"}, "flow.yaml:3 s.where"),
        ({"where": "{{ ''.__class__.__mro__ }}"}, "s.where"),
        (
            {"make": {"a": "{% for a in range(10**9) %}x{% endfor %}"}},
            "s.make.a",
        ),
        ({"make": {"a": "{{ 'x' * 10000000000 }}"}}, "s.make.a"),
    ],
)
def test_faults_say_where(spec, match):
    with pytest.raises(WrongUse, match=match) as fault:
        select([{"a": "x", "n": 3}], **spec)
    assert "flow.yaml:3 s" in str(fault.value)


@pytest.mark.parametrize("key", [7, 7.0, "7"])
def test_numbers_and_texts_of_numbers_are_joined(key):
    for other in (7, 7.0, "7"):
        table = table_of([{"n": other, "b": 1}], "n")
        assert select([{"n": key}], {"o": table}, {"o": "n"}) == [{"n": key}]


@pytest.mark.parametrize("row", [{"n": None}, {}, {"n": "null"}])
def test_a_row_without_a_key_is_joined_to_nothing(row):
    table = table_of([{"n": None, "b": 1}, {"b": 2}], "n")
    assert select([row], {"o": table}, {"o": "n"}) == []
    named = table_of([{"n": "null", "b": 1}], "n")
    joined = select([row], {"o": named}, {"o": "n"})
    assert joined == [one for one in [row] if one.get("n") == "null"]
