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


# Queries about places that nobody taught; their passages are among those that are searched.
HELD_OUT = [
    {"query": query(thing, place), "positive": passage(thing, place)}
    for place in UNSEEN
    for thing in KEEPERS
]


def ndcg(model, folder):
    """Over queries about places that nobody taught, among all passages of these."""
    folder.mkdir()
    corpus = [{"text": row["positive"]} for row in HELD_OUT]
    config = evaluate_retriever.SearchConfig(
        data=str(write(folder / "held_out.jsonl", HELD_OUT)),
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
        overrides={"learn.learning_rate": 5e-4, "counted": 5},
        held_out=HELD_OUT,
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
    before, after = (
        played.phase()[name]["measures"] for name in ("look_before", "look")
    )
    assert set(after) == {"ndcg", "mrr", "recall", "map"}
    # The passages that were taught stand in the way, too.
    assert after["ndcg"] > before["ndcg"] + 0.05
    alone = ndcg(MINILM, tmp_path / "before")
    assert ndcg(played.folder("learn"), tmp_path / "after") > alone + 0.1
    found = played.rows("look", part="run")
    assert [row["query"] for row in found] == [r["query"] for r in HELD_OUT]
    # The same as the command says of the same student.
    config = evaluate_retriever.SearchConfig(
        data=str(tmp_path / "held_out.jsonl"),
        model=str(played.folder("learn")),
        output=tmp_path / "measured",
        corpus=str(tmp_path / "input.jsonl"),
        k=5,
    )
    said = evaluate_retriever.run(config)
    assert after["ndcg"] == said["ndcg@5"]["mean"]
    assert after["map"] == said["map"]["mean"]


ROUNDS = """
name: rounds
version: 1
about: A retriever learns in rounds, and the best one is kept.
inputs: {held_out: Queries., taught: Queries that are learnt.}
rounds:
  most: 2
  measure: look.ndcg
  stages:
    - name: learn
      train: retriever
      from: taught
      student: previous.learn or student
      set: {max_steps: 8, learning_rate: 1e-3}
    - name: look
      evaluate: retriever
      from: held_out
      corpus: input
      student: learn
after:
  - name: again
    evaluate: retriever
    from: held_out
    student: best.learn
    set: {k: 3}
"""


def test_rounds_are_compared_by_what_a_retriever_finds(tmp_path):
    folder = tmp_path / "flow"
    folder.mkdir()
    (folder / "flow.yaml").write_text(ROUNDS)
    taught = [
        {"anchor": query(thing, place), "positive": passage(thing, place)}
        for place in PLACES
        for thing in KEEPERS
    ]
    played = play_system(
        folder,
        tmp_path,
        lambda body, count: pytest.fail("nobody is asked"),
        [*ROWS, *({"text": row["positive"]} for row in HELD_OUT)],
        models={"student": MINILM},
        steps=8,
        overrides={"learn.learning_rate": 1e-3},
        held_out=HELD_OUT,
        taught=taught,
    )
    scores = [one["look"]["measures"]["ndcg"] for one in played.done["rounds"]]
    assert played.done["best"] == scores.index(max(scores))
    assert scores[1] > scores[0] * 0.9
    # Without a corpus each query orders its own texts: here there is one of them.
    assert played.phase()["again"]["measures"]["ndcg"] == 1.0
