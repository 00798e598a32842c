"""Texts that are unlike all before them: the same ones as by comparing each with each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from synth.text.novelty import Novelty
from synth.text.words import jaccard, rouge_l

texts = st.lists(
    st.text("ab ", max_size=8) | st.sampled_from(["", " ", "the cat sat"]),
    max_size=14,
)


def one_by_one(listed, near, alike):
    kept = []
    for text in listed:
        if text in kept:
            continue
        if near is not None and any(alike(text, o) >= near for o in kept):
            continue
        kept.append(text)
    return kept


@given(texts, st.none() | st.floats(0.05, 1.0), st.sampled_from(["jaccard", "rouge_l"]))  # fmt: skip
def test_new_texts_are_those_of_the_plain_way(listed, near, likeness):
    novelty = Novelty(near, likeness)
    alike = {"jaccard": jaccard, "rouge_l": rouge_l}[likeness]
    kept = [text for text in listed if novelty.admit(text)]
    assert kept == one_by_one(listed, near, alike)
    assert not any(map(novelty.admit, kept))
