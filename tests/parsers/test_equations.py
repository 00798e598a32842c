"""What equations reads beyond its laws."""

from __future__ import annotations

import pytest

from synth.core import registry
from synth.core.errors import Unreadable


def read(text, **parameters):
    return registry.build(
        "synth.parsers", {"name": "equations", **parameters}
    ).parse(text, {})


@pytest.mark.parametrize(
    ("text", "equations", "answer"),
    [
        ("p = 5 * 3 = 15\nans = p", "p = 5 * 3\nans = p", "15"),
        ("ans = 5 * 3 = 15", "ans = 5 * 3", "15"),
        ("a = 3 apples\nans = a * 2", "a = 3\nans = a * 2", "6"),
        ("price of a pen = 2\nans = price of a pen * 3", "price_of_a_pen = 2\nans = price_of_a_pen * 3", "6"),
        ("Let x = 5\nThen, y = x + 1 = 6\nSo ans = y", "x = 5\ny = x + 1\nans = y", "6"),
        ("cost = $1,200 = 1200\nans = cost", "cost = 1,200\nans = cost", "1200"),
    ],
)  # fmt: skip
def test_equations_as_models_write_them(text, equations, answer):
    assert read(text) == {"equations": equations, "answer": answer}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("p = 5 * 3 = 16\nans = p", "contradiction"),
        ("x = 2 dozen\nans = x", "open_system"),
        ("x = 3 times\nans = x", "open_system"),
    ],
)
def test_what_a_chain_or_a_unit_changes_is_seen(text, reason):
    with pytest.raises(Unreadable, match=reason):
        read(text)


def test_words_around_the_equations_are_passed_over():
    found = read(
        "We call the pens p.\n`p = 3 * 4`\nThen:\n**ans = p / 2**\nDone."
    )
    assert found == {"equations": "p = 3 * 4\nans = p / 2", "answer": "6"}
    assert read("x = 1\ny = 2", asked="x")["answer"] == "1"
    with pytest.raises(Unreadable, match="open_system"):
        read("x = 1", asked="z")
