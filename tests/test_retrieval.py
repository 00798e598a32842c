"""Rows that are near: BM25 against its formula, vectors against brute force, a pack that uses them."""

from __future__ import annotations

import json
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

import synth
from synth.errors import WrongUse
from synth.pack_schema import RetrieveSpec
from synth.retrieval import Bm25, Shelf
from tests.conftest import chat, serving, write

WORDS = st.lists(st.sampled_from("abcde"), min_size=1, max_size=6).map(" ".join)


@given(st.lists(WORDS, min_size=1, max_size=6), WORDS)
def test_scores_are_those_of_the_formula(texts, query):
    found = dict(Bm25(tuple(texts)).best(query, 99))
    mean = sum(len(t.split()) for t in texts) / len(texts)
    for place, text in enumerate(texts):
        wanted = 0.0
        for word in set(query.split()):
            times, held = text.split().count(word), sum(word in t.split() for t in texts)
            idf = log(1 + (len(texts) - held + 0.5) / (held + 0.5))
            wanted += idf * times * 2.2 / (times + 1.2 * (0.25 + 0.75 * len(text.split()) / mean))
        assert found.get(place, 0.0) == pytest.approx(wanted, abs=1e-3)


def shelf(tmp_path, **more):
    path = write(
        tmp_path / "rows.jsonl", [{"q": "red pens of Ann", "a": "3"}, {"q": "blue sky", "a": "x"}, {"q": "red sky at night", "a": "y"}]
    )
    return Shelf(RetrieveSpec(file=str(path), query="question", field="q", **more), tmp_path)


def test_the_nearest_come_first_and_the_seed_itself_never(tmp_path):
    assert shelf(tmp_path, most=2).near({"question": "red pens"}) == ["red pens of Ann", "red sky at night"]
    assert shelf(tmp_path, most=1).near({"question": "Red pens of Ann"}) == ["red sky at night"]
    assert shelf(tmp_path, most=1, show="{{ q }} = {{ a }}").near({"question": "blue"}) == ["blue sky = x"]
    assert shelf(tmp_path, most=1, by="hashing").near({"question": "the blue sky"}) == ["blue sky"]
    assert shelf(tmp_path).near({"question": "nothing in common"}) == []


def test_a_missing_file_or_field_is_found_before_a_call(tmp_path):
    seeds = [{"task": "trains", "example_input": "x y z", "example_output": "z"}]
    with serving(lambda body, count: chat("{}")) as server:
        for options in ({"retrieve.file": str(tmp_path / "none.jsonl")}, {"retrieve.field": "words"}, {"retrieve.file": ""}):
            with pytest.raises(WrongUse):
                synth.run(
                    "retrieve_and_transform", seeds, teacher="openai/m", api_base=server.url, output=tmp_path / "out", overrides=options
                )
        assert not server.bodies


def test_each_retrieved_row_becomes_a_row(tmp_path):
    write(tmp_path / "own.jsonl", [{"text": f"the train number {n} to Bern"} for n in range(9)])
    seeds = [
        {"task": "the train", "example_input": "x y z", "example_output": "z"},
        {"task": "nothing", "example_input": "x y z", "example_output": "z"},
    ]
    reply = lambda body, count: chat(json.dumps({"input": f"When does train {count} leave?", "output": "at 9"}))  # noqa: E731
    with serving(reply) as server:
        options = {"retrieve.file": str(tmp_path / "own.jsonl"), "retrieve.most": 4}
        run = synth.run(
            "retrieve_and_transform", seeds, teacher="openai/m", api_base=server.url, output=tmp_path / "out", overrides=options
        )
        assert len(server.bodies) == 4
    assert run.counts == {"asked": 5, "kept": 4, "dropped": {"empty_list": 1}, "failed": {}}
    assert len(set(run.kept["input"])) == 4
