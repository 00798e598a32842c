"""Knowledge: names restored, each triple once, all rows of a head in one split."""

from __future__ import annotations

from synth.exports.triples import Triples
from tests.exports.test_triplets import made, rehearsed


def test_names_are_restored_and_facts_in_lists_of_lists_are_found(tmp_path):
    (row,) = made(rehearsed("symbolic_tails", tmp_path), "triples")
    assert (row["head"], row["relation"], row["tail"]) == (
        "PersonX thanks PersonY",
        "xWant",
        "to be kind",
    )
    assert row["source"] == "rehearsed/symbolic_tails"
    facts = made(rehearsed("document_graph", tmp_path), "triples")
    assert [(row["head"], row["relation"], row["tail"]) for row in facts] == [
        ("Ann Lund", "kept", "the light")
    ]


def test_splits_go_by_head_in_the_given_shares():
    export = Triples(held_out=(0.2, 0.3))
    splits = [export.split(f"head {n}") for n in range(4000)]
    assert {
        name: round(splits.count(name) / 4000, 1)
        for name in ("train", "validation", "test")
    } == {
        "train": 0.5,
        "validation": 0.2,
        "test": 0.3,
    }
    assert export.split("Head 1") == export.split("head 1")
