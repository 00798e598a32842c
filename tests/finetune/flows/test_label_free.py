"""uDistil-Whisper for texts: without any gold, what teachers and the way back agree on comes first."""

from __future__ import annotations

import pytest

from tests.conftest import chat
from tests.finetune.flows.playing import play_system

pytestmark = [pytest.mark.slow, pytest.mark.long]

NAMES = ("Ann", "Bo", "Cem", "Dora", "Eve")
ROWS = [
    {"question": f"Who kept light {n} of {name} ?"}
    for n, name in enumerate(NAMES)
]
# About this one the first teacher says what nobody else would.
ODD = 2


def teach(body, count):
    said = body["messages"][-1]["content"]
    if "Which question" in said:
        n = next((n for n in range(5) if f"light {n}" in said), None)
        return chat("What is it ?" if n is None else ROWS[n]["question"])
    n = next(n for n, row in enumerate(ROWS) if row["question"] in said)
    if n == ODD and body["model"] == "teacher":
        return chat("It rains .")
    return chat(f"{NAMES[n]} kept light {n} .")


def test_the_odd_answer_is_left_out(tmp_path):
    played = play_system(
        "label_free",
        tmp_path,
        teach,
        ROWS,
        held_out=[{"question": ROWS[0]["question"], "target": "Ann"}],
        models={"embedding": "hashing"},
        names={"teacher": "openai/teacher", "other": "openai/other"},
        steps=4,
        overrides={"longest": 6},
    )
    assert len(played.bodies) == 3 * len(ROWS)
    ranked = played.rows("ranked")
    assert ranked[-1]["answer"] == "It rains ."
    for row in ranked:
        parts = (row["source"], row["agreement"], row["round_trip"])
        assert row["score"] == pytest.approx(sum(parts) / 3)
        right = row["answer"] != "It rains ."
        assert (row["agreement"] > 0.99) == right
        assert (row["round_trip"] > 0.99) == right
    best = played.rows("best_rows")
    assert best == ranked[:4]
    assert played.trained("learn")["rows"] == 4
    assert played.trained("learn_all")["rows"] == 5
    for stage in ("look", "look_all"):
        told = played.phase()[stage]["measures"]
        assert {"exact_match", "token_f1", "rouge_l"} <= told.keys()
