"""What models write around an answer is read back, and what nobody should write ends with a reason, soon."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.core import registry
from synth.core.errors import Unreadable
from synth.parsers.boxed import Boxed
from synth.parsers.delimited import Delimited
from synth.parsers.equations import Equations
from synth.parsers.final_number import FinalNumber
from synth.parsers.groups import Groups
from synth.parsers.option import Option
from synth.parsers.outline import Outline
from synth.parsers.permutation import Permutation
from synth.parsers.tagged import Tagged
from synth.parsers.think import Think
from synth.parsers.whole import Whole
from tests.parsers.test_laws import CASES, ROW, build

AROUND = st.sampled_from(
    [
        "{}",
        "<think>Perhaps <answer>0</answer>, or \\boxed{{0}}.\n#### 0</think>\n{}",
        "Or 0?</think>{}",
        "[THINK]0 = 0[/THINK]{}",
    ]
)
WORDS = st.sampled_from(
    ["So it is.", "First this.\n\nThen that.", "I think of 2 things."]
)
INSIDE = st.sampled_from(["4", "\\frac{1}{2}", "x = 3", "a, b", "a < b"])


@given(around=AROUND, words=WORDS, said=INSIDE, box=st.sampled_from(["\\boxed{{{}}}", "$$\\boxed{{{}}}$$", "\\[ \\boxed{{{}}} \\]", "$\\fbox{{{}}}$.", "\\boxed{{\\boxed{{{}}}}}", "\\boxed{{{}}} (the \\boxed{{}} holds it)"]))  # fmt: skip
def test_boxes(around, words, said, box):
    text = around.format("") + f"{words} {box.format(said)}"
    assert Boxed().parse(text, {}) == {"rationale": words, "answer": said}


@given(around=AROUND, words=WORDS, mark=st.sampled_from(["\n#### {}", " So the answer is {}.", "\n**Answer:** {}", "\n\n$$\\boxed{{{}}}$$", " The correct answer is {}."]), said=st.sampled_from(["4", "1,200", "-3.5"]))  # fmt: skip
def test_numbers(around, words, mark, said):
    assert FinalNumber().parse(
        around.format("") + words + mark.format(said), {}
    ) == {"rationale": words, "answer": said}


@given(
    around=AROUND, words=WORDS, option=st.sampled_from(["(b)", "B", "(B) ice", "**B**", "[B]", "Option B", "B) ice", "b. ice", "ice", "Ice.", "*ice*", "Choice: ice", "**Final choice:** Ice"]),
    mark=st.sampled_from(["\n#### {}", " The answer is {}.", "\n**Answer:** {}", "\n{}", "\n\n**{}**"]),
)  # fmt: skip
def test_options(around, words, mark, option):
    mark = mark.replace("**{}**", "{}") if "**" in option else mark
    found = Option().parse(
        around.format("") + words + mark.format(option),
        {"choices": ["fire", "ice"]},
    )
    assert found == {"rationale": words, "answer": "ice", "letter": "b"}


@pytest.mark.parametrize(
    "text",
    [
        "It is cold.\nIce is it.",
        "A cold thing.",
        "(e)",
        "B) fire",
        "Option C",
        "not ice",
        "ice or fire",
        "It cannot be: ice cream",
        "I would not say so: never ice",
    ],
)
def test_other_last_lines_are_no_option(text):
    with pytest.raises(Unreadable, match="no_answer_marker"):
        Option().parse(text, {"choices": ["fire", "ice"]})


@given(
    around=AROUND, mark=st.sampled_from(["{}", "- {}", "{n}. {}", "**{}**", "$ {} $", "\\[ {} \\]", "`{}`", "Equation {n}: {}", "\u2022 {}", "{}  # so it is", "{} (the pens)"]),
    times=st.sampled_from(["*", "\\times", "\\cdot"]), fence=st.booleans(),
)  # fmt: skip
def test_equations(around, mark, times, fence):
    lines = [
        mark.replace("{n}", str(n)).replace("{}", line)
        for n, line in enumerate([f"x = 3 {times} 4", "ans = x - 2"], 1)
    ]
    text = "\n".join(
        ["```", *lines, "```"] if fence else ["Let x be the pens.", *lines]
    )
    assert Equations().parse(around.format("") + text, {}) == {
        "equations": "x = 3 * 4\nans = x - 2",
        "answer": "10",
    }


def test_a_sign_is_no_mark_of_a_list():
    assert Equations().parse("-x = 3\nans = x", {})["answer"] == "-3"


@given(around=AROUND, said=INSIDE, words=WORDS, spelling=st.sampled_from(["<answer>{}</answer>", "<Answer id='1'>\n{}\n</ANSWER>", "In <answer> tags: <answer>{}</answer>.", "<answer>{}", "<answer>```\n{}\n```</answer>"]))  # fmt: skip
def test_tags(around, said, words, spelling):
    assert Tagged(tags=("answer",)).parse(
        around.format("") + words + spelling.format(said), {}
    ) == {"answer": said}


@given(thought=WORDS, words=WORDS, spelling=st.sampled_from(["<think>{}</think>", "<Thinking>\n{}\n</thinking>\n", "{}</think>", "[THINK]{}[/THINK]", "<|begin_of_thought|>{}<|end_of_thought|>"]))  # fmt: skip
def test_thinking(thought, words, spelling):
    text = spelling.format(thought) + words + "\n#### 4"
    assert Think().parse(text, {}) == {
        "thinking": thought,
        "solution": words + "\n#### 4",
        "answer": "4",
    }
    assert Whole().parse(text, {}) == {"text": words + "\n#### 4"}


@given(
    around=AROUND, order=st.permutations([1, 2, 3]), spelling=st.sampled_from(["[{}]", "{}", "Passage {}", "**[{}]**"]), between=st.sampled_from([" > ", ", ", ">"]),
    lead=st.sampled_from(["", "Ranking the 3 passages: ", "Of 3 passages [1] comes close.\n\n", "The order of all 3:\n"]),
)  # fmt: skip
def test_orders(around, order, spelling, between, lead):
    text = (
        around.format("")
        + lead
        + between.join(spelling.format(n) for n in order)
    )
    assert Permutation().parse(text, {"documents": ["a", "b", "c"]})[
        "ranks"
    ] == [order.index(n) + 1 for n in (1, 2, 3)]


@given(
    around=AROUND,
    bullet=st.sampled_from(["- ", "* ", "1. ", "\u2022 "]),
    echo=st.booleans(),
    close=st.booleans(),
    lead=st.sampled_from(["", "Here:\n"]),
)
def test_groups(around, bullet, echo, close, lead):
    blocks = [
        f"<s>{' Both. </s>' if echo else ''}\n{bullet}{x}.\n{bullet}{x}{x}.\n{'</s>' if close and not echo else ''}\n"
        for x in "ab"
    ]
    assert Groups().parse(
        around.format("") + lead + "".join(blocks), {"sentences": ["x", "y"]}
    ) == {"groups": ["a.\naa.", "b.\nbb."]}


@given(around=AROUND, bullet=st.sampled_from(["- ", "* ", "1. "]), dash=st.sampled_from(["-", " - ", "\u2013", " to ", ", "]), bold=st.booleans(), lead=st.sampled_from(["scope: ", "**Scope:** ", "## scope: "]))  # fmt: skip
def test_outlines(around, bullet, dash, bold, lead):
    name = "**past**" if bold else "past"
    found = Outline().parse(
        around.format("")
        + f"{lead}a ship\n{bullet}{name}: 1{dash}2\n{bullet}now: 3",
        {"sentences": ["a", "b", "c"]},
    )
    assert found["scope"] == "a ship"
    assert [
        (one["name"], one["first"], one["last"]) for one in found["aspects"]
    ] == [("past", 1, 2), ("now", 3, 3)]


@given(
    around=AROUND,
    lead=st.sampled_from(["", "Here they are:\n", "**Passages:**\n\n"]),
    mark=st.sampled_from(["", "{n}. ", "- ", "({n}) "]),
    behind=st.sampled_from(["", ","]),
)
def test_quotes(around, lead, mark, behind):
    lines = [
        mark.replace("{n}", str(n))
        + f"##begin_quote## {x} ##end_quote##{behind}"
        for n, x in enumerate("ab", 1)
    ]
    assert Delimited().parse(
        around.format("") + lead + "\n".join(lines), {}
    ) == {"spans": ["a", "b"]}


PIECES = [
    "<think>", "</think>", "[THINK]", "<a>", "</a>", "<b>", "</b>", "&lt;a&gt;", "<s>", "</s>", "```", "```python\n", "~~~", "{", "}", "\\boxed{", '{"a": 1, "b": ', "'", '"', "1. ", "- ", "**", "####", "#### 4",
    "[1] > ", "scope: x\n", "- a: 1-2\n", "x = 1\n", "##begin_quote##", "##end_quote##", "\n", " ", "\\frac", "\\", "\u0661", "\u2460 ", "\ud83d", "\x00", "\r", "\u2028", "yes", "4/5", "none", "Q: ", "<|channel|>final<|message|>", "analysis",
]  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=40)
@given(
    pieces=st.lists(
        st.one_of(st.sampled_from(PIECES), st.text(max_size=4)), max_size=25
    )
)
def test_any_pieces_are_read_or_unreadable(name, pieces):
    general = {
        "empty_reply",
        "too_long",
        "wrong_kind",
        "open_thoughts",
        "only_thoughts",
        "no_rationale",
    }
    try:
        assert set(build(name).parse("".join(pieces), ROW)) == set(
            build(name).produces()
        )
    except Unreadable as error:
        assert error.reason in {*build(name).reasons, *general}


@pytest.mark.parametrize("name", CASES)
def test_pieces_without_end_cost_little(name):
    parser, most = build(name), (0.0, "")
    for piece in [
        *PIECES,
        "<a ",
        "a\n",
        "- a\n",
        "1. a\n",
        "x = 1\n",
        "[1] > [2] ",
        "<s>\n- a\n",
        "`",
        "\\boxed{}",
        "{'a': '",
        "**a **",
    ]:
        text = "a" + piece * (40_000 // len(piece)) + "a"
        started = time.process_time()
        with suppress(Unreadable):
            parser.parse(text, ROW)
        most = max(most, (time.process_time() - started, piece))
    # A quadratic one takes minutes; a busy machine takes a second.
    assert most[0] < 5, most


def test_all_parsers_are_tried():
    assert set(CASES) == set(registry.names("synth.parsers"))
