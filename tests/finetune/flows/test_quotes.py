"""LLMQuoter: a reader that learns nothing answers from the quotations of a student, and from the whole text."""

from __future__ import annotations

import pytest

from finetune.measures.quote_f1 import QuoteF1
from tests.conftest import chat
from tests.finetune.flows.playing import base_of, play_system

pytestmark = [pytest.mark.slow, pytest.mark.long]

NAMES = ("Ann", "Bo", "Cem", "Dora")
ROWS = [
    {
        "question": f"Who kept light {n} ?",
        "context": f"Light {n} is old . {name} kept light {n} . It rains .",
        "target": name,
    }
    for n, name in enumerate(NAMES)
]


def quote(body, count):
    said = body["messages"][-1]["content"]
    sentence = said.split("Text: ")[-1].split(" . ")[1]
    return chat(f"##begin_quote## {sentence} ##end_quote##")


def test_a_reader_answers_from_the_students_quotations(tmp_path):
    read = [
        {
            "prompt": f"Text: {row['context']}\n\nQuestion: {row['question']}\nAnswer:\n",
            "completion": row["target"],
        }
        for row in ROWS
    ]
    reader = base_of(tmp_path, read, 10)
    played = play_system(
        "quotes",
        tmp_path,
        quote,
        ROWS[:3],
        steps=40,
        overrides={"longest": 12},
        models={"reader": reader},
        held_out=ROWS[3:],
    )
    assert [row["completion"] for row in played.rows("to_quote")] == [
        f"##begin_quote## {name} kept light {n} ##end_quote##\n"
        for n, name in enumerate(NAMES[:3])
    ]
    (quoted,) = played.rows("quoted")
    assert quoted["reply"]
    (short,), (whole,) = played.rows("look"), played.rows("look_at_all")
    plain = quoted["reply"].replace("##begin_quote##", "")
    plain = plain.replace("##end_quote##", "").strip()
    assert short["prompt"] == (
        f"Text: {plain}\n\nQuestion: {ROWS[3]['question']}\nAnswer:\n"
    )
    assert whole["prompt"] == read[3]["prompt"]
    # What the teacher quotes of the held-out text is what the student's quotation is held against.
    (found,) = played.rows("look_at_quotes")
    value = QuoteF1().of_question([{**found, "target": ["Dora kept light 3"]}])
    told = played.phase()["look_at_quotes"]
    assert told["measures"]["quote_f1"] == round(value, 4)
    assert value > 0
    # The reader is the user's own.
    assert len(played.bodies) == 4
    assert played.trained("quoter")["model"] == "scratch:tiny"
