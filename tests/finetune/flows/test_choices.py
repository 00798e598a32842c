"""Texts between which a student chooses, and rows that have none."""

from __future__ import annotations

import pytest

from finetune.flows.choices import choices_of
from synth.core.errors import WrongUse

TEMPLATE = "{{ row.labels }}"


def test_texts_and_numbers_are_choices():
    rows = [{"labels": ["a", "b"]}, {"labels": [1, 2.5]}, {"labels": ["a"]}]
    found = choices_of(rows, TEMPLATE, {}, "look")
    assert found == [["a", "b"], ["1", "2.5"], ["a"]]


@pytest.mark.parametrize(
    "labels",
    [
        None,
        "a, b",
        [],
        ["a", None],
        ["a", " "],
        ["a", True],
        ["a", ["b"]],
        ["a", "a"],
        ["1", 1],
        {"a": 1},
    ],
)
def test_what_is_no_list_of_texts_is_named_by_its_row(labels):
    rows = [{"labels": ["a", "b"]}, {"labels": labels}]
    with pytest.raises(WrongUse, match=r"look, row 2: found .*each once"):
        choices_of(rows, TEMPLATE, {}, "look")


def test_a_row_without_the_column_is_named():
    with pytest.raises(WrongUse, match=r"look, row 1: found .*'labels'"):
        choices_of([{"query": "a"}], TEMPLATE, {}, "look")
