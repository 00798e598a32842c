"""Impossible Distillation: pairs of a base model's sentences teach a student, and what it then says teaches it again."""

from __future__ import annotations

import pytest

from synth.filters.paraphrase import Paraphrase
from tests import tiny
from tests.finetune.flows.playing import base_of, play_system

pytestmark = [pytest.mark.slow, pytest.mark.long]

START = "So it goes"
# An inference model that knows few words says that what begins with "a" follows.
SENTENCES = (
    "a red pen",
    "a blue pen",
    "a old house",
    "a new house",
    "a red pen blue pen old house",
    "not red pen",
)
AGAIN, LESS = "In other words: ", "In fewer words: "


def test_pairs_teach_and_the_students_own_candidates_teach_again(tmp_path):
    behind = [
        {"prompt": f"{START} {first}.\n", "completion": second}
        for first in SENTENCES[:2]
        for second in SENTENCES
    ]
    begun = [
        {"prompt": f"{START}\n", "completion": f"{first}. a old house"}
        for first in SENTENCES[:2]
    ]
    # A model that says any of the sentences.
    writer = base_of(tmp_path, [*behind, *begun * 4], 80)
    played = play_system(
        "mined_paraphrases",
        tmp_path,
        lambda body, count: pytest.fail("nobody is asked"),
        [{"prefix": START}],
        models={"writer": writer, "nli": tiny.nli()},
        steps=60,
        overrides={
            "rounds": 2,
            "texts": 6,
            "sentences": 24,
            "tried": 3,
            "candidates": 6,
            "longest": 12,
        },
    )
    assert played.bodies == []
    contexts = {row["context"] for row in played.rows("openings")}
    assert contexts
    assert all(text.startswith(START) for text in contexts)
    both = Paraphrase(nli=tiny.nli())
    less = Paraphrase(nli=tiny.nli(), shortest=0.1, longest=0.6, mutual=False)
    for stage, rule, start in (
        ("say_again", both, AGAIN),
        ("say_less", less, LESS),
    ):
        rows = played.rows(stage)
        assert rows
        for row in rows:
            source = row["prompt"].removeprefix(start).strip()
            assert source != row["prompt"].strip()
            pair = {"source": source, "answer": row["completion"]}
            assert rule.judge(pair).keep
    taught = [*played.rows("say_again"), *played.rows("say_less")]
    drawn = []
    for n in range(2):
        drawn.append([row["source"] for row in played.rows("drawn", n)])
        kept = played.rows("again", n, "kept")
        candidates = played.rows("said_again", n)
        assert len(candidates) == 6 * len(drawn[n])
        assert {row["reply"] for row in kept} <= {
            row["reply"] for row in candidates
        }
        best = {row["prompt"]: row for row in played.rows("best_said", n)}
        assert len(best) == len(played.rows("best_said", n))
        for row in kept:
            alike = row["marks"]["paraphrase"]["rouge_l"]
            chosen = best[f"{AGAIN}{row['source']}\n"]["completion"]
            pair = {"source": row["source"], "answer": chosen}
            assert both.judge(pair).marks["rouge_l"] <= alike
        learnt = played.trained("learn", n)
        assert learnt["model"] == "scratch:tiny"
        assert learnt["rows"] == len(taught) + len(best)
    # Other sentences are drawn in another round.
    assert drawn[0] != drawn[1]
