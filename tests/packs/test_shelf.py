"""Rows that are near: BM25 against its formula, vectors against brute force, a pack that uses them."""

from __future__ import annotations

import json

import pytest

import synth
from synth.core.errors import WrongUse
from synth.packs.choice_schema import RetrieveSpec
from synth.packs.shelf import Shelf
from tests.conftest import chat, serving, write


def shelf(tmp_path, **more):
    path = write(
        tmp_path / "rows.jsonl",
        [
            {"q": "red pens of Ann", "a": "3"},
            {"q": "blue sky", "a": "x"},
            {"q": "red sky at night", "a": "y"},
        ],
    )
    return Shelf(
        RetrieveSpec(file=str(path), query="question", field="q", **more), None
    )


def test_the_nearest_come_first_and_the_seed_itself_never(tmp_path):
    assert shelf(tmp_path, most=2).near({"question": "red pens"}) == [
        "red pens of Ann",
        "red sky at night",
    ]
    assert shelf(tmp_path, most=1).near({"question": "Red pens of Ann"}) == [
        "red sky at night"
    ]
    assert shelf(tmp_path, most=1, show="{{ q }} = {{ a }}").near(
        {"question": "blue"}
    ) == ["blue sky = x"]
    assert shelf(tmp_path, most=1, by="hashing").near(
        {"question": "the blue sky"}
    ) == ["blue sky"]
    assert shelf(tmp_path).near({"question": "nothing in common"}) == []


def test_a_missing_file_or_field_is_found_before_a_call(tmp_path):
    seeds = [
        {"task": "trains", "example_input": "x y z", "example_output": "z"}
    ]
    with serving(lambda body, count: chat("{}")) as server:
        for options in (
            {"retrieve.file": str(tmp_path / "none.jsonl")},
            {"retrieve.field": "words"},
            {"retrieve.file": ""},
        ):
            with pytest.raises(WrongUse):
                synth.run(
                    "retrieve_and_transform",
                    seeds,
                    teacher="openai/m",
                    api_base=server.url,
                    output=tmp_path / "out",
                    overrides=options,
                )
        assert not server.bodies


def test_each_retrieved_row_becomes_a_row(tmp_path):
    write(
        tmp_path / "own.jsonl",
        [{"text": f"the train number {n} to Bern"} for n in range(9)],
    )
    seeds = [
        {"task": "the train", "example_input": "x y z", "example_output": "z"},
        {"task": "nothing", "example_input": "x y z", "example_output": "z"},
    ]
    reply = lambda body, count: chat(  # noqa: E731
        json.dumps(
            {"input": f"When does train {count} leave?", "output": "at 9"}
        )
    )
    with serving(reply) as server:
        options = {
            "retrieve.file": str(tmp_path / "own.jsonl"),
            "retrieve.most": 4,
        }
        run = synth.run(
            "retrieve_and_transform",
            seeds,
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path / "out",
            overrides=options,
        )
        assert len(server.bodies) == 4
    assert run.counts == {
        "asked": 5,
        "kept": 4,
        "dropped": {"empty_list": 1},
        "failed": {},
    }
    assert len(set(run.kept["input"])) == 4
