"""What belongs to a row is found by its tokens, and for a text of the student by its prompt."""

from __future__ import annotations

import pytest

from finetune.data.teacher_prompts import first_learnt
from finetune.teachers.by_row import ByRow
from synth.core.errors import WrongUse


def row(prompt, answer):
    return {
        "input_ids": [*prompt, *answer],
        "labels": [-100] * len(prompt) + answer,
    }


ONE, TWO, THREE = (row([1, 2], [3]), row([1, 2], [4]), row([5], [3, 3]))


def test_rows_and_texts_that_answer_their_prompts_are_found():
    found = ByRow([ONE, TWO, THREE], ["a", "b", "c"], "teachers")
    for one, value in ((ONE, "a"), (TWO, "b"), (THREE, "c")):
        assert found.of(one["input_ids"], one["labels"]) == value
    written = row([5], [9, 8, 7])
    assert found.of(written["input_ids"], written["labels"]) == "c"
    with pytest.raises(WrongUse, match="in no row"):
        found.of([6, 1], [-100, 1])


def test_one_prompt_with_two_values_is_refused_where_students_write():
    with pytest.raises(WrongUse, match="rows 1 and 2"):
        ByRow([ONE, TWO], ["a", "b"], "teachers").check_prompts()
    ByRow([ONE, TWO, THREE], ["a", "a", "b"], "teachers").check_prompts()


def test_the_same_tokens_with_two_values_are_refused():
    with pytest.raises(WrongUse, match=r"rows 2 and 3.*teachers"):
        ByRow([THREE, ONE, ONE], ["c", "a", "b"], "teachers")


def test_a_prompt_ends_before_the_first_learnt_token():
    assert first_learnt([-100, -100, 4, -100, 5]) == 2
    assert first_learnt([-100]) == 1
