from __future__ import annotations

import pytest

from synth.core import registry
from synth.core.errors import WrongUse
from synth.filters.wording import Wording


def test_each_rule_names_what_broke_it():
    assert Wording(field="t", banned=("not", "never"), most_banned=1).judge(
        {"t": "It is not never so"}
    ).marks == {"what": "never"}
    assert Wording(field="t", once=("concept",)).judge(
        {"t": "a dog barks", "concept": "Dog"}
    ).marks == {"what": "dog"}
    assert Wording(field="t", characters="a-z ").judge(
        {"t": "a [b]"}
    ).marks == {"what": "["}


def test_a_broken_class_is_refused():
    with pytest.raises(WrongUse, match="class of characters"):
        registry.build(
            "synth.filters", {"name": "wording", "characters": "z-a"}
        )


@pytest.mark.parametrize(
    "characters", ["a]|(x+x+)+y[b", "]", "a]", "\\", "a\\\\]", "a\\"]
)
def test_a_class_of_characters_is_no_pattern(characters):
    with pytest.raises(WrongUse, match="class"):
        Wording(characters=characters)


def test_a_class_takes_escapes_and_ranges():
    part = Wording(field="text", characters="\\w\\] ^a-c\\\\")
    assert [
        part.judge({"text": text}).keep for text in ("a]b", "c ^\\", "a;")
    ] == [True, True, False]
