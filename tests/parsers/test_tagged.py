"""What tagged reads beyond its laws."""

from __future__ import annotations

import pytest

from synth.core.errors import Unreadable
from synth.parsers.base import Reply
from synth.parsers.tagged import Tagged

ANSWER = Tagged(tags=("answer",))
VERDICT = Tagged(tags=("verdict",), allow={"verdict": ["yes", "no"]})
BETTER = Tagged(tags=("better",), allow={"better": ["k", "m", "tie"]})
GRADE = Tagged(tags=("grade",), allow={"grade": ["1", "2", "3", "4", "5"]})


def test_the_last_pair_counts():
    assert Tagged(tags=("v",)).parse("<v>one</v> no, <V> two </V>", {}) == {
        "v": "two"
    }


@pytest.mark.parametrize(
    "text",
    [
        "I use <answer> tags. <answer>5</answer>", "<answer>5</answer> as asked. <answer></answer>", "<Answer type='int'>\n5\n</ANSWER>",
        "&lt;answer&gt;5&lt;/answer&gt;", "```xml\n<answer>5</answer>\n```", "<answer>\n```\n5\n```\n</answer>", "<answer><answer>5</answer></answer>",
        "<answer>5</answer>\nThe `<answer>` tag holds it.", "Between <answer> and </answer>: <answer>5</answer>", "<answer>4</answer> no: <answer>5</answer >",
    ],
)  # fmt: skip
def test_the_innermost_pair_that_holds_something_counts(text):
    reply = Reply(text)
    assert ANSWER.parse_reply(reply, {}) == {"answer": "5"}
    assert not reply.mended


@pytest.mark.parametrize(
    "text",
    [
        "So <answer>5",
        "<answer>5</ans",
        "<answer> 5 <answer>",
        "I use <answer> tags.\n<answer>5\n",
    ],
)
def test_a_tag_left_open_by_a_whole_reply_is_marked(text):
    reply = Reply(text)
    assert ANSWER.parse_reply(reply, {}) == {"answer": "5"}
    assert reply.mended == ["<answer> was left open"]
    with pytest.raises(Unreadable, match="missing_tag"):
        ANSWER.parse_reply(Reply(text, whole=False), {})


def test_an_open_tag_ends_where_the_next_one_begins():
    text = "<critique>It holds.\n<verdict>yes</verdict>"
    assert Tagged(tags=("critique", "verdict")).parse(text, {}) == {
        "critique": "It holds.",
        "verdict": "yes",
    }


def test_a_tag_in_prose_alone_holds_nothing():
    with pytest.raises(Unreadable, match="missing_tag"):
        ANSWER.parse("I would put it in <answer> tags. It is 5.", {})


@pytest.mark.parametrize(
    ("parser", "text", "label"),
    [
        (VERDICT, '<verdict>"Yes."</verdict>', "yes"), (VERDICT, "<verdict>**No**, because it says yes</verdict>", "no"),
        (VERDICT, "Verdict: yes, because it holds", "yes"), (VERDICT, "It holds.\n**Verdict:** No.", "no"), (VERDICT, "<verdict>The answer is yes</verdict>", "yes"),
        (BETTER, "Passage K answers it. <better>Passage K</better>", "k"), (BETTER, "<better>It's a tie.</better>", "tie"),
        (BETTER, "<better>Reply M is better than K</better>", "m"), (GRADE, "<grade>4/5</grade>", "4"), (GRADE, "<grade>Score: 2 out of 5</grade>", "2"),
    ],
)  # fmt: skip
def test_labels_with_words_around_them(parser, text, label):
    assert parser.parse(text, {}) == {parser.tags[0]: label}


ASKED = Tagged(tags=("critique", "verdict"), allow={"verdict": ["yes", "no"]})
SOLVED = Tagged(tags=("solution", "answer"))
OWN_LABELS = Tagged(tags=("label",), allow={"label": "labels"})
LABELS = {"labels": ["Travel", "Food and drink"]}


@pytest.mark.parametrize(
    ("parser", "text", "fields"),
    [
        (VERDICT, "Yes.", {"verdict": "yes"}),
        (VERDICT, "The verdict is no.", {"verdict": "no"}),
        (VERDICT, "<answer>yes</answer>", {"verdict": "yes"}),
        (ASKED, "They agree.\n\n**Yes**", {"critique": "They agree.", "verdict": "yes"}),
        (ASKED, "<critique>They agree.</critique>\nno", {"critique": "They agree.", "verdict": "no"}),
        (ASKED, "They agree. <verdict>yes</verdict>", {"critique": "They agree.", "verdict": "yes"}),
        (ASKED, "Critique: They agree.\nVerdict: Yes, they do.", {"critique": "They agree.", "verdict": "yes"}),
        (SOLVED, "## Solution\nAdd 3.\n\n## Answer\n7", {"solution": "Add 3.", "answer": "7"}),
        (SOLVED, "Add 3 and 4.\n<answer>7</answer>", {"solution": "Add 3 and 4.", "answer": "7"}),
        (Tagged(tags=("sql",)), "The query:\n```sql\nSELECT 1\n```", {"sql": "SELECT 1"}),
        (Tagged(tags=("answer",)), "**1889**", {"answer": "1889"}),
        (Tagged(tags=("answer",)), "So they fly.\nThe final answer is: New York.", {"answer": "New York"}),
        (OWN_LABELS, "travel", {"label": "Travel"}),
        (OWN_LABELS, "<answer>food and drink</answer>", {"label": "Food and drink"}),
        (OWN_LABELS, "**Label:** Travel", {"label": "Travel"}),
        (OWN_LABELS, "<label>TRAVEL</label>", {"label": "Travel"}),
    ],
)  # fmt: skip
def test_what_any_reader_understands_without_tags_is_mended(
    parser, text, fields
):
    reply = Reply(text)
    assert parser.parse_reply(reply, LABELS) == fields
    assert bool(reply.mended) is (f"<{parser.tags[-1]}>TRAVEL" not in text)
    if reply.mended:
        with pytest.raises(Unreadable, match="missing_tag"):
            parser.parse_reply(Reply(text, whole=False), LABELS)


@pytest.mark.parametrize(
    ("parser", "text"),
    [
        (VERDICT, "yes or no"), (VERDICT, "I looked at both.\nThey say yes and no."), (VERDICT, "It depends."), (ASKED, "yes"),
        (ASKED, "They agree, yes"), (ASKED, "Verdict: perhaps"), (SOLVED, "Answer: 7"), (SOLVED, "Add.\nSolution: 3\nAnswer: 7"),
        (SOLVED, "Solution: 3\nAnswer: 7\nAnswer: 8"), (SOLVED, "<solution>Add 3. It is 7.</solution>"), (Tagged(tags=("sql",)), "SELECT 1 FROM t"), (Tagged(tags=("answer",)), "I cannot answer."), (Tagged(tags=("answer",)), "<unknown>"), (Tagged(tags=("sql",)), "```\na\n```\nor\n```\nb\n```"), (OWN_LABELS, "sport"), (OWN_LABELS, "Travel or food and drink"),
    ],
)  # fmt: skip
def test_what_leaves_it_open_is_not(parser, text):
    with pytest.raises(Unreadable):
        parser.parse(text, LABELS)


@pytest.mark.parametrize(
    ("parser", "said"),
    [
        (VERDICT, "yes or no"), (VERDICT, "yes/no"), (VERDICT, "not yes"), (VERDICT, "no error was found"), (VERDICT, "I am not sure, yes"), (VERDICT, "perhaps"),
        (BETTER, "K or M"), (BETTER, "neither K"), (GRADE, "3-4"), (GRADE, "3 or 4"), (GRADE, "7"),
    ],
)  # fmt: skip
def test_two_labels_and_denied_ones_are_none(parser, said):
    tag = parser.tags[0]
    with pytest.raises(Unreadable, match="not_allowed"):
        parser.parse(f"<{tag}>{said}</{tag}>", {})


@pytest.mark.parametrize(
    "text",
    [
        "<answer>" * 30_000,
        "</answer>" * 30_000,
        "<answer>x" * 20_000,
        "<answer " * 30_000,
        "<verdict>" + "yes " * 50_000 + "</verdict>",
    ],
)
def test_tags_without_number_cost_little(text):
    for parser in (ANSWER, VERDICT):
        try:
            parser.parse(text, {})
        except Unreadable as error:
            assert error.reason in parser.reasons


@pytest.mark.parametrize("row", [{}, {"labels": []}, {"labels": None}])
def test_a_row_without_labels_allows_none(row):
    with pytest.raises(Unreadable, match="not_allowed"):
        OWN_LABELS.parse("<label>travel</label>", row)
    assert Tagged(tags=("a",), allow={"a": []}).parse("<a>b</a>", {})
