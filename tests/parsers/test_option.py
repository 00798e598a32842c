from __future__ import annotations

import pytest

from synth.parsers.option import Option

ROW = {"choices": ["bus depot", "beach", "train station", "bridge", "bridge"]}


@pytest.mark.parametrize(
    ("text", "answer", "letter"),
    [
        ("So the answer is (c) train station.", "train station", "c"),
        (
            "the answer is (a) train station.",
            "train station",
            "c",
        ),  # the text decides
        (
            "the answer is (b) sand.",
            "beach",
            "b",
        ),  # no choice is called so: the letter does
        ("the answer is the beach.", "beach", "b"),
        (
            "the answer is (e) bridge.",
            "bridge",
            "e",
        ),  # twins: the letter tells them apart
        ("#### (b) beach", "beach", "b"),
        ("Sand.\n### # # # (b) beach", "beach", "b"),
        ("#(b)", "beach", "b"),
        ("# beach", "beach", "b"),
        ("Answer: B", "beach", "b"),
        (r"so \boxed{B}", "beach", "b"),
        (r"so $\boxed{\text{B}}$.", "beach", "b"),
        ("Answer: [B]", "beach", "b"),
        (r"\boxed{\text{(C) train station}}", "train station", "c"),
        ("The answer is **(B)**", "beach", "b"),
        ("Answer: Option B.", "beach", "b"),
        (
            "the answer is (b) beach.\n\nQ: What?\nA: the answer is (a) bus depot.",
            "beach",
            "b",
        ),
    ],
)
def test_letters_and_texts(text, answer, letter):
    found = Option().parse(text, ROW)
    assert (found["answer"], found["letter"]) == (answer, letter)
