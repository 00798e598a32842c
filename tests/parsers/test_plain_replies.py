"""Ordinary replies take a short way, which reads what the long way reads."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import example, given, settings
from hypothesis import strategies as st

from synth.errors import Unreadable
from synth.parsers import _thoughts
from synth.parsers.base import Reply
from synth.parsers.tagged import Tagged

VERDICTS = Tagged(tags=("why", "verdict"), allow={"verdict": ["yes", "no", "not sure"]})
LABELS = ["It holds.", "yes", " No. ", "not sure", "yes or no", "perhaps", "\u2460"]
ODD = ["", "\n", "```\nyes\n```", "a < b", "R&D", "&lt;", "&lt;why&gt;"]
ODD += ["<why>", "</verdict>", "the <why> tag", "Verdict: yes"]
TEXTS = st.one_of(st.sampled_from(LABELS), st.sampled_from(ODD))
AROUND = ["{}", "{}", "\n{}\n", "So: {}", "<think>Hm.</think>{}", "Hm.</think>{}"]


def outcome(parser, text, row, *, whole=True):
    """Fields and marks of a reading, or the reason and the detail of none."""
    reply = Reply(text, whole=whole)
    try:
        return parser.parse_reply(reply, row), reply.thoughts, reply.said, reply.mended
    except Unreadable as error:
        return error.reason, str(error)


@st.composite
def tagged_replies(draw):
    """Pairs of tags, many as they should be; one piece may be lost, doubled or other."""
    pieces = ["<why>", draw(TEXTS), "</why>", draw(TEXTS), "<verdict>", draw(TEXTS), "</verdict>"]
    place = draw(st.integers(0, 20))
    if place < len(pieces):
        piece = pieces[place]
        others = ["", piece * 2, piece.upper(), piece.replace("<", "&lt;")]
        pieces[place] = draw(st.sampled_from([*others, piece.replace(">", " a='b'>")]))
    pieces = draw(st.permutations(pieces)) if place == 20 else pieces
    return draw(st.sampled_from(AROUND)).format("".join(pieces))


@settings(max_examples=300)
@given(text=tagged_replies(), whole=st.booleans())
@example(text="<why>a</why><verdict>Yes</verdict>", whole=True)
def test_tags(text, whole):
    found = outcome(VERDICTS, text, {}, whole=whole)
    with patch.object(Tagged, "_plainly", return_value=None):
        assert found == outcome(VERDICTS, text, {}, whole=whole)


def test_plain_tags_take_the_short_way():
    with patch.object(Tagged, "_mark", None):
        found = VERDICTS.parse("<why>It\nholds.</why> So: <verdict>Yes</verdict>", {})
    assert found == {"why": "It\nholds.", "verdict": "yes"}


MARKS = ["<think>", "</think>", "<TH\u0131NK>", "[THINK]", "[/reasoning]", "&lt;thought&gt;"]
MARKS += ["<reflection>", "<a:inner_thoughts/>", "\u25c1think\u25b7", "<\u017fcratchpad>"]
MARKS += ["<internal_monologue>", "<|end_of_solution|>"]


WORDS = ["a", " ", "\n", "<", "[", "&", "I think", "<b>"]


@given(pieces=st.lists(st.sampled_from(MARKS + WORDS), max_size=6))
def test_thoughts(pieces):
    text = "".join(pieces)
    found = _thoughts.split_thoughts(text)
    with patch.object(_thoughts, "_may_hold_marks", return_value=True):
        assert found == _thoughts.split_thoughts(text)
