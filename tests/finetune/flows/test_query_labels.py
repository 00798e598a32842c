"""QUILL: what a search finds helps a professor, whose labels reach a student that looks nothing up."""

from __future__ import annotations

import pytest

from tests.conftest import chat
from tests.finetune.flows.playing import play_system

pytestmark = [pytest.mark.slow, pytest.mark.long]

LABELS = ["travel", "shopping"]
# The last word of a query says nothing; what is found for it does.
PLACES = ("harrow", "malm", "ostra", "pellen")
GOODS = ("vorin", "dabel", "quist", "tarno")
DOCUMENTS = [
    *({"text": f"{name} light : hours for a visit"} for name in PLACES),
    *({"text": f"{name} light : buy one in the shop"} for name in GOODS),
]


def query(name):
    return {"query": f"{name} light", "labels": LABELS}


def label(body, count):
    said = body["messages"][-1]["content"]
    first = said.split("Found for it:")[1].strip().splitlines()[0]
    return chat(
        f"<label>{'travel' if 'visit' in first else 'shopping'}</label>"
    )


def test_what_is_found_reaches_a_student_that_looks_nothing_up(tmp_path):
    known = [query(name) for name in (*PLACES[:3], *GOODS[:3])]
    other = [query(PLACES[3]), query(GOODS[3])]
    golds = [
        {**other[0], "target": "travel"},
        {**other[1], "target": "shopping"},
    ]
    played = play_system(
        "query_labels",
        tmp_path,
        label,
        known,
        steps=60,
        overrides={"longest": 8},
        models={"large": "scratch:tiny"},
        documents=DOCUMENTS,
        few=other,
        many=[*other, *known],
        held_out=golds,
    )
    # The teacher saw what is found, and what the professor reads is that.
    assert len(played.bodies) == len(known)
    shown = played.rows("to_profess")[0]["prompt"]
    assert shown.startswith(
        "harrow light\n- harrow light : hours for a visit\n"
    )
    found = [row["prompt"] for row in played.rows("found_for_few")]
    assert found[0].startswith(
        "pellen light\n- pellen light : hours for a visit\n"
    )
    # The professor's labels teach a model that reads the query alone.
    assert [row["prompt"] for row in played.rows("to_teach")] == [
        "pellen light\nIntent:\n",
        "tarno light\nIntent:\n",
    ]
    professed = [row["reply"] for row in played.rows("professed")]
    assert [row["completion"] for row in played.rows("to_teach")] == professed
    assert len(played.rows("to_learn")) == 8
    # What it has learnt of the held-out queries is what the professor said of them.
    right = sum(
        said == row["target"]
        for said, row in zip(professed, golds, strict=True)
    )
    measured = played.phase()
    assert measured["look"]["exact_match"]["share"] == right / 2
    assert measured["tutor_look"]["exact_match"]["share"] == right / 2
    assert {"professor_look", "alone_look"} <= measured.keys()
