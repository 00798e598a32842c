"""What whole reads beyond its laws."""

from __future__ import annotations

import pytest

from synth.core import registry
from synth.core.errors import Unreadable
from synth.parsers.base import Reply

TEXTS = [
    "I will restate the request.\n\nQuestion: how many pens are left?\n\nAnswer: 7 pens.",
    "Q: Wie backt man Brot?\nA: Mit Mehl.\nQ: Wie lange?\nA: Vierzig Minuten.",
    "The committee met in 1950.\nProblem: it had no money.\n### Problem: none\nThe king paid.",
]


def read(text, **parameters):
    return registry.build(
        "synth.parsers", {"name": "whole", "into": "answer", **parameters}
    ).parse(text, {})["answer"]


@pytest.mark.parametrize("text", TEXTS)
def test_nothing_is_cut_where_no_mark_is_declared(text):
    assert read(text) == text
    with pytest.raises(Unreadable, match="too_few_words"):
        read("no", least=2)


@pytest.mark.parametrize(
    "turn", ["Q: And 5?", "\n  q : And 5?", "**Q:** And 5?", "### Q: And 5?"]
)
def test_turns_are_cut_at_the_marks_that_a_pack_declares(turn):
    assert (
        read(f"Q: how?\nIt is 4.\n{turn}\nA: 5", turns=["Q:", "Problem:"])
        == "Q: how?\nIt is 4."
    )
    assert read("So.\nQuestion: 5", turns=["Q:"]) == "So.\nQuestion: 5"


@pytest.mark.parametrize(
    "text",
    [
        "21. Ann sings",
        "- Ann sings",
        "**Ann sings**",
        '"Ann sings"',
        "22) **Ann sings**",
        "Ann sings",
    ],
)
def test_one_item_of_a_list_without_its_mark(text):
    assert read(text, unmarked=True) == "Ann sings"
    assert read(text) == text


OPENINGS = [
    ("Kim sings: so one would call Kim brave", "brave"),
    ("kim sings: So one would call Kim ... brave", "brave"),
    ("brave", "brave"),
    # Nothing but the opening, and a beginning of it, are replies as they are.
    ("Kim sings: so one would call Kim", "Kim sings: so one would call Kim"),
    ("Kim sings", "Kim sings"),
]


@pytest.mark.parametrize(("text", "tail"), OPENINGS)
def test_a_repeated_opening_is_left_out(text, tail):
    parser = registry.build(
        "synth.parsers", {"name": "whole", "into": "tail", "opening": "line"}
    )
    assert parser.needs() == ("line",)
    reply = Reply(text)
    line = {"line": "Kim sings: so one would call Kim "}
    assert parser.parse_reply(reply, line) == {"tail": tail}
    assert bool(reply.mended) == (
        text.split(" ")[-1] == "brave" and len(text) > 5
    )
