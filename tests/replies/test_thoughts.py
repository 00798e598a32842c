"""What a model thought never reaches a field, whatever its spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.core import registry
from synth.core.errors import Unreadable, WrongUse
from synth.parsers.base import Reply
from synth.parsers.final_number import FinalNumber
from synth.parsers.tagged import Tagged
from synth.parsers.whole import Whole
from synth.replies.thoughts import split_thoughts

THOUGHT = "Perhaps 7.\n#### 7"
SPELLINGS = [
    "<think>{}</think>", "<thinking>\n{}\n</thinking>\n\n", "<Thought mode=deep>{}</THOUGHT>", "<reasoning>{}</reasoning>", "<reflection>{}</reflection>",
    "&lt;think&gt;{}&lt;/think&gt;", "{}</think>\n", "{}\n</thought>", "[THINK]{}[/THINK]", "\u25c1think\u25b7{}\u25c1/think\u25b7",
    "<seed:think>{}</seed:think>", "<|begin_of_thought|>{}<|end_of_thought|><|begin_of_solution|>",
    "<|START_THINKING|>{}<|END_THINKING|><|START_RESPONSE|>", "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>",
    "analysis{}assistantfinal", "<think>{0}<think>{0}</think>{0}</think>", "<think>{0}</think><think>{0}</think>", "<think>I write <think> first. {}</think>",
    "<think>{0}</think>{0}</think>",
]  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_thoughts_are_split_off_before_any_parser(spelling):
    said = spelling.format(THOUGHT) + "5 + 3 = 8.\n#### 8"
    assert FinalNumber().parse(said, {}) == {
        "rationale": "5 + 3 = 8.",
        "answer": "8",
    }
    assert Whole().parse(said, {}) == {"text": "5 + 3 = 8.\n#### 8"}
    assert THOUGHT in split_thoughts(said).thoughts


@given(
    spelling=st.sampled_from(SPELLINGS),
    thought=st.text("ab 1.\n", min_size=1),
    said=st.text("ab 1.\n<[", min_size=1),
)
def test_what_was_said_is_read_back(spelling, thought, said):
    assert split_thoughts(spelling.format(thought) + said) == (
        split_thoughts(spelling.format(thought)).thoughts,
        said.strip(),
        False,
    )


def test_thoughts_between_two_parts_of_a_reply():
    said = "So 5 + 3 = 8.\n<think>check: 7?</think>\n#### 8"
    assert FinalNumber().parse(said, {}) == {
        "rationale": "So 5 + 3 = 8.",
        "answer": "8",
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<think>It is 7.\n#### 7", "open_thoughts"),
        ("Sure. <thinking>\n#### 7", "open_thoughts"),
        ("<think>#### 7</think> \n", "only_thoughts"),
        ("7</think>", "only_thoughts"),
    ],
)
def test_thoughts_without_end_and_replies_of_nothing_else_have_a_reason(
    text, reason
):
    for parser in (FinalNumber(), Whole(), Tagged(tags=("a",))):
        with pytest.raises(Unreadable) as error:
            parser.parse(text, {})
        assert error.value.reason == reason


@pytest.mark.parametrize(
    "text",
    [
        "Use `<think>` and `</think>`.",
        "It wrote '<thinking>' here.",
        "The <think> tag opens a thought.",
        "a < b, see [1].",
    ],
)
def test_marks_that_a_text_is_about_stay(text):
    assert Whole().parse(text, {}) == {"text": text}


def test_tags_that_a_pack_asks_for_are_no_thoughts():
    parser = Tagged(tags=("reasoning", "answer"))
    assert parser.parse(
        "<think>7</think><reasoning>5 + 3</reasoning><answer>8</answer>", {}
    ) == {"reasoning": "5 + 3", "answer": "8"}


def test_an_empty_rationale_has_a_reason_or_the_thoughts_serve():
    text = "<think>5 + 3 = 8.</think>#### 8"
    assert FinalNumber().parse(text, {})["rationale"] == ""
    with pytest.raises(Unreadable, match="no_rationale"):
        FinalNumber(rationale="said").parse(text, {})
    for way in ("said", "thoughts"):
        assert FinalNumber(rationale=way).parse("#### 8", {}) == {
            "rationale": "",
            "answer": "8",
        }
    for reply in (Reply(text), Reply("#### 8", "5 + 3 = 8.")):
        assert FinalNumber(rationale="thoughts").parse_reply(reply, {}) == {
            "rationale": "5 + 3 = 8.",
            "answer": "8",
        }
        assert reply.mended == ["the thoughts are the rationale"]
    with pytest.raises(WrongUse, match="reads none"):
        registry.build("synth.parsers", {"name": "whole", "rationale": "said"})


@pytest.mark.parametrize(
    "text",
    [
        "<think>" * 20_000,
        "</think>" * 20_000,
        "<think" * 20_000,
        "<think> x" * 10_000 + "</think>" * 10_000,
        "< " * 50_000,
    ],
)
def test_marks_without_number_cost_little(text):
    split_thoughts(text)
