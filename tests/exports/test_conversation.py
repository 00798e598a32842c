"""Conversations: one question a name, names of other rows in proportion, dialogues in order."""

from __future__ import annotations

import json
import random
from collections import Counter

import synth
from synth.core import registry
from synth.exports.base import pack_of
from synth.exports.conversation import _draw
from synth.runs.publisher import RunFolder
from tests.conftest import chat, serving
from tests.exports.test_triplets import made, rehearsed


def test_absent_names_are_answered_with_nothing_in_proportion_to_their_frequency(
    tmp_path,
):
    def answer(body, count):
        name = body["messages"][-1]["content"].split("Person ")[1].split(" ")[0]
        kind = "person" if int(name) % 4 else "river"
        return chat(
            json.dumps(
                {
                    "entities": [
                        {"entity": f"Person {name}", "type": kind},
                        {"entity": "Harrow", "type": f"town {int(name) % 3}"},
                    ]
                }
            )
        )

    rows = [{"text": f"Person {n} saw Harrow."} for n in range(40)]
    with serving(answer) as server:
        run = synth.run(
            "entity_types",
            rows,
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path / "run",
        )
    folder = RunFolder(run.folder)
    found = list(
        registry.build("synth.exports", "conversation:absent=1").rows(
            folder, pack_of(folder)
        )
    )
    asked = Counter(
        m["content"].split("type ")[1].rstrip("?")
        for row in found
        for m, reply in zip(
            row["messages"][2::2], row["messages"][3::2], strict=True
        )
        if reply["content"] == "[]"
    )
    assert len(found) == 40
    assert all(len(row["messages"]) == 8 for row in found)
    assert asked.total() == 40
    assert all(
        m["role"] == ("user", "assistant")[n % 2]
        for n, m in enumerate(found[0]["messages"])
    )
    assert found == list(
        registry.build("synth.exports", "conversation:absent=1").rows(
            folder, pack_of(folder)
        )
    )


def test_frequent_names_are_drawn_more_often():
    firsts = Counter(
        _draw({"often": 8, "rare": 1}, 1, random.Random(seed))[0]
        for seed in range(2000)
    )
    assert 0.85 < firsts["often"] / 2000 < 0.93


def test_a_dialogue_keeps_its_order(tmp_path):
    (row,) = made(rehearsed("grounded_dialogue", tmp_path), "conversation")
    assert (
        row["messages"][0]["content"] == "What colour has the light of Harrow?"
    )
