"""What whole reads beyond its laws."""

from __future__ import annotations

import pytest

from synth import registry
from synth.errors import Unreadable


def read(text, **parameters):
    return registry.build("synth.parsers", {"name": "whole", **parameters}).parse(text, {})


def test_invented_questions_are_cut_and_the_field_can_be_named():
    assert read("It is 4.\n\nQ: And 5?\nA: 5", into="answer") == {"answer": "It is 4."}
    with pytest.raises(Unreadable, match="too_few_words"):
        read("no", least=2)
