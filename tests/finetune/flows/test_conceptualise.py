"""CANDLE: what a round makes comes back as the next round's events, and triples of concepts are learnt too."""

from __future__ import annotations

import json

import pytest

from tests.conftest import chat
from tests.finetune.flows.playing import play_system

pytestmark = [pytest.mark.slow, pytest.mark.long]

# The second round comes back to where the first one began, for one of the two.
NEXT = {"roses": "tulips", "tulips": "roses", "lawn": "ferns", "ferns": "moss"}
ROWS = [
    {
        "event": f"PersonX waters the {plant}",
        "instance": plant,
        "relation": "xWant",
        "tail": "to rest",
    }
    for plant in ("roses", "lawn")
]


def teach(body, count):
    said = body["messages"][-1]["content"]
    if "\nConcept: " in said:
        good = said.split("\nConcept: ")[1].strip() == "plants"
        return chat(json.dumps({"concept_plausible": 0.95 if good else 0.1}))
    if "Another instance of" in said:
        plant = NEXT[said.split(' than "')[1].split('"')[0]]
        event = f"PersonX waters the {plant}"
        return chat(
            f"<other_instance>{plant}</other_instance><other_event>{event}</other_event>"
        )
    if said.startswith("Event: "):
        return chat("1. plants\n2. furniture")
    return chat(json.dumps({"event_plausible": 0.97}))


def test_made_events_come_back_and_concepts_are_learnt(tmp_path):
    played = play_system("conceptualise", tmp_path, teach, ROWS, steps=2)
    waters = "PersonX waters the {}"
    events = [
        {row["event"] for row in played.rows("grown", n, "data")}
        for n in range(2)
    ]
    assert events[0] == {waters.format("roses"), waters.format("lawn")}
    assert events[1] == {waters.format("tulips"), waters.format("ferns")}
    fresh = [
        [(row["event"], row["parent"]) for row in played.rows("fresh", n)]
        for n in range(2)
    ]
    assert fresh[0] == [
        (waters.format("tulips"), waters.format("roses")),
        (waters.format("ferns"), waters.format("lawn")),
    ]
    # Roses were asked about in the first round.
    assert fresh[1] == [(waters.format("moss"), waters.format("ferns"))]
    learnt = {row["head"]: row["level"] for row in played.rows("to_learn")}
    assert learnt == {
        waters.format("roses"): "given",
        waters.format("lawn"): "given",
        waters.format("plants"): "abstract",
        waters.format("tulips"): "instance",
        waters.format("ferns"): "instance",
        waters.format("moss"): "instance",
    }
    first = played.rows("to_learn")[0]
    assert first["prompt"] == "PersonX waters the roses xWant\n"
    assert first["completion"] == "to rest"
    assert len(played.asked) == len(set(played.asked))
