"""DPO self-training: right draws over wrong ones, then the base anew from what is right; no teacher."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from synth.text.words import jaccard
from tests.finetune.flows.playing import play_system

pytestmark = [pytest.mark.slow, pytest.mark.long]

NAMES = ("Ann", "Ben", "Cem", "Dora", "Eva", "Finn")
ROWS = [
    {
        "question": f"{name} has {n} pens and gets 2 . How many ?",
        "rationale": "Both together .",
        "target": str(n + 2),
    }
    for n, name in enumerate(NAMES, 1)
]


def test_rounds_prefer_right_draws_and_train_the_base_anew(tmp_path):
    played = play_system(
        "dpo_self_training",
        tmp_path,
        lambda body, count: pytest.fail("nobody is asked"),
        ROWS[:5],
        held_out=ROWS[5:],
        steps=25,
        overrides={
            "rounds": 2,
            "longest": 8,
            "temperature": 1.5,
            "sharpen.max_steps": 2,
        },
    )
    assert not played.bodies
    warm = str(played.folder("warm"))
    learnt = [str(played.folder("learn", n)) for n in range(2)]
    for n, (before, later) in enumerate(
        zip([warm, *learnt], learnt, strict=False)
    ):
        # Preferences sharpen the student of the round before, rationales train the base.
        assert played.trained("sharpen", n)["model"] == before
        assert played.trained("learn", n)["model"] == "scratch:tiny"
        assert later
        _look_at(played, n)
    # The second round still has the wrong draws of the first.
    worse = [
        {
            (row["question"], row["completion"])
            for row in played.rows("worse", n, "kept")
        }
        for n in range(2)
    ]
    assert worse[0]
    assert len(worse[1] & worse[0]) >= len(worse[0]) / 2


def _look_at(played, n):
    gold = {f"{row['rationale']}\n#### {row['target']}" for row in ROWS[:5]}
    drawn = [row for past in range(n + 1) for row in played.rows("drawn", past)]
    assert len(drawn) == 5 * 5 * (n + 1)
    right = {row["reply"] for row in drawn if row["right"]}
    wrong = {row["reply"] for row in drawn if not row["right"]}
    pairs = played.rows("pairs_of_draws", n)
    assert max(Counter(pair["id"] for pair in pairs).values()) <= 3
    for pair in pairs:
        assert pair["chosen"] in right | gold
        assert pair["rejected"] in wrong
    for one, two in pairwise(pairs):
        if one["id"] == two["id"]:
            near = [jaccard(p["chosen"], p["rejected"]) for p in (one, two)]
            assert near == sorted(near)
    # Each gold rationale, and what the sharpened student got right.
    learnt = {row["completion"] for row in played.rows("to_learn", n)}
    again = {row["reply"] for row in played.rows("redrawn", n, "right")}
    assert gold <= learnt <= gold | again
