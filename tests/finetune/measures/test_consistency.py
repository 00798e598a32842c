"""Agreement over forms of a question is that of all choices, counted one by one."""

from __future__ import annotations

from itertools import combinations
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.measures.base import measured
from finetune.measures.consistency import Consistency
from synth.core.errors import WrongUse

FORMS = st.lists(st.sampled_from(["1", "2", "3", None]), min_size=1, max_size=7)


@given(FORMS, st.integers(2, 4))
def test_it_is_the_share_of_all_choices_that_agree(answers, size):
    value = Consistency(size=size).of_question([{"answer": a} for a in answers])
    if len(answers) < size:
        assert value is None
        return
    choices = list(combinations(answers, size))
    agree = [len({*chosen}) == 1 and None not in chosen for chosen in choices]
    assert value == pytest.approx(fmean(agree))


def test_groups_are_questions_and_ac3_joins_accuracy():
    rows = [
        {"group": group, "language": language, "prompt": f"{group} {language}", "target": "4", "answer": answer, "right": answer == "4"}
        for group, answers in (("a", "444"), ("b", "445"))
        for language, answer in zip(("en", "de", "zh"), answers, strict=True)
    ]  # fmt: skip
    found = measured(Consistency(size=2), rows)
    # (1 + 1/3) / 2, and 5 of 6 right.
    assert found["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["questions"] == 2
    assert found["accuracy"] == pytest.approx(5 / 6, abs=1e-4)
    ac3 = 2 * (2 / 3) * (5 / 6) / (2 / 3 + 5 / 6)
    assert found["ac3"] == pytest.approx(ac3, abs=1e-4)


def test_rows_without_a_group_and_one_form_are_refused():
    with pytest.raises(WrongUse, match="row 2"):
        measured(Consistency(), [{"group": "a"}, {"answer": "1"}])
    with pytest.raises(WrongUse, match="size"):
        Consistency(size=1)
    assert (
        measured(Consistency(), [{"group": 1, "answer": "1"}])["value"] is None
    )
