"""What equations reads beyond its laws."""

from __future__ import annotations

import pytest

from synth.core import registry
from synth.core.errors import Unreadable


def read(text, **parameters):
    return registry.build(
        "synth.parsers", {"name": "equations", **parameters}
    ).parse(text, {})


def test_words_around_the_equations_are_passed_over():
    found = read(
        "We call the pens p.\n`p = 3 * 4`\nThen:\n**ans = p / 2**\nDone."
    )
    assert found == {"equations": "p = 3 * 4\nans = p / 2", "answer": "6"}
    assert read("x = 1\ny = 2", asked="x")["answer"] == "1"
    with pytest.raises(Unreadable, match="open_system"):
        read("x = 1", asked="z")
