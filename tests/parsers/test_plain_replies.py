"""Ordinary replies take a short way, which reads what the long way reads."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import example, given, settings
from hypothesis import strategies as st

from synth.core.errors import Unreadable
from synth.parsers import permutation
from synth.parsers.base import Reply
from synth.parsers.numbered_list import NumberedList
from synth.parsers.permutation import Permutation
from synth.parsers.tagged import Tagged
from synth.replies import lists as _lists
from synth.replies import thoughts as _thoughts

VERDICTS = Tagged(
    tags=("why", "verdict"), allow={"verdict": ["yes", "no", "not sure"]}
)
LABELS = [
    "It holds.",
    "yes",
    " No. ",
    "not sure",
    "yes or no",
    "perhaps",
    "\u2460",
]
ODD = ["", "\n", "```\nyes\n```", "a < b", "R&D", "&lt;", "&lt;why&gt;"]
ODD += ["<why>", "</verdict>", "the <why> tag", "Verdict: yes"]
TEXTS = st.one_of(st.sampled_from(LABELS), st.sampled_from(ODD))
AROUND = [
    "{}",
    "{}",
    "\n{}\n",
    "So: {}",
    "<think>Hm.</think>{}",
    "Hm.</think>{}",
]


def outcome(parser, text, row, *, whole=True):
    """Fields and marks of a reading, or the reason and the detail of none."""
    reply = Reply(text, whole=whole)
    try:
        return (
            parser.parse_reply(reply, row),
            reply.thoughts,
            reply.said,
            reply.mended,
        )
    except Unreadable as error:
        return error.reason, str(error)


@st.composite
def tagged_replies(draw):
    """Pairs of tags, many as they should be; one piece may be lost, doubled or other."""
    pieces = [
        "<why>",
        draw(TEXTS),
        "</why>",
        draw(TEXTS),
        "<verdict>",
        draw(TEXTS),
        "</verdict>",
    ]
    place = draw(st.integers(0, 20))
    if place < len(pieces):
        piece = pieces[place]
        others = ["", piece * 2, piece.upper(), piece.replace("<", "&lt;")]
        pieces[place] = draw(
            st.sampled_from([*others, piece.replace(">", " a='b'>")])
        )
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
        found = VERDICTS.parse(
            "<why>It\nholds.</why> So: <verdict>Yes</verdict>", {}
        )
    assert found == {"why": "It\nholds.", "verdict": "yes"}


MARKS = [
    "<think>",
    "</think>",
    "<TH\u0131NK>",
    "[THINK]",
    "[/reasoning]",
    "&lt;thought&gt;",
]
MARKS += [
    "<reflection>",
    "<a:inner_thoughts/>",
    "\u25c1think\u25b7",
    "<\u017fcratchpad>",
]
MARKS += ["<internal_monologue>", "<|end_of_solution|>"]


WORDS = ["a", " ", "\n", "<", "[", "&", "I think", "<b>"]


@given(pieces=st.lists(st.sampled_from(MARKS + WORDS), max_size=6))
def test_thoughts(pieces):
    text = "".join(pieces)
    found = _thoughts.split_thoughts(text)
    with patch.object(_thoughts, "_may_hold_marks", return_value=True):
        assert found == _thoughts.split_thoughts(text)


ODD_NUMBERS = ["0", "7", "02", "\u0663", "1234567"]
NUMBERS = st.one_of(
    st.sampled_from(["1", "2", "3"]), st.sampled_from(ODD_NUMBERS)
)
ODD_SHAPES = ["{}", "([{}])", "[ {} ]", "{}.", "[{}", "**[{}]**"]
SHAPES = st.one_of(st.just("[{}]"), st.sampled_from(ODD_SHAPES))
AROUND_ORDERS = ["{}", "{}", " \n{}\n", "1. {}", "Final: {}", "{} of 3"]
SIGNS = st.sampled_from(
    [" > ", " > ", ">", "> ", " >= ", " < ", ", ", "\n", "  >  ", " "]
)


@st.composite
def orders(draw):
    """Chains of numbers, of which some have one link of another shape or sign."""
    shape, sign = draw(SHAPES), draw(SIGNS)
    links = [
        shape.format(number)
        for number in draw(st.lists(NUMBERS, min_size=1, max_size=5))
    ]
    if draw(st.booleans()):
        links[-1] = draw(SHAPES).format(draw(NUMBERS))
    last_sign = draw(SIGNS) if draw(st.booleans()) else sign
    text = last_sign.join(
        [sign.join(links[:-1]), links[-1]] if links[1:] else links
    )
    return draw(st.sampled_from(AROUND_ORDERS)).format(text)


@settings(max_examples=300)
@given(text=orders())
@example(text="[2] > [3] > [1]")
@example(text="[2]")
@example(text="[7] > [8]")
def test_orders(text):
    row = {"documents": ["a", "b", "c"]}
    found = outcome(Permutation(), text, row)
    with patch.object(permutation, "_plain_order", return_value=None):
        assert found == outcome(Permutation(), text, row)


def test_plain_orders_take_the_short_way():
    with patch.object(permutation, "_order", None):
        found = Permutation().parse(
            "[2] > [3]>[1]\n", {"documents": ["a", "b", "c"]}
        )
    assert found == {"ranks": [3.0, 1.0, 2.0], "repaired": 0.0}


LISTS = [
    NumberedList(),
    NumberedList(none="none"),
    NumberedList(least=3, glosses="cut"),
]
ITEMS = [
    "How many?",
    "plants: green",
    "**Costs:** a",
    "a - b",
    "2. b",
    "none",
    "a  \r",
    "\x1ca",
]
ITEMS += [
    '"a"',
    "`a`",
    "\u201ca\u201d",
    "**",
    "",
    " ",
    "\u2028",
    "- a",
    "a" * 2001,
    "*a* b __c__",
]
OTHER_LINES = ["   {}", "- {}", "{}\n   - b", "\n{}", "{}\n \nb", "0{}", "> {}"]
LEADS = ["", "", "", "\n", " ", "So:\n", "- a\n", "**"]


@st.composite
def lists(draw):
    """Numbered lines, of which one may have another mark, or stand deeper or apart."""
    items = draw(st.lists(st.sampled_from(ITEMS), max_size=5))
    sign = draw(st.sampled_from([". ", ") ", ".  ", ".\t", "."]))
    lines = [f"{number}{sign}{item}" for number, item in enumerate(items, 1)]
    place = draw(st.integers(0, 9))
    if place < len(lines):
        lines[place] = draw(st.sampled_from(OTHER_LINES)).format(lines[place])
    end = draw(st.sampled_from(["", "\n", "\nb"]))
    return draw(st.sampled_from(LEADS)) + "\n".join(lines) + end


@settings(max_examples=300)
@given(text=lists(), parser=st.sampled_from(LISTS))
@example(text="1. a\n\n2) b", parser=LISTS[0])
@example(
    text="\n".join(f"{number}. a" for number in range(1, 203)), parser=LISTS[0]
)
def test_lists(text, parser):
    found = outcome(parser, text, {})
    with patch.object(_lists, "_numbered_plainly", return_value=None):
        assert found == outcome(parser, text, {})


def test_plain_lists_take_the_short_way():
    with patch.object(_lists, "_marks", None):
        found = NumberedList().parse(
            "1. How many?\n2) **Why** so?\n\n3. What?", {}
        )
    assert found == {"items": ["How many?", "Why so?", "What?"]}
