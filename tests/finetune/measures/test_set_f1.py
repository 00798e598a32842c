"""Lists in any order and spelling of a list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.measures.set_f1 import SetF1, listed

ITEMS = st.lists(st.sampled_from(["pen", "old hat", "tree"]), unique=True)
FORMS = ["{}", "1. {}", "- {}", "* {}", "{}."]


@given(
    ITEMS, ITEMS, st.sampled_from(FORMS), st.sampled_from([", ", "\n", "; "])
)
def test_it_is_the_f1_of_sets(answer, gold, form, between):
    text = between.join(form.format(item) for item in answer)
    one, two = set(answer), set(gold)
    wanted = float(one == two)
    if one and two:
        wanted = 2 * len(one & two) / (len(one) + len(two))
    row = {"answer": text, "target": gold}
    assert SetF1().of_question([row]) == pytest.approx(wanted)


def test_a_list_is_itself_and_numbers_are_items():
    assert listed(["Pen", 3]) == ["pen", "3"]
    assert listed("3, 4") == ["3", "4"]
