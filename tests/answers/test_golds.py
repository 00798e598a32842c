"""Golds in every shape that data sets have, and what agrees with them."""

from __future__ import annotations

import datetime as dt
import json
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.answers.golds import (
    agrees,
    has_number,
    read_gold,
)
from tests.conftest import SHARED
from tests.tables import table

CHOICES = ["park", "sea", "town"]


@pytest.mark.parametrize(
    ("gold", "form", "texts"),
    [
        *table(
            r"""
'5' | 'bare' | ('5',)
5 | 'bare' | ('5',)
2.5 | 'bare' | ('2.5',)
True | 'bare' | ('true', 'yes')
False | 'bare' | ('false', 'no')
'2 + 3 = <<2+3=5>>5\n#### 5' | '####' | ('5',)
'#### 5\n#### 6' | '####' | ('6',)
'####5 \nso' | '####' | ('5',)
'So \\boxed{\\frac{1}{2}}.' | 'boxed' | ('\\frac{1}{2}',)
'\\fbox{3}' | 'boxed' | ('3',)
'\\boxed{3} or \\boxed{4}' | 'boxed' | ('4',)
['5', 'five'] | 'list of bare' | ('5', 'five')
['5'] | 'bare' | ('5',)
['5', None, '5'] | 'list of bare' | ('5',)
(1, 2) | 'list of bare' | ('1', '2')
{'value': 'Paris', 'aliases': ['Paris, France']} | 'list of bare' | ('Paris', 'Paris, France')
{'text': ['a', 'b']} | 'list of bare' | ('a', 'b')
{'answer': 'x'} | 'bare' | ('x',)
[['a'], ['b']] | 'list of bare' | ('a', 'b')
None | 'missing' | ()
'' | 'missing' | ()
' \n ' | 'missing' | ()
[] | 'missing' | ()
{} | 'missing' | ()
[None, ''] | 'missing' | ()
{'other': 1} | 'unreadable' | ()
'It is 4.\n####' | 'unreadable' | ()
'\\boxed{}' | 'unreadable' | ()
b'5' | 'unreadable' | ()
"""
        ),
        (Decimal("2.50"), "bare", ("2.50",)),
        ("x" * 50 + "; so the answer is: **5**.", "announced", ("5",)),
        ("x" * 60 + "\nFinal answer: Paris", "announced", ("Paris",)),
        (dt.date(2024, 3, 5), "bare", ("2024-03-05",)),
        (math.nan, "unreadable", ()),
        (math.inf, "unreadable", ()),
        (object(), "unreadable", ()),
        ([math.nan, None], "unreadable", ()),
    ],
)
def test_forms_of_a_gold_without_choices(gold, form, texts):
    read = read_gold(gold)
    assert (read.form, read.texts) == (form, texts)
    assert read.comparable is bool(texts)


@pytest.mark.parametrize(
    ("gold", "kind", "form", "texts"),
    table(
        r"""
1 | 'any' | 'index' | ('sea',)
'1' | 'any' | 'index' | ('sea',)
1.0 | 'any' | 'index' | ('sea',)
'B' | 'any' | 'letter' | ('sea',)
'(b)' | 'any' | 'letter' | ('sea',)
'sea' | 'any' | 'choice' | ('sea',)
'The Sea.' | 'any' | 'choice' | ('sea',)
1 | 'index_from_1' | 'index' | ('park',)
'3' | 'index_from_1' | 'index' | ('town',)
3 | 'any' | 'unreadable' | ()
-1 | 'any' | 'unreadable' | ()
0 | 'index_from_1' | 'unreadable' | ()
True | 'any' | 'unreadable' | ()
'forest' | 'any' | 'unreadable' | ()
'd' | 'letter' | 'unreadable' | ()
'b' | 'text' | 'unreadable' | ()
'sea' | 'letter' | 'unreadable' | ()
'B' | 'index' | 'unreadable' | ()
1.5 | 'any' | 'unreadable' | ()
None | 'any' | 'missing' | ()
['b', 'c'] | 'any' | 'list of letter' | ('sea', 'town')
['b', 'forest'] | 'any' | 'list of letter' | ('sea',)
'#### b' | 'any' | 'letter' | ('sea',)
'\\boxed{C}' | 'any' | 'letter' | ('town',)
'(b) sea' | 'any' | 'choice' | ('sea',)
2 | 'letter' | 'unreadable' | ()
"""
    ),
)
def test_forms_of_a_gold_among_choices(gold, kind, form, texts):
    read = read_gold(gold, CHOICES, kind)
    assert (read.form, read.texts) == (form, texts)


def test_labels_of_the_row_go_before_letters_and_indices():
    arc = {"text": CHOICES, "label": ["1", "2", "3"]}
    assert read_gold("1", arc) == ("label", ("park",))
    assert read_gold("3", arc) == ("label", ("town",))
    assert read_gold("1", arc, "index") == ("index", ("sea",))
    assert read_gold("b", arc, "text").form == "unreadable"


def test_a_gold_that_is_two_choices_is_ambiguous_until_its_kind_is_said():
    texts = ["1", "2", "0"]
    assert read_gold(1, texts).form == "ambiguous"
    assert read_gold(1, texts, "index").texts == ("2",)
    assert read_gold(1, texts, "text").texts == ("1",)
    assert read_gold("b", ["b", "a"]).form == "ambiguous"
    assert read_gold("b", ["b", "a"], "letter").texts == ("a",)
    # A text that is a choice is meant as one.
    assert read_gold("1", texts).texts == ("1",)


@given(
    st.lists(
        st.from_regex(r"[a-z]{3,9}", fullmatch=True),
        min_size=2,
        max_size=9,
        unique=True,
    ),
    st.data(),
)
def test_index_letter_and_text_name_one_choice(texts, data):
    index = data.draw(st.integers(0, len(texts) - 1))
    text = texts[index]
    assert read_gold(index, texts, "index").texts == (text,)
    assert read_gold(index + 1, texts, "index_from_1").texts == (text,)
    assert read_gold("abcdefghi"[index], texts, "letter").texts == (text,)
    assert read_gold(text, texts, "text").texts == (text,)
    assert agrees(f"({'abcdefghi'[index]})", read_gold(index, texts), texts)


@pytest.mark.parametrize(
    ("answer", "gold", "choices", "agreed"),
    [
        *table(
            r"""
'Paris' | ['London', 'paris'] | None | True
'Rome' | ['London', 'paris'] | None | False
'yes' | True | None | True
'True' | True | None | True
'no' | True | None | False
5 | '5.0' | None | True
'5' | None | None | None
'5' | [] | None | None
'0.5' | '\\boxed{\\frac12}' | None | True
'4' | '#### 5' | None | False
"""
        ),
        ("(b)", 1, CHOICES, True),
        ("(a)", 1, CHOICES, False),
        ("sea", "B", CHOICES, True),
        ("the sea", "B", CHOICES, True),
        ("5", math.nan, None, None),
    ],
)
def test_agreement_with_a_gold(answer, gold, choices, agreed):
    assert agrees(answer, read_gold(gold, choices), choices) is agreed


def test_the_mark_of_decimals_and_the_tolerance_are_the_users():
    gold = read_gold("1234.5")
    assert agrees("1.234,5", gold, decimal=",")
    lone = read_gold("1234")
    assert not agrees("1.234", lone)
    assert agrees("1.234", lone, decimal=",")
    assert not agrees("2.9", read_gold("3.0001"))
    assert agrees("2.9", read_gold("3.0001"), tolerance=0.1)


def test_a_gold_with_a_number_is_known():
    assert has_number(read_gold("twenty-three"))
    assert has_number(read_gold(["red", "5 km"]))
    assert has_number(read_gold("x = 5"))
    assert not has_number(read_gold("red"))
    assert not has_number(read_gold(None))


@pytest.mark.skipif(not SHARED.is_dir(), reason="real data is elsewhere")
def test_golds_of_real_rows_agree_with_the_answers_beside_them():
    lines = (SHARED / "gsm8k" / "test.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines[:400]]
    for row in rows:
        gold = read_gold(f"{row['rationale']}\n#### {row['answer']}")
        assert gold == ("####", (row["answer"],))
        assert agrees(f"${row['answer']}.00", gold), row["answer"]
        assert not agrees(str(int(row["answer"].replace(",", "")) + 1), gold)
    path = SHARED / "palm_cot" / "commonsense_qa_train.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()[:400]]
    for row in rows:
        place = row["choices"].index(row["answer"])
        for gold in (place, "abcde"[place], row["answer"]):
            read = read_gold(gold, row["choices"])
            assert read.texts == (row["answer"],), row
