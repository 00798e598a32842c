from __future__ import annotations

from finetune.data.person_names import PEOPLE, named


def test_the_same_names_in_all_texts_and_others_in_other_turns():
    texts = ("PersonX helps Person Y", "PersonX and PersonY and PersonZ")
    first, second = named(texts, 0)
    x, y = first.split(" helps ")
    assert second.split(" and ")[:2] == [x, y]
    assert {x, y} <= set(PEOPLE)
    assert len({named(texts, turn) for turn in range(5)}) > 1
    assert named(texts, 3) == named(texts, 3)
    assert named(("nobody here",), 0) == ("nobody here",)
