"""Equal texts stay once, whatever their order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

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
