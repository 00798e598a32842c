"""Equal texts stay once, whatever their order."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from synth.core import registry
from synth.core.errors import WrongUse
from synth.filters.exact_duplicate import ExactDuplicate


def test_case_space_and_unicode_form_play_no_part_unless_asked():
    rows = [{"question": text} for text in ("A  b", "a b", "\uff21 b", "a c")]
    assert len(ExactDuplicate().split(rows)[0]) == 2
    assert len(ExactDuplicate(folded=False).split(rows)[0]) == 4


def test_several_fields_must_all_be_equal():
    rows = [{"question": "q", "answer": a} for a in ("1", "1", "2")]
    assert (
        len(ExactDuplicate(fields=["question", "answer"]).split(rows)[0]) == 2
    )


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 2)), max_size=12
    ).flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows)))
)
def test_one_of_each_stays_and_order_plays_no_part(both):
    kept = [
        sorted(
            (r["question"], r["n"])
            for r in ExactDuplicate().split(
                [{"question": q, "n": n} for q, n in rows]
            )[0]
        )
        for rows in both
    ]
    assert kept[0] == kept[1]
    assert len(kept[0]) == len({q for q, _ in both[0]})


@pytest.mark.parametrize(
    "spec", ["fields=question", 'fields=["question"]', "field=question"]
)
def test_one_name_is_a_list_of_one(spec):
    part = registry.build("synth.filters", f"exact_duplicate:{spec}")
    rows = [{"question": text} for text in ("one", "two", "one")]
    assert part.needs() == ("question",)
    assert [row["question"] for row in part.split(rows)[0]] == ["one", "two"]


SIGNS = st.text("a\x00\ud800?, ", max_size=4)


@example([("x\x00y", "z"), ("x", "y\x00z")])
@example([("\ud800", "a"), ("?", "a")])
@given(st.lists(st.tuples(SIGNS, SIGNS), max_size=6))
def test_fields_are_compared_one_by_one_whatever_they_hold(pairs):
    part = ExactDuplicate(fields=("a", "b"), folded=False)
    kept, _ = part.split([{"a": one, "b": two} for one, two in pairs])
    # A row lacks what is empty: both are compared as the raw reply, which is empty too.
    assert {(row["a"], row["b"]) for row in kept} == set(pairs)
    assert len(kept) == len(set(pairs))


def test_a_dropped_row_names_the_one_that_stays():
    rows = [{"question": text, "n": n} for n, text in enumerate("abcabca")]
    kept, dropped = ExactDuplicate().split(rows)
    places = {row["n"] for row in kept}
    for row in dropped:
        of = row["marks"]["exact_duplicate"]["of"]
        assert of in places
        assert rows[of]["question"] == row["question"]


@pytest.mark.parametrize("name", ["exact_duplicate", "pii"])
def test_fields_that_are_no_names_are_refused(name):
    with pytest.raises(WrongUse, match="a list of str"):
        registry.build("synth.filters", {"name": name, "fields": [{"a": 1}]})
    built = registry.build("synth.filters", {"name": name, "fields": ["a"]})
    assert built.fields == ("a",)
