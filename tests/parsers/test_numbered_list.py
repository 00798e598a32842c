"""What numbered_list reads beyond its laws."""

from __future__ import annotations

import pytest

from synth import registry
from synth.errors import Unreadable


def read(text, **parameters):
    return registry.build("synth.parsers", {"name": "numbered_list", **parameters}).parse(text, {})


@pytest.mark.parametrize(
    "text", ["1. a\n2. b", "- a\n* b", "Sure:\n 1) a\n\n 2) b\nThat is all", "Q1: a\nQ2: b", "Step 1. a\nStep 2. b", "\u2022 a\n\u2022 b"]
)
def test_many_kinds_of_lists(text):
    assert read(text) == {"items": ["a", "b"]}


def test_a_word_for_none_and_a_least_length():
    assert read(" None. ", none="none", into="parts") == {"parts": []}
    with pytest.raises(Unreadable, match="no_list"):
        read("1. a", least=2)
    assert len(read("1. a\n" * 5000)["items"]) == 200
