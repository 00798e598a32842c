"""Every parser: declared fields come, declared reasons are produced, nothing else is raised."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.core import registry
from synth.core.errors import Unreadable

SPECS = {
    "whole": {"least": 2},
    "tagged": {"tags": ["a", "b"], "allow": {"a": ["yes", "no"]}},
    "json_object": {"keys": {"a": "number", "b": "any"}},
}
CASES = {
    "final_number": {"7 + 5 = 12\n#### 12": None, "I do not know": "no_answer_marker", "#### unknown": "no_number"},
    "option": {"Cold. The answer is (b) ice.": None, "so cold": "no_answer_marker", "#### a boat": "no_option"},
    "boxed": {r"so \boxed{3}": None, "three": "no_box", r"so \boxed{3": "open_box"},
    "tagged": {"<a>Yes</a><b>x</b>": None, "<a>yes</a>": "missing_tag", "<a>perhaps</a><b>x</b>": "not_allowed"},
    "numbered_list": {"1. one\n2) two": None, "one, two": "no_list"},
    "code_block": {"```python\nx = 1\n```": None, "x = 1": "no_code"},
    "equations": {"x = 3\nans = x": None, "three": "no_equation", "x = 1\nx = 2": "contradiction", "x + y = 3": "open_system"},
    "whole": {"some words": None, "one": "too_few_words"},
    "think": {"<think>so</think>#### 4": None, "#### 4": "no_thinking", "<think>so</think>four": "no_answer"},
    "permutation": {"[2] > [1] > [3]": None, "none": "no_order", "[2]": "too_much_missing"},
    "groups": {"<s>\n- a\n</s>\n<s>\n- b\n- c\n</s>": None, "<s>\n- a\n</s>": "other_count", "<s>\n- a\n</s><s> b </s>": "empty_group"},
    "delimited": {"##begin_quote## a ##end_quote##": None, "a": "no_span", "So: ##begin_quote## a ##end_quote##": "text_outside"},
    "outline": {
        "scope: x\n- all: 1-2\n  - one: 1\n  - two: 2": None, "- one: 1-2": "no_outline", "scope: x\n- one: 1-3": "out_of_range",
        "scope: x\n- one: 1": "not_covered",
    },
    "json_object": {
        '{"a": 1, "b": null}': None, "none": "no_object", '{"a": 1, "b": 2': "open_object", '{"a": 1, "a": 2, "b": 0}': "doubled_key", '{"a": 1}': "missing_key",
        '{"a": "one", "b": 2}': "wrong_kind",
    },
}  # fmt: skip
# A second form of a parser, whose reasons the first cannot give.
ALSO = {
    "json_object": (
        {"fits": {"type": "object", "properties": {"a": {"type": "integer", "maximum": 9}}}},
        {'{"a": 1}': None, '{"a": 10}': "misfit", '{"a": "x"}': "misfit"},
    ),
}  # fmt: skip
ROW = {
    "choices": ["fire", "ice"],
    "documents": ["a", "b", "c"],
    "sentences": ["x y", "z"],
}


def build(name):
    return registry.build(
        "synth.parsers", {"name": name, **SPECS.get(name, {})}
    )


def test_all_parsers_have_cases():
    assert len(registry.names("synth.parsers")) >= 5
    assert set(CASES) == set(registry.names("synth.parsers"))


@pytest.mark.parametrize("name", CASES)
def test_cases_read_as_declared(name):
    parser, produced = build(name), set()
    spec, more = ALSO.get(name, ({}, {}))
    other = (
        registry.build("synth.parsers", {"name": name, **spec})
        if more
        else parser
    )
    cases = [(parser, *case) for case in CASES[name].items()]
    cases += [(other, *case) for case in more.items()]
    for one, text, reason in cases:
        try:
            assert set(one.parse(text, ROW)) == set(one.produces())
            assert reason is None
        except Unreadable as error:
            assert error.reason == reason, text
            produced.add(reason)
    assert produced == set(parser.reasons)
    with pytest.raises(Unreadable, match="empty_reply"):
        parser.parse(" \n", ROW)


@pytest.mark.parametrize("name", CASES)
@given(
    text=st.text(
        alphabet=st.sampled_from('ab1 2.=+-*/(){}[]<>"\\:#,\n$%AQ'), max_size=80
    )
)
def test_any_text_is_read_or_unreadable(name, text):
    try:
        assert set(build(name).parse(text, ROW)) == set(build(name).produces())
    except Unreadable as error:
        assert error.reason in {*build(name).reasons, "empty_reply"}


def test_into_renames_the_main_field():
    parser = registry.build("synth.parsers", "final_number:into=result")
    assert parser.parse("#### 4", {}) == {"rationale": "", "result": "4"}
    assert parser.produces() == {"rationale": "text", "result": "text"}
