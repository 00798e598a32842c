"""Passages of a reference work teach a retriever which passage answers words that it never met."""

from __future__ import annotations

import pytest

from finetune.measuring import evaluate_retriever
from synth.local_models.minilm import MINILM
from tests.conftest import chat, write
from tests.finetune.flows.playing import play_system

pytestmark = pytest.mark.slow

# What the passages call a thing, and what those who ask call it.
SLANG = {"light": "zorgle", "bell": "plimp", "gate": "drubb"}
KEEPERS = {"light": "Ann", "bell": "Bo", "gate": "Cid"}
PLACES = ("Harrow", "Malm", "Quay", "Orle", "Tarn")
UNSEEN = ("Rask", "Voss")
AGAIN = "In Harrow the light has Ann as its keeper."


def passage(thing, place):
    return f"The {thing} of {place} is kept by {KEEPERS[thing]}."


ROWS = [
    {"text": passage(thing, place)} for place in PLACES for thing in KEEPERS
]


def thing_of(text):
    return next(name for name in KEEPERS if f" {name} " in text)


def between(text, mark):
    """What stands below a line with the mark."""
    return text.split(f"{mark} =====\n")[1].split("\n")[0]


def query(thing, place):
    return f"who minds the {SLANG[thing]} in {place}"


def answers(asked, text):
    place = next(p for p in PLACES if p in text)
    return asked == query(thing_of(text), place)


def teach(body, _):
    """One of two queries is about nothing that the search finds; grades are right."""
    said = body["messages"][-1]["content"]
    text = between(said, "PASSAGE")
    place = next((p for p in PLACES if p in text), "")
    if "Think of somebody" in said:
        if "a few words" in said:
            return chat("<query>barley soup</query>")
        return chat(f"<query>{query(thing_of(text), place)}</query>")
    grade = 2 if answers(between(said, "QUERY"), text) else 0
    return chat(f"<grade>{grade}</grade>")


def ndcg(model, folder):
    """Over queries about places that nobody taught, among all passages of these."""
    folder.mkdir()
    held_out = [(thing, place) for place in UNSEEN for thing in KEEPERS]
    rows = [
        {"query": query(*one), "positive": passage(*one)} for one in held_out
    ]
    corpus = [{"text": passage(*one)} for one in held_out]
    config = evaluate_retriever.SearchConfig(
        data=str(write(folder / "held_out.jsonl", rows)),
        model=str(model),
        output=folder / "measured",
        corpus=str(write(folder / "corpus.jsonl", corpus)),
    )
    return evaluate_retriever.run(config)["ndcg@10"]["mean"]


def test_passages_become_triplets_and_teach_a_retriever(tmp_path):
    played = play_system(
        "passage_triplets",
        tmp_path,
        teach,
        [*ROWS, {"text": AGAIN}],
        models={"student": MINILM},
        steps=24,
        overrides={"learn.learning_rate": 5e-4},
    )
    rows = played.rows("triplets")
    dropped = played.rows("collect", part="dropped")
    reasons = [row["reason"] for row in dropped]
    # The query that its passage is not found by, and the passage that answers another one's, too.
    assert set(reasons) == {"unknown_value", "too_high"}
    assert reasons.count("unknown_value") == len(ROWS) + 1
    again = [row["candidate"] for row in dropped if row["reason"] == "too_high"]
    assert again == [AGAIN, passage("light", "Harrow")]
    assert len(rows) == len(ROWS) + 1
    for row in rows:
        thing = thing_of(row["positive"])
        assert SLANG[thing] in row["anchor"]
        assert row["negatives"]
        assert not [n for n in row["negatives"] if answers(row["anchor"], n)]
    before = ndcg(MINILM, tmp_path / "before")
    after = ndcg(played.folder("learn"), tmp_path / "after")
    assert after > before + 0.1
