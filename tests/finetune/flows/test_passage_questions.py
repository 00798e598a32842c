"""MechGPT: questions read out of documents teach a student, and the documents' facts become a graph."""

from __future__ import annotations

import json

import pytest

from tests.conftest import chat
from tests.finetune.flows.playing import base_of, play_system

pytestmark = [pytest.mark.slow, pytest.mark.long]

NAMES = ("Ann", "Bo", "Cem", "Dora")
ROWS = [
    {
        "text": f"{name} kept light {n} .",
        "headings": ["Lights"],
        "document": f"{'ab'[n // 2]}.md",
    }
    for n, name in enumerate(NAMES)
]


def teach(body, count):
    """Cem's answer is made up, and the critic finds it."""
    said = body["messages"][-1]["content"]
    system = body["messages"][0]["content"]
    if "Say in one sentence what is wrong" in said:
        grade = 1 if "Zed" in said else 5
        grades = dict.fromkeys(("faithful", "relevant", "answerable"), grade)
        return chat(json.dumps({"why": "So.", **grades}))
    if "Write one question" in said:
        name = next(name for name in NAMES if f"{name} kept" in said)
        n = NAMES.index(name)
        answer = "Zed" if name == "Cem" else name
        question = f"Who kept light {n} ?"
        quote = f"{name} kept light {n}"
        made = {"question": question, "answer": answer, "quote": quote}
        return chat(json.dumps(made))
    last = said.rsplit("\n", 1)[-1]
    if "name the entities" in system:
        named = [
            {"name": said.split(" ")[0], "type": "person"},
            {"name": " ".join(said.split(" ")[2:4]), "type": "thing"},
        ]
        return chat(json.dumps({"named": named}))
    if "write down the facts" in system:
        words = said.split("Passage: ")[1].split(" ")
        light = " ".join(words[2:4])
        fact = {
            "proposition": f"{words[0]} kept {light}.",
            "source": words[0],
            "predicate": "kept",
            "target": light,
        }
        return chat(json.dumps({"facts": [fact]}))
    return chat(last)


def test_documents_teach_and_become_a_graph(tmp_path):
    known = [
        {"prompt": f"Who kept light {n} ?\n", "completion": "Bo or Ann or Dora"}
        for n in range(4)
    ]
    base = base_of(tmp_path, known, 5)
    played = play_system(
        "passage_questions",
        tmp_path,
        teach,
        ROWS,
        held_out=[{"question": "Who kept light 1 ?", "target": "Bo"}],
        models={"student": base},
        steps=40,
        overrides={"longest": 4},
    )
    # Three questions a passage are one and the same here.
    assert [
        (row["prompt"], row["completion"]) for row in played.rows("to_learn")
    ] == [
        (f"Who kept light {n} ?\n", name)
        for n, name in enumerate(NAMES)
        if name != "Cem"
    ]
    documents = played.rows("documents")
    assert [(row["document"], row["chunks"]) for row in documents] == [
        ("a.md", [row["text"] for row in ROWS[:2]]),
        ("b.md", [row["text"] for row in ROWS[2:]]),
    ]
    assert {
        (row["head"], row["relation"], row["tail"])
        for row in played.rows("graph")
    } == {(name, "kept", f"light {n}") for n, name in enumerate(NAMES)}
    (look,) = played.rows("look")
    (before,) = played.rows("look_before")
    assert look["right"]
    assert not before["right"]
    for stage, row in (("look", look), ("look_before", before)):
        told = played.phase()[stage]["measures"]
        assert told["exact_match"] == float(row["right"])
        assert (told["token_f1"] == 1) == row["right"]
