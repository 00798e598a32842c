"""NesyCD: a student's mistakes alone are analysed, and no question is shown the entry made of itself."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.conftest import chat
from tests.finetune.flows.playing import play_system

pytestmark = [pytest.mark.slow, pytest.mark.long]

# Those of one step are within a student's reach that may say few words.
EASY = {"How many legs has a cat ?": 4, "How many legs has a hen ?": 2}
HARD = {f"How many legs have {n} spiders and cats ?": n * 12 for n in (2, 3, 5)}
GOLDS = {**EASY, **HARD}
ENTRY = "<summary>Count {n} by kind.</summary><knowledge>Insects have six.</knowledge>"


def teach(body, count):
    said = body["messages"][-1]["content"]
    question = next(one for one in GOLDS if one in said)
    if "STUDENT'S REPLY" in said:
        number = list(HARD).index(question)
        return chat(ENTRY.format(n="abc"[number]))
    words = "Just this ." if question in EASY else "One after the other : "
    return chat(
        f"{words * (1 if question in EASY else 4)}\n#### {GOLDS[question]}"
    )


def test_mistakes_become_entries_of_other_questions(tmp_path):
    rows = [{"question": q, "target": str(n)} for q, n in GOLDS.items()]
    played = play_system(
        "error_knowledge",
        tmp_path,
        teach,
        rows,
        held_out=[
            {"question": "How many legs have 9 spiders ?", "target": "72"}
        ],
        steps=90,
        overrides={"longest": 8, "gate": 1},
    )
    right = {row["question"] for row in played.rows("tried", part="right")}
    assert right == {*EASY}
    analysed = [text for text in played.asked if "STUDENT'S REPLY" in text]
    assert len(analysed) == len(HARD)
    wrong = {row["question"]: row for row in played.rows("tried", part="wrong")}
    assert wrong.keys() == HARD.keys()
    for question, row in wrong.items():
        (text,) = (text for text in analysed if question in text)
        assert row["reply"] in text
    entries = {
        row["question"]: f"{row['summary']}\n{row['knowledge']}"
        for row in played.rows("analysed", part="data")
    }
    for row, plain in zip(
        played.rows("with_entries"), played.rows("asked"), strict=True
    ):
        entry = row["prompt"].removesuffix(plain["prompt"]).strip()
        if plain["question"] in EASY:
            assert entry == ""
        else:
            assert entry in {*entries.values()} - {entries[plain["question"]]}
    names = ("with_entries", "answers_alone", "direct")
    tasks = [row["task"] for name in names for row in played.rows(name)]
    assert Counter(tasks) == {"entry": 5, "answer": 5, "direct": 5}
    info = played.trained("learn_with_entries")
    assert info["model"] == "scratch:tiny"
    # A student that is never sure is asked with an entry.
    (asked,) = played.rows("look")
    assert asked["prompt"].startswith(tuple(entries.values()))
