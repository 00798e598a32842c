"""Masked texts keep what is not chosen, and the same key chooses the same words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from finetune.data.masking import masked
from synth.text.words import parted, pieces


@given(st.text(max_size=60))
def test_the_parts_of_a_text_are_the_text(text):
    cut = parted(text)
    assert "".join(cut) == text
    assert len(cut) % 2 == 1
    if text.isascii():
        assert [part.casefold() for part in cut[1::2]] == pieces(text)


@given(
    st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=30),
    st.floats(0, 1),
    st.text(max_size=4),
)
def test_so_many_words_change_and_no_other(words, share, key):
    text = " ".join(words)
    made = masked(text, share, "_", ["x", "y"], key)
    assert made == masked(text, share, "_", ["x", "y"], key)
    changed = [
        new
        for old, new in zip(words, made.split(" "), strict=True)
        if new != old
    ]
    assert len(changed) == max(1, round(share * len(words)))
    assert set(changed) <= {"_", "x", "y"}


def test_without_other_words_all_are_masked():
    assert masked("a\n b", 1.0, "_", [], "k") == "_\n _"
    assert masked(" ", 0.5, "_", ["x"], "k") == " "
