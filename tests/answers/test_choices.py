"""Choices come in many shapes, and each way to name one of them finds it."""

from __future__ import annotations

from string import ascii_lowercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.answers.choices import Choices, choices_of, pick
from synth.answers.equal import canonical
from tests.tables import cells

TEXTS = ["park", "coloring book", "garden centre", "mathematics", "gravity"]
LETTERS = list("abcde")


@pytest.mark.parametrize(
    "shape",
    [
        TEXTS,
        tuple(TEXTS),
        {"text": TEXTS, "label": LETTERS},
        {"label": LETTERS, "text": tuple(TEXTS)},
        [
            {"label": label, "text": text}
            for label, text in zip(LETTERS, TEXTS, strict=True)
        ],
        dict(zip(LETTERS, TEXTS, strict=True)),
        [
            {"text": text, "label": label, "why": 1}
            for label, text in zip(LETTERS, TEXTS, strict=True)
        ],
    ],
)
def test_every_shape_says_the_same(shape):
    assert choices_of(shape) == Choices(TEXTS, LETTERS)


@pytest.mark.parametrize("none", [None, [], {}, "", (), 0, 5, "abc", 2.5, True])
def test_what_is_no_list_of_choices_is_none(none):
    assert choices_of(none) is None


def test_numbers_are_texts_and_labels_begin_again_after_z():
    assert choices_of([1, 2.5, True]).texts == ["1", "2.5", "True"]
    many = choices_of(list(range(60)))
    assert many.labels[25:28] == ["z", "a", "b"]
    assert len(many.texts) == len(many.labels) == 60
    uneven = choices_of({"text": ["a", "b"], "label": ["1"]})
    assert uneven.labels == ["text", "label"]


def spellings(letter: str, text: str) -> list[str]:
    """Ways in which replies name a choice."""
    return [
        f"({letter})",
        f"({letter}) {text}.",
        f"{letter})",
        f"{letter.upper()}.",
        f"**({letter.upper()}) {text}**",
        f"Option {letter.upper()}",
        f"[{letter}]",
        f"{{{letter}}}",
        text,
        text.upper(),
        f" {text}. ",
        f"**{text}**",
        f"`{text}`",
        f'"{text}"',
        f"The {text}",
        f"{letter}: {text}",
        f"{letter}, {text}",
        f"$\\text{{{letter.upper()}}}$",
        f"answer ({letter})",
        f"({letter}) {text}\nbecause of (a)",
        f"choice {letter.upper()}.",
        f"  ({letter})\n",
    ]


@pytest.mark.parametrize("index", range(len(TEXTS)))
def test_each_spelling_names_its_choice(index):
    for text in spellings(ascii_lowercase[index], TEXTS[index]):
        assert pick(text, TEXTS) == index, text


@given(
    st.lists(
        st.from_regex(r"[a-z]{4,8}", fullmatch=True),
        min_size=2,
        max_size=8,
        unique_by=canonical,
    ),
    st.data(),
)
def test_words_go_before_a_letter_that_disagrees(texts, data):
    index = data.draw(st.integers(0, len(texts) - 1))
    letter = data.draw(st.sampled_from(ascii_lowercase[: len(texts)]))
    assert pick(f"({letter}) {texts[index]}", texts) == index
    assert pick(texts[index], texts) == index
    assert pick(f"({letter})", texts) == ascii_lowercase.index(letter)


@pytest.mark.parametrize(
    "text",
    cells(
        r"""
'' | ' ' | '\n' | '(f)' | '(f) something' | 'neither' | 'park or gravity' | '12' | '(' | '()'
'((b))x' | 'z' | '**' | 'no answer'
"""
    ),
)
def test_what_names_no_choice_is_none(text):
    assert pick(text, TEXTS) is None


def test_numbers_among_the_choices_compare_by_value():
    prices = ["$1,200", "1.5 million", "half", "12%"]
    assert pick("1200 dollars", prices) == 0
    assert pick("1500000", prices) == 1
    assert pick(r"$\frac{1}{2}$", prices) == 2
    assert pick("(c) 0.12", prices) == 3
    assert pick("x", []) is None
