from __future__ import annotations

import pytest

from synth.core.errors import Unreadable
from synth.parsers.delimited import Delimited


def test_other_marks_and_empty_spans():
    assert Delimited(begin="[[", end="]]").parse("[[a]]\n[[b]]", {}) == {
        "spans": ["a", "b"]
    }
    with pytest.raises(Unreadable, match="no_span"):
        Delimited(begin="[[", end="]]").parse("[[ ]]", {})


@pytest.mark.parametrize(
    "text",
    [
        "Here are the passages:\n<q>a</q>\n<q>b</q>", "1. <q>a</q>\n2. <q> b </q>", "- <q>a</q>,\n- <q>b</q>", '"<q>a</q>", "<q>b</q>"', "```\n<q>a</q>\n<q>b</q>\n```", "**Quotes:**\n\n(1) <q>a</q>\n(2) <q>b</q>",
    ],
)  # fmt: skip
def test_marks_of_a_list_and_a_line_that_leads_to_it_are_passed_over(text):
    assert Delimited(begin="<q>", end="</q>").parse(text, {}) == {
        "spans": ["a", "b"]
    }


@pytest.mark.parametrize(
    "text",
    [
        "It rained. <q>a</q>",
        "<q>a</q> That is all.",
        "<q>a</q> 5 <q>b</q>",
        "Here:\nmore\n<q>a</q>",
        "<q>a</q>\nSo:\n",
    ],
)
def test_other_words_are_not(text):
    with pytest.raises(Unreadable, match="text_outside"):
        Delimited(begin="<q>", end="</q>").parse(text, {})
